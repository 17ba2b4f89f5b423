//! Fuzz tests: arbitrary files in a target, read as a manifest.

use super::head::{Head, Pointer, Predecessor, Publication, SEGMENTS, Segment};
use super::line;
use super::segment::{LONGEST_LINE, SegmentReader};
use crate::model::Digest;
use crate::model::fuzz::{Input, assert_printable, changed, config, inputs, seeds};
use crate::model::key::is_printable;
use proptest::prelude::*;
use std::io::{self, Read as _, Seek as _, Write as _};

/// More lines than any segment of the corpus has.
const LINES: u64 = 1_000;

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_pointer(Input(bytes) in inputs("pointer")) {
        match Pointer::decode(&bytes) {
            Ok(pointer) => {
                let again = Pointer::decode(&pointer.encode().unwrap()).unwrap();
                prop_assert_eq!(again, pointer);
            }
            Err(error) => assert_printable(&error),
        }
    }

    #[test]
    fn a_head(Input(bytes) in inputs("head")) {
        // An attacker who writes a head can write a matching pointer.
        let sequence = serde_json::from_slice::<serde_json::Value>(&bytes).ok();
        let sequence = sequence.and_then(|head| head["sequence"].as_u64()).unwrap_or(1);
        let known = Predecessor { sequence, blake3: Digest::of(&bytes) };
        match Publication::decode(&bytes, &known) {
            Ok(publication) => {
                let head = &publication.head;
                prop_assert!(head.segments.len() <= SEGMENTS);
                for text in [&head.run.0, &head.source, &head.target] {
                    prop_assert!(is_printable(text));
                }
                let encoded = head.encode().unwrap();
                let blake3 = Digest::of(&encoded);
                let again = Publication::decode(&encoded, &Predecessor { sequence, blake3 });
                let again: Head = again.unwrap().head;
                prop_assert_eq!(&again, head);
            }
            Err(error) => assert_printable(&error),
        }
        let other = Predecessor { sequence, blake3: Digest::of(b"other") };
        prop_assert!(Publication::decode(&bytes, &other).is_err());
    }

    #[test]
    fn a_row(Input(bytes) in inputs("line")) {
        match line::decode(&bytes) {
            Ok(published) => {
                let mut encoded = Vec::new();
                published.encode(&mut encoded).unwrap();
                let end = encoded.iter().position(|&byte| byte == b'\n');
                prop_assert_eq!(end, Some(encoded.len() - 1), "one line");
                prop_assert_eq!(line::decode(&encoded[..encoded.len() - 1]), Ok(published));
            }
            Err(how) => assert_printable(&super::damaged("a segment", how)),
        }
    }

    /// Zstandard's checksums refuse most of these.
    #[test]
    fn a_segment(Input(bytes) in inputs("segment"), lines in lines()) {
        read_segment(&bytes, lines)?;
    }

    #[test]
    fn a_segment_of_any_lines(Input(bytes) in segment_lines(), lines in lines()) {
        read_segment(&zstd::encode_all(&bytes[..], 1).unwrap(), lines)?;
    }
}

/// The number of lines that a head claims: as many as the seeds have, or others.
fn lines() -> impl Strategy<Value = u64> {
    prop_oneof![Just(16_u64), Just(2), 0..LINES]
}

/// Contents of segments.
fn segment_lines() -> impl Strategy<Value = Input> {
    let decoded = |bytes: &Vec<u8>| zstd::decode_all(&bytes[..]).unwrap();
    changed(seeds("segment").iter().map(decoded).collect())
}

fn read_segment(bytes: &[u8], lines: u64) -> Result<(), TestCaseError> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    let (length, blake3) = (bytes.len() as u64, Digest::of(bytes));
    let segment =
        Segment { sequence: 4, lines, bytes: length, blake3, looked: false, tells_more: false };
    let mut reader = match SegmentReader::new(&segment, file) {
        Ok(reader) => reader,
        Err(error) => {
            assert_printable(&error);
            return Ok(());
        }
    };
    let (mut last, mut read) = (None, 0);
    loop {
        match reader.next() {
            Ok(Some(published)) => {
                prop_assert!(published.sequence <= segment.sequence);
                prop_assert!(last.is_none_or(|last| last < published.key), "in order, once each");
                last = Some(published.key);
                read += 1;
                prop_assert!(read <= lines);
            }
            Ok(None) => {
                prop_assert_eq!(read, lines);
                return Ok(());
            }
            Err(error) => {
                assert_printable(&error);
                return Ok(());
            }
        }
    }
}

/// A few hundred bytes that decompress to gigabytes, or require a window of gigabytes.
#[test]
fn what_would_fill_memory_is_refused() {
    let reader = |compressed: &[u8]| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(compressed).unwrap();
        file.rewind().unwrap();
        let (bytes, blake3) = (compressed.len() as u64, Digest::of(compressed));
        SegmentReader::new(
            &Segment { sequence: 1, lines: 1, bytes, blake3, looked: false, tells_more: false },
            file,
        )
        .unwrap()
    };
    let endless = zstd::encode_all(io::repeat(b'a').take(1 << 27), 1).unwrap();
    assert!(endless.len() < 1 << 14);
    let mut reading = reader(&endless);
    let error = reading.next().unwrap_err().to_string();
    assert!(error.contains("too long"), "{error}");
    assert!(reading.line_held() <= 2 * LONGEST_LINE, "{} bytes", reading.line_held());
    let mut wide = zstd::Encoder::new(Vec::new(), 1).unwrap();
    wide.window_log(27).unwrap();
    wide.write_all(&vec![b'a'; 1 << 20]).unwrap();
    let error = reader(&wide.finish().unwrap()).next().unwrap_err().to_string();
    assert!(error.contains("memory"), "{error}");
}
