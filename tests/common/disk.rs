//! A disk, for tests of what is synced: in memory vidimus syncs nothing.

use super::environment::Environment;
use super::tools::Mount;
use tempfile::TempDir;

/// An ext4 in memory, on which a sync waits for nobody else's data, where one may be mounted; else the
/// disk that holds temporary files.
pub struct Disk {
    mount: Option<Mount>,
    directory: TempDir,
}

/// Of the ext4, whose image has holes.
const MEBIBYTES: u64 = 256;

impl Disk {
    pub fn new() -> Self {
        let memory = std::path::Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let directory = tempfile::Builder::new().prefix("vidimus-test-").tempdir_in(parent);
        let directory = directory.expect("make a temporary directory");
        let at = directory.path().join("disk");
        std::fs::create_dir(&at).expect("make a mount point");
        // In blocks of the usual size, which a disk this small would not get.
        let image = directory.path().join("image");
        let mount = Mount::ext4_of(&image, &at, MEBIBYTES, &["-b", "4096"]).ok();
        Self { mount, directory }
    }

    /// An environment on it, which goes before it does.
    pub fn environment(&self) -> Environment {
        match &self.mount {
            Some(_) => Environment::within(&self.directory.path().join("disk")),
            None => Environment::on_disk(),
        }
    }
}
