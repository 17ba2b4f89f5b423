//! Taking over the manifest that is published in a target, for any kind of run: what others have
//! published there since is added to the state, and reported.

use crate::backend::{KeySpace, ListItem, ListOptions, Listing, Target};
use crate::compare::RecordedRows;
use crate::listing::OrderChecked;
use crate::manifest::keys::PublicKey;
use crate::manifest::published::{
    self, CaughtUp, ManifestReader, Publication, Since, used_instead,
};
use crate::manifest::{Row, Rows, State};
use crate::model::error::Side;
use crate::model::notice::Overtaken;
use crate::model::stamp::{StampFields, StampMatch};
use crate::model::{Entry, EntryKind, Error, ErrorKind, Notice, RunId, Stop};
use std::iter::Peekable;
use std::sync::Arc;

/// Rows per commit.
const BATCH: u64 = 10_000;

/// A target, and how to check it.
#[derive(Clone, Copy)]
pub(super) struct LookedAt<'a> {
    pub(super) target: &'a dyn Target,
    /// The reader of its manifest.
    pub(super) reader: &'a ManifestReader<'a>,
    /// The key space of the run.
    pub(super) key_space: KeySpace,
    /// Which fields of a stamp are compared.
    pub(super) trust: StampFields,
}

/// Rows in key order; those that others published have the id of their run.
pub(super) type Foreseen = Box<dyn Iterator<Item = Result<(Row, Option<RunId>), Error>> + Send>;

/// Adds to a state what others have published since. If that is lost, rows whose entries others may
/// have replaced are dropped: those that no longer match the target.
///
/// # Errors
/// Those of [`published::catch_up`], and [`ErrorKind::Unusable`] if the target can't be listed.
pub(super) fn catch_up(
    state: &State,
    place: LookedAt<'_>,
    key: Option<&PublicKey>,
    stop: &Stop,
) -> Result<Vec<Notice>, Error> {
    let mut notices = Vec::new();
    let lost = match published::catch_up(state, place.reader, key)? {
        None => None,
        Some(Since::Usable(CaughtUp { run, taken, dropped, broken, lost })) => {
            let cause = broken.map(|broken| broken.to_string());
            let unknown = cause.map(|cause| Notice::RemovalsUnknown { run: run.clone(), cause });
            notices.push(Notice::ManifestCaughtUp { run, taken, dropped });
            notices.extend(unknown);
            lost
        }
        Some(Since::Lost(lost)) => Some(lost),
    };
    if let Some(lost) = lost {
        let dropped = drop_overtaken(state, place, stop)?;
        notices.push(lost.notice(Overtaken::Dropped(dropped)));
    }
    Ok(notices)
}

/// The result of filling an empty state.
pub(super) struct TakenOver {
    /// The number of rows.
    pub(super) rows: u64,
    /// The publication that they come from.
    pub(super) latest: Publication,
    /// What to report about it.
    pub(super) notices: Vec<Notice>,
}

/// Fills an empty state from the published manifest, if there is one; with a key, it must be signed
/// with that. Rows that a lost publication may have overtaken are dropped, as by [`catch_up`].
/// `allows` is called before anything is taken over.
///
/// # Errors
/// Those of [`ManifestReader::latest_or_highest`] and [`published::rebuild`];
/// [`ErrorKind::Untrusted`] if it isn't signed with the key.
pub(super) fn take_over(
    state: &State,
    place: LookedAt<'_>,
    key: Option<&PublicKey>,
    allows: &dyn Fn() -> Result<(), Error>,
    stop: &Stop,
) -> Result<Option<TakenOver>, Error> {
    let reader = place.reader;
    let Some((latest, fault)) = reader.latest_or_highest()? else { return Ok(None) };
    // A signature must only cover what was verified here, not what others put there.
    if let Some(key) = key {
        reader.signature_status(&latest, Some(key))?.demand(&latest, key)?;
    }
    allows()?;
    let rows = published::rebuild(state, reader, &latest, key)?;
    let mut notices = Vec::new();
    if let Some(fault) = fault {
        let follows = if key.is_none() && reader.is_overtaken(Some(&latest))? {
            Some(Overtaken::Dropped(drop_overtaken(state, place, stop)?))
        } else {
            None
        };
        notices.push(used_instead(&latest, Some(&fault), follows));
    }
    Ok(Some(TakenOver { rows, latest, notices }))
}

/// What a state would contain after [`catch_up`].
pub(super) struct Foresight {
    pub(super) recorded: RecordedRows<Foreseen>,
    /// What to report about it.
    pub(super) notices: Vec<Notice>,
}

/// Returns the rows that [`catch_up`] would produce, if others have published since; writes
/// nothing.
///
/// # Errors
/// Those of [`catch_up`].
pub(super) fn foresee(
    state: &State,
    place: LookedAt<'_>,
    key: Option<&PublicKey>,
) -> Result<Option<Foresight>, Error> {
    let mut notices = Vec::new();
    let (rows, from, lost): (Foreseen, _, _) = match published::foresee(state, place.reader, key)? {
        None => return Ok(None),
        Some(Since::Usable(mut foreseen)) => {
            notices.push(Notice::ManifestToCatchUp { run: foreseen.latest.head.run.clone() });
            let (number, lost) = (foreseen.number, foreseen.lost.take());
            (Box::new(foreseen), number, lost)
        }
        Some(Since::Lost(lost)) => {
            (Box::new(without_run(state.rows()?)), state.number()?, Some(lost))
        }
    };
    let Some(lost) = lost else {
        return Ok(Some(Foresight { recorded: RecordedRows { rows, from }, notices }));
    };
    notices.push(lost.notice(Overtaken::ToDrop));
    let rows = ComparedRows::of(rows, place)?.filter_map(|row| match row {
        Ok((row, Presence::AsRecorded)) => Some(Ok(row)),
        Ok((_, Presence::Otherwise)) => None,
        Err(error) => Some(Err(error)),
    });
    let recorded = RecordedRows { rows: Box::new(rows) as Foreseen, from };
    Ok(Some(Foresight { recorded, notices }))
}

/// Makes the error that a manifest could not be published; `what` says what was done before.
pub(super) fn unpublished(what: &str, error: Error) -> Error {
    const NEXT: &str = "the next run publishes it; until then the previous one remains current";
    let help = error.help.clone().unwrap_or_else(|| NEXT.into());
    let message = format!("{what}, but its manifest could not be published");
    Error::new(error.kind, message).because(error).help(help)
}

fn without_run(rows: Rows) -> impl Iterator<Item = Result<(Row, Option<RunId>), Error>> {
    rows.map(|row| row.map(|row| (row, None)))
}

/// Drops the rows that no longer match the target. Returns their number.
fn drop_overtaken(state: &State, place: LookedAt<'_>, stop: &Stop) -> Result<u64, Error> {
    let mut writer = state.writer()?;
    let mut dropped = 0;
    for row in ComparedRows::of(without_run(state.rows()?), place)? {
        if stop.requested() {
            break;
        }
        if let ((row, _), Presence::Otherwise) = row? {
            writer.remove(&row.key)?;
            dropped += 1;
            if dropped % BATCH == 0 {
                writer.commit()?;
            }
        }
    }
    writer.commit()?;
    Ok(dropped)
}

/// Whether an entry of the target matches its row.
enum Presence {
    /// Its stamp is the recorded one.
    AsRecorded,
    /// It is another entry, is gone, or can't be listed.
    Otherwise,
}

/// Rows, and whether the target's entries still match them. Memory is bounded by that of a listing
/// and a page of rows.
struct ComparedRows<R> {
    rows: R,
    listing: Peekable<OrderChecked>,
    trust: StampFields,
}

impl<R> ComparedRows<R> {
    fn of(rows: R, place: LookedAt<'_>) -> Result<Self, Error> {
        let options =
            ListOptions { filter: Arc::default(), only: None, key_space: place.key_space };
        let listing: Listing = place.target.list(&options)?;
        let listing = OrderChecked::new(listing, Side::Target).peekable();
        Ok(Self { rows, listing, trust: place.trust })
    }

    fn compare(&mut self, row: &Row) -> Result<Presence, Error> {
        loop {
            match self.listing.next_if(|item| is_due(item, row)).transpose()? {
                None => return Ok(Presence::Otherwise),
                Some(ListItem::BrokeOff(error)) => return Err(unlisted(error)),
                Some(ListItem::Failed(error)) if error.key.is_root() => {
                    return Err(unlisted(error));
                }
                Some(ListItem::Entry(entry)) if entry.key == row.key => {
                    return Ok(if is_as_recorded(&entry, row, self.trust) {
                        Presence::AsRecorded
                    } else {
                        Presence::Otherwise
                    });
                }
                Some(_) => {}
            }
        }
    }
}

impl<R: Iterator<Item = Result<(Row, Option<RunId>), Error>>> Iterator for ComparedRows<R> {
    type Item = Result<((Row, Option<RunId>), Presence), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = match self.rows.next()? {
            Ok(row) => row,
            Err(error) => return Some(Err(error)),
        };
        Some(self.compare(&row.0).map(|presence| (row, presence)))
    }
}

/// Returns whether an item of the listing comes before the end of a row's key.
fn is_due(item: &Result<ListItem, Error>, row: &Row) -> bool {
    match item {
        Err(_) | Ok(ListItem::BrokeOff(_)) => true,
        Ok(item) => *item.key() <= row.key,
    }
}

/// Returns whether an entry of the target matches its row. A directory's stamp changes with its
/// content: if it has metadata, that is compared instead.
fn is_as_recorded(entry: &Entry, row: &Row, trust: StampFields) -> bool {
    if row.kind == EntryKind::Directory && entry.stamp.inode().is_some() {
        return entry.kind == EntryKind::Directory && entry.metadata == row.metadata;
    }
    entry.stamp == row.target || entry.stamp.compare(&row.target, trust) == StampMatch::Same
}

fn unlisted(error: crate::model::EntryError) -> Error {
    Error::new(ErrorKind::Unusable, "what is recorded can't be compared with the target")
        .because(error)
        .help("nothing was changed; run again once the target can be listed")
}
