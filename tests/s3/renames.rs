//! Files that were moved in the source are copied within the bucket.

use crate::common::TestTree;
use crate::site::Site;
use std::fs;

#[test]
fn moved_files_are_copied_by_the_store_and_sent_no_more() {
    let site = Site::of(&TestTree::new().file("a", "moved").file("d/b", "below").file("c", "c"));
    site.up(&[]).expect(0);
    let at = |name: &str| site.env.source.join(name);
    fs::rename(at("a"), at("z")).expect("rename");
    fs::rename(at("d"), at("e")).expect("rename");
    site.env.age();
    site.up(&["--delete", "-n"]).expect(0).names("\"from\":\"d/b\"");
    site.requests();
    let run = site.up(&["--delete", "--max-delete", "1"]).expect(0).finished();
    run.counts(&[("files_renamed", 2), ("files_copied", 0), ("requests_copy", 2)]);
    run.counts(&[("bytes_hashed", 5), ("files_deleted", 2)]);
    assert_eq!(site.bucket.content("m/z"), "moved");
    assert_eq!(site.bucket.content("m/e/b"), "below");
    let again = site.up(&["--delete"]).expect(0).finished();
    again.counts(&[("files_renamed", 0), ("files_copied", 0), ("bytes_hashed", 0)]);
    site.verify(&["--strict"]).expect(0);
    // Its mode and its digest came along.
    site.lose_state();
    site.down(&[]).expect(0);
    crate::common::assert_mirrored(&site.env.source, &site.env.target);
}
