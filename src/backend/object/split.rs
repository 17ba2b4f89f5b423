//! A long listing in ranges that are fetched side by side.
//!
//! Behind the first pages, one request asks for the names that follow (`delimiter`), and ranges
//! between some of them are begun behind a key (`start-after`), each by a thread of its own. That is
//! faster, and decides nothing: there are stores that leave keys out where a listing begins behind a
//! key, or begin elsewhere (`MinIO` lost the key between the first page and the second,
//! <https://github.com/minio/minio/issues/21463>). So each range is proven: the chain of pages before
//! it, which leads back to the listing's own beginning, goes on into the range until it has seen
//! what follows the range's first page, and both must have seen the same keys. Where they haven't,
//! that chain goes on in the range's place.

use super::ListQuery;
use super::habits::Habit;
use super::turning::{Lister, Turning};
use super::{Listed, Page, StoreError};
use crate::model::Timestamp;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use std::io;
use std::sync::{Arc, OnceLock};
use std::thread::Builder;

/// Pages of a range that are fetched ahead: each is up to 1,000 keys of up to 1,024 bytes.
const PAGES_AHEAD: usize = 2;
/// Pages before a listing is split: most end before.
const BEFORE_SPLIT: usize = 4;
/// Ranges that a listing is split into at most.
const RANGES: usize = 8;
/// How many levels with a single name are passed on the way to where it can be split.
const LEVELS: usize = 3;

/// What comes over a chain. A thread that breaks down says nothing.
pub(super) enum Fetched {
    /// Objects of a page, in the store's order.
    Page(Vec<Listed>),
    /// What comes next can't be had; the last message.
    Failed(StoreError),
    /// The chain is at its end; what the next chains have came over this one, of so many.
    End {
        /// How many chains are to be passed over.
        passed: usize,
    },
}

/// The pages of a range.
pub(super) type Chain = Receiver<Fetched>;
/// A chain, `None` for the end of them.
pub(super) type Chains = Receiver<Option<Chain>>;

/// A part of the listing that begins behind a key.
struct Range {
    after: Box<[u8]>,
    /// What its own chain tells of its beginning; `None` where that is of no use.
    beginning: OnceLock<Option<Beginning>>,
}

/// The beginning of a range: its keys up to and with the first one behind its first page.
struct Beginning {
    keys: Vec<Box<[u8]>>,
    /// No key follows.
    is_all: bool,
    /// The store's time when it told the first of them.
    told: Option<Timestamp>,
}

/// How a range goes with the chain before it.
#[derive(Debug, PartialEq, Eq)]
enum Join {
    /// Both have seen the same keys, as far as they came.
    Open,
    /// Both have seen the same keys, and the range goes on from there.
    Proven,
    /// They haven't; somebody may have changed the bucket meanwhile.
    Broken,
    /// The range lacks a key that was there before it was listed, and still is.
    Lost,
}

impl Beginning {
    /// Compares it with what the chain before it saw behind the range's start, which is all that
    /// follows where that chain `ended`.
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
                    // Both times are of the store's clock, which may tell whole seconds only.
                    let was_there = (object.modified.zip(self.told))
                        .is_some_and(|(modified, told)| modified.seconds + 1 < told.seconds);
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

/// Fetches what follows the first page, on threads that end when nobody takes their pages any more.
pub(super) fn fetch(lister: &Arc<dyn Lister>, token: String) -> io::Result<Chains> {
    // As many as there are ranges: all are told at once.
    let (chains, receiver) = unbounded();
    let lister = Arc::clone(lister);
    Builder::new().name("list".into()).spawn(move || {
        let (pages, chain) = bounded(PAGES_AHEAD);
        // This fails only where the listing was dropped; so it does below.
        if chains.send(Some(chain)).is_err() {
            return;
        }
        let mut walk = Walk::new(&*lister, Some(token), &pages);
        let is_whole = lister.habits().is_some_and(|habits| habits.has(Habit::LosesKeys));
        let before = if is_whole { usize::MAX } else { BEFORE_SPLIT };
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
                // Its keys come over the chain before it then.
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

/// Lists a range of its own.
fn begin(lister: &dyn Lister, ranges: &[Range], at: usize, pages: &Sender<Fetched>) {
    let range = &ranges[at];
    // Whatever becomes of it, who waits for it hears.
    let _settled = SettleOnDrop(&range.beginning);
    let mut walk = Walk::new(lister, None, pages);
    let Some((beginning, objects)) = walk.beginning(&range.after) else { return };
    range.beginning.set(Some(beginning)).ok();
    let is_sent = objects.into_iter().all(|page| walk.send(page).is_some());
    if is_sent {
        walk.up_to(ranges, at + 1);
    }
}

/// Says of a beginning, once dropped, that it is of no use, unless something was said of it.
struct SettleOnDrop<'a>(&'a OnceLock<Option<Beginning>>);

impl Drop for SettleOnDrop<'_> {
    fn drop(&mut self) {
        self.0.set(None).ok();
    }
}

/// A thread's way through the pages of a listing.
struct Walk<'a> {
    lister: &'a dyn Lister,
    turning: Turning<'a>,
    pages: &'a Sender<Fetched>,
    /// The last key that came.
    last: Box<[u8]>,
}

impl<'a> Walk<'a> {
    fn new(lister: &'a dyn Lister, token: Option<String>, pages: &'a Sender<Fetched>) -> Self {
        let turning = Turning::from(lister, token);
        Self { lister, turning, pages, last: Box::default() }
    }

    fn send(&self, objects: Vec<Listed>) -> Option<()> {
        self.pages.send(Fetched::Page(objects)).ok()
    }

    fn end(&self, passed: usize) -> Option<()> {
        self.pages.send(Fetched::End { passed }).ok()
    }

    /// Adds the next page's objects to those `held`; `None` where nothing can follow, which has
    /// been told behind those: an error, or an order that is none.
    fn turn(&mut self, mut held: Vec<Listed>) -> Option<Vec<Listed>> {
        let page = match self.turning.turn() {
            Ok(page) => page.unwrap_or(Page { in_order: true, ..Page::default() }),
            Err(error) => {
                self.send(held)?;
                self.pages.send(Fetched::Failed(error)).ok();
                return None;
            }
        };
        match self.take(page) {
            Ok(objects) => {
                held.extend(objects);
                Some(held)
            }
            Err(disordered) => {
                self.send(held)?;
                // It is handed on as it is, so that it shows.
                self.send(disordered)?;
                None
            }
        }
    }

    /// Takes a page's objects.
    ///
    /// # Errors
    /// The objects, where they are out of order.
    fn take(&mut self, page: Page) -> Result<Vec<Listed>, Vec<Listed>> {
        let objects = page.objects;
        let is_behind = objects.first().is_none_or(|first| first.key >= self.last);
        if !(page.in_order && is_behind) {
            return Err(objects);
        }
        if let Some(last) = objects.last() {
            self.last.clone_from(&last.key);
        }
        Ok(objects)
    }

    fn is_at_end(&self) -> bool {
        self.turning.token.is_none()
    }

    /// Passes the next page on; `None` at the end.
    fn pass(&mut self) -> Option<()> {
        let objects = self.turn(Vec::new())?;
        self.send(objects)?;
        if self.is_at_end() {
            self.end(0);
            return None;
        }
        Some(())
    }

    /// Begins behind a key; the pages that came until the beginning can be told. `None` where it
    /// can't be: the store begins elsewhere, or can't be asked.
    fn beginning(&mut self, after: &[u8]) -> Option<(Beginning, Vec<Vec<Listed>>)> {
        let page = self.turning.after(after).ok()?;
        let told = page.date;
        let mut first = self.take(page).ok()?;
        // Some stores list the key itself.
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
            let page = self.turning.turn().ok()??;
            let objects = self.take(page).ok()?;
            let behind = objects.iter().find(|object| keys.last() < Some(&object.key));
            if let Some(object) = behind {
                keys.push(object.key.clone());
                is_all = false;
            }
            pages.push(objects);
        }
        Some((Beginning { keys, is_all, told }, pages))
    }

    /// Passes pages on until a range takes over, the first one at `at`.
    fn up_to(&mut self, ranges: &[Range], at: usize) -> Option<()> {
        let mut next = at;
        let mut ended = self.is_at_end();
        // What came from behind the start of the next range.
        let mut behind: Vec<Listed> = Vec::new();
        loop {
            while let Some(range) = ranges.get(next) {
                if behind.is_empty() && !ended {
                    break;
                }
                let beginning = range.beginning.wait().as_ref();
                match beginning.map_or(Join::Broken, |beginning| beginning.join(&behind, ended)) {
                    Join::Open => break,
                    Join::Proven => return self.end(next - at),
                    Join::Broken => next += 1,
                    Join::Lost => {
                        next = ranges.len();
                        if let Some(habits) = self.lister.habits() {
                            self.lister.warn(habits.learn_losses());
                        }
                    }
                }
                behind = self.send_up_to(ranges.get(next), behind)?;
            }
            if ended {
                self.send(behind)?;
                return self.end(ranges.len() - at);
            }
            behind = self.turn(behind)?;
            ended = self.is_at_end();
            behind = self.send_up_to(ranges.get(next), behind)?;
        }
    }

    /// Passes on what lies before a range, or all where there is none, and gives the rest back.
    fn send_up_to(&self, range: Option<&Range>, mut objects: Vec<Listed>) -> Option<Vec<Listed>> {
        let within = range.map_or(objects.len(), |range| {
            objects.partition_point(|object| *object.key <= *range.after)
        });
        let behind = objects.split_off(within);
        if !objects.is_empty() {
            self.send(objects)?;
        }
        Some(behind)
    }
}

/// Keys behind which ranges of what follows `last` begin; none where it can't be split.
fn splits(lister: &dyn Lister, last: &[u8]) -> Vec<Box<[u8]>> {
    let mut prefix = lister.prefix().to_vec();
    for _ in 0..LEVELS {
        let query = ListQuery {
            prefix: &prefix,
            after: Some(last),
            delimiter: true,
            ..ListQuery::default()
        };
        // Only a hint: whatever is wrong shows in the listing itself.
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
