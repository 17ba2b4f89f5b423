//! How far a run is, how fast, and how long it has still to go.
//!
//! Main type: [`Estimate`], fed with a [`Sample`] each tick. Work is measured in bytes: those of the
//! content, and what a file and a look at an entry cost beside it. How much there is of it the finished
//! plan tells, before that the count ahead, before that what the last run counted; what can't be known is
//! `None`, never a guess. The time left goes by the rate of the last ten seconds and is smoothed, so that
//! it doesn't jump with each stall and burst.

use crate::model::{Counted, Progress, Totals};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How far back rates look.
const SPAN: Duration = Duration::from_secs(10);
/// Rates over less than this are noise.
const SHORTEST: Duration = Duration::from_secs(1);
/// What a file costs beside its content, as bytes: files alone are no measure where some are large,
/// nor bytes where most are small.
const FILE: f64 = 65_536.0;
/// What a look at an entry costs, as bytes.
const ENTRY: f64 = 2_048.0;
/// A run that is younger says nothing of how long it takes.
const YOUNGEST: Duration = Duration::from_secs(2);
/// The seconds in which the time left that is shown follows what was found by two thirds: a third of
/// that, within bounds.
const SMOOTHED: [f64; 2] = [0.2, 3.0];
/// Estimates beyond this say that the run is stuck rather than when it ends.
const LONGEST: Duration = Duration::from_hours(24 * 30);

/// What is being done, which decides what there is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Files are copied as far as the plan says.
    #[default]
    Mirror,
    /// All that is counted ahead is read.
    Verify,
    /// What a source and a target both have is read on both sides; the source is counted ahead.
    Against,
}

impl Kind {
    /// How often at the most a byte of the source is to be moved.
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
    /// Planned copies that are over.
    pub(crate) files_settled: u64,
    /// Bytes of those that were not moved.
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

    /// What of the work is done.
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

/// What there is to do in all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TotalWork {
    /// Files to copy, or to read.
    pub(crate) files: u64,
    /// Bytes of these.
    pub(crate) bytes: u64,
    /// Entries to look at.
    pub(crate) entries: u64,
    /// Whether that is known, and not only supposed.
    pub(crate) is_known: bool,
}

impl TotalWork {
    /// What there is to do, by all that is known; `previous` is what the last run counted.
    fn of(now: &Sample, kind: Kind, previous: Option<&Totals>) -> Option<Self> {
        let (totals, ahead) = (&now.totals, &now.ahead);
        if kind == Kind::Verify {
            let Counted { entries, files, bytes, is_whole } = *ahead;
            let is_ahead = entries > totals.entries || is_whole;
            // A file that was begun is read beyond a budget, and what is not recorded is looked at too.
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
        // What is not seen yet is supposed to need as much copying, or reading, as what is.
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

/// Rates and estimates of a run; bounded by the samples of ten seconds.
#[derive(Debug, Default)]
pub(crate) struct Estimate {
    kind: Kind,
    samples: VecDeque<(Duration, Sample)>,
    previous: Option<Totals>,
    whole: Option<TotalWork>,
    /// Seconds left.
    left: Option<f64>,
    /// How long the run goes on at the most.
    limit: Option<Duration>,
    /// The share of that which is over, where it ends the run sooner than the work does.
    spent: Option<f64>,
}

impl Estimate {
    /// Of a run of this kind.
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, ..Self::default() }
    }

    /// Of a run of this kind that goes on for `limit` at the most, if there is one.
    pub(crate) fn within(kind: Kind, limit: Option<Duration>) -> Self {
        Self { limit, ..Self::new(kind) }
    }

    /// Learns what the last run counted.
    pub(crate) fn know(&mut self, previous: Option<&Totals>) {
        self.previous = previous.copied();
    }

    /// Adds the counters as they stand `at` so long after the start.
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

    /// Seconds left of a run that goes on until `limit` at the most; what it comes to by then is the
    /// whole.
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

    /// Seconds left, by the rate of now.
    fn found(&self, at: Duration, sample: &Sample) -> Option<f64> {
        let left = (self.whole?.work(self.kind) - sample.done(self.kind)).max(0.0);
        let rate = self.per_second(|sample| sample.done(self.kind)).filter(|rate| *rate > 0.0)?;
        (at >= YOUNGEST).then_some(left / rate)
    }

    /// The rate a second of what `counter` picks; `None` until there is a second to look at.
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

    /// What there is to do in all, as far as anything tells.
    pub(crate) fn whole(&self) -> Option<TotalWork> {
        self.whole
    }

    /// The time that is left, as far as the counters tell.
    pub(crate) fn remaining(&self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.left?.round()).ok().filter(|left| *left <= LONGEST)
    }

    /// The share that is done, between 0 and 1, where it is known what there is to do.
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

    /// A run in which files of a MiB are copied, and nothing else is there.
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
    fn bytes_taken_back_are_no_negative_rate() {
        let estimate = estimate(&[(0, copying(5, 9)), (2, copying(1, 9))]);
        assert_eq!(estimate.rate(|totals| totals.bytes_moved), Some(0.0));
        assert_eq!(estimate.remaining(), None);
    }

    #[test]
    fn a_finished_plan_tells_what_is_left() {
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
        assert!(estimate.whole().unwrap().is_known, "what is counted to its end is no guess");
    }

    #[test]
    fn a_count_that_lags_behind_the_run_tells_nothing() {
        let lagging = |settled| counted(&copying(settled, 500), 500, false);
        let estimate = estimate(&[(0, lagging(0)), (4, lagging(400))]);
        assert_eq!((estimate.whole(), estimate.share(), estimate.remaining()), (None, None, None));
    }

    #[test]
    fn what_is_not_seen_yet_is_supposed_to_need_copying_as_often() {
        let mut sample = counted(&copying(50, 100), 1000, true);
        sample.totals.source_entries = 500;
        sample.totals.source_bytes = 500 * MIB;
        let whole = estimate(&[(0, sample)]).whole().unwrap();
        assert_eq!((whole.files, whole.bytes, whole.is_known), (200, 200 * MIB, false));
    }

    #[test]
    fn the_last_run_tells_until_this_one_has_seen_as_much() {
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
    fn what_failed_or_was_copied_by_a_store_is_over() {
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
    fn what_is_held_against_a_source_is_read_twice_where_both_have_it() {
        // Of what was joined so far a fifth is missing in the target.
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
    fn before_anything_is_joined_both_sides_are_supposed_to_be_alike() {
        let mut estimate = Estimate::new(Kind::Against);
        estimate.push(at(0), &counted(&copying(0, 0), 100, false));
        let whole = estimate.whole().unwrap();
        assert_eq!((whole.bytes, whole.is_known), (200 * MIB, false));
    }

    #[test]
    fn a_time_that_ends_first_bounds_what_there_is_to_do() {
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
        // Five seconds long, slow at first: the first found is nine times what is left.
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
    fn a_run_of_seconds_is_not_said_to_take_a_minute() {
        // Twenty thousand files in five seconds: the first second is spent on beginning.
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
