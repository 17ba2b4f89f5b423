//! A place under test, and how the suites speak of it: through the backend's traits alone.

use crate::layer::Layer;
use std::any::Any;
use std::sync::Arc;
use vidimus::backend::{
    KeySpace, ListItem, ListOptions, Precondition, ReadError, Reading, Source, Stage, Staged,
    Target,
};
use vidimus::filter::Filter;
use vidimus::listing::OrderChecked;
use vidimus::model::entry::Completeness;
use vidimus::model::error::Side;
use vidimus::model::stamp::Inode;
use vidimus::model::{Cause, Digest, Entry, EntryKind, Key, Metadata, Stamp, Timestamp};

/// An empty place, seen as a source and as a target.
pub(crate) struct Fixture {
    pub(crate) source: Box<dyn Source>,
    pub(crate) target: Box<dyn Target>,
    /// What goes when the fixture goes.
    pub(crate) _keep: Box<dyn Any>,
}

impl Fixture {
    /// The same place, of which both sides lie in a layer that forwards.
    pub(crate) fn layered(self) -> Self {
        let source: Arc<dyn Source> = self.source.into();
        let target: Arc<dyn Target> = self.target.into();
        Self { source: Box::new(Layer(source)), target: Box::new(Layer(target)), ..self }
    }
}

pub(crate) fn key(bytes: impl AsRef<[u8]>) -> Key {
    Key::new(bytes.as_ref())
}

pub(crate) fn everything() -> ListOptions {
    ListOptions { filter: Arc::new(Filter::default()), only: None, key_space: KeySpace::Tree }
}

/// An entry to be made: what a source would say of it.
pub(crate) fn entry(key: impl AsRef<[u8]>, kind: EntryKind, size: u64) -> Entry {
    let mtime = Timestamp { seconds: 1_700_000_000, nanos: 123_456_789 };
    Entry {
        key: self::key(key),
        kind,
        stamp: Stamp::of_inode(size, Inode { mtime, ctime: mtime, number: Some(1) }),
        metadata: Metadata { mode: 0o640, uid: 0, gid: 0, mtime },
        link: None,
        completeness: Completeness::Full,
        recorded: None,
        extras: None,
        born: None,
    }
}

pub(crate) fn file(key: impl AsRef<[u8]>, content: &[u8]) -> Entry {
    entry(key, EntryKind::File, content.len() as u64)
}

pub(crate) fn link(key: impl AsRef<[u8]>, text: &[u8]) -> Entry {
    Entry { link: Some(text.into()), ..entry(key, EntryKind::Symlink, 0) }
}

/// Begins a file and writes all of it.
pub(crate) fn stage(
    target: &dyn Target,
    entry: &Entry,
    content: &[u8],
    place: Precondition,
) -> Result<Box<dyn Stage>, Cause> {
    let mut stage = target.stage(entry, place)?;
    // In two pieces: appending must work.
    let (first, second) = content.split_at(content.len() / 2);
    stage.write(first)?;
    stage.write(second)?;
    Ok(stage)
}

/// A whole file, not yet in its place.
pub(crate) fn staged(
    target: &dyn Target,
    entry: &Entry,
    content: &[u8],
    place: Precondition,
) -> Result<Box<dyn Staged>, Cause> {
    let wanted = target.achievable_metadata(&entry.metadata, EntryKind::File, None);
    stage(target, entry, content, place)?.finish(&(&wanted).into(), &Digest::of(content))
}

/// Puts a file in its place; what of its metadata was refused is an error too.
pub(crate) fn put(
    target: &dyn Target,
    key: impl AsRef<[u8]>,
    content: &[u8],
    place: Precondition,
) -> Result<(), Cause> {
    staged(target, &file(key, content), content, place)?.publish()?.map_or(Ok(()), Err)
}

/// Makes files (content: their key), and directories where a key ends in `/`.
pub(crate) fn fill(target: &dyn Target, keys: &[&[u8]]) {
    for &name in keys {
        let made = if name.ends_with(b"/") {
            make_directory(target, name)
        } else {
            put(target, name, name, Precondition::Absent)
        };
        made.unwrap_or_else(|error| panic!("cannot make {:?}: {error}", key(name)));
    }
}

/// Makes a directory; in a store it stands once its metadata is set.
fn make_directory(target: &dyn Target, name: &[u8]) -> Result<(), Cause> {
    target.make_directory(&key(name), Precondition::Absent)?;
    if target.capabilities().implied_directories {
        let wanted = entry(name, EntryKind::Directory, 0).metadata;
        target.set_metadata(
            &key(name),
            EntryKind::Directory,
            &(&wanted).into(),
            Precondition::Leaf,
        )?;
    }
    Ok(())
}

/// All items of a listing, whose order is checked.
pub(crate) fn list_with(source: &dyn Source, options: &ListOptions) -> Vec<ListItem> {
    let listing = source.list(options).expect("begin a listing");
    OrderChecked::new(listing, Side::Source)
        .map(|item| item.expect("a listing that goes on"))
        .collect()
}

/// A listing in words: an entry is its key, anything else begins with a word.
pub(crate) fn told(items: &[ListItem]) -> Vec<String> {
    let tell = |item: &ListItem| match item {
        ListItem::Entry(entry) => {
            assert_eq!(entry.kind == EntryKind::Directory, entry.key.is_directory());
            entry.key.to_string()
        }
        ListItem::Failed(error) => format!("failed {}: {}", error.key, error.cause),
        ListItem::BrokeOff(error) => format!("broke off: {}", error.cause),
        ListItem::Leftover(key) => format!("leftover {key}"),
        ListItem::Excluded(key) => format!("excluded {key}"),
        ListItem::Ignores(key, _) => format!("ignores {key}"),
        ListItem::LeftOut(key, why) => format!("left out {key}: {why}"),
        ListItem::MountPoint(key) => format!("mount point {key}"),
    };
    items.iter().map(tell).collect()
}

pub(crate) fn keys(source: &dyn Source) -> Vec<String> {
    told(&list_with(source, &everything()))
}

/// What stands at a key.
pub(crate) fn look(source: &dyn Source, at: impl AsRef<[u8]>) -> Entry {
    let at = key(at);
    let found = source.look(&at).unwrap_or_else(|error| panic!("cannot look at {at:?}: {error}"));
    found.unwrap_or_else(|| panic!("nothing stands at {at:?}"))
}

/// Reads an entry with a buffer of so many bytes; the chunks, those of holes too.
pub(crate) fn read(
    source: &dyn Source,
    entry: &Entry,
    buffer: usize,
) -> Result<Vec<Vec<u8>>, ReadError> {
    let mut chunks = Vec::new();
    let mut buffer = vec![0; buffer];
    source.read(entry, &mut buffer, &mut |reading| {
        let Reading::Content(piece) = reading else { return Ok(()) };
        piece.bytes(&mut |chunk| {
            chunks.push(chunk.to_vec());
            Ok(())
        })
    })?;
    Ok(chunks)
}

/// The content at a key.
pub(crate) fn content(source: &dyn Source, at: impl AsRef<[u8]>) -> Vec<u8> {
    let entry = look(source, at);
    match read(source, &entry, 1 << 16) {
        Ok(chunks) => chunks.concat(),
        Err(error) => panic!("cannot read {:?}: {error:?}", entry.key),
    }
}

/// Names a cause by its variant.
pub(crate) fn cause<T>(result: Result<T, Cause>) -> String {
    match result {
        Ok(_) => "ok".into(),
        Err(Cause::Io(error)) => format!("io: {error}"),
        Err(other) => format!("{other:?}"),
    }
}
