//! Pace: turns on a time line.
//!
//! A token bucket told the other way round (the generic cell rate algorithm): not tokens are
//! counted but the time until which all is spent. Turns are handed out in the order they are asked
//! for; what a sleeper overslept is not lost, for its turn was fixed before it slept.

use std::time::{Duration, Instant};

/// A time line that is spent turn by turn.
#[derive(Debug, Default)]
pub(super) struct Pace {
    spent_until: Option<Instant>,
}

impl Pace {
    /// Takes the next turn, which lasts `cost`, and tells how long to wait until it is earned.
    /// Time that nobody used counts, up to `burst`.
    pub(super) fn turn(&mut self, now: Instant, cost: Duration, burst: Duration) -> Duration {
        // Soon after the machine's start there is no earlier moment to name.
        let earliest = now.checked_sub(burst).unwrap_or(now);
        let begin = self.spent_until.map_or(earliest, |spent| spent.max(earliest));
        let end = begin + cost;
        self.spent_until = Some(end);
        end.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn turns_follow_each_other_whoever_waits_for_them() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let waits = [1, 2, 3].map(|_| pace.turn(now, SECOND, Duration::ZERO));
        assert_eq!(waits, [SECOND, SECOND * 2, SECOND * 3]);
    }

    #[test]
    fn time_that_nobody_used_counts_up_to_the_burst() {
        let (mut pace, now) = (Pace::default(), Instant::now() + SECOND * 9);
        assert_eq!(pace.turn(now, SECOND, SECOND * 2), Duration::ZERO);
        assert_eq!(pace.turn(now, SECOND, SECOND * 2), Duration::ZERO);
        assert_eq!(pace.turn(now, SECOND, SECOND * 2), SECOND);
        let later = now + SECOND * 60;
        assert_eq!(pace.turn(later, SECOND * 3, SECOND * 2), SECOND);
    }

    #[test]
    fn what_a_sleeper_overslept_is_not_lost() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        let (began, late) = (now, Duration::from_millis(30));
        for _ in 0..100 {
            now += pace.turn(now, Duration::from_millis(20), Duration::from_millis(100)) + late;
        }
        // Each wait ends 30 ms late, and yet it is as if there were no limit but the lateness.
        assert!(now - began <= late * 101, "{:?}", now - began);
    }
}
