//! The model: random trees, edits, changes of type, hard links, holes, attributes, special files,
//! drift of the target, lost state, filters, and what is kept of the target before. After each run the target is
//! the filtered source; the next run does nothing and reads nothing.
//!
//! `PROPTEST_CASES` raises the number of cases.

use crate::common::tree::{Closeness, assert_same, set_mtime_of};
use crate::common::{Environment, Run, Snapshot, TestTree, tools};
use proptest::prelude::*;
use rustix::fs::{XattrFlags, lremovexattr, lsetxattr};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `a-` and `a.` sort between the file `a` and the directory `a/`; `\xff` is no UTF-8.
const NAMES: [&[u8]; 7] = [b"a", b"a-", b"a.", b"b", b"\xc3\xa9", b"\xff", b"c.tmp"];

type Key = Vec<u8>;

#[derive(Clone, Debug)]
enum Edit {
    Write(Key, usize),
    MakeDirectory(Key),
    MakeLink(Key, u8),
    Remove(Key),
    Chmod(Key, u32),
    Touch(Key, i64),
    Rename(Key, Key),
    /// A named pipe, a socket, or as root a device.
    Special(Key, u8),
    /// Another name for the leaf at the first key.
    HardLink(Key, Key),
    /// A file with a hole, of so many bytes more than a MiB.
    Sparse(Key, usize),
    /// An attribute gets a value, or is removed.
    Attribute(Key, Option<u8>),
    /// Somebody else writes to, links in or removes from the target.
    DriftWrite(Key, usize),
    DriftLink(Key, Key),
    DriftRemove(Key),
    LoseState,
}

/// A pattern and what the oracle makes of it.
#[derive(Clone, Debug)]
enum Pattern {
    /// `name`: entries so named at any depth.
    Name(Key),
    /// `/name/`: a directory so named in the root.
    RootDirectory(Key),
    /// `*.tmp`
    Temporary,
    /// `*/`: every directory.
    Directories,
}

impl Pattern {
    fn text(&self) -> Key {
        match self {
            Self::Name(name) => name.clone(),
            Self::RootDirectory(name) => [b"/", &name[..], b"/"].concat(),
            Self::Temporary => b"*.tmp".to_vec(),
            Self::Directories => b"*/".to_vec(),
        }
    }

    fn matches(&self, key: &[u8], is_directory: bool) -> bool {
        let name = key.rsplit(|&byte| byte == b'/').next().unwrap();
        match self {
            Self::Name(wanted) => name == &wanted[..],
            Self::RootDirectory(wanted) => is_directory && key == &wanted[..],
            Self::Temporary => name.ends_with(b".tmp"),
            Self::Directories => is_directory,
        }
    }
}

fn key() -> impl Strategy<Value = Key> {
    let name = prop::sample::select(NAMES.to_vec());
    prop::collection::vec(name, 1..4).prop_map(|names| names.join(&b'/'))
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        6 => (key(), 0..40_usize).prop_map(|(key, size)| Edit::Write(key, size)),
        2 => key().prop_map(Edit::MakeDirectory),
        2 => (key(), any::<u8>()).prop_map(|(key, text)| Edit::MakeLink(key, text)),
        3 => key().prop_map(Edit::Remove),
        1 => (key(), prop::sample::select(vec![0o600, 0o644, 0o755, 0o1777]))
            .prop_map(|(key, mode)| Edit::Chmod(key, mode)),
        1 => (key(), -1_000_000..2_000_000_000_i64).prop_map(|(key, time)| Edit::Touch(key, time)),
        4 => (key(), key()).prop_map(|(from, to)| Edit::Rename(from, to)),
        1 => (key(), 0..4_u8).prop_map(|(key, which)| Edit::Special(key, which)),
        3 => (key(), key()).prop_map(|(of, key)| Edit::HardLink(of, key)),
        1 => (key(), 1..9_usize).prop_map(|(key, size)| Edit::Sparse(key, size)),
        1 => (key(), prop::option::of(0..3_u8))
            .prop_map(|(key, value)| Edit::Attribute(key, value)),
        1 => (key(), key()).prop_map(|(of, key)| Edit::DriftLink(of, key)),
        1 => (key(), 0..40_usize).prop_map(|(key, size)| Edit::DriftWrite(key, size)),
        1 => key().prop_map(Edit::DriftRemove),
        1 => Just(Edit::LoseState),
    ]
}

fn pattern() -> impl Strategy<Value = (bool, Pattern)> {
    // A name with a backslash or a star would be a pattern of its own; these are not.
    let name = || prop::sample::select(NAMES[..5].to_vec()).prop_map(<[u8]>::to_vec);
    let pattern = prop_oneof![
        3 => name().prop_map(Pattern::Name),
        2 => name().prop_map(Pattern::RootDirectory),
        2 => Just(Pattern::Temporary),
        1 => Just(Pattern::Directories),
    ];
    (any::<bool>(), pattern)
}

/// A file's content; its size tells all of it, so that size and mtime never lie.
fn content(size: usize) -> Vec<u8> {
    vec![b'0' + size as u8; size]
}

fn at(root: &Path, key: &[u8]) -> PathBuf {
    root.join(OsStr::from_bytes(key))
}

fn remove(path: &Path) {
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
        fs::remove_dir_all(path).unwrap();
    } else {
        let _there_was_one = fs::remove_file(path).is_ok();
    }
}

/// Makes another name of a leaf, if one doesn't lie in the other.
fn link(root: &Path, of: &Key, key: &Key) {
    let is_leaf = fs::symlink_metadata(at(root, of)).is_ok_and(|found| !found.is_dir());
    let lies_in = |inner: &[u8], outer: &[u8]| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    };
    if is_leaf && !lies_in(of, key) && !lies_in(key, of) {
        TestTree::new().link(key, of).write(root);
    }
}

/// Sets or removes an attribute of a file or directory.
fn set_attribute(path: &Path, value: Option<u8>) {
    if !fs::symlink_metadata(path).is_ok_and(|found| found.is_file() || found.is_dir()) {
        return;
    }
    let done = match value {
        Some(value) => lsetxattr(path, "user.a", &[value], XattrFlags::empty()),
        None => lremovexattr(path, "user.a"),
    };
    match done {
        Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

fn apply(env: &Environment, edit: &Edit) {
    let exists = |key: &Key| fs::symlink_metadata(at(&env.source, key)).is_ok();
    match edit {
        Edit::Write(key, size) => TestTree::new().file(key, content(*size)).write(&env.source),
        Edit::MakeDirectory(key) => TestTree::new().dir(key).write(&env.source),
        Edit::MakeLink(key, text) => {
            TestTree::new().symlink(key, format!("text {text}")).write(&env.source);
        }
        Edit::Remove(key) => remove(&at(&env.source, key)),
        Edit::Chmod(key, mode) => {
            let path = at(&env.source, key);
            if fs::symlink_metadata(&path).is_ok_and(|metadata| !metadata.is_symlink()) {
                fs::set_permissions(path, fs::Permissions::from_mode(*mode)).unwrap();
            }
        }
        Edit::Touch(key, time) if exists(key) => set_mtime_of(&at(&env.source, key), *time, 5),
        Edit::Rename(from, to) if exists(from) => {
            // Refused where one lies within the other, the types don't fit, or there is no parent.
            let _moved = fs::rename(at(&env.source, from), at(&env.source, to)).is_ok();
        }
        Edit::Touch(..) | Edit::Rename(..) => {}
        Edit::Special(key, which) => {
            let tree = TestTree::new();
            let tree = match which {
                0 => tree.fifo(key),
                1 => tree.socket(key),
                _ if tools::root().is_err() => tree.fifo(key),
                number => tree.character_device(key, 1, u32::from(*number) + 1),
            };
            tree.write(&env.source);
        }
        Edit::HardLink(of, key) => link(&env.source, of, key),
        Edit::Sparse(key, size) => {
            let (size, end) = ((1 << 20) + size, content(*size));
            TestTree::new().sparse(key, size, &[(size - end.len(), &end)]).write(&env.source);
        }
        Edit::Attribute(key, value) => set_attribute(&at(&env.source, key), *value),
        Edit::DriftLink(of, key) => link(&env.target, of, key),
        Edit::DriftWrite(key, size) => TestTree::new().file(key, content(*size)).write(&env.target),
        Edit::DriftRemove(key) => remove(&at(&env.target, key)),
        Edit::LoseState => {
            env.lose_records();
        }
    }
}

fn excluded(patterns: &[(bool, Pattern)], key: &[u8], is_directory: bool) -> bool {
    let last = patterns.iter().rev().find(|(_, pattern)| pattern.matches(key, is_directory));
    last.is_some_and(|(include, _)| !include)
}

/// What the target is to hold.
fn filtered(source: &Path, patterns: &[(bool, Pattern)]) -> Snapshot {
    let all = Snapshot::read(source);
    let is_directory = |key: &[u8]| {
        all.get(key).is_some_and(|seen| seen.kind == crate::common::tree::Kind::Directory)
    };
    all.clone().without(|key| excluded(patterns, key, is_directory(key)))
}

fn run(
    env: &Environment,
    patterns: &[(bool, Pattern)],
    more: &[&str],
) -> crate::common::environment::Finished {
    let mut command = env.command(&env.mirror_arguments(&[&DELETES[..], more].concat()));
    filter(&mut command, patterns);
    Run::of(command).expect(0).finished()
}

const DELETES: [&str; 6] = [
    "--delete",
    "--delete-excluded",
    "--max-delete",
    "100%",
    "--accept-source",
    "--delete-despite-errors",
];

/// Asserts that what the target had and has no longer, at this key or another to which it was renamed,
/// is kept by some run under its key.
fn assert_kept(kept: &Path, old: &Snapshot, new: &Snapshot) {
    let runs: Vec<_> = match fs::read_dir(kept) {
        Ok(runs) => runs.map(|run| Snapshot::read(&run.unwrap().path())).collect(),
        Err(_) => Vec::new(),
    };
    for (key, seen) in &old.entries {
        let is_same = |tree: &Snapshot| tree.get(key).is_some_and(|found| found.kind == seen.kind);
        let is_directory = seen.kind == crate::common::tree::Kind::Directory;
        let is_there = new.entries.values().any(|found| found.kind == seen.kind);
        let is_kept = is_directory || is_there || runs.iter().any(is_same);
        assert!(is_kept, "{}: {:?} is not kept", key.escape_ascii(), seen.kind);
    }
}

fn filter(command: &mut Command, patterns: &[(bool, Pattern)]) {
    for (include, pattern) in patterns {
        command.arg(if *include { "--include" } else { "--exclude" });
        command.arg(OsStr::from_bytes(&pattern.text()));
    }
}

/// What is said of each key by records of this event: what is done or decided, and why.
fn said(run: &Run, event: &str) -> BTreeMap<String, (String, String)> {
    let mut said = BTreeMap::new();
    for record in run.records() {
        let word = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        let done = match &*word("event") {
            "failed" if event == "changed" => ("fail".to_owned(), word("cause")),
            is if is != event => continue,
            "changed" => (word("change"), word("reason")),
            _ if record["cause"].is_string() => (word("decision"), word("cause")),
            _ => (word("decision"), word("reason")),
        };
        said.insert(word("key"), done);
    }
    said
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: cases.unwrap_or(40),
        failure_persistence: None,
        max_shrink_iters: 300,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_target_follows_whatever_happens_to_the_source(
        patterns in prop::collection::vec(pattern(), 0..4),
        rounds in prop::collection::vec(prop::collection::vec(edit(), 0..14), 1..5),
        keeps in any::<bool>(),
    ) {
        let more: &[&str] = if keeps { &["--backup-dir", "../kept"] } else { &[] };
        let env = Environment::new();
        TestTree::new().file("keep", "never empty").write(&env.source);
        for edits in &rounds {
            fs::create_dir_all(&env.target).unwrap();
            for edit in edits {
                apply(&env, edit);
            }
            env.age();
            let [before, old] = [&env.source, &env.target].map(|root| Snapshot::read(root));
            run(&env, &patterns, more);
            let target = Snapshot::read(&env.target);
            assert_same(&filtered(&env.source, &patterns), &target, Closeness::Whole);
            if keeps {
                assert_kept(&env.root.join("kept"), &old, &target);
            }
            run(&env, &patterns, more).counts(&[
                ("files_copied", 0),
                ("hard_links_made", 0),
                ("files_adopted", 0),
                ("files_deleted", 0),
                ("metadata_updated", 0),
                ("bytes_hashed", 0),
            ]);
            assert_same(&target, &Snapshot::read(&env.target), Closeness::Untouched);
            assert_same(&before, &Snapshot::read(&env.source), Closeness::Untouched);
        }
    }
}

/// What is explained is one key, without the other names of its file.
fn edit_of_one_name() -> impl Strategy<Value = Edit> {
    edit().prop_filter("links", |edit| !matches!(edit, Edit::HardLink(..) | Edit::DriftLink(..)))
}

/// Flags that decide.
const DECIDING: [&[&str]; 7] = [
    &[],
    &["--delete", "--max-delete", "100%", "--accept-source", "--delete-despite-errors"],
    &DELETES,
    &[
        "--ignore-existing",
        "--delete",
        "--max-delete",
        "100%",
        "--accept-source",
        "--delete-despite-errors",
    ],
    &["--update", "--max-size", "20B"],
    &["--size-only"],
    &[
        "--checksum",
        "--delete",
        "--max-delete",
        "100%",
        "--accept-source",
        "--delete-despite-errors",
        "--min-size",
        "3B",
    ],
];

proptest! {
    #![proptest_config(ProptestConfig { cases: config().cases / 4, ..config() })]

    #[test]
    fn what_is_explained_of_any_key_is_what_a_run_plans(
        patterns in prop::collection::vec(pattern(), 0..3),
        flags in prop::sample::select(DECIDING.to_vec()),
        before in prop::collection::vec(edit_of_one_name(), 1..14),
        since in prop::collection::vec(edit_of_one_name(), 1..14),
    ) {
        let env = Environment::new();
        TestTree::new().file("keep", "never empty").write(&env.source);
        fs::create_dir_all(&env.target).unwrap();
        for edit in &before {
            apply(&env, edit);
        }
        env.age();
        run(&env, &[], &[]);
        for edit in &since {
            apply(&env, edit);
        }
        env.age();
        let mut dry_run = env.command(&env.mirror_arguments(&[&["--dry-run"], flags].concat()));
        filter(&mut dry_run, &patterns);
        let dry_run = Run::of(dry_run).expect_one_of(&[0, 1]);
        let planned = said(&dry_run, "changed");
        let [source, target] = [&env.source, &env.target].map(|side| Snapshot::read(side));
        let mut told = BTreeMap::new();
        let keys: BTreeSet<_> = source.entries.keys().chain(target.entries.keys()).collect();
        for key in keys.into_iter().filter(|key| !key.starts_with(b".vidimus")) {
            let mut command = env.command(&["explain", "--json"]);
            command.args([&env.source, &env.target]).arg(OsStr::from_bytes(key)).args(flags);
            filter(&mut command, &patterns);
            told.extend(said(&Run::of(command).expect(0), "explanation"));
        }
        for (key, plan) in &planned {
            if plan.1 == "holds entries that stay" {
                // What is explained is one key, without what lies in it.
                prop_assert_eq!(&told[key].0, "delete", "{}\n{}", key, dry_run.told());
                continue;
            }
            prop_assert_eq!(Some(plan), told.get(key), "{}\n{}", key, dry_run.told());
        }
        // What is renamed leaves its old key, which is explained by itself.
        let records = dry_run.records();
        let moved: Vec<_> = records.iter().filter_map(|it| it["from"].as_str()).collect();
        let is_moved =
            |key: &str| moved.iter().any(|it| key == *it || it.ends_with('/') && key.starts_with(it));
        for (key, decided) in &told {
            let stays = ["keep", "record", "forget"].contains(&&*decided.0);
            let is_planned = planned.contains_key(key) || decided.0 == "delete" && is_moved(key);
            prop_assert!(stays || is_planned, "{key} {decided:?}\n{}", dry_run.told());
        }
    }
}

/// Flags of runs that are followed by verifications.
const VERIFIED: [&[&str]; 9] = [
    &[],
    &["--delete"],
    &["--delete", "--delete-excluded"],
    &["--delete", "--max-size", "20B"],
    &["--delete", "--min-size", "20B"],
    &["--delete", "--delete-excluded", "--min-size", "10B", "--max-size", "20B"],
    &["--delete", "--ignore-existing"],
    &["--delete", "--update"],
    &["--delete", "--size-only"],
];

/// Changes of the source, and what others bring to the target. What they take from there is no matter
/// of the runs that leave it out.
fn edit_that_adds_to_the_target() -> impl Strategy<Value = Edit> {
    edit_of_one_name().prop_filter("removes from the target", |edit| {
        !matches!(edit, Edit::DriftRemove(_) | Edit::LoseState)
    })
}

fn is_drift(edit: &Edit) -> bool {
    matches!(edit, Edit::DriftWrite(..))
}

proptest! {
    #![proptest_config(config())]

    /// What a run protects or leaves alone is no difference: right after a complete run every
    /// verification ends with 0.
    #[test]
    fn what_a_complete_run_leaves_is_what_verifications_want(
        rounds in prop::collection::vec(
            (
                prop::collection::vec(edit_that_adds_to_the_target(), 0..10),
                prop::collection::vec(pattern(), 0..3),
                prop::sample::select(VERIFIED.to_vec()),
            ),
            1..4,
        ),
    ) {
        let env = Environment::new();
        TestTree::new().file("keep", "never empty").write(&env.source);
        fs::create_dir_all(&env.target).unwrap();
        for (edits, patterns, flags) in &rounds {
            for edit in edits {
                apply(&env, edit);
            }
            env.age();
            let most: &[&str] =
                if flags.is_empty() { &[] } else { &["--max-delete", "100%", "--accept-source"] };
            let mut mirror = env.command(&env.mirror_arguments(&[*flags, most].concat()));
            filter(&mut mirror, patterns);
            let ran = Run::of(mirror);
            if ran.code() != 0 {
                // A leaf in the way of a directory, say: that run is not complete, and says so.
                prop_assert_eq!(ran.code(), 1, "{}", ran.told());
                return Ok(());
            }
            let source = env.source.to_str().expect("test paths are UTF-8");
            let mut verifications = vec![&[][..], &["--quick"]];
            let leaves_alone = ["--ignore-existing", "--update", "--size-only"];
            let leaves_alone = flags.iter().any(|flag| leaves_alone.contains(flag));
            if !leaves_alone {
                verifications.push(&["--against"]);
            }
            // What others did to a recorded entry, and a run was told to leave alone, is still not what
            // was recorded.
            let filters = !patterns.is_empty() || flags.iter().any(|flag| flag.ends_with("-size"));
            let may_differ = (leaves_alone || filters) && rounds.iter().flat_map(|(edits, ..)| edits).any(is_drift);
            for how in verifications {
                let against = (how == ["--against"]).then_some(source);
                let how: Vec<_> = how.iter().copied().chain(against).collect();
                let verified = env.verify(&how);
                let told = || format!("{flags:?} {patterns:?}\n{}\n{}", ran.told(), verified.told());
                let is_extra = |line: &str| line.starts_with("extra ");
                let may_differ = may_differ && !verified.stdout.lines().any(is_extra);
                let expected = if may_differ { &[0, 3][..] } else { &[0] };
                prop_assert!(expected.contains(&verified.code()), "{:?} {}", &how, told());
            }
        }
    }
}
