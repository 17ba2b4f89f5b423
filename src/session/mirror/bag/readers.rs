//! Names that are written to a manifest as the standard requires, but that bagit.py, the program
//! most bags are checked with, can't read (Python package bagit 1.8 and 1.9).

use crate::model::{Key, Notice};
use crate::session::mirror::Session;

/// Maximum number of names that are reported.
const REPORTED: usize = 10;

/// Characters other than CR and LF that end a line in Python.
const LINE_ENDS: [char; 8] =
    ['\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}'];

/// Maximum number of escapes of one kind that it decodes in a name.
const DECODED: usize = 2;

/// Names in a bag that bagit.py can't read.
#[derive(Debug, Default)]
pub(super) struct Unreadable {
    first: Vec<Key>,
    count: u64,
}

impl Unreadable {
    /// Checks a file of the bag: `path` as in the manifest, without escapes.
    pub(super) fn check(&mut self, path: &Key) {
        if is_read(&String::from_utf8_lossy(path.as_bytes())) {
            return;
        }
        self.count += 1;
        if self.first.len() < REPORTED {
            self.first.push(path.clone());
        }
    }

    /// Reports the names.
    pub(super) fn report(&self, session: &Session<'_>) {
        for name in &self.first {
            session.notice(Notice::UnreadableByBagit { key: name.clone() });
        }
        let count = self.count - self.first.len() as u64;
        if count > 0 {
            session.notice(Notice::MoreUnreadableByBagit { count });
        }
    }
}

/// Returns whether bagit.py finds the file. It splits lines as Python does, strips them, and
/// decodes only `%0D` and `%0A`, each at most twice.
fn is_read(path: &str) -> bool {
    let is_stripped = |last: char| {
        (last.is_whitespace() || matches!(last, '\u{1c}'..='\u{1f}'))
            && !matches!(last, '\r' | '\n')
    };
    !path.contains('%')
        && !path.contains(LINE_ENDS)
        && !path.ends_with(is_stripped)
        && path.matches('\r').count() <= DECODED
        && path.matches('\n').count() <= DECODED
}

#[cfg(test)]
mod tests {
    use super::is_read;

    #[test]
    fn names_that_python_reads_differently_are_recognised() {
        for name in ["a b", " a", "a\n", "\r\n\r\na", "naïve", "$x", "*", "\u{a0}a", "~a", "#"] {
            assert!(is_read(name), "{name:?}");
        }
        let unread = ["100%", "a ", "a\t", "a\u{a0}", "a\u{1f}", "a\u{b}b", "\n\n\n", "\u{2028}a"];
        for name in unread {
            assert!(!is_read(name), "{name:?}");
        }
    }
}
