//! Two machines, each with a record of its own, that mirror into one target in turns.

use crate::common::environment::text;
use crate::common::{Environment, Run, TestTree};
use crate::manifest::{head, published};
use proptest::prelude::*;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The machines' sources, by name.
const MACHINES: [&str; 2] = ["ada", "bob"];

fn machine(env: &Environment, name: &str, arguments: &[&str]) -> Run {
    let state = env.root.join(format!("state-{name}"));
    let mut all = arguments.to_vec();
    all.extend(["--state-dir", text(&state)]);
    env.vidimus(&all)
}

fn source(env: &Environment, name: &str) -> PathBuf {
    env.root.join(format!("source-{name}"))
}

/// Each machine's source has a directory of its own name.
fn environment() -> Environment {
    let env = Environment::new();
    for name in MACHINES {
        let tree = ["one", "two", "three"].into_iter().fold(TestTree::new(), |tree, file| {
            tree.file(format!("{name}/{file}"), format!("{file} of {name}"))
        });
        tree.write(&source(&env, name));
    }
    env.age();
    env
}

fn mirror(env: &Environment, name: &str, flags: &[&str]) -> Run {
    let source = source(env, name);
    let mut arguments = vec!["mirror", text(&source), text(&env.target)];
    arguments.extend(flags);
    machine(env, name, &arguments).expect(0)
}

/// Puts a file in the target.
fn put(env: &Environment, name: &str, content: impl AsRef<[u8]>) -> Run {
    let input = env.root.join("input");
    fs::write(&input, content).expect("write the input");
    let (state, to) = (env.root.join(format!("state-{name}")), env.target.join("put"));
    let mut command = env.command(&["put", "-", text(&to), "--state-dir", text(&state)]);
    command.stdin(fs::File::open(input).expect("open the input"));
    Run::of(command).expect(0)
}

fn sequence(env: &Environment) -> u64 {
    head(env)["sequence"].as_u64().expect("a number")
}

/// The files that the manifest has, with their digests.
fn files(env: &Environment) -> BTreeMap<String, Option<String>> {
    let rows = published(env).into_iter().filter(|(_, row)| row["kind"] == "file");
    rows.map(|(key, row)| (key, row["blake3"].as_str().map(str::to_owned))).collect()
}

fn digest(content: &[u8]) -> String {
    blake3::hash(content).to_hex().to_string()
}

/// The files that lie in the target, with their digests.
fn stands(env: &Environment) -> BTreeMap<String, Option<String>> {
    let mut files = BTreeMap::new();
    for entry in walkdir::WalkDir::new(&env.target) {
        let entry = entry.expect("list the target");
        let key = entry.path().strip_prefix(&env.target).expect("it lies there");
        if entry.file_type().is_file() && !key.starts_with(".vidimus") {
            let content = fs::read(entry.path()).expect("read a file");
            files.insert(text(key).to_owned(), Some(digest(&content)));
        }
    }
    files
}

/// Whoever published last, the manifest has all, and every machine verifies all.
fn check(env: &Environment) {
    assert_eq!(files(env), stands(env));
    let count = format!("verified  {} files", stands(env).len());
    for name in ["ada", "bob", "nobody"] {
        machine(env, name, &["verify", text(&env.target)]).expect(0).names(&count);
    }
}

#[test]
fn no_machine_loses_what_the_other_recorded() {
    let env = environment();
    mirror(&env, "ada", &[]);
    mirror(&env, "bob", &[]);
    check(&env);
    // The one knows nothing of what the other published.
    let run = mirror(&env, "ada", &[]);
    run.names("has since published the manifest from elsewhere: ")
        .names("unchanged         3 files");
    check(&env);
    for round in 0..3 {
        for name in MACHINES {
            let file = source(&env, name).join(name).join(format!("new-{round}"));
            fs::write(file, format!("{round} of {name}")).expect("write a file");
            mirror(&env, name, &[]);
            assert_eq!(files(&env), stands(&env));
        }
    }
    check(&env);
    // What nobody changed is not published again.
    mirror(&env, "ada", &[]);
    let before = sequence(&env);
    mirror(&env, "ada", &[]);
    assert_eq!(sequence(&env), before);
    // What the one removes is recorded by the other no more.
    let other = env.target.join("bob");
    mirror(&env, "ada", &["--delete", "--max-delete", "100%"]);
    assert!(!other.exists());
    assert_eq!(files(&env), stands(&env));
    mirror(&env, "bob", &["--size-only"]);
    check(&env);
}

/// A run that failed may have numbered its source as another machine numbered another.
#[test]
fn sources_that_both_gave_one_number_are_told_apart() {
    let env = environment();
    mirror(&env, "ada", &[]);
    let state = env.root.join("state-ada");
    let mut files =
        fs::read_dir(&state).expect("list the state").map(|it| it.expect("list").path());
    let record = files.find(|path| path.extension().is_some_and(|it| it == "sqlite3"));
    let record = Connection::open(record.expect("a record")).expect("open the record");
    record.execute("INSERT INTO sources (name) VALUES ('/nowhere')", []).expect("number a source");
    drop(record);
    mirror(&env, "bob", &[]);
    for round in 0..2 {
        for name in MACHINES {
            let file = source(&env, name).join(name).join(format!("new-{round}"));
            fs::write(file, name).expect("write a file");
            mirror(&env, name, &[]);
            let rows = published(&env);
            let sources = head(&env)["sources"].as_array().expect("a list").clone();
            for name in MACHINES {
                let from = rows[&format!("{name}/one")]["from"].as_u64().unwrap_or(1);
                let is_it = |told: &&serde_json::Value| told["number"] == from;
                let told = sources.iter().find(is_it).expect("its source is told");
                assert_eq!(told["source"], text(&source(&env, name)));
            }
        }
    }
    check(&env);
}

/// The files in the directory of the published manifest whose names end so, in order.
fn parts(env: &Environment, end: &str) -> Vec<PathBuf> {
    let directory = env.target.join(".vidimus/manifest");
    let files = fs::read_dir(directory).expect("list the manifest");
    let mut files: Vec<_> = files.map(|it| it.expect("list").path()).collect();
    files.retain(|file| text(file).ends_with(end));
    files.sort();
    files
}

/// Both have mirrored, and know of each other; then Bob mirrored what Ada doesn't know of.
fn overtaken() -> Environment {
    let env = environment();
    for name in ["ada", "bob", "ada"] {
        mirror(&env, name, &[]);
    }
    fs::write(source(&env, "bob").join("bob/one"), "another").expect("write a file");
    fs::write(source(&env, "bob").join("bob/four"), "four").expect("write a file");
    mirror(&env, "bob", &[]);
    env
}

#[test]
fn where_what_the_other_recorded_is_lost_it_is_told_and_nothing_older_published_instead() {
    let flip = |part: &Path| {
        let mut content = fs::read(part).expect("read");
        *content.last_mut().expect("not empty") ^= 1;
        fs::write(part, content).expect("write");
    };
    let remove = |part: &Path| fs::remove_file(part).expect("remove");
    let damage: [&dyn Fn(&Path); 2] = [&flip, &remove];
    for damage in damage {
        for is_put in [false, true] {
            let env = overtaken();
            let run = head(&env)["run"].as_str().expect("a run").to_owned();
            damage(parts(&env, ".zst").last().expect("a segment"));
            let told = if is_put { put(&env, "ada", "put") } else { mirror(&env, "ada", &["-q"]) };
            told.names(&format!("warning: run {run} has since published the manifest"))
                .names("what it recorded is lost: the published manifest is damaged")
                .names("have changed since are dropped: ");
            let (files, mut stands) = (files(&env), stands(&env));
            for lost in ["bob/one", "bob/four"] {
                assert!(stands.remove(lost).is_some() && !files.contains_key(lost), "{lost}");
            }
            assert_eq!(files, stands);
            for name in ["ada", "nobody"] {
                machine(&env, name, &["verify", text(&env.target)]).expect(0);
            }
            // Whoever knows better brings it back.
            mirror(&env, "bob", &[]);
            check(&env);
        }
    }
}

/// Before a mirror: what differs may be the other's work, and is neither called corrupt nor undone.
#[test]
fn a_record_that_was_overtaken_by_what_is_lost_calls_nothing_corrupt_and_mends_nothing() {
    let env = overtaken();
    fs::write(parts(&env, ".zst").pop().expect("a segment"), "rubbish").expect("write");
    let verify = ["verify", text(&env.target)];
    let run = machine(&env, "ada", &verify).expect(4).is_silent_about("corrupt");
    run.names("what it recorded is lost").names("bob/one");
    let old = env.root.join("old");
    TestTree::new().file("bob/one", "one of bob").write(&old);
    let mend = [&verify[..], &["--repair-from", text(&old)]].concat();
    machine(&env, "ada", &mend).expect(4).names("cannot repair");
    assert_eq!(fs::read_to_string(env.target.join("bob/one")).expect("read"), "another");
    let from = source(&env, "ada");
    let explain = ["explain", text(&from), text(&env.target), "ada/one"];
    let run = machine(&env, "ada", &explain).expect(0).is_silent_about("everything is compared");
    run.names("what it recorded of past runs is unknown");
}

/// What the other published is told by what it wrote, where what points to that is lost; where the
/// highest is lost with it, by the one below, and what stands otherwise is recorded no more.
#[test]
fn a_lost_pointer_or_head_costs_nothing_that_another_publication_tells() {
    let lose_pointer = |env: &Environment| {
        fs::remove_file(env.target.join(".vidimus/manifest/latest.json")).expect("remove");
    };
    let env = overtaken();
    lose_pointer(&env);
    let verify = ["verify", text(&env.target)];
    machine(&env, "ada", &verify)
        .expect(4)
        .names("latest.json: it is missing")
        .names("it is used instead");
    let run = mirror(&env, "ada", &["-q"]).names("warning: ").names("latest.json: it is missing");
    run.is_silent_about("is lost");
    check(&env);
    // Two publications of the other, the second a delta whose segment is damaged.
    let more = |file: &str, content: &str| {
        fs::write(source(&env, "bob").join("bob").join(file), content).expect("write a file");
        mirror(&env, "bob", &[]);
    };
    for file in 0..20 {
        fs::write(source(&env, "bob").join(format!("bob/f{file}")), "x").expect("write a file");
    }
    more("five", "five");
    more("five", "another");
    lose_pointer(&env);
    fs::write(parts(&env, ".zst").pop().expect("a segment"), "rubbish").expect("write");
    machine(&env, "ada", &verify).expect(4).is_silent_about("corrupt").names("bob/five");
    machine(&env, "nobody", &verify).expect(4).is_silent_about("corrupt").names("bob/five");
    let (from, target) = (source(&env, "ada"), text(&env.target));
    machine(&env, "ada", &["mirror", "-n", text(&from), target]).expect(0).names("is lost");
    mirror(&env, "ada", &["-q"]).names("what it recorded is lost").names("are dropped: 1");
    let (files, mut stands) = (files(&env), stands(&env));
    assert!(stands.remove("bob/five").is_some());
    assert_eq!(files, stands);
    mirror(&env, "bob", &[]);
    check(&env);
}

#[test]
fn a_broken_chain_costs_nothing_that_the_other_recorded() {
    let env = overtaken();
    let between = parts(&env, ".json").into_iter().rfind(|it| !text(it).ends_with("latest.json"));
    fs::write(source(&env, "bob").join("bob/two"), "another").expect("write a file");
    mirror(&env, "bob", &[]);
    fs::remove_file(between.expect("a head")).expect("remove");
    mirror(&env, "ada", &[])
        .names("the chain is broken")
        .names("entries were taken over")
        .names("begins a new chain");
    check(&env);
}

/// What is put where nothing is published makes a record that tells of no publication.
#[test]
fn what_another_published_where_nothing_was_is_not_lost() {
    let env = environment();
    fs::create_dir_all(&env.target).expect("make the target");
    put(&env, "ada", "put");
    mirror(&env, "bob", &[]);
    mirror(&env, "ada", &[]).names("has since published the manifest from elsewhere");
    check(&env);
}

#[test]
fn a_put_says_what_it_takes_over_from_another() {
    let env = overtaken();
    let run = head(&env)["run"].as_str().expect("a run").to_owned();
    put(&env, "ada", "put").names(&format!("note: run {run} has since published the manifest"));
    check(&env);
}

/// As the run does then: it copies nothing, and a dry run says so, and writes nothing.
#[test]
fn a_dry_run_and_explain_go_by_what_another_machine_published_since() {
    let env = environment();
    let (from, target) = (source(&env, "ada"), text(&env.target));
    let pair = [text(&from), target];
    for name in MACHINES {
        machine(&env, name, &[&["mirror"][..], &pair].concat()).expect(0);
    }
    machine(&env, "ada", &[&["mirror"][..], &pair].concat()).expect(0);
    fs::write(from.join("ada/one"), "another").expect("write a file");
    env.age();
    machine(&env, "bob", &[&["mirror"][..], &pair].concat()).expect(0);
    let state = || {
        let files = fs::read_dir(env.root.join("state-ada")).expect("list the state");
        let files = files.map(|it| it.expect("list").path());
        files.map(|it| (it.clone(), fs::read(it).ok())).collect::<BTreeMap<_, _>>()
    };
    let before = state();
    let dry = machine(&env, "ada", &[&["mirror", "-n", "--exit-changes"][..], &pair].concat());
    dry.expect(0).names("a run takes its entries over");
    let explained = [&["explain"][..], &pair, &["ada/one"]].concat();
    machine(&env, "ada", &explained).expect(0).is_silent_about("would copy");
    assert_eq!(state(), before);
    let run = machine(&env, "ada", &[&["mirror"][..], &pair].concat()).expect(0);
    run.names("unchanged         3 files");
}

/// What one machine does in its turn.
#[derive(Clone, Debug)]
enum Turn {
    Write(usize, usize, u8),
    Remove(usize, usize),
    Mirror(usize, bool),
    Put(usize, u8),
    LoseRecord(usize),
}

fn turn() -> impl Strategy<Value = Turn> {
    let machine = 0..MACHINES.len();
    prop_oneof![
        4 => (machine.clone(), 0..4_usize, any::<u8>())
            .prop_map(|(machine, file, content)| Turn::Write(machine, file, content)),
        1 => (machine.clone(), 0..4_usize).prop_map(|(machine, file)| Turn::Remove(machine, file)),
        6 => (machine.clone(), prop::bool::weighted(0.2))
            .prop_map(|(machine, delete)| Turn::Mirror(machine, delete)),
        2 => (machine.clone(), any::<u8>()).prop_map(|(machine, content)| Turn::Put(machine, content)),
        1 => machine.prop_map(Turn::LoseRecord),
    ]
}

fn take(env: &Environment, turn: &Turn) {
    let name = |machine: usize| MACHINES[machine];
    // Half of the names are both machines', so that each writes over what the other did.
    let path = |machine: usize, file: usize| {
        let key =
            if file < 2 { format!("both/{file}") } else { format!("{}/{file}", name(machine)) };
        source(env, name(machine)).join(key)
    };
    match *turn {
        Turn::Write(machine, file, content) => {
            let path = path(machine, file);
            fs::create_dir_all(path.parent().expect("a parent")).expect("make a directory");
            fs::write(path, vec![content; usize::from(content)]).expect("write a file");
            env.age();
        }
        Turn::Remove(machine, file) => {
            let path = path(machine, file);
            if path.exists() {
                fs::remove_file(path).expect("remove a file");
            }
        }
        Turn::Mirror(machine, delete) => {
            let flags: &[&str] = if delete { &["--delete", "--max-delete", "100%"] } else { &[] };
            mirror(env, name(machine), &[&["--checksum"], flags].concat());
        }
        Turn::Put(machine, content) => {
            put(env, name(machine), [content]);
        }
        Turn::LoseRecord(machine) => {
            let state = env.root.join(format!("state-{}", name(machine)));
            if Path::new(&state).exists() {
                fs::remove_dir_all(state).expect("remove the record");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// Whatever two machines do in turns, the manifest tells what stands in the target, each file with
    /// its digest, once both have mirrored.
    #[test]
    fn whatever_two_machines_do_in_turns_the_manifest_tells_what_stands(
        turns in prop::collection::vec(turn(), 1..14)
    ) {
        let env = environment();
        for name in MACHINES {
            mirror(&env, name, &[]);
        }
        for turn in &turns {
            take(&env, turn);
            if matches!(turn, Turn::Mirror(..) | Turn::Put(..)) {
                prop_assert_eq!(files(&env), stands(&env));
            }
        }
        let count = format!("verified  {} file", stands(&env).len());
        machine(&env, "nobody", &["verify", text(&env.target)]).expect(0).names(&count);
    }
}
