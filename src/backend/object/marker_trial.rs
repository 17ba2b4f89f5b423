//! Finds out whether a store keeps markers, by trying one before the first is written.
//!
//! A refusal may have other reasons ("access denied", "no such key", a server error), and an
//! accepted marker may be stored as another object. So a marker is tried in vidimus's own
//! directory, where it disturbs nobody. Markers are kept if the store then lists it, and not kept
//! if the store refuses it but accepts another object beside it. If the listing already shows a
//! marker, no trial is needed.

use super::cause::{cause, message_of, trouble};
use super::markers::Trial;
use super::metadata::headers;
use super::prefix::BucketPrefix;
use super::{Body, Condition, Headers, ListQuery, Store, StoreError, StoreErrorKind};
use crate::model::error::Trouble;
use crate::model::reserved::DIRECTORY;
use crate::model::{Cause, EntryKind, Metadata};
use bytes::Bytes;

/// The name of the trial marker in vidimus's own directory. The target's lock keeps two runs from
/// trying at the same time.
const PROBE: &[u8] = b"/probe";
/// How often a request of the trial is sent. A store that refuses with a server error does so each
/// time.
const TRIES: u32 = 3;

impl BucketPrefix {
    /// Returns whether an object is a marker that the store keeps when many objects are deleted in
    /// one request, although it reports success (`JuiceFS`'s gateway in 2026). Looks up the first
    /// such marker.
    pub(super) fn leaves_marker(&self, object: &[u8]) -> bool {
        let outlive = &self.markers.outlive_bulk;
        object.ends_with(b"/")
            && outlive.get().copied().unwrap_or_else(|| match self.store.head(object) {
                Ok(existing) => *outlive.get_or_init(|| existing.is_some()),
                // If the lookup fails, the reply is believed, and the next marker is looked up.
                Err(_) => false,
            })
    }

    /// Returns whether markers are written; before the first one, finds out whether the store keeps
    /// them. The caller must be allowed to write.
    pub(super) fn has_markers(&self) -> bool {
        if !self.markers.are_unwanted && !self.markers.need_no_trial() {
            self.try_markers();
        }
        self.markers.are_written()
    }

    /// Returns whether an error in writing a marker means that the store accepts none.
    pub(super) fn refuses_markers(&self, error: &StoreError) -> bool {
        may_be_refusal(error) && matches!(self.try_markers(), Trial::NotKept(_))
    }

    /// Checks that the store can hold a key that ends in `/`. Between two stores a marker is an
    /// object like any other.
    ///
    /// # Errors
    /// Fails if the key ends in `/` and the store keeps no such object.
    pub(super) fn check_ending(&self, key: &[u8]) -> Result<(), Cause> {
        if !key.ends_with(b"/") || self.markers.need_no_trial() {
            return Ok(());
        }
        match self.try_markers() {
            Trial::NotKept(why) => Err(Cause::Store {
                trouble: Trouble::Refused,
                message: format!("the store keeps no objects whose keys end in \"/\" ({why})"),
                help: None,
            }),
            Trial::Kept | Trial::Open => Ok(()),
        }
    }

    fn try_markers(&self) -> &Trial {
        self.markers.trial.get_or_init(|| {
            let had_none = self.markers.had_none();
            let name = [&self.prefix, DIRECTORY.as_bytes(), PROBE].concat();
            let store = self.store.trying(if had_none { 1 } else { TRIES });
            try_marker(&*store, &name, &self.guess, had_none)
        })
    }
}

/// Tries the marker `name/`. `had_none` says that an earlier run found that the store keeps none.
fn try_marker(store: &dyn Store, name: &[u8], guess: &Metadata, had_none: bool) -> Trial {
    let marker = [name, b"/"].concat();
    let put = |key: &[u8], content: &'static [u8], headers: &Headers| {
        store.put(key, Body::from(Bytes::from_static(content)), headers, Condition::None)
    };
    let put_marker =
        || put(&marker, b"", &headers(&marker, EntryKind::Directory, guess, None, None));
    // If this fails, the next trial overwrites the object, which disturbs nobody.
    let remove = |key: &[u8]| store.delete(key, Condition::None).ok();
    let mut accepted = put_marker();
    if accepted.as_ref().is_err_and(may_be_refusal) && !had_none {
        // The marker may have been refused because of its location, the signature of an unusual
        // prefix, or a failing store: try an ordinary object there.
        if put(name, b"probe", &Headers::default()).is_err() {
            return Trial::Open;
        }
        accepted = put_marker();
        remove(name);
    }
    match accepted {
        Ok(_) => {}
        Err(error) if may_be_refusal(&error) => return Trial::NotKept(message_of(&error)),
        Err(_) => return Trial::Open,
    }
    let is_kept = is_kept(store, name, &marker);
    remove(&marker);
    match is_kept {
        Ok(true) => Trial::Kept,
        Ok(false) => {
            remove(name);
            Trial::NotKept("it stores it under another key".to_owned())
        }
        Err(_) => Trial::Open,
    }
}

/// Returns whether an accepted marker exists under its own key.
fn is_kept(store: &dyn Store, name: &[u8], marker: &[u8]) -> Result<bool, StoreError> {
    let query = ListQuery { prefix: marker, limit: Some(1), ..ListQuery::default() };
    let listed = store.list(&query)?;
    // A listing may not be up to date.
    Ok(listed.objects.first().is_some_and(|object| *object.key == *marker)
        || store.head(name)?.is_none() && store.head(marker)?.is_some())
}

/// Returns whether an error may mean that markers are refused.
fn may_be_refusal(error: &StoreError) -> bool {
    use StoreErrorKind as Kind;
    match error.kind {
        Kind::Unsupported | Kind::Signature => true,
        Kind::Other => error.status.is_some_and(|it| (400..500).contains(&it)),
        _ => is_ambiguous(error),
    }
}

/// Returns whether an error may mean that markers are refused or have other reasons.
fn is_ambiguous(error: &StoreError) -> bool {
    use StoreErrorKind as Kind;
    matches!(error.kind, Kind::Denied | Kind::NotFound | Kind::Unavailable)
}

/// Returns the cause for a marker that could not be written, with how to do without markers.
pub(super) fn unwritten(error: &StoreError) -> Cause {
    if !is_ambiguous(error) {
        return cause(error);
    }
    // A marker that is not found has not vanished: these are the store's own words.
    let (trouble, help) = (trouble(&error.kind), cause(error).help().cloned());
    Cause::MarkerRefused(Box::new(Cause::Store { trouble, message: message_of(error), help }))
}
