//! The content that is read: a sample, files not verified for long, files within a budget.

use super::super::{Budget, Choice, Depth, Sample};
use super::scene::{Found, TestOptions, mirrored, rot, verify};
use crate::backend::memory::{Call, When};
use crate::engine::tests::scene::Scene;
use crate::model::Timestamp;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

fn verify_of(scene: &Scene, choice: Choice) -> Found {
    verify(scene, &TestOptions { depth: Depth::Content(choice), ..TestOptions::default() })
}

/// Returns the keys of the files that a verification reads.
fn read_by(scene: &Scene, choice: Choice) -> Vec<String> {
    let read = Arc::new(Mutex::new(Vec::new()));
    for row in scene.rows() {
        let (name, read) = (row.key.to_string(), Arc::clone(&read));
        let path: &'static str = String::leak(name.clone());
        scene.target.on(Call::Read, When::Key(path), move |_| {
            read.lock().push(name.clone());
            Ok(())
        });
    }
    let found = verify_of(scene, choice);
    scene.target.clear_script();
    assert_eq!(found.totals.verified, read.lock().len() as u64);
    let mut read = std::mem::take(&mut *read.lock());
    read.sort_unstable();
    read
}

#[test]
fn the_parts_of_a_sample_read_each_file_once_and_list_all() {
    let paths: Vec<String> = (0..40).map(|n| format!("d/{n:02}")).collect();
    let scene = mirrored(&paths.iter().map(String::as_str).collect::<Vec<_>>());
    let mut read = Vec::new();
    for number in 1..=3 {
        let sample = Some(Sample::Part { number, of: 3 });
        read.extend(read_by(&scene, Choice { sample, ..Choice::default() }));
    }
    read.sort_unstable();
    assert_eq!(read, paths);
    // Files that aren't read are still compared as listed.
    scene.target.remove("d/07");
    for number in 1..=3 {
        let sample = Some(Sample::Part { number, of: 3 });
        let found = verify_of(&scene, Choice { sample, ..Choice::default() });
        assert!(found.lines.contains(&"missing d/07".to_owned()), "{found:?}");
        assert_eq!(found.totals.verified + found.totals.unread, 39);
    }
}

#[test]
fn recently_verified_files_are_not_read_again_but_corrupt_ones_are() {
    let scene = mirrored(&["a", "b", "c"]);
    rot(&scene.target, "b", "B");
    let ago = |seconds| Some(Timestamp { seconds, nanos: 0 });
    let all = Choice { unverified_since: ago(1), ..Choice::default() };
    let found = verify_of(&scene, all);
    assert_eq!((found.totals.verified, found.totals.corrupt), (2, 1), "none was ever verified");
    let found = verify_of(&scene, all);
    assert_eq!((found.totals.verified, found.totals.corrupt, found.totals.unread), (0, 1, 2));
    let later = Choice { unverified_since: ago(1 << 40), ..Choice::default() };
    let found = verify_of(&scene, later);
    assert_eq!((found.totals.verified, found.totals.corrupt), (2, 1), "all are long ago");
}

#[test]
fn a_budget_of_bytes_reads_the_stalest_files_and_continues_next_time() {
    let scene = mirrored(&["1", "2", "3", "4", "5"]);
    let budget = |bytes| Choice { budget: Some(Budget::Bytes(bytes)), ..Choice::default() };
    assert_eq!(read_by(&scene, budget(2)), ["1", "2"]);
    assert_eq!(read_by(&scene, budget(2)), ["3", "4"]);
    assert_eq!(read_by(&scene, budget(1)), ["5"]);
    // Files of one transaction have nearly the same time, so the first one comes first again.
    assert_eq!(read_by(&scene, budget(5)), ["1", "2", "3", "4", "5"]);
    let found = verify_of(&scene, budget(3));
    let totals = found.totals;
    assert_eq!((totals.chosen, totals.verified, totals.left, totals.left_bytes), (5, 3, 2, 2));
    let found = verify_of(&scene, budget(0));
    assert_eq!((found.totals.verified, found.totals.left), (0, 5));
}

#[test]
fn a_file_begun_within_the_budget_is_read_to_its_end() {
    let scene = mirrored(&["a-long-name", "b"]);
    let choice = Choice { budget: Some(Budget::Bytes(1)), ..Choice::default() };
    let found = verify_of(&scene, choice);
    assert_eq!((found.totals.verified, found.totals.left), (1, 1));
}

#[test]
fn an_exhausted_time_budget_reads_nothing_and_still_finds_missing_files() {
    let scene = mirrored(&["a", "b", "c"]);
    scene.target.remove("a");
    let choice = Choice { budget: Some(Budget::Time(Duration::ZERO)), ..Choice::default() };
    let found = verify_of(&scene, choice);
    assert!(found.lines.contains(&"missing a".to_owned()), "{found:?}");
    let totals = found.totals;
    assert_eq!((totals.chosen, totals.verified, totals.left, totals.left_bytes), (2, 0, 2, 2));
}
