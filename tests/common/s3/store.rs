//! The store of the server: buckets of keys, each exactly as it came, with its versions; and
//! uploads that are under way.

use bytes::Bytes;
use s3s::crypto::{Checksum as _, Md5};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// Settings of the store. The defaults are S3's own limits.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The largest object that one request copies.
    pub copy_limit: u64,
    /// The largest object that one request puts, and the largest part.
    pub put_limit: u64,
    /// The smallest part of an upload but for its last one.
    pub part_minimum: u64,
    /// The most entries of a page of a listing, whatever is asked for.
    pub page: usize,
    /// Whether conditions on writes are checked; some other stores ignore them.
    pub conditions: bool,
    /// Whether listings encode keys on request; some other stores don't, without saying so.
    pub encoding: bool,
    /// Whether HEAD of a part describes that part; some other stores describe the whole object.
    pub part_numbers: bool,
    /// Where a listing with `start-after` begins.
    pub start_after: StartAfter,
}

/// Where a listing with `start-after` begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAfter {
    /// After the key.
    Behind,
    /// After the key; but if there is no such key, the second page lacks its first key (`MinIO`,
    /// minio/minio#21463).
    BehindWithLoss,
    /// With the key itself.
    At,
    /// At the beginning.
    Ignored,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            copy_limit: 5 << 30,
            put_limit: 5 << 30,
            part_minimum: 5 << 20,
            page: 1000,
            conditions: true,
            encoding: true,
            part_numbers: true,
            start_after: StartAfter::Behind,
        }
    }
}

/// An object in the store. Build one with [`Object::new`] and the `with_` methods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub content: Bytes,
    /// Without its quotes.
    pub etag: String,
    /// Whole seconds, as S3 keeps it.
    pub modified: SystemTime,
    /// `x-amz-meta-*`, without that prefix.
    pub metadata: BTreeMap<String, String>,
    /// `content-type`, `content-encoding` and their like, by lower-case name.
    pub headers: BTreeMap<String, String>,
    pub storage_class: String,
    /// The checksum that was sent with it: algorithm, as in `x-amz-checksum-ALGORITHM`, and value.
    pub checksum: Option<(&'static str, String)>,
    /// The sizes of its parts, if it was uploaded in parts.
    pub parts: Vec<usize>,
    /// `null` if the bucket has no versions.
    pub version: String,
}

impl Object {
    /// Returns an object as a plain PUT makes it.
    pub fn new(content: impl Into<Bytes>) -> Self {
        let content = content.into();
        Self {
            etag: md5(&content),
            content,
            modified: now(),
            metadata: BTreeMap::new(),
            headers: BTreeMap::new(),
            storage_class: "STANDARD".into(),
            checksum: None,
            parts: Vec::new(),
            version: "null".into(),
        }
    }

    pub fn with_metadata(mut self, name: &str, value: &str) -> Self {
        self.metadata.insert(name.into(), value.into());
        self
    }

    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    pub fn with_modified(mut self, seconds: u64) -> Self {
        self.modified = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        self
    }

    /// Sets the checksum; the algorithm is as in `x-amz-checksum-ALGORITHM`.
    pub fn with_checksum(mut self, algorithm: &'static str, value: &str) -> Self {
        self.checksum = Some((algorithm, value.into()));
        self
    }

    /// Sets an entity tag that is no MD5, as for multipart uploads or keys managed elsewhere.
    pub fn with_etag(mut self, etag: &str) -> Self {
        self.etag = etag.into();
        self
    }

    /// Sets the storage class; `GLACIER` and `DEEP_ARCHIVE` can't be read.
    pub fn with_storage_class(mut self, class: &str) -> Self {
        self.storage_class = class.into();
        self
    }

    pub fn size(&self) -> u64 {
        self.content.len() as u64
    }

    pub fn is_archived(&self) -> bool {
        matches!(self.storage_class.as_str(), "GLACIER" | "DEEP_ARCHIVE")
    }
}

/// An object as a listing describes it.
#[derive(Clone, Debug)]
pub struct Listed {
    pub key: String,
    pub size: u64,
    pub etag: String,
    pub modified: SystemTime,
    pub storage_class: String,
}

/// A version of a key: an object, or a delete marker.
#[derive(Clone, Debug)]
pub enum Version {
    Object(Object),
    Deleted { version: String, modified: SystemTime },
}

impl Version {
    pub fn id(&self) -> &str {
        match self {
            Self::Object(object) => &object.version,
            Self::Deleted { version, .. } => version,
        }
    }
}

/// A multipart upload that was neither completed nor aborted.
#[derive(Clone, Debug)]
pub struct Upload {
    pub key: String,
    pub id: String,
    pub started: SystemTime,
    /// The future object: its metadata and headers, still without content.
    pub object: Object,
    pub parts: BTreeMap<i32, Object>,
    /// The algorithm of the full-object checksum.
    pub checksum: Option<&'static str>,
}

/// The objects of a bucket.
#[derive(Debug)]
pub enum Contents {
    /// The versions of each key, the latest last.
    Held(BTreeMap<String, Vec<Version>>),
    /// A number of keys from `key-000000000` on, computed on demand; read-only.
    Synthetic(u32),
}

/// The error for a write to a synthetic bucket.
#[derive(Debug)]
pub struct ReadOnly;

#[derive(Debug)]
pub struct BucketState {
    pub contents: Contents,
    pub versioned: bool,
    pub uploads: BTreeMap<String, Upload>,
    pub created: SystemTime,
}

impl BucketState {
    pub fn new(contents: Contents) -> Self {
        Self { contents, versioned: false, uploads: BTreeMap::new(), created: now() }
    }

    /// Returns the latest version of a key, unless it is deleted.
    pub fn get(&self, key: &str) -> Option<Object> {
        match &self.contents {
            Contents::Held(keys) => match keys.get(key)?.last()? {
                Version::Object(object) => Some(object.clone()),
                Version::Deleted { .. } => None,
            },
            Contents::Synthetic(count) => synthetic_number(key, *count).map(|_| synthetic(key)),
        }
    }

    /// Returns a version of a key.
    pub fn version(&self, key: &str, id: &str) -> Option<Version> {
        match &self.contents {
            Contents::Held(keys) => {
                keys.get(key)?.iter().find(|version| version.id() == id).cloned()
            }
            Contents::Synthetic(_) => self.get(key).map(Version::Object).filter(|_| id == "null"),
        }
    }

    /// Returns the objects to be listed, in order, beginning with the first key not below `from`.
    pub fn listed<'a>(&'a self, from: &str) -> Box<dyn Iterator<Item = Listed> + 'a> {
        let list = |key: &str, object: &Object| Listed {
            key: key.into(),
            size: object.size(),
            etag: object.etag.clone(),
            modified: object.modified,
            storage_class: object.storage_class.clone(),
        };
        match &self.contents {
            Contents::Held(keys) => {
                Box::new(keys.range(from.to_owned()..).filter_map(move |(key, versions)| {
                    match versions.last() {
                        Some(Version::Object(object)) => Some(list(key, object)),
                        _ => None,
                    }
                }))
            }
            Contents::Synthetic(count) => {
                let numbers = first_synthetic(from, *count)..*count;
                Box::new(numbers.map(move |number| {
                    let key = synthetic_key(number);
                    list(&key, &synthetic(&key))
                }))
            }
        }
    }

    /// Makes an object the latest version of a key; returns the version's id.
    pub fn put(
        &mut self,
        key: &str,
        mut object: Object,
        id: impl FnOnce() -> String,
    ) -> Result<String, ReadOnly> {
        let Contents::Held(keys) = &mut self.contents else { return Err(ReadOnly) };
        let versions = keys.entry(key.into()).or_default();
        if self.versioned {
            object.version = id();
        } else {
            versions.retain(|version| version.id() != "null");
        }
        let version = object.version.clone();
        versions.push(Version::Object(object));
        Ok(version)
    }

    /// Deletes a key, or one version of it; returns the id of a new delete marker, if any.
    pub fn delete(
        &mut self,
        key: &str,
        version: Option<&str>,
        id: impl FnOnce() -> String,
    ) -> Result<Option<String>, ReadOnly> {
        let Contents::Held(keys) = &mut self.contents else { return Err(ReadOnly) };
        let mut mark = None;
        if let Some(version) = version {
            if let Some(versions) = keys.get_mut(key) {
                versions.retain(|held| held.id() != version);
                if versions.is_empty() {
                    keys.remove(key);
                }
            }
        } else if self.versioned {
            let version = id();
            let deleted = Version::Deleted { version: version.clone(), modified: now() };
            keys.entry(key.into()).or_default().push(deleted);
            mark = Some(version);
        } else {
            keys.remove(key);
        }
        Ok(mark)
    }
}

/// Everything that the server stores.
#[derive(Debug, Default)]
pub struct Store {
    pub buckets: BTreeMap<String, BucketState>,
    pub settings: Settings,
    ids: u64,
}

impl Store {
    /// Returns a new id, greater than all before.
    pub fn new_id(&mut self) -> String {
        self.ids += 1;
        format!("{:08}{}", self.ids, &md5(&self.ids.to_le_bytes())[..24])
    }
}

/// Returns the `number`th key of a synthetic bucket.
pub fn synthetic_key(number: u32) -> String {
    format!("key-{number:09}")
}

/// Returns the object of a synthetic key: its content is the key.
pub fn synthetic(key: &str) -> Object {
    Object::new(key.to_owned()).with_modified(1_700_000_000)
}

fn synthetic_number(key: &str, count: u32) -> Option<u32> {
    let number = key.strip_prefix("key-")?.parse().ok()?;
    (number < count && synthetic_key(number) == key).then_some(number)
}

/// Returns the first synthetic key not below `from`, by bisection.
fn first_synthetic(from: &str, count: u32) -> u32 {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = u32::midpoint(low, high);
        if synthetic_key(middle).as_str() < from {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// Returns the current time in whole seconds.
pub fn now() -> SystemTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since.expect("the clock is past 1970").as_secs();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Returns the MD5 in hexadecimal digits: the entity tag of an object that was put in one piece.
pub fn md5(content: &[u8]) -> String {
    hex(&Md5::checksum(content))
}

pub fn hex(bytes: &[u8]) -> String {
    // A listing of millions has as many of these.
    let mut digits = String::with_capacity(2 * bytes.len());
    for &byte in bytes {
        for half in [byte >> 4, byte & 15] {
            digits.push(char::from(b"0123456789abcdef"[usize::from(half)]));
        }
    }
    digits
}
