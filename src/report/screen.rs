//! Drawing of progress bars at the bottom of a terminal.
//!
//! Main type: [`Screen`], which indicatif draws to. Its own way of drawing pads each line to the
//! margin and leaves the cursor there. A terminal that is resized wraps such lines anew, and what
//! it echoes (`^C`) moves them, so that parts of them remain. Here each line ends with a newline,
//! an empty line below them has the cursor and any echo, and after a resize the rows that the lines
//! now take are counted. Each frame is written by a single call.

use console::measure_text_width;
use indicatif::TermLike;
use parking_lot::Mutex;
use std::fmt;
use std::io::{self, Write};

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TerminalSize {
    pub(crate) rows: u16,
    pub(crate) columns: u16,
}

/// The size that is assumed if it can't be determined.
const USUAL: TerminalSize = TerminalSize { rows: 24, columns: 80 };

/// Returns the size of the terminal on stderr.
pub(crate) fn stderr_size() -> TerminalSize {
    let size = console::Term::stderr().size_checked();
    size.map_or(USUAL, |(rows, columns)| TerminalSize { rows, columns })
}

/// Returns the maximum width of a line in a terminal of so many columns. Some terminals wrap a line
/// that fills the last column.
pub(crate) fn usable(columns: u16) -> usize {
    usize::from(columns.max(2)) - 1
}

/// Lines that are redrawn at the end of the output.
pub(crate) struct Screen<W> {
    /// Returns the terminal's current size.
    size: fn() -> TerminalSize,
    state: Mutex<ScreenState<W>>,
}

struct ScreenState<W> {
    out: W,
    /// The widths of the lines currently drawn.
    lines: Vec<usize>,
    /// Output for the next flush.
    pending: String,
}

impl<W: Write + Send> Screen<W> {
    pub(crate) fn new(out: W, size: fn() -> TerminalSize) -> Self {
        let state = Mutex::new(ScreenState { out, lines: Vec::new(), pending: String::new() });
        Self { size, state }
    }

    /// Erases the lines currently drawn.
    fn erase(&self) {
        let columns = usize::from((self.size)().columns.max(1));
        let mut state = self.state.lock();
        // A line that no longer fits is wrapped to the next row.
        let rows: usize = state.lines.drain(..).map(|width| width.div_ceil(columns).max(1)).sum();
        if rows > 0 {
            state.pending.push_str(&upwards(rows));
        }
    }
}

/// Returns the escape sequence that moves up so many rows and clears them and anything echoed
/// below. The first row is cleared by itself: a terminal that is told to clear from its upper left
/// corner may move the old content to its history (tmux does), each time lines are drawn.
fn upwards(rows: usize) -> String {
    format!("\r\x1b[{rows}A\x1b[K\x1b[B\x1b[J\x1b[A")
}

impl<W> fmt::Debug for Screen<W> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Screen").finish_non_exhaustive()
    }
}

impl<W: Write + Send> TermLike for Screen<W> {
    fn width(&self) -> u16 {
        u16::try_from(usable((self.size)().columns)).unwrap_or(u16::MAX)
    }

    fn height(&self) -> u16 {
        // One row is for the cursor.
        (self.size)().rows.saturating_sub(1)
    }

    /// Erases the previous lines: drawing begins by moving to the first of them.
    fn move_cursor_up(&self, _rows: usize) -> io::Result<()> {
        self.erase();
        Ok(())
    }

    fn move_cursor_down(&self, _rows: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _columns: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _columns: usize) -> io::Result<()> {
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.write_str(line)
    }

    /// Takes one line; padding up to the margin is dropped.
    fn write_str(&self, line: &str) -> io::Result<()> {
        if !line.trim().is_empty() {
            let mut state = self.state.lock();
            let line = line.trim_end();
            state.pending.push_str(line);
            state.pending.push('\n');
            state.lines.push(measure_text_width(line));
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        let pending = std::mem::take(&mut state.pending);
        state.out.write_all(pending.as_bytes())?;
        state.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU16, Ordering};

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Written {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock())).unwrap()
        }
    }

    static COLUMNS: AtomicU16 = AtomicU16::new(40);

    #[test]
    fn lines_end_with_a_newline_and_are_erased_after_the_terminal_became_narrower() {
        let written = Written::default();
        let size = || TerminalSize { rows: 24, columns: COLUMNS.load(Ordering::Relaxed) };
        let screen = Screen::new(written.clone(), size);
        let bar = ProgressBar::new(10);
        bar.set_style(ProgressStyle::with_template("{prefix}\n{msg}").unwrap());
        bar.set_draw_target(ProgressDrawTarget::hidden());
        bar.set_prefix("x".repeat(39));
        bar.set_message("second");
        bar.set_draw_target(ProgressDrawTarget::term_like(Box::new(screen)));
        bar.tick();
        let lines = format!("{}\nsecond\n", "x".repeat(39));
        assert_eq!(written.take(), lines);
        bar.tick();
        assert_eq!(written.take(), format!("{}{lines}", upwards(2)));
        bar.suspend(|| written.clone().write_all(b"a line\n").unwrap());
        assert_eq!(written.take(), format!("{}a line\n{lines}", upwards(2)));
        COLUMNS.store(20, Ordering::Relaxed);
        bar.suspend(|| ());
        assert!(written.take().starts_with(&upwards(3)));
        COLUMNS.store(80, Ordering::Relaxed);
        bar.finish_and_clear();
        assert!(written.take().ends_with(&upwards(2)));
    }
}
