//! Output streams of presenters: results go to stdout, progress and errors to stderr, above any
//! bars.
//!
//! Main type: [`Output`]. Lines of different threads never mix. If the reader of stdout is gone
//! (`EPIPE`), further output is dropped quietly; any other error of stdout is kept for the exit
//! code.

use super::flags;
use crate::model::{ErrorReport, Notice, Severity};
use indicatif::ProgressBar;
use parking_lot::Mutex;
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::Errno;
use std::io::{self, IsTerminal as _, Stdout, Write};

/// Lines for stdout are buffered until the next tick, up to this many bytes, so that a hundred
/// thousand of them don't cost a system call (and a redrawn bar) each.
const BUFFER: usize = 32 * 1024;

/// Returns standard output. Rust's own handle silently drops output if it is closed.
///
/// # Errors
/// Fails if it is not open for writing.
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
    /// Colour the labels of messages on stderr.
    pub color: bool,
}

/// Both output streams of the process, shared by the threads of a run.
#[derive(Debug)]
pub struct Output {
    options: OutputOptions,
    bars: Option<ProgressBar>,
    stdout_is_terminal: bool,
    buffered: Mutex<BufferedOutput>,
}

#[derive(Debug, Default)]
struct BufferedOutput {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    closed: bool,
    error: Option<io::Error>,
}

impl Output {
    /// Makes the output; with `bars`, everything is written above them.
    pub fn new(options: OutputOptions, bars: Option<ProgressBar>) -> Self {
        let stdout_is_terminal = io::stdout().is_terminal();
        Self { options, bars, stdout_is_terminal, buffered: Mutex::default() }
    }

    /// Writes a line to stdout, now or at the next [`Output::flush`].
    pub fn line(&self, line: &str) {
        let mut buffered = self.buffered.lock();
        if buffered.closed {
            return;
        }
        buffered.stdout.extend_from_slice(line.as_bytes());
        buffered.stdout.push(b'\n');
        let at_once = self.stdout_is_terminal && self.bars.is_none();
        if at_once || buffered.stdout.len() >= BUFFER {
            self.write(&mut buffered);
        }
    }

    /// Prints a notice; if `quiet`, only warnings.
    pub(crate) fn notice(&self, notice: &Notice, quiet: bool) {
        let label = match notice.severity() {
            Severity::Note if quiet => return,
            Severity::Note => "note",
            Severity::Warning => "warning",
        };
        self.message(label, &flags::notice(notice));
    }

    /// Prints a fatal error or a refusal, and its hint.
    pub(crate) fn error(&self, error: &ErrorReport) {
        self.message("error", &error.error);
        if let Some(help) = &error.help {
            self.message("help", &flags::hint(help));
        }
    }

    /// Writes a message to stderr after its coloured `label` (`error`, `help`, `note`).
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
        let mut buffered = self.buffered.lock();
        buffered.stderr.extend_from_slice(line.as_bytes());
        buffered.stderr.push(b'\n');
        if self.bars.is_none() {
            self.write(&mut buffered);
        }
    }

    /// Writes buffered output.
    pub fn flush(&self) {
        self.write(&mut self.buffered.lock());
    }

    /// Returns whether the reader of stdout is gone, or stdout failed.
    pub fn is_closed(&self) -> bool {
        self.buffered.lock().closed
    }

    /// Takes the first error of stdout, if it is another than a missing reader.
    pub fn take_error(&self) -> Option<io::Error> {
        self.buffered.lock().error.take()
    }

    fn write(&self, buffered: &mut BufferedOutput) {
        if buffered.stdout.is_empty() && buffered.stderr.is_empty() {
            return;
        }
        match &self.bars {
            Some(bars) if self.stdout_is_terminal || !buffered.stderr.is_empty() => {
                bars.suspend(|| buffered.write());
            }
            _ => buffered.write(),
        }
    }
}

impl BufferedOutput {
    fn write(&mut self) {
        // There is no stream left on which to report a broken stderr.
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
