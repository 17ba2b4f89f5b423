//! Keys and signatures: `keygen`, `mirror --sign`, `manifest sign`, `check` and `log`, `verify --key`.

use crate::common::background::wait_until;
use crate::common::environment::text;
use crate::common::{Environment, Run, Snapshot, assert_untouched, tools};
use crate::manifest::{directory, head, killed_while_publishing, lose_state, many, published};
use crate::mirror::{mirrored, sample};
use crate::needs;
use rustix::fs::{Mode, OFlags};
use rustix::termios::{LocalModes, tcgetattr};
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Makes `NAME.key`, which is not encrypted, and `NAME.pub`.
pub(crate) fn keygen(env: &Environment, name: &str) {
    let secret = format!("{name}.key");
    env.vidimus(&["keygen", "--no-password", "--secret", &secret]).expect(0);
}

/// A mirror whose manifest is signed with `ada.key`.
fn signed() -> Environment {
    let env = Environment::new();
    many().write(&env.source);
    keygen(&env, "ada");
    env.mirrored(&["--sign", "ada.key"]);
    env
}

fn check(env: &Environment, flags: &[&str]) -> Run {
    env.vidimus(&[&["manifest", "check", "target"], flags].concat())
}

fn with_password(env: &Environment, arguments: &[&str], password: &str) -> Run {
    let mut command = env.command(arguments);
    command.env("VIDIMUS_KEY_PASSWORD", password);
    Run::of(command)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("stat").permissions().mode() & 0o7777
}

#[test]
fn a_new_pair_of_keys_is_written_and_none_is_written_over() {
    let env = Environment::new();
    let run = with_password(&env, &["keygen"], "secret").expect(0);
    let keys = env.root.join("home/.config/vidimus");
    let public = fs::read_to_string(keys.join("vidimus.pub")).expect("read");
    let run = run.names("(encrypted)").names(public.lines().nth(1).expect("a key"));
    assert!(!run.told().contains("secret\n"), "{}", run.told());
    assert_eq!((mode(&keys), mode(&keys.join("vidimus.key"))), (0o700, 0o600));
    assert_eq!(mode(&keys.join("vidimus.pub")) & 0o700, 0o600);
    with_password(&env, &["keygen"], "secret").expect(6).names("vidimus.key").names("--force");
    fs::remove_file(keys.join("vidimus.key")).expect("remove");
    with_password(&env, &["keygen"], "secret").expect(6).names("vidimus.pub");
    assert!(!keys.join("vidimus.key").exists());
    with_password(&env, &["keygen", "--force"], "secret").expect(0);
    assert_ne!(fs::read_to_string(keys.join("vidimus.pub")).expect("read"), public);
    assert_eq!(mode(&keys.join("vidimus.key")), 0o600);
    assert_eq!(Snapshot::read(&keys).temporaries(), Vec::<String>::new());
    env.vidimus(&["keygen", "-s", "a", "-p", "a", "--no-password"]).expect(2).names("--public");
    env.vidimus(&["keygen", "-s", "missing/a", "--no-password"]).expect(7).names("missing/a");
    // However it is spelt, it is one file.
    std::os::unix::fs::symlink(".", env.root.join("here")).expect("link");
    keygen(&env, "a");
    for public in ["./a.key", "here/a.key", text(&env.root.join("a.key"))] {
        let arguments = ["keygen", "--force", "-s", "a.key", "-p", public, "--no-password"];
        env.vidimus(&arguments).expect(2).names("--public");
    }
    // A secret key without its public one is in the way of the next attempt.
    let arguments = ["keygen", "-s", "b.key", "-p", "/proc/vidimus.pub", "--no-password"];
    env.vidimus(&arguments).expect(7).names("/proc/vidimus.pub");
    assert!(!env.root.join("b.key").exists());
}

/// Whether the terminal that `script`, of this process id, runs its command in shows what is typed.
fn echoes(script: u32) -> bool {
    let children = fs::read_to_string(format!("/proc/{script}/task/{script}/children"));
    let children = children.expect("it runs");
    let terminal = format!("/proc/{}/fd/0", children.split_whitespace().next().expect("a child"));
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
    let terminal = rustix::fs::open(terminal, flags, Mode::empty()).expect("open a terminal");
    tcgetattr(terminal).expect("look at a terminal").local_modes.contains(LocalModes::ECHO)
}

#[test]
fn a_password_is_asked_for_in_the_terminal_alone() {
    let env = Environment::new();
    env.vidimus(&["keygen", "-s", "a.key"]).expect(2).names("VIDIMUS_KEY_PASSWORD");
    assert!(!env.root.join("a.key").exists());
    needs!(tools::tool("script"));
    let in_terminal = |line: &str, typed: &[&str]| {
        let mut command = Command::new("script");
        let line = format!("'{}' {line}", env!("CARGO_BIN_EXE_vidimus"));
        command.args(["-qec", &line, "/dev/null"]);
        let mut command = env.hermetic(command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("run script");
        let mut stdin = child.stdin.take().expect("a pipe");
        let (script, stdout) = (child.id(), child.stdout.as_mut().expect("a pipe"));
        for line in typed {
            let mut asked = Vec::new();
            while !asked.ends_with(b": ") {
                let mut byte = [0];
                stdout.read_exact(&mut byte).expect("it asks");
                asked.extend(byte);
            }
            assert!(!String::from_utf8_lossy(&asked).contains("esame"), "it shows what is typed");
            // It asks first, and then turns off the echo.
            wait_until("a terminal that hides what is typed", || !echoes(script));
            writeln!(stdin, "{line}").expect("type");
        }
        Run::wait(child, line)
    };
    let run = in_terminal("keygen -s a.key", &["open sesame", "open Sesame"]);
    run.expect(2).names("not the same").is_silent_about("esame");
    in_terminal("keygen -s a.key", &["open sesame", "open sesame"]).expect(0).names("made key");
    sample().write(&env.source);
    let mirror = "mirror --sign a.key source target";
    in_terminal(mirror, &["sesame"]).expect(2).names("password is not that");
    in_terminal(mirror, &["open sesame"]).expect(0).names("complete");
    check(&env, &["--key", "a.pub"]).expect(0);
}

#[test]
fn a_key_that_can_not_be_used_stops_a_run_before_it_begins() {
    let env = Environment::new();
    sample().write(&env.source);
    keygen(&env, "ada");
    with_password(&env, &["keygen", "-s", "bob.key"], "secret").expect(0);
    fs::write(env.root.join("junk"), "junk\n").expect("write");
    for (key, why) in [
        ("missing.key", "missing.key"),
        ("ada.pub", "public"),
        ("junk", "not a secret key"),
        ("bob.key", "VIDIMUS_KEY_PASSWORD"),
        ("source", "source"),
    ] {
        let run = env.mirror(&["--sign", key]).expect(2);
        run.is_silent_about("complete").names(why);
    }
    let arguments = ["mirror", "--sign", "bob.key", "source", "target"];
    with_password(&env, &arguments, "Secret").expect(2).names("password is not that");
    for open in [0o604, 0o640, 0o620] {
        let open = fs::Permissions::from_mode(open);
        fs::set_permissions(env.root.join("ada.key"), open).expect("chmod");
        env.mirror(&["--sign", "ada.key"]).expect(2).names("other than its owner").names("chmod");
    }
    let mut command = env.command(&arguments);
    command.env("VIDIMUS_KEY_PASSWORD", std::ffi::OsStr::from_bytes(b"secret\xff"));
    Run::of(command).expect(2).names("VIDIMUS_KEY_PASSWORD is not UTF-8");
    assert!(!env.target.exists());
    assert_eq!(fs::read_dir(&env.state).expect("list").count(), 0);
    with_password(&env, &arguments, "secret").expect(0);
    check(&env, &["--key", "bob.pub"]).expect(0);
    let file = env.vidimus(&["mirror", "--sign", "ada.key", "source/README.md", "target"]);
    file.expect(2);
}

#[test]
fn minisign_verifies_what_vidimus_signs_and_the_other_way_round() {
    needs!(tools::tool("minisign"));
    let env = signed();
    let minisign = |arguments: &[&str], typed: &str| {
        let mut command = Command::new("minisign");
        command.args(arguments);
        let mut command = env.hermetic(command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("run minisign");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(typed.as_bytes()).expect("type");
        drop(stdin);
        Run::wait(child, "minisign".into())
    };
    let head = text(&directory(&env)).to_owned() + "/00000001.json";
    let verify = ["-V", "-H", "-m", &head, "-p"];
    let run = minisign(&[&verify[..], &["ada.pub"]].concat(), "").expect(0);
    run.names(&format!("vidimus manifest 1 of {}, run ", text(&env.target)));
    // A key that vidimus made signs by minisign, encrypted or not.
    with_password(&env, &["keygen", "-s", "bob.key"], "secret").expect(0);
    minisign(&["-S", "-W", "-s", "ada.key", "-m", &head], "").expect(0);
    check(&env, &["--key", "ada.pub"]).expect(0).names("file:00000001.json");
    minisign(&["-S", "-s", "bob.key", "-m", &head], "secret\n").expect(0);
    check(&env, &["--key", "bob.pub"]).expect(0);
    check(&env, &["--key", "ada.pub"]).expect(4).names("is signed with key");
    minisign(&["-S", "-l", "-W", "-s", "ada.key", "-m", &head], "").expect(0);
    check(&env, &["--key", "ada.pub"]).expect(4).names("not accepted");
    // A key that minisign made signs by vidimus. An encrypted one takes a gibibyte.
    minisign(&["-G", "-W", "-s", "eve.key", "-p", "eve.pub"], "").expect(0);
    minisign(&["-G", "-s", "dan.key", "-p", "dan.pub"], "secret\nsecret\n").expect(0);
    for (name, number) in [("eve", 1), ("dan", 2)] {
        fs::write(env.source.join("d0/f0"), name).expect("write");
        let (secret, public) = (format!("{name}.key"), format!("{name}.pub"));
        let arguments = ["mirror", "--sign", &secret, "source", "target"];
        with_password(&env, &arguments, "secret").expect(0);
        check(&env, &["--key", &public]).expect(0);
        let head = text(&directory(&env)).to_owned() + &format!("/{:08}.json", number + 1);
        minisign(&["-V", "-H", "-m", &head, "-p", &public], "").expect(0);
    }
}

#[test]
fn what_counts_in_the_end_is_signed() {
    let env = signed();
    check(&env, &["--key", "ada.pub"]).expect(0).names("all is whole, and the signature is valid");
    let before = Snapshot::read(&directory(&env));
    env.mirror(&["--sign", "ada.key"]).expect(0).is_silent_about("signed publication");
    assert_untouched(&before, &directory(&env));
    // A run that doesn't sign says so, as long as it drops one.
    fs::write(env.source.join("d0/f0"), "changed").expect("write");
    env.mirror(&[]).expect(0).names("was signed, and no longer is");
    check(&env, &["--key", "ada.pub"]).expect(4).names("publication 2").names("is not signed");
    check(&env, &[]).expect(0).names("signature   none");
    env.mirror(&[]).expect(0).is_silent_about("signed");
    fs::write(env.source.join("d0/f0"), "changed again").expect("write");
    env.mirror(&[]).expect(0).is_silent_about("signed");
    // Nothing changed: what stands is signed, with a new key as well.
    let head_before = head(&env);
    env.mirror(&["--sign", "ada.key"]).expect(0).names("signed publication 3");
    check(&env, &["--key", "ada.pub"]).expect(0);
    keygen(&env, "bob");
    env.mirror(&["--sign", "bob.key"]).expect(0).names("signed publication 3");
    check(&env, &["--key", "bob.pub"]).expect(0);
    assert_eq!(head(&env), head_before);
    let log = env.vidimus(&["manifest", "log", "--key", "bob.pub", "target"]).expect(0);
    let lines: Vec<_> = log.stdout.lines().collect();
    for (line, end) in
        lines.iter().zip(["  signed with ", "  not signed", "  signed with another key"])
    {
        assert!(line.contains(end), "{line}: {end}");
    }
    let run = env.vidimus(&["manifest", "log", "--json", "--key", "bob.pub", "target"]).expect(0);
    let states: Vec<_> =
        run.records().iter().map(|record| record["signature"]["state"].clone()).collect();
    assert_eq!(states[..2], ["good".into(), serde_json::Value::Null]);
    assert_eq!(states[2], "other_key");
    // A signature that was changed is named, whichever publication's it is.
    let signature = directory(&env).join("00000001.json.minisig");
    let text = fs::read_to_string(&signature).expect("read");
    fs::write(&signature, text.replace("manifest 1 of", "manifest 7 of")).expect("write");
    let log = env.vidimus(&["manifest", "log", "--key", "ada.pub", "target"]).expect(4);
    assert_eq!(log.stdout.lines().count(), 4, "{}", log.stdout);
    log.names("signature of publication 1 is not valid");
}

#[test]
fn a_manifest_is_signed_where_it_stands_if_it_is_whole() {
    let env = mirrored(&many());
    fs::write(env.source.join("d0/f0"), "changed").expect("write");
    env.mirrored(&[]);
    keygen(&env, "ada");
    let sign =
        |flags: &[&str]| env.vidimus(&[&["manifest", "sign", "--key", "ada.key"], flags].concat());
    let first = directory(&env).join("00000001.ndjson.zst");
    let whole = fs::read(&first).expect("read");
    fs::write(&first, &whole[1..]).expect("write");
    sign(&["target"]).expect(4).names("00000001.ndjson.zst");
    assert!(!directory(&env).join("00000002.json.minisig").exists());
    fs::write(&first, &whole).expect("write");
    lose_state(&env);
    sign(&["target"]).expect(0).names("publication 2").names("signed with key");
    let mode = |name: &str| fs::metadata(directory(&env).join(name)).unwrap().permissions().mode();
    assert_eq!(mode("00000002.json.minisig"), mode("00000002.json"));
    check(&env, &["--key", "ada.pub"]).expect(0);
    let before = Snapshot::read(&directory(&env));
    sign(&["target"]).expect(0).names("was signed already");
    assert_untouched(&before, &directory(&env));
    // A signature that holds says nothing of the segments.
    fs::write(&first, &whole[1..]).expect("write");
    sign(&["target"]).expect(4).names("00000001.ndjson.zst").is_silent_about("signed already");
    fs::write(&first, &whole).expect("write");
    assert_eq!(Snapshot::read(&directory(&env)).temporaries(), Vec::<String>::new());
    let run = sign(&["--json", "target"]).expect(0);
    assert_eq!(run.records()[0]["signature"]["state"], "good");
    // A run that goes on from it says that it drops the signature, though it didn't make it.
    env.mirrored(&[]);
    fs::write(env.source.join("d0/f0"), "changed again").expect("write");
    env.mirror(&[]).expect(0).names("was signed, and no longer is");
    sign(&["source"]).expect(4).names("no published manifest");
    assert!(!env.source.join(".vidimus").exists());
    let copy = env.root.join("copy");
    fs::create_dir(&copy).expect("make a directory");
    for entry in fs::read_dir(directory(&env)).expect("list") {
        let path = entry.expect("list").path();
        fs::copy(&path, copy.join(path.file_name().unwrap())).expect("copy");
    }
    sign(&["copy"]).expect(4).names("is a copy").names("minisign");
    env.vidimus(&["manifest", "sign", "--key", "ada.pub", "target"]).expect(2).names("public");
}

#[test]
fn the_two_keys_have_a_variable_each() {
    let env = mirrored(&sample());
    keygen(&env, "ada");
    for arguments in [&["manifest", "sign", "target"][..], &["manifest", "check", "target"]] {
        let mut command = env.command(arguments);
        command.env("VIDIMUS_SIGN", "ada.key").env("VIDIMUS_KEY", "ada.pub");
        Run::of(command).expect(0);
    }
}

#[test]
fn a_manifest_is_not_signed_while_a_run_writes() {
    let env = crate::locks::large();
    keygen(&env, "ada");
    env.mirrored(&["--exclude", "large-*"]);
    let child = crate::locks::under_way(&env, &["--bwlimit", "1MiB/s"]);
    env.vidimus(&["manifest", "sign", "--key", "ada.key", "target"]).expect(5);
    crate::locks::send(&child, rustix::process::Signal::TERM);
    Run::wait(child, "mirror".into()).expect(143);
}

/// Somebody who can write to the target, but not sign, edits a file, and what is said of it.
#[test]
fn what_is_not_signed_is_not_taken_over_by_a_run_that_signs() {
    let env = signed();
    let taken_over = |flags: &[&str]| {
        lose_state(&env);
        env.mirror(flags).expect(0)
    };
    taken_over(&["--sign", "ada.key"])
        .names("taken over")
        .finished()
        .counts(&[("files_adopted", 0)]);
    fs::remove_file(directory(&env).join("00000001.json.minisig")).expect("remove");
    let run = taken_over(&["--sign", "ada.key"]);
    run.names("is not signed")
        .names("everything is compared")
        .finished()
        .counts(&[("files_adopted", 100), ("files_copied", 0)]);
    assert!(published(&env)["d0/f0"]["adopted"] == true);
    check(&env, &["--key", "ada.pub"]).expect(0);
    keygen(&env, "bob");
    taken_over(&["--sign", "bob.key"]).names("is signed with key").names("everything is compared");
}

/// What was taken over by a run that asked for no signature is not vouched for by one that comes
/// later.
#[test]
fn what_was_taken_over_unsigned_is_not_signed_later() {
    let env = signed();
    fs::remove_file(directory(&env).join("00000001.json.minisig")).expect("remove");
    lose_state(&env);
    env.mirror(&[]).expect(0).names("taken over");
    let told = "the record of this mirror was taken over from a manifest";
    env.mirror(&["--sign", "ada.key", "--dry-run"]).expect(0).names(told);
    let run = env.mirror(&["--sign", "ada.key"]).expect(0);
    let run = run.names(told).names("everything is compared");
    run.finished().counts(&[("files_adopted", 100), ("files_copied", 0)]);
    assert!(published(&env)["d0/f0"]["adopted"] == true);
    check(&env, &["--key", "ada.pub"]).expect(0);
    // What is recorded now was seen here.
    keygen(&env, "bob");
    for key in ["ada.key", "bob.key"] {
        let run = env.mirror(&["--sign", key]).expect(0).is_silent_about(told);
        run.finished().counts(&[("files_adopted", 0)]);
    }
    lose_state(&env);
    env.mirror(&["--sign", "bob.key"]).expect(0).names("taken over").is_silent_about(told);
    fs::write(env.source.join("d0/f0"), "changed").expect("write");
    let run = env.mirror(&["--sign", "bob.key"]).expect(0).is_silent_about(told);
    run.finished().counts(&[("files_adopted", 0), ("files_copied", 1)]);
    env.mirror(&["--sign", "ada.key"]).expect(0).names(told);
}

/// A run that is killed while it takes a manifest over has recorded rows, but no run.
#[test]
fn what_a_killed_run_took_over_counts_for_nothing() {
    let env = signed();
    lose_state(&env);
    env.mirror(&[]).expect(0).names("taken over");
    let state =
        rusqlite::Connection::open(crate::content_changed::state(&env)).expect("open the state");
    state.execute_batch("DELETE FROM runs; DELETE FROM meta WHERE name LIKE 'p%'").expect("write");
    drop(state);
    fs::remove_dir_all(directory(&env)).expect("remove");
    let run = env.mirror(&["--sign", "ada.key"]).expect(0);
    run.finished().counts(&[("files_adopted", 100), ("files_copied", 0)]);
    check(&env, &["--key", "ada.pub"]).expect(0);
}

#[test]
fn verify_demands_a_signature_before_it_reads() {
    let env = signed();
    keygen(&env, "bob");
    let public = fs::read_to_string(env.root.join("ada.pub")).expect("read");
    let base64 = public.lines().nth(1).expect("a key");
    for key in ["ada.pub", base64] {
        let run = env.verify(&["--json", "--key", key]).expect(0);
        run.finished().counts(&[("verified", 100)]);
        assert_eq!(run.finished().record["key"].as_str().map(str::len), Some(16));
    }
    env.verify(&["--key", "ada.pub"]).expect(0).names("signed    by key");
    let refused = |key: &str| {
        let run = env.verify(&["--json", "--key", key]).expect(4);
        run.finished().counts(&[("bytes_hashed", 0), ("entries", 0)]);
        env.verify(&["--key", key]).expect(4).names("help: ")
    };
    refused("bob.pub").names("is signed with key");
    env.verify(&["--key", "ada.key"]).expect(2).names("not a public key");
    env.verify(&["--key", "missing"]).expect(2).names("missing");
    fs::write(env.source.join("d0/f0"), "changed").expect("write");
    env.mirrored(&["--sign", "ada.key"]);
    for name in ["00000001.json", "00000002.json", "00000002.json.minisig", "00000001.ndjson.zst"] {
        let path = directory(&env).join(name);
        let whole = fs::read(&path).expect("read");
        let mut changed = whole.clone();
        // In the last line: nobody vouches for the first one of a signature.
        let at = whole.len() - 20;
        changed[at] ^= 1;
        fs::write(&path, changed).expect("write");
        refused("ada.pub");
        fs::write(&path, whole).expect("write");
    }
    env.verify(&["--key", "ada.pub"]).expect(0);
    fs::write(env.source.join("d0/f0"), "changed again").expect("write");
    env.mirrored(&[]);
    refused("ada.pub").names("publication 3").names("is not signed");
    fs::remove_dir_all(directory(&env)).expect("remove");
    refused("ada.pub").names("no published manifest");
}

#[test]
fn when_files_were_verified_with_a_key_is_kept_in_the_record() {
    let env = signed();
    let verify = |env: &Environment| {
        let run = env.verify(&["--json", "--key", "ada.pub", "--older-than", "1d"]).expect(0);
        let finished = run.finished();
        (run, [finished.count("verified"), finished.count("unread")])
    };
    assert_eq!(verify(&env).1, [100, 0]);
    assert_eq!(verify(&env).1, [0, 100]);
    env.age();
    // Of these the record says something else than the manifest, and so do the files.
    fs::write(env.source.join("d0/f0"), "other").expect("write");
    env.mirrored(&["--sign", "ada.key"]);
    assert_eq!(verify(&env).1, [1, 99]);
    lose_state(&env);
    let (run, counts) = verify(&env);
    assert_eq!(counts, [100, 0], "none was published again since it was verified");
    run.names("cannot record which files were verified");
    fs::write(env.target.join("d3/f3"), "rotten").expect("write");
    let source = text(&env.source).to_owned();
    let run = env.verify(&["--key", "ada.pub", "--repair-from", &source]).expect(0);
    run.names("mended");
    env.verify(&["--key", "ada.pub"]).expect(0);
}

/// What is recorded here is not signed: it is the manifest that is compared with.
#[test]
fn verify_with_a_key_compares_with_the_manifest_alone() {
    let env = signed();
    fs::write(env.target.join("d0/f0"), "forged").expect("write");
    // A run that takes the target as it is: that is recorded, but not signed.
    fs::write(env.source.join("d0/f0"), "forged").expect("write");
    env.mirrored(&["--exclude", "d1"]);
    fs::remove_file(directory(&env).join("00000002.json")).expect("remove");
    let signed: serde_json::Value = serde_json::from_str(&format!(
        "{{\"vidimus_manifest\": 1, \"head\": {{\"sequence\": 1, \"blake3\": \"{}\"}}}}",
        blake3::hash(&fs::read(directory(&env).join("00000001.json")).unwrap())
    ))
    .unwrap();
    fs::write(directory(&env).join("latest.json"), signed.to_string()).expect("write");
    // That an older one was put back is found by what was published from here.
    env.verify(&[]).expect(4).names("2 was published from here").names("0 differences");
    env.verify(&["--key", "ada.pub"]).expect(4).names("older than what was published");
    lose_state(&env);
    env.verify(&["--key", "ada.pub"]).expect(3).names("corrupt").names("d0/f0");
    env.verify(&["--key", "ada.pub", "--quick"]).expect(3).names("d0/f0");
}

/// A run is killed at each call that could leave half a signed publication: what counts is whole and
/// signed, and the next run publishes and signs what is missing.
#[test]
fn a_run_that_is_killed_while_it_signs_leaves_what_was_signed_before() {
    needs!(tools::strace());
    let mut seen = BTreeSet::new();
    // Segment, head and signature are new, the pointer replaces one; then a segment is removed.
    let new = (1..=3).map(|when| format!("renameat2:signal=KILL:when={when}"));
    let old = ["renameat", "/^unlink"].map(|call| format!("{call}:signal=KILL:when=1"));
    for injected in new.chain(old) {
        let env = signed();
        for number in 0..30 {
            let name = format!("d{}/f{number}", number % 7);
            fs::write(env.source.join(name), format!("changed {number}")).expect("write");
        }
        killed_while_publishing(&env, &injected, &["--sign", "ada.key"]);
        let sequence = head(&env)["sequence"].as_u64().expect("a number");
        seen.insert((sequence, directory(&env).join("00000002.json.minisig").exists()));
        check(&env, &["--key", "ada.pub"]).expect(0);
        let unsigned = env.mirror(&[]).expect(0);
        if sequence == 1 {
            unsigned.names("was signed, and no longer is");
            let left = directory(&env).join("00000002.json.minisig");
            assert!(!left.exists(), "{injected}");
        }
        env.mirrored(&["--sign", "ada.key"]);
        check(&env, &["--key", "ada.pub"]).expect(0);
        assert_eq!(published(&env).len(), 108, "{injected}");
        assert_eq!(Snapshot::read(&directory(&env)).temporaries(), Vec::<String>::new());
        env.verify(&["--key", "ada.pub"]).expect(0);
    }
    let expected = [(1, false), (1, true), (2, true)];
    assert_eq!(seen, BTreeSet::from(expected), "before and after the signature and the pointer");
}

#[test]
fn a_chain_that_can_not_be_mended_begins_anew() {
    let env = signed();
    fs::write(env.source.join("d0/f0"), "changed").expect("write");
    env.mirrored(&["--sign", "ada.key"]);
    fs::remove_file(directory(&env).join("00000001.json")).expect("remove");
    check(&env, &[]).expect(4).names("chain is broken").names("vidimus verify");
    // As the help says.
    env.verify(&["--key", "ada.pub"]).expect(4).names("chain is broken");
    let run = env.mirror(&["--sign", "ada.key"]).expect(0).names("chain is broken");
    let run = run.names("publication 3 contains all rows again, and begins a new chain");
    run.finished().counts(&[("files_copied", 0)]);
    check(&env, &["--key", "ada.pub"]).expect(0).names("1 publication, 108 rows");
    assert_eq!(head(&env)["lost"]["sequence"], 2);
    env.verify(&["--key", "ada.pub"]).expect(0);
    let log = env.vidimus(&["manifest", "log", "target"]).expect(0);
    log.names("chain of heads is whole; it begins anew after publication 2, which was lost");
}

#[test]
fn a_signed_manifest_that_lost_its_pointer_or_signature_is_not_published_unsigned_unsaid() {
    for gone in ["latest.json", "00000001.json.minisig"] {
        let env = signed();
        fs::remove_file(directory(&env).join(gone)).expect("remove");
        let run = env.mirror(&[]).expect(0).names(gone).names("it is missing");
        run.names("the manifest was signed, and no longer is");
    }
}

/// A stream, put in the target.
fn put(env: &Environment, flags: &[&str]) -> Run {
    fs::write(env.root.join("input"), "streamed").expect("write");
    let mut command = env.command(&[&["put", "-", "target/streamed"], flags].concat());
    command.stdin(fs::File::open(env.root.join("input")).expect("open"));
    Run::of(command)
}

#[test]
fn a_put_leaves_no_signed_manifest_unsigned() {
    let env = signed();
    let before = Snapshot::read(&env.target);
    put(&env, &[]).expect(6).names("is signed").names("--sign KEY");
    assert!(!env.target.join("streamed").exists());
    assert_untouched(&before, &env.target);
    put(&env, &["--sign", "ada.key"]).expect(0);
    check(&env, &["--key", "ada.pub"]).expect(0);
    assert_eq!(published(&env)["streamed"]["kind"], "file");
    // On a machine that has no record, too; but nothing is signed that somebody else signed.
    lose_state(&env);
    keygen(&env, "bob");
    put(&env, &["--sign", "bob.key"]).expect(4).names("not with");
    put(&env, &[]).expect(6);
    put(&env, &["--sign", "ada.key"]).expect(0);
    check(&env, &["--key", "ada.pub"]).expect(0);
    put(&env, &["--sign", "bob.key"]).expect(6).names("a mirror of a directory with --sign");
    // Where nothing is published there is nothing to sign.
    fs::remove_dir_all(directory(&env)).expect("remove");
    put(&env, &["--sign", "ada.key"]).expect(2).names("no manifest to sign");
    put(&env, &[]).expect(0);
}

#[test]
fn a_mirror_of_a_single_file_leaves_no_signed_manifest_unsigned() {
    let env = signed();
    fs::write(env.outside.join("single"), "single").expect("write");
    let before = Snapshot::read(&env.target);
    let single =
        |flags: &[&str]| env.vidimus(&[&["mirror", "outside/single", "target"], flags].concat());
    let refused = |flags: &[&str], code| {
        let dry = single(&[&["--dry-run"], flags].concat()).expect(code);
        assert_untouched(&before, &env.target);
        let run = single(flags).expect(code);
        assert_untouched(&before, &env.target);
        [dry, run]
    };
    for run in refused(&[], 6) {
        run.names("is signed").names("--sign KEY");
    }
    // On a machine that has no record, too; but nothing is signed that somebody else signed.
    lose_state(&env);
    refused(&[], 6);
    keygen(&env, "bob");
    for run in refused(&["--sign", "bob.key"], 4) {
        run.names("not with");
    }
    single(&["--dry-run", "--sign", "ada.key"]).expect(0);
    single(&["--sign", "ada.key"]).expect(0);
    check(&env, &["--key", "ada.pub"]).expect(0);
    assert_eq!(published(&env)["single"]["kind"], "file");
    single(&["--sign", "bob.key"]).expect(6).names("a mirror of a directory with --sign");
    // Where nothing is published there is nothing to sign.
    for flags in [&["--dry-run", "--sign", "ada.key"][..], &["--sign", "ada.key"]] {
        let run = env.vidimus(&[&["mirror", "outside/single", "new"], flags].concat()).expect(2);
        run.names("no manifest to sign");
        assert!(!env.root.join("new").exists());
    }
    // A mirror of all of a source publishes as it is told to.
    fs::write(env.source.join("new"), "new").expect("write");
    env.mirror(&[]).expect(0).names("has no signature");
}

#[test]
fn a_run_that_signs_tells_what_of_others_it_does_not_vouch_for() {
    let env = Environment::new();
    many().write(&env.source);
    keygen(&env, "ada");
    fs::write(env.outside.join("other"), "of another source").expect("write");
    env.mirrored(&[]);
    env.vidimus(&["mirror", "outside", "target"]).expect(0);
    lose_state(&env);
    env.mirror(&[]).expect(0).names("taken over");
    let run = env.mirror(&["--sign", "ada.key"]).expect(0);
    run.names("entries from other sources are no longer recorded (1 entry)");
    assert!(!published(&env).contains_key("other"));
    env.vidimus(&["mirror", "--sign", "ada.key", "outside", "target"]).expect(0);
    assert!(published(&env).contains_key("other"));
    check(&env, &["--key", "ada.pub"]).expect(0);
    env.verify(&["--key", "ada.pub"]).expect(0);
}

/// What another machine published since is signed by this one's key only if it was signed with it.
#[test]
fn what_others_published_since_is_taken_in_by_a_run_that_signs_if_it_is_signed() {
    let env = signed();
    let elsewhere = ["mirror", "outside", "target", "--state-dir", "elsewhere"];
    fs::write(env.outside.join("other"), "of another machine").expect("write");
    env.vidimus(&[&elsewhere[..], &["--sign", "ada.key"]].concat()).expect(0);
    env.mirror(&["--sign", "ada.key"]).expect(0).names("2 entries were taken over");
    assert!(published(&env).contains_key("other"));
    check(&env, &["--key", "ada.pub"]).expect(0);
    fs::write(env.outside.join("unsigned"), "of another machine").expect("write");
    env.vidimus(&elsewhere).expect(0).names("has no signature");
    let run = env.mirror(&["--sign", "ada.key"]).expect(0);
    run.names("nothing is taken over from it, and it is replaced");
    assert!(!published(&env).contains_key("unsigned"));
    check(&env, &["--key", "ada.pub"]).expect(0);
}

/// A run that publishes.
type Publishes<'a> = &'a dyn Fn(&Environment) -> Run;

/// A byte flips in a segment, whose size stays: nobody builds on it, whatever publishes.
#[test]
fn whoever_publishes_onto_segments_reads_them_and_mends_what_is_damaged() {
    let single = ["mirror", "outside/single", "target"];
    let signing = ["mirror", "--sign", "ada.key", "source", "target"];
    let elsewhere = ["mirror", "source", "target", "--state-dir", "elsewhere"];
    let runs: [(&str, Publishes<'_>); 6] = [
        ("a mirror", &|env| env.vidimus(&["mirror", "source", "target"])),
        ("one that signs", &|env| env.vidimus(&signing)),
        ("a single file", &|env| env.vidimus(&single)),
        ("a put", &|env| put(env, &[])),
        ("a put that signs", &|env| put(env, &["--sign", "ada.key"])),
        ("one from elsewhere", &|env| env.vidimus(&elsewhere)),
    ];
    for (what, run) in runs {
        let env = Environment::new();
        many().write(&env.source);
        keygen(&env, "ada");
        fs::write(env.outside.join("single"), "single").expect("write");
        env.mirrored(&[]);
        if what == "one from elsewhere" {
            env.vidimus(&elsewhere).expect(0);
        }
        fs::write(env.source.join("d0/f0"), "changed").expect("write");
        let segment = directory(&env).join("00000001.ndjson.zst");
        let mut bytes = fs::read(&segment).expect("read");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&segment, bytes).expect("write");
        let run = run(&env).expect(0);
        run.names("00000001.ndjson.zst: its BLAKE3 is").names("contains all rows again");
        check(&env, &[]).expect(0);
    }
}
