//! Which entries of a target are extra: not those that a mirror leaves alone, nor the directories
//! around them.

use crate::model::entry::Completeness;
use crate::model::{Entry, EntryKind, Key};

/// Tells extra entries, which come in key order. A directory is one only if nothing in it is left out:
/// a mirror that deletes keeps what holds that.
#[derive(Debug, Default)]
pub(super) struct Extras {
    /// Directories of which it isn't known yet, each in the one before it.
    unsettled: Vec<Key>,
}

impl Extras {
    /// Takes an entry that nothing speaks for. `is_left_out` says that a mirror leaves it alone;
    /// `extra` is told of what is extra.
    pub(super) fn take(&mut self, entry: &Entry, is_left_out: bool, extra: &mut dyn FnMut(&Key)) {
        if is_left_out {
            self.hold(&entry.key, extra);
            return;
        }
        self.leave(Some(&entry.key), extra);
        if entry.kind != EntryKind::Directory {
            extra(&entry.key);
        } else if !entry.key.is_root() && entry.completeness != Completeness::Implicit {
            // One that is there because of keys below it is nothing by itself.
            self.unsettled.push(entry.key.clone());
        }
    }

    /// Takes note of something that stays, or is unknown: the directories around it are not extra.
    pub(super) fn hold(&mut self, key: &Key, extra: &mut dyn FnMut(&Key)) {
        self.leave(Some(key), extra);
        self.unsettled.clear();
    }

    /// Settles the directories that `key` doesn't lie in, at the end (`None`) all of them.
    pub(super) fn leave(&mut self, key: Option<&Key>, extra: &mut dyn FnMut(&Key)) {
        let lies_in = |directory: &Key| key.is_some_and(|key| key.is_within(directory.as_bytes()));
        while let Some(directory) = self.unsettled.pop_if(|directory| !lies_in(directory)) {
            extra(&directory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Metadata;

    /// What of these is extra: `-a` is left out, `?a` unknown, `~a/` implied.
    fn extra(keys: &[&str]) -> Vec<String> {
        let (mut extras, mut told) = (Extras::default(), Vec::new());
        let mut tell = |key: &Key| told.push(key.to_string());
        for marked in keys {
            let name = marked.trim_start_matches(['-', '?', '~']);
            let key = Key::new(name.as_bytes());
            if marked.starts_with('?') {
                extras.hold(&key, &mut tell);
                continue;
            }
            let kind = if key.is_directory() { EntryKind::Directory } else { EntryKind::File };
            let known =
                if marked.starts_with('~') { Completeness::Implicit } else { Completeness::Full };
            let file = Entry::new_file(key, 0, Metadata::default());
            let entry = Entry { kind, completeness: known, ..file };
            extras.take(&entry, marked.starts_with('-'), &mut tell);
        }
        extras.leave(None, &mut tell);
        told
    }

    #[test]
    fn a_directory_is_extra_unless_something_in_it_is_left_out() {
        assert_eq!(extra(&["a", "d/", "d/e/", "d/e/f"]), ["a", "d/e/f", "d/e/", "d/"]);
        assert_eq!(extra(&["d/", "d/a", "d/e/", "-d/e/f", "d/g/", "h/"]), ["d/a", "d/g/", "h/"]);
        assert_eq!(extra(&["-d/", "-d/e", "f"]), ["f"]);
        assert_eq!(extra(&["d/", "d/e/", "?d/e/", "d/f"]), ["d/f"]);
        assert_eq!(extra(&["~d/", "d/e", "~f/", "-f/g"]), ["d/e"]);
    }
}
