//! A source directory, a target directory and a bucket, and the binary run between them.

use crate::common::content::bytes;
use crate::common::environment::text;
use crate::common::{Environment, Run, TestTree, tools};
use crate::s3::{Bucket, Kind, Object, S3Server};
use std::collections::BTreeMap;

/// How many requests about its lock a run may send, beside those that move entries.
pub(crate) const LOCK_REQUESTS: usize = 16;

/// Runs the binary with the variables that lead to a store.
pub(crate) fn run(
    env: &Environment,
    variables: &[(&'static str, String)],
    arguments: &[&str],
) -> Run {
    let mut command = env.command(arguments);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    Run::of(command)
}

/// An environment beside a server of this process.
pub(crate) struct Site {
    pub(crate) env: Environment,
    pub(crate) server: S3Server,
    pub(crate) bucket: Bucket,
}

impl Site {
    /// Empty directories, and the empty bucket `bucket`.
    pub(crate) fn new() -> Self {
        let (env, server) = (Environment::new(), S3Server::start());
        let bucket = server.bucket("bucket");
        Self { env, server, bucket }
    }

    /// With this tree as source, old enough to be trusted.
    pub(crate) fn of(tree: &TestTree) -> Self {
        let site = Self::new();
        tree.write(&site.env.source);
        site.env.age();
        site
    }

    /// Runs the binary.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        run(&self.env, &self.server.environment(), arguments)
    }

    /// Mirrors, with `--json`.
    pub(crate) fn mirror(&self, source: &str, target: &str, flags: &[&str]) -> Run {
        self.run(&[&["mirror", "--json", source, target], flags].concat())
    }

    /// Mirrors the source directory to `s3://bucket/m`.
    pub(crate) fn up(&self, flags: &[&str]) -> Run {
        self.mirror(text(&self.env.source), "s3://bucket/m", flags)
    }

    /// Mirrors `s3://bucket/m` to the target directory.
    pub(crate) fn down(&self, flags: &[&str]) -> Run {
        self.mirror("s3://bucket/m", text(&self.env.target), flags)
    }

    /// Verifies `s3://bucket/m`.
    pub(crate) fn verify(&self, flags: &[&str]) -> Run {
        self.run(&[&["verify", "s3://bucket/m"], flags].concat())
    }

    /// Loses what earlier runs recorded.
    pub(crate) fn lose_state(&self) {
        std::fs::remove_dir_all(&self.env.state).expect("remove the state");
        std::fs::create_dir(&self.env.state).expect("make the state's directory");
        self.lose_manifest();
    }

    /// Loses what was published in the target directory and in the bucket.
    pub(crate) fn lose_manifest(&self) {
        let manifest = self.env.target.join(".vidimus/manifest");
        if manifest.exists() {
            std::fs::remove_dir_all(manifest).expect("remove the manifest");
        }
        for bucket in ["bucket", "other"].map(|name| self.server.bucket(name)) {
            for key in bucket.keys().into_iter().filter(|key| is_of_manifest(key)) {
                bucket.delete(&key);
            }
        }
    }

    /// The requests of each kind that came since they were asked for last, the lock's and the
    /// manifest's own left out.
    #[track_caller]
    pub(crate) fn requests(&self) -> BTreeMap<Kind, usize> {
        let (mut counts, mut lock) = (BTreeMap::new(), 0);
        for request in self.server.log() {
            let is_of_lock = |text: &[u8]| text.ends_with(b".vidimus/lock");
            let lists_it =
                |(name, value): &(String, String)| name == "prefix" && is_of_lock(value.as_bytes());
            let lists_manifest = |(name, value): &(String, String)| {
                name == "prefix" && is_of_manifest(value.as_bytes())
            };
            if is_of_manifest(&request.key) || request.query.iter().any(lists_manifest) {
                continue;
            }
            if is_of_lock(&request.key) || request.query.iter().any(lists_it) {
                lock += 1;
            } else {
                *counts.entry(request.kind).or_default() += 1;
            }
        }
        assert!(lock <= LOCK_REQUESTS, "{lock} requests about the lock");
        self.server.forget();
        counts
    }

    /// How many pages a listing of everything in the bucket has.
    pub(crate) fn pages(&self) -> usize {
        pages(&self.bucket)
    }
}

fn is_of_manifest(key: impl AsRef<[u8]>) -> bool {
    key.as_ref().windows(MANIFEST.len()).any(|part| part == MANIFEST)
}

/// The objects of a bucket but for those of the manifest.
pub(crate) fn objects_of(bucket: &Bucket) -> BTreeMap<String, Object> {
    bucket.objects().into_iter().filter(|(key, _)| !is_of_manifest(key)).collect()
}

/// How many pages a listing of everything in a bucket has.
pub(crate) fn pages(bucket: &Bucket) -> usize {
    bucket.keys().len().div_ceil(1_000)
}

/// Sets an owner where that is allowed.
pub(crate) fn owned(tree: TestTree, uid: u32, gid: u32) -> TestTree {
    if tools::root().is_ok() { tree.owner(uid, gid) } else { tree }
}

const MEBIBYTE: usize = 1 << 20;
/// Where the manifest is published, below a root.
const MANIFEST: &[u8] = b".vidimus/manifest/";

/// Names that paths, headers and URLs stumble over, and a store can hold.
pub(crate) const NAMES: [&str; 36] = [
    "a b",
    " leading",
    "trailing ",
    "ünïcödé",
    "e\u{301} and \u{e9}",
    "日本語",
    "🦀",
    "\u{10ffff}\u{fffe}",
    "\u{202e}\u{200b}\u{feff}",
    "+",
    "%",
    "%41",
    "%2F%2e",
    "#fragment",
    "?query=1&x=2",
    "'single' \"double\" `back`",
    "back\\slash",
    "\\",
    "\u{1}\u{1f}\u{7f}",
    "\u{80}\u{9f}\u{a0}",
    "new\nline",
    "tab\tand\rreturn",
    "<xml>&amp;]]>",
    "a=b;c,d:e@f!$^*|~",
    "[b]{c}(d)",
    "-rf",
    "...",
    "..a",
    ".hidden",
    ".vidimus.not",
    "https:",
    "con",
    "*",
    "a..b",
    "x-amz-meta-mtime",
    "file.html",
];

/// A tree of all that a store can hold of one.
pub(crate) fn everything() -> TestTree {
    let mut tree = TestTree::new().mode(0o750).mtime(1_500_000_001, 1);
    tree = owned(tree.file("empty.txt", "").mode(0o600).mtime(0, 0), 1, 2);
    for (at, size) in
        [1, 8 * MEBIBYTE - 1, 8 * MEBIBYTE, 8 * MEBIBYTE + 1, 20 * MEBIBYTE].into_iter().enumerate()
    {
        let name = format!("sizes/{size}");
        tree =
            tree.file(name, bytes(size)).mode(0o640).mtime(1_600_000_000 + at as i64, 999_999_999);
    }
    for (at, name) in NAMES.into_iter().enumerate() {
        let seconds = 1_000_000_000 + at as i64;
        tree = tree.file(format!("names/{name}"), name).mode(0o644).mtime(seconds, at as u32);
        tree = tree.dir(format!("dirs/{name}")).mode(0o711).mtime(seconds, 5);
        tree = tree.file(format!("dirs/{name}/{name}"), "x").mtime(seconds, 7);
        tree = tree.symlink(format!("links/{name}"), name).mtime(seconds, 9);
    }
    let longest = "n".repeat(255);
    tree = tree.file(format!("longest/{longest}"), "long").mtime(5, 5);
    let deep = "d234567/".repeat(100);
    tree = tree.file(format!("{deep}leaf"), "deep").mtime(6, 6).dir(&deep[..799]).mtime(7, 7);
    for (at, mode) in [0o000, 0o400, 0o777, 0o4755, 0o2755, 0o7777].into_iter().enumerate() {
        let uid = at as u32;
        tree = owned(tree.file(format!("modes/{mode:o}"), "m"), 65_534, uid).mode(mode);
        tree = owned(tree.dir(format!("modes/d{mode:o}")), uid, 4_000_000_000).mode(mode);
    }
    tree = tree.file("times/before-1970", "t").mtime(-1, 1);
    tree = tree.file("times/long-before", "t").mtime(-2_000_000_000, 999_999_999);
    tree = tree.dir("times/old").mtime(-5, 0).dir("times/far").mtime(7_000_000_000, 3);
    tree = owned(tree.symlink("links/bytes", b"\xff\xfe/no\nwhere"), 7, 8).mtime(-3, 3);
    tree = tree.symlink("links/dangling", "../nowhere").symlink("links/absolute", "/etc/passwd");
    tree = tree.symlink("links/long", "l".repeat(4_000));
    tree.dir("e/m/p/t/y").mtime(3, 3).dir("one").file("one/only.json", "{}")
}
