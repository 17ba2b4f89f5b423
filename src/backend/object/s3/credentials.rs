//! Credentials: found once, cached, and renewed before they expire.
//!
//! `chain` looks where the AWS tools look, in their order; it queries services with `http` and
//! helper programs with `process`. [`Renewed`] caches the result; many threads call it for each
//! request.

mod chain;
mod http;
mod process;

pub(super) use http::Http;

use super::credential::{Credential, Credentials};
use super::variables::Variables;
use crate::model::{Error, ErrorKind, Hint};
use chain::Chain;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use std::error::Error as _;
use std::fmt;
use std::sync::Arc;

/// How long before their expiry credentials are renewed.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);
/// The interval between early renewals, if one failed or its result expires soon, too.
const BETWEEN: SignedDuration = SignedDuration::from_secs(30);
/// How long the last event counts: a refusal within this time of a renewal is about the credentials
/// before it, and a failure within this time is not repeated for other threads.
const MOMENT: SignedDuration = SignedDuration::from_secs(5);

/// Where to look for credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    pub(super) variables: Variables,
    /// The requested profile; `None` for the default one.
    pub(super) profile: Option<String>,
    /// Whether the location names the profile.
    pub(super) profile_is_typed: bool,
    /// Whether the store is not AWS.
    pub(super) is_foreign: bool,
}

/// Finds credentials where the AWS tools do, at the first request.
pub(super) fn find(sources: Sources, region: String, http: Http) -> Arc<dyn Credentials> {
    Arc::new(Renewed::new(Chain::asking(sources, region, http)))
}

/// A source of credentials.
trait Load: Send + Sync {
    /// Looks for credentials; this may take seconds.
    fn load(&self) -> Result<Loaded, Error>;
}

/// Credentials and their expiry.
#[derive(Clone, Debug)]
struct Loaded {
    credential: Credential,
    /// When they expire; `None` is never.
    expires: Option<Timestamp>,
}

/// Credentials that are cached and renewed.
struct Renewed<L> {
    source: L,
    clock: Clock,
    state: Mutex<Cached>,
    /// Locked by the thread that renews.
    renewal: Mutex<()>,
}

type Clock = Box<dyn Fn() -> Timestamp + Send + Sync>;

#[derive(Default)]
struct Cached {
    kept: Option<Loaded>,
    /// When `kept` was loaded.
    loaded: Option<Timestamp>,
    /// Whether the store refused the cached credentials.
    refused: bool,
    /// When the next early renewal is due.
    next: Option<Timestamp>,
    failure: Option<(Timestamp, Failure)>,
}

/// An error that can be returned several times.
#[derive(Clone)]
struct Failure {
    kind: ErrorKind,
    message: String,
    help: Option<Hint>,
}

/// The state of the cached credentials.
enum Kept {
    /// Valid.
    Good(Credential),
    /// Valid, but due for renewal.
    Ending(Credential),
    /// Loading failed a moment ago.
    Failed(Failure),
    Missing,
}

impl<L: Load> Renewed<L> {
    fn new(source: L) -> Self {
        Self {
            source,
            clock: Box::new(Timestamp::now),
            state: Mutex::default(),
            renewal: Mutex::default(),
        }
    }

    fn kept(&self, now: Timestamp) -> Kept {
        let state = self.state.lock();
        if let Some(kept) = state.kept.as_ref().filter(|_| !state.refused) {
            let left = kept.expires.map_or(SignedDuration::MAX, |end| end.duration_since(now));
            if left > AHEAD || left.is_positive() && state.next.is_some_and(|next| now < next) {
                return Kept::Good(kept.credential.clone());
            }
            if left.is_positive() {
                return Kept::Ending(kept.credential.clone());
            }
        }
        match &state.failure {
            Some((then, failure)) if now.duration_since(*then) < MOMENT => {
                Kept::Failed(failure.clone())
            }
            _ => Kept::Missing,
        }
    }

    /// Loads new credentials, and falls back to the old ones while they are valid.
    fn renew(&self, ending: Option<Credential>) -> Result<Credential, Error> {
        let result = self.source.load();
        let now = (self.clock)();
        let result = result.and_then(|loaded| match loaded.expires {
            Some(end) if end <= now => {
                Err(Error::new(ErrorKind::Unusable, "the credentials that were found have expired")
                    .help("renew them, and check this machine's clock"))
            }
            _ => Ok(loaded),
        });
        let mut state = self.state.lock();
        state.next = Some(now + BETWEEN);
        match result {
            Ok(loaded) => {
                let credential = loaded.credential.clone();
                (state.kept, state.loaded, state.refused) = (Some(loaded), Some(now), false);
                state.failure = None;
                Ok(credential)
            }
            Err(error) => ending.ok_or_else(|| {
                let failure = Failure::of(&error);
                state.failure = Some((now, failure.clone()));
                failure.into()
            }),
        }
    }
}

impl<L: Load> Credentials for Renewed<L> {
    fn get(&self) -> Result<Option<Credential>, Error> {
        let ending = match self.kept((self.clock)()) {
            Kept::Good(credential) => return Ok(Some(credential)),
            Kept::Failed(failure) => return Err(failure.into()),
            Kept::Ending(credential) => Some(credential),
            Kept::Missing => None,
        };
        let _renewal = match (self.renewal.try_lock(), &ending) {
            (Some(renewal), _) => renewal,
            // Another thread is renewing; its result isn't needed yet.
            (None, Some(credential)) => return Ok(Some(credential.clone())),
            (None, None) => self.renewal.lock(),
        };
        // Another thread may have renewed meanwhile.
        match self.kept((self.clock)()) {
            Kept::Good(credential) => Ok(Some(credential)),
            Kept::Failed(failure) => Err(failure.into()),
            Kept::Ending(_) | Kept::Missing => self.renew(ending).map(Some),
        }
    }

    fn refused(&self) {
        let now = (self.clock)();
        let mut state = self.state.lock();
        if state.loaded.is_none_or(|loaded| now.duration_since(loaded) >= MOMENT) {
            state.refused = true;
        }
    }
}

impl<L> fmt::Debug for Renewed<L> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Renewed").finish_non_exhaustive()
    }
}

impl Failure {
    fn of(error: &Error) -> Self {
        let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
        let message = format!("{}{cause}", error.message);
        Self { kind: error.kind, message, help: error.help.clone() }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let Failure { kind, message, help } = failure;
        Self { kind, message, help, source: None }
    }
}

#[cfg(test)]
mod tests;
