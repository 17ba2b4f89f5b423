//! The local backend as a fixture.

use crate::common::tree::TestTree;
use crate::conformance::conformance;
use crate::fixture::Fixture;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vidimus::backend::local::{Guarded, LocalSource, LocalTarget, Root, Walking};
use vidimus::model::Durability;

/// A directory with `root` (the place under test), `outside` and, once something spills, `spool`.
pub(crate) struct Local {
    pub(crate) root: PathBuf,
    pub(crate) outside: PathBuf,
    pub(crate) spool: PathBuf,
    pub(crate) directory: tempfile::TempDir,
}

impl Local {
    pub(crate) fn new() -> Self {
        Self::within(&std::env::temp_dir())
    }

    pub(crate) fn within(parent: &Path) -> Self {
        let directory = tempfile::Builder::new().prefix("vidimus-test-").tempdir_in(parent);
        let directory = directory.expect("make a temporary directory");
        let [root, outside, spool] =
            ["root", "outside", "spool"].map(|name| directory.path().join(name));
        std::fs::create_dir(&root).expect("make a directory");
        std::fs::create_dir(&outside).expect("make a directory");
        Self { root, outside, spool, directory }
    }

    /// With this tree in the place under test.
    pub(crate) fn of(tree: &TestTree) -> Self {
        let local = Self::new();
        tree.write(&local.root);
        local
    }

    pub(crate) fn walking(&self, guarded: &[Guarded]) -> Walking {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("start threads");
        Walking {
            pool: Arc::new(pool),
            spool_dir: self.spool.clone(),
            guarded: guarded.to_vec().into(),
        }
    }

    pub(crate) fn open(&self) -> Arc<Root> {
        Arc::new(Root::open(&self.root).expect("open the root"))
    }

    pub(crate) fn source(&self) -> LocalSource {
        LocalSource::new(self.open(), self.walking(&[]))
    }

    pub(crate) fn target(&self, durability: Durability) -> LocalTarget {
        LocalTarget::new(self.open(), self.walking(&[]), durability, 7).expect("make a target")
    }

    fn fixture(self, durability: Durability) -> Fixture {
        Fixture {
            source: Box::new(self.source()),
            target: Box::new(self.target(durability)),
            _keep: Box::new(self.directory),
        }
    }
}

#[test]
fn the_local_backend_keeps_every_promise_at_any_durability() {
    for durability in [Durability::Batch, Durability::File, Durability::None] {
        conformance(|| Local::new().fixture(durability), &[]);
    }
}

#[test]
fn a_layer_around_the_local_backend_keeps_every_promise() {
    conformance(|| Local::new().fixture(Durability::Batch).layered(), &[]);
}

#[test]
fn the_local_backend_keeps_every_promise_in_memory() {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        conformance(|| Local::within(memory).fixture(Durability::Batch), &[]);
    } else {
        crate::common::tools::skipped(module_path!(), line!(), "/dev/shm is missing");
    }
}
