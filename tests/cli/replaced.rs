//! A leaf that became a directory, or the reverse: what stood there goes only when what took its place
//! is whole, for it may be the only copy of just that.

use crate::common::environment::NOBODY;
use crate::common::environment::Run;
use crate::common::{Environment, Snapshot, TestTree, assert_mirrored, tools};
use crate::needs;
use std::fs;
use std::os::unix::fs::lchown;
use std::path::Path;

const DELETE: [&str; 4] = ["--delete", "--max-delete", "100%", "--accept-source"];

/// What a user without rights to all of the source has.
struct Scene(Environment);

impl Scene {
    /// A mirror of this source, by nobody.
    fn of(tree: &TestTree) -> Result<Self, String> {
        tools::root()?;
        tools::tool("setpriv")?;
        let scene = Self(Environment::new());
        scene.put(tree);
        scene.mirror(&[]).expect(0);
        Ok(scene)
    }

    /// A file was set aside for a directory that could not be copied whole, and that is gone from the
    /// source.
    fn without_what_took_the_place() -> Result<Self, String> {
        let scene = Self::of(&TestTree::new().file("f", "precious").file("other", "1"))?;
        fs::remove_file(scene.source("f")).unwrap();
        scene.put(&TestTree::new().file("f/f", "precious").mode(0));
        scene.mirror(&[]).expect(1);
        fs::remove_dir_all(scene.source("f")).unwrap();
        Ok(scene)
    }

    /// Adds this to the source, a mode of 0 being what nobody can't read.
    fn put(&self, tree: &TestTree) {
        tree.write(&self.0.source);
        for entry in walkdir::WalkDir::new(&self.0.source) {
            lchown(entry.unwrap().path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        self.0.age();
    }

    fn mirror(&self, flags: &[&str]) -> Run {
        self.0.as_nobody(&self.0.mirror_arguments(flags)).expect("it was possible")
    }

    fn source(&self, key: &str) -> std::path::PathBuf {
        self.0.source.join(key)
    }

    fn read(&self, key: &str) -> Option<String> {
        fs::read_to_string(self.0.target.join(key)).ok()
    }

    /// The files that were set aside, by their content.
    fn set_aside(&self) -> Vec<String> {
        let found = Snapshot::read(&self.0.target).temporaries();
        found.iter().map(|key| self.read(key).expect("a file")).collect()
    }
}

fn readable(path: &Path, is_readable: bool) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = if is_readable { 0o644 } else { 0 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_file_that_became_a_directory_keeps_its_copy_until_all_in_it_is_copied() {
    let scene = Scene::of(&TestTree::new().file("f", "precious").file("other", "1"));
    needs!(scene.as_ref().map(drop).map_err(Clone::clone));
    let Ok(scene) = scene else { return };
    fs::remove_file(scene.source("f")).unwrap();
    scene.put(&TestTree::new().file("f/f", "precious").mode(0).file("f/new", "2"));
    let run = scene.mirror(&[]).expect(1).names("\"f/f\"").names("f/.vidimus.");
    run.finished().counts(&[("copies_failed", 1), ("file_deletions_waiting", 1)]);
    assert_eq!(scene.set_aside(), ["precious"]);
    assert_eq!(scene.read("f/new").as_deref(), Some("2"));
    // Neither another run, nor one that deletes, nor one that looks takes it for a leftover.
    scene.mirror(&[]).expect(1).names("f/.vidimus.");
    scene.mirror(&DELETE).expect(1);
    scene.mirror(&[&DELETE[..], &["--delete-despite-errors"]].concat()).expect(1);
    scene.mirror(&["--dry-run"]).expect(0).names("a directory took its place");
    assert_eq!(scene.set_aside(), ["precious"]);
    readable(&scene.source("f/f"), true);
    scene.0.age();
    scene.mirror(&[]).expect(0).finished().counts(&[("leftovers_swept", 1)]);
    assert_mirrored(&scene.0.source, &scene.0.target);
    assert!(scene.set_aside().is_empty());
}

#[test]
fn a_link_that_became_a_directory_stays_until_all_in_it_is_copied() {
    let scene = Scene::of(&TestTree::new().symlink("l", "somewhere").file("other", "1"));
    needs!(scene.as_ref().map(drop).map_err(Clone::clone));
    let Ok(scene) = scene else { return };
    fs::remove_file(scene.source("l")).unwrap();
    scene.put(&TestTree::new().file("l/f", "1").mode(0));
    scene.mirror(&[]).expect(1).names("l/.vidimus.");
    let found = Snapshot::read(&scene.0.target).temporaries();
    let kept = fs::read_link(scene.0.target.join(&found[0])).unwrap();
    assert_eq!(kept.to_str(), Some("somewhere"));
    readable(&scene.source("l/f"), true);
    scene.0.age();
    scene.mirror(&[]).expect(0);
    assert_mirrored(&scene.0.source, &scene.0.target);
}

#[test]
fn what_was_set_aside_goes_with_the_directory_in_its_place_and_only_where_that_may_go() {
    let scene = Scene::without_what_took_the_place();
    needs!(scene.as_ref().map(drop).map_err(Clone::clone));
    let Ok(scene) = scene else { return };
    // A run that deletes nothing knows nothing of it, nor does one from another source.
    scene.mirror(&[]).expect(0);
    assert_eq!(scene.set_aside(), ["precious"]);
    scene.mirror(&["--delete", "--max-delete", "0"]).expect(6);
    assert_eq!(scene.set_aside(), ["precious"]);
    scene.mirror(&DELETE).expect(0);
    assert_mirrored(&scene.0.source, &scene.0.target);
    assert!(scene.set_aside().is_empty());
}

#[test]
fn a_file_comes_back_in_the_place_of_the_directory_that_took_its_place() {
    let scene = Scene::without_what_took_the_place();
    needs!(scene.as_ref().map(drop).map_err(Clone::clone));
    let Ok(scene) = scene else { return };
    scene.put(&TestTree::new().file("f", "precious"));
    scene.mirror(&[]).expect(1).names("--delete");
    assert_eq!(scene.set_aside(), ["precious"]);
    scene.mirror(&DELETE).expect(0);
    assert_mirrored(&scene.0.source, &scene.0.target);
    assert!(scene.set_aside().is_empty());
}

#[test]
fn a_directory_that_became_a_file_stays_until_that_is_copied() {
    let tree = TestTree::new().file("f/f", "precious").file("f/g", "2").file("other", "1");
    let scene = Scene::of(&tree.file("gone", "3"));
    needs!(scene.as_ref().map(drop).map_err(Clone::clone));
    let Ok(scene) = scene else { return };
    fs::remove_dir_all(scene.source("f")).unwrap();
    fs::remove_file(scene.source("gone")).unwrap();
    scene.put(&TestTree::new().file("f", "precious").mode(0));
    let run = scene.mirror(&DELETE).expect(1).names("\"f\"");
    run.finished().counts(&[
        ("files_deleted", 0),
        ("file_deletions_waiting", 3),
        ("directory_deletions_waiting", 1),
    ]);
    assert_eq!(scene.read("f/f").as_deref(), Some("precious"));
    // Who wants deletions all the same has them, but for what that file would replace.
    let run = scene.mirror(&[&DELETE[..], &["--delete-despite-errors"]].concat()).expect(1);
    run.finished().counts(&[("files_deleted", 1), ("file_deletions_waiting", 2)]);
    assert_eq!(scene.read("f/f").as_deref(), Some("precious"));
    readable(&scene.source("f"), true);
    scene.0.age();
    scene.mirror(&DELETE).expect(0);
    assert_mirrored(&scene.0.source, &scene.0.target);
    assert!(scene.set_aside().is_empty());
}

#[test]
fn what_an_exclusion_keeps_in_a_directory_keeps_a_file_from_its_place_and_leaves_nothing_behind() {
    let scene = Scene::of(&TestTree::new().file("f/f", "1").file("f/kept", "2"));
    needs!(scene.as_ref().map(drop).map_err(Clone::clone));
    let Ok(scene) = scene else { return };
    fs::remove_dir_all(scene.source("f")).unwrap();
    scene.put(&TestTree::new().file("f", "precious"));
    let flags = [&DELETE[..], &["--exclude", "kept"]].concat();
    scene.mirror(&flags).expect(1).names("excluded");
    assert_eq!(scene.read("f/kept").as_deref(), Some("2"));
    assert!(scene.set_aside().is_empty());
}
