//! Finding out whether a store keeps markers: one is tried before the first one is written.
//!
//! A refusal may have other causes ("access denied", "no such key", an error of the server), and a
//! marker that was taken may be kept as another object. So before the first marker is written, one is
//! tried in vidimus's own directory, where it is in nobody's way: what counts is that the store lists
//! it, or refuses it beside another object that it takes. A place whose listing shows a marker needs
//! no such trial.

use super::cause::{cause, told, trouble};
use super::markers::Trial;
use super::metadata::headers;
use super::prefix::{BucketPrefix, OWN};
use super::{Body, Condition, Headers, ListQuery, Store, StoreError, StoreErrorKind};
use crate::model::error::Trouble;
use crate::model::{Cause, EntryKind, Metadata};
use bytes::Bytes;

/// The name of the marker that is tried, in vidimus's own directory. The lock keeps two runs from
/// trying at once.
const PROBE: &[u8] = b"/probe";
/// How often a request of the trial is sent: a store that refuses by an error of its own does so soon.
const TRIES: u32 = 3;

impl BucketPrefix {
    /// Whether an object is a marker that a store leaves where it deletes many at once and says of each
    /// that it is gone (`JuiceFS`'s gateway in 2026). The first one is looked at.
    pub(super) fn leaves_marker(&self, object: &[u8]) -> bool {
        let outlive = &self.markers.outlive_bulk;
        object.ends_with(b"/")
            && outlive.get().copied().unwrap_or_else(|| match self.store.head(object) {
                Ok(existing) => *outlive.get_or_init(|| existing.is_some()),
                // What can't be looked at counts as the reply says; the next one is looked at.
                Err(_) => false,
            })
    }

    /// Whether markers are written: finds out, before the first one, whether the store keeps them. To be
    /// called by who may write to the place.
    pub(super) fn has_markers(&self) -> bool {
        if !self.markers.are_unwanted && !self.markers.need_no_trial() {
            self.try_markers();
        }
        self.markers.are_written()
    }

    /// Whether an error in writing a marker means that the store takes none.
    pub(super) fn refuses_markers(&self, error: &StoreError) -> bool {
        may_be_refusal(error) && matches!(self.try_markers(), Trial::NotKept(_))
    }

    /// Between two stores a marker is an object like any other, which can't be written where none is
    /// kept.
    ///
    /// # Errors
    /// When the key ends as a marker's does, and the store keeps no such object.
    pub(super) fn check_ending(&self, key: &[u8]) -> Result<(), Cause> {
        if !key.ends_with(b"/") || self.markers.need_no_trial() {
            return Ok(());
        }
        match self.try_markers() {
            Trial::NotKept(why) => Err(Cause::Store {
                trouble: Trouble::Refused,
                message: format!("the store keeps no object whose key ends in \"/\" ({why})"),
                help: None,
            }),
            Trial::Kept | Trial::Open => Ok(()),
        }
    }

    fn try_markers(&self) -> &Trial {
        self.markers.trial.get_or_init(|| {
            let had_none = self.markers.had_none();
            let name = [&self.prefix, OWN, PROBE].concat();
            let store = self.store.trying(if had_none { 1 } else { TRIES });
            try_marker(&*store, &name, &self.guess, had_none)
        })
    }
}

/// Tries a marker, `name` and a `/`, where a store either `had_none` before or nothing is known of it.
fn try_marker(store: &dyn Store, name: &[u8], guess: &Metadata, had_none: bool) -> Trial {
    let marker = [name, b"/"].concat();
    let put = |key: &[u8], content: &'static [u8], headers: &Headers| {
        store.put(key, Body::from(Bytes::from_static(content)), headers, Condition::None)
    };
    let put_marker = || put(&marker, b"", &headers(&marker, EntryKind::Directory, guess, None));
    // What can't be removed is written over by the next trial, and is in nobody's way.
    let remove = |key: &[u8]| store.delete(key, Condition::None).ok();
    let mut taken = put_marker();
    if taken.as_ref().is_err_and(may_be_refusal) && !had_none {
        // It may be refused for its place, for the signature of an odd prefix, or by a store that fails.
        if put(name, b"probe", &Headers::default()).is_err() {
            return Trial::Open;
        }
        taken = put_marker();
        remove(name);
    }
    match taken {
        Ok(_) => {}
        Err(error) if may_be_refusal(&error) => return Trial::NotKept(told(&error)),
        Err(_) => return Trial::Open,
    }
    let is_kept = is_kept(store, name, &marker);
    remove(&marker);
    match is_kept {
        Ok(true) => Trial::Kept,
        Ok(false) => {
            remove(name);
            Trial::NotKept("it makes another object of one".to_owned())
        }
        Err(_) => Trial::Open,
    }
}

/// Whether a marker that a store took is one there.
fn is_kept(store: &dyn Store, name: &[u8], marker: &[u8]) -> Result<bool, StoreError> {
    let query = ListQuery { prefix: marker, limit: Some(1), ..ListQuery::default() };
    let listed = store.list(&query)?;
    // A listing may lag behind.
    Ok(listed.objects.first().is_some_and(|object| *object.key == *marker)
        || store.head(name)?.is_none() && store.head(marker)?.is_some())
}

/// Whether an error may mean that markers are refused.
fn may_be_refusal(error: &StoreError) -> bool {
    use StoreErrorKind as Kind;
    match error.kind {
        Kind::Unsupported | Kind::Signature => true,
        Kind::Other => error.status.is_some_and(|it| (400..500).contains(&it)),
        _ => is_ambiguous(error),
    }
}

/// Whether an error may mean that markers are refused, and may have other causes.
fn is_ambiguous(error: &StoreError) -> bool {
    use StoreErrorKind as Kind;
    matches!(error.kind, Kind::Denied | Kind::NotFound | Kind::Unavailable)
}

/// The cause of one marker that was not written, with the way to do without.
pub(super) fn unwritten(error: &StoreError) -> Cause {
    if !is_ambiguous(error) {
        return cause(error);
    }
    let (trouble, help) = (trouble(&error.kind), cause(error).help().cloned());
    let without = "if it takes no markers of directories, --no-markers writes none";
    let message = format!("{}; {without}", told(error));
    Cause::Store { trouble, message, help }
}
