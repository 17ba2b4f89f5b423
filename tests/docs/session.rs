//! A shell in which a page's commands run, one after the other, in a home of its own.

use crate::common::Environment;
use crate::console::Step;
use crate::page::ROOT;
use crate::s3::S3Server;
use regex::Regex;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Stands behind each command's output.
const MARK: char = '\u{1}';

/// Where pages say the test's S3 server is.
const SHOWN_ENDPOINT: &str = "http://127.0.0.1:9000";

/// Runs the steps in one bash and gives what each printed, standard error among it.
///
/// The shell begins in `~/vidimus`, a clone with nothing but `fixtures/`; beside it are `~/photos`
/// and the empty `/mnt/backup`. `/mnt/`, `/srv/` and `/tmp/` are directories of this session. Where a step
/// names a bucket, `backup` and `archive` are there, empty.
pub(crate) fn run(steps: &[Step]) -> Vec<String> {
    let env = Environment::new();
    let home = env.root.join("home/ada");
    for made in ["home/ada/vidimus/fixtures", "mnt/backup", "srv", "tmp", "bin"] {
        fs::create_dir_all(env.root.join(made)).expect("make a directory");
    }
    let fixtures = Path::new(ROOT).join("fixtures/tree");
    copy(&fixtures, &home.join("vidimus/fixtures/tree"));
    copy(&fixtures.join("photos"), &home.join("photos"));
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_vidimus"), env.root.join("bin/vidimus"))
        .expect("make a link");
    env.age();

    let server = steps.iter().any(|step| step.command.contains("s3://")).then(S3Server::start);
    let mut command = env.hermetic(Command::new("bash"));
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", env.root.join("bin").display()));
    command.env("HOME", &home).env_remove("XDG_STATE_HOME").current_dir(home.join("vidimus"));
    if let Some(server) = &server {
        for name in ["backup", "archive"] {
            server.bucket(name);
        }
        command.envs(server.environment());
    }
    command.args(["--norc", "--noprofile", "-c", &script(steps, &env.root)]);
    let output = command.stdin(Stdio::null()).output().expect("run bash");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));

    let mut told = String::from_utf8_lossy(&output.stdout).replace(text(&env.root), "");
    if let Some(server) = &server {
        told = told.replace(&server.endpoint(), SHOWN_ENDPOINT);
    }
    let mut outputs: Vec<_> = told.split(MARK).map(ended).collect();
    let rest = outputs.pop();
    assert!(rest.is_some_and(|rest| rest.is_empty()), "the shell ended early: {told}");
    assert_eq!(outputs.len(), steps.len(), "the shell ended early: {told}");
    outputs
}

/// The steps as a script. Between two of them stamps grow old enough to be trusted, and `$?` stays.
fn script(steps: &[Step], root: &Path) -> String {
    let ours = Regex::new("(^|[ \n'\"=<>(])(/(?:mnt|srv|tmp)/)").expect("a regular expression");
    let mut script = String::from("umask 022\nexec 2>&1\n");
    for step in steps {
        let command = ours.replace_all(&step.command, format!("${{1}}{}${{2}}", text(root)));
        script.push_str(&command);
        script.push_str("\nstatus=$?; printf '\\001'; sleep 0.03; (exit \"$status\")\n");
    }
    script
}

/// Lines, each with its end, as a page has them: CSV's end in CR LF.
fn ended(output: &str) -> String {
    let output = output.replace("\r\n", "\n");
    let end = if output.is_empty() || output.ends_with('\n') { "" } else { "\n" };
    format!("{output}{end}")
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.expect("run cp").success(), "copy {}", from.display());
}

fn text(path: &Path) -> &str {
    path.to_str().expect("test paths are UTF-8")
}
