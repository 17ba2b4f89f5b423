//! Counting ahead: what there is to go through, beside the work, for whoever estimates how long it takes.
//!
//! Main type: [`CountAhead`]. It decides nothing: where it fails, the work is merely estimated worse.

use crate::backend::{ListOptions, Source};
use crate::limits::descriptors::has_room_for_another_walk;
use crate::model::{Ahead, EntryKind, Progress};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, park_timeout};
use std::time::{Duration, Instant};

/// What is over by then is not counted ahead.
const PATIENCE: Duration = Duration::from_millis(500);

/// A count under way, into [`Progress::ahead`], until it is dropped.
#[derive(Debug)]
pub struct CountAhead {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl CountAhead {
    /// Begins to count, after half a second, by a function that is told where to, and whether nobody
    /// wants it any more, and yields whether it counted all.
    ///
    /// # Errors
    /// The system's, when it can't start a thread.
    pub fn start(
        progress: Arc<Progress>,
        count: impl FnOnce(&Ahead, &dyn Fn() -> bool) -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = std::thread::Builder::new().name("count-ahead".into()).spawn(move || {
            let is_over = || over.load(Ordering::Relaxed);
            let begin = Instant::now() + PATIENCE;
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

    /// Begins to count what a listing of a source by these options tells: names and sizes, which costs
    /// a small share of what copying does, and of a store its list requests. Its memory is that of a
    /// listing. `None` where there is nothing to count, or no room for another walk: nothing hangs on
    /// it.
    pub fn of_source(
        source: &Arc<dyn Source>,
        options: ListOptions,
        progress: &Arc<Progress>,
    ) -> Option<Self> {
        let has_room = source.capabilities().remote || has_room_for_another_walk();
        if !has_room || options.only.is_some() {
            return None;
        }
        let source = Arc::clone(source);
        let begun = Self::start(Arc::clone(progress), move |ahead, is_over| {
            let counted = source.count(&options, &mut |kind, size| {
                ahead.add((kind == EntryKind::File).then_some(size));
                !is_over()
            });
            // What can't be listed the run itself tells.
            counted.unwrap_or(false)
        });
        begun.ok()
    }
}

impl Drop for CountAhead {
    /// Ends the count; a request that is under way is not waited for.
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
    fn what_is_over_soon_is_not_counted() {
        let progress = Arc::new(Progress::default());
        let (begun, waiting) = mpsc::channel();
        let count = CountAhead::start(Arc::clone(&progress), move |_, _| begun.send(()).is_ok());
        drop(count.unwrap());
        assert!(waiting.recv().is_err(), "the thread ended without counting");
        assert_eq!(progress.ahead.counted(), crate::model::Counted::default());
    }

    #[test]
    fn a_count_ends_when_nobody_wants_it_any_more() {
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
