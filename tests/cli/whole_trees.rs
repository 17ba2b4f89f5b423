//! Everything that entries can have, on each of the common file systems: nothing of it is lost, and
//! a second run finds nothing to do.

use crate::common::environment::text;
use crate::common::tools::{self, Mount};
use crate::common::tree::{assert_whole, set_mtime_of};
use crate::common::{Environment, TestTree};
use crate::{needs, rsync_agrees};
use rustix::fs::{FallocateFlags, XattrFlags, fallocate, lremovexattr, lsetxattr};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;

const MIB: usize = 1 << 20;

/// `cap_net_raw=ep`, as setcap writes it.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const ACL: &str = "u::rw-,u:1:rwx,g::r--,m::rwx,o::---";
const DEFAULT_ACL: &str = "u::rwx,u:1:rwx,g::r-x,m::rwx,o::r-x";

/// Names of one file, holes, attributes, ACLs, capabilities, special files, unusual modes, owners,
/// times and names.
fn everything() -> TestTree {
    let long_name = "n".repeat(255);
    let tree = TestTree::new().file("plain", "plain").mode(0o600).mtime(-5, 999_999_999);
    let tree = tree.file("set-id", "program").owner(7, 8).mode(0o6755).dir("sticky").mode(0o1777);
    let tree = tree.file(b"names/\xff\xfe\n", "1").file(format!("names/{long_name}"), "2");
    let tree = tree.symlink("names/link", "../plain").owner(5, 6).mtime(7, 8);
    // Files with several names: in a new directory, across directories, exchanged later.
    let tree = tree.file("group/one", "grouped").mode(0o640).attribute("user.of", "all names");
    let tree = tree.link("group/two", "group/one").link("other/three", "group/one");
    let tree = tree.file("pair/a", "a").file("pair/b", "b").link("pair/aa", "pair/a");
    let tree = tree.link("pair/bb", "pair/b").link("names/link too", "names/link");
    let tree = tree.fifo("special/fifo").mode(0o620).owner(5, 6).mtime(1, 2);
    let tree = tree.link("special/fifo too", "special/fifo").socket("special/socket").mode(0o600);
    let tree = tree.character_device("special/null", 1, 3).mode(0o666);
    let tree = tree.block_device("special/disk", 259, 1 << 17).owner(0, 6).mtime(-7, 7);
    // Read in order, and in ranges.
    let tree = tree.sparse("sparse/order", 3 * MIB + 5, &[(0, b"begins"), (2 * MIB, b"ends")]);
    let tree = tree.sparse("sparse/ranges", 20 * MIB, &[(9 * MIB, b"a"), (20 * MIB - 1, b"z")]);
    let tree = tree.sparse("sparse/hole", 9 * MIB + 1, &[]).link("sparse/of two", "sparse/order");
    let tree = tree.file("sparse/dense", vec![7; 9 * MIB]);
    let tree = tree.file("attributes/many", "1").attribute("user.long", [b'x'; 2000]);
    let tree = tree.attribute("user.empty", "").attribute("trusted.bytes", b"\0\xff");
    let tree = tree.file("attributes/program", "2").owner(7, 8).mode(0o755);
    let tree = tree.attribute("security.capability", CAPABILITY);
    let tree = tree.file("attributes/acl", "3").acl(ACL);
    let tree = tree.dir("attributes").default_acl(DEFAULT_ACL).attribute("user.of", "a directory");
    let tree = tree.dir("gone/away").attribute("user.a", "b").file("gone/away/x", "y").acl(ACL);
    tree.dir("").attribute("user.of", "the root").mode(0o751)
}

/// Changes each property, in a tree that has everything.
fn change(root: &Path) {
    let at = |key: &str| root.join(key);
    let write = |key: &str| File::options().write(true).open(at(key)).expect("open");
    let set = |key: &str, name: &str, value: &[u8]| {
        lsetxattr(at(key), name, value, XattrFlags::empty()).expect("set an attribute");
    };
    let mode = |key: &str, mode| {
        fs::set_permissions(at(key), fs::Permissions::from_mode(mode)).expect("change a mode");
    };
    let link = |from: &str, to: &str| fs::hard_link(at(from), at(to)).expect("link");
    // The content of one file changes, the mode of another, and names come and go.
    write("group/one").write_all_at(b"changed", 0).expect("write");
    fs::remove_file(at("group/two")).expect("remove");
    link("group/one", "group/new");
    mode("pair/a", 0o600);
    for (name, file) in [("pair/aa", "pair/b"), ("pair/bb", "pair/a")] {
        fs::remove_file(at(name)).expect("remove");
        link(file, name);
    }
    link("plain", "names/plain");
    write("sparse/ranges").write_all_at(&vec![1; 2 * MIB], 3 << 20).expect("write");
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(write("sparse/dense"), punch, 1 << 20, 4 << 20).expect("punch a hole");
    write("sparse/hole").set_len(30 << 20).expect("grow");
    write("sparse/order").set_len(2 << 20).expect("shrink");
    set("attributes/many", "user.long", b"short");
    lremovexattr(at("attributes/many"), "user.empty").expect("remove an attribute");
    set("group/one", "user.of", b"the changed");
    // The kernel takes the capability of a file that is given away.
    std::os::unix::fs::chown(at("attributes/program"), Some(9), Some(9)).expect("give it away");
    mode("attributes/acl", 0o604);
    lremovexattr(at("attributes"), "system.posix_acl_default").expect("remove an ACL");
    set("names", "user.new", b"1");
    let other = TestTree::new().character_device("special/null", 1, 5).fifo("special/disk");
    other.file("special/fifo", "no fifo any more").write(root);
    mode("special/socket", 0o640);
    fs::remove_dir_all(at("gone")).expect("remove");
    fs::remove_file(at("set-id")).expect("remove");
    TestTree::new().dir("set-id").file("set-id/f", "now in a directory").write(root);
    fs::remove_dir(at("sticky")).expect("remove");
    fs::rename(at("attributes/acl"), at("sticky")).expect("rename");
    set_mtime_of(&at("names/link"), 77, 77);
}

const NOTHING_DONE: [(&str, u64); 9] = [
    ("files_copied", 0),
    ("hard_links_made", 0),
    ("metadata_updated", 0),
    ("files_deleted", 0),
    ("bytes_hashed", 0),
    ("attributes_lost", 0),
    ("acls_lost", 0),
    ("hard_links_lost", 0),
    ("holes_lost", 0),
];

/// Mirrors `source` to `target`, and asserts that nothing was lost and that nothing is left to do.
#[track_caller]
fn mirrors(env: &Environment, source: &Path, target: &Path) {
    let run = |flags: &[&str]| {
        let words = ["mirror", "--json", text(source), text(target)];
        env.vidimus(&[&words[..], flags].concat()).expect(0).finished()
    };
    env.age();
    run(&["--delete", "--max-delete", "100%"]).counts(&[
        ("files_failed", 0),
        ("attributes_lost", 0),
        ("acls_lost", 0),
        ("hard_links_lost", 0),
        ("holes_lost", 0),
    ]);
    assert_whole(source, target);
    if tools::tool("rsync").is_ok() {
        rsync_agrees::sees_no_difference(source, target);
    }
    env.age();
    run(&["--delete"]).counts(&NOTHING_DONE);
    env.vidimus(&["verify", "--strict", text(target)]).expect(0);
}

/// Mirrors everything to a file system, within it, and from it, before and after all of it changed.
fn keeps_everything(mount: impl FnOnce(&Path, &Path) -> Result<Mount, String>) {
    needs!(tools::root());
    let env = Environment::new();
    let mounted = mount(&env.root.join("beside"), &env.outside);
    needs!(mounted.as_ref().map(drop).map_err(Clone::clone));
    let [there, within] = ["target", "within"].map(|name| env.outside.join(name));
    everything().write(&env.source);
    for changes in [false, true] {
        if changes {
            change(&env.source);
        }
        mirrors(&env, &env.source, &there);
        mirrors(&env, &there, &within);
        mirrors(&env, &within, &env.target);
    }
    let against = ["verify", text(&there), "--against", text(&env.source)];
    env.vidimus(&against).expect(0);
    drop(mounted);
}

#[test]
fn an_ext4_keeps_everything() {
    // Small file systems would get smaller blocks, in which fewer attributes find room.
    keeps_everything(|image, at| Mount::ext4_of(image, at, 256, &["-b", "4096", "-I", "256"]));
}

#[test]
fn an_xfs_keeps_everything() {
    keeps_everything(Mount::xfs);
}

#[test]
fn a_btrfs_keeps_everything() {
    keeps_everything(Mount::btrfs);
}

#[test]
fn a_tmpfs_keeps_everything() {
    keeps_everything(|_, at| Mount::tmpfs(at, "size=256m"));
}

#[test]
fn an_overlay_keeps_everything() {
    keeps_everything(Mount::overlay);
}

/// What lies in the lower layer gets another inode once it is changed, and its names come apart.
#[test]
fn an_overlay_that_shows_a_lower_layer_is_a_source() {
    needs!(tools::root());
    let env = Environment::new();
    everything().write(&env.root.join("beside/lower"));
    let mounted = Mount::overlay(&env.root.join("beside"), &env.source);
    needs!(mounted.as_ref().map(drop).map_err(Clone::clone));
    mirrors(&env, &env.source, &env.target);
    change(&env.source);
    env.age();
    // What keeps its inode doesn't show that other names left it; the target's file does.
    env.mirrored(&["--delete", "--max-delete", "100%"]);
    env.mirrored(&[]).counts(&[("files_copied", 0), ("metadata_updated", 0), ("holes_lost", 0)]);
    mirrors(&env, &env.source, &env.target);
    drop(mounted);
}
