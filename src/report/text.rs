//! Faults in words: one line each, causes behind the message, nothing said twice.

use crate::model::{EntryError, Error};
use std::error::Error as StdError;

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
}
