//! Deviations in how stores list, remembered in the state directory.
//!
//! Whether a store lists in byte order shows only page by page. If a deviation shows late, earlier
//! entries were already passed on, and the run can't start over: a small file makes the next run
//! sort the whole listing first. If a store loses keys in listings that begin in the middle, this
//! run still gets all keys, and later runs don't try again.

use super::BucketId;
use crate::model::key::Escaped;
use crate::model::notice::Remembered;
use crate::model::{Cause, Digest, Notice};
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A deviation in how a store lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    /// It lists in another order than byte order.
    OwnOrder,
    /// It omits keys from listings that begin after a key (`start-after`).
    LosesKeys,
}

impl Habit {
    /// Returns the directory in the state directory that has one file for each such store.
    fn directory(self) -> &'static str {
        match self {
            Self::OwnOrder => "unordered",
            Self::LosesKeys => "unsplit",
        }
    }
}

/// Where deviations are remembered.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    /// The state directory.
    pub(super) state_dir: PathBuf,
    /// Whether new deviations are recorded.
    pub(super) records: bool,
}

/// What is remembered about one store.
pub(super) struct Habits {
    name: String,
    memory: Memory,
}

impl Habits {
    /// Returns what is remembered about a bucket's store. Without an endpoint each bucket is
    /// treated separately, because AWS has buckets of both kinds.
    pub(super) fn of(bucket: &BucketId, memory: Memory) -> Self {
        let name = bucket.endpoint.clone().unwrap_or_else(|| bucket.to_string());
        Self { name, memory }
    }

    /// Returns whether the store is known to deviate like this.
    pub(super) fn has(&self, habit: Habit) -> bool {
        self.file(habit).exists()
    }

    /// Records that the store listed `key` out of order, and returns the cause that ends this
    /// listing.
    pub(super) fn record_order(&self, key: &[u8]) -> Cause {
        let what = out_of_order(key);
        Cause::Other(match self.record(Habit::OwnOrder) {
            Ok(true) => {
                format!(
                    "{what}; this is now recorded: run again, and its listings are sorted first"
                )
            }
            Ok(false) => format!("{what}; a run that is not a dry run records that"),
            Err(error) => {
                format!("{what}, and that could not be recorded for the next run: {error}")
            }
        })
    }

    /// Records that the store omitted keys, and returns the notice.
    pub(super) fn record_losses(&self) -> Notice {
        let next = match self.record(Habit::LosesKeys) {
            Ok(true) => Remembered::Yes,
            Ok(false) => Remembered::No,
            Err(error) => Remembered::Failed(error.to_string()),
        };
        Notice::KeysLostInListing { store: self.name.clone(), next }
    }

    /// Records a deviation; returns false if nothing new is to be recorded.
    fn record(&self, habit: Habit) -> io::Result<bool> {
        if !self.memory.records {
            return Ok(false);
        }
        let file = self.file(habit);
        if let Some(directory) = file.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&file)?;
        file.write_all(self.name.as_bytes())?;
        Ok(true)
    }

    fn file(&self, habit: Habit) -> PathBuf {
        let name = &Digest::of(self.name.as_bytes()).to_string()[..16];
        Path::new(&self.memory.state_dir).join(habit.directory()).join(name)
    }
}

/// Formats the error for a store that listed `key` out of order.
pub(super) fn out_of_order(key: &[u8]) -> String {
    format!("the store listed \"{}\" out of order: not by the bytes of its keys", Escaped(key))
}
