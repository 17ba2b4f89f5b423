"""Turns samples into Markdown: a table for each set, what was lost, targets, facts."""

import statistics

import machine
import targets
import tools
from common.report import cell, command, median, ratio, spread, total


def render(bench, data, options, arguments):
    """The whole report."""
    lines = ["# vidimus and its peers", "", *introduction(options), ""]
    figures = targets.Figures({key: median(samples, total)
                               for key, samples in bench.samples.items()
                               if key not in bench.failures})
    for each in data:
        lines += [f"## {each.title}", "", *table(bench, each, options, figures), ""]
    if tools.FIRST in options.cases:
        lines += ["## What a first copy loses", "", *losses(bench, data), ""]
    if any(tool.name == tools.OURS for tool in bench.tools):
        names = [each.name for each in data]
        lines += ["## Targets", "", *targets.table(names, options.cases, figures), ""]
    lines += ["## Machine and tools", ""]
    lines += [f"- {fact}" for fact in machine.facts(bench, options, data)]
    lines.append(f"- {command('benches/peers/run', arguments)}")
    return "\n".join(lines) + "\n"


def introduction(options):
    """Says how to read the tables."""
    cache = "cold" if options.cold else "warm"
    text = (f"Made by `benches/peers/run`; caches {cache}, rounds: {options.rounds}. "
            "Medians (least–most). Wall time is the time until the work is durable: it holds "
            "`sync`, run for the tools that don't sync. CPU is that of the tool and its sync. "
            "Memory is the peak of a tool's largest process.")
    if options.scale != 1:
        text += f" **The trees are {options.scale:g} of their full size: no figures to quote.**"
    return [text]


def table(bench, data, options, figures):
    """Yields the lines of a set's table."""
    yield ("| case | tool | wall s | of it sync s | CPU s | peak memory MB "
           "| wall / vidimus | wall / floor |")
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for case in options.cases:
        for row in rows(bench, case):
            key = (data.name, case, row.name)
            title = tools.CASES[case]
            if case == tools.CHANGED and data.name in bench.edited:
                title += f" ({bench.edited[data.name]:,})"
            if key in bench.failures:
                failure = cell(bench.failures[key])
                yield f"| {title} | {row.row(case)} | no result: {failure} | | | | | |"
            elif key in bench.samples:
                yield line(title, row, case, bench.samples[key], data.name, figures)


def rows(bench, case):
    """The floors and tools of a case, in the order of the table."""
    floors = {tools.FIRST: [tools.HASH], tools.RERUN: [tools.WALK], tools.CHANGED: [],
              tools.VERIFY: [tools.HASH_TARGET]}
    return floors[case] + bench.tools


def line(title, row, case, samples, data, figures):
    """One row of a set's table."""
    ours = figures.get(data, case, tools.OURS)
    wall = median(samples, total)
    floor = targets.floor(data, case, figures)
    if isinstance(row, tools.Floor):
        sync = "–"
    else:
        syncs = [sample.sync for sample in samples]
        sync = "within" if None in syncs else f"{statistics.median(syncs):.3f}"
        if case == tools.VERIFY:
            sync = "–"
    return (f"| {title} | {row.row(case)} | {spread(samples, total, 3)} | {sync} "
            f"| {spread(samples, lambda sample: sample.cpu, 2)} "
            f"| {median(samples, lambda sample: sample.memory) / 1e6:.0f} "
            f"| {ratio(wall, ours)} | {ratio(wall, floor)} |")


def losses(bench, data):
    """Yields the lines of the table of losses: a column a set, a row a tool."""
    yield f"| tool | {' | '.join(each.name for each in data)} |"
    yield f"| --- |{' --- |' * len(data)}"
    for tool in bench.tools:
        cells = []
        for each in data:
            lost = bench.losses.get((each.name, tool.name))
            if lost is None:
                cells.append("no result")
            else:
                cells.append(", ".join(f"{what}: {count:,}" for what, count in sorted(lost.items()))
                             or "nothing")
        yield f"| {tool.label} | {' | '.join(cells)} |"
