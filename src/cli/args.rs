//! Arguments as typed: what clap parses, before anything is decided.
//!
//! Each flag can also be set in the environment, as `VIDIMUS_` and its name; a flag on the command
//! line wins. No type of clap leaves `cli`.

#![expect(clippy::doc_markdown, reason = "doc comments are help here, printed as they stand")]

use super::rates;
use super::values::{self, Bytes};
use crate::limits::{RequestRate, Timetable};
use crate::session::MaxDelete;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

const ABOUT: &str = "Mirrors directory trees and proves it";

const LONG_ABOUT: &str = "\
Mirrors directory trees and proves it.

vidimus copies what changed from a source to a target, hashes every byte with BLAKE3 as it passes, \
and records what it did, so that the next run costs only what changed and `vidimus verify` can tell \
whether the target still holds what was copied.";

const EXAMPLES: &str = "\
Examples:
  vidimus mirror ~/photos /mnt/backup/photos
  vidimus mirror --dry-run --delete ~/photos /mnt/backup/photos
  vidimus verify /mnt/backup/photos
  vidimus ls s3://bucket/photos/
  pg_dump shop | vidimus put - s3://bucket/dumps/shop.sql

Exit codes:
    0  all as asked
    1  some entries failed, the rest is done
    2  wrong usage
    3  verification found differences
    4  the recorded state is missing or can't be used
    5  another run holds the target
    6  refused for safety; what was refused was not done, copies made before stand
    7  source or target can't be used: missing, full, read-only
   10  changes were made (only with --exit-changes)
  130  stopped by SIGINT; run it again to go on
  143  stopped by SIGTERM; run it again to go on

Each flag can be set in the environment as VIDIMUS_<FLAG>, for example VIDIMUS_TRANSFERS=8 or \
VIDIMUS_DRY_RUN=true; a flag on the command line wins.";

const MIRROR_LONG_ABOUT: &str = "\
Makes the target's content equal to the source's.

The contents of SOURCE go into TARGET; a trailing slash changes nothing. TARGET is made when it is \
missing, its parent must exist. A single file as SOURCE goes to TARGET/NAME. Nothing is deleted \
from the target unless --delete asks for it. A run that was stopped goes on when it is started \
again.";

const MIRROR_EXAMPLES: &str = "\
Examples:
  Copy what is new or changed; nothing is deleted:
    vidimus mirror ~/photos /mnt/backup/photos
  See first what a run would do, and why:
    vidimus mirror --dry-run --delete ~/photos /mnt/backup/photos
  Delete what the source no longer has, at most 100 entries, and only if the disk is mounted:
    vidimus mirror --delete --max-delete 100 --require-file .mounted /mnt/disk /mnt/backup
  Totals for a script:
    vidimus mirror --json ~/photos /mnt/backup/photos | tail -n 1 | jq .files_copied

Patterns are those of .gitignore; the last one that matches an entry decides, over the four flags \
in the order they are given. An entry that none matches is included.
  '*.tmp'        every file or directory so named, at any depth
  '/build'       `build` at the root only (a leading / anchors)
  'cache/'       directories so named, with all they hold (a trailing / means directories)
  'docs/**/*.md' every .md below docs (** spans directories)
  Only Rust sources (a directory must be included for what it holds to be seen):
    vidimus mirror --exclude '*' --include '*/' --include '*.rs' SOURCE TARGET
  Logs no, but this one:
    vidimus mirror --exclude '*.log' --include 'audit.log' SOURCE TARGET

Sizes have a unit: 500B, 10KiB, 1.5MiB, 2GiB, 1TiB (powers of 1024); 10kB, 10MB, 1GB, 1TB (powers \
of 1000).

Exit codes:
    0  all as asked
    1  some entries failed, the rest is done
    2  wrong usage
    4  the recorded state can't be used (written by a newer version), or not be written
    5  another run holds the target
    6  refused for safety; what was refused was not done, copies made before stand
    7  source or target can't be used: missing, full, read-only
   10  changes were made (only with --exit-changes)
  130  stopped by SIGINT; run it again to go on
  143  stopped by SIGTERM; run it again to go on

Each flag can be set in the environment as VIDIMUS_<FLAG>, for example VIDIMUS_TRANSFERS=8 or \
VIDIMUS_DRY_RUN=true; a flag on the command line wins. VIDIMUS_EXCLUDE, VIDIMUS_INCLUDE, \
VIDIMUS_EXCLUDE_FROM and VIDIMUS_INCLUDE_FROM hold one value a line; they come before the command \
line's, files first, then exclude, then include.";

const VERIFY_LONG_ABOUT: &str = "\
Tells whether a target still holds what the latest run into it recorded.

Every file with a recorded digest is read and hashed again. A difference is a line: missing, \
corrupt, metadata or extra. Extra entries count as differences where the recorded run deleted \
extras, or with --strict.";

const VERIFY_EXAMPLES: &str = "\
Examples:
  vidimus verify /mnt/backup/photos
  vidimus verify --strict --json /mnt/backup/photos

Exit codes:
    0  the target holds what was recorded
    1  some entries could not be read
    2  wrong usage
    3  differences were found
    4  no run into the target is recorded here, or its record can't be used
    5  a run is writing to the target
    7  the target can't be read
  130  stopped by SIGINT
  143  stopped by SIGTERM

Each flag can be set in the environment as VIDIMUS_<FLAG>; a flag on the command line wins.";

const LS_LONG_ABOUT: &str = "\
Lists what lies at a location.

Names are listed below LOCATION, in byte order, directories as `name/`; what these hold only with \
--recursive. In a bucket `a` names what lies below `a/`, and where nothing does, the object `a`. What \
vidimus keeps for itself at a root (.vidimus) is not listed. Control characters in names are escaped, \
except with --null.";

const LS_EXAMPLES: &str = "\
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
    7  nothing is there, or it can't be read

Each flag can be set in the environment as VIDIMUS_<FLAG>; a flag on the command line wins.";

const CAT_LONG_ABOUT: &str = "\
Writes the content of a file or an object to standard output.

The key of an object is what stands behind the bucket, to the last byte: `s3://bucket/a/` is another \
object than `s3://bucket/a`. A large object is read in ranges, several at a time, all of one version. \
Where a digest is kept with an object, its content is held against it: if that fails, the exit code \
is 1, and what was written is not to be used.";

const CAT_EXAMPLES: &str = "\
Examples:
  vidimus cat s3://bucket/dumps/shop.sql | psql shop
  vidimus cat 's3://bucket/photo?.jpg?region=eu-central-1' > photo.jpg

Exit codes:
    0  all was written
    1  what was written isn't whole, or isn't what was recorded with it
    2  wrong usage
    7  nothing is there, it is a directory, or it can't be read

Each flag can be set in the environment as VIDIMUS_<FLAG>; a flag on the command line wins.";

const PUT_LONG_ABOUT: &str = "\
Puts what comes from standard input in a file or an object.

Nobody needs to know how much will come. It is hashed as it comes, and stands whole once it has \
ended; until then, and if it is stopped or fails, what stood there before stands. The file's \
directory must exist. What is put is recorded: `vidimus verify` tells whether it is still there, as \
long as nothing is mirrored to the same place; beside a mirror it is an extra entry.";

const PUT_EXAMPLES: &str = "\
Examples:
  Keep a dump of a database, without a file in between:
    pg_dump shop | vidimus put - s3://bucket/dumps/shop.sql
  One that is larger than 156 GiB:
    tar c /srv | vidimus put --expected-size 2TiB - s3://bucket/srv.tar
  Its digest, for a script:
    pg_dump shop | vidimus put --json - s3://bucket/dumps/shop.sql | jq -r .digest

A command that fails looks to the one behind it like one that ended: where that matters, in bash, \
`set -o pipefail` and remove what was put.

Exit codes:
    0  all that came stands
    2  wrong usage
    4  the recorded state can't be used or written; if all that came stands, the error says so
    7  standard input failed, or the target can't be used: missing, full, read-only
  130  stopped by SIGINT
  143  stopped by SIGTERM

Each flag can be set in the environment as VIDIMUS_<FLAG>; a flag on the command line wins.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "vidimus",
    version,
    about = ABOUT,
    long_about = LONG_ABOUT,
    after_long_help = EXAMPLES,
    arg_required_else_help = true,
    subcommand_required = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a target's content equal to a source's
    #[command(long_about = MIRROR_LONG_ABOUT, after_long_help = MIRROR_EXAMPLES)]
    Mirror(Box<MirrorArgs>),
    /// Tell whether a target still holds what was recorded
    #[command(long_about = VERIFY_LONG_ABOUT, after_long_help = VERIFY_EXAMPLES)]
    Verify(VerifyArgs),
    /// List what lies at a location
    #[command(long_about = LS_LONG_ABOUT, after_long_help = LS_EXAMPLES)]
    Ls(LsArgs),
    /// Write the content of a file or an object to standard output
    #[command(long_about = CAT_LONG_ABOUT, after_long_help = CAT_EXAMPLES)]
    Cat(CatArgs),
    /// Put what comes from standard input in a file or an object
    #[command(long_about = PUT_LONG_ABOUT, after_long_help = PUT_EXAMPLES)]
    Put(PutArgs),
    /// Print a completion script for a shell
    #[command(after_long_help = "\
Examples:
  vidimus completions bash > ~/.local/share/bash-completion/completions/vidimus
  vidimus completions zsh > ~/.zfunc/_vidimus
  vidimus completions fish > ~/.config/fish/completions/vidimus.fish")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(after_long_help = "\
Examples:
  vidimus man | man -l -
  vidimus man --dir ~/.local/share/man/man1")]
    Man {
        /// Write a page for each command into DIR instead
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch that the user types")]
pub(crate) struct MirrorArgs {
    /// Directory (or single file) to copy from: a path or a file:// URL
    #[arg(value_name = "SOURCE")]
    pub(crate) source: OsString,
    /// Directory to copy into: a path or a file:// URL
    #[arg(value_name = "TARGET")]
    pub(crate) target: OsString,
    #[arg(hide = true, value_name = "MORE")]
    pub(crate) more: Vec<OsString>,

    /// Print what would be done, and why, but do nothing
    ///
    /// Takes no lock, changes neither side, records nothing. Where content would have to be read to
    /// decide, the line says so: "check … copy if content differs".
    #[arg(short = 'n', long, env = "VIDIMUS_DRY_RUN", value_parser = values::switch)]
    pub(crate) dry_run: bool,

    /// Hash the source's files whatever their stamps say
    ///
    /// Finds edits that kept size and times. Reads the whole source; of the target only what its
    /// stamp or the record leaves in doubt.
    #[arg(short = 'c', long, help_heading = "Comparing", env = "VIDIMUS_CHECKSUM",
        value_parser = values::switch)]
    pub(crate) checksum: bool,
    /// Take files of one size for equal
    ///
    /// Misses every edit that keeps the size; for targets that can't keep times.
    #[arg(long, help_heading = "Comparing", env = "VIDIMUS_SIZE_ONLY",
        value_parser = values::switch)]
    pub(crate) size_only: bool,
    /// Leave files alone that are newer in the target
    #[arg(short = 'u', long, help_heading = "Comparing", env = "VIDIMUS_UPDATE",
        value_parser = values::switch)]
    pub(crate) update: bool,
    /// Leave files alone that exist in the target
    #[arg(long, help_heading = "Comparing", env = "VIDIMUS_IGNORE_EXISTING",
        value_parser = values::switch)]
    pub(crate) ignore_existing: bool,
    /// Don't look at ctime, which changes by itself on FUSE and SMB
    #[arg(long, help_heading = "Comparing", env = "VIDIMUS_IGNORE_CTIME",
        value_parser = values::switch)]
    pub(crate) ignore_ctime: bool,
    /// Don't look at inode numbers, which are not stable on FUSE and SMB
    #[arg(long, help_heading = "Comparing", env = "VIDIMUS_IGNORE_INODE",
        value_parser = values::switch)]
    pub(crate) ignore_inode: bool,

    /// Leave out what matches (gitignore-like; the last match wins)
    ///
    /// An excluded directory is not walked. Excluded entries of the target are kept unless
    /// --delete-excluded. Examples below.
    #[arg(
        long,
        value_name = "PATTERN",
        help_heading = "Filtering",
        env = "VIDIMUS_EXCLUDE",
        allow_hyphen_values = true
    )]
    pub(crate) exclude: Vec<String>,
    /// Take in what matches, after an --exclude that matches too
    #[arg(
        long,
        value_name = "PATTERN",
        help_heading = "Filtering",
        env = "VIDIMUS_INCLUDE",
        allow_hyphen_values = true
    )]
    pub(crate) include: Vec<String>,
    /// Read exclude patterns from FILE, one a line; `-` is standard input
    ///
    /// Blank lines and lines that begin with # are left out, as in .gitignore.
    #[arg(long, value_name = "FILE", help_heading = "Filtering", env = "VIDIMUS_EXCLUDE_FROM")]
    pub(crate) exclude_from: Vec<PathBuf>,
    /// Read include patterns from FILE, one a line; `-` is standard input
    ///
    /// Blank lines and lines that begin with # are left out, as in .gitignore.
    #[arg(long, value_name = "FILE", help_heading = "Filtering", env = "VIDIMUS_INCLUDE_FROM")]
    pub(crate) include_from: Vec<PathBuf>,
    /// Leave out files smaller than SIZE, like 10KiB or 1.5MB (a unit is required)
    #[arg(long, value_name = "SIZE", help_heading = "Filtering", env = "VIDIMUS_MIN_SIZE",
        value_parser = values::bytes)]
    pub(crate) min_size: Option<Bytes>,
    /// Leave out files larger than SIZE, like 2GiB or 700MB (a unit is required)
    #[arg(long, value_name = "SIZE", help_heading = "Filtering", env = "VIDIMUS_MAX_SIZE",
        value_parser = values::bytes)]
    pub(crate) max_size: Option<Bytes>,

    /// Delete what only the target has
    ///
    /// Done last, and only after every listing was complete. Refused (exit code 6) when the source
    /// is empty, when its root is not the one of the last run whose deletions were allowed (an
    /// unmounted disk), or when more than --max-delete would go.
    #[arg(long, help_heading = "Deleting", env = "VIDIMUS_DELETE", value_parser = values::switch)]
    pub(crate) delete: bool,
    /// Delete excluded entries of the target too
    #[arg(long, help_heading = "Deleting", env = "VIDIMUS_DELETE_EXCLUDED",
        value_parser = values::switch)]
    pub(crate) delete_excluded: bool,
    /// Refuse to delete more than N entries, or than P% of the target's
    #[arg(long, value_name = "N|P%", help_heading = "Deleting", env = "VIDIMUS_MAX_DELETE",
        value_parser = values::max_delete, default_value = "50%")]
    pub(crate) max_delete: MaxDelete,
    /// Take the source for the right one though its root is another than when deletions were last
    /// allowed
    #[arg(long, help_heading = "Deleting", env = "VIDIMUS_ACCEPT_SOURCE",
        value_parser = values::switch)]
    pub(crate) accept_source: bool,

    /// Refuse to run unless the source's root holds NAME, a sign that its disk is mounted
    #[arg(long, value_name = "NAME", help_heading = "Safety", env = "VIDIMUS_REQUIRE_FILE")]
    pub(crate) require_file: Option<PathBuf>,
    /// How durable a copy is before it counts as done
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        help_heading = "Safety",
        env = "VIDIMUS_DURABILITY",
        default_value = "batch"
    )]
    pub(crate) durability: DurabilityArg,
    /// Reach object stores of other machines without encryption
    ///
    /// Needed for an endpoint that begins with http:// and is not this machine. Whoever stands on
    /// the way can read and change what is copied.
    #[arg(long, help_heading = "Safety", env = "VIDIMUS_ALLOW_HTTP", value_parser = values::switch)]
    pub(crate) allow_http: bool,
    /// Keep the record of runs in DIR, not in $XDG_STATE_HOME/vidimus or ~/.local/state/vidimus
    #[arg(long, value_name = "DIR", help_heading = "Safety", env = "VIDIMUS_STATE_DIR")]
    pub(crate) state_dir: Option<PathBuf>,

    /// Copy N files at the same time [default: number of processors; with a store: 32]
    ///
    /// With a store, also the most requests that are under way; it gets fewer when it asks for that.
    #[arg(long, value_name = "N", help_heading = "Performance", env = "VIDIMUS_TRANSFERS",
        value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) transfers: Option<u16>,
    /// Read N directories and hash N files at the same time [default: number of processors]
    #[arg(long, value_name = "N", help_heading = "Performance", env = "VIDIMUS_CHECKERS",
        value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) checkers: Option<u16>,

    /// Copy no faster than RATE, like 10MiB/s, or as a timetable says
    ///
    /// Bytes a second, with a unit; `off` is no limit. In a timetable, of local time, the first
    /// entry that matches holds: "08:00-18:00 10MiB/s, else off", or "Mon-Fri 08:00-18:00 10MiB/s,
    /// Sat 2MiB/s, else off". A time over midnight belongs to the day it begins on.
    #[arg(long, value_name = "RATE", help_heading = "Limits", env = "VIDIMUS_BWLIMIT",
        value_parser = rates::bandwidth)]
    pub(crate) bwlimit: Option<Timetable>,
    /// Send no more requests to object stores than N a second, minute or hour, like 100/s
    #[arg(long, value_name = "N/s|N/min|N/h", help_heading = "Limits",
        env = "VIDIMUS_MAX_REQUESTS", value_parser = rates::requests)]
    pub(crate) max_requests: Option<RequestRate>,
    /// Hold no more than SIZE of content in memory on its way to object stores, at least 16MiB
    #[arg(long, value_name = "SIZE", help_heading = "Limits", env = "VIDIMUS_MEMORY",
        value_parser = rates::memory, default_value = "256MiB")]
    pub(crate) memory: Bytes,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Exit with 10 if changes were made (in a dry run: would be made)
    #[arg(long, help_heading = "Output", env = "VIDIMUS_EXIT_CHANGES",
        value_parser = values::switch)]
    pub(crate) exit_changes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Directory to verify: a path or a file:// URL
    #[arg(value_name = "TARGET")]
    pub(crate) target: OsString,
    /// Count every extra entry as a difference
    #[arg(long, env = "VIDIMUS_STRICT", value_parser = values::switch)]
    pub(crate) strict: bool,
    /// Reach object stores of other machines without encryption
    ///
    /// Needed for an endpoint that begins with http:// and is not this machine. Whoever stands on
    /// the way can read and change what is copied.
    #[arg(long, env = "VIDIMUS_ALLOW_HTTP", value_parser = values::switch)]
    pub(crate) allow_http: bool,
    /// Look for the record of runs in DIR, not in $XDG_STATE_HOME/vidimus or ~/.local/state/vidimus
    #[arg(long, value_name = "DIR", env = "VIDIMUS_STATE_DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Hash N files at the same time [default: number of processors; in a store: 32]
    #[arg(long, value_name = "N", help_heading = "Performance", env = "VIDIMUS_CHECKERS",
        value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) checkers: Option<u16>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

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
    /// Reach object stores of other machines without encryption
    ///
    /// Needed for an endpoint that begins with http:// and is not this machine.
    #[arg(long, env = "VIDIMUS_ALLOW_HTTP", value_parser = values::switch)]
    pub(crate) allow_http: bool,
}

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

#[derive(Debug, Args)]
pub(crate) struct PutArgs {
    /// What to put: standard input, which is all that can be put
    #[arg(value_name = "-")]
    pub(crate) source: OsString,
    /// File or object that is to be: a path, a file:// URL or s3://bucket/key
    #[arg(value_name = "LOCATION")]
    pub(crate) location: OsString,
    /// Be ready for SIZE, like 500GiB: an object of more than 156 GiB needs larger parts
    ///
    /// An object is sent in at most 10,000 parts of one size, several at a time and within --memory.
    #[arg(long, value_name = "SIZE", env = "VIDIMUS_EXPECTED_SIZE", value_parser = values::bytes)]
    pub(crate) expected_size: Option<Bytes>,
    /// Hold no more than SIZE of content in memory on its way to object stores, at least 16MiB
    #[arg(long, value_name = "SIZE", env = "VIDIMUS_MEMORY", value_parser = rates::memory,
        default_value = "256MiB")]
    pub(crate) memory: Bytes,
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
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch that the user types")]
pub(crate) struct OutputArgs {
    /// Write records for scripts (NDJSON) to stdout
    ///
    /// Each has time, level and event; the last one is "finished", with all totals, the verdict and
    /// the exit code.
    #[arg(long, env = "VIDIMUS_JSON", value_parser = values::switch)]
    pub(crate) json: bool,
    /// Print a line for each change, with its reason
    ///
    /// With --json, a record. A dry run does so without being told.
    #[arg(short = 'v', long, env = "VIDIMUS_VERBOSE", value_parser = values::switch)]
    pub(crate) verbose: bool,
    /// Print nothing but failures
    #[arg(short = 'q', long, env = "VIDIMUS_QUIET", value_parser = values::switch)]
    pub(crate) quiet: bool,
    /// Show progress even when stderr is no terminal, as a line now and then
    #[arg(long, env = "VIDIMUS_PROGRESS", value_parser = values::switch)]
    pub(crate) progress: bool,
    /// Show no progress
    #[arg(long, env = "VIDIMUS_NO_PROGRESS", value_parser = values::switch)]
    pub(crate) no_progress: bool,
    /// Colour messages; `auto` is in a terminal, unless NO_COLOR is set
    #[arg(long, value_enum, value_name = "WHEN", env = "VIDIMUS_COLOR", default_value = "auto")]
    pub(crate) color: ColorArg,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum DurabilityArg {
    /// One by one: each file and its directory is synced
    File,
    /// A batch at a time: one sync of the file system for many files
    Batch,
    /// At the kernel's pace; a power cut may lose what was copied
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorArg {
    Auto,
    Always,
    Never,
}

/// The command line for clap; what every parse, page and completion is made of.
pub(crate) fn command() -> clap::Command {
    use clap::CommandFactory as _;
    Cli::command().mut_subcommands(|command| {
        let is_verify = command.get_name() == "verify";
        command.args_override_self(true).mut_args(|arg| {
            // Said once for all flags at the end of the help, not at each of them.
            let arg = arg.hide_env(true);
            if is_verify && arg.get_id() == "verbose" {
                let help = "Name extra entries even where they don't count as differences";
                arg.help(help).long_help(help)
            } else {
                arg
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_finds_the_definition_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_flag_of_a_run_has_its_variable() {
        for command in command().get_subcommands() {
            if ["completions", "man"].contains(&command.get_name()) {
                continue;
            }
            for arg in command.get_arguments() {
                let Some(long) = arg.get_long().filter(|long| *long != "help") else { continue };
                let variable = format!("VIDIMUS_{}", long.to_uppercase().replace('-', "_"));
                assert_eq!(arg.get_env().and_then(|name| name.to_str()), Some(&*variable));
            }
        }
    }
}
