//! What `vidimus diff` takes.

#![expect(clippy::doc_markdown, reason = "doc comments are help here, printed as they stand")]

use super::super::values;
use super::limits::ReadingArgs;
use clap::Args;
use std::ffi::OsString;

pub(super) const LONG_ABOUT: &str = "\
Shows how two places differ.

Both are listed now. Where a mirror published its manifest, it gives the digest of each file whose \
size, times and inode (in a store: tag) are still the recorded ones. Content is compared by digest if \
both sides have one, else by size and, in a directory, by modification time; --content reads what has \
no digest. The summary says how many files were compared in which way. What neither a store's listing \
nor a manifest says (metadata, links) is not compared.

--recorded compares the manifests alone: neither place is looked at, and the result is true of the \
time when their last runs ended. A copy of a manifest (a directory that holds what a target has in \
.vidimus/manifest/), or a file of one, is always compared in this way.

A difference is a line, in byte order of the keys: \"only in A\", \"only in B\", type, content, link \
or metadata. A directory's key ends in /: where one side has the file a and the other the directory \
a/, each is only in its side. An entry whose content and metadata differ has two lines.";

pub(super) const EXAMPLES: &str = concat!(
    "\
Examples:
  Whether two mirrors of one source are the same:
    vidimus diff /mnt/backup/photos s3://backup/photos
  The same by their manifests, without reading anything else:
    vidimus diff --recorded /mnt/backup/photos s3://backup/photos
  What changed since a copy of the manifest was made:
    vidimus diff ~/manifest-of-march /mnt/backup/photos
  To the last byte, if there are no manifests:
    vidimus diff --content ~/photos /mnt/disk/photos
  Files with different content, for another program:
    vidimus diff --json --no-metadata A B | jq -r 'select(.difference == \"content\") | .key'

Exit codes:
    0  they don't differ
    1  a part could not be listed, or a file not read, and is named
    2  wrong usage
    3  they differ
    4  a manifest can't be used
    6  refused: ",
    refused_http!(),
    "
    7  a location can't be read
  130  stopped by SIGINT
  143  stopped by SIGTERM

Each flag can be set in the environment as VIDIMUS_<FLAG>; a flag on the command line wins."
);

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch that the user types")]
pub(crate) struct DiffArgs {
    /// Target, copy of a manifest, directory or prefix: a path, a file:// URL or s3://bucket/prefix
    ///
    /// Or a file of a manifest: latest.json, or the head of a publication, like 00000003.json.
    #[arg(value_name = "A")]
    pub(crate) a: OsString,
    /// The same, to compare with
    #[arg(value_name = "B")]
    pub(crate) b: OsString,
    /// Read files that have no digest, on both sides where neither has
    ///
    /// Only files of the same size are read. Where a digest is on record nothing is read: `vidimus
    /// verify` finds what rotted.
    #[arg(long, env = "VIDIMUS_CONTENT", value_parser = values::switch)]
    pub(crate) content: bool,
    /// Compare the manifests alone, and look at neither place
    #[arg(long, env = "VIDIMUS_RECORDED", value_parser = values::switch)]
    pub(crate) recorded: bool,
    /// Leave mode, owner, group and modification time out
    ///
    /// Where a digest is missing, a directory's file of the same size and another time still counts
    /// as one of another content.
    #[arg(long, env = "VIDIMUS_NO_METADATA", value_parser = values::switch)]
    pub(crate) no_metadata: bool,
    /// Write records for scripts (NDJSON)
    ///
    /// Each has time, level and event; a "difference" has key, difference (only_in_a, only_in_b,
    /// type, content, link, metadata) and what A and B tell of the entry. The last one is "finished",
    /// with all counts, the verdict and the exit code.
    #[arg(long, env = "VIDIMUS_JSON", value_parser = values::switch)]
    pub(crate) json: bool,
    /// Print every failure
    ///
    /// Without, failures beyond a hundred are counted; records name each, and differences are all
    /// printed in any case.
    #[arg(short = 'v', long, env = "VIDIMUS_VERBOSE", value_parser = values::switch)]
    pub(crate) verbose: bool,
    /// Print nothing but differences and failures
    #[arg(short = 'q', long, env = "VIDIMUS_QUIET", value_parser = values::switch)]
    pub(crate) quiet: bool,
    /// Reach object stores of other machines without encryption
    ///
    /// Needed for an endpoint that begins with http:// and is not this machine.
    #[arg(long, env = "VIDIMUS_ALLOW_HTTP", value_parser = values::switch)]
    pub(crate) allow_http: bool,
    #[command(flatten)]
    pub(crate) reading: ReadingArgs,
}
