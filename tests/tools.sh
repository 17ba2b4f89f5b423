#!/bin/sh
# Installs what some tests lean on (Debian and Ubuntu): they skip, loudly, where it is missing.
set -eu

missing=
need() { # program package
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need strace strace
need rsync rsync
need script bsdutils
need tmux tmux
need setpriv util-linux
need chattr e2fsprogs
need mkfs.btrfs btrfs-progs
need mkfs.xfs xfsprogs
need setfacl acl
need hashdeep hashdeep
need jq jq
need zstdcat zstd
need minisign minisign
need systemd-analyze systemd
# File systems that do things in a way of their own (tests/cli/file_systems.rs).
need bindfs bindfs
need mergerfs mergerfs
need sshfs sshfs
need lowntfs-3g ntfs-3g
need mount.exfat-fuse exfat-fuse
need mkfs.exfat exfatprogs
[ -e /usr/lib/openssh/sftp-server ] || [ -e /usr/lib/sftp-server ] ||
    missing="$missing openssh-sftp-server"

if [ -z "$missing" ]; then
    echo "tests/tools.sh: all tools are there"
elif [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "tests/tools.sh: SKIPPED, install these to run every test:$missing" >&2
else
    apt-get update -qq
    # shellcheck disable=SC2086 # a list of packages
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
fi
