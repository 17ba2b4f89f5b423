//! `vidimus bag`: bags that others take for whole when they are, and never before.

use crate::common::background::wait_until;
use crate::common::clients::bagit;
use crate::common::{
    Disk, Environment, Run, Snapshot, TestTree, assert_mirrored, assert_untouched, tools,
};
use crate::needs;
use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a bag can hold, names that are hard to write in a manifest among it.
fn payload() -> TestTree {
    let tree = TestTree::new()
        .file("plain", "1")
        .file("d/two  spaces", "22")
        .file("d/new\nline", "333")
        .file("d/carriage\rreturn", "4444")
        .file("d/back\\slash", "55555")
        .file("d/naïve – ünïcode", "666666")
        .file("*", "")
        .file("#", "1")
        .file("large", vec![7; 3 << 20])
        .mode(0o600)
        .file("d/e/f/leaf", "leaf");
    tree.mtime(1_600_000_000, 5)
}

fn source(tree: &TestTree) -> Environment {
    filled(Environment::new(), tree)
}

fn filled(env: Environment, tree: &TestTree) -> Environment {
    tree.write(&env.source);
    env.age();
    env
}

fn bag_of(env: &Environment) -> PathBuf {
    env.root.join("bag")
}

fn bag(env: &Environment, flags: &[&str]) -> Run {
    env.vidimus(&[&["bag", "--json", "source", "bag"][..], flags].concat())
}

fn read(env: &Environment, name: &str) -> String {
    fs::read_to_string(bag_of(env).join(name)).expect("read a tag file")
}

/// The Python package takes it for a bag, all of whose content is right.
fn is_valid(env: &Environment) -> bool {
    let command = bagit(&bag_of(env)).expect("the need was met");
    Run::of(command).expect_one_of(&[0, 1]).code() == 0
}

fn is_declared(env: &Environment) -> bool {
    bag_of(env).join("bagit.txt").exists()
}

#[test]
fn others_validate_a_bag() {
    needs!(bagit(OsStr::new(".").as_ref()));
    let env = source(&payload().dir("empty").dir("d/e/none").dir("zero/zero"));
    let run = bag(&env, &[]).expect(0).names("which no manifest can list: 3");
    run.finished().counts(&[("files_copied", 10)]);
    assert_mirrored(&env.source, &bag_of(&env).join("data"));
    let tags = ["bagit.txt", "bag-info.txt", "manifest-sha256.txt", "tagmanifest-sha256.txt"];
    let mut names: Vec<_> = fs::read_dir(bag_of(&env))
        .expect("list")
        .map(|name| name.expect("a name").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    let mut expected = [&tags[..], &[".vidimus", "data"]].concat();
    expected.sort_unstable();
    assert_eq!(names, expected);
    let declaration = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n";
    assert_eq!(read(&env, "bagit.txt"), declaration);
    let bytes = (3 << 20) + 1 + 2 + 3 + 4 + 5 + 6 + 1 + 4;
    assert!(read(&env, "bag-info.txt").starts_with(&format!("Payload-Oxum: {bytes}.10\n")));
    let manifest = read(&env, "manifest-sha256.txt");
    assert!(manifest.contains("  data/d/new%0Aline\n"), "{manifest}");
    assert!(manifest.contains("  data/d/carriage%0Dreturn\n"), "{manifest}");
    assert!(is_valid(&env));
    env.vidimus(&["verify", "bag/data"]).expect(0);
    // It is what finds a difference.
    let plain = bag_of(&env).join("data/plain");
    fs::write(&plain, "X").expect("write");
    assert!(!is_valid(&env));
    fs::write(&plain, "1").expect("write");
    fs::write(bag_of(&env).join("bag-info.txt"), "Payload-Oxum: 1.1\n").expect("write");
    assert!(!is_valid(&env));
}

/// Puts something at a path, of this content where it has any.
type Put = fn(&Path, &[u8]);

#[test]
fn a_tag_file_that_can_t_be_kept_or_replaced_refuses_a_run_before_it_begins() {
    let env = source(&payload());
    bag(&env, &[]).expect(0);
    let large = vec![b'x'; (1 << 20) + 1];
    fs::write(env.root.join("info"), "Contact-Name: Ada\n").expect("write");
    let put: [(&str, Put, &str); 4] = [
        ("bag-info.txt", |at, _| symlink("../info", at).expect("link"), "is a symbolic link"),
        ("bag-info.txt", |at, large| fs::write(at, large).expect("write"), "is too long"),
        ("bag-info.txt", |at, _| fs::create_dir(at).expect("make"), "is a directory"),
        ("manifest-sha256.txt", |at, _| fs::create_dir(at).expect("make"), "is a directory"),
    ];
    for (name, put, why) in put {
        let (at, aside) = (bag_of(&env).join(name), env.root.join("aside"));
        fs::rename(&at, &aside).expect("put it aside");
        put(&at, &large);
        let before = Snapshot::read(&bag_of(&env));
        for flags in [&["--dry-run"][..], &[]] {
            bag(&env, flags).expect(6).names(name).names(why).names("or remove it");
        }
        assert_untouched(&before, &bag_of(&env));
        assert!(is_declared(&env) && bag_of(&env).join("tagmanifest-sha256.txt").exists());
        fs::remove_file(&at).or_else(|_| fs::remove_dir(&at)).expect("remove");
        fs::rename(&aside, &at).expect("put it back");
        bag(&env, &[]).expect(0);
    }
}

#[test]
fn a_bag_is_brought_up_to_date() {
    needs!(bagit(OsStr::new(".").as_ref()));
    let env = source(&payload());
    bag(&env, &[]).expect(0);
    env.age();
    let run = bag(&env, &[]).expect(0).is_silent_about("stay in the bag").finished();
    run.counts(&[("files_copied", 0), ("bytes_hashed", 0), ("files_unchanged", 10)]);
    assert!(is_valid(&env));
    fs::write(env.source.join("plain"), "changed").expect("write");
    fs::write(env.source.join("d/new"), "new").expect("write");
    fs::remove_file(env.source.join("large")).expect("remove");
    let run = bag(&env, &[]).expect(0).names("stay in the bag: 1;");
    run.finished().counts(&[("files_copied", 2), ("files_deleted", 0)]);
    assert!(is_valid(&env));
    assert!(read(&env, "manifest-sha256.txt").contains("  data/large\n"));
    let run = bag(&env, &["--delete"]).expect(0).is_silent_about("stay in the bag");
    run.finished().counts(&[("files_deleted", 1)]);
    assert!(is_valid(&env));
    assert_mirrored(&env.source, &bag_of(&env).join("data"));
    // On another machine everything is compared, and nothing copied.
    fs::remove_dir_all(&env.state).expect("remove the state");
    bag(&env, &[]).expect(0).finished().counts(&[("files_copied", 0)]);
    assert!(is_valid(&env));
}

#[test]
fn what_a_bag_cannot_hold_is_left_out_and_named() {
    needs!(bagit(OsStr::new(".").as_ref()));
    let tree = payload()
        .symlink("link", "plain")
        .symlink("d/directory", "e")
        .fifo("pipe")
        .file(b"not\xffutf8/file", "1")
        .file(b"d/\xff", "2");
    let env = source(&tree);
    let run = bag(&env, &[]).expect(0);
    for key in
        ["link", "pipe", "d/directory", "not\\\\xffutf8/", "not\\\\xffutf8/file", "d/\\\\xff"]
    {
        assert!(run.told().contains(&format!("\\\"{key}\\\" is left out")), "{key}");
    }
    run.finished().counts(&[("files_copied", 10), ("files_skipped", 5), ("links_skipped", 2)]);
    assert!(is_valid(&env));
    assert!(!read(&env, "manifest-sha256.txt").contains("link"));
    // A file that a link took the place of is one that the source no longer has.
    fs::remove_file(env.source.join("plain")).expect("remove");
    symlink("large", env.source.join("plain")).expect("link");
    bag(&env, &[]).expect(0).names("stay in the bag: 1;");
    assert!(is_valid(&env));
    bag(&env, &["--delete"]).expect(0).finished().counts(&[("files_deleted", 1)]);
    assert!(is_valid(&env));
    assert!(!bag_of(&env).join("data/plain").exists());
    // What is on neither side then is forgotten.
    fs::remove_file(env.source.join("#")).expect("remove");
    symlink("large", env.source.join("#")).expect("link");
    fs::remove_file(bag_of(&env).join("data/#")).expect("remove");
    bag(&env, &[]).expect(0);
    env.vidimus(&["verify", "bag/data"]).expect(0);
}

/// Other programs' bags decide what is escaped, but the standard how.
#[test]
fn percent_signs_are_written_as_the_standard_says() {
    let env = source(&TestTree::new().file("100%", "1").file("%0A", "2"));
    bag(&env, &[]).expect(0);
    let manifest = read(&env, "manifest-sha256.txt");
    assert!(manifest.contains("  data/100%25\n") && manifest.contains("  data/%250A\n"));
}

/// What is put in a payload, why it can't be declared, and how it is put there.
type Spoiling = (&'static str, &'static str, fn(&Path));

#[test]
fn nothing_is_declared_that_no_run_brought_there() {
    let env = source(&payload());
    let data = bag_of(&env).join("data");
    let spoilings: [Spoiling; 5] = [
        ("foreign", "no run into this bag brought it there", |path| {
            fs::write(path, "x").expect("write");
        }),
        ("link", "a bag holds only files and directories", |path| {
            symlink("plain", path).expect("link");
        }),
        (".vidimus", "was never part of the payload", |path| fs::create_dir(path).expect("make")),
        ("d/stale", "it changed since it was copied", |path| {
            fs::write(path, "other").expect("write");
        }),
        ("pipe", "only files and directories", |path| {
            let mode = rustix::fs::Mode::RUSR;
            rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0)
                .expect("make a pipe");
        }),
    ];
    for (name, why, spoil) in spoilings {
        fs::write(env.source.join("d/stale"), "stale").expect("write");
        env.age();
        bag(&env, &["--delete"]).expect(0);
        fs::remove_file(env.source.join("d/stale")).expect("remove");
        let path = data.join(name);
        spoil(&path);
        let run = bag(&env, &[]).expect(1).names(name).names(why).names("no bagit.txt");
        assert_eq!(run.finished().record["verdict"], "incomplete");
        assert!(!is_declared(&env));
        let kind = path.symlink_metadata().expect("it stays").file_type();
        if kind.is_dir() {
            fs::remove_dir(&path).expect("remove");
        } else {
            fs::remove_file(&path).expect("remove");
        }
        bag(&env, &[]).expect(0);
        assert!(is_declared(&env));
    }
    // What --delete lets go of is in nobody's way.
    fs::write(data.join("foreign"), "x").expect("write");
    bag(&env, &["--delete"]).expect(0).finished().counts(&[("files_deleted", 2)]);
    assert!(is_declared(&env));
}

#[test]
fn a_run_that_leaves_something_undone_declares_nothing() {
    needs!(bagit(OsStr::new(".").as_ref()));
    let env = source(&payload());
    bag(&env, &[]).expect(0);
    let reserved = ".vidimus.0123456789abcdef";
    TestTree::new().file(reserved, "").write(&env.source);
    let run = bag(&env, &[]).expect(1).names("reserved").names("no bagit.txt");
    assert_eq!(run.finished().record["verdict"], "incomplete");
    assert!(!is_declared(&env) && !is_valid(&env));
    fs::remove_file(env.source.join(reserved)).expect("remove");
    for key in ["plain", "large", "*", "#"] {
        fs::remove_file(env.source.join(key)).expect("remove");
    }
    fs::remove_dir_all(env.source.join("d")).expect("remove");
    bag(&env, &["--delete"]).expect(6).names("no bagit.txt");
    assert!(!is_declared(&env));
    bag(&env, &[]).expect(0);
    assert!(is_valid(&env));
}

/// A run is killed at each call that could leave half a bag.
#[test]
fn a_run_that_is_killed_leaves_no_bag_that_anybody_takes_for_whole() {
    needs!(tools::strace(), bagit(OsStr::new(".").as_ref()));
    let calls = [("/^unlink", 1), ("/^unlink", 2), ("/^rename", 1), ("/^rename", 2)];
    let late = [("/^rename", 3), ("/^rename", 4), ("fsync", 1), ("fsync", 4), ("fsync", 7)];
    let mut declared = Vec::new();
    let disk = Disk::new();
    for (calls, when) in calls.into_iter().chain(late) {
        let env = filled(disk.environment(), &payload());
        bag(&env, &[]).expect(0);
        fs::write(env.source.join("plain"), "2").expect("write");
        fs::write(env.source.join("d/new"), "new").expect("write");
        let injected = format!("inject={calls}:signal=KILL:when={when}");
        let arguments = ["bag", "source", "bag", "--transfers", "1"];
        env.strace(&["-e", &injected], &arguments).expect_one_of(&[137, 0]);
        // Where it is declared it is whole: as it was, or as it is to be.
        declared.push(is_declared(&env));
        assert_eq!(is_valid(&env), is_declared(&env), "{calls} {when}");
        bag(&env, &[]).expect(0);
        assert!(is_valid(&env), "{calls} {when}");
        assert!(Snapshot::read(&bag_of(&env)).temporaries().is_empty(), "{calls} {when}");
        assert_mirrored(&env.source, &bag_of(&env).join("data"));
    }
    assert!(declared.contains(&true) && declared.contains(&false), "{declared:?}");
}

/// Whatever the first run left, the next one takes it up.
#[test]
fn a_first_run_that_is_killed_is_gone_on_with() {
    needs!(tools::strace());
    let disk = Disk::new();
    let env = filled(disk.environment(), &payload());
    let calls = [("flock", 1), ("renameat2", 1), ("renameat2", 2), ("renameat2", 4), ("syncfs", 1)];
    for (calls, when) in calls {
        let killing = format!("inject={calls}:signal=KILL:when={when}");
        let arguments = ["bag", "source", "bag", "--transfers", "1"];
        env.strace(&["-e", &killing], &arguments).expect(137);
        bag(&env, &[]).expect(0);
        assert_mirrored(&env.source, &bag_of(&env).join("data"));
        let own = fs::read_dir(bag_of(&env).join(".vidimus")).expect("list");
        assert_eq!(own.count(), 2, "the lock, and the mark");
        fs::remove_dir_all(bag_of(&env)).expect("remove");
    }
}

/// The disk is full from one of the calls on that put tag files in their places.
#[test]
fn a_run_that_fails_declares_nothing() {
    needs!(tools::strace(), bagit(OsStr::new(".").as_ref()));
    let env = source(&payload());
    bag(&env, &[]).expect(0);
    // The first two replace what is there, the others were removed before.
    for (calls, when) in [("renameat", 1), ("renameat", 2), ("renameat2", 1), ("renameat2", 2)] {
        let failing = format!("inject={calls}:error=ENOSPC:when={when}");
        env.strace(&["-e", &failing], &["bag", "source", "bag"]).expect(7).names("cannot write");
        assert!(!is_declared(&env), "{calls} {when}");
    }
    bag(&env, &[]).expect(0);
    assert!(is_valid(&env));
}

/// Declared is what stands on the disk, files of earlier runs included.
#[test]
fn a_bag_is_durable() {
    let env = source(&payload());
    bag(&env, &["--durability", "none"]).expect(2).names("choose batch or file");
    assert!(!bag_of(&env).exists());
    bag(&env, &["--durability", "file"]).expect(0);
}

#[test]
fn what_is_no_bag_is_refused_and_not_touched() {
    let env = source(&payload());
    let refuse = |why: &str| {
        let before = Snapshot::read(&bag_of(&env));
        bag(&env, &[]).expect(6).names(why);
        assert_untouched(&before, &bag_of(&env));
    };
    let path = bag_of(&env);
    fs::create_dir(&path).expect("make a directory");
    fs::write(path.join("thesis.tex"), "x").expect("write");
    refuse("and is not a bag");
    fs::remove_file(path.join("thesis.tex")).expect("remove");
    env.vidimus(&["mirror", "source", "bag"]).expect(0);
    refuse("and is not a bag");
    fs::remove_dir_all(&path).expect("remove");
    fs::create_dir_all(path.join("data")).expect("make a directory");
    env.vidimus(&["mirror", "bag/data", "bag"]).expect(6);
    env.vidimus(&["mirror", "outside", "bag"]).expect(0);
    refuse("is the target of a mirror");
    fs::remove_dir_all(&path).expect("remove");
    bag(&env, &[]).expect(0);
    for name in ["manifest-md5.txt", "tagmanifest-sha512.txt", "fetch.txt"] {
        fs::write(path.join(name), "").expect("write");
        refuse("would be wrong once the payload changes");
        fs::remove_file(path.join(name)).expect("remove");
    }
    // What else lies in a bag is its owner's.
    fs::create_dir(path.join("metadata")).expect("make a directory");
    bag(&env, &[]).expect(0);
    env.vidimus(&["bag", "source", "s3://bucket/bag"]).expect(2).names("in a local directory");
    env.vidimus(&["bag", "source", "source/bag"]).expect(6).names("lies in the source");
    env.vidimus(&["bag", "missing", "bag"]).expect(7);
    assert!(is_declared(&env), "what can't begin takes nothing away");
}

/// Nothing of it was made by a run: it isn't to be written over, and least of all deleted.
#[test]
fn a_directory_with_parts_of_a_bag_is_no_bag() {
    let env = source(&payload());
    let path = bag_of(&env);
    for (name, content) in [
        ("data/plain", "not ours"),
        ("bag-info.txt", "Contact-Name: Ada\n"),
        ("manifest-sha256.txt", "not ours"),
        ("tagmanifest-sha256.txt", "not ours"),
    ] {
        TestTree::new().file(name, content).write(&path);
        let before = Snapshot::read(&path);
        for flags in [&[][..], &["--delete", "--max-delete", "100%"], &["--dry-run"]] {
            bag(&env, flags).expect(6).names("and is not a bag");
        }
        assert_untouched(&before, &path);
        fs::remove_dir_all(&path).expect("remove");
    }
    // A directory that is elsewhere is no part of a bag.
    bag(&env, &[]).expect(0);
    fs::rename(path.join("data"), env.root.join("elsewhere")).expect("rename");
    symlink("../elsewhere", path.join("data")).expect("link");
    let before = Snapshot::read(&env.root.join("elsewhere"));
    for flags in [&["--delete"][..], &["--dry-run"]] {
        bag(&env, flags).expect(6).names("is a symbolic link");
    }
    assert_untouched(&before, &env.root.join("elsewhere"));
    assert!(is_declared(&env));
    // What a run did before it made the first file is in nobody's way.
    fs::remove_dir_all(&path).expect("remove");
    fs::create_dir_all(path.join("data")).expect("make a directory");
    TestTree::new().file(".vidimus/lock", "").write(&path);
    bag(&env, &[]).expect(0);
}

/// A bag that lost its declaration to a run that could not end stays one, with what its owner put
/// in it.
#[test]
fn a_bag_with_files_of_its_owner_is_gone_on_with() {
    let env = source(&payload());
    bag(&env, &[]).expect(0);
    TestTree::new().file("metadata/mets.xml", "<mets/>").write(&bag_of(&env));
    let foreign = bag_of(&env).join("data/foreign");
    fs::write(&foreign, "x").expect("write");
    bag(&env, &[]).expect(1);
    assert!(!is_declared(&env));
    fs::remove_file(&foreign).expect("remove");
    bag(&env, &[]).expect(0);
    assert!(read(&env, "tagmanifest-sha256.txt").contains("  metadata/mets.xml\n"));
}

/// What another command left in a payload would make the bag invalid, be it the lock alone.
#[test]
fn only_bag_writes_to_a_payload() {
    let env = source(&payload());
    fs::write(env.root.join("list"), format!("{:064}  plain\n", 0)).expect("write");
    let writers: [&[&str]; 8] = [
        &["mirror", "source", "bag/data"],
        &["mirror", "--dry-run", "source", "bag/data"],
        &["mirror", "source", "bag/data/d"],
        &["mirror", "source", "bag/data/new"],
        &["bag", "source", "bag/data/new"],
        &["put", "-", "bag/data/put"],
        &["manifest", "import", "--format", "b3sum", "bag/data", "list"],
        &["verify", "--repair-from", "source", "bag/data"],
    ];
    for is_whole in [true, false] {
        bag(&env, &["--delete"]).expect(0);
        if !is_whole {
            TestTree::new().file(".vidimus.0123456789abcdef", "").write(&env.source);
            bag(&env, &[]).expect(1);
        }
        assert_eq!(is_declared(&env), is_whole);
        let before = Snapshot::read(&bag_of(&env));
        for arguments in writers {
            env.vidimus(arguments).expect(6).names("vidimus bag SOURCE BAG");
        }
        assert_untouched(&before, &bag_of(&env));
    }
    // What lies beside the payload is no part of it, nor is every directory of that name one.
    fs::create_dir(bag_of(&env).join("metadata")).expect("make a directory");
    let beside = env.vidimus(&["put", "-", "bag/metadata/put"]).expect(6);
    beside.names("lies in the bag").names("vidimus bag SOURCE BAG");
    env.vidimus(&["mirror", "source", "bag/metadata/new"]).expect(6).names("lies in the bag");
    env.vidimus(&["put", "-", "target"]).expect(0);
    fs::create_dir(env.root.join("data")).expect("make a directory");
    env.vidimus(&["put", "-", "data/put"]).expect(0);
}

/// It names what another command isn't let to mend.
#[test]
fn bag_mends_what_was_corrupted() {
    needs!(bagit(OsStr::new(".").as_ref()));
    let env = source(&payload());
    bag(&env, &[]).expect(0);
    let plain = bag_of(&env).join("data/plain");
    let stands = fs::metadata(&plain).expect("stat").modified().expect("a time");
    fs::write(&plain, "X").expect("write");
    let file = fs::File::options().write(true).open(&plain).expect("open");
    file.set_modified(stands).expect("set the time");
    env.vidimus(&["verify", "bag/data"]).expect(3);
    bag(&env, &["--checksum"]).expect(0).finished().counts(&[("files_copied", 1)]);
    assert!(is_valid(&env));
}

#[test]
fn one_run_at_a_time_makes_a_bag() {
    let env = source(&payload());
    bag(&env, &[]).expect(0);
    let lock = fs::File::open(bag_of(&env).join(".vidimus/lock")).expect("open the lock");
    flock(&lock, FlockOperation::LockExclusive).expect("lock");
    bag(&env, &[]).expect(5);
    env.vidimus(&["verify", "bag/data"]).expect(5);
    env.vidimus(&["verify", "--against", "source", "bag/data"]).expect(5);
    assert!(is_declared(&env));
    drop(lock);
    bag(&env, &[]).expect(0);
}

#[test]
fn what_its_owner_wrote_of_a_bag_stays() {
    needs!(bagit(OsStr::new(".").as_ref()));
    let env = source(&payload());
    bag(&env, &[]).expect(0);
    let info = bag_of(&env).join("bag-info.txt");
    let mine = "Contact-Name: Ada\nExternal-Description: of a\n  length\n";
    fs::write(&info, format!("{mine}{}", read(&env, "bag-info.txt"))).expect("write");
    fs::write(env.source.join("plain"), "longer").expect("write");
    bag(&env, &[]).expect(0);
    let written = read(&env, "bag-info.txt");
    assert!(written.starts_with(mine), "{written}");
    assert_eq!(written.matches("Payload-Oxum").count(), 1, "{written}");
    // So do tag files of other kinds, which the tag manifest lists.
    let tag = bag_of(&env).join("metadata/mets.xml");
    TestTree::new().file("metadata/mets.xml", "<mets/>").write(&bag_of(&env));
    let state = env.command(&["bag", "source", "bag", "--state-dir", "bag/metadata/state"]);
    Run::of(state).expect(0);
    let listed = read(&env, "tagmanifest-sha256.txt");
    assert!(listed.contains("  metadata/mets.xml\n") && !listed.contains("state"), "{listed}");
    assert!(is_valid(&env));
    fs::write(&tag, "<METS/>").expect("write");
    assert!(!is_valid(&env));
    fs::remove_file(&tag).expect("remove");
    symlink("/etc/hostname", &tag).expect("link");
    TestTree::new().fifo("metadata/pipe").write(&bag_of(&env));
    bag(&env, &["--checksum"]).expect(0).names("mets.xml").names("no named pipes");
    assert!(is_valid(&env));
}

#[test]
fn a_run_that_is_stopped_declares_nothing() {
    let env = crate::locks::large();
    let mut command = env.command(&["bag", "--json", "source", "bag"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("spawn");
    wait_until("a payload that is copied", || bag_of(&env).join("data").exists());
    crate::locks::send(&child, Signal::STOP);
    crate::locks::send(&child, Signal::INT);
    crate::locks::send(&child, Signal::CONT);
    let run = Run::wait(child, "bag".into()).expect(130).names("no bagit.txt");
    assert_eq!(run.finished().record["verdict"], "interrupted");
    assert!(!is_declared(&env));
    bag(&env, &[]).expect(0);
    assert!(is_declared(&env));
}

#[test]
fn a_dry_run_makes_no_bag() {
    let env = source(&payload().symlink("link", "plain"));
    let run = bag(&env, &["--dry-run"]).expect(0).names("is left out");
    run.finished().counts(&[("files_planned", 10), ("files_copied", 0)]);
    assert!(!bag_of(&env).exists());
    bag(&env, &[]).expect(0);
    let before = Snapshot::read(&bag_of(&env));
    fs::write(env.source.join("plain"), "changed").expect("write");
    bag(&env, &["--dry-run"]).expect(0).finished().counts(&[("files_planned", 1)]);
    assert_untouched(&before, &bag_of(&env));
}

/// No run takes over what a mirror published where the payload is now.
#[test]
fn a_dry_run_goes_by_what_a_run_goes_by() {
    let env = source(&payload());
    let path = bag_of(&env);
    fs::create_dir(&path).expect("make a directory");
    env.vidimus(&["mirror", "--digest", "sha256", "source", "bag/data"]).expect(0);
    fs::write(path.join("bagit.txt"), "").expect("write");
    fs::remove_dir_all(&env.state).expect("remove the state");
    let run = bag(&env, &["--dry-run"]).expect(0).finished();
    assert_eq!(run.record["would"]["check"], 10);
    // Both sides are read, and what the mirror left in the payload is in the way.
    let run = bag(&env, &[]).expect(1).names("was never part of the payload").finished();
    run.counts(&[("bytes_hashed", 2 * ((3 << 20) + 26))]);
}

#[test]
fn a_single_file_makes_a_bag() {
    needs!(bagit(OsStr::new(".").as_ref()));
    let env = source(&payload());
    let run = env.vidimus(&["bag", "source/large", "bag"]).expect(0);
    run.names("complete");
    assert!(read(&env, "manifest-sha256.txt").ends_with("  data/large\n"));
    assert!(is_valid(&env));
    // What any run brought there is part of it.
    env.vidimus(&["bag", "source/plain", "bag"]).expect(0);
    assert!(read(&env, "manifest-sha256.txt").contains("  data/large\n"));
    assert!(is_valid(&env));
}

#[test]
fn tag_files_have_the_mode_that_the_umask_leaves() {
    let env = source(&payload());
    let binary = env!("CARGO_BIN_EXE_vidimus");
    let mut command = Command::new("sh");
    command.args(["-c", &format!("umask 027; exec {binary} bag source bag")]);
    let mut command = env.hermetic(command);
    command.current_dir(&env.root);
    Run::of(command).expect(0);
    let mode = |name: &str| {
        let stat = fs::metadata(bag_of(&env).join(name)).expect("stat");
        stat.permissions().mode() & 0o7777
    };
    assert_eq!((mode(""), mode("bagit.txt"), mode("data/large")), (0o750, 0o640, 0o600));
}

#[test]
fn what_is_filtered_out_is_no_part_of_a_bag() {
    needs!(bagit(OsStr::new(".").as_ref()));
    let env = source(&payload().symlink("link", "plain"));
    let run = bag(&env, &["--exclude", "d/", "--exclude", "link"]).expect(0);
    run.is_silent_about("left out").finished().counts(&[("files_copied", 4)]);
    assert!(is_valid(&env));
    assert!(!bag_of(&env).join("data/d").exists());
    // What lies in the payload is listed, whatever this run looks at.
    bag(&env, &["--exclude", "link"]).expect(0);
    bag(&env, &["--exclude", "link", "--exclude", "d/"]).expect(0);
    assert!(read(&env, "manifest-sha256.txt").contains("  data/d/e/f/leaf\n"));
    assert!(is_valid(&env));
    let not_utf8 = OsStr::from_bytes(b"data/\xff");
    fs::write(bag_of(&env).join(not_utf8), "x").expect("write");
    bag(&env, &[]).expect(1).names("xff");
}

#[test]
fn a_bag_in_another_encoding_is_left_as_it_is() {
    let env = source(&payload());
    bag(&env, &[]).expect(0);
    let declared = "BagIt-Version: 1.0\nTag-File-Character-Encoding: ISO-8859-1\n";
    for (name, text) in [("bagit.txt", declared.as_bytes()), ("bag-info.txt", b"Name: Andr\xe9\n")]
    {
        let path = bag_of(&env).join(name);
        let stood = fs::read(&path).expect("read");
        fs::write(&path, text).expect("write");
        let before = Snapshot::read(&bag_of(&env));
        bag(&env, &[]).expect(6).names(name).names("UTF-8");
        assert_untouched(&before, &bag_of(&env));
        fs::write(&path, stood).expect("write");
    }
    bag(&env, &[]).expect(0);
}

#[test]
fn names_that_bagit_py_cannot_read_are_told() {
    needs!(bagit(OsStr::new(".").as_ref()));
    let mut tree = TestTree::new();
    for name in ["a b", " a", "a\n", "\r\n\r\na", "naïve", "$x", "*", "\u{a0}a", "~a", "#"] {
        tree = tree.file(name, "x");
    }
    let env = source(&tree);
    bag(&env, &[]).expect(0).is_silent_about("bagit.py");
    assert!(is_valid(&env));
    for name in ["100%", "a ", "a\t", "a\u{a0}", "a\u{1f}", "a\u{b}b", "\n\n\n", "\u{2028}a"] {
        let env = source(&TestTree::new().file(name, "x"));
        bag(&env, &[]).expect(0).names("bagit.py can't read the name");
        assert!(!is_valid(&env), "{name:?}");
    }
    // Tag files of the owner's are listed, too.
    let env = source(&TestTree::new().file("a", "x"));
    bag(&env, &[]).expect(0);
    fs::write(bag_of(&env).join("100%"), "").expect("write");
    bag(&env, &[]).expect(0).names("bagit.py can't read the name \\\"100%\\\"");
}

#[test]
fn a_mirror_into_the_root_of_a_bag_is_refused() {
    let env = source(&payload());
    bag(&env, &[]).expect(0);
    let other = TestTree::new().file("bagit.txt", "").file("data/x", "x").file("plain", "1");
    other.write(&env.outside);
    let before = Snapshot::read(&bag_of(&env));
    for arguments in [&["source", "bag"][..], &["outside", "bag", "--dry-run"], &["list", "bag"]] {
        fs::write(env.root.join("list"), "").expect("write");
        let run = env.vidimus(&[&["mirror"], arguments].concat());
        run.expect(6).names("would no longer be valid").names("vidimus bag SOURCE BAG");
    }
    env.vidimus(&["verify", "bag"]).expect(4).names("recorded for its payload").names("/bag/data");
    assert_untouched(&before, &bag_of(&env));

    // A copy is what a mirror made, as long as anything tells of that; others' bags are bags.
    env.vidimus(&["mirror", "bag", "copy"]).expect(0);
    env.vidimus(&["mirror", "bag", "copy"]).expect(0);
    fs::remove_dir_all(env.root.join("copy/.vidimus")).expect("remove");
    env.vidimus(&["mirror", "bag", "copy"]).expect(0);
    fs::remove_dir_all(env.root.join("copy/.vidimus")).expect("remove");
    env.lose_records();
    env.vidimus(&["mirror", "outside", "copy"]).expect(6).names("remove its bagit.txt");
    env.vidimus(&["verify", "copy/data"]).expect(4).names("bagit.py --validate");
    fs::remove_file(env.root.join("copy/bagit.txt")).expect("remove");
    env.vidimus(&["mirror", "bag", "copy"]).expect(0);
}

#[test]
fn a_copy_of_a_bag_takes_that_bag_alone() {
    let env = source(&payload());
    bag(&env, &[]).expect(0);
    let other = TestTree::new().file("bagit.txt", "").file("manifest-sha256.txt", "");
    other.file("data/x", "x").write(&env.outside);
    env.vidimus(&["mirror", "bag", "copy"]).expect(0);
    let before = Snapshot::read(&env.root.join("copy"));
    for arguments in [
        &["mirror", "outside", "copy"][..],
        &["mirror", "--delete", "source", "copy"],
        &["explain", "outside", "copy", "data/x"],
        &["mirror", "bag/manifest-sha256.txt", "copy"],
        &["put", "-", "copy/manifest-sha256.txt"],
    ] {
        let run = env.vidimus(arguments).expect(6);
        run.names("is a bag, and would no longer be valid");
        assert_untouched(&before, &env.root.join("copy"));
    }
    // Its record says whose copy it is, else what is published in it, else its own manifest.
    let update = |bag: &str| env.vidimus(&["mirror", bag, "copy"]).expect(0);
    fs::write(env.source.join("plain"), "another").expect("write");
    bag(&env, &[]).expect(0);
    env.lose_records();
    update("bag");
    let before = Snapshot::read(&env.root.join("copy"));
    env.vidimus(&["mirror", "outside", "copy"]).expect(6);
    assert_untouched(&before, &env.root.join("copy"));
    fs::rename(bag_of(&env), env.root.join("moved")).expect("rename");
    update("moved");
}

#[test]
fn no_other_command_writes_to_the_root_of_a_bag_and_explain_says_so() {
    let env = source(&payload());
    bag(&env, &[]).expect(0);
    TestTree::new().file("bagit.txt", "").file("data/x", "x").write(&env.outside);
    env.mirrored(&[]);
    let before = [Snapshot::read(&bag_of(&env)), Snapshot::read(&env.outside)];
    for root in ["bag", "outside"] {
        let file = format!("{root}/list");
        for arguments in [
            &["explain", "source", root, "a"][..],
            &["put", "-", &file],
            &["manifest", "export", "--format", "json", "--output", &file, "target"],
        ] {
            let run = env.vidimus(arguments).expect(6);
            run.names("is a bag, and would no longer be valid").names("vidimus bag SOURCE BAG");
        }
    }
    assert_untouched(&before[0], &bag_of(&env));
    assert_untouched(&before[1], &env.outside);
}

#[test]
fn who_asks_for_the_manifest_of_a_bag_is_told_of_its_payload() {
    let env = source(&payload());
    bag(&env, &[]).expect(0);
    for command in ["show", "log"] {
        let run = env.vidimus(&["manifest", command, "bag"]).expect(4);
        run.names("it is a bag").names("vidimus verify bag/data");
    }
}
