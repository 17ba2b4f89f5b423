//! Tools of the system that some tests lean on. `tests/tools.sh` installs them; a test that lacks
//! one says so on the real standard error, and fails where `VIDIMUS_TESTS_NO_SKIP` is set.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns from the test, loudly, unless every need is met.
#[macro_export]
macro_rules! needs {
    ($($need:expr),+ $(,)?) => {
        $(if let Err(missing) = $need {
            return $crate::common::tools::skipped(module_path!(), line!(), &missing);
        })+
    };
}

/// Says that a test is skipped. The test harness captures `eprintln!`, not this.
pub fn skipped(module: &str, line: u32, missing: &str) {
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    writeln!(std::io::stderr(), "SKIPPED: {name} ({module}:{line}): {missing}")
        .expect("write to standard error");
    assert!(
        std::env::var_os("VIDIMUS_TESTS_NO_SKIP").is_none(),
        "skipped where no test may be skipped: {missing}"
    );
}

/// A program on the search path.
pub fn tool(name: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
        .ok_or_else(|| format!("{name} is not installed (tests/tools.sh installs it)"))
}

/// Running as root.
pub fn root() -> Result<(), String> {
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err("not running as root".into()) }
}

/// Running as root, and allowed to mount.
pub fn mounts() -> Result<(), String> {
    root()?;
    let directory = tempfile::tempdir().expect("make a directory");
    Mount::tmpfs(directory.path(), "size=64k").map(drop)
}

/// strace, and the permission to trace.
pub fn strace() -> Result<PathBuf, String> {
    let strace = tool("strace")?;
    let traced = Command::new(&strace).args(["-o", "/dev/null", "true"]).output();
    match traced {
        Ok(output) if output.status.success() => Ok(strace),
        _ => Err("strace may not trace here".into()),
    }
}

/// b3sum 1.8, which `tests/b3sum.sh` installs on first use. Others escape names differently.
pub fn b3sum() -> Result<PathBuf, String> {
    super::servers::b3sum()
}

/// A mount that goes when it is dropped.
#[derive(Debug)]
pub struct Mount {
    at: PathBuf,
}

impl Mount {
    /// Mounts a fresh tmpfs at `at`.
    pub fn tmpfs(at: &Path, options: &str) -> Result<Self, String> {
        Self::attached(at, &["-t", "tmpfs", "-o", options, "tmpfs"])
    }

    /// Shows `from` at `at` as well.
    pub fn bind(from: &Path, at: &Path) -> Result<Self, String> {
        Self::attached(at, &["--bind", from.to_str().expect("test paths are UTF-8")])
    }

    /// Mounts an empty overlay at `at`, whose layers are made in `beside`.
    pub fn overlay(beside: &Path, at: &Path) -> Result<Self, String> {
        let layer = |name: &str| {
            let layer = beside.join(name);
            std::fs::create_dir(&layer).expect("make a layer");
            layer.display().to_string()
        };
        let [lower, upper, work] = ["lower", "upper", "work"].map(layer);
        let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
        Self::attached(at, &["-t", "overlay", "-o", &options, "overlay"])
    }

    /// Mounts an ext4 of `mebibytes` at `at`, from the image `image`, which is made when missing.
    pub fn ext4(image: &Path, at: &Path, mebibytes: u64) -> Result<Self, String> {
        Self::ext4_of(image, at, mebibytes, &[])
    }

    /// The same, made with these options of mkfs.ext4.
    pub fn ext4_of(
        image: &Path,
        at: &Path,
        mebibytes: u64,
        options: &[&str],
    ) -> Result<Self, String> {
        Self::image(image, at, mebibytes, "mkfs.ext4", &[&["-q", "-F"], options].concat())
    }

    /// Mounts an XFS of 320 MiB, sparse, at `at`, from the image `image`, which is made when missing.
    pub fn xfs(image: &Path, at: &Path) -> Result<Self, String> {
        Self::image(image, at, 320, "mkfs.xfs", &["-q", "-f"])
    }

    /// Mounts a Btrfs of 120 MiB at `at`, from the image `image`, which is made when missing.
    pub fn btrfs(image: &Path, at: &Path) -> Result<Self, String> {
        Self::image(image, at, 120, "mkfs.btrfs", &["-q", "-f", "-M"])
    }

    fn image(
        image: &Path,
        at: &Path,
        mebibytes: u64,
        maker: &str,
        options: &[&str],
    ) -> Result<Self, String> {
        if !image.exists() {
            let maker = tool(maker)?;
            let file = std::fs::File::create(image).expect("make an image");
            file.set_len(mebibytes << 20).expect("give the image its size");
            let made = Command::new(&maker).args(options).arg(image).output();
            if !made.as_ref().is_ok_and(|output| output.status.success()) {
                return Err(format!("{}: {made:?}", maker.display()));
            }
        }
        Self::attached(at, &["-o", "loop", image.to_str().expect("test paths are UTF-8")])
    }

    /// Mounts an NTFS of `mebibytes` at `at`, in which names that differ in case alone are one, from the
    /// new image `image`.
    pub fn folding(image: &Path, at: &Path, mebibytes: u64) -> Result<Self, String> {
        make(image, mebibytes, Command::new(tool("mkfs.ntfs")?).args(["-q", "-F"]))?;
        let mut ntfs = Command::new(tool("lowntfs-3g")?);
        Self::served(at, ntfs.args(["-o", "ignore_case"]).args([image, at]))
    }

    /// Shows `from` at `at` by bindfs, which is built on libfuse 2: it passes over a modification time
    /// that comes without an access time, and knows no rename that replaces nothing.
    pub fn bindfs(from: &Path, at: &Path) -> Result<Self, String> {
        Self::served(at, Command::new(tool("bindfs")?).args([from, at]))
    }

    /// Joins two directories at `at` by mergerfs, which numbers inodes by name.
    pub fn mergerfs(branches: [&Path; 2], at: &Path) -> Result<Self, String> {
        let branches = branches.map(|branch| branch.to_str().expect("test paths are UTF-8"));
        Self::served(
            at,
            Command::new(tool("mergerfs")?)
                .args(["-o", "minfreespace=0"])
                .arg(branches.join(":"))
                .arg(at),
        )
    }

    /// Shows `from` at `at` by sshfs, with an SFTP server on its other end and no network between. It
    /// numbers inodes by name, keeps whole seconds, and sets of a link what it points to.
    pub fn sshfs(from: &Path, at: &Path) -> Result<Self, String> {
        use std::os::unix::fs::PermissionsExt as _;
        let servers = ["/usr/lib/openssh/sftp-server", "/usr/lib/sftp-server"];
        let server = servers.into_iter().find(|server| Path::new(server).is_file());
        let server = server.ok_or("sftp-server is not installed (tests/tools.sh installs it)")?;
        // What sshfs takes for ssh.
        let ssh = at.with_extension("ssh");
        std::fs::write(&ssh, format!("#!/bin/sh\nexec {server}\n")).expect("write a script");
        let runs = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&ssh, runs).expect("make it run");
        let command = format!("ssh_command={}", ssh.display());
        let place = format!("here:{}", from.display());
        let mut sshfs = Command::new(tool("sshfs")?);
        Self::served(at, sshfs.args(["-o", &command, &place]).arg(at))
    }

    /// Mounts a fresh NTFS at `at` by ntfs-3g, which keeps no modes unless it is told to, and answers
    /// that it does; its image is `image`.
    pub fn ntfs(image: &Path, at: &Path) -> Result<Self, String> {
        make(image, 60, Command::new(tool("mkfs.ntfs")?).args(["-q", "-F", "-Q"]))?;
        Self::served(at, Command::new(tool("lowntfs-3g")?).args([image, at]))
    }

    /// Mounts a fresh exFAT at `at` by exfat-fuse, from the image `image`: no links of any kind, no
    /// rename that replaces nothing, no modes, inodes numbered by name.
    pub fn exfat(image: &Path, at: &Path) -> Result<Self, String> {
        make(image, 60, &mut Command::new(tool("mkfs.exfat")?))?;
        let mut exfat = Command::new(tool("mount.exfat-fuse")?);
        // Of an image it would say, and be right, that it is no block device.
        let attached = Command::new("losetup").args(["-f", "--show"]).arg(image).output();
        let attached = attached.map_err(|error| format!("losetup: {error}"))?;
        let device = String::from_utf8_lossy(&attached.stdout).trim().to_owned();
        if !attached.status.success() {
            return Err(String::from_utf8_lossy(&attached.stderr).trim().to_owned());
        }
        let mounted = Self::served(at, exfat.arg(&device).arg(at));
        // It goes when it is unmounted.
        let detached = Command::new("losetup").args(["-d", &device]).status();
        assert!(detached.is_ok_and(|status| status.success()), "detach {device}");
        mounted
    }

    /// Makes the mount read-only, or writable again.
    pub fn read_only(&self, yes: bool) {
        let option = if yes { "remount,ro" } else { "remount,rw" };
        let done = Command::new("mount").args(["-o", option]).arg(&self.at).status();
        assert!(done.is_ok_and(|status| status.success()), "remount {}", self.at.display());
    }

    fn attached(at: &Path, arguments: &[&str]) -> Result<Self, String> {
        Self::served(at, Command::new("mount").args(arguments).arg(at))
    }

    /// Mounts by a program of its own.
    fn served(at: &Path, command: &mut Command) -> Result<Self, String> {
        let done = command.stdin(std::process::Stdio::null()).output();
        match done {
            Ok(output) if output.status.success() => Ok(Self { at: at.to_owned() }),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(format!("{command:?}: {error}")),
        }
    }
}

/// Makes a file system of `mebibytes` in an image.
fn make(image: &Path, mebibytes: u64, command: &mut Command) -> Result<(), String> {
    let file = std::fs::File::create(image).expect("make an image");
    file.set_len(mebibytes << 20).expect("give the image its size");
    match command.arg(image).output() {
        Ok(output) if output.status.success() => Ok(()),
        other => Err(format!("{command:?}: {other:?}")),
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let plain = Command::new("umount").arg(&self.at).output();
        if !plain.is_ok_and(|output| output.status.success()) {
            // Something still has a file open there: detach it at least.
            let _detached = Command::new("umount").arg("-l").arg(&self.at).status();
        }
    }
}
