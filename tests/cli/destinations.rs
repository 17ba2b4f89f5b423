//! Where what is written on request goes: links, devices, pipes, closed streams, reserved names.

use crate::common::environment::text;
use crate::common::{Environment, Run, TestTree, tools};
use crate::import::line;
use crate::needs;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

const PUT: [&str; 2] = ["put", "-"];
const EXPORT: [&str; 6] = ["manifest", "export", "target", "--format", "csv", "-o"];

/// A target with a manifest, and content on the way to standard input.
fn mirrored() -> Environment {
    let env = Environment::new();
    TestTree::new().file("a", "content").write(&env.source);
    env.mirrored(&[]);
    fs::write(env.root.join("input"), "put").unwrap();
    env
}

/// Runs a command that writes to `destination`.
fn written(env: &Environment, command: &[&str], destination: &str) -> Run {
    let mut command = env.command(&[command, &[destination]].concat());
    command.stdin(File::open(env.root.join("input")).unwrap());
    Run::of(command)
}

/// Runs the binary by a shell that was told what to do with its streams.
fn redirected(env: &Environment, arguments: &[&str], streams: &str) -> Run {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec \"$@\" {streams}"), "sh", env!("CARGO_BIN_EXE_vidimus")]);
    command.args(arguments);
    Run::of(env.hermetic(command))
}

/// Makes a device that takes all that is written to it.
fn null_device(path: &Path) {
    let mode = Mode::from_raw_mode(0o666);
    mknodat(CWD, path, FileType::CharacterDevice, mode, makedev(1, 3)).unwrap();
}

#[test]
fn a_link_stays_and_the_file_that_it_leads_to_is_written() {
    let env = mirrored();
    for (command, told) in [(&PUT[..], "put"), (&EXPORT, "key,kind")] {
        fs::write(env.outside.join("real"), "old").unwrap();
        symlink("../outside/real", env.source.join("link")).unwrap();
        written(&env, command, "source/link").expect(0);
        assert!(env.source.join("link").is_symlink());
        let now = fs::read_to_string(env.outside.join("real")).unwrap();
        assert!(now.starts_with(told), "{now}");
        fs::remove_file(env.source.join("link")).unwrap();
    }
    // It is recorded where it is.
    written(&env, &PUT, "outside/real").expect(0);
    env.vidimus(&["verify", "--json", "outside"]).expect(0).finished().counts(&[("verified", 1)]);

    symlink("nowhere", env.source.join("dangling")).unwrap();
    symlink("../outside", env.source.join("directory")).unwrap();
    for command in [&PUT[..], &EXPORT] {
        written(&env, command, "source/dangling").expect(7).names("does not exist").names("help:");
        written(&env, command, "source/directory").expect(2).names("names a directory");
        assert!(env.source.join("dangling").is_symlink());
    }
    env.vidimus(&["keygen", "--no-password", "--force", "--secret", "source/dangling"])
        .expect(7)
        .names("does not exist");
}

#[test]
fn a_device_is_written_through_or_refused_and_never_replaced() {
    needs!(tools::root());
    let env = mirrored();
    null_device(&env.outside.join("null"));
    symlink("null", env.outside.join("to-null")).unwrap();
    for name in ["outside/null", "outside/to-null"] {
        written(&env, &EXPORT, name).expect(0);
        written(&env, &PUT, name).expect(7).names("there is already a device");
        env.vidimus(&["keygen", "--no-password", "--force", "--secret", name]).expect(7);
    }
    assert!(fs::symlink_metadata(env.outside.join("null")).unwrap().file_type().is_char_device());
    assert!(env.outside.join("to-null").is_symlink());
}

#[test]
fn an_export_goes_to_the_streams_and_pipes_that_its_path_leads_to() {
    let env = mirrored();
    let lines = |run: &Run| run.stdout.lines().count();
    let plain = redirected(&env, &EXPORT[..5], "").expect(0);
    assert_eq!(lines(&plain), 3);
    for name in ["-", "/proc/self/fd/1", "outside/link"] {
        if name == "outside/link" {
            symlink("/proc/self/fd/1", env.outside.join("link")).unwrap();
        }
        let run = written(&env, &EXPORT, name).expect(0);
        assert_eq!(run.stdout, plain.stdout, "{name}");
    }
    TestTree::new().fifo("pipe").write(&env.outside);
    let pipe = env.outside.join("pipe");
    let reader = std::thread::spawn(move || {
        let mut all = String::new();
        File::open(pipe).unwrap().read_to_string(&mut all).unwrap();
        all
    });
    written(&env, &EXPORT, "outside/pipe").expect(0);
    assert_eq!(reader.join().unwrap(), plain.stdout);
    assert!(fs::symlink_metadata(env.outside.join("pipe")).unwrap().file_type().is_fifo());
    fed_to_standard_output_is_refused(&env);
}

/// Runs the binary by a shell with its words as `$@`.
fn by_shell(env: &Environment, arguments: &[&str], script: &str) -> Run {
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_vidimus")]).args(arguments);
    Run::of(env.hermetic(command))
}

#[test]
fn an_export_to_an_open_descriptor_goes_on_where_that_stands() {
    let env = mirrored();
    let plain = redirected(&env, &EXPORT[..5], "").expect(0).stdout;
    let log = env.root.join("log");
    symlink("/dev/fd/4", env.outside.join("link")).unwrap();
    for (place, number) in
        [("/dev/stdout", 1), ("/dev/stderr", 2), ("/proc/self/fd/3", 3), ("outside/link", 4)]
    {
        for (redirection, before) in [(">>", "before\n"), (">", "")] {
            fs::write(&log, "before\n").unwrap();
            let script = format!(
                "{{ echo a >&{number}; \"$@\"; echo z >&{number}; }} {number}{redirection}log"
            );
            by_shell(&env, &[&EXPORT[..], &[place]].concat(), &script).expect(0);
            let told = fs::read_to_string(&log).unwrap();
            assert_eq!(told, format!("{before}a\n{plain}z\n"), "{place} {redirection}");
        }
    }
    let export = [&EXPORT[..], &["/dev/fd/3"]].concat();
    by_shell(&env, &export, "\"$@\" 3<source/a").expect(7).names("open for reading only");
    assert_eq!(fs::read(env.source.join("a")).unwrap(), b"content");
}

#[test]
fn an_export_that_is_refused_leaves_what_stands_at_its_place() {
    let env = mirrored();
    fs::write(env.root.join("log"), "before\n").unwrap();
    TestTree::new().fifo("pipe").write(&env.outside);
    let mut export = EXPORT;
    for format in ["sha256sum", "hashdeep"] {
        export[4] = format;
        for (place, redirection) in [
            ("/dev/stdout", ">>log"),
            ("/dev/fd/3", "3>>log"),
            ("/proc/self/fd/3", "3<>log"),
            ("log", ""),
            // Nobody reads it: who opens it waits.
            ("outside/pipe", ""),
        ] {
            let run = redirected(&env, &[&export[..], &[place]].concat(), redirection);
            run.expect(2).names("no SHA-256 on record");
            assert_eq!(fs::read(env.root.join("log")).unwrap(), b"before\n", "{place}");
        }
    }
}

#[test]
fn a_file_that_another_process_has_open_is_appended_to() {
    let env = mirrored();
    let plain = redirected(&env, &EXPORT[..5], "").expect(0).stdout;
    let log = env.root.join("log");
    fs::write(&log, "before\n").unwrap();
    let open = File::options().append(true).open(&log).unwrap();
    let place = format!("/proc/{}/fd/{}", std::process::id(), open.as_raw_fd());
    written(&env, &EXPORT, &place).expect(0);
    assert_eq!(fs::read_to_string(&log).unwrap(), format!("before\n{plain}"));
}

#[test]
fn who_names_a_place_that_can_t_be_is_told_of_writing_there() {
    let env = mirrored();
    for command in [&PUT[..], &EXPORT] {
        let run = written(&env, command, "nowhere/x").expect(7);
        run.names("cannot write \"nowhere/x\": its directory can't be used");
        let run = written(&env, command, "source/").expect(2);
        run.names("names a directory, not a file that could be written");
    }
    let run = written(&env, &EXPORT, "/dev/full").expect(7).names("cannot write \"/dev/full\"");
    run.is_silent_about("standard output");
}

fn fed_to_standard_output_is_refused(env: &Environment) {
    written(env, &PUT, "-").expect(2).names("./-");
    assert!(!env.root.join("-").exists());
    written(env, &PUT, "./-").expect(0);
    assert!(env.root.join("-").exists());
}

#[test]
fn a_file_that_is_written_anew_keeps_its_mode_and_owner() {
    let env = mirrored();
    for command in [&PUT[..], &EXPORT] {
        for (mode, kept) in [(0o600, 0o600), (0o664, 0o664), (0o4755, 0o755)] {
            let path = env.outside.join("file");
            fs::write(&path, "old").unwrap();
            let owner = if tools::root().is_ok() { Some(12345) } else { None };
            std::os::unix::fs::chown(&path, owner, owner).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            written(&env, command, "outside/file").expect(0);
            let now = fs::metadata(&path).unwrap();
            assert_eq!(now.mode() & 0o7777, kept, "{command:?}");
            assert!(owner.is_none_or(|owner| (now.uid(), now.gid()) == (owner, owner)));
            fs::remove_file(&path).unwrap();
        }
    }
    // A secret key is as secret as a new one.
    fs::write(env.outside.join("key"), "old").unwrap();
    env.vidimus(&["keygen", "--no-password", "--force", "--secret", "outside/key"]).expect(0);
    let mode = fs::metadata(env.outside.join("key")).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn a_closed_standard_input_is_no_empty_one() {
    let env = mirrored();
    fs::write(env.outside.join("old"), "old").unwrap();
    for arguments in [
        &["put", "-", "outside/old"][..],
        &["manifest", "import", "--format", "b3sum", "outside", "-"],
        &["mirror", "--exclude-from", "-", "source", "other"],
    ] {
        redirected(&env, arguments, "<&-").expect(7).names("standard input is closed");
    }
    assert_eq!(fs::read(env.outside.join("old")).unwrap(), b"old");
    assert!(!env.root.join("other").exists());
    redirected(&env, &["put", "-", "outside/old"], "</dev/null").expect(0);
    redirected(&env, &["put", "-", "outside/old"], "<>/dev/null").expect(0);
}

/// 7 where telling is all that a command is for, 1 where other work was done.
#[test]
fn a_standard_output_that_can_t_be_written_to_is_an_error() {
    let env = mirrored();
    for (arguments, code) in [
        (&["--version"][..], 7),
        (&["--help"], 7),
        (&["mirror", "--help"], 7),
        (&["mirror", "-h"], 7),
        (&["cat", "source/a"], 7),
        (&["ls", "source"], 7),
        (&["ls", "--json", "source"], 7),
        (&EXPORT[..5], 7),
        (&["manifest", "show", "target"], 7),
        (&["manifest", "log", "target"], 7),
        (&["manifest", "check", "--json", "target"], 7),
        (&["mirror", "--dry-run", "source", "target"], 7),
        (&["mirror", "source", "target"], 1),
        (&["mirror", "--json", "source", "target"], 1),
        (&["verify", "--json", "target"], 1),
        (&["diff", "target", "target"], 7),
        (&["explain", "source", "target", "a"], 7),
        (&["put", "-", "outside/put"], 1),
        (&["keygen", "--no-password", "--force", "--secret", "key"], 1),
        (&["completions", "bash"], 7),
        (&["man"], 7),
    ] {
        for lost in [">&-", ">/dev/full"] {
            let run = redirected(&env, arguments, lost);
            run.expect(code).names("cannot write to standard output");
        }
        redirected(&env, arguments, ">/dev/null").expect(0);
        redirected(&env, arguments, "1<>/dev/null").expect(0);
    }
    redirected(&env, &["mirror", "--quiet", "source", "target"], ">&-").expect(0);
    let keygen = ["keygen", "--no-password", "--secret", "other-key"];
    let run = redirected(&env, &keygen, ">&-").expect(1).names("both keys were written");
    let key = fs::read_to_string(env.root.join("other-key.pub")).unwrap();
    run.names(key.lines().nth(1).unwrap());
}

#[test]
fn names_that_vidimus_keeps_for_itself_are_refused() {
    let env = mirrored();
    let own = ".vidimus.0123456789abcdef";
    fs::create_dir_all(env.outside.join(own)).unwrap();
    fs::create_dir_all(env.outside.join(".vidimus/deep")).unwrap();
    symlink(format!("../outside/{own}/file"), env.source.join("link")).unwrap();
    fs::write(env.outside.join(own).join("file"), "old").unwrap();
    for name in [
        format!("source/{own}"),
        format!("outside/{own}/file"),
        "outside/.vidimus/file".to_owned(),
        "outside/.vidimus/deep/file".to_owned(),
        "source/link".to_owned(),
    ] {
        for command in [&PUT[..], &EXPORT] {
            written(&env, command, &name).expect(2).names("is reserved for vidimus");
        }
    }
    for key in [own, "p/.vidimus/lock", ".vidimus", "p/.vidimus.0123456789abcdef/x"] {
        let location = format!("s3://bucket/{key}?endpoint=http://127.0.0.1:1&region=x");
        let location = location + "&anonymous=true";
        written(&env, &PUT, &location).expect(2).names("is reserved for vidimus");
    }
    // Nor is one mirrored by itself.
    for single in [".vidimus", own] {
        fs::write(env.source.join(single), "q").unwrap();
        let source = text(&env.source.join(single)).to_owned();
        for arguments in [["mirror", &source, "fresh"], ["bag", &source, "fresh"]] {
            env.vidimus(&arguments).expect(2).names("is reserved for vidimus");
        }
        assert!(!env.root.join("fresh").exists());
    }
    written(&env, &PUT, "outside/.vidimusx").expect(0);
    written(&env, &PUT, "outside/.vidimus.0123").expect(0);
}

#[test]
fn a_list_of_digests_may_name_what_is_vidimus_s_own() {
    let env = Environment::new();
    TestTree::new().file("a", "content").write(&env.target);
    fs::create_dir(env.target.join(".vidimus")).unwrap();
    fs::write(env.target.join(".vidimus/lock"), "").unwrap();
    let lines = [
        line("./a", "content"),
        line(".vidimus/lock", ""),
        line("d/.vidimus.0123456789abcdef", "left"),
    ];
    let list = env.root.join("list");
    fs::write(&list, lines.concat()).unwrap();
    let run =
        env.vidimus(&["manifest", "import", "--format", "b3sum", "--json", "target", text(&list)]);
    run.expect(0).names("left out: 2").finished().counts(&[("verified", 1), ("missing", 0)]);
    let verified = env.vidimus(&["verify", "--json", "target"]).expect(0).finished();
    verified.counts(&[("verified", 1), ("missing", 0)]);
}
