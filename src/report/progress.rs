//! How far a run is, to a person: bars in a terminal, else a line now and then.

use super::bars::{self, Bars, Figures, Shown};
use super::estimate::Kind;
use super::{Concludes, Output, Presenter, ProgressStyle, Watch};
use crate::model::{Event, Observer, Progress};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often a plain progress line is written.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Presents the progress of a run, above which its [`Output`] writes.
#[derive(Debug)]
pub struct ProgressReport {
    output: Arc<Output>,
    bars: Option<Bars>,
    last_line: Mutex<Duration>,
    /// Entries that failed, by their events: a verification has no counter of them.
    failed: AtomicU64,
}

impl ProgressReport {
    /// Makes the presenter, which draws `bars` where there are any.
    pub(crate) fn new(output: Arc<Output>, bars: Option<Bars>) -> Self {
        Self { output, bars, last_line: Mutex::default(), failed: AtomicU64::default() }
    }
}

impl Observer for ProgressReport {
    fn observe(&self, event: &Event) {
        if matches!(event, Event::Failed(_) | Event::NotMended { .. }) {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Presenter for ProgressReport {
    fn interval(&self) -> Option<Duration> {
        let style = self.bars.as_ref().map_or(ProgressStyle::Lines, |_| ProgressStyle::Bars);
        Some(style.interval())
    }

    fn tick(&self, at: Duration, progress: &Progress, watch: &Watch) {
        let totals = progress.totals();
        let estimate = watch.estimate();
        let rate = watch.bytes_per_second();
        let (Figures { share, pieces: figures }, counts) = match estimate.kind() {
            Kind::Mirror => (
                bars::mirror_figures(&totals, estimate, rate),
                bars::mirror_counts(&totals, estimate, at),
            ),
            Kind::Verify | Kind::Against => {
                let failed = self.failed.load(Ordering::Relaxed);
                (
                    bars::verify_figures(&totals, estimate, rate),
                    bars::verify_counts(&totals, estimate, at, failed),
                )
            }
        };
        let shown = Shown { share, figures, counts, in_flight: bars::in_flight(progress) };
        let Some(bars) = &self.bars else {
            let mut last = self.last_line.lock();
            if at.saturating_sub(*last) >= LINE_INTERVAL {
                *last = at;
                self.output.stderr_line(&shown.line());
            }
            return;
        };
        bars.show(shown);
    }
}

impl<E> Concludes<E> for ProgressReport {
    /// Clears the bars: what comes behind stands where they were.
    fn finish(&self, _ending: &E, _watch: &Watch) {
        if let Some(bars) = &self.bars {
            bars.clear();
        }
    }
}
