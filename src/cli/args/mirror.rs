//! What `vidimus mirror` takes.

#![expect(clippy::doc_markdown, reason = "doc comments are help here, printed as they stand")]

use super::super::rates;
use super::super::values::{self, Bytes};
use super::RunArgs;
use crate::manifest::ManifestMode;
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

pub(super) const LONG_ABOUT: &str = "\
Makes the target's content equal to the source's.

SOURCE and TARGET are each a directory, or s3://bucket/prefix for a part of a bucket of S3 or of a \
store that speaks its protocol. Credentials, region and endpoint are found as the AWS tools find \
them, or named in the location (?endpoint=https://s3.example.org&region=eu-1).

The contents of SOURCE go into TARGET; a trailing slash makes no difference. TARGET is created if it \
is missing; its parent must exist. A single file as SOURCE goes to TARGET/NAME. Nothing is deleted \
from the target without --delete. A run that was stopped goes on when it is started again.";

pub(super) const EXAMPLES: &str = concat!(
    "\
Examples:
  Copy what is new or changed; nothing is deleted:
    vidimus mirror ~/photos /mnt/backup/photos
  To a bucket, and back:
    vidimus mirror ~/photos s3://backup/photos
    vidimus mirror 's3://backup/photos?endpoint=https://s3.example.org' ~/photos
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
  Exclude logs, except this one:
    vidimus mirror --exclude '*.log' --include 'audit.log' SOURCE TARGET

Sizes have a unit: 500B, 10KiB, 1.5MiB, 2GiB, 1TiB (powers of 1024); 10kB, 10MB, 1GB, 1TB (powers \
of 1000).

Exit codes:
    0  everything was done
    1  some entries failed, the rest is done; or all is done, but nothing more could be written to
       standard output
    2  wrong usage
    4  the record or the published manifest is of a newer version, or the record can't be created
    5  another run, or a verification, holds the target
    6  refused for safety; what was refused was not done, finished copies stay; or
       ",
    refused_http!(),
    "
    7  source or target can't be used: missing, full, read-only, out of reach, not allowed; or its
       published manifest can't be read
    8  ended by --max-transfer, --max-duration or --window; run it again to go on
   10  changes were made (only with --exit-changes)
  130  stopped by SIGINT; run it again to go on
  143  stopped by SIGTERM; run it again to go on

Each flag can be set in the environment as VIDIMUS_<FLAG>, for example VIDIMUS_TRANSFERS=8 or \
VIDIMUS_DRY_RUN=true; a flag on the command line wins. VIDIMUS_EXCLUDE, VIDIMUS_INCLUDE, \
VIDIMUS_EXCLUDE_FROM and VIDIMUS_INCLUDE_FROM hold one value a line; they come before the command \
line's, files first, then exclude, then include."
);

#[derive(Debug, Args)]
pub(crate) struct MirrorArgs {
    /// Directory (or single file) to copy from: a path, a file:// URL or s3://bucket/prefix
    #[arg(value_name = "SOURCE")]
    pub(crate) source: OsString,
    /// Directory to copy into: a path, a file:// URL or s3://bucket/prefix
    #[arg(value_name = "TARGET")]
    pub(crate) target: OsString,
    #[arg(hide = true, value_name = "MORE")]
    pub(crate) more: Vec<OsString>,
    #[command(flatten)]
    pub(crate) flags: MirrorFlags,
}

/// What a mirror takes beside its two locations.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch that the user types")]
pub(crate) struct MirrorFlags {
    /// Take files of one size for equal
    ///
    /// This misses every edit that keeps the size. It is for targets that can't keep times.
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
    /// Copy each name of a hard-linked file by itself
    ///
    /// Else names of one file in the source are names of one file in the target, where its file system
    /// has hard links. What is linked there stays so, as long as it isn't copied anew.
    #[arg(long, help_heading = "Copying", env = "VIDIMUS_NO_HARD_LINKS",
        value_parser = values::switch)]
    pub(crate) no_hard_links: bool,
    /// Copy files that were moved in the source, instead of renaming them in the target
    ///
    /// With --delete, a file that the source has under another name, with the same inode, size and
    /// modification time, is renamed, once its content was found to be the recorded one.
    #[arg(long, help_heading = "Copying", env = "VIDIMUS_NO_RENAMES",
        value_parser = values::switch)]
    pub(crate) no_renames: bool,
    /// Take modification times as equal that are no more than TIME apart, like 2s or 1h
    ///
    /// For targets that shift times, as FAT does with the hour of summer. What a file system rounds is
    /// found out without this flag.
    #[arg(long, value_name = "TIME", help_heading = "Comparing", env = "VIDIMUS_MODIFY_WINDOW",
        value_parser = values::time)]
    pub(crate) modify_window: Option<Duration>,
    /// Make nothing new: leave out what the target doesn't have
    #[arg(long, help_heading = "Comparing", env = "VIDIMUS_EXISTING",
        value_parser = values::switch)]
    pub(crate) existing: bool,
    /// Copy what symbolic links of the source point to, instead of the links
    ///
    /// In the source or elsewhere, directories with all that is in them. Each is a file or directory of
    /// its own in the target. A link that leads nowhere, or back to a directory that contains it, is an
    /// error.
    #[arg(short = 'L', long, help_heading = "Copying", env = "VIDIMUS_COPY_LINKS",
        value_parser = values::switch)]
    pub(crate) copy_links: bool,
    /// Leave out symbolic links that lead out of the source: absolute ones, and by too many `..`
    #[arg(long, help_heading = "Filtering", env = "VIDIMUS_SAFE_LINKS",
        value_parser = values::switch)]
    pub(crate) safe_links: bool,
    /// Mirror only the names in FILE, one a line; `-` is standard input
    ///
    /// Names are relative to the source. `name/` stands for a directory with everything in it, any
    /// other name for the entry alone. Nothing else is looked at, on neither side, but the directories
    /// above a name. A name that the source lacks is an error; with --delete, the target's is deleted.
    /// Empty lines and lines that begin with # or ; are left out. --exclude and its kin still apply.
    #[arg(long, value_name = "FILE", help_heading = "Filtering", env = "VIDIMUS_FILES_FROM")]
    pub(crate) files_from: Option<PathBuf>,
    /// Names of --files-from are separated by NUL, and each is taken as it is
    #[arg(short = '0', long, help_heading = "Filtering", env = "VIDIMUS_FROM0",
        value_parser = values::switch)]
    pub(crate) from0: bool,

    /// Record these digests too, beside BLAKE3: sha256, md5, or both (sha256,md5)
    ///
    /// For tools that don't know BLAKE3: `vidimus manifest export` writes them. They are computed while
    /// a file is copied. A file that is up to date but lacks one is read once, and its content compared
    /// with the record. Between buckets, everything then passes through this machine.
    #[arg(
        long,
        value_enum,
        value_name = "KIND",
        value_delimiter = ',',
        help_heading = "Recording",
        env = "VIDIMUS_DIGEST"
    )]
    pub(crate) digest: Vec<DigestArg>,

    /// Give all copies this owner and group: USER:GROUP, USER or :GROUP, by name or number
    ///
    /// Only root can set any owner. Else what can't be set is as without this flag.
    #[arg(long, value_name = "USER:GROUP", help_heading = "Copying", env = "VIDIMUS_CHOWN")]
    pub(crate) chown: Option<String>,
    /// Keep owners and groups by number, which is the default; for those who type it for rsync
    #[arg(long, help_heading = "Copying", env = "VIDIMUS_NUMERIC_IDS",
        value_parser = values::switch)]
    pub(crate) numeric_ids: bool,
    /// Restore owners and groups by name: to whoever here has the name that the manifest tells
    ///
    /// For a restore on another machine, where users have other numbers. Whoever has no such name here
    /// keeps the number, and so does root. What --usermap and --groupmap say counts first.
    #[arg(long, help_heading = "Copying", env = "VIDIMUS_BY_NAME", value_parser = values::switch)]
    pub(crate) by_name: bool,
    /// Change the modes of copies, like D755,F644 or ug=rwX,o=
    ///
    /// As of chmod, octal or symbolic, with commas between changes; for directories alone after a D,
    /// and for all but directories after an F. Links have no modes. May be given several times.
    #[arg(long, value_name = "CHANGES", help_heading = "Copying", env = "VIDIMUS_CHMOD")]
    pub(crate) chmod: Vec<String>,
    /// Give copies other owners, by pairs FROM:TO, like 0-99:nobody,alice:bob,*:1000
    ///
    /// The first pair that matches counts; who matches none stays. FROM is a number, a range of them, a
    /// name, which may have wildcards, nothing for those without a name, or * for all. Names are those
    /// of this machine.
    #[arg(long, value_name = "PAIRS", help_heading = "Copying", env = "VIDIMUS_USERMAP")]
    pub(crate) usermap: Option<String>,
    /// Give copies other groups, by pairs as of --usermap
    #[arg(long, value_name = "PAIRS", help_heading = "Copying", env = "VIDIMUS_GROUPMAP")]
    pub(crate) groupmap: Option<String>,

    /// Don't keep extended attributes, and so no file capabilities
    #[arg(long, help_heading = "Copying", env = "VIDIMUS_NO_XATTRS",
        value_parser = values::switch)]
    pub(crate) no_xattrs: bool,
    /// Don't keep ACLs
    ///
    /// A copy's group then has no more rights than the ACL grants the owning group.
    #[arg(long, help_heading = "Copying", env = "VIDIMUS_NO_ACLS",
        value_parser = values::switch)]
    pub(crate) no_acls: bool,
    /// Leave out named pipes, sockets and devices
    ///
    /// Else they are made in the target, where its file system has them, and devices by root; they are
    /// never opened. What can't be made is named once, and the exit code is 1.
    #[arg(long, help_heading = "Copying", env = "VIDIMUS_NO_SPECIALS",
        value_parser = values::switch)]
    pub(crate) no_specials: bool,
    /// Keep when files were last read, which only root can read the source without changing
    ///
    /// Of regular files. A file that was read since gets the new time in the next run with this flag.
    #[arg(short = 'U', long, help_heading = "Copying", env = "VIDIMUS_ATIMES",
        value_parser = values::switch)]
    pub(crate) atimes: bool,
    /// Keep the flags immutable, append-only and nodump (of chattr) of files and directories
    ///
    /// They are set when all else is done, and removed from what is replaced, changed or deleted. Only
    /// root can set the first two. Without this flag, entries that have some are counted.
    #[arg(long, help_heading = "Copying", env = "VIDIMUS_FLAGS", value_parser = values::switch)]
    pub(crate) flags: bool,
    /// Make holes of zeros, where the source has none too
    ///
    /// By default a copy has the holes that the source's file has. With this, each whole block of
    /// 4 KiB of zeros takes no space in the target either, whether it comes from a directory or from a
    /// bucket. What is up to date is not written again for it. Where the target can't have holes, zeros
    /// are written.
    #[arg(short = 'S', long, help_heading = "Copying", env = "VIDIMUS_SPARSE",
        value_parser = values::switch)]
    pub(crate) sparse: bool,
    /// Write zeros where the source's files have holes
    #[arg(long, help_heading = "Copying", env = "VIDIMUS_NO_HOLES",
        value_parser = values::switch)]
    pub(crate) no_holes: bool,
    /// Begin no further file once SIZE of content was read, like 100GiB
    ///
    /// Files that are under way are finished. The run ends with exit code 8 if there is more to do;
    /// run it again to go on.
    #[arg(long, value_name = "SIZE", help_heading = "Limits", env = "VIDIMUS_MAX_TRANSFER",
        value_parser = values::bytes)]
    pub(crate) max_transfer: Option<Bytes>,
    /// End after TIME, like 90m or 8h
    ///
    /// What is under way then is broken off, and what is complete is put in its place. The exit code
    /// is 8 if there is more to do; run it again to go on.
    #[arg(long, value_name = "TIME", help_heading = "Limits", env = "VIDIMUS_MAX_DURATION",
        value_parser = values::time)]
    pub(crate) max_duration: Option<Duration>,
    /// Run only at these times, like 22:00-06:00 or "Mon-Fri 22:00-06:00, Sat-Sun"
    ///
    /// In local time. A time over midnight belongs to the day it begins on. When it is over, the run
    /// ends as with --max-duration; a run that is started at another time does nothing, and ends with 8.
    #[arg(long, value_name = "TIMES", help_heading = "Limits", env = "VIDIMUS_WINDOW",
        value_parser = rates::windows)]
    pub(crate) window: Option<rates::Windows>,

    /// Write no markers of directories (objects whose keys end in `/`) to a bucket
    ///
    /// For stores that refuse them, and for buckets where they are in the way. Empty directories, and
    /// modes, owners and times of directories, are not kept then.
    #[arg(long, help_heading = "Recording", env = "VIDIMUS_NO_MARKERS",
        value_parser = values::switch)]
    pub(crate) no_markers: bool,

    /// Keep what is overwritten or deleted in DIR, on the target's file system or in its bucket
    ///
    /// Each file and link goes to DIR/RUN/NAME before its successor takes its place, where RUN is the
    /// run's id, as `--json` prints it. A relative DIR begins at TARGET; in a bucket, one that begins with a
    /// slash begins at the bucket, whose own `s3://bucket/prefix` is taken too. One in TARGET takes no part in
    /// the mirror; leave it out by --exclude in runs without this flag.
    #[arg(long, value_name = "DIR", help_heading = "Safety", env = "VIDIMUS_BACKUP_DIR")]
    pub(crate) backup_dir: Option<PathBuf>,

    /// Sign the manifest that is published with the secret key in FILE
    ///
    /// `vidimus keygen` makes one. A password is taken from VIDIMUS_KEY_PASSWORD, else asked for in
    /// the terminal, before anything is done. At the end the manifest is signed with this key, even
    /// if nothing changed. A manifest that isn't signed with it is not taken over, and a record that
    /// was taken over from one is dropped: everything is compared then.
    #[arg(long, value_name = "FILE", help_heading = "Safety", env = "VIDIMUS_SIGN")]
    pub(crate) sign: Option<PathBuf>,

    /// Mode of the lock and the published manifest in a directory [default: as the target's root]
    ///
    /// Octal digits, as for chmod. 0660 lets the group of the target's root mirror into it and verify
    /// it, 0640 and 0644 let it verify; directories get the rights to enter. The mode stays until
    /// another is given. By default everybody who may list the root may read, and a group that may
    /// write there may write; but the manifest is closed to everybody who can't read all that it lists.
    #[arg(long, value_name = "MODE", help_heading = "Safety", env = "VIDIMUS_MANIFEST_MODE",
        value_parser = values::manifest_mode)]
    pub(crate) manifest_mode: Option<ManifestMode>,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DigestArg {
    /// SHA-256
    Sha256,
    /// MD5, for tools that know nothing else: it can be forged
    Md5,
}
