//! Faults in words: one line each, causes behind the message, nothing said twice.

use crate::model::{EntryError, Error};
use std::error::Error as StdError;

/// How many failures a summary names.
const NAMED: usize = 10;
/// How many failures are printed as they come.
pub(super) const PRINTED: u64 = 100;

/// What is said once when failures are only counted from now on.
pub(crate) const REST_IS_COUNTED: &str =
    "more failures follow and are only counted; --json names every one";

/// Formats a fatal error: its message and the chain of its causes.
pub(crate) fn error(error: &Error) -> String {
    chain(error.message.clone(), error.source())
}

/// Formats an error of one entry.
pub(crate) fn entry_error(error: &EntryError) -> String {
    let EntryError { operation, side, key, cause } = error;
    let message = format!("cannot {} {side} \"{key}\"", operation.verb());
    chain(message, Some(cause))
}

/// Formats why an entry failed, without the entry.
pub(crate) fn cause(cause: &crate::model::Cause) -> String {
    chain(lower_case_start(&cause.to_string()), cause.source())
}

/// Appends each cause that the text doesn't say yet.
fn chain(mut text: String, mut cause: Option<&(dyn StdError + 'static)>) -> String {
    while let Some(error) = cause {
        let words = match error.downcast_ref::<EntryError>() {
            Some(error) => entry_error(error),
            None => lower_case_start(&error.to_string()),
        };
        if !text.to_lowercase().contains(&words.to_lowercase()) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

/// Lowers the first letter of a sentence ("Permission denied"), not of an acronym ("TLS failure").
fn lower_case_start(words: &str) -> String {
    let mut characters = words.chars();
    match (characters.next(), characters.clone().next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(characters).collect()
        }
        _ => words.to_owned(),
    }
}

/// The failures of a run: counted, the first ones kept to be named again at the end.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    named: Vec<String>,
    count: u64,
}

/// What to do about a failure when it comes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    /// Print it.
    Print,
    /// Print that the following ones are only counted.
    SayThatTheRestIsCounted,
    /// Count it.
    Count,
}

impl Failures {
    /// Takes one failure, in words.
    pub(crate) fn add(&mut self, text: &str) -> Telling {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push(text.to_owned());
        }
        match self.count {
            ..=PRINTED => Telling::Print,
            count if count == PRINTED + 1 => Telling::SayThatTheRestIsCounted,
            _ => Telling::Count,
        }
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The lines that name them in a summary.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.named.iter().map(|text| format!("  {text}")).collect();
        let more = self.count.saturating_sub(self.named.len() as u64);
        if more > 0 {
            lines.push(format!("  and {} more", super::format::count(more)));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::error::Side;
    use crate::model::{Cause, ErrorKind, Key, Operation};
    use std::io;

    #[test]
    fn an_entry_error_says_operation_side_key_and_cause_once() {
        let fault = EntryError {
            operation: Operation::Read,
            side: Side::Source,
            key: Key::new(*b"a\nb"),
            cause: Cause::Io(io::Error::from_raw_os_error(13)),
        };
        let text = "cannot read source \"a\\nb\": permission denied (os error 13)";
        assert_eq!(entry_error(&fault), text);
    }

    #[test]
    fn a_cause_that_the_message_holds_is_not_repeated() {
        let disk_full = || io::Error::other("disk full");
        let told = Error::new(ErrorKind::Unusable, "cannot write \"x\": Disk full");
        assert_eq!(error(&told.because(disk_full())), "cannot write \"x\": Disk full");
        let untold = Error::new(ErrorKind::Unusable, "cannot write \"x\"");
        assert_eq!(error(&untold.because(disk_full())), "cannot write \"x\": disk full");
    }

    #[test]
    fn failures_are_printed_up_to_a_bound_and_named_up_to_a_smaller_one() {
        let mut failures = Failures::default();
        let told: Vec<_> = (0..103).map(|at| failures.add(&format!("f{at}"))).collect();
        assert_eq!(told[99], Telling::Print);
        assert_eq!(told[100], Telling::SayThatTheRestIsCounted);
        assert_eq!(told[101], Telling::Count);
        let lines = failures.lines();
        assert_eq!((lines.len(), lines[0].as_str()), (11, "  f0"));
        assert_eq!(lines[10], "  and 93 more");
    }
}
