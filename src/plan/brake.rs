//! A brake: refuses a run before it touches the target if too much of the source changed at once.
//!
//! Files that were encrypted by somebody else, emptied by a full disk, or moved by mistake would
//! otherwise be mirrored over their good copies.

use crate::compare::{Pair, Seen};
use crate::manifest::{Row, SourceNumber};
use crate::model::hint::hint;
use crate::model::stamp::{StampFields, StampMatch};
use crate::model::{EntryKind, Error, ErrorKind, Setting};

/// The most of a source's known files that may have changed since the last run, in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaxChange(pub f64);

/// How many files earlier runs recorded, and how many of them changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangeTally {
    /// Files of this source that earlier runs recorded and that could be listed.
    pub known: u64,
    /// Those whose size or modification time is another one, or that are no files any more.
    pub changed: u64,
    /// Those of the changed ones that have fewer bytes.
    pub shrunk: u64,
    /// Those that are gone.
    pub gone: u64,
    /// Those of the gone ones that the source has under another name now.
    pub moved: u64,
}

impl ChangeTally {
    /// Counts what a run from this source recorded at a key. What isn't known to be gone isn't
    /// counted, nor what another source brought. Nor is what is gone, unless the run `deletes` that
    /// from the target: it stays there, and in the record, run after run.
    pub fn add(&mut self, pair: &Pair, from: SourceNumber, trust: StampFields, deletes: bool) {
        let is_known = |row: &&Row| row.kind == EntryKind::File && row.from == from;
        let Some(row) = pair.row.as_ref().filter(is_known) else { return };
        match &pair.source {
            Seen::Unknown => return,
            Seen::Absent if !deletes => return,
            Seen::Absent => self.gone += 1,
            Seen::Present(entry) => {
                let is_changed = match entry.stamp.compare(&row.source, trust) {
                    StampMatch::Size | StampMatch::Mtime | StampMatch::Tag => true,
                    StampMatch::Same | StampMatch::Doubtful => false,
                };
                self.changed += u64::from(is_changed);
                self.shrunk += u64::from(entry.stamp.size < row.source.size);
            }
        }
        self.known += 1;
    }

    /// Allows the changes, or returns why not.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`], with advice.
    pub fn allow(&self, max: MaxChange) -> Result<(), Error> {
        let Self { known, changed, shrunk, gone, moved } = *self;
        let gone = gone.saturating_sub(moved);
        let all = changed + gone;
        if all == 0 || all as f64 * 100.0 <= max.0 * known as f64 {
            return Ok(());
        }
        let message = format!(
            "of {known} files that were mirrored before, {changed} changed ({shrunk} of them have \
             fewer bytes) and {gone} are gone, more than may at once ({}%)",
            max.0
        );
        Err(Error::new(ErrorKind::Refused, message).help(hint![
            "look at them with ",
            Setting::DryRun,
            "; if they are meant, mirror them once with ",
            Setting::AcceptChanges,
        ]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_to_the_limit_is_allowed_and_one_more_refused() {
        // One of those that are gone has another name.
        let tally = |changed, gone: u64| {
            let gone = gone + 1;
            ChangeTally { known: 10, changed, shrunk: 0, gone, moved: 1 }
        };
        for (changed, gone, percent, is_allowed) in [
            (2, 3, 50.0, true),
            (3, 3, 50.0, false),
            (0, 0, 0.0, true),
            (1, 0, 0.0, false),
            (0, 1, 9.9, false),
            (5, 5, 100.0, true),
        ] {
            let allowed = tally(changed, gone).allow(MaxChange(percent));
            assert_eq!(allowed.is_ok(), is_allowed, "{changed} {gone} {percent}");
        }
        assert!(ChangeTally::default().allow(MaxChange(0.0)).is_ok(), "nothing was known");
    }
}
