//! Arguments as typed: what clap parses, before anything is decided.
//!
//! Each flag can also be set in the environment, as `VIDIMUS_` and its name; a flag on the command
//! line wins; each command has its file. No type of clap leaves `cli`.

/// What every command that reaches stores is refused for, in the row of exit code 6.
macro_rules! refused_http {
    () => {
        "an endpoint without encryption that --allow-http doesn't allow"
    };
}

mod bag;
mod cat;
mod diff;
mod explain;
mod filter;
mod keygen;
mod limits;
mod ls;
mod manifest;
mod mirror;
mod output;
mod put;
mod run;
mod verify;

pub(super) use bag::BagArgs;
pub(super) use cat::CatArgs;
pub(super) use diff::DiffArgs;
pub(super) use explain::ExplainArgs;
pub(super) use filter::FilterArgs;
pub(super) use keygen::KeygenArgs;
pub(super) use limits::{LimitArgs, ReadingArgs};
pub(super) use ls::LsArgs;
pub(super) use manifest::{
    ExportArgs, ExportFormatArg, ImportArgs, ImportFormatArg, ManifestArgs, ManifestCommand,
    ManifestHoldArgs, ManifestLookArgs, ManifestSignArgs,
};
pub(super) use mirror::{DigestArg, MirrorArgs, MirrorFlags};
pub(super) use output::{ColorArg, OutputArgs};
pub(super) use put::PutArgs;
pub(super) use run::{DurabilityArg, RunArgs};
pub(super) use verify::VerifyArgs;

use clap::{Parser, Subcommand};
use std::path::PathBuf;

const ABOUT: &str = "Mirrors directory trees and buckets, and proves it";

const LONG_ABOUT: &str = "\
Mirrors directory trees and buckets, and proves it.

vidimus copies what changed from a source to a target, hashes every byte with BLAKE3 as it passes, \
and records what it did, so that the next run costs only what changed and `vidimus verify` can tell \
whether the target still holds what was copied.";

const EXAMPLES: &str = "\
Examples:
  vidimus mirror ~/photos /mnt/backup/photos
  vidimus mirror --dry-run --delete ~/photos /mnt/backup/photos
  vidimus bag ~/thesis /mnt/archive/thesis
  vidimus verify /mnt/backup/photos
  vidimus explain --delete ~/photos /mnt/backup/photos 2026/beach.jpg
  vidimus diff /mnt/backup/photos s3://backup/photos
  vidimus ls s3://bucket/photos/
  pg_dump shop | vidimus put - s3://bucket/dumps/shop.sql

Exit codes:
    0  everything was done
    1  some entries failed, the rest is done; or all is done, but nothing more could be written to
       standard output
    2  wrong usage
    3  verification or comparison found differences
    4  the record or the published manifest is missing, damaged, of a newer version, or not signed
       as --key demands; or the record can't be created or read
    5  another run, or a verification, holds the target
    6  refused for safety; what was refused was not done, finished copies stay
    7  source or target can't be used: missing, full, read-only, out of reach, not allowed; or the
       disk of the record, or standard input or output
    8  ended by --max-transfer, --max-duration or --window; run it again to go on
   10  changes were made (only with --exit-changes)
  130  stopped by SIGINT; run it again to go on
  143  stopped by SIGTERM; run it again to go on

Each flag can be set in the environment as VIDIMUS_<FLAG>, for example VIDIMUS_TRANSFERS=8 or \
VIDIMUS_DRY_RUN=true; a flag on the command line wins.";

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
    #[command(long_about = mirror::LONG_ABOUT, after_long_help = mirror::EXAMPLES)]
    Mirror(Box<MirrorArgs>),
    /// Mirror a source into a bag, which proves its content to others
    #[command(long_about = bag::LONG_ABOUT, after_long_help = bag::EXAMPLES)]
    Bag(Box<BagArgs>),
    /// Tell whether a target still holds what was recorded
    #[command(long_about = verify::LONG_ABOUT, after_long_help = verify::EXAMPLES)]
    Verify(Box<VerifyArgs>),
    /// Tell what a mirror would do with one key, and why
    #[command(long_about = explain::LONG_ABOUT, after_long_help = explain::EXAMPLES)]
    Explain(Box<ExplainArgs>),
    /// Tell in what two places differ
    #[command(long_about = diff::LONG_ABOUT, after_long_help = diff::EXAMPLES)]
    Diff(DiffArgs),
    /// List what lies at a location
    #[command(long_about = ls::LONG_ABOUT, after_long_help = ls::EXAMPLES)]
    Ls(LsArgs),
    /// Write the content of a file or an object to standard output
    #[command(long_about = cat::LONG_ABOUT, after_long_help = cat::EXAMPLES)]
    Cat(CatArgs),
    /// Put what comes from standard input in a file or an object
    #[command(long_about = put::LONG_ABOUT, after_long_help = put::EXAMPLES)]
    Put(PutArgs),
    /// Read, check or sign the manifest that a mirror published
    #[command(long_about = manifest::LONG_ABOUT, after_long_help = manifest::EXAMPLES)]
    Manifest(ManifestArgs),
    /// Make a pair of keys to sign manifests with
    #[command(long_about = keygen::LONG_ABOUT, after_long_help = keygen::EXAMPLES)]
    Keygen(KeygenArgs),
    /// Print a completion script for a shell
    #[command(after_long_help = "\
Examples:
  vidimus completions bash > ~/.local/share/bash-completion/completions/vidimus
  vidimus completions zsh > ~/.zfunc/_vidimus
  vidimus completions fish > ~/.config/fish/completions/vidimus.fish

Exit codes:
    0  it is printed
    2  wrong usage
    7  standard output can't be written to")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(after_long_help = "\
Examples:
  vidimus man | man -l -
  vidimus man --dir ~/.local/share/man/man1

Exit codes:
    0  it is printed, or written
    2  wrong usage
    7  standard output, or DIR, can't be written to")]
    Man {
        /// Write a page for each command into DIR instead
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// The command line for clap; what every parse, page and completion is made of.
pub(crate) fn command() -> clap::Command {
    use clap::CommandFactory as _;
    Cli::command().mut_subcommands(finished)
}

/// What a shell completes a value by, as its name tells.
fn completed_by(arg: &clap::Arg) -> Option<clap::ValueHint> {
    Some(match arg.get_value_names()?.first()?.as_str() {
        "DIR" | "TARGET" | "BAG" => clap::ValueHint::DirPath,
        "FILE" | "LIST" => clap::ValueHint::FilePath,
        "SOURCE" | "LOCATION" | "A" | "B" => clap::ValueHint::AnyPath,
        _ => return None,
    })
}

/// Gives a command, and those below it, what all of them have.
fn finished(command: clap::Command) -> clap::Command {
    let name = command.get_name().to_owned();
    let command = command.args_override_self(true).mut_args(|arg| {
        // Said once for all flags at the end of the help, not at each of them.
        let mut arg = arg.hide_env(true);
        if let Some(hint) = completed_by(&arg) {
            arg = arg.value_hint(hint);
        }
        if name == "verify" && arg.get_help_heading() == Some("Filtering") {
            arg = arg.help_heading("Filtering, with --against");
        }
        let help = match (&*name, arg.get_id().as_str()) {
            ("verify", "verbose") => {
                "Name extra entries even where they don't count as differences"
            }
            ("verify", "exclude") => "Leave out what matches (gitignore-like; the last match wins)",
            ("explain", "json") => {
                "Write records for scripts (NDJSON) to stdout: an \"explanation\" for each key, and \
                 \"finished\""
            }
            ("explain", id) => {
                let is_hidden = explain::PLAYS_NO_PART.contains(&id);
                return arg.hide(is_hidden);
            }
            _ => return arg,
        };
        arg.help(help).long_help(help)
    });
    command.mut_subcommands(finished)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_finds_the_definition_sound() {
        command().debug_assert();
    }

    #[test]
    fn who_can_be_refused_for_an_endpoint_says_so_at_exit_code_6() {
        fn check(command: &clap::Command) {
            if command.get_arguments().any(|arg| arg.get_long() == Some("allow-http")) {
                let help = command.get_after_long_help().map(ToString::to_string);
                let help = help.unwrap_or_default();
                let (_, rows) = help.split_once("\n    6  ").unwrap_or_default();
                let (row, _) = rows.split_once("\n    7  ").unwrap_or_default();
                assert!(row.ends_with(refused_http!()), "{}: {help}", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&command());
    }

    #[test]
    fn every_flag_of_a_run_has_its_variable() {
        fn check(command: &clap::Command) {
            for arg in command.get_arguments() {
                let Some(long) = arg.get_long().filter(|long| *long != "help") else { continue };
                let mut variable = format!("VIDIMUS_{}", long.to_uppercase().replace('-', "_"));
                if (command.get_name(), long) == ("sign", "key") {
                    // Elsewhere a key is a public one; this is what a mirror takes as --sign.
                    variable = "VIDIMUS_SIGN".to_owned();
                }
                assert_eq!(arg.get_env().and_then(|name| name.to_str()), Some(&*variable));
                assert!(arg.is_hide_env_set(), "{long} of {}", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        let is_run =
            |command: &&clap::Command| !["completions", "man"].contains(&command.get_name());
        command().get_subcommands().filter(is_run).for_each(check);
    }
}
