//! What `vidimus put` takes.

#![expect(clippy::doc_markdown, reason = "doc comments are help here, printed as they stand")]

use super::super::values::{self, Bytes};
use super::LimitArgs;
use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;

pub(super) const LONG_ABOUT: &str = "\
Writes standard input to a file or an object.

The size need not be known. The stream is hashed as it comes, and the file or object appears, \
complete, when it has ended. Until then, and if it fails or is stopped, what was there before stays. \
The file's directory must exist. An existing file keeps its mode and owner; if there is a symbolic \
link, the file that it leads to is written; a device or a named pipe is refused. What is put is \
recorded with everything else that was put or mirrored to its directory or prefix, so that `vidimus \
verify` of that place checks it too. A `mirror --delete` into it deletes what was put.

The directory or prefix that holds it is locked meanwhile, as by a mirror into it: another put or \
mirror to the same place ends at once with exit code 5. In a directory the lock is .vidimus/lock, \
which stays there.";

pub(super) const EXAMPLES: &str = concat!(
    "\
Examples:
  Keep a dump of a database, without a file in between:
    pg_dump shop | vidimus put - s3://bucket/dumps/shop.sql
  One that is larger than 156 GiB:
    tar c /srv | vidimus put --expected-size 2TiB - s3://bucket/srv.tar
  Its digest, for a script:
    pg_dump shop | vidimus put --json - s3://bucket/dumps/shop.sql | jq -r .digest

vidimus can't tell a command that failed from one that ended. In bash, `set -o pipefail` makes the \
whole line fail; remove what was put then.

Exit codes:
    0  everything was put
    1  everything was put, but nothing could be written to standard output
    2  wrong usage
    4  the record can't be used or written; the error says so if everything was put even so
    5  another run, or a verification, holds the directory or prefix
    6  the file's directory is a bag or its payload, or lies in one; or its manifest is signed, and
       --sign is not given; or
       ",
    refused_http!(),
    "
    7  standard input failed, or the target can't be used: missing, full, read-only
  130  stopped by SIGINT
  143  stopped by SIGTERM

Each flag can be set in the environment as VIDIMUS_<FLAG>; a flag on the command line wins."
);

/// The whole command line.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch that the user types")]
pub(crate) struct PutArgs {
    /// What to put: `-`, which is standard input
    #[arg(value_name = "-")]
    pub(crate) source: OsString,
    /// File or object to write: a path, a file:// URL or s3://bucket/key
    #[arg(value_name = "LOCATION")]
    pub(crate) location: OsString,
    /// Be ready for SIZE, like 500GiB: an object of more than 156 GiB needs larger parts
    ///
    /// An object is sent in at most 10,000 parts of one size, several at a time and within --memory.
    #[arg(long, value_name = "SIZE", env = "VIDIMUS_EXPECTED_SIZE", value_parser = values::bytes)]
    pub(crate) expected_size: Option<Bytes>,
    /// Sign the manifest that is published there with the secret key in FILE
    ///
    /// Needed if the manifest there is signed. A password is taken from VIDIMUS_KEY_PASSWORD, else asked for in the
    /// terminal.
    #[arg(long, value_name = "FILE", env = "VIDIMUS_SIGN")]
    pub(crate) sign: Option<PathBuf>,
    /// Reach object stores of other machines without encryption
    ///
    /// Needed for an endpoint that begins with http:// and is not this machine. Whoever stands on
    /// the way can read and change what is put.
    #[arg(long, env = "VIDIMUS_ALLOW_HTTP", value_parser = values::switch)]
    pub(crate) allow_http: bool,
    /// Keep the record of runs in DIR, not in $XDG_STATE_HOME/vidimus or ~/.local/state/vidimus
    #[arg(long, value_name = "DIR", env = "VIDIMUS_STATE_DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Write a record for scripts (NDJSON) with digest, size and requests
    #[arg(long, env = "VIDIMUS_JSON", value_parser = values::switch)]
    pub(crate) json: bool,
    /// Print nothing but failures
    #[arg(short = 'q', long, env = "VIDIMUS_QUIET", value_parser = values::switch)]
    pub(crate) quiet: bool,
    /// Show no progress; otherwise a terminal shows how much has come, and how fast
    #[arg(long, env = "VIDIMUS_NO_PROGRESS", value_parser = values::switch)]
    pub(crate) no_progress: bool,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
}
