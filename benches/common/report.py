"""What the reports of all benchmarks share."""

import os
import re
import shlex
import statistics

from . import REPOSITORY, say

RESULTS = os.path.join(REPOSITORY, "benches", "RESULTS.md")


def command(program, arguments):
    """The line with which a report was made."""
    return f"command: `{shlex.join([program, *map(portable, arguments)])}`"


def hand_in(text, write):
    """Prints a report, and writes it to RESULTS.md on request.

    There it takes the place of the part with its heading of the first level; other parts stay.
    """
    text = text.replace(f"{REPOSITORY}/", "")
    print(text, end="")
    if not write:
        return
    with open(RESULTS, encoding="utf-8") as file:
        parts = re.split(r"^(?=# )", file.read(), flags=re.MULTILINE)
    heading = text.partition("\n")[0]
    places = [at for at, part in enumerate(parts) if part.partition("\n")[0] == heading]
    if places:
        more = "\n" if places[0] + 1 < len(parts) else ""
        parts[places[0]] = text + more
    else:
        parts.append("\n" + text)
    with open(RESULTS, "w", encoding="utf-8") as file:
        file.write("".join(parts))
    say(f"written: {RESULTS}")


def portable(argument):
    """An argument without the place that a file has on this machine alone."""
    flag, equals, value = argument.rpartition("=")
    return f"{flag}{equals}{os.path.basename(value)}" if value.startswith("/") else argument


def total(sample):
    """Seconds until a sample's work was durable."""
    return sample.total


def median(samples, of):
    """The median of what `of` takes from each sample."""
    return statistics.median(of(sample) for sample in samples)


def spread(samples, of, digits):
    """Median, least and most of what `of` takes from each sample."""
    values = [of(sample) for sample in samples]
    text = f"{statistics.median(values):.{digits}f}"
    if len(values) > 1:
        text += f" ({min(values):.{digits}f}–{max(values):.{digits}f})"
    return text


def ratio(value, base):
    """How many times `base` a value is, or a dash."""
    return f"{value / base:.2f}" if base else "–"


def cell(text):
    """Text that can't break a table."""
    return text.replace("|", "\\|").replace("`", "'")


def seconds(value):
    """Seconds for a table, or a dash."""
    return "–" if value is None else f"{value:.3f}"


def verdict(limit, ours):
    """Whether a limit was kept."""
    if limit is None or ours is None:
        return "not measured"
    if ours <= limit:
        return f"met, {1 - ours / limit:.1%} to spare"
    return f"**missed by {ours / limit - 1:.1%}**"
