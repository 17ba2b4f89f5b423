//! A mirrored tree and its verification.

use super::super::*;
use crate::backend::memory::Memory;
use crate::backend::{KeySpace, ListOptions};
use crate::engine::tests::scene::Scene;
use crate::filter::Filter;
use crate::model::{Difference, Event, Finding, Severity, Timestamp};
use std::ffi::OsStr;

/// Options of a verification.
pub(super) struct TestOptions {
    pub(super) depth: Depth,
    pub(super) extras_count: bool,
    pub(super) cut_off: Option<CutOff>,
    pub(super) filter: Filter,
    pub(super) stop: Stop,
}

impl Default for TestOptions {
    /// Everything is read, and extra entries count.
    fn default() -> Self {
        Self {
            depth: Depth::Content(Choice::default()),
            extras_count: true,
            cut_off: None,
            filter: Filter::default(),
            stop: Stop::default(),
        }
    }
}

/// The result of a verification.
#[derive(Debug)]
pub(super) struct Found {
    /// One line for each call of the observer, sorted.
    pub(super) lines: Vec<String>,
    pub(super) totals: VerifyTotals,
    /// The number of differences that were corrected.
    pub(super) mended: u64,
}

impl Found {
    /// Asserts that the observer was called with this.
    #[track_caller]
    pub(super) fn assert_line(&self, line: &str) {
        assert!(self.lines.iter().any(|it| it == line), "{line}: {self:?}");
    }
}

/// Collects the results.
#[derive(Default)]
pub(super) struct Listener(Mutex<Vec<String>>);

impl Listener {
    fn push(&self, line: String) {
        self.0.lock().push(line);
    }

    pub(super) fn lines(self) -> Vec<String> {
        let mut lines = self.0.into_inner();
        lines.sort_unstable();
        lines
    }
}

impl Observer for Listener {
    fn observe(&self, event: &Event) {
        self.push(match event {
            Event::Difference(Finding { key, difference, counted, .. }) => match difference {
                Difference::Missing => format!("missing {key}"),
                Difference::Corrupt { found: None, .. } => format!("corrupt {key}: size"),
                Difference::Corrupt { .. } => format!("corrupt {key}"),
                Difference::Content { target: None, .. } => format!("content {key}: size"),
                Difference::Content { .. } => format!("content {key}"),
                Difference::Metadata(how) => format!("metadata {key}: {how}"),
                Difference::Touched(_) => format!("touched {key}"),
                Difference::Extra if *counted => format!("extra {key}"),
                Difference::Extra => format!("extra {key}, not counted"),
                Difference::Unknown(how) => format!("unknown {key}: {how}"),
            },
            Event::Failed(error) => format!("failed {}: {}", error.key, error.cause),
            Event::Mended { key } => format!("mended {key}"),
            Event::NotMended { key, cause } => format!("not mended {key}: {cause}"),
            Event::Notice(notice) => match notice.severity() {
                Severity::Warning => format!("warning {notice}"),
                Severity::Note => format!("note {notice}"),
            },
            event => format!("another event: {event}"),
        });
    }
}

/// Mirrors files that each have their path as content.
pub(super) fn mirrored(paths: &[&str]) -> Scene {
    let scene = Scene::of(paths);
    scene.run().complete();
    scene
}

/// Changes a file's content without changing its stamp, except for ctime.
pub(super) fn rot(tree: &Memory, path: &str, content: &str) {
    let before = tree.entry(path).expect("the file exists");
    assert_eq!(before.stamp.size, content.len() as u64, "it keeps its size");
    tree.write(path, content);
    tree.set(path, |metadata| *metadata = before.metadata);
}

/// Returns the time of a tree's clock.
pub(super) fn now(tree: &Memory) -> Timestamp {
    tree.directory("clock");
    let stamp = tree.entry("clock/").expect("it was just made").stamp;
    tree.remove("clock");
    stamp.inode().expect("a tree in memory has inodes").ctime
}

fn options(scene: &Scene, depth: Depth) -> VerifyOptions {
    VerifyOptions {
        target: Location::parse(OsStr::new("/target")).unwrap(),
        target_store: None,
        state_dir: scene.state_dir().to_owned(),
        strict: false,
        allow_incomplete: false,
        depth,
        key: None,
        repair: None,
        checkers: 2,
        count_ahead: false,
        limits: LimitOptions::default(),
    }
}

/// Verifies the target.
pub(super) fn verify(scene: &Scene, asked: &TestOptions) -> Found {
    run(scene, asked, false)
}

/// Verifies the target and repairs it from the source.
pub(super) fn repair(scene: &Scene) -> Found {
    repair_as(scene, &TestOptions::default())
}

/// Does the same with options.
pub(super) fn repair_as(scene: &Scene, asked: &TestOptions) -> Found {
    run(scene, asked, true)
}

fn run(scene: &Scene, asked: &TestOptions, mends: bool) -> Found {
    let (listener, progress, stop) = (Listener::default(), Progress::default(), &asked.stop);
    let target: Arc<dyn Target> = Arc::new(scene.target.target());
    let (state, options) = (scene.state(), options(scene, asked.depth));
    let listing = ListOptions { filter: Arc::default(), only: None, key_space: KeySpace::Tree };
    let listing = OrderChecked::new(target.list(&listing).unwrap(), Side::Target);
    let rows = scene.rows().into_iter().map(Ok);
    let mut scan = Scan::new(listing, rows, Unsettled::by(asked.cut_off));
    let mut tally = Tally {
        observer: &listener,
        totals: Mutex::default(),
        target: &*target,
        reader: &*target,
        filter: &asked.filter,
        extras_count: asked.extras_count,
        allow_incomplete: options.allow_incomplete,
        directory_times_count: asked.extras_count,
        depth: asked.depth,
        cores: Cores::default(),
        deadline: asked.depth.time().and_then(|time| Instant::now().checked_add(time)),
        broken: mends.then(|| Mutex::new(Broken::new(scene.state_dir()))),
    };
    let writer = (asked.depth != Depth::Stamps).then(|| state.writer().unwrap());
    read(&mut scan, &tally, writer, &options, &progress, stop).unwrap();
    let mut mended = 0;
    if let Some(broken) = tally.broken.take() {
        let source = Arc::new(scene.source.source());
        let (target, key_space) = (Arc::clone(&target), KeySpace::Tree);
        let mending = Mending { source, target, key_space, state: Some(&state) };
        let broken = broken.into_inner();
        mended = mending.mend(broken, &tally, &options, &progress, stop).unwrap();
    }
    let totals = tally.totals.into_inner();
    Found { lines: listener.lines(), totals, mended }
}
