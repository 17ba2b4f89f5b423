"""Turns samples into Markdown: a table for each set, requests, targets, facts."""

import clients
import targets
from bench import HASHING
from common.machine import file_system, first_line, hardware, origin
from common.report import cell, command, median, ratio, spread, total
from targets import cpu

KINDS = ("list", "get", "head", "put", "copy", "delete", "multipart", "retried")
VERSIONS = {"juicefs": ["--version"], "rclone": ["version"], "s5cmd": ["version"]}


def render(bench, data, options, arguments):
    """The whole report."""
    lines = ["# vidimus and its peers with object stores", "", introduction(options), ""]
    for each in data:
        lines += [f"## {each.title.replace('`:', '` objects:', 1)}", "",
                  *table(bench, each, options), ""]
    ours = [tool for tool in bench.tools if tool.counts]
    if ours:
        lines += ["## Requests of vidimus", "", *requests(bench, ours, options), ""]
        lines += ["## Targets with object stores", "", *targets.table(bench, options.cases), ""]
    lines += ["## Machine, server and clients", ""]
    lines += [f"- {fact}" for fact in facts(bench, data, options)]
    lines.append(f"- {command('benches/stores/run', arguments)}")
    return "\n".join(lines) + "\n"


def introduction(options):
    """Says how to read the tables."""
    text = (f"Made by `benches/stores/run`; one SeaweedFS on the same cores, caches warm, rounds: "
            f"{options.rounds}, {options.transfers} transfers at the same time for every client. "
            "Medians (least–most). Into a directory, wall time is the time until the copy is "
            "durable: it holds `sync`, run for the clients that don't sync. CPU of the client is "
            "that of its processes and its sync; memory is the peak of the largest one. Ratios "
            "below 1 are in favour of vidimus.")
    if options.scale != 1:
        text += f" **The trees are {options.scale:g} of their full size: no figures to quote.**"
    return text


def table(bench, data, options):
    """Yields the lines of a set's table."""
    yield ("| case | client | wall s | of it sync s | client CPU s | server CPU s "
           "| peak memory MB | wall: vidimus / it | client CPU: vidimus / it |")
    yield "| --- |" + " --- |" * 8
    hashing = bench.samples.get((data.name, HASHING, HASHING))
    if hashing:
        yield (f"| hashing alone | b3sum of the source, one thread | {spread(hashing, total, 3)} "
               f"| – | {spread(hashing, cpu, 2)} | – | – | – | – |")
    figures = targets.Figures(bench)
    for case in options.cases:
        if case.data != data.name:
            continue
        for tool in bench.tools:
            key = (data.name, case.name, tool.name)
            if key in bench.failures:
                failure = cell(bench.failures[key])
                yield f"| {case.title} | {tool.label} | no result: {failure} |{' |' * 6}"
            elif bench.samples.get(key):
                yield line(case, tool, bench.samples[key], figures)


def line(case, tool, samples, figures):
    """One row of a set's table."""
    def compared(of):
        ours = figures.get(case.data, case.name, clients.OURS, of)
        return "–" if ours is None else ratio(ours, median(samples, of))

    syncs = [sample for sample in samples if sample.sync is not None]
    if case.kind != "down":
        sync = "–"
    else:
        sync = f"{median(syncs, lambda sample: sample.sync):.3f}" if syncs else "within"
    return (f"| {case.title} | {tool.label} | {spread(samples, total, 3)} | {sync} "
            f"| {spread(samples, cpu, 2)} | {spread(samples, lambda sample: sample.server, 2)} "
            f"| {median(samples, lambda sample: sample.memory) / 1e6:.0f} "
            f"| {compared(total)} | {compared(cpu)} |")


def requests(bench, ours, options):
    """Yields the lines of the table of requests, which vidimus counts itself."""
    yield f"| set | case | client | {' | '.join(KINDS)} |"
    yield f"| --- | --- | --- |{' ---: |' * len(KINDS)}"
    for case in options.cases:
        for tool in ours:
            samples = bench.samples.get((case.data, case.name, tool.name))
            if samples:
                cells = [counts(samples, kind) for kind in KINDS]
                yield f"| {case.data} | {case.title} | {tool.label} | {' | '.join(cells)} |"


def counts(samples, kind):
    """How many requests of a kind the runs made, from least to most."""
    values = [targets.requests(kind)(sample) for sample in samples]
    least, most = min(values), max(values)
    return f"{least:,}" if least == most else f"{least:,}–{most:,}"


def facts(bench, data, options):
    """Yields lines on the machine, the server and the clients."""
    yield from hardware()
    yield (f"sources and the record of runs on {file_system(data[0].root)}; "
           f"copies on {bench.copies.description}; the server's data on another, made once")
    yield f"SeaweedFS: {first_line([bench.server.weed, 'version'])}"
    for tool in bench.tools:
        version = VERSIONS.get(tool.name, ["--version"])
        yield f"{tool.name}: {first_line([*tool.program, *version])}"
    yield origin(options.binary)
    yield f"load of the machine before the first run: {bench.load:.2f}"
