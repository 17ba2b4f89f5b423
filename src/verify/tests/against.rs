//! A target held against its source: both are listed and read, and no record is asked.

use super::super::against::compare;
use super::super::content_comparer::ContentComparer;
use super::super::*;
use super::scene::{Listener, mirrored, rot};
use crate::backend::memory::{Call, When};
use crate::backend::{KeySpace, Source as _};
use crate::compare::{Join, RecordedRows};
use crate::engine::tests::scene::Scene;
use crate::filter::Rule;
use crate::manifest::SourceNumber;
use rustix::io::Errno;

const NONE: [&str; 0] = [];

#[derive(Debug)]
struct Held {
    lines: Vec<String>,
    totals: AgainstTotals,
    refusal: Option<Error>,
}

/// Holds the target against the source; extras count.
fn hold(scene: &Scene, filter: Filter, sample: Option<Sample>) -> Held {
    let (listener, progress, stop) = (Listener::default(), Progress::default(), Stop::default());
    let (source, target) = (scene.source.source(), scene.target.target());
    let filter = Arc::new(filter);
    let of_source =
        ListOptions { filter: Arc::clone(&filter), only: None, key_space: KeySpace::Tree };
    let of_target = ListOptions { filter: Arc::default(), ..of_source.clone() };
    let join = Join::new(
        OrderChecked::new(source.list(&of_source).unwrap(), Side::Source),
        OrderChecked::new(target.list(&of_target).unwrap(), Side::Target),
        RecordedRows { rows: std::iter::empty(), from: SourceNumber::NONE },
        KeySpace::Tree,
    );
    let comparer = ContentComparer {
        observer: &listener,
        totals: Mutex::default(),
        source: &source,
        target: &target,
        readers: [&source, &target],
        filter: &filter,
        key_space: KeySpace::Tree,
        sample,
        extras_count: true,
        keeps_directories: true,
        cores: Cores::default(),
        bytes: Default::default(),
    };
    let outcome = compare(join.unwrap(), &comparer, 2, &progress, &stop);
    let totals = comparer.totals.into_inner();
    Held { lines: listener.lines(), totals, refusal: outcome.err() }
}

fn hold_all(scene: &Scene) -> Held {
    hold(scene, Filter::default(), None)
}

#[test]
fn a_mirror_is_equal_to_its_source_by_content() {
    let scene = mirrored(&["a", "d/e/f"]);
    scene.source.link("l", "a");
    scene.run().complete();
    let held = hold_all(&scene);
    assert_eq!(held.lines, NONE);
    assert_eq!((held.totals.entries, held.totals.equal), (6, 2));
    // What no stamp shows: it is read on both sides.
    rot(&scene.source, "a", "A");
    let held = hold_all(&scene);
    assert_eq!(held.lines, ["corrupt a"]);
    assert_eq!((held.totals.content, held.totals.equal), (1, 1));
}

#[test]
fn each_difference_is_named_by_what_it_is() {
    let scene = mirrored(&["a", "b", "c", "d/e", "f", "g/h"]);
    let target = &scene.target;
    target.write("a", "longer");
    target.remove("b");
    target.set("c", |metadata| metadata.mode = 0o604);
    target.remove("d");
    target.write("d", "a leaf in the place of a directory");
    target.remove("f");
    target.write("f/x", "a directory in the place of a leaf");
    target.write("new", "x");
    let held = hold_all(&scene);
    let told: Vec<_> = held.lines.iter().map(|line| line.split(": ").next().unwrap()).collect();
    let expected = [
        "corrupt a",
        "extra d",
        "extra f/",
        "extra f/x",
        "extra new",
        "metadata .",
        "metadata a",
        "metadata c",
        "missing b",
        "missing d/",
        "missing d/e",
        "missing f",
    ];
    assert_eq!(told, expected);
    assert_eq!((held.totals.missing, held.totals.content, held.totals.extra), (4, 1, 4));
    assert_eq!(held.totals.equal, 2, "their content, whatever their metadata");
}

#[test]
fn what_one_side_does_not_tell_is_a_failure_and_no_difference() {
    for on_source in [true, false] {
        let scene = mirrored(&["a", "d/e", "f"]);
        let tree = if on_source { &scene.source } else { &scene.target };
        tree.fail(Call::List, When::Key("d/"), Errno::ACCESS);
        tree.fail(Call::Read, When::Key("f"), Errno::IO);
        let held = hold_all(&scene);
        let expected = [
            "failed d/: Permission denied (os error 13)",
            "failed f: Input/output error (os error 5)",
        ];
        assert_eq!(held.lines, expected);
        assert_eq!((held.totals.equal, held.totals.failed), (1, 2));
        tree.clear_script();
        tree.fail(Call::ListEntry, When::Key("d/"), Errno::IO);
        let held = hold_all(&scene);
        assert_eq!(held.lines, ["failed .: Input/output error (os error 5)"]);
        assert_eq!((held.totals.missing, held.totals.extra, held.totals.equal), (0, 0, 1));
    }
}

#[test]
fn a_directory_that_only_the_target_has_and_that_cannot_be_listed_is_not_extra() {
    let scene = mirrored(&["a"]);
    scene.target.write("new/x", "x");
    scene.target.fail(Call::List, When::Key("new/"), Errno::ACCESS);
    let held = hold_all(&scene);
    assert_eq!((held.totals.extra, held.totals.failed), (0, 1), "{held:?}");
}

#[test]
fn what_changes_while_it_is_read_is_a_failure_and_no_difference() {
    for on_source in [true, false] {
        let scene = mirrored(&["a"]);
        let tree = if on_source { &scene.source } else { &scene.target };
        tree.on(Call::Read, When::Nth(1), |tree| {
            tree.write("a", "b");
            Ok(())
        });
        let held = hold_all(&scene);
        assert_eq!((held.totals.content, held.totals.failed), (0, 1), "{held:?}");
    }
}

#[test]
fn a_sample_is_read_and_the_rest_looked_at() {
    let paths: Vec<String> = (0..40).map(|n| format!("{n:02}")).collect();
    let scene = mirrored(&paths.iter().map(String::as_str).collect::<Vec<_>>());
    let mut read = 0;
    for number in 1..=4 {
        let held = hold(&scene, Filter::default(), Some(Sample::Part { number, of: 4 }));
        assert_eq!(held.lines, NONE);
        assert_eq!(held.totals.equal + held.totals.unread, 40);
        read += held.totals.equal;
    }
    assert_eq!(read, 40);
}

#[test]
fn what_takes_no_part_is_neither_missing_nor_extra() {
    let scene = mirrored(&["a"]);
    scene.source.write("b.o", "built");
    scene.target.write("c/d.o", "built");
    scene.target.write("c/e", "x");
    let filter = Filter::new(&[Rule::Exclude("*.o".into())], None, None).unwrap();
    let held = hold(&scene, filter, None);
    let told: Vec<_> = held.lines.iter().filter(|line| !line.starts_with("metadata .")).collect();
    // The directory holds what a mirror leaves alone.
    assert_eq!(told, ["extra c/e"]);
}

#[test]
fn an_empty_source_proves_nothing() {
    let scene = mirrored(&["a"]);
    scene.source.remove("a");
    let refusal = hold_all(&scene).refusal.expect("it is refused");
    assert_eq!(refusal.kind, ErrorKind::Refused);
    // Of one that could not be listed it isn't known whether it is.
    scene.source.fail(Call::List, When::Key(""), Errno::ACCESS);
    let held = hold_all(&scene);
    assert!(held.refusal.is_none() && held.totals.failed == 1, "{held:?}");
    assert_eq!(held.totals.extra, 0);
}
