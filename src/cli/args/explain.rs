//! What `vidimus explain` takes.

#![expect(clippy::doc_markdown, reason = "doc comments are help here, printed as they stand")]

use super::MirrorFlags;
use clap::Args;
use std::ffi::OsString;

pub(super) const LONG_ABOUT: &str = "\
Explains what a mirror of SOURCE to TARGET would do with one key, and why.

It shows what both sides and the record have for KEY, which fields of their stamps are the recorded \
ones, which pattern includes or excludes it, what a run with these flags would decide, and what past \
runs did to it, as far as the record and the manifest in the target say. It takes all flags of \
`vidimus mirror`: put `explain` for `mirror`, and add a KEY. Flags that play no part in the decision \
are not listed here. The key of --sign isn't opened: a run with it would not use a manifest, or a \
record taken over from one, that isn't signed with that key, which is not checked here.

Nothing is changed, locked or recorded, and no content is read: if content would have to be read to \
decide, it says so. Other keys are not looked at. All segments of the manifest in the target are read, \
a few MB for 100,000 entries.";

pub(super) const EXAMPLES: &str = concat!(
    "\
Examples:
  vidimus explain ~/photos /mnt/backup/photos 2026/beach.jpg
  vidimus explain --delete --exclude '*.tmp' ~/photos s3://backup/photos cache/
  vidimus explain --json ~/photos /mnt/backup/photos 2026/beach.jpg | jq .decision

Exit codes:
    0  the key is explained
    1  a part of the way to it could not be listed, and is named
    2  wrong usage, or something that can't be a key
    4  the record or the manifest is of a newer version
    6  such a run would be refused before it lists anything; or
       ",
    refused_http!(),
    "
    7  source or target can't be used, or the key is neither in them nor on record

Each flag can be set in the environment as VIDIMUS_<FLAG>; a flag on the command line wins."
);

/// Flags of a mirror that say nothing of what is decided about a key.
pub(super) const PLAYS_NO_PART: [&str; 17] = [
    "dry_run",
    "max_delete",
    "delete_despite_errors",
    "accept_source",
    "durability",
    "sign",
    "manifest_mode",
    "transfers",
    "checkers",
    "bwlimit",
    "max_requests",
    "memory",
    "verbose",
    "quiet",
    "progress",
    "no_progress",
    "exit_changes",
];

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// What would be mirrored: a path, a file:// URL or s3://bucket/prefix
    #[arg(value_name = "SOURCE")]
    pub(crate) source: OsString,
    /// Where to: a path, a file:// URL or s3://bucket/prefix
    #[arg(value_name = "TARGET")]
    pub(crate) target: OsString,
    /// The entry's name below the root, as runs print it; or its path below SOURCE or TARGET
    #[arg(value_name = "KEY")]
    pub(crate) key: OsString,
    #[command(flatten)]
    pub(crate) flags: MirrorFlags,
}
