//! What a run does about the manifest that stands in its target, whatever kind of run it is: it
//! takes in what others published there since it was published from here, and says so.

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

/// Rows that are dropped together.
const BATCH: u64 = 10_000;

/// A target, and how it is looked at.
#[derive(Clone, Copy)]
pub(super) struct LookedAt<'a> {
    pub(super) target: &'a dyn Target,
    /// Where its manifest is kept.
    pub(super) reader: &'a ManifestReader<'a>,
    /// The form of the run's keys.
    pub(super) key_space: KeySpace,
    /// What of a stamp isn't compared.
    pub(super) trust: StampFields,
}

/// Rows in key order, with the id of the run of each that others published.
pub(super) type Foreseen = Box<dyn Iterator<Item = Result<(Row, Option<RunId>), Error>> + Send>;

/// Takes into a state what others published since, if they did. Where that is lost, rows here whose
/// entries others may have replaced are dropped: those that the target no longer has as they say.
///
/// # Errors
/// As those of [`published::catch_up`], and [`ErrorKind::Unusable`] where the target can't be
/// listed.
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

/// What a state without a run was made of.
pub(super) struct TakenOver {
    /// How many rows it got.
    pub(super) rows: u64,
    /// The publication that they are from.
    pub(super) latest: Publication,
    /// What there is to say of it.
    pub(super) notices: Vec<Notice>,
}

/// Makes a state without a run of what was published, if anything was; signed with the key, where
/// there is one. Rows that a lost publication may have overtaken are dropped, as by [`catch_up`].
/// Where there is something to take over, `allows` is asked before.
///
/// # Errors
/// As those of [`ManifestReader::latest_or_highest`] and [`published::rebuild`];
/// [`ErrorKind::Untrusted`] where it isn't signed with the key.
pub(super) fn take_over(
    state: &State,
    place: LookedAt<'_>,
    key: Option<&PublicKey>,
    allows: &dyn Fn() -> Result<(), Error>,
    stop: &Stop,
) -> Result<Option<TakenOver>, Error> {
    let reader = place.reader;
    let Some((latest, fault)) = reader.latest_or_highest()? else { return Ok(None) };
    // A signature is to vouch for what was seen here, not for what anybody put there.
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

/// What a state would hold after [`catch_up`].
pub(super) struct Foresight {
    pub(super) recorded: RecordedRows<Foreseen>,
    /// What there is to say of it.
    pub(super) notices: Vec<Notice>,
}

/// The rows that a state would have after [`catch_up`], where others published since; writes
/// nothing.
///
/// # Errors
/// As those of [`catch_up`].
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
    let rows = WhatStands::of(rows, place)?.filter_map(|row| match row {
        Ok((row, Stands::AsRecorded)) => Some(Ok(row)),
        Ok((_, Stands::Otherwise)) => None,
        Err(error) => Some(Err(error)),
    });
    let recorded = RecordedRows { rows: Box::new(rows) as Foreseen, from };
    Ok(Some(Foresight { recorded, notices }))
}

/// That a run did all, but its manifest could not be published: `what` says the first.
pub(super) fn unpublished(what: &str, error: Error) -> Error {
    const NEXT: &str = "the next run publishes it; until then the one before it counts";
    let help = error.help.clone().unwrap_or_else(|| NEXT.into());
    let message = format!("{what}, but its manifest could not be published");
    Error::new(error.kind, message).because(error).help(help)
}

fn without_run(rows: Rows) -> impl Iterator<Item = Result<(Row, Option<RunId>), Error>> {
    rows.map(|row| row.map(|row| (row, None)))
}

/// Drops the rows whose entries the target no longer has as they say; how many.
fn drop_overtaken(state: &State, place: LookedAt<'_>, stop: &Stop) -> Result<u64, Error> {
    let mut writer = state.writer()?;
    let mut dropped = 0;
    for row in WhatStands::of(without_run(state.rows()?), place)? {
        if stop.requested() {
            break;
        }
        if let ((row, _), Stands::Otherwise) = row? {
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

/// Whether an entry stands as its row says.
enum Stands {
    /// As far as its stamp tells.
    AsRecorded,
    /// It is another, it is gone, or it can't be seen.
    Otherwise,
}

/// Rows, and whether the target still has what they say. Memory is bounded by what a listing and a
/// page of rows hold.
struct WhatStands<R> {
    rows: R,
    listing: Peekable<OrderChecked>,
    trust: StampFields,
}

impl<R> WhatStands<R> {
    fn of(rows: R, place: LookedAt<'_>) -> Result<Self, Error> {
        let options =
            ListOptions { filter: Arc::default(), only: None, key_space: place.key_space };
        let listing: Listing = place.target.list(&options)?;
        let listing = OrderChecked::new(listing, Side::Target).peekable();
        Ok(Self { rows, listing, trust: place.trust })
    }

    fn stands(&mut self, row: &Row) -> Result<Stands, Error> {
        loop {
            match self.listing.next_if(|item| is_due(item, row)).transpose()? {
                None => return Ok(Stands::Otherwise),
                Some(ListItem::BrokeOff(error)) => return Err(unlisted(error)),
                Some(ListItem::Failed(error)) if error.key.is_root() => {
                    return Err(unlisted(error));
                }
                Some(ListItem::Entry(entry)) if entry.key == row.key => {
                    return Ok(if is_as_recorded(&entry, row, self.trust) {
                        Stands::AsRecorded
                    } else {
                        Stands::Otherwise
                    });
                }
                Some(_) => {}
            }
        }
    }
}

impl<R: Iterator<Item = Result<(Row, Option<RunId>), Error>>> Iterator for WhatStands<R> {
    type Item = Result<((Row, Option<RunId>), Stands), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = match self.rows.next()? {
            Ok(row) => row,
            Err(error) => return Some(Err(error)),
        };
        Some(self.stands(&row.0).map(|stands| (row, stands)))
    }
}

/// Whether an item of a listing comes before what follows a row.
fn is_due(item: &Result<ListItem, Error>, row: &Row) -> bool {
    match item {
        Err(_) | Ok(ListItem::BrokeOff(_)) => true,
        Ok(item) => *item.key() <= row.key,
    }
}

/// Whether an entry of the target is what its row says. A directory's stamp changes with what is
/// put in it: where it has metadata of its own, that tells.
fn is_as_recorded(entry: &Entry, row: &Row, trust: StampFields) -> bool {
    if row.kind == EntryKind::Directory && entry.stamp.inode().is_some() {
        return entry.kind == EntryKind::Directory && entry.metadata == row.metadata;
    }
    entry.stamp == row.target || entry.stamp.compare(&row.target, trust) == StampMatch::Same
}

fn unlisted(error: crate::model::EntryError) -> Error {
    Error::new(ErrorKind::Unusable, "what is recorded can't be held against the target")
        .because(error)
        .help("nothing was changed; run again once the target can be listed")
}
