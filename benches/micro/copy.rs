//! Content, below the temporary directory: copied and hashed, without syncs.

use crate::walk::walking;
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use vidimus::backend::local::{LocalSource, LocalTarget, Root};
use vidimus::backend::{
    KeySpace, ListItem, ListOptions, Precondition, Reading, Source as _, Target as _,
};
use vidimus::compare::PolicyOptions;
use vidimus::engine::{BUFFER, Cores, Holes, ReadSide, Wanted};
use vidimus::filter::Filter;
use vidimus::limits::LimitOptions;
use vidimus::location::Location;
use vidimus::model::run::Counter;
use vidimus::model::{
    Digest, Durability, Entry, EntryKind, Event, MetadataMapping, Observer, Progress, Stop, Verdict,
};
use vidimus::session::{MirrorOptions, mirror};

const SMALL_FILES: usize = 1_000;
const SMALL: usize = 8 << 10;
const LARGE: usize = 256 << 20;

/// A directory that goes when it is dropped, with files of `size` bytes.
fn files(count: usize, size: usize) -> TempDir {
    let dir = new();
    let content: Vec<u8> = (0..size).map(|at| (at * at / 7) as u8).collect();
    for at in 0..count {
        let path = dir.path().join(format!("file-{at:04}.dat"));
        fs::write(path, &content).expect("there is room");
    }
    dir
}

fn new() -> TempDir {
    tempfile::tempdir().expect("the temporary directory can be written")
}

fn root(dir: &Path) -> Arc<Root> {
    Arc::new(Root::open(dir).expect("it was just made"))
}

fn source(dir: &Path) -> (LocalSource, Vec<Entry>) {
    let source = LocalSource::new(root(dir), walking(1));
    let options = ListOptions { filter: Arc::default(), only: None, key_space: KeySpace::Tree };
    let listing = source.list(&options).expect("it was just made");
    let entry = |item| match item {
        Ok(ListItem::Entry(entry)) if entry.kind == EntryKind::File => Some(entry),
        _ => None,
    };
    let entries = listing.filter_map(entry).collect();
    (source, entries)
}

/// One after the other on one thread: read, stage, finish each; then publish all, as a batch is.
#[divan::bench(sample_count = 12, sample_size = 1)]
fn small_files_without_hashing(bencher: Bencher<'_, '_>) {
    let dir = files(SMALL_FILES, SMALL);
    let (source, entries) = source(dir.path());
    let mut buffer = vec![0; BUFFER];
    bencher
        .counter(ItemsCount::new(entries.len()))
        .counter(BytesCount::new(entries.len() * SMALL))
        .with_inputs(|| {
            let dir = new();
            let target = LocalTarget::new(root(dir.path()), walking(1), Durability::Batch, 1);
            (dir, target.expect("the kernel says who this is"))
        })
        .bench_local_refs(|(_dir, target)| {
            let mut staged: Vec<_> = entries
                .iter()
                .map(|entry| {
                    let mut stage =
                        target.stage(entry, Precondition::Absent).expect("there is room");
                    source
                        .read(entry, &mut buffer, &mut |reading| match reading {
                            Reading::Content(piece) => piece.bytes(&mut |chunk| stage.write(chunk)),
                            Reading::Opened(_) | Reading::Facts(_) => Ok(()),
                        })
                        .expect("nobody changes it");
                    let wanted = target.achievable_metadata(&entry.metadata, entry.kind, None);
                    stage.finish(&(&wanted).into(), &Digest([0; 32])).expect("there is room")
                })
                .collect();
            for staged in &mut staged {
                let kept = staged.publish().expect("the name is free");
                assert!(kept.is_none(), "metadata was not kept");
            }
        });
}

struct Nobody;

impl Observer for Nobody {
    fn observe(&self, event: &Event) {
        if let Event::Failed(error) = event {
            panic!("{error}");
        }
    }

    fn wants_changes(&self) -> bool {
        false
    }
}

/// A whole run with one large file: read, hashed by all cores, written.
#[divan::bench(sample_count = 6, sample_size = 1)]
fn large_file_mirrored(bencher: Bencher<'_, '_>) {
    let from = files(1, LARGE);
    bencher.counter(BytesCount::new(LARGE)).with_inputs(new).bench_refs(|to| {
        let options = MirrorOptions {
            source: Location::Local(from.path().to_owned()),
            target: Location::Local(to.path().join("target")),
            source_store: None,
            target_store: None,
            state_dir: to.path().join("state"),
            dry_run: false,
            bag: None,
            policy: PolicyOptions::default(),
            filter: Filter::default(),
            files_from: None,
            mapping: MetadataMapping::default(),
            delete: None,
            max_change: None,
            backup_dir: None,
            require_file: None,
            sign: None,
            manifest_mode: None,
            markers: true,
            renames: true,
            holes: Holes::default(),
            durability: Durability::None,
            transfers: 1,
            checkers: 1,
            count_ahead: false,
            limits: LimitOptions::default(),
        };
        let progress = Arc::new(Progress::default());
        let outcome = mirror(&options, &Nobody, &progress, &Stop::default());
        let outcome = outcome.expect("there is room");
        assert_eq!((outcome.verdict, outcome.totals.files_copied), (Verdict::Complete, 1));
    });
}

#[divan::bench(sample_count = 12, sample_size = 1)]
fn large_file_hashed(bencher: Bencher<'_, '_>) {
    let dir = files(1, LARGE);
    let (source, entries) = source(dir.path());
    let mut buffer = vec![0; BUFFER];
    let bytes = Counter::default();
    bencher.counter(BytesCount::new(LARGE)).bench_local(|| {
        let hashed = Cores::default().hash_content(
            ReadSide::source(&source),
            &entries[0],
            &mut buffer,
            &bytes,
            &|_| Ok(()),
            Wanted::default(),
        );
        hashed.expect("nobody changes it")
    });
}
