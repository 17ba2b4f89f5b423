//! Converts pages of a bucket into a stream of objects in byte order of their keys.
//!
//! Pages are fetched ahead by threads; those of a long listing are fetched concurrently (`split`).
//! A listing in another order is read completely and sorted on disk (`sorted`).

use super::cause::cause;
use super::habits::{self, Habit};
use super::page_cursor::Lister;
use super::sorted::Unordered;
use super::split::{self, Chain, Chains, Fetched};
use super::{Listed, Page};
use crate::model::{Cause, ETag, Timestamp};
use std::cmp::Ordering;
use std::io;
use std::sync::Arc;

/// Objects, or the cause why the rest is unknown.
pub(super) type Objects = Box<dyn Iterator<Item = Result<Listed, Cause>> + Send>;

/// Streams all objects of a listing whose first page is given. Each key comes once, if the store
/// always reports the same about it.
pub(super) fn objects(lister: Arc<dyn Lister>, first: Page) -> io::Result<Objects> {
    let has_own_order = lister.habits().is_some_and(|habits| habits.has(Habit::OwnOrder));
    if !first.in_order || has_own_order {
        return Ok(Box::new(Unordered::new(lister, first)));
    }
    let Page { objects, next, .. } = first;
    let chains = match next {
        Some(token) => Some(split::fetch(&lister, token)?),
        None => None,
    };
    Ok(Box::new(Ordered::new(lister, chains, objects)))
}

/// Objects of a store that lists in order: chains of pages, one after the other.
struct Ordered {
    lister: Arc<dyn Lister>,
    /// `None` after the last chain.
    chains: Option<Chains>,
    pages: Option<Chain>,
    page: std::vec::IntoIter<Listed>,
    /// The last key, in a buffer that is reused.
    last: Vec<u8>,
    /// What was listed about the last key.
    attributes: Option<Attributes>,
}

/// What a listing says about a key.
#[derive(PartialEq)]
struct Attributes {
    size: u64,
    etag: Option<ETag>,
    modified: Option<Timestamp>,
    archived: bool,
}

impl Ordered {
    fn new(lister: Arc<dyn Lister>, chains: Option<Chains>, page: Vec<Listed>) -> Self {
        let page = page.into_iter();
        Self { lister, chains, pages: None, page, last: Vec::new(), attributes: None }
    }

    /// Returns whether an object is new: some stores list the last key of a page again on the next.
    ///
    /// # Errors
    /// Fails if its key is before the last one, and records that.
    fn is_new(&mut self, object: &Listed) -> Result<bool, Cause> {
        let Listed { ref key, size, etag, modified, archived } = *object;
        let attributes = Some(Attributes { size, etag, modified, archived });
        match (**key).cmp(&self.last) {
            Ordering::Equal if self.attributes == attributes => return Ok(false),
            Ordering::Less => {
                return Err(match self.lister.habits() {
                    Some(habits) => habits.record_order(key),
                    None => Cause::Other(habits::out_of_order(key)),
                });
            }
            _ => {}
        }
        self.last.clear();
        self.last.extend_from_slice(key);
        self.attributes = attributes;
        Ok(true)
    }

    /// Advances to the next page; returns false at the end.
    fn next_page(&mut self) -> Result<bool, Cause> {
        loop {
            if let Some(pages) = &self.pages {
                match pages.recv().map_err(|_| thread_failed())? {
                    Fetched::Page(objects) => {
                        self.page = objects.into_iter();
                        return Ok(true);
                    }
                    Fetched::Failed(error) => return Err(cause(&error)),
                    Fetched::End { passed } => {
                        self.pages = None;
                        self.pass(passed)?;
                    }
                }
            }
            let Some(chains) = &self.chains else { return Ok(false) };
            match chains.recv().map_err(|_| thread_failed())? {
                Some(chain) => self.pages = Some(chain),
                None => self.chains = None,
            }
        }
    }

    /// Skips chains whose keys came already.
    fn pass(&mut self, chains: usize) -> Result<(), Cause> {
        for _ in 0..chains {
            let Some(chains) = &self.chains else { break };
            if chains.recv().map_err(|_| thread_failed())?.is_none() {
                self.chains = None;
            }
        }
        Ok(())
    }
}

impl Iterator for Ordered {
    type Item = Result<Listed, Cause>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let result = if let Some(object) = self.page.next() {
                match self.is_new(&object) {
                    Ok(true) => return Some(Ok(object)),
                    other => other.map(|_| true),
                }
            } else {
                self.next_page()
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

fn thread_failed() -> Cause {
    Cause::Other("a thread that lists the store stopped unexpectedly".to_owned())
}
