//! How a store copies: what is large in parts, and what it does not copy by itself, so that it is
//! read and written instead.
//!
//! The keys of the target may not read the source, a look-alike may not know copies, or not find by a
//! copy's source what it finds by a key. Each refusal costs a request: a store that never copied
//! anything is soon not asked any more.

use super::cause::told;
use super::part_sizes::COPIED_PART;
use super::{StoreCapabilities, StoreError, StoreErrorKind};
use crate::model::Key;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// From which size on a store is asked to copy in parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copies {
    /// The largest object that one COPY takes, in bytes.
    pub(super) above: u64,
    /// Bytes of a part, at least.
    pub(super) part: u64,
}

impl Copies {
    /// As the store's limits have it.
    pub(super) fn of(store: &StoreCapabilities) -> Self {
        Self { above: store.largest_copy, part: COPIED_PART }
    }
}

/// After so many refusals a store that has not copied anything is not asked any more.
const ENOUGH: u32 = 3;

/// The copies that a store refused in this run.
#[derive(Debug, Default)]
pub(super) struct RefusedCopies {
    has_copied: AtomicBool,
    refusals: AtomicU32,
    /// Nothing more is to be asked for.
    is_over: AtomicBool,
    /// Why, in words.
    why: Mutex<Option<String>>,
}

impl RefusedCopies {
    /// Whether the store may still be asked to copy.
    pub(super) fn may_copy(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    /// Whether the store has copied anything.
    pub(super) fn has_copied(&self) -> bool {
        self.has_copied.load(Ordering::Relaxed)
    }

    /// Takes note of a copy.
    pub(super) fn copied(&self) {
        self.has_copied.store(true, Ordering::Relaxed);
    }

    /// Takes note of a refusal.
    pub(super) fn refused(&self, key: &Key, error: &StoreError) {
        let refusals = self.refusals.fetch_add(1, Ordering::Relaxed) + 1;
        let never = refusals >= ENOUGH && !self.has_copied();
        if never || error.kind == StoreErrorKind::Unsupported {
            self.is_over.store(true, Ordering::Relaxed);
        }
        self.because(|| format!("the store refuses to copy \"{key}\": {}", told(error)));
    }

    /// Takes note that source and target have keys of their own, so that no copy is asked for.
    pub(super) fn other_keys(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.because(|| "source and target have access keys of their own".to_owned());
    }

    fn because(&self, why: impl FnOnce() -> String) {
        let mut first = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(why);
    }

    /// What to tell once, if anything was refused.
    pub(super) fn warning(&self) -> Option<String> {
        let why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        why.as_ref().map(|why| {
            format!("content was read and written by this machine, not copied by the store: {why}")
        })
    }
}

/// Whether an error says that the store does not copy this, though it may be read and written.
pub(super) fn is_refusal(error: &StoreError) -> bool {
    use StoreErrorKind as Kind;
    match error.kind {
        Kind::Denied
        | Kind::Unsupported
        | Kind::Signature
        | Kind::TooLarge
        | Kind::KeyTooLong
        | Kind::WrongRegion(_)
        | Kind::Redirect
        // Sent without a condition on the target, and of a source that is the one listed.
        | Kind::PreconditionFailed => true,
        Kind::Other => error.status.is_some_and(|status| (400..500).contains(&status)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_never_copied_is_not_asked_for_long_and_one_that_did_is() {
        let denied = StoreError::new(StoreErrorKind::Denied);
        let refuse = |copies: &RefusedCopies, times| {
            (0..times).for_each(|_| copies.refused(&Key::new(&b"k"[..]), &denied));
        };
        let copies = RefusedCopies::default();
        assert_eq!(copies.warning(), None);
        refuse(&copies, ENOUGH - 1);
        assert!(copies.may_copy());
        refuse(&copies, 1);
        assert!(!copies.may_copy());
        let told = copies.warning().expect("something to tell");
        assert!(told.contains("refuses to copy \"k\": access denied"), "{told}");

        let copies = RefusedCopies::default();
        copies.copied();
        refuse(&copies, 10 * ENOUGH);
        assert!(copies.may_copy() && copies.warning().is_some());
        let unsupported = StoreError::new(StoreErrorKind::Unsupported);
        copies.refused(&Key::new(&b"k"[..]), &unsupported);
        assert!(!copies.may_copy());
    }
}
