//! Reading objects: the version that was listed, whole, counted byte by byte.
//!
//! A large object is read in ranges, several at a time, and handed on in order. Each request names
//! the listed tag (`If-Match`), so that a version that takes the object's place is noticed. What came
//! is held against its digest by whoever takes it; where none is known, against the store's checksum
//! of the whole, if it has one: the reply to a read of a whole object tells it, and for one that is
//! read in ranges one HEAD asks for it.

use super::check::Check;
use super::place::{ObjectPlace, cause, refused};
use super::s3::Got;
use super::{Head, ListQuery, StoreError, StoreErrorKind};
use crate::backend::{Facts, ReadError, Reading, Sink};
use crate::limits::{Content, MemoryPermit};
use crate::model::entry::{Known, LONGEST_LINK};
use crate::model::{Cause, ETag, Entry, EntryKind, Key, Stamp};
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes of a range: long enough that a request's costs don't count.
const RANGE: u64 = 8 << 20;
/// Ranges of one object that are read at the same time.
const RANGES: usize = 4;
/// How often reading goes on where it broke off.
const RESUMES: u32 = 5;

impl ObjectPlace {
    /// Reads an object; see [`Source::read`](crate::backend::Source::read).
    pub(super) fn read(
        &self,
        entry: &Entry,
        buffer: &mut [u8],
        sink: &mut Sink<'_>,
    ) -> Result<(), ReadError> {
        let key = self.object_key(&entry.key).map_err(ReadError::Source)?;
        let whole = Whole { place: self, entry, key, tag: entry.stamp.tag() };
        if entry.stamp.size > 2 * RANGE && whole.tag.is_some() {
            let permits: Vec<_> = (0..RANGES).map_while(|_| self.memory.try_take(RANGE)).collect();
            if permits.len() > 1 {
                return whole.in_ranges(&permits, buffer.len(), sink);
            }
        }
        whole.at_once(buffer, sink)
    }

    /// Looks at an object; see [`Source::look`](crate::backend::Source::look).
    pub(super) fn look(&self, key: &Key) -> Result<Option<Entry>, Cause> {
        let object = self.object_key(key)?;
        let is_directory = key.is_directory() && !self.is_flat();
        let Some(head) = self.store.head(&object).map_err(refused)? else {
            return if is_directory { self.implied(key, &object) } else { Ok(None) };
        };
        let kind = if is_directory { EntryKind::Directory } else { EntryKind::File };
        let size = if is_directory { 0 } else { head.size };
        let stamp = Stamp::of_object(size, head.etag);
        let mut entry = self.listed(key.clone(), kind, stamp, head.modified);
        self.facts(&head, kind).tell(&mut entry);
        if entry.kind == EntryKind::Symlink {
            entry.link = Some(self.link_text(&object, &entry)?);
        }
        Ok(Some(entry))
    }

    /// See [`Source::first_part`](crate::backend::Source::first_part).
    pub(super) fn first_part(&self, entry: &Entry) -> Option<u64> {
        // Only a hint: whatever is wrong shows in what comes next.
        self.store.first_part(&self.object_key(&entry.key).ok()?).ok().flatten()
    }

    /// A directory without a marker: there is one as long as anything is in it.
    fn implied(&self, key: &Key, object: &[u8]) -> Result<Option<Entry>, Cause> {
        let query = ListQuery { prefix: object, limit: Some(1), ..ListQuery::default() };
        let page = self.store.list(&query).map_err(refused)?;
        let stamp = Stamp::of_object(0, None);
        let entry = self.listed(key.clone(), EntryKind::Directory, stamp, None);
        let is_there = !page.objects.is_empty();
        Ok(is_there.then_some(Entry { known: Known::Implied, ..entry }))
    }

    fn link_text(&self, object: &[u8], entry: &Entry) -> Result<Box<[u8]>, Cause> {
        if entry.stamp.size > LONGEST_LINK {
            return Err(Cause::Other("its text is longer than a link's can be".to_owned()));
        }
        let mut got = self.store.get(object, entry.stamp.tag().as_ref(), None).map_err(refused)?;
        let mut text = Vec::new();
        while let Some(bytes) = got.read().map_err(refused)? {
            text.extend_from_slice(&bytes);
        }
        Ok(text.into())
    }
}

/// An object that is read whole.
struct Whole<'a> {
    place: &'a ObjectPlace,
    entry: &'a Entry,
    key: Vec<u8>,
    tag: Option<ETag>,
}

impl Whole<'_> {
    /// Reads it by one request, and where that breaks off, by another that goes on.
    fn at_once(&self, buffer: &mut [u8], sink: &mut Sink<'_>) -> Result<(), ReadError> {
        let size = self.entry.stamp.size;
        let (mut done, mut filled, mut resumes) = (0, 0, 0);
        let mut check = Check::nothing();
        loop {
            let range = (done > 0).then_some(done..size);
            let mut got = self.get(range)?;
            self.check(&got.head)?;
            if done == 0 {
                let facts = self.place.facts(&got.head, EntryKind::File);
                if !self.has_digest(&facts) {
                    check = Check::of(&got.head);
                }
                sink(Reading::Facts(Box::new(facts))).map_err(ReadError::Sink)?;
            }
            loop {
                let bytes = match got.read() {
                    Ok(Some(bytes)) => bytes,
                    Ok(None) => break,
                    Err(error)
                        if resumes < RESUMES && is_transient(&error) && self.tag.is_some() =>
                    {
                        resumes += 1;
                        break;
                    }
                    Err(error) => return Err(read_error(error)),
                };
                done += bytes.len() as u64;
                if done > size {
                    return Err(ReadError::Changed);
                }
                check.take(&bytes);
                if done == size {
                    // Before the last of it is handed on, so that what is small is right or kept.
                    check.end()?;
                }
                if filled == 0 && bytes.len() as u64 == size && bytes.len() <= buffer.len() {
                    sink(Reading::Chunk(&bytes)).map_err(ReadError::Sink)?;
                    continue;
                }
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let fits = rest.len().min(buffer.len() - filled);
                    buffer[filled..filled + fits].copy_from_slice(&rest[..fits]);
                    filled += fits;
                    rest = &rest[fits..];
                    if filled == buffer.len() {
                        sink(Reading::Chunk(buffer)).map_err(ReadError::Sink)?;
                        filled = 0;
                    }
                }
            }
            if done == size {
                if filled > 0 || size == 0 {
                    check.end()?;
                    sink(Reading::Chunk(&buffer[..filled])).map_err(ReadError::Sink)?;
                }
                return Ok(());
            }
            if resumes == 0 {
                // The reply ended where it said, and the listing said otherwise.
                return Err(ReadError::Changed);
            }
        }
    }

    /// Reads it by ranges, one at a time for each permit.
    fn in_ranges(
        &self,
        permits: &[MemoryPermit],
        chunk: usize,
        sink: &mut Sink<'_>,
    ) -> Result<(), ReadError> {
        let size = self.entry.stamp.size;
        let ranges = size.div_ceil(RANGE);
        let window = Window::new(ranges, permits.len() as u64);
        std::thread::scope(|scope| {
            let _closing = Closing(&window);
            for permit in permits {
                let window = &window;
                scope.spawn(move || {
                    while let Some(at) = window.begin() {
                        let range = at * RANGE..size.min((at + 1) * RANGE);
                        window.put(at, self.fetch(range, permit.content()));
                    }
                });
            }
            let mut check = Check::nothing();
            for at in 0..ranges {
                let (head, content) = window.take(at)?;
                if at == 0 {
                    let facts = self.place.facts(&head, EntryKind::File);
                    if !self.has_digest(&facts) {
                        check = self.ask_check()?;
                    }
                    sink(Reading::Facts(Box::new(facts))).map_err(ReadError::Sink)?;
                }
                for piece in content.pieces() {
                    check.take(piece);
                }
                if at + 1 == ranges {
                    check.end()?;
                }
                for chunk in content.pieces().flat_map(|piece| piece.chunks(chunk)) {
                    sink(Reading::Chunk(chunk)).map_err(ReadError::Sink)?;
                }
            }
            Ok(())
        })
    }

    /// Whether a digest is known that who takes the content holds it against.
    fn has_digest(&self, facts: &Facts) -> bool {
        self.entry.recorded.or(facts.digest).is_some()
    }

    /// Asks what the whole is to be held against, which replies to ranges don't tell.
    fn ask_check(&self) -> Result<Check, ReadError> {
        match self.place.store.head_with_checksum(&self.key) {
            Ok(Some(head)) => {
                self.check(&head)?;
                Ok(Check::of(&head))
            }
            Ok(None) => Err(ReadError::Source(Cause::Vanished)),
            // A store that knows no checksums has none.
            Err(error)
                if matches!(error.kind, StoreErrorKind::Unsupported | StoreErrorKind::Other) =>
            {
                Ok(Check::nothing())
            }
            Err(error) => Err(read_error(error)),
        }
    }

    fn fetch(&self, range: Range<u64>, mut content: Content) -> Fetched {
        let length = (range.end - range.start) as usize;
        let mut head = None;
        for resumes in 0.. {
            let rest = range.start + content.len() as u64..range.end;
            let mut got = self.get(Some(rest))?;
            self.check(&got.head)?;
            let result = loop {
                match got.read() {
                    Ok(Some(bytes)) => content.push(&bytes),
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
                if content.len() > length {
                    return Err(ReadError::Changed);
                }
            };
            let head = head.get_or_insert(got.head.clone());
            match result {
                Ok(()) if content.len() == length => return Ok((head.clone(), content)),
                Ok(()) => return Err(ReadError::Changed),
                Err(error) if resumes < RESUMES && is_transient(&error) => {}
                Err(error) => return Err(read_error(error)),
            }
        }
        Err(ReadError::Changed)
    }

    fn get(&self, range: Option<Range<u64>>) -> Result<Got, ReadError> {
        self.place.store.get(&self.key, self.tag.as_ref(), range).map_err(read_error)
    }

    /// Makes sure that it is the version that was listed: not every store heeds `If-Match`.
    fn check(&self, head: &Head) -> Result<(), ReadError> {
        let is_tag = self.tag.is_none() || head.etag.is_none() || head.etag == self.tag;
        if head.size == self.entry.stamp.size && is_tag { Ok(()) } else { Err(ReadError::Changed) }
    }
}

/// Whether the rest may come by another request.
fn is_transient(error: &StoreError) -> bool {
    use StoreErrorKind as Kind;
    matches!(error.kind, Kind::Network | Kind::Unavailable | Kind::Corrupt | Kind::BadReply)
}

#[expect(clippy::needless_pass_by_value, reason = "results are mapped by it")]
fn read_error(error: StoreError) -> ReadError {
    match error.kind {
        StoreErrorKind::PreconditionFailed => ReadError::Changed,
        _ => ReadError::Source(cause(&error)),
    }
}

type Fetched = Result<(Head, Content), ReadError>;

/// The ranges under way: each is begun once, in order, and at most `width` are held, the one in hand
/// included.
struct Window {
    ranges: u64,
    width: u64,
    state: Mutex<WindowState>,
    changed: Condvar,
}

#[derive(Default)]
struct WindowState {
    begun: u64,
    taken: u64,
    fetched: Vec<(u64, Fetched)>,
    closed: bool,
}

impl Window {
    fn new(ranges: u64, width: u64) -> Self {
        Self { ranges, width, state: Mutex::default(), changed: Condvar::new() }
    }

    /// The next range to fetch; waits for its turn. `None` once there is none.
    fn begin(&self) -> Option<u64> {
        let mut state = self.lock();
        loop {
            if state.closed || state.begun == self.ranges {
                return None;
            }
            if state.begun < state.taken + self.width {
                state.begun += 1;
                return Some(state.begun - 1);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn put(&self, at: u64, fetched: Fetched) {
        self.lock().fetched.push((at, fetched));
        self.changed.notify_all();
    }

    /// Takes a range once it came.
    fn take(&self, at: u64) -> Fetched {
        let mut state = self.lock();
        loop {
            if let Some(found) = state.fetched.iter().position(|(number, _)| *number == at) {
                // The one in hand still takes its room.
                state.taken = at;
                self.changed.notify_all();
                return state.fetched.swap_remove(found).1;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, WindowState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets nobody begin another range once it is dropped.
struct Closing<'a>(&'a Window);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_all();
    }
}
