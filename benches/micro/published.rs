//! The published manifest of a million rows, in a directory, without syncs.

use crate::sample::{keys, row};
use crate::walk::walking;
use divan::Bencher;
use divan::counter::ItemsCount;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use vidimus::backend::KeySpace;
use vidimus::backend::local::{LocalTarget, Root};
use vidimus::filter::FilterSpec;
use vidimus::manifest::published::{
    ManifestReader, ManifestWriter, Merged, Publishing, publish, rebuild,
};
use vidimus::manifest::{RecordedOptions, Row, RunNumber, State};
use vidimus::model::stamp::Inode;
use vidimus::model::{
    Durability, MetadataMapping, Preserve, RunId, Stamp, Timestamp, Totals, Verdict,
};

const FILES: usize = 1_000_000;
/// Rows that are put between two commits.
const BATCH: usize = 8_192;

/// A target, and the state of a mirror to it.
struct Site {
    dir: TempDir,
    target: LocalTarget,
    state: State,
    rows: Vec<Row>,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("the temporary directory can be written");
        fs::create_dir_all(dir.path().join("target/.vidimus")).expect("there is room");
        let root = Root::open(&dir.path().join("target")).expect("it was just made");
        let target = LocalTarget::new(Arc::new(root), walking(1), Durability::None, 7);
        let state = State::open(&dir.path().join("state"), "/source", "/target");
        let state = state.expect("it is new").state;
        let begun = state.begin_run(&run(), Timestamp::default(), "{}").expect("there is room");
        let keys = keys(FILES);
        let rows = keys.iter().enumerate().map(|(at, key)| varied(at, key, begun));
        let target = target.expect("the kernel says who this is");
        let site = Self { rows: rows.collect(), dir, target, state };
        site.put(&site.rows);
        site
    }

    fn put(&self, rows: &[Row]) {
        let mut writer = self.state.writer().expect("the state is open");
        for batch in rows.chunks(BATCH) {
            for row in batch {
                writer.put(row).expect("there is room");
            }
            writer.commit().expect("there is room");
        }
    }

    fn publish(&self) -> bool {
        let writer = ManifestWriter::new(&self.target, self.dir.path(), Timestamp::default());
        let publishing = Publishing {
            run: run(),
            started: Timestamp::default(),
            now: Timestamp::default(),
            verdict: Verdict::Complete,
            options: RecordedOptions {
                filter: FilterSpec::default(),
                delete: false,
                durability: Durability::None,
                only: None,
                key_space: KeySpace::Tree,
                keeps: None,
                preserve: Preserve::NOTHING,
                mapping: MetadataMapping::default(),
                settable: None,
                source_tells: false,
            },
            totals: Totals::default(),
        };
        publish(&self.state, &writer, publishing).expect("there is room").is_some()
    }

    fn reader(&self) -> ManifestReader<'_> {
        ManifestReader::of(&self.target, self.dir.path())
    }

    fn manifest(&self) -> PathBuf {
        self.dir.path().join("target/.vidimus/manifest")
    }
}

fn run() -> RunId {
    RunId("20261121T162202Z-f5535a8e".to_owned())
}

/// A row whose stamps are its own, as real ones are.
fn varied(at: usize, key: &vidimus::model::Key, run: RunNumber) -> Row {
    let time = |step: usize| Timestamp {
        seconds: 1_700_000_000 + (at * step % 10_000_000) as i64,
        nanos: (at * 7_919 * step % 1_000_000_000) as u32,
    };
    let stamp = |number| {
        let inode =
            Inode { mtime: time(3), ctime: time(number), number: Some((at * number) as u64) };
        Stamp::of_inode((at * 37 % 100_000) as u64, inode)
    };
    let row = row(key);
    let metadata = vidimus::model::Metadata { mtime: time(3), ..row.metadata };
    Row { source: stamp(5), target: stamp(7), metadata, run, ..row }
}

#[divan::bench(sample_count = 3, sample_size = 1)]
fn publish_all(bencher: Bencher<'_, '_>) {
    let site = Site::new();
    let anew = || {
        // What is gone is published whole.
        for file in fs::read_dir(site.manifest()).into_iter().flatten() {
            fs::remove_file(file.expect("it can be listed").path()).expect("it is ours");
        }
        site.put(&site.rows[..1]);
    };
    bencher
        .counter(ItemsCount::new(site.rows.len()))
        .with_inputs(anew)
        .bench_local_values(|()| assert!(site.publish()));
}

/// Of a million rows so many changed since.
#[divan::bench(args = [0, 100, 10_000], sample_count = 5, sample_size = 1)]
fn publish_changes(bencher: Bencher<'_, '_>, changed: usize) {
    let site = Site::new();
    assert!(site.publish());
    let step = FILES / changed.max(1);
    let edits: Vec<_> = site.rows.iter().skip(7).step_by(step).take(changed).cloned().collect();
    bencher
        .with_inputs(|| site.put(&edits))
        .bench_local_values(|()| assert_eq!(site.publish(), changed > 0));
}

#[divan::bench(sample_count = 3, sample_size = 1)]
fn read_all(bencher: Bencher<'_, '_>) {
    let site = Site::new();
    assert!(site.publish());
    bencher.counter(ItemsCount::new(site.rows.len())).bench_local(|| {
        let latest = site.reader().latest().expect("it is whole").expect("it is there");
        let rows = Merged::of(&site.reader(), &latest.head).expect("it is whole");
        let bytes: u64 = rows.map(|row| row.expect("it is whole").0.source.size).sum();
        assert!(bytes > 0);
    });
}

#[divan::bench(sample_count = 3, sample_size = 1)]
fn take_over(bencher: Bencher<'_, '_>) {
    let site = Site::new();
    assert!(site.publish());
    let begin = || {
        let dir = tempfile::tempdir().expect("the temporary directory can be written");
        let state = State::open(dir.path(), "/source", "/target").expect("it is new").state;
        (dir, state)
    };
    bencher.counter(ItemsCount::new(site.rows.len())).with_inputs(begin).bench_local_values(
        |(_dir, state)| {
            let latest = site.reader().latest().expect("it is whole").expect("it is there");
            rebuild(&state, &site.reader(), &latest, None).expect("there is room")
        },
    );
}
