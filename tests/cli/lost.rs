//! What a copy hasn't: hard links, and, where they are not to be kept, extended attributes
//! and ACLs are counted and named, and a mode whose group bits are an ACL's mask is not copied as it
//! is.

use crate::common::environment::{NOBODY, text};
use crate::common::{Environment, Snapshot, TestTree, tools};
use crate::needs;
use rustix::fs::XattrFlags;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// setfacl, and a file system that keeps attributes and ACLs.
fn acls(env: &Environment) -> Result<(), String> {
    tools::tool("setfacl")?;
    let probe = env.root.join("probe");
    fs::write(&probe, "").expect("write a file");
    let set = rustix::fs::setxattr(&probe, "user.a", b"a", XattrFlags::empty());
    set.map_err(|error| format!("no extended attributes here: {error}"))?;
    set_acl(&probe, "u:1:r").then_some(()).ok_or_else(|| "no ACLs here".into())
}

/// An environment in which no run keeps attributes or ACLs.
fn keeping_no_attributes() -> Environment {
    let mut env = Environment::new();
    env.variables = vec![("VIDIMUS_NO_XATTRS", "true"), ("VIDIMUS_NO_ACLS", "true")];
    env
}

fn set_acl(path: &Path, acl: &str) -> bool {
    let set = Command::new("setfacl").args(["-m", acl, text(path)]).status();
    set.expect("run setfacl").success()
}

fn set_attribute(path: &Path) {
    rustix::fs::setxattr(path, "user.a", b"a", XattrFlags::empty()).expect("it was tried before");
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

/// A file of one MiB that was written at its end alone.
fn sparse(path: &Path) {
    use std::os::unix::fs::FileExt as _;
    let file = fs::File::create(path).unwrap();
    file.write_all_at(b"end", (1 << 20) - 3).unwrap();
    file.sync_all().unwrap();
}

fn with_features(env: &Environment) {
    let tree = TestTree::new().file("plain", "1").file("linked", "2").file("d/attribute", "3");
    let source = &env.source;
    tree.file("d/acl", vec![4; 3 << 20]).mode(0o640).dir("e").write(source);
    fs::hard_link(source.join("linked"), source.join("d/linked too")).unwrap();
    sparse(&source.join("sparse"));
    set_attribute(&source.join("d/attribute"));
    set_attribute(&source.join("e"));
    assert!(set_acl(&source.join("d/acl"), "u:1:rwx"));
    assert!(set_acl(&source.join("d"), "d:u:1:rwx"));
}

const LOST: [(&str, u64); 4] =
    [("hard_links_lost", 0), ("holes_lost", 0), ("attributes_lost", 2), ("acls_lost", 2)];
const NOTHING_LOST: [(&str, u64); 4] =
    [("hard_links_lost", 0), ("holes_lost", 0), ("attributes_lost", 0), ("acls_lost", 0)];

#[test]
fn what_is_not_kept_is_counted_and_named() {
    let env = keeping_no_attributes();
    needs!(acls(&env));
    with_features(&env);
    let run = env.mirror(&["-v"]).expect(0);
    run.finished().counts(&LOST);
    let named: Vec<_> =
        run.records().into_iter().filter(|record| record["event"] == "not_kept").collect();
    let of = |key: &str| {
        let found = named.iter().find(|record| record["key"] == key);
        found.unwrap_or_else(|| panic!("{key} in {named:?}"))["features"].to_string()
    };
    assert_eq!(of("e/"), r#"["attributes"]"#);
    assert_eq!(of("d/acl"), r#"["acl"]"#);
    assert_eq!(of("d/"), r#"["acl"]"#);
    assert_eq!(named.len(), 4, "{named:?}");
    // What isn't copied again loses nothing again.
    env.mirrored(&[]).counts(&NOTHING_LOST).counts(&[("metadata_updated", 0)]);
    let other = env.root.join("other");
    let words = ["mirror", "-v", "--no-hard-links", text(&env.source), text(&other)];
    env.vidimus(&words)
        .expect(0)
        .names("not kept         d/linked too  (hard links)")
        .names("  not kept          hard links of 2 names, extended attributes of 2 entries, ACLs of 2 entries\n");
}

/// What decides nothing keeps nothing from being copied, and is no fault of the target.
#[test]
fn attributes_that_cannot_be_read_are_told_and_asked_for_again() {
    needs!(tools::strace());
    let env = keeping_no_attributes();
    let tree = TestTree::new().file("small", "1").mode(0o640).file("d/large", vec![1; 3 << 20]);
    tree.mode(0o640).file("e/f", "2").mode(0o600).dir("e").mode(0o750).write(&env.source);
    env.age();
    let failing = ["-e", "trace=/.*xattr.*", "-e", "inject=flistxattr,listxattr:error=EIO"];
    let names = ["small", "d/large", "e/f", "e"];
    let modes = || names.map(|name| mode(&env.target.join(name)));
    for copied in [3, 0] {
        let run = env.strace(&failing, &env.mirror_arguments(&["-v"])).expect(0);
        run.finished().counts(&[("files_copied", copied), ("files_failed", 0)]);
        assert!(run.finished().count("attributes_unread") >= names.len() as u64, "{}", run.told());
        let records = run.records().into_iter();
        let told = records.filter(|record| record["features"][0] == "unread_attributes");
        assert!(told.count() >= names.len(), "{}", run.told());
        assert_eq!(modes(), [0o600, 0o600, 0o600, 0o700]);
    }
    env.mirrored(&[]).counts(&[("attributes_unread", 0), ("files_copied", 0)]);
    assert_eq!(modes(), [0o640, 0o640, 0o600, 0o750]);
    env.mirrored(&[]).counts(&[("metadata_updated", 0), ("bytes_hashed", 0)]);
}

#[test]
fn nothing_is_told_where_nothing_is_lost() {
    let env = keeping_no_attributes();
    crate::mirror::sample().write(&env.source);
    env.mirrored(&[]).counts(&NOTHING_LOST);
    let other = env.root.join("other");
    env.vidimus(&["mirror", text(&env.source), text(&other)]).is_silent_about("not kept");
}

#[test]
fn a_mode_is_never_copied_wider_than_the_acl_was() {
    let env = keeping_no_attributes();
    needs!(acls(&env));
    let tree = TestTree::new().file("small", "1").mode(0o640).file("large", vec![1; 3 << 20]);
    tree.mode(0o640).file("d/x", "").dir("d").mode(0o750).write(&env.source);
    for name in ["small", "large", "d"] {
        assert!(set_acl(&env.source.join(name), "u:1:rwx"));
        assert_eq!(mode(&env.source.join(name)) & 0o070, 0o070, "the mask");
    }
    env.age();
    let narrow = |env: &Environment| {
        let modes = ["small", "large", "d"].map(|name| mode(&env.target.join(name)));
        assert_eq!(modes, [0o640, 0o640, 0o750]);
    };
    env.mirrored(&[]);
    narrow(&env);
    env.verify(&[]).expect(0);
    // A run with nothing to do does nothing, and looks at no attribute.
    env.age();
    env.mirrored(&[]).counts(&[("metadata_updated", 0), ("bytes_hashed", 0)]);
    env.mirror(&["-n"]).expect(0).is_silent_about("\"changed\"");
    if tools::strace().is_ok() {
        let calls = ["-e", "trace=/.*xattr.*"];
        env.strace(&calls, &env.mirror_arguments(&[])).expect(0);
        assert_eq!(env.trace(), "");
    }
    narrow(&env);
    env.mirrored(&["--checksum"]).counts(&[("metadata_updated", 0)]);
    narrow(&env);
    env.mirrored(&["--ignore-ctime"]).counts(&[("metadata_updated", 0)]);
    narrow(&env);
    // The ACL grants the group more, and then less, which the mode doesn't show.
    for (acl, group) in [("g::rw", 0o060), ("g::-", 0)] {
        for name in ["small", "large"] {
            assert!(set_acl(&env.source.join(name), acl));
            assert_eq!(mode(&env.source.join(name)) & 0o070, 0o070, "the mask");
        }
        env.mirrored(&[]).counts(&[("files_copied", 0), ("metadata_updated", 2)]);
        assert_eq!(mode(&env.target.join("small")), 0o600 | group);
        assert_eq!(mode(&env.target.join("large")), 0o600 | group);
    }
}

#[test]
fn what_a_run_without_records_finds_is_narrowed_too() {
    let env = keeping_no_attributes();
    needs!(acls(&env));
    TestTree::new().file("a", "1").mode(0o640).dir("d").mode(0o750).write(&env.source);
    env.mirrored(&[]);
    for name in ["a", "d"] {
        assert!(set_acl(&env.source.join(name), "u:1:rwx"));
    }
    env.lose_records();
    env.mirrored(&[]);
    assert_eq!([mode(&env.target.join("a")), mode(&env.target.join("d"))], [0o640, 0o750]);
    fs::set_permissions(env.target.join("a"), fs::Permissions::from_mode(0o600)).unwrap();
    env.mirrored(&[]);
    assert_eq!(mode(&env.target.join("a")), 0o640);
    env.verify(&[]).expect(0);
}

#[test]
fn a_dry_run_and_explain_say_where_a_mode_is_narrowed() {
    let env = keeping_no_attributes();
    needs!(acls(&env));
    let tree = || TestTree::new().file("a", "1").mode(0o640).file("b", "2").mode(0o640);
    tree().write(&env.source);
    env.mirrored(&[]);
    assert!(set_acl(&env.source.join("a"), "u:1:rwx"));
    let wide = mode(&env.source.join("a"));
    fs::set_permissions(env.target.join("a"), fs::Permissions::from_mode(wide)).unwrap();
    env.lose_records();
    fs::remove_dir_all(env.target.join(".vidimus")).unwrap();
    let words = ["mirror", "-n", text(&env.source), text(&env.target)];
    let run = env.vidimus(&words).expect(0);
    run.names("update metadata  a  (metadata differs)").names("adopt            b");
    let explain = ["explain", text(&env.source), text(&env.target), "a"];
    env.vidimus(&explain).expect(0).names("would set mode");
    // The time of the root is set, too.
    env.mirrored(&[]).counts(&[("metadata_updated", 2)]);
    assert_eq!(mode(&env.target.join("a")), 0o640);
}

#[test]
fn with_size_only_a_mode_is_set_and_another_content_still_found() {
    let env = keeping_no_attributes();
    TestTree::new().file("a", "1").mode(0o640).file("other", "2").write(&env.source);
    env.mirrored(&[]);
    env.age();
    // Widened, and of other content under the same size and time.
    let at = env.target.join("a");
    let stands = fs::metadata(&at).unwrap().modified().unwrap();
    fs::write(&at, "X").unwrap();
    fs::File::options().write(true).open(&at).unwrap().set_modified(stands).unwrap();
    fs::set_permissions(&at, fs::Permissions::from_mode(0o666)).unwrap();
    let flags = ["--size-only"];
    env.mirrored(&flags).counts(&[("metadata_updated", 1), ("files_copied", 0)]);
    assert_eq!(mode(&at), 0o640);
    env.mirrored(&flags).counts(&[("metadata_updated", 0)]);
    env.mirrored(&[]).counts(&[("files_copied", 1)]);
    assert_eq!(fs::read(&at).unwrap(), b"1");
}

#[test]
fn who_may_not_write_attributes_is_told_of_them_as_well() {
    needs!(tools::root(), tools::tool("setpriv"));
    let env = keeping_no_attributes();
    needs!(acls(&env));
    with_features(&env);
    for entry in walkdir::WalkDir::new(&env.source) {
        let path = entry.unwrap().into_path();
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let run = env.as_nobody(&env.mirror_arguments(&[])).unwrap();
    run.expect(0).finished().counts(&LOST);
    assert_eq!(mode(&env.target.join("d/acl")), 0o640);
}

#[test]
fn a_verification_against_the_source_counts_what_is_not_kept() {
    let env = keeping_no_attributes();
    needs!(acls(&env));
    with_features(&env);
    env.mirrored(&["--no-hard-links"]);
    let run = env.vidimus(&["verify", text(&env.target), "--against", text(&env.source)]);
    let run = run.expect(3).names("d/acl").names("ACL").names("hard links");
    // Six entries; the ACL's mode is a part of that.
    run.names("  metadata  6 entries").is_silent_about("holes");
    // A copy that has all of it is the same.
    let same = env.root.join("same");
    if Command::new("cp").args(["-a", text(&env.source), text(&same)]).status().unwrap().success() {
        env.vidimus(&["verify", text(&same), "--against", text(&env.source)]).expect(0);
    }
    assert!(Snapshot::read(&env.target).temporaries().is_empty());
}

/// The mask of an ACL stands in the group's bits of a mode: the group had less.
#[test]
fn a_file_that_is_written_over_one_with_an_acl_grants_no_more_and_the_loss_is_told() {
    let env = keeping_no_attributes();
    needs!(acls(&env));
    TestTree::new().file("a", "1").write(&env.source);
    env.mirrored(&[]);
    let path = env.root.join("file");
    let export = ["manifest", "export", "--format", "json", "--output", "file", "target"];
    for arguments in [&["put", "-", "file"][..], &export] {
        fs::write(&path, "before").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(set_acl(&path, "u:1:rw,g::-"));
        assert_eq!(mode(&path), 0o660);
        set_attribute(&path);
        let run = env.vidimus(arguments).expect(0);
        run.names("not kept of the replaced file: extended attributes, ACL");
        assert_eq!(mode(&path), 0o600, "{arguments:?}");
        env.vidimus(arguments).expect(0).is_silent_about("not kept");
    }
}

/// What was widened by hand to the mode that the source shows, which is its ACL's mask.
#[test]
fn a_target_that_is_wider_than_the_acl_is_narrowed_again() {
    let env = keeping_no_attributes();
    needs!(acls(&env));
    let tree = TestTree::new().file("a", "1").mode(0o640).file("d/x", "").dir("d").mode(0o750);
    tree.write(&env.source);
    for name in ["a", "d"] {
        assert!(set_acl(&env.source.join(name), "u:1:rwx"));
    }
    let modes = |root: &Path| ["a", "d"].map(|name| mode(&root.join(name)));
    let widen = |root: &Path| {
        for (name, mode) in ["a", "d"].into_iter().zip(modes(&env.source)) {
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        assert_eq!(modes(root), modes(&env.source));
    };
    env.mirrored(&[]);
    // Without ctime nothing tells that the directory's mode isn't the right one: it is set by the way.
    for (flags, updated) in [(&[][..], 2), (&["--checksum"], 2), (&["--ignore-ctime"], 1)] {
        env.age();
        widen(&env.target);
        env.verify(&[]).expect(3).names("mode 0640 -> 0670");
        env.mirrored(flags).counts(&[("metadata_updated", updated), ("files_copied", 0)]);
        assert_eq!(modes(&env.target), [0o640, 0o750], "{flags:?}");
        env.verify(&[]).expect(0);
        env.mirrored(flags).counts(&[("metadata_updated", 0)]);
    }
    // The same where nothing is recorded, or only by a run from another source.
    let lost = [("acls_lost", 2), ("metadata_updated", 1), ("files_copied", 0)];
    for flags in [&[][..], &["--checksum"], &["--size-only"], &["--digest", "sha256"]] {
        env.lose_records();
        widen(&env.target);
        env.mirrored(flags).counts(&lost);
        assert_eq!(modes(&env.target), [0o640, 0o750], "{flags:?}");
        env.verify(&[]).expect(0);
    }
    env.lose_records();
    env.mirrored(&[]);
    widen(&env.target);
    fs::rename(&env.source, env.root.join("moved")).unwrap();
    env.vidimus(&["mirror", "moved", text(&env.target)]).expect(0);
    assert_eq!(modes(&env.target), [0o640, 0o750]);
    env.verify(&[]).expect(0);
}

#[test]
fn what_is_added_to_the_source_later_is_counted_by_the_run_that_meets_it() {
    let env = keeping_no_attributes();
    needs!(acls(&env));
    let tree = TestTree::new().file("plain", "1").file("acl", "2").file("attribute", "3");
    tree.file("d/x", "4").file("e/x", "5").file("linked", "6").write(&env.source);
    env.age();
    env.mirrored(&[]).counts(&NOTHING_LOST);
    assert!(set_acl(&env.source.join("acl"), "u:1:r"));
    set_attribute(&env.source.join("attribute"));
    assert!(set_acl(&env.source.join("d"), "u:1:rx"));
    set_attribute(&env.source.join("e"));
    fs::hard_link(env.source.join("linked"), env.root.join("outside the source")).unwrap();
    env.age();
    let later = [("hard_links_lost", 0), ("attributes_lost", 2), ("acls_lost", 2)];
    env.mirror(&["-n"]).expect(0).is_silent_about("d/");
    env.mirrored(&[]).counts(&later).counts(&[("files_copied", 0), ("metadata_updated", 0)]);
    env.mirrored(&[]).counts(&NOTHING_LOST).counts(&[("bytes_hashed", 0)]);
    // A source that moved is another one, of which nothing was told.
    fs::rename(&env.source, env.root.join("moved")).unwrap();
    let run = env.vidimus(&["mirror", "--json", "moved", text(&env.target)]).expect(0);
    run.finished().counts(&later).counts(&[("files_copied", 0)]);
}
