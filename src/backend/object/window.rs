//! A large object read in several ranges at a time and passed on in order. Each range is buffered
//! until those before it were taken.

use super::check::Check;
use super::object_read::ObjectRead;
use super::{Head, ObjectReader};
use crate::backend::{Piece, ReadError, Reading, Sink};
use crate::limits::{Content, MemoryPermit};
use crate::model::EntryKind;
use parking_lot::{Condvar, Mutex};
use std::ops::Range;

/// Size of a range in bytes: long enough that the cost of a request doesn't matter.
pub(super) const RANGE: u64 = 8 << 20;
/// Ranges of one object that are read at the same time.
const RANGES: usize = 4;

/// Takes memory for ranges; returns `None` if the object is better read with one request.
pub(super) fn permits(object: &ObjectRead<'_>) -> Option<Vec<MemoryPermit>> {
    if object.entry.stamp.size <= 2 * RANGE || object.tag.is_none() {
        return None;
    }
    let memory = &object.place.memory;
    let permits: Vec<_> = (0..RANGES).map_while(|_| memory.try_take(RANGE)).collect();
    (permits.len() > 1).then_some(permits)
}

/// Reads an object by ranges, one at a time for each permit, and passes it on in chunks. The first
/// range was already requested.
pub(super) fn read(
    object: &ObjectRead<'_>,
    first: Box<dyn ObjectReader>,
    permits: &[MemoryPermit],
    chunk: usize,
    sink: &mut Sink<'_>,
) -> Result<(), ReadError> {
    let size = object.entry.stamp.size;
    let ranges = size.div_ceil(RANGE);
    let window = Window::new(ranges, permits.len() as u64);
    let first = Mutex::new(Some(first));
    std::thread::scope(|scope| {
        let _closing = Closing(&window);
        for permit in permits {
            let (window, first) = (&window, &first);
            scope.spawn(move || {
                while let Some(number) = window.begin() {
                    let range = number * RANGE..size.min((number + 1) * RANGE);
                    let begun = if number == 0 { take(first) } else { None };
                    window.put(number, fetch(object, begun, range, permit.content()));
                }
            });
        }
        let mut check = Check::nothing();
        for number in 0..ranges {
            let (head, content) = window.take(number)?;
            if number == 0 {
                let facts = object.place.facts(&head, EntryKind::File);
                if !object.has_digest(&facts) {
                    check = Check::of(&object.head()?);
                }
                sink(Reading::Facts(Box::new(facts))).map_err(ReadError::Sink)?;
            }
            for piece in content.pieces() {
                check.take(piece);
            }
            if number + 1 == ranges {
                check.end()?;
            }
            for chunk in content.pieces().flat_map(|piece| piece.chunks(chunk)) {
                sink(Reading::Content(Piece::Chunk(chunk))).map_err(ReadError::Sink)?;
            }
        }
        Ok(())
    })
}

fn take(first: &Mutex<Option<Box<dyn ObjectReader>>>) -> Option<Box<dyn ObjectReader>> {
    first.lock().take()
}

fn fetch(
    object: &ObjectRead<'_>,
    begun: Option<Box<dyn ObjectReader>>,
    range: Range<u64>,
    mut content: Content,
) -> Fetched {
    let reader = match begun {
        Some(begun) => begun,
        None => object.open(range.clone())?,
    };
    let head = reader.head().clone();
    object.stream(reader, &range, &mut |bytes| {
        content.push(bytes);
        Ok(())
    })?;
    Ok((head, content))
}

type Fetched = Result<(Head, Content), ReadError>;

/// The ranges being read. Each is started once, in order, and at most `width` are in memory,
/// including the one being passed on.
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

    /// Waits for and returns the next range to fetch; `None` after the last.
    fn begin(&self) -> Option<u64> {
        let mut state = self.state.lock();
        loop {
            if state.closed || state.begun == self.ranges {
                return None;
            }
            if state.begun < state.taken + self.width {
                state.begun += 1;
                return Some(state.begun - 1);
            }
            self.changed.wait(&mut state);
        }
    }

    fn put(&self, number: u64, fetched: Fetched) {
        self.state.lock().fetched.push((number, fetched));
        self.changed.notify_all();
    }

    /// Waits for a range and takes it.
    fn take(&self, number: u64) -> Fetched {
        let mut state = self.state.lock();
        loop {
            if let Some(found) = state.fetched.iter().position(|(fetched, _)| *fetched == number) {
                // The range being passed on still uses its memory.
                state.taken = number;
                self.changed.notify_all();
                return state.fetched.swap_remove(found).1;
            }
            self.changed.wait(&mut state);
        }
    }
}

/// Prevents further ranges from starting when dropped.
struct Closing<'a>(&'a Window);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.state.lock().closed = true;
        self.0.changed.notify_all();
    }
}
