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
    run.names("published the manifest since, from elsewhere: ").names("unchanged         3 files");
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
            let input = env.root.join("input");
            fs::write(&input, [content]).expect("write the input");
            let state = env.root.join(format!("state-{}", name(machine)));
            let to = env.target.join("put");
            let arguments = ["put", "-", text(&to), "--state-dir", text(&state)];
            let mut command = env.command(&arguments);
            command.stdin(fs::File::open(input).expect("open the input"));
            Run::of(command).expect(0);
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
