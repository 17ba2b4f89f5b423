//! The parts of one upload: several under way at a time, each by a thread of its own.

use super::{PartTag, StoreError, StoreErrorKind};
use std::collections::VecDeque;
use std::thread::JoinHandle;

/// Parts of one upload that are sent at the same time.
const PARTS_AT_ONCE: usize = 4;

/// A part that a thread is sending.
type Part = (u16, JoinHandle<Result<PartTag, StoreError>>);

/// The parts of an upload that were begun, in order.
#[derive(Default)]
pub(super) struct Parts {
    under_way: VecDeque<Part>,
    arrived: Vec<(u16, PartTag)>,
    begun: u16,
}

impl Parts {
    /// The number of the last part that was begun.
    pub(super) fn begun(&self) -> u16 {
        self.begun
    }

    /// Begins the next part, once there is room for it: `send` is given its number.
    ///
    /// # Errors
    /// When a part before it failed.
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
                .message("no thread to send a part")
                .because(error)
        })?;
        self.begun = number;
        self.under_way.push_back((number, thread));
        Ok(())
    }

    /// Takes the next part for sent, as it was before.
    pub(super) fn skip(&mut self, tag: PartTag) {
        self.begun += 1;
        self.arrived.push((self.begun, tag));
    }

    /// Whether none is under way.
    pub(super) fn are_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Waits for the part that has been under way longest.
    pub(super) fn wait(&mut self) -> Result<(), StoreError> {
        let Some((number, thread)) = self.under_way.pop_front() else { return Ok(()) };
        let broken =
            |_| StoreError::new(StoreErrorKind::Other).message("a thread that sends parts broke");
        let tag = thread.join().map_err(broken)??;
        self.arrived.push((number, tag));
        Ok(())
    }

    /// Waits for all; they come by number.
    pub(super) fn all(&mut self) -> Result<&[(u16, PartTag)], StoreError> {
        while !self.are_idle() {
            self.wait()?;
        }
        // Parts that were sent before stand between those that were waited for.
        self.arrived.sort_unstable_by_key(|(number, _)| *number);
        Ok(&self.arrived)
    }

    /// Waits until none is under way, whatever became of them: parts that arrive after the end of
    /// their upload would stay for ever.
    pub(super) fn settle(&mut self) {
        while let Some((_, thread)) = self.under_way.pop_front() {
            thread.join().ok();
        }
    }
}
