//! Which file system a directory lies on: told from another one at the same mount point, across
//! mounts and restarts.
//!
//! A root's inode number doesn't do that (it is 2 on every ext4, 256 on every Btrfs), and the number
//! of a device is given anew at each start. The UUID in the superblock does. Where statfs(2) has it
//! folded into `f_fsid` (ext2/3/4, Btrfs), that is taken; else the device's name in
//! `/dev/disk/by-uuid`, which udev keeps; without udev, on other file systems of a disk of this machine,
//! the time at which the directory was made. What remains is an `f_fsid` that may be another one after
//! a restart (XFS and FAT make it of the device's number, network file systems of what they please).

use rustix::fs::{AtFlags, StatxFlags, fstat, fstatfs, fstatvfs, major, statx};
use serde::{Deserialize, Serialize};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

/// Where udev names devices by the UUID of the file system on them.
const BY_UUID: &str = "/dev/disk/by-uuid";

/// A file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// Its type: `f_type` of statfs(2).
    pub kind: u64,
    /// What tells it from others of its type; `None` where nothing does.
    pub id: Option<FileSystemId>,
}

/// What tells a file system from others of its type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileSystemId {
    /// Its UUID (or a serial number that stands for one, as FAT's), as its device is named by it.
    Uuid(String),
    /// `f_fsid`, made of its UUID.
    Fsid(u64),
    /// When the directory in question was made: seconds since the epoch and nanoseconds. No other disk
    /// has one that was made then under the same inode number.
    Born(i64, u32),
    /// `f_fsid`, which may be another one once it was mounted anew.
    Passing(u64),
}

impl FileSystem {
    /// The file system that an open file lies on.
    ///
    /// # Errors
    /// When it can't be asked.
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

/// What of `f_fsid` is made of the file system's UUID alone.
fn lasting_fsid(kind: u64, fsid: u64) -> Option<u64> {
    const EXT: u64 = 0xef53;
    const BTRFS: u64 = 0x9123_683e;
    let lasting = match kind {
        // `uuid_to_fsid` in ext2 and ext4.
        EXT => fsid,
        // The number of the subvolume is folded into the rest (`btrfs_statfs`); a snapshot that is
        // made anew for each run is the same file system.
        BTRFS => fsid & 0xffff_ffff,
        _ => 0,
    };
    (lasting != 0).then_some(lasting)
}

/// The time at which a directory was made, on file systems that set it once and for all; others make
/// it up, or of what changes.
fn birth(kind: u64, directory: impl AsFd) -> Option<FileSystemId> {
    const XFS: u64 = 0x5846_5342;
    const F2FS: u64 = 0xf2f5_2010;
    const ZFS: u64 = 0x2fc1_2fc1;
    const BCACHEFS: u64 = 0xca45_1a4e;
    if ![XFS, F2FS, ZFS, BCACHEFS].contains(&kind) {
        return None;
    }
    let found = statx(directory, c"", AtFlags::EMPTY_PATH, StatxFlags::BTIME).ok()?;
    let is_told = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::BTIME);
    is_told.then_some(FileSystemId::Born(found.stx_btime.tv_sec, found.stx_btime.tv_nsec))
}

/// The name in a directory of links to devices that leads to this one.
fn name_of_device(device: u64, names: &Path) -> Option<String> {
    // File systems without a block device of their own have numbers of major 0.
    if major(device) == 0 {
        return None;
    }
    std::fs::read_dir(names).ok()?.filter_map(Result::ok).find_map(|name| {
        let found = std::fs::metadata(name.path()).ok()?;
        let is_it = found.rdev() == device && found.file_type().is_block_device();
        is_it.then(|| name.file_name().to_string_lossy().into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_fsid_counts_what_the_uuid_made() {
        assert_eq!(lasting_fsid(0xef53, 0xeac6_e2ad_bb6c_f25e), Some(0xeac6_e2ad_bb6c_f25e));
        // Two subvolumes of one Btrfs.
        let [one, other] = [0x12ae_3da1_2a59_6eb2, 0x12ae_3ca4_2a59_6eb2];
        assert_eq!(lasting_fsid(0x9123_683e, one), lasting_fsid(0x9123_683e, other));
        // XFS: the device's number.
        assert_eq!(lasting_fsid(0x5846_5342, 0x701), None);
        assert_eq!(lasting_fsid(0xef53, 0), None);
    }

    #[test]
    fn a_device_is_found_by_the_name_that_leads_to_it() {
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
        // That of a tmpfs, say.
        assert_eq!(name_of_device(0x2b, names.path()), None);
    }
}
