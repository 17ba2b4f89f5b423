"""Runs the tools in turns, checks what they made and keeps what each run took."""

import contextlib
import os
import shutil

from common import say, trees
from common.measure import Failed, measure, with_sync
from common.rounds import PLENTY, Rounds
from tools import CHANGED, FIRST, HASH, HASH_TARGET, OURS, RERUN, VERIFY, WALK, walk_command


class Bench(Rounds):
    """The tools, the place of their copies, and the samples so far."""

    def __init__(self, options, tools, b3sum, place, work):
        super().__init__(options, tools)
        self.b3sum = b3sum
        self.place = place
        self.state = os.path.join(work, "state")
        # By (set, tool): what a first copy lost.
        self.losses = {}
        # By set: how many files an edit rewrites.
        self.edited = {}
        mirrors = [tool.name for tool in tools if tool.mirrors]
        # The tool beside whose copy the floors are measured.
        self.pilot = OURS if OURS in mirrors else (mirrors or [None])[0]

    def run(self, data):
        """Measures every tool on a set, each round in another order."""
        for number in range(self.options.rounds):
            if FIRST in self.options.cases:
                self.floor(data, FIRST, HASH, trees.hashing(self.b3sum, data.entries), data.root)
            for tool in self.order(number):
                say(f"{data.name}, round {number + 1} of {self.options.rounds}: {tool.name}")
                self.turn(data, tool, number)

    def turn(self, data, tool, number):
        """A tool's cases, from an empty file system on."""
        cases = self.options.cases
        if not tool.mirrors and FIRST not in cases:
            return
        target = self.place.fresh(data.blocks, len(data.entries))
        if os.path.exists(self.state):
            shutil.rmtree(self.state)
        os.mkdir(self.state)
        try:
            self.copy(data, tool, FIRST, target, number)
            if not tool.mirrors:
                return
            if RERUN in cases:
                self.rerun(data, tool, target, number)
            if CHANGED in cases:
                self.edited[data.name] = data.edit()
                self.copy(data, tool, CHANGED, target, number)
            if VERIFY in cases:
                self.verify(data, tool, target)
        except Failed as failed:
            say(f"  no result: {failed}")
            for case in cases if tool.mirrors else []:
                if not self.samples[data.name, case, tool.name]:
                    self.failures.setdefault((data.name, case, tool.name),
                                             "an earlier case had none")

    def rerun(self, data, tool, target, number):
        """Runs a tool where nothing changed."""
        for repeat in range(self.options.repeats):
            self.copy(data, tool, RERUN, target, number + repeat)
            if tool.name == self.pilot:
                self.floor(data, RERUN, WALK, walk_command(data.root, target), None, target)

    def verify(self, data, tool, target):
        """Has a tool compare contents."""
        command = tool.verify(data.root, target, self.state)
        for _ in range(self.options.repeats):
            with self.guarded(data, VERIFY, tool.name):
                self.ready(data.root, target, contents=True)
                self.keep(data, VERIFY, tool.name, measure(command))
            if tool.name == self.pilot:
                self.floor(data, VERIFY, HASH_TARGET,
                           trees.hashing(self.b3sum, data.entries), target, target)

    def copy(self, data, tool, case, target, number):
        """Measures one run that copies, and checks the copy; a wrong one is no result."""
        with self.guarded(data, case, tool.name):
            fresh = case == FIRST
            self.ready(data.root, None if fresh else target, PLENTY + fresh * data.blocks)
            sample = measure(tool.copy(data.root, target, self.state))
            if not tool.syncs:
                sample = with_sync(sample, target)
            self.check(data, tool, case, target, number)
            self.keep(data, case, tool.name, sample)

    def check(self, data, tool, case, target, number):
        """Raises `Failed` where a copy is wrong. Contents are compared in the first round."""
        made = trees.scan(target)
        wrong = trees.faults(data.entries, made)
        if not wrong and number == 0:
            wrong = self.wrong_contents(data, target)
        if wrong:
            raise Failed(f"wrong copy, {len(wrong):,} differences, as {wrong[0]}")
        if case == FIRST:
            self.losses[data.name, tool.name] = trees.losses(data.entries, made)

    def wrong_contents(self, data, target):
        """Lines on files whose content is not the source's."""
        differing = data.digests(self.b3sum) - trees.digests(target, self.b3sum, data.entries)
        return [f"content: {line.decode(errors='replace')}" for line in sorted(differing)]

    def floor(self, data, case, floor, command, cwd, target=None):
        """Measures what no tool can be faster than."""
        with contextlib.suppress(Failed), self.guarded(data, case, floor.name):
            self.ready(data.root, target, contents=case == VERIFY)
            self.keep(data, case, floor.name, measure(command, cwd))

    def ready(self, source, target, memory=PLENTY, contents=False):
        """Makes memory alike for each run: caches full, or empty with --cold; the rest at hand."""
        os.sync()
        if self.options.cold:
            trees.drop_caches()
        else:
            trees.warm(source)
            if target is not None:
                trees.warm(target, contents)
        trees.touch_memory(memory)
