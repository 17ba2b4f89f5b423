//! The commands, one file each.

pub(super) mod bag;
pub(super) mod cat;
pub(super) mod completions;
pub(super) mod diff;
pub(super) mod explain;
pub(super) mod import;
pub(super) mod keygen;
pub(super) mod ls;
pub(super) mod man;
pub(super) mod manifest;
pub(super) mod mirror;
pub(super) mod put;
mod sheet;
pub(super) mod verify;

use super::exit::Exit;
use crate::model::{Error, ErrorKind};
use crate::report::output::stdout;
use crate::report::{Output, OutputOptions};
use std::io::{self, Write as _};

/// Writes the whole output of a command that only prints.
fn print(bytes: &[u8]) -> Exit {
    let written = stdout().and_then(|mut stdout| {
        stdout.write_all(bytes)?;
        stdout.flush()
    });
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(&cannot_write(error)),
        _ => Exit::Done,
    }
}

/// Says what stopped a command that only prints.
pub(super) fn fail(error: &Error) -> Exit {
    tell(&Output::new(OutputOptions::default(), None), error);
    error.kind.into()
}

/// Writes an error and its way out to stderr.
fn tell(output: &Output, error: &Error) {
    output.message("error", &crate::report::text::error(error));
    if let Some(help) = &error.help {
        output.message("help", help);
    }
}

fn cannot_write(error: io::Error) -> Error {
    Error::new(ErrorKind::Unusable, "cannot write to standard output").because(error)
}

/// Ends a command's output: what could not be written to stdout is a failure of its own.
pub(super) fn close(output: &Output, exit: Exit) -> Exit {
    output.flush();
    match output.take_error() {
        Some(error) => {
            tell(output, &cannot_write(error));
            exit.and(Exit::Incomplete)
        }
        None => exit,
    }
}
