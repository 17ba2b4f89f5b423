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
mod summary_table;
pub(super) mod verify;

use super::exit::Exit;
use crate::model::{Error, ErrorKind};
use crate::report::output::stdout;
use crate::report::{Output, OutputOptions};
use std::io::{self, Write as _};

/// What a command is for. It decides what it means that standard output can't be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To tell something: untold, nothing was done.
    Tell,
    /// Other work, which is done though it is not told.
    Work,
}

impl Purpose {
    fn unwritten(self) -> Exit {
        match self {
            Self::Tell => Exit::Unusable,
            Self::Work => Exit::Incomplete,
        }
    }
}

/// Writes the whole output of a command that is for this.
fn print(bytes: &[u8], purpose: Purpose) -> Exit {
    print_by(|| stdout()?.write_all(bytes), purpose)
}

/// Prints by `write`, which writes to standard output.
pub(super) fn print_by(write: impl FnOnce() -> io::Result<()>, purpose: Purpose) -> Exit {
    // Rust's handle holds back what ends in no line's end.
    let written = stdout().and_then(|mut stdout| write().and_then(|()| stdout.flush()));
    let output = Output::new(OutputOptions::default(), None);
    end(&output, written, Exit::Done, purpose)
}

/// Ends a command that only prints, and whose output failed.
fn unwritten(error: io::Error) -> Exit {
    let output = Output::new(OutputOptions::default(), None);
    end(&output, Err(error), Exit::Done, Purpose::Tell)
}

/// Says what stopped a command that only prints.
pub(super) fn fail(error: &Error) -> Exit {
    tell(&Output::new(OutputOptions::default(), None), error);
    error.kind.into()
}

/// Writes an error and its way out to stderr.
fn tell(output: &Output, error: &Error) {
    output.error(&error.report());
}

fn cannot_write(error: io::Error) -> Error {
    Error::new(ErrorKind::Unusable, "cannot write to standard output").because(error)
}

/// Ends a command's output: what could not be written to stdout is a failure of its own.
pub(super) fn close(output: &Output, exit: Exit, purpose: Purpose) -> Exit {
    output.flush();
    end(output, output.take_error().map_or(Ok(()), Err), exit, purpose)
}

/// The exit code of a command whose output was written like this; a fault of stdout is told, but for a
/// reader who left.
fn end(output: &Output, written: io::Result<()>, exit: Exit, purpose: Purpose) -> Exit {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            tell(output, &cannot_write(error));
            exit.and(purpose.unwritten())
        }
        _ => exit,
    }
}
