//! What a user reads: help, errors of usage, summaries. Snapshots; `INSTA_UPDATE=always cargo test`
//! writes them anew.

use crate::common::environment::text;
use crate::common::tree::FAILING;
use crate::common::{Environment, Run, TestTree, tools};
use crate::mirror::sample;
use crate::needs;
use insta::assert_snapshot;
use serde_json::Value;
use std::fmt::Write as _;

/// A run's outputs and exit code, with what changes from run to run redacted.
fn shown(env: &Environment, run: &Run) -> String {
    let mut shown = format!("exit {}\n", run.code());
    for (name, output) in [("stdout", &run.stdout), ("stderr", &run.stderr)] {
        if !output.is_empty() {
            let output = output.replace(text(&env.root), "<ROOT>");
            write!(shown, "--- {name}\n{}", figures_redacted(&output)).unwrap();
        }
    }
    shown
}

/// Replaces figures that time decides: `12.3 ms`, `1.2 MiB/s`, `0.4 s` and run ids.
fn figures_redacted(output: &str) -> String {
    let mut redacted = String::new();
    for line in output.split_inclusive('\n') {
        let mut words = Vec::new();
        for word in line.split(' ') {
            let unit = word.trim_end_matches(['\n', ',', ';', ')']);
            let is_time = ["ms", "s", "min", "µs", "us", "seconds", "second"].contains(&unit);
            let is_speed = unit.ends_with("/s");
            if (is_time || is_speed) && words.last().is_some_and(|last: &String| is_number(last)) {
                words.pop();
                words.push("<FIGURE>".to_owned());
                words.push(if is_speed {
                    word.replace(unit, "<SPEED>")
                } else {
                    word.replace(unit, "<TIME>")
                });
            } else if is_run_id(word) {
                words.push("<RUN>".to_owned());
            } else {
                words.push(word.to_owned());
            }
        }
        redacted.push_str(&words.join(" "));
    }
    redacted
}

/// `20261121T033800Z-1f2e3d4c`
fn is_run_id(word: &str) -> bool {
    let shape = |c: char| if c.is_ascii_hexdigit() { '0' } else { c };
    word.chars().map(shape).eq("00000000T000000Z-00000000".chars())
}

fn is_number(word: &str) -> bool {
    let word = word.trim_start_matches(['(', '<', '~']);
    !word.is_empty() && word.chars().all(|c| c.is_ascii_digit() || c == '.' || c == ',')
}

#[test]
fn help_of_each_command() {
    let env = Environment::new();
    for (name, arguments) in [
        ("short", &["-h"][..]),
        ("long", &["--help"]),
        ("mirror_short", &["mirror", "-h"]),
        ("mirror_long", &["mirror", "--help"]),
        ("bag_long", &["bag", "--help"]),
        ("verify_long", &["verify", "--help"]),
        ("explain_long", &["explain", "--help"]),
        ("diff_long", &["diff", "--help"]),
        ("ls_long", &["ls", "--help"]),
        ("cat_long", &["cat", "--help"]),
        ("put_long", &["put", "--help"]),
        ("manifest", &["manifest", "--help"]),
        ("manifest_show_long", &["manifest", "show", "--help"]),
        ("manifest_log_long", &["manifest", "log", "--help"]),
        ("manifest_export_long", &["manifest", "export", "--help"]),
        ("completions", &["completions", "--help"]),
        ("man", &["man", "--help"]),
    ] {
        let run = env.vidimus(arguments).expect(0);
        assert_snapshot!(format!("help_{name}"), run.stdout);
    }
}

#[test]
fn wrong_usage_is_told_with_a_way_out() {
    let env = Environment::new();
    for (name, arguments) in [
        ("nothing", &[][..]),
        ("unknown_command", &["miror", "a", "b"]),
        ("unknown_flag", &["mirror", "--delte", "a", "b"]),
        ("missing_target", &["mirror", "a"]),
        ("several_sources", &["mirror", "a", "b", "c"]),
        ("size_without_unit", &["mirror", "a", "b", "--max-size", "10"]),
        ("bad_max_delete", &["mirror", "a", "b", "--delete", "--max-delete", "many"]),
        ("unknown_scheme", &["mirror", "gs://bucket/x", "b"]),
        ("secret_in_location", &["mirror", "s3://AKIAX:canary@bucket/x", "b"]),
        ("unknown_option", &["mirror", "a", "s3://bucket/x?regoin=eu"]),
        ("unknown_durability", &["mirror", "a", "b", "--durability", "fil"]),
        ("no_transfers", &["mirror", "a", "b", "--transfers", "0"]),
        ("unknown_shell", &["completions", "bsh"]),
    ] {
        let run = env.vidimus(arguments).expect(2);
        assert_snapshot!(format!("usage_{name}"), shown(&env, &run));
    }
}

#[test]
fn an_endpoint_without_encryption_is_refused_unless_it_is_meant() {
    let env = Environment::new();
    let location = "s3://bucket/p?endpoint=http://store.example:9000";
    let run = env.vidimus(&["mirror", "source", location]).expect(6);
    run.names("store.example").names("--allow-http");
    env.vidimus(&["verify", location]).expect(6).names("--allow-http");
    env.vidimus(&["verify", "target", "--against", location]).expect(6).names("--allow-http");
    env.vidimus(&["explain", "source", location, "key"]).expect(6).names("--allow-http");
    env.vidimus(&["diff", "nowhere", location]).expect(6).names("--allow-http");
    env.vidimus(&["diff", "--allow-http", "nowhere", location]).expect(7).names("nowhere");
    for allowed in ["VIDIMUS_ALLOW_HTTP", "NOTHING"] {
        let mut command = env.command(&["mirror", "source", location]);
        command.env(allowed, "true");
        let refused = Run::of(command).status.code() == Some(6);
        assert_eq!(refused, allowed == "NOTHING");
    }
}

#[test]
fn version_is_that_of_the_package() {
    let env = Environment::new();
    let run = env.vidimus(&["--version"]).expect(0);
    assert_eq!(run.stdout, format!("vidimus {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_a_mirror_says() {
    let env = Environment::new();
    let tree = TestTree::new().file("a", "first").file("d/b", "second").dir("empty");
    tree.symlink("link", "a").write(&env.source);
    env.age();
    let run = |flags: &[&str]| {
        let flags = [&["mirror", "source", "target", "--transfers", "1", "--checkers", "1"], flags]
            .concat();
        shown(&env, &env.vidimus(&flags))
    };
    assert_snapshot!("mirror_dry_run", run(&["--dry-run"]));
    assert_snapshot!("mirror_first", run(&["-v"]));
    assert_snapshot!("mirror_second", run(&[]));
    TestTree::new().failing().write(&env.source);
    std::fs::remove_file(env.source.join("d/b")).unwrap();
    assert_snapshot!("mirror_failure", run(&["--delete", "--delete-despite-errors"]));
    std::fs::remove_file(env.source.join(FAILING)).unwrap();
    std::fs::remove_dir_all(env.source.join("d")).unwrap();
    std::fs::remove_dir_all(env.source.join("empty")).unwrap();
    assert_snapshot!("mirror_refused", run(&["--delete", "--max-delete", "1"]));
}

#[test]
fn what_a_verification_says() {
    let env = Environment::new();
    let tree = TestTree::new().mtime(7, 7).file("a", "first").mtime(7, 7).file("b", "second");
    tree.write(&env.source);
    env.mirrored(&[]);
    assert_snapshot!("verify_clean", shown(&env, &env.vidimus(&["verify", "target"])));
    TestTree::new().file("a", "FIRST").mtime(7, 7).write(&env.target);
    std::fs::remove_file(env.target.join("b")).unwrap();
    crate::common::tree::set_mtime_of(&env.target, 7, 7);
    assert_snapshot!("verify_differences", shown(&env, &env.vidimus(&["verify", "target"])));
    env.lose_records();
    assert_snapshot!("verify_no_state", shown(&env, &env.vidimus(&["verify", "target"])));
}

#[test]
fn the_shape_of_the_records() {
    let env = Environment::new();
    TestTree::new().file("a", "first").failing().write(&env.source);
    let mut shapes: Vec<String> = Vec::new();
    for record in env.mirror(&["-v"]).expect(1).records() {
        let shape = shape(&record);
        if record["event"] != "progress" && !shapes.contains(&shape) {
            shapes.push(shape);
        }
    }
    shapes.sort();
    assert_snapshot!("records", shapes.join("\n"));
}

/// A record's event, and the names and types of its fields.
fn shape(record: &Value) -> String {
    let fields = record.as_object().expect("a record is an object").iter();
    let fields = fields.map(|(name, value)| match value {
        Value::Null => format!("{name}: null"),
        Value::Bool(_) => format!("{name}: bool"),
        Value::Number(_) => format!("{name}: number"),
        Value::String(_) => format!("{name}: string"),
        Value::Array(_) => format!("{name}: list"),
        Value::Object(_) => format!("{name}: object"),
    });
    format!("{}\n    {}", record["event"], fields.collect::<Vec<_>>().join("\n    "))
}

#[test]
fn completions_and_the_manual_are_printed() {
    let env = Environment::new();
    for shell in ["bash", "zsh", "fish"] {
        env.vidimus(&["completions", shell]).expect(0).names("mirror").names("max-delete");
    }
    env.vidimus(&["man"]).expect(0).names(".TH").names("mirror");
    let missing = env.vidimus(&["man", "--dir", "missing"]).expect(7);
    missing.names("\"missing/vidimus.1\"").names("help: make the directory first");
}

#[test]
fn a_word_of_a_letter_is_not_taken_for_a_command() {
    let env = Environment::new();
    for words in [&["a", "b"][..], &["a", "b", "--json"]] {
        let run = env.vidimus(words).expect(2);
        run.names("vidimus --help lists commands").is_silent_about("manifest");
    }
    env.vidimus(&["manifst"]).expect(2).names("'manifest'");
}

#[test]
fn flags_may_come_from_the_environment_and_the_command_line_wins() {
    let env = Environment::new();
    sample().write(&env.source);
    let with = |name: &str, value: &str, flags: &[&str]| {
        let mut command = env.command(&env.mirror_arguments(flags));
        command.env(name, value);
        Run::of(command)
    };
    with("VIDIMUS_DRY_RUN", "true", &[]).expect(0);
    assert!(!env.target.exists());
    with("VIDIMUS_EXCLUDE", "*", &["--dry-run"]).expect(0).is_silent_about("README.md");
    with("VIDIMUS_TRANSFERS", "0", &[]).expect(2);
    with("VIDIMUS_TRANSFERS", "0", &["--transfers", "2"]).expect(0);
}

#[test]
fn exit_changes_tells_scripts_that_there_were_changes() {
    let env = Environment::new();
    sample().write(&env.source);
    env.age();
    env.mirror(&["--exit-changes"]).expect(10);
    env.mirror(&["--exit-changes"]).expect(0);
}

#[test]
fn what_other_tools_have_is_answered_by_the_command_to_type() {
    let env = Environment::new();
    for (arguments, command) in [
        (&["source", "target"][..], "vidimus mirror source target"),
        (&["-avz", "source/", "my target"], "vidimus mirror -v source/ 'my target'"),
        (
            &["mirror", "source", "target", "--delete-after"],
            "vidimus mirror source target --delete",
        ),
        (&["sync", "source", "target"], "vidimus mirror source target"),
        (&["miror", "source", "target"], "vidimus mirror source target"),
    ] {
        env.vidimus(arguments).expect(2).names(&format!("help: {command}\n"));
    }
    for arguments in [&["rm", "source"][..], &["help", "nonsense"]] {
        env.vidimus(arguments).expect(2).is_silent_about("help: vidimus mirror");
    }
    for arguments in [&["host:/a", "target"][..], &["mirror", "source", "me@host:a"]] {
        env.vidimus(arguments).expect(2).names("another machine").names("sshfs");
    }
    for (command, location, help) in [
        ("ls", "s3:bucket", "s3://bucket"),
        ("cat", "backup:photos", "./backup:photos"),
        ("verify", "backup:photos", "./backup:photos"),
    ] {
        env.vidimus(&[command, location]).expect(2).names(help);
    }
    env.vidimus(&["mirror", "source", "./a:b"]).expect(0);
    assert!(env.root.join("a:b").is_dir() && !env.target.exists());
}

#[test]
fn a_variable_that_sets_nothing_is_an_error() {
    let env = Environment::new();
    let with = |arguments: &[&str], name: &str| {
        let mut command = env.command(arguments);
        command.env(name, "true");
        Run::of(command)
    };
    let run = with(&["mirror", "source", "target"], "VIDIMUS_DRYRUN").expect(2);
    run.names("VIDIMUS_DRYRUN").names("help: VIDIMUS_DRY_RUN does");
    with(&["verify", "target"], "VIDIMUS_NOTHING").expect(2).names("VIDIMUS_NOTHING");
    with(&["mirror", "--help"], "VIDIMUS_DRYRUN").expect(0);
    with(&["man"], "VIDIMUS_DRYRUN").expect(0);
    // A flag of another command's is none of this one's, but it is one.
    with(&["mirror", "source", "target"], "VIDIMUS_QUICK").expect(0);
}

#[test]
fn wrong_usage_is_a_record_where_records_are_asked_for() {
    let env = Environment::new();
    for (arguments, told) in [
        (&["mirror", "--json", "source"][..], "TARGET"),
        (&["mirror", "--json", "--delte", "source", "target"], "--delte"),
        (&["--json", "source", "target"], "--json"),
        (&["verify", "--sample", "x", "--json", "target"], "--sample"),
        (&["mirror", "-q", "-v", "--json", "source", "target"], "--quiet"),
        (&["mirror", "--json", "s3:source", "target"], "s3:source"),
    ] {
        let run = env.vidimus(arguments).expect(2);
        assert_eq!(run.stderr, "", "{arguments:?}");
        let record = run.finished().record;
        assert_eq!((&record["exit_code"], &record["verdict"]), (&2.into(), &"failed".into()));
        assert!(record["error"].as_str().unwrap().contains(told), "{record}");
    }
    let mut command = env.command(&["mirror", "source"]);
    command.env("VIDIMUS_JSON", "true");
    assert_eq!(Run::of(command).expect(2).finished().record["event"], "finished");
    env.vidimus(&["mirror", "source", "--", "--json"]).expect(0);
}

#[test]
fn a_pattern_that_names_a_path_of_this_machine_is_noted() {
    let env = Environment::new();
    TestTree::new().file("cache/x", "1").write(&env.source);
    let pattern = format!("{}/cache/", text(&env.source));
    for flags in [&["--exclude", &pattern][..], &["--exclude", &pattern, "--dry-run"]] {
        env.mirror(flags).expect(0).names("matches nothing").names("write \\\"/cache/\\\"");
    }
    let against = ["--against", text(&env.source), "--exclude", &pattern];
    env.verify(&against).expect(0).names("matches nothing").names("write \"/cache/\"");
    std::os::unix::fs::symlink(&env.source, env.root.join("link")).unwrap();
    let by_link = format!("{}/link/cache/", text(&env.root));
    for source in [text(&env.source), "link"] {
        let run = env.vidimus(&["mirror", "--exclude", &by_link, source, "target"]).expect(0);
        run.names("matches nothing").names("write \"/cache/\"");
    }
    env.mirror(&["--exclude", "/cache/"]).expect(0).is_silent_about("matches nothing");
    TestTree::new().file(format!("{}x", pattern.trim_start_matches('/')), "1").write(&env.source);
    env.mirror(&["--exclude", &pattern]).expect(0).is_silent_about("matches nothing");
}

/// Completion in a bash, as a person at a terminal has it: the function is called as readline does.
#[test]
fn bash_completes_paths_behind_a_command_and_flags_behind_a_hyphen() {
    needs!(tools::tool("bash").map(drop));
    let env = Environment::new();
    std::fs::create_dir(env.root.join("photos of may")).expect("make a directory");
    let script = env.vidimus(&["completions", "bash"]).expect(0).stdout;
    std::fs::write(env.root.join("completions"), script).expect("write the script");
    let complete = |words: &[&str]| -> Vec<String> {
        let quoted: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
        let (current, last) = (words.len() - 1, words.len() - 2);
        let commands = format!(
            "source ./completions; COMP_WORDS=({}); COMP_CWORD={current}; _vidimus vidimus {} {}; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            quoted.join(" "),
            quoted[current],
            quoted[last]
        );
        let mut command = std::process::Command::new("bash");
        command.args(["--norc", "--noprofile", "-c", &commands]);
        let run = Run::of(env.hermetic(command)).expect(0);
        run.stdout.lines().map(str::to_owned).collect()
    };
    let all = ["completions", "home", "outside", "photos of may", "source", "state"];
    for words in [
        &["vidimus", "mirror", ""][..],
        &["vidimus", "mirror", "source", ""],
        &["vidimus", "mirror", "--delete", "source", ""],
        &["vidimus", "verify", ""],
        &["vidimus", "manifest", "show", ""],
    ] {
        let mut offered = complete(words);
        offered.sort();
        assert_eq!(offered, all, "{words:?}");
    }
    assert_eq!(complete(&["vidimus", "mirror", "ph"]), ["photos of may"]);
    assert_eq!(complete(&["vidimus", "mirror", "--max-del"]), ["--max-delete"]);
    assert_eq!(complete(&["vidimus", "mirror", "--durability", "ba"]), ["batch"]);
    assert_eq!(complete(&["vidimus", "mir"]), ["mirror"]);
    assert!(complete(&["vidimus", "manifest", ""]).contains(&"export".to_owned()));
    assert_eq!(complete(&["vidimus", "completions", "z"]), ["zsh"]);
}
