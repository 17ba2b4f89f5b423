//! The head of a published manifest, and the pointer to it.

use super::damaged;
use crate::manifest::{RecordedOptions, SourceNumber};
use crate::model::key::is_printable;
use crate::model::mapping::RecordedNames;
use crate::model::{Digest, Error, ErrorKind, RunId, Timestamp, Totals, Verdict};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};

/// The format's first version, which is written wherever nothing needs a later one.
const FIRST_VERSION: u64 = 1;
/// The format's last version that this code reads and writes: its lines have names and kinds that a
/// reader of the first must not pass over ([`Published::needs_version_2`]).
///
/// [`Published::needs_version_2`]: super::Published::needs_version_2
const VERSION: u64 = 2;

/// Most segments of a manifest: a reader has one window in memory for each.
pub(super) const SEGMENTS: usize = 32;

/// The run that publishes.
pub struct Publishing {
    /// The run's id.
    pub run: RunId,
    /// When the run began.
    pub started: Timestamp,
    /// The current time.
    pub now: Timestamp,
    /// The verdict of the run.
    pub verdict: Verdict,
    /// The options of the run.
    pub options: RecordedOptions,
    /// The totals of the run.
    pub totals: Totals,
}

/// Describes a publication: the segments of the manifest, the run that published it, and the
/// previous publication.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// The format's version.
    #[serde(rename = "vidimus_manifest")]
    version: u64,
    /// The number: the first publication is 1, each further one is one higher.
    pub sequence: u64,
    /// The previous publication, if there was one.
    pub previous: Option<Predecessor>,
    /// The previous publication, if it was unusable (damaged or missing), so that a new chain
    /// begins here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Predecessor>,
    /// The run that published it.
    pub run: RunId,
    /// When that run began.
    pub started: Timestamp,
    /// When it was published.
    pub published: Timestamp,
    /// The verdict of the run.
    pub verdict: Verdict,
    /// The source of that run, as named in the state.
    pub source: String,
    /// The target, as named in the state of the publishing machine.
    pub target: String,
    /// The options of the run, or if that was for a single file, of the latest run for a whole
    /// tree.
    pub options: RecordedOptions,
    /// The totals of the run.
    pub totals: Totals,
    /// The sources of rows, by number; empty if the first is the only one, which [`Head::sources`]
    /// includes, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "sources")]
    pub(super) listed: Vec<RecordedSource>,
    /// The names of users whose ids rows have, on the machines that wrote these; not all of them,
    /// if there are many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<RecordedName>,
    /// The names of groups likewise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<RecordedName>,
    /// The number of rows in the manifest.
    pub rows: u64,
    /// The segments, the base first. If several contain a key, the last one wins.
    pub segments: Vec<Segment>,
}

/// The name of a user or group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedName {
    /// The number.
    pub id: u32,
    /// The name that it had on a machine that published.
    pub name: String,
}

/// A source of rows, and its latest run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedSource {
    /// The number by which rows refer to it.
    pub number: SourceNumber,
    /// The source, as named in the state.
    pub source: String,
    /// Its latest run.
    pub run: RunId,
    /// When that run began.
    pub started: Timestamp,
    /// The verdict of that run, if it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The options of that run.
    pub options: RecordedOptions,
}

/// A publication by number and digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Predecessor {
    /// The number.
    pub sequence: u64,
    /// The digest of its head file.
    pub blake3: Digest,
}

/// A file of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The publication that wrote it, from which its name follows.
    pub sequence: u64,
    /// The number of lines.
    pub lines: u64,
    /// The compressed size in bytes.
    pub bytes: u64,
    /// The digest of these bytes.
    pub blake3: Digest,
    /// Whether extended attributes and ACLs of all its entries were looked for: without a digest of
    /// them there are none. A program that doesn't know this leaves it out, so that a later one
    /// looks once more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub looked: bool,
    /// Whether a line tells of an entry what the target doesn't have: attributes, or the metadata that
    /// was meant.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tells_more: bool,
}

/// The pointer to the current head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    #[serde(rename = "vidimus_manifest")]
    version: u64,
    /// The head.
    pub head: Predecessor,
    /// Whether the publication was signed when this was written. It cheaply tells a run that
    /// doesn't sign what it replaces. Nothing else may rely on it, because the pointer isn't
    /// authenticated.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub signed: bool,
}

/// A head and the digest of its file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Publication {
    /// The head.
    pub head: Head,
    /// The digest of its file.
    pub digest: Digest,
}

impl Segment {
    /// Returns the name of the file.
    pub fn name(&self) -> String {
        segment_name(self.sequence)
    }
}

/// Returns the name of a publication's segment.
pub(super) fn segment_name(sequence: u64) -> String {
    format!("{sequence:08}.ndjson.zst")
}

/// Returns the name of a publication's head.
pub(super) fn head_name(sequence: u64) -> String {
    format!("{sequence:08}.json")
}

/// Returns the number of the publication whose head has this name; `None` for other names.
pub(super) fn head_number(name: &[u8]) -> Option<u64> {
    let name = std::str::from_utf8(name).ok()?;
    let number = name.strip_suffix(".json")?.parse().ok()?;
    (head_name(number) == name).then_some(number)
}

/// Returns the name of the signature of a publication's head.
pub(super) fn signature_name(sequence: u64) -> String {
    format!("{sequence:08}.json.minisig")
}

/// Returns whether a name is that of a head, its signature or a segment.
pub(super) fn is_numbered(name: &[u8]) -> bool {
    let number = [&b".json"[..], b".json.minisig", b".ndjson.zst"]
        .into_iter()
        .find_map(|suffix| name.strip_suffix(suffix));
    number.is_some_and(|number| number.len() >= 8 && number.iter().all(u8::is_ascii_digit))
}

impl Head {
    /// Makes the head for a publication from a source to its target; the publisher sets `sequence`,
    /// `rows` and `segments`.
    pub(super) fn of(publishing: Publishing, source: &str, target: &str) -> Self {
        let Publishing { run, started, now: published, verdict, options, totals } = publishing;
        Self {
            version: FIRST_VERSION,
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
            users: Vec::new(),
            groups: Vec::new(),
            rows: 0,
            segments: Vec::new(),
        }
    }

    /// Makes it a head of version 2, if its own segment needs that, or one that it takes from
    /// `base`.
    pub(super) fn set_version(&mut self, needs_version_2: bool, base: Option<&Self>) {
        let needed = if needs_version_2 { VERSION } else { FIRST_VERSION };
        self.version = base.map_or(needed, |base| base.version.max(needed));
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, Error> {
        encode(self)
    }

    /// Returns whether rows tell of entries what the target doesn't have.
    pub fn tells_more_than_target(&self) -> bool {
        self.segments.iter().any(|segment| segment.tells_more)
    }

    /// Sets the names of users and groups.
    pub(super) fn set_names(&mut self, names: RecordedNames) {
        let listed = |names: BTreeMap<u32, String>| {
            names.into_iter().map(|(id, name)| RecordedName { id, name }).collect()
        };
        (self.users, self.groups) = (listed(names.users), listed(names.groups));
    }

    /// Returns the names of users and groups.
    pub fn names(&self) -> RecordedNames {
        let by_number = |names: &[RecordedName]| {
            names.iter().map(|RecordedName { id, name }| (*id, name.clone())).collect()
        };
        RecordedNames { users: by_number(&self.users), groups: by_number(&self.groups) }
    }

    /// Returns the sources of rows by number, with the latest run of each.
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

    /// Returns whether rows are from a source with this number.
    pub(super) fn has_source(&self, number: SourceNumber) -> bool {
        match &*self.listed {
            [] => number == SourceNumber::FIRST,
            listed => listed.binary_search_by_key(&number, |source| source.number).is_ok(),
        }
    }

    /// Returns whether the list of sources is invalid.
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
    pub(super) fn to(publication: &Publication, signed: bool) -> Self {
        let (version, head) = (publication.head.version, publication.as_predecessor());
        Self { version, head, signed }
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, Error> {
        encode(self)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        decode("latest.json", bytes)
    }
}

impl Publication {
    /// Parses a head of known number and digest.
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
            return Err(damaged(&name, "its segments are out of order"));
        }
        if head.segments.len() > SEGMENTS {
            return Err(damaged(&name, format!("it has {} segments", head.segments.len())));
        }
        if head.has_wrong_sources() {
            return Err(damaged(&name, "its sources are out of order"));
        }
        let listed = head.listed.iter().flat_map(|source| [&source.run.0, &source.source]);
        let names = head.users.iter().chain(&head.groups).map(|named| &named.name);
        let texts =
            [&head.run.0, &head.source, &head.target].into_iter().chain(listed).chain(names);
        if !{ texts }.all(|text| is_printable(text)) {
            return Err(damaged(&name, "a name in it has control characters"));
        }
        Ok(Self { head, digest })
    }

    /// Returns whether another publication has taken this one's place without building on it.
    pub(super) fn is_replaced_by(&self, other: &Self) -> bool {
        self.head.sequence >= other.head.sequence && self.digest != other.digest
    }

    /// Returns the reference to it in its successor.
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

/// Parses a file after checking its version.
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
    if !(FIRST_VERSION..=VERSION).contains(&version) {
        return Err(damaged(name, format!("it has the unknown version {version}")));
    }
    serde_json::from_slice(bytes).map_err(broken)
}
