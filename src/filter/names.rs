//! Names that a run is limited to (`--files-from`).
//!
//! The names are held in memory, in an order in which everything below a name follows it: `/` sorts
//! before all other bytes. So the names in a directory, and those below a name, are adjacent, and
//! each question is answered by a binary search.

use super::downwards;
use crate::model::Key;
use crate::model::key::Escaped;
use std::cmp::Ordering;

/// What separates the names of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Separator {
    /// Each name is a line. Empty lines and lines that begin with `#` or `;` are left out.
    Line,
    /// A NUL follows each name.
    Nul,
}

/// The text of a list, as it was given.
#[derive(Clone, Debug)]
pub struct NameListText {
    /// The names.
    pub bytes: Vec<u8>,
    /// What separates them.
    pub separator: Separator,
}

/// How names are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameForm {
    /// As paths below the root: `./a`, `/a` and `b/./a` are names of what they lead to.
    Path,
    /// As keys, to the byte.
    Key,
}

/// What becomes of a name that the source doesn't have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It is an error of its own.
    Fails,
    /// It is absent, so that it may be deleted from the target.
    IsAbsent,
}

/// How much of a directory a list names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Nothing.
    Nothing,
    /// The directory itself or some of what it holds.
    Part,
    /// The directory with everything in it.
    Whole,
}

/// A list of names that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name \"{}\" {problem}", Escaped(name))]
pub struct NameListError {
    /// The name as given.
    pub name: Vec<u8>,
    /// What is wrong with it, as the end of a sentence that begins with the name.
    pub problem: &'static str,
}

/// The names that a run is limited to.
///
/// A name with a final `/` stands for the directory with everything in it, any other for the entry
/// alone. The directories above a name are looked at too, because it lies in them, but they are
/// never deleted.
#[derive(Debug)]
pub struct NameList {
    /// The names, one after the other.
    text: Vec<u8>,
    /// Where they are, sorted; none lies in a directory that is listed whole.
    names: Vec<Name>,
    /// What becomes of a name that the source doesn't have.
    pub missing: Missing,
}

#[derive(Clone, Copy, Debug)]
struct Name {
    start: usize,
    end: usize,
    /// Whether it is listed with a slash: with everything in it.
    is_whole: bool,
    /// Whether it is listed without one.
    is_leaf: bool,
}

impl NameList {
    /// Reads a list.
    ///
    /// # Errors
    /// Fails for a name that leads out of the root or holds a NUL.
    pub fn parse(
        text: &NameListText,
        form: NameForm,
        missing: Missing,
    ) -> Result<Self, NameListError> {
        let mut list = Self { text: Vec::new(), names: Vec::new(), missing };
        let separator = match text.separator {
            Separator::Line => b'\n',
            Separator::Nul => 0,
        };
        for given in text.bytes.split(|&byte| byte == separator) {
            let is_left_out = match text.separator {
                Separator::Line => matches!(given, [] | b"\r" | [b'#' | b';', ..]),
                Separator::Nul => given.is_empty(),
            };
            if !is_left_out {
                let name = match text.separator {
                    Separator::Line => given.strip_suffix(b"\r").unwrap_or(given),
                    Separator::Nul => given,
                };
                list.push(name, form)?;
            }
        }
        list.sort();
        Ok(list)
    }

    fn push(&mut self, given: &[u8], form: NameForm) -> Result<(), NameListError> {
        let wrong = |problem| Err(NameListError { name: given.to_owned(), problem });
        if given.contains(&0) {
            return wrong("holds a NUL");
        }
        let start = self.text.len();
        let is_whole = given.ends_with(b"/");
        match form {
            NameForm::Key => {
                self.text.extend_from_slice(given.strip_suffix(b"/").unwrap_or(given));
            }
            NameForm::Path => {
                for part in given.split(|&byte| byte == b'/') {
                    match part {
                        b"" | b"." => continue,
                        b".." => return wrong("holds \"..\""),
                        _ if self.text.len() > start => self.text.push(b'/'),
                        _ => {}
                    }
                    self.text.extend_from_slice(part);
                }
            }
        }
        self.names.push(Name { start, end: self.text.len(), is_whole, is_leaf: !is_whole });
        Ok(())
    }

    /// Sorts the names and drops those that others include.
    fn sort(&mut self) {
        let Self { text, names, .. } = self;
        let bytes = |name: &Name| &text[name.start..name.end];
        names.sort_unstable_by(|one, other| {
            order(bytes(one), bytes(other)).then(other.is_whole.cmp(&one.is_whole))
        });
        names.dedup_by(|name, last| {
            let is_same = bytes(name) == bytes(last);
            last.is_leaf |= is_same && name.is_leaf;
            is_same || last.is_whole && is_below(bytes(name), bytes(last))
        });
    }

    fn name(&self, at: usize) -> &[u8] {
        let Name { start, end, .. } = self.names[at];
        &self.text[start..end]
    }

    /// Returns the place of a name, or where it would be.
    fn find(&self, name: &[u8]) -> Result<usize, usize> {
        self.names.binary_search_by(|listed| order(&self.text[listed.start..listed.end], name))
    }

    fn is_whole(&self, name: &[u8]) -> bool {
        self.find(name).is_ok_and(|at| self.names[at].is_whole)
    }

    /// Returns whether the directory `key`, or one above it, is listed with everything in it.
    fn is_within_whole(&self, key: &Key) -> bool {
        self.is_whole(b"")
            || downwards(key).any(|within| {
                within.strip_suffix(b"/").is_some_and(|directory| self.is_whole(directory))
            })
    }

    /// Returns whether the list names an entry, or a directory around it with everything in it.
    pub fn covers(&self, key: &Key) -> bool {
        self.find(key.trimmed()).is_ok() || self.is_within_whole(key)
    }

    /// Returns how much of a directory is listed.
    pub fn extent(&self, directory: &Key) -> Extent {
        if self.is_within_whole(directory) {
            return Extent::Whole;
        }
        let name = directory.trimmed();
        match self.find(name) {
            Ok(_) => Extent::Part,
            Err(at) if at < self.names.len() && is_below(self.name(at), name) => Extent::Part,
            Err(_) => Extent::Nothing,
        }
    }

    /// Returns whether an entry is listed, or is a directory above one that is.
    pub fn takes(&self, key: &Key) -> bool {
        key.is_root()
            || self.covers(key)
            || key.is_directory() && self.extent(key) != Extent::Nothing
    }

    /// Returns the listed names in a directory, each once, without `/`.
    pub fn names_in(&self, directory: &Key) -> impl Iterator<Item = &[u8]> {
        let prefix = directory.as_bytes().len();
        let mut at = match self.find(directory.trimmed()) {
            Ok(at) => at + 1,
            Err(at) => at,
        };
        let directory = directory.trimmed().to_owned();
        std::iter::from_fn(move || {
            let rest = self.names.get(at..).filter(|rest| !rest.is_empty())?;
            let first = self.name(at);
            if !is_below(first, &directory) {
                return None;
            }
            let length = first[prefix..].iter().position(|&byte| byte == b'/');
            let end = length.map_or(first.len(), |length| prefix + length);
            let child = &first[..end];
            at += rest.partition_point(|name| {
                let name = &self.text[name.start..name.end];
                name == child || is_below(name, child)
            });
            Some(&child[prefix..])
        })
    }

    /// Returns the keys that a listing of the names can have, in byte order, each with whether
    /// everything in it belongs to the list: each name as leaf and as directory, and the
    /// directories above it. Of `form`.
    pub fn keys(&self, form: NameForm) -> Vec<(Key, bool)> {
        let mut keys = Vec::with_capacity(self.names.len() * 2);
        for at in 0..self.names.len() {
            let name = self.name(at);
            let whole = self.names[at].is_whole;
            let directory = |name: &[u8]| Key::new([name, b"/"].concat());
            match form {
                NameForm::Key => {
                    if self.names[at].is_leaf {
                        keys.push((Key::new(name), false));
                    }
                    if whole {
                        keys.push((directory(name), true));
                    }
                }
                NameForm::Path if name.is_empty() => keys.push((Key::root(), whole)),
                NameForm::Path => {
                    let before = at.checked_sub(1).map_or(&b""[..], |at| self.name(at));
                    for (end, _) in name.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
                        // The name before has the same directories above it up to here.
                        if !before.starts_with(&name[..=end]) {
                            keys.push((Key::new(&name[..end]), false));
                            keys.push((Key::new(&name[..=end]), false));
                        }
                    }
                    keys.push((Key::new(name), false));
                    keys.push((directory(name), whole));
                }
            }
        }
        if form == NameForm::Path && !self.is_whole(b"") {
            keys.push((Key::root(), false));
        }
        keys.sort_unstable_by(|(one, one_whole), (other, other_whole)| {
            one.cmp(other).then(other_whole.cmp(one_whole))
        });
        keys.dedup_by(|(one, _), (other, _)| one == other);
        keys
    }
}

/// Compares names so that everything below a name follows it. No name has a NUL.
fn order(one: &[u8], other: &[u8]) -> Ordering {
    let mapped = |&byte: &u8| if byte == b'/' { 0 } else { byte };
    one.iter().map(mapped).cmp(other.iter().map(mapped))
}

/// Returns whether a name lies below another; the empty one is the root's.
fn is_below(name: &[u8], above: &[u8]) -> bool {
    above.is_empty() || name.strip_prefix(above).is_some_and(|rest| rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> NameList {
        let text = NameListText { bytes: text.into(), separator: Separator::Line };
        NameList::parse(&text, NameForm::Path, Missing::Fails).unwrap()
    }

    fn key(text: &str) -> Key {
        Key::new(text.as_bytes())
    }

    fn names_in(list: &NameList, directory: &str) -> Vec<String> {
        let directory = key(directory);
        let names = list.names_in(&directory);
        names.map(|name| String::from_utf8(name.to_owned()).unwrap()).collect()
    }

    #[test]
    fn names_are_paths_below_the_root() {
        let list = list("./a\n/b//c\n# no\n; no\n\nd/./e/\r\n./#f\na\n");
        for taken in ["", "a", "b/", "b/c", "d/", "d/e", "d/e/", "d/e/x/y", "#f"] {
            assert!(list.takes(&key(taken)), "{taken}");
        }
        for other in ["b", "b/d", "d", "d/f", "ab", "d/e-x", "# no"] {
            assert!(!list.takes(&key(other)), "{other}");
        }
        assert!(!list.covers(&key("b/")) && list.covers(&key("b/c/")));
    }

    #[test]
    fn a_name_that_leads_out_of_the_root_is_refused() {
        let parse = |bytes: &[u8], separator| {
            let text = NameListText { bytes: bytes.to_owned(), separator };
            NameList::parse(&text, NameForm::Path, Missing::Fails)
        };
        let error = parse(b"a\nb/../../c\n", Separator::Line).unwrap_err();
        assert_eq!(error.to_string(), "the name \"b/../../c\" holds \"..\"");
        assert!(parse(b"a\0b\n", Separator::Line).is_err());
        let list = parse(b"a\nb\0#c\0", Separator::Nul).unwrap();
        assert!(list.covers(&key("a\nb")) && list.covers(&key("#c")));
    }

    #[test]
    fn the_names_of_a_directory_come_once_each() {
        let list = list("d/b/x\nd/b\nd/b-c\nd/b/y\nd\ne/\ne/f\nd-e\n");
        assert_eq!(names_in(&list, ""), ["d", "d-e", "e"]);
        assert_eq!(names_in(&list, "d/"), ["b", "b-c"]);
        assert_eq!(names_in(&list, "d/b/"), ["x", "y"]);
        assert_eq!(names_in(&list, "d-e/"), [""; 0]);
        assert_eq!(list.extent(&key("d/")), Extent::Part);
        assert_eq!(list.extent(&key("e/f/")), Extent::Whole);
        assert_eq!(list.extent(&key("f/")), Extent::Nothing);
    }

    #[test]
    fn the_whole_root_can_be_listed() {
        for whole in ["/", "./", "a\n.//\n"] {
            assert!(list(whole).covers(&key("x/y")), "{whole}");
        }
        assert!(!list(".").covers(&key("x")));
        assert_eq!(names_in(&list(".\na/b"), ""), ["a"]);
    }

    #[test]
    fn the_keys_of_names_come_in_byte_order() {
        let keys = |list: &NameList, form| {
            let keys = list.keys(form).into_iter();
            keys.map(|(key, whole)| format!("{key}{}", if whole { "*" } else { "" }))
                .collect::<Vec<_>>()
        };
        let list = list("a/x\na/y/\na-b\n");
        let expected = [".", "a", "a-b", "a-b/", "a/", "a/x", "a/x/", "a/y", "a/y/*"];
        assert_eq!(keys(&list, NameForm::Path), expected);
        assert_eq!(keys(&list, NameForm::Key), ["a-b", "a/x", "a/y/*"]);
    }

    #[test]
    fn a_key_and_the_directory_of_its_name_are_both_listed() {
        for text in ["d/\nd\nd/a\n", "d\nd/\n"] {
            let keys = list(text).keys(NameForm::Key);
            assert_eq!(keys, [(key("d"), false), (key("d/"), true)], "{text}");
        }
    }
}
