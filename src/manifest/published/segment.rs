//! Segments: the rows of one publication, one line each in key order, compressed with Zstandard.

use super::damaged;
use super::head::Segment;
use super::line::{self, Published};
use crate::model::{AttributeKinds, Error, ErrorKind, Key};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use zstd::zstd_safe::CParameter;

/// The compression level: the time that a run waits matters more than a few percent of size.
const LEVEL: i32 = 3;
/// Bytes that are compressed at a time; a few times as many are in memory.
const JOB: u32 = 1 << 20;
/// The largest window that a reader accepts, as a power of two of bytes: 8 MiB. Level 3 uses a
/// quarter of that.
const LONGEST_WINDOW: u32 = 23;
/// The longest line that is written or read, in bytes: far longer than for any name that a kernel
/// or a store accepts. A reader has one line in memory.
pub(super) const LONGEST_LINE: usize = 16 << 20;

/// Writes a segment.
pub(super) struct SegmentWriter<'o> {
    encoder: zstd::Encoder<'static, &'o mut dyn Write>,
    line: Vec<u8>,
    lines: u64,
    needs_version_2: bool,
    looked: bool,
    tells_more: bool,
}

impl<'o> SegmentWriter<'o> {
    pub(super) fn new(out: &'o mut dyn Write) -> Result<Self, Error> {
        let mut encoder = zstd::Encoder::new(out, LEVEL).map_err(cannot_write)?;
        encoder.include_checksum(true).map_err(cannot_write)?;
        // Compression runs on another thread than reading and encoding rows.
        encoder.multithread(1).map_err(cannot_write)?;
        encoder.set_parameter(CParameter::JobSize(JOB)).map_err(cannot_write)?;
        Ok(Self {
            encoder,
            line: Vec::new(),
            lines: 0,
            needs_version_2: false,
            looked: true,
            tells_more: false,
        })
    }

    /// Adds a row; keys must come in order.
    pub(super) fn add(&mut self, published: &Published) -> Result<(), Error> {
        self.line.clear();
        let encoded = published.encode(&mut self.line).and_then(|()| {
            let is_long = self.line.len() > LONGEST_LINE;
            if is_long { Err(std::io::Error::other("its name is too long")) } else { Ok(()) }
        });
        encoded.map_err(|why| {
            let message = format!("\"{}\" can't be published", published.key);
            Error::new(ErrorKind::Manifest, message).because(why)
        })?;
        self.lines += 1;
        self.needs_version_2 |= published.needs_version_2();
        self.tells_more |= published.tells_more_than_target();
        let mut rows = published.row.iter();
        self.looked &= rows.all(|(row, _)| row.looked == AttributeKinds::ALL);
        self.encoder.write_all(&self.line).map_err(cannot_write)
    }

    /// Ends the segment.
    pub(super) fn finish(self) -> Result<WrittenSegment, Error> {
        self.encoder.finish().map_err(cannot_write)?;
        let Self { lines, needs_version_2, looked, tells_more, .. } = self;
        Ok(WrittenSegment { lines, needs_version_2, looked: looked && lines > 0, tells_more })
    }
}

/// What is known of a segment that was written.
pub(super) struct WrittenSegment {
    /// The number of its lines.
    pub(super) lines: u64,
    /// Whether any of them [needs version 2](Published::needs_version_2).
    pub(super) needs_version_2: bool,
    /// Whether [all attributes were looked for](Segment::looked).
    pub(super) looked: bool,
    /// Whether a line [tells more than the target](Segment::tells_more).
    pub(super) tells_more: bool,
}

fn cannot_write(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unusable, "cannot write the manifest").because(error)
}

/// Why reading a verified segment on disk failed: because of the disk, or of the data in it.
fn unreadable(name: &str, error: std::io::Error) -> Error {
    if error.raw_os_error().is_none() {
        return damaged(name, error);
    }
    Error::new(ErrorKind::Unusable, "cannot read the copy of the published manifest on disk")
        .because(error)
}

/// A file with several readers, each with an offset of its own.
struct Shared {
    file: Arc<File>,
    at: u64,
}

impl Shared {
    fn new(file: Arc<File>) -> Self {
        Self { file, at: 0 }
    }
}

impl Read for Shared {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// The rows of a segment whose file was verified.
pub(super) struct SegmentReader {
    name: String,
    segment: Segment,
    lines: BufReader<zstd::Decoder<'static, BufReader<Shared>>>,
    line: Vec<u8>,
    last: Option<Key>,
    read: u64,
}

impl SegmentReader {
    pub(super) fn new(segment: &Segment, file: File) -> Result<Self, Error> {
        Self::of(segment, Arc::new(file))
    }

    fn of(segment: &Segment, file: Arc<File>) -> Result<Self, Error> {
        let name = segment.name();
        let decoder = zstd::Decoder::new(Shared::new(file)).and_then(|mut decoder| {
            decoder.window_log_max(LONGEST_WINDOW)?;
            Ok(decoder)
        });
        let decoder = decoder.map_err(|error| unreadable(&name, error))?;
        let lines = BufReader::with_capacity(64 << 10, decoder);
        let segment = segment.clone();
        Ok(Self { name, segment, lines, line: Vec::new(), last: None, read: 0 })
    }

    /// Returns another reader, at the first row.
    pub(super) fn again(&self) -> Result<Self, Error> {
        let shared = self.lines.get_ref().get_ref().get_ref();
        Self::of(&self.segment, Arc::clone(&shared.file))
    }

    /// Returns the size of the line buffer in bytes.
    #[cfg(test)]
    pub(super) fn line_held(&self) -> usize {
        self.line.capacity()
    }

    /// Returns the next row; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Published>, Error> {
        if !self.next_line()? {
            return Ok(None);
        }
        let published = self.published()?;
        self.go_on(published.key.clone())?;
        Ok(Some(published))
    }

    /// Returns the next row whose key is in `keys`, which are in order; `None` after the last of
    /// them or at the end. Of other lines only the key is parsed.
    pub(super) fn next_of(&mut self, keys: &[Key]) -> Result<Option<Published>, Error> {
        while self.next_line()? {
            let key = line::key(&self.line).map_err(|how| self.damaged_line(&how))?;
            if keys.last().is_none_or(|last| key > *last) {
                break;
            }
            let is_asked_for = keys.contains(&key);
            self.go_on(key)?;
            if is_asked_for {
                return self.published().map(Some);
            }
        }
        Ok(None)
    }

    /// Parses the current line.
    fn published(&self) -> Result<Published, Error> {
        let mut published = line::decode(&self.line).map_err(|how| self.damaged_line(&how))?;
        if let Some((row, _)) = published.row.as_mut().filter(|_| self.segment.looked) {
            row.looked = AttributeKinds::ALL;
        }
        if published.sequence > self.segment.sequence {
            return Err(self.damaged_line("it is of a later publication"));
        }
        Ok(published)
    }

    /// Checks that a key is after the previous one.
    fn go_on(&mut self, key: Key) -> Result<(), Error> {
        if self.last.as_ref().is_some_and(|last| *last >= key) {
            return Err(self.damaged_line("its key is out of order"));
        }
        self.last = Some(key);
        Ok(())
    }

    fn damaged_line(&self, how: &str) -> Error {
        damaged(&self.name, format!("line {}: {how}", self.read))
    }

    /// Reads the next line without its line feed; returns false at the end.
    fn next_line(&mut self) -> Result<bool, Error> {
        let damaged = |how: String| damaged(&self.name, how);
        self.line.clear();
        let mut limited = (&mut self.lines).take(LONGEST_LINE as u64 + 1);
        let read = limited.read_until(b'\n', &mut self.line);
        let length = read.map_err(|error| unreadable(&self.name, error))?;
        if length == 0 {
            if self.read != self.segment.lines {
                let (found, said) = (self.read, self.segment.lines);
                return Err(damaged(format!("it has {found} lines, not {said}")));
            }
            return Ok(false);
        }
        self.read += 1;
        if self.line.pop_if(|byte| *byte == b'\n').is_none() {
            return Err(self.damaged_line("it is cut off, or too long"));
        }
        if self.read > self.segment.lines {
            return Err(self.damaged_line("there are more than its head says"));
        }
        Ok(true)
    }
}
