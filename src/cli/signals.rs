//! Signals: the first SIGINT or SIGTERM asks the run to stop, the second ends the process at once.

use super::exit::Exit;
use crate::model::Stop;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The signal that came first, if one did.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    first: Arc<AtomicUsize>,
}

impl Signals {
    /// Listens; from now on a signal sets `stop`.
    ///
    /// # Errors
    /// The system's, when a handler can't be set.
    pub(crate) fn listen(stop: &Stop) -> io::Result<Self> {
        let signals = Self::default();
        for (signal, exit) in [(SIGINT, Exit::Interrupted), (SIGTERM, Exit::Terminated)] {
            // In this order: the second signal finds the flag that the first one set.
            flag::register_conditional_shutdown(signal, i32::from(exit.code()), stop.flag())?;
            flag::register_usize(signal, Arc::clone(&signals.first), signal as usize)?;
            flag::register(signal, stop.flag())?;
        }
        Ok(signals)
    }

    /// What the signal that came means for the exit code.
    pub(crate) fn exit(&self) -> Option<Exit> {
        match self.first.load(Ordering::SeqCst) as i32 {
            SIGINT => Some(Exit::Interrupted),
            SIGTERM => Some(Exit::Terminated),
            _ => None,
        }
    }
}
