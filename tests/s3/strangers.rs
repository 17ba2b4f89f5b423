//! What strangers stored: garbage for metadata, texts of links that lead out, keys of odd bytes.
//! Nothing crashes, leaves the target's root, or is lost in silence.

use crate::common::{Disk, Snapshot};
use crate::s3::{Kind, Object};
use crate::scene::{PREFIX, Scene};
use crate::site::Site;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

/// Values that make no sense, or too much of it.
const GARBAGE: [(&str, &str); 27] = [
    ("vidimus-mode", "99999999"),
    ("vidimus-mode", "-1"),
    ("vidimus-mode", "0o644"),
    ("vidimus-mode", "4294967296"),
    ("vidimus-mode", "107777"),
    ("vidimus-mode", ""),
    ("vidimus-uid", "-1"),
    ("vidimus-uid", "4294967296"),
    ("vidimus-uid", "root"),
    ("vidimus-gid", "1e3"),
    ("mtime", "garbage"),
    ("mtime", "-"),
    ("mtime", "."),
    ("mtime", "1."),
    ("mtime", ".5"),
    ("mtime", "-0"),
    ("mtime", "-0.5"),
    ("mtime", "NaN"),
    ("mtime", "1e18"),
    ("mtime", "9223372036854775807"),
    ("mtime", "9223372036854775808"),
    ("mtime", "-9223372036854775808"),
    ("mtime", "18446744073709551616"),
    ("mtime", "1.99999999999999999999"),
    ("vidimus-kind", "directory"),
    ("vidimus-blake3", "zz"),
    ("vidimus-blake3", "0"),
];

#[test]
fn garbage_for_metadata_is_taken_for_none() {
    let site = Site::new();
    for (at, (name, value)) in GARBAGE.iter().enumerate() {
        let object = Object::new(format!("{name} {value}")).with_metadata(name, value);
        site.bucket.put_object(&format!("m/f{at:02}"), object.clone());
        let marker = Object { content: Vec::new().into(), ..object };
        site.bucket.put_object(&format!("m/d{at:02}/"), marker);
    }
    let run = site.down(&[]).expect(0);
    let found = Snapshot::read(&site.env.target);
    for (at, (name, value)) in GARBAGE.iter().enumerate() {
        let content = fs::read_to_string(site.env.target.join(format!("f{at:02}")));
        assert_eq!(content.ok(), Some(format!("{name} {value}")), "{}", run.told());
        assert!(found.get(format!("d{at:02}")).is_some(), "{name} {value}");
    }
    site.env.age();
    site.down(&[]).expect(0);
    site.down(&[]).expect(0).finished().counts(&[("files_copied", 0), ("metadata_updated", 0)]);
}

#[test]
fn directories_that_nobody_described_get_the_usual_mode_the_root_among_them() {
    let scene = Scene::new().with_objects(&[("a", b"first"), ("d/b", b"second")]);
    scene.down(&[]).expect(0);
    let mode = |name: &str| {
        let found = fs::metadata(scene.env.target.join(name)).expect("look at a directory");
        found.permissions().mode() & 0o7777
    };
    assert_eq!([mode("d"), mode("")].map(|mode| format!("{mode:o}")), ["755", "755"]);
    // One that stands stays as it is.
    fs::set_permissions(&scene.env.target, Permissions::from_mode(0o750)).expect("set a mode");
    scene.down(&[]).expect(0);
    assert_eq!(mode(""), 0o750);
}

#[test]
fn times_that_the_target_cannot_keep_are_named_and_the_content_is_there() {
    // Memory keeps any time.
    let disk = Disk::new();
    let scene = Scene { env: disk.environment(), ..Scene::new() };
    let times = ["9223372036854775806", "-9223372036854775807.5", "99999999999999.5"];
    for (at, time) in times.iter().enumerate() {
        let object = Object::new("content").with_metadata("mtime", time);
        scene.bucket.put_object(&format!("{PREFIX}f{at}"), object);
    }
    for turn in 0..3 {
        scene.server.forget();
        let run = scene.down(&[]).expect_one_of(&[0, 1]);
        for at in 0..times.len() {
            let name = format!("f{at}");
            let content = scene.downloaded(&name);
            assert_eq!(content.as_deref(), Some(&b"content"[..]), "{}", run.told());
        }
        let fetched = scene.server.count(Kind::Get);
        // Until one run did all, each looks for a manifest of the source as well.
        let contents = if turn == 0 { times.len() } else { 0 };
        assert_eq!(fetched, contents + 1, "{}", run.told());
        scene.env.age();
    }
}

fn link(text: impl Into<bytes::Bytes>) -> Object {
    Object::new(text).with_metadata("vidimus-kind", "symlink").with_metadata("mtime", "1500000000")
}

#[test]
fn a_links_hostile_text_leads_nowhere() {
    let site = Site::new();
    let outside = site.env.root.join("beside");
    fs::create_dir(&outside).expect("make a directory");
    fs::write(outside.join("kept"), "kept").expect("write");
    let up = format!("../{}", outside.file_name().expect("a name").to_string_lossy());
    // A link, and keys that would go through it.
    site.bucket.put_object("m/out", link(up.clone()));
    site.bucket.put("m/out/kept", "overwritten");
    site.bucket.put("m/out/new", "new");
    site.bucket.put_object("m/up/", link(up.clone()));
    site.bucket.put("m/up/kept", "overwritten");
    site.bucket.put_object("m/passwd", link("/etc/passwd"));
    site.bucket.put_object("m/empty", link(""));
    site.bucket.put_object("m/nul", link("a\0b"));
    site.bucket.put_object("m/long", link("x".repeat(4096)));
    site.bucket.put_object("m/longer", link("x".repeat(5000)));
    site.bucket.put_object("m/odd", link(&b"\xff\n\x1b[31m"[..]));
    site.bucket.put_object("m/itself", link("itself"));
    site.bucket.put("m/ok", "ok");
    for flags in [&[][..], &[], &["--delete", "--max-delete", "100%"]] {
        let run = site
            .down(flags)
            .expect(1)
            .names("too long for a symbolic link")
            .names("or contains a NUL");
        let records = run.records().into_iter().filter(|record| record["event"] == "failed");
        let failed: Vec<_> = records
            .map(|record| {
                let key = record["key"].as_str().expect("a key").to_owned();
                if ["empty", "nul", "long", "longer"].contains(&&*key) {
                    assert_eq!(record["side"], "source", "{record}");
                }
                key
            })
            .collect();
        for key in ["empty", "nul", "long", "longer", "out", "out/kept", "out/new", "up/"] {
            assert!(failed.iter().any(|named| named == key), "{key} is not named: {failed:?}");
        }
        assert_eq!(fs::read_to_string(outside.join("kept")).expect("read"), "kept");
        assert_eq!(fs::read_dir(&outside).expect("list").count(), 1);
        let read = |name: &str| fs::read_link(site.env.target.join(name)).expect("a link");
        assert_eq!(read("passwd").to_str(), Some("/etc/passwd"));
        assert_eq!(read("itself").to_str(), Some("itself"));
        assert_eq!(
            std::os::unix::ffi::OsStrExt::as_bytes(read("odd").as_os_str()),
            b"\xff\n\x1b[31m"
        );
        assert_eq!(fs::read(site.env.target.join("ok")).expect("read"), b"ok");
        for name in ["empty", "nul", "long", "longer"] {
            assert!(site.env.target.join(name).symlink_metadata().is_err(), "{name}");
        }
        site.env.age();
    }
}

#[test]
fn what_users_keep_below_a_name_of_ours_is_told_apart() {
    let site = Site::new();
    for key in [".vidimus/mine", ".vidimus", "d/.vidimus/mine", ".vidimus-x", ".vidimusx/y"] {
        site.bucket.put(&format!("m/{key}"), key);
    }
    let run = site.down(&[]).expect(0);
    let found = Snapshot::read(&site.env.target);
    assert!(found.get("d/.vidimus/mine").is_some(), "{}", run.told());
    assert!(found.get(".vidimus-x").is_some() && found.get(".vidimusx/y").is_some());
    assert!(found.get(".vidimus/mine").is_none(), "kept for vidimus");
}

#[test]
fn odd_bytes_in_keys_pass_both_ways() {
    let site = Site::new();
    let keys = [
        "new\nline",
        "a%2Fb",
        "a+b",
        "a b",
        "a%20b",
        "\u{1}\u{8}\u{b}\u{1f}",
        "\u{fffe}\u{ffff}",
        "&lt;",
        "]]>",
        "\"'",
        "cr\r",
        "\u{7f}",
        "%",
        "%zz",
        "?",
        "#",
        ";",
        "é\u{301}",
    ];
    for key in keys {
        site.bucket.put(&format!("m/{key}"), key);
        site.bucket.put(&format!("m/in/{key}/leaf"), key);
    }
    let longest =
        format!("{}/{}", ["y".repeat(250).as_str(); 4].join("/"), "z".repeat(1024 - 2 - 1004));
    site.bucket.put(&format!("m/{longest}"), "long");
    site.down(&[]).expect(0);
    for key in keys {
        assert_eq!(
            fs::read(site.env.target.join(key)).ok().as_deref(),
            Some(key.as_bytes()),
            "{key:?}"
        );
        let leaf = site.env.target.join("in").join(key).join("leaf");
        assert_eq!(fs::read(leaf).ok().as_deref(), Some(key.as_bytes()), "{key:?}");
    }
    assert_eq!(fs::read(site.env.target.join(&longest)).expect("read"), b"long");
    let target = crate::common::environment::text(&site.env.target).to_owned();
    let other = site.server.bucket("other");
    site.env.age();
    site.mirror(&target, "s3://other/m", &[]).expect(0);
    for key in keys {
        assert_eq!(other.content(&format!("m/{key}")), key);
    }
    site.mirror(&target, "s3://other/longer-prefix", &[])
        .expect(1)
        .names("takes 1024")
        .names("--exclude");
    // One byte more than a store takes: nothing of it is sent, the rest is.
    assert_eq!(other.content("longer-prefix/a+b"), "a+b");
}
