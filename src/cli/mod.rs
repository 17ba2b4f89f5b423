//! The command line: arguments become settings, settings become typed options, a command runs with
//! them, and its result becomes an exit code.
//!
//! `args` has what clap parses, `settings` turns it into options, `exit` has the codes, `signals`
//! stops runs; `usage`, `suggest` and `variables` report wrong usage. Each command has a file of
//! its own. The environment, the terminal and the process are accessed here and nowhere below.

mod args;
mod commands;
mod exit;
mod input;
mod keys;
mod rates;
mod settings;
mod signals;
mod suggest;
mod usage;
mod values;
mod variables;

use crate::limits::descriptors;
use args::{Cli, Command};
use clap::FromArgMatches as _;
use exit::Exit;
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};
use std::env;
use std::process::ExitCode;

/// Runs the `vidimus` command with the process's arguments.
pub fn main() -> ExitCode {
    open_as_many_files_as_allowed();
    run().into()
}

fn run() -> Exit {
    let words: Vec<_> = env::args_os().collect();
    let parsed = args::command().try_get_matches_from(&words).and_then(|matches| {
        let cli = Cli::from_arg_matches(&matches)?;
        Ok((cli, matches))
    });
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return usage::refuse_words(&error, &words),
    };
    let Some((_, matches)) = matches.subcommand() else { return Exit::Usage };
    let reads_variables = !matches!(cli.command, Command::Completions { .. } | Command::Man { .. });
    if reads_variables && let Err(error) = variables::check(env::vars_os().map(|(name, _)| name)) {
        return usage::refuse(&error, &words);
    }
    let holds_many = matches!(
        cli.command,
        Command::Mirror(_)
            | Command::Bag(_)
            | Command::Verify(_)
            | Command::Diff(_)
            | Command::Put(_)
            | Command::Manifest(_)
    );
    if holds_many && let Err(error) = descriptors::check() {
        return usage::refuse(&error, &words);
    }
    match cli.command {
        // Files are created with exactly the intended mode.
        Command::Mirror(args) => commands::mirror::run(&args, matches, umask(Mode::empty())),
        Command::Bag(args) => commands::bag::run(&args, matches, umask(Mode::empty())),
        Command::Verify(args) => commands::verify::run(&args, matches),
        Command::Explain(args) => commands::explain::run(&args, matches, umask(Mode::empty())),
        Command::Diff(args) => commands::diff::run(&args, matches),
        Command::Ls(args) => commands::ls::run(&args, matches),
        Command::Cat(args) => commands::cat::run(&args),
        Command::Put(args) => commands::put::run(&args, umask(Mode::empty())),
        Command::Manifest(args) => {
            let Some((_, matches)) = matches.subcommand() else { return Exit::Usage };
            commands::manifest::run(&args.command, matches, umask(Mode::empty()))
        }
        Command::Keygen(args) => commands::keygen::run(&args, umask(Mode::empty())),
        Command::Completions { shell } => commands::completions::run(shell),
        Command::Man { dir } => commands::man::run(dir.as_deref()),
    }
}

/// Raises the soft limit of open files to the hard one: a walk keeps directories open.
fn open_as_many_files_as_allowed() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // With fewer open files a run is slower, but not wrong.
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).ok();
    }
}
