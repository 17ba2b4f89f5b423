//! Hard links of two sides: which names of one file are names of one file on the other side, too.

use crate::model::{Error, ErrorKind, GroupId, Key};
use crate::spool::{Sorter, push_key, split_key};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Bytes that are sorted in memory, for each of both sides; the rest goes to disk.
const MEMORY: usize = 1 << 20;

/// The names that have others, on one of two sides.
pub(super) struct LinkGroups {
    /// By the files of each side: the names, with the file that each is of on the other side.
    sides: [Sorter; 2],
}

/// How names of one file on one side are files on the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Torn {
    /// Of one file on the first side, of several on the second.
    Apart,
    /// Of several files on the first side, of one on the second.
    Joined,
}

impl Torn {
    /// Returns what is reported.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Apart => "hard links -> separate files",
            Self::Joined => "separate files -> hard links",
        }
    }
}

impl LinkGroups {
    /// Makes an empty collection that sorts in `dir` what doesn't fit in memory.
    pub(super) fn new(dir: &Path) -> Self {
        let dir: Arc<Path> = dir.into();
        Self { sides: [0, 1].map(|_| Sorter::new(Arc::clone(&dir), MEMORY)) }
    }

    /// Adds a name that both sides have, with the files that it is one of several names of.
    ///
    /// # Errors
    /// Fails if the spool can't be written.
    pub(super) fn add(&mut self, key: &Key, files: [Option<GroupId>; 2]) -> Result<(), Error> {
        for (side, sorter) in self.sides.iter_mut().enumerate() {
            let Some(file) = files[side] else { continue };
            let mut record = file.0.to_be_bytes().to_vec();
            push_key(&mut record, key.as_bytes());
            let other = files[1 - side];
            record.push(u8::from(other.is_some()));
            record.extend_from_slice(&other.map_or(0, |other| other.0).to_be_bytes());
            sorter.push(&record).map_err(unusable)?;
        }
        Ok(())
    }

    /// Calls `report` with each name that isn't of one file with the others on one side alone.
    ///
    /// # Errors
    /// Fails if the spool can't be read.
    pub(super) fn finish(self, mut report: impl FnMut(&Key, Torn)) -> Result<(), Error> {
        for (sorter, torn) in self.sides.into_iter().zip([Torn::Apart, Torn::Joined]) {
            let mut sorted = sorter.finish().map_err(unusable)?;
            let mut first: Option<First> = None;
            while let Some(record) = sorted.next().map_err(unusable)? {
                let name = Name::decode(record).ok_or_else(damaged)?;
                match first.as_mut().filter(|first| first.name.file == name.file) {
                    Some(first) if name.other.is_none() || name.other != first.name.other => {
                        if !std::mem::replace(&mut first.is_reported, true) {
                            report(&first.name.key, torn);
                        }
                        report(&name.key, torn);
                    }
                    Some(_) => {}
                    None => first = Some(First { name, is_reported: false }),
                }
            }
        }
        Ok(())
    }
}

/// The first name of a file.
struct First {
    name: Name,
    is_reported: bool,
}

/// A name, the file that it is of, and the one that it is of on the other side, if that has others.
struct Name {
    file: u64,
    key: Key,
    other: Option<u64>,
}

impl Name {
    fn decode(record: &[u8]) -> Option<Self> {
        let (file, rest) = record.split_first_chunk::<8>()?;
        let (key, rest) = split_key(rest)?;
        let (&has_others, other) = rest.split_first()?;
        let other = u64::from_be_bytes(other.try_into().ok()?);
        let file = u64::from_be_bytes(*file);
        Some(Self { file, key: Key::new(key), other: (has_others == 1).then_some(other) })
    }
}

fn unusable(error: io::Error) -> Error {
    Error::new(ErrorKind::Unusable, "cannot sort the names of hard links").because(error)
}

fn damaged() -> Error {
    Error::new(ErrorKind::Unusable, "a spool file of this run was damaged")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_of_one_file_on_one_side_alone_are_reported() {
        let directory = tempfile::tempdir().unwrap();
        let mut groups = LinkGroups::new(directory.path());
        let mut add = |key: &str, one: u64, other: u64| {
            let files = [one, other].map(|file| (file > 0).then_some(GroupId(file)));
            groups.add(&Key::new(key.as_bytes()), files).unwrap();
        };
        // The same, with other names elsewhere on one side.
        for (key, one, other) in [("a", 1, 9), ("b", 1, 9), ("alone", 7, 0)] {
            add(key, one, other);
        }
        for (key, one, other) in [("c", 2, 0), ("d", 2, 0), ("e", 3, 8), ("f", 3, 8), ("g", 3, 0)] {
            add(key, one, other);
        }
        for (key, one, other) in [("h", 0, 5), ("i", 0, 5)] {
            add(key, one, other);
        }
        let mut reported = Vec::new();
        groups.finish(|key, torn| reported.push((key.to_string(), torn))).unwrap();
        let of = |torn, keys: &[&str]| keys.iter().map(|key| ((*key).to_owned(), torn)).collect();
        let mut expected: Vec<_> = of(Torn::Apart, &["c", "d", "e", "g"]);
        expected.extend::<Vec<_>>(of(Torn::Joined, &["h", "i"]));
        assert_eq!(reported, expected);
    }
}
