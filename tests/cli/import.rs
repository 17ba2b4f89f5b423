//! `vidimus manifest import`: a mirror that another program made, adopted by a list of digests.

use crate::common::environment::text;
use crate::common::tree::set_mtime_of;
use crate::common::{Environment, Run, Snapshot, TestTree, assert_untouched, tools};
use crate::manifest::{lose_state, published};
use crate::mirror::mirrored;
use crate::needs;
use std::fs;
use std::process::Command;

fn tree() -> TestTree {
    TestTree::new()
        .file("a", "first")
        .file("d/b", "second")
        .file("d/new\nline", "third")
        .file("rotten", "as it was")
        .file("gone", "no more")
        .file("not\\named", "extra")
        .file(b"not\xffutf8", "fourth")
        .symlink("l", "a")
}

/// A target that `cp` could have made, and a source that is as it was.
fn copied() -> Environment {
    let env = Environment::new();
    tree().write(&env.source);
    tree().write(&env.target);
    env.age();
    fs::write(env.target.join("rotten"), "as it isn't").expect("write");
    fs::remove_file(env.target.join("gone")).expect("remove");
    env
}

pub(crate) fn line(name: impl AsRef<[u8]>, content: &str) -> Vec<u8> {
    let digest = blake3::hash(content.as_bytes()).to_string();
    [digest.as_bytes(), b"  ", name.as_ref(), b"\n"].concat()
}

/// The list of the source, in no order.
fn list() -> Vec<u8> {
    [
        line("./rotten", "as it was"),
        line("d//b", "second"),
        [&b"\\"[..], &line("d/new\\nline", "third")].concat(),
        b"# a comment, and an empty line\r\n\r\n".to_vec(),
        line("gone", "no more"),
        line("a", "first"),
        line("a", "first"),
        line(b"not\xffutf8", "fourth"),
    ]
    .concat()
}

fn import(env: &Environment, list: &[u8], flags: &[&str]) -> Run {
    let path = env.root.join("list");
    fs::write(&path, list).expect("write");
    let arguments = ["manifest", "import", "--format", "b3sum", "target", text(&path)];
    env.vidimus(&[&arguments[..], flags].concat())
}

#[test]
fn a_mirror_of_others_is_adopted_by_a_list() {
    let env = copied();
    let before = Snapshot::read(&env.target.join("d"));
    let run = import(&env, &list(), &["--json"]).expect(3);
    let finished = run.finished();
    for (name, count) in [
        ("entries", 6),
        ("verified", 4),
        ("corrupt", 1),
        ("missing", 1),
        ("extra", 1),
        ("failed", 0),
        ("bytes_hashed", 33),
    ] {
        assert_eq!(finished.record[name], count, "{name}");
    }
    let differences: Vec<_> = run
        .records()
        .iter()
        .filter(|record| record["event"] == "difference")
        .map(|record| format!("{} {}", record["difference"], record["key"]).replace('"', ""))
        .collect();
    assert_eq!(differences.len(), 2);
    assert!(differences.contains(&"corrupt rotten".to_owned()), "{differences:?}");
    assert!(differences.contains(&"missing gone".to_owned()), "{differences:?}");
    assert_untouched(&before, &env.target.join("d"));
    env.vidimus(&["manifest", "show", "target"]).expect(0).names("rows        6\n");
    // What the list said is what counts, with the record and without.
    let verify = |flags: &[&str]| {
        let run = env.verify(flags).expect(3).names("corrupt rotten").names("missing gone");
        run.names("verified  4 files").is_silent_about("metadata");
    };
    verify(&[]);
    verify(&["--strict"]);
    lose_state(&env);
    verify(&[]);
    let source = text(&env.source);
    env.verify(&["--repair-from", source]).expect(0).names("mended    2 entries");
    assert_eq!(fs::read(env.target.join("gone")).expect("read"), b"no more");
    env.verify(&[]).expect(0).names("verified  6 files");
}

#[test]
fn a_list_comes_by_standard_input_too() {
    let env = copied();
    let arguments =
        ["manifest", "import", "--checkers", "1", "--format", "b3sum", "--bwlimit", "1GiB/s"];
    let mut command = env.command(&[&arguments[..], &["target", "-"]].concat());
    let path = env.root.join("list");
    fs::write(&path, list()).expect("write");
    command.stdin(fs::File::open(&path).expect("open"));
    Run::of(command).expect(3).names("compared target with the list on standard input");
}

/// Its mtime and size are those of the source: nothing but the list tells.
#[test]
fn a_mirror_takes_over_what_was_imported() {
    for keeps_state in [true, false] {
        let env = copied();
        import(&env, &list(), &["--quiet"]).expect(3);
        if !keeps_state {
            lose_state(&env);
        }
        for name in ["rotten", "not\\named"] {
            set_mtime_of(&env.target.join(name), 1_000_000_000, 0);
            set_mtime_of(&env.source.join(name), 1_000_000_000, 0);
        }
        env.age();
        env.mirrored(&[]).counts(&[("files_copied", 2), ("files_failed", 0)]);
        assert_eq!(fs::read(env.target.join("rotten")).expect("read"), b"as it was");
        env.verify(&[]).expect(0);
        env.mirrored(&[]).counts(&[("files_copied", 0), ("bytes_hashed", 0)]);
        env.vidimus(&["manifest", "log", "target"]).expect(0).names("2 publications");
    }
}

#[test]
fn what_b3sum_lists_is_read() {
    needs!(tools::b3sum());
    for tag in [&[][..], &["--tag"]] {
        let env = copied();
        let mut command = Command::new(tools::b3sum().unwrap());
        command.args(tag).args(["a", "d/b", "d/new\nline", "./not\\named"]);
        let mut command = env.hermetic(command);
        command.current_dir(&env.source);
        let list = Run::of(command).expect(0).stdout;
        import(&env, list.as_bytes(), &[]).expect(0).names("verified  4 files");
    }
}

/// Of the rotten one only the list's SHA-256 is known: that is what it is held against.
#[test]
fn what_sha256sum_lists_is_read() {
    for flags in [&[][..], &["--tag"], &["--binary"]] {
        let env = copied();
        let mut command = Command::new("sha256sum");
        command.args(flags).args(["a", "d/b", "d/new\nline", "./not\\named", "rotten", "gone"]);
        let mut command = env.hermetic(command);
        command.current_dir(&env.source);
        let path = env.root.join("sums");
        fs::write(&path, Run::of(command).expect(0).stdout).expect("write");
        let import = ["manifest", "import", "--format", "sha256sum", "target", text(&path)];
        let run = env.vidimus(&import).expect(3);
        run.names("verified  4 files").names("corrupt rotten").names("missing gone");
        for flags in [&[][..], &["--budget", "1h"]] {
            env.verify(flags).expect(3).names("corrupt rotten").names("verified  4 files");
        }
        let source = text(&env.source);
        let run = env.verify(&["--repair-from", source]).expect(3);
        run.names("only its SHA-256 is recorded");
        let export = ["manifest", "export", "--format", "sha256sum", "target"];
        assert_eq!(env.vidimus(&export).expect(0).stdout.lines().count(), 6);
        let hashdeep = ["manifest", "export", "--format", "hashdeep", "target"];
        let run = env.vidimus(&hashdeep).expect(0);
        run.names("left out \"rotten\"")
            .names("left out \"gone\"")
            .is_silent_about("left out \"a\"");
        // The source lacks it: what lies there is held against nothing, and so it gets no digest.
        fs::rename(env.source.join("rotten"), env.root.join("aside")).expect("rename");
        env.mirrored(&["--digest", "sha256,md5"]).counts(&[("files_failed", 0)]);
        env.verify(&[]).expect(3).names("corrupt rotten");
        fs::rename(env.root.join("aside"), env.source.join("rotten")).expect("rename");
        set_mtime_of(&env.target.join("rotten"), 1_000_000_000, 0);
        set_mtime_of(&env.source.join("rotten"), 1_000_000_000, 0);
        env.mirrored(&["--digest", "sha256"]).counts(&[("files_failed", 0)]);
        assert_eq!(fs::read(env.target.join("rotten")).expect("read"), b"as it was");
        env.verify(&[]).expect(0);
        env.vidimus(&export).expect(0);
    }
}

#[test]
fn what_is_exported_can_be_imported() {
    let env = mirrored(&TestTree::new().file("a\\b\n", "1").file("-", "2").file("#c", "3"));
    let exported = env.vidimus(&["manifest", "export", "--format", "b3sum", "target"]).expect(0);
    lose_state(&env);
    let refused = import(&env, exported.stdout.as_bytes(), &[]).expect(6);
    refused.names("has a manifest already").names("help:");
    fs::remove_dir_all(env.target.join(".vidimus/manifest")).expect("remove");
    import(&env, exported.stdout.as_bytes(), &[]).expect(0).names("verified  3 files");
}

#[test]
fn where_a_mirror_is_recorded_nothing_is_imported() {
    let env = mirrored(&tree());
    fs::remove_dir_all(env.target.join(".vidimus/manifest")).expect("remove");
    let run = import(&env, &list(), &[]).expect(6);
    run.names("is recorded here").names(text(&env.source));
}

#[test]
fn a_list_that_is_none_is_refused_before_anything_is_read() {
    let env = copied();
    let before = Snapshot::read(&env.target);
    let wrong = |what: &[u8]| [&list()[..], what, b"\n"].concat();
    for (what, told) in [
        (&b"no digest"[..], "it doesn't have the form"),
        (&line("../etc/passwd", "x"), "leads out of the directory"),
        (&line("/etc/passwd", "x"), "absolute path"),
        (&vec![b'a'; 100_000], "longer than any name"),
    ] {
        let run = import(&env, &wrong(what), &[]).expect(2);
        run.names("line 10 of the list").names(told).names("help:");
    }
    import(&env, b"# nothing\n", &[]).expect(2).names("does not name any file");
    assert_untouched(&before, &env.target);
    assert_eq!(fs::read_dir(&env.state).expect("list").count(), 0);
    let missing = ["manifest", "import", "--format", "b3sum", "target", "missing"];
    env.vidimus(&missing).expect(7).names("cannot open the list \"missing\"");
    fs::write(env.root.join("list"), list()).expect("write");
    let no_target = ["manifest", "import", "--format", "b3sum", "nowhere", "list"];
    env.vidimus(&no_target).expect(7).names("cannot open the target");
}

/// What doesn't come to its end counts for nothing, and is begun anew.
#[test]
fn an_import_that_breaks_off_is_none() {
    let env = copied();
    let twice = [list(), line("rotten", "as it is.")].concat();
    import(&env, &twice, &[]).expect(2).names("two digests of \"rotten\"");
    env.verify(&[]).expect(4).names("no run into");
    assert!(!env.target.join(".vidimus/manifest").exists());
    import(&env, &line("a", "first"), &[]).expect(0);
    assert_eq!(published(&env).len(), 1);
    env.verify(&[]).expect(0).names("verified  1 file,");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let env = copied();
    needs!(tools::tool("strace"));
    let path = env.root.join("list");
    fs::write(&path, list()).expect("write");
    let arguments = ["manifest", "import", "--format", "b3sum", "target", text(&path)];
    let bad = env.target.join("d/b");
    let calls = "inject=read,pread64,readv,mmap:error=EIO";
    let run = env.strace(&["-P", text(&bad), "-e", calls], &arguments).expect(1);
    run.names("d/b").names("failed    1 entry");
    // What the list says of it is on record all the same.
    env.verify(&[]).expect(3).names("verified  4 files").is_silent_about("corrupt d/b");
}

#[test]
fn a_list_of_another_digest_is_told_from_a_target_that_rotted() {
    let env = Environment::new();
    TestTree::new().file("a", "first").file("b", "second").write(&env.target);
    let list = "a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e  a\n\
                16367aacb67a4a017c8da8ab95682ccb390863780f7114dda0a0e0c55644c7c4  b\n";
    let told = "again with --format sha256sum";
    import(&env, list.as_bytes(), &[]).expect(3).names("corrupt a").names(told);
    let again = |list: &[u8]| {
        fs::remove_dir_all(env.target.join(".vidimus/manifest")).expect("remove the manifest");
        import(&env, list, &[])
    };
    again(&line("a", "first")).expect(0).is_silent_about(told);
    let rotten = [line("a", "first"), line("b", "rotten")].concat();
    again(&rotten).expect(3).is_silent_about(told);
    let md5 = format!("{}  a\n", "a".repeat(32));
    import(&env, md5.as_bytes(), &[]).expect(2).names("as long as an MD5");
}
