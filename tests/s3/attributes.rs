//! Extended attributes and ACLs in a bucket, and back.

use crate::common::environment::text;
use crate::common::{TestTree, tools};
use crate::needs;
use crate::site::Site;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

/// `cap_net_raw=ep`, as setcap writes it.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const ACL: &str = "u::rw-,u:1:rwx,g::r--,m::rwx,o::---";
const DEFAULT_ACL: &str = "u::rwx,g::r-x,o::---";

/// A tree with attributes that fit beside an object, and others that don't.
fn with_attributes() -> TestTree {
    let mut tree = TestTree::new().attribute("user.root", "r");
    tree = tree.file("plain", "1").file("user", "2").attribute("user.a", b"a value\0\xff");
    tree = tree.file("acl", "3").mode(0o670).acl(ACL);
    tree = tree.file("program", "4").mode(0o755).owner(7, 8);
    tree = tree.attribute("security.capability", CAPABILITY).attribute("trusted.t", "t");
    tree = tree.file("more", "5").attribute("user.more", vec![b'x'; 1_900]);
    tree = tree.dir("d").default_acl(DEFAULT_ACL).file("d/large", vec![6; 9 << 20]);
    tree = tree.attribute("user.large", "l").symlink("d/l", "nowhere").attribute("trusted.l", "1");
    tree = tree.file("d/huge", "7");
    for number in 0..20_u8 {
        tree = tree.attribute(format!("user.{number:02}"), vec![number; 60_000]);
    }
    tree
}

/// Root, and a file system that has room for many attributes.
fn all_kinds(site: &Site) -> Result<tools::Mount, String> {
    tools::root()?;
    tools::Mount::xfs(&site.env.root.join("image"), &site.env.root.join("big"))
}

#[test]
fn attributes_come_back_from_a_bucket() {
    let site = Site::new();
    fs::create_dir(site.env.root.join("big")).expect("make a directory");
    let mounted = all_kinds(&site);
    needs!(mounted.as_ref().map_err(Clone::clone));
    let [source, target] = ["s", "t"].map(|name| site.env.root.join("big").join(name));
    let tree = with_attributes();
    tree.write(&source);
    let (source, target) = (text(&source), text(&target));
    site.env.age();
    let up = |flags: &[&str]| site.mirror(source, "s3://bucket/m", flags).expect(0).finished();
    up(&[]).counts(&[("attributes_lost", 0), ("acls_lost", 0), ("attributes_kept_apart", 2)]);
    let same = [("files_copied", 0), ("metadata_updated", 0), ("attributes_kept_apart", 0)];
    up(&[]).counts(&same);
    let objects = site.bucket.objects();
    let value = |key: &str, name: &str| objects[key].metadata.get(name).map(String::as_str);
    assert!(value("m/user", "vidimus-attributes").is_some());
    assert!(value("m/more", "vidimus-attributes").is_none());
    // Without the ACL its group has no more rights.
    assert_eq!(value("m/acl", "vidimus-mode"), Some("0640"));
    let down = || site.mirror("s3://bucket/m", target, &[]).expect(0).finished();
    let mode = |name: &str| fs::metadata(format!("{target}/{name}")).expect("a file").mode();
    for is_known in [true, false] {
        if !is_known {
            fs::remove_dir_all(&site.env.state).expect("remove the state");
            fs::create_dir(&site.env.state).expect("make the state's directory");
            fs::remove_dir_all(target).expect("remove the target");
        }
        down().counts(&[("attributes_lost", 0), ("acls_lost", 0)]);
        tree.assert_at(target.as_ref());
        assert_eq!(mode("acl") & 0o7777, 0o670);
        down().counts(&same);
    }
}
