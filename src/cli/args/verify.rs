//! What `vidimus verify` takes.

#![expect(clippy::doc_markdown, reason = "doc comments are help here, printed as they stand")]

use super::super::values::{self, SampleArg};
use super::{FilterArgs, OutputArgs, ReadingArgs};
use crate::verify::Budget;
use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

pub(super) const LONG_ABOUT: &str = "\
Checks whether a target still holds what the runs into it recorded, whatever they mirrored or put there.

Every file with a recorded digest is read and hashed again. Each difference is a line: missing, \
corrupt, metadata, touched or extra. Extra entries count as differences if the latest run of a whole \
tree had --delete, or with --strict. A run that was killed, or in which entries failed, is named, \
since it is not known what it left undone.

With --against SOURCE no record is used: both sides are listed and read, and a difference is missing, \
content, metadata or extra.";

pub(super) const EXAMPLES: &str = concat!(
    "\
Examples:
  vidimus verify /mnt/backup/photos
  vidimus verify --strict --json /mnt/backup/photos
  vidimus verify --quick /mnt/backup/photos
  vidimus verify --sample 3/12 /mnt/backup/photos
  vidimus verify --older-than 30d --budget 2h /mnt/backup/photos
  vidimus verify --key ~/vidimus.pub /mnt/backup/photos
  vidimus verify --repair-from ~/photos /mnt/backup/photos
  vidimus verify --against ~/photos --exclude 'cache/' s3://backup/photos

Exit codes:
    0  the target holds what was recorded
    1  some entries could not be read; or all was verified, but nothing more could be written to
       standard output
    2  wrong usage
    3  differences were found; or a run into the target was killed or is incomplete
    4  no run into the target is recorded, or its record can't be used; or the published manifest is
       missing, damaged or of a newer version; or, with --key, not signed with that key
    5  a run is writing to the target
    6  with --against: the source is empty and the target is not (is it mounted?), or both are one;
       with --repair-from: the target is the payload of a bag, which `vidimus bag` mends; or
       ",
    refused_http!(),
    "
    7  the target can't be read
  130  stopped by SIGINT
  143  stopped by SIGTERM

Each flag can be set in the environment as VIDIMUS_<FLAG>; a flag on the command line wins."
);

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, as users know them")]
pub(crate) struct VerifyArgs {
    /// Directory to verify: a path, a file:// URL or s3://bucket/prefix
    #[arg(value_name = "TARGET")]
    pub(crate) target: OsString,
    /// Exit with 0 though a run into the target was killed or is incomplete, if nothing else is wrong
    ///
    /// Such a run is named in any case: what it left undone is not known.
    #[arg(long, env = "VIDIMUS_ALLOW_INCOMPLETE", value_parser = values::switch)]
    pub(crate) allow_incomplete: bool,
    /// Count every extra entry as a difference
    #[arg(long, env = "VIDIMUS_STRICT", value_parser = values::switch)]
    pub(crate) strict: bool,
    /// Read no content: compare stamps (change time, inode, a store's tag) with the recorded ones
    ///
    /// A file of which only the stamp differs is named as touched: its content may have changed.
    #[arg(long, help_heading = "What is read", env = "VIDIMUS_QUICK",
        value_parser = values::switch)]
    pub(crate) quick: bool,
    /// Read a part of the files: a random share, like 5%, or part N of M, like 3/12
    ///
    /// The M parts have each file once, so that M runs read them all. The rest is checked for presence,
    /// size and metadata. The summary prints the seed of a share; 5%@SEED reads the same files again.
    #[arg(long, value_name = "SAMPLE", help_heading = "What is read", env = "VIDIMUS_SAMPLE",
        value_parser = values::sample)]
    pub(crate) sample: Option<SampleArg>,
    /// Read only files that were not verified for TIME, like 30d (s, m, h, d, w)
    #[arg(long, value_name = "TIME", help_heading = "What is read", env = "VIDIMUS_OLDER_THAN",
        value_parser = values::time)]
    pub(crate) older_than: Option<Duration>,
    /// Read for so long, like 2h, or so much, like 500GiB; the next run goes on
    ///
    /// Files that were never verified come first, then those not verified for the longest time. A file
    /// that was begun is read to its end. Before, all entries are looked at, which counts as time.
    #[arg(long, value_name = "BUDGET", help_heading = "What is read", env = "VIDIMUS_BUDGET",
        value_parser = values::budget)]
    pub(crate) budget: Option<Budget>,
    /// Compare with the published manifest, if it is whole and signed with KEY; else read nothing
    ///
    /// KEY is a public key, as `vidimus keygen` makes it: its file, or the key itself. The chain of
    /// publications is checked too. If anything is wrong, the exit code is 4. The record on this
    /// machine is not used.
    #[arg(long, value_name = "KEY", env = "VIDIMUS_KEY")]
    pub(crate) key: Option<OsString>,
    /// Compare the target with SOURCE instead of the record: read both, and tell what differs
    ///
    /// Nothing is recorded or changed. What the filter of the latest run from SOURCE left out is left
    /// out here, unless a filter is given below. What SOURCE lacks counts as a difference if that run
    /// had --delete, or with --strict. Metadata of objects is compared where it is stored.
    #[arg(long, value_name = "SOURCE", env = "VIDIMUS_AGAINST")]
    pub(crate) against: Option<OsString>,
    /// Mend what differs, with content from SOURCE where that still has what was recorded
    ///
    /// Directories, links, modes, owners and times are made again as they were recorded. What can't be
    /// mended (SOURCE has other content, a directory is in the way) is named and left as it is. Extra
    /// entries stay. The exit code is 0 if everything that differed is mended, else 3.
    #[arg(long, value_name = "SOURCE", env = "VIDIMUS_REPAIR_FROM")]
    pub(crate) repair_from: Option<OsString>,
    /// Reach object stores of other machines without encryption
    ///
    /// Needed for an endpoint that begins with http:// and is not this machine. Whoever stands on
    /// the way can read and change what is copied.
    #[arg(long, env = "VIDIMUS_ALLOW_HTTP", value_parser = values::switch)]
    pub(crate) allow_http: bool,
    /// Look for the record of runs in DIR, not in $XDG_STATE_HOME/vidimus or ~/.local/state/vidimus
    #[arg(long, value_name = "DIR", env = "VIDIMUS_STATE_DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) reading: ReadingArgs,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
