//! Sending the parts of one upload, several at a time, each on its own thread.

use super::{CompletedPart, PartTag, StoreError, StoreErrorKind};
use std::collections::VecDeque;
use std::thread::JoinHandle;

/// Parts of one upload that are sent at the same time.
const PARTS_AT_ONCE: usize = 4;

/// A part that a thread is sending.
struct SendingPart {
    number: u16,
    thread: JoinHandle<Result<PartTag, StoreError>>,
}

/// The parts of an upload that were started, in order.
#[derive(Default)]
pub(super) struct Parts {
    under_way: VecDeque<SendingPart>,
    arrived: Vec<CompletedPart>,
    begun: u16,
}

impl Parts {
    /// Returns the number of the last part that was started.
    pub(super) fn begun(&self) -> u16 {
        self.begun
    }

    /// Starts the next part once there is room for it; `send` gets its number.
    ///
    /// # Errors
    /// Fails if an earlier part failed.
    pub(super) fn begin(
        &mut self,
        send: impl FnOnce(u16) -> Result<PartTag, StoreError> + Send + 'static,
    ) -> Result<(), StoreError> {
        while self.under_way.len() >= PARTS_AT_ONCE {
            self.wait()?;
        }
        let number = self.begun + 1;
        let thread = std::thread::Builder::new().name("part".into()).spawn(move || send(number));
        let thread = thread.map_err(|error| {
            StoreError::new(StoreErrorKind::Other)
                .message("cannot start a thread to send a part")
                .because(error)
        })?;
        self.begun = number;
        self.under_way.push_back(SendingPart { number, thread });
        Ok(())
    }

    /// Records the next part as sent by an earlier run.
    pub(super) fn skip(&mut self, tag: PartTag) {
        self.begun += 1;
        self.arrived.push(CompletedPart { number: self.begun, tag });
    }

    /// Returns whether no part is being sent.
    pub(super) fn are_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Waits for the part that was started first.
    pub(super) fn wait(&mut self) -> Result<(), StoreError> {
        let Some(part) = self.under_way.pop_front() else { return Ok(()) };
        let broken = |_| {
            StoreError::new(StoreErrorKind::Other)
                .message("a thread that sends parts stopped unexpectedly")
        };
        let tag = part.thread.join().map_err(broken)??;
        self.arrived.push(CompletedPart { number: part.number, tag });
        Ok(())
    }

    /// Waits for all parts and returns them by number.
    pub(super) fn all(&mut self) -> Result<&[CompletedPart], StoreError> {
        while !self.are_idle() {
            self.wait()?;
        }
        // Skipped parts are among those that were waited for.
        self.arrived.sort_unstable_by_key(|part| part.number);
        Ok(&self.arrived)
    }

    /// Waits until no part is being sent, whatever the results: a part that arrives after its
    /// upload was aborted would stay in the store for ever.
    pub(super) fn settle(&mut self) {
        while let Some(part) = self.under_way.pop_front() {
            part.thread.join().ok();
        }
    }
}
