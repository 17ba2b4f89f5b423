//! Markers: the objects that stand for directories, empty ones too, and hold their metadata.
//!
//! There are stores that refuse keys which end in `/`, and buckets whose other users are disturbed by
//! them. Without markers a directory is what lies in it: empty ones, and what directories are like,
//! are not kept, nor recorded.
//!
//! Some refuse them in words that have other meanings too ("access denied", "no such key", an error of
//! the server). These count where the store took other objects and failed at none; or where an earlier
//! run found it out, for a run that has nothing else to write. Once a marker was written in the run,
//! no error of another one counts: it is that entry's.

use super::place::{cause, told, trouble};
use super::{StoreError, StoreErrorKind};
use crate::model::{Cause, Key};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Whether a place has markers.
#[derive(Debug, Default)]
pub(super) struct Markers(Mutex<Seen>);

/// What a run saw of markers.
#[derive(Debug, Default)]
struct Seen {
    state: State,
    /// Whether one was written.
    is_any_written: bool,
    /// Whether the store took none from an earlier run.
    was_refused: bool,
    others: Others,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Written,
    /// Its user wants none.
    Unwanted,
    /// The store took none; how it said so.
    Refused(String),
}

/// What became of objects that are no markers.
#[derive(Debug, Default, PartialEq, Eq)]
enum Others {
    #[default]
    Unwritten,
    Written,
    /// One was refused as markers may be.
    Refused,
}

impl Markers {
    /// No markers.
    pub(super) fn unwanted() -> Self {
        Self(Mutex::new(Seen { state: State::Unwanted, ..Seen::default() }))
    }

    /// Whether markers are written.
    pub(super) fn are_written(&self) -> bool {
        matches!(self.seen().state, State::Written)
    }

    /// Takes note that an earlier run wrote none.
    pub(super) fn recall_none(&self) {
        self.seen().was_refused = true;
    }

    /// Takes note of a marker that the store took.
    pub(super) fn took(&self) {
        self.seen().is_any_written = true;
    }

    /// Takes note of another object, which was written unless there is an error.
    pub(super) fn took_other(&self, error: Option<&StoreError>) {
        let mut seen = self.seen();
        match error {
            None if seen.others == Others::Unwritten => seen.others = Others::Written,
            Some(error) if is_ambiguous(error) => seen.others = Others::Refused,
            _ => {}
        }
    }

    /// Takes note of an error in writing one; whether it means that the store takes none.
    pub(super) fn are_refused(&self, key: &Key, error: &StoreError) -> bool {
        let mut seen = self.seen();
        let is_refusal = !seen.is_any_written
            && match error.kind {
                StoreErrorKind::Unsupported => true,
                // Look-alikes missign odd names, of whatever kind of object.
                StoreErrorKind::Signature => is_plain(key),
                StoreErrorKind::Other => error.status.is_some_and(|it| (400..500).contains(&it)),
                _ => is_ambiguous(error) && seen.refuses_all(),
            };
        if is_refusal && matches!(seen.state, State::Written) {
            seen.state = State::Refused(format!("\"{key}\": {}", told(error)));
        }
        is_refusal
    }

    /// What to tell once, if any was refused.
    pub(super) fn warning(&self) -> Option<String> {
        match &self.seen().state {
            State::Refused(how) => Some(format!(
                "the store takes no markers of directories ({how}): empty directories, and modes, \
                 owners and times of all, are not kept; --no-markers writes none"
            )),
            State::Written | State::Unwanted => None,
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// Whether an ambiguous refusal can mean nothing else than that no marker is taken.
    fn refuses_all(&self) -> bool {
        let is_known = self.was_refused || matches!(self.state, State::Refused(_));
        is_known || self.others == Others::Written
    }
}

/// Whether a key has no byte that percent-encoding changes (RFC 3986, 2.3), but for its slashes.
fn is_plain(key: &Key) -> bool {
    let is_unreserved = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(byte);
    key.as_bytes().iter().all(is_unreserved)
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
    let (trouble, help) = (trouble(&error.kind), cause(error).help().map(str::to_owned));
    let without = "if it takes no markers of directories, --no-markers writes none";
    let message = format!("{}; {without}", told(error));
    Cause::Store { trouble, message, help }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: &StoreErrorKind) -> StoreError {
        StoreError::new(kind.clone())
    }

    #[test]
    fn an_ambiguous_refusal_counts_where_the_store_takes_all_else_and_no_marker() {
        use StoreErrorKind as Kind;
        let key = Key::new(*b"d/");
        for kind in [Kind::Denied, Kind::NotFound, Kind::Unavailable] {
            let is_refusal = |steps: &[fn(&Markers)]| {
                let markers = Markers::default();
                for step in steps {
                    step(&markers);
                }
                let is_refusal = markers.are_refused(&key, &error(&kind));
                assert_eq!(markers.are_written(), !is_refusal);
                assert_eq!(markers.warning().is_some(), is_refusal);
                is_refusal
            };
            assert!(!is_refusal(&[]));
            assert!(is_refusal(&[|it| it.took_other(None)]));
            assert!(is_refusal(&[Markers::recall_none]));
            assert!(!is_refusal(&[Markers::recall_none, Markers::took]));
            assert!(!is_refusal(&[|it| it.took_other(None), Markers::took]));
            let denied: fn(&Markers) = |it| it.took_other(Some(&error(&Kind::Denied)));
            assert!(!is_refusal(&[|it| it.took_other(None), denied]));
            assert!(!is_refusal(&[denied, |it| it.took_other(None)]));
            assert!(unwritten(&error(&kind)).to_string().contains("--no-markers"));
        }
        let markers = Markers::default();
        assert!(!markers.are_refused(&key, &error(&Kind::Network)));
        assert!(markers.are_refused(&key, &error(&Kind::Unsupported)));
    }

    #[test]
    fn a_store_that_took_a_marker_takes_markers_whatever_it_says_of_another() {
        use StoreErrorKind as Kind;
        let mut refused = error(&Kind::Other);
        refused.status = Some(400);
        for error in [refused, error(&Kind::Unsupported), error(&Kind::Signature)] {
            let key = Key::new(*b"d/");
            assert!(Markers::default().are_refused(&key, &error));
            let markers = Markers::default();
            markers.took();
            assert!(!markers.are_refused(&key, &error));
            assert!(markers.are_written());
        }
    }

    #[test]
    fn a_signature_of_an_odd_name_tells_nothing_of_other_markers() {
        let error = error(&StoreErrorKind::Signature);
        for (key, is_refusal) in [("a-b/c.d/", true), ("a b/", false), ("\u{e9}/", false)] {
            let key = Key::new(key.as_bytes());
            assert_eq!(Markers::default().are_refused(&key, &error), is_refusal, "{key}");
        }
    }
}
