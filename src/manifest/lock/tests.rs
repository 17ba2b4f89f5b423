use super::*;
use std::fs;
use std::path::Path;

fn run(id: &str) -> RunId {
    RunId(id.to_owned())
}

fn open(path: &Path) -> File {
    File::open(path).unwrap()
}

/// Acquires the lock of a run that began.
fn begun(root: &File, id: &str) -> Acquired {
    let acquired = Lock::acquire(root.as_fd(), &run(id), None).unwrap();
    acquired.lock.keep();
    acquired
}

fn cause(error: &Error) -> String {
    error.source.as_ref().unwrap().to_string()
}

#[test]
fn where_there_are_no_locks_the_file_s_content_is_the_lock() {
    let target = tempfile::tempdir().unwrap();
    let root = open(target.path());
    for errno in [Errno::NOLCK, Errno::NOSYS, Errno::NOTSUP, Errno::INVAL] {
        let acquire = |id| Lock::acquire_by(|_, _| Err(errno), root.as_fd(), &run(id), None);
        let first = acquire("first").unwrap();
        assert!(first.best_effort && first.taken_over.is_none());
        first.lock.keep();
        let error = acquire("second").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Locked);
        assert!(error.to_string().contains("first"), "{error}");
        first.lock.release().unwrap();
        assert!(acquire("third").unwrap().taken_over.is_none());
    }
    let denied = |_: BorrowedFd<'_>, _| Err(Errno::IO);
    let error = Lock::acquire_by(denied, root.as_fd(), &run("fourth"), None).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unusable);
    assert!(!begun(&root, "fifth").best_effort);
}

#[test]
fn a_second_writer_is_told_who_holds_the_lock() {
    let target = tempfile::tempdir().unwrap();
    let root = open(target.path());
    let first = begun(&root, "one");
    assert_eq!(first.taken_over, None);
    let error = Lock::acquire(open(target.path()).as_fd(), &run("two"), None).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Locked);
    let expected = format!("locked by run one (process {} on ", std::process::id());
    assert!(error.message.contains(&expected), "{error}");
    assert!(error.message.contains(", since 2"), "{error}");
    assert!(error.help.is_some());
    let error = Lock::shared(root.as_fd()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Locked);
    first.lock.release().unwrap();
    assert_eq!(fs::read(target.path().join(SHOWN)).unwrap(), b"");
    let third = Lock::acquire(root.as_fd(), &run("three"), None).unwrap();
    assert_eq!(third.taken_over, None);
    drop(third);
    assert_eq!(fs::read(target.path().join(SHOWN)).unwrap(), b"");
}

#[test]
fn numbers_that_change_with_each_look_are_no_reason_to_look_for_ever() {
    let next = std::cell::Cell::new(0);
    let made_up = || Ok(Some(next.replace(next.get() + 1)));
    assert!(is_named(7, made_up).unwrap());
    assert!(is_named(7, || Ok(Some(7))).unwrap());
    assert!(!is_named(7, || Ok(Some(8))).unwrap());
    assert!(!is_named(7, || Ok(None)).unwrap());
}

#[test]
fn the_lock_of_a_dead_run_is_taken_over_and_said_so() {
    let target = tempfile::tempdir().unwrap();
    let root = open(target.path());
    fs::create_dir(target.path().join(DIRECTORY)).unwrap();
    let left = r#"{"run":"dead\u001b","pid":7,"host":"h","started":"2026-11-21T03:38:00Z"}"#;
    for (content, expected) in [
        (left, "run dead\\u{1b} (process 7 on h, since 2026-11-21T03:38:00Z)"),
        ("garbage", "an unknown run (its record can't be read)"),
    ] {
        fs::write(target.path().join(SHOWN), content).unwrap();
        let acquired = Lock::acquire(root.as_fd(), &run("new"), None).unwrap();
        assert_eq!(acquired.taken_over.as_deref(), Some(expected));
        let now = fs::read_to_string(target.path().join(SHOWN)).unwrap();
        assert!(now.starts_with(r#"{"run":"new","pid":"#), "{now}");
    }
}

#[test]
fn the_run_that_writes_is_told_without_its_lock_and_a_dead_one_is_not() {
    let target = tempfile::tempdir().unwrap();
    let root = open(target.path());
    assert_eq!(Lock::writer(root.as_fd()), None);
    let held = begun(&root, "one");
    let writing = Lock::writer(root.as_fd()).unwrap();
    assert_eq!(writing.run, run("one"));
    assert!(writing.who.starts_with("run one (process "), "{writing:?}");
    let left = fs::read_to_string(target.path().join(SHOWN)).unwrap();
    drop(held);
    assert_eq!(Lock::writer(root.as_fd()), None);
    let run = run("20261121T033800Z-1f2e3d4c");
    let writing = Writing { run, who: String::new() };
    let owns = |key: &str| writing.owns(&Key::new(key.as_bytes()));
    assert!(owns("d/.vidimus.1f2e3d4c00000007") && owns(".vidimus.1f2e3d4c00000007/"));
    assert!(!owns("d/.vidimus.1f2e3d4d00000007"));
    // A process with this number that started at another time.
    let dead = left.replace("\"started\":\"", "\"started\":\"9");
    fs::write(target.path().join(SHOWN), dead).unwrap();
    assert_eq!(Lock::writer(root.as_fd()), None);
}

#[test]
fn what_was_made_for_a_run_that_did_not_begin_goes_with_its_lock() {
    let target = tempfile::tempdir().unwrap();
    let root = open(target.path());
    let directory = target.path().join(DIRECTORY);
    for release in [true, false] {
        let acquired = Lock::acquire(root.as_fd(), &run("one"), None).unwrap();
        if release {
            acquired.lock.release().unwrap();
        } else {
            drop(acquired);
        }
        assert!(!directory.exists());
    }
    // Files of others stay, and so does the lock of an earlier run.
    let acquired = Lock::acquire(root.as_fd(), &run("one"), None).unwrap();
    fs::write(directory.join("mine"), "").unwrap();
    drop(acquired);
    assert!(directory.join("mine").exists() && !target.path().join(SHOWN).exists());
    drop(begun(&root, "one"));
    drop(Lock::acquire(root.as_fd(), &run("two"), None).unwrap());
    assert!(target.path().join(SHOWN).exists());
}

#[test]
fn readers_share_and_keep_writers_out() {
    let target = tempfile::tempdir().unwrap();
    let root = open(target.path());
    assert!(Lock::shared(root.as_fd()).unwrap().is_none());
    assert!(!target.path().join(DIRECTORY).exists(), "reading made something");
    drop(begun(&root, "one"));
    let first = Lock::shared(root.as_fd()).unwrap().unwrap();
    let second = Lock::shared(root.as_fd()).unwrap().unwrap();
    first.release().unwrap();
    let error = Lock::acquire(root.as_fd(), &run("two"), None).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Locked);
    assert!(error.message.contains("a verification"), "{error}");
    drop(second);
    Lock::acquire(root.as_fd(), &run("two"), None).unwrap();
}

#[test]
fn a_lock_below_is_held_as_its_file_says_where_there_are_no_locks() {
    let directory = tempfile::tempdir().unwrap();
    let root = open(directory.path());
    let lock = begun(&root, "one");
    let at = directory.path().join(SHOWN);
    let alive = fs::read_to_string(&at).unwrap();
    drop(lock);
    let dead = alive.replace("\"started\":\"", "\"started\":\"9");
    // From another boot, perhaps on another machine.
    let elsewhere = alive.replace("\"boot\":\"", "\"boot\":\"9");
    assert!(alive != dead && alive != elsewhere);
    let asked = std::cell::Cell::new(false);
    let is_held = |content: &str, answer| {
        fs::write(&at, content).unwrap();
        is_held(&open(&at), |_, _| {
            asked.set(true);
            answer
        })
    };
    for errno in [Errno::NOLCK, Errno::NOSYS] {
        assert!(is_held(&alive, Err(errno)) && is_held(&elsewhere, Err(errno)));
        assert!(!is_held(&dead, Err(errno)) && !is_held("", Err(errno)));
    }
    for content in [&*alive, &dead, &elsewhere, ""] {
        assert!(is_held(content, Err(Errno::WOULDBLOCK)), "{content}");
    }
    // The kernel's answer overrides the record of a machine that is gone.
    assert!(!is_held(&elsewhere, Ok(())) && !is_held(&dead, Ok(())) && !is_held("", Ok(())));
    // A check doesn't acquire the lock of a live run, not even for a moment.
    asked.set(false);
    assert!(is_held(&alive, Ok(())) && !asked.get());
}

#[test]
fn a_look_at_a_lock_keeps_no_run_from_beginning() {
    let target = tempfile::tempdir().unwrap();
    let root = open(target.path());
    drop(begun(&root, "one"));
    let looks = std::cell::Cell::new(2);
    let flock = |_: BorrowedFd<'_>, _| match looks.get() {
        0 => Ok(()),
        left => {
            looks.set(left - 1);
            Err(Errno::WOULDBLOCK)
        }
    };
    drop(Lock::acquire_by(flock, root.as_fd(), &run("two"), None).unwrap());
}

#[test]
fn a_symbolic_link_is_never_followed() {
    let outside = tempfile::tempdir().unwrap();
    let target = tempfile::tempdir().unwrap();
    let root = open(target.path());
    let directory = target.path().join(DIRECTORY);
    std::os::unix::fs::symlink(outside.path(), &directory).unwrap();
    let error = Lock::acquire(root.as_fd(), &run("one"), None).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unusable);
    assert!(cause(&error).contains("is a symbolic link"), "{error:?}");
    assert_eq!(Lock::shared(root.as_fd()).unwrap_err().kind, ErrorKind::Unusable);
    fs::remove_file(&directory).unwrap();
    fs::create_dir(&directory).unwrap();
    let victim = outside.path().join("victim");
    fs::write(&victim, "content").unwrap();
    std::os::unix::fs::symlink(&victim, directory.join(FILE)).unwrap();
    let error = Lock::acquire(root.as_fd(), &run("one"), None).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unusable);
    assert_eq!(fs::read(&victim).unwrap(), b"content");
}

#[test]
fn a_named_pipe_in_the_lock_s_place_blocks_nobody() {
    let target = tempfile::tempdir().unwrap();
    let root = open(target.path());
    fs::create_dir(target.path().join(DIRECTORY)).unwrap();
    let status = std::process::Command::new("mkfifo").arg(target.path().join(SHOWN)).status();
    assert!(status.unwrap().success());
    let error = Lock::acquire(root.as_fd(), &run("one"), None).unwrap_err();
    assert!(cause(&error).contains("not a regular file"), "{error:?}");
}

#[test]
fn a_lock_file_that_was_replaced_is_not_the_lock() {
    let target = tempfile::tempdir().unwrap();
    let root = open(target.path());
    let held = Lock::acquire(root.as_fd(), &run("one"), None).unwrap();
    let directory = open_directory(root.as_fd()).unwrap();
    assert!(is_at(&held.lock.file, &directory).unwrap());
    fs::remove_file(target.path().join(SHOWN)).unwrap();
    assert!(!is_at(&held.lock.file, &directory).unwrap());
    fs::write(target.path().join(SHOWN), "").unwrap();
    assert!(!is_at(&held.lock.file, &directory).unwrap());
}

#[test]
fn a_root_that_cannot_be_written_is_unusable() {
    let root = open(Path::new("/proc"));
    let error = Lock::acquire(root.as_fd(), &run("one"), None).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unusable);
    assert_eq!(error.message, "cannot write to the target (its lock \".vidimus/lock\")");
}

#[test]
fn what_it_makes_only_the_owner_writes_and_others_may_read_to_verify() {
    use std::os::unix::fs::PermissionsExt as _;
    let target = tempfile::tempdir().unwrap();
    drop(begun(&open(target.path()), "one"));
    let mode = |name| target.path().join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(DIRECTORY), mode(SHOWN)), (0o755, 0o644));
}
