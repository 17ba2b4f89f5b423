//! Faults by script: what goes wrong, and when.

use super::super::{StoreError, StoreErrorKind};
use crate::model::RequestKind;

/// What goes wrong with one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done, and the store says so by an error of this kind.
    Refused(StoreErrorKind),
    /// It is done, and no reply comes: the client asks what it was told to look at, and sends the
    /// request again.
    LostReply,
    /// It is done, and no reply ever comes.
    Silence,
    /// The content ends after so many bytes.
    BreaksOff(u64),
}

impl Fault {
    /// The error of a store that is silent.
    pub(super) fn silence() -> StoreError {
        let mut error = StoreError::new(StoreErrorKind::Network);
        error.maybe_done = true;
        error
    }
}

/// Faults that wait for their calls, and the calls that were made.
#[derive(Debug, Default)]
pub struct Faults {
    calls: Vec<RequestKind>,
    waiting: Vec<(RequestKind, usize, Fault)>,
}

impl Faults {
    /// Lets the nth call of a kind from now on fail; 1 is the next one.
    pub fn fail(&mut self, kind: RequestKind, nth: usize, fault: Fault) {
        self.waiting.push((kind, self.count(kind) + nth, fault));
    }

    /// Calls of a kind so far.
    pub fn count(&self, kind: RequestKind) -> usize {
        self.calls.iter().filter(|call| **call == kind).count()
    }

    /// Calls so far.
    pub fn calls(&self) -> &[RequestKind] {
        &self.calls
    }

    /// Forgets the calls, and the faults that wait.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Takes note of a call; what goes wrong with it, if anything does.
    pub(super) fn call(&mut self, kind: RequestKind) -> Option<Fault> {
        self.calls.push(kind);
        let number = self.count(kind);
        let at = self.waiting.iter().position(|(of, nth, _)| (*of, *nth) == (kind, number));
        at.map(|at| self.waiting.swap_remove(at).2)
    }
}
