//! Conditional writes, as far as a store supports them.
//!
//! A store may refuse a condition that it doesn't know, or wrongly find it unmet: Ceph's gateway
//! long compared `If-Match` including its quotes, and others treat a delete marker as an existing
//! object. So if a store says that a condition is not met, the object is looked up (HEAD). If the
//! condition is in fact met, the request is sent once more, because a conflicting object may have
//! been removed meanwhile. If that doesn't help, it is sent without a condition, and so is every
//! later request of the same kind.

use super::{Condition, Head, Store, StoreError, StoreErrorKind};
use crate::backend::Precondition;
use crate::model::{Cause, Notice};
use std::sync::atomic::{AtomicU8, Ordering};

/// How often a request is sent whose condition is met but which the store refuses as unmet.
const TRIES: u32 = 2;

/// Kinds of conditional writes. Stores added support for them one by one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Writing {
    /// A PUT of a whole object.
    Put,
    /// Completing a multipart upload.
    Complete,
    /// A server-side copy.
    Copy,
}

/// Which conditions a store was found not to support: one bit for each kind of write and condition.
#[derive(Debug, Default)]
pub(super) struct Conditions(AtomicU8);

/// Why nothing was written.
#[derive(Debug)]
pub(super) enum Unwritten {
    /// The condition is not met.
    Unmet {
        /// The store's error.
        error: StoreError,
        /// The existing object, if there is one.
        existing: Option<Box<Head>>,
    },
    /// The store failed, or refused.
    Failed(StoreError),
}

impl From<StoreError> for Unwritten {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl Conditions {
    /// Writes to `key` under a condition, or without it if the store doesn't support that, which is
    /// found out once for each kind.
    pub(super) fn write<T>(
        &self,
        store: &dyn Store,
        writing: Writing,
        key: &[u8],
        condition: Condition<'_>,
        send: impl Fn(Condition<'_>) -> Result<T, StoreError>,
    ) -> Result<T, Unwritten> {
        let look = || Ok(Found { existing: store.head(key)?, decides: true });
        self.send(writing, condition, send, look)
    }

    /// Copies to `key`; see [`Conditions::write`]. `is_listed` returns whether the source is still
    /// the version to copy: if not, that may be why the store finds a condition unmet.
    pub(super) fn copy<T>(
        &self,
        store: &dyn Store,
        key: &[u8],
        condition: Condition<'_>,
        send: impl Fn(Condition<'_>) -> Result<T, StoreError>,
        is_listed: impl Fn() -> Result<bool, StoreError>,
    ) -> Result<T, Unwritten> {
        let look = || Ok(Found { existing: store.head(key)?, decides: is_listed()? });
        self.send(Writing::Copy, condition, send, look)
    }

    /// Sends a request. `look` finds out what exists if the condition is reported unmet.
    fn send<T>(
        &self,
        writing: Writing,
        condition: Condition<'_>,
        send: impl Fn(Condition<'_>) -> Result<T, StoreError>,
        look: impl Fn() -> Result<Found, StoreError>,
    ) -> Result<T, Unwritten> {
        let bit = 1 << (2 * writing as u8 + u8::from(condition == Condition::Absent));
        if condition == Condition::None || self.0.load(Ordering::Relaxed) & bit != 0 {
            return Ok(send(Condition::None)?);
        }
        let mut tries = 0;
        loop {
            tries += 1;
            match send(condition) {
                Ok(done) => return Ok(done),
                Err(error) if error.may_be_the_condition() => break,
                Err(error) if is_unmet(&error, condition) => {
                    let Found { existing, decides } = look()?;
                    if !decides || !is_met(condition, existing.as_ref()) {
                        let existing = existing.map(Box::new);
                        return Err(Unwritten::Unmet { error, existing });
                    }
                    if tries == TRIES {
                        break;
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        let done = send(Condition::None)?;
        self.0.fetch_or(bit, Ordering::Relaxed);
        Ok(done)
    }

    /// Returns the notice to show once if conditions are not supported.
    pub(super) fn notice(&self) -> Option<Notice> {
        (self.0.load(Ordering::Relaxed) != 0).then_some(Notice::ConditionsIgnored)
    }
}

/// What was found after a condition was reported unmet.
struct Found {
    /// The existing object.
    existing: Option<Head>,
    /// Whether only the condition on it can be unmet.
    decides: bool,
}

/// Returns whether the existing object fulfils a condition.
pub(super) fn is_met(condition: Condition<'_>, existing: Option<&Head>) -> bool {
    match (condition, existing) {
        (Condition::Matches(tag), Some(head)) => head.etag.as_ref() == Some(tag),
        (Condition::Absent, None) => true,
        _ => false,
    }
}

/// Converts a precondition into the condition of a request.
pub(super) fn condition_of(precondition: &Precondition) -> Condition<'_> {
    match precondition {
        Precondition::Absent => Condition::Absent,
        Precondition::Object(tag) => Condition::Matches(tag),
        Precondition::Leaf | Precondition::EmptyDirectory => Condition::None,
    }
}

/// Returns whether an error means that the condition is not met. A missing object can't match a
/// tag.
fn is_unmet(error: &StoreError, condition: Condition<'_>) -> bool {
    match error.kind {
        StoreErrorKind::PreconditionFailed => condition != Condition::None,
        StoreErrorKind::NotFound => matches!(condition, Condition::Matches(_)),
        _ => false,
    }
}

/// Returns the cause for another object at the key.
pub(super) fn conflict(precondition: &Precondition) -> Cause {
    if *precondition == Precondition::Absent { Cause::NameTaken } else { Cause::TargetChanged }
}

#[cfg(test)]
mod tests {
    use super::super::Headers;
    use super::*;
    use crate::model::ETag;
    use std::cell::Cell;

    fn refusal(kind: StoreErrorKind) -> StoreError {
        StoreError::new(kind)
    }

    /// Writes to a store that answers each condition with `refused` and has the object `existing`.
    /// Returns the result and the number of requests.
    fn write(
        conditions: &Conditions,
        writing: Writing,
        condition: Condition<'_>,
        refused: impl Fn() -> StoreErrorKind,
        existing: Option<&ETag>,
    ) -> (Result<(), Unwritten>, usize) {
        let sent = Cell::new(0);
        let answer = |condition: Condition<'_>| {
            sent.set(sent.get() + 1);
            if condition == Condition::None { Ok(()) } else { Err(refusal(refused())) }
        };
        let head = |tag: &ETag| Head {
            size: 0,
            etag: Some(*tag),
            modified: None,
            headers: Headers::default(),
            version: None,
            checksum: None,
        };
        let look = || Ok(Found { existing: existing.map(head), decides: true });
        let done = conditions.send(writing, condition, answer, look);
        (done, sent.get())
    }

    #[test]
    fn an_unsupported_condition_is_sent_once_and_others_still_are() {
        let conditions = Conditions::default();
        let tag = ETag::new(b"tag").expect("a tag");
        let matches = Condition::Matches(&tag);
        let count = |writing, condition, kind: StoreErrorKind| {
            let (done, sent) = write(&conditions, writing, condition, || kind.clone(), None);
            (done.is_ok(), sent)
        };
        let unsupported = || StoreErrorKind::Unsupported;
        assert_eq!(conditions.notice(), None);
        assert_eq!(count(Writing::Copy, Condition::Absent, unsupported()), (true, 2));
        assert_eq!(count(Writing::Copy, Condition::Absent, unsupported()), (true, 1));
        assert_eq!(count(Writing::Copy, matches, unsupported()), (true, 2));
        assert_eq!(count(Writing::Put, Condition::Absent, unsupported()), (true, 2));
        assert!(conditions.notice().is_some());
        assert_eq!(count(Writing::Complete, matches, StoreErrorKind::Denied), (false, 1));
        assert_eq!(count(Writing::Complete, Condition::Absent, StoreErrorKind::Denied), (false, 1));
    }

    #[test]
    fn a_condition_wrongly_found_unmet_is_dropped() {
        let [old, new] = [b"old", b"new"].map(|tag| ETag::new(tag).expect("a tag"));
        let unmet = || StoreErrorKind::PreconditionFailed;
        for (condition, existing, other) in [
            (Condition::Matches(&old), Some(&old), Some(&new)),
            (Condition::Matches(&old), Some(&old), None),
            (Condition::Absent, None, Some(&new)),
        ] {
            let conditions = Conditions::default();
            let (done, sent) = write(&conditions, Writing::Put, condition, unmet, other);
            assert_eq!(sent, 1, "{condition:?}");
            assert!(
                matches!(&done, Err(Unwritten::Unmet { existing, .. }) if existing.is_some() == other.is_some()),
                "{done:?}"
            );
            assert_eq!(conditions.notice(), None);
            let (done, sent) = write(&conditions, Writing::Put, condition, unmet, existing);
            assert!(done.is_ok() && sent == 3, "{done:?} {sent}");
            let (done, sent) = write(&conditions, Writing::Put, condition, unmet, existing);
            assert!(done.is_ok() && sent == 1, "{done:?} {sent}");
            assert!(conditions.notice().is_some());
        }
    }

    #[test]
    fn an_object_that_existed_for_a_moment_does_not_disable_conditions() {
        let (conditions, sent) = (Conditions::default(), Cell::new(0));
        let answer = |condition: Condition<'_>| {
            sent.set(sent.get() + 1);
            assert_eq!(condition, Condition::Absent);
            if sent.get() == 1 { Err(refusal(StoreErrorKind::PreconditionFailed)) } else { Ok(()) }
        };
        let done = conditions.send(Writing::Put, Condition::Absent, answer, || {
            Ok(Found { existing: None, decides: true })
        });
        assert!(done.is_ok() && sent.get() == 2);
        assert_eq!(conditions.notice(), None);
    }

    #[test]
    fn a_changed_source_does_not_disable_conditions_on_the_target() {
        let conditions = Conditions::default();
        let answer = |_: Condition<'_>| Err::<(), _>(refusal(StoreErrorKind::PreconditionFailed));
        let done = conditions.send(Writing::Copy, Condition::Absent, answer, || {
            Ok(Found { existing: None, decides: false })
        });
        assert!(matches!(done, Err(Unwritten::Unmet { existing: None, .. })), "{done:?}");
        assert_eq!(conditions.notice(), None);
    }
}
