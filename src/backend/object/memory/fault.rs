//! Scripted faults.

use super::super::{StoreError, StoreErrorKind};
use crate::model::RequestKind;

/// A fault of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request is not carried out, and the store returns an error of this kind.
    Refused(StoreErrorKind),
    /// The request is carried out but the reply is lost: the client calls `look` and sends the
    /// request again.
    LostReply,
    /// The request is carried out, but no reply ever comes.
    Silence,
    /// The content ends after this many bytes.
    BreaksOff(u64),
}

impl Fault {
    /// Returns the error for a store that doesn't reply.
    pub(super) fn silence() -> StoreError {
        let mut error = StoreError::new(StoreErrorKind::Network);
        error.maybe_done = true;
        error
    }
}

/// Pending faults, and the calls made so far.
#[derive(Debug, Default)]
pub struct Faults {
    calls: Vec<RequestKind>,
    waiting: Vec<(RequestKind, usize, Fault)>,
}

impl Faults {
    /// Makes the nth call of a kind from now on fail; 1 is the next.
    pub fn fail(&mut self, kind: RequestKind, nth: usize, fault: Fault) {
        self.waiting.push((kind, self.count(kind) + nth, fault));
    }

    /// Returns the number of calls of a kind so far.
    pub fn count(&self, kind: RequestKind) -> usize {
        self.calls.iter().filter(|call| **call == kind).count()
    }

    /// Returns the calls so far.
    pub fn calls(&self) -> &[RequestKind] {
        &self.calls
    }

    /// Clears the calls and pending faults.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Records a call and returns its fault, if there is one.
    pub(super) fn call(&mut self, kind: RequestKind) -> Option<Fault> {
        self.calls.push(kind);
        let number = self.count(kind);
        let at = self.waiting.iter().position(|(of, nth, _)| (*of, *nth) == (kind, number));
        at.map(|at| self.waiting.swap_remove(at).2)
    }
}
