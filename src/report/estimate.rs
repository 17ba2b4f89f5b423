//! Estimates of how far a run is, how fast, and how much time is left.
//!
//! Main type: [`Estimate`], which takes a [`Sample`] at each tick. Work is measured in bytes: those
//! of content, plus a constant per file and per entry examined. The total comes from the finished
//! plan; before that from the count ahead, or from the last run's counts. What can't be known is
//! `None`, never a guess. The time left is computed from the rate of the last ten seconds, and
//! smoothed so that it doesn't jump with each stall and burst.

use crate::model::{Counted, Progress, Totals};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The time span over which rates are computed.
const SPAN: Duration = Duration::from_secs(10);
/// Rates over shorter spans are noise.
const SHORTEST: Duration = Duration::from_secs(1);
/// The cost of a file beside its content, in bytes. Counting only files would be wrong for large
/// ones, counting only bytes for small ones.
const FILE: f64 = 65_536.0;
/// The cost of examining an entry, in bytes.
const ENTRY: f64 = 2_048.0;
/// Minimum age of a run whose remaining time is estimated.
const YOUNGEST: Duration = Duration::from_secs(2);
/// Bounds of the smoothing's time constant, in seconds; it is a third of the estimated time left.
const SMOOTHED: [f64; 2] = [0.2, 3.0];
/// Longer estimates mean that the run is stuck, and are not shown.
const LONGEST: Duration = Duration::from_hours(24 * 30);

/// The kind of run, which decides what counts as work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A mirror run: files are copied as planned.
    #[default]
    Mirror,
    /// A verification: everything that is counted ahead is read.
    Verify,
    /// A comparison of source and target: what both have is read on both sides. The source is
    /// counted ahead.
    Against,
}

impl Kind {
    /// Returns how often a byte of the source is read at most.
    fn times(self) -> u64 {
        if self == Self::Against { 2 } else { 1 }
    }
}

/// The counters of a run at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) totals: Totals,
    pub(crate) plan_final: bool,
    pub(crate) ahead: Counted,
    /// Planned copies that are finished or failed.
    pub(crate) files_settled: u64,
    /// Bytes of these that were not read.
    pub(crate) bytes_unmoved: u64,
}

impl Sample {
    pub(crate) fn of(progress: &Progress) -> Self {
        Self {
            plan_final: progress.plan_final.load(Ordering::Relaxed),
            ahead: progress.ahead.counted(),
            files_settled: progress.settled.files.get(),
            bytes_unmoved: progress.settled.bytes_unmoved.get(),
            totals: progress.totals(),
        }
    }

    fn bytes_done(&self) -> u64 {
        self.totals.bytes_moved + self.bytes_unmoved
    }

    /// Returns the amount of work done, in bytes.
    fn done(&self, kind: Kind) -> f64 {
        let looked_at = self.totals.entries as f64 * ENTRY;
        match kind {
            Kind::Mirror => self.bytes_done() as f64 + self.files_settled as f64 * FILE + looked_at,
            Kind::Verify | Kind::Against => {
                (self.totals.bytes_hashed + self.bytes_unmoved) as f64 + looked_at
            }
        }
    }
}

/// The total work of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TotalWork {
    /// Files to copy, or to read.
    pub(crate) files: u64,
    /// Bytes of these files.
    pub(crate) bytes: u64,
    /// Entries to examine.
    pub(crate) entries: u64,
    /// Whether the total is exact rather than estimated.
    pub(crate) is_known: bool,
}

impl TotalWork {
    /// Computes the total from everything known; `previous` has the last run's counts.
    fn of(now: &Sample, kind: Kind, previous: Option<&Totals>) -> Option<Self> {
        let (totals, ahead) = (&now.totals, &now.ahead);
        if kind == Kind::Verify {
            let Counted { entries, files, bytes, is_whole } = *ahead;
            let is_ahead = entries > totals.entries || is_whole;
            // A file is read to its end beyond a budget, and unrecorded entries are examined, too.
            let (bytes, entries) = (bytes.max(totals.bytes_hashed), entries.max(totals.entries));
            return is_ahead.then_some(Self { files, bytes, entries, is_known: is_whole });
        }
        let (files, bytes) = (totals.files_planned, totals.bytes_planned);
        if now.plan_final {
            return Some(Self { files, bytes, entries: totals.entries, is_known: true });
        }
        let by_count = (ahead.is_whole || ahead.entries > totals.source_entries).then_some((
            ahead.entries,
            ahead.bytes,
            ahead.is_whole,
        ));
        let by_previous = previous
            .filter(|previous| !ahead.is_whole && previous.source_entries > totals.source_entries)
            .map(|previous| (previous.source_entries, previous.source_bytes, false));
        let listed = by_count.into_iter().chain(by_previous).max_by_key(|(entries, ..)| *entries);
        let (all_entries, all_bytes, is_whole) = listed?;
        let unseen = all_entries.saturating_sub(totals.source_entries);
        let unseen_bytes = all_bytes.saturating_sub(totals.source_bytes);
        if unseen == 0 && !is_whole {
            return None;
        }
        let entries = totals.entries + unseen;
        let all_is_copied = bytes == totals.source_bytes;
        if all_is_copied && is_whole && kind == Kind::Mirror {
            let (files, bytes) = (ahead.files.max(files), ahead.bytes.max(bytes));
            return Some(Self { files, bytes, entries, is_known: true });
        }
        // Assumes that entries not seen yet need as much copying or reading as those seen.
        let more = |planned: u64, most: u64, seen: u64, unseen: u64| {
            let share = match seen {
                0 => most as f64,
                seen => (planned as f64 / seen as f64).min(most as f64),
            };
            planned + (share * unseen as f64).round() as u64
        };
        Some(Self {
            files: more(files, 1, totals.source_entries, unseen),
            bytes: more(bytes, kind.times(), totals.source_bytes, unseen_bytes),
            entries,
            is_known: false,
        })
    }

    fn work(&self, kind: Kind) -> f64 {
        let files = match kind {
            Kind::Mirror => self.files as f64 * FILE,
            Kind::Verify | Kind::Against => 0.0,
        };
        self.bytes as f64 + files + self.entries as f64 * ENTRY
    }
}

/// Rates and estimates of a run. Its memory is bounded by the samples of ten seconds.
#[derive(Debug, Default)]
pub(crate) struct Estimate {
    kind: Kind,
    samples: VecDeque<(Duration, Sample)>,
    previous: Option<Totals>,
    whole: Option<TotalWork>,
    /// Seconds left.
    left: Option<f64>,
    /// Maximum duration of the run.
    limit: Option<Duration>,
    /// The share of `limit` that has passed, if it will end the run before the work is done.
    spent: Option<f64>,
}

impl Estimate {
    /// Makes the estimate of a run of this kind.
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, ..Self::default() }
    }

    /// Makes the estimate of a run of this kind that takes at most `limit`, if there is one.
    pub(crate) fn within(kind: Kind, limit: Option<Duration>) -> Self {
        Self { limit, ..Self::new(kind) }
    }

    /// Returns the kind of the run.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Sets the last run's counts.
    pub(crate) fn know(&mut self, previous: Option<&Totals>) {
        self.previous = previous.copied();
    }

    /// Adds a sample of the counters, taken `at` after the start.
    pub(crate) fn push(&mut self, at: Duration, sample: &Sample) {
        let since =
            self.samples.back().map_or(Duration::ZERO, |(last, _)| at.saturating_sub(*last));
        self.samples.push_back((at, *sample));
        // The oldest sample kept is the youngest that spans the whole window.
        while self.samples.get(1).is_some_and(|(second, _)| at.saturating_sub(*second) >= SPAN) {
            self.samples.pop_front();
        }
        self.whole = TotalWork::of(sample, self.kind, self.previous.as_ref());
        let found = self.found(at, sample);
        let found = match self.limit {
            Some(limit) => self.within_limit(limit, at, sample, found),
            None => found,
        };
        self.left = match (self.left, found) {
            (Some(left), Some(found)) => {
                let since = since.as_secs_f64();
                let passed = (left - since).max(0.0);
                let [least, most] = SMOOTHED;
                let smoothed = (found / 3.0).clamp(least, most);
                Some(passed + (found - passed) * (1.0 - (-since / smoothed).exp()))
            }
            (_, found) => found,
        };
    }

    /// Returns the seconds left of a run that ends at `limit` at the latest. The total work becomes
    /// what it is estimated to reach by then.
    fn within_limit(
        &mut self,
        limit: Duration,
        at: Duration,
        sample: &Sample,
        found: Option<f64>,
    ) -> Option<f64> {
        let left = limit.saturating_sub(at).as_secs_f64();
        self.spent = None;
        if found.is_some_and(|found| found <= left) {
            return found;
        }
        self.spent = Some((at.as_secs_f64() / limit.as_secs_f64()).min(1.0));
        let hashed = sample.totals.bytes_hashed;
        let more = self.rate(|totals| totals.bytes_hashed).map(|rate| (rate * left) as u64);
        let whole = self.whole.zip(more).filter(|(_, more)| *more > 0);
        self.whole = whole.map(|(whole, more)| TotalWork {
            bytes: (hashed + more).min(whole.bytes),
            is_known: false,
            ..whole
        });
        Some(left)
    }

    /// Returns the seconds left at the current rate.
    fn found(&self, at: Duration, sample: &Sample) -> Option<f64> {
        let left = (self.whole?.work(self.kind) - sample.done(self.kind)).max(0.0);
        let rate = self.per_second(|sample| sample.done(self.kind)).filter(|rate| *rate > 0.0)?;
        (at >= YOUNGEST).then_some(left / rate)
    }

    /// Returns the rate per second of the counter that `counter` picks; `None` before there is a
    /// second of samples.
    pub(crate) fn rate(&self, counter: impl Fn(&Totals) -> u64) -> Option<f64> {
        self.per_second(|sample| counter(&sample.totals) as f64)
    }

    fn per_second(&self, counter: impl Fn(&Sample) -> f64) -> Option<f64> {
        let (first_at, first) = self.samples.front()?;
        let (last_at, last) = self.samples.back()?;
        let span = last_at.saturating_sub(*first_at);
        let more = (counter(last) - counter(first)).max(0.0);
        (span >= SHORTEST).then(|| more / span.as_secs_f64())
    }

    /// Returns the total work, if it is known or can be estimated.
    pub(crate) fn whole(&self) -> Option<TotalWork> {
        self.whole
    }

    /// Returns the time left, if it can be estimated.
    pub(crate) fn remaining(&self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.left?.round()).ok().filter(|left| *left <= LONGEST)
    }

    /// Returns the share that is done, from 0 to 1, if the total is known.
    pub(crate) fn share(&self) -> Option<f64> {
        if self.spent.is_some() {
            return self.spent;
        }
        let (_, now) = self.samples.back()?;
        let all = self.whole?.work(self.kind);
        (all > 0.0).then(|| (now.done(self.kind) / all).min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Returns a sample of a run that copies files of 1 MiB, of which `settled` are finished.
    fn copying(settled: u64, planned: u64) -> Sample {
        let totals = Totals {
            entries: planned,
            source_entries: planned,
            source_bytes: planned * MIB,
            files_planned: planned,
            bytes_planned: planned * MIB,
            bytes_moved: settled * MIB,
            ..Totals::default()
        };
        Sample { totals, files_settled: settled, ..Sample::default() }
    }

    fn counted(sample: &Sample, files: u64, is_whole: bool) -> Sample {
        let ahead = Counted { entries: files, files, bytes: files * MIB, is_whole };
        Sample { ahead, ..*sample }
    }

    fn estimate(samples: &[(u64, Sample)]) -> Estimate {
        let mut estimate = Estimate::default();
        for (seconds, sample) in samples {
            estimate.push(at(*seconds), sample);
        }
        estimate
    }

    #[test]
    fn a_rate_looks_back_ten_seconds_and_no_further() {
        let mut estimate = Estimate::default();
        for second in 0..=30 {
            let settled = if second < 20 { second * 1000 } else { 20_000 + (second - 20) * 10 };
            estimate.push(at(second), &copying(settled, 0));
        }
        assert_eq!(estimate.rate(|totals| totals.bytes_moved), Some(10.0 * MIB as f64));
        assert!(estimate.samples.len() <= 12);
    }

    #[test]
    fn there_is_no_rate_before_a_second_has_passed() {
        assert_eq!(Estimate::default().rate(|totals| totals.entries), None);
        let mut estimate = estimate(&[(0, copying(0, 10))]);
        estimate.push(Duration::from_millis(500), &copying(5, 10));
        assert_eq!(estimate.rate(|totals| totals.entries), None);
    }

    #[test]
    fn a_discarded_attempt_gives_no_negative_rate() {
        let estimate = estimate(&[(0, copying(5, 9)), (2, copying(1, 9))]);
        assert_eq!(estimate.rate(|totals| totals.bytes_moved), Some(0.0));
        assert_eq!(estimate.remaining(), None);
    }

    #[test]
    fn a_finished_plan_gives_the_time_left() {
        let last = |settled| Sample { plan_final: true, ..copying(settled, 100) };
        let estimate = estimate(&[(0, last(0)), (4, last(40))]);
        assert_eq!(estimate.remaining(), Some(at(6)));
        assert_eq!(estimate.whole().map(|whole| whole.is_known), Some(true));
    }

    #[test]
    fn a_first_run_is_estimated_by_the_count_ahead() {
        let first = |settled, planned, whole| counted(&copying(settled, planned), 1000, whole);
        let mut estimate = estimate(&[(0, first(0, 10, false)), (4, first(100, 120, false))]);
        let whole = estimate.whole().unwrap();
        assert_eq!((whole.files, whole.bytes, whole.is_known), (1000, 1000 * MIB, false));
        assert_eq!(estimate.remaining(), Some(at(36)));
        assert!((estimate.share().unwrap() - 0.1).abs() < 0.01);
        estimate.push(at(5), &first(125, 140, true));
        assert!(estimate.whole().unwrap().is_known, "a complete count is exact");
    }

    #[test]
    fn a_count_that_lags_behind_the_run_is_ignored() {
        let lagging = |settled| counted(&copying(settled, 500), 500, false);
        let estimate = estimate(&[(0, lagging(0)), (4, lagging(400))]);
        assert_eq!((estimate.whole(), estimate.share(), estimate.remaining()), (None, None, None));
    }

    #[test]
    fn unseen_entries_are_assumed_to_need_copying_as_often() {
        let mut sample = counted(&copying(50, 100), 1000, true);
        sample.totals.source_entries = 500;
        sample.totals.source_bytes = 500 * MIB;
        let whole = estimate(&[(0, sample)]).whole().unwrap();
        assert_eq!((whole.files, whole.bytes, whole.is_known), (200, 200 * MIB, false));
    }

    #[test]
    fn the_last_run_serves_until_this_one_has_seen_as_much() {
        let previous = copying(0, 300).totals;
        let of = |settled, planned| {
            let mut estimate = Estimate::default();
            estimate.know(Some(&previous));
            estimate.push(at(0), &copying(0, 10));
            estimate.push(at(5), &copying(settled, planned));
            (estimate.whole().map(|whole| whole.files), estimate.remaining())
        };
        assert_eq!(of(100, 110), (Some(300), Some(at(10))));
        assert_eq!(of(290, 300), (None, None));
    }

    #[test]
    fn a_stalled_run_has_no_estimate() {
        let stalled = Sample { plan_final: true, ..copying(1, 10) };
        assert_eq!(estimate(&[(0, stalled), (9, stalled)]).remaining(), None);
    }

    #[test]
    fn failed_files_and_server_side_copies_count_as_done() {
        let mut sample = Sample { plan_final: true, ..copying(4, 10) };
        (sample.files_settled, sample.bytes_unmoved) = (10, 6 * MIB);
        assert_eq!(estimate(&[(0, sample)]).share(), Some(1.0));
    }

    #[test]
    fn a_verification_is_estimated_by_the_rows() {
        let reading = |read: u64| {
            let totals = Totals { entries: 50, bytes_hashed: read * MIB, ..Totals::default() };
            counted(&Sample { totals, ..Sample::default() }, 100, true)
        };
        let mut estimate = Estimate::new(Kind::Verify);
        estimate.push(at(0), &reading(0));
        estimate.push(at(5), &reading(50));
        assert!((estimate.share().unwrap() - 0.5).abs() < 0.01);
        assert_eq!(estimate.remaining(), Some(at(5)));
    }

    #[test]
    fn a_comparison_reads_twice_what_both_sides_have() {
        // A fifth of what was joined so far is missing in the target.
        let reading = |read: u64, is_final| {
            let totals = Totals {
                bytes_hashed: read * MIB,
                bytes_planned: 80 * MIB,
                ..copying(0, 50).totals
            };
            counted(&Sample { totals, plan_final: is_final, ..Sample::default() }, 100, true)
        };
        let mut estimate = Estimate::new(Kind::Against);
        estimate.push(at(0), &reading(0, false));
        estimate.push(at(5), &reading(40, false));
        let whole = estimate.whole().unwrap();
        assert_eq!((whole.bytes, whole.entries, whole.is_known), (160 * MIB, 100, false));
        assert!((estimate.share().unwrap() - 0.25).abs() < 0.01);
        assert_eq!(estimate.remaining(), Some(at(15)));
        estimate.push(at(6), &reading(60, true));
        let whole = estimate.whole().unwrap();
        assert_eq!((whole.bytes, whole.is_known), (80 * MIB, true));
    }

    #[test]
    fn before_anything_is_joined_both_sides_are_assumed_to_be_alike() {
        let mut estimate = Estimate::new(Kind::Against);
        estimate.push(at(0), &counted(&copying(0, 0), 100, false));
        let whole = estimate.whole().unwrap();
        assert_eq!((whole.bytes, whole.is_known), (200 * MIB, false));
    }

    #[test]
    fn a_time_limit_bounds_the_total() {
        let reading = |read: u64| {
            let totals = Totals { entries: 100, bytes_hashed: read * MIB, ..Totals::default() };
            counted(&Sample { totals, ..Sample::default() }, 100, true)
        };
        let within = |limit| {
            let mut estimate = Estimate::within(Kind::Verify, Some(at(limit)));
            estimate.push(at(0), &reading(0));
            estimate.push(at(5), &reading(10));
            estimate
        };
        let estimate = within(20);
        let whole = estimate.whole().unwrap();
        assert_eq!((whole.bytes, whole.is_known), (40 * MIB, false));
        assert_eq!((estimate.share(), estimate.remaining()), (Some(0.25), Some(at(15))));
        let estimate = within(100);
        let whole = estimate.whole().unwrap();
        assert_eq!((whole.bytes, whole.is_known), (100 * MIB, true));
        assert!((estimate.share().unwrap() - 0.1).abs() < 0.01);
    }

    #[test]
    fn the_time_left_follows_a_run_without_jumps() {
        // Five seconds long, slow at first: the first estimate is nine times the time left.
        let moved = |tenth: u64| if tenth < 20 { tenth } else { 20 + (tenth - 20) * 6 };
        let mut estimate = Estimate::default();
        let mut shown = Vec::new();
        for tenth in 0..=50_u64 {
            let sample = Sample { plan_final: true, ..copying(moved(tenth), 200) };
            estimate.push(Duration::from_millis(tenth * 100), &sample);
            shown.extend(estimate.remaining().map(|left| left.as_secs()));
        }
        let steps = shown.windows(2).map(|pair| pair[0].abs_diff(pair[1])).max();
        assert!(steps <= Some(2), "{shown:?}");
        assert!(*shown.last().unwrap() <= 3, "{shown:?}");
    }

    #[test]
    fn a_run_of_seconds_is_not_estimated_as_a_minute() {
        // Twenty thousand files in five seconds: the first second is spent on starting.
        let moved = |tenth: u64| tenth.saturating_sub(8) * 476;
        let mut estimate = Estimate::default();
        for tenth in 0..=50_u64 {
            let sample = counted(&copying(moved(tenth), moved(tenth) + 300), 20_000, true);
            estimate.push(Duration::from_millis(tenth * 100), &sample);
            let most = Duration::from_secs(8);
            assert!(estimate.remaining().is_none_or(|left| left < most), "{tenth}: {estimate:?}");
        }
    }
}
