//! Pages of a bucket to a stream of objects in byte order of their keys.
//!
//! Pages are fetched ahead by threads. A long listing is split behind its first pages: one request
//! asks for the names that follow (`delimiter`), and ranges between some of them are fetched side by
//! side (`start-after`), each by a thread of its own. Stores that list in another order are listed
//! whole and sorted on disk.

use super::order::Order;
use super::place::{ObjectPlace, cause};
use super::{ListQuery, Listed, Page, StoreError, StoreErrorKind};
use crate::model::{Cause, ETag, Timestamp};
use crate::spool::{Sorted, Sorter};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use std::io;
use std::sync::Arc;
use std::thread::Builder;

/// Pages of a range that are fetched ahead: each is up to 1,000 keys of up to 1,024 bytes.
const PAGES_AHEAD: usize = 2;
/// Pages before a listing is split: most end before.
const BEFORE_SPLIT: usize = 4;
/// Ranges that a listing is split into at most.
const RANGES: usize = 8;
/// How many levels with a single name are passed on the way to where it can be split.
const LEVELS: usize = 3;
/// Pages without a key, one behind the other, after which a listing is taken to go round.
const IDLE_PAGES: usize = 20;
/// Bytes of an unordered listing that are sorted in memory.
const SORTED: usize = 8 << 20;

/// Objects, or what keeps the rest unknown.
pub(super) type Objects = Box<dyn Iterator<Item = Result<Listed, Cause>> + Send>;

/// Streams all objects of a place, of whose listing the first page came.
pub(super) fn objects(place: &Arc<ObjectPlace>, first: Page) -> io::Result<Objects> {
    let is_own = place.order.as_ref().is_some_and(Order::is_own);
    if !first.in_order || is_own {
        return Ok(Box::new(Unordered {
            place: Arc::clone(place),
            first: Some(first),
            sorted: None,
        }));
    }
    let Page { objects, next, .. } = first;
    let chains = match next {
        Some(token) => Some(fetch(place, token)?),
        None => None,
    };
    let (place, page) = (Arc::clone(place), objects.into_iter());
    Ok(Box::new(Ordered { place, chains, pages: None, page, last: Vec::new() }))
}

/// A page, `None` for the end of its chain. A thread that breaks down says neither.
type Fetched = Result<Option<Page>, StoreError>;
type Chain = Receiver<Fetched>;
/// A chain, `None` for the end of them.
type Chains = Receiver<Option<Chain>>;

/// Objects of a store that lists in order: chains of pages, one behind the other.
struct Ordered {
    place: Arc<ObjectPlace>,
    /// `None` once they ended.
    chains: Option<Chains>,
    pages: Option<Chain>,
    page: std::vec::IntoIter<Listed>,
    /// The last key; a buffer that is used again.
    last: Vec<u8>,
}

impl Ordered {
    /// Makes sure that a key comes behind the last one, where it is remembered if it doesn't.
    fn check_order(&mut self, key: &[u8]) -> Result<(), Cause> {
        let Some(order) = &self.place.order else { return Ok(()) };
        if *key < *self.last {
            return Err(order.learn(key));
        }
        self.last.clear();
        self.last.extend_from_slice(key);
        Ok(())
    }

    /// Goes to the next page; false at the end.
    fn turn(&mut self) -> Result<bool, Cause> {
        loop {
            if let Some(pages) = &self.pages {
                let page = pages.recv().map_err(|_| broken_down())?;
                if let Some(page) = page.map_err(|error| cause(&error))? {
                    self.page = page.objects.into_iter();
                    return Ok(true);
                }
                self.pages = None;
            }
            let Some(chains) = &self.chains else { return Ok(false) };
            match chains.recv().map_err(|_| broken_down())? {
                Some(chain) => self.pages = Some(chain),
                None => self.chains = None,
            }
        }
    }
}

impl Iterator for Ordered {
    type Item = Result<Listed, Cause>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let result = if let Some(object) = self.page.next() {
                match self.check_order(&object.key) {
                    Ok(()) => return Some(Ok(object)),
                    Err(cause) => Err(cause),
                }
            } else {
                self.turn()
            };
            match result {
                Ok(true) => {}
                Ok(false) => return None,
                Err(cause) => {
                    (self.chains, self.pages, self.page) = (None, None, Vec::new().into_iter());
                    return Some(Err(cause));
                }
            }
        }
    }
}

/// Fetches what follows the first page, on threads that end when nobody takes their pages any more.
fn fetch(place: &Arc<ObjectPlace>, token: String) -> io::Result<Chains> {
    // As many as there are ranges: all are told at once.
    let (chains, receiver) = unbounded();
    let place = Arc::clone(place);
    Builder::new().name("list".into()).spawn(move || {
        let (pages, chain) = bounded(PAGES_AHEAD);
        if chains.send(Some(chain)).is_err() {
            return;
        }
        let start = Start::Token(token);
        let Some((token, last)) = follow(&place, start, None, BEFORE_SPLIT, &pages) else {
            // Nobody takes it only where the listing was dropped; so it is below.
            chains.send(None).ok();
            return;
        };
        let splits = splits(&place, &last);
        // What is left of the first chain ends where the second begins.
        for (at, after) in splits.iter().enumerate() {
            let (pages, chain) = bounded(PAGES_AHEAD);
            let (place, after, end) =
                (Arc::clone(&place), after.clone(), splits.get(at + 1).cloned());
            let range = Builder::new().name("list".into()).spawn(move || {
                follow(&place, Start::After(after), end.as_deref(), usize::MAX, &pages);
            });
            // A chain without a thread has no end either: the listing breaks off there.
            if chains.send(Some(chain)).is_err() || range.is_err() {
                break;
            }
        }
        chains.send(None).ok();
        let end = splits.first().map(|end| &**end);
        follow(&place, Start::Token(token), end, usize::MAX, &pages);
    })?;
    Ok(receiver)
}

fn goes_round() -> StoreError {
    StoreError::new(StoreErrorKind::BadReply).message("the listing goes on and on without a key")
}

fn broken_down() -> Cause {
    Cause::Other("a thread that lists broke down".to_owned())
}

/// Where a chain begins.
enum Start {
    Token(String),
    After(Box<[u8]>),
}

/// Fetches a chain's pages up to and with the key `end`; what is left after `most` pages is told by
/// the token of the next one and the last key. An error is a page too, and the last.
fn follow(
    place: &ObjectPlace,
    start: Start,
    end: Option<&[u8]>,
    most: usize,
    pages: &Sender<Fetched>,
) -> Option<(String, Box<[u8]>)> {
    let (mut token, mut after) = match start {
        Start::Token(token) => (Some(token), None),
        Start::After(after) => (None, Some(after)),
    };
    let mut idle = 0;
    for fetched in 1.. {
        let query = ListQuery {
            prefix: &place.prefix,
            token: token.as_deref(),
            after: after.as_deref(),
            ..ListQuery::default()
        };
        let mut page = place.store.list(&query);
        let mut next = None;
        idle = match &page {
            Ok(page) if page.objects.is_empty() => idle + 1,
            _ => 0,
        };
        if idle > IDLE_PAGES {
            page = Err(goes_round());
        }
        if let Ok(page) = &mut page {
            next = page.next.take();
            // A page out of order is passed on whole: it shows, and breaks the listing off.
            let end = end.filter(|_| page.in_order);
            let within = end.map_or(page.objects.len(), |end| {
                page.objects.partition_point(|object| *object.key <= *end)
            });
            if within < page.objects.len() {
                page.objects.truncate(within);
                next = None;
            }
            after = page.objects.last().map(|object| object.key.clone()).or(after);
        }
        let failed = page.is_err();
        pages.send(page.map(Some)).ok()?;
        if failed {
            return None;
        }
        let Some(next) = next else {
            // Nobody who waits for more misses it.
            pages.send(Ok(None)).ok();
            return None;
        };
        token = Some(next);
        if fetched == most {
            return token.zip(after);
        }
    }
    None
}

/// Keys behind which ranges of what follows `last` begin; none where it can't be split.
fn splits(place: &ObjectPlace, last: &[u8]) -> Vec<Box<[u8]>> {
    let mut prefix = place.prefix.to_vec();
    for _ in 0..LEVELS {
        let query = ListQuery {
            prefix: &prefix,
            after: Some(last),
            delimiter: true,
            ..ListQuery::default()
        };
        // Only a hint: whatever is wrong shows in the listing itself.
        let Ok(page) = place.store.list(&query) else { return Vec::new() };
        let mut names = page.prefixes;
        names.retain(|name| **name > *last);
        if let ([name], true, None) = (&*names, page.objects.is_empty(), &page.next) {
            prefix = name.to_vec();
            continue;
        }
        let ranges = RANGES.min(names.len());
        return (1..ranges).map(|at| names[at * names.len() / ranges].clone()).collect();
    }
    Vec::new()
}

/// Objects of a store that lists in an order of its own.
struct Unordered {
    place: Arc<ObjectPlace>,
    first: Option<Page>,
    sorted: Option<Sorted>,
}

impl Unordered {
    /// Lists all and sorts it.
    fn sort(&mut self, first: Page) -> Result<Sorted, Cause> {
        let place = &self.place;
        let mut sorter = Sorter::new(Arc::clone(&place.spool_dir), SORTED);
        let (mut page, mut idle) = (first, 0);
        loop {
            idle = if page.objects.is_empty() { idle + 1 } else { 0 };
            if idle > IDLE_PAGES {
                return Err(cause(&goes_round()));
            }
            for object in &page.objects {
                sorter.push(&encode(object))?;
            }
            let Some(token) = page.next else { break };
            let query =
                ListQuery { prefix: &place.prefix, token: Some(&token), ..ListQuery::default() };
            page = place.store.list(&query).map_err(|error| cause(&error))?;
        }
        Ok(sorter.finish()?)
    }

    fn advance(&mut self) -> Result<Option<Listed>, Cause> {
        if let Some(first) = self.first.take() {
            self.sorted = Some(self.sort(first)?);
        }
        let Some(sorted) = &mut self.sorted else { return Ok(None) };
        let damaged = || Cause::Other("a spool file of this run was damaged".to_owned());
        match sorted.next()? {
            Some(record) => decode(record).ok_or_else(damaged).map(Some),
            None => Ok(None),
        }
    }
}

impl Iterator for Unordered {
    type Item = Result<Listed, Cause>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance();
        if next.is_err() {
            self.sorted = None;
        }
        next.transpose()
    }
}

/// Encodes an object so that records sort as keys do: the key with 0 as 0 255, 0 0, and the rest.
fn encode(object: &Listed) -> Vec<u8> {
    let mut out = Vec::with_capacity(object.key.len() + 64);
    for &byte in &object.key {
        out.push(byte);
        if byte == 0 {
            out.push(255);
        }
    }
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&object.size.to_le_bytes());
    let Timestamp { seconds, nanos } = object.modified.unwrap_or_default();
    out.extend_from_slice(&seconds.to_le_bytes());
    out.extend_from_slice(&nanos.to_le_bytes());
    out.push(u8::from(object.modified.is_some()));
    out.push(u8::from(object.archived));
    out.extend_from_slice(object.etag.as_ref().map_or("", ETag::as_str).as_bytes());
    out
}

fn decode(record: &[u8]) -> Option<Listed> {
    let (mut key, mut rest) = (Vec::with_capacity(record.len()), record);
    loop {
        let (&byte, tail) = rest.split_first()?;
        rest = tail;
        if byte == 0 {
            let (&mark, tail) = rest.split_first()?;
            rest = tail;
            if mark == 0 {
                break;
            }
        }
        key.push(byte);
    }
    let (size, rest) = rest.split_first_chunk::<8>()?;
    let (seconds, rest) = rest.split_first_chunk::<8>()?;
    let (nanos, rest) = rest.split_first_chunk::<4>()?;
    let (&[dated, archived], tag) = rest.split_first_chunk::<2>()?;
    let modified =
        Timestamp { seconds: i64::from_le_bytes(*seconds), nanos: u32::from_le_bytes(*nanos) };
    Some(Listed {
        key: key.into(),
        size: u64::from_le_bytes(*size),
        etag: ETag::new(tag),
        modified: (dated == 1).then_some(modified),
        archived: archived == 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn listed(key: &[u8]) -> Listed {
        Listed {
            key: key.into(),
            size: 1 << 40,
            etag: ETag::new(b"0a-3"),
            modified: Some(Timestamp { seconds: -7, nanos: 9 }),
            archived: true,
        }
    }

    proptest! {
        #[test]
        fn records_keep_every_field_and_sort_as_keys_do(
            one in proptest::collection::vec(prop_oneof![0_u8..3, any::<u8>()], 0..6),
            other in proptest::collection::vec(prop_oneof![0_u8..3, any::<u8>()], 0..6),
        ) {
            let (first, second) = (listed(&one), listed(&other));
            prop_assert_eq!(decode(&encode(&first)), Some(first.clone()));
            prop_assert_eq!(encode(&first).cmp(&encode(&second)), one.cmp(&other));
        }
    }
}
