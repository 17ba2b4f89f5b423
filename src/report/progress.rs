//! How far a mirror run is, to a person: bars in a terminal, else a line now and then.

use super::bars::{self, Bars, Figures, Shown};
use super::{Ending, Output, Presenter, ProgressStyle, Watch};
use crate::model::{Event, Observer, Progress};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// How often a plain progress line is written.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Presents the progress of a mirror run, above which its [`Output`] writes.
#[derive(Debug)]
pub struct ProgressReport {
    output: Arc<Output>,
    bars: Option<Bars>,
    last_line: Mutex<Duration>,
}

impl ProgressReport {
    /// Makes the presenter, which draws `bars` where there are any.
    pub(crate) fn new(output: Arc<Output>, bars: Option<Bars>) -> Self {
        Self { output, bars, last_line: Mutex::default() }
    }
}

impl Observer for ProgressReport {
    fn observe(&self, _event: &Event) {}
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
        let Figures { share, pieces: figures } = bars::mirror_figures(&totals, estimate, rate);
        let counts = bars::mirror_counts(&totals, estimate, at);
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

    /// Clears the bars: what comes behind stands where they were.
    fn finish(&self, _ending: &Ending<'_>, _watch: &Watch) {
        if let Some(bars) = &self.bars {
            bars.clear();
        }
    }
}
