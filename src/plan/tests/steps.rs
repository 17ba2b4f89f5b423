//! The items of a plan in order, and what it leaves for later.

use super::super::*;
use crate::backend::memory::{Call, Memory, When};
use crate::backend::{KeySpace, ListOptions};
use crate::compare::policy::{PolicyOptions, Surplus};
use crate::compare::{Join, RecordedRows};
use crate::filter::{Filter, Rule};
use crate::listing::OrderChecked;
use crate::manifest::{Origin, RunNumber, SourceNumber};
use crate::model::{Digest, ExtraDigests, Timestamp};
use rustix::io::Errno;
use std::cell::Cell;
use std::sync::Arc;

/// Two trees and the rows about them.
struct Scene {
    source: Memory,
    target: Memory,
    rows: Vec<Row>,
    options: PolicyOptions,
    surplus: Surplus,
    filter: Filter,
    /// Keys that the target can't have.
    refused: Vec<&'static str>,
    /// Keys that are left out.
    left_out: Vec<&'static str>,
    root_is_new: bool,
    directories_change: bool,
}

/// A plan as lines of text.
#[derive(Debug)]
struct PlanText {
    /// The items that can be done at once.
    steps: Vec<String>,
    deletions: Vec<String>,
    after_deletion: Vec<String>,
    directories: Vec<String>,
    tally: DeletionTally,
    broke_off: bool,
    totals: crate::model::Totals,
    surplus: u64,
}

/// Sets all times on both sides to the same value.
fn settle(trees: [&Memory; 2]) {
    for tree in trees {
        for key in tree.snapshot().keys() {
            let path = key.to_string();
            let path = if key.is_root() { "" } else { path.trim_end_matches('/') };
            tree.set(path, |metadata| metadata.mtime = Timestamp { seconds: 1_000, nanos: 0 });
        }
    }
}

fn write(tree: &Memory, paths: &[&str]) {
    for path in paths {
        match path.strip_suffix('/') {
            Some(directory) => tree.directory(directory),
            None => tree.write(path, path),
        }
    }
}

impl Scene {
    /// Makes trees of files and directories (with a final `/`), all with the same time.
    fn new(source: &[&str], target: &[&str]) -> Self {
        let scene = Self {
            source: Memory::default(),
            target: Memory::default(),
            rows: Vec::new(),
            options: PolicyOptions::default(),
            surplus: Surplus::Keep,
            filter: Filter::default(),
            refused: Vec::new(),
            left_out: Vec::new(),
            root_is_new: false,
            directories_change: true,
        };
        write(&scene.source, source);
        write(&scene.target, target);
        settle([&scene.source, &scene.target]);
        scene
    }

    /// Makes two equal trees, with the rows that a mirror would have recorded.
    fn mirrored(paths: &[&str]) -> Self {
        let mut scene = Self::new(paths, paths);
        scene.rows = rows(&scene.source, &scene.target);
        scene
    }

    fn deleting(self) -> Self {
        Self { surplus: Surplus::Delete, ..self }
    }

    fn plan(&self) -> PlanText {
        self.plan_until(usize::MAX)
    }

    /// Plans until `max` items have come.
    fn plan_until(&self, max: usize) -> PlanText {
        let filter = Arc::new(self.filter.clone());
        let policy = Policy {
            options: self.options,
            filter: Arc::clone(&filter),
            surplus: self.surplus,
            from: SourceNumber::FIRST,
            has_links: true,
            has_devices: true,
            hard_links: crate::compare::HardLinks::Separate,
            looks_for: crate::model::AttributeKinds::NONE,
            inspects: true,
            keeps_apart: false,
            retries_apart: false,
        };
        let listing = ListOptions { filter, only: None, key_space: KeySpace::Tree };
        let listed = |side, place: &dyn crate::backend::Source| {
            OrderChecked::new(place.list(&listing).unwrap(), side)
        };
        let joined = Join::new(
            listed(Side::Source, &self.source.source()),
            listed(Side::Target, &self.target.target()),
            RecordedRows { rows: self.rows.iter().cloned().map(Ok), from: policy.from }
                .read_ahead(),
            KeySpace::Tree,
        );
        let directory = tempfile::tempdir().unwrap();
        let (surplus, progress) = (Counter::default(), Progress::default());
        let come = Cell::new(0);
        let is_one_of =
            |keys: &[&str], key: &Key| keys.iter().any(|other| other.as_bytes() == key.as_bytes());
        let planning = Planning {
            policy: &policy,
            achievable: &|metadata, _, _| *metadata,
            count_loss: &|_| {},
            stands_linked: &|_| Ok(false),
            moved_from: None,
            moves_directories: false,
            is_recount: false,
            is_first_contact: true,
            accepts: &|key| {
                if is_one_of(&self.refused, key) { Err(Cause::IllegalName) } else { Ok(()) }
            },
            leaves_out: &|entry| is_one_of(&self.left_out, &entry.key).then_some("no reason"),
            surplus: &surplus,
            progress: &progress,
            spool_dir: directory.path(),
            root_is_new: self.root_is_new,
            directories_change: self.directories_change,
            is_over: &|| come.get() >= max,
        };
        let mut plan = Plan::new(joined.unwrap(), planning);
        let mut steps = Vec::new();
        for planned in plan.by_ref() {
            come.set(come.get() + 1);
            steps.push(line(&planned.unwrap()));
        }
        let Remainder {
            mut deletions, tally, mut after_deletion, mut directories, broke_off, ..
        } = plan.finish().unwrap();
        let entries = |spool: &mut SpoolReader| {
            let mut keys = Vec::new();
            while let Some(record) = spool.next().unwrap() {
                keys.push(Entry::decode(record).unwrap().key.to_string());
            }
            keys
        };
        let mut finished = Vec::new();
        while let Some(record) = directories.next().unwrap() {
            let (how, entry) = Finish::decode(record).unwrap();
            finished.push(format!("{how:?} {}", entry.key));
        }
        PlanText {
            steps,
            deletions: entries(&mut deletions),
            after_deletion: entries(&mut after_deletion),
            directories: finished,
            tally,
            broke_off,
            totals: progress.totals(),
            surplus: surplus.get(),
        }
    }
}

/// Returns rows for the entries that both trees have.
fn rows(source: &Memory, target: &Memory) -> Vec<Row> {
    let row = |key: &Key| {
        let path = std::str::from_utf8(key.as_bytes()).unwrap();
        let [source, target] = [source, target].map(|tree| tree.entry(path));
        let (source, target) = (source?, target?);
        let is_file = source.kind == EntryKind::File;
        Some(Row {
            key: key.clone(),
            kind: source.kind,
            digest: is_file.then_some(Digest([1; 32])),
            extra: ExtraDigests::default(),
            origin: Origin::Proven,
            source: source.stamp,
            source_racy: false,
            target: target.stamp,
            metadata: target.metadata,
            link: None,
            run: RunNumber(1),
            from: SourceNumber::FIRST,
            verified_at: None,
            extras: None,
            looked: crate::model::AttributeKinds::ALL,
            born: None,
        })
    };
    target.snapshot().keys().filter_map(row).collect()
}

fn line(planned: &Planned) -> String {
    let reason = |reason: Reason| serde_json::to_value(reason).unwrap();
    match planned {
        Planned::Step(step) => {
            let Decision { action, reason: why } = step.decision;
            let (action, why) = (action.code(), reason(why));
            let place = match step.precondition {
                Precondition::Absent => "absent",
                Precondition::Leaf => "leaf",
                Precondition::EmptyDirectory => "empty directory",
                Precondition::Object(_) => "object",
            };
            let key = &step.source.key;
            format!("{action} {key} {why} {place}").replace('"', "")
        }
        Planned::Failed(error) => format!("failed {}: {}", error.key, error.cause),
        Planned::Settled(Outcome { key, decision, .. }) => {
            let why = reason(decision.reason);
            format!("{} {key} {why}", decision.action.code()).replace('"', "")
        }
        Planned::Forget(key) => format!("forget {key}"),
        Planned::Later(key) => format!("later {key}"),
        Planned::Sweep(key) => format!("sweep {key}"),
        Planned::SetAside { key, is_deleted: false } => format!("set aside {key}"),
        Planned::SetAside { key, is_deleted: true } => format!("set aside and deleted {key}"),
        Planned::Notice(notice) => format!("note {notice}"),
    }
}

const NONE: [&str; 0] = [];

#[test]
fn directories_come_before_their_entries_and_are_finished_after_them() {
    let planned = Scene::new(&["a", "a-b", "a.d/e/f", "a.d/g", "b/"], &[]).plan();
    let steps = [
        "copy a-b new absent",
        "make_directory a.d/ new absent",
        "make_directory a.d/e/ new absent",
        "copy a.d/e/f new absent",
        "copy a.d/g new absent",
        // It waits until no directory of its name can come.
        "copy a new absent",
        "make_directory b/ new absent",
    ];
    assert_eq!(planned.steps, steps);
    assert_eq!(planned.directories, ["Restore a.d/e/", "Restore a.d/", "Restore b/", "Restore ."]);
    assert_eq!((planned.deletions, planned.after_deletion), (vec![], vec![]));
    let totals = &planned.totals;
    assert_eq!((totals.source_entries, totals.target_entries), (8, 1));
}

#[test]
fn unchanged_entries_are_no_steps() {
    let planned = Scene::mirrored(&["a", "d/e/f"]).deleting().plan();
    assert_eq!(planned.steps, NONE);
    assert_eq!(planned.directories, NONE);
    assert_eq!(planned.totals.files_unchanged, 2);
}

#[test]
fn a_directory_is_finished_when_entries_in_it_are_replaced_but_not_when_their_metadata_is_set() {
    let scene = Scene::mirrored(&["d/e/f", "d/g", "h/i"]);
    scene.target.write("d/e/f", "another");
    let planned = scene.plan();
    assert_eq!(planned.steps, ["copy d/e/f target_drift leaf"]);
    assert_eq!(planned.directories, ["Restore d/e/"], "a rename changes its time");
    // A store's directories have no time of their own.
    let planned = Scene { directories_change: false, ..scene }.plan();
    assert_eq!((planned.steps.len(), planned.directories), (1, vec![]));

    let mut scene = Scene::mirrored(&["d/e/f", "d/g"]);
    scene.target.set("d/e/f", |metadata| metadata.mode = 0o640);
    scene.rows = rows(&scene.source, &scene.target);
    let planned = scene.plan();
    assert_eq!(planned.steps, ["update_metadata d/e/f metadata leaf"]);
    assert_eq!(planned.directories, NONE);
    // A file that has to be read may have to be copied.
    scene.target.set("d/e/f", |_| {});
    let planned = scene.plan();
    assert_eq!(planned.steps, ["check d/e/f target_doubtful leaf"]);
    assert_eq!(planned.directories, ["Restore d/e/"]);
}

#[test]
fn a_directory_whose_metadata_differs_is_updated_and_one_without_row_recorded() {
    let mut scene = Scene::mirrored(&["d/e/f", "g/h"]);
    scene.target.set("d", |metadata| metadata.mode = 0o755);
    scene.rows.retain(|row| row.key.as_bytes() != b"g/");
    let planned = scene.plan();
    assert_eq!(
        (planned.steps, planned.directories),
        (vec![], vec!["Update d/".into(), "Restore g/".into()])
    );
    scene.rows.clear();
    let planned = Scene { directories_change: false, ..scene }.plan();
    assert_eq!(planned.directories, ["Restore d/e/", "Update d/", "Restore g/", "Restore ."]);
}

#[test]
fn finishing_a_root_that_the_run_made_is_no_update() {
    let mut scene = Scene::new(&["a"], &[]);
    scene.target.set("", |metadata| metadata.mode = 0o755);
    assert_eq!(scene.plan().directories, ["Update ."]);
    scene.root_is_new = true;
    assert_eq!(scene.plan().directories, ["Restore ."]);
}

#[test]
fn deletions_wait_and_come_children_first() {
    let mut scene = Scene::mirrored(&["a", "d/e/f", "d/g", "k/l"]).deleting();
    scene.source.remove("a");
    scene.source.remove("d");
    scene.source.remove("k/l");
    settle([&scene.source, &scene.target]);
    scene.rows = Vec::new();
    let planned = scene.plan();
    assert_eq!(planned.deletions, ["a", "d/e/f", "d/e/", "d/g", "d/", "k/l"]);
    assert_eq!(planned.steps, NONE);
    assert_eq!(planned.directories, ["Restore k/", "Restore ."]);
    assert_eq!((planned.tally.deletions(), planned.tally.deletable), (6, 7));
    // Without --delete they stay, and are counted as surplus.
    let planned = Scene { surplus: Surplus::Keep, ..scene }.plan();
    assert_eq!((planned.deletions, planned.tally.deletions()), (vec![], 0));
    assert_eq!(planned.surplus, 4, "only leaves");
}

#[test]
fn a_directory_with_entries_that_stay_is_kept_and_its_row_forgotten() {
    let mut scene = Scene::new(&["a"], &["a", "d/e/large", "d/small"]).deleting();
    scene.filter = Filter::new(&[], None, Some(8)).unwrap();
    let planned = scene.plan();
    let expected = [
        "adopt a same_size_and_time leaf",
        "keep d/e/large size_excluded",
        "keep d/e/ holds_kept",
        "forget d/e/",
        "keep d/ holds_kept",
        "forget d/",
    ];
    assert_eq!(planned.steps, expected);
    assert_eq!(planned.deletions, ["d/small"]);
    assert_eq!((planned.tally.deletions(), planned.tally.deletable), (1, 2));
}

#[test]
fn rows_without_entries_are_forgotten_unless_they_are_excluded_or_unknown() {
    let mut scene = Scene::mirrored(&["a", "d/b", "x.o", "y"]);
    for tree in [&scene.source, &scene.target] {
        tree.remove("a");
        tree.remove("d/b");
        tree.remove("x.o");
    }
    scene.filter = Filter::new(&[Rule::Exclude("*.o".into())], None, None).unwrap();
    settle([&scene.source, &scene.target]);
    let forgotten = |planned: PlanText| -> Vec<String> {
        planned.steps.into_iter().filter(|step| step.starts_with("forget")).collect()
    };
    assert_eq!(forgotten(scene.plan()), ["forget a", "forget d/b"]);
    scene.source.fail(Call::List, When::Key("d/"), Errno::ACCESS);
    assert_eq!(forgotten(scene.plan()), ["forget a"]);
}

#[test]
fn a_directory_takes_the_place_of_a_leaf_at_once() {
    for surplus in [Surplus::Keep, Surplus::Delete] {
        let planned = Scene { surplus, ..Scene::new(&["f/f", "f-"], &["f", "f-"]) }.plan();
        let expected = [
            "adopt f- same_size_and_time leaf",
            "make_directory f/ kind leaf",
            "copy f/f new absent",
        ];
        assert_eq!(planned.steps, expected);
        assert_eq!(planned.deletions, NONE, "making the directory sets the leaf aside");
        assert_eq!(planned.directories, ["Restore f/", "Restore ."]);
    }
}

#[test]
fn a_leaf_takes_the_place_of_an_empty_directory_at_once() {
    for surplus in [Surplus::Keep, Surplus::Delete] {
        let planned = Scene { surplus, ..Scene::new(&["d"], &["d/"]) }.plan();
        assert_eq!(planned.steps, ["copy d kind empty directory"]);
        assert_eq!((planned.deletions, planned.after_deletion), (vec![], vec![]));
    }
}

#[test]
fn a_leaf_waits_for_the_deletion_of_a_directory_in_its_place() {
    let scene = Scene::new(&["d"], &["d/e/f"]);
    let planned = scene.plan();
    let cause = "a directory that is not empty is in its place";
    assert_eq!(planned.steps[0], format!("failed d: {cause}"), "without --delete");
    assert_eq!((planned.deletions, planned.after_deletion), (vec![], vec![]));
    let planned = scene.deleting().plan();
    assert_eq!(planned.steps, NONE);
    assert_eq!(planned.deletions, ["d/e/f", "d/e/", "d/"]);
    assert_eq!(planned.after_deletion, ["d"]);
    assert_eq!(planned.totals.source_bytes, 1);
}

#[test]
fn entries_that_the_options_leave_alone_are_not_changed() {
    let options = PolicyOptions { ignore_existing: true, ..PolicyOptions::default() };
    // The source's leaf is skipped, so the directory of its name is kept with all in it.
    let planned = Scene { options, ..Scene::new(&["d"], &["d/e", "f"]).deleting() }.plan();
    assert_eq!(planned.steps, ["skip d exists", "keep d/ exists", "keep d/e exists"]);
    assert_eq!((planned.deletions, planned.tally.deletable), (vec!["f".into()], 1));
    // The target's leaf is kept, so nothing of the directory can be made.
    let planned = Scene { options, ..Scene::new(&["d/e/f", "g"], &["d"]) }.plan();
    let expected = [
        "failed d/: a file that the options protect is in its place",
        "failed d/e/: its directory could not be made",
        "failed d/e/f: its directory could not be made",
        "copy g new absent",
    ];
    assert_eq!(planned.steps, expected);
}

#[test]
fn an_unknown_scope_of_the_source_keeps_the_entries_of_the_target() {
    let scene = Scene::mirrored(&["a", "d/e/f", "g"]).deleting();
    scene.source.remove("g");
    scene.source.fail(Call::List, When::Key("d/"), Errno::ACCESS);
    settle([&scene.source, &scene.target]);
    let planned = scene.plan();
    assert_eq!(planned.steps.iter().filter(|step| step.starts_with("failed d/:")).count(), 1);
    assert!(!planned.steps.iter().any(|step| step.starts_with("forget")), "{planned:?}");
    assert_eq!(planned.deletions, ["g"]);
    assert!(planned.directories.contains(&"Record d/".into()), "its times aren't set: {planned:?}");
    assert!(!planned.broke_off);
}

#[test]
fn a_new_directory_that_could_not_be_read_is_recorded_without_setting_its_mode() {
    let scene = Scene::new(&["d/e"], &[]);
    scene.source.fail(Call::List, When::Key("d/"), Errno::ACCESS);
    let planned = scene.plan();
    assert_eq!(planned.steps[0], "make_directory d/ new absent");
    assert_eq!(planned.directories, ["Record d/", "Restore ."]);
}

#[test]
fn an_unknown_scope_of_the_target_is_not_written_to() {
    let scene = Scene::new(&["d/e", "f"], &["d/e", "d/g", "h/"]).deleting();
    scene.target.fail(Call::List, When::Key("d/"), Errno::ACCESS);
    let planned = scene.plan();
    let unknown = "failed d/e: the target could not be listed here";
    assert!(planned.steps.contains(&unknown.to_owned()), "{planned:?}");
    assert!(planned.steps.contains(&"copy f new absent".to_owned()), "{planned:?}");
    assert_eq!(planned.deletions, ["h/"]);
    // A directory that only the target has is kept too, with those that contain it.
    let scene = Scene::new(&["f"], &["d/e/g", "f"]).deleting();
    scene.target.fail(Call::List, When::Key("d/e/"), Errno::ACCESS);
    let planned = scene.plan();
    assert_eq!(planned.deletions, NONE);
    assert!(planned.steps.contains(&"keep d/ holds_kept".to_owned()), "{planned:?}");
}

#[test]
fn the_remainder_says_that_a_listing_broke_off() {
    for breaks_source in [true, false] {
        let scene = Scene::new(&["a", "b", "c"], &["a", "b", "c", "d"]).deleting();
        let tree = if breaks_source { &scene.source } else { &scene.target };
        tree.fail(Call::ListEntry, When::Key("b"), Errno::IO);
        let planned = scene.plan();
        assert!(planned.broke_off, "{planned:?}");
        assert!(planned.steps.iter().any(|step| step.starts_with("failed .:")), "{planned:?}");
        assert_eq!(planned.deletions, NONE);
    }
}

#[test]
fn nothing_is_planned_in_a_directory_that_the_target_cannot_store() {
    let mut scene = Scene::new(&["d/e/f", "g", "h"], &["h"]);
    scene.refused = vec!["d/", "g", "h"];
    let planned = scene.plan();
    let name = Cause::IllegalName;
    let expected = [
        format!("failed d/: {name}"),
        "failed d/e/: its directory could not be made".into(),
        "failed d/e/f: its directory could not be made".into(),
        format!("failed g: {name}"),
        "adopt h same_size_and_time leaf".into(),
    ];
    assert_eq!(planned.steps, expected);
    assert_eq!(planned.directories, ["Restore ."]);
}

#[test]
fn entries_that_are_left_out_are_treated_as_missing_in_the_source() {
    let mut scene = Scene::new(&["a", "b"], &["a", "b"]).deleting();
    scene.left_out = vec!["a"];
    let planned = scene.plan();
    assert_eq!(
        planned.steps,
        ["note \"a\" is left out: no reason", "adopt b same_size_and_time leaf"]
    );
    assert_eq!(planned.deletions, ["a"]);
    assert_eq!(planned.totals.files_skipped, 1);
}

#[test]
fn leftovers_are_swept_and_leaves_set_aside_are_removed_with_their_directory() {
    let aside = ".vidimus.6173696400000001";
    let temporary = ".vidimus.0123456789abcdef";
    let in_directory = |directory: &str, name: &str| format!("{directory}/{name}");
    let scene = Scene::new(&["d/e"], &["d/e", "gone/f"]).deleting();
    scene.target.write(temporary, "half");
    scene.target.write(&in_directory("d", aside), "what d was");
    scene.target.write(&in_directory("gone", aside), "what gone was");
    let planned = scene.plan();
    for expected in [
        format!("sweep {temporary}"),
        format!("set aside d/{aside}"),
        format!("set aside and deleted gone/{aside}"),
    ] {
        assert!(planned.steps.contains(&expected), "{expected}: {planned:?}");
    }
    assert_eq!(planned.deletions, ["gone/f", "gone/"]);
    // In a directory that is neither deleted nor completed they are left alone.
    let scene = Scene { surplus: Surplus::Keep, ..scene };
    scene.source.fail(Call::List, When::Key("d/"), Errno::ACCESS);
    let planned = scene.plan();
    assert!(!planned.steps.iter().any(|step| step.contains("gone/.vidimus")), "{planned:?}");
}

#[test]
fn a_plan_that_is_over_ends_early() {
    let scene = Scene::new(&["a", "b", "c"], &["d"]).deleting();
    let planned = scene.plan_until(2);
    assert_eq!(planned.steps, ["copy a new absent", "copy b new absent"]);
    assert_eq!(planned.deletions, NONE);
}
