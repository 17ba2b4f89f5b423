//! Progress: bars in a terminal, now and then a plain line elsewhere.
//!
//! Main type: [`Bars`]. What the lines say is made by plain functions of the counters.

use super::format::{count, counted, rough_duration, size, speed};
use crate::model::{InFlight, Totals};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle as Look};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How many of the files in flight have a line: more than that nobody reads.
const FLYING: usize = 4;
/// Steps of a bar, finer than any terminal shows.
const STEPS: u64 = 10_000;

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProgressStyle {
    /// Not at all.
    #[default]
    Off,
    /// As bars on stderr, a terminal.
    Bars,
    /// As a plain line on stderr each ten seconds.
    Lines,
}

impl ProgressStyle {
    /// How often the counters are looked at.
    pub(crate) fn interval(self) -> Duration {
        match self {
            Self::Bars => Duration::from_millis(100),
            // Lines on stdout that are held back go out with the tick.
            Self::Off | Self::Lines => Duration::from_millis(250),
        }
    }
}

/// The bars of a run: one for the whole, a line of what was looked at, some for what is in flight.
#[derive(Debug)]
pub(crate) struct Bars {
    multi: MultiProgress,
    whole: ProgressBar,
    looked_at: ProgressBar,
    flying: Mutex<Vec<ProgressBar>>,
}

impl Bars {
    /// Makes the bars; nothing shows before the first [`Bars::show`].
    pub(crate) fn new() -> Self {
        let multi = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let whole = ProgressBar::new(STEPS).with_style(look("{spinner} {wide_msg}"));
        let looked_at = ProgressBar::new(STEPS).with_style(look("  {wide_msg}"));
        Self { multi, whole, looked_at, flying: Mutex::default() }
    }

    /// What output must go through to appear above the bars.
    pub(crate) fn multi(&self) -> MultiProgress {
        self.multi.clone()
    }

    /// Draws: the `whole` run with the share `done` where it is known, what was `looked_at`, and
    /// the first files `in_flight`.
    pub(crate) fn show(
        &self,
        whole: String,
        done: Option<f64>,
        looked_at: String,
        in_flight: &[InFlight],
    ) {
        let mut flying = self.flying.lock().unwrap_or_else(PoisonError::into_inner);
        if self.whole.message().is_empty() {
            self.multi.add(self.whole.clone());
            self.multi.add(self.looked_at.clone());
        }
        if let Some(done) = done {
            self.whole.set_style(look("[{bar:12}] {percent:>3}% {wide_msg}"));
            self.whole.set_position((done * STEPS as f64) as u64);
        } else {
            self.whole.set_style(look("{spinner} {wide_msg}"));
        }
        self.whole.set_message(whole);
        self.whole.tick();
        self.looked_at.set_message(looked_at);
        let lines = in_flight.len().min(FLYING);
        while flying.len() < lines {
            let bar = ProgressBar::new(STEPS).with_style(look("  {wide_msg}"));
            flying.push(self.multi.add(bar));
        }
        for bar in flying.drain(lines..) {
            self.multi.remove(&bar);
        }
        for (bar, file) in flying.iter().zip(in_flight) {
            bar.set_message(flying_line(file));
        }
    }

    /// Takes the bars away.
    pub(crate) fn clear(&self) {
        // A terminal that went away needs no clearing.
        self.multi.clear().ok();
        self.multi.set_draw_target(ProgressDrawTarget::hidden());
    }
}

fn look(template: &str) -> Look {
    Look::with_template(template)
        .expect("the templates are constants, and each is drawn in a test")
        .progress_chars("=> ")
}

/// The whole of a mirror run: bytes of those planned, speed, time left.
///
/// Short enough for 80 columns beside its bar.
pub(crate) fn mirror_line(
    now: &Totals,
    plan_final: bool,
    rate: Option<f64>,
    remaining: Option<Duration>,
) -> String {
    let mut line = format!("{} of {}", size(now.bytes_moved), size(now.bytes_planned));
    if !plan_final {
        line.push_str(" so far");
    }
    add_pace(&mut line, rate, remaining);
    line
}

/// What a mirror run copied and looked at.
pub(crate) fn looked_at_line(now: &Totals) -> String {
    let mut line = format!(
        "{} of {} copied, {}",
        count(now.files_copied),
        counted(now.files_planned, "file", "files"),
        counted(now.entries, "entry scanned", "entries scanned")
    );
    for (number, word) in [
        (now.files_unchanged, "unchanged"),
        (now.files_adopted, "adopted"),
        (now.files_deleted + now.directories_deleted, "deleted"),
        (now.files_failed, "failed"),
    ] {
        if number > 0 {
            line.extend([", ", &count(number), " ", word]);
        }
    }
    line
}

/// The whole of a verification.
pub(crate) fn verify_line(now: &Totals, rate: Option<f64>) -> String {
    let entries = counted(now.entries, "entry", "entries");
    let mut line = format!("{entries} looked at, {} hashed", size(now.bytes_hashed));
    add_pace(&mut line, rate, None);
    line
}

/// The whole of a stream that is put.
pub(crate) fn put_line(now: &Totals, rate: Option<f64>) -> String {
    let mut line = size(now.bytes_moved);
    add_pace(&mut line, rate, None);
    line
}

fn add_pace(line: &mut String, rate: Option<f64>, remaining: Option<Duration>) {
    if let Some(rate) = rate {
        line.push_str(", ");
        line.push_str(&speed(rate));
    }
    if let Some(remaining) = remaining {
        line.push_str(", ");
        line.push_str(&rough_duration(remaining));
        line.push_str(" left");
    }
}

fn flying_line(file: &InFlight) -> String {
    format!("{:>10} of {:>10}  {}", size(file.done.min(file.size)), size(file.size), file.key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Key;

    #[test]
    fn a_line_says_no_rate_and_no_time_that_are_not_known() {
        let now = Totals { bytes_moved: 1 << 30, bytes_planned: 3 << 30, ..Totals::default() };
        assert_eq!(mirror_line(&now, false, None, None), "1.0 GiB of 3.0 GiB so far");
        let line = mirror_line(&now, true, Some(1_048_576.0), Some(Duration::from_secs(150)));
        assert_eq!(line, "1.0 GiB of 3.0 GiB, 1.0 MiB/s, 2 min 30 s left");
    }

    #[test]
    fn looked_at_leaves_out_what_is_zero() {
        let now = Totals {
            entries: 3000,
            files_copied: 1200,
            files_planned: 2000,
            files_failed: 2,
            ..Totals::default()
        };
        let text = "1,200 of 2,000 files copied, 3,000 entries scanned, 2 failed";
        assert_eq!(looked_at_line(&now), text);
    }

    #[test]
    fn a_file_in_flight_is_named_without_control_characters() {
        let file = InFlight { key: Key::new(*b"a\x1bb"), size: 2048, done: 1024 };
        assert_eq!(flying_line(&file), "   1.0 KiB of    2.0 KiB  a\\u{1b}b");
    }

    #[test]
    fn bars_take_any_number_of_files_and_any_share() {
        let bars = Bars::new();
        bars.multi.set_draw_target(ProgressDrawTarget::hidden());
        let file = InFlight { key: Key::new(*b"a"), size: 1, done: 0 };
        for (files, done) in [(0, None), (9, Some(0.5)), (2, Some(1.0)), (0, None)] {
            bars.show("whole".into(), done, "seen".into(), &vec![file.clone(); files]);
            let shown = bars.flying.lock().unwrap().len();
            assert_eq!(shown, files.min(FLYING));
        }
        bars.clear();
    }
}
