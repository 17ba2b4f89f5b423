//! When and how a failed request is retried.

use super::super::{StoreError, StoreErrorKind};
use std::time::Duration;

/// Tries of one request, the first one included.
pub(super) const TRIES: u32 = 10;
/// The time after the first try within which retries begin.
const TIME: Duration = Duration::from_mins(3);
/// The longest wait before the second try; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait, unless the store asks for a longer one.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// The longest wait that a store may ask for.
pub(super) const LONGEST_ASKED: Duration = Duration::from_mins(1);

/// Tries while no request has succeeded: the address is probably wrong.
const UNPROVEN_TRIES: u32 = 2;
/// How long a client retries while no request has succeeded.
pub(super) const UNPROVEN_TIME: Duration = Duration::from_millis(4_500);

/// Tries after malformed replies: a single one may be truncated, but a store that writes unusual
/// XML always does.
const BAD_REPLIES: u32 = 3;

/// The tries of one request.
#[derive(Debug)]
pub(super) struct Tries {
    /// Most tries, unless the store asks for a wait.
    most: u32,
    failed: u32,
    bad_replies: u32,
    renewed: bool,
    clock_set: bool,
}

/// What to do after a failure.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Fail.
    Stop,
    /// Try again after a wait.
    Wait(Duration),
    /// Get fresh credentials and try again.
    Renew,
}

impl Tries {
    /// Allows at most `most` tries.
    pub(super) fn up_to(most: u32) -> Self {
        Self { most, failed: 0, bad_replies: 0, renewed: false, clock_set: false }
    }

    /// Decides after a failure, `elapsed` after the first try began. `proven` says whether any
    /// request to the store has succeeded.
    pub(super) fn next(&mut self, error: &StoreError, elapsed: Duration, proven: bool) -> Next {
        self.failed += 1;
        match error.kind {
            StoreErrorKind::BadCredentials | StoreErrorKind::Other if may_be_expired(error) => {
                return if std::mem::replace(&mut self.renewed, true) {
                    Next::Stop
                } else {
                    Next::Renew
                };
            }
            // The clock was corrected by the store's reply.
            StoreErrorKind::ClockSkew if !std::mem::replace(&mut self.clock_set, true) => {
                return Next::Wait(Duration::ZERO);
            }
            StoreErrorKind::BadReply => self.bad_replies += 1,
            _ => {}
        }
        // A store that asks for a wait is proven to exist.
        let is_asked = error.kind == StoreErrorKind::Throttled;
        let (tries, time) = if is_asked {
            (TRIES, TIME)
        } else if proven {
            (self.most, TIME)
        } else {
            (self.most.min(UNPROVEN_TRIES), UNPROVEN_TIME)
        };
        let wait = self.wait(error);
        if !is_transient(error)
            || self.failed >= tries
            || self.bad_replies >= BAD_REPLIES
            || elapsed + wait >= time
        {
            return Next::Stop;
        }
        Next::Wait(wait)
    }

    /// Returns the wait before the next try: exponential back-off with full jitter
    /// (<https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/>), or as
    /// long as the store asks for.
    fn wait(&self, error: &StoreError) -> Duration {
        let wait = longest(self.failed).mul_f64(fastrand::f64());
        wait.max(error.retry_after.unwrap_or_default().min(LONGEST_ASKED))
    }
}

fn longest(failed: u32) -> Duration {
    FIRST_WAIT.saturating_mul(1 << failed.saturating_sub(1).min(16)).min(LONGEST_WAIT)
}

/// Returns whether the same request may succeed later.
fn is_transient(error: &StoreError) -> bool {
    matches!(
        error.kind,
        StoreErrorKind::Throttled
            | StoreErrorKind::Unavailable
            | StoreErrorKind::Network
            | StoreErrorKind::BadReply
            | StoreErrorKind::Corrupt
            | StoreErrorKind::Conflict
    ) || error.kind == StoreErrorKind::Proxy && error.status.is_none()
}

/// Returns whether fresh credentials may help. A reply to HEAD has no body and so no code: expired
/// credentials then show only as status 400.
fn may_be_expired(error: &StoreError) -> bool {
    match error.code.as_deref() {
        Some(code) => matches!(
            code,
            "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" | "RequestExpired"
        ),
        None => error.status == Some(400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: StoreErrorKind) -> StoreError {
        StoreError::new(kind)
    }

    /// Returns all waits until the last try, with the clock advanced by them.
    fn waits(make: impl Fn() -> StoreError, proven: bool) -> Vec<Duration> {
        let (mut tries, mut waits) = (Tries::up_to(TRIES), Vec::new());
        while let Next::Wait(wait) = tries.next(&make(), waits.iter().sum(), proven) {
            waits.push(wait);
        }
        waits
    }

    #[test]
    fn waits_grow_to_their_bound() {
        assert_eq!(longest(1), Duration::from_millis(100));
        assert_eq!(longest(2), Duration::from_millis(200));
        assert_eq!(longest(8), Duration::from_millis(12_800));
        assert_eq!(longest(9), LONGEST_WAIT);
        assert_eq!(longest(u32::MAX), LONGEST_WAIT);
        for _ in 0..100 {
            let waits = waits(|| error(StoreErrorKind::Unavailable), true);
            assert_eq!(waits.len(), TRIES as usize - 1);
            for (at, wait) in waits.iter().enumerate() {
                assert!(*wait <= longest(at as u32 + 1), "{waits:?}");
            }
        }
    }

    #[test]
    fn who_asks_for_few_tries_gets_them_unless_the_store_asks_for_patience() {
        for (kind, expected) in
            [(StoreErrorKind::Unavailable, 3), (StoreErrorKind::Throttled, TRIES)]
        {
            let (mut tries, mut made) = (Tries::up_to(3), 1);
            while tries.next(&error(kind.clone()), Duration::ZERO, true) != Next::Stop {
                made += 1;
            }
            assert_eq!(made, expected, "{kind:?}");
        }
    }

    #[test]
    fn what_will_not_pass_is_not_tried_again() {
        for kind in [StoreErrorKind::Denied, StoreErrorKind::NotFound, StoreErrorKind::Tls] {
            assert!(waits(|| error(kind.clone()), true).is_empty());
        }
    }

    #[test]
    fn a_conflict_with_another_request_passes() {
        let waits = waits(|| error(StoreErrorKind::Conflict), true);
        assert_eq!(waits.len(), TRIES as usize - 1);
    }

    #[test]
    fn a_store_that_never_answered_is_given_up_soon() {
        assert_eq!(waits(|| error(StoreErrorKind::Network), false).len(), 1);
        let late = Tries::up_to(TRIES).next(&error(StoreErrorKind::Network), UNPROVEN_TIME, false);
        assert_eq!(late, Next::Stop);
        assert!(waits(|| error(StoreErrorKind::Throttled), false).len() > 1);
    }

    #[test]
    fn the_wait_that_a_store_asks_for_is_kept_within_bounds() {
        let asking = |seconds| {
            let mut error = error(StoreErrorKind::Throttled);
            error.retry_after = Some(Duration::from_secs(seconds));
            Tries::up_to(TRIES).next(&error, Duration::ZERO, true)
        };
        assert_eq!(asking(7), Next::Wait(Duration::from_secs(7)));
        assert_eq!(asking(100_000), Next::Wait(LONGEST_ASKED));
    }

    #[test]
    fn the_time_is_bounded() {
        let error = error(StoreErrorKind::Unavailable);
        assert_eq!(Tries::up_to(TRIES).next(&error, TIME, true), Next::Stop);
    }

    #[test]
    fn expired_credentials_are_renewed_once() {
        let expired = error(StoreErrorKind::BadCredentials).replied(Some(400), "ExpiredToken", "");
        let mut tries = Tries::up_to(TRIES);
        assert_eq!(tries.next(&expired, Duration::ZERO, true), Next::Renew);
        assert_eq!(tries.next(&expired, Duration::ZERO, true), Next::Stop);
    }

    #[test]
    fn strange_replies_are_not_asked_for_ten_times() {
        let waits = waits(|| error(StoreErrorKind::BadReply), true);
        assert_eq!(waits.len(), BAD_REPLIES as usize - 1);
    }
}
