"""Runs the clients in turns, checks what they made and keeps what each run took."""

import contextlib
import json
import os
import shutil

import cases
from clients import OURS, Bucket, Directory
from common import say, trees
from common.measure import Failed, checked, measure, shortened, with_sync
from common.rounds import PLENTY, Rounds

# What vidimus keeps in a bucket for itself.
OWN = ".vidimus/"
# A floor: what hashing the large files takes, as vidimus does and its peers don't.
HASHING = "hashing"


class Bench(Rounds):
    """The clients, the server, the places of copies, and the samples so far."""

    def __init__(self, options, tools, server, rclone, b3sum, copies, work, environment):
        super().__init__(options, tools)
        self.server = server
        self.rclone = rclone
        self.b3sum = b3sum
        self.copies = copies
        self.state = os.path.join(work, "state")
        self.output = os.path.join(work, "output")
        self.environment = environment
        self.buckets = 0
        # By set: how many files it has.
        self.files = {}
        # By set: how many keys the bucket held that vidimus listed in a rerun.
        self.listed = {}

    def run(self, data):
        """Measures every client on a set, each round in another order."""
        self.files[data.name] = data.files
        chosen = [case for case in self.options.cases if case.data == data.name]
        with contextlib.ExitStack() as stack:
            filled = None
            if any(case.from_bucket for case in chosen):
                filled = self.filled(data, stack)
            for number in range(self.options.rounds):
                if data.name == "large":
                    self.hash(data)
                for tool in self.order(number):
                    say(f"{data.name}, round {number + 1} of {self.options.rounds}: {tool.name}")
                    self.turn(data, tool, number, chosen, filled)

    def filled(self, data, stack):
        """A bucket that holds the set: the source of every client alike."""
        bucket = self.bucket(stack)
        say(f"{data.name}: filling the bucket that is copied from")
        self.helper(["copy", "--transfers", str(self.options.transfers), data.root,
                     f"s3:{bucket.name}"])
        self.check_bucket(data, bucket, contents=True)
        return bucket

    def turn(self, data, tool, number, chosen, filled):
        """A client's cases, each from an empty target on; a rerun from what was uploaded."""
        for kind, source in ((cases.UP, Directory(data.root)), (cases.BETWEEN, filled)):
            wanted = [case for case in chosen if case.kind == kind]
            rerun = [case for case in chosen if case.kind == cases.RERUN and kind == cases.UP]
            if wanted or rerun:
                with contextlib.ExitStack() as stack:
                    self.into_bucket(data, tool, number, source, wanted, rerun, stack)
        for case in chosen:
            if case.kind == cases.DOWN:
                self.down(data, tool, number, case, filled)

    def into_bucket(self, data, tool, number, source, first, rerun, stack):
        """Copies into a fresh bucket, and once more where nothing changed."""
        bucket = self.bucket(stack)
        self.forget()
        try:
            if first:
                self.upload(data, tool, first[0], source, bucket, number)
            else:
                self.once(tool.copy(source, bucket, self.state))
            for case in rerun:
                for _ in range(self.options.repeats):
                    self.upload(data, tool, case, source, bucket, number)
                if tool.name == OURS and number == 0:
                    self.listed[data.name] = self.keys(bucket)
        except Failed as failed:
            say(f"  no result: {failed}")
            for case in rerun:
                if not self.samples[data.name, case.name, tool.name]:
                    self.failures.setdefault((data.name, case.name, tool.name), str(failed))

    def upload(self, data, tool, case, source, bucket, number):
        """Measures one run into a bucket, and checks what is there; a wrong copy is no result."""
        with self.guarded(data, case.name, tool.name):
            sample = self.measure(data, tool, source, bucket)
            self.check_bucket(data, bucket, contents=number == 0 and case.kind != cases.RERUN)
            if case.kind == cases.RERUN and sample.finished.get("files_copied", 0) != 0:
                raise Failed(f"a rerun copied {sample.finished['files_copied']:,} files")
            self.keep(data, case.name, tool.name, sample)

    def down(self, data, tool, number, case, filled):
        """Measures one run into an empty directory, and checks what is there."""
        target = self.copies.fresh(data.blocks, len(data.entries))
        os.mkdir(target)
        self.forget()
        with contextlib.suppress(Failed), self.guarded(data, case.name, tool.name):
            sample = self.measure(data, tool, filled, Directory(target), PLENTY + data.blocks)
            wrong = trees.faults(data.entries, trees.scan(target))
            if not wrong and number == 0:
                wrong = sorted(data.digests(self.b3sum)
                               - trees.digests(target, self.b3sum, data.entries))
            if wrong:
                raise Failed(f"wrong copy, {len(wrong):,} differences, as {trees.shown(wrong[0])}")
            self.keep(data, case.name, tool.name, sample)

    def measure(self, data, tool, source, target, memory=PLENTY):
        """Runs a client once, with the server at rest before."""
        command = tool.copy(source, target, self.state)
        os.sync()
        self.server.rest()
        trees.warm(data.root)
        trees.touch_memory(memory)
        before = self.server.cpu()
        sample = self.once(command)
        server = self.server.cpu() - before
        if isinstance(target, Directory) and not tool.syncs:
            sample = with_sync(sample, target.path)
        sample.server = server
        sample.finished = self.finished() if tool.counts else {}
        return sample

    def once(self, command):
        """Runs a client to its end. Some say on stdout what was wrong."""
        try:
            return measure(command, env=self.environment, output=self.output,
                           timeout=self.options.timeout)
        except Failed as failed:
            with open(self.output, "rb") as file:
                raise Failed(f"{failed} {shortened(file.read())}".strip(": ")) from failed

    def finished(self):
        """The last record that vidimus wrote."""
        with open(self.output, encoding="utf-8") as file:
            lines = file.read().splitlines()
        record = json.loads(lines[-1]) if lines else {}
        if record.get("event") != "finished":
            raise Failed("the last record is not `finished`")
        return record

    def hash(self, data):
        """Measures what hashing a set takes on one thread."""
        with contextlib.suppress(Failed), self.guarded(data, HASHING, HASHING):
            trees.warm(data.root)
            files = [os.path.join(os.fsencode(data.root), path)
                     for path, entry in data.entries.items() if entry.kind == "file"]
            self.keep(data, HASHING, HASHING, measure([self.b3sum, "--num-threads", "1", *files]))

    def forget(self):
        """Empties the record of runs, and what helpers and clients keep of their own."""
        if os.path.exists(self.state):
            shutil.rmtree(self.state)
        os.mkdir(self.state)

    def bucket(self, stack):
        """A bucket that is removed, with all it holds, when the stack is unwound."""
        self.buckets += 1
        name = f"bucket-{self.buckets}"
        self.helper(["mkdir", f"s3:{name}"])
        # The server removes what it holds at once.
        stack.callback(self.helper, ["rmdir", f"s3:{name}"])
        # The first content of a bucket has the server make files for it, which takes a second.
        first = f"s3:{name}/first"
        self.helper(["copyto", self.environment["AWS_CONFIG_FILE"], first])
        self.helper(["deletefile", first])
        return Bucket(name)

    def check_bucket(self, data, bucket, contents):
        """Raises `Failed` unless a bucket holds the set's files: names, sizes, perhaps contents."""
        there = self.helper(["lsf", "--recursive", "--fast-list", "--files-only", "--format", "sp",
                             "--separator", " ", f"s3:{bucket.name}"])
        found = {line for line in there.decode(errors="replace").splitlines()
                 if not line.partition(" ")[2].startswith(OWN)}
        wanted = {f"{entry.size} {os.fsdecode(path)}" for path, entry in data.entries.items()
                  if entry.kind == "file"}
        wrong = sorted(found ^ wanted)
        if wrong:
            raise Failed(f"wrong copy, {len(wrong):,} differences, as {wrong[0]}")
        if contents:
            self.helper(["check", "--download", "--fast-list", "--exclude", f"/{OWN}**", data.root,
                         f"s3:{bucket.name}"])

    def keys(self, bucket):
        """How many keys a bucket holds: markers and vidimus' own too."""
        there = self.helper(["lsf", "--recursive", "--fast-list", "--s3-directory-markers",
                             f"s3:{bucket.name}"])
        return len(there.splitlines())

    def helper(self, arguments):
        """Runs rclone beside the measurements, and returns what it printed."""
        return checked([*self.rclone, *arguments, "--retries", "1"], env=self.environment,
                       timeout=self.options.timeout)
