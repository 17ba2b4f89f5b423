//! Writing under conditions, as far as a store knows them.
//!
//! A store may refuse a condition that it doesn't know, or find one unmet that is met: Ceph's gateway
//! long compared `If-Match` with its quotes, and others find an object where only the mark of a
//! deletion stands. So whoever is told that a condition is not met looks (HEAD). Where just that
//! stands which was expected, the request is sent once more, for what was there may be gone again;
//! where that makes no difference, it is sent without a condition, as are all of its kind from then
//! on.

use super::{Condition, Head, Store, StoreError, StoreErrorKind};
use crate::backend::Precondition;
use crate::model::Cause;
use std::sync::atomic::{AtomicU8, Ordering};

/// How often a condition is sent that is met and that the store finds unmet.
const TRIES: u32 = 2;

/// What is sent under a condition. Stores came to know conditions on one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) enum Writing {
    /// A whole object.
    Put,
    /// The end of an upload in parts.
    Complete,
    /// A copy within the store.
    Copy,
}

/// Which conditions a store was found not to do: a bit for each kind of writing and condition.
#[derive(Debug, Default)]
pub(super) struct Conditions(AtomicU8);

/// Why nothing was written.
#[derive(Debug)]
pub(super) enum Unwritten {
    /// The condition is not met.
    Unmet {
        /// How the store said so.
        error: StoreError,
        /// What stands there, if anything does.
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
    /// Writes to `key` under a condition, or without it in a store that can't do that: learnt once
    /// for each kind.
    pub(super) fn write<T>(
        &self,
        store: &dyn Store,
        (writing, key, condition): (Writing, &[u8], Condition<'_>),
        send: impl Fn(Condition<'_>) -> Result<T, StoreError>,
    ) -> Result<T, Unwritten> {
        self.send(writing, condition, send, || Ok((store.head(key)?, true)))
    }

    /// Copies to `key`; see [`Conditions::write`]. `is_listed` tells whether the source still is the
    /// version that is to be copied, which may be what the store finds unmet.
    pub(super) fn copy<T>(
        &self,
        store: &dyn Store,
        (key, condition): (&[u8], Condition<'_>),
        send: impl Fn(Condition<'_>) -> Result<T, StoreError>,
        is_listed: impl Fn() -> Result<bool, StoreError>,
    ) -> Result<T, Unwritten> {
        self.send(Writing::Copy, condition, send, || Ok((store.head(key)?, is_listed()?)))
    }

    /// `look` tells what stands, and whether nothing else can be why a condition is not met.
    fn send<T>(
        &self,
        writing: Writing,
        condition: Condition<'_>,
        send: impl Fn(Condition<'_>) -> Result<T, StoreError>,
        look: impl Fn() -> Result<(Option<Head>, bool), StoreError>,
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
                    let (existing, decides) = look()?;
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

    /// What to tell once of what was learnt, if anything was.
    pub(super) fn warning(&self) -> Option<String> {
        (self.0.load(Ordering::Relaxed) != 0).then(|| {
            "the store can't write under a condition (If-Match, If-None-Match): what somebody else \
             writes to the target at the same time may be overwritten"
                .to_owned()
        })
    }
}

/// Whether what stands is what a condition asks for.
pub(super) fn is_met(condition: Condition<'_>, existing: Option<&Head>) -> bool {
    match (condition, existing) {
        (Condition::Matches(tag), Some(head)) => head.etag.as_ref() == Some(tag),
        (Condition::Absent, None) => true,
        _ => false,
    }
}

/// The condition under which an entry goes to a place.
pub(super) fn condition_of(place: &Precondition) -> Condition<'_> {
    match place {
        Precondition::Absent => Condition::Absent,
        Precondition::Object(tag) => Condition::Matches(tag),
        Precondition::Leaf | Precondition::EmptyDirectory => Condition::None,
    }
}

/// Whether an error says that the condition did not hold: where nothing stands, there is nothing to
/// match.
fn is_unmet(error: &StoreError, condition: Condition<'_>) -> bool {
    match error.kind {
        StoreErrorKind::PreconditionFailed => condition != Condition::None,
        StoreErrorKind::NotFound => matches!(condition, Condition::Matches(_)),
        _ => false,
    }
}

/// What it means that something else stands at a place.
pub(super) fn taken(place: &Precondition) -> Cause {
    if *place == Precondition::Absent { Cause::NameTaken } else { Cause::TargetChanged }
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

    /// A store that answers each condition with `refused`, and where `existing` stands: how it ended,
    /// and what was sent.
    fn write(
        conditions: &Conditions,
        (writing, condition): (Writing, Condition<'_>),
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
        let done = conditions.send(writing, condition, answer, || Ok((existing.map(head), true)));
        (done, sent.get())
    }

    #[test]
    fn a_condition_that_a_store_refuses_is_sent_once_and_others_still_are() {
        let conditions = Conditions::default();
        let tag = ETag::new(b"tag").expect("a tag");
        let matches = Condition::Matches(&tag);
        let count = |writing, condition, kind: StoreErrorKind| {
            let (done, sent) = write(&conditions, (writing, condition), || kind.clone(), None);
            (done.is_ok(), sent)
        };
        let unsupported = || StoreErrorKind::Unsupported;
        assert_eq!(conditions.warning(), None);
        assert_eq!(count(Writing::Copy, Condition::Absent, unsupported()), (true, 2));
        assert_eq!(count(Writing::Copy, Condition::Absent, unsupported()), (true, 1));
        assert_eq!(count(Writing::Copy, matches, unsupported()), (true, 2));
        assert_eq!(count(Writing::Put, Condition::Absent, unsupported()), (true, 2));
        assert!(conditions.warning().is_some());
        assert_eq!(count(Writing::Complete, matches, StoreErrorKind::Denied), (false, 1));
        assert_eq!(count(Writing::Complete, Condition::Absent, StoreErrorKind::Denied), (false, 1));
    }

    #[test]
    fn a_condition_that_is_met_and_found_unmet_is_done_without() {
        let [old, new] = [b"old", b"new"].map(|tag| ETag::new(tag).expect("a tag"));
        let unmet = || StoreErrorKind::PreconditionFailed;
        for (condition, existing, other) in [
            (Condition::Matches(&old), Some(&old), Some(&new)),
            (Condition::Matches(&old), Some(&old), None),
            (Condition::Absent, None, Some(&new)),
        ] {
            let conditions = Conditions::default();
            let (done, sent) = write(&conditions, (Writing::Put, condition), unmet, other);
            assert_eq!(sent, 1, "{condition:?}");
            assert!(
                matches!(&done, Err(Unwritten::Unmet { existing, .. }) if existing.is_some() == other.is_some()),
                "{done:?}"
            );
            assert_eq!(conditions.warning(), None);
            let (done, sent) = write(&conditions, (Writing::Put, condition), unmet, existing);
            assert!(done.is_ok() && sent == 3, "{done:?} {sent}");
            let (done, sent) = write(&conditions, (Writing::Put, condition), unmet, existing);
            assert!(done.is_ok() && sent == 1, "{done:?} {sent}");
            assert!(conditions.warning().is_some());
        }
    }

    #[test]
    fn what_was_there_for_a_moment_teaches_nothing() {
        let (conditions, sent) = (Conditions::default(), Cell::new(0));
        let answer = |condition: Condition<'_>| {
            sent.set(sent.get() + 1);
            assert_eq!(condition, Condition::Absent);
            if sent.get() == 1 { Err(refusal(StoreErrorKind::PreconditionFailed)) } else { Ok(()) }
        };
        let done = conditions.send(Writing::Put, Condition::Absent, answer, || Ok((None, true)));
        assert!(done.is_ok() && sent.get() == 2);
        assert_eq!(conditions.warning(), None);
    }

    #[test]
    fn a_copy_whose_source_changed_says_nothing_of_the_target() {
        let conditions = Conditions::default();
        let answer = |_: Condition<'_>| Err::<(), _>(refusal(StoreErrorKind::PreconditionFailed));
        let done = conditions.send(Writing::Copy, Condition::Absent, answer, || Ok((None, false)));
        assert!(matches!(done, Err(Unwritten::Unmet { existing: None, .. })), "{done:?}");
        assert_eq!(conditions.warning(), None);
    }
}
