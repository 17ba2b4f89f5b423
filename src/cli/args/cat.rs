//! What `vidimus cat` takes.

#![expect(clippy::doc_markdown, reason = "doc comments are help here, printed as they stand")]

use super::super::values;
use clap::Args;
use std::ffi::OsString;

pub(super) const LONG_ABOUT: &str = "\
Writes the content of a file or an object to standard output.

The key of an object is everything behind the bucket, to the last byte: `s3://bucket/a/` is another \
object than `s3://bucket/a`. A large object is read in ranges, several at a time, all of one version. \
If a digest is kept with an object, its content is compared with it: if it differs, the exit code is 1, \
and what was written must not be used.";

pub(super) const EXAMPLES: &str = concat!(
    "\
Examples:
  vidimus cat s3://bucket/dumps/shop.sql | psql shop
  vidimus cat 's3://bucket/photo?.jpg?region=eu-central-1' > photo.jpg

Exit codes:
    0  all was written
    1  what was written isn't whole, or isn't what was recorded with it
    2  wrong usage
    6  refused: ",
    refused_http!(),
    "
    7  nothing is there, it is a directory, or it can't be read

Each flag can be set in the environment as VIDIMUS_<FLAG>; a flag on the command line wins."
);

#[derive(Debug, Args)]
pub(crate) struct CatArgs {
    /// File or object: a path, a file:// URL or s3://bucket/key
    #[arg(value_name = "LOCATION")]
    pub(crate) location: OsString,
    /// Reach object stores of other machines without encryption
    ///
    /// Needed for an endpoint that begins with http:// and is not this machine. Whoever stands on
    /// the way can read and change what is read.
    #[arg(long, env = "VIDIMUS_ALLOW_HTTP", value_parser = values::switch)]
    pub(crate) allow_http: bool,
}
