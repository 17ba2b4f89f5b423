//! What `vidimus ls` takes.

#![expect(clippy::doc_markdown, reason = "doc comments are help here, printed as they stand")]

use super::super::values;
use clap::Args;
use std::ffi::OsString;

pub(super) const LONG_ABOUT: &str = "\
Lists what lies at a location.

Names are listed below LOCATION, in byte order, directories as `name/`; what these hold only with \
--recursive. In a bucket `a` names what lies below `a/`, and where nothing does, the object `a`. What \
vidimus keeps for itself at a root (.vidimus) is not listed. Control characters in names are escaped, \
except with --null.";

pub(super) const EXAMPLES: &str = concat!(
    "\
Examples:
  What a bucket holds at its top:
    vidimus ls s3://bucket
  All below a prefix, with sizes and times:
    vidimus ls --recursive --long s3://bucket/photos/
  The ten largest objects:
    vidimus ls -r --json s3://bucket | jq -r 'select(.event == \"entry\") | [.size, .key] | @tsv' | \
sort -rn | head
  Names for another program, whatever bytes they have:
    vidimus ls --null ~/photos | xargs -0 -n 1 echo

Time and size of an object are those of the listing: when it was written, not the time that \
`vidimus mirror` keeps with it.

Exit codes:
    0  all was listed
    1  something could not be listed, and is named
    2  wrong usage
    6  refused: ",
    refused_http!(),
    "
    7  nothing is there, or it can't be read

Each flag can be set in the environment as VIDIMUS_<FLAG>; a flag on the command line wins."
);

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch that the user types")]
pub(crate) struct LsArgs {
    /// Directory, file, prefix or object: a path, a file:// URL or s3://bucket/prefix
    #[arg(value_name = "LOCATION")]
    pub(crate) location: OsString,
    /// List what directories hold, at any depth
    #[arg(short = 'r', long, env = "VIDIMUS_RECURSIVE", value_parser = values::switch)]
    pub(crate) recursive: bool,
    /// Print size in bytes and time before each name
    #[arg(short = 'l', long, env = "VIDIMUS_LONG", value_parser = values::switch)]
    pub(crate) long: bool,
    /// With --long, print sizes like 1.5 MiB
    #[arg(long, env = "VIDIMUS_HUMAN", value_parser = values::switch)]
    pub(crate) human: bool,
    /// Write records for scripts (NDJSON)
    ///
    /// Each has time, level and event; an "entry" has key, kind, size, mtime and, of an object, its
    /// etag. The last one is "finished": without it the list is not whole.
    #[arg(long, env = "VIDIMUS_JSON", value_parser = values::switch)]
    pub(crate) json: bool,
    /// End each name by a NUL instead of a line end, and don't escape it
    #[arg(short = '0', long, env = "VIDIMUS_NULL", value_parser = values::switch)]
    pub(crate) null: bool,
    /// Print every failure
    ///
    /// Without, failures beyond a hundred are counted; records name each.
    #[arg(short = 'v', long, env = "VIDIMUS_VERBOSE", value_parser = values::switch)]
    pub(crate) verbose: bool,
    /// Reach object stores of other machines without encryption
    ///
    /// Needed for an endpoint that begins with http:// and is not this machine.
    #[arg(long, env = "VIDIMUS_ALLOW_HTTP", value_parser = values::switch)]
    pub(crate) allow_http: bool,
}
