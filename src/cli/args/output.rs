//! How a command that runs for long tells what it does.

#![expect(clippy::doc_markdown, reason = "doc comments are help here, printed as they stand")]

use super::super::values;
use clap::{Args, ValueEnum};

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
    /// Print a line for each change, with its reason, and every failure
    ///
    /// With --json, a record of each change. A dry run prints changes without this flag, and records
    /// name every failure. Otherwise failures beyond a hundred are only counted.
    #[arg(short = 'v', long, env = "VIDIMUS_VERBOSE", value_parser = values::switch)]
    pub(crate) verbose: bool,
    /// Print nothing but failures
    #[arg(short = 'q', long, env = "VIDIMUS_QUIET", value_parser = values::switch)]
    pub(crate) quiet: bool,
    /// Show progress even when stderr is no terminal, as a line now and then
    ///
    /// With --json, what there is to do is counted beside the run, so that remaining_s is known early.
    #[arg(long, env = "VIDIMUS_PROGRESS", value_parser = values::switch)]
    pub(crate) progress: bool,
    /// Show no progress
    #[arg(long, env = "VIDIMUS_NO_PROGRESS", value_parser = values::switch)]
    pub(crate) no_progress: bool,
    /// Colour messages; `auto` is in a terminal, unless NO_COLOR is set
    #[arg(long, value_enum, value_name = "WHEN", env = "VIDIMUS_COLOR", default_value = "auto")]
    pub(crate) color: ColorArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorArg {
    Auto,
    Always,
    Never,
}
