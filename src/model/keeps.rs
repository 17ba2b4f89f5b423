//! What a place keeps of what is written to it.

use super::stamp::Timestamp;
use super::{EntryKind, Metadata, NameLimits};

/// What a place keeps of metadata that is set, and of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each by its name in records")]
pub struct Keeps {
    /// `None` where modes are kept, else the one that every file has.
    pub file_mode: Option<u32>,
    /// The same of directories.
    pub directory_mode: Option<u32>,
    /// `None` where owners and groups are kept, else those that everything has.
    pub owner: Option<(u32, u32)>,
    /// Whether modification times are kept.
    pub times: bool,
    /// Of how many nanoseconds kept times are multiples, from 1 to 2,000,000,000: a time that is set
    /// is cut down to one.
    pub time_unit: u32,
    /// Whether owner, group and time of a symbolic link are its own: some set those of the file that
    /// it points to.
    pub of_links: bool,
    /// Whether a directory is kept for itself: an empty one, and what is set of any. Else it is what
    /// lies in it.
    pub directories: bool,
    /// Whether there are symbolic links.
    pub links: bool,
    /// What keeps a name out.
    pub names: NameLimits,
}

impl Default for Keeps {
    fn default() -> Self {
        Self::ALL
    }
}

impl Keeps {
    /// All of it.
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

    /// The unit of times of which `set` became `found`; 1 where it is none that is known.
    pub fn unit_of(set: Timestamp, found: Timestamp) -> u32 {
        // Windows, SMB and exFAT have 100 ns, 10 ms, 2 s; others 1 us, 1 ms or 1 s.
        let units = [1, 100, 1_000, 1_000_000, 10_000_000, 1_000_000_000, 2_000_000_000];
        units.into_iter().find(|&unit| set.cut(unit) == found).unwrap_or(1)
    }

    /// Whether a time that was set is kept as `found`.
    pub fn is_time(&self, set: Timestamp, found: Timestamp) -> bool {
        set.cut(self.time_unit) == found
    }

    /// Returns the metadata that an entry has after `wanted` was set: what isn't kept stays as in the
    /// `existing` entry, and no set-id bit is set under another owner or group.
    pub fn achievable(
        &self,
        wanted: Metadata,
        kind: EntryKind,
        existing: Option<&Metadata>,
    ) -> Metadata {
        let mut held = wanted;
        if let Some((uid, gid)) = self.owner {
            let (uid, gid) = existing.map_or((uid, gid), |existing| (existing.uid, existing.gid));
            held = held.owned_by(uid, gid, kind);
        }
        let given = match kind {
            EntryKind::File => self.file_mode,
            EntryKind::Directory => self.directory_mode,
            EntryKind::Symlink | EntryKind::Special(_) => None,
        };
        if let Some(mode) = given {
            held.mode = existing.map_or(mode, |existing| existing.mode);
        }
        if let Some(existing) = existing {
            if !self.times {
                held.mtime = existing.mtime;
            }
            if kind == EntryKind::Symlink && !self.of_links {
                held = Metadata { mode: held.mode, ..*existing };
            }
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
