//! What `vidimus manifest` takes.

#![expect(clippy::doc_markdown, reason = "doc comments are help here, printed as they stand")]

use super::super::values;
use super::{OutputArgs, ReadingArgs};
use clap::{Args, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

pub(super) const LONG_ABOUT: &str = "\
Reads, checks, signs or makes the manifest that a mirror publishes in its target.

LOCATION is a target, a directory or a part of a bucket, or a directory that holds a copy of what a \
target has under .vidimus/manifest/; or a file of these, latest.json or the head of a publication, \
like 00000003.json. Only the manifest is read, not the record on this machine, and only `sign` and \
`import` write. `import` reads the files of TARGET, and records what it finds.";

pub(super) const EXAMPLES: &str = concat!(
    "\
Examples:
  vidimus manifest show /mnt/backup/photos
  vidimus manifest log s3://bucket/photos
  vidimus manifest export --format b3sum /mnt/backup/photos > photos.b3
  vidimus manifest sign --key ~/.config/vidimus/vidimus.key /mnt/backup/photos
  vidimus manifest check --key ~/.config/vidimus/vidimus.pub /mnt/backup/photos

Exit codes:
    0  everything was done
    2  wrong usage
    4  there is no manifest, it is damaged or of a newer version, the chain is broken, or it isn't
       signed as it should be
    5  a run, or a verification, holds the target (import, sign)
    6  refused: import over a manifest or into a bag, export into a bag; or
       ",
    refused_http!(),
    "
    7  the location can't be read, or the output can't be written

Each flag can be set in the environment as VIDIMUS_<FLAG>; a flag on the command line wins."
);

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
    Log(ManifestHoldArgs),
    /// Write all rows of a manifest as one list
    #[command(long_about = EXPORT_LONG_ABOUT, after_long_help = EXPORT_EXAMPLES)]
    Export(ExportArgs),
    /// Adopt what another program mirrored, by a list of its digests
    #[command(long_about = IMPORT_LONG_ABOUT, after_long_help = IMPORT_EXAMPLES)]
    Import(ImportArgs),
    /// Make sure that a manifest is whole, and signed
    #[command(long_about = CHECK_LONG_ABOUT, after_long_help = CHECK_EXAMPLES)]
    Check(ManifestHoldArgs),
    /// Sign a manifest
    #[command(long_about = SIGN_LONG_ABOUT, after_long_help = SIGN_EXAMPLES)]
    Sign(ManifestSignArgs),
}

const SHOW_LONG_ABOUT: &str = "\
Shows which run published a manifest, and what it holds.

It prints the head of the latest publication, and checks the head's digest. Rows are not read.";

const SHOW_EXAMPLES: &str = concat!(
    "\
Examples:
  vidimus manifest show /mnt/backup/photos
  vidimus manifest show --json s3://bucket/photos | jq -r 'select(.event == \"publication\") | .run'

Exit codes:
    0  it was printed
    2  wrong usage
    4  there is no manifest, or it is damaged or of a newer version
    6  refused: ",
    refused_http!(),
    "
    7  the location can't be read, or the output can't be written"
);

const LOG_LONG_ABOUT: &str = "\
Lists the publications of a manifest, from the latest back to the first, and checks their chain.

Each head names the one before it by its digest, so that none can be changed or left out without \
changing all that follow. A line has the publication's number, time, run and verdict, how many rows \
the manifest had, how many of them changed, and with which key it is signed, if it is; with --key, \
whether it is signed with that. A broken chain, or a signature that is not valid, is named, and the \
exit code is 4. Rows are not read.";

const LOG_EXAMPLES: &str = concat!(
    "\
Examples:
  vidimus manifest log /mnt/backup/photos
  vidimus manifest log --json s3://bucket/photos | jq -c '[.event, .sequence, .run]'

Exit codes:
    0  all was listed, and the chain is whole
    2  wrong usage, or a key that can't be read
    4  there is no manifest, it is damaged or of a newer version, the chain is broken, or a
       signature is not valid
    6  refused: ",
    refused_http!(),
    "
    7  the location can't be read, or the output can't be written"
);

const CHECK_LONG_ABOUT: &str = "\
Checks that a manifest is complete and undamaged: the pointer, the head, each segment and each row \
of it, and the chain of publications back to its beginning; and with --key, that it is signed with \
that key.

The signature of the latest publication covers all of that, by the digests in its head. Signatures of \
earlier publications are not checked (`vidimus manifest log --key` does that). What is not whole is \
named, and the exit code is 4. Whether the target still holds what the manifest says is checked by \
`vidimus verify`.";

const CHECK_EXAMPLES: &str = concat!(
    "\
Examples:
  vidimus manifest check /mnt/backup/photos
  vidimus manifest check --key ~/vidimus.pub s3://bucket/photos
  With minisign, in the manifest's directory:
    minisign -V -p ~/vidimus.pub -m 00000012.json

Exit codes:
    0  it is whole and, with --key, signed with that key
    2  wrong usage, or a key that can't be read
    4  there is no manifest, it is damaged or of a newer version, the chain is broken, or it isn't
       signed with the key
    6  refused: ",
    refused_http!(),
    "
    7  the location can't be read, or the output can't be written"
);

const SIGN_LONG_ABOUT: &str = "\
Signs the latest publication, as `vidimus mirror --sign` does with what it publishes.

First all of the manifest is checked to be whole (as by `vidimus manifest check`). Whether it is true is \
not checked: sign what you trust. An earlier signature of it is replaced, whoever made it.";

const SIGN_EXAMPLES: &str = concat!(
    "\
Examples:
  vidimus manifest sign --key ~/.config/vidimus/vidimus.key /mnt/backup/photos

Exit codes:
    0  it is signed
    1  it is signed, but nothing was written to standard output
    2  wrong usage, or a key that can't be opened
    4  there is no manifest, it is damaged or of a newer version, or the chain is broken
    5  a run, or a verification, holds the target
    6  refused: ",
    refused_http!(),
    "
    7  the target can't be read or written to"
);

const EXPORT_LONG_ABOUT: &str = "\
Writes all rows of a manifest as one list, in the order of the bytes of their keys.

What the manifest says is exported, not what the target holds now: `vidimus verify` compares them. A \
name that the format can't hold is left out and named on standard error.

b3sum: a line a file, for `b3sum --check` in the target's root. Files without a digest (they were \
adopted, or a store copied them) are left out and counted. sha256sum: the same for `sha256sum \
--check`. hashdeep: sizes, SHA-256 and names, for `hashdeep -r -l -o f -a -k LIST *` in the target's \
root; with MD5 if every file has it. Both need a SHA-256 of every file, and are refused if one is \
missing: `vidimus mirror --digest sha256` records it. json: the lines of docs/manifest.md, each key \
once and none that was removed. csv: key, kind, size, blake3, sha256, md5, mtime, mode, uid, gid, link, \
run and verified, with a header (RFC 4180).";

const EXPORT_EXAMPLES: &str = concat!(
    "\
Examples:
  Let another program check a target:
    vidimus manifest export --format b3sum --output ~/photos.b3 /mnt/backup/photos
    cd /mnt/backup/photos && b3sum --check --quiet ~/photos.b3
  Or one that knows SHA-256:
    vidimus mirror --digest sha256 ~/photos /mnt/backup/photos
    vidimus manifest export --format sha256sum -o ~/photos.sha256 /mnt/backup/photos
    cd /mnt/backup/photos && sha256sum --check --quiet ~/photos.sha256
  The ten largest files:
    vidimus manifest export --format json s3://bucket/photos |
      jq -r '[.size, .key] | @tsv' | sort -rn | head

Exit codes:
    0  all rows were written, or named
    2  wrong usage, or digests that are not recorded
    4  there is no manifest, or it is damaged or of a newer version
    6  refused: a FILE in a bag or its payload; or
       ",
    refused_http!(),
    "
    7  the location can't be read, or the output can't be written
  130  stopped by SIGINT
  143  stopped by SIGTERM

Each flag can be set in the environment as VIDIMUS_<FLAG>; a flag on the command line wins."
);

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Target, or a copy of its manifest: a path, a file:// URL or s3://bucket/prefix
    #[arg(value_name = "LOCATION")]
    pub(crate) location: OsString,
    /// What to write
    #[arg(long, value_enum, value_name = "FORMAT", env = "VIDIMUS_FORMAT")]
    pub(crate) format: ExportFormatArg,
    /// Write to FILE, whole or not at all, instead of to standard output, which is `-`
    ///
    /// Until everything is written an existing file stays as it is; it keeps its mode and owner. A
    /// symbolic link stays, and the file that it leads to is written. A device, a named pipe or what a
    /// process has open (/dev/stdout, /dev/fd/3) is written to without replacing or emptying it.
    #[arg(short = 'o', long, value_name = "FILE", env = "VIDIMUS_OUTPUT")]
    pub(crate) output: Option<OsString>,
    /// Reach object stores of other machines without encryption
    ///
    /// Needed for an endpoint that begins with http:// and is not this machine.
    #[arg(long, env = "VIDIMUS_ALLOW_HTTP", value_parser = values::switch)]
    pub(crate) allow_http: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormatArg {
    B3sum,
    Sha256sum,
    Hashdeep,
    Json,
    Csv,
}

const IMPORT_LONG_ABOUT: &str = "\
Makes the manifest of a target that another program filled, by a list of digests.

Every file of TARGET that LIST names is read and compared with it: each difference is a line, as those \
of `vidimus verify`. What the list says is published as TARGET's manifest, which `vidimus verify` uses \
from then on. The first `vidimus mirror` into TARGET takes it over: it reads the files of its source, \
and copies only those that differ.

Names in LIST are relative to TARGET. Files that it doesn't name are counted as extra, and no \
difference. A target that has a manifest is refused.";

const IMPORT_EXAMPLES: &str = concat!(
    "\
Examples:
  cd ~/photos && find . -type f -exec b3sum {} + > ~/photos.b3
  vidimus manifest import --format b3sum /mnt/backup/photos ~/photos.b3
  vidimus mirror ~/photos /mnt/backup/photos

Exit codes:
    0  the target holds what the list says
    1  some files could not be read; or the list is imported, but nothing more could be written to
       standard output
    2  wrong usage, or a list that can't be used
    3  files are missing or have other content
    4  the manifest can't be written, or there is a damaged one
    5  another run is writing to the target
    6  the target has a manifest already, or belongs to the payload of a bag; or
       ",
    refused_http!(),
    "
    7  list or target can't be used
  130  stopped by SIGINT; nothing was imported
  143  stopped by SIGTERM; nothing was imported

Each flag can be set in the environment as VIDIMUS_<FLAG>; a flag on the command line wins."
);

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// What the list is of: a path, a file:// URL or s3://bucket/prefix
    #[arg(value_name = "TARGET")]
    pub(crate) target: OsString,
    /// The list: a file, or - for standard input
    #[arg(value_name = "LIST")]
    pub(crate) list: PathBuf,
    /// What made the list
    #[arg(long, value_enum, value_name = "FORMAT", env = "VIDIMUS_FORMAT")]
    pub(crate) format: ImportFormatArg,
    /// Reach object stores of other machines without encryption
    ///
    /// Needed for an endpoint that begins with http:// and is not this machine.
    #[arg(long, env = "VIDIMUS_ALLOW_HTTP", value_parser = values::switch)]
    pub(crate) allow_http: bool,
    /// Keep the record in DIR, not in $XDG_STATE_HOME/vidimus or ~/.local/state/vidimus
    #[arg(long, value_name = "DIR", env = "VIDIMUS_STATE_DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) reading: ReadingArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImportFormatArg {
    B3sum,
    Sha256sum,
}

#[derive(Debug, Args)]
pub(crate) struct ManifestLookArgs {
    /// Target, or a copy of its manifest: a path, a file:// URL or s3://bucket/prefix
    #[arg(value_name = "LOCATION")]
    pub(crate) location: OsString,
    /// Write records for scripts (NDJSON)
    ///
    /// Each has time, level and event; a "publication" has what its head says (docs/manifest.md),
    /// the head's digest, the bytes and lines of all segments, the lines that were written with it
    /// ("changed") and whether its "signature" is valid. The last one is "finished".
    #[arg(long, env = "VIDIMUS_JSON", value_parser = values::switch)]
    pub(crate) json: bool,
    /// Reach object stores of other machines without encryption
    ///
    /// Needed for an endpoint that begins with http:// and is not this machine.
    #[arg(long, env = "VIDIMUS_ALLOW_HTTP", value_parser = values::switch)]
    pub(crate) allow_http: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ManifestHoldArgs {
    #[command(flatten)]
    pub(crate) look: ManifestLookArgs,
    /// Check signatures with KEY, a public key; `check` then demands a valid one
    ///
    /// KEY is the file that `vidimus keygen` or `minisign -G` made, or the key itself, as its second
    /// line has it.
    #[arg(long, value_name = "KEY", env = "VIDIMUS_KEY")]
    pub(crate) key: Option<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct ManifestSignArgs {
    #[command(flatten)]
    pub(crate) look: ManifestLookArgs,
    /// Sign with the secret key in FILE
    ///
    /// A password is taken from VIDIMUS_KEY_PASSWORD, else asked for in the terminal. The variable of
    /// this flag is that of `vidimus mirror --sign`: VIDIMUS_KEY is a public key.
    #[arg(long, value_name = "FILE", env = "VIDIMUS_SIGN")]
    pub(crate) key: PathBuf,
}
