//! A pass through the target's listing and the rows, side by side.

use super::extra::Extras;
use super::links::LinkGroups;
use super::tally::{Job, Tally};
use super::unsettled::Unsettled;
use crate::backend::ListItem;
use crate::listing::Unknown;
use crate::manifest::Row;
use crate::model::{Entry, Error, Key, Progress, Stop};
use std::cmp::Ordering;
use std::iter::Peekable;
use std::path::Path;

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
    /// The names of files with several, if they are compared.
    links: Option<LinkGroups>,
    /// The directory on which a file system is mounted that was met last.
    mount: Option<Key>,
}

/// The most names of a file that every file system allows.
const FEW_NAMES: u32 = 32_000;

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
            links: None,
            mount: None,
        }
    }

    /// Compares hard links, too, of which `dir` holds what doesn't fit in memory.
    #[must_use]
    pub(super) fn with_links(self, dir: &Path) -> Self {
        Self { links: Some(LinkGroups::new(dir)), ..self }
    }

    /// Adds a recorded name of a file with several, on either side. What lies on another file system
    /// that is mounted in the target can't be linked there.
    fn add_links(&mut self, entry: &Entry, row: &Row) -> Result<(), Error> {
        let Some(links) = &mut self.links else { return Ok(()) };
        let is_elsewhere =
            self.mount.as_ref().is_some_and(|mount| entry.key.is_within(mount.as_bytes()));
        let has_few = [row.group(), entry.group()].iter().flatten().all(|it| it.names < FEW_NAMES);
        if entry.kind != row.kind || entry.stamp.inode().is_none() || is_elsewhere || !has_few {
            return Ok(());
        }
        links.add(&entry.key, [row.group(), entry.group()].map(|group| group.map(|it| it.id)))
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
            if let (Some(entry), Some(row), false) = (&entry, &row, is_unsettled) {
                self.add_links(entry, row)?;
            }
            if let Some(job) = tally.compare(entry, row, is_unsettled) {
                take(job)?;
            }
        }
        match self.links.take().filter(|_| !stop.requested()) {
            Some(links) => links.finish(|key, torn| tally.torn(key, torn)),
            None => Ok(()),
        }
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
                Some(ListItem::MountPoint(key)) => self.mount = Some(key),
                Some(ListItem::Leftover(_) | ListItem::Ignores(..)) | None => {}
            }
        }
    }
}
