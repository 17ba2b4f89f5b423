"""What the scripts in this directory share: messages, the release build, arguments, tables."""

import argparse
import json
import os
import shutil
import subprocess
import sys

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def say(text):
    print(text, file=sys.stderr, flush=True)


def fail(error, help_text=None):
    """Ends the script as vidimus words its errors."""
    sys.exit(f"error: {error}" + (f"\nhelp: {help_text}" if help_text else ""))


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
