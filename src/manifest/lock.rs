//! The lock of a local target: one writer at a time.
//!
//! [`Lock`] is a flock(2) on `.vidimus/lock` below the target's root, which the kernel releases
//! when its holder dies for any reason. The file's content names the holder. It is emptied on
//! release; what a dead run left there is reported to the next run. No guarantee depends on the
//! lock alone.

use super::bag;
use super::holder::{Holder, LeftBehind};
use super::mode::{Closed, ManifestMode};
use crate::backend::local::Root;
use crate::model::reserved::{LOCK as SHOWN, TEMPORARY};
use crate::model::{Error, ErrorKind, Hint, Key, RunId};
use rustix::fs::{AtFlags, FileType, FlockOperation, Gid, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The directory of vidimus's own files in a target's root.
pub use crate::model::reserved::DIRECTORY;
const FILE: &str = "lock";
/// How often a lock with an unknown holder is requested, and the wait between requests.
const REQUESTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// A held lock; dropping it releases it, and removes the files made for it unless a run
/// [began](Lock::keep).
#[derive(Debug)]
pub struct Lock {
    file: File,
    writer: bool,
    /// The files made for the lock.
    made: Option<Made>,
    is_kept: AtomicBool,
}

/// The file of a lock that was created when the lock was acquired.
#[derive(Debug)]
struct Made {
    /// `.vidimus`, which contains it.
    directory: OwnedFd,
    /// The target's root, if `.vidimus` was created, too.
    root: Option<OwnedFd>,
}

/// A lock that was just acquired.
#[derive(Debug)]
pub struct Acquired {
    /// The lock.
    pub lock: Lock,
    /// A description of the holder, if a run died without releasing the lock.
    pub taken_over: Option<String>,
    /// Whether only the content of the lock's file keeps others out, because the file system has no
    /// locks.
    pub best_effort: bool,
}

/// A run that is writing to a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writing {
    /// The run's id.
    pub run: RunId,
    /// A description of the run.
    pub who: String,
}

impl Writing {
    /// Returns whether a temporary in the target belongs to this run, as far as its name shows.
    pub fn owns(&self, temporary: &Key) -> bool {
        let name = temporary.name();
        self.run.token().is_none_or(|token| {
            name.strip_prefix(TEMPORARY)
                .is_some_and(|digits| digits.starts_with(format!("{token:08x}").as_bytes()))
        })
    }
}

impl Lock {
    /// Acquires the lock of the target with the open root `root`, for a run that writes. Creates
    /// `.vidimus/lock` if missing. All may read it, and the root's group may write it if it may
    /// write the root. If another `mode` is given, the file and its directory get that.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`] if another run or a verification holds it; [`ErrorKind::Refused`] if
    /// the root is or is inside a bag's payload; [`ErrorKind::Unusable`] if the lock file can't be
    /// created or written (a read-only file system, permissions), or `.vidimus` is a symbolic link
    /// or not a directory.
    pub fn acquire(
        root: BorrowedFd<'_>,
        run: &RunId,
        asked: Option<ManifestMode>,
    ) -> Result<Acquired, Error> {
        Self::acquire_by(|file, how| rustix::fs::flock(file, how), root, run, asked)
    }

    /// Does the same as [`Lock::acquire`] on a file system whose locks behave as `flock` does.
    fn acquire_by(
        flock: impl Fn(BorrowedFd<'_>, FlockOperation) -> rustix::io::Result<()>,
        root: BorrowedFd<'_>,
        run: &RunId,
        asked: Option<ManifestMode>,
    ) -> Result<Acquired, Error> {
        bag::refuse_within(root)?;
        let not_writable = |error| not_writable(root, error);
        let mut made_directory = false;
        let (file, directory, made_file, best_effort) = loop {
            made_directory |= make_directory(root).map_err(not_writable)?;
            let opened = open_directory(root)
                .and_then(|directory| open_or_make(&directory).map(|file| (directory, file)));
            let (directory, OpenedFile { file, is_new }) = match opened {
                // A run that failed before it began removed the file meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(not_writable)?,
            };
            let exclusively = || flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive);
            let guard = guarded(&file, retrying(&file, exclusively))?;
            if guard != Guard::None && is_at(&file, &directory)? {
                break (file, directory, is_new, guard == Guard::Content);
            }
        };
        if made_directory || asked.is_some() {
            set_mode(root, &directory, ManifestMode::directory, asked).map_err(not_writable)?;
        }
        if made_file || asked.is_some() {
            set_mode(root, &file, ManifestMode::file, asked).map_err(not_writable)?;
        }
        let root = made_directory.then(|| root.try_clone_to_owned()).transpose();
        let root = root.map_err(|e| unusable("make", e))?;
        let made = made_file.then_some(Made { directory, root });
        let lock = Self { file, writer: true, made, is_kept: AtomicBool::new(false) };
        let taken_over = read(&lock.file).map_err(|e| unusable("read", e))?;
        let holder = Holder::this(run);
        let content = serde_json::to_vec(&holder).map_err(|e| unusable("write", e.into()))?;
        let written = lock.file.set_len(0).and_then(|()| lock.file.write_all_at(&content, 0));
        written.map_err(not_writable)?;
        Ok(Acquired { lock, taken_over, best_effort })
    }

    /// Records that a run began: the files made for the lock are kept.
    pub fn keep(&self) {
        self.is_kept.store(true, Ordering::Relaxed);
    }

    /// Acquires the lock of a target for reading, shared with other readers; returns `None` if the
    /// target has no lock file. The lock of a bag's payload is in the bag. Writes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`] if a run is writing to the target; [`ErrorKind::Unusable`] if the lock
    /// file can't be opened.
    pub fn shared(root: BorrowedFd<'_>) -> Result<Option<Self>, Error> {
        let bag = bag::around(root).map_err(bag::cannot_look)?;
        let root = bag.as_ref().map_or(root, |bag| bag.as_fd());
        loop {
            let file = open_directory(root).and_then(|directory| {
                open_file(&directory, OFlags::RDONLY).map(|file| (directory, file))
            });
            let (directory, file) = match file {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                other => other.map_err(|error| {
                    let help = closed(root, &error, false);
                    let error = unusable("open", error);
                    match help {
                        Some(help) => error.help(help),
                        None => error,
                    }
                })?,
            };
            let answer = rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared);
            if guarded(&file, answer)? != Guard::None && is_at(&file, &directory)? {
                let is_kept = AtomicBool::new(true);
                return Ok(Some(Self { file, writer: false, made: None, is_kept }));
            }
        }
    }

    /// Checks that no file or link has the name of the lock's directory, as far as that can be
    /// seen. Takes no lock and writes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if one has.
    pub fn check_directory(root: BorrowedFd<'_>) -> Result<(), Error> {
        let stat = rustix::fs::statat(root, DIRECTORY, AtFlags::SYMLINK_NOFOLLOW);
        let kind = stat.map(|stat| FileType::from_raw_mode(stat.st_mode));
        match kind {
            Ok(kind) if kind != FileType::Directory => Err(not_writable(root, no_directory())),
            _ => Ok(()),
        }
    }

    /// Returns the run that is writing to the target according to its lock; it may have died on
    /// another machine. Doesn't acquire the lock, so that it keeps no run from doing so.
    pub fn writer(root: BorrowedFd<'_>) -> Option<Writing> {
        let bag = bag::around(root).ok()?;
        let root = bag.as_ref().map_or(root, |bag| bag.as_fd());
        let file = open_file(&open_directory(root).ok()?, OFlags::RDONLY).ok()?;
        let holder = Holder::read(&content(&file).ok()??).filter(|holder| !holder.is_dead())?;
        Some(Writing { run: holder.run().clone(), who: holder.to_string() })
    }

    /// Returns whether another run or a put holds the lock of a directory below the root `root`
    /// that contains `key`: that directory is a target of its own, whose temporaries and lock are
    /// in use.
    pub(super) fn is_held_below(root: &Root, key: &Key) -> bool {
        let directory = key.parent();
        let ends = directory.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        ends.map(|(end, _)| &directory[..=end]).any(|directory| {
            let Ok(around) = root.descend(directory) else { return false };
            let file = open_directory(around.as_fd())
                .and_then(|directory| open_file(&directory, OFlags::RDONLY));
            match file {
                Ok(file) => is_held(&file, |file, how| rustix::fs::flock(file, how)),
                // Another user's closed directory: the answer is unknown.
                Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
            }
        })
    }

    /// Returns the run that died with the lock, if it is held for reading: a writer holds it
    /// exclusively and empties it at its end.
    pub fn left_behind(&self) -> Option<LeftBehind> {
        let content = content(&self.file).ok().flatten().filter(|_| !self.writer)?;
        Holder::read(&content)?.left_behind()
    }

    /// Releases the lock, empties its file, and removes what was made for it unless a run began.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if the file can't be emptied or removed; the lock is released
    /// anyway, and the next run reports that it took it over.
    pub fn release(mut self) -> Result<(), Error> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Error> {
        if std::mem::take(&mut self.writer) {
            self.file.set_len(0).map_err(|e| unusable("write", e))?;
        }
        let is_kept = *self.is_kept.get_mut();
        let Some(Made { directory, root }) = self.made.take().filter(|_| !is_kept) else {
            return Ok(());
        };
        // Removed while the lock is held: a process that opened the file meanwhile notices that its
        // name is gone.
        let file = rustix::fs::unlinkat(&directory, FILE, AtFlags::empty());
        let removed =
            root.map_or(Ok(()), |root| rustix::fs::unlinkat(&root, DIRECTORY, AtFlags::REMOVEDIR));
        match file.and(removed) {
            // Somebody else uses the directory, or has removed it.
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT) | Ok(()) => Ok(()),
            Err(error) => Err(unusable("remove", error.into())),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A lock that isn't released belongs to a run that failed, whose own error is reported. An
        // error here affects only a note of the next run.
        self.end().ok();
    }
}

/// Creates the directory of the lock if it is missing; returns whether it did.
fn make_directory(root: BorrowedFd<'_>) -> io::Result<bool> {
    match rustix::fs::statat(root, DIRECTORY, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => {}
        found => return Ok(found.map(|_| false)?),
    }
    match rustix::fs::mkdirat(root, DIRECTORY, Mode::from_raw_mode(0o755)) {
        Ok(()) => Ok(true),
        // Another run created it meanwhile.
        Err(Errno::EXIST) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Sets the mode of the files made for the lock: as requested, or by the mode of the target's root.
///
/// # Errors
/// Fails if a requested mode can't be set. A default mode may fail on a file system without modes.
fn set_mode(
    root: BorrowedFd<'_>,
    file: impl AsFd,
    bits: impl Fn(ManifestMode) -> u32,
    asked: Option<ManifestMode>,
) -> io::Result<()> {
    let (of_root, stands) = (rustix::fs::fstat(root)?, rustix::fs::fstat(&file)?);
    let mode = asked.unwrap_or_else(|| ManifestMode::of_lock(of_root.st_mode));
    let set = || -> rustix::io::Result<()> {
        let mut wanted = mode;
        if stands.st_gid != of_root.st_gid {
            let group = Gid::from_raw(of_root.st_gid);
            match rustix::fs::fchown(&file, None, Some(group)) {
                // The file's actual group is not the intended one.
                Err(Errno::PERM) => wanted = mode.without_group(),
                other => other?,
            }
        }
        if stands.st_mode & 0o7777 != bits(wanted) {
            rustix::fs::fchmod(&file, Mode::from_raw_mode(bits(wanted)))?;
        }
        Ok(())
    };
    match set() {
        Err(error) if asked.is_some() => Err(error.into()),
        _ => Ok(()),
    }
}

/// The open file of the lock.
struct OpenedFile {
    file: File,
    /// The file was created.
    is_new: bool,
}

/// Opens the lock's file and creates it if it is missing; returns whether it did.
fn open_or_make(directory: &OwnedFd) -> io::Result<OpenedFile> {
    loop {
        match open_file(directory, OFlags::RDWR) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other.map(|file| OpenedFile { file, is_new: false }),
        }
        match open_file(directory, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other.map(|file| OpenedFile { file, is_new: true }),
        }
    }
}

fn open_directory(root: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    match rustix::fs::openat(root, DIRECTORY, flags, Mode::empty()) {
        Err(Errno::NOTDIR | Errno::LOOP) => Err(no_directory()),
        other => Ok(other?),
    }
}

/// Builds the error for another entry with the name of vidimus's own directory.
fn no_directory() -> io::Error {
    let what = format!("\"{DIRECTORY}\" is a symbolic link, or not a directory");
    io::Error::new(io::ErrorKind::NotADirectory, what)
}

fn open_file(directory: &OwnedFd, flags: OFlags) -> io::Result<File> {
    // O_NONBLOCK: if the file is a named pipe, opening must not wait for its other end.
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::openat(directory, FILE, flags, Mode::from_raw_mode(0o644)) {
        Err(Errno::LOOP) => return Err(io::Error::other("it is a symbolic link")),
        other => File::from(other?),
    };
    let status = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(file)
}

/// What keeps other runs out after a lock was requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guard {
    /// Nothing yet: a signal interrupted the call.
    None,
    /// The kernel's lock.
    Kernel,
    /// The content of the file: the file system or its server has no locks.
    Content,
}

/// Requests a lock repeatedly while its holder is unknown: a run in a directory above may just be
/// checking whether it is held ([`Lock::is_held_below`]).
fn retrying(file: &File, flock: impl Fn() -> rustix::io::Result<()>) -> rustix::io::Result<()> {
    for _ in 1..REQUESTS {
        match flock() {
            Err(Errno::WOULDBLOCK) if matches!(content(file), Ok(None)) => {
                std::thread::sleep(PAUSE);
            }
            answer => return answer,
        }
    }
    flock()
}

/// Returns whether a run or a verification holds a lock. The kernel is asked only if the file
/// doesn't name a live run of this machine, because asking acquires the lock for a moment.
fn is_held(
    file: &File,
    flock: impl Fn(BorrowedFd<'_>, FlockOperation) -> rustix::io::Result<()>,
) -> bool {
    let holder = content(file).ok().flatten().as_deref().and_then(Holder::read);
    if holder.is_some_and(|holder| holder.is_alive()) {
        return true;
    }
    loop {
        let answer = flock(file.as_fd(), FlockOperation::NonBlockingLockShared);
        match guarded(file, answer) {
            Ok(Guard::None) => {}
            Ok(Guard::Kernel | Guard::Content) => return false,
            Err(_) => return true,
        }
    }
}

/// Interprets a file system's answer to the request for a lock.
fn guarded(file: &File, answer: rustix::io::Result<()>) -> Result<Guard, Error> {
    match answer {
        Ok(()) => Ok(Guard::Kernel),
        Err(Errno::INTR) => Ok(Guard::None),
        Err(Errno::WOULDBLOCK) => {
            let holder = read(file).ok().flatten();
            let holder = holder.unwrap_or_else(|| {
                "another process (a verification, or a run that is just beginning)".to_owned()
            });
            Err(Error::new(ErrorKind::Locked, format!("the target is locked by {holder}"))
                .help("wait until it ends; the lock ends with it, and nothing needs to be removed"))
        }
        Err(Errno::NOLCK | Errno::NOSYS | Errno::NOTSUP | Errno::INVAL) => {
            let content = content(file).map_err(|e| unusable("read", e))?;
            match content.as_deref().and_then(Holder::read) {
                Some(holder) if !holder.is_dead() => {
                    let message = format!("the target is locked by {holder} (\"{SHOWN}\")");
                    Err(Error::new(ErrorKind::Locked, message).help(
                        "wait until it ends; its file system has no locks, so the file of a run \
                         that died elsewhere stays: if you are sure that no run is active, delete \
                         it",
                    ))
                }
                _ => Ok(Guard::Content),
            }
        }
        Err(error) => Err(unusable("lock", error.into())),
    }
}

/// Returns whether the locked file is still the one that its name leads to: otherwise another run
/// may hold a lock on a new file.
fn is_at(file: &File, directory: &OwnedFd) -> Result<bool, Error> {
    let look = || match rustix::fs::statat(directory, FILE, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) => Ok(Some((named.st_dev, named.st_ino))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(unusable("look at", error.into())),
    };
    let own = rustix::fs::fstat(file).map_err(|e| unusable("look at", e.into()))?;
    is_named((own.st_dev, own.st_ino), look)
}

/// Returns whether a file with this device and inode number is the one that `look` finds at its
/// name. Numbers that are made up for each lookup prove nothing; two lookups that differ show this.
fn is_named<N: Copy + PartialEq>(
    own: N,
    look: impl Fn() -> Result<Option<N>, Error>,
) -> Result<bool, Error> {
    let found = look()?;
    Ok(match found {
        None => false,
        Some(found) if found == own => true,
        Some(found) => look()?.is_some_and(|again| again != found),
    })
}

/// Reads a description of the lock's holder; `None` if the file is empty.
fn read(file: &File) -> io::Result<Option<String>> {
    Ok(content(file)?.map(|content| Holder::describe(&content)))
}

/// Reads the lock's file; `None` if it is empty.
fn content(file: &File) -> io::Result<Option<Vec<u8>>> {
    let mut content = [0; 4096];
    let length = file.read_at(&mut content, 0)?;
    let content = content[..length].trim_ascii();
    Ok((!content.is_empty()).then(|| content.to_vec()))
}

/// Builds the error for a target that can't be written; the lock is the first file that a run
/// writes.
fn not_writable(root: BorrowedFd<'_>, error: io::Error) -> Error {
    let message = format!("cannot write to the target (its lock \"{SHOWN}\")");
    let help = closed(root, &error, true).unwrap_or_else(|| {
        let help = match error.kind() {
            io::ErrorKind::NotADirectory => {
                "rename or remove it: vidimus keeps its lock and manifest in a directory of that \
                 name"
            }
            _ => "check that it is mounted for writing, has room, and belongs to you",
        };
        help.into()
    });
    Error::new(ErrorKind::Unusable, message).because(error).help(help)
}

/// Returns how to get access to another user's lock, if that is why it can't be opened.
fn closed(root: BorrowedFd<'_>, error: &io::Error, is_written: bool) -> Option<Hint> {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return None;
    }
    let look = |name| rustix::fs::statat(root, name, AtFlags::SYMLINK_NOFOLLOW).ok();
    let found = [SHOWN, DIRECTORY, "."].into_iter().find_map(|name| Some((name, look(name)?)));
    let (name, stat) = found?;
    let (uid, gid, mode) = (stat.st_uid, stat.st_gid, stat.st_mode & 0o7777);
    Some(Closed { name, uid, gid, mode, is_written }.help())
}

fn unusable(verb: &str, error: io::Error) -> Error {
    Error::new(ErrorKind::Unusable, format!("cannot {verb} the target's lock \"{SHOWN}\""))
        .because(error)
}

#[cfg(test)]
mod tests;
