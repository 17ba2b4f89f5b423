//! Failures of single entries: each is told once.

use crate::common::environment::{NOBODY, text};
use crate::common::{Environment, Run, TestTree, tools};
use crate::needs;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

/// The name of a file that can't be copied: it is reserved for temporaries.
fn name(n: usize) -> String {
    format!(".vidimus.{n:016x}")
}

/// A source in which so many entries can't be copied.
fn failing(number: usize) -> Environment {
    let env = Environment::new();
    let tree = (0..number).fold(TestTree::new(), |tree, n| tree.file(name(n), ""));
    tree.write(&env.source);
    env
}

/// Mirrors as a person does.
fn mirror(env: &Environment, flags: &[&str]) -> Run {
    env.vidimus(&[&["mirror"], flags, &["source", "target"]].concat()).expect(1)
}

#[test]
fn a_failure_is_told_once() {
    let env = failing(2);
    for flags in [&[][..], &["-v"], &["-q"]] {
        let run = mirror(&env, flags);
        let told = format!("{}{}", run.stdout, run.stderr);
        for name in [name(0), name(1)] {
            assert_eq!(told.matches(&name).count(), 1, "{flags:?}: {told}");
        }
    }
}

#[test]
fn failures_beyond_a_hundred_are_counted_and_verbose_tells_all() {
    let env = failing(300);
    let more = "100 failures are named above, and 200 more; -v shows all";
    for flags in [&[][..], &["-q"]] {
        let run = mirror(&env, flags).names(more);
        assert_eq!(run.stderr.matches("error: ").count(), 100, "{flags:?}: {}", run.told());
    }
    let run = mirror(&env, &["-v"]).is_silent_about("more; -v");
    for n in 0..300 {
        let name = format!("\"{}\"", name(n));
        assert_eq!(run.stderr.matches(&name).count(), 1, "{name}: {}", run.told());
    }
}

/// Closes so many directories, and files in one more, to everybody but root.
fn close(root: &Path, number: usize) {
    let closed = fs::Permissions::from_mode(0o000);
    for n in 0..number {
        for name in [format!("closed-{n}-"), format!("files/unreadable-{n}-")] {
            fs::set_permissions(root.join(name), closed.clone()).unwrap();
        }
    }
}

/// How many directories, and files, can't be read.
const NUMBER: usize = 130;

/// What is told of failures is the same whatever fails them: a hundred of them, how many more there
/// are, and all with `-v`; a record each.
#[test]
fn every_command_tells_failures_by_one_rule() {
    needs!(tools::root(), tools::tool("setpriv"));
    let env = Environment::new();
    let tree = (0..NUMBER).fold(TestTree::new(), |tree, n| {
        tree.file(format!("closed-{n}-/f"), "1").file(format!("files/unreadable-{n}-"), "2")
    });
    tree.write(&env.source);
    env.mirrored(&[]);
    let imported = env.root.join("imported");
    tree.write(&imported);
    chown(&imported, Some(NOBODY), Some(NOBODY)).unwrap();
    let line = |n| format!("{}  files/unreadable-{n}-\n", blake3::hash(b"2").to_hex());
    let list = env.root.join("list");
    fs::write(&list, (0..NUMBER).map(line).collect::<String>()).unwrap();
    for root in [&env.source, &env.target, &imported] {
        close(root, NUMBER);
    }
    let (source, target, new) = (text(&env.source), text(&env.target), text(&env.root));
    let (new, bag) = (&*format!("{new}/new"), &*format!("{new}/bag"));
    let import = ["manifest", "import", "--format", "b3sum", text(&imported), text(&list)];
    let both = 2 * NUMBER;
    for (arguments, failed, can_be_quiet) in [
        (&["mirror", source, new][..], both, true),
        (&["bag", source, bag], both, true),
        (&["verify", target], both, true),
        (&["verify", "--against", source, target], 2 * NUMBER + NUMBER, true),
        (&import, both, true),
        (&["diff", "--content", source, target], 2 * NUMBER + NUMBER, true),
        (&["ls", "--recursive", source], NUMBER, false),
        (&["ls", "--recursive", "--null", source], NUMBER, false),
    ] {
        let run = |flags: &[&str]| {
            // What is imported is imported once.
            let manifest = imported.join(".vidimus");
            if manifest.exists() {
                fs::remove_dir_all(manifest).unwrap();
            }
            let run = env.as_nobody(&[arguments, flags].concat()).unwrap();
            run.expect_one_of(&[1, 3])
        };
        if !arguments.contains(&"--null") {
            let records = run(&["--json"]).records();
            let told = records.iter().filter(|record| record["event"] == "failed").count();
            assert_eq!(told, failed, "{arguments:?}");
        }
        let more = format!("100 failures are named above, and {} more; -v shows all", failed - 100);
        for flags in [&[][..], &["-q"]].into_iter().take(1 + usize::from(can_be_quiet)) {
            let run = run(flags).names(&more);
            let (errors, told) = (run.stderr.matches("error: cannot ").count(), run.told());
            assert_eq!(errors, 100, "{arguments:?} {flags:?}: {told}");
        }
        let run = run(&["-v"]).is_silent_about("more; -v");
        let mut lines: Vec<_> =
            run.stderr.lines().filter(|line| line.starts_with("error: cannot ")).collect();
        assert_eq!(lines.len(), failed, "{arguments:?}: {}", run.told());
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), failed, "{arguments:?} tells one twice: {}", run.told());
    }
}
