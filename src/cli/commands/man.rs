//! `vidimus man`: prints the manual as roff, or writes one file per command.

use super::super::args;
use super::super::exit::Exit;
use super::Purpose;
use crate::model::key::Escaped;
use crate::model::{Error, ErrorKind};
use clap::Command;
use clap_mangen::Man;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

pub(crate) fn run(dir: Option<&Path>) -> Exit {
    let done = match dir {
        Some(dir) => pages().try_for_each(|page| write(dir, &page)),
        None => match pages().map(|page| render(&page)).collect::<io::Result<Vec<_>>>() {
            Ok(manual) => return super::print(&manual.concat(), Purpose::Tell),
            Err(error) => {
                Err(Error::new(ErrorKind::Unusable, "cannot make the manual").because(error))
            }
        },
    };
    done.map_or_else(|error| super::fail(&error), |()| Exit::Done)
}

fn write(dir: &Path, page: &Command) -> Result<(), Error> {
    let path = dir.join(Man::new(page.clone()).get_filename());
    render(page).and_then(|roff| std::fs::write(&path, roff)).map_err(|error| {
        let path = Escaped(path.as_os_str().as_bytes());
        let message = format!("cannot write the manual page \"{path}\"");
        let help = match error.kind() {
            io::ErrorKind::NotFound => "make the directory first",
            _ => "name a directory that you may write to",
        };
        Error::new(ErrorKind::Unusable, message).because(error).help(help)
    })
}

/// The heading of the text after the options, for which `clap_mangen` has an unusual word.
const NOTES: &str = "\n.SH \"EXAMPLES AND NOTES\"\n";

fn render(command: &Command) -> io::Result<Vec<u8>> {
    let mut roff = Vec::new();
    Man::new(command.clone()).render(&mut roff)?;
    let roff = String::from_utf8_lossy(&roff).replace("\n.SH EXTRA\n", NOTES);
    Ok(with_exit_status(&with_values(&roff, command)).into_bytes())
}

/// Adds the options' values to the synopsis, which has only their names.
fn with_values(roff: &str, command: &Command) -> String {
    let Some((before, rest)) = roff.split_once("\n.SH SYNOPSIS\n") else { return roff.to_owned() };
    let (synopsis, after) = rest.split_once('\n').unwrap_or((rest, ""));
    let mut synopsis = synopsis.to_owned();
    for option in command.get_arguments().filter(|arg| arg.get_action().takes_values()) {
        if let (Some(name), Some([value, ..])) = (option.get_long(), option.get_value_names()) {
            let name = format!("\\fB\\-\\-{}\\fR", escaped(name));
            synopsis = synopsis
                .replace(&format!("{name}]"), &format!("{name} \\fI{}\\fR]", escaped(value)));
        }
    }
    format!("{before}\n.SH SYNOPSIS\n{synopsis}\n{after}")
}

/// Moves the exit codes from the notes to a section of their own, as usual in manual pages.
fn with_exit_status(roff: &str) -> String {
    let Some((before, rest)) = roff.split_once("\nExit codes:\n") else { return roff.to_owned() };
    let (codes, after) = rest.split_once("\n\n").unwrap_or((rest, ""));
    let line = |line: &str| match line.split_once("  ") {
        Some((code, meaning)) if code.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("\n.TP\n\\fB{code}\\fR\n{meaning}")
        }
        _ => format!("\n{line}"),
    };
    let lines: String = codes.lines().map(|it| line(it.trim_start())).collect();
    let section = format!("\n.SH \"EXIT STATUS\"{lines}");
    let (page, notes) = before.split_once(NOTES).unwrap_or((before, ""));
    let notes = format!("{notes}\n{after}");
    format!("{page}{section}{NOTES}{}", notes.trim_start())
}

/// Escapes a word's hyphens, so that lines aren't broken at them.
fn escaped(word: &str) -> String {
    word.replace('-', "\\-")
}

/// Returns the page of the tool, then one for each command.
fn pages() -> impl Iterator<Item = Command> {
    let mut tool = args::command();
    // Gives each command its full name: `vidimus mirror`, and `vidimus-mirror` for its page.
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
            let text = String::from_utf8(render(&page).unwrap()).unwrap();
            assert!(
                text.contains(".SH \"EXAMPLES AND NOTES\"") && !text.contains("EXTRA"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_page_has_values_in_its_synopsis_and_exit_codes_in_a_section() {
        let page = |name: &str| {
            let page = pages().find(|page| page.get_name() == name).expect("a page");
            String::from_utf8(render(&page).unwrap()).unwrap()
        };
        let mirror = page("mirror");
        let (_, synopsis) = mirror.split_once(".SH SYNOPSIS\n").unwrap();
        let synopsis = synopsis.lines().next().unwrap();
        for option in [
            r"[\fB\-\-exclude\fR \fIPATTERN\fR]",
            r"[\fB\-\-max\-delete\fR \fIN|P%\fR]",
            r"[\fB\-\-durability\fR \fIWHEN\fR]",
            r"[\fB\-n\fR|\fB\-\-dry\-run\fR]",
        ] {
            assert!(synopsis.contains(option), "{option}: {synopsis}");
        }
        for name in ["mirror", "verify", "put", "diff", "explain", "bag"] {
            let page = page(name);
            let (before, codes) = page.split_once("\n.SH \"EXIT STATUS\"\n").expect(name);
            assert!(before.contains(".SH OPTIONS"), "{name}");
            let (codes, notes) = codes.split_once(NOTES).expect(name);
            assert!(codes.starts_with(".TP\n\\fB0\\fR\n"), "{codes}");
            assert!(codes.contains("\n.TP\n\\fB2\\fR\n"), "{codes}");
            assert!(!notes.contains("Exit codes:") && notes.contains("Examples:"), "{notes}");
        }
    }
}
