"""What vidimus is meant to reach, and whether a run did."""

import tools
from common.report import seconds, verdict
from tools import CHANGED, FIRST, RERUN, VERIFY


class Figures:
    """Medians of a run, by set, case and row."""

    def __init__(self, medians):
        self.medians = medians

    def get(self, data, case, row):
        """Seconds, or None where there is no result."""
        return self.medians.get((data, case, row))


def limits(data, figures):
    """Yields case, what is asked for, and the limit in seconds or None, for a set."""
    def of(case, row, factor=1.0):
        value = figures.get(data, case, row)
        return None if value is None else value * factor

    if data == "small":
        yield FIRST, "at most 0.6 × (`rsync -a` + sync)", of(FIRST, "rsync", 0.6)
        yield FIRST, "stretch: at most 0.5 × (`rsync -a` + sync)", of(FIRST, "rsync", 0.5)
        yield FIRST, "below `cp -a` + sync", of(FIRST, "cp")
    elif data == "large":
        yield (FIRST, "at most 1.15 × the greater of `cp -a` + sync and b3sum",
               greatest(of(FIRST, "cp", 1.15), of(FIRST, "b3sum", 1.15)))
    elif data in ("mixed", "real"):
        yield FIRST, "below `rsync -a` + sync", of(FIRST, "rsync")
        yield FIRST, "below `cp -a` + sync", of(FIRST, "cp")
    yield (RERUN, "at most the greater of 0.25 × (`rsync -a` + sync) and 1.5 × both sides' status",
           greatest(of(RERUN, "rsync", 0.25), of(RERUN, "walk", 1.5)))
    yield CHANGED, "at most 0.6 × (`rsync -a` + sync)", of(CHANGED, "rsync", 0.6)
    yield VERIFY, "at most 1.1 × b3sum", of(VERIFY, "b3sum-target", 1.1)


def greatest(*values):
    """The greatest of some values, or None where one is missing."""
    return None if None in values else max(values)


def floor(data, case, figures):
    """The seconds below which a case cannot be done, as far as this run knows."""
    if case == FIRST:
        known = [figures.get(data, FIRST, row) for row in ("cpz", "b3sum")]
        if data == "large":
            known.append(figures.get(data, FIRST, "cp"))
            return greatest(*known[1:])
        return known[0]
    if case == VERIFY:
        return figures.get(data, VERIFY, "b3sum-target")
    if data == "large" and case == CHANGED:
        # A quarter of the tree is copied: looking for it is nothing beside that.
        return None
    # Whoever looks for changes takes the status of all entries.
    return figures.get(data, RERUN, "walk")


def table(names, cases, figures):
    """Yields the lines of the table of targets."""
    yield "| set | case | target | limit s | vidimus s | verdict |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for data in names:
        for case, text, limit in limits(data, figures):
            if case in cases:
                ours = figures.get(data, case, tools.OURS)
                yield (f"| {data} | {tools.CASES[case]} | {text} | {seconds(limit)} "
                       f"| {seconds(ours)} | {verdict(limit, ours)} |")
