//! Changing directories of this machine: beneath the root, by legal names, and nothing followed.

use crate::common::tools;
use crate::common::tree::{Snapshot, TestTree, assert_untouched};
use crate::fixture::{cause, entry, file, key, keys, link, look, put, stage, staged};
use crate::local::Local;
use crate::needs;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use vidimus::backend::local::{LocalSource, LocalTarget, Root};
use vidimus::backend::{Precondition, Source as _, Target};
use vidimus::model::{Cause, Durability, Entry, EntryKind, Metadata, Timestamp};

const TEMPORARY: &str = ".vidimus.0123456789abcdef";
const PLACES: [Precondition; 3] =
    [Precondition::Absent, Precondition::Leaf, Precondition::EmptyDirectory];

/// A mutation at a key of bytes (without a final `/`).
type Mutation = Box<dyn Fn(&LocalTarget, &[u8]) -> Result<(), Cause>>;

/// Every call that changes a target, `listed` what a removal takes for listed.
fn mutations(listed: &Entry) -> Vec<(String, Mutation)> {
    let mut all: Vec<(String, Mutation)> = Vec::new();
    let directory = |name: &[u8]| key([name, b"/"].concat());
    for place in PLACES {
        let stage_only = move |target: &LocalTarget, name: &[u8]| {
            stage(target, &file(name, b"mine"), b"mine", place).map(drop)
        };
        all.push((format!("stage {place:?}"), Box::new(stage_only)));
        let put = move |target: &LocalTarget, name: &[u8]| put(target, name, b"mine", place);
        all.push((format!("publish {place:?}"), Box::new(put)));
        let made = move |target: &LocalTarget, name: &[u8]| {
            target.make_link(&link(name, b"mine"), None, place).map(drop)
        };
        all.push((format!("make link {place:?}"), Box::new(made)));
        let made = move |target: &LocalTarget, name: &[u8]| {
            target.make_directory(&directory(name), place).map(drop)
        };
        all.push((format!("make directory {place:?}"), Box::new(made)));
    }
    let built = move |target: &LocalTarget, name: &[u8]| {
        let building = target.stage_directory(&directory(name))?;
        building.make_link(&link([name, b"/l"].concat(), b"mine"), None)?;
        building.finish()?.publish()
    };
    all.push(("build a directory".to_owned(), Box::new(built)));
    for kind in [EntryKind::File, EntryKind::Symlink, EntryKind::Directory] {
        let wanted = entry("", kind, 0).metadata;
        let set = move |target: &LocalTarget, name: &[u8]| {
            let key = if kind == EntryKind::Directory { directory(name) } else { key(name) };
            target.set_metadata(&key, kind, &(&wanted).into(), Precondition::Leaf).map(drop)
        };
        all.push((format!("set metadata of a {kind}"), Box::new(set)));
    }
    for kind in [EntryKind::File, EntryKind::Directory] {
        let listed = Entry { kind, ..listed.clone() };
        let remove = move |target: &LocalTarget, name: &[u8]| {
            let key = if kind == EntryKind::Directory { directory(name) } else { key(name) };
            target.remove(&Entry { key, ..listed.clone() })
        };
        all.push((format!("remove a {kind}"), Box::new(remove)));
    }
    all
}

/// What stands at `path`, as a listing of its directory would say.
fn listed_at(path: &Path) -> Entry {
    let parent = Root::open(path.parent().expect("it has a parent")).expect("open");
    let local = Local::new();
    let source = LocalSource::new(Arc::new(parent), local.walking(&[]));
    look(&source, path.file_name().expect("it has a name").as_encoded_bytes())
}

#[test]
fn names_that_no_directory_can_hold_are_refused_by_every_mutation() {
    let tree =
        TestTree::new().file("root/d/f", "f").dir("root/e").file("outside/f", "o").file("x", "x");
    let local = Local::new();
    let everything = local.directory.path();
    tree.write(everything);
    let listed = listed_at(&everything.join("x"));
    let long = vec![b'n'; 256];
    let mut names: Vec<Vec<u8>> =
        [&b""[..], b".", b"..", b"a\0b", b"../x", b"/x", b"//x", b"d//x", b"d/../x", b"d/./x"]
            .into_iter()
            .chain([&b"./d/x"[..], b"d/..", b"d/.", b"d/../../x", b"../outside/f", b"d\0/x"])
            .map(<[u8]>::to_vec)
            .collect();
    names.push(long.clone());
    names.push([&long[..], b"/x"].concat());
    names.push(everything.join("x").into_os_string().into_encoded_bytes());
    let before = Snapshot::read(everything);
    for (what, mutation) in mutations(&listed) {
        for name in &names {
            let target = local.target(Durability::None);
            let found = cause(mutation(&target, name));
            assert_eq!(found, "IllegalName", "{what} at {:?}", key(&name[..]));
        }
    }
    for prefix in ["..", "d/..", "", "d/.", "d/"] {
        let target = local.target(Durability::None);
        let found = target.sweep(&key(format!("{prefix}/{TEMPORARY}")));
        assert_eq!(cause(found), "IllegalName", "sweep in {prefix:?}");
    }
    assert_untouched(&before, everything);
}

#[test]
fn names_of_255_bytes_are_legal() {
    let local = Local::new();
    let target = local.target(Durability::Batch);
    let name = |letter: &[u8]| letter.repeat(255);
    put(&target, name(b"f"), b"x", Precondition::Absent).expect("put");
    put(&target, name(b"f"), b"y", Precondition::Leaf).expect("replace");
    target.make_link(&link(name(b"l"), b"t"), None, Precondition::Absent).expect("make a link");
    target
        .make_directory(&key([&name(b"d")[..], b"/"].concat()), Precondition::Absent)
        .expect("make");
    target.remove(&look(&target, name(b"f"))).expect("remove");
    assert_eq!(keys(&target).len(), 3);
}

#[test]
fn a_directory_that_vidimus_did_not_build_is_not_swept_with_what_it_holds() {
    for (what, holds, mode) in [("open to others", "f", 0o755), ("a directory in it", "d/f", 0o700)]
    {
        let local = Local::of(&TestTree::new().file(format!("{TEMPORARY}/{holds}"), "x"));
        let at = local.root.join(TEMPORARY);
        let set_mode = |mode| fs::set_permissions(&at, fs::Permissions::from_mode(mode));
        set_mode(mode).expect("set a mode");
        let before = Snapshot::read(&at);
        let target = local.target(Durability::Batch);
        let swept = target.sweep(&key(format!("{TEMPORARY}/")));
        assert_eq!(cause(swept), "NoTemporary", "{what}");
        assert_untouched(&before, &at);
        assert_eq!(fs::read_dir(&local.root).expect("list the target").count(), 1, "{what}");
        fs::remove_dir_all(at.join("d")).ok();
        set_mode(0o700).expect("set a mode");
        target.sweep(&key(format!("{TEMPORARY}/"))).expect("sweep one that could be its own");
        assert!(!at.exists(), "{what}");
    }
}

#[test]
fn a_directory_that_holds_one_behind_many_files_is_not_swept_at_all() {
    let mut tree = TestTree::new().file(format!("{TEMPORARY}/d/f"), "x");
    for n in 0..3_000 {
        tree = tree.file(format!("{TEMPORARY}/{n}"), "x");
    }
    let local = Local::of(&tree);
    let closed = fs::Permissions::from_mode(0o700);
    fs::set_permissions(local.root.join(TEMPORARY), closed).expect("set a mode");
    let before = Snapshot::read(local.directory.path());
    let swept = local.target(Durability::Batch).sweep(&key(format!("{TEMPORARY}/")));
    assert_eq!(cause(swept), "NoTemporary");
    assert_untouched(&before, local.directory.path());
}

/// A target in which `l` and `d/l` lead out of the root, to a tree that is as those that mutations
/// would find.
fn leading_out() -> Local {
    let local =
        Local::of(&TestTree::new().symlink("l", "../outside").symlink("d/l", "../../outside"));
    let tree = TestTree::new()
        .file("f", "theirs")
        .dir("empty")
        .file("full/x", "theirs")
        .symlink("link", "theirs")
        .file(TEMPORARY, "theirs")
        .mode(0o700);
    tree.write(&local.outside);
    local
}

#[test]
fn no_mutation_follows_a_link_to_a_directory() {
    let local = leading_out();
    let before = Snapshot::read(local.directory.path());
    for through in ["l", "d/l"] {
        for name in ["f", "empty", "full", "link", "new", "full/x", "full/new"] {
            let outside = local.outside.join(name);
            let known = if name.ends_with("new") { local.outside.join("f") } else { outside };
            for (what, mutation) in mutations(&listed_at(&known)) {
                let target = local.target(Durability::Batch);
                let at = format!("{through}/{name}");
                let found = mutation(&target, at.as_bytes());
                assert!(matches!(found, Err(Cause::Io(_))), "{what} at {at}: {found:?}");
            }
        }
        let target = local.target(Durability::Batch);
        assert!(target.sweep(&key(format!("{through}/{TEMPORARY}"))).is_err());
        // The link itself, taken for the directory that it leads to.
        let wanted = entry("", EntryKind::Directory, 0).metadata;
        let set = target.set_metadata(
            &key(format!("{through}/")),
            EntryKind::Directory,
            &(&wanted).into(),
            Precondition::Leaf,
        );
        assert!(set.is_err(), "set metadata of {through}/");
        let listed = Entry { key: key(format!("{through}/")), ..listed_at(&local.outside) };
        assert_eq!(cause(target.remove(&listed)), "TargetChanged");
        let set = target.set_metadata(
            &key(through),
            EntryKind::File,
            &(&wanted).into(),
            Precondition::Leaf,
        );
        assert_eq!(cause(set), "TargetChanged");
    }
    assert_untouched(&before, local.directory.path());
}

#[test]
fn a_directory_swapped_for_a_link_while_it_is_open_leads_no_mutation_out() {
    let local = leading_out();
    TestTree::new().file("p/f", "ours").dir("p/empty").file("p/full/x", "ours").write(&local.root);
    let before = Snapshot::read(&local.outside);
    for name in ["f", "empty", "full", "link", "new"] {
        let known = if name == "new" { "f" } else { name };
        for (what, mutation) in mutations(&listed_at(&local.outside.join(known))) {
            let target = local.target(Durability::Batch);
            // Its handle is held from here on.
            look(&target, "p/full/x");
            look(&target, "p/f");
            let mut under_way =
                staged(&target, &file("p/late", b"late"), b"late", Precondition::Absent)
                    .expect("stage");
            let (here, away) = (local.root.join("p"), local.root.join("away"));
            std::fs::rename(&here, &away).expect("move away");
            std::os::unix::fs::symlink("../outside", &here).expect("link");
            // It may succeed in what was moved away; outside it may do nothing.
            drop(mutation(&target, format!("p/{name}").as_bytes()));
            drop(target.sweep(&key(format!("p/{TEMPORARY}"))));
            drop(under_way.publish());
            assert_untouched(&before, &local.outside);
            std::fs::remove_file(&here).unwrap_or_else(|error| panic!("{what}: {error}"));
            std::fs::remove_dir_all(&away).expect("remove");
            TestTree::new()
                .file("p/f", "ours")
                .dir("p/empty")
                .file("p/full/x", "ours")
                .write(&local.root);
        }
    }
}

#[test]
fn a_link_is_replaced_and_removed_itself_never_what_it_leads_to() {
    let local = Local::new();
    TestTree::new().file("f", "theirs").write(&local.outside);
    let before = Snapshot::read(&local.outside);
    let target = local.target(Durability::Batch);
    let lead_out = || TestTree::new().symlink("l", "../outside/f").write(&local.root);
    lead_out();
    put(&target, "l", b"mine", Precondition::Leaf).expect("a file over a link");
    lead_out();
    target.make_directory(&key("l/"), Precondition::Leaf).expect("a directory over a link");
    lead_out();
    target.make_link(&link("l", b"x"), None, Precondition::Leaf).expect("a link over a link");
    lead_out();
    let wanted = entry("", EntryKind::Symlink, 0).metadata;
    target
        .set_metadata(&key("l"), EntryKind::Symlink, &(&wanted).into(), Precondition::Leaf)
        .expect("the link's own");
    target.remove(&look(&target, "l")).expect("remove the link");
    assert_eq!(keys(&target), ["."]);
    assert_untouched(&before, &local.outside);
}

#[test]
fn metadata_is_set_only_of_the_kind_that_was_meant() {
    let local = Local::of(
        &TestTree::new()
            .file("file", "")
            .fifo("fifo")
            .socket("socket")
            .symlink("link", "file")
            .dir("dir"),
    );
    let before = Snapshot::read(&local.root);
    let target = local.target(Durability::Batch);
    let wanted = entry("", EntryKind::File, 0).metadata;
    for (name, is) in [
        ("file", EntryKind::File),
        ("fifo", EntryKind::File),
        ("socket", EntryKind::File),
        ("link", EntryKind::Symlink),
        ("dir", EntryKind::Directory),
    ] {
        for meant in [EntryKind::File, EntryKind::Symlink] {
            if meant != is || ["fifo", "socket"].contains(&name) {
                let set =
                    target.set_metadata(&key(name), meant, &(&wanted).into(), Precondition::Leaf);
                assert_eq!(cause(set), "TargetChanged", "{name} meant as a {meant}");
            }
        }
        if is != EntryKind::Directory {
            let set = target.set_metadata(
                &key(format!("{name}/")),
                EntryKind::Directory,
                &(&wanted).into(),
                Precondition::Leaf,
            );
            assert!(set.is_err(), "{name} meant as a directory");
        }
    }
    assert_untouched(&before, &local.root);
}

#[test]
fn set_id_bits_outlast_a_change_of_owner() {
    needs!(tools::root());
    let local = Local::of(&TestTree::new().file("f", "").dir("d"));
    let target = local.target(Durability::Batch);
    let mtime = Timestamp { seconds: 5, nanos: 5 };
    // Owner, group and mode; the mode alone; the owner alone, under the same mode.
    for (uid, gid, mode) in
        [(1, 2, 0o6755), (1, 2, 0o4711), (3, 2, 0o4711), (3, 4, 0o4711), (0, 0, 0o2755)]
    {
        let wanted = Metadata { mode, uid, gid, mtime };
        for (name, kind) in [("f", EntryKind::File), ("d/", EntryKind::Directory)] {
            target
                .set_metadata(&key(name), kind, &(&wanted).into(), Precondition::Leaf)
                .expect("set metadata");
            assert_eq!(look(&target, name).metadata, wanted, "{name}");
        }
        let staged_file = Entry { metadata: wanted, ..file("s", b"x") };
        let place =
            if local.root.join("s").exists() { Precondition::Leaf } else { Precondition::Absent };
        let mut staged = staged(&target, &staged_file, b"x", place).expect("stage");
        assert!(staged.publish().expect("publish").is_none());
        assert_eq!(look(&target, "s").metadata, wanted, "a new file");
    }
    let owned = Entry { metadata: Metadata { mode: 0, uid: 9, gid: 8, mtime }, ..link("l", b"t") };
    target.make_link(&owned, None, Precondition::Absent).expect("make a link");
    let found = look(&target, "l").metadata;
    assert_eq!((found.uid, found.gid, found.mtime), (9, 8, mtime));
}

#[test]
fn entries_of_a_directory_that_passes_its_group_on_get_their_own() {
    needs!(tools::root());
    let local = Local::of(&TestTree::new().dir("d").owner(0, 77).mode(0o2775));
    let target = local.target(Durability::Batch);
    for gid in [0, 77, 5] {
        let wanted = Metadata { gid, ..file("", b"").metadata };
        for mode in [0o644, 0o2755] {
            let wanted = Metadata { mode, ..wanted };
            let name = format!("d/f{gid}-{mode:o}");
            let new = Entry { metadata: wanted, ..file(&name, b"x") };
            let mut staged = staged(&target, &new, b"x", Precondition::Absent).expect("stage");
            assert!(staged.publish().expect("publish").is_none());
            assert_eq!(look(&target, &name).metadata, wanted, "{name}");
        }
        let name = format!("d/l{gid}");
        target
            .make_link(&Entry { metadata: wanted, ..link(&name, b"t") }, None, Precondition::Absent)
            .expect("link");
        assert_eq!(look(&target, &name).metadata.gid, gid, "{name}");
    }
}

#[test]
fn nobody_else_can_read_a_file_or_directory_under_way() {
    needs!(tools::root());
    let local = Local::new();
    let target = local.target(Durability::Batch);
    for (uid, mode) in [(0, 0o600), (0, 0o4755), (1, 0o644), (1, 0o600)] {
        let theirs = Entry {
            metadata: Metadata { mode, uid, ..file("", b"").metadata },
            ..file("f", b"secret")
        };
        let under_way = stage(&target, &theirs, b"secret", Precondition::Absent).expect("stage");
        let seen = std::fs::read_dir(&local.root).expect("list").next().expect("a temporary");
        let mode = seen.expect("list").metadata().expect("look").permissions().mode();
        assert_eq!(mode & 0o7077, 0, "for owner {uid}");
        drop(under_way);
    }
    for (name, place) in [("d", Precondition::Absent), ("f", Precondition::Leaf)] {
        if place == Precondition::Leaf {
            put(&target, name, b"x", Precondition::Absent).expect("put");
        }
        target.make_directory(&key(format!("{name}/")), place).expect("make a directory");
        let mode = local.root.join(name).metadata().expect("look").permissions().mode();
        assert_eq!(mode & 0o7777, 0o700);
    }
}

#[test]
fn a_file_is_never_replaced_in_place() {
    let local = Local::of(&TestTree::new().file("f", "old"));
    let target = local.target(Durability::Batch);
    let linked = local.outside.join("same-inode");
    std::fs::hard_link(local.root.join("f"), &linked).expect("link");
    put(&target, "f", b"new", Precondition::Leaf).expect("replace");
    assert_eq!(std::fs::read(&linked).expect("read"), b"old");
    assert_ne!(
        linked.metadata().expect("look").ino(),
        local.root.join("f").metadata().expect("look").ino()
    );
}

#[test]
fn the_same_size_and_time_in_another_file_is_not_what_was_listed() {
    let local = Local::of(&TestTree::new().file("f", "one").mtime(7, 7));
    let target = local.target(Durability::Batch);
    let listed = look(&target, "f");
    // While the old file lives its inode number is not given again.
    std::fs::rename(local.root.join("f"), local.outside.join("f")).expect("move away");
    TestTree::new().file("f", "two").mtime(7, 7).write(&local.root);
    assert_eq!(cause(target.remove(&listed)), "TargetChanged");
    let rewritten = look(&target, "f");
    TestTree::new().file("f", "longer").mtime(7, 7).write(&local.root);
    assert_eq!(cause(target.remove(&rewritten)), "TargetChanged");
    let touched = look(&target, "f");
    TestTree::new().file("f", "longer").mtime(7, 8).write(&local.root);
    assert_eq!(cause(target.remove(&touched)), "TargetChanged");
    assert!(local.root.join("f").exists());
}

#[test]
fn only_the_batch_durability_needs_barriers() {
    for (durability, needed) in
        [(Durability::Batch, true), (Durability::File, false), (Durability::None, false)]
    {
        let local = Local::new();
        assert_eq!(local.target(durability).capabilities().needs_barrier, needed, "{durability:?}");
    }
}

#[test]
fn entries_beyond_path_max_are_made_changed_and_removed() {
    let local = Local::new();
    let target = local.target(Durability::Batch);
    let mut path = String::new();
    while path.len() < 5_000 {
        path.push_str(&"d".repeat(100));
        path.push('/');
        target.make_directory(&key(&path), Precondition::Absent).expect("make a directory");
    }
    let name = format!("{path}f");
    put(&target, &name, b"x", Precondition::Absent).expect("put");
    let wanted = target.achievable_metadata(&file("", b"").metadata, EntryKind::File, None);
    target
        .set_metadata(&key(&name), EntryKind::File, &(&wanted).into(), Precondition::Leaf)
        .expect("set metadata");
    let again = local.target(Durability::None);
    assert_eq!(crate::fixture::content(&again, &name), b"x");
    again.remove(&look(&again, &name)).expect("remove");
    again.remove(&look(&again, &path)).expect("remove the directory");
    assert_eq!(keys(&again).len(), path.len() / 101);
}
