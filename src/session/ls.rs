//! Listing of a location: one level or everything.
//!
//! [`ls`] streams: it holds at most a few pages of a store's listing, or what the walker holds of a
//! directory's names; the rest is on disk. Reserved names at a root (`.vidimus`, temporaries) are
//! left out.

use super::wall_clock;
use crate::backend::ListItem;
use crate::backend::object::StoreSettings;
use crate::limits::LimitOptions;
use crate::location::SingleLocation;
use crate::model::{Cause, Entry, EntryError, EntryKind, Error, Progress, Stop};
use crate::place::{OpenOptions, Opener};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

/// What to list.
#[derive(Debug)]
pub struct LsOptions {
    /// A directory, a file, a prefix or an object.
    pub location: SingleLocation,
    /// Settings of its store, if it is in one.
    pub store: Option<StoreSettings>,
    /// Whether deeper levels are listed, too.
    pub recursive: bool,
    /// The directory for sorting the names of huge directories.
    pub spool_dir: PathBuf,
}

/// One item of a list.
#[derive(Debug)]
pub enum LsItem {
    /// An entry; its key is the name below the location.
    Entry(Entry),
    /// A part that could not be listed.
    Failed(EntryError),
}

/// Lists a location, in byte order of the names, until `each` breaks.
///
/// Of objects, size, tag and time of writing are known, from list requests alone.
///
/// # Errors
/// [`ErrorKind::Unusable`](crate::model::ErrorKind::Unusable) if nothing is there, or the location
/// can't be read.
pub fn ls(
    options: &LsOptions,
    progress: &Arc<Progress>,
    each: &mut dyn FnMut(LsItem) -> ControlFlow<()>,
) -> Result<(), Error> {
    let (limits, stop) = (LimitOptions::default(), Stop::default());
    let opener = Opener::new(OpenOptions::to_look(
        &limits,
        progress,
        &stop,
        &options.spool_dir,
        wall_clock(),
    ));
    let listing = opener.list(&options.location, options.store.as_ref(), options.recursive)?;
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
            | ListItem::LeftOut(..)
            | ListItem::MountPoint(_)
            | ListItem::Excluded(_)
            | ListItem::Ignores(..) => continue,
            ListItem::Failed(error) | ListItem::BrokeOff(error) => LsItem::Failed(error),
        };
        if each(item).is_break() {
            break;
        }
    }
    Ok(())
}
