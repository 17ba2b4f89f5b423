//! Limits: how fast, how many at a time, how much in memory.
//!
//! Each is asked by threads and blocks them: [`Bandwidth`] and [`Requests`] until it is their turn,
//! [`Concurrency`] and [`Memory`] until there is room. What decides is plain code that is given the
//! time; what waits is a thin layer above it. Every wait ends soon after the run does: `is_over` is
//! asked every 50 ms.

mod bandwidth;
mod blocks;
mod concurrency;
mod content;
pub mod descriptors;
mod memory;
mod pace;
mod requests;
mod timetable;

pub use bandwidth::Bandwidth;
pub use concurrency::{Began, Concurrency, Reply};
pub use content::Content;
pub use memory::{Memory, MemoryError, MemoryPermit};
pub use requests::{Period, RequestRate, Requests};
pub use timetable::{Days, Entry, Rate, Span, Timetable};

use jiff::tz::TimeZone;
use std::time::{Duration, Instant};

/// How long a wait goes on without a look at whether the run is over.
const POLL: Duration = Duration::from_millis(50);
/// Content held in memory unless told otherwise, in bytes.
const DEFAULT_MEMORY: u64 = 256 << 20;

/// What a run may use.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LimitOptions {
    /// How fast content is copied, by the time of the week.
    pub bandwidth: Timetable,
    /// The time zone of that time.
    pub zone: TimeZone,
    /// How often object stores are asked.
    pub requests: Option<RequestRate>,
    /// Bytes of content that are held in memory at the same time.
    pub memory: u64,
}

impl Default for LimitOptions {
    fn default() -> Self {
        Self {
            bandwidth: Timetable::default(),
            zone: TimeZone::UTC,
            requests: None,
            memory: DEFAULT_MEMORY,
        }
    }
}

/// The run was over before a wait was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the run was stopped")]
pub struct Interrupted;

/// Sleeps, but not beyond the end of the run.
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
