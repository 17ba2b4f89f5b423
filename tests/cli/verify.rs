//! `verify`: the target against the rows of the latest run into it.

use crate::common::environment::text;
use crate::common::tree::set_mtime_of;
use crate::common::{Environment, Snapshot, TestTree, assert_untouched, tools};
use crate::mirror::{mirrored, sample};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

#[test]
fn a_clean_mirror_is_proven_and_not_touched() {
    let env = mirrored(&sample());
    let before = Snapshot::read(&env.target);
    env.verify(&[]).expect(0);
    env.verify(&["--strict"]).expect(0);
    let record = env.verify(&["--json"]).expect(0).finished().record;
    assert_eq!(record["corrupt"], 0, "{record}");
    assert_untouched(&before, &env.target);
}

#[test]
fn a_flipped_byte_is_corrupt_though_its_stamps_are_kept() {
    let env = mirrored(&sample());
    TestTree::new()
        .file("README.md", "Hello, world\n")
        .mtime(1_600_000_000, 123_456_789)
        .write(&env.target);
    env.verify(&[]).expect(3).names("README.md").names("corrupt").is_silent_about("leaf");
}

#[test]
fn a_truncated_file_is_corrupt() {
    let env = mirrored(&sample());
    fs::write(env.target.join("data/deep/er/leaf"), "le").unwrap();
    env.verify(&[]).expect(3).names("data/deep/er/leaf").names("corrupt");
}

#[test]
fn what_is_missing_is_named() {
    let env = mirrored(&sample());
    fs::remove_file(env.target.join("README.md")).unwrap();
    fs::remove_dir(env.target.join("empty")).unwrap();
    fs::remove_file(env.target.join("links/loop")).unwrap();
    let run = env.verify(&[]).expect(3).names("missing");
    run.names("README.md").names("empty").names("links/loop");
}

#[test]
fn other_metadata_is_named() {
    let env = mirrored(&sample());
    set_mtime_of(&env.target.join("bin/run"), 1, 1);
    fs::set_permissions(env.target.join("empty"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::remove_file(env.target.join("links/loop")).unwrap();
    std::os::unix::fs::symlink("elsewhere", env.target.join("links/loop")).unwrap();
    let run = env.verify(&[]).expect(3).names("metadata");
    run.names("bin/run").names("empty").names("links/loop").is_silent_about("README.md");
}

#[test]
fn another_type_is_named() {
    let env = mirrored(&sample());
    fs::remove_file(env.target.join("README.md")).unwrap();
    fs::create_dir(env.target.join("README.md")).unwrap();
    env.verify(&[]).expect(3).names("README.md");
}

#[test]
fn extras_count_with_strict_or_after_a_run_that_deleted() {
    let env = mirrored(&sample());
    let add_extra = || {
        let (seconds, nanos) = Snapshot::read(&env.target).get("").unwrap().mtime;
        fs::write(env.target.join("extra"), "x").unwrap();
        // The directory's own time would be a difference of its own.
        set_mtime_of(&env.target, seconds, nanos);
    };
    add_extra();
    env.verify(&[]).expect(0);
    env.verify(&["--strict"]).expect(3).names("extra");
    env.mirrored(&["--delete"]);
    env.verify(&[]).expect(0);
    add_extra();
    env.verify(&[]).expect(3).names("extra");
}

#[test]
fn without_records_there_is_nothing_to_hold_the_target_against() {
    let env = mirrored(&sample());
    env.lose_records();
    env.verify(&[]).expect(4).names("help: ");
    env.vidimus(&["verify", text(&env.source)]).expect(4);
}

#[test]
fn another_state_directory_is_found_by_its_flag() {
    let env = Environment::new();
    sample().write(&env.source);
    env.mirrored(&["--state-dir", "home/elsewhere"]);
    fs::remove_dir_all(env.target.join(".vidimus/manifest")).unwrap();
    env.verify(&[]).expect(4);
    let run = env.verify(&["--state-dir", "home/elsewhere"]).expect(4);
    run.names("0 differences").names("the target lacks the manifest that was published in it");
    assert!(fs::read_dir(&env.state).unwrap().next().is_none());
}

#[test]
fn state_is_found_by_home_where_no_xdg_variable_says_otherwise() {
    let env = Environment::new();
    sample().write(&env.source);
    let mut command = env.command(&env.mirror_arguments(&[]));
    command.env_remove("XDG_STATE_HOME");
    crate::common::Run::of(command).expect(0);
    assert!(env.root.join("home/.local/state/vidimus").is_dir());
}

#[test]
fn a_missing_target_exits_4_or_7() {
    let env = mirrored(&sample());
    fs::remove_dir_all(&env.target).unwrap();
    env.verify(&[]).expect_one_of(&[4, 7]);
    env.vidimus(&["verify", "nowhere"]).expect_one_of(&[4, 7]).names("nowhere");
}

#[test]
fn the_same_target_by_another_name_is_known() {
    let env = mirrored(&sample());
    std::os::unix::fs::symlink("target", env.root.join("other-name")).unwrap();
    env.vidimus(&["verify", "target"]).expect(0);
    env.vidimus(&["verify", "./target/"]).expect(0);
    env.vidimus(&["verify", "other-name"]).expect(0);
}

#[test]
fn a_later_change_of_the_source_is_no_difference() {
    let env = mirrored(&sample());
    fs::write(env.source.join("README.md"), "later").unwrap();
    env.verify(&[]).expect(0);
    env.mirrored(&[]);
    env.verify(&[]).expect(0);
}

#[test]
fn entries_that_failed_or_are_excluded_are_not_held_against_the_target() {
    let env = Environment::new();
    sample().failing().write(&env.source);
    env.mirror(&["--exclude", "/data/"]).expect(1);
    // That something failed is told.
    env.verify(&[]).expect(3).names("0 differences").names("was incomplete");
    env.verify(&["--allow-incomplete"]).expect(0).names("was incomplete");
}

#[test]
fn what_was_corrupted_is_put_right_by_the_next_mirror() {
    let env = mirrored(&sample());
    TestTree::new()
        .file("README.md", "Hello, world\n")
        .mtime(1_600_000_000, 123_456_789)
        .write(&env.target);
    env.verify(&[]).expect(3);
    env.mirrored(&[]).counts(&[("files_copied", 1)]);
    env.verify(&[]).expect(0);
}

#[test]
fn a_difference_that_cannot_be_read_is_a_failure() {
    let env = mirrored(&TestTree::new().file("a", "1").file("b", "2"));
    crate::needs!(crate::common::tools::strace());
    let path = env.target.join("a");
    let calls = "inject=read,pread64,readv,mmap:error=EIO";
    let run = env.strace(&["-P", text(&path), "-e", calls], &["verify", text(&env.target)]);
    run.expect(1).names("\"a\"").names("os error 5");
}

#[test]
fn a_link_that_was_made_but_not_recorded_is_recorded_by_the_next_run() {
    // What a kill between a link's rename and its row leaves: source and target agree, the row not.
    let env = mirrored(&TestTree::new().symlink("link", "old").file("a", "1"));
    for root in [&env.source, &env.target] {
        TestTree::new().symlink("link", "new").mtime(7, 7).write(root);
    }
    env.mirrored(&[]);
    assert_eq!(fs::read_link(env.target.join("link")).unwrap().to_str(), Some("new"));
    env.verify(&[]).expect(0);
}

/// Records a run as killed that began now, and was to delete or not.
fn begin_a_run(env: &Environment, deletes: bool) {
    let connection = rusqlite::Connection::open(state(env)).expect("open the state");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let insert = "INSERT INTO runs (id, source, started, options) \
                  SELECT 'killed', source, ?1, json_set(options, '$.delete', json(?2)) FROM runs \
                  ORDER BY number DESC LIMIT 1";
    let values = rusqlite::params![now.as_nanos() as i64, deletes.to_string()];
    connection.execute(insert, values).expect("insert");
}

#[test]
fn what_a_killed_run_may_have_done_is_unknown_and_what_differed_before_is_not() {
    let tree = TestTree::new().file("a", "1").file("b", "2").file("c", "3").file("d/e", "4");
    let env = mirrored(&tree.file("f", "5"));
    fs::write(env.target.join("a"), "corrupt").unwrap();
    env.age();
    begin_a_run(&env, true);
    fs::write(env.target.join("b"), "a new size").unwrap();
    fs::write(env.target.join("c"), "x").unwrap();
    fs::remove_file(env.target.join("d/e")).unwrap();
    fs::write(env.target.join("new"), "new").unwrap();
    let run = env.verify(&["--strict"]).expect(3).names("corrupt a");
    let run = run.names("unknown b: ").names("unknown c: ").names("unknown d/e: missing");
    let run = run.names("unknown new: no run recorded it").names("run killed of ");
    // Its time is another, too.
    run.names("2 differences").is_silent_about("corrupt b").is_silent_about("corrupt c");
    env.verify(&["--strict", "--allow-incomplete"]).expect(3).names("corrupt a");
    let record = env.verify(&["--strict", "--json"]).finished();
    record.counts(&[("corrupt", 1), ("missing", 0), ("extra", 0), ("differences", 2)]);
    fs::write(env.target.join("a"), "1").unwrap();
    let run = env.verify(&["--strict", "--allow-incomplete"]).expect(0).names("unknown b: ");
    run.names("incomplete: nothing differs, but an interrupted run may have changed some entries");
    // Content by a budget comes by another way.
    env.verify(&["--budget", "1h", "--allow-incomplete"]).expect(0).names("unknown c: ");
    env.mirrored(&[]);
    env.verify(&[]).expect(0).is_silent_about("unknown");
}

#[test]
fn what_a_killed_run_cannot_have_removed_is_missing() {
    let tree = TestTree::new().file("a", "1").file("d/e", "2").file("d/f", "3");
    let env = mirrored(&tree);
    env.age();
    begin_a_run(&env, false);
    fs::remove_file(env.target.join("d/e")).unwrap();
    // A directory took the place of a file.
    fs::remove_file(env.target.join("d/f")).unwrap();
    fs::create_dir(env.target.join("d/f")).unwrap();
    let run = env.verify(&["--allow-incomplete"]).expect(3).names("missing d/e");
    run.names("unknown d/f: missing").names("1 difference");
    env.mirrored(&[]);
    env.verify(&[]).expect(0);
}

/// The database of the one mirror.
fn state(env: &Environment) -> PathBuf {
    let names = fs::read_dir(env.state.join("vidimus")).expect("list the state");
    let mut paths = names.map(|name| name.expect("list the state").path());
    paths.find(|path| path.extension().is_some_and(|is| is == "sqlite3")).expect("a state")
}

/// When each file was verified, as the state has it: nanoseconds since the epoch.
fn verified(env: &Environment) -> BTreeMap<String, Option<i64>> {
    let connection = rusqlite::Connection::open(state(env)).expect("open the state");
    let query = "SELECT CAST(key AS TEXT), verified_at FROM entries WHERE digest IS NOT NULL";
    let mut statement = connection.prepare(query).expect("prepare");
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("query");
    rows.map(|row| row.expect("a row")).collect()
}

#[test]
fn what_was_verified_when_is_recorded_and_is_no_change() {
    let env = mirrored(&sample());
    assert!(verified(&env).values().all(Option::is_none));
    fs::write(env.target.join("bin/run"), "#!/bin/sH\n").expect("write");
    env.verify(&[]).expect(3);
    let after = verified(&env);
    assert!(after.len() > 1);
    for (key, at) in &after {
        assert_eq!(at.is_some(), key != "bin/run", "{key}");
    }
    // Nothing of the rest of a row changes: a mirror copies what is corrupt alone, and publishes
    // that with its directory.
    env.mirrored(&[]).counts(&[("files_copied", 1)]);
    assert_eq!(verified(&env)["bin/run"], None);
    assert_eq!(verified(&env)["README.md"], after["README.md"]);
    let manifest = env.target.join(".vidimus/manifest");
    let segment = fs::read(manifest.join("00000002.ndjson.zst")).expect("read a segment");
    let lines = String::from_utf8(zstd::decode_all(&segment[..]).expect("zstd")).expect("UTF-8");
    assert!(lines.contains("bin/run") && !lines.contains("README.md"), "{lines}");
    env.verify(&[]).expect(0);
    env.mirrored(&[]);
    assert!(!manifest.join("00000003.json").exists(), "verification was published");
}

#[test]
fn a_state_that_cannot_be_written_verifies_all_the_same() {
    let env = mirrored(&TestTree::new().file("a", "1"));
    crate::needs!(tools::root(), tools::tool("setpriv").map(drop));
    for entry in walkdir::WalkDir::new(env.target.join(".vidimus")) {
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(entry.expect("list").path(), open).expect("chmod");
    }
    for name in fs::read_dir(env.state.join("vidimus")).expect("list the state") {
        let path = name.expect("list the state").path();
        fs::set_permissions(path, fs::Permissions::from_mode(0o444)).expect("chmod");
    }
    let run = env.as_nobody(&["verify", text(&env.target)]).expect("run as nobody");
    run.expect(0).names("warning: cannot record which files were verified").names("1 file");
    assert_eq!(verified(&env)["a"], None);
}

#[test]
fn quick_reads_nothing_and_names_what_was_touched() {
    let env = mirrored(&sample());
    let record = env.verify(&["--quick", "--json"]).expect(0).finished().record;
    assert_eq!((&record["verified"], &record["bytes_hashed"]), (&0.into(), &0.into()), "{record}");
    assert_eq!(record["unread"], 7, "{record}");
    // Another content of the same size and mtime; the change time tells.
    TestTree::new()
        .file("README.md", "Hello, world\n")
        .mtime(1_600_000_000, 123_456_789)
        .write(&env.target);
    let run = env.verify(&["--quick"]).expect(3);
    run.names("touched README.md: ctime").names("touched   1 file").is_silent_about("corrupt");
    let run = env.verify(&["--quick", "--json"]).expect(3);
    assert_eq!(run.records()[0]["difference"], "touched");
    run.finished().counts(&[("touched", 1), ("metadata", 0), ("differences", 1)]);
    // What is known to differ is not touched besides; what is smaller or gone is found as well.
    fs::set_permissions(env.target.join("bin/run"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(env.target.join("data/deep/er/leaf"), "le").expect("write");
    fs::remove_file(env.target.join("links/loop")).expect("remove");
    let run = env.verify(&["--quick", "--json"]).expect(3);
    run.finished().counts(&[("touched", 1), ("metadata", 2), ("corrupt", 1), ("missing", 1)]);
    assert!(verified(&env).values().all(Option::is_none), "what was not read was recorded");
}

#[test]
fn the_parts_of_a_sample_read_each_file_once() {
    let tree = (0..40).fold(TestTree::new(), |tree, number| {
        tree.file(format!("d{}/f{number}", number % 3), number.to_string())
    });
    let env = mirrored(&tree);
    let mut sum = 0;
    for part in 1..=4 {
        let sample = format!("{part}/4");
        let run = env.verify(&["--sample", &sample, "--json"]).expect(0).finished();
        let (chosen, unread) = (run.count("chosen"), run.count("unread"));
        assert_eq!((run.count("verified"), chosen + unread), (chosen, 40));
        assert_eq!(run.record["sample"], *sample);
        assert!(chosen < 40, "one part has all");
        sum += chosen;
        let recorded = verified(&env).values().filter(|at| at.is_some()).count();
        assert_eq!(recorded as u64, sum, "a file was read twice");
    }
    assert_eq!(sum, 40);
}

#[test]
fn what_is_not_in_the_sample_is_looked_at_and_not_read() {
    let env = mirrored(&TestTree::new().file("a", "1").mtime(5, 5).file("b", "2").file("c", "3"));
    // Rotten, shorter, gone: that one is rotten only reading tells.
    TestTree::new().file("a", "X").mtime(5, 5).write(&env.target);
    fs::write(env.target.join("b"), "").expect("write");
    fs::remove_file(env.target.join("c")).expect("remove");
    let (mut read, mut unread) = (0, 0);
    for part in 1..=3 {
        let sample = format!("{part}/3");
        let run = env.verify(&["--sample", &sample, "--json"]).expect(3);
        let run = run.finished();
        run.counts(&[("missing", 1)]);
        match (run.count("chosen"), run.count("corrupt")) {
            (1, 2) => read += 1,
            (0, 1) => unread += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((read, unread), (1, 2));
}

#[test]
fn a_random_share_can_be_taken_again_by_its_seed() {
    let tree = (0..40).fold(TestTree::new(), |tree, number| tree.file(format!("{number}"), "x"));
    let env = mirrored(&tree);
    let first = env.verify(&["--sample", "50%", "--json"]).expect(0).finished();
    let sample = first.record["sample"].as_str().expect("a sample").to_owned();
    assert!(sample.starts_with("50%@"), "{sample}");
    let chosen = verified(&env);
    let again = env.verify(&["--sample", &sample, "--json"]).expect(0).finished();
    assert_eq!(again.count("chosen"), first.count("chosen"));
    let is_some = |all: BTreeMap<String, Option<i64>>| -> Vec<_> {
        all.into_iter().filter(|(_, at)| at.is_some()).map(|(key, _)| key).collect()
    };
    assert_eq!(is_some(chosen), is_some(verified(&env)));
    env.verify(&["--sample", &sample]).expect(0).names(&format!("sample    {sample}, "));
    env.verify(&["--sample", "5%", "--quick"]).expect(2).names("--sample").names("help: ");
    env.verify(&["--sample", "7/5"]).expect(2).names("no part 7");
}

/// Says of files when they were verified: so many days ago.
fn set_verified(env: &Environment, keys: &[(&str, i64)]) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = i64::try_from(now.expect("after 1970").as_nanos()).expect("before 2262");
    let connection = rusqlite::Connection::open(state(env)).expect("open the state");
    for &(key, days) in keys {
        let update = "UPDATE entries SET verified_at = ?2 WHERE key = CAST(?1 AS BLOB)";
        let at = now - days * 86_400 * 1_000_000_000;
        assert_eq!(connection.execute(update, (key, at)).expect("update"), 1);
    }
}

#[test]
fn files_verified_lately_are_not_read_again() {
    let tree = ["never", "long", "lately"].into_iter();
    let env = mirrored(&tree.fold(TestTree::new(), |tree, name| tree.file(name, name)));
    set_verified(&env, &[("long", 31), ("lately", 29)]);
    let before = verified(&env);
    let run = env.verify(&["--older-than", "30d", "--json"]).expect(0).finished();
    run.counts(&[("chosen", 2), ("verified", 2), ("unread", 1), ("left", 0)]);
    let after = verified(&env);
    assert_eq!(before["lately"], after["lately"]);
    assert!(before["long"] < after["long"] && after["never"].is_some());
    let run = env.verify(&["--older-than", "30d", "--json"]).expect(0).finished();
    run.counts(&[("chosen", 0), ("unread", 3), ("bytes_hashed", 0)]);
}

#[test]
fn a_budget_is_spent_on_the_stalest_and_the_next_run_goes_on() {
    let tree = (0..10)
        .fold(TestTree::new(), |tree, number| tree.file(format!("d/f{number}"), [number; 1024]));
    let env = mirrored(&tree);
    set_verified(&env, &[("d/f0", 20), ("d/f1", 30)]);
    let mut done: Vec<Vec<String>> = Vec::new();
    for left in [7, 4, 2] {
        let before = verified(&env);
        // A file that was begun is read to its end.
        let budget = if left == 2 { "1025B" } else { "3KiB" };
        let run = env.verify(&["--older-than", "1d", "--budget", budget, "--json"]).expect(0);
        run.finished().counts(&[("left", left), ("left_bytes", left * 1024)]);
        let after = verified(&env).into_iter();
        done.push(after.filter(|(key, at)| before[key] != *at).map(|(key, _)| key).collect());
    }
    assert_eq!(done[0], ["d/f2", "d/f3", "d/f4"]);
    assert_eq!(done[1], ["d/f5", "d/f6", "d/f7"]);
    assert_eq!(done[2], ["d/f8", "d/f9"], "those never verified come first");
    fs::write(env.target.join("d/f1"), [7; 1024]).expect("write");
    let run = env.verify(&["--budget", "1KiB"]).expect(3).names("corrupt d/f1");
    run.names("left      9 files, 9.0 KiB: the budget is spent");
}

#[test]
fn a_budget_of_time_ends_the_reading() {
    let tree = (0..40).fold(TestTree::new(), |tree, number| {
        tree.file(format!("{number}"), vec![number; 64 << 10])
    });
    let env = mirrored(&tree);
    let slowly = ["--bwlimit", "256KiB/s", "--checkers", "2", "--budget", "2s", "--json"];
    let run = env.verify(&slowly).expect(0).finished();
    let (done, left) = (run.count("verified"), run.count("left"));
    assert!(done > 0 && left > 0, "{done} {left}");
    assert_eq!(done + left, 40);
    assert_eq!(verified(&env).values().flatten().count() as u64, done);
}

#[test]
fn without_a_state_a_budget_is_spent_and_said_not_to_be_recorded() {
    let env = mirrored(&TestTree::new().file("a", "1").file("b", "2"));
    fs::remove_dir_all(&env.state).expect("remove the state");
    let run = env.verify(&["--budget", "1B"]).expect(0);
    run.names("warning: cannot record which files were verified").names("left      1 file");
    env.verify(&["--budget", "2h", "--quick"]).expect(2).names("--budget");
    env.verify(&["--older-than", "30", "--quick"]).expect(2).names("30d");
}
