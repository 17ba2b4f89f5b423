//! Listing directories of this machine.

use crate::common::tools;
use crate::common::tree::{Snapshot, TestTree, assert_untouched};
use crate::fixture::{everything, key, keys, list_with, told};
use crate::local::Local;
use crate::needs;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use vidimus::backend::local::{Guarded, Identity, LocalSource};
use vidimus::backend::{KeySpace, ListItem, ListOptions, Source, Target as _};
use vidimus::filter::{DirectoryRules, Filter, FilterSpec, Rule};
use vidimus::model::{Cause, Durability, EntryKind, ErrorKind, Key, SpecialKind};

const TEMPORARY: &str = ".vidimus.0123456789abcdef";

fn listed(source: &dyn Source) -> Vec<Key> {
    let items = list_with(source, &everything());
    let entry = |item| match item {
        ListItem::Entry(entry) => entry.key,
        other => panic!("no entry: {other:?}"),
    };
    items.into_iter().map(entry).collect()
}

/// The keys of a tree as a listing is to give them.
fn expected(root: &Path) -> Vec<Key> {
    let snapshot = Snapshot::read(root);
    let key = |(name, seen): (&Vec<u8>, &crate::common::tree::Seen)| {
        let is_directory = seen.kind == crate::common::tree::Kind::Directory && !name.is_empty();
        Key::new([&name[..], if is_directory { b"/" } else { b"" }].concat())
    };
    snapshot.entries.iter().map(key).collect::<BTreeSet<_>>().into_iter().collect()
}

#[test]
fn a_flat_directory_of_more_names_than_memory_takes_stays_in_order() {
    let tree = (0..20_000_u32).fold(TestTree::new().dir("m/inner"), |tree, number| {
        // Scattered, so that no order of making is that of the listing.
        let scattered = number.wrapping_mul(2_654_435_761);
        let name = format!("m/{scattered:010}-{}", "x".repeat(90));
        if number % 64 == 0 { tree.dir(name) } else { tree.symlink(name, "t") }
    });
    let local = Local::of(&tree);
    assert_eq!(listed(&local.source()), expected(&local.root));
    assert!(local.spool.exists(), "the names did not spill: the test is too small");
    let few = Local::of(&TestTree::new().file("a", "").file("d/b", ""));
    assert_eq!(listed(&few.source()), expected(&few.root));
    assert!(!few.spool.exists(), "few names need no disk");
}

#[test]
fn many_chunks_of_directories_that_hold_directories_stay_in_order() {
    let tree = (0..900).fold(TestTree::new(), |tree, number| {
        tree.file(format!("d{number}/a/b"), "")
            .file(format!("d{number}-"), "")
            .dir(format!("d{number}/c"))
    });
    let local = Local::of(&tree);
    assert_eq!(listed(&local.source()), expected(&local.root));
}

#[test]
fn a_tree_deeper_than_handles_and_path_max_lists_whole() {
    let mut tree = TestTree::new();
    let mut path = String::new();
    for level in 0..300 {
        // Before, around and behind the directory that is entered.
        for name in ["a", "directory-name-x", "directory-name-x!", "e/f", "z"] {
            tree = tree
                .file(format!("{path}{name}{}", if name.ends_with('x') { ".y" } else { "" }), "");
        }
        path.push_str("directory-name-x/");
        assert!(level < 299 || path.len() > 4_096 + 256, "the tree is deeper than PATH_MAX");
    }
    let local = Local::of(&tree.file(format!("{path}deepest"), "content"));
    assert_eq!(listed(&local.source()), expected(&local.root));
    let deepest = local.source().look(&key(format!("{path}deepest")));
    assert_eq!(deepest.expect("look").expect("it is there").stamp.size, 7);
}

#[test]
fn what_is_no_file_is_listed_as_what_it_is() {
    let mut tree = TestTree::new().fifo("fifo").socket("socket").symlink("loop", "loop");
    let mut kinds = vec![
        ("fifo", EntryKind::Special(SpecialKind::Fifo)),
        ("socket", EntryKind::Special(SpecialKind::Socket)),
        ("loop", EntryKind::Symlink),
    ];
    if tools::root().is_ok() {
        tree = tree.device("device");
        kinds.push(("device", EntryKind::Special(SpecialKind::CharacterDevice)));
    }
    let local = Local::of(&tree.symlink("up", "..").symlink("d/root", "/"));
    for (name, kind) in kinds {
        let found = local.source().look(&key(name)).expect("look").expect("it is there");
        assert_eq!(found.kind, kind, "{name}");
    }
    assert_eq!(listed(&local.source()), expected(&local.root), "no link is followed");
}

#[test]
fn vidimus_s_own_directory_is_left_out_at_the_root_alone() {
    let tree = TestTree::new().file(".vidimus/state", "").file("d/.vidimus/x", "").file("e", "");
    let local = Local::of(&tree);
    assert_eq!(keys(&local.source()), [".", "d/", "d/.vidimus/", "d/.vidimus/x", "e"]);
}

#[test]
fn what_has_the_name_of_vidimus_s_own_directory_is_left_out_at_the_root_whatever_it_is() {
    for tree in [TestTree::new().file(".vidimus", ""), TestTree::new().symlink(".vidimus", "e")] {
        let local = Local::of(&tree.file("d/.vidimus", "").file("e", ""));
        let sides: [&dyn Source; 2] = [&local.source(), &local.target(Durability::None)];
        for side in sides {
            assert_eq!(keys(side), [".", "d/", "d/.vidimus", "e"]);
            assert!(side.list_name(b".vidimus", &everything()).expect("listed").is_empty());
        }
    }
}

#[test]
fn temporaries_are_leftovers_in_a_target_and_reserved_in_a_source() {
    let tree = TestTree::new()
        .file(TEMPORARY, "x")
        .file("d/.vidimus.0123456789ABCDEF", "upper case is no temporary's")
        .file(format!("d/{TEMPORARY}"), "x")
        .dir(format!("e/{TEMPORARY}"))
        .symlink(format!("f/{TEMPORARY}"), "x");
    let local = Local::of(&tree);
    let target = local.target(Durability::None);
    // A filter does not hide them: they are not the user's.
    let filter = Filter::new(&[Rule::Exclude(".*".into())], None, None).expect("a filter");
    let items = list_with(
        &target,
        &ListOptions { filter: Arc::new(filter), only: None, key_space: KeySpace::Tree },
    );
    let leftovers = [
        format!("leftover {TEMPORARY}"),
        format!("leftover d/{TEMPORARY}"),
        format!("leftover e/{TEMPORARY}/"),
        format!("leftover f/{TEMPORARY}"),
    ];
    let found = told(&items);
    assert!(leftovers.iter().all(|leftover| found.contains(leftover)), "{found:?}");
    assert_eq!(found.len(), 8, "the root, three directories, four leftovers: {found:?}");
    for item in list_with(&local.source(), &everything()) {
        match item {
            ListItem::Failed(error) => {
                assert_eq!(error.key.name(), TEMPORARY.as_bytes());
                assert!(matches!(error.cause, Cause::ReservedName), "{error}");
            }
            ListItem::Entry(entry) => assert_ne!(entry.key.name(), TEMPORARY.as_bytes()),
            other => panic!("{other:?}"),
        }
    }
    for item in items {
        if let ListItem::Leftover(leftover) = item {
            target.sweep(&leftover).expect("sweep");
        }
    }
    let rest = [".", "d/", "d/.vidimus.0123456789ABCDEF", "e/", "f/"];
    assert_eq!(keys(&target), rest);
}

/// Runs `body` on a thread that may not read what its owner closed, as any user but root; threads
/// that it starts may not either.
fn without_roots_rights<T: Send>(body: impl FnOnce() -> T + Send) -> Result<T, String> {
    let drop_rights = || {
        let mut sets = capabilities(None)?;
        sets.effective -= CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
        set_capabilities(None, sets)
    };
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| drop_rights().map(|()| body()));
        match thread.join() {
            Ok(done) => done.map_err(|error| format!("cannot let go of capabilities: {error}")),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

#[test]
fn an_unreadable_directory_fails_behind_its_entry_and_the_rest_is_listed() {
    let local = Local::of(
        &TestTree::new()
            .file("a", "")
            .file("d/x", "")
            .dir("d/closed")
            .mode(0o000)
            .file("d/no-search/y", "")
            .dir("d/no-search")
            .mode(0o400)
            .file("d/closed-", "")
            .file("e", ""),
    );
    let found = without_roots_rights(|| told(&list_with(&local.source(), &everything())));
    needs!(found.as_ref().map(drop).map_err(Clone::clone));
    let denied = "Permission denied (os error 13)";
    assert_eq!(
        found.expect("it was met"),
        [
            ".".to_owned(),
            "a".into(),
            "d/".into(),
            "d/closed-".into(),
            "d/closed/".into(),
            format!("failed d/closed/: {denied}"),
            "d/no-search/".into(),
            format!("failed d/no-search/y: {denied}"),
            "d/x".into(),
            "e".into(),
        ]
    );
}

#[test]
fn an_unreadable_root_is_an_error_and_no_empty_listing() {
    let local = Local::of(&TestTree::new().file("a", ""));
    let source = local.source();
    let close = |mode| {
        std::fs::set_permissions(&local.root, PermissionsExt::from_mode(mode)).expect("set a mode");
    };
    close(0o000);
    let found = without_roots_rights(|| {
        source.list(&everything()).map(|listing| listing.filter_map(Result::err).count())
    });
    close(0o755);
    needs!(found.as_ref().map(drop).map_err(Clone::clone));
    assert!(!matches!(found, Ok(Ok(0))), "it ended without an error");
}

#[test]
fn guarded_directories_are_left_out_or_refused_by_whatever_name() {
    let tree = TestTree::new().file("a", "").file("d/state/x", "").file("z", "");
    let local = Local::of(&tree);
    let stat = std::fs::metadata(local.root.join("d/state")).expect("look");
    let identity = Identity { device: stat.dev(), inode: stat.ino() };
    let source = |guarded| LocalSource::new(local.open(), local.walking(&[guarded]));
    assert_eq!(
        keys(&source(Guarded::LeaveOut(identity))),
        [".", "a", "d/", "left out d/state/: it holds vidimus's own state", "z"]
    );
    let forbidden = source(Guarded::Forbidden(identity));
    let last = forbidden.list(&everything()).expect("begin").last().expect("it has items");
    assert_eq!(last.expect_err("the listing is refused").kind, ErrorKind::Refused);
}

#[test]
fn a_listing_that_nobody_reads_on_ends() {
    let tree =
        (0..2_000).fold(TestTree::new(), |tree, number| tree.file(format!("d{number}/f"), ""));
    let local = Local::of(&tree);
    let source = local.source();
    for taken in [0, 1, 700] {
        let listing = source.list(&everything()).expect("begin");
        assert_eq!(listing.take(taken).count(), taken);
    }
    // Its thread holds the pool until it ends.
    drop(source);
    assert_eq!(listed(&local.source()).len(), 4_001);
}

#[test]
fn listing_and_looking_touch_nothing() {
    let local = Local::of(&TestTree::new().file("d/a", "content").symlink("l", "d"));
    let before = Snapshot::read(&local.root);
    listed(&local.source());
    listed(&local.target(Durability::Batch));
    crate::fixture::content(&local.source(), "d/a");
    assert_untouched(&before, &local.root);
}

/// The source's listing with these rules of directories.
fn with_rules(local: &Local, directories: DirectoryRules, deletes: bool) -> Vec<String> {
    let spec = FilterSpec { directories, ..FilterSpec::default() };
    let filter = Filter::try_from(spec).expect("a filter");
    let filter = Arc::new(if deletes { filter.deleting_excluded() } else { filter });
    told(&list_with(
        &local.source(),
        &ListOptions { filter, only: None, key_space: KeySpace::Tree },
    ))
}

#[test]
fn a_cache_is_listed_without_what_it_holds() {
    let tag = "Signature: 8a477f597d28d172789f06886806bc55";
    let tree = TestTree::new()
        .file("cache/CACHEDIR.TAG", format!("{tag}\n# made by a test"))
        .file("cache/deep/x", "")
        .file("false/CACHEDIR.TAG", &tag[1..])
        .file("false/x", "")
        .dir("none/CACHEDIR.TAG")
        .symlink("none/x", "x")
        .fifo("pipe/CACHEDIR.TAG");
    let local = Local::of(&tree);
    let rules = || DirectoryRules { exclude_caches: true, ..DirectoryRules::default() };
    let expected = [
        ".",
        "cache/",
        "excluded cache/",
        "cache/CACHEDIR.TAG",
        "false/",
        "false/CACHEDIR.TAG",
        "false/x",
        "none/",
        "none/CACHEDIR.TAG/",
        "none/x",
        "pipe/",
        "pipe/CACHEDIR.TAG",
    ];
    assert_eq!(with_rules(&local, rules(), false), expected);
    let absent: Vec<_> = expected.into_iter().filter(|told| *told != "excluded cache/").collect();
    assert_eq!(with_rules(&local, rules(), true), absent);
}

#[test]
fn a_directory_that_holds_a_name_is_listed_with_that_alone() {
    let tree = TestTree::new()
        .file("a/.nobackup", "")
        .file("a/x", "")
        .symlink("b/skip", "nowhere")
        .file("b/y", "")
        .file("c/z", "");
    let local = Local::of(&tree);
    let exclude_if_present = vec![".nobackup".to_owned(), "skip".to_owned()];
    let rules = DirectoryRules { exclude_if_present, ..DirectoryRules::default() };
    let expected =
        [".", "a/", "excluded a/", "a/.nobackup", "b/", "excluded b/", "b/skip", "c/", "c/z"];
    assert_eq!(with_rules(&local, rules, false), expected);
}
