//! Rates over a window of some seconds, and how long a run has still to go.
//!
//! Main type: [`Window`]. What can't be known is `None`, never a guess: there is no estimate without
//! a total (the finished plan, or what the last run counted) or without a rate.

use crate::model::Totals;
use std::collections::VecDeque;
use std::time::Duration;

/// How far back rates look.
const SPAN: Duration = Duration::from_secs(10);
/// Rates over less than this are noise.
const SHORTEST: Duration = Duration::from_secs(1);
/// What a file costs beside its content, as bytes: files alone are no measure where some are large,
/// nor bytes where most are small.
const FILE: u64 = 64 << 10;
/// Estimates beyond this say that the run is stuck rather than when it ends.
const LONGEST: Duration = Duration::from_hours(24 * 30);

/// The samples of the last ten seconds; bounded by them and the tick.
#[derive(Debug, Default)]
pub(crate) struct Window {
    samples: VecDeque<(Duration, Totals)>,
}

impl Window {
    /// Adds the counters as they stand `at` so long after the start.
    pub(crate) fn push(&mut self, at: Duration, totals: &Totals) {
        self.samples.push_back((at, *totals));
        // The oldest sample kept is the youngest that spans the whole window.
        while self.samples.get(1).is_some_and(|(second, _)| at.saturating_sub(*second) >= SPAN) {
            self.samples.pop_front();
        }
    }

    /// The rate a second of what `counter` picks; `None` until there is a second to look at.
    pub(crate) fn rate(&self, counter: impl Fn(&Totals) -> u64) -> Option<f64> {
        let (first_at, first) = self.samples.front()?;
        let (last_at, last) = self.samples.back()?;
        let span = last_at.saturating_sub(*first_at);
        (span >= SHORTEST)
            .then(|| counter(last).saturating_sub(counter(first)) as f64 / span.as_secs_f64())
    }

    /// The time that is left of a mirror run, as far as the counters tell.
    ///
    /// With `plan_final`, what is planned and not done yet at the window's rates. Before, what the
    /// `previous` run counted and this one has not looked at yet; it says nothing any more once this
    /// run has seen as much.
    pub(crate) fn remaining(
        &self,
        previous: Option<&Totals>,
        plan_final: bool,
    ) -> Option<Duration> {
        let (_, now) = self.samples.back()?;
        let copying = || {
            let bytes = now.bytes_planned.saturating_sub(now.bytes_moved);
            let files = now.files_planned.saturating_sub(now.files_copied);
            self.time_for(bytes + files * FILE, |totals| {
                totals.bytes_moved + totals.files_copied * FILE
            })
        };
        let seconds = if plan_final {
            copying()?
        } else {
            let unseen = previous?.entries.checked_sub(now.entries).filter(|&left| left > 0)?;
            self.time_for(unseen, |totals| totals.entries)?.max(copying()?)
        };
        Duration::try_from_secs_f64(seconds.round()).ok().filter(|left| *left <= LONGEST)
    }

    fn time_for(&self, left: u64, counter: impl Fn(&Totals) -> u64) -> Option<f64> {
        if left == 0 {
            return Some(0.0);
        }
        self.rate(counter).filter(|rate| *rate > 0.0).map(|rate| left as f64 / rate)
    }
}

/// The share of the run that is done, between 0 and 1, where a total is known.
pub(crate) fn done(now: &Totals, previous: Option<&Totals>, plan_final: bool) -> Option<f64> {
    let share = |part: u64, whole: u64| (whole > 0).then(|| (part as f64 / whole as f64).min(1.0));
    if plan_final {
        share(now.bytes_moved, now.bytes_planned).or(share(now.files_copied, now.files_planned))
    } else {
        share(now.entries, previous?.entries).filter(|share| *share < 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn copying(bytes_moved: u64, bytes_planned: u64) -> Totals {
        Totals { bytes_planned, bytes_moved, ..Totals::default() }
    }

    fn seen(entries: u64) -> Totals {
        Totals { entries, ..Totals::default() }
    }

    fn window(samples: &[(u64, Totals)]) -> Window {
        let mut window = Window::default();
        for (seconds, totals) in samples {
            window.push(at(*seconds), totals);
        }
        window
    }

    #[test]
    fn a_rate_looks_back_ten_seconds_and_no_further() {
        let mut window = Window::default();
        for second in 0..=30 {
            let bytes = if second < 20 { second * 1000 } else { 20_000 + (second - 20) * 10 };
            window.push(at(second), &copying(bytes, 0));
        }
        assert_eq!(window.rate(|totals| totals.bytes_moved), Some(10.0));
        assert!(window.samples.len() <= 12);
    }

    #[test]
    fn there_is_no_rate_before_a_second_has_passed() {
        assert_eq!(Window::default().rate(|totals| totals.entries), None);
        let mut window = window(&[(0, seen(0))]);
        window.push(Duration::from_millis(500), &seen(100));
        assert_eq!(window.rate(|totals| totals.entries), None);
    }

    #[test]
    fn bytes_taken_back_are_no_negative_rate() {
        let window = window(&[(0, copying(500, 900)), (2, copying(100, 900))]);
        assert_eq!(window.rate(|totals| totals.bytes_moved), Some(0.0));
        assert_eq!(window.remaining(None, true), None);
    }

    #[test]
    fn the_finished_plan_tells_what_is_left() {
        let window = window(&[(0, copying(0, 1000)), (4, copying(400, 1000))]);
        assert_eq!(window.remaining(None, true), Some(at(6)));
    }

    #[test]
    fn many_small_files_are_estimated_by_their_number() {
        let totals = |files_copied| Totals { files_copied, files_planned: 100, ..copying(9, 10) };
        let window = window(&[(0, Totals { bytes_moved: 0, ..totals(0) }), (2, totals(10))]);
        assert_eq!(window.remaining(None, true), Some(at(18)));
    }

    #[test]
    fn before_the_plan_is_final_the_last_run_tells() {
        let window = window(&[(0, seen(0)), (5, seen(100))]);
        assert_eq!(window.remaining(Some(&seen(300)), false), Some(at(10)));
        assert_eq!(window.remaining(None, false), None);
    }

    #[test]
    fn a_tree_that_outgrew_the_last_run_has_no_estimate() {
        let window = window(&[(0, seen(0)), (5, seen(100))]);
        assert_eq!(window.remaining(Some(&seen(100)), false), None);
        assert_eq!(window.remaining(Some(&seen(7)), false), None);
        assert_eq!(done(&seen(100), Some(&seen(7)), false), None);
    }

    #[test]
    fn a_stalled_run_has_no_estimate() {
        let window = window(&[(0, copying(10, 1000)), (9, copying(10, 1000))]);
        assert_eq!(window.remaining(None, true), None);
        let crawling =
            super::tests::window(&[(0, copying(0, u64::MAX)), (9, copying(1, u64::MAX))]);
        assert_eq!(crawling.remaining(None, true), None);
    }

    #[test]
    fn the_share_done_needs_a_total() {
        assert_eq!(done(&copying(50, 200), None, true), Some(0.25));
        assert_eq!(done(&copying(0, 0), None, true), None);
        assert_eq!(done(&seen(50), Some(&seen(200)), false), Some(0.25));
        assert_eq!(done(&copying(50, 200), None, false), None);
    }
}
