//! Lists a single name as a walk would, by following only the path to it.

use super::look::{Guarded, OWN, Walk};
use crate::backend::local::Walking;
use crate::backend::local::beneath::{Directory, Root};
use crate::backend::local::metadata::{kind_of, look_at, look_at_open};
use crate::backend::local::stamp::entry;
use crate::backend::{ListItem, ListOptions};
use crate::filter::{IGNORE_FILE, IgnoreRules};
use crate::model::error::Side;
use crate::model::reserved::is_set_aside;
use crate::model::{EntryError, EntryKind, Error, Key};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use std::sync::Arc;

/// Why a walk would not reach a name.
enum Unreached {
    /// The walk would end with this error.
    Error(Error),
    /// The walk would give this item instead.
    Item(Box<ListItem>),
    /// There is no such directory.
    Absent,
}

/// Lists one name; see [`Source::list_name`](crate::backend::Source::list_name).
pub(in crate::backend::local) fn list_name(
    root: &Arc<Root>,
    walking: &Walking,
    side: Side,
    name: &[u8],
    options: &ListOptions,
) -> Result<Vec<ListItem>, Error> {
    let walk = Walk::new(root, walking, side, options);
    match walk.name(root, &Key::new(name)) {
        Ok(items) => Ok(items),
        Err(Unreached::Error(error)) => Err(error),
        Err(Unreached::Item(item)) => Ok(vec![*item]),
        Err(Unreached::Absent) => Ok(Vec::new()),
    }
}

/// Returns the item of a failure.
fn failed(error: EntryError) -> Unreached {
    Unreached::Item(Box::new(ListItem::Failed(error)))
}

/// Checks that no ignore file leaves an entry out.
fn check_ignored(rules: Option<&Arc<IgnoreRules>>, key: &Key) -> Result<(), Unreached> {
    if !rules.is_some_and(|rules| rules.excludes(key)) {
        return Ok(());
    }
    let why = format!("a {IGNORE_FILE} above it leaves it out");
    Err(Unreached::Item(Box::new(ListItem::LeftOut(key.clone(), why))))
}

impl Walk {
    fn name(&self, root: &Root, name: &Key) -> Result<Vec<ListItem>, Unreached> {
        let parent = name.parent();
        // Go down from the root, as a walk does.
        let ends =
            parent.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at + 1);
        let mut ignores = None;
        for end in std::iter::once(0).chain(ends) {
            let key = Key::new(&parent[..end]);
            check_ignored(ignores.as_ref(), &key)?;
            let directory = match root.descend(key.as_bytes()) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::INVAL) => {
                    return Err(Unreached::Absent);
                }
                found => found.map_err(|error| self.failed(key.clone(), error))?,
            };
            self.enter(&directory, &key, name)?;
            ignores = self.ignore_rules(&directory, &key, ignores.as_ref()).map_err(failed)?;
        }
        let directory = root.descend(parent).map_err(|error| self.failed(name.clone(), error))?;
        if name.is_root() {
            let stat =
                look_at_open(&*directory).map_err(|error| self.failed(name.clone(), error))?;
            return Ok(vec![ListItem::Entry(entry(
                &directory.capabilities,
                name.clone(),
                &stat,
                None,
            ))]);
        }
        if parent.is_empty() && name.name() == OWN {
            return Err(Unreached::Absent);
        }
        let is_directory = match self.look_at(&directory, name.name()) {
            Ok((stat, _)) => kind_of(&stat) == EntryKind::Directory,
            Err(Errno::NOENT) if look_at(&*directory, name.name()).is_err() => {
                return Err(Unreached::Absent);
            }
            Err(_) => false, // the lookup that follows reports the error
        };
        let key = Key::child(parent, name.name(), is_directory);
        check_ignored(ignores.as_ref(), &key)?;
        let item = self.look(&directory, key.clone());
        if !is_directory || !matches!(item, ListItem::Entry(_)) {
            return Ok(vec![item]);
        }
        let opened = self.open_child(&directory, key.name()).and_then(|fd| self.directory(fd));
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => return Ok(vec![item, ListItem::Failed(self.error(key, error))]),
        };
        self.enter(&opened, &key, name)?;
        let is_mount = self.side == Side::Target && opened.is_mount_in(directory.identity);
        let mount = is_mount.then(|| ListItem::MountPoint(key.clone()));
        let itself = std::iter::once(item).chain(mount);
        let opened = match self.read(opened, &key, ignores.as_ref()) {
            Ok(opened) => opened,
            Err(error) => return Ok(itself.chain([ListItem::Failed(error)]).collect()),
        };
        // A leaf that was set aside keeps the directory from being removed, too.
        let keeps_directory = |item: &ListItem| match item {
            ListItem::Leftover(key) => is_set_aside(key.name()),
            _ => true,
        };
        let first = opened.first.into_iter().find(keeps_directory);
        let failed = opened.failed.map(ListItem::Failed);
        Ok(itself.chain(failed).chain(first).collect())
    }

    /// Checks that a walk would enter and read a directory.
    fn enter(&self, directory: &Directory, key: &Key, name: &Key) -> Result<(), Unreached> {
        match self.guard(directory.identity).filter(|_| !key.is_root()) {
            Some(Guarded::LeaveOut(_)) => {
                let why = "it holds vidimus's own state".to_owned();
                return Err(Unreached::Item(Box::new(ListItem::LeftOut(key.clone(), why))));
            }
            Some(Guarded::Forbidden(_)) => return Err(Unreached::Error(self.overlap(key))),
            None => {}
        }
        let leave_out = |why: &str| {
            Err(Unreached::Item(Box::new(ListItem::LeftOut(key.clone(), why.to_owned()))))
        };
        if self.is_elsewhere(directory.identity, self.root.directory().identity) {
            return leave_out("another file system is mounted there");
        }
        if let Some(tag) = self.excluding_tag(directory).filter(|tag| *tag != name.name()) {
            let tag = String::from_utf8_lossy(tag);
            return leave_out(&format!("it holds \"{tag}\", which leaves out what else is in it"));
        }
        // The handle may be O_PATH: check that the directory can be read.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let readable = openat(directory, c".", flags, Mode::empty());
        readable.map(drop).map_err(|error| self.failed(key.clone(), error))
    }

    fn failed(&self, key: Key, error: Errno) -> Unreached {
        failed(self.error(key, error))
    }
}
