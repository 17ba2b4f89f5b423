//! Writing objects: a small one with one PUT, a large one in equal parts sent concurrently.
//!
//! An object is replaced atomically when its PUT or the last request of its upload succeeds: there
//! is nothing to publish later and nothing to sync.

use super::backup::ObjectBackup;
use super::cause::{cause, refused};
use super::conditions::{Unwritten, Writing, condition_of, conflict};
use super::marker_trial::unwritten;
use super::metadata::{headers, lost, put, put_attributes};
use super::part_sizes::{STREAMED_PART, part_size};
use super::parts::Parts;
use super::prefix::BucketPrefix;
use super::uploads::{self, LeftUpload};
use super::{
    Body, CompletedPart, Condition, Head, Headers, StoreError, StoreErrorKind, UploadId,
    UploadedPart, WrittenObject,
};
use crate::backend::{Intended, MetadataSet, Precondition, Stage, Staged, Written};
use crate::limits::{Content, MemoryPermit};
use crate::model::hint::hint;
use crate::model::{
    Cause, Digest, ETag, Entry, EntryKind, Features, Key, Metadata, Setting, Stamp, Stop,
};
use bytes::Bytes;
use md5::{Digest as _, Md5};
use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

/// The metadata name for the token of the run that made a multipart upload.
pub(super) const UPLOAD: &str = "vidimus-upload";

/// An object that is being written.
pub(super) struct ObjectStage {
    to: Arc<BucketPrefix>,
    key: Vec<u8>,
    entry: Entry,
    precondition: Precondition,
    /// The size, if it is known in advance.
    expected: Option<u64>,
    part_size: u64,
    kept: Option<Headers>,
    /// Buffered content of the next part or of the whole object, always with its memory permit.
    buffer: Option<PartBuffer>,
    written: u64,
    upload: Option<Upload>,
    /// Keeps the object that this one replaces, if that is wanted.
    backup: Option<Arc<ObjectBackup>>,
}

/// Buffered content and its memory permit.
struct PartBuffer {
    // Dropped first.
    content: Content,
    permit: MemoryPermit,
}

impl From<MemoryPermit> for PartBuffer {
    fn from(permit: MemoryPermit) -> Self {
        Self { content: permit.content(), permit }
    }
}

/// A multipart upload under way.
struct Upload {
    id: UploadId,
    token: String,
    /// The journal file of the upload.
    record: PathBuf,
    /// Parts that an earlier run sent.
    sent_before: HashMap<u16, UploadedPart>,
    parts: Parts,
}

impl ObjectStage {
    pub(super) fn begin(
        to: &Arc<BucketPrefix>,
        entry: &Entry,
        precondition: Precondition,
    ) -> Result<Self, Cause> {
        let size = entry.stamp.size;
        let part_size = part_size(size);
        Self::new(to, entry, Some(size), precondition, part_size, part_size.min(size))
    }

    /// Begins an object of unknown size; the entry's size is the expected one.
    pub(super) fn begin_stream(
        to: &Arc<BucketPrefix>,
        entry: &Entry,
        precondition: Precondition,
    ) -> Result<Self, Cause> {
        let part_size = part_size(entry.stamp.size).max(STREAMED_PART);
        Self::new(to, entry, None, precondition, part_size, part_size)
    }

    fn new(
        to: &Arc<BucketPrefix>,
        entry: &Entry,
        expected: Option<u64>,
        precondition: Precondition,
        part_size: u64,
        buffer_size: u64,
    ) -> Result<Self, Cause> {
        let key = to.object_key(&entry.key)?;
        let permit = to.take_memory(buffer_size)?;
        Ok(Self {
            to: Arc::clone(to),
            key,
            entry: entry.clone(),
            precondition,
            expected,
            part_size,
            kept: None,
            buffer: Some(permit.into()),
            written: 0,
            upload: None,
            backup: None,
        })
    }

    /// Makes the stage keep the object that it replaces before its own takes the place.
    pub(super) fn keeping(mut self, backup: Option<Arc<ObjectBackup>>) -> Self {
        self.backup = backup;
        self
    }

    fn headers(&self, metadata: &Metadata, digest: Option<&Digest>) -> Headers {
        if let Some(kept) = &self.kept {
            return kept.clone();
        }
        let extras = self.entry.extras.as_deref();
        headers(&self.key, EntryKind::File, metadata, extras, digest)
    }

    /// Sends the buffer as the next part.
    fn send_part(&mut self, more: bool) -> Result<(), Cause> {
        if self.upload.is_none() {
            self.upload = Some(match self.resume()? {
                Some(upload) => upload,
                None => self.begin_upload()?,
            });
        }
        let Some(upload) = &mut self.upload else { return Ok(()) };
        let Some(mut buffer) = self.buffer.take() else { return Ok(()) };
        if upload.has_sent(&buffer.content) {
            buffer.content.clear();
            self.buffer = Some(buffer);
            return Ok(());
        }
        let most = self.to.store.capabilities().most_parts;
        if upload.parts.begun() == most {
            let mebibytes = self.part_size >> 20;
            return Err(Cause::Lost {
                message: format!(
                    "the stream is larger than {most} parts of {mebibytes} MiB can hold"
                ),
                help: hint![
                    "say by ",
                    Setting::ExpectedSize,
                    " how much will come: parts will be larger",
                ],
            });
        }
        let (to, key, id) = (Arc::clone(&self.to), self.key.clone(), upload.id.clone());
        let PartBuffer { content, permit } = buffer;
        let content: Body = content.into_pieces().collect();
        let send = move |number| {
            let sent = to.store.upload_part(&key, &id, number, content);
            // The content's memory is free again.
            drop(permit);
            sent
        };
        upload.parts.begin(send).map_err(refused)?;
        if !more {
            return Ok(());
        }
        // While our own parts hold memory, waiting for memory could be waiting for ourselves.
        while self.buffer.is_none() && !upload.parts.are_idle() {
            self.buffer = self.to.memory.try_take(self.part_size).map(PartBuffer::from);
            if self.buffer.is_none() {
                upload.parts.wait().map_err(refused)?;
            }
        }
        if self.buffer.is_none() {
            self.buffer = Some(self.to.take_memory(self.part_size)?.into());
        }
        Ok(())
    }

    fn begin_upload(&self) -> Result<Upload, Cause> {
        let (to, entry) = (&self.to, &self.entry);
        let mut headers = self.headers(&entry.metadata, None);
        let token = to.token.clone();
        // Headers kept from an object uploaded in parts already contain a token: replace it.
        put(&mut headers, UPLOAD, token.clone());
        let id = to.store.create_upload(&self.key, &headers).map_err(refused)?;
        let size = entry.stamp.size;
        let begun = to.journal.describe(&self.key, &id, &token, size, &entry.metadata);
        let begun = if self.expected.is_some() { begun } else { begun.not_resumable() };
        match to.journal.begin(&begun) {
            Ok(record) => Ok(Upload::new(id, token, record, HashMap::new())),
            Err(error) => {
                // Without a record no later run could abort the upload.
                to.store.abort_upload(&self.key, &id).map_err(refused)?;
                Err(uploads::unusable(&error, &self.key))
            }
        }
    }

    /// Resumes an earlier run's upload of the same file, if the store still has it. The MD5 of its
    /// parts shows which are right.
    fn resume(&self) -> Result<Option<Upload>, Cause> {
        let (to, entry) = (&self.to, &self.entry);
        if self.kept.is_some() || self.expected.is_none() {
            return Ok(None);
        }
        let left = to.journal.resume(&self.key, entry.stamp.size, &entry.metadata);
        let left = left.map_err(|error| uploads::unusable(&error, &self.key))?;
        let Some(LeftUpload { record, begun }) = left else { return Ok(None) };
        let (mut parts, mut after, id) = (HashMap::new(), Some(0), begun.id());
        while let Some(number) = after {
            match to.store.list_parts(&self.key, &id, number) {
                Ok(page) => {
                    after = page.next;
                    parts.extend(page.parts.into_iter().map(|part| (part.number, part)));
                }
                Err(error) if error.kind == StoreErrorKind::NoSuchUpload => {
                    fs::remove_file(&record)?;
                    return Ok(None);
                }
                Err(error) => return Err(cause(&error)),
            }
        }
        Ok(Some(Upload::new(id, begun.token, record, parts)))
    }
}

impl Upload {
    fn new(
        id: UploadId,
        token: String,
        record: PathBuf,
        sent_before: HashMap<u16, UploadedPart>,
    ) -> Self {
        Self { id, token, record, sent_before, parts: Parts::default() }
    }

    /// Returns whether an earlier run already sent the next part.
    fn has_sent(&mut self, content: &Content) -> bool {
        let next = self.parts.begun() + 1;
        let Some(part) = self.sent_before.remove(&next) else { return false };
        let md5 = || content.pieces().fold(Md5::new(), Md5::chain_update).finalize();
        let is_same = part.size == content.len() as u64 && part.md5() == Some(md5().into());
        if is_same {
            self.parts.skip(part.tag);
        }
        is_same
    }
}

impl Stage for ObjectStage {
    fn keep(&mut self, headers: &Headers) {
        self.kept = Some(headers.clone());
    }

    fn write(&mut self, mut chunk: &[u8]) -> Result<(), Cause> {
        let written = self.written + chunk.len() as u64;
        if let Some(expected) = self.expected.filter(|expected| written > *expected) {
            return Err(Cause::ShortWrite { written, expected });
        }
        while !chunk.is_empty() {
            let full = self.part_size as usize;
            if self.buffer.as_ref().is_some_and(|buffer| buffer.content.len() == full) {
                self.send_part(true)?;
            }
            let buffer = self.buffer.as_mut();
            let buffer = buffer.expect("nothing is written after the last part or after an error");
            let fits = chunk.len().min(full - buffer.content.len());
            buffer.content.push(&chunk[..fits]);
            self.written += fits as u64;
            chunk = &chunk[fits..];
        }
        Ok(())
    }

    fn finish(
        mut self: Box<Self>,
        intended: &Intended<'_>,
        digest: &Digest,
    ) -> Result<Box<dyn Staged>, Cause> {
        let size = self.written;
        if let Some(expected) = self.expected.filter(|expected| size != *expected) {
            return Err(Cause::ShortWrite { written: size, expected });
        }
        if let Some(backup) = &self.backup {
            backup.keep_replaced(&self.to, &self.entry.key, self.precondition)?;
        }
        let tag = if self.upload.is_some() {
            self.send_part(false)?;
            self.complete()?
        } else {
            let headers = self.headers(intended.metadata, Some(digest));
            let buffer = self.buffer.take();
            let (content, _permit) =
                buffer.map(|PartBuffer { content, permit }| (content, permit)).unzip();
            let content: Body = content.into_iter().flat_map(Content::into_pieces).collect();
            self.to.put_whole(&self.key, &content, &headers, self.precondition)?
        };
        if self.precondition == Precondition::EmptyDirectory {
            let marker = [&self.key, &b"/"[..]].concat();
            self.to.store.delete(&marker, Condition::None).map_err(refused)?;
        }
        let stamp = Stamp::of_object(size, tag);
        let lost = match intended.attributes.filter(|_| self.kept.is_none()) {
            Some(_) => lost(&self.headers(intended.metadata, Some(digest)), intended.attributes),
            None => Features::default(),
        };
        Ok(Box::new(InPlace(Written { stamp, metadata: *intended.metadata, lost })))
    }
}

impl ObjectStage {
    /// Completes the multipart upload, if one was begun.
    fn complete(&mut self) -> Result<Option<ETag>, Cause> {
        let Some(upload) = &mut self.upload else { return Ok(None) };
        let parts = upload.parts.all().map_err(refused)?;
        let tag = self.to.complete_upload(
            &self.key,
            &upload.id,
            parts,
            &upload.token,
            &self.precondition,
        )?;
        if let Some(ended) = self.upload.take() {
            // If this fails, a later run finds no upload to abort.
            fs::remove_file(&ended.record).ok();
        }
        Ok(tag)
    }
}

/// Whether an object has the metadata that was sent with it, the digest included. Stores keep no
/// order.
pub(super) fn is_kept(head: &Head, sent: &Headers) -> bool {
    let sorted = |headers: &Headers| {
        let mut user = headers.user.clone();
        user.sort_unstable();
        user
    };
    sorted(&head.headers) == sorted(sent)
}

/// Whether an upload may be complete though its end was answered by an error.
fn is_lost(error: &StoreError) -> bool {
    error.maybe_done
        || matches!(error.kind, StoreErrorKind::LostReply | StoreErrorKind::NoSuchUpload)
}

impl Drop for ObjectStage {
    fn drop(&mut self) {
        let Some(mut upload) = self.upload.take() else { return };
        upload.parts.settle();
        let is_stream = self.expected.is_none();
        if self.to.stop.requested() && !is_stream {
            // The next run resumes it.
            return;
        }
        // A stream can't be resumed, so it is aborted even if the run is to stop. If this fails, a
        // later run aborts it.
        let store = self.to.store.stopped_by(Stop::default());
        if store.abort_upload(&self.key, &upload.id).is_ok() {
            fs::remove_file(&upload.record).ok();
        }
    }
}

/// An object that is in its place.
struct InPlace(Written);

impl Staged for InPlace {
    fn written(&self) -> Written {
        self.0
    }

    fn is_in_place(&self) -> bool {
        true
    }

    fn publish(&mut self) -> Result<Option<Cause>, Cause> {
        Ok(None)
    }
}

impl BucketPrefix {
    /// Aborts uploads of earlier runs that were not resumed; calls `given_up` with the key of each.
    pub(super) fn abort_stale_uploads(&self, given_up: &mut dyn FnMut(&Key)) -> Result<(), Cause> {
        self.abort_uploads(self.journal.take_left()?, given_up)
    }

    /// Aborts uploads of earlier runs that can't be resumed, and returns how many there were.
    pub(super) fn abort_unresumable_uploads(&self) -> Result<u64, Cause> {
        let mut given_up = 0;
        self.abort_uploads(self.journal.take_unresumable()?, &mut |_| given_up += 1)?;
        Ok(given_up)
    }

    fn abort_uploads(
        &self,
        left: Vec<LeftUpload>,
        given_up: &mut dyn FnMut(&Key),
    ) -> Result<(), Cause> {
        for LeftUpload { record, begun } in left {
            self.store.abort_upload(begun.key(), &begun.id()).map_err(refused)?;
            fs::remove_file(&record)?;
            let key = begun.key();
            given_up(&Key::new(key.strip_prefix(&*self.prefix).unwrap_or(key)));
        }
        Ok(())
    }

    /// Writes a whole object with one request. With a precondition, no other object is overwritten,
    /// as far as the store supports conditions.
    fn put_whole(
        &self,
        key: &[u8],
        content: &Body,
        headers: &Headers,
        precondition: Precondition,
    ) -> Result<Option<ETag>, Cause> {
        self.check_ending(key)?;
        let send =
            |condition: Condition<'_>| self.store.put(key, content.clone(), headers, condition);
        let condition = condition_of(&precondition);
        let put = self.conditions.write(&*self.store, Writing::Put, key, condition, send);
        match put {
            Ok(tag) => Ok(tag),
            // A reply may have been lost and the request sent again.
            Err(Unwritten::Unmet { error, existing: Some(head) })
                if error.maybe_done && is_kept(&head, headers) =>
            {
                Ok(head.etag)
            }
            Err(Unwritten::Unmet { .. }) => Err(conflict(&precondition)),
            Err(Unwritten::Failed(error)) => Err(cause(&error)),
        }
    }

    /// Completes a multipart upload under the same conditions as [`BucketPrefix::put_whole`]. If
    /// the reply is lost, the object is recognised by its `token`.
    pub(super) fn complete_upload(
        &self,
        key: &[u8],
        id: &UploadId,
        parts: &[CompletedPart],
        token: &str,
        precondition: &Precondition,
    ) -> Result<Option<ETag>, Cause> {
        let is_ours = |head: &Head| {
            head.headers.user.iter().any(|(name, value)| name == UPLOAD && value == token)
        };
        let look = || Ok(self.store.head(key)?.filter(is_ours).map(WrittenObject::from));
        let send =
            |condition: Condition<'_>| self.store.complete_upload(key, id, parts, condition, &look);
        let condition = condition_of(precondition);
        let completed =
            self.conditions.write(&*self.store, Writing::Complete, key, condition, send);
        let (error, existing, otherwise) = match completed {
            Ok(tag) => return Ok(tag),
            Err(Unwritten::Unmet { error, existing }) => {
                (error, existing, Some(conflict(precondition)))
            }
            Err(Unwritten::Failed(error)) if is_lost(&error) => {
                (error, self.store.head(key).map_err(refused)?.map(Box::new), None)
            }
            Err(Unwritten::Failed(error)) => return Err(cause(&error)),
        };
        match existing.filter(|head| is_ours(head)) {
            Some(head) => Ok(head.etag),
            None => Err(otherwise.unwrap_or_else(|| cause(&error))),
        }
    }

    /// Writes a directory's marker, over an existing one; returns `None` if no markers are written.
    pub(super) fn put_marker(
        &self,
        key: &Key,
        intended: &Intended<'_>,
    ) -> Result<MetadataSet, Cause> {
        if !self.has_markers() {
            return Ok(MetadataSet::default());
        }
        let object = self.object_key(key)?;
        let mut headers = headers(&object, EntryKind::Directory, intended.metadata, None, None);
        if let Some(attributes) = intended.attributes {
            put_attributes(&mut headers, attributes);
        }
        let lost = lost(&headers, intended.attributes);
        let set = |stamp| MetadataSet { stamp, are_attributes_changed: false, lost };
        match self.store.put(&object, Body::default(), &headers, Condition::None) {
            Ok(tag) => {
                // The metadata of a bucket's root is under a key that isn't listed, so it has no
                // tag.
                let is_listed = !(key.is_root() && self.prefix.is_empty());
                Ok(set(Some(Stamp::of_object(0, tag.filter(|_| is_listed)))))
            }
            Err(error) if self.refuses_markers(&error) => Ok(MetadataSet::default()),
            Err(error) => Err(unwritten(&error)),
        }
    }

    /// Writes a symbolic link, an object whose content is the link's text, or a special file, an
    /// empty object.
    pub(super) fn put_leaf(
        &self,
        entry: &Entry,
        precondition: Precondition,
    ) -> Result<MetadataSet, Cause> {
        let object = self.object_key(&entry.key)?;
        let text = entry.link.as_deref().unwrap_or_default();
        let (metadata, extras, digest) =
            (&entry.metadata, entry.extras.as_deref(), Digest::of(text));
        let headers = headers(&object, entry.kind, metadata, extras, Some(&digest));
        let body = Bytes::copy_from_slice(text);
        let tag = self.put_whole(&object, &body.into(), &headers, precondition)?;
        let apart = extras.and_then(|extras| extras.apart.loaded());
        let lost = lost(&headers, apart.map(|apart| &**apart));
        let stamp = Some(Stamp::of_object(text.len() as u64, tag));
        Ok(MetadataSet { stamp, are_attributes_changed: false, lost })
    }
}
