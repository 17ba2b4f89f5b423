//! One attempt to copy a file: each chunk is hashed and written as it is read.

use super::hash::{Hashed, Hasher, part_for};
use super::{Context, Purpose, now};
use crate::backend::{
    Facts, Inspected, Precondition, ReadError, Reading, Stage, StageDirectory, Staged,
};
use crate::manifest::Row;
use crate::model::entry::LONGEST_LINK;
use crate::model::{Cause, Digest, Entry, EntryKind, ExtraDigests, Features, InFlight, Timestamp};
use std::sync::atomic::{AtomicU64, Ordering};

/// In bytes: files of at least this size are shown while they are copied.
const SHOWN_SIZE: u64 = 4 << 20;

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
    /// The row of an earlier run.
    pub(super) row: Option<&'w Row>,
    /// The digest of the target's file: the same content is not written again.
    pub(super) unless: Option<Digest>,
}

/// The state of an attempt.
struct Copying {
    began: Timestamp,
    /// The digest of all content, once that is known.
    digest: Option<Digest>,
    extra: ExtraDigests,
    stage: Option<Box<dyn Stage>>,
    /// Bytes written.
    done: u64,
    facts: Option<Box<Facts>>,
    read_entry: Option<Entry>,
    link: Option<Box<[u8]>>,
    lost: Features,
    /// Why the source's content can't be copied, where reading was aborted for it.
    fault: Option<Cause>,
    purpose: Purpose,
}

impl Copying {
    /// Finds out which features of the file a copy lacks. The copy has no ACL, so its mode is
    /// narrowed to the rights that the ACL grants.
    fn inspect(&mut self, entry: &Entry, inspect: impl FnOnce() -> Inspected) {
        if self.purpose != Purpose::Mirror {
            return;
        }
        let Inspected { features, mode } = inspect();
        self.lost = features;
        if mode != entry.metadata.mode {
            let mut read_entry = entry.clone();
            read_entry.metadata.mode = mode;
            self.read_entry = Some(read_entry);
        }
    }

    /// Keeps the facts about the entry that reading returned.
    fn set_facts(&mut self, entry: &Entry, facts: Box<Facts>) {
        match self.purpose {
            Purpose::Mirror => {}
            Purpose::Mend { headers: true } => return self.facts = Some(facts),
            Purpose::Mend { headers: false } => return,
        }
        let mut read_entry = entry.clone();
        facts.apply_to(&mut read_entry);
        (self.read_entry, self.facts) = (Some(read_entry), Some(facts));
    }
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
                Ok(Done { copied, hashed, read_entry: so_far.read_entry, lost: so_far.lost })
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
            Reading::Chunk(chunk) => self.take(entry, chunk, &mut hasher, so_far),
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
        let done = AtomicU64::new(0);
        let digest =
            context.cores.hash_ranges(&*ranges, entry.stamp.size, buffer, &|offset, chunk| {
                let bytes = chunk.len() as u64;
                check_stop(context)?;
                anywhere.write_at(offset, chunk)?;
                context.progress.bytes_moved.add(bytes);
                let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
                show(context, slot, Some(in_flight(entry, done)));
                Ok(())
            });
        so_far.done = done.into_inner();
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
        chunk: &[u8],
        hasher: &mut Hasher<'_>,
        so_far: &mut Copying,
    ) -> Result<(), Cause> {
        let context = self.context;
        let bytes = chunk.len() as u64;
        check_stop(context)?;
        let entry = so_far.read_entry.as_ref().unwrap_or(entry);
        if entry.kind == EntryKind::Symlink && entry.stamp.size > LONGEST_LINK {
            let why = "its text is too long for a symbolic link";
            so_far.fault = Some(Cause::Other(why.to_owned()));
            return Err(Cause::Stopped);
        }
        if bytes == entry.stamp.size {
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
        let stage = match &mut so_far.stage {
            Some(stage) => stage,
            none => {
                let mut stage = self.stage(entry)?;
                if let Some(facts) = &so_far.facts {
                    stage.keep(&facts.headers);
                }
                none.insert(stage)
            }
        };
        if so_far.digest.is_some() {
            stage.write(chunk)?;
        } else {
            hasher.update_and(chunk, || stage.write(chunk))?;
        }
        so_far.done += bytes;
        context.progress.bytes_moved.add(bytes);
        if is_shown(entry) {
            show(context, self.slot, Some(in_flight(entry, so_far.done)));
        }
        Ok(())
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
        if self.unless == Some(found) {
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

fn is_shown(entry: &Entry) -> bool {
    entry.size() >= SHOWN_SIZE
}

fn in_flight(entry: &Entry, done: u64) -> InFlight {
    InFlight { key: entry.key.clone(), size: entry.stamp.size, done }
}

fn show(context: &Context<'_>, slot: usize, in_flight: Option<InFlight>) {
    let mut slots = context.progress.in_flight.lock();
    if slots.len() <= slot {
        slots.resize(slot + 1, None);
    }
    slots[slot] = in_flight;
}
