"""Facts on the machine and the tools, without which figures say little."""

import os
import platform
import subprocess

import install
from places import MIB
from trees import CORES, field

VERSIONS = {"cp": ["--version"], "rsync": ["--version"], "cpz": ["--version"],
            "xcp": ["--version"], "rclone": ["version"]}


def facts(bench, options, data):
    """Yields lines for the end of a report."""
    yield f"kernel {platform.release()} ({platform.machine()}), {CORES} cores"
    processor = field("/proc/cpuinfo", "model name")
    if processor:
        yield f"processor: {processor}"
    memory = field("/proc/meminfo", "MemTotal")
    if memory:
        yield f"memory: {int(memory.split()[0]) / MIB:.1f} GiB"
    yield (f"sources and the record of runs on {file_system(data[0].root)}; "
           f"copies on {bench.place.description}")
    for tool in bench.tools:
        name = tool.name
        yield f"{name}: {first_line([tool.program, *VERSIONS.get(name, ['--version'])])}"
    yield f"b3sum: {first_line([bench.b3sum, '--version'])}"
    commit = first_line(["git", "-C", install.REPOSITORY, "describe", "--always", "--dirty"])
    if options.binary:
        yield f"vidimus as given with --binary; the work tree is at {commit}"
    else:
        yield f"vidimus built from {commit}"
    yield f"load of the machine before the first run: {bench.load:.2f}"


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
