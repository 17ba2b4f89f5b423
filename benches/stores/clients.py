"""The clients that are compared: the commands of each, for directories and for buckets."""

import glob
import os

from server import ACCESS_KEY, REGION, SECRET_KEY

NAMES = ("juicefs", "rclone", "s5cmd", "aws", "vidimus")
OURS, OLD = "vidimus", "vidimus-old"


def environment(server, venv, home, transfers):
    """The variables of every client: this server, its keys, and nothing of this machine."""
    configuration = os.path.join(home, "aws-config")
    with open(configuration, "w", encoding="ascii") as file:
        file.write(f"[default]\ns3 =\n  max_concurrent_requests = {transfers}\n"
                   "  addressing_style = path\n")
    return {
        "PATH": os.environ.get("PATH", os.defpath), "HOME": home, "TMPDIR": home, "TZ": "UTC",
        "LANG": "C.UTF-8",
        "AWS_ENDPOINT_URL": server.endpoint, "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": REGION,
        # Nothing asks for credentials over the network.
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": configuration, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_PAGER": "",
        # Where packages lie when there is no Python environment: beside the programs.
        "PYTHONPATH": venv,
        "RCLONE_CONFIG": "", "RCLONE_CONFIG_S3_TYPE": "s3", "RCLONE_CONFIG_S3_PROVIDER": "Other",
        "RCLONE_CONFIG_S3_ENDPOINT": server.endpoint,
        "RCLONE_CONFIG_S3_ACCESS_KEY_ID": ACCESS_KEY,
        "RCLONE_CONFIG_S3_SECRET_ACCESS_KEY": SECRET_KEY, "RCLONE_CONFIG_S3_REGION": REGION,
    }


class Directory:
    """A directory as a source or a target."""

    def __init__(self, path):
        self.path = path


class Bucket:
    """A whole bucket as a source or a target."""

    def __init__(self, name):
        self.name = name


class Client:
    """A program that makes one place a copy of another."""

    # Whether a copy in a directory is durable when the client ends, without `sync`.
    syncs = False
    # Whether it tells its requests, in a last record.
    counts = False

    def __init__(self, name, program, label, server, transfers):
        self.name = name
        # A command: a script comes with its interpreter.
        self.program = program
        self.label = label
        self.server = server
        self.transfers = str(transfers)

    def copy(self, source, target, state):
        """The command that makes `target` a copy of `source`."""
        raise NotImplementedError


class Juicefs(Client):
    """juicefs sync, which keeps no metadata unless told to."""

    def copy(self, source, target, state):
        return [*self.program, "sync", "--threads", self.transfers, "--no-https",
                self.place(source), self.place(target)]

    def place(self, place):
        """It takes path-style addresses and plain HTTP for MinIO, and a slash for the whole."""
        if isinstance(place, Bucket):
            return f"minio://{ACCESS_KEY}:{SECRET_KEY}@{self.server.address}/{place.name}/"
        return f"{place.path}/"


class Rclone(Client):
    """rclone with what makes it faster here and loses nothing: one listing, no needless checks."""

    def copy(self, source, target, state):
        return [*self.program, "copy", "--transfers", self.transfers, "--checkers", self.transfers,
                "--fast-list", "--no-update-dir-modtime", "--s3-no-check-bucket",
                "--retries", "1", self.place(source), self.place(target)]

    def place(self, place):
        """Its remote `s3` is defined by variables."""
        return f"s3:{place.name}" if isinstance(place, Bucket) else place.path


class S5cmd(Client):
    """s5cmd sync."""

    def copy(self, source, target, state):
        return [*self.program, "--log", "error", "--numworkers", self.transfers,
                "--endpoint-url", self.server.endpoint, "sync",
                self.place(source, "*" if isinstance(source, Bucket) else ""),
                self.place(target, "")]

    def place(self, place, pattern):
        """What a bucket holds is named by a pattern."""
        return (f"s3://{place.name}/{pattern}" if isinstance(place, Bucket) else f"{place.path}/")


class Aws(Client):
    """aws s3 sync, told its concurrency by its configuration."""

    def copy(self, source, target, state):
        return [*self.program, "s3", "sync", "--only-show-errors", self.place(source),
                self.place(target)]

    def place(self, place):
        """Like s5cmd's, without a pattern."""
        return f"s3://{place.name}" if isinstance(place, Bucket) else place.path


class Vidimus(Client):
    """vidimus mirror, which records digests and metadata as it does unless told otherwise."""

    syncs = True
    counts = True

    def copy(self, source, target, state):
        return [*self.program, "mirror", "--state-dir", state, "--transfers", self.transfers,
                "--json", "--no-progress", self.place(source), self.place(target)]

    def place(self, place):
        """Its URLs are those of the AWS CLI."""
        return f"s3://{place.name}" if isinstance(place, Bucket) else place.path


PEERS = {
    "juicefs": (Juicefs, "`juicefs sync`"),
    "rclone": (Rclone, "`rclone copy`, tuned"),
    "s5cmd": (S5cmd, "`s5cmd sync`"),
    "aws": (Aws, "`aws s3 sync`"),
}


def programs(venv):
    """Maps the names of peers to the commands that run what lies in an environment."""
    found = {name: [os.path.join(venv, "bin", name)] for name in ("juicefs", "rclone", "s5cmd")}
    # The package's `s5cmd` is a script that starts the program: that would count as its work.
    inner = (glob.glob(os.path.join(venv, "lib", "python*", "site-packages", "s5cmd", "bin",
                                    "s5cmd"))
             + glob.glob(os.path.join(venv, "s5cmd", "bin", "s5cmd")))
    if inner:
        found["s5cmd"] = inner[:1]
    own = os.path.join(venv, "bin", "python3")
    found["aws"] = [own if os.path.exists(own) else "python3", os.path.join(venv, "bin", "aws")]
    return found


def chosen(names, found, binary, against, server, transfers):
    """The clients by name; `found` maps the names of peers to their commands."""
    made = []
    for name in names:
        if name == OURS:
            made.append(Vidimus(OURS, [binary], "`vidimus mirror`", server, transfers))
            if against:
                made.append(Vidimus(OLD, [against], "`vidimus-old mirror`", server, transfers))
        else:
            kind, label = PEERS[name]
            made.append(kind(name, found[name], label, server, transfers))
    return made
