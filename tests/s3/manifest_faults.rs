//! What is to be read of a manifest is refused, out of reach, damaged or gone: none is taken for
//! another, and what is damaged or gone is published anew.

use crate::common::environment::text;
use crate::common::{Run, TestTree};
use crate::s3::{Fault, Kind, Object, On};
use crate::site::Site;
use std::collections::BTreeMap;
use std::fs;

const DIRECTORY: &str = "m/.vidimus/manifest/";
const FILES: [&str; 5] =
    ["latest.json", "00000001.json", "00000002.json", "00000001.ndjson.zst", "00000002.ndjson.zst"];

/// A bucket whose manifest has two segments.
fn of_two() -> Site {
    let tree =
        (0..30).fold(TestTree::new(), |tree, number| tree.file(format!("f{number:02}"), "x"));
    let site = Site::of(&tree);
    site.up(&[]).expect(0);
    change(&site, "changed");
    assert_eq!(manifest(&site).len(), FILES.len());
    site
}

/// Changes a file and mirrors that.
fn change(site: &Site, content: &str) {
    fs::write(site.env.source.join("f07"), content).expect("write");
    site.up(&[]).expect(0);
    site.env.age();
}

fn manifest(site: &Site) -> BTreeMap<String, Object> {
    let objects = site.bucket.objects().into_iter();
    objects.filter(|(key, _)| key.starts_with(DIRECTORY)).collect()
}

#[test]
fn what_is_refused_is_no_damage_and_stays_as_it_is() {
    let site = of_two();
    let before = manifest(&site);
    let source = text(&site.env.source);
    let mirror = ["mirror", source, "s3://bucket/m"];
    let as_elsewhere = ["--state-dir", "elsewhere"];
    let commands: [Vec<&str>; 6] = [
        vec!["manifest", "check", "s3://bucket/m"],
        [&["verify", "s3://bucket/m"][..], &as_elsewhere].concat(),
        vec!["verify", "s3://bucket/m"],
        [&mirror[..], &as_elsewhere].concat(),
        mirror.to_vec(),
        [&mirror[..], &["--dry-run"]].concat(),
    ];
    let requests: Vec<_> = [Kind::Get, Kind::Head]
        .into_iter()
        .flat_map(|kind| FILES.map(|name| (kind, name)))
        .chain([(Kind::List, "")])
        .collect();
    let refuse = |(kind, name): (Kind, &str)| {
        let on = On::every(kind).key(format!("{DIRECTORY}{name}"));
        site.server.fail(on, Fault::Error(403, "AccessDenied"))
    };
    let mut struck = 0;
    for &request in &requests {
        let rule = refuse(request);
        for command in &commands {
            let before = rule.struck();
            let run = site.run(command);
            let is_struck = rule.struck() > before;
            // A dry run with the record at hand says what is to be done all the same.
            let is_told = command.contains(&"--dry-run");
            let code = if is_struck && !is_told { 7 } else { 0 };
            let run = run.expect(code).is_silent_about("damaged");
            if is_struck {
                struck += 1;
                run.names(if is_told {
                    "whether it is complete is unknown"
                } else {
                    "access denied"
                });
            }
            fs::remove_dir_all(site.env.root.join("elsewhere")).ok();
        }
        site.server.heal();
        assert_eq!(manifest(&site), before, "{request:?}");
    }
    // Nor does a run that has something to publish.
    for &(kind, name) in &requests {
        let is_read = kind != Kind::Head || name.contains(".zst");
        if is_read && name != "00000001.json" {
            refuse((kind, name));
            fs::write(site.env.source.join("f07"), format!("{kind:?} {name}")).expect("write");
            // By its pointer it is told before that somebody else published.
            let is_pointer = (kind, name) == (Kind::Get, "latest.json");
            let told = if is_pointer { "cannot mirror without" } else { "could not be published" };
            site.run(&mirror).expect(7).names(told).is_silent_about("damaged");
            site.server.heal();
            assert_eq!(manifest(&site), before, "{kind:?} of {name}");
        }
    }
    assert!(struck > 20, "{struck}");
    site.run(&mirror).expect(0).is_silent_about("anew");
    let check = site.run(&["manifest", "check", "s3://bucket/m"]).expect(0);
    check.names("3 publications").is_silent_about("anew");
}

/// As with a mirror; what may be written alone is put all the same.
#[test]
fn nothing_is_put_where_the_manifest_that_stands_can_t_be_read() {
    let site = of_two();
    let before = manifest(&site);
    let list = site.env.root.join("input");
    fs::write(&list, "put").expect("write");
    let put = |flags: &[&str]| {
        let arguments = [&["put", "-", "s3://bucket/m/new"], flags].concat();
        let mut command = site.env.command(&arguments);
        command.envs(site.server.environment()).stdin(fs::File::open(&list).expect("open"));
        Run::of(command)
    };
    let elsewhere = ["--state-dir", "elsewhere"];
    let refuse = |name: &str| {
        let on = On::every(Kind::Get).key(format!("{DIRECTORY}{name}"));
        site.server.fail(on, Fault::Error(403, "AccessDenied"));
    };
    refuse("00000001.ndjson.zst");
    let refused = put(&elsewhere).expect(7).names("cannot put").names("00000001.ndjson.zst");
    refused.names("access denied").names("help: ");
    assert!(site.bucket.get("m/new").is_none());
    assert_eq!(manifest(&site), before);
    site.server.heal();
    fs::remove_dir_all(site.env.root.join("elsewhere")).expect("remove the state");
    refuse("latest.json");
    put(&elsewhere).expect(0).names("not taken over");
    assert_eq!(manifest(&site), before);
    site.server.heal();
    site.up(&[]).expect(0);
}

/// What a run would publish of its own record would replace what it could not read.
#[test]
fn a_run_ends_where_what_another_machine_published_since_can_t_be_read() {
    let site = of_two();
    let other = site.env.root.join("other");
    fs::create_dir(&other).expect("make a source");
    fs::write(other.join("g"), "other").expect("write");
    let list = site.env.root.join("input");
    fs::write(&list, "put").expect("write");
    site.run(&["mirror", text(&other), "s3://bucket/m", "--state-dir", "elsewhere"]).expect(0);
    let before = manifest(&site);
    fs::write(site.env.source.join("f09"), "changed").expect("write");
    for name in ["latest.json", "00000003.json", "00000003.ndjson.zst"] {
        let on = On::every(Kind::Get).key(format!("{DIRECTORY}{name}"));
        site.server.fail(on, Fault::Error(403, "AccessDenied"));
        let run = site
            .up(&[])
            .expect(7)
            .names("access denied")
            .names("cannot mirror without the manifest published in");
        run.is_silent_about("damaged");
        let mut put = site.env.command(&["put", "-", "s3://bucket/m/f10"]);
        put.envs(site.server.environment()).stdin(fs::File::open(&list).expect("open"));
        Run::of(put).expect(7).names("access denied");
        site.server.heal();
        assert_eq!(manifest(&site), before, "{name}");
    }
    site.up(&[]).expect(0).names("has since published the manifest from elsewhere");
    site.run(&["verify", "s3://bucket/m", "--state-dir", "nowhere"]).expect(0);
    let rows = site.run(&["manifest", "export", "--format", "b3sum", "s3://bucket/m"]);
    rows.expect(0).names("  g\n").names("  f10\n");
}

/// As if it had none, it would lose modes and owners for good.
#[test]
fn a_restore_ends_where_the_manifest_of_its_source_can_t_be_read_and_tells_damage() {
    let site = of_two();
    let explain = ["explain", "s3://bucket/m", "back", "f07", "--state-dir", "elsewhere"];
    let mirror = ["mirror", "s3://bucket/m", "back", "--state-dir", "elsewhere"];
    let restore = || site.run(&[&mirror[..], &["-q"]].concat());
    let forget = || {
        for made in ["elsewhere", "back"] {
            fs::remove_dir_all(site.env.root.join(made)).ok();
        }
    };
    for name in FILES.into_iter().filter(|name| *name != "00000001.json") {
        let on = On::every(Kind::Get).key(format!("{DIRECTORY}{name}"));
        site.server.fail(on, Fault::Error(403, "AccessDenied"));
        for run in [restore(), site.run(&[&mirror[..], &["-n"]].concat()), site.run(&explain)] {
            let run = run.expect(7).names("access denied").names("help: ");
            run.names("cannot mirror without the manifest published in \"s3://bucket");
        }
        assert!(!site.env.root.join("back/f07").exists());
        site.server.heal();
        forget();
    }
    let segment = format!("{DIRECTORY}00000002.ndjson.zst");
    site.bucket.put(&segment, "half");
    restore().expect(0).names("warning: the manifest published in").names("only its listing is");
    assert!(site.env.root.join("back/f07").exists());
}

#[test]
fn a_store_that_is_out_of_reach_has_no_damaged_manifest() {
    let site = of_two();
    let place = "s3://bucket/m?endpoint=http://127.0.0.1:1";
    for command in [
        &["manifest", "show", place][..],
        &["manifest", "log", place],
        &["verify", place],
        &["mirror", text(&site.env.source), place],
        &["mirror", "--dry-run", text(&site.env.source), place],
        &["diff", text(&site.env.source), place],
    ] {
        let run = site.run(command).expect(7).is_silent_about("damaged");
        run.names("connection failed").names("help: ");
    }
}

/// A run that has nothing to copy, and one that has.
#[test]
fn what_is_damaged_or_gone_is_told_and_published_anew() {
    type Damage = fn(&Site, &str);
    let damage: [(&str, Damage); 2] = [
        ("gone", |site, key| site.bucket.delete(key)),
        ("cut short", |site, key| {
            site.bucket.put(key, "half");
        }),
    ];
    for (how, damage) in damage {
        for name in ["latest.json", "00000002.json", "00000001.ndjson.zst"] {
            let site = of_two();
            damage(&site, &format!("{DIRECTORY}{name}"));
            site.verify(&[]).expect(4).names(name).names("manifest");
            let mirror = ["mirror", text(&site.env.source), "s3://bucket/m"];
            let told = |run: Run| run.expect(0).names("manifest is damaged").names(name);
            told(site.run(&[&mirror[..], &["--dry-run"]].concat()));
            told(site.run(&mirror)).names("publication 3 contains all rows again");
            site.run(&mirror).expect(0).is_silent_about("damaged");
            site.run(&["manifest", "check", "s3://bucket/m"]).expect(0);
            site.verify(&[]).expect(0).is_silent_about("damaged");
            assert!(manifest(&site).contains_key(&format!("{DIRECTORY}00000003.json")), "{how}");
        }
    }
}

#[test]
fn a_byte_that_changed_is_found_by_verify_and_before_anything_is_built_on_it() {
    let name = "00000002.ndjson.zst";
    for is_verified in [true, false] {
        let site = of_two();
        let key = format!("{DIRECTORY}{name}");
        let mut object = site.bucket.get(&key).expect("a segment");
        let mut content = object.content.to_vec();
        *content.last_mut().expect("not empty") ^= 1;
        object.content = content.into();
        site.bucket.put_object(&key, object);
        site.up(&[]).expect(0).is_silent_about("damaged");
        if is_verified {
            let run = site.verify(&[]).expect(4).names(name).names("BLAKE3");
            run.names("damaged: the target is what was recorded, but not its published manifest");
        } else {
            fs::write(site.env.source.join("f08"), "changed").expect("write");
        }
        site.up(&[]).expect(0).names(name).names("all rows again");
        site.run(&["manifest", "check", "s3://bucket/m"]).expect(0).names("3 publications");
        site.verify(&[]).expect(0);
    }
}

#[test]
fn a_listing_that_lacks_segments_is_no_loss() {
    let site = of_two();
    let before = manifest(&site);
    let page = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
    let empty = Fault::Reply(200, Vec::new(), page.into());
    let rule = site.server.fail(On::every(Kind::List).key(DIRECTORY), empty);
    let run = site.up(&[]).expect(0).is_silent_about("damaged");
    run.finished().counts(&[("requests_head", 2), ("requests_put", 0)]);
    assert_eq!((rule.struck(), manifest(&site)), (1, before));
}
