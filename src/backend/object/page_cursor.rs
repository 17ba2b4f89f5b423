//! Requests the pages of a listing one after the other.

use super::habits::Habits;
use super::{ListQuery, Page, StoreError, StoreErrorKind};
use crate::model::Notice;
use std::path::Path;
use std::sync::Arc;

/// Most consecutive pages without a key; with more, the listing is taken to be endless.
const IDLE_PAGES: usize = 20;

/// A listing of which pages can be requested.
pub(super) trait Lister: Send + Sync {
    /// Returns the prefix of all keys.
    fn prefix(&self) -> &[u8];

    /// Requests one page.
    fn page(&self, query: &ListQuery<'_>) -> Result<Page, StoreError>;

    /// Returns the known deviations of the store, if they are remembered.
    fn habits(&self) -> Option<&Habits>;

    /// Adds a notice for the end of the run.
    fn add_notice(&self, notice: Notice);

    /// Returns the directory where listings are sorted.
    fn spool_dir(&self) -> &Arc<Path>;
}

/// A position between pages of a listing.
pub(super) struct PageCursor<'a> {
    lister: &'a dyn Lister,
    /// The token of the next page; `None` before the first page and at the end.
    pub(super) token: Option<String>,
    idle: usize,
}

impl<'a> PageCursor<'a> {
    /// Starts at the page that `token` names.
    pub(super) fn from(lister: &'a dyn Lister, token: Option<String>) -> Self {
        Self { lister, token, idle: 0 }
    }

    /// Starts after a key, and returns the page there.
    pub(super) fn after(&mut self, after: &[u8]) -> Result<Page, StoreError> {
        let prefix = self.lister.prefix();
        let page =
            self.lister.page(&ListQuery { prefix, after: Some(after), ..ListQuery::default() });
        self.advance(page)
    }

    /// Returns the next page; `None` at the end.
    ///
    /// # Errors
    /// Also fails after too many pages without a key.
    pub(super) fn next(&mut self) -> Result<Option<Page>, StoreError> {
        let Some(token) = self.token.take() else { return Ok(None) };
        let (prefix, token) = (self.lister.prefix(), Some(&*token));
        let page = self.lister.page(&ListQuery { prefix, token, ..ListQuery::default() });
        self.advance(page).map(Some)
    }

    fn advance(&mut self, page: Result<Page, StoreError>) -> Result<Page, StoreError> {
        let mut page = page?;
        self.idle = if page.objects.is_empty() { self.idle + 1 } else { 0 };
        if self.idle > IDLE_PAGES {
            return Err(StoreError::new(StoreErrorKind::BadReply)
                .message("the listing has page after page without a key"));
        }
        self.token = page.next.take();
        Ok(page)
    }
}
