//! Verification of a target against its source: both are listed and read, without a record.

use super::super::against::compare;
use super::super::content_comparer::ContentComparer;
use super::super::*;
use super::scene::{Listener, mirrored, rot};
use crate::backend::memory::{Call, When};
use crate::backend::{KeySpace, ListOptions, Source as _};
use crate::compare::{Join, RecordedRows};
use crate::engine::tests::scene::Scene;
use crate::filter::{Filter, Rule};
use crate::manifest::SourceNumber;
use rustix::io::Errno;

const NONE: [&str; 0] = [];

#[derive(Debug)]
struct Compared {
    lines: Vec<String>,
    totals: AgainstTotals,
    refusal: Option<Error>,
}

/// Compares the target with the source; extra entries count.
fn compare_with(scene: &Scene, filter: Filter, sample: Option<Sample>) -> Compared {
    let (listener, progress, stop) = (Listener::default(), Progress::default(), Stop::default());
    let (source, target) = (scene.source.source(), scene.target.target());
    let filter = Arc::new(filter);
    let of_source =
        ListOptions { filter: Arc::clone(&filter), only: None, key_space: KeySpace::Tree };
    let of_target = ListOptions { filter: Arc::default(), ..of_source.clone() };
    let join = Join::new(
        OrderChecked::new(source.list(&of_source).unwrap(), Side::Source),
        OrderChecked::new(target.list(&of_target).unwrap(), Side::Target),
        RecordedRows { rows: std::iter::empty(), from: SourceNumber::NONE }.read_ahead(),
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
        has_specials: true,
        extras_count: true,
        keeps_directories: true,
        cores: Cores::default(),
        bytes: Default::default(),
    };
    let links = crate::verify::links::LinkGroups::new(&std::env::temp_dir());
    let outcome = compare(join.unwrap(), &comparer, links, 2, &progress, &stop);
    let totals = comparer.totals.into_inner();
    Compared { lines: listener.lines(), totals, refusal: outcome.err() }
}

fn compare_all(scene: &Scene) -> Compared {
    compare_with(scene, Filter::default(), None)
}

#[test]
fn a_mirror_is_equal_to_its_source_by_content() {
    let scene = mirrored(&["a", "d/e/f"]);
    scene.source.link("l", "a");
    scene.run().complete();
    let compared = compare_all(&scene);
    assert_eq!(compared.lines, NONE);
    assert_eq!((compared.totals.entries, compared.totals.equal), (6, 2));
    // Content is read on both sides even if no stamp differs.
    rot(&scene.source, "a", "A");
    let compared = compare_all(&scene);
    assert_eq!(compared.lines, ["content a"]);
    assert_eq!((compared.totals.content, compared.totals.equal), (1, 1));
}

#[test]
fn each_difference_is_reported_by_its_kind() {
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
    let compared = compare_all(&scene);
    let lines: Vec<_> =
        compared.lines.iter().map(|line| line.split(": ").next().unwrap()).collect();
    let expected = [
        "content a",
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
    assert_eq!(lines, expected);
    assert_eq!(
        (compared.totals.missing, compared.totals.content, compared.totals.extra),
        (4, 1, 4)
    );
    assert_eq!(compared.totals.equal, 2, "their content, whatever their metadata");
}

#[test]
fn entries_that_one_side_cannot_return_are_failures_and_no_differences() {
    for on_source in [true, false] {
        let scene = mirrored(&["a", "d/e", "f"]);
        let tree = if on_source { &scene.source } else { &scene.target };
        tree.fail(Call::List, When::Key("d/"), Errno::ACCESS);
        tree.fail(Call::Read, When::Key("f"), Errno::IO);
        let compared = compare_all(&scene);
        let expected = [
            "failed d/: Permission denied (os error 13)",
            "failed f: Input/output error (os error 5)",
        ];
        assert_eq!(compared.lines, expected);
        assert_eq!((compared.totals.equal, compared.totals.failed), (1, 2));
        tree.clear_script();
        tree.fail(Call::ListEntry, When::Key("d/"), Errno::IO);
        let compared = compare_all(&scene);
        assert_eq!(compared.lines, ["failed .: Input/output error (os error 5)"]);
        assert_eq!(
            (compared.totals.missing, compared.totals.extra, compared.totals.equal),
            (0, 0, 1)
        );
    }
}

#[test]
fn a_directory_that_only_the_target_has_and_that_cannot_be_listed_is_not_extra() {
    let scene = mirrored(&["a"]);
    scene.target.write("new/x", "x");
    scene.target.fail(Call::List, When::Key("new/"), Errno::ACCESS);
    let compared = compare_all(&scene);
    assert_eq!((compared.totals.extra, compared.totals.failed), (0, 1), "{compared:?}");
}

#[test]
fn a_file_that_changes_while_it_is_read_is_a_failure_and_no_difference() {
    for on_source in [true, false] {
        let scene = mirrored(&["a"]);
        let tree = if on_source { &scene.source } else { &scene.target };
        tree.on(Call::Read, When::Nth(1), |tree| {
            tree.write("a", "b");
            Ok(())
        });
        let compared = compare_all(&scene);
        assert_eq!((compared.totals.content, compared.totals.failed), (0, 1), "{compared:?}");
    }
}

#[test]
fn a_sample_is_read_and_the_rest_compared_as_listed() {
    let paths: Vec<String> = (0..40).map(|n| format!("{n:02}")).collect();
    let scene = mirrored(&paths.iter().map(String::as_str).collect::<Vec<_>>());
    let mut read = 0;
    for number in 1..=4 {
        let compared =
            compare_with(&scene, Filter::default(), Some(Sample::Part { number, of: 4 }));
        assert_eq!(compared.lines, NONE);
        assert_eq!(compared.totals.equal + compared.totals.unread, 40);
        read += compared.totals.equal;
    }
    assert_eq!(read, 40);
}

#[test]
fn excluded_entries_are_neither_missing_nor_extra() {
    let scene = mirrored(&["a"]);
    scene.source.write("b.o", "built");
    scene.target.write("c/d.o", "built");
    scene.target.write("c/e", "x");
    let filter = Filter::new(&[Rule::Exclude("*.o".into())], None, None).unwrap();
    let compared = compare_with(&scene, filter, None);
    let lines: Vec<_> =
        compared.lines.iter().filter(|line| !line.starts_with("metadata .")).collect();
    // The directory contains an entry that a mirror leaves alone.
    assert_eq!(lines, ["extra c/e"]);
}

#[test]
fn an_empty_source_proves_nothing() {
    let scene = mirrored(&["a"]);
    scene.source.remove("a");
    let refusal = compare_all(&scene).refusal.expect("it is refused");
    assert_eq!(refusal.kind, ErrorKind::Refused);
    // If the source could not be listed, it isn't known whether it is empty.
    scene.source.fail(Call::List, When::Key(""), Errno::ACCESS);
    let compared = compare_all(&scene);
    assert!(compared.refusal.is_none() && compared.totals.failed == 1, "{compared:?}");
    assert_eq!(compared.totals.extra, 0);
}
