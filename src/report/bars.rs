//! Progress: bars and lines in a terminal, a plain line every ten seconds elsewhere.
//!
//! Main type: [`Bars`]. Pure functions of the counters make the text; parts for which a line has no
//! room are left out.

use super::estimate::{Estimate, TotalWork};
use super::format::{count, counted, rough_duration, size, speed};
use super::layout::{Piece, cut_path, fit};
use super::requests::trouble;
use super::screen::{Screen, TerminalSize, stderr_size, usable};
use crate::model::{InFlight, Progress, Totals};
use console::measure_text_width;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle as Look};
use parking_lot::Mutex;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Maximum number of files in flight that are shown.
const SHOWN_FILES: usize = 4;
/// Steps of a bar, finer than any terminal shows.
const STEPS: u64 = 10_000;
/// Columns of the smallest bar, with its brackets and space.
const SMALLEST_BAR: usize = 11;
/// How long a terminal's size must be stable before anything is drawn. A terminal that is being
/// resized may already have wrapped lines for a width that it doesn't report yet (tmux reports it a
/// quarter of a second later).
const SETTLED: Duration = Duration::from_millis(300);
/// Below this many columns, a file in flight shows a percentage instead of its size.
const NARROW: usize = 60;

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProgressStyle {
    /// Not at all.
    #[default]
    Off,
    /// As bars on stderr, which is a terminal.
    Bars,
    /// As a plain line on stderr every ten seconds.
    Lines,
}

impl ProgressStyle {
    /// Returns how often the counters are sampled.
    pub(crate) fn interval(self) -> Duration {
        match self {
            Self::Bars => Duration::from_millis(100),
            // Buffered lines of stdout are written at each tick.
            Self::Off | Self::Lines => Duration::from_millis(250),
        }
    }
}

/// The text of the bars at one moment.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// The share that is done, from 0 to 1, if it is known.
    pub(crate) share: Option<f64>,
    /// Overall progress, beside the bar.
    pub(crate) figures: Vec<Piece>,
    /// Counts of what was done, on the line below.
    pub(crate) counts: Vec<Piece>,
    /// Files in flight.
    pub(crate) in_flight: Vec<InFlight>,
}

impl Shown {
    /// Formats everything but the files as one plain line of any length.
    pub(crate) fn line(self) -> String {
        let [figures, counts] = [self.figures, self.counts].map(|part| fit(part, usize::MAX));
        format!("{figures}; {counts}")
    }
}

/// Returns the files in flight, as many as are shown.
pub(crate) fn in_flight(progress: &Progress) -> Vec<InFlight> {
    let slots = progress.in_flight.lock();
    slots.iter().flatten().take(SHOWN_FILES).cloned().collect()
}

/// The lines of a run at the bottom of a terminal: one with the bar for the whole run, one with
/// counts, and one for each file in flight.
#[derive(Debug)]
pub(crate) struct Bars {
    bar: ProgressBar,
    frame: Arc<Mutex<Frame>>,
    size: Mutex<Size>,
}

/// The size of a terminal, and when it last changed.
#[derive(Debug, Default)]
struct Size {
    known: Option<TerminalSize>,
    changed: Option<Instant>,
}

impl Size {
    /// Records the current size. Returns whether it has been stable for long enough.
    fn is_settled(&mut self, now: Instant, size: TerminalSize) -> bool {
        if self.known.replace(size).is_some_and(|was| was != size) {
            self.changed = Some(now);
        }
        self.changed.is_none_or(|changed| now.duration_since(changed) >= SETTLED)
    }
}

/// The text beside and below the bar.
#[derive(Debug, Default)]
struct Frame {
    figures: String,
    below: String,
}

impl Bars {
    /// Makes the bars; nothing is drawn before the first [`Bars::show`].
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(Some(STEPS), ProgressDrawTarget::hidden());
        Self { bar, frame: Arc::default(), size: Mutex::default() }
    }

    /// Returns the bar that other output must suspend to appear above it.
    pub(crate) fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }

    /// Draws, unless the terminal is being resized.
    pub(crate) fn show(&self, shown: Shown) {
        let size = stderr_size();
        let mut known = self.size.lock();
        if !known.is_settled(Instant::now(), size) {
            return;
        }
        drop(known);
        if self.bar.is_hidden() && !self.bar.is_finished() {
            let screen = Screen::new(io::stderr(), stderr_size);
            self.bar.set_draw_target(ProgressDrawTarget::term_like(Box::new(screen)));
        }
        self.set(shown, usable(size.columns));
        self.bar.tick();
    }

    fn set(&self, shown: Shown, width: usize) {
        let Shown { share, figures, counts, in_flight } = shown;
        let figures = fit(figures, width);
        let has_room = measure_text_width(&figures) + SMALLEST_BAR <= width;
        let template = match share {
            Some(_) if has_room => "[{wide_bar}] {figures}\n{below}",
            Some(_) => "{figures}\n{below}",
            None => "{spinner} {figures}\n{below}",
        };
        let lines = [format!("  {}", fit(counts, width.saturating_sub(2)))];
        let files = in_flight.iter().take(SHOWN_FILES).map(|file| file_line(file, width));
        let below = lines.into_iter().chain(files).collect::<Vec<_>>().join("\n");
        *self.frame.lock() = Frame { figures, below };
        self.bar.set_style(self.look(template));
        self.bar.set_position((share.unwrap_or_default() * STEPS as f64) as u64);
    }

    fn look(&self, template: &str) -> Look {
        let part = |pick: fn(&Frame) -> &str| {
            let frame = Arc::clone(&self.frame);
            move |_: &ProgressState, out: &mut dyn fmt::Write| {
                let frame = frame.lock();
                // Writing to a string doesn't fail.
                out.write_str(pick(&frame)).ok();
            }
        };
        Look::with_template(template)
            .expect("the templates are constants, and each is drawn in a test")
            .progress_chars("=> ")
            .with_key("figures", part(|frame| &frame.figures))
            .with_key("below", part(|frame| &frame.below))
    }

    /// Removes the bars for good.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
        self.bar.set_draw_target(ProgressDrawTarget::hidden());
    }
}

/// Overall progress.
pub(crate) struct Figures {
    /// The share that is done, if it is known.
    pub(crate) share: Option<f64>,
    /// The same as text.
    pub(crate) pieces: Vec<Piece>,
}

/// Returns the progress of a mirror run: the share, bytes of those to copy, speed, time left.
pub(crate) fn mirror_figures(now: &Totals, estimate: &Estimate, rate: Option<f64>) -> Figures {
    let all = match estimate.whole() {
        Some(whole) => format!("{}{}", about(estimate), size(whole.bytes)),
        None => format!("{} so far", size(now.bytes_planned)),
    };
    let bytes = format!("{} of {all}", size(now.bytes_moved));
    figures(estimate, Some(bytes), rate)
}

/// Returns the progress of a verification.
pub(crate) fn verify_figures(now: &Totals, estimate: &Estimate, rate: Option<f64>) -> Figures {
    let hashed = size(now.bytes_hashed);
    let bytes = match estimate.whole() {
        // Only stamps are compared.
        Some(TotalWork { bytes: 0, .. }) => None,
        Some(whole) => Some(format!("{hashed} of {}{} hashed", about(estimate), size(whole.bytes))),
        None => Some(format!("{hashed} hashed")),
    };
    figures(estimate, bytes, rate)
}

fn figures(estimate: &Estimate, bytes: Option<String>, rate: Option<f64>) -> Figures {
    let share = estimate.share();
    let percent = share.map(|share| {
        let percent = (share * 100.0).floor();
        Piece::new(0, format!("{}{percent}%", about(estimate)))
    });
    let left = estimate
        .remaining()
        .map(|left| Piece::new(0, format!("{}{} left", about(estimate), rough_duration(left))));
    let pieces = percent.into_iter().chain(bytes.map(|bytes| Piece::new(1, bytes)));
    let pieces = pieces.chain(rate.map(|rate| Piece::new(0, speed(rate))));
    Figures { share, pieces: pieces.chain(left).collect() }
}

/// Returns the prefix of an estimated number.
fn about(estimate: &Estimate) -> &'static str {
    if estimate.whole().is_some_and(|whole| whole.is_known) { "" } else { "~" }
}

/// Formats what a mirror run has done so far.
pub(crate) fn mirror_counts(now: &Totals, estimate: &Estimate, elapsed: Duration) -> Vec<Piece> {
    let mut pieces = first_counts(now, elapsed, now.files_failed);
    let all = match estimate.whole() {
        Some(whole) => format!("{}{}", about(estimate), counted(whole.files, "file", "files")),
        None => counted(now.files_planned, "file", "files"),
    };
    let copied = count(now.files_copied.saturating_sub(now.links_copied));
    pieces.push(Piece::new(1, format!("{copied} of {all} copied")));
    let scanned = counted(now.entries, "entry scanned", "entries scanned");
    pieces.push(Piece::new(2, scanned));
    let files = |leaves: u64, links| counted(leaves.saturating_sub(links), "file", "files");
    let deleted = now.files_deleted + now.directories_deleted;
    for (number, text, word) in [
        (now.files_unchanged, files(now.files_unchanged, now.links_unchanged), "unchanged"),
        (now.files_adopted, files(now.files_adopted, now.links_adopted), "adopted"),
        (deleted, counted(deleted, "entry", "entries"), "deleted"),
    ] {
        if number > 0 {
            pieces.push(Piece::new(3, format!("{text} {word}")));
        }
    }
    pieces
}

/// Formats what a verification has done so far.
pub(crate) fn verify_counts(
    now: &Totals,
    estimate: &Estimate,
    elapsed: Duration,
    failed: u64,
) -> Vec<Piece> {
    let mut pieces = first_counts(now, elapsed, failed);
    let examined = match estimate.whole() {
        Some(whole) => {
            let entries = counted(whole.entries, "entry", "entries");
            format!("{} of {}{entries} looked at", count(now.entries), about(estimate))
        }
        None => counted(now.entries, "entry looked at", "entries looked at"),
    };
    pieces.push(Piece::new(1, examined));
    pieces
}

/// Formats the elapsed time, the number of failures, and a store's retries.
fn first_counts(now: &Totals, elapsed: Duration, failed: u64) -> Vec<Piece> {
    let mut pieces = vec![Piece::new(0, rough_duration(elapsed))];
    if failed > 0 {
        pieces.push(Piece::new(0, format!("{} failed", count(failed))));
    }
    pieces.extend(trouble(now).map(|trouble| Piece::new(1, trouble)));
    pieces
}

/// Formats the progress of a `put`.
pub(crate) fn put_shown(
    now: &Totals,
    rate: Option<f64>,
    elapsed: Duration,
    location: &str,
) -> Shown {
    let rate = rate.map(|rate| Piece::new(0, speed(rate)));
    let figures = [Piece::new(0, size(now.bytes_moved))].into_iter().chain(rate).collect();
    let counts = vec![Piece::new(0, rough_duration(elapsed)), Piece::new(1, location)];
    Shown { figures, counts, ..Shown::default() }
}

fn file_line(file: &InFlight, width: usize) -> String {
    let done = file.done.min(file.size);
    let progress = if width < NARROW {
        format!("{:>4}%  ", done * 100 / file.size.max(1))
    } else {
        format!("{:>10} of {:>10}  ", size(done), size(file.size))
    };
    let path = cut_path(&file.key.to_string(), width.saturating_sub(progress.len()));
    progress + &path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Counted, Key};
    use crate::report::estimate::Sample;

    /// Returns the state after ten seconds, with one of three files of 1 GiB copied.
    fn one_third_done(is_whole: bool) -> (Totals, Estimate) {
        const GIB: u64 = 1 << 30;
        let ahead = Counted { entries: 3, files: 3, bytes: 3 * GIB, is_whole };
        let begun = Totals {
            source_entries: 2,
            source_bytes: 2 * GIB,
            files_planned: 2,
            bytes_planned: 2 * GIB,
            ..Totals::default()
        };
        let now =
            Totals { bytes_moved: GIB, files_copied: 1, files_failed: 1, entries: 2, ..begun };
        let mut estimate = Estimate::default();
        for (at, totals) in [(0, begun), (10, now)] {
            let sample = Sample { totals, ahead, ..Sample::default() };
            estimate.push(Duration::from_secs(at), &sample);
        }
        (now, estimate)
    }

    fn text(pieces: Vec<Piece>, width: usize) -> String {
        fit(pieces, width)
    }

    #[test]
    fn estimated_numbers_are_marked() {
        let rate = Some(f64::from(1 << 20));
        let (now, estimate) = one_third_done(false);
        let line = text(mirror_figures(&now, &estimate, rate).pieces, 80);
        assert_eq!(line, "~33%, 1.0 GiB of ~3.0 GiB, 1.0 MiB/s, ~20 s left");
        let (now, estimate) = one_third_done(true);
        let line = text(mirror_figures(&now, &estimate, rate).pieces, 80);
        assert_eq!(line, "33%, 1.0 GiB of 3.0 GiB, 1.0 MiB/s, 20 s left");
    }

    #[test]
    fn unknown_rates_and_times_are_left_out() {
        let now = Totals { bytes_moved: 1 << 30, bytes_planned: 3 << 30, ..Totals::default() };
        let Figures { share, pieces } = mirror_figures(&now, &Estimate::default(), None);
        assert_eq!((share, &*text(pieces, 80)), (None, "1.0 GiB of 3.0 GiB so far"));
    }

    #[test]
    fn at_forty_columns_rate_time_left_and_failures_remain() {
        let (now, estimate) = one_third_done(false);
        let figures = mirror_figures(&now, &estimate, Some(1e9)).pieces;
        assert_eq!(text(figures, 39), "~33%, 953.7 MiB/s, ~20 s left");
        let counts = mirror_counts(&now, &estimate, Duration::from_secs(72));
        assert_eq!(text(counts, 37), "1 min 12 s, 1 failed");
        let counts = mirror_counts(&now, &estimate, Duration::from_secs(72));
        let all = "1 min 12 s, 1 failed, 1 of ~3 files copied, 2 entries scanned";
        assert_eq!(text(counts, 80), all);
    }

    #[test]
    fn a_verification_shows_its_total() {
        let (now, _) = one_third_done(true);
        let now = Totals { bytes_hashed: 1 << 20, ..now };
        let mut estimate = Estimate::new(crate::report::estimate::Kind::Verify);
        let ahead = Counted { entries: 9, files: 8, bytes: 4 << 20, is_whole: true };
        estimate.push(Duration::ZERO, &Sample { totals: now, ahead, ..Sample::default() });
        let Figures { share, pieces: figures } = verify_figures(&now, &estimate, None);
        assert!(share.is_some());
        assert_eq!(text(figures, 80), "24%, 1.0 MiB of 4.0 MiB hashed");
        let counts = verify_counts(&now, &estimate, Duration::from_secs(3), 0);
        assert_eq!(text(counts, 80), "3 s, 2 of 9 entries looked at");
    }

    #[test]
    fn a_file_in_flight_is_named_without_control_characters_in_any_width() {
        let file = InFlight { key: Key::new(*b"long directory/a\x1bb"), size: 2048, done: 1024 };
        let wide = "   1.0 KiB of    2.0 KiB  long directory/a\\u{1b}b";
        assert_eq!(file_line(&file, 79), wide);
        assert_eq!(file_line(&file, 20), "  50%  lon…/a\\u{1b}b");
    }

    #[test]
    fn nothing_is_drawn_while_the_terminal_is_resized() {
        let of = |columns| TerminalSize { rows: 24, columns };
        let (mut size, start) = (Size::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        assert!(size.is_settled(start, of(80)), "the first size counts as stable");
        assert!(!size.is_settled(at(100), of(40)));
        assert!(!size.is_settled(at(350), of(90)), "it changed again");
        assert!(!size.is_settled(at(600), of(90)));
        assert!(size.is_settled(at(650), of(90)) && size.is_settled(at(700), of(90)));
    }

    #[test]
    fn bars_accept_any_number_of_files_any_share_and_any_width() {
        let bars = Bars::new();
        let file = InFlight { key: Key::new(*b"a"), size: 1, done: 0 };
        for (files, share) in [(0, None), (9, Some(0.5)), (2, Some(1.0)), (0, None)] {
            for width in [1, 20, 79, 200] {
                let figures = vec![Piece::new(0, "figures")];
                let in_flight = vec![file.clone(); files];
                bars.set(Shown { share, figures, counts: Vec::new(), in_flight }, width);
                let lines = bars.frame.lock().below.lines().count();
                assert_eq!(lines, 1 + files.min(SHOWN_FILES));
            }
        }
        bars.clear();
    }
}
