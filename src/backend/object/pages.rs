//! Pages of a bucket to a stream of objects in byte order of their keys.
//!
//! Pages are fetched ahead by threads, those of a long listing side by side (`split`). Stores that
//! list in another order are listed whole and sorted on disk (`sorted`).

use super::cause::cause;
use super::habits::{self, Habit};
use super::sorted::Unordered;
use super::split::{self, Chain, Chains, Fetched};
use super::turning::Lister;
use super::{Listed, Page};
use crate::model::{Cause, ETag, Timestamp};
use std::cmp::Ordering;
use std::io;
use std::sync::Arc;

/// Objects, or what keeps the rest unknown.
pub(super) type Objects = Box<dyn Iterator<Item = Result<Listed, Cause>> + Send>;

/// Streams all objects of a place, of whose listing the first page came. Each key comes once, as
/// long as the store says the same of it each time.
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

/// Objects of a store that lists in order: chains of pages, one behind the other.
struct Ordered {
    lister: Arc<dyn Lister>,
    /// `None` once they ended.
    chains: Option<Chains>,
    pages: Option<Chain>,
    page: std::vec::IntoIter<Listed>,
    /// The last key; a buffer that is used again.
    last: Vec<u8>,
    /// What was listed of the last key.
    told: Option<Told>,
}

/// What a listing tells of a key.
type Told = (u64, Option<ETag>, Option<Timestamp>, bool);

impl Ordered {
    fn new(lister: Arc<dyn Lister>, chains: Option<Chains>, page: Vec<Listed>) -> Self {
        let page = page.into_iter();
        Self { lister, chains, pages: None, page, last: Vec::new(), told: None }
    }

    /// Whether an object is a new one: some stores list a key at the end of a page and again at the
    /// beginning of the next.
    ///
    /// # Errors
    /// When its key lies before the last one, which is remembered.
    fn is_new(&mut self, object: &Listed) -> Result<bool, Cause> {
        let Listed { key, size, etag, modified, archived } = object;
        let told = Some((*size, *etag, *modified, *archived));
        match (**key).cmp(&self.last) {
            Ordering::Equal if self.told == told => return Ok(false),
            Ordering::Less => {
                return Err(match self.lister.habits() {
                    Some(habits) => habits.learn_order(key),
                    None => Cause::Other(habits::out_of_order(key)),
                });
            }
            _ => {}
        }
        self.last.clear();
        self.last.extend_from_slice(key);
        self.told = told;
        Ok(true)
    }

    /// Goes to the next page; false at the end.
    fn turn(&mut self) -> Result<bool, Cause> {
        loop {
            if let Some(pages) = &self.pages {
                match pages.recv().map_err(|_| broken_down())? {
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
            match chains.recv().map_err(|_| broken_down())? {
                Some(chain) => self.pages = Some(chain),
                None => self.chains = None,
            }
        }
    }

    /// Passes over chains whose keys came already.
    fn pass(&mut self, chains: usize) -> Result<(), Cause> {
        for _ in 0..chains {
            let Some(chains) = &self.chains else { break };
            if chains.recv().map_err(|_| broken_down())?.is_none() {
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

fn broken_down() -> Cause {
    Cause::Other("a thread that lists broke down".to_owned())
}
