"""What a tree holds, how a copy of it differs, and how to bring it into memory."""

import collections
import mmap
import os
import stat

from .measure import checked

KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
PLURALS = {"file": "files", "directory": "directories", "link": "symbolic links",
           "special": "special files"}
# vidimus's own directory at a target's root.
OWN = b".vidimus"
# Prints the names of a tree's files, each ended by a zero byte; run it in the tree.
FILES = "find . -path ./.vidimus -prune -o -type f -print0"
TOUCHED = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
CORES = len(os.sched_getaffinity(0))

Entry = collections.namedtuple("Entry", "kind size text mtime mode owner inode links blocks")


def scan(root):
    """Maps each path below a root (bytes) to its `Entry`; the root itself is b""."""
    entries = {b"": entry_of(os.fsencode(root), os.stat(root))}
    waiting = [b""]
    while waiting:
        directory = waiting.pop()
        with os.scandir(os.path.join(os.fsencode(root), directory)) as found:
            for item in found:
                path = os.path.join(directory, item.name)
                if path == OWN:
                    continue
                entry = entry_of(item.path, item.stat(follow_symlinks=False))
                entries[path] = entry
                if entry.kind == "directory":
                    waiting.append(path)
    return entries


def entry_of(path, found):
    """The entry for a path and its stat."""
    kind = KINDS.get(stat.S_IFMT(found.st_mode), "special")
    return Entry(kind, found.st_size if kind == "file" else 0,
                 os.readlink(path) if kind == "link" else None, found.st_mtime_ns,
                 stat.S_IMODE(found.st_mode), (found.st_uid, found.st_gid),
                 found.st_ino, found.st_nlink, found.st_blocks * 512)


def faults(source, target):
    """Lines on what makes a copy wrong: entries, kinds, sizes and link texts that differ."""
    lines = [f"missing: {shown(path)}" for path in source.keys() - target.keys()]
    lines += [f"not in the source: {shown(path)}" for path in target.keys() - source.keys()]
    for path in source.keys() & target.keys():
        mine, other = source[path], target[path]
        for field in ("kind", "size", "text"):
            if getattr(mine, field) != getattr(other, field):
                lines.append(f"{field} {shown(getattr(other, field))} "
                             f"instead of {shown(getattr(mine, field))}: {shown(path)}")
                break
    return sorted(lines)


def losses(source, target):
    """Counts what a copy may lose and still be a copy: times, modes, owners, hard links."""
    lost = collections.Counter()
    for path in source.keys() & target.keys():
        mine, other = source[path], target[path]
        lost[f"times of {PLURALS[mine.kind]}"] += mine.mtime != other.mtime
        lost[f"modes of {PLURALS[mine.kind]}"] += mine.mode != other.mode
        lost[f"owners of {PLURALS[mine.kind]}"] += mine.owner != other.owner
    for names in hard_links(source):
        kept = {target[path].inode for path in names if path in target}
        lost["hard links"] += len(kept) - 1
    return +lost


def hard_links(entries):
    """Lists of the paths that are one file, for each file with more than one."""
    names = collections.defaultdict(list)
    for path, entry in entries.items():
        if entry.kind == "file" and entry.links > 1:
            names[entry.inode].append(path)
    return [paths for paths in names.values() if len(paths) > 1]


def shown(value):
    """A path or another value for a message, control characters escaped."""
    return repr(os.fsdecode(value)) if isinstance(value, bytes) else str(value)


def hashing(b3sum, entries):
    """A shell command that prints the digests of the files of the tree it runs in.

    Each core has one b3sum at a time, which hashes its share of the files on one thread: b3sum by
    itself hashes one file after the other.
    """
    files = sum(entry.kind == "file" for entry in entries.values())
    share = max(1, min(500, files // (4 * CORES)))
    return ["sh", "-c", f'{FILES} | xargs -0 -r -n {share} -P {CORES} "$1" --num-threads 1',
            "sh", b3sum]


def digests(root, b3sum, entries):
    """The set of lines with digest and name of each file of a tree."""
    return set(checked(hashing(b3sum, entries), cwd=root).splitlines())


def walking(*roots):
    """A command that takes the status of every entry of all roots, a process for each root."""
    # Comparing a time needs each entry's status; nothing is newer than this.
    parts = [f'find "${number}" -newermt 2200-01-01 &' for number in range(1, len(roots) + 1)]
    return ["sh", "-c", " ".join(parts) + " wait", "sh", *roots]


def warm(root, contents=True):
    """Takes every status in a tree and reads every file, so that the caches hold them."""
    checked(walking(root))
    if contents:
        checked(["sh", "-c", f"{FILES} | xargs -0 -r -n 1000 -P {CORES} cat >/dev/null"], cwd=root)


def touch_memory(wanted):
    """Takes up to `wanted` bytes of free memory, writes to all of it and gives it back.

    A virtual machine may have handed free memory to its host. Whoever takes it again waits for
    the host at each page, and that would fall to one tool or another by chance. Linux looks for
    memory to hand over every two seconds (`PAGE_REPORTING_DELAY` in mm/page_reporting.c), so this
    is for right before a run, and helps one that is short.
    """
    free = int(field("/proc/meminfo", "MemFree").split()[0]) * 1024
    length = min(wanted, free - (1 << 30)) // mmap.PAGESIZE * mmap.PAGESIZE
    if length > 0:
        mmap.mmap(-1, length, flags=TOUCHED).close()


def field(path, name):
    """The value of a `name: value` line of a file of /proc, or None."""
    with open(path, encoding="utf-8") as file:
        for line in file:
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    return None


def drop_caches():
    """Empties the page cache and those of names and inodes (root only)."""
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
        file.write("3")
