//! What `vidimus manifest` takes.

#![expect(clippy::doc_markdown, reason = "doc comments are help here, printed as they stand")]

use super::super::values;
use clap::{Args, Subcommand};
use std::ffi::OsString;

pub(super) const LONG_ABOUT: &str = "\
Reads the manifest that a mirror published in its target.

LOCATION is a target, a directory or a part of a bucket, or a directory that holds a copy of what a \
target has under .vidimus/manifest/. Nothing but that is read, and nothing written: the state \
directory plays no part.";

pub(super) const EXAMPLES: &str = "\
Examples:
  vidimus manifest show /mnt/backup/photos
  vidimus manifest log s3://bucket/photos

Exit codes:
    0  all as asked
    2  wrong usage
    4  there is no manifest, it is damaged or of a newer version, or the chain is broken
    7  the location can't be read

Each flag can be set in the environment as VIDIMUS_<FLAG>; a flag on the command line wins.";

#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct ManifestArgs {
    #[command(subcommand)]
    pub(crate) command: ManifestCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ManifestCommand {
    /// Tell which run published a manifest, and what it holds
    #[command(long_about = SHOW_LONG_ABOUT, after_long_help = SHOW_EXAMPLES)]
    Show(ManifestLookArgs),
    /// List the publications of a manifest, and check their chain
    #[command(long_about = LOG_LONG_ABOUT, after_long_help = LOG_EXAMPLES)]
    Log(ManifestLookArgs),
}

const SHOW_LONG_ABOUT: &str = "\
Tells which run published a manifest, and what it holds.

What is told is the head's: it is held against the digest that points to it, and rows are not read.";

const SHOW_EXAMPLES: &str = "\
Examples:
  vidimus manifest show /mnt/backup/photos
  vidimus manifest show --json s3://bucket/photos | jq -r 'select(.event == \"publication\") | .run'";

const LOG_LONG_ABOUT: &str = "\
Lists the publications of a manifest, from the latest back to the first, and checks their chain.

Each head names the one before it by its digest, so that the latest vouches for all of them: none can \
be changed or left out without changing all that follow. A line has the publication's number, time, \
run and verdict, how many rows the manifest had, and how many of them changed. Where the chain is \
broken, that is named, and the exit code is 4. Rows are not read.";

const LOG_EXAMPLES: &str = "\
Examples:
  vidimus manifest log /mnt/backup/photos
  vidimus manifest log --json s3://bucket/photos | jq -c '[.event, .sequence, .run]'";

#[derive(Debug, Args)]
pub(crate) struct ManifestLookArgs {
    /// Target, or a copy of its manifest: a path, a file:// URL or s3://bucket/prefix
    #[arg(value_name = "LOCATION")]
    pub(crate) location: OsString,
    /// Write records for scripts (NDJSON)
    ///
    /// Each has time, level and event; a "publication" has what its head says (docs/manifest.md),
    /// the head's digest, the bytes and lines of all segments, and the lines that were written
    /// with it ("changed"). The last one is "finished".
    #[arg(long, env = "VIDIMUS_JSON", value_parser = values::switch)]
    pub(crate) json: bool,
    /// Reach object stores of other machines without encryption
    ///
    /// Needed for an endpoint that begins with http:// and is not this machine.
    #[arg(long, env = "VIDIMUS_ALLOW_HTTP", value_parser = values::switch)]
    pub(crate) allow_http: bool,
}
