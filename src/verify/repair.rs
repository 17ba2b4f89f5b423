//! Mending files that are missing or corrupt from a source that still has what was recorded.

use super::tally::{Job, Tally};
use super::{stalest, unusable_spool};
use crate::backend::object::s3::Settings;
use crate::backend::{Form, Place, ReadError, Reading, Source};
use crate::engine::{BUFFER, now};
use crate::location::Location;
use crate::manifest::{State, Writer};
use crate::model::entry::Known;
use crate::model::error::{Operation, Side};
use crate::model::{
    Cause, Digest, Entry, EntryError, EntryKind, Error, Key, Metadata, RunId, Stamp, Stop,
};
use crate::spool::Spool;
use std::io;
use std::path::Path;

/// Memory for what is to be mended; what is more goes to disk.
const MEMORY: usize = 256 << 10;

/// Where files are mended from.
#[derive(Debug)]
pub struct Repair {
    /// The source.
    pub source: Location,
    /// How its store is reached, where it is one.
    pub source_store: Option<Settings>,
    /// What holds the target's lock meanwhile.
    pub run: RunId,
    /// Tells its temporary files from those of others.
    pub token: u32,
}

/// Files that are missing or corrupt.
pub(super) struct Broken {
    spool: io::Result<Spool>,
}

impl Broken {
    pub(super) fn new(dir: &Path) -> Self {
        Self { spool: Ok(Spool::new(dir, MEMORY)) }
    }

    /// Takes a file, of which `job` has the stamp that it was listed with, where it was, and the
    /// metadata that was recorded.
    pub(super) fn push(&mut self, job: &Job, is_missing: bool) {
        let mut record = stalest::encode(job);
        record.push(is_missing.into());
        if let Ok(spool) = &mut self.spool
            && let Err(error) = spool.push(&record)
        {
            self.spool = Err(error);
        }
    }
}

/// Mends what is broken, one file after the other, and records it where there is a state; how many
/// differences that puts right. `form` is that of the recorded keys.
pub(super) fn mend(
    broken: Broken,
    source: &dyn Source,
    (tally, form): (&Tally<'_>, Form),
    state: Option<&State>,
    stop: &Stop,
) -> Result<u64, Error> {
    let mut broken = broken.spool.and_then(Spool::into_reader).map_err(unusable_spool)?;
    let (mut writer, mut differences) = (None, 0);
    let mut buffer = vec![0; BUFFER];
    while let Some(record) = broken.next().map_err(unusable_spool)? {
        if stop.requested() {
            break;
        }
        let job = record
            .split_last()
            .and_then(|(is_missing, record)| Some((*is_missing == 1, stalest::decode(record)?)));
        let Some((is_missing, job)) = job else {
            return Err(unusable_spool(io::ErrorKind::InvalidData.into()));
        };
        let key = job.entry.key.clone();
        let from = (source, form);
        match one(&job, is_missing, from, tally, &mut buffer, stop) {
            Ok(stands) => {
                tally.count(|totals| totals.mended += 1);
                differences += 1 + u64::from(job.is_told);
                tally.observer.mended(&key, Ok(()));
                if let Some(state) = state
                    && let Err(error) = record_mended(state, &mut writer, job, stands)
                {
                    tally.observer.not_recorded(&error);
                }
            }
            Err(Cause::Stopped) => break,
            Err(cause) => tally.observer.mended(&key, Err(&cause)),
        }
    }
    Ok(differences)
}

fn record_mended(
    state: &State,
    writer: &mut Option<Writer>,
    job: Job,
    stands: Stamp,
) -> Result<(), Error> {
    if job.recorded.is_unknown() {
        // Its row has neither size nor metadata that fit it: the next mirror makes another.
        return Ok(());
    }
    let writer = match writer {
        Some(writer) => writer,
        none => none.insert(state.writer()?),
    };
    if let Some(verified) = job.verified(now()) {
        writer.set_mended(&verified, &stands)?;
    }
    writer.commit()
}

/// Mends one file, and lets its directory keep its time, which each file made in it changes, even
/// one that is removed again; the file's stamp.
fn one(
    job: &Job,
    is_missing: bool,
    (source, form): (&dyn Source, Form),
    tally: &Tally<'_>,
    buffer: &mut [u8],
    stop: &Stop,
) -> Result<Stamp, Cause> {
    let (target, parent) = (tally.target, Key::new(job.entry.key.parent()));
    let directory = if target.is_store() { None } else { target.look(&parent)? };
    if !target.is_store() && directory.is_none() {
        let why = "its directory is missing too; a mirror makes it anew";
        return Err(Cause::Other(why.to_owned()));
    }
    let put = put(job, is_missing, (source, form), tally, buffer, stop);
    if let Some(directory) = directory
        && let Err(cause) =
            target.set_metadata(&parent, EntryKind::Directory, &directory.metadata, Place::Leaf)
    {
        cannot_set(tally, parent, cause);
    }
    let written = put?;
    if target.needs_barrier() {
        target.barrier()?;
    }
    if target.is_store() {
        return Ok(written);
    }
    Ok(target.look(&job.entry.key)?.map_or(written, |found| found.stamp))
}

fn cannot_set(tally: &Tally<'_>, key: Key, cause: Cause) {
    let (operation, side) = (Operation::SetMetadata, Side::Target);
    tally.fail(&EntryError { operation, side, key, cause });
}

/// Puts the source's file in place, if it is what was recorded; its stamp as it was written.
fn put(
    job: &Job,
    is_missing: bool,
    (source, form): (&dyn Source, Form),
    tally: &Tally<'_>,
    buffer: &mut [u8],
    stop: &Stop,
) -> Result<Stamp, Cause> {
    let (target, key) = (tally.target, &job.entry.key);
    let other = |what: &str| Cause::Other(format!("the source {what}"));
    let Some(expected) = job.expected.blake3() else {
        let why = "only its SHA-256 is recorded; a mirror from the source puts it right";
        return Err(Cause::Other(why.to_owned()));
    };
    let listed = match source.look(key)? {
        None => return Err(other("doesn't have it")),
        Some(found) if found.kind != EntryKind::File => {
            return Err(other(&format!("has a {} there", found.kind)));
        }
        Some(found) if found.stamp.size != job.recorded.size && !job.recorded.is_unknown() => {
            return Err(other("has another content than was recorded (another size)"));
        }
        // It is held against what was recorded here, whatever its store says of it.
        Some(found) => Entry { recorded: Some(expected), ..found },
    };
    // Nobody saw it as it is recorded: what the source says of it is right then.
    let metadata = if job.recorded.is_unknown() {
        Metadata { mode: source.inspect(&listed)?.mode, ..listed.metadata }
    } else {
        job.entry.metadata
    };
    let metadata = &target.holds(&metadata, EntryKind::File, None);
    let place = match (is_missing, target.is_store(), job.entry.stamp.tag()) {
        (true, ..) => Place::New,
        (false, true, Some(tag)) => Place::Object(tag),
        _ => Place::Leaf,
    };
    let wanted = Entry {
        stamp: listed.stamp,
        metadata: *metadata,
        known: Known::Whole,
        recorded: Some(expected),
        ..listed.clone()
    };
    let mut copy = || {
        let mut stage = target.stage(&wanted, place)?;
        let mut hasher = blake3::Hasher::new();
        let read = source.read(&listed, buffer, &mut |reading| match reading {
            Reading::Opened(_) => Ok(()),
            Reading::Facts(facts) => {
                // Where each key stands for itself, all that is kept with it is a part of it.
                if form == Form::Flat {
                    stage.keep(&facts.headers);
                }
                Ok(())
            }
            Reading::Chunk(chunk) => {
                let passed = tally.bandwidth.take(chunk.len() as u64, &|| stop.requested());
                if passed.is_err() || stop.requested() {
                    return Err(Cause::Stopped);
                }
                hasher.update(chunk);
                stage.write(chunk)
            }
        });
        read.map_err(|error| match error {
            ReadError::Changed => Cause::Changed { attempts: 1 },
            ReadError::Source(cause) | ReadError::Damaged(cause) | ReadError::Sink(cause) => cause,
        })?;
        Ok::<_, Cause>((stage, Digest::from(hasher.finalize())))
    };
    let (mut stage, mut found) = copy()?;
    if found != expected && source.object().is_some() {
        // A bit may have flipped on the way.
        (stage, found) = copy()?;
    }
    if found != expected {
        return Err(other(&format!("has another content: BLAKE3 {found}, recorded {expected}")));
    }
    let mut staged = stage.finish(metadata, &found)?;
    if stop.requested() && !staged.is_in_place() {
        return Err(Cause::Stopped);
    }
    if let Some(cause) = staged.publish()? {
        cannot_set(tally, key.clone(), cause);
    }
    Ok(staged.written().stamp)
}
