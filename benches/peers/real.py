"""A real tree to copy: parts of this machine's system, with its symbolic and hard links."""

import os
import shutil
import stat
import subprocess

from common import fail, say

# How much is taken, all roots together.
BYTES = 1_300_000_000
# So many hard links are added where the system has fewer.
LEAST_LINKS = 200
LINKS = "hard-links"


def roots(named):
    """The directories that are copied, sorted: one that the user named, or the system's."""
    if named is not None:
        if not os.path.isdir(named):
            fail(f'cannot copy "{named}": it is no directory', "name a directory with --real")
        return [os.path.realpath(named)]
    found = ["/usr/share", "/usr/lib"]
    try:
        toolchain = subprocess.run(["rustc", "--print", "sysroot"], stdout=subprocess.PIPE,
                                   check=True, text=True).stdout.strip()
        found.append(toolchain)
    except (OSError, subprocess.CalledProcessError):
        say("no Rust toolchain here: the real tree is made without it")
    return [root for root in found if os.path.isdir(root)]


def copy(sources, target, limit):
    """Copies the roots, in the order of their names, to `limit` bytes together (or whole)."""
    share = None if limit is None else limit // len(sources)
    copier = Copier(target)
    for number, source in enumerate(sources):
        copier.left = share
        copier.tree(source, os.path.join(target, f"{number}-{os.path.basename(source)}"))
    copier.add_links(target)
    # Last: what is made in a directory changes its time.
    for path, found in reversed(copier.directories):
        os.chmod(path, stat.S_IMODE(found.st_mode) | 0o700)
        os.utime(path, ns=(found.st_mtime_ns, found.st_mtime_ns))


class Copier:
    """Copies what can be read: files, directories and links, until no bytes are left."""

    def __init__(self, target):
        self.left = None
        self.seen = {}
        self.files = []
        self.links = 0
        self.directories = [(target, os.lstat(target))]

    def tree(self, source, target):
        """Copies a directory and what is below it."""
        os.mkdir(target)
        self.directories.append((target, os.lstat(source)))
        try:
            items = sorted(os.scandir(source), key=lambda item: item.name)
        except PermissionError:
            return
        for item in items:
            if self.left is not None and self.left <= 0:
                return
            found = item.stat(follow_symlinks=False)
            path = os.path.join(target, item.name)
            if stat.S_ISDIR(found.st_mode):
                self.tree(item.path, path)
            elif stat.S_ISLNK(found.st_mode):
                os.symlink(os.readlink(item.path), path)
                self.finish(path, found)
            elif stat.S_ISREG(found.st_mode) and os.access(item.path, os.R_OK):
                self.file(item.path, path, found)

    def file(self, source, path, found):
        """Copies a file, or links it to the copy that it is another name of."""
        identity = (found.st_dev, found.st_ino)
        if identity in self.seen:
            os.link(self.seen[identity], path, follow_symlinks=False)
            self.links += 1
            return
        # One file must not fill a root's share: what is large is left out there.
        if self.left is not None:
            if found.st_size > self.left:
                return
            self.left -= found.st_size
        shutil.copyfile(source, path)
        self.finish(path, found)
        if found.st_nlink > 1:
            self.seen[identity] = path
        self.files.append(path)

    def finish(self, path, found):
        """Gives a copy the owner, mode and time of what it is a copy of."""
        if os.geteuid() == 0:
            os.chown(path, found.st_uid, found.st_gid, follow_symlinks=False)
        if not stat.S_ISLNK(found.st_mode):
            os.chmod(path, stat.S_IMODE(found.st_mode))
        os.utime(path, ns=(found.st_mtime_ns, found.st_mtime_ns), follow_symlinks=False)

    def add_links(self, target):
        """Adds hard links to files spread over the tree until there are enough."""
        missing = min(LEAST_LINKS - self.links, len(self.files))
        if missing <= 0:
            return
        directory = os.path.join(target, LINKS)
        os.mkdir(directory)
        self.directories.append((directory, os.lstat(target)))
        step = len(self.files) // missing
        for number in range(missing):
            os.link(self.files[number * step], os.path.join(directory, f"{number:03}"))
