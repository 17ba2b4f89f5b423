//! Recognises bags (`BagIt`, RFC 8493): directories that declare themselves one, or that a run is
//! making one of. Only such a run writes to a bag's payload.

use crate::model::hint::hint;
use crate::model::{Error, ErrorKind, Setting};
use rustix::fs::{AtFlags, Mode, OFlags, fstat, openat, statat};
use rustix::io::Errno;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The directory of a bag's payload (section 2.1.2).
pub const PAYLOAD: &str = "data";
/// The file that declares a directory a bag (section 2.1.1).
pub const DECLARATION: &str = "bagit.txt";
/// A file that a run creates first in a directory that becomes a bag. It identifies the directory
/// as long as the declaration is missing.
pub use crate::model::reserved::BAG_MARK as MARK;

/// Opens the bag whose payload is or contains an open directory.
///
/// # Errors
/// The system's error about a directory above. Directories that may not be searched are treated as
/// no bags.
pub(super) fn around(directory: BorrowedFd<'_>) -> rustix::io::Result<Option<OwnedFd>> {
    let identity = |stat: &rustix::fs::Stat| (stat.st_dev, stat.st_ino);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut inner = identity(&fstat(directory)?);
    let mut above = openat(directory, "..", flags, Mode::empty());
    loop {
        let outer = match above {
            Err(Errno::ACCESS) => return Ok(None),
            other => other?,
        };
        let here = identity(&fstat(&outer)?);
        // The root is its own parent.
        if here == inner {
            return Ok(None);
        }
        let payload = look(&outer, PAYLOAD)?;
        if payload.is_some_and(|payload| identity(&payload) == inner)
            && (look(&outer, DECLARATION)?.is_some() || look(&outer, MARK)?.is_some())
        {
            return Ok(Some(outer));
        }
        inner = here;
        above = openat(&outer, "..", flags, Mode::empty());
    }
}

/// Returns the payload directory of a bag's root; `None` for any other directory.
pub fn payload_of(root: &Path) -> Option<PathBuf> {
    let is_bag = [DECLARATION, MARK].iter().any(|name| root.join(name).exists());
    Some(root.join(PAYLOAD)).filter(|payload| is_bag && payload.is_dir())
}

/// Returns whether a path is the root of a bag made by `vidimus bag`.
pub fn is_made_here(root: &Path) -> bool {
    root.join(MARK).exists()
}

fn look(directory: &OwnedFd, name: &str) -> rustix::io::Result<Option<rustix::fs::Stat>> {
    match statat(directory.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Refuses an open directory that is or is inside a bag's payload, because the bag would not list
/// what is written there.
///
/// # Errors
/// [`ErrorKind::Refused`] for such a directory; [`ErrorKind::Unusable`] if that can't be found out.
pub fn refuse_within(directory: BorrowedFd<'_>) -> Result<(), Error> {
    if around(directory).map_err(cannot_look)?.is_none() {
        return Ok(());
    }
    let message = "the target is the payload of a bag, or lies in it: the bag would no longer be \
                   valid";
    Err(Error::new(ErrorKind::Refused, message).help(hint![
        "`vidimus bag SOURCE BAG` brings a bag up to date; with ",
        Setting::Checksum,
        " it also copies again what was corrupted",
    ]))
}

pub(super) fn cannot_look(error: Errno) -> Error {
    Error::new(ErrorKind::Unusable, "cannot check the directories above the target")
        .because(std::io::Error::from(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};

    #[test]
    fn a_payload_is_told_by_what_stands_beside_it() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().canonicalize().unwrap().join("bag");
        fs::create_dir_all(path.join("data/d/e")).unwrap();
        fs::create_dir_all(path.join("metadata/data")).unwrap();
        fs::create_dir(path.join(".vidimus")).unwrap();
        fs::write(path.join(".vidimus/lock"), "").unwrap();
        let is_within = |name: &str| {
            let directory = File::open(path.join(name)).unwrap();
            let bag = around(directory.as_fd()).unwrap();
            let refused = refuse_within(directory.as_fd());
            assert_eq!(refused.err().map(|e| e.kind), bag.is_some().then_some(ErrorKind::Refused));
            bag.inspect(|bag| {
                let stat = fstat(bag).unwrap();
                let own = fstat(File::open(&path).unwrap()).unwrap();
                assert_eq!((stat.st_dev, stat.st_ino), (own.st_dev, own.st_ino));
            })
            .is_some()
        };
        assert!(!is_within("data"), "the target of a mirror has a lock, too");
        for name in [MARK, DECLARATION] {
            fs::write(path.join(name), "").unwrap();
            assert!(is_within("data") && is_within("data/d") && is_within("data/d/e"), "{name}");
            assert!(!is_within("") && !is_within("metadata") && !is_within("metadata/data"));
            fs::remove_file(path.join(name)).unwrap();
        }
    }
}
