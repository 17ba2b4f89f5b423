//! A large object read in ranges, several at a time, and handed on in order: each range is kept whole
//! until those before it are taken.

use super::check::Check;
use super::object_read::ObjectRead;
use super::{Head, ObjectReader};
use crate::backend::{ReadError, Reading, Sink};
use crate::limits::{Content, MemoryPermit};
use crate::model::EntryKind;
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes of a range: long enough that a request's costs don't count.
pub(super) const RANGE: u64 = 8 << 20;
/// Ranges of one object that are read at the same time.
const RANGES: usize = 4;

/// Memory for ranges; `None` where the object is better read by one request.
pub(super) fn permits(whole: &ObjectRead<'_>) -> Option<Vec<MemoryPermit>> {
    if whole.entry.stamp.size <= 2 * RANGE || whole.tag.is_none() {
        return None;
    }
    let memory = &whole.place.memory;
    let permits: Vec<_> = (0..RANGES).map_while(|_| memory.try_take(RANGE)).collect();
    (permits.len() > 1).then_some(permits)
}

/// Reads an object by ranges, of which the first was begun, one at a time for each permit, and hands
/// it on in chunks.
pub(super) fn read(
    whole: &ObjectRead<'_>,
    first: Box<dyn ObjectReader>,
    permits: &[MemoryPermit],
    chunk: usize,
    sink: &mut Sink<'_>,
) -> Result<(), ReadError> {
    let size = whole.entry.stamp.size;
    let ranges = size.div_ceil(RANGE);
    let window = Window::new(ranges, permits.len() as u64);
    let first = Mutex::new(Some(first));
    std::thread::scope(|scope| {
        let _closing = Closing(&window);
        for permit in permits {
            let (window, first) = (&window, &first);
            scope.spawn(move || {
                while let Some(at) = window.begin() {
                    let range = at * RANGE..size.min((at + 1) * RANGE);
                    let begun = if at == 0 { take(first) } else { None };
                    window.put(at, fetch(whole, begun, range, permit.content()));
                }
            });
        }
        let mut check = Check::nothing();
        for at in 0..ranges {
            let (head, content) = window.take(at)?;
            if at == 0 {
                let facts = whole.place.facts(&head, EntryKind::File);
                if !whole.has_digest(&facts) {
                    check = Check::of(&whole.head()?);
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

fn take(first: &Mutex<Option<Box<dyn ObjectReader>>>) -> Option<Box<dyn ObjectReader>> {
    first.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn fetch(
    whole: &ObjectRead<'_>,
    begun: Option<Box<dyn ObjectReader>>,
    range: Range<u64>,
    mut content: Content,
) -> Fetched {
    let got = match begun {
        Some(begun) => begun,
        None => whole.open(range.clone())?,
    };
    let head = got.head().clone();
    whole.stream(got, &range, &mut |bytes| {
        content.push(bytes);
        Ok(())
    })?;
    Ok((head, content))
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
