//! How file systems deviate from what Linux file systems usually do, as far as a run has found out.
//!
//! No system call says in advance that inode numbers change between lookups, that a time is only
//! set together with the other, or that modes are not kept. [`Capabilities`] stores what was found
//! out about each file system of a side, so that a deviation is discovered once, worked around from
//! then on, and reported at the end. The behaviour of [`Kind::Native`] and [`Kind::Memory`] is
//! known and never probed.

use super::entries::listed_number;
use super::flags::flags_of;
use super::metadata::{atime_of, kind_of, look_at, mtime_of};
use crate::backend::ListedExtras;
use crate::model::notice::Kept;
use crate::model::stamp::COARSEST_TIMES;
use crate::model::{EntryKind, GroupId, Keeps, Key, LinkGroup, Metadata, Notice, Timestamp};
use parking_lot::Mutex;
use rustix::fs::{Statx, StatxAttributes, fstatfs};
use rustix::io::Errno;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Returns whether an error means that the file system doesn't support the call.
pub(super) fn is_unsupported(error: Errno) -> bool {
    matches!(error, Errno::INVAL | Errno::NOSYS | Errno::NOTSUP)
}

/// The file systems that one side has come across.
#[derive(Debug, Default)]
pub(super) struct FileSystems {
    met: Mutex<Vec<Arc<Capabilities>>>,
    ignores_inodes: AtomicBool,
    asked: Arc<Asked>,
}

/// What a run asked to be told of entries beside what it is told anyway.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// The time of the last access of files.
    accessed: AtomicBool,
    /// Flags.
    flags: AtomicBool,
    /// Whether entries with flags are counted, as their copies won't have them.
    counts_flagged: AtomicBool,
    /// How many there are, and the first.
    flagged: Mutex<Option<(u64, Key)>>,
}

impl Asked {
    pub(super) fn accessed(&self) -> bool {
        self.accessed.load(Ordering::Relaxed)
    }

    pub(super) fn flags(&self) -> bool {
        self.flags.load(Ordering::Relaxed)
    }

    /// Returns whether an entry has flags that its copy won't have, and such entries are counted.
    pub(super) fn counts(&self, stat: &Statx) -> bool {
        self.counts_flagged.load(Ordering::Relaxed) && !flags_of(stat).is_empty()
    }

    /// Takes how many such entries a listing met so far, and the first of them. A run may list more
    /// than once.
    pub(super) fn met_flagged(&self, met: &(u64, Key)) {
        let mut flagged = self.flagged.lock();
        if flagged.as_ref().is_none_or(|(count, _)| *count < met.0) {
            *flagged = Some(met.clone());
        }
    }

    /// Returns the notice of those.
    pub(super) fn flagged(&self) -> Option<Notice> {
        let flagged = self.flagged.lock().clone();
        flagged.map(|(count, first)| Notice::FlagsNotKept { count, first })
    }
}

impl FileSystems {
    /// Returns the file system with this device number, which `directory` is on.
    pub(super) fn of(&self, device: u64, directory: impl AsFd) -> Arc<Capabilities> {
        let mut met = self.met.lock();
        if let Some(known) = met.iter().find(|known| known.device == device) {
            return Arc::clone(known);
        }
        // If the type is unknown, assume nothing.
        let type_of = fstatfs(directory).ok().map(|found| found.f_type as u64);
        let kind = type_of.map_or(Kind::Other, Kind::of);
        let may_reflink = type_of.is_some_and(may_reflink);
        let asked = Arc::clone(&self.asked);
        let new = Arc::new(Capabilities { may_reflink, asked, ..Capabilities::new(device, kind) });
        if self.ignores_inodes.load(Ordering::Relaxed) {
            new.ignore_inodes();
        }
        met.push(Arc::clone(&new));
        new
    }

    /// Returns what is told of entries beside what is told anyway.
    pub(super) fn asked(&self) -> &Asked {
        &self.asked
    }

    /// Tells times of the last access and flags from now on, if they are asked for. Entries with
    /// flags are counted otherwise.
    pub(super) fn ask(&self, ListedExtras { accessed, flags }: ListedExtras) {
        self.asked.accessed.store(accessed, Ordering::Relaxed);
        self.asked.flags.store(flags, Ordering::Relaxed);
        self.asked.counts_flagged.store(!flags, Ordering::Relaxed);
    }

    /// Ignores inode numbers from now on.
    pub(super) fn ignore_inodes(&self) {
        self.ignores_inodes.store(true, Ordering::Relaxed);
        let met = self.met.lock();
        met.iter().for_each(|capabilities| capabilities.ignore_inodes());
    }

    /// Returns whether `is` is true for any of the file systems.
    pub(super) fn any(&self, is: impl Fn(&Capabilities) -> bool) -> bool {
        let met = self.met.lock();
        met.iter().any(|capabilities| is(capabilities))
    }
}

/// What is known about a file system before it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// ext2/3/4, XFS or Btrfs: supports everything that Linux offers.
    Native,
    /// tmpfs or ramfs: the same, but nothing on it is durable.
    Memory,
    /// Any other: FUSE, network file systems, FAT, overlays.
    Other,
}

impl Kind {
    /// Maps a type from `statfs` (linux/magic.h).
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

/// Returns whether files of a file system of this type (linux/magic.h) may share their content:
/// XFS, Btrfs, bcachefs, and NFS and SMB, whose servers do it. Asking costs a call.
fn may_reflink(magic: u64) -> bool {
    const XFS: u64 = 0x5846_5342;
    const BTRFS: u64 = 0x9123_683e;
    const BCACHEFS: u64 = 0xca45_1a4e;
    const NFS: u64 = 0x6969;
    const CIFS: u64 = 0xff53_4d42;
    const SMB2: u64 = 0xfe53_4d42;
    matches!(magic & 0xffff_ffff, XFS | BTRFS | BCACHEFS | NFS | CIFS | SMB2)
}

/// What a run has found out about one file system.
#[derive(Debug)]
pub(super) struct Capabilities {
    device: u64,
    pub(super) kind: Kind,
    /// Whether files may be able to share their content (`FICLONE`).
    pub(super) may_reflink: bool,
    /// Whether an inode number identifies a file and doesn't change.
    identifies: OnceLock<bool>,
    /// Whether the user wants inode numbers ignored.
    ignores_inodes: AtomicBool,
    pub(super) asked: Arc<Asked>,
    /// Whether a modification time can be set without the access time. libfuse 2 ignores that and
    /// reports success.
    pub(super) sets_mtime_alone: OnceLock<bool>,
    /// Whether a rename can be told to replace nothing (`RENAME_NOREPLACE`).
    pub(super) renames_new: OnceLock<bool>,
    /// Whether hard links are supported.
    pub(super) links: OnceLock<bool>,
    /// Whether a directory that is not empty can be renamed.
    pub(super) renames_directories: OnceLock<bool>,
    /// Whether a file has a hole where nothing was written. FAT writes zeros there.
    makes_holes: OnceLock<bool>,
    keeps: OnceLock<Keeps>,
    /// The key of the directory below the root at which it is mounted.
    mounted_at: OnceLock<Box<[u8]>>,
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
            may_reflink: false,
            identifies: known(),
            ignores_inodes: AtomicBool::new(false),
            asked: Arc::default(),
            sets_mtime_alone: known(),
            renames_new: OnceLock::new(),
            links: OnceLock::new(),
            renames_directories: OnceLock::new(),
            makes_holes: known(),
            keeps: OnceLock::new(),
            mounted_at: OnceLock::new(),
            lost: Lost::default(),
        }
    }

    pub(super) fn device(&self) -> u64 {
        self.device
    }

    /// Returns the inode number that `statx` reports; `None` if the numbers don't identify files.
    pub(super) fn number(&self, stat: &Statx) -> Option<u64> {
        self.identifies().then_some(stat.stx_ino)
    }

    /// Records where the file system is mounted; the first answer stays.
    pub(super) fn set_mounted_at(&self, key: &[u8]) {
        self.mounted_at.get_or_init(|| key.into());
    }

    /// Returns the group of hard links that a leaf belongs to, if it has other names and they can
    /// be told from other files'. Device numbers change from mount to mount, so the group is that
    /// of the directory at which the file system is mounted.
    pub(super) fn group(&self, stat: &Statx) -> Option<LinkGroup> {
        if stat.stx_nlink < 2 || kind_of(stat) == EntryKind::Directory {
            return None;
        }
        let number = self.number(stat)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.mounted_at.get().map_or(&[][..], |key| key));
        hasher.update(&[0]);
        hasher.update(&number.to_le_bytes());
        let mut id = [0; 8];
        id.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        Some(LinkGroup { id: GroupId(u64::from_be_bytes(id)), names: stat.stx_nlink })
    }

    /// Returns whether inode numbers are used: yes, unless the opposite is known.
    pub(super) fn identifies(&self) -> bool {
        !self.ignores_inodes.load(Ordering::Relaxed) && *self.identifies.get().unwrap_or(&true)
    }

    /// Returns whether inode numbers were found not to identify files.
    pub(super) fn made_up_numbers(&self) -> bool {
        self.identifies.get() == Some(&false)
    }

    fn ignore_inodes(&self) {
        self.ignores_inodes.store(true, Ordering::Relaxed);
    }

    /// Returns whether nothing is known yet about inode numbers.
    pub(super) fn identity_is_unknown(&self) -> bool {
        self.identifies.get().is_none()
    }

    /// Records whether inode numbers identify files; the first answer stays.
    pub(super) fn set_identifies(&self, identifies: bool) {
        self.identifies.get_or_init(|| identifies);
    }

    /// Checks inode numbers with one leaf. If its directory lists another number than a lookup
    /// returns, numbers are made up for each lookup, as libfuse does by default.
    pub(super) fn check_identity(&self, directory: impl AsFd, name: &[u8], listed: u64) {
        let directory = directory.as_fd();
        let look = || {
            let found = look_at(directory, name).ok()?;
            // A mount point is listed with the number of the file below the mount.
            let is_mount = found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
            (!is_mount).then_some(found.stx_ino)
        };
        self.check_identity_with(listed, look, || listed_number(directory, name).ok().flatten());
    }

    /// Does the same with `look` for the leaf's number and `list` for a second number from its
    /// directory, because another file may have taken the name between the listing and the lookup.
    /// Records nothing if the leaf is gone.
    fn check_identity_with(
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
        self.set_identifies(identifies);
    }

    /// Returns whether a new entry may overwrite another that appears at the same moment, because
    /// there are neither hard links nor `RENAME_NOREPLACE`.
    pub(super) fn is_unguarded(&self) -> bool {
        (self.renames_new.get(), self.links.get()) == (Some(&false), Some(&false))
    }

    /// Returns whether a file has a hole where nothing was written: not, unless that is known.
    pub(super) fn makes_holes(&self) -> bool {
        self.makes_holes.get().copied().unwrap_or(false)
    }

    /// Records what a probe found out of holes.
    pub(super) fn set_makes_holes(&self, makes_holes: bool) {
        self.makes_holes.get_or_init(|| makes_holes);
    }

    /// Returns which metadata the file system keeps: all, unless the opposite is known.
    pub(super) fn keeps(&self) -> Keeps {
        self.keeps.get().copied().unwrap_or_default()
    }

    /// Returns the same if it was found out.
    pub(super) fn probed_keeps(&self) -> Option<Keeps> {
        self.keeps.get().copied()
    }

    /// Records which metadata the file system keeps, found out by a probe or by an earlier run.
    pub(super) fn set_keeps(&self, keeps: Keeps) {
        if self.kind == Kind::Other {
            self.keeps.get_or_init(|| keeps);
        }
    }
}

/// Sets a modification time in the way that the file system supports. `set` gets the access time if
/// that has to be set with it; `look` reads the entry.
pub(super) fn set_mtime(
    capabilities: &Capabilities,
    wanted: Timestamp,
    set: impl Fn(Option<Timestamp>) -> io::Result<()>,
    look: impl Fn() -> rustix::io::Result<Statx>,
) -> io::Result<()> {
    let is_set = |found: &Statx| mtime_of(found).distance(wanted) < COARSEST_TIMES;
    match capabilities.sets_mtime_alone.get() {
        Some(true) => set(None),
        Some(false) => set(Some(atime_of(&look()?))),
        None => {
            set(None)?;
            let found = look()?;
            if is_set(&found) {
                capabilities.sets_mtime_alone.get_or_init(|| true);
                return Ok(());
            }
            set(Some(atime_of(&found)))?;
            // If that didn't work either, the file system may not be able to represent the time.
            if is_set(&look()?) {
                capabilities.sets_mtime_alone.get_or_init(|| false);
            }
            Ok(())
        }
    }
}

/// Counts of source entries that the file system doesn't keep, or not with all of their metadata.
#[derive(Debug, Default)]
pub(super) struct Lost {
    modes: AtomicU64,
    owners: AtomicU64,
    times: AtomicU64,
    of_links: AtomicU64,
    links: AtomicU64,
}

impl Lost {
    /// Counts what is lost of an entry; `wanted` is its metadata if everything were kept.
    pub(super) fn count(&self, keeps: &Keeps, wanted: &Metadata, kind: EntryKind) {
        let add = |count: &AtomicU64, is_lost: bool| {
            count.fetch_add(u64::from(is_lost), Ordering::Relaxed);
        };
        if kind == EntryKind::Symlink && !keeps.links {
            return add(&self.links, true);
        }
        let kept = keeps.achievable(*wanted, kind, None);
        let is_link = kind == EntryKind::Symlink && !keeps.of_links;
        add(&self.of_links, is_link);
        add(&self.modes, kept.mode != wanted.mode);
        add(&self.owners, !is_link && (kept.uid, kept.gid) != (wanted.uid, wanted.gid));
        add(&self.times, !is_link && !keeps.times);
    }

    /// Returns the notices about what was lost, with the number of entries.
    pub(super) fn notices(&self) -> Vec<Notice> {
        let lost = [
            (&self.modes, Kept::Mode),
            (&self.owners, Kept::Owner),
            (&self.times, Kept::Mtime),
            (&self.of_links, Kept::OfLinks),
        ];
        let count = |count: &AtomicU64| match count.load(Ordering::Relaxed) {
            0 => None,
            count => Some(count),
        };
        let links = count(&self.links).map(|count| Notice::LinksLeftOut { count });
        let metadata = lost.into_iter().filter_map(|(counter, what)| {
            count(counter).map(|count| Notice::MetadataNotKept { what, count })
        });
        links.into_iter().chain(metadata).collect()
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

    /// Sets a file's time on a file system that obeys only if `obeys` is true for the access time
    /// given with it. Returns how many times it was asked to.
    fn times_set(
        capabilities: &Capabilities,
        obeys: impl Fn(Option<Timestamp>) -> bool,
        seconds: i64,
    ) -> u32 {
        let file = tempfile::tempfile().unwrap();
        let times = Cell::new(0);
        let set = |atime| {
            times.set(times.get() + 1);
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds as u64);
            if obeys(atime) { File::set_modified(&file, time) } else { Ok(()) }
        };
        set_mtime(capabilities, at(seconds), set, || look_at_open(&file)).unwrap();
        times.get()
    }

    #[test]
    fn a_time_that_is_ignored_alone_is_set_with_the_other_from_then_on() {
        let lone = |_| true;
        let both = |atime: Option<_>| atime.is_some();
        let capabilities = strange();
        assert_eq!(times_set(&capabilities, both, 1_000), 2, "found out");
        assert_eq!(times_set(&capabilities, both, 2_000), 1, "known");
        let capabilities = strange();
        assert_eq!(times_set(&capabilities, lone, 1_000), 1);
        assert_eq!(capabilities.sets_mtime_alone.get(), Some(&true));
        let never = |_| false;
        let capabilities = strange();
        assert_eq!(times_set(&capabilities, never, 1_000), 2);
        assert_eq!(capabilities.sets_mtime_alone.get(), None, "the time may be the trouble");
        let native = Capabilities::new(1, Kind::Native);
        assert_eq!(times_set(&native, never, 1_000), 1, "no look on a common file system");
    }

    #[test]
    fn metadata_that_is_not_kept_stays_or_takes_the_file_systems_values() {
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
        let achievable = |keeps: Keeps, kind, existing| keeps.achievable(wanted, kind, existing);
        let (file, directory, link) = (EntryKind::File, EntryKind::Directory, EntryKind::Symlink);
        let given = Metadata { uid: 7, gid: 8, ..wanted };
        assert_eq!(achievable(keeps, file, None), Metadata { mode: 0o755, ..given });
        assert_eq!(achievable(keeps, directory, None), Metadata { mode: 0o777, ..given });
        assert_eq!(achievable(keeps, link, None), given);
        assert_eq!(achievable(keeps, file, Some(&existing)), existing);
        assert_eq!(
            achievable(keeps, link, Some(&existing)),
            Metadata { mode: wanted.mode, ..existing }
        );
        for kind in [file, directory, link] {
            for existing in [None, Some(&existing)] {
                assert_eq!(achievable(Keeps::default(), kind, existing), wanted);
            }
        }
        // Set-id programs on a server that maps root to nobody (root squash).
        let squashes = Keeps { owner: Some((7, 8)), ..Keeps::default() };
        let program = Metadata { mode: 0o6755, ..wanted };
        for (existing, mode) in [
            (None, [0o755, 0o2755]),
            (Some(existing), [0o755, 0o2755]),
            (Some(Metadata { gid: 2, ..existing }), [0o2755, 0o2755]),
            (Some(Metadata { uid: 1, ..existing }), [0o4755, 0o6755]),
        ] {
            for (kind, mode) in [file, directory].into_iter().zip(mode) {
                let achievable = squashes.achievable(program, kind, existing.as_ref());
                assert_eq!(achievable.mode, mode, "{kind} {existing:?}");
            }
        }
        let lost = Lost::default();
        lost.count(&Keeps { links: false, ..keeps }, &wanted, link);
        assert_eq!(lost.notices(), [Notice::LinksLeftOut { count: 1 }]);
        let lost = Lost::default();
        lost.count(&keeps, &wanted, file);
        lost.count(&keeps, &Metadata { mode: 0o777, uid: 7, gid: 8, ..wanted }, directory);
        lost.count(&keeps, &wanted, link);
        let not_kept = |what, count| Notice::MetadataNotKept { what, count };
        assert_eq!(
            lost.notices(),
            [
                not_kept(Kept::Mode, 1),
                not_kept(Kept::Owner, 1),
                not_kept(Kept::Mtime, 2),
                not_kept(Kept::OfLinks, 1),
            ]
        );
    }

    #[test]
    fn made_up_or_ignored_inode_numbers_are_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let file = File::create(directory.path().join("f")).unwrap();
        let open = File::open(directory.path()).unwrap();
        let found = look_at_open(&file).unwrap();
        let listed = listed_number(&open, b"f").unwrap();
        assert_eq!(listed, Some(found.stx_ino));
        assert_eq!(listed_number(&open, b"g").unwrap(), None);
        let is = found.stx_ino;
        // With `is + 1`, another file had that name when it was listed.
        for listed in [is, is + 1] {
            let capabilities = strange();
            assert_eq!(capabilities.number(&found), Some(is), "nothing is known");
            capabilities.check_identity(&open, b"f", listed);
            assert_eq!(capabilities.number(&found), Some(is));
            assert!(!capabilities.identity_is_unknown() && !capabilities.made_up_numbers());
        }
        for gone in [b"g", b"h"] {
            let capabilities = strange();
            capabilities.check_identity(&open, gone, 1);
            assert!(capabilities.identity_is_unknown(), "nothing can be concluded");
        }
        let made_up = strange();
        let next = Cell::new(is);
        made_up.check_identity_with(1, || Some(next.replace(next.get() + 1)), || Some(1));
        assert_eq!(made_up.number(&found), None);
        assert!(made_up.made_up_numbers());
        let file_systems = FileSystems::default();
        let before = file_systems.of(1, &open);
        file_systems.ignore_inodes();
        for capabilities in [before, file_systems.of(1, &open), file_systems.of(2, &open)] {
            assert_eq!(capabilities.number(&found), None);
            assert!(!capabilities.made_up_numbers(), "the user knows it");
        }
    }
}
