//! Rate limiting by turns on a time line.
//!
//! It is a token bucket in another form (the generic cell rate algorithm): instead of counting
//! tokens it keeps the time until which all turns are taken. Turns are given in the order they are
//! asked for. A thread that wakes up late loses no throughput, because its turn was fixed before it
//! slept.

use std::time::{Duration, Instant};

/// A time line on which turns follow each other.
#[derive(Debug, Default)]
pub(super) struct Pace {
    taken_until: Option<Instant>,
}

impl Pace {
    /// Takes the next turn, which lasts `cost`, and returns how long to wait until it ends. Time
    /// that no turn used may be caught up on, up to `burst`.
    pub(super) fn turn(&mut self, now: Instant, cost: Duration, burst: Duration) -> Duration {
        // Soon after boot, `now - burst` can't be represented.
        let earliest = now.checked_sub(burst).unwrap_or(now);
        let begin = self.taken_until.map_or(earliest, |taken| taken.max(earliest));
        let end = begin + cost;
        self.taken_until = Some(end);
        end.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn turns_follow_each_other() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let waits = [1, 2, 3].map(|_| pace.turn(now, SECOND, Duration::ZERO));
        assert_eq!(waits, [SECOND, SECOND * 2, SECOND * 3]);
    }

    #[test]
    fn unused_time_counts_up_to_the_burst() {
        let (mut pace, now) = (Pace::default(), Instant::now() + SECOND * 9);
        assert_eq!(pace.turn(now, SECOND, SECOND * 2), Duration::ZERO);
        assert_eq!(pace.turn(now, SECOND, SECOND * 2), Duration::ZERO);
        assert_eq!(pace.turn(now, SECOND, SECOND * 2), SECOND);
        let later = now + SECOND * 60;
        assert_eq!(pace.turn(later, SECOND * 3, SECOND * 2), SECOND);
    }

    #[test]
    fn waking_up_late_loses_no_throughput() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        let (began, late) = (now, Duration::from_millis(30));
        for _ in 0..100 {
            now += pace.turn(now, Duration::from_millis(20), Duration::from_millis(100)) + late;
        }
        // Each wait ends 30 ms late: only the delays add up, not the turns.
        assert!(now - began <= late * 101, "{:?}", now - began);
    }
}
