//! Special files that the target refuses: each is counted, and one error a run tells of all.

use crate::model::{Cause, EntryError};
use parking_lot::Mutex;

/// The first special file that was refused, with the number of others.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<Option<EntryError>>);

impl Refusals {
    /// Keeps the error of a refused special file for the end of the run; returns any other.
    pub(super) fn keep(&self, error: EntryError) -> Option<EntryError> {
        if !matches!(error.cause, Cause::SpecialRefused { .. }) {
            return Some(error);
        }
        let mut first = self.0.lock();
        match &mut *first {
            Some(EntryError { cause: Cause::SpecialRefused { others, .. }, .. }) => *others += 1,
            _ => *first = Some(error),
        }
        None
    }

    /// Returns the error that tells of all that were refused so far, if any was.
    pub(super) fn take(&self) -> Option<EntryError> {
        self.0.lock().take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EntryKind, Key, Operation, SpecialKind};

    #[test]
    fn one_error_tells_of_all_special_files_that_were_refused() {
        let refusals = Refusals::default();
        let error = |key: &str, cause| {
            EntryError::on_target(Operation::MakeSpecial, Key::new(key.as_bytes()), cause)
        };
        let kind = EntryKind::Special(SpecialKind::BlockDevice);
        for key in ["a", "b", "c"] {
            let refused = error(key, Cause::SpecialRefused { kind, others: 0 });
            assert!(refusals.keep(refused).is_none());
        }
        assert!(refusals.keep(error("d", Cause::NameTaken)).is_some(), "another failure");
        assert_eq!(
            refusals.take().expect("some were refused").to_string(),
            "cannot make special file target \"a\": it is a block device, and only root makes \
             devices; 2 other special files are missing, too"
        );
        assert!(refusals.take().is_none());
    }
}
