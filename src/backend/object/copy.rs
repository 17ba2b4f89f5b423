//! Copies within a store: nothing of the content passes through here.

use super::conditions::{Unwritten, condition_of, is_met, taken};
use super::metadata::{put, set};
use super::parts::Parts;
use super::place::{ObjectPlace, cause, refused};
use super::s3::{CopySource, UploadId};
use super::write::{UPLOAD, is_kept, no_tag, part_size};
use super::{Condition, Head, Headers, StoreError, StoreErrorKind, uploads};
use crate::backend::{Place, ReadError};
use crate::model::{Cause, ETag, Entry, EntryKind, Key, Metadata, Stamp, Stop};
use bytes::Bytes;
use std::fs;

/// Bytes of a part, at least: large enough that requests don't count, small enough that several are
/// under way at a time and none takes longer than one waits for a reply.
pub(super) const PART: u64 = 256 << 20;

/// From which size on a store is asked to copy in parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copies {
    /// The largest object that one COPY takes, in bytes.
    pub(super) above: u64,
    /// Bytes of a part, at least.
    pub(super) part: u64,
}

impl Default for Copies {
    /// S3 copies 5 GiB at once (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>).
    fn default() -> Self {
        Self { above: 5 << 30, part: PART }
    }
}

/// An object to be copied.
struct Original<'a> {
    from: CopySource<'a>,
    size: u64,
}

impl ObjectPlace {
    /// Sets an object's metadata: the store copies it onto itself.
    pub(super) fn set_metadata(
        &self,
        key: &Key,
        kind: EntryKind,
        metadata: &Metadata,
        place: Place,
    ) -> Result<Stamp, Cause> {
        let object = self.object_key(key)?;
        let head = self.store.head(&object).map_err(refused)?.ok_or(Cause::TargetChanged)?;
        let place = match (place, head.etag) {
            // What is known of its content is known of another version.
            (Place::Object(listed), Some(tag)) if listed != tag => {
                return Err(Cause::TargetChanged);
            }
            (_, Some(tag)) => Place::Object(tag),
            (place, None) => place,
        };
        let mut headers = head.headers.clone();
        set(&mut headers, kind, metadata);
        let bucket = self.store.bucket();
        let from = CopySource { bucket, key: &object, version: head.etag.as_ref() };
        let tag = if head.size > self.copies.above {
            let original = Original { from, size: head.size };
            self.copy_in_parts(&original, &object, headers, &place).map_err(
                |error| match error {
                    ReadError::Changed => Cause::TargetChanged,
                    ReadError::Source(cause)
                    | ReadError::Damaged(cause)
                    | ReadError::Sink(cause) => cause,
                },
            )?
        } else {
            let to = (&*object, condition_of(&place));
            let send = |condition: Condition<'_>| {
                self.store.copy(&from, &object, Some(&headers), condition)
            };
            // What is copied is what it is copied to: if that is as expected, so is this.
            match self.conditions.copy(&self.store, to, send, || Ok(true)) {
                Ok(tag) => tag,
                // A reply may have been lost, and the request been sent again.
                Err(Unwritten::Unmet { error, stands: Some(head) })
                    if error.maybe_done && is_kept(&head, &headers) =>
                {
                    head.etag.ok_or_else(no_tag)?
                }
                Err(Unwritten::Unmet { .. }) => return Err(Cause::TargetChanged),
                Err(Unwritten::Failed(error))
                    if error.kind == StoreErrorKind::PreconditionFailed =>
                {
                    return Err(Cause::TargetChanged);
                }
                Err(Unwritten::Failed(error)) => return Err(cause(&error)),
            }
        };
        Ok(Stamp::of_object(head.size, Some(tag)))
    }

    /// Has the store copy an object of another place within it, with all that is kept with it. Where
    /// nothing stands, or a known object, whatever else turns up is not overwritten, as far as the
    /// store knows conditions.
    ///
    /// # Errors
    /// [`ReadError::Changed`] when the source isn't the version listed.
    pub(super) fn copy(
        &self,
        other: &Self,
        entry: &Entry,
        place: Place,
    ) -> Result<Stamp, ReadError> {
        let from_key = other.object_key(&entry.key).map_err(ReadError::Sink)?;
        let to = self.object_key(&entry.key).map_err(ReadError::Sink)?;
        let (tag, size) = (entry.stamp.tag(), entry.stamp.size);
        let from =
            CopySource { bucket: other.store.bucket(), key: &from_key, version: tag.as_ref() };
        let copied = if size > self.copies.above {
            let head = other.store.head(&from_key).map_err(read_error)?.ok_or_else(vanished)?;
            if head.size != size || tag.is_some() && head.etag != tag {
                return Err(ReadError::Changed);
            }
            self.copy_in_parts(&Original { from, size }, &to, head.headers, &place)?
        } else {
            let send = |condition: Condition<'_>| self.store.copy(&from, &to, None, condition);
            let is_listed = || {
                let head = other.store.head(&from_key)?;
                Ok(head
                    .is_some_and(|head| head.size == size && (tag.is_none() || head.etag == tag)))
            };
            let condition = condition_of(&place);
            match self.conditions.copy(&self.store, (&to, condition), send, is_listed) {
                Ok(tag) => tag,
                // Some stores keep a directory for a marker, which they can't copy.
                Err(Unwritten::Failed(error))
                    if error.kind == StoreErrorKind::NotFound
                        && size == 0
                        && to.ends_with(b"/") =>
                {
                    let head = other.store.head(&from_key).map_err(read_error)?;
                    let head = head.ok_or_else(vanished)?;
                    let put = self.store.put(&to, Bytes::new(), &head.headers, Condition::None);
                    put.map_err(read_error)?
                }
                Err(Unwritten::Unmet { error, stands }) => {
                    self.whose((&error, stands), (other, &from_key, entry), &place)?
                }
                Err(Unwritten::Failed(error)) => return Err(read_error(error)),
            }
        };
        Ok(Stamp::of_object(size, Some(copied)))
    }

    /// Finds out why the store refused to copy for a condition: the source changed, or the target did;
    /// or it was copied before, and the reply was lost.
    fn whose(
        &self,
        (error, stands): (&StoreError, Option<Box<Head>>),
        (other, from, entry): (&Self, &[u8], &Entry),
        place: &Place,
    ) -> Result<ETag, ReadError> {
        if is_met(condition_of(place), stands.as_deref()) {
            return Err(ReadError::Changed);
        }
        if let Some(head) = stands.filter(|_| error.maybe_done)
            && self.is_copy(&head, (other, from, entry)).map_err(read_error)?
        {
            return head.etag.ok_or_else(|| ReadError::Sink(no_tag()));
        }
        Err(ReadError::Sink(taken(place)))
    }

    /// Whether an object surely has the content of another: the same tag, or the digest that is kept
    /// with the content says so.
    fn is_copy(
        &self,
        head: &Head,
        (other, from, entry): (&Self, &[u8], &Entry),
    ) -> Result<bool, StoreError> {
        if head.size != entry.stamp.size {
            return Ok(false);
        }
        if head.etag.is_some() && head.etag == entry.stamp.tag() {
            return Ok(true);
        }
        if self.facts(head, EntryKind::File).digest.is_none() {
            return Ok(false);
        }
        let original = other.store.head(from)?;
        Ok(original.is_some_and(|original| is_kept(head, &original.headers)))
    }

    /// Has the store copy an object in parts, several at a time.
    fn copy_in_parts(
        &self,
        original: &Original<'_>,
        to: &[u8],
        mut headers: Headers,
        place: &Place,
    ) -> Result<ETag, ReadError> {
        put(&mut headers, UPLOAD, self.token.clone());
        let id = self.store.create_upload(to, &headers).map_err(read_error)?;
        // Nothing goes on with it: no file has such a mode.
        let nobodys = Metadata { mode: u32::MAX, ..Metadata::default() };
        let begun = self.journal.describe(to, &id, &self.token, original.size, &nobodys);
        let copied = match self.journal.begin(&begun) {
            Ok(record) => {
                let copied = self.copy_parts(original, to, &id, place);
                if copied.is_ok() {
                    // Should this fail, a later run finds that there is nothing to give up.
                    fs::remove_file(&record).ok();
                }
                copied.map_err(|error| (error, Some(record)))
            }
            Err(error) => Err((ReadError::Sink(uploads::unusable(&error, to)), None)),
        };
        copied.map_err(|(error, record)| {
            // The first error says more; should this fail, a later run gives the upload up.
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
        place: &Place,
    ) -> Result<ETag, ReadError> {
        let Original { from: CopySource { bucket, key, version }, size } = *original;
        let length = self.copies.part.max(part_size(size));
        let mut parts = Parts::default();
        let mut copy = || {
            for at in 0..size.div_ceil(length) {
                let range = at * length..size.min((at + 1) * length);
                let (store, to, id) = (self.store.clone(), to.to_vec(), id.clone());
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
        let parts = copied.map_err(read_error)?;
        self.complete_upload((to, id), &parts, &self.token, place).map_err(ReadError::Sink)
    }
}

fn vanished() -> ReadError {
    ReadError::Source(Cause::Vanished)
}

#[expect(clippy::needless_pass_by_value, reason = "results are mapped by it")]
fn read_error(error: StoreError) -> ReadError {
    match error.kind {
        StoreErrorKind::PreconditionFailed => ReadError::Changed,
        StoreErrorKind::NotFound => ReadError::Source(cause(&error)),
        _ => ReadError::Sink(cause(&error)),
    }
}
