//! `vidimus manifest import` for a bucket that another program filled.

use crate::common::TestTree;
use crate::common::content::bytes;
use crate::s3::{Fault, Kind, On};
use crate::site::Site;
use std::fs;

#[test]
fn a_bucket_is_adopted_by_a_list() {
    let large = bytes(20 << 20);
    let tree = TestTree::new().file("a", "first").file("d/b", "second").file("d/large", &large);
    let site = Site::of(&tree.file("rotten", "as it was"));
    site.bucket.put("m/a", "first");
    site.bucket.put("m/d/b", "second");
    site.bucket.put("m/d/large", large.clone());
    site.bucket.put("m/rotten", "as it is.");
    let digest = |content: &[u8]| blake3::hash(content);
    let list = format!(
        "{}  d/large\n{}  a\n{}  d/b\n{}  rotten\n{}  missing\n",
        digest(&large),
        digest(b"first"),
        digest(b"second"),
        digest(b"as it was"),
        digest(b"missing"),
    );
    let path = site.env.root.join("list");
    fs::write(&path, list).expect("write");
    let path = path.to_str().expect("it is UTF-8");
    let import = ["manifest", "import", "--format", "b3sum", "s3://bucket/m", path];
    let run = site.run(&import).expect(3);
    run.names("corrupt rotten").names("missing missing").names("verified  3 files");
    site.verify(&[]).expect(3).names("corrupt rotten");
    fs::remove_dir_all(&site.env.state).expect("remove the state");
    let up = site.up(&[]).expect(0).finished();
    up.counts(&[("files_copied", 1), ("files_failed", 0)]);
    assert_eq!(site.bucket.get("m/rotten").expect("it is there").content, "as it was");
    site.verify(&[]).expect(0);
    site.requests();
    site.up(&[]).expect(0);
    let requests = site.requests();
    assert!(!requests.contains_key(&Kind::Get), "{requests:?}");
}

/// A store has no temporaries: whoever brought such an object may want it.
#[test]
fn keys_that_vidimus_keeps_for_itself_are_no_part_of_a_tree_and_stay() {
    const OWN: [&str; 3] =
        [".vidimus", ".vidimus.0123456789abcdef", ".vidimus.fedcba9876543210/below"];
    let site = Site::of(&TestTree::new().file("a", "first"));
    for key in OWN.into_iter().chain(["a"]) {
        site.bucket.put(&format!("m/{key}"), "first");
    }
    let digest = blake3::hash(b"first");
    let path = site.env.root.join("list");
    fs::write(
        &path,
        OWN.into_iter()
            .chain(["a"])
            .fold(String::new(), |list, key| list + &format!("{digest}  {key}\n")),
    )
    .expect("write");
    let path = path.to_str().expect("it is UTF-8");
    let import = ["manifest", "import", "--format", "b3sum", "s3://bucket/m", path];
    site.run(&import).expect(0).names("left out");
    site.verify(&["--strict"]).expect(0).names("verified  1 file");
    site.up(&["--delete"]).expect(0).names("0123456789abcdef").names("is left out");
    for key in OWN {
        assert!(site.bucket.get(&format!("m/{key}")).is_some(), "{key}");
    }
    let single = ["mirror", "s3://bucket/m/.vidimus", "elsewhere"];
    for key in site.bucket.keys().into_iter().filter(|key| key.starts_with("m/.vidimus/")) {
        site.bucket.delete(&key);
    }
    site.run(&single).expect(2).names("is reserved for vidimus");
}

#[test]
fn what_is_imported_and_can_not_be_published_says_so() {
    let site = Site::of(&TestTree::new().file("a", "first"));
    site.bucket.put("m/a", "first");
    let path = site.env.root.join("list");
    fs::write(&path, format!("{}  a\n", blake3::hash(b"first"))).expect("write");
    let path = path.to_str().expect("it is UTF-8");
    let import = ["manifest", "import", "--format", "b3sum", "s3://bucket/m", path];
    let on = On::every(Kind::Put).key("m/.vidimus/manifest/latest.json");
    site.server.fail(on, Fault::Error(403, "AccessDenied"));
    let run = site.run(&import).expect(7).names("is imported, but its manifest could not be");
    run.names("access denied");
    site.server.heal();
    // A record that is damaged by then is told of, and put aside.
    let states = fs::read_dir(site.env.state.join("vidimus")).expect("list the state");
    let mut states = states.map(|it| it.expect("list").path());
    let state = states.find(|it| it.extension().is_some_and(|it| it == "sqlite3"));
    fs::write(state.expect("a record"), "garbage").expect("write");
    let told = "warning: the state of this target was damaged, and was put aside as";
    site.run(&[&import[..], &["-q"]].concat()).expect(0).names(told).names(".damaged-1");
}
