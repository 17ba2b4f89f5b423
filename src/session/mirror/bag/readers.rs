//! Names that a manifest writes as the standard says, and that the program which most bags are
//! checked by doesn't read: bagit.py, the Python package bagit (1.8 and 1.9).

use crate::model::{Key, Notice};
use crate::session::mirror::Session;

/// How many names are told.
const TOLD: usize = 10;

/// Characters beside CR and LF that end a line to Python.
const LINE_ENDS: [char; 8] =
    ['\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}'];

/// Escapes of one kind in a name that it decodes.
const DECODED: usize = 2;

/// Names of a bag that bagit.py can't read.
#[derive(Debug, Default)]
pub(super) struct Unreadable {
    first: Vec<Key>,
    count: u64,
}

impl Unreadable {
    /// Takes note of a file in the bag: `path` as the manifest has it, without its escapes.
    pub(super) fn look_at(&mut self, path: &Key) {
        if is_read(&String::from_utf8_lossy(path.as_bytes())) {
            return;
        }
        self.count += 1;
        if self.first.len() < TOLD {
            self.first.push(path.clone());
        }
    }

    /// Names them.
    pub(super) fn tell(&self, session: &Session<'_>) {
        for name in &self.first {
            session.notice(Notice::UnreadableByBagit { key: name.clone() });
        }
        let count = self.count - self.first.len() as u64;
        if count > 0 {
            session.notice(Notice::MoreUnreadableByBagit { count });
        }
    }
}

/// Whether bagit.py finds the file. It reads lines as Python splits them, strips them, and decodes
/// `%0D` and `%0A` alone, each twice at the most.
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
    fn names_that_python_reads_otherwise_are_told_from_others() {
        for name in ["a b", " a", "a\n", "\r\n\r\na", "naïve", "$x", "*", "\u{a0}a", "~a", "#"] {
            assert!(is_read(name), "{name:?}");
        }
        let unread = ["100%", "a ", "a\t", "a\u{a0}", "a\u{1f}", "a\u{b}b", "\n\n\n", "\u{2028}a"];
        for name in unread {
            assert!(!is_read(name), "{name:?}");
        }
    }
}
