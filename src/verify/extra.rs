//! Detection of extra entries: without those that a mirror leaves alone, and the directories that
//! contain these.

use crate::model::entry::Completeness;
use crate::model::{Entry, EntryKind, Key};

/// Finds extra entries among those that come in key order. A directory is extra only if nothing in
/// it is left out, since a mirror that deletes keeps such a directory.
#[derive(Debug, Default)]
pub(super) struct Extras {
    /// Directories that have yet to be decided, each contained in the one before.
    unsettled: Vec<Key>,
}

impl Extras {
    /// Takes an entry that nothing is recorded of. `is_left_out` says that a mirror leaves it
    /// alone; `extra` is called with each key that is extra.
    pub(super) fn take(&mut self, entry: &Entry, is_left_out: bool, extra: &mut dyn FnMut(&Key)) {
        if is_left_out {
            self.hold(&entry.key, extra);
            return;
        }
        self.leave(Some(&entry.key), extra);
        if entry.kind != EntryKind::Directory {
            extra(&entry.key);
        } else if !entry.key.is_root() && entry.completeness != Completeness::Implicit {
            // A directory that only keys below it imply isn't extra itself.
            self.unsettled.push(entry.key.clone());
        }
    }

    /// Takes an entry that stays or is unknown, so that the directories around it aren't extra.
    pub(super) fn hold(&mut self, key: &Key, extra: &mut dyn FnMut(&Key)) {
        self.leave(Some(key), extra);
        self.unsettled.clear();
    }

    /// Decides on the directories that don't contain `key`; at the end (`None`) on all.
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

    /// Returns the extra ones of these entries: `-a` is left out, `?a` unknown, `~a/` implied.
    fn extra(keys: &[&str]) -> Vec<String> {
        let (mut extras, mut found) = (Extras::default(), Vec::new());
        let mut add = |key: &Key| found.push(key.to_string());
        for marked in keys {
            let name = marked.trim_start_matches(['-', '?', '~']);
            let key = Key::new(name.as_bytes());
            if marked.starts_with('?') {
                extras.hold(&key, &mut add);
                continue;
            }
            let kind = if key.is_directory() { EntryKind::Directory } else { EntryKind::File };
            let known =
                if marked.starts_with('~') { Completeness::Implicit } else { Completeness::Full };
            let file = Entry::new_file(key, 0, Metadata::default());
            let entry = Entry { kind, completeness: known, ..file };
            extras.take(&entry, marked.starts_with('-'), &mut add);
        }
        extras.leave(None, &mut add);
        found
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
