//! Random inputs for parsers of untrusted data: mutations of the corpus in `fixtures/fuzz/`.
//!
//! A fuzz target is a test that takes [`inputs`] and checks more than that the parser doesn't
//! panic. Each `cargo test` tries [`CASES`] new ones per target, or `PROPTEST_CASES`. A failing
//! input is shrunk and printed: add it to the corpus, which is also tried unchanged.

use super::key::is_printable;
use proptest::prelude::*;
use proptest::sample::Index;
use std::path::{Path, PathBuf};
use std::{fmt, fs};

/// Inputs per target: all of them together take a few seconds.
const CASES: u32 = 4_000;
/// Maximum mutations of one input. A few get further into a parser than many.
const CHANGES: usize = 6;

/// Bytes that break parsers: numbers at their limits, brackets, quotes and escapes, and what would
/// move a terminal's cursor.
const TOKENS: [&[u8]; 44] = [
    b"0",
    b"-1",
    b"1e400",
    b"18446744073709551615",
    b"18446744073709551616",
    b"9223372036854775808",
    b"-9223372036854775809.999999999",
    b"null",
    b"true",
    b"[]",
    b"{}",
    b"\"\"",
    b"\"",
    b"\\",
    b"\\u001b[2J",
    b"\\u0000",
    b"\\ud800",
    b"\x1b[2J",
    b"\n",
    b"\r",
    b"\t",
    b"\0",
    b"\xff",
    b"\xc3",
    b"\xe2\x80\xae",
    b" ",
    b"/",
    b"//",
    b"../",
    b"%",
    b"%00",
    b"%zz",
    b"+",
    b"?",
    b"*",
    b"**",
    b"[",
    b"[!",
    b"{",
    b"!",
    b"#",
    b"&#x1b;",
    b"<![CDATA[",
    b"</",
];

/// One input of a parser.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Input(pub(crate) Vec<u8>);

impl fmt::Debug for Input {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "b\"{}\"", self.0.escape_ascii())
    }
}

/// A mutation of an input.
#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Insert(Index, Index),
    /// Insert a token where a value begins.
    Begin(Index, Index),
    /// Overwrite as many bytes as the token has.
    Write(Index, Index),
    /// Replace a number by a token.
    Number(Index, Index),
    Remove(Index, usize),
    Repeat(Index, usize, usize),
    /// Replace bytes by those of another seed.
    Cross(Index, Index, usize),
    Cut(Index),
}

/// Returns the seeds of a target: each file below `fixtures/fuzz/NAME`; a file that ends in
/// `.lines` has one seed per line.
pub(crate) fn seeds(name: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/fuzz").join(name);
    let entries = fs::read_dir(&directory).expect("the corpus of a target");
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("an entry of the corpus").path()).collect();
    paths.sort();
    let mut seeds = Vec::new();
    for path in paths {
        let content = fs::read(&path).expect("a file of the corpus");
        if path.extension().is_some_and(|extension| extension == "lines") {
            let lines = content.strip_suffix(b"\n").unwrap_or(&content);
            seeds.extend(lines.split(|&byte| byte == b'\n').map(<[u8]>::to_vec));
        } else {
            seeds.push(content);
        }
    }
    assert!(!seeds.is_empty(), "{} has no seeds", directory.display());
    seeds
}

/// Generates seeds of a target, unchanged or mutated.
pub(crate) fn inputs(name: &str) -> impl Strategy<Value = Input> + use<> {
    changed(seeds(name))
}

/// Generates the given seeds, unchanged or mutated.
pub(crate) fn changed(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Input> {
    let index = any::<Index>;
    let change = prop_oneof![
        (index(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (index(), index()).prop_map(|(at, token)| Change::Insert(at, token)),
        (index(), index()).prop_map(|(at, token)| Change::Begin(at, token)),
        (index(), index()).prop_map(|(at, token)| Change::Write(at, token)),
        (index(), index()).prop_map(|(at, token)| Change::Number(at, token)),
        (index(), 1..40_usize).prop_map(|(at, length)| Change::Remove(at, length)),
        (index(), 1..40_usize, 1..200_usize)
            .prop_map(|(at, length, times)| Change::Repeat(at, length, times)),
        (index(), index(), 1..80_usize)
            .prop_map(|(at, other, length)| Change::Cross(at, other, length)),
        index().prop_map(Change::Cut),
    ];
    let changes = prop::collection::vec(change, 0..=CHANGES);
    (index(), changes).prop_map(move |(seed, changes)| {
        let mut bytes = seed.get(&seeds).clone();
        for change in &changes {
            apply(change, &mut bytes, &seeds);
        }
        Input(bytes)
    })
}

fn apply(change: &Change, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let length = bytes.len();
    let at = |at: &Index| at.index(length + 1);
    let upto = |from: usize, many: usize| from..from.saturating_add(many).min(length);
    match change {
        Change::Flip(place, bit) if length > 0 => bytes[place.index(length)] ^= 1 << bit,
        Change::Insert(place, token) => {
            let place = at(place);
            bytes.splice(place..place, token.get(&TOKENS).iter().copied());
        }
        Change::Begin(place, token) => {
            let place = at(place);
            let Some(from) = bytes[place..].iter().position(|byte| b"\"'>/=;&".contains(byte))
            else {
                return;
            };
            let place = place + from + 1;
            bytes.splice(place..place, token.get(&TOKENS).iter().copied());
        }
        Change::Write(place, token) => {
            let (place, token) = (at(place), token.get(&TOKENS));
            bytes.splice(upto(place, token.len()), token.iter().copied());
        }
        Change::Number(place, token) => {
            let place = at(place);
            let Some(from) = bytes[place..].iter().position(u8::is_ascii_digit) else { return };
            let from = place + from;
            let digits = bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            bytes.splice(from..from + digits, token.get(&TOKENS).iter().copied());
        }
        Change::Remove(place, many) => drop(bytes.drain(upto(at(place), *many))),
        Change::Repeat(place, many, times) => {
            let range = upto(at(place), *many);
            let repeated = bytes[range.clone()].repeat(*times);
            bytes.splice(range.end..range.end, repeated);
        }
        Change::Cross(place, other, many) => {
            let (place, seed) = (at(place), other.get(seeds));
            let from = other.index(seed.len() + 1);
            let end = from.saturating_add(*many).min(seed.len());
            bytes.splice(upto(place, *many), seed[from..end].iter().copied());
        }
        Change::Cut(place) => bytes.truncate(at(place)),
        Change::Flip(..) => {}
    }
}

/// Returns the number of cases per target.
pub(crate) fn config() -> ProptestConfig {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let is_set = std::env::var_os("PROPTEST_CASES").is_some();
    if is_set { config } else { ProptestConfig { cases: CASES, ..config } }
}

/// Asserts that an error about untrusted data prints without control characters.
#[track_caller]
pub(crate) fn assert_printable(error: &dyn std::error::Error) {
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        assert!(is_printable(&text), "{text:?}");
        next = error.source();
    }
}
