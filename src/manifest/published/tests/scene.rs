//! A target, and the state of runs that publish in it.

use super::*;
use crate::model::reserved::MANIFEST;
use std::path::PathBuf;
use tempfile::TempDir;

/// The time of the runs.
pub(super) const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanos: 0 };

pub(super) struct Scene {
    directory: TempDir,
    pub(super) target: LocalTarget,
    /// The state of runs from `/s`.
    pub(super) state: State,
}

/// A run that has begun.
pub(super) struct Run {
    pub(super) id: RunId,
    pub(super) number: RunNumber,
}

impl Scene {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("target");
        std::fs::create_dir_all(root.join(".vidimus")).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let walking =
            Walking { pool: Arc::new(pool), spool_dir: root.clone(), guarded: Arc::new([]) };
        let root = Arc::new(Root::open(&root).unwrap());
        let target = LocalTarget::new(root, walking, Durability::None, 7).unwrap();
        let state = State::open(&directory.path().join("state"), "/s", "/t").unwrap().state;
        Self { directory, target, state }
    }

    /// Opens an empty state of another machine.
    pub(super) fn other_state(&self, name: &str, source: &str, target: &str) -> State {
        State::open(&self.directory.path().join(name), source, target).unwrap().state
    }

    /// Returns the directory of the manifest's files.
    pub(super) fn files(&self) -> PathBuf {
        self.directory.path().join("target").join(MANIFEST)
    }

    pub(super) fn reader(&self) -> ManifestReader<'_> {
        ManifestReader::of(&self.target, self.directory.path())
    }

    pub(super) fn writer(&self) -> ManifestWriter<'_> {
        ManifestWriter::new(&self.target, self.directory.path(), NOW)
    }

    pub(super) fn signing<'a>(&'a self, key: &'a SecretKey) -> ManifestWriter<'a> {
        self.writer().signing_with(Some(key))
    }

    pub(super) fn begin(&self, id: &str) -> Run {
        let id = RunId(id.to_owned());
        let number = self.state.begin_run(&id, NOW, "{}").unwrap();
        Run { id, number }
    }

    /// Records a version of a key.
    pub(super) fn set(&self, run: &Run, key: &str, version: u8) {
        self.put(run, &vec![(key.into(), Some(version))]);
    }

    pub(super) fn put(&self, run: &Run, edits: &Edits) {
        self.put_into(run, edits, &mut BTreeMap::new());
    }

    /// Does the same, and with the rows that are expected; returns whether anything changes.
    pub(super) fn put_into(
        &self,
        run: &Run,
        edits: &Edits,
        expected: &mut BTreeMap<Vec<u8>, Row>,
    ) -> bool {
        put(&self.state, edits, run.number, expected)
    }

    pub(super) fn publish(&self, writer: &ManifestWriter<'_>, run: &Run) -> Option<Done> {
        publish(&self.state, writer, publishing(&run.id)).unwrap()
    }
}
