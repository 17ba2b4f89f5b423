//! What was seen of how a store lists, remembered in the state directory.
//!
//! Whether a store lists in byte order shows only as far as its pages came. Where it shows late, what
//! was listed before was handed on already, and the run can't go back: the next one is told by a
//! small file, and sorts the listing before it looks at it. Where a store loses keys of listings that
//! begin in the middle, the run gets all of them all the same; the next ones don't try again.

use super::BucketId;
use crate::model::key::Escaped;
use crate::model::{Cause, Digest};
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// How a store lists, otherwise than stores mostly do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    /// In an order of its own.
    OwnOrder,
    /// With keys missing where a listing begins behind a key (`start-after`).
    LosesKeys,
}

impl Habit {
    /// The directory below the state directory that has a file for each such store.
    fn directory(self) -> &'static str {
        match self {
            Self::OwnOrder => "unordered",
            Self::LosesKeys => "unsplit",
        }
    }
}

/// Where habits are remembered.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    /// The state directory.
    pub(super) state_dir: PathBuf,
    /// Whether anything new is written down.
    pub(super) learns: bool,
}

/// What is remembered of one store.
pub(super) struct Habits {
    name: String,
    memory: Memory,
}

impl Habits {
    /// Of a bucket's store: one that has no endpoint of its own may have buckets of both kinds.
    pub(super) fn of(bucket: &BucketId, memory: Memory) -> Self {
        let name = bucket.endpoint.clone().unwrap_or_else(|| bucket.to_string());
        Self { name, memory }
    }

    /// Whether the store is known to list so.
    pub(super) fn has(&self, habit: Habit) -> bool {
        self.file(habit).exists()
    }

    /// Takes note that the store listed `key` too late; the cause of what that means for this run.
    pub(super) fn learn_order(&self, key: &[u8]) -> Cause {
        let what = out_of_order(key);
        Cause::Other(match self.learn(Habit::OwnOrder) {
            Ok(true) => {
                format!("{what}; this is noted now: run again, and what it lists is sorted first")
            }
            Ok(false) => format!("{what}; the first run that is no dry run takes note of it"),
            Err(error) => {
                format!("{what}, and that could not be noted for the next run: {error}")
            }
        })
    }

    /// Takes note that the store left keys out; what to tell of it.
    pub(super) fn learn_losses(&self) -> String {
        let what = format!(
            "the store {} leaves out keys where a listing begins behind a key (start-after): this \
             run listed it whole instead",
            self.name
        );
        match self.learn(Habit::LosesKeys) {
            Ok(true) => format!("{what}, and so will later ones"),
            Ok(false) => what,
            Err(error) => {
                format!("{what}, and that could not be noted for the next run: {error}")
            }
        }
    }

    /// Writes a habit down; false where nothing new is to be.
    fn learn(&self, habit: Habit) -> io::Result<bool> {
        if !self.memory.learns {
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

/// What it means that a store listed `key` too late.
pub(super) fn out_of_order(key: &[u8]) -> String {
    format!("the store listed \"{}\" out of order: its order is not that of bytes", Escaped(key))
}
