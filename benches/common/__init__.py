"""What the benchmarks share: here messages, the release build, arguments and tables."""

import argparse
import json
import os
import shutil
import subprocess
import sys

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def say(text):
    print(text, file=sys.stderr, flush=True)


def fail(error, *helps):
    """Ends the script as vidimus words its errors."""
    sys.exit("\n".join([f"error: {error}", *(f"help: {text}" for text in helps)]))


def require(program, package):
    if shutil.which(program) is None:
        fail(f"{program} is not installed", f"apt-get install {package}")


def build():
    """Builds the release binary and returns its path, wherever cargo puts it."""
    say("building: cargo build --release --locked")
    built = subprocess.run(
        ["cargo", "build", "--release", "--locked", "--message-format=json-render-diagnostics"],
        cwd=REPOSITORY, stdout=subprocess.PIPE, check=False)
    if built.returncode != 0:
        fail("the build failed", "see above, or name a built vidimus with --binary")
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "vidimus":
            return message["executable"]
    return fail("cargo built no binary named vidimus")


def positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def scale(text):
    """A factor above 0."""
    number = float(text)
    if not 0 < number <= 10:
        raise argparse.ArgumentTypeError("must be above 0 and at most 10")
    return number


def names_among(known):
    """A parser of names with commas between them, in the order in which they are known."""
    def parse(text):
        given = text.split(",")
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise argparse.ArgumentTypeError(f"{unknown[0]} is none of {', '.join(known)}")
        return [name for name in known if name in given]
    return parse


def numbers(text):
    """Several positive numbers with commas between them."""
    return [positive(part) for part in text.split(",")]


def print_table(heading, rows):
    """Prints a Markdown table: the first column to the left, the others to the right."""
    print(f"| {' | '.join(heading)} |")
    print(f"| --- |{' ---: |' * (len(heading) - 1)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print()
