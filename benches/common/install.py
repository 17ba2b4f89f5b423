"""Puts programs that benchmarks run into target/peers, by package and once."""

import os
import shutil
import subprocess
import sys

from . import REPOSITORY, fail, say

PEERS = os.path.join(REPOSITORY, "target", "peers")
CRATES = {"cpz": "3.2.1", "xcp": "0.24.9", "b3sum": "1.8.7"}
# Programs that a file system on a loop device takes, and the Debian packages that hold them.
LOOP_SYSTEM = {"mkfs.ext4": "e2fsprogs", "losetup": "mount", "mount": "mount"}


def run(command, problem, **options):
    """Runs an installer with its output on stderr, or ends the program."""
    say(f"installing: {' '.join(command)}")
    try:
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr, **options)
    except (OSError, subprocess.CalledProcessError) as error:
        fail(f"{problem}: {error}", "leave the tool out with --tools, or install it by hand")


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


def system(wanted):
    """Installs missing programs of the system as root; else says what is missing.

    `wanted` maps programs to the Debian packages that hold them.
    """
    missing = sorted({package for name, package in wanted.items() if not shutil.which(name)})
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        fail(f"these packages are missing: {' '.join(missing)}", "install them and try again")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"], "cannot read the lists of packages", env=environment)
    run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing],
        "cannot install what is missing", env=environment)


def executable(path):
    """The absolute path of a program that the user named."""
    full = os.path.abspath(path)
    if not os.access(full, os.X_OK) or os.path.isdir(full):
        fail(f'"{path}" is no program', "name a built vidimus, as target/release/vidimus")
    return full
