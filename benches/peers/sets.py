"""The trees of this benchmark."""

import math
import os
import random

import real
from common import sets
from common.places import GIB, MIB
from common.sets import count, make_files

# Changes whenever a set is made in another way: older ones are then made anew.
RECIPE = 1
NAMES = ("small", "large", "mixed", "flat", "real")


def get(name, options, directory):
    """The set of that name, made now unless it lies ready."""
    scale = options.scale
    recipe = {"recipe": RECIPE, "name": name, "scale": scale}
    stem = name
    if name == "real":
        recipe["roots"] = roots = real.roots(options.real)
        stem = "real" if options.real is None else "named"

    def make(root):
        if name == "real":
            limit = None if options.real and scale >= 1 else int(real.BYTES * scale)
            real.copy(roots, root, limit)
        else:
            MAKERS[name](root, scale)
            sets.settle(root)

    root = os.path.join(directory, sets.stem(stem, scale))
    return sets.get(name, root, recipe, 6 * GIB * min(scale, 1) + GIB, make)


def make_small(root, scale):
    """Files of 1 to 16 KiB, 100 to a directory."""
    generator = random.Random("small sizes")
    sizes = [generator.randint(1024, 16384) for _ in range(count(100_000, scale))]
    make_files(root, "small", sizes,
               lambda index: f"directory-{index // 100:05}/file-{index % 100:02}.bin")


def make_large(root, scale):
    """Four files of 1 GiB."""
    make_files(root, "large", [max(1, int(GIB * scale))] * 4, lambda index: f"large-{index}.bin")


def make_mixed(root, scale):
    """Files of log-normal sizes, 200 kB on average and 27 kB in the middle."""
    generator = random.Random("mixed sizes")
    sizes = [min(256 * MIB, int(generator.lognormvariate(math.log(200_000) - 2, 2)))
             for _ in range(count(20_000, scale))]
    make_files(root, "mixed", sizes, lambda index: (
        f"part-{index // 800:02}/group-{index // 40:03}/item-{index % 40:02}.dat"))


def make_flat(root, scale):
    """Files of up to 200 bytes in one directory."""
    generator = random.Random("flat sizes")
    make_files(root, "flat", [generator.randint(0, 200) for _ in range(count(200_000, scale))],
               lambda index: f"flat/message-{index:06}.txt")


MAKERS = {"small": make_small, "large": make_large, "mixed": make_mixed, "flat": make_flat}
