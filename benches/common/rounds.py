"""Runs tools in turns and keeps what each run took."""

import collections
import os

from . import say
from .measure import Failed

# Bytes of memory that a run finds at hand; a first copy finds more, for what it writes.
PLENTY = 512 << 20


class Rounds:
    """The tools, and the samples so far."""

    def __init__(self, options, tools):
        self.options = options
        self.tools = tools
        # All by (set, case, row).
        self.samples = collections.defaultdict(list)
        self.failures = {}
        # What others asked of the machine when this began.
        self.load = os.getloadavg()[0]

    def order(self, number):
        """The tools in a round's order: every second round is the one before it backwards.

        So no tool always follows the same one, which may leave it more or less to pay for, and
        two binaries are first and second equally often.
        """
        shift = number // 2 % len(self.tools)
        tools = self.tools[shift:] + self.tools[:shift]
        return tools[::-1] if number % 2 else tools

    def keep(self, data, case, row, sample):
        """Keeps a sample under its set, case and row."""
        self.samples[data.name, case, row].append(sample)
        say(f"  {case}: {row}: {sample.total:.3f} s")

    def guarded(self, data, case, row):
        """A context that notes a failure under its set, case and row, and passes it on."""
        return Noting(self.failures, (data.name, case, row))


class Noting:
    """Notes the first failure under a key."""

    def __init__(self, failures, key):
        self.failures = failures
        self.key = key

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _traceback):
        if isinstance(error, Failed):
            self.failures.setdefault(self.key, str(error))
        return False
