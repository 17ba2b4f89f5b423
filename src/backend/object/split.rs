//! A long listing split into ranges that are fetched concurrently.
//!
//! After the first pages, one request asks for the names that follow (`delimiter`), and ranges that
//! begin after some of them (`start-after`) are each fetched by a thread of their own. This is only
//! a speed-up and must not decide which keys exist: some stores omit keys when a listing begins
//! after a key, or begin elsewhere (`MinIO` lost the key between the first page and the second,
//! <https://github.com/minio/minio/issues/21463>). So each range is verified. The chain of pages
//! before it, which goes back to the beginning of the listing, continues into the range until it
//! has passed the range's first page, and both must have seen the same keys. If they haven't, that
//! chain continues in place of the range.

use super::ListQuery;
use super::habits::Habit;
use super::page_cursor::{Lister, PageCursor};
use super::{Listed, Page, StoreError};
use crate::model::Timestamp;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use std::io;
use std::sync::{Arc, OnceLock};
use std::thread::Builder;

/// Pages of a range that are fetched ahead; each has up to 1,000 keys of up to 1,024 bytes.
const PAGES_AHEAD: usize = 2;
/// Pages before a listing is split: most listings are shorter.
const BEFORE_SPLIT: usize = 4;
/// Most ranges that a listing is split into.
const RANGES: usize = 8;
/// Most directory levels with a single name that are descended to find where to split.
const LEVELS: usize = 3;

/// A message of a chain. If its thread fails, the channel closes.
pub(super) enum Fetched {
    /// Objects of a page, in the store's order.
    Page(Vec<Listed>),
    /// The next page can't be read; this is the last message.
    Failed(StoreError),
    /// The end of the chain. It also contained the keys of the next `passed` chains.
    End {
        /// How many of the following chains to skip.
        passed: usize,
    },
}

/// The pages of a range.
pub(super) type Chain = Receiver<Fetched>;
/// The chains in order, then `None`.
pub(super) type Chains = Receiver<Option<Chain>>;

/// A range of the listing that begins after a key.
struct Range {
    after: Box<[u8]>,
    /// What the range's own chain found at its beginning; `None` if it is of no use.
    beginning: OnceLock<Option<Beginning>>,
}

/// The beginning of a range: its keys up to and including the first one after its first page.
struct Beginning {
    keys: Vec<Box<[u8]>>,
    /// Whether no further key follows.
    is_all: bool,
    /// The store's time when it listed the first keys.
    listed_at: Option<Timestamp>,
}

/// How a range compares with the chain before it.
#[derive(Debug, PartialEq, Eq)]
enum Join {
    /// Both have seen the same keys so far.
    Open,
    /// Both have seen the same keys, and the range continues from there.
    Proven,
    /// They have seen different keys; the bucket may have been changed meanwhile.
    Broken,
    /// The range lacks a key that existed before the range was listed and still does.
    Lost,
}

impl Beginning {
    /// Compares the beginning with what the chain before it has seen after the range's start. If
    /// that chain `ended`, nothing more follows.
    fn join(&self, seen: &[Listed], ended: bool) -> Join {
        let mut keys = self.keys.iter();
        let mut last = None;
        for object in seen {
            if last.replace(&object.key) == Some(&object.key) {
                continue;
            }
            match keys.next() {
                Some(key) if *key == object.key => {}
                None if !self.is_all => return Join::Proven,
                other => {
                    // Both times are from the store's clock, which may have a resolution of whole
                    // seconds.
                    let was_there = (object.modified.zip(self.listed_at)).is_some_and(
                        |(modified, listed_at)| modified.seconds + 1 < listed_at.seconds,
                    );
                    let is_missing = other.is_none_or(|key| *key > object.key);
                    return if is_missing && was_there { Join::Lost } else { Join::Broken };
                }
            }
        }
        match (keys.next(), ended) {
            (None, true) => Join::Proven,
            (None, false) if !self.is_all => Join::Proven,
            (Some(_), true) => Join::Broken,
            (_, false) => Join::Open,
        }
    }
}

/// Fetches the pages after the first one on threads, which end when the receiver is dropped.
pub(super) fn fetch(lister: &Arc<dyn Lister>, token: String) -> io::Result<Chains> {
    // Unbounded, but never more than the number of ranges: all are sent at once.
    let (chains, receiver) = unbounded();
    let lister = Arc::clone(lister);
    Builder::new().name("list".into()).spawn(move || {
        let (pages, chain) = bounded(PAGES_AHEAD);
        // Sending fails only if the listing was dropped, also below.
        if chains.send(Some(chain)).is_err() {
            return;
        }
        let mut walk = Walk::new(&*lister, Some(token), &pages);
        let is_unsplittable = lister.habits().is_some_and(|habits| habits.has(Habit::LosesKeys));
        let before = if is_unsplittable { usize::MAX } else { BEFORE_SPLIT };
        for _ in 0..before {
            if walk.pass().is_none() {
                chains.send(None).ok();
                return;
            }
        }
        let range = |after| Range { after, beginning: OnceLock::new() };
        let ranges: Arc<[Range]> = splits(&*lister, &walk.last).into_iter().map(range).collect();
        for at in 0..ranges.len() {
            let (pages, chain) = bounded(PAGES_AHEAD);
            let (lister, all) = (Arc::clone(&lister), Arc::clone(&ranges));
            let begun =
                Builder::new().name("list".into()).spawn(move || begin(&*lister, &all, at, &pages));
            if begun.is_err() {
                // The chain before it then delivers its keys.
                ranges[at].beginning.set(None).ok();
            }
            if chains.send(Some(chain)).is_err() {
                return;
            }
        }
        chains.send(None).ok();
        walk.up_to(&ranges, 0);
    })?;
    Ok(receiver)
}

/// Lists one range.
fn begin(lister: &dyn Lister, ranges: &[Range], at: usize, pages: &Sender<Fetched>) {
    let range = &ranges[at];
    // Whatever happens, a thread that waits for the beginning is released.
    let _settled = SettleOnDrop(&range.beginning);
    let mut walk = Walk::new(lister, None, pages);
    let Some((beginning, objects)) = walk.beginning(&range.after) else { return };
    range.beginning.set(Some(beginning)).ok();
    let is_sent = objects.into_iter().all(|page| walk.send(page).is_some());
    if is_sent {
        walk.up_to(ranges, at + 1);
    }
}

/// Marks a beginning as of no use when dropped, unless it was set before.
struct SettleOnDrop<'a>(&'a OnceLock<Option<Beginning>>);

impl Drop for SettleOnDrop<'_> {
    fn drop(&mut self) {
        self.0.set(None).ok();
    }
}

/// A thread's position in the pages of a listing.
struct Walk<'a> {
    lister: &'a dyn Lister,
    cursor: PageCursor<'a>,
    pages: &'a Sender<Fetched>,
    /// The last key received.
    last: Box<[u8]>,
}

impl<'a> Walk<'a> {
    fn new(lister: &'a dyn Lister, token: Option<String>, pages: &'a Sender<Fetched>) -> Self {
        let cursor = PageCursor::from(lister, token);
        Self { lister, cursor, pages, last: Box::default() }
    }

    fn send(&self, objects: Vec<Listed>) -> Option<()> {
        self.pages.send(Fetched::Page(objects)).ok()
    }

    fn end(&self, passed: usize) -> Option<()> {
        self.pages.send(Fetched::End { passed }).ok()
    }

    /// Adds the next page's objects to `pending`. Returns `None` if nothing can follow; then
    /// `pending` was sent, followed by the error or the page that is out of order.
    fn receive(&mut self, mut pending: Vec<Listed>) -> Option<Vec<Listed>> {
        let page = match self.cursor.next() {
            Ok(page) => page.unwrap_or(Page { in_order: true, ..Page::default() }),
            Err(error) => {
                self.send(pending)?;
                self.pages.send(Fetched::Failed(error)).ok();
                return None;
            }
        };
        match self.take(page) {
            Ok(objects) => {
                pending.extend(objects);
                Some(pending)
            }
            Err(disordered) => {
                self.send(pending)?;
                // Sent as it is, so that the receiver notices the disorder.
                self.send(disordered)?;
                None
            }
        }
    }

    /// Checks the order of a page and takes its objects.
    ///
    /// # Errors
    /// The objects, if they are out of order.
    fn take(&mut self, page: Page) -> Result<Vec<Listed>, Vec<Listed>> {
        let objects = page.objects;
        let is_in_sequence = objects.first().is_none_or(|first| first.key >= self.last);
        if !(page.in_order && is_in_sequence) {
            return Err(objects);
        }
        if let Some(last) = objects.last() {
            self.last.clone_from(&last.key);
        }
        Ok(objects)
    }

    fn is_at_end(&self) -> bool {
        self.cursor.token.is_none()
    }

    /// Sends the next page; returns `None` at the end.
    fn pass(&mut self) -> Option<()> {
        let objects = self.receive(Vec::new())?;
        self.send(objects)?;
        if self.is_at_end() {
            self.end(0);
            return None;
        }
        Some(())
    }

    /// Starts after a key and fetches pages until the range's beginning is known. Returns the
    /// beginning and those pages, or `None` if the store begins elsewhere or a request fails.
    fn beginning(&mut self, after: &[u8]) -> Option<(Beginning, Vec<Vec<Listed>>)> {
        let page = self.cursor.after(after).ok()?;
        let listed_at = page.date;
        let mut first = self.take(page).ok()?;
        // Some stores list the key itself, too.
        if first.first().is_some_and(|object| *object.key == *after) {
            first.remove(0);
        }
        if first.first().is_some_and(|object| *object.key < *after) {
            return None;
        }
        let mut keys: Vec<_> = first.iter().map(|object| object.key.clone()).collect();
        let mut pages = vec![first];
        let mut is_all = true;
        while is_all && !self.is_at_end() {
            let page = self.cursor.next().ok()??;
            let objects = self.take(page).ok()?;
            let tail = objects.iter().find(|object| keys.last() < Some(&object.key));
            if let Some(object) = tail {
                keys.push(object.key.clone());
                is_all = false;
            }
            pages.push(objects);
        }
        Some((Beginning { keys, is_all, listed_at }, pages))
    }

    /// Sends pages until a range takes over; `at` is the first that may.
    fn up_to(&mut self, ranges: &[Range], at: usize) -> Option<()> {
        let mut next = at;
        let mut ended = self.is_at_end();
        // Objects received after the start of the next range.
        let mut tail: Vec<Listed> = Vec::new();
        loop {
            while let Some(range) = ranges.get(next) {
                if tail.is_empty() && !ended {
                    break;
                }
                let beginning = range.beginning.wait().as_ref();
                match beginning.map_or(Join::Broken, |beginning| beginning.join(&tail, ended)) {
                    Join::Open => break,
                    Join::Proven => return self.end(next - at),
                    Join::Broken => next += 1,
                    Join::Lost => {
                        next = ranges.len();
                        if let Some(habits) = self.lister.habits() {
                            self.lister.add_notice(habits.record_losses());
                        }
                    }
                }
                tail = self.send_up_to(ranges.get(next), tail)?;
            }
            if ended {
                self.send(tail)?;
                return self.end(ranges.len() - at);
            }
            tail = self.receive(tail)?;
            ended = self.is_at_end();
            tail = self.send_up_to(ranges.get(next), tail)?;
        }
    }

    /// Sends the objects before a range (all if there is none) and returns the others.
    fn send_up_to(&self, range: Option<&Range>, mut objects: Vec<Listed>) -> Option<Vec<Listed>> {
        let within = range.map_or(objects.len(), |range| {
            objects.partition_point(|object| *object.key <= *range.after)
        });
        let tail = objects.split_off(within);
        if !objects.is_empty() {
            self.send(objects)?;
        }
        Some(tail)
    }
}

/// Returns keys after which ranges of the listing after `last` begin; none if it can't be split.
fn splits(lister: &dyn Lister, last: &[u8]) -> Vec<Box<[u8]>> {
    let mut prefix = lister.prefix().to_vec();
    for _ in 0..LEVELS {
        let query = ListQuery {
            prefix: &prefix,
            after: Some(last),
            delimiter: true,
            ..ListQuery::default()
        };
        // Only a hint: an error shows in the listing itself.
        let Ok(page) = lister.page(&query) else { return Vec::new() };
        let mut names = page.prefixes;
        names.retain(|name| **name > *last);
        names.sort_unstable();
        names.dedup();
        if let ([name], true, None) = (&*names, page.objects.is_empty(), &page.next) {
            prefix = name.to_vec();
            continue;
        }
        let ranges = RANGES.min(names.len());
        return (1..ranges).map(|at| names[at * names.len() / ranges].clone()).collect();
    }
    Vec::new()
}

#[cfg(test)]
mod tests;
