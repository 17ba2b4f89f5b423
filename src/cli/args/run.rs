//! What every command that mirrors takes.

#![expect(clippy::doc_markdown, reason = "doc comments are help here, printed as they stand")]

use super::super::values;
use super::{FilterArgs, LimitArgs, OutputArgs};
use crate::session::{MaxChange, MaxDelete};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch that the user types")]
pub(crate) struct RunArgs {
    /// Print what would be done, and why, but do nothing
    ///
    /// It takes no lock, changes neither side and records nothing. If content would have to be read to
    /// decide, the line says so: "check … copy if content differs".
    #[arg(short = 'n', long, env = "VIDIMUS_DRY_RUN", value_parser = values::switch)]
    pub(crate) dry_run: bool,

    /// Hash the source's files whatever their stamps say
    ///
    /// This finds edits that kept size and times. It reads the whole source, and of the target only
    /// what its stamp or the record leaves in doubt.
    #[arg(short = 'c', long, help_heading = "Comparing", env = "VIDIMUS_CHECKSUM",
        value_parser = values::switch)]
    pub(crate) checksum: bool,
    /// Don't look at ctime, which changes by itself on FUSE and SMB
    #[arg(long, help_heading = "Comparing", env = "VIDIMUS_IGNORE_CTIME",
        value_parser = values::switch)]
    pub(crate) ignore_ctime: bool,
    /// Don't look at inode numbers, which are not stable on FUSE and SMB
    #[arg(long, help_heading = "Comparing", env = "VIDIMUS_IGNORE_INODE",
        value_parser = values::switch)]
    pub(crate) ignore_inode: bool,
    /// Copy content that changed although size, mtime and ctime did not
    ///
    /// Such a change looks like a failing disk. Without this flag the file is named as failed, and the
    /// target keeps what it has.
    #[arg(long, help_heading = "Comparing", env = "VIDIMUS_ACCEPT_SILENT_CHANGES",
        value_parser = values::switch)]
    pub(crate) accept_silent_changes: bool,

    #[command(flatten)]
    pub(crate) filter: FilterArgs,

    /// Delete what only the target has
    ///
    /// This is done last, and only if every listing was complete; if a copy failed it waits for the
    /// next run. It is refused (exit code 6) if the source is empty, if its root is another directory
    /// than in the last run that was allowed to delete (an unmounted disk), or if more than
    /// --max-delete would go.
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
    /// Delete even in a run in which a copy failed
    ///
    /// Without this flag deletions then wait for the next run: what only the target has may be the
    /// last copy of what failed, under an older name. What a failed copy collided with (`Report` and
    /// `report` in a target that ignores case, for example) stays in any case.
    #[arg(long, help_heading = "Deleting", env = "VIDIMUS_DELETE_DESPITE_ERRORS",
        value_parser = values::switch)]
    pub(crate) delete_despite_errors: bool,
    /// Accept the source though its root is another directory than when deletions were last allowed
    #[arg(long, help_heading = "Deleting", env = "VIDIMUS_ACCEPT_SOURCE",
        value_parser = values::switch)]
    pub(crate) accept_source: bool,

    /// Refuse to run if more than P% of the files that were mirrored before changed or are gone
    ///
    /// Files that were encrypted by somebody else or emptied by a full disk are not mirrored over their
    /// good copies then (exit code 6), before anything in the target is touched. What counts are size
    /// and modification time. It costs a second listing of the source.
    #[arg(long, value_name = "P%", help_heading = "Safety", env = "VIDIMUS_MAX_CHANGE",
        value_parser = values::max_change)]
    pub(crate) max_change: Option<MaxChange>,
    /// Mirror this once though more than --max-change changed
    #[arg(long, help_heading = "Safety", env = "VIDIMUS_ACCEPT_CHANGES",
        value_parser = values::switch)]
    pub(crate) accept_changes: bool,
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
    /// With a store, this is also the limit of requests at the same time. If the store asks for fewer,
    /// it gets fewer.
    #[arg(long, value_name = "N", help_heading = "Performance", env = "VIDIMUS_TRANSFERS",
        value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) transfers: Option<u16>,
    /// Read N directories and hash N files at the same time [default: number of processors]
    #[arg(long, value_name = "N", help_heading = "Performance", env = "VIDIMUS_CHECKERS",
        value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) checkers: Option<u16>,

    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Exit with 10 if changes were made (in a dry run: would be made)
    #[arg(long, help_heading = "Output", env = "VIDIMUS_EXIT_CHANGES",
        value_parser = values::switch)]
    pub(crate) exit_changes: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum DurabilityArg {
    /// Each file and its directory is synced by itself
    File,
    /// One sync of the file system serves many files
    Batch,
    /// Nothing is synced: a power cut may lose what was copied
    None,
}
