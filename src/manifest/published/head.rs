//! The head of a published manifest, and what points to it.

use super::damaged;
use crate::manifest::{RecordedOptions, SourceNumber};
use crate::model::key::is_printable;
use crate::model::{Digest, Error, ErrorKind, RunId, Timestamp, Totals, Verdict};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// The format's version that this code reads and writes.
const VERSION: u64 = 1;

/// The most segments of a manifest: a reader holds one window of each.
pub(super) const SEGMENTS: usize = 32;

/// The run that publishes.
pub struct Publishing {
    /// Its id.
    pub run: RunId,
    /// When it began.
    pub started: Timestamp,
    /// What time it is.
    pub now: Timestamp,
    /// How it went.
    pub verdict: Verdict,
    /// What it was asked.
    pub options: RecordedOptions,
    /// What it counted.
    pub totals: Totals,
}

/// What a publication is: which segments the manifest is made of, what run published it, and which
/// publication came before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// The format's version.
    #[serde(rename = "vidimus_manifest")]
    version: u64,
    /// Its number: the first is 1, each goes on by one.
    pub sequence: u64,
    /// The publication before it, if there was one.
    pub previous: Option<Predecessor>,
    /// The publication that came before it and could not be used any more (it was damaged, or gone),
    /// where the chain begins anew with this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Predecessor>,
    /// The run that published it.
    pub run: RunId,
    /// When that run began.
    pub started: Timestamp,
    /// When it was published.
    pub published: Timestamp,
    /// How the run went.
    pub verdict: Verdict,
    /// The source of that run, as the state names it.
    pub source: String,
    /// The target, as the state named it on the machine that published it.
    pub target: String,
    /// What the run was asked; where that was about a single file, what the latest one of a whole
    /// tree was.
    pub options: RecordedOptions,
    /// What the run counted.
    pub totals: Totals,
    /// The sources that rows are from, by their numbers; empty where the first is the only one.
    /// [`Head::sources`] tells of that too.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "sources")]
    pub(super) listed: Vec<RecordedSource>,
    /// Rows that the manifest has.
    pub rows: u64,
    /// What it is made of, the base first: of a key that several have, the last one counts.
    pub segments: Vec<Segment>,
}

/// A source that rows are from, and its latest run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedSource {
    /// What rows name it by.
    pub number: SourceNumber,
    /// It, as the state names it.
    pub source: String,
    /// Its latest run.
    pub run: RunId,
    /// When that began.
    pub started: Timestamp,
    /// How it went, if it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// What it was asked.
    pub options: RecordedOptions,
}

/// A publication by number and digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Predecessor {
    /// Its number.
    pub sequence: u64,
    /// The digest of its head, as it is written.
    pub blake3: Digest,
}

/// A file of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The publication that wrote it; its name follows from that.
    pub sequence: u64,
    /// How many lines it has.
    pub lines: u64,
    /// Its size in bytes, compressed.
    pub bytes: u64,
    /// The digest of these bytes.
    pub blake3: Digest,
}

/// What says which head counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    #[serde(rename = "vidimus_manifest")]
    version: u64,
    /// The head.
    pub head: Predecessor,
    /// Whether it was signed when this was written. That tells a run that doesn't sign what it
    /// replaces, at no cost; no one else heeds it, for nobody vouches for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub signed: bool,
}

/// A head, and the digest of how it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Publication {
    /// The head.
    pub head: Head,
    /// The digest of its file.
    pub digest: Digest,
}

impl Segment {
    /// The name of the file.
    pub fn name(&self) -> String {
        segment_name(self.sequence)
    }
}

/// The name of the segment that a publication writes.
pub(super) fn segment_name(sequence: u64) -> String {
    format!("{sequence:08}.ndjson.zst")
}

/// The name of a publication's head.
pub(super) fn head_name(sequence: u64) -> String {
    format!("{sequence:08}.json")
}

/// The number of the publication whose head has a name, where one has.
pub(super) fn head_number(name: &[u8]) -> Option<u64> {
    let name = std::str::from_utf8(name).ok()?;
    let number = name.strip_suffix(".json")?.parse().ok()?;
    (head_name(number) == name).then_some(number)
}

/// The name of the signature of a publication's head.
pub(super) fn signature_name(sequence: u64) -> String {
    format!("{sequence:08}.json.minisig")
}

/// Whether a file's name is that of a head, of its signature or of a segment.
pub(super) fn is_numbered(name: &[u8]) -> bool {
    let number = [&b".json"[..], b".json.minisig", b".ndjson.zst"]
        .into_iter()
        .find_map(|suffix| name.strip_suffix(suffix));
    number.is_some_and(|number| number.len() >= 8 && number.iter().all(u8::is_ascii_digit))
}

impl Head {
    /// Makes the head of what is published of a source and its target; `sequence`, `rows` and
    /// `segments` are the publisher's to set.
    pub(super) fn of(publishing: Publishing, source: &str, target: &str) -> Self {
        let Publishing { run, started, now: published, verdict, options, totals } = publishing;
        Self {
            version: VERSION,
            sequence: 0,
            previous: None,
            lost: None,
            run,
            started,
            published,
            verdict,
            source: source.to_owned(),
            target: target.to_owned(),
            options,
            totals,
            listed: Vec::new(),
            rows: 0,
            segments: Vec::new(),
        }
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, Error> {
        encode(self)
    }

    /// The sources that rows are from, by their numbers, and the latest run from each.
    pub fn sources(&self) -> Vec<RecordedSource> {
        if !self.listed.is_empty() {
            return self.listed.clone();
        }
        vec![RecordedSource {
            number: SourceNumber::FIRST,
            source: self.source.clone(),
            run: self.run.clone(),
            started: self.started,
            verdict: Some(self.verdict),
            options: self.options.clone(),
        }]
    }

    /// Whether rows are from a source of this number.
    pub(super) fn has_source(&self, number: SourceNumber) -> bool {
        match &*self.listed {
            [] => number == SourceNumber::FIRST,
            listed => listed.binary_search_by_key(&number, |source| source.number).is_ok(),
        }
    }

    /// What is wrong with the list of sources, if anything is.
    fn has_wrong_sources(&self) -> bool {
        let listed = &self.listed;
        let names: HashSet<_> = listed.iter().map(|source| &source.source).collect();
        let runs: HashSet<_> = listed.iter().map(|source| &source.run).collect();
        listed.first().is_some_and(|first| first.number < SourceNumber::FIRST)
            || !listed.is_sorted_by(|one, next| one.number < next.number)
            || names.len() < listed.len()
            || runs.len() < listed.len()
            || !listed.is_empty() && !runs.contains(&self.run)
    }
}

impl Pointer {
    pub(super) fn to(head: Predecessor, signed: bool) -> Self {
        Self { version: VERSION, head, signed }
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, Error> {
        encode(self)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        decode("latest.json", bytes)
    }
}

impl Publication {
    /// Reads a head that is known by number and digest.
    pub(super) fn decode(bytes: &[u8], known: &Predecessor) -> Result<Self, Error> {
        let name = head_name(known.sequence);
        let digest = Digest::of(bytes);
        if digest != known.blake3 {
            let how = format!("its BLAKE3 is {digest}, not {}", known.blake3);
            return Err(damaged(&name, how));
        }
        let head: Head = decode(&name, bytes)?;
        if head.sequence != known.sequence {
            return Err(damaged(&name, format!("it says that it is {}", head.sequence)));
        }
        let mut sequences = head.segments.iter().map(|segment| segment.sequence);
        if !sequences.clone().is_sorted_by(|one, next| one < next)
            || sequences.next_back().is_none_or(|last| last > head.sequence)
        {
            return Err(damaged(&name, "its segments are in disorder"));
        }
        if head.segments.len() > SEGMENTS {
            return Err(damaged(&name, format!("it has {} segments", head.segments.len())));
        }
        if head.has_wrong_sources() {
            return Err(damaged(&name, "its sources are in disorder"));
        }
        let listed = head.listed.iter().flat_map(|source| [&source.run.0, &source.source]);
        let texts = [&head.run.0, &head.source, &head.target].into_iter().chain(listed);
        if !{ texts }.all(|text| is_printable(text)) {
            return Err(damaged(&name, "a name in it has control characters"));
        }
        Ok(Self { head, digest })
    }

    /// Whether it was to stand where another one does, which did not come after it.
    pub(super) fn is_replaced_by(&self, other: &Self) -> bool {
        self.head.sequence >= other.head.sequence && self.digest != other.digest
    }

    /// How its successor names it.
    pub fn as_predecessor(&self) -> Predecessor {
        Predecessor { sequence: self.head.sequence, blake3: self.digest }
    }
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| {
        Error::new(ErrorKind::Manifest, "cannot encode the manifest's head").because(error)
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads a file, whose version is asked for before anything else.
fn decode<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, Error> {
    #[derive(Deserialize)]
    struct Version {
        vidimus_manifest: u64,
    }
    let broken = |error: serde_json::Error| damaged(name, error);
    let Version { vidimus_manifest: version } = serde_json::from_slice(bytes).map_err(broken)?;
    if version > VERSION {
        let message = format!(
            "the published manifest has format version {version}; this vidimus knows versions up \
             to {VERSION}"
        );
        return Err(Error::new(ErrorKind::Newer, message).help("use the newer vidimus"));
    }
    if version != VERSION {
        return Err(damaged(name, format!("it has the unknown version {version}")));
    }
    serde_json::from_slice(bytes).map_err(broken)
}
