//! Which metadata and entries a place can store.

use super::stamp::Timestamp;
use super::{EntryKind, Metadata, NameLimits};

/// Which metadata and entries a place can store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each by its name in records")]
pub struct Keeps {
    /// The mode that every file has; `None` if modes are kept.
    pub file_mode: Option<u32>,
    /// The mode that every directory has; `None` if modes are kept.
    pub directory_mode: Option<u32>,
    /// The owner and group that every entry has; `None` if they are kept.
    pub owner: Option<(u32, u32)>,
    /// Whether modification times are kept.
    pub times: bool,
    /// The resolution of modification times, in nanoseconds from 1 to 2,000,000,000: times are
    /// rounded down to a multiple of it.
    pub time_unit: u32,
    /// Whether symbolic links have an owner, group and time of their own; some file systems set
    /// those of the file that a link points to.
    pub of_links: bool,
    /// Whether directories exist in themselves, so that empty ones and directories' metadata are
    /// kept; else they are implied by the entries in them.
    pub directories: bool,
    /// Whether symbolic links can be stored.
    pub links: bool,
    /// Names that can't be stored.
    pub names: NameLimits,
}

impl Default for Keeps {
    fn default() -> Self {
        Self::ALL
    }
}

impl Keeps {
    /// Everything is kept.
    pub const ALL: Self = Self {
        file_mode: None,
        directory_mode: None,
        owner: None,
        times: true,
        time_unit: 1,
        of_links: true,
        directories: true,
        links: true,
        names: NameLimits::NONE,
    };

    /// Returns the resolution with which `set` became `found`, in nanoseconds; 1 if no known one
    /// fits.
    pub fn unit_of(set: Timestamp, found: Timestamp) -> u32 {
        // Windows, SMB and exFAT have 100 ns, 10 ms, 2 s; others 1 us, 1 ms or 1 s.
        let units = [1, 100, 1_000, 1_000_000, 10_000_000, 1_000_000_000, 2_000_000_000];
        units.into_iter().find(|&unit| set.cut(unit) == found).unwrap_or(1)
    }

    /// Returns whether `found` is what the place keeps of the time `set`.
    pub fn is_time(&self, set: Timestamp, found: Timestamp) -> bool {
        set.cut(self.time_unit) == found
    }

    /// Returns the metadata that results from setting `wanted`. An existing entry keeps what can't
    /// be set, and no set-id bit passes to another owner or group.
    pub fn achievable(
        &self,
        wanted: Metadata,
        kind: EntryKind,
        existing: Option<&Metadata>,
    ) -> Metadata {
        let mut result = wanted;
        if let Some((uid, gid)) = self.owner {
            let (uid, gid) = existing.map_or((uid, gid), |existing| (existing.uid, existing.gid));
            result = result.owned_by(uid, gid, kind);
        }
        let given = match kind {
            EntryKind::File | EntryKind::Special(_) => self.file_mode,
            EntryKind::Directory => self.directory_mode,
            EntryKind::Symlink => None,
        };
        if let Some(mode) = given {
            result.mode = existing.map_or(mode, |existing| existing.mode);
        }
        if let Some(existing) = existing {
            if !self.times {
                result.mtime = existing.mtime;
            }
            if kind == EntryKind::Symlink && !self.of_links {
                result = Metadata { mode: result.mode, ..*existing };
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_files_get_the_mode_that_all_files_get() {
        let keeps = Keeps { file_mode: Some(0o777), directory_mode: Some(0o700), ..Keeps::ALL };
        let wanted = Metadata { mode: 0o640, ..Metadata::default() };
        let mode = |kind| keeps.achievable(wanted, kind, None).mode;
        assert_eq!(mode(EntryKind::File), 0o777);
        assert_eq!(mode(EntryKind::Special(crate::model::SpecialKind::Fifo)), 0o777);
        assert_eq!(mode(EntryKind::Directory), 0o700);
        assert_eq!(mode(EntryKind::Symlink), 0o640);
    }

    #[test]
    fn a_unit_is_found_by_what_it_cuts_off() {
        let set = Timestamp { seconds: 1_000_000_001, nanos: 987_654_321 };
        let at = |seconds, nanos| Timestamp { seconds, nanos };
        for (found, unit) in [
            (set, 1),
            (at(1_000_000_001, 987_654_300), 100),
            (at(1_000_000_001, 987_654_000), 1_000),
            (at(1_000_000_001, 980_000_000), 10_000_000),
            (at(1_000_000_001, 0), 1_000_000_000),
            (at(1_000_000_000, 0), 2_000_000_000),
            (at(1_000_000_002, 0), 1),
        ] {
            assert_eq!(Keeps::unit_of(set, found), unit, "{found}");
        }
        let keeps = Keeps { time_unit: 2_000_000_000, ..Keeps::default() };
        assert!(keeps.is_time(at(-1, 5), at(-2, 0)));
        assert!(!keeps.is_time(at(3, 0), at(3, 0)));
    }
}
