//! Ignore files of the source's directories.

use super::look::Walk;
use crate::backend::local::beneath::Directory;
use crate::backend::local::metadata::{kind_of, look_at};
use crate::filter::{IGNORE_FILE, IgnoreRules, LARGEST_IGNORE_FILE};
use crate::model::error::Side;
use crate::model::{Cause, EntryError, EntryKind, Key};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;

impl Walk {
    /// Returns the rules of ignore files for what is in a directory: those `above` it, and over
    /// them those of its own.
    ///
    /// # Errors
    /// Fails if it has an ignore file that can't be read: then nothing is known of what it holds.
    pub(super) fn ignore_rules(
        &self,
        directory: &Directory,
        key: &Key,
        above: Option<&Arc<IgnoreRules>>,
    ) -> Result<Option<Arc<IgnoreRules>>, EntryError> {
        if self.side == Side::Target || !self.filter.directories().ignore_files {
            return Ok(None);
        }
        let fail = |cause| self.failure(key.clone(), cause);
        match ignore_file(directory).map_err(fail)? {
            None => Ok(above.cloned()),
            Some(text) => IgnoreRules::parse(key, &text, above, &self.filter)
                .map(|rules| Some(Arc::new(rules)))
                .map_err(|error| fail(Cause::Other(error.to_string()))),
        }
    }
}

/// Reads the ignore file of a directory, if it has one. What isn't a regular file is none.
fn ignore_file(directory: &Directory) -> Result<Option<Vec<u8>>, Cause> {
    let why = |what: &dyn std::fmt::Display| Cause::Other(format!("its {IGNORE_FILE} {what}"));
    let unread = |error: Errno| why(&format_args!("can't be read: {error}"));
    match look_at(directory, IGNORE_FILE.as_bytes()) {
        Ok(found) if kind_of(&found) == EntryKind::File => {}
        Ok(_) | Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(unread(error)),
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(directory, IGNORE_FILE, flags, Mode::empty()).map_err(unread)?;
    let mut text = Vec::new();
    let read = File::from(file).take(LARGEST_IGNORE_FILE + 1).read_to_end(&mut text);
    let read = read.map_err(|error| why(&format_args!("can't be read: {error}")))?;
    if read as u64 > LARGEST_IGNORE_FILE {
        return Err(why(&format_args!("has more than {LARGEST_IGNORE_FILE} bytes")));
    }
    Ok(Some(text))
}
