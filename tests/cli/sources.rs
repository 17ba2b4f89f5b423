//! What several sources bring to one target: it is one record and one manifest, in which each entry
//! is as the run left it that wrote it last.

use crate::common::environment::{Finished, text};
use crate::common::tree::{FAILING, set_mtime_of};
use crate::common::{Environment, Run, TestTree, assert_mirrored, tools};
use crate::manifest::{directory, head, published};
use crate::mirror::sample;
use proptest::prelude::*;
use rusqlite::{Connection, OpenFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Mirrors any source.
fn mirror(env: &Environment, source: &Path, flags: &[&str]) -> Run {
    let mut arguments = vec!["mirror", "--json", text(source), text(&env.target)];
    arguments.extend(flags);
    env.vidimus(&arguments)
}

fn mirrored(env: &Environment, source: &Path) -> Finished {
    mirror(env, source, &[]).expect(0).finished()
}

fn put(env: &Environment, name: &str, content: &str) {
    let command = env.command(&["put", "-", text(&env.target.join(name))]);
    let mut command = command;
    let file = env.root.join("input");
    fs::write(&file, content).unwrap();
    command.stdin(fs::File::open(file).unwrap());
    Run::of(command).expect(0);
}

/// Another directory to mirror from.
fn other(env: &Environment, tree: &TestTree) -> PathBuf {
    let other = env.root.join("other");
    tree.write(&other);
    other
}

/// A byte changes, and nothing that a listing shows.
fn rot(path: &Path) {
    let time = fs::metadata(path).unwrap().modified().unwrap();
    let mut content = fs::read(path).unwrap();
    content[0] ^= 1;
    fs::write(path, content).unwrap();
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn all_that_any_run_brought_is_verified() {
    let env = Environment::new();
    sample().write(&env.source);
    env.mirrored(&[]);
    let files = env.verify(&["--json"]).expect(0).finished().count("verified");
    let other = other(&env, &TestTree::new().file("other/file", "from the other"));
    let single = env.root.join("single");
    fs::write(&single, "single").unwrap();
    mirrored(&env, &other);
    mirrored(&env, &single);
    put(&env, "streamed", "streamed");
    let verified = env.verify(&["--json"]).expect(0).finished();
    verified.counts(&[("verified", files + 3), ("extra", 0), ("differences", 0)]);
    assert_eq!(verified.record["sources"].as_array().unwrap().len(), 4);
    for file in ["README.md", "other/file", "single", "streamed"] {
        rot(&env.target.join(file));
        env.verify(&[]).expect(3).names(&format!("corrupt {file}"));
        rot(&env.target.join(file));
    }
    env.verify(&[]).expect(0);
    // So it is by the manifest alone.
    fs::remove_dir_all(&env.state).unwrap();
    rot(&env.target.join("streamed"));
    let verified = env.verify(&["--json"]).expect(3).finished();
    verified.counts(&[("verified", files + 2), ("corrupt", 1), ("differences", 1)]);
}

/// A mirror of one source publishes its own rows, and keeps the others'.
#[test]
fn the_manifest_has_each_row_with_its_source() {
    let env = Environment::new();
    TestTree::new().file("a", "a").file("both", "of the first").write(&env.source);
    env.mirrored(&[]);
    assert_eq!(head(&env)["sources"], serde_json::Value::Null);
    let other = other(&env, &TestTree::new().file("b", "b").file("both", "of the second"));
    mirrored(&env, &other);
    let sources = |env: &Environment| -> BTreeMap<i64, String> {
        let head = head(env);
        let sources = head["sources"].as_array().unwrap().clone();
        let name = |source: &serde_json::Value| source["source"].as_str().unwrap().to_owned();
        sources.iter().map(|it| (it["number"].as_i64().unwrap(), name(it))).collect()
    };
    let of = |env: &Environment, key: &str| {
        let number = published(env)[key]["from"].as_i64().unwrap_or(1);
        sources(env)[&number].clone()
    };
    let names = [&env.source, &other].map(|source| text(source).to_owned());
    for (key, source) in [("a", 0), ("b", 1), ("both", 1)] {
        assert_eq!(of(&env, key), names[source], "{key}");
    }
    // Another machine goes on from there, with either source.
    fs::remove_dir_all(&env.state).unwrap();
    env.age();
    fs::write(other.join("b"), "changed").unwrap();
    let finished = mirrored(&env, &other);
    finished.counts(&[("files_copied", 1), ("files_unchanged", 1), ("files_adopted", 0)]);
    for (key, source) in [("a", 0), ("b", 1), ("both", 1)] {
        assert_eq!(of(&env, key), names[source], "{key}");
    }
    env.verify(&[]).expect(0);
    env.mirrored(&[]).counts(&[("files_copied", 1)]);
    assert_eq!(of(&env, "both"), names[0]);
    env.verify(&[]).expect(0);
}

#[test]
fn what_one_source_lacks_stays_recorded_until_it_is_deleted() {
    let env = Environment::new();
    TestTree::new().file("a", "a").file("d/x", "x").write(&env.source);
    env.mirrored(&[]);
    let other = other(&env, &TestTree::new().file("b", "b"));
    for flags in [&[][..], &["--exclude", "*"], &["--delete", "--exclude", "a", "--exclude", "d"]] {
        mirror(&env, &other, flags).expect(0);
        env.verify(&["--json"]).expect(0).finished().counts(&[("missing", 0), ("extra", 0)]);
        assert!(published(&env).contains_key("d/x"), "{flags:?}");
    }
    mirror(&env, &other, &["--delete", "--max-delete", "100%"]).expect(0);
    let keys = published(&env).into_keys().collect::<Vec<_>>();
    assert_eq!(keys, ["", "b"]);
    env.verify(&["--strict"]).expect(0);
}

#[test]
fn a_source_that_moved_keeps_all_digests_and_is_not_read() {
    let env = Environment::new();
    sample().write(&env.source);
    env.mirrored(&[]);
    let proven = env.verify(&["--json"]).expect(0).finished().count("verified");
    let moved = env.root.join("moved");
    fs::rename(&env.source, &moved).unwrap();
    env.age();
    let finished = mirrored(&env, &moved);
    finished.counts(&[("known_by_digest", proven), ("files_copied", 0), ("bytes_hashed", 0)]);
    finished.counts(&[("adopted_without_digest", 0), ("metadata_updated", 0)]);
    let verified = env.verify(&["--json"]).expect(0).finished();
    verified.counts(&[("verified", proven), ("unproven", 0)]);
    // All is the new one's, and the old one is forgotten.
    let rows = published(&env);
    assert!(!rows.is_empty() && rows.values().all(|row| row["from"] == 2));
    let again = mirrored(&env, &moved);
    again.counts(&[("known_by_digest", 0), ("files_adopted", 0), ("bytes_hashed", 0)]);
    mirror(&env, &moved, &["--checksum"]).expect(0).finished().counts(&[("files_copied", 0)]);
    assert!(published(&env).values().all(|row| row["adopted"].is_null()));
}

/// The record of another source speaks for the target alone.
#[test]
fn a_new_source_is_compared_as_at_first_contact() {
    let env = Environment::new();
    let tree = ["same", "time", "size", "drift", "touched"]
        .iter()
        .fold(TestTree::new(), |tree, name| tree.file(*name, *name).mtime(1_600_000_000, 5));
    tree.write(&env.source);
    env.mirrored(&[]);
    let other = other(&env, &tree);
    set_mtime_of(&other.join("time"), 1_600_000_001, 5);
    TestTree::new().file("size", "other").mtime(1_600_000_000, 5).write(&other);
    // Whoever wrote to the target: what stands there is not what was recorded.
    TestTree::new().file("drift", "DRIFT").mtime(1_600_000_001, 5).write(&env.target);
    rot(&env.target.join("touched"));
    rot(&env.target.join("touched"));
    env.age();
    let run = mirror(&env, &other, &["--verbose"]).expect(0);
    run.finished().counts(&[("files_copied", 2), ("known_by_digest", 2)]);
    // That of the root, and of a file whose content is the recorded one.
    run.finished().counts(&[("metadata_updated", 2)]);
    assert_mirrored(&other, &env.target);
    env.verify(&["--json"]).expect(0).finished().counts(&[("verified", 5), ("unproven", 0)]);
    // A file that rotted has the size and time that its source has.
    rot(&env.target.join("same"));
    env.mirrored(&[]).counts(&[("files_copied", 2)]);
    env.verify(&[]).expect(0);
}

#[test]
fn each_source_is_named_where_more_than_one_brought_something() {
    let env = Environment::new();
    sample().write(&env.source);
    env.mirrored(&[]);
    env.verify(&["--verbose"]).expect(0).is_silent_about("  source ");
    let other = other(&env, &TestTree::new().file("other/file", "from the other"));
    mirrored(&env, &other);
    for source in [&env.source, &other] {
        env.verify(&["--verbose"]).expect(0).names(&format!("  source    {}\n", text(source)));
        let shown = env.vidimus(&["manifest", "show", text(&env.target)]).expect(0);
        shown.names(text(source));
    }
    env.verify(&[]).expect(0).is_silent_about("  source ").names("1 other source");
}

#[test]
fn a_run_that_was_killed_is_named_until_it_is_made_up_for() {
    crate::needs!(tools::strace());
    let env = Environment::new();
    sample().write(&env.source);
    env.mirrored(&[]);
    TestTree::new().file("more/a", "a").file("more/b", "b").write(&env.source);
    let arguments = env.mirror_arguments(&[]);
    let kill = ["-e", "inject=/^rename:signal=KILL:when=1"];
    assert_ne!(env.strace(&kill, &arguments).code(), 0);
    let run = env.verify(&["--json"]).expect(3).finished();
    run.counts(&[("differences", 0)]);
    assert_eq!(run.record["verdict"], "incomplete");
    let unfinished = run.record["unfinished"][0].clone();
    assert_eq!(unfinished["source"], text(&env.source));
    assert_eq!(unfinished["verdict"], serde_json::Value::Null);
    let id = unfinished["run"].as_str().unwrap();
    env.verify(&[]).expect(3).names(id).names("was killed");
    env.verify(&["--allow-incomplete"]).expect(0).names(id);
    // What another source brings doesn't make up for it, unless all else is deleted.
    let other = other(&env, &TestTree::new().file("other", "other"));
    mirrored(&env, &other);
    env.verify(&[]).expect(3).names(id);
    mirror(&env, &other, &["--delete", "--max-delete", "100%"]).expect(0);
    env.verify(&[]).expect(0);
    env.mirrored(&[]);
    env.verify(&[]).expect(0).is_silent_about(id);
}

#[test]
fn a_run_at_which_entries_failed_is_named_by_the_manifest_too() {
    let env = Environment::new();
    TestTree::new().file("a", "a").failing().write(&env.source);
    env.mirror(&[]).expect(1);
    env.verify(&[]).expect(3).names("was incomplete");
    fs::remove_dir_all(&env.state).unwrap();
    env.verify(&[]).expect(3).names("was incomplete");
    fs::remove_file(env.source.join(FAILING)).unwrap();
    env.mirrored(&[]);
    env.verify(&[]).expect(0);
}

/// What is done to the two sources and the target, which all hold files of the same few names.
#[derive(Clone, Debug)]
enum Step {
    Write {
        source: usize,
        name: usize,
        size: usize,
    },
    Remove {
        source: usize,
        name: usize,
    },
    Mirror {
        source: usize,
        deletes: bool,
        excludes: Option<usize>,
    },
    MirrorFile {
        source: usize,
        name: usize,
    },
    Put {
        name: usize,
        size: usize,
    },
    /// The source is found at another path from now on.
    Move {
        source: usize,
    },
    LoseState,
}

const NAMES: [&str; 6] = ["a", "b", "d/x", "d/y", "e/z", "p"];
const PATTERNS: [&str; 3] = ["/a", "d/", "*z"];

fn step() -> impl Strategy<Value = Step> {
    let (source, name, size) = (0..2_usize, 0..NAMES.len(), 1..40_usize);
    let named = (source.clone(), name.clone());
    prop_oneof![
        4 => (named.clone(), size.clone())
            .prop_map(|((source, name), size)| Step::Write { source, name, size }),
        1 => named.clone().prop_map(|(source, name)| Step::Remove { source, name }),
        4 => (source.clone(), any::<bool>(), prop::option::of(0..PATTERNS.len()))
            .prop_map(|(source, deletes, excludes)| Step::Mirror { source, deletes, excludes }),
        1 => named.prop_map(|(source, name)| Step::MirrorFile { source, name }),
        1 => (name, size).prop_map(|(name, size)| Step::Put { name, size }),
        1 => source.prop_map(|source| Step::Move { source }),
        1 => Just(Step::LoseState),
    ]
}

fn excluded(name: &str, pattern: Option<usize>) -> bool {
    match pattern {
        Some(0) => name == "a",
        Some(1) => name.starts_with("d/"),
        Some(_) => name.ends_with('z'),
        None => false,
    }
}

/// Two sources, the target, and the names of files in it that are on record.
struct World {
    env: Environment,
    sources: [PathBuf; 2],
    moves: usize,
    recorded: BTreeSet<String>,
}

impl World {
    fn new() -> Self {
        let env = Environment::new();
        let sources = ["one", "two"].map(|name| env.root.join(name));
        for source in &sources {
            TestTree::new().file("keep", "never empty").write(source);
        }
        fs::create_dir(&env.target).unwrap();
        Self { env, sources, moves: 0, recorded: BTreeSet::new() }
    }

    /// The names of files in a source.
    fn files(&self, source: usize) -> Vec<String> {
        let names = NAMES.iter().chain(&["keep"]);
        names
            .filter(|name| self.sources[source].join(name).is_file())
            .map(|it| (*it).into())
            .collect()
    }

    /// Does it; whether a run was.
    fn take(&mut self, step: &Step) -> bool {
        match *step {
            Step::Write { source, name, size } => {
                // Its size tells all of it, so that size and time never lie.
                let content = vec![b'0' + size as u8; size];
                TestTree::new().file(NAMES[name], content).write(&self.sources[source]);
                return false;
            }
            Step::Remove { source, name } => {
                let _was_there = fs::remove_file(self.sources[source].join(NAMES[name])).is_ok();
                return false;
            }
            Step::Move { source } => {
                self.moves += 1;
                let to = self.env.root.join(format!("moved-{}", self.moves));
                fs::rename(&self.sources[source], &to).unwrap();
                self.sources[source] = to;
                return false;
            }
            Step::LoseState => {
                fs::remove_dir_all(&self.env.state).unwrap();
                fs::create_dir(&self.env.state).unwrap();
                if !directory(&self.env).exists() {
                    self.recorded.clear();
                }
                return false;
            }
            Step::Mirror { source, deletes, excludes } => {
                let mut flags = Vec::new();
                if deletes {
                    flags.extend(["--delete", "--max-delete", "100%", "--accept-source"]);
                }
                flags.extend(excludes.iter().flat_map(|at| ["--exclude", PATTERNS[*at]]));
                mirror(&self.env, &self.sources[source], &flags).expect(0);
                let files = self.files(source).into_iter();
                self.recorded.extend(files.filter(|name| !excluded(name, excludes)));
            }
            Step::MirrorFile { source, name } => {
                let file = self.sources[source].join(NAMES[name]);
                if !file.is_file() {
                    return false;
                }
                mirror(&self.env, &file, &[]).expect(0);
                self.recorded.insert(NAMES[name].rsplit('/').next().unwrap().to_owned());
            }
            Step::Put { name, size } => {
                let name = NAMES[name].rsplit('/').next().unwrap();
                put(&self.env, name, &"x".repeat(size));
                self.recorded.insert(name.to_owned());
            }
        }
        self.recorded.retain(|name| self.env.target.join(name).is_file());
        true
    }

    /// The digests of files that the state holds, by name, and where each is from.
    fn state(&self) -> BTreeMap<String, (String, String)> {
        let directory = self.env.state.join("vidimus");
        let files = fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
        let files: Vec<_> =
            files.filter(|path| path.extension().is_some_and(|it| it == "sqlite3")).collect();
        let [file] = &*files else { panic!("{files:?}") };
        let state = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let query = "SELECT CAST(key AS TEXT), lower(hex(digest)), name FROM entries \
             JOIN sources ON number = from_source WHERE kind = 0";
        let mut statement = state.prepare(query).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))));
        rows.unwrap().map(Result::unwrap).collect()
    }

    fn check(&self) {
        let env = &self.env;
        let state = self.state();
        let digest = |name: &String| {
            let content = fs::read(env.target.join(name)).unwrap();
            (name.clone(), blake3::hash(&content).to_hex().to_string())
        };
        let expected: BTreeMap<_, _> = self.recorded.iter().map(digest).collect();
        let digests: BTreeMap<_, _> =
            state.iter().map(|(name, (digest, _))| (name.clone(), digest.clone())).collect();
        assert_eq!(digests, expected);
        let verified = env.verify(&["--json"]).expect(0).finished();
        verified.counts(&[("verified", expected.len() as u64), ("unproven", 0), ("missing", 0)]);
        if !directory(env).exists() {
            return;
        }
        let head = head(env);
        let sources: BTreeMap<_, _> = match head["sources"].as_array() {
            None => BTreeMap::from([(1, head["source"].as_str().unwrap().to_owned())]),
            Some(sources) => sources
                .iter()
                .map(|source| {
                    let name = source["source"].as_str().unwrap().to_owned();
                    (source["number"].as_i64().unwrap(), name)
                })
                .collect(),
        };
        let files = published(env).into_iter().filter(|(_, row)| row["kind"] == "file");
        let published: BTreeMap<_, _> = files
            .map(|(name, row)| {
                let source = sources[&row["from"].as_i64().unwrap_or(1)].clone();
                (name, (row["blake3"].as_str().unwrap().to_owned(), source))
            })
            .collect();
        assert_eq!(published, state);
    }
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: cases.unwrap_or(16),
        failure_persistence: None,
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whoever_wrote_to_a_target_all_of_it_is_verified_and_published(
        steps in prop::collection::vec(step(), 1..16),
        rotten in any::<prop::sample::Index>(),
    ) {
        let mut world = World::new();
        for step in &steps {
            if world.take(step) {
                world.check();
            }
            world.env.age();
        }
        let Some(name) = world.recorded.iter().nth(match world.recorded.len() {
            0 => return Ok(()),
            count => rotten.index(count),
        }) else { return Ok(()) };
        rot(&world.env.target.join(name));
        let run = world.env.verify(&[]).expect(3);
        run.names(&format!("corrupt {name}")).names("1 difference\n");
    }
}

#[test]
fn a_file_that_has_the_name_of_vidimus_own_directory_is_told_of() {
    let env = Environment::new();
    TestTree::new().file(".vidimus", "mine").file("a", "1").write(&env.source);
    let (source, target) = (text(&env.source), text(&env.target));
    let told = "\".vidimus\" at the root, which is not a directory, is left out";
    env.vidimus(&["mirror", "--dry-run", source, target]).expect(0).names(told);
    env.vidimus(&["mirror", source, target]).expect(0).names(told);
    env.vidimus(&["mirror", source, target]).expect(0).names(told);
    env.vidimus(&["verify", target, "--against", source]).expect(0).names(told);
    env.vidimus(&["diff", source, target]).expect(0).names(&format!("in A: {told}"));
    env.vidimus(&["bag", source, "bag"]).expect(0).names(told);
    // What a target keeps there is no news, nor is it where it is read as a source.
    env.vidimus(&["mirror", target, "back"]).expect(0).is_silent_about("left out");
    // A file of that name deeper is as any other.
    assert!(!env.target.join(".vidimus").is_file());
}

#[test]
fn a_link_that_has_the_name_of_vidimus_own_directory_is_left_out_by_every_command() {
    let env = Environment::new();
    TestTree::new().symlink(".vidimus", "a").file("a", "1").write(&env.source);
    env.age();
    let (source, target) = (text(&env.source), text(&env.target));
    let told = "\".vidimus\" at the root, which is not a directory, is left out";
    env.vidimus(&["mirror", source, target]).expect(0).names(told);
    env.vidimus(&["verify", target, "--against", source]).expect(0).names(told);
    env.vidimus(&["diff", source, target]).expect(0).names(&format!("in A: {told}"));
}
