//! Single files and objects: locations to be listed, read or written.

use super::file::{self, LocalFile, cannot_write, names_directory, refuse_own};
use super::prefix::Prefix;
use super::{OpenPlace as _, Opener, printable};
use crate::backend::local::{LocalSource, Root, unopened};
use crate::backend::object::{BucketPrefix, ObjectSource, ObjectTarget, StoreSettings};
use crate::backend::{KeySpace, ListItem, ListOptions, Listing, Precondition, Source, Target};
use crate::location::{Location, S3Location, SingleLocation};
use crate::manifest::Lockable;
use crate::model::{Cause, Entry, EntryError, Error, ErrorKind, Key, Metadata, Notice, Operation};
use std::iter;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A location that was opened to be looked at.
pub struct Browsed {
    /// The directory or prefix, or the directory that contains the file.
    pub source: Arc<dyn Source>,
    /// The name of the file in it, if the location is a file.
    pub file: Option<Key>,
}

/// A file or an object to read.
pub struct ReadableFile {
    /// The place that contains it.
    pub source: Arc<dyn Source>,
    find: Box<dyn Fn() -> Result<Option<Entry>, Error>>,
}

impl ReadableFile {
    /// Looks it up; returns `None` if it doesn't exist.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] for a directory, or if the lookup fails.
    pub fn find(&self) -> Result<Option<Entry>, Error> {
        (self.find)()
    }
}

/// A file or an object that is replaced atomically.
pub struct WritableFile {
    /// The target that contains it.
    pub target: Arc<dyn Target>,
    /// What is locked while it is written.
    pub lockable: Lockable,
    /// The name of that target in the state.
    pub name: String,
    /// The key in that target.
    pub key: Key,
    /// What it may replace.
    pub precondition: Precondition,
    /// The metadata that it gets.
    pub metadata: Metadata,
    /// How keys of the target are read.
    pub key_space: KeySpace,
    /// Whether an existing file was looked up, so that `metadata` has its mode and owner.
    pub has_looked: bool,
    /// A notice about features of the existing file that are lost.
    pub not_kept: Option<Notice>,
}

impl Opener {
    /// Opens a location to look at it. Symbolic links are followed.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if it can't be opened.
    pub fn browse(
        &self,
        location: &Location,
        settings: Option<&StoreSettings>,
    ) -> Result<Browsed, Error> {
        match location {
            Location::Local(path) => {
                let (source, file) = self.browse_path(path)?;
                Ok(Browsed { source: Arc::new(source), file })
            }
            Location::S3(bucket) => {
                let place = Arc::new(self.stores.connect(bucket, settings)?);
                Ok(Browsed { source: Arc::new(ObjectSource::new(place)), file: None })
            }
        }
    }

    /// Opens the directory at a path, or the one that contains the file there; returns its name
    /// too.
    fn browse_path(&self, path: &Path) -> Result<(LocalSource, Option<Key>), Error> {
        let failed = |error| unopened(None, path, error);
        let real = path.canonicalize().map_err(failed)?;
        let is_directory = real.metadata().map_err(failed)?.is_dir();
        let (directory, name) = match real.file_name() {
            Some(name) if !is_directory => {
                let parent = real.parent().map_or_else(PathBuf::new, Path::to_path_buf);
                (parent, Some(Key::new(name.as_bytes())))
            }
            _ => (real, None),
        };
        let root = Root::open(&directory).map_err(|error| failed(error.into()))?;
        Ok((LocalSource::new(Arc::new(root), self.walking(None)?), name))
    }

    /// Lists a location, one level or recursively.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if nothing is there, or it can't be listed.
    pub fn list(
        &self,
        location: &SingleLocation,
        settings: Option<&StoreSettings>,
        recursive: bool,
    ) -> Result<Listing, Error> {
        let (bucket, key) = match location {
            SingleLocation::Local(path) => return self.list_path(path, recursive),
            SingleLocation::S3 { bucket, key } => (bucket, key),
        };
        let connect = |prefix: &[u8]| self.part(bucket, prefix, settings);
        let is_prefix = key.is_empty() || key.ends_with(b"/");
        let prefix = if is_prefix { key.to_vec() } else { [key, &b"/"[..]].concat() };
        let source = ObjectSource::new(Arc::new(connect(&prefix)?));
        let listing =
            if recursive { source.list(&all(KeySpace::Flat))? } else { source.list_level()? };
        let mut listing = listing.peekable();
        if listing.peek().is_some() || key.is_empty() {
            return Ok(Box::new(listing));
        }
        // There are no keys below it: it may be an object itself.
        if !is_prefix {
            let (parent, name) = split(key);
            if let Some((entry, _)) = connect(parent)?.find(&Key::new(name))? {
                return Ok(Box::new(iter::once(Ok(ListItem::Entry(entry)))));
            }
        }
        // An empty directory consists of its marker, which isn't listed.
        if connect(&prefix)?.has_keys(&prefix)? {
            return Ok(Box::new(iter::empty()));
        }
        let message = format!("there is nothing at \"{location}\"");
        Err(Error::new(ErrorKind::Unusable, message)
            .help("check its spelling: no key begins with this prefix, and none is equal to it"))
    }

    fn list_path(&self, path: &Path, recursive: bool) -> Result<Listing, Error> {
        let (source, file) = self.browse_path(path)?;
        let Some(name) = file else {
            return if recursive { source.list(&all(KeySpace::Tree)) } else { source.list_level() };
        };
        let found = match source.look(&name) {
            Ok(Some(entry)) => ListItem::Entry(entry),
            Ok(None) => failed(name, Cause::Vanished),
            Err(cause) => failed(name, cause),
        };
        Ok(Box::new(iter::once(Ok(found))))
    }

    /// Opens a file or an object for reading.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] for a directory, or if the lookup fails.
    pub fn readable(
        &self,
        location: &SingleLocation,
        settings: Option<&StoreSettings>,
    ) -> Result<ReadableFile, Error> {
        let named = location.clone();
        match location {
            SingleLocation::Local(path) => {
                let (source, file) = self.browse_path(path)?;
                let name = file.ok_or_else(|| is_directory(location))?;
                let source = Arc::new(source);
                let of = Arc::clone(&source);
                let find =
                    Box::new(move || of.look(&name).map_err(|cause| cannot_read(&named, cause)));
                Ok(ReadableFile { source, find })
            }
            SingleLocation::S3 { bucket, key } => {
                let place = Arc::new(self.part(bucket, b"", settings)?);
                if key.is_empty() {
                    return Err(is_directory(location));
                }
                let (of, key) = (Arc::clone(&place), key.clone());
                let find = Box::new(move || {
                    if let Some((entry, _)) = of.find(&Key::new(key.clone()))? {
                        return Ok(Some(entry));
                    }
                    let below =
                        if key.ends_with(b"/") { key.to_vec() } else { [&*key, b"/"].concat() };
                    if of.has_keys(&below)? { Err(is_directory(&named)) } else { Ok(None) }
                });
                Ok(ReadableFile { source: Arc::new(ObjectSource::new(place)), find })
            }
        }
    }

    /// Finds where a file or an object would be written that is put in place atomically, with
    /// `mode` unless it replaces one. Writes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for a location that can't be a file, [`ErrorKind::Refused`] in a bag,
    /// [`ErrorKind::Unusable`] if it can't be written.
    pub fn writable(
        &self,
        location: &SingleLocation,
        settings: Option<&StoreSettings>,
        mode: u32,
    ) -> Result<WritableFile, Error> {
        let (bucket, key) = match location {
            SingleLocation::Local(path) => return self.writable_path(location, path, mode),
            SingleLocation::S3 { bucket, key } => (bucket, key),
        };
        let (prefix, name) = split(key);
        if name.is_empty() {
            return Err(names_directory(location));
        }
        refuse_own(location, key.split(|&byte| byte == b'/'))?;
        let place = Prefix(Arc::new(self.part(bucket, prefix, settings)?));
        Ok(WritableFile {
            lockable: place.lockable(),
            name: place.0.name(),
            key: Key::new(name),
            // A PUT replaces an object atomically.
            precondition: Precondition::Leaf,
            metadata: Metadata {
                mode,
                uid: rustix::process::geteuid().as_raw(),
                gid: rustix::process::getegid().as_raw(),
                mtime: self.began,
            },
            key_space: KeySpace::Flat,
            has_looked: false,
            not_kept: None,
            target: Arc::new(ObjectTarget::new(place.0)),
        })
    }

    fn writable_path(
        &self,
        location: &SingleLocation,
        path: &Path,
        mode: u32,
    ) -> Result<WritableFile, Error> {
        let file = file::find_whole(location, path, &self.spool_dir)?;
        let (metadata, not_kept) = (file.metadata(mode, self.began), file.not_kept());
        let LocalFile { root, target, directory, key, place, .. } = file;
        let target = target.of_puts().map_err(|error| cannot_write(location, error.into()))?;
        Ok(WritableFile {
            target: Arc::new(target),
            lockable: Lockable::Directory(root),
            name: printable(&directory),
            key,
            precondition: place,
            metadata,
            key_space: KeySpace::Tree,
            has_looked: true,
            not_kept,
        })
    }

    /// Connects to the part of a bucket whose keys begin with `prefix`.
    fn part(
        &self,
        bucket: &S3Location,
        prefix: &[u8],
        settings: Option<&StoreSettings>,
    ) -> Result<BucketPrefix, Error> {
        self.stores.connect(&S3Location { prefix: prefix.into(), ..bucket.clone() }, settings)
    }
}

/// Splits a key after its last `/` into prefix and name.
fn split(key: &[u8]) -> (&[u8], &[u8]) {
    let at = key.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
    key.split_at(at)
}

fn all(key_space: KeySpace) -> ListOptions {
    ListOptions { filter: Arc::default(), only: None, key_space }
}

fn failed(key: Key, cause: Cause) -> ListItem {
    ListItem::Failed(EntryError::on_source(Operation::List, key, cause))
}

/// Returns the error for a location that can't be read.
pub fn cannot_read(location: &SingleLocation, cause: Cause) -> Error {
    Error::unusable(format!("cannot read \"{location}\""), cause)
}

fn is_directory(location: &SingleLocation) -> Error {
    Error::new(ErrorKind::Unusable, format!("\"{location}\" is a directory, not a file"))
        .help("`vidimus ls` lists what it holds; name one of these")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_split_after_its_last_slash() {
        for (key, prefix, name) in
            [("a", "", "a"), ("a/b", "a/", "b"), ("/a", "/", "a"), ("a//b", "a//", "b")]
        {
            assert_eq!(split(key.as_bytes()), (prefix.as_bytes(), name.as_bytes()), "{key}");
        }
        assert_eq!(split(b"a/"), (&b"a/"[..], &b""[..]));
    }
}
