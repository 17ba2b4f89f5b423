//! Errors as sentences: one line each, causes after the message, nothing repeated.

use super::{Cause, EntryError, Error};
use std::error::Error as StdError;

impl Error {
    /// Formats the error and the chain of its causes on one line.
    pub fn sentence(&self) -> String {
        chain(self.message.clone(), self.source())
    }
}

impl EntryError {
    /// Formats what failed, for which entry, and the chain of causes on one line.
    pub fn sentence(&self) -> String {
        let Self { operation, side, key, cause } = self;
        let message = format!("cannot {} {side} \"{key}\"", operation.verb());
        chain(message, Some(cause))
    }
}

impl Cause {
    /// Formats why an entry failed on one line, without the entry.
    pub fn sentence(&self) -> String {
        chain(lower_case_start(&self.to_string()), self.source())
    }
}

/// Appends each cause that the text doesn't contain yet.
fn chain(mut text: String, mut cause: Option<&(dyn StdError + 'static)>) -> String {
    while let Some(error) = cause {
        let words = match error.downcast_ref::<EntryError>() {
            Some(error) => error.sentence(),
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

/// Lowers the first letter of a sentence ("Permission denied"), but not of an acronym ("TLS
/// failure").
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
    use crate::model::{ErrorKind, Key, Operation};
    use std::io;

    #[test]
    fn an_entry_error_says_operation_side_key_and_cause_once() {
        let cause = io::Error::from_raw_os_error(13).into();
        let fault = EntryError::on_source(Operation::Read, Key::new(*b"a\nb"), cause);
        let text = "cannot read source \"a\\nb\": permission denied (os error 13)";
        assert_eq!(fault.sentence(), text);
    }

    #[test]
    fn a_cause_that_the_message_holds_is_not_repeated() {
        let disk_full = || io::Error::other("disk full");
        let repeated = Error::new(ErrorKind::Unusable, "cannot write \"x\": Disk full");
        assert_eq!(repeated.because(disk_full()).sentence(), "cannot write \"x\": Disk full");
        let other = Error::new(ErrorKind::Unusable, "cannot write \"x\"");
        assert_eq!(other.because(disk_full()).sentence(), "cannot write \"x\": disk full");
    }
}
