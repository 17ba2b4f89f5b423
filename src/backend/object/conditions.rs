//! Writing under conditions, as far as a store knows them.

use super::{Condition, StoreError, StoreErrorKind};
use crate::backend::Place;
use crate::model::Cause;
use std::sync::atomic::{AtomicU8, Ordering};

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

/// Which conditions a store was found not to know: a bit for each kind of writing and condition.
#[derive(Debug, Default)]
pub(super) struct Conditions(AtomicU8);

impl Conditions {
    /// Sends a request under a condition, or without it to a store that refuses it for that; learnt
    /// once for each kind.
    pub(super) fn write<T>(
        &self,
        writing: Writing,
        condition: Condition<'_>,
        send: impl Fn(Condition<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let bit = 1 << (2 * writing as u8 + u8::from(condition == Condition::Absent));
        if condition == Condition::None || self.0.load(Ordering::Relaxed) & bit != 0 {
            return send(Condition::None);
        }
        match send(condition) {
            Err(error) if error.may_be_the_condition() => {
                let done = send(Condition::None)?;
                self.0.fetch_or(bit, Ordering::Relaxed);
                Ok(done)
            }
            other => other,
        }
    }
}

/// The condition under which an entry goes to a place.
pub(super) fn condition_of(place: &Place) -> Condition<'_> {
    match place {
        Place::New => Condition::Absent,
        Place::Object(tag) => Condition::Matches(tag),
        Place::Leaf | Place::EmptyDirectory => Condition::None,
    }
}

/// Whether an error says that the condition did not hold: where nothing stands, there is nothing to
/// match.
pub(super) fn is_unmet(error: &StoreError, condition: Condition<'_>) -> bool {
    match error.kind {
        StoreErrorKind::PreconditionFailed => condition != Condition::None,
        StoreErrorKind::NotFound => matches!(condition, Condition::Matches(_)),
        _ => false,
    }
}

/// What it means that something else stands at a place.
pub(super) fn taken(place: &Place) -> Cause {
    if *place == Place::New { Cause::NameTaken } else { Cause::TargetChanged }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ETag;
    use std::cell::Cell;

    #[test]
    fn a_condition_that_a_store_refuses_is_sent_once_and_others_still_are() {
        let (conditions, sent) = (Conditions::default(), Cell::new(0));
        let tag = ETag::new(b"tag").expect("a tag");
        let write = |writing, condition: Condition<'_>, refused: StoreErrorKind| {
            sent.set(0);
            let done = conditions.write(writing, condition, |condition| {
                sent.set(sent.get() + 1);
                match condition {
                    Condition::None => Ok(()),
                    _ => Err(StoreError::new(refused.clone())),
                }
            });
            (done.is_ok(), sent.get())
        };
        let matches = Condition::Matches(&tag);
        let unsupported = || StoreErrorKind::Unsupported;
        assert_eq!(write(Writing::Copy, Condition::Absent, unsupported()), (true, 2));
        assert_eq!(write(Writing::Copy, Condition::Absent, unsupported()), (true, 1));
        assert_eq!(write(Writing::Copy, matches, unsupported()), (true, 2));
        assert_eq!(write(Writing::Put, Condition::Absent, unsupported()), (true, 2));
        for kind in [StoreErrorKind::PreconditionFailed, StoreErrorKind::Denied] {
            assert_eq!(write(Writing::Complete, matches, kind.clone()), (false, 1));
            assert_eq!(write(Writing::Complete, Condition::Absent, kind), (false, 1));
        }
    }
}
