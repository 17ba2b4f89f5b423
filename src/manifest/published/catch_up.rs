//! Taking in what others published in a target since it was published from here.

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

/// What others published in a target after what was published from here.
#[derive(Debug)]
pub enum Since<T> {
    /// It can be used.
    Usable(T),
    /// It is damaged, or gone.
    Lost(Lost),
}

/// What others recorded and is lost: what is known otherwise may have been overtaken by what they did.
#[derive(Debug)]
pub struct Lost {
    /// The run that published it, where its head tells.
    pub run: Option<RunId>,
    /// What is wrong with it: [`ErrorKind::Damaged`].
    pub fault: Error,
}

impl Lost {
    /// Says so, and what it means.
    pub fn notice(&self, follows: Overtaken) -> Notice {
        let (run, cause) = (self.run.clone(), self.fault.to_string());
        Notice::ManifestOvertaken { run, cause, follows }
    }
}

/// What others published since, taken in.
#[derive(Debug)]
pub struct CaughtUp {
    /// The run that published it.
    pub run: RunId,
    /// How many rows came from there.
    pub taken: u64,
    /// How many rows here were dropped, because their keys were removed there.
    pub dropped: u64,
    /// Why it can't be told whether it was made from what was published from here, where it can't:
    /// [`ErrorKind::Damaged`]. No row is dropped then.
    pub broken: Option<Error>,
    /// What was published above it, where that is known to be.
    pub lost: Option<Lost>,
}

/// Makes what stands in a target the publication that a state goes on from, where another machine
/// (or another user) published it after what was published from here, or nothing ever was. Of each
/// key the row counts that was published there, unless it changed here since; those of the state's own
/// source that are missing there stay, and are published again. `key` is the one that it must be
/// signed with, where one is asked for.
///
/// Where the pointer or what it points to is lost, the highest publication that is whole counts, which
/// is told when it is published anew. What was put back to an earlier publication is not taken in:
/// [`ManifestStatus`](super::ManifestStatus) tells it. Costs one look at the pointer where nobody else published, else a reading of all rows.
/// Interrupted, it is begun again by the next run.
///
/// # Errors
/// [`ErrorKind::Unusable`] when what stands can't be read: nobody knows then what it says;
/// [`ErrorKind::Newer`] when a newer version published it; [`ErrorKind::Untrusted`] where it isn't
/// signed with the key; [`ErrorKind::Manifest`] when the state can't be written.
pub fn catch_up(
    state: &State,
    reader: &ManifestReader<'_>,
    key: Option<&PublicKey>,
) -> Result<Option<Since<CaughtUp>>, Error> {
    let Later { latest, goes_on, broken, lost } = match find(state, reader, key)? {
        None => return Ok(None),
        Some(Since::Lost(lost)) => return Ok(Some(Since::Lost(lost))),
        Some(Since::Usable(later)) => later,
    };
    let run = latest.head.run.clone();
    let mut caught_up = CaughtUp { run, taken: 0, dropped: 0, broken, lost };
    let mut take_in = || {
        let theirs = Merged::of(reader, &latest.head)?;
        let beside = Beside::of(state, theirs, goes_on)?;
        let mut taking = state.take_in(&latest)?;
        take(beside, &mut taking, &mut caught_up)?;
        taking.finish(&latest, key)?;
        // The next publication begins the chain anew.
        caught_up.broken.iter().try_for_each(|broken| state.distrust(broken))
    };
    let taken = take_in();
    unless_damaged(taken.map(|()| caught_up), &latest).map(Some)
}

/// Tells what [`catch_up`] would make of a state, and writes nothing.
///
/// # Errors
/// As those of [`catch_up`]; [`ErrorKind::Damaged`] of a row.
pub fn foresee(
    state: &State,
    reader: &ManifestReader<'_>,
    key: Option<&PublicKey>,
) -> Result<Option<Since<Foreseen>>, Error> {
    let Later { latest, goes_on, lost, .. } = match find(state, reader, key)? {
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
        let (latest, beside) = (latest.clone(), Beside::of(state, theirs, goes_on)?);
        Ok(Foreseen { latest, lost, number, numbers, beside })
    };
    unless_damaged(foreseen(), &latest).map(Some)
}

/// The rows that a state would have once it had taken in what others published, in key order, with
/// the id of the run of each that is theirs. Sources that the state doesn't know have numbers here
/// that nothing else has.
pub struct Foreseen {
    /// The publication.
    pub latest: Publication,
    /// What was published above it, where that is known to be.
    pub lost: Option<Lost>,
    /// The number of the state's own source.
    pub number: SourceNumber,
    /// Sources by the numbers that the publication names them by.
    numbers: HashMap<SourceNumber, SourceNumber>,
    beside: Beside,
}

impl Iterator for Foreseen {
    type Item = Result<(Row, Option<RunId>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Pair { ours, theirs, counts, .. } = match self.beside.next()? {
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

/// A publication of others.
struct Later {
    latest: Publication,
    /// Whether it was made from what was published from here.
    goes_on: bool,
    /// Why that can't be told.
    broken: Option<Error>,
    /// What was published above it.
    lost: Option<Lost>,
}

/// Finds what others published since.
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
    // What is not found to be signed takes nothing back of what is; it is told when it is published anew.
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
    let goes_on = match &known {
        Some(known) => goes_on_from(&latest, known, reader),
        None => Ok(false),
    };
    let (goes_on, broken) = match goes_on {
        Err(broken) if broken.kind == ErrorKind::Damaged => (false, Some(broken)),
        goes_on => (goes_on?, None),
    };
    Ok(Some(Since::Usable(Later { latest, goes_on, broken, lost })))
}

fn unless_damaged<T>(used: Result<T, Error>, of: &Publication) -> Result<Since<T>, Error> {
    match used {
        Err(fault) if fault.kind == ErrorKind::Damaged => {
            Ok(Since::Lost(Lost { run: Some(of.head.run.clone()), fault }))
        }
        used => used.map(Since::Usable),
    }
}

/// Whether a publication came after a known one, and was made from what that said.
fn goes_on_from(
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

/// Makes a state's rows what they are to be, and counts that.
fn take(beside: Beside, taking: &mut TakingIn<'_>, caught_up: &mut CaughtUp) -> Result<(), Error> {
    let mut waiting = 0;
    for pair in beside {
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

/// Which row of a key counts.
#[derive(Clone, Copy)]
enum Counts {
    /// That of the state, or that it has none, which is to be published.
    Ours,
    /// That of the publication.
    Theirs,
    /// None: it was removed there.
    Neither,
}

/// What state and publication have of a key.
struct Pair {
    key: Key,
    ours: Option<Row>,
    theirs: Option<(Row, RunId)>,
    counts: Counts,
}

/// The rows of a state beside those of what others published since, in key order. After an error,
/// nothing more is to be asked of it.
struct Beside {
    ours: Peekable<Rows>,
    theirs: Peekable<Merged>,
    /// What changed in the state since it was published.
    changes: Peekable<Changes>,
    /// The number of the state's source.
    own: SourceNumber,
    /// Whether the publication was made from what was published from here.
    goes_on: bool,
}

impl Beside {
    fn of(state: &State, theirs: Merged, goes_on: bool) -> Result<Self, Error> {
        let (ours, changes) = (state.rows()?.peekable(), state.changes()?.peekable());
        Ok(Self { ours, theirs: theirs.peekable(), changes, own: state.number()?, goes_on })
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
            (Some(ours), None) if ours.from == self.own || !self.goes_on => Counts::Ours,
            (_, None) => Counts::Neither,
        };
        Ok(Some(Pair { key, ours, theirs, counts }))
    }
}

impl Iterator for Beside {
    type Item = Result<Pair, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.pair().transpose()
    }
}

/// What comes next of fallible items.
fn peeked<T, I>(items: &mut Peekable<I>) -> Result<Option<&T>, Error>
where
    I: Iterator<Item = Result<T, Error>>,
{
    if let Some(error) = items.next_if(Result::is_err) {
        return error.map(|_| None);
    }
    Ok(items.peek().and_then(|item| item.as_ref().ok()))
}

/// What comes next, if it is the one.
fn taken<T, I>(items: &mut Peekable<I>, is_it: impl FnOnce(&T) -> bool) -> Result<Option<T>, Error>
where
    I: Iterator<Item = Result<T, Error>>,
{
    items.next_if(|item| item.as_ref().is_ok_and(is_it)).transpose()
}

/// Whether a row has a digest that another one of the same content of the target lacks.
fn knows_more(our: &Row, their: &Row) -> bool {
    our.digest.is_some() && their.digest.is_none() && our.target == their.target
}
