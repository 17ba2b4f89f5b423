//! System tools for tests. `tests/tools.sh` installs them; a test without its tool says so on the
//! real standard error, and fails if `VIDIMUS_TESTS_NO_SKIP` is set.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns from the test with a message unless every need is met.
#[macro_export]
macro_rules! needs {
    ($($need:expr),+ $(,)?) => {
        $(if let Err(missing) = $need {
            return $crate::common::tools::skipped(module_path!(), line!(), &missing);
        })+
    };
}

/// Reports that a test is skipped, past the test harness, which captures `eprintln!`.
pub fn skipped(module: &str, line: u32, missing: &str) {
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    writeln!(std::io::stderr(), "SKIPPED: {name} ({module}:{line}): {missing}")
        .expect("write to standard error");
    assert!(
        std::env::var_os("VIDIMUS_TESTS_NO_SKIP").is_none(),
        "skipped where no test may be skipped: {missing}"
    );
}

/// Finds a program on the search path.
pub fn tool(name: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
        .ok_or_else(|| format!("{name} is not installed (tests/tools.sh installs it)"))
}

/// Requires root.
pub fn root() -> Result<(), String> {
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err("not running as root".into()) }
}

/// Requires root and the permission to mount.
pub fn mounts() -> Result<(), String> {
    root()?;
    let directory = tempfile::tempdir().expect("make a directory");
    Mount::tmpfs(directory.path(), "size=64k").map(drop)
}

/// Requires strace and the permission to trace.
pub fn strace() -> Result<PathBuf, String> {
    let strace = tool("strace")?;
    let traced = Command::new(&strace).args(["-o", "/dev/null", "true"]).output();
    match traced {
        Ok(output) if output.status.success() => Ok(strace),
        _ => Err("strace may not trace here".into()),
    }
}

/// Requires b3sum 1.8, which `tests/b3sum.sh` installs on first use. Other versions escape names
/// differently.
pub fn b3sum() -> Result<PathBuf, String> {
    super::servers::b3sum()
}

/// A mount, which is unmounted on drop.
#[derive(Debug)]
pub struct Mount {
    at: PathBuf,
}

impl Mount {
    /// Mounts a new tmpfs at `at`.
    pub fn tmpfs(at: &Path, options: &str) -> Result<Self, String> {
        Self::attached(at, &["-t", "tmpfs", "-o", options, "tmpfs"])
    }

    /// Bind-mounts `from` at `at`.
    pub fn bind(from: &Path, at: &Path) -> Result<Self, String> {
        Self::attached(at, &["--bind", from.to_str().expect("test paths are UTF-8")])
    }

    /// Mounts an overlay at `at`, with layers in `beside`: what is in its `lower` shows, what is
    /// written goes to `upper`.
    pub fn overlay(beside: &Path, at: &Path) -> Result<Self, String> {
        let layer = |name: &str| {
            let layer = beside.join(name);
            std::fs::create_dir_all(&layer).expect("make a layer");
            layer.display().to_string()
        };
        let [lower, upper, work] = ["lower", "upper", "work"].map(layer);
        let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
        Self::attached(at, &["-t", "overlay", "-o", &options, "overlay"])
    }

    /// Mounts an ext4 of `mebibytes` at `at`, from an image that is made if it is missing.
    pub fn ext4(image: &Path, at: &Path, mebibytes: u64) -> Result<Self, String> {
        Self::ext4_of(image, at, mebibytes, &[])
    }

    /// Does the same with options of mkfs.ext4.
    pub fn ext4_of(
        image: &Path,
        at: &Path,
        mebibytes: u64,
        options: &[&str],
    ) -> Result<Self, String> {
        Self::image(image, at, mebibytes, "mkfs.ext4", &[&["-q", "-F"], options].concat())
    }

    /// Mounts an XFS of 320 MiB at `at`, from a sparse image that is made if it is missing.
    pub fn xfs(image: &Path, at: &Path) -> Result<Self, String> {
        Self::image(image, at, 320, "mkfs.xfs", &["-q", "-f"])
    }

    /// Mounts a Btrfs of 120 MiB at `at`, from an image that is made if it is missing.
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

    /// Mounts an NTFS of `mebibytes` that ignores case at `at`, from a new image.
    pub fn folding(image: &Path, at: &Path, mebibytes: u64) -> Result<Self, String> {
        make(image, mebibytes, Command::new(tool("mkfs.ntfs")?).args(["-q", "-F"]))?;
        let mut ntfs = Command::new(tool("lowntfs-3g")?);
        Self::served(at, ntfs.args(["-o", "ignore_case"]).args([image, at]))
    }

    /// Shows `from` at `at` by bindfs with libfuse 2, which ignores a modification time that is set
    /// without an access time, and has no rename that refuses to replace.
    pub fn bindfs(from: &Path, at: &Path) -> Result<Self, String> {
        Self::served(at, Command::new(tool("bindfs")?).args([from, at]))
    }

    /// Joins two directories at `at` by mergerfs, which makes inode numbers of names.
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

    /// Shows `from` at `at` by sshfs and an SFTP server, without a network between. It makes inode
    /// numbers of names, keeps whole seconds, and follows a link whose metadata is set.
    pub fn sshfs(from: &Path, at: &Path) -> Result<Self, String> {
        use std::os::unix::fs::PermissionsExt as _;
        let servers = ["/usr/lib/openssh/sftp-server", "/usr/lib/sftp-server"];
        let server = servers.into_iter().find(|server| Path::new(server).is_file());
        let server = server.ok_or("sftp-server is not installed (tests/tools.sh installs it)")?;
        // A script in the place of ssh.
        let ssh = at.with_extension("ssh");
        std::fs::write(&ssh, format!("#!/bin/sh\nexec {server}\n")).expect("write a script");
        let runs = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&ssh, runs).expect("make it run");
        let command = format!("ssh_command={}", ssh.display());
        let place = format!("here:{}", from.display());
        let mut sshfs = Command::new(tool("sshfs")?);
        Self::served(at, sshfs.args(["-o", &command, &place]).arg(at))
    }

    /// Mounts a FAT at `at` by the kernel, from a new image.
    pub fn vfat(image: &Path, at: &Path) -> Result<Self, String> {
        make(image, 60, &mut Command::new(tool("mkfs.vfat")?))?;
        Self::attached(
            at,
            &["-t", "vfat", "-o", "loop", image.to_str().expect("test paths are UTF-8")],
        )
    }

    /// Mounts a new NTFS at `at` by ntfs-3g, which by default keeps no modes but reports success.
    pub fn ntfs(image: &Path, at: &Path) -> Result<Self, String> {
        make(image, 60, Command::new(tool("mkfs.ntfs")?).args(["-q", "-F", "-Q"]))?;
        Self::served(at, Command::new(tool("lowntfs-3g")?).args([image, at]))
    }

    /// Mounts a new exFAT at `at` by exfat-fuse: no links of any kind, no rename that refuses to
    /// replace, no modes, inode numbers made of names.
    pub fn exfat(image: &Path, at: &Path) -> Result<Self, String> {
        make(image, 60, &mut Command::new(tool("mkfs.exfat")?))?;
        let mut exfat = Command::new(tool("mount.exfat-fuse")?);
        // exfat-fuse only takes block devices, so the image is attached to one.
        let attached = Command::new("losetup").args(["-f", "--show"]).arg(image).output();
        let attached = attached.map_err(|error| format!("losetup: {error}"))?;
        let device = String::from_utf8_lossy(&attached.stdout).trim().to_owned();
        if !attached.status.success() {
            return Err(String::from_utf8_lossy(&attached.stderr).trim().to_owned());
        }
        let mounted = Self::served(at, exfat.arg(&device).arg(at));
        // The device is detached when it is unmounted.
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

    /// Mounts by a command.
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
            // A file is still open there: detach the mount at least.
            let _detached = Command::new("umount").arg("-l").arg(&self.at).status();
        }
    }
}
