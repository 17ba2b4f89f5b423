//! A source and a target in memory, and runs between them.

use crate::backend::memory::{Memory, MemoryOptions, Snapshot};
use crate::backend::{KeySpace, ListOptions, Source, Target};
use crate::compare::policy::{PolicyOptions, Surplus};
use crate::compare::{HardLinks, Join, JudgedRows, Policy, RecordedRows};
use crate::engine::{
    BUFFER, Collisions, Committer, Context, Cores, Holes, Purpose, Refusals, execute, moved_from,
    now, renames_done, stands_linked,
};
use crate::filter::{Filter, Rule};
use crate::listing::OrderChecked;
use crate::manifest::{Row, State};
use crate::model::error::Side;
use crate::model::run::Counter;
use crate::model::{
    AttributeKinds, Entry, EntryKind, Error, Event, Key, Metadata, Observer, Progress, RunId, Stop,
    Totals, Verdict,
};
use crate::plan::links::Links;
use crate::plan::{DeleteOptions, DeletionTally, MaxDelete, Plan, Planning};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use tempfile::TempDir;

/// Two trees, and the state of runs between them.
pub(crate) struct Scene {
    pub(crate) source: Memory,
    pub(crate) target: Memory,
    state_dir: TempDir,
    pub(crate) delete: Option<DeleteOptions>,
    pub(crate) exclude: Vec<String>,
    pub(crate) policy: PolicyOptions,
    /// Whether the guard refuses all deletions.
    pub(crate) refuses: bool,
    /// Whether hard links and attributes are kept.
    pub(crate) keeps_all: bool,
}

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) totals: Totals,
    /// Failed entries, as reported.
    pub(crate) failures: Vec<String>,
    /// Outcomes, one line for each.
    pub(crate) changes: Vec<String>,
    pub(crate) refusal: Option<Error>,
    /// The error that stopped it.
    pub(crate) fatal: Option<Error>,
}

impl Ran {
    /// Asserts that everything was done.
    #[track_caller]
    pub(crate) fn complete(self) -> Self {
        assert_eq!(self.failures, [""; 0]);
        assert!(self.fatal.is_none() && self.refusal.is_none(), "{self:?}");
        self
    }
}

/// Collects the events.
#[derive(Default)]
struct Listener {
    failures: Mutex<Vec<String>>,
    changes: Mutex<Vec<String>>,
}

impl Observer for Listener {
    fn observe(&self, event: &Event) {
        match event {
            Event::Failed(error) => self.failures.lock().push(error.to_string()),
            Event::Changed(outcome) => self.changes.lock().push(outcome.to_string()),
            _ => {}
        }
    }

    fn wants_changes(&self) -> bool {
        true
    }
}

/// Returns options that delete all extra entries.
pub(crate) fn all() -> DeleteOptions {
    DeleteOptions { max: MaxDelete::Percent(100.0), ..DeleteOptions::default() }
}

/// Makes a directory for a state, in memory if possible, as writing a state waits for its disk.
fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    made.expect("make a temporary directory")
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::into_target(MemoryOptions::default())
    }

    pub(crate) fn into_target(options: MemoryOptions) -> Self {
        Self {
            source: Memory::default(),
            target: Memory::new(options),
            state_dir: scratch(),
            delete: None,
            exclude: Vec::new(),
            policy: PolicyOptions::default(),
            refuses: false,
            keeps_all: false,
        }
    }

    /// Makes a source with these files, each with its path as content.
    pub(crate) fn of(paths: &[&str]) -> Self {
        let scene = Self::new();
        for path in paths {
            scene.source.write(path, path);
        }
        scene
    }

    /// Mirrors the source to the target.
    pub(crate) fn run(&self) -> Ran {
        self.run_with(&Stop::default())
    }

    #[expect(clippy::too_many_lines, reason = "all that a run consists of")]
    pub(crate) fn run_with(&self, stop: &Stop) -> Ran {
        let state_dir = self.state_dir.path();
        let state = State::open(state_dir, "source", "target").expect("open the state").state;
        let last = state.last_run().expect("read the last run").map_or(0, |run| run.number.0);
        let run = RunId(format!("run {}", last + 1));
        let is_first_contact = state.is_first_contact().expect("read the runs");
        let run = state.begin_run(&run, now(), "{}").expect("begin the run");
        let rules: Vec<_> = self.exclude.iter().cloned().map(Rule::Exclude).collect();
        let filter = Arc::new(Filter::new(&rules, None, None).expect("a filter"));
        let listing =
            ListOptions { filter: Arc::clone(&filter), only: None, key_space: KeySpace::Tree };
        let policy = Policy {
            from: state.number().expect("the source's number"),
            has_links: true,
            has_devices: true,
            hard_links: if self.keeps_all { HardLinks::Made } else { HardLinks::Separate },
            looks_for: if self.keeps_all { AttributeKinds::ALL } else { AttributeKinds::NONE },
            inspects: true,
            keeps_apart: false,
            retries_apart: false,
            options: self.policy,
            filter,
            surplus: if self.delete.is_some() { Surplus::Delete } else { Surplus::Keep },
        };
        let (source, target) = (Arc::new(self.source.source()), Arc::new(self.target.target()));
        // One clock, in whose past all changes are.
        let began = self.source.time().max(self.target.time());
        self.source.set_time(began);
        self.target.set_time(began);
        let (progress, listener) = (Progress::default(), Listener::default());
        let context = Context {
            source: Arc::clone(&source) as Arc<dyn Source>,
            target: Arc::clone(&target) as Arc<dyn Target>,
            purpose: Purpose::Mirror,
            run,
            began,
            progress: &progress,
            observer: &listener,
            stop,
            policy: &policy,
            can_copy_server_side: false,
            holes: Holes::default(),
            buffer: BUFFER,
            transfers: 2,
            max_transfer: None,
            cores: Cores::default(),
            bandwidth: None,
            fatal: OnceLock::new(),
            filtered: !self.exclude.is_empty(),
            collisions: Collisions::default(),
            refusals: Refusals::default(),
            seals: None,
            learned_links: Mutex::new(Links::new(state_dir)),
            renamed: renames_done(state_dir),
            spool_dir: state_dir,
            partials: None,
            is_under_way: &|_| false,
        };
        let surplus = Counter::default();
        let achievable = |metadata: &Metadata, kind: EntryKind, existing: Option<&Metadata>| {
            target.achievable_metadata(metadata, kind, existing)
        };
        let moved_from = |entry: &Entry| moved_from(&*source, &state, policy.from, entry);
        let planning = Planning {
            policy: &policy,
            achievable: &achievable,
            count_loss: &|_| {},
            accepts: &|key: &Key| target.accepts(key),
            stands_linked: &|entry| stands_linked(&*target, &state, policy.from, entry),
            moved_from: Some(&moved_from),
            moves_directories: self.exclude.is_empty() && self.delete.is_some(),
            is_recount: false,
            is_first_contact,
            leaves_out: &|_| None,
            surplus: &surplus,
            progress: &progress,
            spool_dir: state_dir,
            root_is_new: false,
            directories_change: target.capabilities().directory_times,
            is_over: &|| context.is_over(),
        };
        let listed = |side, place: &dyn Source| {
            OrderChecked::new(place.list(&listing).expect("begin a listing"), side)
        };
        let rows = state.lazy_rows().expect("read rows");
        let rows = JudgedRows::new(rows, &policy, &achievable);
        let recorded = RecordedRows { rows, from: policy.from };
        let join = Join::new(
            listed(Side::Source, &*source),
            listed(Side::Target, &*target),
            recorded,
            KeySpace::Tree,
        );
        let plan = (Plan::new(join.expect("begin to join"), planning), Some(planning));
        let committer = Committer::new(&context, Some(state.writer().expect("write to the state")));
        let allow = |_: &DeletionTally| {
            let refused = || Error::new(crate::model::ErrorKind::Refused, "refused");
            if self.refuses { Err(refused()) } else { Ok(()) }
        };
        let ended = execute(&context, plan, committer, (Some(&state), self.delete.as_ref()), allow);
        let fatal = context.fatal.into_inner();
        let (refusal, fatal) = match (ended, fatal) {
            (Ok(refusal), fatal) => (refusal, fatal),
            (Err(error), fatal) => (None, Some(fatal.unwrap_or(error))),
        };
        let totals = progress.totals();
        let verdict = if fatal.is_some() { Verdict::Failed } else { Verdict::Complete };
        state.finish_run(run, now(), verdict, &totals, None).expect("record the run's end");
        let mut changes = listener.changes.into_inner();
        changes.sort_unstable();
        Ran { totals, failures: listener.failures.into_inner(), changes, refusal, fatal }
    }

    /// Opens the state.
    pub(crate) fn state(&self) -> State {
        State::open(self.state_dir.path(), "source", "target").expect("open the state").state
    }

    pub(crate) fn state_dir(&self) -> &Path {
        self.state_dir.path()
    }

    /// Returns the recorded rows.
    pub(crate) fn rows(&self) -> Vec<Row> {
        rows(self.state_dir.path())
    }

    /// Returns the recorded keys.
    pub(crate) fn recorded(&self) -> Vec<String> {
        self.rows().iter().map(|row| row.key.to_string()).collect()
    }

    /// Returns a function that reads the rows from any thread.
    pub(crate) fn reader(&self) -> impl Fn() -> Vec<Row> + Send + Sync + 'static {
        let state_dir = self.state_dir.path().to_owned();
        move || rows(&state_dir)
    }

    /// Returns the keys in the target, including temporary ones.
    pub(crate) fn target_keys(&self) -> Vec<String> {
        self.target.snapshot().keys().map(Key::to_string).collect()
    }

    /// Asserts that both trees are the same, and that a second run has nothing to do.
    #[track_caller]
    pub(crate) fn is_mirrored(&self) {
        assert_eq!(lines(&self.source.snapshot()), lines(&self.target.snapshot()));
        let again = self.run().complete();
        assert_eq!(again.changes, [""; 0], "a second run does nothing");
        let read = again.totals.bytes_hashed;
        assert_eq!(read, 0, "a second run reads nothing");
    }
}

fn rows(state_dir: &Path) -> Vec<Row> {
    let state = State::open(state_dir, "source", "target").expect("open the state").state;
    state.rows().expect("read rows").map(|row| row.expect("a row")).collect()
}

/// Returns a tree as text, one line for each entry.
pub(crate) fn lines(tree: &BTreeMap<Key, Snapshot>) -> Vec<String> {
    let line = |(key, found): (&Key, &Snapshot)| {
        let Metadata { mode, uid, gid, mtime } = found.metadata;
        let content = found.content.escape_ascii();
        let attributes = found
            .attributes
            .iter()
            .map(|one| format!(" {}={}", one.name.escape_ascii(), one.value.escape_ascii()));
        let attributes: String = attributes.collect();
        let name = found.first_name.as_ref().map(|first| format!(" a name of {first}"));
        let name = name.unwrap_or_default();
        format!("{} {key} {mode:o} {uid}:{gid} {mtime} {content}{attributes}{name}", found.kind)
    };
    tree.iter().map(line).collect()
}
