//! The units and the crontab of the guide to nightly runs.

use crate::common::{Environment, tools};
use crate::page::{Block, Page, ROOT};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Where the guide has the program, and the directories that it names.
const PROGRAM: &str = "/usr/local/bin/vidimus";
const DIRECTORIES: [&str; 3] = ["/srv/", "/mnt/", "/var/lib/"];

/// The guide's blocks of a language, each as a text in which all paths lie below `root`.
fn blocks(language: &str, root: &Path) -> Vec<String> {
    let page = Page::read(Path::new(ROOT).join("docs/how-to/schedule.md"));
    let of_language = |block: &Block| block.language == language;
    let found = page.blocks().into_iter().filter(of_language);
    let moved = |text: String| {
        let root = root.to_str().expect("test paths are UTF-8");
        DIRECTORIES
            .iter()
            .fold(text.replace(PROGRAM, env!("CARGO_BIN_EXE_vidimus")), |text, name| {
                text.replace(name, &format!("{root}{name}"))
            })
    };
    found.map(|block| moved(block.lines.join("\n") + "\n")).collect()
}

/// A source that is mounted, and a disk for its mirror.
fn environment() -> Environment {
    let env = Environment::new();
    for made in ["srv/photos", "mnt/backup/photos", "var/lib"] {
        fs::create_dir_all(env.root.join(made)).expect("make a directory");
    }
    fs::write(env.root.join("srv/photos/.is-mounted"), "").expect("write");
    fs::write(env.root.join("srv/photos/a.jpg"), "a").expect("write");
    env
}

/// That a scheduled command did all and had nothing to say.
fn succeeded(line: &str, output: &Output) {
    let said = [&output.stdout[..], &output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{line}: {output:?}");
}

#[test]
fn lines_of_the_crontab_do_what_they_are_for() {
    let env = environment();
    let crontab = blocks("text", &env.root).remove(0);
    let lines: Vec<_> = crontab.lines().filter(|line| line.contains("vidimus")).collect();
    assert_eq!(lines.len(), 2, "{crontab}");
    for line in lines {
        let user = line.split_whitespace().position(|field| field == "root");
        assert_eq!(user, Some(5), "five fields of a time, and a user: {line}");
        let command = line.split_once("root  ").expect("a user, and a command").1;
        assert!(!command.contains('%'), "cron ends a line there: {line}");
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", command]).current_dir(&env.root).env_clear();
        let home = env.root.join("root");
        shell.env("HOME", home).env("LOGNAME", "root").env("PATH", "/usr/bin:/bin");
        succeeded(line, &shell.output().expect("run a shell"));
    }
    assert!(env.root.join("mnt/backup/photos/a.jpg").exists());
    assert!(env.root.join("var/lib/vidimus").exists());
}

#[test]
fn units_are_as_systemd_wants_them_and_their_commands_run() {
    let env = environment();
    let [service, timer] = &blocks("ini", &env.root)[..] else { panic!("a service and a timer") };
    for line in service.lines() {
        let Some(command) = line.strip_prefix("ExecStart=") else { continue };
        let words: Vec<_> = command.split(' ').collect();
        let mut run = env.hermetic(Command::new(words[0]));
        succeeded(line, &run.args(&words[1..]).output().expect("run a command of the unit"));
    }
    assert!(env.root.join("mnt/backup/photos/a.jpg").exists());
    if let Err(missing) = tools::tool("systemd-analyze") {
        return tools::skipped(file!(), line!(), &missing);
    }
    let files = [("vidimus-photos.service", service), ("vidimus-photos.timer", timer)];
    for (name, unit) in files {
        fs::write(env.root.join(name), unit).expect("write a unit");
    }
    let mut verify = Command::new("systemd-analyze");
    verify.current_dir(&env.root).arg("verify").args(files.map(|(name, _)| format!("./{name}")));
    succeeded("systemd-analyze verify", &verify.output().expect("run systemd-analyze"));
}
