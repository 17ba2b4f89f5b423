//! Identifying the file system of a directory across mounts and restarts, also when another one is
//! mounted at the same path.
//!
//! The inode number of the file system's root can't do that (it is 2 on every ext4, 256 on every
//! Btrfs), and device numbers change at each start. The UUID in the superblock identifies it. If
//! statfs(2) folds it into `f_fsid` (ext2/3/4, Btrfs), that is used; else the device's name in
//! `/dev/disk/by-uuid`, which udev maintains; without udev, on other disk file systems, the
//! creation time of the directory. The last resort is an `f_fsid` that may change at a restart (XFS
//! and FAT derive it from the device number, network file systems in ways of their own).

use crate::small_directory;
use rustix::fs::{AtFlags, StatxFlags, fstat, fstatfs, fstatvfs, major, statx};
use serde::{Deserialize, Serialize};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

/// The directory where udev names devices by the UUID of their file system.
const BY_UUID: &str = "/dev/disk/by-uuid";

/// A file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// The type: `f_type` of statfs(2).
    pub kind: u64,
    /// The identity among file systems of the same type; `None` if there is none.
    pub id: Option<FileSystemId>,
}

/// Identifies a file system among those of its type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileSystemId {
    /// The UUID (or for FAT the serial number that serves as one), as udev spells it.
    Uuid(String),
    /// An `f_fsid` derived from the UUID.
    Fsid(u64),
    /// The creation time of the directory: seconds since the epoch and nanoseconds. No other disk
    /// has a directory created then with the same inode number.
    Born(i64, u32),
    /// An `f_fsid` that may change when the file system is mounted again.
    Passing(u64),
}

impl FileSystem {
    /// Returns the file system that an open file is on.
    ///
    /// # Errors
    /// Fails if `statfs` does.
    pub fn of(file: impl AsFd) -> rustix::io::Result<Self> {
        let file = file.as_fd();
        let kind = fstatfs(file)?.f_type as u64;
        let fsid = fstatvfs(file)?.f_fsid;
        let id = lasting_fsid(kind, fsid)
            .map(FileSystemId::Fsid)
            .or_else(|| {
                let device = fstat(file).ok()?.st_dev;
                name_of_device(device, Path::new(BY_UUID)).map(FileSystemId::Uuid)
            })
            .or_else(|| birth(kind, file))
            .or_else(|| (fsid != 0).then_some(FileSystemId::Passing(fsid)));
        Ok(Self { kind, id })
    }
}

/// Returns the part of `f_fsid` that is derived from the file system's UUID alone.
fn lasting_fsid(kind: u64, fsid: u64) -> Option<u64> {
    const EXT: u64 = 0xef53;
    const BTRFS: u64 = 0x9123_683e;
    let lasting = match kind {
        // `uuid_to_fsid` in ext2 and ext4.
        EXT => fsid,
        // The subvolume's number is folded into the rest (`btrfs_statfs`); a new snapshot for each
        // run is still on the same file system.
        BTRFS => fsid & 0xffff_ffff,
        _ => 0,
    };
    (lasting != 0).then_some(lasting)
}

/// Returns the creation time of a directory on file systems that store it permanently; others
/// invent it or derive it from something that changes.
fn birth(kind: u64, directory: impl AsFd) -> Option<FileSystemId> {
    const XFS: u64 = 0x5846_5342;
    const F2FS: u64 = 0xf2f5_2010;
    const ZFS: u64 = 0x2fc1_2fc1;
    const BCACHEFS: u64 = 0xca45_1a4e;
    if ![XFS, F2FS, ZFS, BCACHEFS].contains(&kind) {
        return None;
    }
    let found = statx(directory, c"", AtFlags::EMPTY_PATH, StatxFlags::BTIME).ok()?;
    let is_available = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::BTIME);
    is_available.then_some(FileSystemId::Born(found.stx_btime.tv_sec, found.stx_btime.tv_nsec))
}

/// Returns the name of the link to a device in a directory of such links.
fn name_of_device(device: u64, names: &Path) -> Option<String> {
    // File systems without a block device have device numbers of major 0.
    if major(device) == 0 {
        return None;
    }
    small_directory::entries(names).ok()?.filter_map(Result::ok).find_map(|name| {
        let found = std::fs::metadata(name.path()).ok()?;
        let is_same = found.rdev() == device && found.file_type().is_block_device();
        is_same.then(|| name.file_name().to_string_lossy().into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_part_of_an_fsid_from_the_uuid_is_used() {
        assert_eq!(lasting_fsid(0xef53, 0xeac6_e2ad_bb6c_f25e), Some(0xeac6_e2ad_bb6c_f25e));
        // Two subvolumes of one Btrfs.
        let [one, other] = [0x12ae_3da1_2a59_6eb2, 0x12ae_3ca4_2a59_6eb2];
        assert_eq!(lasting_fsid(0x9123_683e, one), lasting_fsid(0x9123_683e, other));
        // XFS derives it from the device number.
        assert_eq!(lasting_fsid(0x5846_5342, 0x701), None);
        assert_eq!(lasting_fsid(0xef53, 0), None);
    }

    #[test]
    fn a_device_is_found_by_the_link_to_it() {
        let names = tempfile::tempdir().unwrap();
        let Some(device) = std::fs::read_dir("/dev").unwrap().find_map(|entry| {
            let path = entry.unwrap().path();
            let found = path.metadata().ok()?;
            found.file_type().is_block_device().then(|| (path, found.rdev()))
        }) else {
            return;
        };
        let (path, number) = device;
        std::os::unix::fs::symlink("/dev/null", names.path().join("0000")).unwrap();
        std::os::unix::fs::symlink("/nowhere", names.path().join("1111")).unwrap();
        assert_eq!(name_of_device(number, names.path()), None);
        std::os::unix::fs::symlink(&path, names.path().join("ABCD-1234")).unwrap();
        assert_eq!(name_of_device(number, names.path()).as_deref(), Some("ABCD-1234"));
        assert_eq!(name_of_device(number + 1, names.path()), None);
        assert_eq!(name_of_device(number, Path::new("/nowhere")), None);
        // The device number of a tmpfs, for example.
        assert_eq!(name_of_device(0x2b, names.path()), None);
    }
}
