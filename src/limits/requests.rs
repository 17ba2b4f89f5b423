//! Request rate limit: how many requests object stores are sent in a time.

use super::pace::Pace;
use super::{Interrupted, pause};
use parking_lot::Mutex;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// Unused time that may be caught up on; at least one request is always allowed.
const BURST: Duration = Duration::from_secs(1);

/// A number of requests in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRate {
    /// The number of requests.
    pub count: NonZeroU32,
    /// The period that the number is for.
    pub period: Period,
}

/// A unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
}

impl RequestRate {
    /// Returns the time between two requests.
    fn interval(self) -> Duration {
        let seconds = match self.period {
            Period::Second => 1,
            Period::Minute => 60,
            Period::Hour => 3600,
        };
        Duration::from_secs(seconds) / self.count.get()
    }
}

/// Lets requests through at an even rate, at most one second's worth at once.
#[derive(Debug)]
pub struct Requests {
    rate: Option<RequestRate>,
    pace: Mutex<Pace>,
}

impl Requests {
    /// Makes the limit; `None` is no limit.
    pub fn new(rate: Option<RequestRate>) -> Self {
        Self { rate, pace: Mutex::default() }
    }

    /// Waits until a request may be sent.
    ///
    /// # Errors
    /// [`Interrupted`] once `is_over` returns true.
    pub fn take(&self, is_over: &dyn Fn() -> bool) -> Result<(), Interrupted> {
        let Some(rate) = self.rate else { return Ok(()) };
        let wait = {
            let mut pace = self.pace.lock();
            turn(&mut pace, rate, Instant::now())
        };
        pause(wait, is_over)
    }
}

fn turn(pace: &mut Pace, rate: RequestRate, now: Instant) -> Duration {
    let interval = rate.interval();
    pace.turn(now, interval, BURST.max(interval))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how many requests pass within a time, one following the other at once.
    fn let_through(count: u32, period: Period, within: Duration) -> usize {
        let rate = RequestRate { count: NonZeroU32::new(count).unwrap(), period };
        // Well after boot, so that earlier moments can be represented.
        let began = Instant::now() + Duration::from_secs(9999);
        let (mut pace, mut now, mut through) = (Pace::default(), began, 0);
        loop {
            now += turn(&mut pace, rate, now);
            if now - began >= within {
                return through;
            }
            through += 1;
        }
    }

    #[test]
    fn the_rate_is_exceeded_by_one_seconds_worth_at_most() {
        for (count, period, seconds, expected) in [
            (100, Period::Second, 10, 1000..=1100),
            (1, Period::Second, 10, 10..=11),
            (120, Period::Minute, 60, 120..=122),
            (3600, Period::Hour, 60, 60..=61),
            (2, Period::Minute, 120, 4..=5),
            (1, Period::Hour, 3599, 1..=1),
        ] {
            let through = let_through(count, period, Duration::from_secs(seconds));
            assert!(expected.contains(&through), "{count} a {period:?}: {through}");
        }
    }

    #[test]
    fn a_wait_ends_with_the_run() {
        let rate = RequestRate { count: NonZeroU32::MIN, period: Period::Hour };
        let requests = Requests::new(Some(rate));
        assert_eq!(requests.take(&|| false), Ok(()));
        assert_eq!(requests.take(&|| true), Err(Interrupted));
        assert_eq!(Requests::new(None).take(&|| false), Ok(()));
    }
}
