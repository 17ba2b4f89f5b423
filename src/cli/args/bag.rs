//! What `vidimus bag` takes.

#![expect(clippy::doc_markdown, reason = "doc comments are help here, printed as they stand")]

use super::RunArgs;
use clap::Args;
use std::ffi::OsString;

pub(super) const LONG_ABOUT: &str = "\
Mirrors a source into a bag: a directory that proves its own content to whoever receives it (BagIt \
1.0, RFC 8493).

The contents of SOURCE go into BAG/data as `vidimus mirror` puts them there, hashed by SHA-256 too; \
then BAG gets manifest-sha256.txt, bag-info.txt, tagmanifest-sha256.txt and last bagit.txt, each \
written whole or not at all. BAG is a directory of this machine: a new or empty one, a bag, or one \
that an earlier run began to make a bag of. Other lines of its bag-info.txt are kept. Run it again to \
bring the bag up to date: only what changed is copied. During a run, and after one that left something \
undone, there is no bagit.txt, so that nobody takes the bag for complete. --durability none is refused, \
since what is declared must survive a power cut.

No other command writes to BAG/data: `mirror`, `put`, `manifest import`, `manifest export --output` \
and `verify --repair-from` are refused there (exit code 6). --checksum finds what was corrupted in it, \
and copies it again.

All that lies in BAG/data is listed. What the source no longer has stays and is listed, unless \
--delete is given; what no run into this bag put there is named, and no bag is made (exit code \
1). A bag holds no symbolic links, and no names that are not UTF-8: these are left out and named. \
Empty directories are made, but no manifest can list them.";

pub(super) const EXAMPLES: &str = concat!(
    "\
Examples:
  Make a bag, and check it with another program:
    vidimus bag ~/thesis /mnt/archive/thesis
    bagit.py --validate /mnt/archive/thesis
  See first what a run would do:
    vidimus bag --dry-run --delete ~/thesis /mnt/archive/thesis
  Bring it up to date, and delete what the source no longer has:
    vidimus bag --delete ~/thesis /mnt/archive/thesis
  Of what lies in a bucket, without its logs:
    vidimus bag --exclude '*.log' s3://lab/results /mnt/archive/results

Patterns, sizes and the rules of --delete are those of `vidimus mirror`.

Exit codes:
    0  the bag is whole; what it can't hold was named
    1  some entries failed, or something else lies in BAG/data: no bag was made; or it was made, but
       nothing more could be written to standard output
    2  wrong usage
    4  the recorded state can't be used (written by a newer version), or not be written
    5  another run holds the bag
    6  refused for safety: BAG is no bag, or is another program's with more manifests, or a deletion;
       or ",
    refused_http!(),
    "
    7  source or bag can't be used: missing, full, read-only
   10  changes were made (only with --exit-changes)
  130  stopped by SIGINT; run it again to go on
  143  stopped by SIGTERM; run it again to go on

Each flag can be set in the environment as VIDIMUS_<FLAG>; a flag on the command line wins."
);

#[derive(Debug, Args)]
pub(crate) struct BagArgs {
    /// Directory (or single file) to copy from: a path, a file:// URL or s3://bucket/prefix
    #[arg(value_name = "SOURCE")]
    pub(crate) source: OsString,
    /// Directory that is to be the bag: a path or a file:// URL
    #[arg(value_name = "BAG")]
    pub(crate) bag: OsString,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}
