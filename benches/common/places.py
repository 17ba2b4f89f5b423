"""Where copies lie: a fresh ext4 on a loop device for each, or a plain directory."""

import contextlib
import fcntl
import os
import shutil
import tempfile

from . import fail, say
from .measure import Failed, checked, ignore_signals

MIB = 1 << 20
GIB = 1 << 30
# ext4 makes an inode for each of these bytes unless told otherwise.
BYTES_PER_INODE = 16384


def file_system_size(blocks, entries):
    """Bytes of a file system on which a tree and the traces of its changes leave a third free."""
    size = max(blocks * 3 // 2 + GIB, entries * BYTES_PER_INODE * 5 // 4)
    return -(-size // MIB) * MIB


def require_space(path, needed, purpose):
    """Ends the program when a directory's file system has less than `needed` bytes free."""
    free = shutil.disk_usage(path).free
    if free < needed:
        fail(f'"{path}" has {free / GIB:.1f} GiB free and {purpose} needs {needed / GIB:.1f} GiB',
             "take fewer --sets or a smaller --scale")


class Loop:
    """A loop device over one image; each copy finds a file system just made on it."""

    def __init__(self, work, size, direct, stack):
        """Makes the image in `work`, where `clear_leftovers` finds it if this is killed."""
        self.point = os.path.join(work, "mount")
        self.mounted = False
        image = os.path.join(work, "image")
        require_space(work, size + GIB, "the image of the targets' file system")
        os.mkdir(self.point)
        write_once(image, size)
        command = ["losetup", "--find", "--show", f"--direct-io={'on' if direct else 'off'}", image]
        stack.callback(self.undo, image)
        try:
            self.device = checked(command).decode().strip()
        except Failed as failed:
            fail(f"cannot attach a loop device: {failed}", "use --dir for a plain directory")
        state = checked(["losetup", "--noheadings", "--output", "DIO", self.device])
        cache = "direct I/O" if state.strip() == b"1" else "page cache"
        self.description = f"ext4 made anew for each copy, on a loop device ({cache})"

    def fresh(self, blocks, entries):
        """Makes an empty file system for a tree; returns the path that a copy shall have."""
        self.unmount()
        size = file_system_size(blocks, entries) // 4096
        # All tables are written now; the kernel would otherwise write them while the tools run.
        checked(["mkfs.ext4", "-q", "-F", "-b", "4096",
                 "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0",
                 self.device, str(size)])
        self.mounted = True
        checked(["mount", "-t", "ext4", self.device, self.point])
        return os.path.join(self.point, "copy")

    def unmount(self):
        """Unmounts the file system, if one is mounted."""
        if self.mounted and os.path.ismount(self.point):
            checked(["umount", self.point])
        self.mounted = False

    def undo(self, image):
        """Unmounts and detaches, however far things had come."""
        ignore_signals()
        try:
            self.unmount()
        finally:
            detach(image)


class Plain:
    """A directory below one that the user named: its file system is as it happens to be."""

    def __init__(self, directory, purpose, stack):
        self.root = directory
        self.copy = os.path.join(directory, f"vidimus-{purpose}-{os.getpid()}")
        self.description = "a plain directory (figures depend on what happened there before)"
        stack.callback(self.remove)

    def fresh(self, blocks, _entries):
        """Removes the last copy and returns the path that the next shall have."""
        self.remove()
        require_space(self.root, file_system_size(blocks, 0), "a copy")
        return self.copy

    def remove(self):
        """Removes the copy, if there is one."""
        shutil.rmtree(self.copy, onerror=ignore_missing)


def ignore_missing(_function, _path, info):
    """Lets `rmtree` pass over what is not there."""
    if not issubclass(info[0], FileNotFoundError):
        raise info[1]


def detach(image):
    """Detaches every loop device over an image."""
    found = checked(["losetup", "--noheadings", "--output", "NAME", "--associated", image])
    for device in found.decode().split():
        checked(["losetup", "--detach", device])


def write_once(image, size):
    """Writes every block of the image, so that no run pays for allocating them."""
    say(f"writing an image of {size / GIB:.1f} GiB")
    chunk = memoryview(bytes(8 * MIB))
    with open(image, "wb", buffering=0) as file:
        os.posix_fallocate(file.fileno(), 0, size)
        left = size
        while left > 0:
            left -= file.write(chunk[:min(left, len(chunk))])
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextlib.contextmanager
def workplace(home):
    """Yields a new directory below `home`, which no second run uses meanwhile."""
    with open(os.path.join(home, "lock"), "w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # It would change what lies ready under the first one.
            fail(f"another run uses {os.path.relpath(home)}", "wait for its end")
        clear_leftovers(home)
        work = tempfile.mkdtemp(prefix="work-", dir=home)
        try:
            yield work
        finally:
            ignore_signals()
            shutil.rmtree(work)


def clear_leftovers(home):
    """Removes what a killed run left behind; the caller holds the lock."""
    for name in os.listdir(home):
        work = os.path.join(home, name)
        if not name.startswith("work-"):
            continue
        say(f"removing {work}, which a killed run left")
        for place in [work, *(entry.path for entry in os.scandir(work) if entry.is_dir())]:
            point, image = os.path.join(place, "mount"), os.path.join(place, "image")
            if os.path.ismount(point):
                checked(["umount", point])
            if os.path.exists(image) and os.geteuid() == 0:
                detach(image)
        shutil.rmtree(work)
