//! Queues and sorts byte records in bounded memory; what doesn't fit goes to disk.
//!
//! [`Spool`] returns records in the order they were pushed, [`Sorter`] in byte order. Neither
//! allocates before its first record or touches the disk while its records fit in memory. The rest
//! goes to an unlinked file: it has no name, only this process can reach it, and it disappears with the
//! process, however that ends. On disk a record is its length as `u32` (little-endian) and its
//! bytes; no other process ever reads the format.

use std::fs::{DirBuilder, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::Path;
use std::sync::Arc;
use tempfile::tempfile_in;

/// Bytes per read and write: larger ones gain nothing on page-cached files.
const CHUNK: usize = 64 << 10;
/// Fewest bytes that a merge reads of one run at a time.
const SMALLEST_CHUNK: usize = 16 << 10;
/// Most runs that are merged at once, so that a merge buffers at most 64 × 64 KiB.
const FAN_IN: usize = 64;

/// A first-in, first-out queue of records: in memory up to a bound, the rest on disk.
#[derive(Debug)]
pub struct Spool {
    dir: Arc<Path>,
    memory: usize,
    /// Records not yet written to the file, in the encoding of the file.
    tail: Vec<u8>,
    file: Option<Scratch>,
    records: u64,
}

impl Spool {
    /// Makes a spool that keeps up to `memory` bytes (4 more a record) before it creates a file in
    /// `dir`, which is created if missing. Passing an `Arc<Path>` as `dir` avoids a copy.
    pub fn new(dir: impl Into<Arc<Path>>, memory: usize) -> Self {
        Self { dir: dir.into(), memory, tail: Vec::new(), file: None, records: 0 }
    }

    /// Appends a record.
    ///
    /// # Errors
    /// Fails if the file can't be created or written, or for a record of 4 GiB or more.
    pub fn push(&mut self, record: &[u8]) -> io::Result<()> {
        let length = length_of(record)?;
        let bound = if self.file.is_some() { CHUNK } else { self.memory };
        if !self.tail.is_empty() && self.tail.len() + 4 + record.len() > bound {
            self.spill()?;
        }
        self.tail.extend_from_slice(&length.to_le_bytes());
        self.tail.extend_from_slice(record);
        self.records += 1;
        Ok(())
    }

    /// Returns whether no record was pushed.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Ends writing and returns a reader of the records.
    ///
    /// # Errors
    /// Fails if the file can't be written.
    pub fn into_reader(mut self) -> io::Result<SpoolReader> {
        if self.file.is_some() && !self.tail.is_empty() {
            self.spill()?;
            self.tail = Vec::new();
        }
        let run = self.file.map(|scratch| {
            let end = scratch.length;
            Run::new(Arc::new(scratch.file), 0..end, CHUNK)
        });
        Ok(SpoolReader { run, memory: self.tail, offset: 0 })
    }

    fn spill(&mut self) -> io::Result<()> {
        let scratch = match &mut self.file {
            Some(scratch) => scratch,
            empty => empty.insert(Scratch::create(&self.dir)?),
        };
        scratch.append(&self.tail)?;
        self.tail.clear();
        self.tail.shrink_to(CHUNK);
        Ok(())
    }
}

/// Reads the records of a [`Spool`] in order.
#[derive(Debug)]
pub struct SpoolReader {
    run: Option<Run>,
    /// The encoded records of a spool that has no file.
    memory: Vec<u8>,
    offset: usize,
}

impl SpoolReader {
    /// Returns the next record; `None` after the last.
    ///
    /// # Errors
    /// Fails if the file can't be read.
    #[expect(clippy::should_implement_trait, reason = "an iterator can't lend its buffer")]
    pub fn next(&mut self) -> io::Result<Option<&[u8]>> {
        if let Some(run) = &mut self.run {
            return Ok(if run.advance()? { Some(run.current()) } else { None });
        }
        let Some((prefix, rest)) = self.memory[self.offset..].split_first_chunk() else {
            return Ok(None);
        };
        let record = &rest[..u32::from_le_bytes(*prefix) as usize];
        self.offset += 4 + record.len();
        Ok(Some(record))
    }
}

/// Sorts records in byte order: in memory while they fit, else by merging sorted runs from disk.
///
/// Equal records are all kept.
#[derive(Debug)]
pub struct Sorter {
    dir: Arc<Path>,
    memory: usize,
    batch: Batch,
    /// The runs written so far, in one file.
    spilled: Option<(Scratch, Vec<Range<u64>>)>,
    records: u64,
}

impl Sorter {
    /// Makes a sorter that keeps up to `memory` bytes (records, and 8 bytes for each; a single
    /// record may be larger) before it creates a file in `dir`, which is created if missing.
    /// Passing an `Arc<Path>` as `dir` avoids a copy.
    pub fn new(dir: impl Into<Arc<Path>>, memory: usize) -> Self {
        let batch = Batch::default();
        Self { dir: dir.into(), memory, batch, spilled: None, records: 0 }
    }

    /// Adds a record.
    ///
    /// # Errors
    /// Fails if the file can't be created or written, or for a record of 4 GiB or more.
    pub fn push(&mut self, record: &[u8]) -> io::Result<()> {
        let length = length_of(record)?;
        let bound = self.memory.min(u32::MAX as usize);
        if !self.batch.index.is_empty()
            && self.batch.used() + record.len() + size_of::<Span>() > bound
        {
            self.spill()?;
        }
        self.batch.push(record, length);
        self.records += 1;
        Ok(())
    }

    /// Sorts the pushed records.
    ///
    /// # Errors
    /// Fails if the file can't be written or read.
    pub fn finish(mut self) -> io::Result<Sorted> {
        if self.spilled.is_some() && !self.batch.index.is_empty() {
            self.spill()?;
        }
        let from = match self.spilled {
            None => {
                self.batch.sort();
                From::Memory { batch: self.batch, next: 0 }
            }
            Some((scratch, runs)) => {
                drop(self.batch);
                From::Disk(Merge::reduced(scratch, runs, &self.dir, self.memory)?)
            }
        };
        Ok(Sorted { dir: self.dir, remaining: self.records, from })
    }

    /// Sorts the records in memory and writes them as one run.
    fn spill(&mut self) -> io::Result<()> {
        self.batch.sort();
        let (scratch, runs) = match &mut self.spilled {
            Some(spilled) => spilled,
            empty => empty.insert((Scratch::create(&self.dir)?, Vec::new())),
        };
        runs.push(self.batch.write(0, scratch)?);
        self.batch.clear(self.memory);
        Ok(())
    }
}

/// The records of a [`Sorter`] in byte order.
///
/// Keeps one file open once records are on disk.
#[derive(Debug)]
pub struct Sorted {
    dir: Arc<Path>,
    remaining: u64,
    from: From,
}

#[derive(Debug)]
enum From {
    Memory { batch: Batch, next: usize },
    Disk(Merge),
}

impl Sorted {
    /// Returns the next record; `None` after the last.
    ///
    /// # Errors
    /// Fails if the file can't be read.
    #[expect(clippy::should_implement_trait, reason = "an iterator can't lend its buffer")]
    pub fn next(&mut self) -> io::Result<Option<&[u8]>> {
        if self.remaining == 0 {
            return Ok(None);
        }
        let record = match &mut self.from {
            From::Memory { batch, next } => {
                let record = batch.get(*next);
                *next += 1;
                record
            }
            From::Disk(merge) => merge.next()?.ok_or_else(shortened)?,
        };
        self.remaining -= 1;
        Ok(Some(record))
    }

    /// Returns the number of records left.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Returns the bytes of memory in use.
    pub fn memory_bytes(&self) -> usize {
        match &self.from {
            From::Memory { batch, .. } => {
                batch.arena.capacity() + batch.index.capacity() * size_of::<Span>()
            }
            From::Disk(merge) => merge.runs.iter().map(|run| run.buffer.capacity()).sum(),
        }
    }

    /// Moves the remaining records to disk and frees the read buffers. The next record that is read
    /// allocates buffers again.
    ///
    /// # Errors
    /// Fails if the file can't be created or written; no record is lost then.
    pub fn spill(&mut self) -> io::Result<()> {
        match &mut self.from {
            From::Disk(merge) => merge.release(),
            From::Memory { batch, .. } if self.remaining == 0 => *batch = Batch::default(),
            From::Memory { batch, next } => {
                let mut scratch = Scratch::create(&self.dir)?;
                let run = batch.write(*next, &mut scratch)?;
                let file = Arc::new(scratch.file);
                self.from = From::Disk(Merge::new(&file, &[run], SMALLEST_CHUNK));
            }
        }
        Ok(())
    }
}

/// The position of a record in a batch's arena.
#[derive(Clone, Copy, Debug)]
struct Span {
    offset: u32,
    length: u32,
}

/// Records in memory: their bytes end to end, and the position of each.
#[derive(Debug, Default)]
struct Batch {
    arena: Vec<u8>,
    index: Vec<Span>,
}

impl Batch {
    fn used(&self) -> usize {
        self.arena.len() + self.index.len() * size_of::<Span>()
    }

    /// Adds a record. The caller keeps the arena below 4 GiB, unless it holds a single record.
    fn push(&mut self, record: &[u8], length: u32) {
        let offset = self.arena.len() as u32;
        self.arena.extend_from_slice(record);
        self.index.push(Span { offset, length });
    }

    fn get(&self, at: usize) -> &[u8] {
        slice(&self.arena, self.index[at])
    }

    fn sort(&mut self) {
        let arena = &self.arena;
        self.index.sort_unstable_by(|a, b| slice(arena, *a).cmp(slice(arena, *b)));
    }

    /// Appends the records from number `first` on to `scratch`, in the order of the index.
    fn write(&self, first: usize, scratch: &mut Scratch) -> io::Result<Range<u64>> {
        let spans = &self.index[first..];
        let bytes: usize = spans.iter().map(|span| span.length as usize + 4).sum();
        let mut writer = RunWriter::new(scratch, bytes);
        spans.iter().try_for_each(|&span| writer.push(slice(&self.arena, span)))?;
        writer.finish()
    }

    /// Removes all records and keeps at most `memory` bytes allocated for the next ones.
    fn clear(&mut self, memory: usize) {
        self.index.clear();
        self.arena.clear();
        self.arena.shrink_to(memory);
    }
}

fn slice(arena: &[u8], span: Span) -> &[u8] {
    let start = span.offset as usize;
    &arena[start..start + span.length as usize]
}

/// Merges sorted runs with a binary heap of those that have records left, least record first.
#[derive(Debug)]
struct Merge {
    runs: Vec<Run>,
    /// Indices into `runs`, ordered as a heap by their current record; empty while nothing is
    /// loaded.
    heap: Vec<usize>,
    is_loaded: bool,
}

impl Merge {
    fn new(file: &Arc<File>, runs: &[Range<u64>], chunk: usize) -> Self {
        let runs = runs.iter().map(|run| Run::new(Arc::clone(file), run.clone(), chunk)).collect();
        Self { runs, heap: Vec::new(), is_loaded: false }
    }

    /// Merges in passes, each from one file to the next, until at most [`FAN_IN`] runs are left.
    fn reduced(
        mut scratch: Scratch,
        mut runs: Vec<Range<u64>>,
        dir: &Path,
        memory: usize,
    ) -> io::Result<Self> {
        while runs.len() > FAN_IN {
            let file = Arc::new(scratch.file);
            scratch = Scratch::create(dir)?;
            let mut merged = Vec::with_capacity(runs.len().div_ceil(FAN_IN));
            for group in runs.chunks(FAN_IN) {
                let mut merge = Self::new(&file, group, chunk_for(memory, group.len()));
                let mut writer = RunWriter::new(&mut scratch, usize::MAX);
                while let Some(record) = merge.next()? {
                    writer.push(record)?;
                }
                merged.push(writer.finish()?);
            }
            runs = merged;
        }
        let chunk = chunk_for(memory, runs.len());
        Ok(Self::new(&Arc::new(scratch.file), &runs, chunk))
    }

    fn next(&mut self) -> io::Result<Option<&[u8]>> {
        if self.is_loaded {
            // The last returned record is still at the top: advance its run.
            if let Some(&top) = self.heap.first() {
                if !self.runs[top].advance()? {
                    self.heap.swap_remove(0);
                }
                self.sift_down(0);
            }
        } else {
            self.load()?;
        }
        Ok(self.heap.first().map(|&top| self.runs[top].current()))
    }

    fn load(&mut self) -> io::Result<()> {
        self.heap.clear();
        for (number, run) in self.runs.iter_mut().enumerate() {
            if run.advance()? {
                self.heap.push(number);
            }
        }
        for at in (0..self.heap.len() / 2).rev() {
            self.sift_down(at);
        }
        self.is_loaded = true;
        Ok(())
    }

    fn sift_down(&mut self, mut at: usize) {
        loop {
            let mut least = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.heap.len() && self.record(child) < self.record(least) {
                    least = child;
                }
            }
            if least == at {
                return;
            }
            self.heap.swap(at, least);
            at = least;
        }
    }

    fn record(&self, at: usize) -> &[u8] {
        self.runs[self.heap[at]].current()
    }

    /// Frees the buffers; records that were read ahead are read again later.
    fn release(&mut self) {
        for (number, run) in self.runs.iter_mut().enumerate() {
            // The current record of the heap's first run was returned already; runs outside the
            // heap are exhausted.
            let returned = !self.heap.iter().skip(1).any(|&other| other == number);
            run.release(returned);
        }
        self.heap.clear();
        self.is_loaded = false;
    }
}

fn chunk_for(memory: usize, runs: usize) -> usize {
    (memory / runs.max(1)).clamp(SMALLEST_CHUNK, CHUNK)
}

/// Reads one run of records from a file.
#[derive(Debug)]
struct Run {
    file: Arc<File>,
    /// The range of the file that is not yet in the buffer.
    unread: Range<u64>,
    chunk: usize,
    buffer: Vec<u8>,
    /// The range of the buffer that holds the current record, without its length prefix. What
    /// follows is read ahead.
    current: Range<usize>,
    filled: usize,
}

impl Run {
    fn new(file: Arc<File>, unread: Range<u64>, chunk: usize) -> Self {
        Self { file, unread, chunk, buffer: Vec::new(), current: 0..0, filled: 0 }
    }

    fn current(&self) -> &[u8] {
        &self.buffer[self.current.clone()]
    }

    /// Advances to the next record; returns false after the last.
    fn advance(&mut self) -> io::Result<bool> {
        self.current.start = self.current.end;
        if self.current.end == self.filled && self.unread.is_empty() {
            return Ok(false);
        }
        self.fill(4)?;
        let start = self.current.end;
        let prefix = self.buffer[start..].first_chunk().ok_or_else(shortened)?;
        let length = u32::from_le_bytes(*prefix) as usize;
        self.fill(4 + length)?;
        let start = self.current.end + 4;
        self.current = start..start + length;
        Ok(true)
    }

    /// Reads until the buffer holds `needed` bytes after the current record. If it must read, it
    /// first moves those bytes to the start of the buffer.
    fn fill(&mut self, needed: usize) -> io::Result<()> {
        let buffered = self.filled - self.current.end;
        if buffered >= needed {
            return Ok(());
        }
        self.buffer.copy_within(self.current.end..self.filled, 0);
        self.filled = buffered;
        self.current = 0..0;
        self.buffer.resize(self.chunk.max(needed), 0);
        if needed <= self.chunk {
            // The buffer may still have the size of an earlier huge record.
            self.buffer.shrink_to(self.chunk);
        }
        while self.filled < needed {
            let left = usize::try_from(self.unread.end - self.unread.start).unwrap_or(usize::MAX);
            let room = (self.buffer.len() - self.filled).min(left);
            let into = &mut self.buffer[self.filled..self.filled + room];
            match self.file.read_at(into, self.unread.start) {
                Ok(0) => return Err(shortened()),
                Ok(count) => {
                    self.filled += count;
                    self.unread.start += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Frees the buffer. The next read begins with the current record if that was not `returned`
    /// yet, else with the record after it.
    fn release(&mut self, returned: bool) {
        let next = if returned { self.current.end } else { self.current.start - 4 };
        let ahead = self.filled - next;
        self.unread.start -= ahead as u64;
        self.buffer = Vec::new();
        self.current = 0..0;
        self.filled = 0;
    }
}

/// Appends one run to a file.
struct RunWriter<'a> {
    scratch: &'a mut Scratch,
    start: u64,
    buffer: Vec<u8>,
}

impl<'a> RunWriter<'a> {
    /// Begins a run of about `bytes` bytes.
    fn new(scratch: &'a mut Scratch, bytes: usize) -> Self {
        let start = scratch.length;
        Self { scratch, start, buffer: Vec::with_capacity(bytes.min(CHUNK)) }
    }

    fn push(&mut self, record: &[u8]) -> io::Result<()> {
        let length = length_of(record)?;
        if self.buffer.len() + 4 + record.len() > CHUNK {
            self.flush()?;
        }
        self.buffer.extend_from_slice(&length.to_le_bytes());
        if record.len() < CHUNK {
            self.buffer.extend_from_slice(record);
            return Ok(());
        }
        self.flush()?;
        self.scratch.append(record)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.scratch.append(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<Range<u64>> {
        self.flush()?;
        Ok(self.start..self.scratch.length)
    }
}

/// A file without a name, and its length.
#[derive(Debug)]
struct Scratch {
    file: File,
    length: u64,
}

impl Scratch {
    /// Creates a scratch file in `dir`, which is created if missing, for the owner alone.
    fn create(dir: &Path) -> io::Result<Self> {
        let file = match tempfile_in(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
                tempfile_in(dir)?
            }
            other => other?,
        };
        Ok(Self { file, length: 0 })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.length)?;
        self.length += bytes.len() as u64;
        Ok(())
    }
}

/// Appends a key in an encoding that sorts as keys do, whatever follows it in the record: a 0 byte
/// is written as 0 255, and 0 0 ends the key.
pub fn push_key(out: &mut Vec<u8>, key: &[u8]) {
    for &byte in key {
        out.push(byte);
        if byte == 0 {
            out.push(255);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

/// Splits a record into the key that [`push_key`] wrote and the rest; returns `None` for any other
/// bytes.
pub fn split_key(record: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (mut key, mut rest) = (Vec::with_capacity(record.len()), record);
    loop {
        let (&byte, tail) = rest.split_first()?;
        rest = tail;
        if byte == 0 {
            let (&mark, tail) = rest.split_first()?;
            rest = tail;
            if mark == 0 {
                return Some((key, rest));
            }
        }
        key.push(byte);
    }
}

fn length_of(record: &[u8]) -> io::Result<u32> {
    u32::try_from(record.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a record of 4 GiB or more"))
}

fn shortened() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "a spool file is shorter than what was written")
}

#[cfg(test)]
mod tests;
