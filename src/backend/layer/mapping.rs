//! Mapping layer: a source whose entries have other owners, groups and modes than its own.
//!
//! All that is told of an entry's metadata is mapped once: in listings, by a look, and by reading.
//! What an earlier run recorded of the source is mapped by whoever adds it to a listing
//! ([`Mapper::map_recorded`]). An entry of which only a store's listing is known has a guess, which
//! one of these replaces.

use crate::backend::local::LocalNames;
use crate::backend::object::set_headers;
use crate::backend::{
    Capabilities, Facts, Inspect, Inspected, KeySpace, ListItem, ListOptions, Listing, Piece,
    Ranges, ReadError, Reading, Sink, Source,
};
use crate::model::entry::Completeness;
use crate::model::mapping::{Names, RecordedNames};
use crate::model::{Cause, Entry, EntryKind, Error, Key, Metadata, MetadataMapping, Notice};
use parking_lot::Mutex;
use std::any::Any;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Names that are remembered, of users and of groups: each costs a look-up.
const NAMES: usize = 4_096;

/// Changes metadata as a run was asked to.
#[derive(Debug)]
pub struct Mapper {
    mapping: MetadataMapping,
    names: CachedNames,
}

impl Mapper {
    /// Makes the mapper of a run; `None` if it changes nothing. `recorded` are the names where the
    /// entries come from; if there are none, those of this machine count.
    pub fn new(mapping: &MetadataMapping, recorded: RecordedNames) -> Option<Arc<Self>> {
        let (mapping, names) =
            (mapping.clone(), CachedNames { recorded, ..CachedNames::default() });
        (!mapping.is_empty()).then(|| Arc::new(Self { mapping, names }))
    }

    /// Maps what was recorded of an entry when it was written to the source.
    pub fn map_recorded(&self, metadata: &mut Metadata, kind: EntryKind) {
        self.map(metadata, kind);
    }

    fn map(&self, metadata: &mut Metadata, kind: EntryKind) {
        self.mapping.apply(metadata, kind, &self.names);
    }

    fn map_entry(&self, entry: &mut Entry) {
        if entry.completeness != Completeness::ListingOnly {
            self.map(&mut entry.metadata, entry.kind);
        }
    }

    fn map_item(&self, item: &mut ListItem) {
        if let ListItem::Entry(entry) = item {
            self.map_entry(entry);
        }
    }

    fn map_facts(&self, facts: &mut Facts) {
        let before = facts.metadata;
        self.map(&mut facts.metadata, facts.kind);
        // A store that takes over the headers is told the same.
        if facts.completeness == Completeness::Full && facts.metadata != before {
            set_headers(&mut facts.headers, facts.kind, &facts.metadata);
        }
    }

    fn map_inspected(&self, kind: EntryKind, inspected: &mut Inspected) {
        inspected.mode = self.mapping.modes.apply(inspected.mode, kind);
    }
}

/// Names of users and groups, each looked up once.
#[derive(Debug, Default)]
struct CachedNames {
    /// The names where the entries come from; those of this machine, if there are none.
    recorded: RecordedNames,
    users: Cache<Option<String>>,
    groups: Cache<Option<String>>,
    users_here: Cache<Option<u32>>,
    groups_here: Cache<Option<u32>>,
}

impl Names for CachedNames {
    fn user(&self, id: u32) -> Option<String> {
        if self.recorded.is_empty() {
            self.users.get(id, |id| LocalNames.user(id))
        } else {
            self.recorded.users.get(&id).cloned()
        }
    }

    fn group(&self, id: u32) -> Option<String> {
        if self.recorded.is_empty() {
            self.groups.get(id, |id| LocalNames.group(id))
        } else {
            self.recorded.groups.get(&id).cloned()
        }
    }

    /// Root is the same everywhere, whatever it is called.
    fn user_here(&self, id: u32) -> Option<u32> {
        let name = self.recorded.users.get(&id).filter(|_| id != 0)?;
        self.users_here.get(id, |_| LocalNames.user_id(name))
    }

    fn group_here(&self, id: u32) -> Option<u32> {
        let name = self.recorded.groups.get(&id).filter(|_| id != 0)?;
        self.groups_here.get(id, |_| LocalNames.group_id(name))
    }
}

/// What was looked up of ids.
#[derive(Debug)]
struct Cache<T>(Mutex<HashMap<u32, T>>);

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Cache<T> {
    fn get(&self, id: u32, look_up: impl Fn(u32) -> T) -> T {
        if let Some(found) = self.0.lock().get(&id) {
            return found.clone();
        }
        let found = look_up(id);
        let mut cache = self.0.lock();
        if cache.len() >= NAMES {
            cache.clear();
        }
        cache.insert(id, found.clone());
        found
    }
}

/// A source whose metadata is mapped.
pub struct MappedSource {
    inner: Arc<dyn Source>,
    mapper: Arc<Mapper>,
}

impl MappedSource {
    /// Wraps a source; returns the source itself if nothing is mapped.
    pub fn around(inner: Arc<dyn Source>, mapper: Option<&Arc<Mapper>>) -> Arc<dyn Source> {
        match mapper {
            Some(mapper) => Arc::new(Self { inner, mapper: Arc::clone(mapper) }),
            None => inner,
        }
    }
}

#[deny(clippy::missing_trait_methods)]
impl Source for MappedSource {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn list(&self, options: &ListOptions) -> Result<Listing, Error> {
        let mapper = Arc::clone(&self.mapper);
        let listing = self.inner.list(options)?;
        Ok(Box::new(listing.map(move |item| {
            item.map(|mut item| {
                mapper.map_item(&mut item);
                item
            })
        })))
    }

    fn count(
        &self,
        options: &ListOptions,
        take: &mut dyn FnMut(EntryKind, u64) -> bool,
    ) -> Result<bool, Error> {
        self.inner.count(options, take)
    }

    fn list_name(&self, name: &[u8], options: &ListOptions) -> Result<Vec<ListItem>, Error> {
        let mut items = self.inner.list_name(name, options)?;
        for item in &mut items {
            self.mapper.map_item(item);
        }
        Ok(items)
    }

    fn read(&self, entry: &Entry, buffer: &mut [u8], sink: &mut Sink<'_>) -> Result<(), ReadError> {
        self.inner.read(entry, buffer, &mut |reading| match reading {
            Reading::Opened(inner) => {
                sink(Reading::Opened(&MappedFile { inner, mapper: &self.mapper, kind: entry.kind }))
            }
            Reading::Facts(mut facts) => {
                self.mapper.map_facts(&mut facts);
                sink(Reading::Facts(facts))
            }
            content @ Reading::Content(_) => sink(content),
        })
    }

    fn read_ranges<'a>(
        &'a self,
        entry: &'a Entry,
    ) -> Result<Option<Box<dyn Ranges + 'a>>, ReadError> {
        let Some(inner) = self.inner.read_ranges(entry)? else { return Ok(None) };
        let mut facts = inner.facts().cloned();
        if let Some(facts) = &mut facts {
            self.mapper.map_facts(facts);
        }
        let (mapper, kind) = (&*self.mapper, entry.kind);
        Ok(Some(Box::new(MappedRanges { inner, facts, mapper, kind })))
    }

    fn look(&self, key: &Key) -> Result<Option<Entry>, Cause> {
        let mut found = self.inner.look(key)?;
        if let Some(entry) = &mut found {
            self.mapper.map_entry(entry);
        }
        Ok(found)
    }

    fn look_all(&self, keys: &[Key]) -> Result<Vec<Option<Entry>>, Cause> {
        let mut found = self.inner.look_all(keys)?;
        for entry in found.iter_mut().flatten() {
            self.mapper.map_entry(entry);
        }
        Ok(found)
    }

    fn names(&self, directory: &Key) -> Result<Vec<Vec<u8>>, Cause> {
        self.inner.names(directory)
    }

    fn inspect(&self, entry: &Entry) -> Result<Inspected, Cause> {
        let inspected = self.inner.inspect(entry)?;
        Ok(self.map_inspected(entry.kind, inspected))
    }

    fn map_inspected(&self, kind: EntryKind, inspected: Inspected) -> Inspected {
        let mut inspected = self.inner.map_inspected(kind, inspected);
        self.mapper.map_inspected(kind, &mut inspected);
        inspected
    }

    fn read_small(&self, key: &Key, max_size: u64) -> Result<Option<Vec<u8>>, Cause> {
        self.inner.read_small(key, max_size)
    }

    fn first_part(&self, entry: &Entry) -> Option<u64> {
        self.inner.first_part(entry)
    }

    /// A copy within a store would have the metadata of the source's object.
    fn copy_origin(&self) -> Option<&dyn Any> {
        if self.inner.capabilities().remote { None } else { self.inner.copy_origin() }
    }

    fn exists(&self) -> Result<bool, Error> {
        self.inner.exists()
    }

    fn set_key_space(&self, key_space: KeySpace) {
        self.inner.set_key_space(key_space);
    }

    fn notices(&self) -> Vec<Notice> {
        self.inner.notices()
    }
}

#[derive(Debug)]
struct MappedFile<'a> {
    inner: &'a dyn Inspect,
    mapper: &'a Mapper,
    kind: EntryKind,
}

impl Inspect for MappedFile<'_> {
    fn inspect(&self) -> Inspected {
        let mut inspected = self.inner.inspect();
        self.mapper.map_inspected(self.kind, &mut inspected);
        inspected
    }
}

struct MappedRanges<'a> {
    inner: Box<dyn Ranges + 'a>,
    facts: Option<Facts>,
    mapper: &'a Mapper,
    kind: EntryKind,
}

#[deny(clippy::missing_trait_methods)]
impl Ranges for MappedRanges<'_> {
    fn facts(&self) -> Option<&Facts> {
        self.facts.as_ref()
    }

    fn inspect(&self) -> Option<Inspected> {
        let mut inspected = self.inner.inspect();
        if let Some(inspected) = &mut inspected {
            self.mapper.map_inspected(self.kind, inspected);
        }
        inspected
    }

    fn length(&self) -> u64 {
        self.inner.length()
    }

    fn is_hole(&self, bytes: Range<u64>) -> bool {
        self.inner.is_hole(bytes)
    }

    fn readers(&self) -> Option<usize> {
        self.inner.readers()
    }

    fn read(
        &self,
        number: u64,
        buffer: &mut [u8],
        take: &mut dyn FnMut(Piece<'_>) -> Result<(), Cause>,
    ) -> Result<(), ReadError> {
        self.inner.read(number, buffer, take)
    }

    fn keep(&self, offset: u64, piece: Piece<'_>) {
        self.inner.keep(offset, piece);
    }

    fn end(&self) -> Result<(), ReadError> {
        self.inner.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::memory::Memory;
    use crate::filter::Filter;
    use crate::model::{IdMap, ModeChanges};

    fn mapper() -> Option<Arc<Mapper>> {
        let mapping = MetadataMapping {
            users: IdMap::all_to(7),
            groups: IdMap::parse("root:8,0:9", &|id| id.parse().map_err(|_| String::new()))
                .unwrap(),
            modes: ModeChanges::parse("D0750,F0640", 0).unwrap(),
            by_name: false,
        };
        Mapper::new(&mapping, RecordedNames::default())
    }

    #[test]
    fn owners_by_name_are_those_of_this_machine_unless_a_rule_says_another() {
        let recorded =
            |names: [(u32, &str); 3]| names.map(|(id, name)| (id, name.to_owned())).into();
        let mapping = MetadataMapping {
            users: IdMap::parse("carol:9", &|id| id.parse().map_err(|_| String::new())).unwrap(),
            by_name: true,
            ..MetadataMapping::default()
        };
        let names = RecordedNames {
            users: recorded([(0, "daemon"), (700, "bin"), (701, "carol")]),
            groups: recorded([(0, "daemon"), (700, "no such group"), (701, "daemon")]),
        };
        let mapper = Mapper::new(&mapping, names).expect("it maps");
        let here = |id| (LocalNames.user_id(id), LocalNames.group_id(id));
        let (Some(bin), Some(daemon)) = (here("bin").0, here("daemon").1) else { return };
        for ((uid, gid), expected) in [
            ((0, 0), (0, 0)),
            ((700, 700), (bin, 700)),
            ((701, 701), (9, daemon)),
            ((5, 5), (5, 5)),
        ] {
            let mut metadata = Metadata { uid, gid, ..Metadata::default() };
            mapper.map_recorded(&mut metadata, EntryKind::File);
            assert_eq!((metadata.uid, metadata.gid), expected, "{uid} {gid}");
        }
    }

    #[test]
    fn without_a_mapping_there_is_no_layer() {
        let names = RecordedNames::default();
        assert!(Mapper::new(&MetadataMapping::default(), names).is_none());
        let source: Arc<dyn Source> = Arc::new(Memory::default().source());
        let same = MappedSource::around(Arc::clone(&source), None);
        assert!(std::ptr::addr_eq(Arc::as_ptr(&source), Arc::as_ptr(&same)));
    }

    #[test]
    fn listings_and_looks_map_everything_once() {
        let memory = Memory::default();
        memory.write("d/f", "content");
        let mapped = MappedSource::around(Arc::new(memory.source()), mapper().as_ref());
        let owners = |entry: &Entry| {
            let Metadata { mode, uid, gid, .. } = entry.metadata;
            (mode, uid, gid)
        };
        let options = ListOptions {
            filter: Arc::new(Filter::default()),
            only: None,
            key_space: KeySpace::Tree,
        };
        for item in mapped.list(&options).expect("list") {
            let Ok(ListItem::Entry(entry)) = item else { panic!("{item:?}") };
            let mode = if entry.kind == EntryKind::Directory { 0o750 } else { 0o640 };
            assert_eq!(owners(&entry), (mode, 7, 8), "{}", entry.key);
        }
        let key = Key::new(*b"d/f");
        let found = mapped.look(&key).expect("look").expect("it stands");
        assert_eq!(owners(&found), (0o640, 7, 8));
        assert_eq!(mapped.inspect(&found).expect("inspect").mode, 0o640);
        let listed = mapped.list_name(b"d/f", &options).expect("list the name");
        assert!(matches!(&*listed, [ListItem::Entry(entry)] if owners(entry) == (0o640, 7, 8)));
    }
}
