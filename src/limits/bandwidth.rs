//! Bandwidth limit: how fast content may pass.
//!
//! Content passes in slices of 1/50 s, first come, first served, so that a small file waits for one
//! slice of each other file rather than for their large chunks.

use super::pace::Pace;
use super::timetable::{Rate, Timetable};
use super::{Interrupted, LimitOptions, pause};
use jiff::tz::TimeZone;
use parking_lot::Mutex;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// Slices that one second is divided into.
const SLICES: u64 = 50;
/// Smallest slice, in bytes: each wait costs a system call.
const MIN_SLICE: u64 = 4 << 10;
/// Unused time that may be caught up on: enough to make good for threads that wake up late.
const BURST: Duration = Duration::from_millis(100);

/// Lets content through at the rate that a timetable gives.
#[derive(Debug)]
pub struct Bandwidth {
    limit: Option<Limit>,
}

#[derive(Debug)]
struct Limit {
    timetable: Timetable,
    zone: TimeZone,
    meter: Mutex<Meter>,
}

/// A time of the week.
#[derive(Clone, Copy, Debug)]
struct LocalTime {
    /// 0 is Monday.
    day: u8,
    minute: u16,
    /// Time until the next minute begins.
    left: Duration,
}

#[derive(Debug, Default)]
struct Meter {
    pace: Pace,
    /// The current rate, and when to look it up again: at the next minute of the wall clock, which
    /// may be set anew at any time.
    rate: Option<(Rate, Instant)>,
}

impl Bandwidth {
    /// Makes the bandwidth limit of a run.
    pub fn new(options: &LimitOptions) -> Self {
        let limited = !options.bandwidth.is_unlimited();
        let limit = limited.then(|| Limit {
            timetable: options.bandwidth.clone(),
            zone: options.zone.clone(),
            meter: Mutex::default(),
        });
        Self { limit }
    }

    /// Waits until `bytes` may pass.
    ///
    /// # Errors
    /// [`Interrupted`] once `is_over` returns true.
    pub fn take(&self, bytes: u64, is_over: &dyn Fn() -> bool) -> Result<(), Interrupted> {
        let Some(limit) = &self.limit else { return Ok(()) };
        let mut left = bytes;
        while left > 0 {
            let (slice, wait) = {
                let mut meter = limit.meter.lock();
                meter.slice(&limit.timetable, Instant::now(), || limit.local_time(), left)
            };
            pause(wait, is_over)?;
            left -= slice;
        }
        Ok(())
    }
}

impl Limit {
    fn local_time(&self) -> LocalTime {
        let now = jiff::Timestamp::now().to_zoned(self.zone.clone());
        let minute = now.hour() as u16 * 60 + now.minute() as u16;
        let left = 60 - u64::from(now.second().unsigned_abs().min(59));
        let day = now.weekday().to_monday_zero_offset().unsigned_abs();
        LocalTime { day, minute, left: Duration::from_secs(left) }
    }
}

impl Meter {
    /// Reserves the next slice of at most `bytes`: its size, and how long to wait for it.
    fn slice(
        &mut self,
        timetable: &Timetable,
        now: Instant,
        local_time: impl FnOnce() -> LocalTime,
        bytes: u64,
    ) -> (u64, Duration) {
        let rate = match self.rate {
            Some((rate, until)) if now < until => rate,
            _ => {
                let LocalTime { day, minute, left } = local_time();
                let rate = timetable.at(day, minute);
                self.rate = Some((rate, now + left));
                rate
            }
        };
        let Some(rate) = rate else { return (bytes, Duration::ZERO) };
        let slice = bytes.min((rate.get() / SLICES).max(MIN_SLICE));
        (slice, self.pace.turn(now, time_of(slice, rate), BURST))
    }
}

/// The time that `bytes` take at a rate.
fn time_of(bytes: u64, rate: NonZeroU64) -> Duration {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.get());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::timetable::{Days, Entry, Span};
    use super::*;
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    const MIB: u64 = 1 << 20;

    fn rate(bytes: u64) -> Rate {
        NonZeroU64::new(bytes)
    }

    /// Simulates one thread a chunk size, each taking chunks in a loop on a simulated clock.
    /// Returns how many chunks each thread got.
    fn simulate(timetable: &Timetable, chunks: &[u64], within: Duration) -> Vec<u64> {
        let began = Instant::now() + Duration::from_secs(9999);
        let local_time = |now: Instant| {
            let seconds = (now - began).as_secs();
            let minutes = seconds / 60;
            let left = Duration::from_secs(60 - seconds % 60);
            LocalTime { day: (minutes / 1440 % 7) as u8, minute: (minutes % 1440) as u16, left }
        };
        let mut meter = Meter::default();
        let mut got = vec![0; chunks.len()];
        let mut left = chunks.to_vec();
        let mut ready: BinaryHeap<_> =
            (0..chunks.len()).map(|thread| Reverse((began, thread, 0))).collect();
        while let Some(Reverse((now, thread, slice))) = ready.pop() {
            if now >= began + within {
                break;
            }
            left[thread] -= slice;
            if left[thread] == 0 {
                got[thread] += 1;
                left[thread] = chunks[thread];
            }
            let (slice, wait) = meter.slice(timetable, now, || local_time(now), left[thread]);
            // A thread wakes up a little late.
            let wait = wait + Duration::from_micros(300);
            ready.push(Reverse((now + wait, thread, slice)));
        }
        got
    }

    fn bytes_got(timetable: &Timetable, chunks: &[u64], within: Duration) -> f64 {
        let got = simulate(timetable, chunks, within);
        got.iter().zip(chunks).map(|(count, size)| count * size).sum::<u64>() as f64
    }

    #[test]
    fn the_rate_is_kept_within_a_few_percent() {
        for (bytes, chunks) in [
            (MIB, &[MIB, MIB, MIB][..]),
            (10 * MIB, &[MIB, 4096, 100, 70_000]),
            (50_000_000, &[MIB; 64]),
            (100 << 10, &[8192, 8192]),
        ] {
            let seconds = 60.0;
            let got = bytes_got(&Timetable::always(rate(bytes)), chunks, Duration::from_mins(1));
            let share = got / (bytes as f64 * seconds);
            assert!((0.96..1.04).contains(&share), "{bytes} a second: {share}");
        }
    }

    #[test]
    fn small_files_are_not_starved_by_large_ones() {
        let mut chunks = [MIB; 16];
        chunks[15] = 4096;
        let got = simulate(&Timetable::always(rate(MIB)), &chunks, Duration::from_mins(1));
        assert!(got[15] > 100, "{got:?}");
        let large = &got[..15];
        assert!(large.iter().all(|count| (1..=6).contains(count)), "{got:?}");
    }

    #[test]
    fn the_rate_follows_the_timetable() {
        let span = Span::new(1, 2).unwrap();
        let entry = Entry { days: Days::ALL, span, rate: rate(4 * MIB) };
        let timetable = Timetable { entries: vec![entry], otherwise: rate(MIB) };
        let minute = Duration::from_mins(1);
        let counts = [minute, minute * 2, minute * 3]
            .map(|within| bytes_got(&timetable, &[MIB; 4], within) / (60.0 * MIB as f64));
        for (got, expected) in counts.iter().zip([1.0, 5.0, 6.0]) {
            assert!((got - expected).abs() < 0.2, "{counts:?}");
        }
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let bandwidth = Bandwidth::new(&LimitOptions::default());
        assert_eq!(
            bandwidth.take(u64::MAX, &|| panic!("unlimited bandwidth must not wait")),
            Ok(())
        );
    }

    #[test]
    fn a_wait_ends_with_the_run() {
        let bandwidth = Timetable::always(rate(1));
        let options = LimitOptions { bandwidth, ..LimitOptions::default() };
        let calls = std::cell::Cell::new(0);
        let is_over = || calls.replace(calls.get() + 1) > 0;
        assert_eq!(Bandwidth::new(&options).take(MIB, &is_over), Err(Interrupted));
    }

    #[test]
    fn extreme_sizes_and_rates_do_not_overflow() {
        assert_eq!(time_of(u64::MAX, NonZeroU64::MIN), Duration::from_nanos(u64::MAX));
        assert_eq!(time_of(4096, NonZeroU64::MAX), Duration::ZERO);
    }
}
