//! A stream that is read until it ends or the run is stopped, even while a terminal or pipe
//! delivers nothing.

use crate::model::Stop;
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use std::io::{self, Read};
use std::time::Duration;

/// Bytes of the stream in one chunk.
const CHUNK: usize = 1 << 20;
/// Chunks read ahead.
const CHUNKS_AHEAD: usize = 2;
/// How often the stop flag is checked while nothing arrives.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// A stream being read by a thread of its own, which stays blocked if the stream is abandoned.
pub(super) struct Input<'s> {
    chunks: Receiver<io::Result<Vec<u8>>>,
    stop: &'s Stop,
    /// Received bytes that were not read yet.
    rest: io::Cursor<Vec<u8>>,
}

impl<'s> Input<'s> {
    /// Starts reading.
    ///
    /// # Errors
    /// Fails if the system can't start a thread.
    pub(super) fn new(mut stream: Box<dyn Read + Send>, stop: &'s Stop) -> io::Result<Self> {
        let (sender, chunks) = bounded(CHUNKS_AHEAD);
        std::thread::Builder::new().name("input".into()).spawn(move || {
            loop {
                let mut chunk = Vec::with_capacity(CHUNK);
                let read = (&mut stream).take(CHUNK as u64).read_to_end(&mut chunk);
                let is_last = chunk.is_empty() || read.is_err();
                if sender.send(read.map(|_| chunk)).is_err() || is_last {
                    return;
                }
            }
        })?;
        Ok(Self { chunks, stop, rest: io::Cursor::default() })
    }

    /// Returns the next bytes; `None` at the end of the stream.
    ///
    /// # Errors
    /// Fails if the stream does, or if the run is stopped.
    pub(super) fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if self.stop.requested() {
                return Err(io::Error::other("stopped"));
            }
            return match self.chunks.recv_timeout(CHECK_INTERVAL) {
                Ok(chunk) => chunk.map(|chunk| Some(chunk).filter(|chunk| !chunk.is_empty())),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => {
                    Err(io::Error::other("the thread that reads the input stopped unexpectedly"))
                }
            };
        }
    }
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.rest.read(buffer)?;
        if read > 0 || buffer.is_empty() {
            return Ok(read);
        }
        match self.chunk()? {
            Some(chunk) => self.rest = io::Cursor::new(chunk),
            None => return Ok(0),
        }
        self.rest.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_read_completely_in_chunks_or_bytes() {
        let content: Vec<u8> = (0..CHUNK * 2 + 5).map(|at| at as u8).collect();
        let stop = Stop::default();
        let stream = || Box::new(io::Cursor::new(content.clone()));
        let mut all = Vec::new();
        Input::new(stream(), &stop).unwrap().read_to_end(&mut all).unwrap();
        assert!(all == content);
        let mut input = Input::new(stream(), &stop).unwrap();
        let lengths: Vec<_> =
            std::iter::from_fn(|| input.chunk().unwrap()).map(|chunk| chunk.len()).collect();
        assert_eq!(lengths, [CHUNK, CHUNK, 5]);
    }

    #[test]
    fn a_stream_without_data_is_abandoned_when_stopped() {
        let (reader, _writer) = io::pipe().unwrap();
        let stop = Stop::default();
        let mut input = Input::new(Box::new(reader), &stop).unwrap();
        let requester = stop.clone();
        let asking = std::thread::spawn(move || {
            std::thread::sleep(CHECK_INTERVAL * 2);
            requester.request();
        });
        assert!(input.read(&mut [0; 10]).is_err());
        asking.join().unwrap();
    }
}
