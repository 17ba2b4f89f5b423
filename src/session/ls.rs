//! Listing what lies at a location: one level of it, or all.
//!
//! [`ls`] streams: of a store at most a few pages are held, of a directory's names what the walker
//! holds, the rest on disk. What vidimus keeps for itself at a root (`.vidimus`, temporaries) is
//! not told.

use super::single;
use crate::backend::object::StoreSettings;
use crate::backend::object::{BucketPrefix, ObjectSource};
use crate::backend::{KeySpace, ListItem, ListOptions, Listing, Source as _};
use crate::limits::LimitOptions;
use crate::location::{S3Location, SingleLocation};
use crate::model::{
    Cause, Entry, EntryError, EntryKind, Error, ErrorKind, Key, Operation, Progress, Stop,
};
use std::iter;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What to list.
#[derive(Debug)]
pub struct LsOptions {
    /// A directory, a file, a prefix or an object.
    pub location: SingleLocation,
    /// How its store is reached, where it is one.
    pub store: Option<StoreSettings>,
    /// Whether what lies deeper is listed too.
    pub recursive: bool,
    /// Where names of huge directories are sorted.
    pub spool_dir: PathBuf,
}

/// One item of a list.
#[derive(Debug)]
pub enum LsItem {
    /// Something is there; its key is the name below the location.
    Entry(Entry),
    /// What is there is unknown.
    Failed(EntryError),
}

/// Lists a location, in byte order of the names, until `each` wants no more.
///
/// Of objects size, tag and the time of their writing are told, by list requests alone.
///
/// # Errors
/// [`ErrorKind::Unusable`] when nothing is there, or it can't be asked what is.
pub fn ls(
    options: &LsOptions,
    progress: &Arc<Progress>,
    each: &mut dyn FnMut(LsItem) -> ControlFlow<()>,
) -> Result<(), Error> {
    let listing = match &options.location {
        SingleLocation::Local(path) => local(path, options)?,
        SingleLocation::S3 { bucket, key } => objects(bucket, key, options, progress)?,
    };
    for item in listing {
        let item = match item? {
            ListItem::Entry(entry) if entry.key.is_root() => continue,
            ListItem::Entry(mut entry) => {
                let is_marker = entry.key.is_directory() && entry.stamp.size == 0;
                if is_marker && entry.kind == EntryKind::File {
                    entry.kind = EntryKind::Directory;
                }
                LsItem::Entry(entry)
            }
            ListItem::Failed(EntryError { cause: Cause::ReservedName, .. })
            | ListItem::Leftover(_)
            | ListItem::LeftOut(..) => continue,
            ListItem::Failed(error) | ListItem::BrokeOff(error) => LsItem::Failed(error),
        };
        if each(item).is_break() {
            break;
        }
    }
    Ok(())
}

fn local(path: &Path, options: &LsOptions) -> Result<Listing, Error> {
    let place = single::open(path, &options.spool_dir)?;
    let Some(name) = place.name else {
        return if options.recursive {
            place.source.list(&all(KeySpace::Tree))
        } else {
            place.source.list_level()
        };
    };
    let found = match place.source.look(&name) {
        Ok(Some(entry)) => ListItem::Entry(entry),
        Ok(None) => failed(name, Cause::Vanished),
        Err(cause) => failed(name, cause),
    };
    Ok(Box::new(iter::once(Ok(found))))
}

/// What lies below `key/` (or `key`, where that ends in `/`); where nothing does, the object itself.
fn objects(
    bucket: &S3Location,
    key: &[u8],
    options: &LsOptions,
    progress: &Arc<Progress>,
) -> Result<Listing, Error> {
    let connect = |prefix: &[u8]| -> Result<BucketPrefix, Error> {
        let limits = LimitOptions::default();
        let shared = (progress, &Stop::default(), "");
        single::connect(bucket, prefix, options.store.as_ref(), &limits, shared, &options.spool_dir)
    };
    let is_prefix = key.is_empty() || key.ends_with(b"/");
    let prefix = if is_prefix { key.to_vec() } else { [key, b"/"].concat() };
    let source = ObjectSource::new(Arc::new(connect(&prefix)?));
    let listing =
        if options.recursive { source.list(&all(KeySpace::Flat))? } else { source.list_level()? };
    let mut listing = listing.peekable();
    if listing.peek().is_some() || key.is_empty() {
        return Ok(Box::new(listing));
    }
    if !is_prefix {
        let (parent, name) = single::split(key);
        if let Some((entry, _)) = connect(parent)?.find(&Key::new(name))? {
            return Ok(Box::new(iter::once(Ok(ListItem::Entry(entry)))));
        }
    }
    // An empty directory has its marker, which is not told.
    if connect(&prefix)?.has_keys(&prefix)? {
        return Ok(Box::new(iter::empty()));
    }
    let message = format!("there is nothing at \"{}\"", options.location);
    Err(Error::new(ErrorKind::Unusable, message)
        .help("check its spelling: no key begins with this prefix, and none is equal to it"))
}

fn all(key_space: KeySpace) -> ListOptions {
    ListOptions { filter: Arc::default(), only: None, key_space }
}

fn failed(key: Key, cause: Cause) -> ListItem {
    ListItem::Failed(EntryError::on_source(Operation::List, key, cause))
}
