//! A pass through the target's listing and the rows, side by side.

use super::extra::Extras;
use super::tally::{Job, Tally};
use super::unsettled::Unsettled;
use crate::backend::ListItem;
use crate::listing::Unknown;
use crate::manifest::Row;
use crate::model::{Entry, Error, Key, Progress, Stop};
use std::cmp::Ordering;
use std::iter::Peekable;

/// The entry and the row of a key.
struct Found {
    entry: Option<Entry>,
    row: Option<Row>,
}

/// The target's listing and the rows, side by side.
pub(super) struct Scan<L: Iterator, R: Iterator> {
    pub(super) listing: Peekable<L>,
    pub(super) rows: Peekable<R>,
    /// Parts of the target that could not be listed: entries there are neither missing nor extra.
    unknown: Unknown,
    extras: Extras,
    /// Finds differences that may be the work of a killed run.
    unsettled: Unsettled,
}

impl<L, R> Scan<L, R>
where
    L: Iterator<Item = Result<ListItem, Error>>,
    R: Iterator<Item = Result<Row, Error>>,
{
    pub(super) fn new(listing: L, rows: R, unsettled: Unsettled) -> Self {
        Self {
            listing: listing.peekable(),
            rows: rows.peekable(),
            unknown: Unknown::default(),
            extras: Extras::default(),
            unsettled,
        }
    }

    /// Goes through entries and rows; calls `take` with each file to be hashed.
    pub(super) fn run(
        &mut self,
        tally: &Tally<'_>,
        take: &mut dyn FnMut(Job) -> Result<(), Error>,
        progress: &Progress,
        stop: &Stop,
    ) -> Result<(), Error> {
        while !stop.requested() {
            let Some(Found { entry, row }) = self.next(tally)? else {
                self.extras.leave(None, &mut |key| tally.extra(key));
                break;
            };
            progress.entries.add(1);
            let extra = &mut |key: &Key| tally.extra(key);
            let is_unsettled = match (&entry, &row) {
                (Some(entry), row) => self.unsettled.may_have_changed(entry, row.as_ref()),
                (None, Some(row)) => {
                    self.unsettled.may_have_removed(&row.key, || tally.is_replaced(&row.key))
                }
                (None, None) => false,
            };
            match (&entry, &row) {
                (Some(entry), None) if is_unsettled && !tally.is_left_out(entry) => {
                    self.extras.hold(&entry.key, extra);
                    tally.unsettled_extra(&entry.key);
                }
                // (The root has a row after every mirror of a directory.)
                (Some(entry), None) => self.extras.take(entry, tally.is_left_out(entry), extra),
                // A directory that contains recorded entries isn't extra.
                (Some(entry), Some(_)) => self.extras.hold(&entry.key, extra),
                (None, _) => {}
            }
            if let Some(job) = tally.compare(entry, row, is_unsettled) {
                take(job)?;
            }
        }
        Ok(())
    }

    /// Takes a part of the target that is unknown: the directories around it aren't extra.
    fn hold(&mut self, scope: &Key, tally: &Tally<'_>) {
        self.extras.hold(scope, &mut |key| tally.extra(key));
        self.unknown.add(scope.clone());
    }

    /// Returns the next key that either side has.
    fn next(&mut self, tally: &Tally<'_>) -> Result<Option<Found>, Error> {
        loop {
            let next = match (self.listing.peek(), self.rows.peek()) {
                (Some(Err(_)), _) => {
                    self.listing.next().transpose()?;
                    continue;
                }
                (_, Some(Err(_))) => {
                    self.rows.next().transpose()?;
                    continue;
                }
                (None, None) => return Ok(None),
                (Some(Ok(_)), None) => Ordering::Less,
                (None, Some(Ok(_))) => Ordering::Greater,
                (Some(Ok(item)), Some(Ok(row))) => item.key().cmp(&row.key),
            };
            let row = if next == Ordering::Less { None } else { self.rows.next().transpose()? };
            if next == Ordering::Greater {
                if let Some(row) = &row {
                    self.unknown.leave(&row.key);
                    if self.unknown.covers(&row.key) {
                        continue;
                    }
                }
                return Ok(Some(Found { entry: None, row }));
            }
            match self.listing.next().transpose()? {
                Some(ListItem::Entry(entry)) => {
                    // The failure to list a directory follows its entry.
                    return Ok(Some(Found { entry: Some(entry), row }));
                }
                Some(ListItem::Failed(error) | ListItem::BrokeOff(error)) => {
                    self.hold(&error.key, tally);
                    tally.fail_to_list(&error);
                }
                Some(ListItem::LeftOut(key, _) | ListItem::Excluded(key)) => self.hold(&key, tally),
                Some(ListItem::Leftover(_) | ListItem::MountPoint(_) | ListItem::Ignores(..))
                | None => {}
            }
        }
    }
}
