//! Keeping what a run replaces or removes: the store copies it to another prefix of its bucket.

use super::cause::refused;
use super::prefix::BucketPrefix;
use crate::backend::{Precondition, ReadError};
use crate::model::reserved::is_in_directory;
use crate::model::{Cause, Entry, EntryKind, Key, Notice, Stamp};
use std::sync::atomic::{AtomicU64, Ordering};

/// The most copies at the same time that one removal of many objects waits for.
const COPIES: usize = 16;

/// Where a run keeps what it replaces or removes: each object under its key, behind this prefix.
pub struct ObjectBackup {
    to: BucketPrefix,
    kept: AtomicU64,
}

impl ObjectBackup {
    /// Makes a backup in a prefix of the target's bucket, which no other run uses.
    pub fn new(to: BucketPrefix) -> Self {
        Self { to, kept: AtomicU64::new(0) }
    }

    /// Returns the notice of what was kept, if anything was.
    pub(super) fn notice(&self) -> Option<Notice> {
        let count = self.kept.load(Ordering::Relaxed);
        (count > 0).then(|| Notice::BackupKept { directory: self.to.name(), count })
    }

    /// Keeps the object that is about to be replaced, whatever version it is, if there is one.
    pub(super) fn keep_replaced(
        &self,
        from: &BucketPrefix,
        key: &Key,
        precondition: Precondition,
    ) -> Result<(), Cause> {
        if matches!(precondition, Precondition::Absent | Precondition::EmptyDirectory) {
            return Ok(());
        }
        self.keep_version(from, key)
    }

    /// Keeps the object at a key as it is now, if there is one.
    pub(super) fn keep_version(&self, from: &BucketPrefix, key: &Key) -> Result<(), Cause> {
        let head = from.store.head(&from.object_key(key)?).map_err(refused)?;
        let Some(head) = head else { return Ok(()) };
        let stamp = Stamp::of_object(head.size, head.etag);
        self.keep(from, &from.listed(key.clone(), EntryKind::File, stamp, head.modified))
    }

    /// Keeps a listed object, if it is still that version.
    pub(super) fn keep(&self, from: &BucketPrefix, entry: &Entry) -> Result<(), Cause> {
        // What is vidimus's own is no content.
        if is_in_directory(entry.key.as_bytes()) {
            return Ok(());
        }
        match self.to.copy(from, entry, &entry.key, Precondition::Absent) {
            Ok(Some(_)) => {
                let is_leaf = entry.kind != EntryKind::Directory;
                self.kept.fetch_add(u64::from(is_leaf), Ordering::Relaxed);
                Ok(())
            }
            Ok(None) => {
                Err(Cause::Other("the store does not copy it, so that it can't be kept".to_owned()))
            }
            Err(ReadError::Source(Cause::Vanished)) => Ok(()),
            // An attempt before this one copied it.
            Err(ReadError::Sink(Cause::NameTaken)) if self.has(entry)? => Ok(()),
            Err(ReadError::Changed) => Err(Cause::TargetChanged),
            Err(ReadError::Source(cause) | ReadError::Damaged(cause) | ReadError::Sink(cause)) => {
                Err(cause)
            }
        }
    }

    /// Keeps listed objects, several at a time; returns the result of each.
    pub(super) fn keep_all(
        &self,
        from: &BucketPrefix,
        entries: &[&Entry],
    ) -> Vec<Result<(), Cause>> {
        let length = entries.len().div_ceil(COPIES).max(1);
        std::thread::scope(|scope| {
            let copying: Vec<_> = entries
                .chunks(length)
                .map(|chunk| {
                    let keep =
                        || chunk.iter().map(|entry| self.keep(from, entry)).collect::<Vec<_>>();
                    (chunk.len(), scope.spawn(keep))
                })
                .collect();
            let broken = || Err(Cause::Other("a thread that copies broke down".to_owned()));
            let results = copying.into_iter().map(|(length, thread)| {
                let kept: Vec<_> = thread
                    .join()
                    .unwrap_or_else(|_| std::iter::repeat_with(broken).take(length).collect());
                kept
            });
            results.flatten().collect()
        })
    }

    /// Returns whether a version of an object is kept already.
    fn has(&self, entry: &Entry) -> Result<bool, Cause> {
        let kept = self.to.store.head(&self.to.object_key(&entry.key)?).map_err(refused)?;
        let (size, tag) = (entry.stamp.size, entry.stamp.tag());
        Ok(kept.is_some_and(|kept| kept.size == size && tag.is_some() && kept.etag == tag))
    }
}
