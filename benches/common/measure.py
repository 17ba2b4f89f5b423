"""Runs a command and says what it took: wall and CPU seconds and peak memory."""

import contextlib
import ctypes
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time

from . import fail

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# prctl(2): orphaned grandchildren become children of this process.
PR_SET_CHILD_SUBREAPER = 36
# Runs "$@" as a child of this shell, which ends and so leaves it to the subreaper. Its memory
# figure starts at the shell's 1 to 4 MB; started from here it would start at Python's. It begins
# at a line on stdin, sent once the shell is gone, which would else wait for a child that is quick.
LAUNCH = ('out=$1; shift; exec 3<&0; '
          '{ read -r _ || exit; exec "$@" </dev/null >"$out" 3<&-; } <&3 & echo $!')
# What of a failed command's messages is shown.
SHOWN = 600


class Failed(Exception):
    """A command did not do its work; the text says how."""


class Sample:
    """What one run of one tool took; `sync` is None where the tool syncs by itself."""

    def __init__(self, wall, cpu, memory, sync=None):
        self.wall = wall
        self.cpu = cpu
        self.memory = memory
        self.sync = sync

    @property
    def total(self):
        """Seconds until the work was durable."""
        return self.wall + (self.sync or 0.0)


def prepare():
    """Makes signals unwind the stack, and this process the parent of orphans. Call it once."""
    for number in SIGNALS:
        signal.signal(number, on_signal)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        fail(f"cannot become a subreaper: {os.strerror(ctypes.get_errno())}")


def on_signal(number, _frame):
    """Ends the program in order: what was mounted and made is cleared away."""
    ignore_signals()
    sys.exit(128 + number)


def ignore_signals():
    """Lets what was mounted and made be cleared away undisturbed."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def checked(command, timeout=None, **options):
    """Runs a helper to its end, out of Ctrl-C's reach, and returns what it printed."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, start_new_session=True, **options)
    try:
        printed, errors = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as expired:
        end_group(child.pid)
        raise Failed(f"{shlex.join(command)} took longer than {timeout:,} s") from expired
    except BaseException:
        end_group(child.pid)
        raise
    if child.returncode != 0:
        raise Failed(f"{shlex.join(command)} ended with {child.returncode}: {shortened(errors)}")
    return printed


def shortened(text):
    """The end of what a command said, in one line."""
    return " ".join(text.decode(errors="replace").split())[-SHOWN:]


def measure(command, cwd=None, env=None, output=os.devnull, timeout=None):
    """Runs a command to its end. Raises `Failed` when its exit code is not 0.

    What it prints goes to the file `output`. After `timeout` seconds it is ended.
    """
    with tempfile.TemporaryFile() as errors:
        launcher = subprocess.Popen(["sh", "-c", LAUNCH, "sh", output, *command], cwd=cwd, env=env,
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                    stderr=errors, start_new_session=True)
        try:
            with launcher.stdin, launcher.stdout:
                pid = int(launcher.stdout.readline())
                launcher.wait()
                start = time.monotonic()
                launcher.stdin.write(b"\n")
            with ended_after(timeout, launcher.pid) as late:
                _, status, usage = os.wait4(pid, 0)
        except BaseException:
            end_group(launcher.pid)
            raise
        wall = time.monotonic() - start
        code = os.waitstatus_to_exitcode(status)
        if code != 0:
            end_group(launcher.pid)
            errors.seek(0)
            limit = f" (after its time of {timeout:,} s)" if late.is_set() else ""
            raise Failed(f"ended with {code}{limit}: {shortened(errors.read())}")
    return Sample(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


@contextlib.contextmanager
def ended_after(timeout, group):
    """Kills a process group when its time is over; yields the event that tells whether it was."""
    late = threading.Event()

    def end():
        late.set()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)

    timer = threading.Timer(timeout, end) if timeout else None
    if timer:
        timer.start()
    try:
        yield late
    finally:
        if timer:
            timer.cancel()


def end_group(group):
    """Ends a command that was begun, and waits for it and its children.

    None of them may stay: it would hold the file system that is unmounted next.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-group, 0)


def with_sync(sample, target):
    """Syncs the target's file system after a tool that does not, and adds what that took."""
    sync = measure(["sync", "-f", target])
    return Sample(sample.wall, sample.cpu + sync.cpu, max(sample.memory, sync.memory), sync.wall)
