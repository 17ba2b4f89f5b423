//! Going from page to page of a listing, one behind the other.

use super::habits::Habits;
use super::{ListQuery, Page, StoreError, StoreErrorKind};
use std::path::Path;
use std::sync::Arc;

/// Pages without a key, one behind the other, after which a listing is taken to go round.
const IDLE_PAGES: usize = 20;

/// What is listed: a place, as its pages see it.
pub(super) trait Lister: Send + Sync {
    /// What all keys begin with.
    fn prefix(&self) -> &[u8];

    /// Asks for one page.
    fn page(&self, query: &ListQuery<'_>) -> Result<Page, StoreError>;

    /// What is remembered of the store, where anything is.
    fn habits(&self) -> Option<&Habits>;

    /// Takes note of what the user is to be told at the end.
    fn warn(&self, warning: String);

    /// Where listings are sorted.
    fn spool_dir(&self) -> &Arc<Path>;
}

/// The pages of a listing, one behind the other.
pub(super) struct Turning<'a> {
    lister: &'a dyn Lister,
    /// The token of the next page; `None` before the first page and at the end.
    pub(super) token: Option<String>,
    idle: usize,
}

impl<'a> Turning<'a> {
    /// Goes on with the page that `token` names.
    pub(super) fn from(lister: &'a dyn Lister, token: Option<String>) -> Self {
        Self { lister, token, idle: 0 }
    }

    /// Begins behind a key: its page.
    pub(super) fn after(&mut self, after: &[u8]) -> Result<Page, StoreError> {
        let prefix = self.lister.prefix();
        let page =
            self.lister.page(&ListQuery { prefix, after: Some(after), ..ListQuery::default() });
        self.turned(page)
    }

    /// The next page; `None` at the end.
    ///
    /// # Errors
    /// Also where page after page has no key.
    pub(super) fn turn(&mut self) -> Result<Option<Page>, StoreError> {
        let Some(token) = self.token.take() else { return Ok(None) };
        let (prefix, token) = (self.lister.prefix(), Some(&*token));
        let page = self.lister.page(&ListQuery { prefix, token, ..ListQuery::default() });
        self.turned(page).map(Some)
    }

    fn turned(&mut self, page: Result<Page, StoreError>) -> Result<Page, StoreError> {
        let mut page = page?;
        self.idle = if page.objects.is_empty() { self.idle + 1 } else { 0 };
        if self.idle > IDLE_PAGES {
            return Err(StoreError::new(StoreErrorKind::BadReply)
                .message("the listing goes on and on without a key"));
        }
        self.token = page.next.take();
        Ok(page)
    }
}
