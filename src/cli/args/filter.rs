//! Which entries take part.

use super::super::values::{self, Bytes};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(next_help_heading = "Filtering")]
pub(crate) struct FilterArgs {
    /// Leave out what matches (gitignore-like; the last match wins)
    ///
    /// An excluded directory is not walked. Excluded entries of the target are kept unless
    /// --delete-excluded. Examples below.
    #[arg(long, value_name = "PATTERN", env = "VIDIMUS_EXCLUDE", allow_hyphen_values = true)]
    pub(crate) exclude: Vec<String>,
    /// Take in what matches, after an --exclude that matches too
    #[arg(long, value_name = "PATTERN", env = "VIDIMUS_INCLUDE", allow_hyphen_values = true)]
    pub(crate) include: Vec<String>,
    /// Read exclude patterns from FILE, one a line; `-` is standard input
    ///
    /// Blank lines and lines that begin with # are left out, as in .gitignore.
    #[arg(long, value_name = "FILE", env = "VIDIMUS_EXCLUDE_FROM")]
    pub(crate) exclude_from: Vec<PathBuf>,
    /// Read include patterns from FILE, one a line; `-` is standard input
    ///
    /// Blank lines and lines that begin with # are left out, as in .gitignore.
    #[arg(long, value_name = "FILE", env = "VIDIMUS_INCLUDE_FROM")]
    pub(crate) include_from: Vec<PathBuf>,
    /// Leave out files smaller than SIZE, like 10KiB or 1.5MB (a unit is required)
    #[arg(long, value_name = "SIZE", env = "VIDIMUS_MIN_SIZE",
        value_parser = values::bytes)]
    pub(crate) min_size: Option<Bytes>,
    /// Leave out files larger than SIZE, like 2GiB or 700MB (a unit is required)
    #[arg(long, value_name = "SIZE", env = "VIDIMUS_MAX_SIZE",
        value_parser = values::bytes)]
    pub(crate) max_size: Option<Bytes>,
    /// Leave out files that were modified less than TIME ago, like 2h (s, m, h, d, w)
    #[arg(long, value_name = "TIME", env = "VIDIMUS_MIN_AGE", value_parser = values::time)]
    pub(crate) min_age: Option<Duration>,
    /// Leave out files that were modified more than TIME ago, like 30d (s, m, h, d, w)
    #[arg(long, value_name = "TIME", env = "VIDIMUS_MAX_AGE", value_parser = values::time)]
    pub(crate) max_age: Option<Duration>,
    /// Don't enter directories on which another file system is mounted
    ///
    /// Such a directory is mirrored as an empty one, and named. What the target has in it stays.
    #[arg(short = 'x', long, env = "VIDIMUS_ONE_FILE_SYSTEM", value_parser = values::switch)]
    pub(crate) one_file_system: bool,
    /// Leave out what is in directories with a CACHEDIR.TAG, but for the tag itself
    ///
    /// The tag has to begin as <https://bford.info/cachedir/> says. What the target has in such a
    /// directory stays unless --delete-excluded.
    #[arg(long, env = "VIDIMUS_EXCLUDE_CACHES", value_parser = values::switch)]
    pub(crate) exclude_caches: bool,
    /// Leave out what is in directories that hold NAME, but for NAME itself
    #[arg(long, value_name = "NAME", env = "VIDIMUS_EXCLUDE_IF_PRESENT")]
    pub(crate) exclude_if_present: Vec<String>,
    /// Leave out what `.vidimusignore` files in directories of the source name
    ///
    /// Patterns are relative to the file's directory, one a line, and as those of --exclude; the files
    /// of inner directories go before those above, and `!PATTERN` takes one back. --exclude and
    /// --include go before all of them. What the target has of it stays unless --delete-excluded.
    #[arg(long, env = "VIDIMUS_IGNORE_FILES", value_parser = values::switch)]
    pub(crate) ignore_files: bool,
}
