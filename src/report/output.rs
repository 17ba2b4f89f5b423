//! Where presenters write: results to stdout, progress and faults to stderr, above the bars if any.
//!
//! Main type: [`Output`]. Lines never mix; a stdout that nobody reads any more (`EPIPE`) swallows the
//! rest quietly, any other fault of it is kept for the exit code.

use super::flags;
use crate::model::{ErrorReport, Notice, Severity};
use indicatif::ProgressBar;
use parking_lot::Mutex;
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::Errno;
use std::io::{self, IsTerminal as _, Stdout, Write};

/// Lines to stdout wait for the next tick up to this size, so that a hundred thousand of them don't
/// cost a system call (and a redrawn bar) each.
const HELD: usize = 32 * 1024;

/// Standard output. Rust's own handle swallows what is written to one that is closed.
///
/// # Errors
/// Where it is not open for writing.
pub(crate) fn stdout() -> io::Result<Stdout> {
    let stdout = io::stdout();
    if fcntl_getfl(&stdout)? & OFlags::RWMODE == OFlags::RDONLY {
        return Err(Errno::BADF.into());
    }
    Ok(stdout)
}

/// How the output of a run looks.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutputOptions {
    /// Colour the words that begin messages on stderr.
    pub color: bool,
}

/// Both output streams of the process, shared by the threads of a run.
#[derive(Debug)]
pub struct Output {
    options: OutputOptions,
    bars: Option<ProgressBar>,
    stdout_is_terminal: bool,
    held: Mutex<BufferedOutput>,
}

#[derive(Debug, Default)]
struct BufferedOutput {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    closed: bool,
    error: Option<io::Error>,
}

impl Output {
    /// Makes the output; with `bars`, whatever is written appears above them.
    pub fn new(options: OutputOptions, bars: Option<ProgressBar>) -> Self {
        let stdout_is_terminal = io::stdout().is_terminal();
        Self { options, bars, stdout_is_terminal, held: Mutex::default() }
    }

    /// Writes a line to stdout, now or at the next [`Output::flush`].
    pub fn line(&self, line: &str) {
        let mut held = self.held.lock();
        if held.closed {
            return;
        }
        held.stdout.extend_from_slice(line.as_bytes());
        held.stdout.push(b'\n');
        let at_once = self.stdout_is_terminal && self.bars.is_none();
        if at_once || held.stdout.len() >= HELD {
            self.write(&mut held);
        }
    }

    /// Tells a person of a notice; who wants `quiet` hears of warnings alone.
    pub(crate) fn notice(&self, notice: &Notice, quiet: bool) {
        let label = match notice.severity() {
            Severity::Note if quiet => return,
            Severity::Note => "note",
            Severity::Warning => "warning",
        };
        self.message(label, &flags::notice(notice));
    }

    /// Tells a person of a fatal error or a refusal, and of the way out.
    pub(crate) fn error(&self, error: &ErrorReport) {
        self.message("error", &error.error);
        if let Some(help) = &error.help {
            self.message("help", &flags::hint(help));
        }
    }

    /// Writes a message to stderr behind its coloured `label` (`error`, `help`, `note`).
    pub fn message(&self, label: &str, text: &str) {
        let (on, off) = match (self.options.color, label) {
            (false, _) => ("", ""),
            (true, "error") => ("\x1b[1;31m", "\x1b[0m"),
            (true, "help") => ("\x1b[1;36m", "\x1b[0m"),
            (true, _) => ("\x1b[1m", "\x1b[0m"),
        };
        self.stderr_line(&format!("{on}{label}:{off} {text}"));
    }

    /// Writes a line to stderr.
    pub fn stderr_line(&self, line: &str) {
        let mut held = self.held.lock();
        held.stderr.extend_from_slice(line.as_bytes());
        held.stderr.push(b'\n');
        if self.bars.is_none() {
            self.write(&mut held);
        }
    }

    /// Writes what is held back.
    pub fn flush(&self) {
        self.write(&mut self.held.lock());
    }

    /// Whether nobody reads stdout any more.
    pub fn is_closed(&self) -> bool {
        self.held.lock().closed
    }

    /// The first fault of stdout other than a reader who left, given once.
    pub fn take_error(&self) -> Option<io::Error> {
        self.held.lock().error.take()
    }

    fn write(&self, held: &mut BufferedOutput) {
        if held.stdout.is_empty() && held.stderr.is_empty() {
            return;
        }
        match &self.bars {
            Some(bars) if self.stdout_is_terminal || !held.stderr.is_empty() => {
                bars.suspend(|| held.write());
            }
            _ => held.write(),
        }
    }
}

impl BufferedOutput {
    fn write(&mut self) {
        // There is nowhere left to tell of a broken stderr.
        io::stderr().lock().write_all(&self.stderr).ok();
        self.stderr.clear();
        if self.closed || self.stdout.is_empty() {
            return;
        }
        let written = stdout().and_then(|mut stdout| {
            stdout.write_all(&self.stdout)?;
            stdout.flush()
        });
        if let Err(error) = written {
            self.closed = true;
            if error.kind() != io::ErrorKind::BrokenPipe {
                self.error.get_or_insert(error);
            }
        }
        self.stdout.clear();
    }
}
