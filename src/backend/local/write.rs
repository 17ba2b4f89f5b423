//! Writing to the target: every change goes through a directory handle and a leaf name.

use super::attributes::{open_for_metadata, readable_directory, set_link, set_open, set_unopened};
use super::backup::Backup;
use super::beneath::{Directory, Root, open_child};
use super::capabilities::Capabilities;
use super::entries::for_each_entry;
use super::flags::set_flags;
use super::link::LocalDonor;
use super::metadata::{kind_of, look_at, look_at_open, metadata_of, mtime_of};
use super::probe::probe;
use super::renames::rename_listed;
use super::set_aside::set_aside_leaf;
use super::shared::Shared;
use super::stage::{Hidden, LocalStage};
use super::stage_directory::{LocalStageDirectory, sweep_directory};
use super::xattr::Before;
use super::{LocalSource, Walking, read, special, xattr};
use crate::backend::{
    self, Donor, FlagsSet, Inspected, Intended, ListItem, ListOptions, Listing, MetadataSet,
    Precondition, Ranges, ReadError, Sink, Source, Stage, StageDirectory, Target,
};
use crate::model::entry::Completeness;
use crate::model::error::Side;
use crate::model::names::legal;
use crate::model::reserved::{
    DIRECTORY, MANIFEST, TemporaryName, is_of_put, is_set_aside, is_temporary,
};
use crate::model::{
    Attributes, Cause, Durability, Entry, EntryKind, Error, FileFlags, Keeps, Key, Metadata,
    Notice, SettableAttributes, Stamp,
};
use rustix::fs::{AtFlags, Mode, OFlags, StatxAttributes, mkdirat, symlinkat, unlinkat};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::io::ErrorKind::NotFound;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A directory of this machine as a target.
pub struct LocalTarget {
    /// Lists and reads the target.
    reader: LocalSource,
    shared: Arc<Shared>,
}

impl LocalTarget {
    /// Makes a target from an open root. `token` distinguishes the temporary names of this run.
    ///
    /// # Errors
    /// Fails if the kernel doesn't report the process's groups.
    pub fn new(
        root: Arc<Root>,
        walking: Walking,
        durability: Durability,
        token: u32,
    ) -> rustix::io::Result<Self> {
        Ok(Self {
            reader: LocalSource { root: Arc::clone(&root), walking, side: Side::Target },
            shared: Arc::new(Shared::new(root, durability, token)?),
        })
    }

    /// Turns the target into one for `put`, which cleans up only after other puts: see
    /// [`Target::abort_stale_streams`].
    ///
    /// # Errors
    /// Fails if the kernel doesn't report the process's groups, or gives no random numbers.
    pub fn of_puts(self) -> io::Result<Self> {
        let shared = Shared::of_puts(Arc::clone(&self.shared.root))?;
        Ok(Self { shared: Arc::new(shared), ..self })
    }

    /// Makes the target keep what it replaces or removes.
    #[must_use]
    pub fn with_backup(self, backup: Backup) -> Self {
        self.shared.backup.get_or_init(|| backup);
        self
    }

    /// Makes the target remove flags that are in the way.
    #[must_use]
    pub fn clearing_flags(self) -> Self {
        self.shared.clears_flags.store(true, Ordering::Relaxed);
        self
    }

    fn begin(&self, entry: &Entry, precondition: Precondition) -> Result<LocalStage, Cause> {
        let shared = &self.shared;
        shared.parent(&entry.key, |parent, _| {
            let name = shared.temporary_in(parent)?;
            let hidden = || Hidden::temporary(shared, &entry.key, name, precondition);
            Ok(LocalStage::begin(shared, parent, &name, entry, hidden)?)
        })
    }

    fn set(
        &self,
        key: &Key,
        kind: EntryKind,
        intended: &Intended<'_>,
    ) -> Result<MetadataSet, Cause> {
        if kind == EntryKind::Directory {
            return self.set_directory(key, intended);
        }
        let (shared, wanted) = (&self.shared, intended.metadata);
        shared.parent(key, |parent, name| {
            let stat = look_at(&**parent, name)?;
            if kind_of(&stat) != kind {
                return Err(Cause::TargetChanged);
            }
            shared.unprotect(parent, name)?;
            let kept = parent.capabilities.keeps();
            let wanted = &kept.achievable(*wanted, kind, Some(&metadata_of(&stat)));
            if kind == EntryKind::Symlink {
                set_link(parent, name, &metadata_of(&stat), wanted)?;
                let given = special::give_link(parent, name, Before::Unknown, intended.attributes)?;
                shared.syncing.entries_changed(parent)?;
                return given.checked();
            }
            let (file, is_path_handle) = match kind {
                EntryKind::Special(_) => {
                    (special::handle(parent, name, kind, OFlags::NOFOLLOW)?.0, true)
                }
                _ => open_for_metadata(parent, name)?,
            };
            let stat = look_at_open(&file)?;
            if kind_of(&stat) != kind {
                return Err(Cause::TargetChanged);
            }
            let existing = metadata_of(&stat);
            let intended = Intended { metadata: wanted, ..*intended };
            if is_path_handle {
                let before = Before::Unknown;
                let set = set_unopened(parent, name, &file, &existing, &intended, before);
                let set = set.checked()?;
                shared.syncing.entries_changed(parent)?;
                return Ok(set);
            }
            let set = set_open(&file, &parent.capabilities, &existing, &intended, Before::Unknown);
            let set = set.checked()?;
            shared.syncing.file_changed(parent, &file)?;
            Ok(set)
        })
    }

    fn set_directory(&self, key: &Key, intended: &Intended<'_>) -> Result<MetadataSet, Cause> {
        let (shared, kind) = (&self.shared, EntryKind::Directory);
        if !key.is_root() {
            legal(key)?;
        }
        let directory = shared.root.descend(key.as_bytes())?;
        if shared.clears_flags() {
            directory.unprotect()?;
        }
        let file = File::from(readable_directory(&directory)?);
        let existing = metadata_of(&look_at_open(&file)?);
        if shared.ownership.is_anothers(&existing) {
            // Only the owner can; this call records that for a warning at the end.
            shared.achievable(intended.metadata, kind, Some(&existing));
            return Ok(MetadataSet::default());
        }
        let capabilities = &directory.capabilities;
        let wanted = capabilities.keeps().achievable(*intended.metadata, kind, Some(&existing));
        let intended = Intended { metadata: &wanted, ..*intended };
        let set = set_open(&file, capabilities, &existing, &intended, Before::Unknown).checked()?;
        shared.syncing.entries_changed(&directory)?;
        Ok(set)
    }
}

impl Source for LocalTarget {
    fn capabilities(&self) -> backend::Capabilities {
        let needs_barrier = self.shared.syncing.needs_barrier();
        let holes = self.shared.root.directory().capabilities.makes_holes();
        let reflinks = self.shared.root.directory().capabilities.may_reflink;
        let devices = self.shared.makes_devices;
        let of_reader = self.reader.capabilities();
        backend::Capabilities { holes, reflinks, needs_barrier, devices, ..of_reader }
    }

    fn list(&self, options: &ListOptions) -> Result<Listing, Error> {
        self.reader.list(options)
    }

    fn list_name(&self, name: &[u8], options: &ListOptions) -> Result<Vec<ListItem>, Error> {
        self.reader.list_name(name, options)
    }

    fn read(&self, entry: &Entry, buffer: &mut [u8], sink: &mut Sink<'_>) -> Result<(), ReadError> {
        self.reader.read(entry, buffer, sink)
    }

    fn read_ranges<'a>(
        &'a self,
        entry: &'a Entry,
    ) -> Result<Option<Box<dyn Ranges + 'a>>, ReadError> {
        self.reader.read_ranges(entry)
    }

    fn look(&self, key: &Key) -> Result<Option<Entry>, Cause> {
        read::look(&self.shared.root, key)
    }

    fn names(&self, directory: &Key) -> Result<Vec<Vec<u8>>, Cause> {
        read::names(&self.shared.root, directory)
    }

    fn notices(&self) -> Vec<Notice> {
        let mut notices = self.reader.notices();
        let shared = &self.shared;
        if shared.syncing.file_sync_unsupported() {
            notices.push(Notice::FilesNotSynced);
        }
        if shared.syncing.directory_sync_unsupported() {
            notices.push(Notice::DirectoriesNotSynced);
        }
        if shared.root.file_systems().any(Capabilities::is_unguarded) {
            notices.push(Notice::RenamesReplace);
        }
        if shared.leaves_directories.load(Ordering::Relaxed) {
            notices.push(Notice::DirectoriesOfOthers);
        }
        notices.extend(shared.backup.get().and_then(Backup::notice));
        notices.extend(shared.root.directory().capabilities.lost.notices());
        notices
    }

    fn inspect(&self, entry: &Entry) -> Result<Inspected, Cause> {
        self.reader.inspect(entry)
    }
}

impl Target for LocalTarget {
    fn stage(&self, entry: &Entry, precondition: Precondition) -> Result<Box<dyn Stage>, Cause> {
        Ok(Box::new(self.begin(entry, precondition)?))
    }

    fn stage_stream(
        &self,
        entry: &Entry,
        precondition: Precondition,
    ) -> Result<Box<dyn Stage>, Cause> {
        Ok(Box::new(self.begin(entry, precondition)?.of_any_size()))
    }

    fn resume(
        &self,
        entry: &Entry,
        temporary: &[u8],
        place: Precondition,
    ) -> Result<Option<Box<dyn Stage>>, Cause> {
        let Ok(name) = TemporaryName::try_from(temporary) else { return Ok(None) };
        let shared = &self.shared;
        let stage = shared.parent(&entry.key, |parent, _| {
            Ok(LocalStage::resume(shared, parent, entry, name, place)?)
        })?;
        Ok(stage.map(|stage| Box::new(stage) as Box<dyn Stage>))
    }

    fn stage_directory(&self, key: &Key) -> Result<Box<dyn StageDirectory>, Cause> {
        Ok(Box::new(LocalStageDirectory::begin(&self.shared, key)?))
    }

    fn builds_directories(&self) -> bool {
        let renames = &self.shared.root.directory().capabilities.renames_directories;
        renames.get() != Some(&false)
    }

    fn make_directory(&self, key: &Key, precondition: Precondition) -> Result<Option<Key>, Cause> {
        let shared = &self.shared;
        shared.parent(key, |parent, name| {
            if precondition != Precondition::Absent {
                shared.unprotect(parent, name)?;
                return set_aside_leaf(shared, parent, key).map(Some);
            }
            match mkdirat(&**parent, name, Mode::from_raw_mode(0o700)) {
                Err(Errno::EXIST) => return Err(Cause::NameTaken),
                other => other?,
            }
            shared.syncing.entries_changed(parent)?;
            Ok(None)
        })
    }

    fn remove_set_aside(&self, key: &Key) -> Result<(), Cause> {
        if !is_set_aside(key.name()) {
            return Err(Cause::IllegalName);
        }
        let Some(backup) = self.shared.backup.get() else { return self.sweep(key) };
        // It is kept under the name that it had before it was moved into the directory.
        let kept = match key.parent() {
            b"" => key.clone(),
            directory => Key::new(Key::new(directory).trimmed()),
        };
        self.shared.parent(key, |parent, name| {
            backup.take_leaf(&self.shared, (parent, name), &kept)?;
            Ok(self.shared.syncing.entries_changed(parent)?)
        })
    }

    fn make_link(
        &self,
        entry: &Entry,
        attributes: Option<&Attributes>,
        precondition: Precondition,
    ) -> Result<MetadataSet, Cause> {
        let shared = &self.shared;
        let text = entry.link.as_deref().unwrap_or_default();
        shared.parent(&entry.key, |parent, _| {
            let temporary = shared.temporary_in(parent)?;
            symlinkat(text, &**parent, &temporary[..])?;
            let mut link = Hidden::temporary(shared, &entry.key, temporary, precondition);
            let set = shared.set_new_link(parent, &temporary, &entry.metadata);
            let given = special::give_link(parent, &temporary, Before::New, attributes)?;
            link.publish()?;
            set.and(given.checked())
        })
    }

    fn make_special(
        &self,
        entry: &Entry,
        intended: &Intended<'_>,
        precondition: Precondition,
    ) -> Result<MetadataSet, Cause> {
        let shared = &self.shared;
        shared.parent(&entry.key, |parent, _| {
            let temporary = shared.temporary_in(parent)?;
            special::make(parent, &temporary[..], entry)?;
            let mut made = Hidden::temporary(shared, &entry.key, temporary, precondition);
            let set = special::set_new(parent, &temporary, entry.kind, intended)?;
            made.publish()?;
            set.checked()
        })
    }

    fn donor(&self, key: &Key, recorded: &Stamp) -> Result<Box<dyn Donor>, Cause> {
        Ok(Box::new(LocalDonor::open(&self.shared, key, recorded)?))
    }

    fn rename(&self, listed: &Entry, to: &Key) -> Result<Option<Entry>, Cause> {
        rename_listed(&self.shared, listed, to)
    }

    fn set_metadata(
        &self,
        key: &Key,
        kind: EntryKind,
        intended: &Intended<'_>,
        _place: Precondition,
    ) -> Result<MetadataSet, Cause> {
        self.set(key, kind, intended)
    }

    fn set_flags(&self, key: &Key, kind: EntryKind, flags: FileFlags) -> Result<FlagsSet, Cause> {
        let root = &self.shared.root;
        if key.is_root() {
            return set_flags(root.directory(), None, kind, flags);
        }
        let name = legal(key)?;
        set_flags(&*root.descend(key.parent())?, Some(name), kind, flags)
    }

    fn remove(&self, entry: &Entry) -> Result<(), Cause> {
        let shared = &self.shared;
        shared.parent(&entry.key, |parent, name| {
            let stat = match look_at(&**parent, name) {
                Err(Errno::NOENT) => return Ok(()),
                other => other?,
            };
            let same = kind_of(&stat) == entry.kind
                && entry.stamp.inode().is_some_and(|listed| {
                    let found = parent.capabilities.number(&stat);
                    listed.number.zip(found).is_none_or(|(listed, found)| listed == found)
                })
                && (entry.kind == EntryKind::Directory
                    || entry.stamp.size == stat.stx_size
                        && entry.stamp.mtime() == Some(mtime_of(&stat)));
            if !same {
                return Err(Cause::TargetChanged);
            }
            shared.unprotect(parent, name)?;
            if entry.kind == EntryKind::Directory {
                if stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
                    return Err(Cause::MountPoint);
                }
                if let Some(backup) = shared.backup.get() {
                    backup.keep_directory(shared, &entry.key, &entry.metadata)?;
                }
                shared.root.forget(entry.key.as_bytes());
                match unlinkat(&**parent, name, AtFlags::REMOVEDIR) {
                    Err(Errno::NOTEMPTY | Errno::EXIST) => return Err(Cause::NotEmpty),
                    other => other?,
                }
            } else if let Some(backup) = shared.backup.get() {
                backup.take_leaf(shared, (parent, name), &entry.key)?;
            } else {
                unlinkat(&**parent, name, AtFlags::empty())?;
            }
            Ok(shared.syncing.entries_changed(parent)?)
        })
    }

    fn sweep(&self, key: &Key) -> Result<(), Cause> {
        if !is_temporary(key.name()) {
            return Err(Cause::IllegalName);
        }
        self.shared.parent(key, |parent, name| {
            let flags = if key.is_directory() { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            match unlinkat(&**parent, name, flags) {
                Err(Errno::NOENT) => Ok(()),
                Err(Errno::NOTEMPTY | Errno::EXIST) if key.is_directory() => {
                    match sweep_directory(&self.shared, parent, name) {
                        // Another run has published it.
                        Err(Cause::Io(error)) if error.kind() == NotFound => Ok(()),
                        other => other,
                    }
                }
                other => Ok(other?),
            }
        })
    }

    fn barrier(&self) -> Result<(), Cause> {
        self.shared.syncing.barrier()
    }

    fn accepts(&self, key: &Key) -> Result<(), Cause> {
        if key.is_root() {
            return Ok(());
        }
        let name = legal(key)?;
        // The next run would take it for a leftover and remove it.
        if is_temporary(name) {
            return Err(Cause::ReservedName);
        }
        let root = &self.shared.root;
        let capabilities = &root.directory().capabilities;
        let Some(limit) = capabilities.keeps().names.keeps_out(name) else { return Ok(()) };
        // A file system mounted below may accept the name.
        let is_elsewhere =
            |parent: Arc<Directory>| parent.capabilities.device() != capabilities.device();
        if root.descend(key.parent()).is_ok_and(is_elsewhere) {
            return Ok(());
        }
        Err(Cause::NameRefused(limit))
    }

    fn probe(&self, own: BorrowedFd<'_>) -> Result<(), Cause> {
        let root = &self.shared.root;
        let directory = match open_child(own, DIRECTORY.as_bytes()) {
            // There is no directory of vidimus's own to probe in: deviations are worked around as
            // they occur.
            Err(Errno::NOENT) => return Ok(()),
            found => Directory::from_fd(found?, root.file_systems())?,
        };
        if directory.capabilities.device() != root.directory().capabilities.device() {
            return Ok(());
        }
        probe(&directory, &self.shared.ownership)
    }

    fn keeps(&self) -> Option<Keeps> {
        self.shared.root.directory().capabilities.probed_keeps()
    }

    fn assume_keeps(&self, keeps: Keeps) {
        self.shared.root.directory().capabilities.set_keeps(keeps);
    }

    fn settable_attributes(&self) -> Option<SettableAttributes> {
        xattr::settable(&**self.shared.root.directory())
    }

    fn achievable_metadata(
        &self,
        source: &Metadata,
        kind: EntryKind,
        existing: Option<&Metadata>,
    ) -> Metadata {
        self.shared.achievable(source, kind, existing)
    }

    fn count_loss(&self, source: &Entry) {
        let capabilities = &self.shared.root.directory().capabilities;
        let keeps = capabilities.keeps();
        if keeps != Keeps::default() && source.completeness == Completeness::Full {
            let wanted = self.shared.ownership.achievable(&source.metadata, source.kind);
            capabilities.lost.count(&keeps, &wanted, source.kind);
        }
    }

    /// Removes temporary files of the published manifest, whose directory listings don't enter.
    fn abort_stale_uploads(&self, given_up: &mut dyn FnMut(&Key)) -> Result<(), Cause> {
        match self.shared.root.descend(MANIFEST.as_bytes()) {
            Err(Errno::NOENT) => Ok(()),
            directory => remove_files(&*directory?, &is_temporary, &mut |name| {
                given_up(&Key::child(MANIFEST.as_bytes(), name, false));
            }),
        }
    }

    fn abort_stale_streams(&self) -> Result<u64, Cause> {
        let mut given_up = 0;
        let root = self.shared.root.directory();
        remove_files(root, &is_of_put, &mut |_| given_up += 1)?;
        Ok(given_up)
    }
}

/// Removes the files of a directory for whose names `matches` is true, and calls `removed` with
/// each.
fn remove_files(
    directory: &Directory,
    matches: &dyn Fn(&[u8]) -> bool,
    removed: &mut dyn FnMut(&[u8]),
) -> Result<(), Cause> {
    for_each_entry(readable_directory(directory)?, |listed| {
        if matches(listed.name) {
            unlinkat(directory, listed.name, AtFlags::empty())?;
            removed(listed.name);
        }
        Ok(true)
    })
}
