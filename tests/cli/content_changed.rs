//! Content that changed though no time or size did (a disk that lost a bit) is not copied over what
//! is good.

use crate::common::{Environment, TestTree};
use std::fs;
use std::path::PathBuf;

const RECORDED: &str = "what was recorded";

/// A mirror of a few files, of which the state says that `rotten` and `large` had another content:
/// as after a disk lost a bit, which changes no time.
fn rotten() -> Environment {
    let env = Environment::new();
    let tree = TestTree::new()
        .file("good", "good")
        .file("rotten", RECORDED)
        .file("large", vec![7; 3 << 20]);
    tree.write(&env.source);
    env.age();
    env.mirrored(&[]);
    let connection = rusqlite::Connection::open(state(&env)).expect("open the state");
    let update = "UPDATE entries SET digest = zeroblob(32) WHERE key IN (?1, ?2)";
    connection.execute(update, [&b"rotten"[..], b"large"]).expect("change a row");
    env
}

pub(crate) fn state(env: &Environment) -> PathBuf {
    let names = fs::read_dir(env.state.join("vidimus")).expect("list the state directory");
    let mut paths = names.map(|name| name.expect("a name").path());
    paths.find(|path| path.extension().is_some_and(|it| it == "sqlite3")).expect("a state")
}

#[test]
fn what_changed_in_silence_is_named_and_not_copied() {
    for drifts in [false, true] {
        let env = rotten();
        if drifts {
            for name in ["rotten", "large"] {
                fs::write(env.target.join(name), "the good copy").expect("write");
            }
        }
        let run = env.mirror(&["--checksum", "--json"]).expect(1);
        let run = run.names("--accept-silent-changes").names("\"rotten\"").names("\"large\"");
        run.is_silent_about("\"good\"")
            .finished()
            .counts(&[("files_copied", 0), ("files_failed", 2)]);
        if drifts {
            let target = env.target.join("rotten");
            assert_eq!(fs::read(target).expect("read"), b"the good copy");
        }
        // It is named each time, until somebody decides.
        env.mirror(&["--checksum"]).expect(1);
        env.mirror(&["--checksum", "--accept-silent-changes"]).expect(0);
        assert_eq!(fs::read_to_string(env.target.join("rotten")).expect("read"), RECORDED);
        env.mirrored(&["--checksum"]).counts(&[("files_failed", 0), ("files_copied", 0)]);
        env.verify(&[]).expect(0);
    }
}

#[test]
fn a_copy_that_was_lost_is_not_made_again_of_what_rotted() {
    let env = rotten();
    fs::remove_file(env.target.join("rotten")).expect("remove");
    env.mirror(&[]).expect(1).names("\"rotten\"").names("failing disk");
    assert!(!env.target.join("rotten").exists());
    env.mirror(&["--accept-silent-changes"]).expect(0);
    assert!(env.target.join("rotten").exists());
}

#[test]
fn a_change_that_shows_is_no_silent_one() {
    let env = rotten();
    fs::write(env.source.join("rotten"), "an edit of it all").expect("write");
    env.mirrored(&[]).counts(&[("files_copied", 1)]);
    assert_eq!(fs::read(env.target.join("rotten")).expect("read"), b"an edit of it all");
}

#[test]
fn where_ctime_is_not_looked_at_no_change_is_silent() {
    let env = rotten();
    env.mirrored(&["--checksum", "--ignore-ctime"]).counts(&[("files_copied", 2)]);
}
