//! A thread that samples a run's counters at a fixed interval.

use crate::model::{Error, ErrorKind};
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A thread that calls a function at a fixed interval until it is dropped.
#[derive(Debug)]
pub struct Ticker {
    over: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Starts a thread that calls `tick` every `interval` with the time since the start.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if the thread can't be started.
    pub fn start(
        interval: Duration,
        mut tick: impl FnMut(Duration) + Send + 'static,
    ) -> Result<Self, Error> {
        let over = Arc::new((Mutex::new(false), Condvar::new()));
        let shared = Arc::clone(&over);
        let began = Instant::now();
        let thread = std::thread::Builder::new().name("ticker".into());
        let thread = thread.spawn(move || {
            let (flag, signal) = &*shared;
            let mut is_over = flag.lock();
            while !*is_over {
                signal.wait_for(&mut is_over, interval);
                if !*is_over {
                    tick(began.elapsed());
                }
            }
        });
        let thread = thread.map_err(|error| {
            Error::new(ErrorKind::Unusable, "cannot start a thread").because(error)
        })?;
        Ok(Self { over, thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        let (flag, signal) = &*self.over;
        *flag.lock() = true;
        signal.notify_all();
        if let Some(thread) = self.thread.take() {
            // A `tick` that panicked has printed its message to stderr; the run's result is still
            // valid.
            thread.join().ok();
        }
    }
}
