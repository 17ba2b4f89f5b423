//! Stores that were seen to list in an order of their own, remembered in the state directory.
//!
//! Whether a store lists in byte order shows only as far as its pages came. Where it shows late, what
//! was listed before was handed on already, and the run can't go back: the next one is told by a
//! small file, and sorts the listing before it looks at it.

use super::s3::S3;
use crate::model::key::Escaped;
use crate::model::{Cause, Digest};
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

/// The directory below the state directory.
const DIRECTORY: &str = "unordered";

/// Where stores of their own order are remembered.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    /// The state directory.
    pub(super) state_dir: PathBuf,
    /// Whether anything new is written down.
    pub(super) learns: bool,
}

/// What is remembered of one store.
pub(super) struct Order {
    name: String,
    file: PathBuf,
    learns: bool,
}

impl Order {
    /// Of a bucket's store: one that has no endpoint of its own may have buckets of both kinds.
    pub(super) fn of(store: &S3, Memory { state_dir, learns }: Memory) -> Self {
        let name = store.config().endpoint.clone().unwrap_or_else(|| store.name());
        let file = &Digest::of(name.as_bytes()).to_string()[..16];
        let file = state_dir.join(DIRECTORY).join(file);
        Self { name, file, learns }
    }

    /// Whether the store is known to list in an order of its own.
    pub(super) fn is_own(&self) -> bool {
        self.file.exists()
    }

    /// Takes note that the store listed `key` too late; the cause of what that means for this run.
    pub(super) fn learn(&self, key: &[u8]) -> Cause {
        let what = format!(
            "the store listed \"{}\" out of order: its order is not that of bytes",
            Escaped(key)
        );
        Cause::Other(if !self.learns {
            format!("{what}; the first run that is no dry run takes note of it")
        } else if let Err(error) = self.write() {
            format!("{what}, and that could not be noted for the next run: {error}")
        } else {
            format!("{what}; this is noted now: run again, and what it lists is sorted first")
        })
    }

    fn write(&self) -> io::Result<()> {
        if let Some(directory) = self.file.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let mut options = OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o600).open(&self.file)?;
        file.write_all(self.name.as_bytes())
    }
}
