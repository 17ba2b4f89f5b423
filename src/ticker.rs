//! A thread that looks at a run's counters now and then.

use crate::model::{Error, ErrorKind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A thread that calls on a tick until it is dropped.
#[derive(Debug)]
pub struct Ticker {
    over: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Starts calling `tick` each `interval` with the time since now.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] when a thread can't be started.
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
            let mut is_over = flag.lock().unwrap_or_else(PoisonError::into_inner);
            while !*is_over {
                (is_over, _) =
                    signal.wait_timeout(is_over, interval).unwrap_or_else(PoisonError::into_inner);
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
        *flag.lock().unwrap_or_else(PoisonError::into_inner) = true;
        signal.notify_all();
        if let Some(thread) = self.thread.take() {
            // A tick that panicked has said so on stderr; the run's result stands.
            thread.join().ok();
        }
    }
}
