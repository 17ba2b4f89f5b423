"""The trees that are copied: made once, the same each time, and edited in place."""

import json
import os
import random
import shutil

from . import say, trees
from .places import MIB, require_space

# The files' times: long ago, so that no tool takes them for files that are being written.
EPOCH = 1_700_000_000
SECOND = 1_000_000_000
POOL = 32 * MIB


class DataSet:
    """A tree that lies ready to be copied, and what it holds."""

    def __init__(self, name, root, label):
        self.name = name
        self.root = root
        self.label = label
        self.edits = f"{root}.edits"
        self.entries = trees.scan(root)
        self.bytes = sum(entry.size for entry in self.entries.values())
        self.blocks = sum(entry.blocks for entry in self.entries.values())
        self.files = sum(entry.kind == "file" for entry in self.entries.values())
        self.known_digests = None

    @property
    def title(self):
        """What the set holds, for the reader of a table."""
        return (f"{self.label}: {self.files:,} files, {len(self.entries):,} entries, "
                f"{self.bytes / MIB:,.1f} MiB")

    def digests(self, b3sum):
        """The digests of all files as they are now."""
        if self.known_digests is None:
            self.known_digests = trees.digests(self.root, b3sum, self.entries)
        return self.known_digests

    def victims(self):
        """The 1% of the files that an edit rewrites: always the same ones, spread over the tree."""
        fit = sorted(path for path, entry in self.entries.items()
                     if entry.kind == "file" and entry.size and entry.links == 1
                     and entry.mode & 0o200)
        generator = random.Random(f"{self.name} victims")
        return sorted(generator.sample(fit, min(len(fit), max(1, self.files // 100))))

    def edit(self):
        """Rewrites 1% of the files in place: the same sizes, other contents, newer times."""
        number = 1
        if os.path.exists(self.edits):
            with open(self.edits, encoding="ascii") as file:
                number = int(file.read()) + 1
        # Written first: an edit that was cut off must not be made a second time.
        with open(self.edits, "w", encoding="ascii") as file:
            file.write(str(number))
        content = Content(f"{self.name} edit {number}")
        victims = self.victims()
        for path in victims:
            full = os.path.join(os.fsencode(self.root), path)
            write(full, "r+b", content.parts(self.entries[path].size),
                  (EPOCH + number) * SECOND + number)
            self.entries[path] = trees.entry_of(full, os.lstat(full))
        self.known_digests = None
        return len(victims)


class Content:
    """Pseudo-random bytes, fast: slices of one pool from places that the seed decides."""

    pool = None

    def __init__(self, seed):
        if Content.pool is None:
            generator = random.Random("pool")
            Content.pool = memoryview(b"".join(generator.randbytes(MIB)
                                               for _ in range(POOL // MIB)))
        self.random = random.Random(seed)

    def parts(self, size):
        """Yields pieces that are `size` bytes together."""
        while size > 0:
            length = min(size, POOL // 2)
            start = self.random.randrange(POOL - length + 1)
            yield Content.pool[start:start + length]
            size -= length


def write(path, mode, parts, mtime):
    """Writes a file and sets its times, in nanoseconds."""
    with open(path, mode, buffering=0) as file:
        for part in parts:
            while part:
                part = part[file.write(part):]
        os.utime(file.fileno(), ns=(mtime, mtime))


def get(name, root, recipe, needed, make):
    """The set that lies at `root`; `make(root)` makes it unless one of that recipe is there."""
    marker = f"{root}.complete"
    if not is_complete(marker, recipe):
        say(f"making the set {name}")
        for leftover in (marker, f"{root}.edits"):
            if os.path.exists(leftover):
                os.remove(leftover)
        if os.path.lexists(root):
            shutil.rmtree(root)
        os.makedirs(root)
        require_space(os.path.dirname(root), needed, f"the set {name}")
        make(root)
        os.sync()
        with open(marker, "w", encoding="utf-8") as file:
            json.dump(recipe, file)
    return DataSet(name, root, f"`{name}`")


def is_complete(marker, recipe):
    """Whether the set beside a marker was made to its end, by this recipe."""
    try:
        with open(marker, encoding="utf-8") as file:
            return json.load(file) == recipe
    except (FileNotFoundError, ValueError):
        return False


def stem(name, scale):
    """What the directory of a set is called."""
    return name if scale == 1 else f"{name}-{scale:g}"


def make_files(root, name, sizes, path_of):
    """Makes a file of each size at the path that its number has."""
    content = Content(name)
    made = set()
    for index, size in enumerate(sizes):
        path = os.path.join(root, path_of(index))
        parent = os.path.dirname(path)
        if parent not in made:
            os.makedirs(parent, exist_ok=True)
            made.add(parent)
        write(path, "wb", content.parts(size), (EPOCH + index) * SECOND + index % SECOND)


def count(full, scale):
    """How many files a scaled set has."""
    return max(10, int(full * scale))


def settle(root):
    """Gives all directories one time: theirs would otherwise be that of the making."""
    for directory, _, _ in os.walk(root, topdown=False):
        os.utime(directory, ns=(EPOCH * SECOND, EPOCH * SECOND))
