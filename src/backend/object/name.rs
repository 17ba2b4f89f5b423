//! Listing one name with one or two requests, as a full listing would give it.

use super::cause::fatal;
use super::list::Entries;
use super::prefix::BucketPrefix;
use super::{ListQuery, Listed};
use crate::backend::{KeySpace, ListItem, ListOptions};
use crate::model::Error;
use crate::model::error::Side;
use std::sync::Arc;

/// Lists one name; see [`Source::list_name`](crate::backend::Source::list_name).
///
/// This takes one request for the leaf and, in tree form, one for the directory. More are needed
/// only if the filter takes nothing from a page of that directory.
pub(super) fn list_name(
    place: &Arc<BucketPrefix>,
    side: Side,
    name: &[u8],
    options: &ListOptions,
) -> Result<Vec<ListItem>, Error> {
    place.set_key_space(options.key_space);
    let error = |error| fatal(&format!("cannot list \"{}\"", place.name()), &error);
    let prefix = [&*place.prefix, name].concat();
    let query = ListQuery { prefix: &prefix, limit: Some(1), ..ListQuery::default() };
    // The first key with this prefix is the key itself, if that exists.
    let mut objects = place.store.list(&query).map_err(error)?.objects;
    objects.retain(|object| *object.key == *prefix);
    let is_root = options.key_space == KeySpace::Tree && name.is_empty();
    let mut items = entries(place, side, options.key_space, is_root, objects)?;
    items.retain(|item| item.key().as_bytes() == name);
    if options.key_space == KeySpace::Flat || is_root {
        return Ok(items);
    }
    let directory = [name, b"/"].concat();
    let prefix = [&*place.prefix, &directory].concat();
    let mut token: Option<String> = None;
    let mut is_first_page = true;
    loop {
        let query = ListQuery { prefix: &prefix, token: token.as_deref(), ..ListQuery::default() };
        let page = place.store.list(&query).map_err(error)?;
        let listed = entries(place, side, options.key_space, false, page.objects)?;
        let (own, below): (Vec<_>, Vec<_>) = listed
            .into_iter()
            .filter(|item| item.key().is_within(&directory))
            .partition(|item| item.key().as_bytes() == directory);
        if std::mem::take(&mut is_first_page) {
            items.extend(own);
        }
        let first = below.into_iter().find(|item| !options.filter.excludes_within(item.key()));
        let has_entry = first.is_some();
        items.extend(first);
        token = page.next;
        if has_entry || token.is_none() {
            return Ok(items);
        }
    }
}

/// Returns the items that a listing gives for these objects.
fn entries(
    place: &Arc<BucketPrefix>,
    side: Side,
    key_space: KeySpace,
    has_root: bool,
    objects: Vec<Listed>,
) -> Result<Vec<ListItem>, Error> {
    let objects = Box::new(objects.into_iter().map(Ok));
    Entries::new(place, side, Arc::default(), key_space, objects, has_root).collect()
}
