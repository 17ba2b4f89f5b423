//! Entries by a handle of their directory, one component at a time.

use super::Attributes;
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, XattrFlags, lgetxattr, llistxattr, lsetxattr,
    mkdirat, openat, statat, unlinkat,
};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

pub fn open_root(path: &Path) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty())
        .unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()))
}

pub fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

pub fn leaf(key: &[u8]) -> CString {
    let name = key.rsplit(|&byte| byte == b'/').next().expect("a split yields at least one part");
    CString::new(name).expect("a name has no NUL")
}

pub fn open_parent(root: &OwnedFd, key: &[u8], make: bool) -> OwnedFd {
    let mut directory = root.try_clone().expect("duplicate a handle");
    let mut components: Vec<_> = key.split(|&byte| byte == b'/').collect();
    components.pop();
    for component in components {
        let name = CString::new(component).expect("a name has no NUL");
        let mut next = open_directory(directory.as_fd(), &name);
        if make && next.is_err() {
            if let Ok(stat) = statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
                remove(directory.as_fd(), &name, FileType::from_raw_mode(stat.st_mode));
            }
            mkdirat(&directory, &name, Mode::from_raw_mode(0o755)).expect("make a directory");
            next = open_directory(directory.as_fd(), &name);
        }
        directory = next.expect("open a directory");
    }
    directory
}

pub fn remove(parent: BorrowedFd<'_>, name: &CStr, kind: FileType) {
    if kind != FileType::Directory {
        unlinkat(parent, name, AtFlags::empty()).expect("remove a file");
        return;
    }
    let directory = open_directory(parent, name).expect("open a directory to remove");
    for (name, kind) in names(directory.as_fd()) {
        remove(directory.as_fd(), &name, kind);
    }
    unlinkat(parent, name, AtFlags::REMOVEDIR).expect("remove a directory");
}

pub fn names(directory: BorrowedFd<'_>) -> Vec<(CString, FileType)> {
    let listing = Dir::read_from(directory).expect("list a directory");
    let mut names = Vec::new();
    for entry in listing {
        let name = entry.expect("list a directory").file_name().to_owned();
        if name.as_bytes() != b"." && name.as_bytes() != b".." {
            let stat =
                statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW).expect("look at an entry");
            names.push((name, FileType::from_raw_mode(stat.st_mode)));
        }
    }
    names
}

/// Returns a path of an entry by which the calls that know no handles reach it: of any kind, and of
/// a symbolic link itself.
fn path(parent: BorrowedFd<'_>, name: &CStr) -> CString {
    let directory = format!("/proc/self/fd/{}/", parent.as_raw_fd());
    CString::new([directory.as_bytes(), name.to_bytes()].concat()).expect("a name has no NUL")
}

pub fn set_attribute(parent: BorrowedFd<'_>, name: &CStr, attribute: &[u8], value: &[u8]) {
    lsetxattr(path(parent, name), attribute, value, XattrFlags::empty()).unwrap_or_else(|error| {
        panic!("cannot set {} of {name:?}: {error}", attribute.escape_ascii())
    });
}

/// The most bytes that the kernel gives of names, or of a value (`XATTR_SIZE_MAX`).
const LONGEST: usize = 64 << 10;

/// Returns the attributes of an entry without the label that a security policy gives each file, and
/// without the second form in which XFS shows ACLs.
pub fn attributes(parent: BorrowedFd<'_>, name: &CStr) -> Attributes {
    let path = path(parent, name);
    let mut names = vec![0; LONGEST];
    let length = match llistxattr(&path, &mut names[..]) {
        Err(Errno::OPNOTSUPP) => 0,
        length => length.expect("list attributes"),
    };
    let value = |name: &[u8]| {
        let mut value = vec![0; LONGEST];
        let length = lgetxattr(&path, name, &mut value[..]).expect("read an attribute");
        value.truncate(length);
        value
    };
    let names = names[..length].split(|&byte| byte == 0);
    names
        .filter(|&name| !name.is_empty() && name != b"security.selinux")
        .filter(|name| !name.starts_with(b"trusted.SGI_ACL_"))
        .map(|name| (name.to_vec(), value(name)))
        .collect()
}
