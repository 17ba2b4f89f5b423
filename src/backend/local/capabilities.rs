//! What a file system does in a way of its own, as far as a run has learned it.
//!
//! No system call tells beforehand that inode numbers are given out anew, that a time is only set
//! together with the other, or that modes are not kept. What turns up is kept in [`Capabilities`], one
//! for each that a side meets, so that it is found out once, gone around from then on, and told at
//! the end. Of the file systems of [`Kind::Native`] and [`Kind::Memory`] all of it is known, and
//! nothing asked.

use super::entries::listed_number;
use super::metadata::{look_at, mtime_of};
use crate::model::stamp::COARSEST_TIMES;
use crate::model::{EntryKind, Keeps, Metadata, Timestamp};
use rustix::fs::{Statx, StatxAttributes, fstatfs};
use rustix::io::Errno;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What a call answers that a file system doesn't know.
pub(super) fn is_unsupported(error: Errno) -> bool {
    matches!(error, Errno::INVAL | Errno::NOSYS | Errno::NOTSUP)
}

/// The file systems that one side has met.
#[derive(Debug, Default)]
pub(super) struct FileSystems {
    met: Mutex<Vec<Arc<Capabilities>>>,
    ignores_inodes: AtomicBool,
}

impl FileSystems {
    /// The file system that a directory with this device number is on.
    pub(super) fn of(&self, device: u64, directory: impl AsFd) -> Arc<Capabilities> {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = met.iter().find(|known| known.device == device) {
            return Arc::clone(known);
        }
        // One that doesn't say what it is is taken for a strange one.
        let kind = fstatfs(directory).map_or(Kind::Other, |found| Kind::of(found.f_type as u64));
        let new = Arc::new(Capabilities::new(device, kind));
        if self.ignores_inodes.load(Ordering::Relaxed) {
            new.ignore_inodes();
        }
        met.push(Arc::clone(&new));
        new
    }

    /// Leaves inode numbers out of all that is looked at from now on.
    pub(super) fn ignore_inodes(&self) {
        self.ignores_inodes.store(true, Ordering::Relaxed);
        let met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        met.iter().for_each(|capabilities| capabilities.ignore_inodes());
    }

    /// Whether any of them is as `is` asks.
    pub(super) fn any(&self, is: impl Fn(&Capabilities) -> bool) -> bool {
        let met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        met.iter().any(|capabilities| is(capabilities))
    }
}

/// What is known of a file system before it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// ext2/3/4, XFS or Btrfs: does all that Linux offers.
    Native,
    /// tmpfs or ramfs: the same, but nothing on it is durable.
    Memory,
    /// Any other: FUSE, network, FAT, layers over others.
    Other,
}

impl Kind {
    /// Of a type that `statfs` tells (linux/magic.h).
    fn of(magic: u64) -> Self {
        const EXT: u64 = 0xef53;
        const XFS: u64 = 0x5846_5342;
        const BTRFS: u64 = 0x9123_683e;
        const TMPFS: u64 = 0x0102_1994;
        const RAMFS: u64 = 0x8584_58f6;
        match magic {
            EXT | XFS | BTRFS => Self::Native,
            TMPFS | RAMFS => Self::Memory,
            _ => Self::Other,
        }
    }
}

/// What a run has learned of one file system.
#[derive(Debug)]
pub(super) struct Capabilities {
    device: u64,
    pub(super) kind: Kind,
    /// Whether an inode's number tells it from others, and stays.
    identifies: OnceLock<bool>,
    /// The user wants numbers left out.
    ignores_inodes: AtomicBool,
    /// Whether a modification time can be set without the access time: libfuse 2 passes over that,
    /// and answers that it was done.
    pub(super) sets_mtime_alone: OnceLock<bool>,
    /// Whether a rename can be told to replace nothing.
    pub(super) renames_new: OnceLock<bool>,
    /// Whether a file can have a second name.
    pub(super) links: OnceLock<bool>,
    /// Whether a directory with something in it can get another name.
    pub(super) renames_directories: OnceLock<bool>,
    keeps: OnceLock<Keeps>,
    pub(super) lost: Lost,
}

impl Capabilities {
    fn new(device: u64, kind: Kind) -> Self {
        let known = || match kind {
            Kind::Native | Kind::Memory => OnceLock::from(true),
            Kind::Other => OnceLock::new(),
        };
        Self {
            device,
            kind,
            identifies: known(),
            ignores_inodes: AtomicBool::new(false),
            sets_mtime_alone: known(),
            renames_new: OnceLock::new(),
            links: OnceLock::new(),
            renames_directories: OnceLock::new(),
            keeps: OnceLock::new(),
            lost: Lost::default(),
        }
    }

    pub(super) fn device(&self) -> u64 {
        self.device
    }

    /// The inode number that counts of what `statx` reports; `None` where it identifies nothing.
    pub(super) fn number(&self, stat: &Statx) -> Option<u64> {
        self.identifies().then_some(stat.stx_ino)
    }

    /// Whether inode numbers count: also as long as nothing is known.
    pub(super) fn identifies(&self) -> bool {
        !self.ignores_inodes.load(Ordering::Relaxed) && *self.identifies.get().unwrap_or(&true)
    }

    /// Whether inode numbers were found to identify nothing.
    pub(super) fn numbers_anew(&self) -> bool {
        self.identifies.get() == Some(&false)
    }

    fn ignore_inodes(&self) {
        self.ignores_inodes.store(true, Ordering::Relaxed);
    }

    /// Whether nothing is known yet of its inode numbers.
    pub(super) fn is_unasked(&self) -> bool {
        self.identifies.get().is_none()
    }

    /// Learns whether inode numbers identify; what was learned before stays.
    pub(super) fn learn_identifies(&self, identifies: bool) {
        self.identifies.get_or_init(|| identifies);
    }

    /// Learns of inode numbers from one leaf: its directory lists another than a look at it tells
    /// where a number is made up for each look, as libfuse does unless it is told otherwise.
    pub(super) fn learn_from(&self, directory: impl AsFd, name: &[u8], listed: u64) {
        let directory = directory.as_fd();
        let look = || {
            let found = look_at(directory, name).ok()?;
            // A file that something is mounted on is listed with its own number, too.
            let is_mount = found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
            (!is_mount).then_some(found.stx_ino)
        };
        self.learn_by(listed, look, || listed_number(directory, name).ok().flatten());
    }

    /// The same, by what `look` tells of the leaf, and `list` its directory once more: another file may
    /// have got its name between the list and the look. One that is gone by then teaches nothing.
    fn learn_by(
        &self,
        listed: u64,
        look: impl Fn() -> Option<u64>,
        list: impl FnOnce() -> Option<u64>,
    ) {
        let Some(found) = look() else { return };
        let identifies = found == listed
            || match list() {
                None => return,
                Some(again) => match look() {
                    None => return,
                    Some(found) => found == again,
                },
            };
        self.learn_identifies(identifies);
    }

    /// Whether new names can't be guarded against what turns up at the same moment.
    pub(super) fn is_unguarded(&self) -> bool {
        (self.renames_new.get(), self.links.get()) == (Some(&false), Some(&false))
    }

    /// What it keeps of metadata; all, as long as nothing else is known.
    pub(super) fn keeps(&self) -> Keeps {
        self.keeps.get().copied().unwrap_or_default()
    }

    /// What was found out of that.
    pub(super) fn learned_keeps(&self) -> Option<Keeps> {
        self.keeps.get().copied()
    }

    /// Learns what it keeps of metadata: by trying it, or from a run that did.
    pub(super) fn learn_keeps(&self, keeps: Keeps) {
        if self.kind == Kind::Other {
            self.keeps.get_or_init(|| keeps);
        }
    }
}

/// Sets a modification time, in the way that the file system takes it. `set` is given the access
/// time where that is to be set with it; `look` looks at the entry.
pub(super) fn set_mtime(
    capabilities: &Capabilities,
    wanted: Timestamp,
    set: impl Fn(Option<Timestamp>) -> io::Result<()>,
    look: impl Fn() -> rustix::io::Result<Statx>,
) -> io::Result<()> {
    let atime = |found: &Statx| Timestamp {
        seconds: found.stx_atime.tv_sec,
        nanos: found.stx_atime.tv_nsec,
    };
    let is_set = |found: &Statx| mtime_of(found).distance(wanted) < COARSEST_TIMES;
    match capabilities.sets_mtime_alone.get() {
        Some(true) => set(None),
        Some(false) => set(Some(atime(&look()?))),
        None => {
            set(None)?;
            let found = look()?;
            if is_set(&found) {
                capabilities.sets_mtime_alone.get_or_init(|| true);
                return Ok(());
            }
            set(Some(atime(&found)))?;
            // Where that is no better, the time may be one that it can't keep.
            if is_set(&look()?) {
                capabilities.sets_mtime_alone.get_or_init(|| false);
            }
            Ok(())
        }
    }
}

/// How many entries of the source the file system doesn't keep, or not with all of their metadata.
#[derive(Debug, Default)]
pub(super) struct Lost {
    modes: AtomicU64,
    owners: AtomicU64,
    times: AtomicU64,
    of_links: AtomicU64,
    links: AtomicU64,
}

impl Lost {
    /// Counts what is lost of an entry; `wanted` is what would be held if everything were kept.
    pub(super) fn count(&self, keeps: &Keeps, wanted: &Metadata, kind: EntryKind) {
        let add = |count: &AtomicU64, is_lost: bool| {
            count.fetch_add(u64::from(is_lost), Ordering::Relaxed);
        };
        if kind == EntryKind::Symlink && !keeps.links {
            return add(&self.links, true);
        }
        let held = keeps.held(*wanted, kind, None);
        let is_link = kind == EntryKind::Symlink && !keeps.of_links;
        add(&self.of_links, is_link);
        add(&self.modes, held.mode != wanted.mode);
        add(&self.owners, !is_link && (held.uid, held.gid) != (wanted.uid, wanted.gid));
        add(&self.times, !is_link && !keeps.times);
    }

    /// Says what was lost, and of how many.
    pub(super) fn told(&self) -> Vec<String> {
        let told = [
            (&self.modes, "its mode", "their modes"),
            (&self.owners, "its owner and group", "their owners and groups"),
            (&self.times, "its modification time", "their modification times"),
            (
                &self.of_links,
                "owner, group and time of a symbolic link",
                "owners, groups and times of symbolic links",
            ),
        ];
        let links = match self.links.load(Ordering::Relaxed) {
            0 => None,
            1 => Some("1 symbolic link is left out: the target's file system has none".to_owned()),
            count => Some(format!(
                "{count} symbolic links are left out: the target's file system has none"
            )),
        };
        let told = told.into_iter().filter_map(|(count, one, many)| {
            let (what, entries) = match count.load(Ordering::Relaxed) {
                0 => return None,
                1 => (one, "1 entry".to_owned()),
                count => (many, format!("{count} entries")),
            };
            Some(format!(
                "{entries}: the target's file system does not keep {what}; what it made of that is \
                 left alone"
            ))
        });
        links.into_iter().chain(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::metadata::look_at_open;
    use super::*;
    use std::cell::Cell;
    use std::fs::File;

    fn strange() -> Capabilities {
        Capabilities::new(1, Kind::Other)
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanos: 0 }
    }

    /// Sets a file's time by a file system that heeds it as `heeds` says of the access time that came
    /// with it; how often it was asked to.
    fn asked_to_set(
        capabilities: &Capabilities,
        heeds: impl Fn(Option<Timestamp>) -> bool,
        seconds: i64,
    ) -> u32 {
        let file = tempfile::tempfile().unwrap();
        let times = Cell::new(0);
        let set = |atime| {
            times.set(times.get() + 1);
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds as u64);
            if heeds(atime) { File::set_modified(&file, time) } else { Ok(()) }
        };
        set_mtime(capabilities, at(seconds), set, || look_at_open(&file)).unwrap();
        times.get()
    }

    #[test]
    fn a_lone_time_that_is_passed_over_is_set_with_the_other_from_then_on() {
        let lone = |_| true;
        let both = |atime: Option<_>| atime.is_some();
        let capabilities = strange();
        assert_eq!(asked_to_set(&capabilities, both, 1_000), 2, "found out");
        assert_eq!(asked_to_set(&capabilities, both, 2_000), 1, "known");
        let capabilities = strange();
        assert_eq!(asked_to_set(&capabilities, lone, 1_000), 1);
        assert_eq!(capabilities.sets_mtime_alone.get(), Some(&true));
        let never = |_| false;
        let capabilities = strange();
        assert_eq!(asked_to_set(&capabilities, never, 1_000), 2);
        assert_eq!(capabilities.sets_mtime_alone.get(), None, "the time may be the trouble");
        let native = Capabilities::new(1, Kind::Native);
        assert_eq!(asked_to_set(&native, never, 1_000), 1, "no look on a common file system");
    }

    #[test]
    fn what_is_not_kept_is_as_it_stands_and_else_as_it_is_given() {
        let keeps = Keeps {
            file_mode: Some(0o755),
            directory_mode: Some(0o777),
            owner: Some((7, 8)),
            times: false,
            of_links: false,
            ..Keeps::default()
        };
        let wanted = Metadata { mode: 0o640, uid: 1, gid: 2, mtime: at(3) };
        let existing = Metadata { mode: 0o555, uid: 7, gid: 9, mtime: at(4) };
        let held = |keeps: Keeps, kind, existing| keeps.held(wanted, kind, existing);
        let (file, directory, link) = (EntryKind::File, EntryKind::Directory, EntryKind::Symlink);
        let given = Metadata { uid: 7, gid: 8, ..wanted };
        assert_eq!(held(keeps, file, None), Metadata { mode: 0o755, ..given });
        assert_eq!(held(keeps, directory, None), Metadata { mode: 0o777, ..given });
        assert_eq!(held(keeps, link, None), given);
        assert_eq!(held(keeps, file, Some(&existing)), existing);
        assert_eq!(held(keeps, link, Some(&existing)), Metadata { mode: wanted.mode, ..existing });
        for kind in [file, directory, link] {
            for existing in [None, Some(&existing)] {
                assert_eq!(held(Keeps::default(), kind, existing), wanted);
            }
        }
        // As root's programs on a server that makes all its root's nobody's.
        let squashes = Keeps { owner: Some((7, 8)), ..Keeps::default() };
        let program = Metadata { mode: 0o6755, ..wanted };
        for (existing, mode) in [
            (None, [0o755, 0o2755]),
            (Some(existing), [0o755, 0o2755]),
            (Some(Metadata { gid: 2, ..existing }), [0o2755, 0o2755]),
            (Some(Metadata { uid: 1, ..existing }), [0o4755, 0o6755]),
        ] {
            for (kind, mode) in [file, directory].into_iter().zip(mode) {
                let held = squashes.held(program, kind, existing.as_ref());
                assert_eq!(held.mode, mode, "{kind} {existing:?}");
            }
        }
        let lost = Lost::default();
        lost.count(&Keeps { links: false, ..keeps }, &wanted, link);
        assert_eq!(lost.told(), ["1 symbolic link is left out: the target's file system has none"]);
        let lost = Lost::default();
        lost.count(&keeps, &wanted, file);
        lost.count(&keeps, &Metadata { mode: 0o777, uid: 7, gid: 8, ..wanted }, directory);
        lost.count(&keeps, &wanted, link);
        let told = lost.told();
        let says = |what: &str| told.iter().any(|told| told.starts_with(what));
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(says("1 entry: the target's file system does not keep its mode;"), "{told:?}");
        assert!(says("1 entry: the target's file system does not keep its owner"), "{told:?}");
        assert!(says("2 entries: the target's file system does not keep their mod"), "{told:?}");
        assert!(says("1 entry: the target's file system does not keep owner, group"), "{told:?}");
    }

    #[test]
    fn inode_numbers_that_are_made_up_or_ignored_count_no_more() {
        let directory = tempfile::tempdir().unwrap();
        let file = File::create(directory.path().join("f")).unwrap();
        let open = File::open(directory.path()).unwrap();
        let found = look_at_open(&file).unwrap();
        let listed = listed_number(&open, b"f").unwrap();
        assert_eq!(listed, Some(found.stx_ino));
        assert_eq!(listed_number(&open, b"g").unwrap(), None);
        let is = found.stx_ino;
        // Another file had that name when it was listed.
        for listed in [is, is + 1] {
            let capabilities = strange();
            assert_eq!(capabilities.number(&found), Some(is), "nothing is known");
            capabilities.learn_from(&open, b"f", listed);
            assert_eq!(capabilities.number(&found), Some(is));
            assert!(!capabilities.is_unasked() && !capabilities.numbers_anew());
        }
        for gone in [b"g", b"h"] {
            let capabilities = strange();
            capabilities.learn_from(&open, gone, 1);
            assert!(capabilities.is_unasked(), "it teaches nothing");
        }
        let made_up = strange();
        let next = Cell::new(is);
        made_up.learn_by(1, || Some(next.replace(next.get() + 1)), || Some(1));
        assert_eq!(made_up.number(&found), None);
        assert!(made_up.numbers_anew());
        let file_systems = FileSystems::default();
        let before = file_systems.of(1, &open);
        file_systems.ignore_inodes();
        for capabilities in [before, file_systems.of(1, &open), file_systems.of(2, &open)] {
            assert_eq!(capabilities.number(&found), None);
            assert!(!capabilities.numbers_anew(), "the user knows it");
        }
    }
}
