"""What vidimus is meant to reach with object stores, and whether a run did."""

import math

from bench import HASHING
from clients import OURS, PEERS
from common.report import median, seconds, total, verdict

MIB = 1 << 20
KEYS_A_PAGE = 1000
# `--memory` unless told otherwise, and what may come on top of it.
BUDGET, BESIDE, SMALL_SET = 256 * MIB, 64 * MIB, 96 * MIB


def cpu(sample):
    """Seconds of CPU that a client took."""
    return sample.cpu


class Figures:
    """Medians of a run, by set, case and client."""

    def __init__(self, bench):
        self.bench = bench

    def get(self, data, case, row, of=total):
        """The median of what `of` takes from each sample, or None where there is no result."""
        samples = self.bench.samples.get((data, case, row))
        if not samples or (data, case, row) in self.bench.failures:
            return None
        return median(samples, of)

    def fastest(self, data, case):
        """The peer that took least time, of those that were measured."""
        known = [(self.get(data, case, name), name) for name in PEERS]
        return min((pair for pair in known if pair[0] is not None), default=(None, None))[1]


def table(bench, cases):
    """Yields the lines of the table of targets."""
    yield "| set | case | target | limit | vidimus | verdict |"
    yield "| --- | --- | --- | --- | --- | --- |"
    figures = Figures(bench)
    for case in cases:
        of_kind = {"up": copy, "down": copy, "rerun": rerun, "between": between}[case.kind]
        for text, limit, ours, judge in [*of_kind(case, figures), memory(case, figures)]:
            show, say = judge
            yield (f"| {case.data} | {case.title} | {text} | {show(limit)} | {show(ours)} "
                   f"| {say(limit, ours)} |")


def of_time(text, limit, ours):
    """A target in seconds."""
    return text, limit, ours, (lambda value: "–" if value is None else f"{seconds(value)} s",
                               verdict)


def of_requests(text, limit, ours):
    """A target in numbers of requests."""
    return text, limit, ours, (lambda value: "–" if value is None else f"{value:,.0f}", counted)


def counted(limit, ours):
    """Whether requests were no more than allowed."""
    if limit is None or ours is None:
        return "not measured"
    return "met" if ours <= limit else f"**missed: {ours - limit:,.0f} more**"


def copy(case, figures):
    """Targets of copies between a directory and a bucket."""
    def of(row, what=total, factor=1.0):
        value = figures.get(case.data, case.name, row, what)
        return None if value is None else value * factor

    if case.data == "small":
        yield of_time("wall: at most `juicefs sync`'s", of("juicefs"), of(OURS))
        yield of_time("client CPU: at most `juicefs sync`'s", of("juicefs", cpu), of(OURS, cpu))
        yield of_time("client CPU: at most half of rclone's", of("rclone", cpu, 0.5),
                      of(OURS, cpu))
    else:
        fastest = figures.fastest(case.data, case.name)
        hashing = figures.get(case.data, HASHING, HASHING, cpu)
        theirs = of(fastest, cpu)
        yield of_time(f"wall: no slower than the fastest ({fastest or 'none'})", of(fastest),
                      of(OURS))
        yield of_time(f"client CPU: at most its plus the hashing ({seconds(hashing)} s)",
                      None if None in (theirs, hashing) else theirs + hashing, of(OURS, cpu))


def rerun(case, figures):
    """Targets of a rerun without change."""
    def of(row, what=total):
        return figures.get(case.data, case.name, row, what)

    yield of_time("wall: at most `juicefs sync`'s", of("juicefs"), of(OURS))
    yield of_time("client CPU: at most `juicefs sync`'s", of("juicefs", cpu), of(OURS, cpu))
    keys = figures.bench.listed.get(case.data)
    pages = None if keys is None else math.ceil(keys / KEYS_A_PAGE)
    yield of_requests(f"LIST: one for each {KEYS_A_PAGE:,} of {keys or 0:,} keys (and, not counted "
                      "here, one for each parallel range)", pages, of(OURS, requests("list")))
    # The manifest is looked at: its pointer, its head, and the size of its one segment.
    for kind, limit in (("head", 1), ("get", 2)):
        yield of_requests(f"{kind.upper()}: {limit}, of the manifest", limit,
                          of(OURS, requests(kind)))


def between(case, figures):
    """Targets of copies from bucket to bucket."""
    def of(row, what=total):
        return figures.get(case.data, case.name, row, what)

    fastest = figures.fastest(case.data, case.name)
    yield of_time(f"wall: faster than every peer ({fastest or 'none'})", of(fastest), of(OURS))
    if case.data == "small":
        files = figures.bench.files[case.data]
        yield of_requests("COPY: one an object", files, of(OURS, requests("copy")))
    yield of_requests("HEAD: none", 0, of(OURS, requests("head")))


def memory(case, figures):
    """The target of peak memory."""
    limit = SMALL_SET if case.data == "small" else BUDGET + BESIDE
    ours = figures.get(case.data, case.name, OURS, lambda sample: sample.memory)
    return (f"peak memory: at most {limit // MIB} MiB", limit, ours,
            (lambda value: "–" if value is None else f"{value / MIB:.0f} MiB", verdict))


def requests(kind):
    """Takes a number of requests from a sample."""
    return lambda sample: sample.finished.get(f"requests_{kind}", 0)
