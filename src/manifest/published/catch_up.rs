//! Importing what other machines or users published in a target since this state last published
//! there.

use super::head::Publication;
use super::history::History;
use super::merge::Merged;
use super::reader::ManifestReader;
use crate::manifest::keys::PublicKey;
use crate::manifest::state::TakingIn;
use crate::manifest::{Changes, Row, Rows, SourceNumber, State};
use crate::model::notice::Overtaken;
use crate::model::{Error, ErrorKind, Key, Notice, RunId};
use std::collections::HashMap;
use std::iter::Peekable;

/// Rows that are committed together.
const BATCH: u64 = 50_000;

/// A later publication by others.
#[derive(Debug)]
pub enum Since<T> {
    /// It is usable.
    Usable(T),
    /// It is damaged or missing.
    Lost(Lost),
}

/// A lost publication by others: rows known here may be outdated by it.
#[derive(Debug)]
pub struct Lost {
    /// The run that published it, if its head is readable.
    pub run: Option<RunId>,
    /// What is wrong with it: [`ErrorKind::Damaged`].
    pub fault: Error,
}

impl Lost {
    /// Says so, and what it means.
    pub fn notice(&self, follows: Overtaken) -> Notice {
        let (run, cause) = (self.run.clone(), self.fault.sentence());
        Notice::ManifestOvertaken { run, cause, follows }
    }
}

/// The result of importing a publication by others.
#[derive(Debug)]
pub struct CaughtUp {
    /// The run that published it.
    pub run: RunId,
    /// The number of rows imported.
    pub taken: u64,
    /// The number of rows dropped here because their keys were removed there.
    pub dropped: u64,
    /// If it is unknown whether the publication builds on this state's own, the reason:
    /// [`ErrorKind::Damaged`]. No row is dropped then.
    pub broken: Option<Error>,
    /// A later publication that is lost, if there is one.
    pub lost: Option<Lost>,
}

/// Imports the publication in a target into a state, if another machine or user published it after
/// this state last did, or this state never did. For each key the published row wins, unless the
/// key changed here since. Rows of the state's own source that are missing there stay, and are
/// published again. If `key` is given, the publication must be signed with it.
///
/// If the pointer or its head is lost, the highest complete publication is used, and the loss is
/// reported when the manifest is published again. An earlier publication that was restored is not
/// imported: [`ManifestStatus`](super::ManifestStatus) reports it. Without a publication by others
/// this reads only the pointer, else all rows. If interrupted, the next run starts over.
///
/// # Errors
/// [`ErrorKind::Unusable`] if the files can't be read; [`ErrorKind::Newer`] if a newer version
/// published it; [`ErrorKind::Untrusted`] if it isn't signed with the key; [`ErrorKind::Manifest`]
/// if the state can't be written.
pub fn catch_up(
    state: &State,
    reader: &ManifestReader<'_>,
    key: Option<&PublicKey>,
) -> Result<Option<Since<CaughtUp>>, Error> {
    let Later { latest, builds_on_own, broken, lost } = match find(state, reader, key)? {
        None => return Ok(None),
        Some(Since::Lost(lost)) => return Ok(Some(Since::Lost(lost))),
        Some(Since::Usable(later)) => later,
    };
    let run = latest.head.run.clone();
    let mut caught_up = CaughtUp { run, taken: 0, dropped: 0, broken, lost };
    let mut take_in = || {
        let theirs = Merged::of(reader, &latest.head)?;
        let join = Join::of(state, theirs, builds_on_own)?;
        let mut taking = state.take_in(&latest)?;
        take(join, &mut taking, &mut caught_up)?;
        taking.finish(&latest, key)?;
        // The next publication begins a new chain.
        caught_up.broken.iter().try_for_each(|broken| state.distrust(broken))
    };
    let taken = take_in();
    unless_damaged(taken.map(|()| caught_up), &latest).map(Some)
}

/// Returns the result that [`catch_up`] would have, without writing anything.
///
/// # Errors
/// Those of [`catch_up`]; [`ErrorKind::Damaged`] of a row.
pub fn foresee(
    state: &State,
    reader: &ManifestReader<'_>,
    key: Option<&PublicKey>,
) -> Result<Option<Since<Foreseen>>, Error> {
    let Later { latest, builds_on_own, lost, .. } = match find(state, reader, key)? {
        None => return Ok(None),
        Some(Since::Lost(lost)) => return Ok(Some(Since::Lost(lost))),
        Some(Since::Usable(later)) => later,
    };
    let foreseen = || {
        let theirs = Merged::of(reader, &latest.head)?;
        let known = state.recorded_sources()?;
        let number = |name: &str| known.iter().find(|it| it.source == name).map(|it| it.number);
        let sources = latest.head.sources().into_iter().map(|told| {
            let other = SourceNumber(-told.number.0);
            (told.number, (number(&told.source).unwrap_or(other), told.source))
        });
        let sources: HashMap<_, _> = sources.collect();
        let mut own = sources.values().filter(|(_, name)| *name == state.source());
        let number = match state.number()? {
            SourceNumber::NONE => own.next().map_or(SourceNumber::NONE, |(number, _)| *number),
            number => number,
        };
        let numbers = sources.into_iter().map(|(theirs, (ours, _))| (theirs, ours)).collect();
        let (latest, join) = (latest.clone(), Join::of(state, theirs, builds_on_own)?);
        Ok(Foreseen { latest, lost, number, numbers, join })
    };
    unless_damaged(foreseen(), &latest).map(Some)
}

/// The rows that a state would have after importing what others published, in key order, each of
/// theirs with the id of its run. Sources unknown to the state get numbers unused here.
pub struct Foreseen {
    /// The publication.
    pub latest: Publication,
    /// A later publication that is lost, if there is one.
    pub lost: Option<Lost>,
    /// The number of the state's own source.
    pub number: SourceNumber,
    /// The numbers of sources here, by their numbers in the publication.
    numbers: HashMap<SourceNumber, SourceNumber>,
    join: Join,
}

impl Iterator for Foreseen {
    type Item = Result<(Row, Option<RunId>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Pair { ours, theirs, counts, .. } = match self.join.next()? {
                Ok(pair) => pair,
                Err(error) => return Some(Err(error)),
            };
            let row = match counts {
                Counts::Ours => ours.map(|row| (row, None)),
                Counts::Theirs => theirs.map(|(mut row, run)| {
                    row.from = self.numbers.get(&row.from).copied().unwrap_or(SourceNumber::NONE);
                    (row, Some(run))
                }),
                Counts::Neither => None,
            };
            if let Some(row) = row {
                return Some(Ok(row));
            }
        }
    }
}

/// A publication by others.
struct Later {
    latest: Publication,
    /// Whether it builds on this state's own publication.
    builds_on_own: bool,
    /// Why that is unknown.
    broken: Option<Error>,
    /// A later publication that is lost, if there is one.
    lost: Option<Lost>,
}

/// Finds a later publication by others.
fn find(
    state: &State,
    reader: &ManifestReader<'_>,
    key: Option<&PublicKey>,
) -> Result<Option<Since<Later>>, Error> {
    let known = state.published()?;
    let (counts, fault) = match reader.counting(known.as_ref()) {
        Ok(Some((counts, fault))) => (Some(counts), fault),
        Ok(None) => return Ok(None),
        Err(fault) if fault.kind == ErrorKind::Damaged => (None, Some(fault)),
        Err(error) => return Err(error),
    };
    let is_known = |it: &Publication| {
        known.as_ref().is_some_and(|known| it == known || known.is_replaced_by(it))
    };
    let later = counts.filter(|counts| !is_known(counts));
    // A lost publication without a proven signature must not invalidate a signed one; it is
    // reported when the manifest is published again.
    let lost = match fault.filter(|_| key.is_none()) {
        Some(fault) if reader.is_overtaken(later.as_ref().or(known.as_ref()))? => {
            Some(Lost { run: None, fault })
        }
        _ => None,
    };
    let Some(latest) = later else { return Ok(lost.map(Since::Lost)) };
    if let Some(key) = key {
        reader.signature_status(&latest, Some(key))?.demand(&latest, key)?;
    }
    let builds_on_own = match &known {
        Some(known) => builds_on(&latest, known, reader),
        None => Ok(false),
    };
    let (builds_on_own, broken) = match builds_on_own {
        Err(broken) if broken.kind == ErrorKind::Damaged => (false, Some(broken)),
        builds_on_own => (builds_on_own?, None),
    };
    Ok(Some(Since::Usable(Later { latest, builds_on_own, broken, lost })))
}

fn unless_damaged<T>(used: Result<T, Error>, of: &Publication) -> Result<Since<T>, Error> {
    match used {
        Err(fault) if fault.kind == ErrorKind::Damaged => {
            Ok(Since::Lost(Lost { run: Some(of.head.run.clone()), fault }))
        }
        used => used.map(Since::Usable),
    }
}

/// Returns whether a publication is later than a known one and builds on it.
fn builds_on(
    latest: &Publication,
    known: &Publication,
    reader: &ManifestReader<'_>,
) -> Result<bool, Error> {
    for publication in History::from(latest.clone(), reader.clone()) {
        let publication = publication?;
        if publication.head.sequence <= known.head.sequence {
            return Ok(publication.digest == known.digest);
        }
    }
    Ok(false)
}

/// Imports the rows into a state, and counts them.
fn take(join: Join, taking: &mut TakingIn<'_>, caught_up: &mut CaughtUp) -> Result<(), Error> {
    let mut waiting = 0;
    for pair in join {
        let Pair { key, ours, theirs, counts } = pair?;
        match (counts, theirs) {
            (Counts::Ours, theirs) => taking.set_changed(&key, theirs.is_some())?,
            (Counts::Theirs, Some((their, run))) => {
                let their = taking.row(their, run)?;
                if ours.as_ref() != Some(&their) {
                    let is_other = ours.is_none_or(|our| our.run != their.run);
                    caught_up.taken += u64::from(is_other);
                    taking.put(&their)?;
                }
            }
            (Counts::Theirs | Counts::Neither, _) => {
                taking.remove(&key)?;
                caught_up.dropped += 1;
            }
        }
        waiting += 1;
        if waiting % BATCH == 0 {
            taking.commit()?;
        }
    }
    taking.commit()
}

/// Which row of a key wins.
#[derive(Clone, Copy)]
enum Counts {
    /// The state's row, or its absence, which has to be published.
    Ours,
    /// The published row.
    Theirs,
    /// Neither: the key was removed there.
    Neither,
}

/// The rows of state and publication for one key.
struct Pair {
    key: Key,
    ours: Option<Row>,
    theirs: Option<(Row, RunId)>,
    counts: Counts,
}

/// Joins the rows of a state with those of a later publication, in key order. Must not be used
/// after an error.
struct Join {
    ours: Peekable<Rows>,
    theirs: Peekable<Merged>,
    /// The state's changes since it was published.
    changes: Peekable<Changes>,
    /// The number of the state's source.
    own: SourceNumber,
    /// Whether the publication builds on this state's own.
    builds_on_own: bool,
}

impl Join {
    fn of(state: &State, theirs: Merged, builds_on_own: bool) -> Result<Self, Error> {
        let (ours, changes) = (state.rows()?.peekable(), state.changes()?.peekable());
        Ok(Self { ours, theirs: theirs.peekable(), changes, own: state.number()?, builds_on_own })
    }

    fn pair(&mut self) -> Result<Option<Pair>, Error> {
        let ours = peeked(&mut self.ours)?.map(|row| &row.key);
        let theirs = peeked(&mut self.theirs)?.map(|(row, _)| &row.key);
        let change = peeked(&mut self.changes)?.map(|change| &change.key);
        let Some(key) = [ours, theirs, change].into_iter().flatten().min().cloned() else {
            return Ok(None);
        };
        let ours = taken(&mut self.ours, |row| row.key == key)?;
        let theirs = taken(&mut self.theirs, |(row, _)| row.key == key)?;
        let change = taken(&mut self.changes, |change| change.key == key)?;
        let counts = match (&ours, &theirs) {
            _ if change.is_some() => Counts::Ours,
            (Some(ours), Some((theirs, _))) if knows_more(ours, theirs) => Counts::Ours,
            (_, Some(_)) => Counts::Theirs,
            (Some(ours), None) if ours.from == self.own || !self.builds_on_own => Counts::Ours,
            (_, None) => Counts::Neither,
        };
        Ok(Some(Pair { key, ours, theirs, counts }))
    }
}

impl Iterator for Join {
    type Item = Result<Pair, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.pair().transpose()
    }
}

/// Peeks at the next of fallible items.
fn peeked<T, I>(items: &mut Peekable<I>) -> Result<Option<&T>, Error>
where
    I: Iterator<Item = Result<T, Error>>,
{
    if let Some(error) = items.next_if(Result::is_err) {
        return error.map(|_| None);
    }
    Ok(items.peek().and_then(|item| item.as_ref().ok()))
}

/// Takes the next item if `is_it` is true for it.
fn taken<T, I>(items: &mut Peekable<I>, is_it: impl FnOnce(&T) -> bool) -> Result<Option<T>, Error>
where
    I: Iterator<Item = Result<T, Error>>,
{
    items.next_if(|item| item.as_ref().is_ok_and(is_it)).transpose()
}

/// Returns whether a row has a digest that another row for the same content of the target lacks.
fn knows_more(our: &Row, their: &Row) -> bool {
    our.digest.is_some() && their.digest.is_none() && our.target == their.target
}
