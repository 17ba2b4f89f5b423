//! A record that was damaged, however that came: the target's manifest stands in for it.

use crate::common::{Environment, TestTree};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// A mirror of some hundred files, whose record has more pages than one.
fn mirrored() -> Environment {
    let env = Environment::new();
    let tree = (0..300).fold(TestTree::new(), |tree, n| tree.file(format!("file-{n}"), "content"));
    tree.write(&env.source);
    env.age();
    env.mirrored(&[]);
    env
}

/// The file of the record.
fn record(env: &Environment) -> PathBuf {
    let files = fs::read_dir(env.state.join("vidimus")).expect("list the state directory");
    let mut paths = files.map(|entry| entry.expect("list").path());
    paths.find(|path| path.extension().is_some_and(|it| it == "sqlite3")).expect("a record")
}

fn overwrite(path: &Path, at: u64, length: u64) {
    let file = OpenOptions::new().write(true).open(path).expect("open the record");
    let garbage: Vec<u8> = (0..length).map(|n| (n * 7 + 13) as u8).collect();
    file.write_all_at(&garbage, at).expect("overwrite the record");
}

type Harm = fn(&Path);

fn length(path: &Path) -> u64 {
    fs::metadata(path).expect("look at the record").len()
}

const HARMS: [(&str, Harm); 5] = [
    ("emptied", |path| fs::write(path, "").expect("empty the record")),
    ("cut off", |path| {
        let file = OpenOptions::new().write(true).open(path).expect("open the record");
        file.set_len(5_000).expect("truncate the record");
    }),
    ("overwritten", |path| overwrite(path, 0, length(path))),
    ("its first page overwritten", |path| overwrite(path, 0, 4_096)),
    ("a page in its middle overwritten", |path| overwrite(path, length(path) / 2, 8_192)),
];

#[test]
fn verify_and_mirror_go_on_by_the_manifest_and_say_so_once() {
    for (what, harm) in HARMS {
        let env = mirrored();
        harm(&record(&env));
        let run = env.verify(&[]).expect(0);
        assert_eq!(run.stderr.matches("warning:").count(), 1, "{what}: {}", run.told());
        let run = run.names("is damaged").names("manifest published in the target");
        run.names("verified  300 files");
        // Which reads no row.
        let run = env.vidimus(&["verify", "--against", "source", "target"]).expect(0);
        assert!(run.stderr.matches("warning:").count() <= 1, "{what}: {}", run.told());
        let run = env.vidimus(&["mirror", "source", "target"]).expect(0);
        assert_eq!(run.stderr.matches("warning:").count(), 1, "{what}: {}", run.told());
        run.names("301 entries were taken over").names("unchanged         300 files");
        let run = env.vidimus(&["mirror", "source", "target"]).expect(0);
        assert_eq!(run.stderr, "", "{what}");
        let run = env.verify(&[]).expect(0);
        assert_eq!(run.stderr, "", "{what}");
    }
}

#[test]
fn without_a_manifest_everything_is_compared_and_that_is_said_once() {
    for (what, harm) in HARMS {
        let env = mirrored();
        fs::remove_dir_all(env.target.join(".vidimus/manifest")).expect("remove the manifest");
        harm(&record(&env));
        env.verify(&[]).expect(4).names("is damaged").names("help:");
        let run = env.vidimus(&["mirror", "source", "target"]).expect(0);
        assert_eq!(run.stderr.matches("state of this target").count(), 1, "{what}: {}", run.told());
        run.names(": everything is compared").names("adopted           300 files");
        env.verify(&[]).expect(0);
    }
}
