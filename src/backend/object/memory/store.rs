//! The service and its buckets, as a [`Store`].

use super::bucket::{Bucket, Markers, PendingUpload, StoredObject, tag};
use super::{Fault, Faults, Habits};
use crate::backend::Headers;
use crate::backend::object::{
    Body, BucketId, CompletedPart, Condition, CopySource, Head, ListQuery, LookForWritten,
    NotDeleted, ObjectReader, Page, PartTag, PartsPage, RequestLimits, Requester, Store,
    StoreCapabilities, StoreError, StoreErrorKind, UploadId, UploadedPart, Wanted,
};
use crate::model::hex::Hex;
use crate::model::{ETag, RequestKind, Stop, Timestamp};
use bytes::Bytes;
use md5::{Digest as _, Md5};
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Size in bytes of one piece of content.
const PIECE: usize = 64 << 10;

/// A store with its buckets; clones share it.
#[derive(Clone, Default)]
pub struct MemoryService(Arc<Mutex<Service>>);

#[derive(Default)]
struct Service {
    habits: Habits,
    faults: Faults,
    /// Whether the store was seen to send the whole object for a range.
    is_range_ignored: bool,
    buckets: BTreeMap<String, Bucket>,
    /// The clock in seconds since the epoch, advanced by one with each write.
    clock: i64,
    uploads_begun: u64,
}

impl Service {
    fn now(&self) -> Timestamp {
        Timestamp { seconds: self.clock, nanos: 0 }
    }

    fn bucket(&mut self, name: &str) -> &mut Bucket {
        self.buckets.entry(name.to_owned()).or_default()
    }

    /// Returns the key under which an object is kept.
    fn kept_at<'k>(&self, key: &'k [u8]) -> Result<&'k [u8], StoreError> {
        match &self.habits.markers {
            Markers::Refused(kind) if key.ends_with(b"/") => Err(StoreError::new(kind.clone())),
            Markers::LoseTheirSlash => Ok(key.strip_suffix(b"/").unwrap_or(key)),
            _ => Ok(key),
        }
    }

    fn write(
        &mut self,
        bucket: &str,
        key: &[u8],
        condition: Condition<'_>,
        make: impl FnOnce(Timestamp) -> StoredObject,
    ) -> Result<Option<ETag>, StoreError> {
        if condition != Condition::None && !self.habits.knows_conditions {
            return Err(StoreError::new(StoreErrorKind::Unsupported));
        }
        let key = self.kept_at(key)?;
        self.clock += 1;
        let now = self.now();
        let bucket = self.bucket(bucket);
        bucket.check(key, condition)?;
        let object = make(now);
        let etag = object.etag;
        bucket.objects.insert(key.into(), object);
        Ok(Some(etag))
    }

    /// Returns the source object of a copy.
    fn original(&mut self, from: &CopySource<'_>) -> Result<StoredObject, StoreError> {
        let object = self.bucket(from.bucket).objects.get(from.key).cloned();
        let object = object.ok_or_else(|| StoreError::new(StoreErrorKind::NotFound))?;
        match from.version {
            Some(version) if *version != object.etag => {
                Err(StoreError::new(StoreErrorKind::PreconditionFailed))
            }
            _ => Ok(object),
        }
    }

    /// Returns an upload for this key.
    fn upload(
        &mut self,
        bucket: &str,
        key: &[u8],
        id: &UploadId,
    ) -> Result<&mut PendingUpload, StoreError> {
        let upload = self.bucket(bucket).uploads.get_mut(&id.0);
        let upload = upload.filter(|upload| *upload.key == *key);
        upload.ok_or_else(|| StoreError::new(StoreErrorKind::NoSuchUpload))
    }
}

impl MemoryService {
    /// Returns a bucket whose requests are signed with a key of this name.
    pub fn bucket(&self, name: &str, key: &str) -> MemoryStore {
        let id = BucketId {
            scheme: "memory",
            endpoint: None,
            region: String::new(),
            bucket: name.to_owned(),
        };
        let requester = Requester::Key(key.into());
        MemoryStore { service: self.clone(), id, requester, stop: Stop::default() }
    }

    /// Sets how it differs from the best of stores.
    pub fn set_habits(&self, set: impl FnOnce(&mut Habits)) {
        set(&mut self.0.lock().habits);
    }

    /// Its faults and calls.
    pub fn faults<T>(&self, with: impl FnOnce(&mut Faults) -> T) -> T {
        with(&mut self.0.lock().faults)
    }

    /// Lets time pass by the store's clock.
    pub fn pass(&self, seconds: i64) {
        self.0.lock().clock += seconds;
    }
}

/// A bucket of a [`MemoryService`].
#[derive(Clone)]
pub struct MemoryStore {
    service: MemoryService,
    id: BucketId,
    requester: Requester,
    stop: Stop,
}

impl MemoryStore {
    /// Puts an object there, as another client does: no call, and no fault.
    pub fn set(&self, key: &[u8], content: impl Into<Bytes>, headers: Headers) -> ETag {
        let mut service = self.service.0.lock();
        service.clock += 1;
        let object = StoredObject::new(content.into(), headers, service.now());
        let etag = object.etag;
        service.bucket(&self.id.bucket).objects.insert(key.into(), object);
        etag
    }

    /// The object at a key.
    pub fn object(&self, key: &[u8]) -> Option<StoredObject> {
        self.service.0.lock().bucket(&self.id.bucket).objects.get(key).cloned()
    }

    /// Removes the object at a key, as another client does.
    pub fn forget(&self, key: &[u8]) {
        self.service.0.lock().bucket(&self.id.bucket).objects.remove(key);
    }

    /// All keys, in order.
    pub fn keys(&self) -> Vec<Box<[u8]>> {
        self.service.0.lock().bucket(&self.id.bucket).objects.keys().cloned().collect()
    }

    /// The uploads under way, by the numbers of their parts.
    pub fn uploads(&self) -> Vec<Vec<u16>> {
        let mut service = self.service.0.lock();
        let uploads = service.bucket(&self.id.bucket).uploads.values();
        uploads.map(|upload| upload.parts.keys().copied().collect()).collect()
    }

    /// Begins a call; what goes wrong with it, if anything does that isn't an error at once.
    fn call(
        &self,
        kind: RequestKind,
    ) -> Result<(MutexGuard<'_, Service>, Option<Fault>), StoreError> {
        if self.stop.requested() {
            return Err(StoreError::new(StoreErrorKind::Interrupted));
        }
        let mut service = self.service.0.lock();
        match service.faults.call(kind) {
            Some(Fault::Refused(kind)) => Err(StoreError::new(kind)),
            fault => Ok((service, fault)),
        }
    }

    /// Does what writes something, and where the reply is lost does it again as a client would,
    /// once `look` found nothing.
    fn write<T>(
        &self,
        kind: RequestKind,
        write: impl Fn(&mut Service) -> Result<T, StoreError>,
        look: impl FnOnce() -> Result<Option<T>, StoreError>,
    ) -> Result<T, StoreError> {
        let (mut service, fault) = self.call(kind)?;
        let written = write(&mut service)?;
        match fault {
            Some(Fault::LostReply) => {
                drop(service);
                if let Some(found) = look()? {
                    return Ok(found);
                }
                write(&mut self.service.0.lock()).map_err(|mut error| {
                    error.maybe_done = true;
                    error
                })
            }
            Some(Fault::Silence) => Err(Fault::silence()),
            _ => Ok(written),
        }
    }

    fn ask_head(&self, key: &[u8], with_checksum: bool) -> Result<Option<Head>, StoreError> {
        let (mut service, _) = self.call(RequestKind::Head)?;
        let has_checksum = with_checksum && service.habits.keeps_checksums;
        let key = service.kept_at(key)?;
        let object = service.bucket(&self.id.bucket).objects.get(key);
        Ok(object.map(|object| object.head(has_checksum)))
    }
}

impl Store for MemoryStore {
    fn id(&self) -> &BucketId {
        &self.id
    }

    fn capabilities(&self) -> StoreCapabilities {
        let service = self.service.0.lock();
        StoreCapabilities {
            longest_key: 1024,
            delete_batch: 1000,
            largest_copy: service.habits.largest_copy,
            most_parts: 10_000,
            reads_ranges: !service.is_range_ignored,
        }
    }

    fn requester(&self) -> Requester {
        self.requester.clone()
    }

    fn stopped_by(&self, stop: Stop) -> Arc<dyn Store> {
        Arc::new(Self { stop, ..self.clone() })
    }

    fn limited_by(&self, _limits: Arc<dyn RequestLimits>) -> Arc<dyn Store> {
        Arc::new(self.clone())
    }

    fn trying(&self, _tries: u32) -> Arc<dyn Store> {
        Arc::new(self.clone())
    }

    fn list(&self, query: &ListQuery<'_>) -> Result<Page, StoreError> {
        let (mut service, _) = self.call(RequestKind::List)?;
        let (habits, now) = (service.habits.clone(), service.now());
        Ok(service.bucket(&self.id.bucket).page(query, &habits, now))
    }

    fn head(&self, key: &[u8]) -> Result<Option<Head>, StoreError> {
        self.ask_head(key, false)
    }

    fn head_with_checksum(&self, key: &[u8]) -> Result<Option<Head>, StoreError> {
        self.ask_head(key, true)
    }

    fn first_part(&self, key: &[u8]) -> Result<Option<u64>, StoreError> {
        let (mut service, _) = self.call(RequestKind::Head)?;
        let object = service.bucket(&self.id.bucket).objects.get(key);
        Ok(object.map(|object| object.first_part))
    }

    fn get(&self, key: &[u8], wanted: &Wanted<'_>) -> Result<Box<dyn ObjectReader>, StoreError> {
        let (mut service, fault) = self.call(RequestKind::Get)?;
        let from = CopySource { bucket: &self.id.bucket, key, version: wanted.version };
        let object = service.original(&from)?;
        let is_part = wanted.range.is_some();
        service.is_range_ignored |= is_part && !service.habits.reads_ranges;
        let head = object.head(service.habits.keeps_checksums && !is_part);
        let range = wanted.range.clone().unwrap_or(0..object.size());
        let end = range.end.min(object.size());
        let content = object.content.slice(range.start.min(end) as usize..end as usize);
        let breaks_off = match fault {
            Some(Fault::BreaksOff(after)) => Some(after as usize),
            _ => None,
        };
        Ok(Box::new(MemoryReader { head, content, breaks_off }))
    }

    fn put(
        &self,
        key: &[u8],
        body: Body,
        headers: &Headers,
        condition: Condition<'_>,
    ) -> Result<Option<ETag>, StoreError> {
        let content: Bytes = body.pieces().concat().into();
        let write = |service: &mut Service| {
            service.write(&self.id.bucket, key, condition, |now| {
                StoredObject::new(content.clone(), headers.clone(), now)
            })
        };
        self.write(RequestKind::Put, write, || Ok(None))
    }

    fn copy(
        &self,
        from: &CopySource<'_>,
        key: &[u8],
        replace: Option<&Headers>,
        condition: Condition<'_>,
        look: LookForWritten<'_>,
    ) -> Result<Option<ETag>, StoreError> {
        let write = |service: &mut Service| {
            let original = service.original(from)?;
            if original.size() > service.habits.largest_copy {
                return Err(StoreError::new(StoreErrorKind::TooLarge));
            }
            let headers = replace.unwrap_or(&original.headers).clone();
            service.write(&self.id.bucket, key, condition, |now| {
                StoredObject::new(original.content, headers, now)
            })
        };
        self.write(RequestKind::Copy, write, || Ok(look()?.map(|found| found.etag)))
    }

    fn delete(&self, key: &[u8], condition: Condition<'_>) -> Result<(), StoreError> {
        let write = |service: &mut Service| {
            let key = service.kept_at(key)?;
            let bucket = service.bucket(&self.id.bucket);
            match bucket.check(key, condition) {
                Err(error) if error.kind == StoreErrorKind::NotFound => return Ok(()),
                checked => checked?,
            }
            bucket.objects.remove(key);
            Ok(())
        };
        self.write(RequestKind::Delete, write, || Ok(None))
    }

    fn delete_many(&self, keys: &[&[u8]]) -> Result<Vec<NotDeleted>, StoreError> {
        let write = |service: &mut Service| {
            let outlive = service.habits.markers == Markers::OutliveBulk;
            for key in keys.iter().filter(|key| !(outlive && key.ends_with(b"/"))) {
                service.bucket(&self.id.bucket).objects.remove(*key);
            }
            Ok(Vec::new())
        };
        self.write(RequestKind::DeleteMany, write, || Ok(None))
    }

    fn create_upload(&self, key: &[u8], headers: &Headers) -> Result<UploadId, StoreError> {
        let write = |service: &mut Service| {
            service.uploads_begun += 1;
            let id = UploadId(format!("upload-{}", service.uploads_begun).into());
            let upload =
                PendingUpload { key: key.into(), headers: headers.clone(), parts: BTreeMap::new() };
            service.bucket(&self.id.bucket).uploads.insert(id.0.clone(), upload);
            Ok(id)
        };
        self.write(RequestKind::CreateUpload, write, || Ok(None))
    }

    fn upload_part(
        &self,
        key: &[u8],
        upload: &UploadId,
        number: u16,
        body: Body,
    ) -> Result<PartTag, StoreError> {
        let content: Bytes = body.pieces().concat().into();
        let write = |service: &mut Service| {
            let upload = service.upload(&self.id.bucket, key, upload)?;
            Ok(add_part(upload, number, content.clone()))
        };
        self.write(RequestKind::UploadPart, write, || Ok(None))
    }

    fn upload_part_copy(
        &self,
        key: &[u8],
        upload: &UploadId,
        number: u16,
        from: &CopySource<'_>,
        range: Range<u64>,
    ) -> Result<PartTag, StoreError> {
        let write = |service: &mut Service| {
            let original = service.original(from)?;
            let content = original.content.slice(range.start as usize..range.end as usize);
            Ok(add_part(service.upload(&self.id.bucket, key, upload)?, number, content))
        };
        self.write(RequestKind::CopyPart, write, || Ok(None))
    }

    fn list_parts(
        &self,
        key: &[u8],
        upload: &UploadId,
        after: u16,
    ) -> Result<PartsPage, StoreError> {
        let (mut service, _) = self.call(RequestKind::ListParts)?;
        let most = service.habits.page;
        let parts = &service.upload(&self.id.bucket, key, upload)?.parts;
        let mut left = parts.range(after + 1..).map(|(_, (part, _))| part.clone());
        let page: Vec<_> = left.by_ref().take(most).collect();
        let next = left.next().and_then(|_| page.last()).map(|part| part.number);
        Ok(PartsPage { parts: page, next })
    }

    fn complete_upload(
        &self,
        key: &[u8],
        upload: &UploadId,
        parts: &[CompletedPart],
        condition: Condition<'_>,
        look: LookForWritten<'_>,
    ) -> Result<Option<ETag>, StoreError> {
        let write = |service: &mut Service| {
            let pending = service.upload(&self.id.bucket, key, upload)?;
            let mut contents = Vec::new();
            for CompletedPart { number, tag } in parts {
                match pending.parts.get(number) {
                    Some((part, content)) if part.tag == *tag => contents.push(content.clone()),
                    _ => return Err(StoreError::new(StoreErrorKind::Other).message("no such part")),
                }
            }
            let headers = pending.headers.clone();
            let written = service.write(&self.id.bucket, key, condition, |now| {
                StoredObject::of_parts(&contents, headers, now)
            })?;
            service.bucket(&self.id.bucket).uploads.remove(&upload.0);
            Ok(written)
        };
        let look = || Ok(look()?.map(|found| found.etag));
        self.write(RequestKind::CompleteUpload, write, look).map_err(|mut error| {
            if error.kind == StoreErrorKind::NoSuchUpload && error.maybe_done {
                error.kind = StoreErrorKind::LostReply;
            }
            error
        })
    }

    fn abort_upload(&self, _key: &[u8], upload: &UploadId) -> Result<(), StoreError> {
        let write = |service: &mut Service| {
            service.bucket(&self.id.bucket).uploads.remove(&upload.0);
            Ok(())
        };
        self.write(RequestKind::AbortUpload, write, || Ok(None))
    }
}

fn add_part(upload: &mut PendingUpload, number: u16, content: Bytes) -> PartTag {
    let etag = tag(&Hex(&Md5::digest(&content)).to_string());
    let tag = PartTag { etag: etag.as_str().into(), checksum: None };
    let part = UploadedPart { number, size: content.len() as u64, tag: tag.clone() };
    upload.parts.insert(number, (part, content));
    tag
}

/// Content as it comes.
struct MemoryReader {
    head: Head,
    content: Bytes,
    /// After how many bytes more it ends too early.
    breaks_off: Option<usize>,
}

impl ObjectReader for MemoryReader {
    fn head(&self) -> &Head {
        &self.head
    }

    fn read(&mut self) -> Result<Option<Bytes>, StoreError> {
        let mut length = self.content.len().min(PIECE);
        if let Some(left) = &mut self.breaks_off {
            if *left == 0 {
                return Err(StoreError::new(StoreErrorKind::Network).message("it broke off"));
            }
            length = length.min(*left);
            *left -= length;
        }
        let piece = self.content.split_to(length);
        Ok((!piece.is_empty()).then_some(piece))
    }
}
