#!/bin/sh
# Installs the Python package that validates bags, below `target` and pinned. Does nothing when it is
# there. Tests run this themselves; they skip, loudly, where it fails.
set -eu
cd "$(dirname "$0")/.."

package='bagit==1.8.1'

# A directory elsewhere may serve several work trees.
directory=${VIDIMUS_TEST_SERVERS:-target/test-servers}
library=$directory/bagit
stamp=$library/installed

is_there() {
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$package" ]
}

skip() {
    echo "tests/bagit.sh: SKIPPED, $1: nothing validates bags" >&2
    exit 1
}

# Python: that of the environment which tests/servers.sh made, or else any that has pip.
python=$directory/venv/bin/python3
"$python" -m pip --version >/dev/null 2>&1 || python=python3

if is_there; then
    exit 0
fi
"$python" -m pip --version >/dev/null 2>&1 || skip 'there is no Python that has pip'
mkdir -p "$directory"
exec 9>"$directory/lock"
flock 9
# Someone else may have done it meanwhile.
if is_there; then
    exit 0
fi
rm -rf "$library"
echo "tests/bagit.sh: installing $package"
# A package only, never built here: an answer comes soon where there is no network.
"$python" -m pip install --quiet --disable-pip-version-check --no-input --only-binary=:all: \
    --retries 1 --timeout 15 --target "$library" "$package" || skip 'pip cannot install it'
printf '%s\n' "$package" >"$stamp"
