//! Listing what lies at a location: one level of it, or all.
//!
//! [`ls`] streams: of a store at most a few pages are held, of a directory's names what the walker
//! holds, the rest on disk. What vidimus keeps for itself at a root (`.vidimus`, temporaries) is
//! not told.

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
/// [`ErrorKind::Unusable`](crate::model::ErrorKind::Unusable) when nothing is there, or it can't be asked what is.
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
            | ListItem::LeftOut(..) => continue,
            ListItem::Failed(error) | ListItem::BrokeOff(error) => LsItem::Failed(error),
        };
        if each(item).is_break() {
            break;
        }
    }
    Ok(())
}
