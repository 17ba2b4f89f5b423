//! Reading and sorting of a list of digests.

use crate::manifest::list::{ListFormat, Listed, read_line};
use crate::model::hint::hint;
use crate::model::reserved::is_reserved;
use crate::model::{Error, ErrorKind, Key, Setting, Stop};
use crate::session::input::Input;
use crate::spool::{Sorted, Sorter};
use crate::verify::VerifyTotals;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;

/// Maximum length of a line in bytes: a path has at most 4096, each of which may be escaped.
const LONGEST_LINE: u64 = 64 << 10;
/// Some editors begin UTF-8 text with this; it is ignored.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// Memory for sorting a list, in bytes; the rest goes to disk.
const SORTING: usize = 32 << 20;

/// A list of digests to read.
pub struct DigestList {
    /// The stream to read it from.
    pub list: Box<dyn Read + Send>,
    /// Its name in messages.
    pub name: String,
}

/// A list, sorted by key.
pub(super) struct SortedList {
    pub(super) lines: Sorted,
    /// Lines that name reserved keys, which are never part of a mirror.
    pub(super) left_out: u64,
}

/// Reads a list, in any order, and sorts it.
pub(super) fn sort(
    format: ListFormat,
    list: DigestList,
    spool_dir: &Path,
    stop: &Stop,
) -> Result<SortedList, Error> {
    let DigestList { list, name } = list;
    let unreadable = |error: io::Error| {
        Error::new(ErrorKind::Unusable, format!("cannot read {name}")).because(error)
    };
    let mut list = BufReader::new(Input::new(list, stop).map_err(unreadable)?);
    let mut sorter = Sorter::new(spool_dir, SORTING);
    let (mut line, mut record) = (Vec::new(), Vec::new());
    let (mut number, mut left_out) = (0_u64, 0);
    while !stop.requested() {
        line.clear();
        let length = match list.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Err(_) if stop.requested() => break,
            length => length.map_err(unreadable)?,
        };
        if length == 0 {
            break;
        }
        number += 1;
        if number == 1 && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        let is_whole = line.pop_if(|last| *last == b'\n').is_some();
        let wrong = |why: &str| {
            Error::new(ErrorKind::Usage, format!("line {number} of {name}: {why}")).help(hint![
                "see ",
                Setting::Format,
                "; names are relative to the target"
            ])
        };
        if !is_whole && line.len() as u64 == LONGEST_LINE {
            return Err(wrong("it is longer than any name can be"));
        }
        let Some(Listed { key, digest }) = read_line(format, &line).map_err(wrong)? else {
            continue;
        };
        if is_reserved(&key) {
            left_out += 1;
            continue;
        }
        record.clear();
        record.extend_from_slice(key.as_bytes());
        // A list's keys never contain NUL, so that records sort by key.
        record.push(0);
        record.extend_from_slice(&digest);
        sorter.push(&record).map_err(cannot_sort)?;
    }
    let lines = sorter.finish().map_err(cannot_sort)?;
    if lines.remaining() == 0 && !stop.requested() {
        return Err(Error::new(ErrorKind::Usage, format!("{name} does not name any file"))
            .help("did the command that made it fail?"));
    }
    Ok(SortedList { lines, left_out })
}

fn cannot_sort(error: io::Error) -> Error {
    Error::new(ErrorKind::Unusable, "cannot sort the list").because(error)
}

/// Returns the next line of a sorted list.
fn next_listed(sorted: &mut Sorted) -> Result<Option<Listed>, Error> {
    let Some(record) = sorted.next().map_err(cannot_sort)? else { return Ok(None) };
    let listed = record.split_last_chunk::<32>().and_then(|(key, digest)| {
        Some(Listed { key: Key::new(key.strip_suffix(b"\0")?), digest: *digest })
    });
    listed.map(Some).ok_or_else(|| cannot_sort(io::ErrorKind::InvalidData.into()))
}

/// Returns the next file of the list, skipping repetitions of the last one.
pub(super) fn next_file(
    listed: &mut Sorted,
    last: Option<&Listed>,
    totals: &mut VerifyTotals,
) -> Result<Option<Listed>, Error> {
    while let Some(next) = next_listed(listed)? {
        match last {
            Some(last) if last.key == next.key && last.digest == next.digest => {}
            Some(last) if last.key == next.key => {
                let message = format!("the list has two digests of \"{}\"", next.key);
                return Err(Error::new(ErrorKind::Usage, message)
                    .help("remove the wrong one; nothing was imported"));
            }
            _ => {
                totals.entries += 1;
                return Ok(Some(next));
            }
        }
    }
    Ok(None)
}
