//! Signals: the first SIGINT or SIGTERM asks the run to stop, the second ends the process at once.

use super::exit::Exit;
use crate::model::{Error, ErrorKind, Stop};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The first signal that arrived, if any.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    first: Arc<AtomicUsize>,
}

impl Signals {
    /// Installs handlers; from now on a signal sets `stop`.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if a handler can't be installed.
    pub(crate) fn listen(stop: &Stop) -> Result<Self, Error> {
        let signals = Self::default();
        signals.register(stop).map_err(|error| {
            Error::new(ErrorKind::Unusable, "cannot listen for signals").because(error)
        })?;
        Ok(signals)
    }

    /// Does work that a signal stops by `stop`. Also returns the exit code of the signal, if one
    /// arrived.
    pub(crate) fn during<T>(
        stop: &Stop,
        work: impl FnOnce() -> Result<T, Error>,
    ) -> (Result<T, Error>, Option<Exit>) {
        match Self::listen(stop) {
            Ok(signals) => (work(), signals.exit()),
            Err(error) => (Err(error), None),
        }
    }

    fn register(&self, stop: &Stop) -> io::Result<()> {
        for (signal, exit) in [(SIGINT, Exit::Interrupted), (SIGTERM, Exit::Terminated)] {
            // In this order, so that only a second signal finds the flag set.
            flag::register_conditional_shutdown(signal, i32::from(exit.code()), stop.flag())?;
            flag::register_usize(signal, Arc::clone(&self.first), signal as usize)?;
            flag::register(signal, stop.flag())?;
        }
        Ok(())
    }

    /// Returns the exit code of the signal that arrived, if any.
    pub(crate) fn exit(&self) -> Option<Exit> {
        match self.first.load(Ordering::SeqCst) as i32 {
            SIGINT => Some(Exit::Interrupted),
            SIGTERM => Some(Exit::Terminated),
            _ => None,
        }
    }
}
