//! Guards: conditions that must hold before anything is deleted.
//!
//! `--delete` with an unmounted source has erased many backups. So deletions are planned first,
//! done last, and all refused if the evidence is against them.

use super::DeletionTally;
use crate::manifest::{RootIdentity, Sameness};
use crate::model::hint::hint;
use crate::model::{Error, ErrorKind, Hint, Setting};
use std::fmt;

/// Options of deletion. By default, up to half of the target's entries are deleted, but no excluded
/// ones, and none if a copy fails.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct DeleteOptions {
    /// Delete excluded entries too.
    pub excluded: bool,
    /// The most that may be deleted.
    pub max: MaxDelete,
    /// Delete even if a copy failed.
    pub despite_errors: bool,
    /// Accept the source's root even if its identity changed.
    pub accept_source: bool,
}

/// The most that one run may delete; if more would be deleted, nothing is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxDelete {
    /// This number of entries.
    Count(u64),
    /// This percentage (0 to 100) of the target's entries.
    Percent(f64),
}

impl Default for MaxDelete {
    /// Half of the target's entries: if more would go, something is probably wrong with the source.
    fn default() -> Self {
        Self::Percent(50.0)
    }
}

/// The facts by which deletions are allowed.
#[derive(Debug)]
pub struct Evidence {
    /// How many entries are to be deleted, and out of how many.
    pub tally: DeletionTally,
    /// The identity of the source's root now.
    pub root: Option<RootIdentity>,
    /// The identity of the source's root when deletions were last allowed.
    pub root_before: Option<RootIdentity>,
    /// Whether the user named a file that identifies the source, and it exists.
    pub proven_by_file: bool,
    /// Whether the run is limited to listed names, all of which the source may lack.
    pub is_listed: bool,
}

/// Allows the planned deletions, or returns why not.
///
/// # Errors
/// [`ErrorKind::Refused`], with advice.
pub fn allow(options: &DeleteOptions, evidence: &Evidence) -> Result<(), Error> {
    let refuse =
        |message: String, help: Hint| Err(Error::new(ErrorKind::Refused, message).help(help));
    let tally = &evidence.tally;
    let changed = match (&evidence.root, &evidence.root_before) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(now), Some(before)) => now.compare(before) == Sameness::Other,
    };
    if changed && !options.accept_source && !evidence.proven_by_file {
        return refuse(
            "the source's root is not the one of the last run that deleted: is the right disk mounted?".into(),
            hint!["if it is the right one, confirm it once with ", Setting::AcceptSource],
        );
    }
    let deletions = tally.deletions();
    if deletions == 0 {
        return Ok(());
    }
    if tally.source == 0 && !evidence.is_listed {
        return refuse(
            format!(
                "the source is empty, and {} of the target would be deleted",
                DeletionCounts(tally)
            ),
            "if that is intended, empty the target by hand".into(),
        );
    }
    let allowed = match options.max {
        MaxDelete::Count(count) => deletions <= count,
        MaxDelete::Percent(percent) => deletions as f64 * 100.0 <= percent * tally.deletable as f64,
    };
    if allowed {
        return Ok(());
    }
    let most = match options.max {
        MaxDelete::Count(count) => count.to_string(),
        MaxDelete::Percent(percent) => format!("{percent}%"),
    };
    refuse(
        format!(
            "{} of the target's {} {} would be deleted, more than one run may delete ({most})",
            DeletionCounts(tally),
            tally.deletable,
            if tally.deletable == 1 { "entry" } else { "entries" }
        ),
        hint![
            "list them with ",
            Setting::DryRun,
            "; if they are intended, raise ",
            Setting::MaxDelete,
        ],
    )
}

/// The planned deletions in words: `3 files, 1 link and 1 directory`. As in a run's totals, special
/// files count as files.
struct DeletionCounts<'a>(&'a DeletionTally);

impl fmt::Display for DeletionCounts<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DeletionTally { leaves, links, directories, .. } = *self.0;
        let kinds = [
            (leaves - links, "file", "files"),
            (links, "link", "links"),
            (directories, "directory", "directories"),
        ];
        let mut counts = kinds.into_iter().filter(|(number, ..)| *number > 0);
        let mut before = "";
        while let Some((number, one, many)) = counts.next() {
            write!(out, "{before}{number} {}", if number == 1 { one } else { many })?;
            before = if counts.clone().count() > 1 { ", " } else { " and " };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(leaves: u64) -> Evidence {
        Evidence {
            tally: DeletionTally { source: 10, deletable: 10, leaves, ..DeletionTally::default() },
            root: Some(RootIdentity { inode: 1, file_system: 2, id: None }),
            root_before: None,
            proven_by_file: false,
            is_listed: false,
        }
    }

    fn options(max: MaxDelete) -> DeleteOptions {
        DeleteOptions { excluded: false, max, despite_errors: false, accept_source: false }
    }

    fn allowed(options: &DeleteOptions, evidence: &Evidence) -> bool {
        allow(options, evidence).is_ok()
    }

    #[test]
    fn up_to_the_limit_is_allowed_and_one_more_refused() {
        for max in [MaxDelete::Count(5), MaxDelete::Percent(50.0)] {
            assert!(allowed(&options(max), &evidence(5)), "{max:?}");
            assert!(!allowed(&options(max), &evidence(6)), "{max:?}");
        }
        assert!(allowed(&options(MaxDelete::Count(0)), &evidence(0)));
    }

    #[test]
    fn an_empty_source_deletes_nothing() {
        let empty = |leaves| {
            let evidence = evidence(leaves);
            Evidence { tally: DeletionTally { source: 0, ..evidence.tally }, ..evidence }
        };
        assert!(!allowed(&options(MaxDelete::Percent(100.0)), &empty(1)));
        assert!(allowed(&options(MaxDelete::Count(0)), &empty(0)));
    }

    #[test]
    fn directories_count_as_deletions_and_are_named_in_the_refusal() {
        let refused = |leaves, links, directories| {
            let deletable = leaves + directories;
            let tally =
                DeletionTally { deletable, leaves, links, directories, ..evidence(0).tally };
            let evidence = Evidence { tally, ..evidence(0) };
            allow(&options(MaxDelete::Percent(50.0)), &evidence).unwrap_err().message
        };
        let most = "would be deleted, more than one run may delete (50%)";
        let cases = [
            (2, 0, 1, "2 files and 1 directory"),
            (1, 0, 0, "1 file"),
            (0, 0, 3, "3 directories"),
            (3, 1, 2, "2 files, 1 link and 2 directories"),
            (2, 2, 1, "2 links and 1 directory"),
        ];
        for (leaves, links, directories, what) in cases {
            let all = leaves + directories;
            let entries = if all == 1 { "1 entry".to_owned() } else { format!("{all} entries") };
            let expected = format!("{what} of the target's {entries} {most}");
            assert_eq!(refused(leaves, links, directories), expected);
        }
    }

    #[test]
    fn another_root_deletes_nothing_until_it_is_accepted_or_identified_by_a_file() {
        let other = || Evidence {
            root_before: Some(RootIdentity { inode: 9, file_system: 2, id: None }),
            ..evidence(1)
        };
        let options = options(MaxDelete::Count(9));
        assert!(!allowed(&options, &other()));
        assert!(allowed(&options, &Evidence { proven_by_file: true, ..other() }));
        assert!(allowed(&DeleteOptions { accept_source: true, ..options }, &other()));
    }
}
