"""The object store that all clients talk to: SeaweedFS, in one process on this machine."""

import contextlib
import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

from common import REPOSITORY, fail
from common.measure import Failed, shortened

ACCESS_KEY, SECRET_KEY, REGION = "benchmark", "benchmarksecret", "us-east-1"
# Each flag takes a port of its own; the first one speaks S3, the third assigns places for content.
PORTS = ("s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port",
         "volume.port.grpc", "filer.port", "filer.port.grpc")
PATIENCE_SECONDS = 60
# Someone else may take a port between its choice and its use.
TRIES = 3
# The server rests when it took less than this share of one core for this long.
QUIET_SHARE, QUIET_SECONDS, QUIET_LIMIT_SECONDS = 0.1, 0.3, 30
TICKS = os.sysconf("SC_CLK_TCK")


def installed():
    """The directory of servers and clients, which tests/servers.sh installs now if need be."""
    done = subprocess.run([os.path.join(REPOSITORY, "tests", "servers.sh")],
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        fail(f"cannot install servers and clients: {shortened(done.stderr)}")
    directory = os.environ.get("VIDIMUS_TEST_SERVERS", os.path.join("target", "test-servers"))
    return os.path.join(REPOSITORY, directory, "venv")


class Server:
    """A running SeaweedFS, and how its clients reach it."""

    def __init__(self, weed, directory, stack):
        self.weed = weed
        self.directory = directory
        stack.callback(self.end)
        self.process = None
        for _ in range(TRIES):
            self.start()
            if self.is_up():
                return
            said = self.said()
            self.end()
        raise Failed(f"SeaweedFS does not start: {said}")

    def start(self):
        """Starts the server on ports that nobody listens on now."""
        self.ports = free_ports(len(PORTS))
        # A try before, on other ports, left something.
        if os.path.exists(self.directory):
            shutil.rmtree(self.directory)
        os.makedirs(os.path.join(self.directory, "data"))
        configuration = os.path.join(self.directory, "s3.json")
        with open(configuration, "w", encoding="ascii") as file:
            json.dump({"identities": [{
                "name": "benchmark", "actions": ["Admin", "Read", "Write", "List"],
                "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]}]}, file)
        command = [self.weed, "server", "-filer", "-s3", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
                   "-master.telemetry=false", "-master.volumeSizeLimitMB=1024", "-volume.max=200",
                   "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={configuration}",
                   f"-dir={os.path.join(self.directory, 'data')}"]
        command += [f"-{name}={port}" for name, port in zip(PORTS, self.ports)]
        # It must not outlive a benchmark that is killed.
        if shutil.which("setpriv"):
            command = ["setpriv", "--pdeathsig", "KILL", "--", *command]
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": self.directory,
                       "TMPDIR": self.directory}
        with open(os.path.join(self.directory, "log"), "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=environment, start_new_session=True)

    def is_up(self):
        """Waits until the server can store something; false where it ended instead."""
        limit = time.monotonic() + PATIENCE_SECONDS
        # It answers before it can store anything.
        for port, path, wanted in ((self.ports[0], "/healthz", ""),
                                   (self.ports[2], "/dir/assign", '"fid"')):
            while not answers(port, path, wanted):
                if self.process.poll() is not None or time.monotonic() > limit:
                    return False
                time.sleep(0.05)
        return True

    def said(self):
        """The end of what the server logged."""
        with open(os.path.join(self.directory, "log"), "rb") as file:
            return shortened(file.read())

    def end(self):
        """Ends the server, and removes the sockets that it leaves in /tmp."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None
        for port in self.ports:
            for path in glob.glob(f"/tmp/seaweedfs-*-{port}.sock"):
                with contextlib.suppress(FileNotFoundError):
                    os.remove(path)

    @property
    def endpoint(self):
        """Where the server speaks S3."""
        return f"http://{self.address}"

    @property
    def address(self):
        """Host and port of the endpoint."""
        return f"127.0.0.1:{self.ports[0]}"

    def cpu(self):
        """Seconds of CPU that the server took so far (proc(5), utime and stime)."""
        try:
            with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as file:
                # The name, in brackets, may hold anything.
                fields = file.read().rpartition(")")[2].split()
        except FileNotFoundError as error:
            raise Failed(f"the server is gone: {self.said()}") from error
        return (int(fields[11]) + int(fields[12])) / TICKS

    def rest(self):
        """Waits until the server has done what it puts off, as removing what was deleted."""
        limit = time.monotonic() + QUIET_LIMIT_SECONDS
        before = self.cpu()
        while time.monotonic() < limit:
            time.sleep(QUIET_SECONDS)
            now = self.cpu()
            if now - before < QUIET_SHARE * QUIET_SECONDS:
                return
            before = now


def free_ports(number):
    """Ports that nobody listens on. They are held until all are found: no two are one."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.create_server(("127.0.0.1", 0)))
                for _ in range(number)]
        return [each.getsockname()[1] for each in held]


def answers(port, path, wanted):
    """Whether a plain GET is answered with 200 and a text that holds `wanted`."""
    # No proxy: this is loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}{path}", timeout=2) as reply:
            return wanted in reply.read().decode(errors="replace")
    except (OSError, urllib.error.URLError):
        return False
