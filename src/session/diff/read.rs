//! Reading of files without a known digest.

use super::entry::{SideEntry, is_undecided};
use super::join::Joined;
use crate::backend::Source;
use crate::engine::{BUFFER, Cores, ReadSide, Wanted};
use crate::model::{Cause, Digest, EntryError, Progress, Stop, Which};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Reads content of both sides.
pub(super) struct Reader<'a> {
    /// The sides that can be read, with the bandwidth limit applied.
    pub(super) sources: [Option<&'a dyn Source>; 2],
    /// Files read at the same time, at least 1.
    pub(super) checkers: usize,
    pub(super) cores: Cores,
    pub(super) progress: &'a Progress,
    pub(super) stop: &'a Stop,
}

impl Reader<'_> {
    /// Reads files to add the digests that decide. A file that can't be read becomes a failure; one
    /// that was not read before the run was stopped is left out.
    pub(super) fn read(&self, batch: Vec<Joined>) -> Vec<Joined> {
        let is_undecided = |joined: &Joined| match joined {
            Joined::Both(a, b) => is_undecided(a, b),
            _ => false,
        };
        let undecided = batch.iter().filter(|joined| is_undecided(joined)).count();
        let joined: Vec<_> = batch.into_iter().map(|joined| Mutex::new(Some(joined))).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut buffer = vec![0; BUFFER];
            while let Some(slot) = joined.get(next.fetch_add(1, Ordering::Relaxed)) {
                // Each index is handed out once, so the lock is free.
                let mut slot = slot.lock();
                if let Some(Joined::Both(a, b)) = &mut *slot
                    && super::entry::is_undecided(a, b)
                    && let Err((which, error)) = self.decide(a, b, &mut buffer)
                {
                    *slot = match error.cause {
                        Cause::Stopped => None,
                        _ => Some(Joined::Failed(which, error)),
                    };
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.checkers.min(undecided) {
                scope.spawn(work);
            }
            if undecided > 0 {
                work();
            }
        });
        let joined = joined.into_iter();
        joined.filter_map(Mutex::into_inner).collect()
    }

    /// Reads the side that lacks a digest, or both, if that decides.
    fn decide(
        &self,
        a: &mut SideEntry,
        b: &mut SideEntry,
        buffer: &mut [u8],
    ) -> Result<(), (Which, EntryError)> {
        let can_be_known = |of: &SideEntry, side: usize| {
            of.entry.content().1.is_some() || of.listed.is_some() && self.sources[side].is_some()
        };
        if !can_be_known(a, 0) || !can_be_known(b, 1) {
            return Ok(());
        }
        self.hash(Which::A, a, b.entry.content().1, buffer).map_err(|error| (Which::A, error))?;
        self.hash(Which::B, b, a.entry.content().1, buffer).map_err(|error| (Which::B, error))?;
        Ok(())
    }

    /// Hashes one side's content if its digest is unknown. Data from a store may be damaged in
    /// transit: if it differs from `other`, it is read again.
    fn hash(
        &self,
        which: Which,
        side: &mut SideEntry,
        other: Option<Digest>,
        buffer: &mut [u8],
    ) -> Result<(), EntryError> {
        let source = self.sources[which as usize];
        let (None, Some(entry), Some(source)) = (side.entry.content().1, &side.listed, source)
        else {
            return Ok(());
        };
        let pass = |_| if self.stop.requested() { Err(Cause::Stopped) } else { Ok(()) };
        let bytes = &self.progress.bytes_hashed;
        let mut hash = || {
            let from = ReadSide::source(source);
            self.cores.hash_content(from, entry, buffer, bytes, &pass, Wanted::default())
        };
        let (_, mut hashed) = hash()?;
        if source.capabilities().remote && other.is_some_and(|other| other != hashed.digest) {
            (_, hashed) = hash()?;
        }
        side.entry.digest = Some(hashed.digest);
        side.is_read = true;
        Ok(())
    }
}
