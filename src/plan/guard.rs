//! Guards: what has to be true before anything is deleted.
//!
//! An unmounted source and `--delete` erased many a backup. Deletions are planned first, done last,
//! and refused whole when the evidence is against them.

use crate::manifest::RootIdentity;
use crate::model::{Error, ErrorKind};

/// What deletion may do.
#[derive(Clone, Copy, Debug)]
pub struct DeleteOptions {
    /// Delete excluded entries too.
    pub excluded: bool,
    /// How much may be deleted.
    pub max: MaxDelete,
    /// Take the source's root for the right one though its identity changed.
    pub accept_source: bool,
}

/// The most that one run may delete; more is refused whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxDelete {
    /// So many entries.
    Count(u64),
    /// So many percent (0 to 100) of the target's entries.
    Percent(f64),
}

/// What is known when deletions are about to begin.
#[derive(Debug)]
pub struct Evidence {
    /// Entries to delete.
    pub deletions: u64,
    /// Entries in the source, its root left out.
    pub source_entries: u64,
    /// Entries in the target, its root left out.
    pub target_entries: u64,
    /// The source's root now.
    pub root: Option<RootIdentity>,
    /// The source's root when deletions were last allowed.
    pub root_before: Option<RootIdentity>,
    /// The user named a file that proves the source, and it is there.
    pub proven_by_file: bool,
}

/// Allows the deletions, or says why not.
///
/// # Errors
/// [`ErrorKind::Refused`], with the way out.
pub fn allow(options: &DeleteOptions, evidence: &Evidence) -> Result<(), Error> {
    let refuse =
        |message: String, help: &str| Err(Error::new(ErrorKind::Refused, message).help(help));
    let Evidence { deletions, source_entries, target_entries, .. } = *evidence;
    let changed = evidence.root_before.is_some() && evidence.root_before != evidence.root;
    if changed && !options.accept_source && !evidence.proven_by_file {
        return refuse(
            "the source's root is not the one of the last run that deleted: is it mounted?".into(),
            "if it is the right one, confirm it once with --accept-source",
        );
    }
    if deletions == 0 {
        return Ok(());
    }
    if source_entries == 0 {
        return refuse(
            format!("the source is empty, and {deletions} entries of the target would be deleted"),
            "if that is meant, empty the target by hand",
        );
    }
    let allowed = match options.max {
        MaxDelete::Count(count) => deletions <= count,
        MaxDelete::Percent(percent) => deletions as f64 * 100.0 <= percent * target_entries as f64,
    };
    if allowed {
        return Ok(());
    }
    refuse(
        format!(
            "{deletions} of the target's {target_entries} entries would be deleted, more than \
             --max-delete allows ({})",
            match options.max {
                MaxDelete::Count(count) => count.to_string(),
                MaxDelete::Percent(percent) => format!("{percent}%"),
            }
        ),
        "look at them with --dry-run; if they are meant, raise --max-delete",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(deletions: u64) -> Evidence {
        Evidence {
            deletions,
            source_entries: 10,
            target_entries: 10,
            root: Some(RootIdentity { inode: 1, file_system: 2 }),
            root_before: None,
            proven_by_file: false,
        }
    }

    fn options(max: MaxDelete) -> DeleteOptions {
        DeleteOptions { excluded: false, max, accept_source: false }
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
        let empty = Evidence { source_entries: 0, ..evidence(1) };
        assert!(!allowed(&options(MaxDelete::Percent(100.0)), &empty));
        assert!(allowed(&options(MaxDelete::Count(0)), &Evidence { deletions: 0, ..empty }));
    }

    #[test]
    fn another_root_deletes_nothing_until_it_is_accepted_or_proven() {
        let other = || Evidence {
            root_before: Some(RootIdentity { inode: 9, file_system: 2 }),
            ..evidence(1)
        };
        let options = options(MaxDelete::Count(9));
        assert!(!allowed(&options, &other()));
        assert!(allowed(&options, &Evidence { proven_by_file: true, ..other() }));
        assert!(allowed(&DeleteOptions { accept_source: true, ..options }, &other()));
    }
}
