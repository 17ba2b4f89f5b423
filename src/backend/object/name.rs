//! Listing one name: what a listing of all would tell of it, by a page or two.

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
/// It costs one request for the leaf and, in tree form, one for the directory; more only where
/// the filter takes nothing of what a page of that directory has.
pub(super) fn list_name(
    place: &Arc<BucketPrefix>,
    side: Side,
    name: &[u8],
    options: &ListOptions,
) -> Result<Vec<ListItem>, Error> {
    place.set_key_space(options.key_space);
    let error = |error| fatal(&format!("cannot list the {side} \"{}\"", place.name()), &error);
    let prefix = [&*place.prefix, name].concat();
    let query = ListQuery { prefix: &prefix, limit: Some(1), ..ListQuery::default() };
    // The first key that begins with this one is this one.
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
    let mut is_told = false;
    loop {
        let query = ListQuery { prefix: &prefix, token: token.as_deref(), ..ListQuery::default() };
        let page = place.store.list(&query).map_err(error)?;
        let told = entries(place, side, options.key_space, false, page.objects)?;
        let (own, held): (Vec<_>, Vec<_>) = told
            .into_iter()
            .filter(|item| item.key().is_within(&directory))
            .partition(|item| item.key().as_bytes() == directory);
        if !std::mem::replace(&mut is_told, true) {
            items.extend(own);
        }
        let first = held.into_iter().find(|item| !options.filter.excludes_within(item.key()));
        let is_held = first.is_some();
        items.extend(first);
        token = page.next;
        if is_held || token.is_none() {
            return Ok(items);
        }
    }
}

/// What a listing tells of these objects.
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
