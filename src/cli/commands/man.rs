//! `vidimus man`: the manual, as roff on stdout or as a file for each command.

use super::super::args;
use super::super::exit::Exit;
use crate::model::{Error, ErrorKind};
use clap::Command;
use clap_mangen::Man;
use std::io;
use std::path::Path;

pub(crate) fn run(dir: Option<&Path>) -> Exit {
    let done = match dir {
        Some(dir) => pages().try_for_each(|page| {
            let path = dir.join(Man::new(page.clone()).get_filename());
            std::fs::write(path, render(page)?)
        }),
        None => match pages().map(render).collect::<io::Result<Vec<_>>>() {
            Ok(manual) => return super::print(&manual.concat()),
            Err(error) => Err(error),
        },
    };
    done.map_or_else(
        |error| {
            let message = "cannot write the manual";
            super::fail(&Error::new(ErrorKind::Unusable, message).because(error))
        },
        |()| Exit::Done,
    )
}

fn render(command: Command) -> io::Result<Vec<u8>> {
    let mut roff = Vec::new();
    Man::new(command).render(&mut roff)?;
    // clap_mangen heads what follows the options with a word that no other page uses.
    let roff = String::from_utf8_lossy(&roff);
    Ok(roff.replace("\n.SH EXTRA\n", "\n.SH \"EXAMPLES AND NOTES\"\n").into_bytes())
}

/// The tool's own page, then one for each command.
fn pages() -> impl Iterator<Item = Command> {
    let mut tool = args::command();
    // Gives each command its whole name: `vidimus mirror`, and `vidimus-mirror` for its page.
    tool.build();
    let mut pages = Vec::new();
    add(tool, &mut pages);
    pages.into_iter()
}

/// Adds a command, then those below it.
fn add(command: Command, pages: &mut Vec<Command>) {
    let below: Vec<_> =
        command.get_subcommands().filter(|below| below.get_name() != "help").cloned().collect();
    pages.push(command);
    for command in below {
        add(command, pages);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_its_page() {
        let names: Vec<_> = pages().map(|page| Man::new(page).get_filename()).collect();
        let expected = [
            "",
            "-mirror",
            "-bag",
            "-verify",
            "-explain",
            "-diff",
            "-ls",
            "-cat",
            "-put",
            "-manifest",
            "-manifest-show",
            "-manifest-log",
            "-manifest-export",
            "-manifest-import",
            "-manifest-check",
            "-manifest-sign",
            "-keygen",
            "-completions",
            "-man",
        ];
        assert_eq!(names, expected.map(|name| format!("vidimus{name}.1")));
        for page in pages() {
            let text = String::from_utf8(render(page).unwrap()).unwrap();
            assert!(
                text.contains(".SH \"EXAMPLES AND NOTES\"") && !text.contains("EXTRA"),
                "{text}"
            );
        }
    }
}
