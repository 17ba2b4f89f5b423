//! Progress: a bar and lines in a terminal, now and then a plain line elsewhere.
//!
//! Main type: [`Bars`]. What the lines say is made by plain functions of the counters; what has no room
//! is left out.

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

/// How many of the files in flight have a line: more than that nobody reads.
const FLYING: usize = 4;
/// Steps of a bar, finer than any terminal shows.
const STEPS: u64 = 10_000;
/// Columns of the smallest bar, with what stands around it.
const SMALLEST_BAR: usize = 11;
/// How long a terminal's size must stand before it is drawn to: while it changes, a terminal may have
/// broken lines anew for another width than it tells (tmux tells it a quarter of a second later).
const SETTLED: Duration = Duration::from_millis(300);
/// Terminals of fewer columns show of a file in flight how much of it is done, not its size.
const NARROW: usize = 60;

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

/// What the bars say at one moment.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// The share that is done, between 0 and 1, where it is known.
    pub(crate) share: Option<f64>,
    /// How far the whole is: behind the bar.
    pub(crate) figures: Vec<Piece>,
    /// What was done: the line below.
    pub(crate) counts: Vec<Piece>,
    /// What is under way.
    pub(crate) in_flight: Vec<InFlight>,
}

impl Shown {
    /// As one plain line of any length.
    pub(crate) fn line(self) -> String {
        let [figures, counts] = [self.figures, self.counts].map(|part| fit(part, usize::MAX));
        format!("{figures}; {counts}")
    }
}

/// The files that are under way, as many as are shown.
pub(crate) fn in_flight(progress: &Progress) -> Vec<InFlight> {
    let slots = progress.in_flight.lock();
    slots.iter().flatten().take(FLYING).cloned().collect()
}

/// The lines of a run at the lower end of a terminal: one for the whole with a bar, one of what was
/// done, some for what is in flight.
#[derive(Debug)]
pub(crate) struct Bars {
    bar: ProgressBar,
    frame: Arc<Mutex<Frame>>,
    size: Mutex<Size>,
}

/// The size of a terminal, and since when it has it.
#[derive(Debug, Default)]
struct Size {
    known: Option<TerminalSize>,
    changed: Option<Instant>,
}

impl Size {
    /// Takes the size that the terminal has now; whether it has had it for long enough.
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
    /// Makes the bars; nothing shows before the first [`Bars::show`].
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(Some(STEPS), ProgressDrawTarget::hidden());
        Self { bar, frame: Arc::default(), size: Mutex::default() }
    }

    /// What output must suspend to appear above the bars.
    pub(crate) fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }

    /// Draws, unless the terminal's size is just being changed.
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
        let files = in_flight.iter().take(FLYING).map(|file| flying_line(file, width));
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
                // Writing to a line that is being made doesn't fail.
                out.write_str(pick(&frame)).ok();
            }
        };
        Look::with_template(template)
            .expect("the templates are constants, and each is drawn in a test")
            .progress_chars("=> ")
            .with_key("figures", part(|frame| &frame.figures))
            .with_key("below", part(|frame| &frame.below))
    }

    /// Takes the bars away, for good.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
        self.bar.set_draw_target(ProgressDrawTarget::hidden());
    }
}

/// How far a run is.
pub(crate) struct Figures {
    /// What is done of all, where that is known.
    pub(crate) share: Option<f64>,
    /// The same in words.
    pub(crate) pieces: Vec<Piece>,
}

/// How far a mirror run is: the share, bytes of those to copy, speed, time left.
pub(crate) fn mirror_figures(now: &Totals, estimate: &Estimate, rate: Option<f64>) -> Figures {
    let all = match estimate.whole() {
        Some(whole) => format!("{}{}", about(estimate), size(whole.bytes)),
        None => format!("{} so far", size(now.bytes_planned)),
    };
    let bytes = format!("{} of {all}", size(now.bytes_moved));
    figures(estimate, Some(bytes), rate)
}

/// How far a verification is.
pub(crate) fn verify_figures(now: &Totals, estimate: &Estimate, rate: Option<f64>) -> Figures {
    let hashed = size(now.bytes_hashed);
    let bytes = match estimate.whole() {
        // Stamps alone are compared.
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

/// What stands before what is only supposed.
fn about(estimate: &Estimate) -> &'static str {
    if estimate.whole().is_some_and(|whole| whole.is_known) { "" } else { "~" }
}

/// What a mirror run did so far.
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
    for (number, told, word) in [
        (now.files_unchanged, files(now.files_unchanged, now.links_unchanged), "unchanged"),
        (now.files_adopted, files(now.files_adopted, now.links_adopted), "adopted"),
        (deleted, counted(deleted, "entry", "entries"), "deleted"),
    ] {
        if number > 0 {
            pieces.push(Piece::new(3, format!("{told} {word}")));
        }
    }
    pieces
}

/// What a verification did so far.
pub(crate) fn verify_counts(
    now: &Totals,
    estimate: &Estimate,
    elapsed: Duration,
    failed: u64,
) -> Vec<Piece> {
    let mut pieces = first_counts(now, elapsed, failed);
    let looked_at = match estimate.whole() {
        Some(whole) => {
            let entries = counted(whole.entries, "entry", "entries");
            format!("{} of {}{entries} looked at", count(now.entries), about(estimate))
        }
        None => counted(now.entries, "entry looked at", "entries looked at"),
    };
    pieces.push(Piece::new(1, looked_at));
    pieces
}

/// How long it took so far, what failed, and whether a store is in trouble.
fn first_counts(now: &Totals, elapsed: Duration, failed: u64) -> Vec<Piece> {
    let mut pieces = vec![Piece::new(0, rough_duration(elapsed))];
    if failed > 0 {
        pieces.push(Piece::new(0, format!("{} failed", count(failed))));
    }
    pieces.extend(trouble(now).map(|trouble| Piece::new(1, trouble)));
    pieces
}

/// How much of a stream was put at a location.
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

fn flying_line(file: &InFlight, width: usize) -> String {
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

    /// A third of three files of a GiB is copied, after ten seconds.
    fn under_way(is_whole: bool) -> (Totals, Estimate) {
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
    fn an_estimate_is_marked_until_it_is_none() {
        let rate = Some(f64::from(1 << 20));
        let (now, estimate) = under_way(false);
        let line = text(mirror_figures(&now, &estimate, rate).pieces, 80);
        assert_eq!(line, "~33%, 1.0 GiB of ~3.0 GiB, 1.0 MiB/s, ~20 s left");
        let (now, estimate) = under_way(true);
        let line = text(mirror_figures(&now, &estimate, rate).pieces, 80);
        assert_eq!(line, "33%, 1.0 GiB of 3.0 GiB, 1.0 MiB/s, 20 s left");
    }

    #[test]
    fn a_line_says_no_rate_and_no_time_that_are_not_known() {
        let now = Totals { bytes_moved: 1 << 30, bytes_planned: 3 << 30, ..Totals::default() };
        let Figures { share, pieces } = mirror_figures(&now, &Estimate::default(), None);
        assert_eq!((share, &*text(pieces, 80)), (None, "1.0 GiB of 3.0 GiB so far"));
    }

    #[test]
    fn at_forty_columns_rate_time_left_and_failures_stay() {
        let (now, estimate) = under_way(false);
        let figures = mirror_figures(&now, &estimate, Some(1e9)).pieces;
        assert_eq!(text(figures, 39), "~33%, 953.7 MiB/s, ~20 s left");
        let counts = mirror_counts(&now, &estimate, Duration::from_secs(72));
        assert_eq!(text(counts, 37), "1 min 12 s, 1 failed");
        let counts = mirror_counts(&now, &estimate, Duration::from_secs(72));
        let all = "1 min 12 s, 1 failed, 1 of ~3 files copied, 2 entries scanned";
        assert_eq!(text(counts, 80), all);
    }

    #[test]
    fn a_verification_tells_its_total() {
        let (now, _) = under_way(true);
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
        assert_eq!(flying_line(&file, 79), wide);
        assert_eq!(flying_line(&file, 20), "  50%  lon…/a\\u{1b}b");
    }

    #[test]
    fn nothing_is_drawn_while_a_terminal_changes_its_size() {
        let of = |columns| TerminalSize { rows: 24, columns };
        let (mut size, start) = (Size::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        assert!(size.is_settled(start, of(80)), "the first size is taken as it is");
        assert!(!size.is_settled(at(100), of(40)));
        assert!(!size.is_settled(at(350), of(90)), "it changed once more");
        assert!(!size.is_settled(at(600), of(90)));
        assert!(size.is_settled(at(650), of(90)) && size.is_settled(at(700), of(90)));
    }

    #[test]
    fn bars_take_any_number_of_files_any_share_and_any_width() {
        let bars = Bars::new();
        let file = InFlight { key: Key::new(*b"a"), size: 1, done: 0 };
        for (files, share) in [(0, None), (9, Some(0.5)), (2, Some(1.0)), (0, None)] {
            for width in [1, 20, 79, 200] {
                let figures = vec![Piece::new(0, "figures")];
                let in_flight = vec![file.clone(); files];
                bars.set(Shown { share, figures, counts: Vec::new(), in_flight }, width);
                let lines = bars.frame.lock().below.lines().count();
                assert_eq!(lines, 1 + files.min(FLYING));
            }
        }
        bars.clear();
    }
}
