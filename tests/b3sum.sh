#!/bin/sh
# Installs b3sum, which checks what is exported for it, below `target` and pinned: others escape names
# differently. Does nothing when it is there. Tests run this themselves; they skip, loudly, where it
# fails.
set -eu
cd "$(dirname "$0")/.."

version='1.8.7'

# A directory elsewhere may serve several work trees.
directory=${VIDIMUS_TEST_SERVERS:-target/test-servers}
root=$directory/b3sum
stamp=$root/installed

is_there() {
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$version" ]
}

if is_there; then
    exit 0
fi
mkdir -p "$directory"
exec 9>"$directory/lock"
flock 9
# Someone else may have done it meanwhile.
if is_there; then
    exit 0
fi
echo "tests/b3sum.sh: installing b3sum $version"
# An answer comes soon where there is no network.
export CARGO_NET_RETRY=1 CARGO_HTTP_TIMEOUT=15
"${CARGO:-cargo}" install --quiet --locked --debug --force --no-track --version "$version" \
    --root "$root" b3sum || {
    echo 'tests/b3sum.sh: SKIPPED, cargo cannot install it: nothing checks lists for b3sum' >&2
    exit 1
}
printf '%s\n' "$version" >"$stamp"
