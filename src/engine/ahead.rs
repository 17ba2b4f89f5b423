//! A count of the entries to process, made beside the work so that its duration can be estimated.
//!
//! Main type: [`CountAhead`]. No decision depends on it: if it fails, the estimate is merely worse.

use crate::backend::{ListOptions, Source};
use crate::limits::descriptors::has_room_for_another_walk;
use crate::model::{Ahead, EntryKind, Progress};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, park_timeout};
use std::time::{Duration, Instant};

/// The delay before the count starts, so that short work isn't counted.
const START_DELAY: Duration = Duration::from_millis(500);

/// A count that is under way, into [`Progress::ahead`], until it is dropped.
#[derive(Debug)]
pub struct CountAhead {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl CountAhead {
    /// Starts `count` on a thread after half a second. It is given where to count to and a function
    /// that returns whether to stop, and returns whether it counted everything.
    ///
    /// # Errors
    /// The system's error if it can't start a thread.
    pub fn start(
        progress: Arc<Progress>,
        count: impl FnOnce(&Ahead, &dyn Fn() -> bool) -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = std::thread::Builder::new().name("count-ahead".into()).spawn(move || {
            let is_over = || over.load(Ordering::Relaxed);
            let begin = Instant::now() + START_DELAY;
            while let Some(left) = begin.checked_duration_since(Instant::now()) {
                if is_over() {
                    return;
                }
                park_timeout(left);
            }
            if count(&progress.ahead, &is_over) {
                progress.ahead.end();
            }
        })?;
        Ok(Self { is_over, thread })
    }

    /// Starts to count the names and sizes that a listing of `source` gives. That costs a small
    /// share of what copying does; in a store, its list requests. It takes the memory of a listing.
    /// Returns `None` if there is nothing to count, or no room for another walk.
    ///
    /// # Errors
    /// The system's error if it can't start a thread.
    pub fn of_source(
        source: &Arc<dyn Source>,
        options: ListOptions,
        progress: &Arc<Progress>,
    ) -> io::Result<Option<Self>> {
        let has_room = source.capabilities().remote || has_room_for_another_walk();
        if !has_room || options.only.is_some() {
            return Ok(None);
        }
        let source = Arc::clone(source);
        let count = Self::start(Arc::clone(progress), move |ahead, is_over| {
            let counted = source.count(&options, &mut |kind, size| {
                ahead.add((kind == EntryKind::File).then_some(size));
                !is_over()
            });
            // The run itself reports what can't be listed.
            counted.unwrap_or(false)
        });
        count.map(Some)
    }
}

impl Drop for CountAhead {
    /// Ends the count without waiting for a request that is under way.
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn short_work_is_not_counted() {
        let progress = Arc::new(Progress::default());
        let (begun, waiting) = mpsc::channel();
        let count = CountAhead::start(Arc::clone(&progress), move |_, _| begun.send(()).is_ok());
        drop(count.unwrap());
        assert!(waiting.recv().is_err(), "the thread ended without counting");
        assert_eq!(progress.ahead.counted(), crate::model::Counted::default());
    }

    #[test]
    fn a_dropped_count_ends() {
        let progress = Arc::new(Progress::default());
        let (begun, waiting) = mpsc::channel();
        let (ended, end) = mpsc::channel::<()>();
        let count = CountAhead::start(Arc::clone(&progress), move |ahead, is_over| {
            let _ended = ended;
            ahead.add(Some(7));
            begun.send(()).expect("the test waits");
            while !is_over() {
                std::thread::yield_now();
            }
            false
        })
        .unwrap();
        waiting.recv().unwrap();
        drop(count);
        assert!(end.recv().is_err(), "the thread ended");
        let counted = progress.ahead.counted();
        assert_eq!((counted.files, counted.bytes, counted.is_whole), (1, 7, false));
    }
}
