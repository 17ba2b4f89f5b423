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
mod presenting;
pub(super) mod put;
mod summary_table;
pub(super) mod verify;

use super::exit::Exit;
use crate::model::{EntryError, Error, ErrorKind};
use crate::report::flags;
use crate::report::output::stdout;
use crate::report::{Output, OutputOptions};
use std::io::{self, Write as _};

/// The purpose of a command, which decides the exit code if standard output can't be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To print something: without output, nothing was done.
    Tell,
    /// Other work, which is done even if it can't be reported.
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

/// Prints the whole output of a command with this purpose.
fn print(bytes: &[u8], purpose: Purpose) -> Exit {
    print_by(|| stdout()?.write_all(bytes), purpose)
}

/// Calls `write`, which writes to standard output.
pub(super) fn print_by(write: impl FnOnce() -> io::Result<()>, purpose: Purpose) -> Exit {
    // Rust's handle buffers a last line without a line end.
    let written = stdout().and_then(|mut stdout| write().and_then(|()| stdout.flush()));
    let output = Output::new(OutputOptions::default(), None);
    end(&output, written, Exit::Done, purpose)
}

/// Ends a command that only prints, after its output failed.
fn unwritten(error: io::Error) -> Exit {
    let output = Output::new(OutputOptions::default(), None);
    end(&output, Err(error), Exit::Done, Purpose::Tell)
}

/// Reports the error that stopped a command, and returns the exit code.
pub(super) fn fail(error: &Error) -> Exit {
    tell(&Output::new(OutputOptions::default(), None), error);
    error.kind.into()
}

/// Writes an error and its hint to stderr.
fn tell(output: &Output, error: &Error) {
    output.error(&error.report());
}

/// Formats the failure of an entry of a place that is no side of a run.
fn entry_failure(error: &EntryError) -> String {
    let (verb, cause) = (error.operation.verb(), flags::cause(&error.cause));
    format!("cannot {verb} \"{}\": {cause}", error.key)
}

fn cannot_write(error: io::Error) -> Error {
    Error::new(ErrorKind::Unusable, "cannot write to standard output").because(error)
}

/// Ends a command's output: an error of stdout is a failure of its own.
pub(super) fn close(output: &Output, exit: Exit, purpose: Purpose) -> Exit {
    output.flush();
    end(output, output.take_error().map_or(Ok(()), Err), exit, purpose)
}

/// Returns the exit code of a command with this result of writing. An error of stdout is reported,
/// unless the reader is gone.
fn end(output: &Output, written: io::Result<()>, exit: Exit, purpose: Purpose) -> Exit {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            tell(output, &cannot_write(error));
            exit.and(purpose.unwritten())
        }
        _ => exit,
    }
}
