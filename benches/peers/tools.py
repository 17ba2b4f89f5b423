"""The tools that are compared: the commands of each for each case."""

from common import trees

FIRST, RERUN, CHANGED, VERIFY = "first", "rerun", "changed", "verify"
CASES = {FIRST: "first copy", RERUN: "rerun, no change", CHANGED: "1% changed", VERIFY: "verify"}
NAMES = ("cp", "rsync", "cpz", "xcp", "rclone", "vidimus")
OURS, OLD = "vidimus", "vidimus-old"
# rclone waits for each file more than the others do: more at a time than there are cores help it.
RCLONE = ["--config", "", "--links", "--transfers", "8", "--checkers", "8"]
# What makes its copies faster on two cores; like cp, it then writes under the final name.
RCLONE_COPY = ["--metadata", "--create-empty-src-dirs", "--inplace", "--local-no-check-updated",
               "--multi-thread-streams", "0"]


class Tool:
    """A tool that copies, and perhaps copies again and verifies."""

    # Whether a second run copies only what changed.
    mirrors = False
    # Whether the copy is durable when the tool ends, without `sync`.
    syncs = False

    def __init__(self, name, program, label=None):
        self.name = name
        self.program = program
        self.label = label or name

    def copy(self, source, target, state):
        """The command that makes `target` a copy of the directory `source`."""
        raise NotImplementedError

    def verify(self, source, target, state):
        """The command that compares contents, or None where the tool has none."""
        return None

    def row(self, case):
        """What a table calls the tool in a case."""
        return f"{self.label} + sync"


class Cp(Tool):
    """GNU cp, one thread."""

    def copy(self, source, target, state):
        return [self.program, "-a", source, target]


class Rsync(Tool):
    """rsync; between directories of one machine it copies whole files."""

    mirrors = True

    def copy(self, source, target, state):
        return [self.program, "-a", f"{source}/", f"{target}/"]

    def verify(self, source, target, state):
        return [self.program, "-anc", f"{source}/", f"{target}/"]

    def row(self, case):
        return "`rsync -anc`, both sides" if case == VERIFY else f"{self.label} + sync"


class Cpz(Tool):
    """cpz, a parallel copier that keeps modes alone: as near to a raw copy as a tool comes."""

    def copy(self, source, target, state):
        return [self.program, source, target]


class Xcp(Tool):
    """xcp with its own four workers and a file to each, the fastest of its ways on two cores."""

    def copy(self, source, target, state):
        return [self.program, "--recursive", "--no-progress", "--ownership",
                "--no-target-directory", source, target]


class Rclone(Tool):
    """rclone, told to keep what it can."""

    mirrors = True

    def copy(self, source, target, state):
        return [self.program, "copy", *RCLONE, *RCLONE_COPY, source, target]

    def verify(self, source, target, state):
        return [self.program, "check", *RCLONE, source, target]

    def row(self, case):
        return "`rclone check`, both sides" if case == VERIFY else f"{self.label} + sync"


class Vidimus(Tool):
    """vidimus, with what it does unless told otherwise."""

    mirrors = True
    syncs = True

    def copy(self, source, target, state):
        return [self.program, "mirror", source, target, "--state-dir", state, "--no-progress"]

    def verify(self, source, target, state):
        return [self.program, "verify", target, "--state-dir", state, "--no-progress"]

    def row(self, case):
        return f"`{self.label} {'verify' if case == VERIFY else 'mirror'}`"


class Floor:
    """What no tool can be faster than in a case: a row of the tables without a ratio of its own."""

    def __init__(self, name, label):
        self.name = name
        self.label = label

    def row(self, _case):
        """What a table calls the floor."""
        return self.label


WALK = Floor("walk", "floor: status of all entries, both sides at once")
HASH = Floor("b3sum", "floor: b3sum of the source, all cores")
HASH_TARGET = Floor("b3sum-target", "floor: b3sum of the target, all cores")


def walk_command(source, target):
    """The floor of a rerun: every entry's status is taken, on both sides at once."""
    return trees.walking(source, target)


def chosen(names, programs, binary, against):
    """The tools by name; `programs` maps the names of peers to their paths."""
    made = []
    for name in names:
        if name == OURS:
            made.append(Vidimus(OURS, binary))
            if against:
                made.append(Vidimus(OLD, against))
        else:
            kind, label = PEERS[name]
            made.append(kind(name, programs[name], label))
    return made


PEERS = {
    "cp": (Cp, "`cp -a`"),
    "rsync": (Rsync, "`rsync -a`"),
    "cpz": (Cpz, "`cpz`"),
    "xcp": (Xcp, "`xcp -r`"),
    "rclone": (Rclone, "`rclone copy`"),
}
