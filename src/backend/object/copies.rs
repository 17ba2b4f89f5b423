//! Limits of server-side copies, and what a store refuses to copy, so that it is read and written
//! instead.
//!
//! The target's credentials may not allow reading the source, a compatible store may not support
//! copies, or may not find a source key that it otherwise serves. Each refusal costs a request, so
//! a store that never copied anything is soon not asked any more.

use super::cause::message_of;
use super::part_sizes::COPIED_PART;
use super::{StoreCapabilities, StoreError, StoreErrorKind};
use crate::model::{Key, Notice};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// When an object is copied in parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copies {
    /// The largest object that one COPY takes, in bytes.
    pub(super) above: u64,
    /// The smallest size of a part in bytes.
    pub(super) part: u64,
}

impl Copies {
    /// Takes the limits of a store.
    pub(super) fn of(store: &StoreCapabilities) -> Self {
        Self { above: store.largest_copy, part: COPIED_PART }
    }
}

/// After this many refusals, a store that has not copied anything is not asked any more.
const ENOUGH: u32 = 3;

/// The copies that a store refused in this run.
#[derive(Debug, Default)]
pub(super) struct RefusedCopies {
    has_copied: AtomicBool,
    refusals: AtomicU32,
    /// Whether the store is not asked any more.
    is_over: AtomicBool,
    /// The reason of the first refusal.
    why: Mutex<Option<String>>,
}

impl RefusedCopies {
    /// Returns whether the store may still be asked to copy.
    pub(super) fn may_copy(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    /// Returns whether the store has copied anything.
    pub(super) fn has_copied(&self) -> bool {
        self.has_copied.load(Ordering::Relaxed)
    }

    /// Records a copy.
    pub(super) fn copied(&self) {
        self.has_copied.store(true, Ordering::Relaxed);
    }

    /// Records a refusal.
    pub(super) fn refused(&self, key: &Key, error: &StoreError) {
        let refusals = self.refusals.fetch_add(1, Ordering::Relaxed) + 1;
        let never = refusals >= ENOUGH && !self.has_copied();
        if never || error.kind == StoreErrorKind::Unsupported {
            self.is_over.store(true, Ordering::Relaxed);
        }
        self.because(|| format!("the store refuses to copy \"{key}\": {}", message_of(error)));
    }

    /// Records that source and target use different access keys, so that no copy is tried.
    pub(super) fn other_keys(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.because(|| "source and target have different access keys".to_owned());
    }

    fn because(&self, why: impl FnOnce() -> String) {
        let mut first = self.why.lock();
        first.get_or_insert_with(why);
    }

    /// Returns the notice to show once if anything was refused.
    pub(super) fn notice(&self) -> Option<Notice> {
        let why = self.why.lock().clone();
        why.map(|cause| Notice::CopiesRefused { cause })
    }
}

/// Returns whether an error means that the store doesn't copy this object, which may still be read
/// and written.
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
        // There is no condition on the target, and the source is the version listed.
        | Kind::PreconditionFailed => true,
        Kind::Other => error.status.is_some_and(|status| (400..500).contains(&status)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_never_copied_is_soon_not_asked_any_more() {
        let denied = StoreError::new(StoreErrorKind::Denied);
        let refuse = |copies: &RefusedCopies, times| {
            (0..times).for_each(|_| copies.refused(&Key::new(&b"k"[..]), &denied));
        };
        let copies = RefusedCopies::default();
        assert_eq!(copies.notice(), None);
        refuse(&copies, ENOUGH - 1);
        assert!(copies.may_copy());
        refuse(&copies, 1);
        assert!(!copies.may_copy());
        let told = copies.notice().expect("something to tell").to_string();
        assert!(told.contains("refuses to copy \"k\": access denied"), "{told}");

        let copies = RefusedCopies::default();
        copies.copied();
        refuse(&copies, 10 * ENOUGH);
        assert!(copies.may_copy() && copies.notice().is_some());
        let unsupported = StoreError::new(StoreErrorKind::Unsupported);
        copies.refused(&Key::new(&b"k"[..]), &unsupported);
        assert!(!copies.may_copy());
    }
}
