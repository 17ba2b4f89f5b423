//! `vidimus completions SHELL`: a completion script on stdout.

use super::super::args;
use super::super::exit::Exit;

pub(crate) fn run(shell: clap_complete::Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "vidimus", &mut script);
    super::print(&script)
}
