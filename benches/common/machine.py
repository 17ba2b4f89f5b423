"""Facts on the machine and the tools, without which figures say little."""

import os
import platform
import subprocess

from . import REPOSITORY
from .places import MIB
from .trees import CORES, field


def hardware():
    """Yields lines on the machine."""
    yield f"kernel {platform.release()} ({platform.machine()}), {CORES} cores"
    processor = field("/proc/cpuinfo", "model name")
    if processor:
        yield f"processor: {processor}"
    memory = field("/proc/meminfo", "MemTotal")
    if memory:
        yield f"memory: {int(memory.split()[0]) / MIB:.1f} GiB"


def origin(binary):
    """Where the vidimus that was measured comes from; `binary` is what the user named, or None."""
    commit = first_line(["git", "-C", REPOSITORY, "describe", "--always", "--dirty"])
    if binary:
        return f"vidimus as given with --binary; the work tree is at {commit}"
    return f"vidimus built from {commit}"


def file_system(path):
    """The type of the file system that holds a path (proc(5), mountinfo)."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            fields, _, rest = line.partition(" - ")
            if fields.split()[2] == wanted:
                return rest.split()[0]
    return "an unknown file system"


def first_line(command):
    """The first line that a command prints."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "(unknown)"
    return " ".join(done.stdout.partition("\n")[0].split())
