//! `explain` where one side or both are stores.

use crate::common::TestTree;
use crate::s3::Kind;
use crate::site::Site;
use serde_json::Value;

const PLACE: &str = "s3://bucket/m";

fn mirrored() -> Site {
    let tree =
        TestTree::new().file("a", "content").file("d/b", "below").dir("empty").symlink("l", "a");
    let site = Site::of(&tree);
    site.up(&[]).expect(0);
    site.requests();
    site
}

/// What `explain --json SOURCE TARGET KEY` decides of each key of that name.
fn decided(site: &Site, [source, target]: [&str; 2], flags: &[&str], key: &str) -> Vec<Value> {
    let run = site.run(&[&["explain", "--json", source, target, key], flags].concat()).expect(0);
    run.records().into_iter().filter(|record| record["event"] == "explanation").collect()
}

#[test]
fn a_key_costs_few_requests_and_none_that_reads_or_writes() {
    let site = mirrored();
    let source = site.env.source.to_str().unwrap().to_owned();
    let before = site.bucket.objects();
    let run = site.run(&["explain", &source, PLACE, "d/b"]).expect(0).names("keep: unchanged");
    run.names("tag").names("mode 0644");
    assert_eq!(site.requests(), [(Kind::List, 2)].into());
    site.bucket.put("m/d/b", "BELOW");
    let run = site.run(&["explain", &source, PLACE, "d/b"]).expect(0);
    run.names("copy: target is not what was recorded").names("tag ");
    site.run(&["explain", &source, PLACE, "d"]).expect(0).names("key       d/");
    site.run(&["explain", &source, PLACE, "l"]).expect(0).names("symbolic link, to \"a\"");
    site.run(&["explain", &source, PLACE, "nowhere"]).expect(7);
    let requests = site.requests();
    assert!(requests.keys().all(|kind| *kind == Kind::List), "{requests:?}");
    site.bucket.put("m/d/b", "below");
    assert_eq!(site.bucket.keys(), before.keys().cloned().collect::<Vec<_>>());
}

/// Holds what is explained against what a dry run plans; how many keys that were.
fn agrees(site: &Site, sides: [&str; 2]) -> usize {
    let mut planned = 0;
    for flags in [&[][..], &["--delete", "--max-delete", "100%"], &["--checksum"]] {
        let run = site.mirror(sides[0], sides[1], &[&["--dry-run"], flags].concat());
        for record in run.expect_one_of(&[0, 1]).records() {
            let fails = record["event"] == "failed";
            if !fails && record["event"] != "changed" {
                continue;
            }
            planned += 1;
            let key = record["key"].as_str().unwrap();
            let told = decided(site, sides, flags, key);
            let told = told.iter().find(|told| told["key"] == key).expect("it is told");
            let context = || format!("{sides:?} {flags:?} {record} {told}");
            if fails {
                assert_eq!(told["cause"], record["cause"], "{}", context());
            } else {
                // What waits because something failed is a matter of the run, not of the key.
                let change = match record["change"].as_str() {
                    Some("delete_later") => "delete",
                    change => change.expect("a change"),
                };
                assert_eq!(told["decision"], change, "{}", context());
                assert_eq!(told["reason"], record["reason"], "{}", context());
            }
        }
    }
    planned
}

#[test]
fn what_is_explained_is_what_a_run_plans() {
    let site = mirrored();
    site.bucket.put("m/a", "another");
    site.bucket.put("m/new", "new");
    site.bucket.put("m/d", "a file beside the directory");
    site.bucket.put("m/extra/f", "f");
    site.bucket.delete("m/l");
    let source = site.env.source.to_str().unwrap().to_owned();
    let target = site.env.target.to_str().unwrap().to_owned();
    let (other, others) = ("s3://other/q", site.server.bucket("other"));
    site.mirror(PLACE, other, &[]).expect(0);
    others.put("q/a", "drifted");
    others.put("q/gone/x", "x");
    let all = [[&*source, PLACE], [PLACE, &target], [PLACE, other]];
    let planned: usize = all.iter().map(|sides| agrees(&site, *sides)).sum();
    assert!(planned > 20, "{planned}");
    // First contact: tags, and what is kept with objects, are all that is known.
    site.lose_state();
    others.put("q/new", "new");
    std::fs::create_dir(&target).unwrap();
    std::fs::write(site.env.target.join("new"), "new").unwrap();
    std::fs::write(site.env.source.join("new"), "new").unwrap();
    let planned: usize = all.iter().map(|sides| agrees(&site, *sides)).sum();
    assert!(planned > 40, "{planned}");
}
