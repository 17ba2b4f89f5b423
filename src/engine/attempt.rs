//! One attempt to copy a file: each chunk is hashed and written as it is read.

use super::copying::{Copying, in_flight, is_shown, show};
use super::hash::{Hashed, Hasher, part_for};
use super::holes::Holes;
use super::{Context, now};
use crate::backend::{
    Facts, Piece, Precondition, ReadError, Reading, Stage, StageDirectory, Staged,
};
use crate::manifest::Row;
use crate::model::entry::LONGEST_LINK;
use crate::model::{Cause, Digest, Entry, EntryKind, ExtraDigests, Feature, Features};
use std::sync::atomic::{AtomicU64, Ordering};

/// How a copy ended.
pub(super) enum Copied {
    /// Written, not yet recorded.
    Staged(Box<dyn Staged>),
    /// Not written: the target has this content already.
    Same,
    /// The object is a symbolic link, whose text is in the entry.
    Link,
}

/// The result of an attempt that succeeded.
pub(super) struct Done {
    pub(super) copied: Copied,
    /// The digests of its content.
    pub(super) hashed: Hashed,
    /// The entry with the metadata that reading returned, where the listing was incomplete.
    pub(super) read_entry: Option<Entry>,
    /// Features of the source's file that the copy lacks.
    pub(super) lost: Features,
}

/// One attempt to copy a file.
pub(super) struct Attempt<'w, 'a> {
    pub(super) context: &'w Context<'a>,
    pub(super) slot: usize,
    /// The directory that is being built, if one is.
    pub(super) building: Option<&'w dyn StageDirectory>,
    pub(super) precondition: Precondition,
    /// The target's file, if there is one.
    pub(super) target: Option<&'w Entry>,
    /// The row of an earlier run.
    pub(super) row: Option<&'w Row>,
    /// The digest of the target's file: the same content is not written again.
    pub(super) unless: Option<Digest>,
}

impl Attempt<'_, '_> {
    /// Copies the file that was listed as `entry`; `buffer` is for reading.
    pub(super) fn run(&self, entry: &Entry, buffer: &mut [u8]) -> Result<Done, ReadError> {
        let context = self.context;
        let mut so_far = Copying {
            began: now(),
            digest: None,
            extra: ExtraDigests::default(),
            stage: None,
            done: 0,
            skipped: 0,
            facts: None,
            read_entry: None,
            link: None,
            lost: Features::default(),
            fault: None,
            purpose: context.purpose,
        };
        let read = match self.read_ranges(entry, buffer, &mut so_far) {
            Ok(false) => self.read_in_order(entry, buffer, &mut so_far),
            read => read.map(|_| ()),
        };
        let read = match so_far.fault.take() {
            Some(fault) => Err(ReadError::Source(fault)),
            None => read,
        };
        if is_shown(entry) {
            show(context, self.slot, None);
        }
        match read.and_then(|()| self.finish(entry, &mut so_far)) {
            Ok((copied, digest)) => {
                let racy = entry.stamp.is_racy(so_far.began);
                let extra = so_far.extra;
                let hashed = Hashed { digest, extra, racy, is_tagged: false, object_info: None };
                context.progress.settled.bytes_unmoved.add(so_far.skipped);
                let kept =
                    if self.keeps_holes() { Feature::Holes.into() } else { Features::default() };
                let lost = so_far.lost.without(kept);
                Ok(Done { copied, hashed, read_entry: so_far.read_entry, lost })
            }
            Err(error) => {
                context.progress.bytes_moved.sub(so_far.done);
                Err(error)
            }
        }
    }

    fn read_in_order(
        &self,
        entry: &Entry,
        buffer: &mut [u8],
        so_far: &mut Copying,
    ) -> Result<(), ReadError> {
        let context = self.context;
        let mut hasher = context.cores.hasher(context.policy.options.digests);
        let buffer = part_for(buffer, entry.size());
        context.source.read(entry, buffer, &mut |reading| match reading {
            Reading::Opened(file) => {
                so_far.inspect(entry, || file.inspect());
                Ok(())
            }
            Reading::Content(piece) => self.take(entry, piece, &mut hasher, so_far),
            Reading::Facts(facts) => {
                so_far.set_facts(entry, facts);
                Ok(())
            }
        })?;
        so_far.digest.get_or_insert_with(|| hasher.finalize());
        so_far.extra = hasher.extra.finish();
        Ok(())
    }

    /// Copies the file in ranges that several threads read, hash and write, if both sides support
    /// that; returns whether it did.
    fn read_ranges(
        &self,
        entry: &Entry,
        buffer: &mut [u8],
        so_far: &mut Copying,
    ) -> Result<bool, ReadError> {
        let (context, slot) = (self.context, self.slot);
        let (source, target) = (context.source.capabilities(), context.target.capabilities());
        // Content that takes long to come is written out of order at any price.
        let takes_ranges = target.writes_anywhere && (source.remote || target.holes);
        // Digests other than BLAKE3 need content in order.
        if !takes_ranges || context.policy.options.digests.any() {
            return Ok(false);
        }
        let Some(ranges) = context.source.read_ranges(entry)? else { return Ok(false) };
        match ranges.facts() {
            Some(facts) if facts.kind == EntryKind::File => {
                so_far.set_facts(entry, Box::new(facts.clone()));
            }
            Some(_) => return Ok(false),
            None => {}
        }
        if let Some(inspected) = ranges.inspect() {
            so_far.inspect(entry, || inspected);
        }
        let stage = so_far.stage.insert(self.stage(entry).map_err(ReadError::Sink)?);
        let Some(anywhere) = stage.anywhere() else { return Ok(false) };
        let (done, skipped) = (AtomicU64::new(0), AtomicU64::new(0));
        let holes = self.holes();
        let put = &|offset, piece: Piece<'_>| {
            match piece {
                Piece::Chunk(chunk) => anywhere.write_at(offset, chunk)?,
                Piece::Hole(bytes) => anywhere.skip_at(offset, bytes)?,
            }
            context.progress.bytes_moved.add(piece.stored());
            done.fetch_add(piece.stored(), Ordering::Relaxed);
            skipped.fetch_add(piece.size() - piece.stored(), Ordering::Relaxed);
            Ok(())
        };
        let take = |offset, piece: Piece<'_>| {
            check_stop(context)?;
            holes.split(offset, piece, &mut &*put)?;
            let so_far = done.load(Ordering::Relaxed) + skipped.load(Ordering::Relaxed);
            show(context, slot, Some(in_flight(entry, so_far)));
            Ok(())
        };
        let digest = context.cores.hash_ranges(&*ranges, entry.stamp.size, buffer, &take);
        (so_far.done, so_far.skipped) = (done.into_inner(), skipped.into_inner());
        so_far.digest = Some(digest?);
        Ok(true)
    }

    fn stage(&self, entry: &Entry) -> Result<Box<dyn Stage>, Cause> {
        match self.building {
            Some(directory) => directory.stage(entry),
            None => self.context.target.stage(entry, self.precondition),
        }
    }

    fn take(
        &self,
        entry: &Entry,
        piece: Piece<'_>,
        hasher: &mut Hasher<'_>,
        so_far: &mut Copying,
    ) -> Result<(), Cause> {
        let context = self.context;
        check_stop(context)?;
        let entry = so_far.read_entry.as_ref().unwrap_or(entry);
        if entry.kind == EntryKind::Symlink && entry.stamp.size > LONGEST_LINK {
            let why = "its text is too long for a symbolic link";
            so_far.fault = Some(Cause::Other(why.to_owned()));
            return Err(Cause::Stopped);
        }
        if let Piece::Chunk(chunk) = piece
            && piece.size() == entry.stamp.size
        {
            let digest = Digest::of(chunk);
            so_far.digest = Some(digest);
            hasher.extra.update(chunk);
            if entry.kind == EntryKind::Symlink {
                so_far.link = Some(chunk.into());
                return Ok(());
            }
            if self.unless == Some(digest) {
                return Ok(());
            }
        }
        let (holes, offset) = (self.holes(), so_far.done + so_far.skipped);
        let stage = self.staged(entry, &mut so_far.stage, so_far.facts.as_deref())?;
        let mut skipped = 0;
        let mut put = || {
            holes.split(offset, piece, &mut |_, piece| match piece {
                Piece::Chunk(chunk) => stage.write(chunk),
                Piece::Hole(bytes) => {
                    skipped += bytes;
                    stage.skip(bytes)
                }
            })
        };
        match piece {
            Piece::Chunk(_) if so_far.digest.is_some() => put()?,
            Piece::Chunk(chunk) => hasher.update_and(chunk, put)?,
            Piece::Hole(_) => {
                piece.bytes(&mut |zeros| {
                    check_stop(context)?;
                    hasher.update(zeros);
                    Ok(())
                })?;
                put()?;
            }
        }
        so_far.skipped += skipped;
        so_far.done += piece.size() - skipped;
        context.progress.bytes_moved.add(piece.size() - skipped);
        if is_shown(entry) {
            let done = so_far.done + so_far.skipped;
            show(context, self.slot, Some(in_flight(entry, done)));
        }
        Ok(())
    }

    /// Returns the stage, which is begun by the first piece of content.
    fn staged<'s>(
        &self,
        entry: &Entry,
        stage: &'s mut Option<Box<dyn Stage>>,
        facts: Option<&Facts>,
    ) -> Result<&'s mut Box<dyn Stage>, Cause> {
        match stage {
            Some(stage) => Ok(stage),
            none => {
                let mut begun = self.stage(entry)?;
                if let Some(facts) = facts {
                    begun.keep(&facts.headers);
                }
                Ok(none.insert(begun))
            }
        }
    }

    /// Returns what becomes of holes.
    fn holes(&self) -> Holes {
        if self.keeps_holes() { self.context.holes } else { Holes::Fill }
    }

    /// Returns whether the target's files can have holes.
    fn keeps_holes(&self) -> bool {
        self.context.target.capabilities().holes
    }

    /// Returns whether the target's file of the same content has holes where the copy has none, or
    /// the other way round. A store doesn't say where the holes of its objects were.
    fn changes_holes(&self, so_far: &Copying) -> bool {
        let context = self.context;
        let is_comparable =
            self.keeps_holes() && !context.source.capabilities().remote && so_far.stage.is_some();
        let Some(existing) = self.target.filter(|_| is_comparable) else { return false };
        // What can't be looked at stays as it is.
        let found = context.target.inspect(existing);
        found.is_ok_and(|found| found.features.has(Feature::Holes) != (so_far.skipped > 0))
    }

    fn finish(&self, entry: &Entry, so_far: &mut Copying) -> Result<(Copied, Digest), ReadError> {
        let context = self.context;
        let found = so_far.digest.expect("content that was read has a digest");
        context.progress.bytes_hashed.add(entry.stamp.size);
        let stored = so_far.facts.as_ref().and_then(|facts| facts.digest);
        if let Some(recorded) = entry.recorded.or(stored)
            && recorded != found
        {
            return Err(ReadError::Damaged(Cause::OtherDigest { recorded, found }));
        }
        if let Some(cause) =
            self.row.and_then(|row| context.policy.silent_change(row, entry, found))
        {
            return Err(ReadError::Damaged(cause));
        }
        if let (Some(link), Some(read_entry)) = (so_far.link.take(), &mut so_far.read_entry) {
            if link.is_empty() || link.contains(&0) {
                let why = "its text is empty or contains a NUL, which no symbolic link's may";
                return Err(ReadError::Source(Cause::Other(why.to_owned())));
            }
            read_entry.link = Some(link);
            return Ok((Copied::Link, found));
        }
        if self.unless == Some(found) && !self.changes_holes(so_far) {
            return Ok((Copied::Same, found));
        }
        let entry = so_far.read_entry.as_ref().unwrap_or(entry);
        let wanted = context.target.achievable_metadata(&entry.metadata, EntryKind::File, None);
        let stage = so_far.stage.take().ok_or(ReadError::Changed)?;
        let staged = stage.finish(&(&wanted).into(), &found).map_err(ReadError::Sink)?;
        Ok((Copied::Staged(staged), found))
    }
}

/// Returns an error once the run is over, to abort a copy.
fn check_stop(context: &Context<'_>) -> Result<(), Cause> {
    if context.is_over() { Err(Cause::Stopped) } else { Ok(()) }
}
