//! Server-side copies: no content passes through this process.

use super::cause::{cause, refused};
use super::conditions::{Unwritten, condition_of, conflict, is_met};
use super::copies::is_refusal;
use super::metadata::{lost, put, put_attributes, set, set_kept};
use super::part_sizes::part_size;
use super::parts::Parts;
use super::prefix::BucketPrefix;
use super::write::{ObjectStage, UPLOAD, is_kept};
use super::{
    Body, Condition, CopySource, Head, Headers, StoreError, StoreErrorKind, UploadId,
    WrittenObject, uploads,
};
use crate::backend::{Intended, MetadataSet, Precondition, ReadError, Reading, Stage as _};
use crate::model::{Cause, Digest, ETag, Entry, EntryKind, Key, Metadata, Stamp, Stop};
use std::fs;
use std::sync::Arc;

/// Size in bytes of the buffer for rewriting an object.
const BUFFER: usize = 256 << 10;

/// Why the store copied nothing.
enum Uncopied {
    /// The store doesn't copy this object, but it may be read and written.
    Refused(StoreError),
    /// Anything else.
    Failed(ReadError),
}

impl From<ReadError> for Uncopied {
    fn from(error: ReadError) -> Self {
        Self::Failed(error)
    }
}

/// Classifies an error of a copy that was sent without a condition.
fn uncopied(error: StoreError) -> Uncopied {
    if is_refusal(&error) { Uncopied::Refused(error) } else { Uncopied::Failed(read_error(error)) }
}

/// The object to copy.
struct Original<'a> {
    from: CopySource<'a>,
    size: u64,
}

/// The listed object of an entry, in the prefix that it is copied from.
#[derive(Clone, Copy)]
struct SourceObject<'a> {
    place: &'a BucketPrefix,
    key: &'a [u8],
    entry: &'a Entry,
}

impl SourceObject<'_> {
    fn head(&self) -> Result<Option<Head>, StoreError> {
        self.place.store.head(self.key)
    }
}

impl BucketPrefix {
    /// Sets an object's metadata: the store copies it onto itself, or if it doesn't, the object is
    /// read and written again.
    pub(super) fn set_metadata(
        self: &Arc<Self>,
        key: &Key,
        kind: EntryKind,
        intended: &Intended<'_>,
        precondition: Precondition,
    ) -> Result<MetadataSet, Cause> {
        let object = self.object_key(key)?;
        let head = self.store.head(&object).map_err(refused)?.ok_or(Cause::TargetChanged)?;
        let precondition = match (precondition, head.etag) {
            // The recorded content belongs to another version.
            (Precondition::Object(listed), Some(tag)) if listed != tag => {
                return Err(Cause::TargetChanged);
            }
            (_, Some(tag)) => Precondition::Object(tag),
            (precondition, None) => precondition,
        };
        let mut headers = head.headers.clone();
        set(&mut headers, kind, intended.metadata);
        set_kept(&mut headers, intended.flags, intended.accessed);
        if let Some(attributes) = intended.attributes {
            put_attributes(&mut headers, attributes);
        }
        let lost = lost(&headers, intended.attributes);
        let are_attributes_changed = intended.attributes.is_some();
        let set = |stamp| MetadataSet { stamp: Some(stamp), are_attributes_changed, lost };
        let copies = &self.refused_updates;
        if copies.may_copy() {
            match self.copy_onto_itself(&object, &head, &headers, &precondition) {
                Ok(tag) => {
                    copies.copied();
                    return Ok(set(Stamp::of_object(head.size, tag)));
                }
                Err(Uncopied::Refused(error)) => copies.refused(key, &error),
                Err(Uncopied::Failed(error)) => return Err(target_cause(error)),
            }
        }
        self.rewrite(key, &head, &headers, precondition).map(set)
    }

    /// Makes the store copy an object onto itself with other headers.
    fn copy_onto_itself(
        &self,
        object: &[u8],
        head: &Head,
        headers: &Headers,
        precondition: &Precondition,
    ) -> Result<Option<ETag>, Uncopied> {
        let bucket = &self.store.id().bucket;
        let from = CopySource { bucket, key: object, version: head.etag.as_ref() };
        if head.size > self.copies.above {
            let original = Original { from, size: head.size };
            return self.copy_in_parts(&original, object, headers.clone(), precondition);
        }
        let is_done = |existing: &Head| existing.size == head.size && is_kept(existing, headers);
        let look = || Ok(self.store.head(object)?.filter(is_done).map(WrittenObject::from));
        let send = |condition: Condition<'_>| {
            self.store.copy(&from, object, Some(headers), condition, &look)
        };
        // Source and target are the same object: the condition covers both.
        match self
            .conditions
            .copy(&*self.store, object, condition_of(precondition), send, || Ok(true))
        {
            Ok(tag) => Ok(tag),
            // A reply may have been lost and the request sent again.
            Err(Unwritten::Unmet { error, existing: Some(head) })
                if error.maybe_done && is_kept(&head, headers) =>
            {
                Ok(head.etag)
            }
            Err(Unwritten::Unmet { .. }) => Err(ReadError::Changed.into()),
            Err(Unwritten::Failed(error)) => Err(uncopied(error)),
        }
    }

    /// Reads an object and writes it again with other headers, if it is still the version of
    /// `head`.
    fn rewrite(
        self: &Arc<Self>,
        key: &Key,
        head: &Head,
        headers: &Headers,
        precondition: Precondition,
    ) -> Result<Stamp, Cause> {
        let stamp = Stamp::of_object(head.size, head.etag);
        let entry = self.listed(key.clone(), EntryKind::File, stamp, head.modified);
        let mut stage = Box::new(ObjectStage::begin(self, &entry, precondition)?);
        stage.keep(headers);
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; BUFFER];
        let read = self.read_in_order(&entry, &mut buffer, &mut |reading| match reading {
            Reading::Content(piece) => piece.bytes(&mut |chunk| {
                hasher.update(chunk);
                stage.write(chunk)
            }),
            Reading::Opened(_) | Reading::Facts(_) => Ok(()),
        });
        read.map_err(target_cause)?;
        let found = Digest::from(hasher.finalize());
        if let Some(recorded) = self.facts(head, EntryKind::File).digest.filter(|it| *it != found) {
            return Err(Cause::OtherDigest { recorded, found });
        }
        Ok(stage.finish(&(&entry.metadata).into(), &found)?.written().stamp)
    }

    /// Makes the store copy an object from another prefix to a key; returns `None` if it doesn't.
    ///
    /// # Errors
    /// Those of [`BucketPrefix::copy_by_store`].
    pub(super) fn copy(
        &self,
        other: &Self,
        entry: &Entry,
        key: &Key,
        precondition: Precondition,
    ) -> Result<Option<Stamp>, ReadError> {
        let copies = &self.refused_copies;
        if copies.may_copy()
            && !copies.has_copied()
            && !self.store.requester().may_read_as(&other.store.requester())
        {
            copies.other_keys();
        }
        if !copies.may_copy() {
            return Ok(None);
        }
        match self.copy_by_store(other, entry, key, precondition) {
            Ok(stamp) => {
                copies.copied();
                Ok(Some(stamp))
            }
            Err(Uncopied::Refused(error)) => {
                copies.refused(&entry.key, &error);
                Ok(None)
            }
            Err(Uncopied::Failed(error)) => Err(error),
        }
    }

    /// Makes the store copy an object with all its headers from another prefix. With a precondition
    /// on the target, no other object is overwritten, as far as the store supports conditions.
    ///
    /// # Errors
    /// [`ReadError::Changed`] if the source isn't the version listed.
    fn copy_by_store(
        &self,
        other: &Self,
        entry: &Entry,
        key: &Key,
        precondition: Precondition,
    ) -> Result<Stamp, Uncopied> {
        let from_key = other.object_key(&entry.key).map_err(ReadError::Sink)?;
        let to = self.object_key(key).map_err(ReadError::Sink)?;
        self.check_ending(&to).map_err(ReadError::Sink)?;
        let (tag, size) = (entry.stamp.tag(), entry.stamp.size);
        let source = SourceObject { place: other, key: &from_key, entry };
        let from =
            CopySource { bucket: &other.store.id().bucket, key: &from_key, version: tag.as_ref() };
        let copied = if size > self.copies.above {
            let head = other.store.head(&from_key).map_err(read_error)?.ok_or_else(vanished)?;
            if head.size != size || tag.is_some() && head.etag != tag {
                return Err(ReadError::Changed.into());
            }
            self.copy_in_parts(&Original { from, size }, &to, head.headers, &precondition)?
        } else {
            let look = || {
                let existing = self.store.head(&to)?;
                let is_copy = |head: &Head| self.is_whole_copy(head, source).unwrap_or(false);
                Ok(existing.filter(is_copy).map(WrittenObject::from))
            };
            let send =
                |condition: Condition<'_>| self.store.copy(&from, &to, None, condition, &look);
            let is_listed = || {
                let head = other.store.head(&from_key)?;
                Ok(head
                    .is_some_and(|head| head.size == size && (tag.is_none() || head.etag == tag)))
            };
            let condition = condition_of(&precondition);
            match self.conditions.copy(&*self.store, &to, condition, send, is_listed) {
                Ok(tag) => tag,
                Err(Unwritten::Failed(error)) if error.kind == StoreErrorKind::NotFound => {
                    let head = other.store.head(&from_key).map_err(read_error)?;
                    let head = head.ok_or_else(vanished)?;
                    if size > 0 || !to.ends_with(b"/") {
                        // The store doesn't find the key as the source of a copy.
                        return Err(Uncopied::Refused(error));
                    }
                    // Some stores turn a marker into a directory, which they can't copy.
                    let put = self.store.put(&to, Body::default(), &head.headers, Condition::None);
                    put.map_err(read_error)?
                }
                Err(Unwritten::Unmet { error, existing }) => {
                    self.unmet_reason(&error, existing, source, &precondition)?
                }
                Err(Unwritten::Failed(error)) => return Err(uncopied(error)),
            }
        };
        Ok(Stamp::of_object(size, copied))
    }

    /// Finds out why the store found the condition of a copy unmet: the source or the target
    /// changed, or the copy had succeeded and the reply was lost.
    fn unmet_reason(
        &self,
        error: &StoreError,
        existing: Option<Box<Head>>,
        source: SourceObject<'_>,
        precondition: &Precondition,
    ) -> Result<Option<ETag>, ReadError> {
        if is_met(condition_of(precondition), existing.as_deref()) {
            return Err(ReadError::Changed);
        }
        if let Some(head) = existing.filter(|_| error.maybe_done)
            && self.is_copy(&head, source).map_err(read_error)?
        {
            return Ok(head.etag);
        }
        Err(ReadError::Sink(conflict(precondition)))
    }

    /// Returns whether an object is certainly a copy of another, with all its headers.
    fn is_whole_copy(&self, head: &Head, source: SourceObject<'_>) -> Result<bool, StoreError> {
        let original = source.head()?;
        let has_headers = original.is_some_and(|original| is_kept(head, &original.headers));
        Ok(has_headers && self.is_copy(head, source)?)
    }

    /// Returns whether an object certainly has the content of another: it has the same tag, or the
    /// digest in its headers matches.
    fn is_copy(&self, head: &Head, source: SourceObject<'_>) -> Result<bool, StoreError> {
        let listed = &source.entry.stamp;
        if head.size != listed.size {
            return Ok(false);
        }
        if head.etag.is_some() && head.etag == listed.tag() {
            return Ok(true);
        }
        if self.facts(head, EntryKind::File).digest.is_none() {
            return Ok(false);
        }
        Ok(source.head()?.is_some_and(|original| is_kept(head, &original.headers)))
    }

    /// Makes the store copy an object in parts, several at a time.
    fn copy_in_parts(
        &self,
        original: &Original<'_>,
        to: &[u8],
        mut headers: Headers,
        precondition: &Precondition,
    ) -> Result<Option<ETag>, Uncopied> {
        put(&mut headers, UPLOAD, self.token.clone());
        let id = self.store.create_upload(to, &headers).map_err(uncopied)?;
        let metadata = Metadata::default();
        let begun = self.journal.describe(to, &id, &self.token, original.size, &metadata);
        let begun = begun.not_resumable();
        let copied = match self.journal.begin(&begun) {
            Ok(record) => {
                let copied = self.copy_parts(original, to, &id, precondition);
                if copied.is_ok() {
                    // If this fails, a later run finds no upload to abort.
                    fs::remove_file(&record).ok();
                }
                copied.map_err(|error| (error, Some(record)))
            }
            Err(error) => Err((ReadError::Sink(uploads::unusable(&error, to)).into(), None)),
        };
        copied.map_err(|(error, record)| {
            // The first error is the one to report. If the abort fails, a later run aborts the
            // upload.
            let store = self.store.stopped_by(Stop::default());
            if store.abort_upload(to, &id).is_ok()
                && let Some(record) = record
            {
                fs::remove_file(record).ok();
            }
            error
        })
    }

    fn copy_parts(
        &self,
        original: &Original<'_>,
        to: &[u8],
        id: &UploadId,
        precondition: &Precondition,
    ) -> Result<Option<ETag>, Uncopied> {
        let Original { from: CopySource { bucket, key, version }, size } = *original;
        let length = self.copies.part.max(part_size(size));
        let mut parts = Parts::default();
        let mut copy = || {
            for at in 0..size.div_ceil(length) {
                let range = at * length..size.min((at + 1) * length);
                let (store, to, id) = (Arc::clone(&self.store), to.to_vec(), id.clone());
                let (bucket, key, version) = (bucket.to_owned(), key.to_vec(), version.copied());
                parts.begin(move |number| {
                    let from = CopySource { bucket: &bucket, key: &key, version: version.as_ref() };
                    store.upload_part_copy(&to, &id, number, &from, range)
                })?;
            }
            parts.all().map(<[_]>::to_vec)
        };
        let copied = copy();
        parts.settle();
        let parts = copied.map_err(uncopied)?;
        let completed = self.complete_upload(to, id, &parts, &self.token, precondition);
        Ok(completed.map_err(ReadError::Sink)?)
    }
}

/// Converts an error of reading the target itself.
fn target_cause(error: ReadError) -> Cause {
    match error {
        ReadError::Changed => Cause::TargetChanged,
        ReadError::Source(cause) | ReadError::Damaged(cause) | ReadError::Sink(cause) => cause,
    }
}

fn vanished() -> ReadError {
    ReadError::Source(Cause::Vanished)
}

#[expect(clippy::needless_pass_by_value, reason = "results are mapped by it")]
fn read_error(error: StoreError) -> ReadError {
    match error.kind {
        StoreErrorKind::PreconditionFailed => ReadError::Changed,
        StoreErrorKind::NotFound | StoreErrorKind::Archived(_) => ReadError::Source(cause(&error)),
        _ => ReadError::Sink(cause(&error)),
    }
}
