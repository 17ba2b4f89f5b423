//! What is seen in a terminal of a run that reads a bucket: how far it is, and when it will be done.

use crate::common::content::content;
use crate::common::pane::Pane;
use crate::common::tools;
use crate::needs;
use crate::s3::Kind;
use crate::scene::{MEBIBYTE, PLACE, PREFIX, Scene};
use std::fs;

/// A bucket of so many objects of a MiB, listed by small pages.
fn scene(objects: usize) -> Scene {
    let scene = Scene::new();
    let body = content(MEBIBYTE, 1);
    for n in 0..objects {
        scene.bucket.put(&format!("{PREFIX}{n:04}"), body.clone());
    }
    scene.server.settings(|settings| settings.page = 20);
    scene
}

fn pane(scene: &Scene) -> Pane<'_> {
    Pane::new(&scene.env, 100, &scene.server.environment())
}

/// The bar of a mirror of the bucket that takes a minute.
fn bar(pane: &Pane<'_>) -> String {
    // One transfer takes a file at a time: the plan is far from its end then.
    pane.vidimus(&format!("mirror --bwlimit 2MiB/s --transfers 1 {PLACE} target"));
    let bar = pane.wait_for_bar("the share and the time left");
    pane.interrupt();
    pane.wait_for_end();
    bar
}

#[test]
fn a_first_mirror_of_a_bucket_has_a_share_and_a_time_left_within_seconds() {
    needs!(tools::tool("tmux"));
    let scene = scene(120);
    let pane = pane(&scene);
    let bar = bar(&pane);
    assert!(bar.contains("120.0 MiB"), "{bar}");
}

#[test]
fn a_bucket_that_changed_since_the_last_mirror_is_counted_anew() {
    needs!(tools::tool("tmux"));
    let scene = scene(60);
    scene.down(&[]).expect(0);
    // All is to be copied again, and as much more as nobody recorded.
    let body = content(MEBIBYTE, 2);
    for n in 0..120 {
        scene.bucket.put(&format!("{PREFIX}{n:04}"), body.clone());
    }
    let pane = pane(&scene);
    let bar = bar(&pane);
    assert!(bar.contains("120.0 MiB"), "{bar}");
}

#[test]
fn a_count_ahead_costs_a_listing_and_is_not_made_where_nobody_sees_it() {
    let scene = scene(30);
    let lists = |flags: &[&str]| {
        scene.env.lose_records();
        if scene.env.target.exists() {
            fs::remove_dir_all(&scene.env.target).expect("remove the target");
        }
        scene.server.forget();
        scene.down(&[&["--bwlimit", "10MiB/s"], flags].concat()).expect(0);
        scene.server.count(Kind::List)
    };
    assert_eq!(lists(&["--progress"]), lists(&[]) + 2, "a page has 20 objects");
}

#[test]
fn verify_of_a_bucket_shows_what_there_is_to_read_with_a_state_and_without() {
    needs!(tools::tool("tmux"));
    let scene = Scene::new();
    for n in 0..40 {
        scene.write(&format!("{n:02}"), &content(MEBIBYTE, n));
    }
    scene.up(&[]).expect(0);
    let pane = pane(&scene);
    for has_state in [true, false] {
        if !has_state {
            fs::remove_dir_all(&scene.env.state).expect("remove the state");
        }
        pane.vidimus(&format!("verify --bwlimit 2MiB/s --checkers 2 {PLACE}"));
        let bar = pane.wait_for_bar("the share and the time left");
        assert!(bar.contains(" of 40.0 MiB hashed"), "state {has_state}: {bar}");
        pane.interrupt();
        pane.wait_for_end();
    }
}
