//! Files that are being written and not visible yet.
//!
//! A file is written under a temporary name, or under its own name in a directory that has a
//! temporary name ([`super::stage_directory`]). Dropping it before it is published removes it.

use super::attributes::{SetOpen, set_open};
use super::beneath::Directory;
use super::capabilities::Capabilities;
use super::metadata::{kind_of, look_at_open, metadata_of};
use super::reflink::{ReadBack, reflink};
use super::shared::Shared;
use super::stamp::stamp_of;
use super::xattr::Before;
use crate::backend::{
    Inspected, Intended, Precondition, Ranges, ReadError, SMALLEST_RESUMED, Source, Stage, Staged,
    WriteAt, Written,
};
use crate::model::reserved::TemporaryName;
use crate::model::{Cause, Digest, Entry, EntryKind, Features, Key, Metadata, Timestamp};
use rustix::fs::{
    Advice, AtFlags, FallocateFlags, Mode, OFlags, Statx, fadvise, fallocate, ftruncate, openat,
    unlinkat,
};
use rustix::io::Errno;
use std::fs::File;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Size in bytes of the blocks whose write-back is started before the file is complete.
const WRITEBACK: u64 = 8 << 20;

/// In bytes: files of at least this size have their size before they have content.
const LARGE: u64 = 1 << 20;

/// A name that is removed when dropped, unless it was published.
pub(super) struct Hidden {
    place: HiddenPlace,
    is_published: bool,
}

enum HiddenPlace {
    /// A temporary name in the entry's final directory. It keeps no handle, because thousands of
    /// these, each in a directory of its own, may wait for a barrier.
    Temporary {
        shared: Arc<Shared>,
        /// The final key of the entry.
        key: Key,
        name: TemporaryName,
        precondition: Precondition,
    },
    /// The entry's own name in an invisible directory.
    Member { directory: Arc<Directory>, name: Box<[u8]> },
}

impl Hidden {
    pub(super) fn temporary(
        shared: &Arc<Shared>,
        key: &Key,
        name: TemporaryName,
        precondition: Precondition,
    ) -> Self {
        let (shared, key) = (Arc::clone(shared), key.clone());
        Self {
            place: HiddenPlace::Temporary { shared, key, name, precondition },
            is_published: false,
        }
    }

    pub(super) fn member(directory: &Arc<Directory>, name: &[u8]) -> Self {
        let (directory, name) = (Arc::clone(directory), name.into());
        Self { place: HiddenPlace::Member { directory, name }, is_published: false }
    }

    /// Gives the entry its final name.
    pub(super) fn publish(&mut self) -> Result<(), Cause> {
        if let HiddenPlace::Temporary { shared, key, name, precondition } = &self.place {
            shared.parent(key, |parent, _| shared.place(parent, key, name, *precondition))?;
        }
        self.is_published = true;
        Ok(())
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if self.is_published {
            return;
        }
        // If this fails, the next run removes it.
        match &self.place {
            HiddenPlace::Temporary { shared, key, name, .. } => {
                if let Ok(parent) = shared.root.descend(key.parent()) {
                    unlinkat(&*parent, &name[..], AtFlags::empty()).ok();
                }
            }
            HiddenPlace::Member { directory, name } => {
                unlinkat(&**directory, &**name, AtFlags::empty()).ok();
            }
        }
    }
}

/// A file that is being written.
pub(super) struct LocalStage {
    shared: Arc<Shared>,
    hidden: Hidden,
    open: File,
    directory: Arc<Directory>,
    existing: Metadata,
    /// The size, if it is known in advance.
    size: Option<u64>,
    /// Bytes written or skipped so far.
    written: AtomicU64,
    has_holes: AtomicBool,
    /// Whether an earlier run began it.
    is_resumed: bool,
}

impl LocalStage {
    /// Creates the file `name` in a directory; `hidden` is called once it exists.
    pub(super) fn begin(
        shared: &Arc<Shared>,
        directory: &Arc<Directory>,
        name: &[u8],
        entry: &Entry,
        hidden: impl FnOnce() -> Hidden,
    ) -> rustix::io::Result<Self> {
        let ownership = &shared.ownership;
        let wanted = shared.achievable(&entry.metadata, EntryKind::File, None);
        let group = directory.passed_on_group.unwrap_or(ownership.gid);
        let ours = wanted.uid == ownership.uid && wanted.gid == group;
        // Setting the final mode at creation saves a call. A file for another owner stays closed
        // until it has that owner.
        // A later run opens what may be left of a large one.
        let is_open = wanted.mode & 0o600 == 0o600 || entry.stamp.size < SMALLEST_RESUMED;
        let is_usual = wanted.mode & 0o7000 == 0 && wanted.mode & shared.umask == 0;
        let at_once = ours && is_open && is_usual;
        let mode = if at_once { wanted.mode } else { 0o600 };
        // What shares its content with another file is read back.
        let access = if directory.capabilities.may_reflink { OFlags::RDWR } else { OFlags::WRONLY };
        let flags = access | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = File::from(openat(&**directory, name, flags, Mode::from_raw_mode(mode))?);
        let existing = Metadata {
            mode: mode & !shared.umask,
            uid: ownership.uid,
            gid: group,
            mtime: Timestamp { seconds: i64::MIN, nanos: 0 },
        };
        let size = entry.stamp.size;
        // XFS allocates ahead of what is written at the end of a file, and so fills its holes.
        let is_sized = size >= LARGE && directory.capabilities.makes_holes();
        let stage = Self {
            shared: Arc::clone(shared),
            hidden: hidden(),
            open,
            directory: Arc::clone(directory),
            existing,
            size: Some(size),
            written: AtomicU64::new(0),
            has_holes: AtomicBool::new(is_sized),
            is_resumed: false,
        };
        if is_sized {
            ftruncate(&stage.open, size)?;
        }
        Ok(stage)
    }

    /// Goes on with the file `name`; returns `None` if it isn't a file that this process can have
    /// made.
    pub(super) fn resume(
        shared: &Arc<Shared>,
        directory: &Arc<Directory>,
        entry: &Entry,
        name: TemporaryName,
        precondition: Precondition,
    ) -> rustix::io::Result<Option<Self>> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let open = match openat(&**directory, &name[..], flags, Mode::empty()) {
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO | Errno::ISDIR | Errno::ACCESS) => {
                return Ok(None);
            }
            open => File::from(open?),
        };
        let stat = look_at_open(&open)?;
        let existing = metadata_of(&stat);
        if kind_of(&stat) != EntryKind::File
            || stat.stx_nlink != 1
            || existing.uid != shared.ownership.uid
        {
            return Ok(None);
        }
        Ok(Some(Self {
            shared: Arc::clone(shared),
            hidden: Hidden::temporary(shared, &entry.key, name, precondition),
            open,
            directory: Arc::clone(directory),
            existing,
            size: Some(entry.stamp.size),
            written: AtomicU64::new(0),
            // Its size is what the earlier run came to.
            has_holes: AtomicBool::new(true),
            is_resumed: true,
        }))
    }

    /// Makes the kernel start writing back the blocks completed by this write, so that little is
    /// left for a sync at the end. `posix_fadvise(POSIX_FADV_DONTNEED)` starts write-back of dirty
    /// pages and keeps them until they are written.
    fn start_writeback(&self, offset: u64, bytes: usize) {
        let end = offset + bytes as u64;
        let boundary = end - end % WRITEBACK;
        if boundary <= offset || !self.shared.syncing.is_wanted() {
            return;
        }
        let start = boundary - WRITEBACK;
        // Only a hint.
        fadvise(&self.open, start, NonZeroU64::new(WRITEBACK), Advice::DontNeed).ok();
    }

    /// Removes the check of the size.
    pub(super) fn of_any_size(self) -> Self {
        Self { size: None, ..self }
    }
}

impl Stage for LocalStage {
    fn write(&mut self, chunk: &[u8]) -> Result<(), Cause> {
        let offset = *self.written.get_mut();
        (&*self).write_at(offset, chunk)
    }

    fn skip(&mut self, bytes: u64) -> Result<(), Cause> {
        let offset = *self.written.get_mut();
        (&*self).skip_at(offset, bytes)
    }

    fn anywhere(&self) -> Option<Box<dyn WriteAt + '_>> {
        Some(Box::new(self))
    }

    fn reflink(
        &mut self,
        source: &dyn Source,
        entry: &Entry,
    ) -> Result<Option<Inspected>, ReadError> {
        let file_system = &self.directory.capabilities;
        let inspected = reflink(&self.shared, &self.open, file_system, source, entry)?;
        if inspected.is_some() {
            *self.written.get_mut() = entry.stamp.size;
        }
        Ok(inspected)
    }

    fn read_back(&self, size: u64, length: u64) -> Result<Option<Box<dyn Ranges + '_>>, Cause> {
        Ok(Some(Box::new(ReadBack::new(&self.open, size, length)?)))
    }

    fn temporary(&self) -> Option<&[u8]> {
        match &self.hidden.place {
            HiddenPlace::Temporary { name, .. } => Some(name),
            HiddenPlace::Member { .. } => None,
        }
    }

    fn leave(mut self: Box<Self>) {
        self.hidden.is_published = true;
    }

    fn has_written(&mut self, bytes: u64) {
        *self.written.get_mut() += bytes;
    }

    fn finish(
        self: Box<Self>,
        intended: &Intended<'_>,
        _digest: &Digest,
    ) -> Result<Box<dyn Staged>, Cause> {
        let wanted = intended.metadata;
        let Self { shared, hidden, open, directory, existing, size, written, .. } = *self;
        let Self { has_holes, is_resumed, .. } = *self;
        let written = written.into_inner();
        if has_holes.into_inner() {
            // The last of them may be at the end.
            open.set_len(written)?;
        }
        if let Some(expected) = size.filter(|size| written != *size) {
            return Err(Cause::ShortWrite { written, expected });
        }
        let capabilities = &directory.capabilities;
        let look = || Ok::<_, Errno>(written_of(capabilities, &look_at_open(&open)?));
        // Metadata that the file system doesn't keep is neither set nor compared.
        let existing = capabilities.keeps().achievable(existing, EntryKind::File, Some(wanted));
        // A resumed file may have some from a run that was killed when all was set.
        let may_have_some =
            is_resumed || intended.attributes.is_some() && directory.passes_on_acl();
        let before = if may_have_some { Before::Unknown } else { Before::New };
        let SetOpen { lost, mode, mut result, .. } =
            set_open(&open, capabilities, &existing, intended, before);
        let mut found = look()?;
        let wanted = Metadata { mode, mtime: found.metadata.mtime, ..*wanted };
        if result.is_ok() && found.metadata != wanted {
            // What a new file inherits can't always be predicted (default ACLs, mount options).
            let wanted = Metadata { mtime: intended.metadata.mtime, ..wanted };
            let intended = Intended { accessed: intended.accessed, ..(&wanted).into() };
            result = set_open(&open, capabilities, &found.metadata, &intended, before).result;
            found = look()?;
        }
        found.lost = lost;
        shared.syncing.file_changed(&directory, &open)?;
        Ok(Box::new(LocalStaged { hidden, written: found, set: result.err() }))
    }
}

impl WriteAt for &LocalStage {
    fn write_at(&self, offset: u64, chunk: &[u8]) -> Result<(), Cause> {
        self.open.write_all_at(chunk, offset)?;
        self.start_writeback(offset, chunk.len());
        self.written.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Writes nothing: a new file is one hole.
    fn skip_at(&self, offset: u64, bytes: u64) -> Result<(), Cause> {
        if self.is_resumed {
            // Whatever an earlier run left there.
            let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            fallocate(&self.open, hole, offset, bytes)?;
        }
        self.written.fetch_add(bytes, Ordering::Relaxed);
        self.has_holes.store(true, Ordering::Relaxed);
        Ok(())
    }
}

struct LocalStaged {
    hidden: Hidden,
    written: Written,
    /// The error of setting metadata, reported once the file is in its place.
    set: Option<Cause>,
}

impl Staged for LocalStaged {
    fn written(&self) -> Written {
        self.written
    }

    fn publish(&mut self) -> Result<Option<Cause>, Cause> {
        self.hidden.publish()?;
        Ok(self.set.take())
    }
}

/// Converts the `statx` of an entry that was written.
pub(super) fn written_of(capabilities: &Capabilities, stat: &Statx) -> Written {
    let (stamp, metadata) = (stamp_of(capabilities, stat), metadata_of(stat));
    Written { stamp, metadata, lost: Features::default() }
}
