"""The trees of this benchmark."""

import os

from common import sets
from common.places import GIB

# Changes whenever a set is made in another way: older ones are then made anew.
RECIPE = 1
NAMES = ("small", "large")
SMALL_FILES, SMALL_BYTES, DIRECTORIES = 20_000, 8192, 200
LARGE_FILES = 2


def get(name, scale, directory):
    """The set of that name, made now unless it lies ready."""
    def make(root):
        MAKERS[name](root, scale)
        sets.settle(root)

    recipe = {"recipe": RECIPE, "name": name, "scale": scale}
    needed = 2 * GIB * min(scale, 1) + GIB
    return sets.get(name, os.path.join(directory, sets.stem(name, scale)), recipe, needed, make)


def make_small(root, scale):
    """Files of 8 KiB, 100 to a directory."""
    share = SMALL_FILES // DIRECTORIES
    sets.make_files(root, "small objects", [SMALL_BYTES] * sets.count(SMALL_FILES, scale),
                    lambda index: f"directory-{index // share:03}/file-{index % share:03}.bin")


def make_large(root, scale):
    """Two files of 1 GiB."""
    sets.make_files(root, "large objects", [max(1, int(GIB * scale))] * LARGE_FILES,
                    lambda index: f"large-{index}.bin")


MAKERS = {"small": make_small, "large": make_large}
