//! A disk for tests of syncs: in memory vidimus syncs nothing.

use super::environment::Environment;
use super::tools::Mount;
use tempfile::TempDir;

/// An ext4 in memory, whose syncs wait for no other data, if it can be mounted; else the disk of
/// temporary files.
pub struct Disk {
    mount: Option<Mount>,
    directory: TempDir,
}

/// The size of the ext4; its image is sparse.
const MEBIBYTES: u64 = 256;

impl Disk {
    pub fn new() -> Self {
        let memory = std::path::Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let directory = tempfile::Builder::new().prefix("vidimus-test-").tempdir_in(parent);
        let directory = directory.expect("make a temporary directory");
        let at = directory.path().join("disk");
        std::fs::create_dir(&at).expect("make a mount point");
        // Such a small file system would get smaller blocks by default.
        let image = directory.path().join("image");
        let mount = Mount::ext4_of(&image, &at, MEBIBYTES, &["-b", "4096"]).ok();
        Self { mount, directory }
    }

    /// Makes an environment on the disk; it must be dropped first.
    pub fn environment(&self) -> Environment {
        match &self.mount {
            Some(_) => Environment::within(&self.directory.path().join("disk")),
            None => Environment::on_disk(),
        }
    }
}
