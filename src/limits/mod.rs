//! Limits of bandwidth, request rate, concurrency and memory.
//!
//! Each limit blocks the threads that ask it: [`Bandwidth`] and [`Requests`] until it is their
//! turn, [`Concurrency`] and [`Memory`] until there is room. The decisions are plain code that is
//! given the time; a thin layer around it waits. Every wait ends soon after the run does: it calls
//! `is_over` every 50 ms.

mod bandwidth;
mod blocks;
mod concurrency;
mod content;
pub mod descriptors;
mod memory;
mod pace;
mod requests;
mod timetable;
mod until;

pub use bandwidth::Bandwidth;
pub use concurrency::{Began, Concurrency, Reply};
pub use content::Content;
pub use memory::{Memory, MemoryError, MemoryPermit};
pub use requests::{Period, RequestRate, Requests};
pub use timetable::{Days, Entry, Rate, Span, Timetable};
pub use until::Until;

use jiff::tz::TimeZone;
use std::time::{Duration, Instant};

/// Longest time that a wait goes without checking whether the run is over.
const POLL: Duration = Duration::from_millis(50);
/// Default budget for content in memory, in bytes.
const DEFAULT_MEMORY: u64 = 256 << 20;

/// What a run may use.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LimitOptions {
    /// How fast content is copied at each time of the week.
    pub bandwidth: Timetable,
    /// The time zone of the bandwidth timetable and of windows.
    pub zone: TimeZone,
    /// How many requests object stores are sent in a time; `None` is no limit.
    pub requests: Option<RequestRate>,
    /// Bytes of content in memory at the same time.
    pub memory: u64,
    /// Until when a mirror goes on.
    pub until: Until,
}

impl Default for LimitOptions {
    fn default() -> Self {
        Self {
            bandwidth: Timetable::default(),
            zone: TimeZone::UTC,
            requests: None,
            memory: DEFAULT_MEMORY,
            until: Until::default(),
        }
    }
}

/// The run ended before the wait did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the run was stopped")]
pub struct Interrupted;

/// Sleeps for `wait`, or until the run is over.
fn pause(wait: Duration, is_over: &dyn Fn() -> bool) -> Result<(), Interrupted> {
    let until = Instant::now() + wait;
    loop {
        if is_over() {
            return Err(Interrupted);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(POLL));
    }
}
