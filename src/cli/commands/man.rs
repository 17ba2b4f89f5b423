//! `vidimus man`: the manual, as roff on stdout or as a file for each command.

use super::super::args;
use super::super::exit::Exit;
use crate::model::{Error, ErrorKind};
use clap::Command;
use clap_mangen::Man;
use std::io;
use std::path::Path;

pub(crate) fn run(dir: Option<&Path>) -> Exit {
    match dir {
        None => {
            let mut manual = Vec::new();
            let rendered = pages().try_for_each(|page| Man::new(page).render(&mut manual));
            rendered.map_or_else(|error| super::fail(&unusable(error)), |()| super::print(&manual))
        }
        Some(dir) => write(dir).map_or_else(|error| super::fail(&unusable(error)), |()| Exit::Done),
    }
}

/// The tool's own page, then one for each command.
fn pages() -> impl Iterator<Item = Command> {
    let mut tool = args::command();
    // Gives each command its whole name: `vidimus mirror`, and `vidimus-mirror` for its page.
    tool.build();
    let commands: Vec<_> =
        tool.get_subcommands().filter(|command| command.get_name() != "help").cloned().collect();
    std::iter::once(tool).chain(commands)
}

fn write(dir: &Path) -> io::Result<()> {
    pages().try_for_each(|page| Man::new(page).generate_to(dir).map(drop))
}

fn unusable(error: io::Error) -> Error {
    Error::new(ErrorKind::Unusable, "cannot write the manual").because(error)
}
