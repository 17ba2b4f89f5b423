//! A comparison of two manifests of a million rows, to measure time and memory.

use super::*;
use crate::backend::local::{LocalTarget, Root, Walking};
use crate::filter::FilterSpec;
use crate::limits::LimitOptions;
use crate::manifest::published::{ManifestWriter, Publishing, publish};
use crate::manifest::{Origin, RecordedOptions, Row, State};
use crate::model::stamp::Inode;
use crate::model::{
    ContentSign, Digest, Durability, ExtraDigests, Key, Metadata, RunId, Stamp, Timestamp, Verdict,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const ROWS: u64 = 1_000_000;
/// One of this many rows differs.
const EDITED: u64 = 1_000;

fn row(number: u64, version: u8, run: crate::manifest::RunNumber) -> Row {
    let key = format!("directory-{:04}/a file of some name {number:07}.jpg", number / 1_000);
    let time = Timestamp { seconds: 1_700_000_000 + number as i64, nanos: 123_456_789 };
    let inode = Inode { mtime: time, ctime: time, number: Some(number) };
    let content = [&number.to_le_bytes()[..], &[version]].concat();
    Row {
        key: Key::new(key.into_bytes()),
        kind: EntryKind::File,
        digest: Some(Digest::of(&content)),
        extra: ExtraDigests::default(),
        origin: Origin::Proven,
        source: Stamp::of_inode(number, inode),
        source_racy: false,
        target: Stamp::of_inode(number, inode),
        metadata: Metadata { mode: 0o644, uid: 1000, gid: 1000, mtime: time },
        link: None,
        run,
        from: crate::manifest::SourceNumber::FIRST,
        verified_at: None,
        extras: None,
        looked: crate::model::AttributeKinds::ALL,
        born: None,
    }
}

/// Publishes rows in a target, with the content of one in [`EDITED`] depending on `version`.
fn published(place: &Path, version: u8) {
    std::fs::create_dir_all(place.join(".vidimus")).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let walking =
        Walking { pool: Arc::new(pool), spool_dir: place.to_owned(), guarded: Arc::new([]) };
    let root = Arc::new(Root::open(place).unwrap());
    let target = LocalTarget::new(root, walking, Durability::None, 7).unwrap();
    let states = tempfile::tempdir().unwrap();
    let state = State::open(states.path(), "/s", &place.to_string_lossy()).unwrap().state;
    let (id, now) = (RunId("run".to_owned()), Timestamp { seconds: 1_800_000_000, nanos: 0 });
    let run = state.begin_run(&id, now, "{}").unwrap();
    let mut writer = state.writer().unwrap();
    for number in 0..ROWS {
        let is_edited = number % EDITED == EDITED - 1;
        writer.put(&row(number, if is_edited { version } else { 0 }, run)).unwrap();
    }
    writer.commit().unwrap();
    let options = RecordedOptions {
        filter: FilterSpec::default(),
        delete: true,
        durability: Durability::None,
        only: None,
        key_space: KeySpace::Tree,
        keeps: None,
        preserve: crate::model::Preserve::NOTHING,
        settable: None,
        source_tells: false,
        mapping: crate::model::MetadataMapping::default(),
    };
    let (verdict, totals) = (Verdict::Complete, Totals::default());
    let publishing = Publishing { run: id, started: now, now, verdict, options, totals };
    publish(&state, &ManifestWriter::new(&target, place, now), publishing).unwrap();
}

/// Counts files whose content differs by their digests; nothing else may be found.
#[derive(Default)]
struct Counted(AtomicU64);

impl Observer for Counted {
    fn observe(&self, event: &Event) {
        let mismatch = match event {
            Event::SideDifference(finding) => match &**finding {
                DiffFinding::Differs { mismatch, .. } => Some(mismatch),
                _ => None,
            },
            _ => None,
        };
        assert_eq!(mismatch, Some(&Mismatch::Content(ContentSign::Digest)), "{event}");
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// With `VIDIMUS_TEST_DIR`, the targets `a` and `b` are kept there, to run the binary on them.
#[test]
#[ignore = "takes a minute; for measurements"]
fn two_manifests_of_a_million_rows_are_compared() {
    let temporary = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("VIDIMUS_TEST_DIR").map(PathBuf::from);
    let directory = kept.as_deref().unwrap_or(temporary.path());
    let at = |name: &str, version| {
        let place = directory.join(name);
        published(&place, version);
        let location = crate::location::Location::Local(place);
        ManifestAt {
            location,
            store: None,
            limits: LimitOptions::default(),
            spool_dir: temporary.path().to_owned(),
        }
    };
    let options = DiffOptions {
        a: at("a", 1),
        b: at("b", 2),
        recorded: true,
        content: false,
        metadata: true,
        checkers: 1,
    };
    let (progress, counted) = (Arc::default(), Counted::default());
    let outcome = diff(&options, &counted, &progress, &Stop::default()).unwrap();
    assert_eq!((outcome.totals.files_by_digest, outcome.totals.entries), (ROWS, ROWS));
    assert_eq!(
        (outcome.totals.differences(), counted.0.into_inner()),
        (ROWS / EDITED, ROWS / EDITED)
    );
}
