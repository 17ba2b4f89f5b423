//! One attempt to copy a file: each chunk is hashed and written as it is read.

use super::attributes::Kept;
use super::copying::{Copying, Moved, in_flight, is_shown, show};
use super::hash::{BUFFER, Hashed, Hasher, part_for};
use super::holes::Holes;
use super::partials::{INTERVAL, Partials};
use super::ranges::RangeHashes;
use super::{Context, now};
use crate::backend::{
    Facts, Intended, Piece, Precondition, Ranges, ReadError, Reading, SMALLEST_RESUMED, Stage,
    StageDirectory, Staged, range_length,
};
use crate::manifest::Row;
use crate::model::entry::LONGEST_LINK;
use crate::model::{Apart, Cause, Digest, Entry, EntryKind, ExtraDigests, Feature, Features};

/// How a copy ended.
pub(super) enum Copied {
    /// Written, not yet recorded.
    Staged(Box<dyn Staged>),
    /// Not written: the target has this content already.
    Same,
    /// The object is a symbolic link, whose text is in the entry.
    Link,
    /// The object is a special file, as the entry says.
    Special,
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
    /// Attributes that the copy lacks, and that the manifest keeps.
    pub(super) apart: Apart,
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

/// A copy that an earlier run began.
struct Resumed {
    stage: Box<dyn Stage>,
    /// How many bytes of its content it has.
    bytes: u64,
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
            resumed: 0,
            facts: None,
            read_entry: None,
            link: None,
            kept: Kept::default(),
            fault: None,
            purpose: context.purpose,
        };
        let read = self.read(entry, buffer, &mut so_far);
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
                let unmoved = so_far.skipped + so_far.resumed;
                context.progress.settled.bytes_unmoved.add(unmoved);
                let kept =
                    if self.keeps_holes() { Feature::Holes.into() } else { Features::default() };
                let Kept { lost, apart, .. } = so_far.kept;
                let lost = lost.without(kept);
                Ok(Done { copied, hashed, read_entry: so_far.read_entry, lost, apart })
            }
            Err(error) => {
                context.progress.bytes_moved.sub(so_far.done);
                Err(error)
            }
        }
    }

    /// Reads the file in the best way, and stages its content.
    fn read(
        &self,
        entry: &Entry,
        buffer: &mut [u8],
        so_far: &mut Copying,
    ) -> Result<(), ReadError> {
        if self.reflink(entry, buffer, so_far)? || self.read_ranges(entry, buffer, so_far)? {
            return Ok(());
        }
        self.read_in_order(entry, buffer, so_far)
    }

    /// Makes the copy share the content of the source's file, and reads it back, if both sides
    /// support that and it can be read; returns whether it did.
    fn reflink(
        &self,
        entry: &Entry,
        buffer: &mut [u8],
        so_far: &mut Copying,
    ) -> Result<bool, ReadError> {
        let (context, slot) = (self.context, self.slot);
        // A small file is copied as fast. What is shared has the holes of the source's file, and is
        // read in no order, which digests other than BLAKE3 need.
        let is_wanted = entry.size() > BUFFER as u64
            && context.holes == Holes::Keep
            && !context.policy.options.digests.any();
        let is_possible =
            context.target.capabilities().reflinks && context.source.copy_origin().is_some();
        if !is_wanted || !is_possible {
            return Ok(false);
        }
        let staged = self.staged(entry, &mut so_far.stage, None);
        let stage = staged.map_err(ReadError::Sink)?;
        let inspected = match stage.reflink(&*context.source, entry) {
            Ok(Some(inspected)) => inspected,
            Ok(None) => return Ok(false),
            Err(error) => return not_shared(error, so_far),
        };
        let (size, length) = (entry.stamp.size, range_length(entry.stamp.size));
        let moved = Moved::default();
        let take = |_, piece: Piece<'_>| {
            check_stop(context)?;
            moved.add(piece, context.progress);
            if is_shown(entry) {
                show(context, slot, Some(in_flight(entry, moved.all())));
            }
            Ok(())
        };
        let digest = {
            let shared = stage.read_back(size, length).map_err(ReadError::Sink)?;
            let Some(shared) = shared else { return Ok(false) };
            context.cores.hash_ranges(&*shared, size, buffer, &take)
        };
        match digest {
            Ok(digest) => so_far.digest = Some(digest),
            Err(error) => {
                context.progress.bytes_moved.sub(moved.counts().0);
                return not_shared(error, so_far);
            }
        }
        (so_far.done, so_far.skipped) = moved.counts();
        so_far.inspect(context, entry, || inspected.with_told(entry));
        Ok(true)
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
                so_far.inspect(context, entry, || file.inspect().with_told(entry));
                Ok(())
            }
            Reading::Content(piece) => self.take(entry, piece, &mut hasher, so_far),
            Reading::Facts(facts) => {
                so_far.set_facts(context, entry, facts);
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
                so_far.set_facts(context, entry, Box::new(facts.clone()));
            }
            Some(_) => return Ok(false),
            None => {}
        }
        if let Some(inspected) = ranges.inspect() {
            so_far.inspect(context, entry, || inspected.with_told(entry));
        }
        let hashes = RangeHashes::new(ranges.length(), entry.stamp.size);
        let partials = self.partials(entry);
        if let Some(resumed) =
            partials.map(|partials| self.resume(entry, partials, &*ranges, &hashes, buffer))
            && let Some(Resumed { stage, bytes }) = resumed?
        {
            (so_far.stage, so_far.resumed) = (Some(stage), bytes);
        }
        let resumed = so_far.resumed;
        let read_entry = so_far.read_entry.as_ref().unwrap_or(entry);
        let staged = self.staged(read_entry, &mut so_far.stage, None).map_err(ReadError::Sink)?;
        let temporary = staged.temporary().map(<[u8]>::to_vec);
        let journal = partials.zip(temporary);
        let Some(anywhere) = staged.anywhere() else { return Ok(false) };
        // What is read under a racy stamp may be that of two files.
        let journal = journal.filter(|_| !entry.stamp.is_racy(so_far.began));
        let moved = Moved::default();
        let holes = self.holes(so_far.read_entry.as_ref().unwrap_or(entry));
        let put = &|offset, piece: Piece<'_>| {
            match piece {
                Piece::Chunk(chunk) => anywhere.write_at(offset, chunk)?,
                Piece::Hole(bytes) => anywhere.skip_at(offset, bytes)?,
            }
            moved.add(piece, context.progress);
            Ok(())
        };
        let take = |offset, piece: Piece<'_>| {
            check_stop(context)?;
            holes.split(offset, piece, &mut &*put)?;
            show(context, slot, Some(in_flight(entry, moved.all() + resumed)));
            if let Some((partials, temporary)) = &journal
                && moved.is_due(INTERVAL)
            {
                // Without a record the file is copied from its beginning, if this run is killed.
                partials.record(entry, temporary, &hashes).ok();
            }
            Ok(())
        };
        let read = context.cores.hash_missing(&*ranges, &hashes, buffer, &take);
        drop(anywhere);
        (so_far.done, so_far.skipped) = moved.counts();
        if let (Err(ReadError::Sink(Cause::Stopped)), Some((partials, temporary))) =
            (&read, &journal)
            && partials.record(entry, temporary, &hashes).is_ok()
            && let Some(stage) = so_far.stage.take()
        {
            stage.leave();
        }
        read?;
        so_far.digest = Some(hashes.digest());
        Ok(true)
    }

    /// Returns the record of unfinished copies, if a run may go on with a copy of this file.
    fn partials(&self, entry: &Entry) -> Option<&Partials> {
        let is_wanted = entry.size() >= SMALLEST_RESUMED && self.building.is_none();
        self.context.partials.filter(|_| is_wanted)
    }

    /// Goes on with the copy that an earlier run was stopped in, if there is one, and adds the
    /// hashes of the ranges that it has.
    fn resume(
        &self,
        entry: &Entry,
        partials: &Partials,
        source: &dyn Ranges,
        hashes: &RangeHashes,
        buffer: &mut [u8],
    ) -> Result<Option<Resumed>, ReadError> {
        let context = self.context;
        let (size, length) = (entry.stamp.size, hashes.length());
        let Some(partial) = partials.take(entry, length) else { return Ok(None) };
        let resumed = context.target.resume(entry, &partial.temporary, self.precondition);
        if !matches!(resumed, Ok(Some(_))) {
            partials.give_up(entry, &partial);
        }
        let Some(mut stage) = resumed.map_err(ReadError::Sink)? else { return Ok(None) };
        let numbers = partial.hashes.iter().map(|(number, _)| *number);
        let found = RangeHashes::of_some(length, size, numbers);
        let Some(ranges) = stage.read_back(size, length).map_err(ReadError::Sink)? else {
            return Ok(None);
        };
        let keep = |offset, piece: Piece<'_>| {
            source.keep(offset, piece);
            check_stop(context)
        };
        let read = context.cores.hash_missing(&*ranges, &found, buffer, &keep);
        drop(ranges);
        match read {
            Ok(()) => {}
            Err(ReadError::Sink(Cause::Stopped)) => {
                stage.leave();
                return Err(ReadError::Sink(Cause::Stopped));
            }
            // It is shorter than it was, or can't be read: the file is copied from its beginning.
            Err(_) => return Ok(None),
        }
        let is_same = |(number, hash): &(u64, _)| found.get(*number) == Some(*hash);
        let same = partial.hashes.into_iter().filter(is_same);
        let bytes = same.map(|(number, hash)| hashes.set(number, hash)).sum();
        stage.has_written(bytes);
        Ok(Some(Resumed { stage, bytes }))
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
            if matches!(entry.kind, EntryKind::Special(_)) {
                return Ok(());
            }
            if self.unless == Some(digest) {
                return Ok(());
            }
        }
        let (holes, offset) = (self.holes(entry), so_far.done + so_far.skipped);
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

    /// Returns what becomes of holes. A store doesn't say where they were, only that there were some.
    fn holes(&self, entry: &Entry) -> Holes {
        let had_some = entry.extras.as_ref().is_some_and(|extras| extras.holes);
        match self.context.holes {
            _ if !self.keeps_holes() => Holes::Fill,
            Holes::Keep if had_some && self.context.source.capabilities().remote => Holes::Make,
            holes => holes,
        }
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
        if let Some(Entry { kind: EntryKind::Special(_), .. }) = so_far.read_entry {
            return Ok((Copied::Special, found));
        }
        if self.unless == Some(found) && !self.changes_holes(so_far) {
            return Ok((Copied::Same, found));
        }
        let stage = so_far.stage.take().ok_or(ReadError::Changed)?;
        let Copying { read_entry, kept, .. } = so_far;
        let known = read_entry.as_ref().unwrap_or(entry);
        let wanted = context.target.achievable_metadata(&known.metadata, EntryKind::File, None);
        let intended = context.intended(&wanted, known);
        let intended = Intended { attributes: kept.attributes.as_deref(), ..intended };
        let staged = stage.finish(&intended, &found).map_err(ReadError::Sink)?;
        let lost = staged.written().lost;
        if !lost.is_empty() {
            kept.lose(context, lost, read_entry.get_or_insert_with(|| entry.clone()));
        }
        Ok((Copied::Staged(staged), found))
    }
}

/// Returns an error once the run is over, to abort a copy.
fn check_stop(context: &Context<'_>) -> Result<(), Cause> {
    if context.breaks_off() { Err(Cause::Stopped) } else { Ok(()) }
}

/// Drops a copy that was to share its content. What can't be read back of it may be the source's:
/// copied in the ordinary way, the file fails on the right side. Returns other errors.
fn not_shared(error: ReadError, so_far: &mut Copying) -> Result<bool, ReadError> {
    match error {
        ReadError::Sink(Cause::Stopped) => Err(error),
        ReadError::Sink(_) => {
            so_far.stage = None;
            Ok(false)
        }
        other => Err(other),
    }
}
