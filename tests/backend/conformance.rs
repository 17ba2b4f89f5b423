//! The suite that every backend passes: written against the traits alone.

use crate::common::content::bytes;
use crate::fixture::{
    Fixture, cause, content, entry, everything, file, fill, key, keys, link, list_with, look, put,
    read, stage, staged, told,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use vidimus::backend::{KeySpace, ListItem, ListOptions, Precondition, ReadError};
use vidimus::filter::{Filter, Rule};
use vidimus::model::entry::Completeness;
use vidimus::model::{
    Cause, DeviceNumber, Digest, Entry, EntryKind, Extras, Metadata, SpecialKind, Timestamp,
};

/// Backends take the digest as it is told.
const ANY_DIGEST: Digest = Digest([7; 32]);

/// A promise by name, who makes it, and what holds a place to it.
type Promise = (&'static str, Whose, fn(&Fixture));

/// Who makes a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// Every backend.
    All,
    /// File systems alone: what is written is put in place by a step of its own, a directory is an
    /// entry by itself, and a name is a leaf or a directory.
    FileSystems,
    /// Stores alone: what is written stands at once, and a key is no path.
    Stores,
}

use Whose::{All, FileSystems, Stores};

/// What backends promise.
const PROMISES: &[Promise] = &[
    ("an empty place lists as its root", All, empty_lists_as_its_root),
    ("a listing is whole and in byte order of keys", All, listings_are_in_key_order),
    ("names are any bytes", FileSystems, names_are_any_bytes),
    ("an entry is listed as it stands", FileSystems, entries_are_listed_as_they_stand),
    ("an object's stamp is listed as it stands", Stores, stamps_are_listed_as_they_stand),
    ("a count is of what a listing tells", All, counts_are_of_what_is_listed),
    ("excluded directories are not entered", All, filters_prune),
    ("one name alone can be listed", All, only_one_name),
    ("a name is told as a listing of all tells it", All, names_are_told_as_listed),
    ("a file of any size is read whole, in chunks that fit", All, files_are_read_whole),
    ("a sink's refusal is told apart", All, sinks_may_refuse),
    ("a file other than the one listed is not read as it", All, replaced_files_are_not_read),
    ("a look tells what stands, or that nothing does", All, looks_tell),
    ("a directory's names are told as they stand", All, names_in_a_directory_are_told),
    (
        "a file is not there before it is published, and then whole",
        FileSystems,
        publishing_is_atomic,
    ),
    ("a file is not there before it is finished, and then whole", Stores, finishing_is_atomic),
    ("what is dropped unfinished leaves nothing", All, dropped_stages_leave_nothing),
    ("what is dropped unpublished leaves nothing", FileSystems, dropped_files_leave_nothing),
    (
        "a new directory is not there before it is published, and then whole",
        FileSystems,
        directories_are_whole,
    ),
    ("a directory that is dropped leaves nothing", FileSystems, dropped_directories_leave_nothing),
    ("too few and too many bytes are refused", All, short_writes_are_refused),
    ("what turned up meanwhile is not overwritten", FileSystems, new_entries_overwrite_nothing),
    ("a leaf that turned up meanwhile is not overwritten", All, new_leaves_overwrite_no_leaf),
    ("a leaf replaces a leaf", All, leaves_replace_leaves),
    ("a directory replaces a leaf", All, directories_replace_leaves),
    ("a directory replaces no directory", FileSystems, directories_replace_no_directory),
    ("a leaf replaces an empty directory", All, leaves_replace_empty_directories),
    ("a leaf replaces no directory that holds something", FileSystems, leaves_replace_no_full_ones),
    ("metadata is kept", All, metadata_is_kept),
    ("a special file is kept", All, special_files_are_kept),
    ("what is removed is gone, and stays so", All, what_is_removed_is_gone),
    ("what is removed is what was listed", FileSystems, removal_is_of_what_was_listed),
    ("only temporaries are swept", FileSystems, only_temporaries_are_swept),
    ("barriers succeed", All, barriers_succeed),
    ("each key stands for itself", Stores, each_key_stands_for_itself),
    ("entries are removed together as singly", All, entries_are_removed_together),
];

/// Holds a backend to every promise that its kind makes, each in an empty place of its own. What a
/// certain one is known not to keep is `but`, by the promise's name.
pub(crate) fn conformance(make: impl Fn() -> Fixture, but: &[&str]) {
    let known = |name: &&str| PROMISES.iter().any(|(promise, ..)| promise == name);
    assert!(but.iter().all(known), "no such promise among {but:?}");
    let mut broken = Vec::new();
    for (name, whose, promise) in PROMISES.iter().filter(|(name, ..)| !but.contains(name)) {
        let fixture = make();
        let makes = match whose {
            All => true,
            FileSystems => !fixture.target.capabilities().atomic_put,
            Stores => fixture.target.capabilities().atomic_put,
        };
        if makes && catch_unwind(AssertUnwindSafe(|| promise(&fixture))).is_err() {
            broken.push(name);
        }
    }
    assert!(broken.is_empty(), "broken promises: {broken:#?}");
}

fn empty_lists_as_its_root(Fixture { source, target, .. }: &Fixture) {
    assert_eq!(keys(&**source), ["."]);
    assert_eq!(keys(&**target), ["."]);
    assert!(look(&**source, "").key.is_root());
}

fn counts_are_of_what_is_listed(Fixture { source, target, .. }: &Fixture) {
    fill(&**target, &[b"a/", b"a/b/", b"a/b/file", b"a-b", b"e/", b"x/", b"x/y.o", b"z"]);
    let excluding = ListOptions {
        filter: Arc::new(Filter::new(&[Rule::Exclude("*.o".into())], None, None).unwrap()),
        ..everything()
    };
    for options in [everything(), excluding] {
        let (mut counted, mut listed) = (Vec::new(), Vec::new());
        let is_whole = source.count(&options, &mut |kind, size| {
            counted.push((kind, size));
            true
        });
        assert!(is_whole.expect("count"));
        for item in list_with(&**source, &options) {
            let ListItem::Entry(entry) = item else { panic!("{item:?}") };
            listed.push((entry.kind, entry.size()));
        }
        // In any order: nobody asks which is which.
        let in_order = |(kind, size): &(EntryKind, u64)| (*kind == EntryKind::File, *size);
        counted.sort_by_key(in_order);
        listed.sort_by_key(in_order);
        assert_eq!(counted, listed);
    }
    let mut taken = 0;
    let is_whole = source.count(&everything(), &mut |_, _| {
        taken += 1;
        taken < 3
    });
    assert!(!is_whole.expect("count") && taken == 3, "nobody wants more than {taken}");
}

fn names_are_told_as_listed(Fixture { source, target, .. }: &Fixture) {
    fill(&**target, &[b"a/", b"a/b/", b"a/b/c", b"a-b", b"e/", b"x/", b"x/y.o", b"x/z.o/"]);
    let options = ListOptions {
        filter: Arc::new(Filter::new(&[Rule::Exclude("*.o".into())], None, None).unwrap()),
        ..everything()
    };
    let name = |name: &[u8]| told(&source.list_name(name, &options).expect("list a name"));
    let all = list_with(&**source, &everything());
    assert_eq!(all.len(), 9);
    for item in &all {
        let items = source.list_name(item.key().trimmed(), &options).expect("list a name");
        let (ListItem::Entry(one), ListItem::Entry(other)) = (item, &items[0]) else {
            panic!("{item:?}, {items:?}")
        };
        assert_eq!(one, other);
    }
    assert_eq!(name(b"a"), ["a/", "a/b/"]);
    assert_eq!(name(b"a/b/c"), ["a/b/c"]);
    assert_eq!(name(b"e"), ["e/"]);
    // Whatever the filter says of it, and only what it takes of what lies in it.
    assert_eq!(name(b"x/y.o"), ["x/y.o"]);
    assert_eq!(name(b"x"), ["x/"]);
    for nothing in [&b"b"[..], b"a/b/c/d", b"a-", b"e/f"] {
        assert!(name(nothing).is_empty());
    }
}

fn names_in_a_directory_are_told(Fixture { source, target, .. }: &Fixture) {
    let names = |directory: &[u8]| {
        let mut names = source.names(&key(directory)).expect("tell names");
        names.sort_unstable();
        names.into_iter().map(|name| String::from_utf8(name).expect("text")).collect::<Vec<_>>()
    };
    assert!(names(b"").is_empty() && names(b"d/").is_empty());
    fill(&**target, &[b"d/", b"d/b", b"d/deep/", b"d/deep/x", b"d/deep/y", b"d-a", b"e/"]);
    assert_eq!(names(b"d/"), ["b", "deep"]);
    assert_eq!(names(b""), ["d", "d-a", "e"]);
    assert!(names(b"e/").is_empty());
    fill(&**target, &[b"e/.hidden"]);
    assert_eq!(names(b"e/"), [".hidden"]);
}

fn listings_are_in_key_order(Fixture { source, target, .. }: &Fixture) {
    let made: [&[u8]; 11] = [
        b"a/",
        b"a/-",
        b"a/x",
        b"a/b/",
        b"a/b/c",
        b"a-b",
        b"a.c",
        b"a0",
        b"e/",
        b"a!",
        b"\xc3\xa9",
    ];
    fill(&**target, &made);
    let mut sorted = made.to_vec();
    sorted.sort_unstable();
    let mut expected = vec![".".to_owned()];
    expected.extend(sorted.into_iter().map(|name| key(name).to_string()));
    assert_eq!(expected[1..4], ["a!", "a-b", "a.c"]);
    assert_eq!(keys(&**source), expected);
    assert_eq!(keys(&**target), expected);
}

fn names_are_any_bytes(Fixture { source, target, .. }: &Fixture) {
    fill(&**target, &[b"a", b"a\xff", b"b"]);
    assert_eq!(keys(&**source), [".", "a", "a\\xff", "b"]);
    assert_eq!(content(&**target, b"a\xff"), b"a\xff");
}

fn stamps_are_listed_as_they_stand(Fixture { source, target, .. }: &Fixture) {
    fill(&**target, &[b"d/", b"d/f", b"g"]);
    target
        .make_link(&link("d/l", b"nowhere/\xff"), None, Precondition::Absent)
        .expect("make a link");
    for side in [&**source, &**target] {
        for item in list_with(side, &everything()) {
            let vidimus::backend::ListItem::Entry(listed) = item else { panic!("{item:?}") };
            assert_eq!((listed.completeness, listed.link), (Completeness::ListingOnly, None));
            assert_eq!(look(side, listed.key.as_bytes()).stamp, listed.stamp);
        }
    }
    assert_eq!(look(&**source, "d/l").link.as_deref(), Some(&b"nowhere/\xff"[..]));
}

fn entries_are_listed_as_they_stand(Fixture { source, target, .. }: &Fixture) {
    fill(&**target, &[b"d/", b"d/f", b"g"]);
    target
        .make_link(&link("d/l", b"nowhere/\xff"), None, Precondition::Absent)
        .expect("make a link");
    for side in [&**source, &**target] {
        for item in list_with(side, &everything()) {
            let vidimus::backend::ListItem::Entry(listed) = item else { panic!("{item:?}") };
            assert_eq!(look(side, listed.key.as_bytes()), listed);
        }
    }
    assert_eq!(look(&**source, "d/l").link.as_deref(), Some(&b"nowhere/\xff"[..]));
    assert_eq!(look(&**source, "d/f").stamp.size, 3);
}

fn filters_prune(Fixture { source, target, .. }: &Fixture) {
    fill(&**target, &[b"a.o", b"b", b"d/", b"d/e/", b"d/e/f", b"k/", b"k/d/", b"k/d/x", b"k/y.o"]);
    let rules = [Rule::Exclude("/d/".into()), Rule::Exclude("*.o".into())];
    let filter = Arc::new(Filter::new(&rules, None, None).expect("a filter"));
    let options = ListOptions { filter, only: None, key_space: KeySpace::Tree };
    assert_eq!(told(&list_with(&**source, &options)), [".", "b", "k/", "k/d/", "k/d/x"]);
    // Sizes are the policy's business: an entry that a listing left out could not be told from one
    // that is missing.
    let filter = Arc::new(Filter::new(&[], Some(1_000), None).expect("a filter"));
    let options = ListOptions { filter, only: None, key_space: KeySpace::Tree };
    assert_eq!(told(&list_with(&**source, &options)), keys(&**source));
}

fn only_one_name(Fixture { source, target, .. }: &Fixture) {
    fill(&**target, &[b"a", b"b", b"b0", b"c/", b"c/b"]);
    let only = |name: &[u8]| ListOptions { only: Some(name.into()), ..everything() };
    assert_eq!(told(&list_with(&**source, &only(b"b"))), ["b"]);
    assert_eq!(told(&list_with(&**source, &only(b"missing"))), [""; 0]);
}

fn files_are_read_whole(Fixture { source, target, .. }: &Fixture) {
    const BUFFER: usize = 4_096;
    for size in [0, 1, BUFFER - 1, BUFFER, BUFFER + 1, 3 * BUFFER, 3 * BUFFER + 7] {
        let name = format!("f{size}");
        let whole = bytes(size);
        put(&**target, &name, &whole, Precondition::Absent).expect("put a file");
        let listed = look(&**source, &name);
        for side in [&**source, &**target] {
            let chunks = read(side, &listed, BUFFER).expect("read a file");
            assert!(chunks.concat() == whole, "a file of {size} bytes");
            assert!(chunks.iter().all(|chunk| chunk.len() <= BUFFER));
            if size <= BUFFER {
                assert_eq!(chunks.len(), 1, "a file of {size} bytes fits one chunk");
            }
        }
    }
}

fn sinks_may_refuse(Fixture { source, target, .. }: &Fixture) {
    fill(&**target, &[b"f"]);
    let listed = look(&**source, "f");
    let refused = source.read(&listed, &mut [0; 10], &mut |_| Err(Cause::Stopped));
    assert!(matches!(refused, Err(ReadError::Sink(Cause::Stopped))), "{refused:?}");
}

fn replaced_files_are_not_read(Fixture { source, target, .. }: &Fixture) {
    fill(&**target, &[b"f"]);
    let listed = look(&**source, "f");
    for other in [&b"g"[..], b"longer", b""] {
        put(&**target, "f", other, Precondition::Leaf).expect("replace a file");
        for buffer in [1, 100] {
            let read = read(&**source, &listed, buffer);
            assert!(matches!(read, Err(ReadError::Changed)), "{read:?}");
        }
    }
    target.remove(&look(&**target, "f")).expect("remove a file");
    let read = read(&**source, &listed, 100);
    assert!(matches!(read, Err(ReadError::Source(Cause::Vanished))), "{read:?}");
}

fn looks_tell(Fixture { source, target, .. }: &Fixture) {
    fill(&**target, &[b"d/", b"d/f"]);
    for side in [&**source, &**target] {
        assert_eq!(look(side, "d/").kind, EntryKind::Directory);
        assert_eq!(look(side, "d/f").kind, EntryKind::File);
        for missing in ["x", "x/", "d/x", "d/x/", "x/y", "d/f/y"] {
            let found = side.look(&key(missing));
            assert!(matches!(found, Ok(None)), "{missing}: {found:?}");
        }
    }
}

fn publishing_is_atomic(Fixture { source, target, .. }: &Fixture) {
    fill(&**target, &[b"d/", b"d/old"]);
    for (name, place, before) in
        [("d/new", Precondition::Absent, None), ("d/old", Precondition::Leaf, Some(&b"d/old"[..]))]
    {
        let stands = || {
            let found = source.look(&key(name)).expect("look");
            assert_eq!(found.map(|_| content(&**source, name)).as_deref(), before);
        };
        let new = bytes(100_000);
        let listed = keys(&**source);
        let stage = stage(&**target, &file(name, &new), &new, place).expect("stage");
        stands();
        let wanted = target.achievable_metadata(&file(name, &new).metadata, EntryKind::File, None);
        let mut staged = stage.finish(&(&wanted).into(), &ANY_DIGEST).expect("finish");
        stands();
        // What a listing says of a file under way is that it is none of the tree.
        let under_way = keys(&**target);
        assert!(under_way.iter().filter(|key| !key.starts_with("leftover ")).eq(&listed));
        assert!(staged.publish().expect("publish").is_none());
        drop(staged);
        assert!(content(&**source, name) == new);
        assert_eq!(look(&**source, name).metadata, wanted);
    }
    assert_eq!(keys(&**target), [".", "d/", "d/new", "d/old"]);
}

fn dropped_stages_leave_nothing(Fixture { target, .. }: &Fixture) {
    fill(&**target, &[b"f", b"e/"]);
    for (name, place) in [
        ("n", Precondition::Absent),
        ("f", Precondition::Leaf),
        ("e", Precondition::EmptyDirectory),
    ] {
        drop(stage(&**target, &file(name, b"xy"), b"x", place).expect("stage"));
    }
    assert_eq!(keys(&**target), [".", "e/", "f"]);
    assert_eq!(content(&**target, "f"), b"f");
}

fn dropped_files_leave_nothing(Fixture { target, .. }: &Fixture) {
    fill(&**target, &[b"f", b"e/"]);
    for (name, place) in [
        ("n", Precondition::Absent),
        ("f", Precondition::Leaf),
        ("e", Precondition::EmptyDirectory),
    ] {
        drop(staged(&**target, &file(name, b"xy"), b"xy", place).expect("stage"));
    }
    assert_eq!(keys(&**target), [".", "e/", "f"]);
    assert_eq!(content(&**target, "f"), b"f");
}

fn finishing_is_atomic(Fixture { source, target, .. }: &Fixture) {
    fill(&**target, &[b"d/", b"d/old"]);
    // One that is sent as it is, and one that is sent in parts.
    for size in [100_000, 17 << 20] {
        for (name, place) in [("d/new", Precondition::Absent), ("d/old", Precondition::Leaf)] {
            let before = source.look(&key(name)).expect("look");
            let new = bytes(size);
            let place = if before.is_some() { Precondition::Leaf } else { place };
            let stage = stage(&**target, &file(name, &new), &new, place).expect("stage");
            assert_eq!(source.look(&key(name)).expect("look"), before);
            let wanted =
                target.achievable_metadata(&file(name, &new).metadata, EntryKind::File, None);
            let mut staged = stage.finish(&(&wanted).into(), &ANY_DIGEST).expect("finish");
            assert!(staged.is_in_place());
            let found = look(&**source, name);
            assert_eq!((found.stamp, found.metadata), (staged.written().stamp, wanted));
            assert!(staged.publish().expect("publish").is_none());
            assert!(content(&**source, name) == new);
        }
    }
}

fn short_writes_are_refused(Fixture { target, .. }: &Fixture) {
    for wrong in [&b""[..], b"x", b"xyz"] {
        let refused = staged(&**target, &file("f", b"xy"), wrong, Precondition::Absent).map(drop);
        let written = wrong.len() as u64;
        assert!(
            matches!(&refused, Err(Cause::ShortWrite { written: found, expected: 2 }) if *found == written),
            "{refused:?}"
        );
    }
    assert_eq!(keys(&**target), ["."]);
}

fn directories_are_whole(Fixture { source, target, .. }: &Fixture) {
    fill(&**target, &[b"d/"]);
    let building = target.stage_directory(&key("d/n/")).expect("stage a directory");
    let new = bytes(100_000);
    let listed = file("d/n/f", &new);
    let wanted = target.achievable_metadata(&listed.metadata, EntryKind::File, None);
    let mut stage = building.stage(&listed).expect("stage a file in it");
    stage.write(&new).expect("write");
    let mut staged = stage.finish(&(&wanted).into(), &ANY_DIGEST).expect("finish the file");
    assert!(staged.publish().expect("publish the file").is_none());
    let file_written = staged.written();
    drop(staged);
    let link_written =
        building.make_link(&link("d/n/l", b"text"), None).expect("make a link in it");
    // What is dropped in it, or taken already, is no part of it.
    drop(building.stage(&file("d/n/dropped", b"x")).expect("stage"));
    let short = building
        .stage(&file("d/n/short", b"x"))
        .expect("stage")
        .finish(&(&wanted).into(), &ANY_DIGEST)
        .map(drop);
    assert_eq!(cause(short), "ShortWrite { written: 0, expected: 1 }");
    assert_eq!(cause(building.stage(&listed).map(drop)), "NameTaken");
    assert_eq!(cause(building.make_link(&link("d/n/f", b"x"), None)), "NameTaken");
    for name in ["d/n/..", "d/n/."] {
        assert_eq!(cause(building.stage(&file(name, b"x")).map(drop)), "IllegalName");
        assert_eq!(cause(building.make_link(&link(name, b"x"), None)), "IllegalName");
    }
    assert!(matches!(source.look(&key("d/n/")), Ok(None)));
    let mut staged = building.finish().expect("finish the directory");
    assert!(matches!(source.look(&key("d/n/")), Ok(None)));
    staged.publish().expect("publish the directory");
    drop(staged);
    assert_eq!(keys(&**target), [".", "d/", "d/n/", "d/n/f", "d/n/l"]);
    assert!(content(&**source, "d/n/f") == new);
    assert_eq!(look(&**source, "d/n/l").link.as_deref(), Some(&b"text"[..]));
    for (name, written) in [("d/n/f", file_written), ("d/n/l", link_written)] {
        let found = look(&**source, name);
        assert_eq!(found.stamp, written.stamp, "publishing changes no stamp: {name}");
        assert_eq!(found.metadata, written.metadata);
    }
    assert_eq!(look(&**source, "d/n/f").metadata, wanted);
}

fn dropped_directories_leave_nothing(Fixture { target, .. }: &Fixture) {
    for finished in [false, true] {
        let building = target.stage_directory(&key("n/")).expect("stage a directory");
        for name in ["n/a", "n/b"] {
            let listed = file(name, b"");
            let wanted = target.achievable_metadata(&listed.metadata, EntryKind::File, None);
            let stage = building.stage(&listed).expect("stage");
            stage
                .finish(&(&wanted).into(), &ANY_DIGEST)
                .expect("finish")
                .publish()
                .expect("publish");
        }
        building.make_link(&link("n/l", b"a"), None).expect("make a link");
        if finished {
            drop(building.finish().expect("finish"));
        } else {
            drop(building);
        }
        assert_eq!(keys(&**target), ["."], "finished: {finished}");
    }
}

fn new_entries_overwrite_nothing(Fixture { target, .. }: &Fixture) {
    let mut late =
        staged(&**target, &file("late", b"mine"), b"mine", Precondition::Absent).expect("stage");
    fill(&**target, &[b"d/", b"f", b"late"]);
    target.make_link(&link("l", b"text"), None, Precondition::Absent).expect("make a link");
    assert_eq!(cause(late.publish()), "NameTaken");
    drop(late);
    for name in ["d", "f", "l"] {
        let directory = key(format!("{name}/"));
        assert_eq!(
            cause(put(&**target, name, b"mine", Precondition::Absent)),
            "NameTaken",
            "{name}"
        );
        let made = target.make_link(&link(name, b"mine"), None, Precondition::Absent);
        assert_eq!(cause(made), "NameTaken", "{name}");
        let made = target.make_directory(&directory, Precondition::Absent);
        assert_eq!(cause(made), "NameTaken", "{name}");
        let building = target.stage_directory(&directory).expect("stage a directory");
        let mut staged = building.finish().expect("finish");
        assert_eq!(cause(staged.publish()), "NameTaken", "{name}");
    }
    assert_eq!(keys(&**target), [".", "d/", "f", "l", "late"]);
    assert_eq!(content(&**target, "f"), b"f");
    assert_eq!(content(&**target, "late"), b"late");
    assert_eq!(look(&**target, "l").link.as_deref(), Some(&b"text"[..]));
}

fn new_leaves_overwrite_no_leaf(Fixture { target, .. }: &Fixture) {
    fill(&**target, &[b"f"]);
    target.make_link(&link("l", b"text"), None, Precondition::Absent).expect("make a link");
    for name in ["f", "l"] {
        assert_eq!(
            cause(put(&**target, name, b"mine", Precondition::Absent)),
            "NameTaken",
            "{name}"
        );
        let made = target.make_link(&link(name, b"mine"), None, Precondition::Absent);
        assert_eq!(cause(made), "NameTaken", "{name}");
    }
    assert_eq!(content(&**target, "f"), b"f");
    assert_eq!(look(&**target, "l").link.as_deref(), Some(&b"text"[..]));
}

fn leaves_replace_leaves(Fixture { target, .. }: &Fixture) {
    put(&**target, "f", b"file", Precondition::Absent).expect("put");
    put(&**target, "f", b"other", Precondition::Leaf).expect("a file over a file");
    assert_eq!(content(&**target, "f"), b"other");
    target.make_link(&link("f", b"one"), None, Precondition::Leaf).expect("a link over a file");
    target.make_link(&link("f", b"two"), None, Precondition::Leaf).expect("a link over a link");
    assert_eq!(look(&**target, "f").link.as_deref(), Some(&b"two"[..]));
    put(&**target, "f", b"again", Precondition::Leaf).expect("a file over a link");
    assert_eq!(content(&**target, "f"), b"again");
    assert_eq!(keys(&**target), [".", "f"]);
}

fn directories_replace_leaves(Fixture { target, .. }: &Fixture) {
    fill(&**target, &[b"f", b"d/", b"d/x"]);
    target.make_link(&link("l", b"d"), None, Precondition::Absent).expect("make a link");
    let mut aside = Vec::new();
    for name in ["f/", "l/"] {
        let made = target.make_directory(&key(name), Precondition::Leaf);
        aside.extend(made.expect("a directory over a leaf"));
        fill(&**target, &[format!("{name}x").as_bytes()]);
    }
    let kept = target.look(&aside[0]).expect("look").expect("it was set aside");
    assert_eq!(kept.stamp.size, 1);
    for key in &aside {
        target.remove_set_aside(key).expect("remove what was set aside");
    }
    assert_eq!(keys(&**target), [".", "d/", "d/x", "f/", "f/x", "l/", "l/x"]);
}

fn directories_replace_no_directory(Fixture { target, .. }: &Fixture) {
    fill(&**target, &[b"d/", b"d/x"]);
    // It isn't a leaf that stands there.
    assert_eq!(cause(target.make_directory(&key("d/"), Precondition::Leaf)), "TargetChanged");
    assert_eq!(keys(&**target), [".", "d/", "d/x"]);
}

fn leaves_replace_empty_directories(Fixture { target, .. }: &Fixture) {
    fill(&**target, &[b"e/", b"g/"]);
    put(&**target, "e", b"file", Precondition::EmptyDirectory).expect("a file over a directory");
    target
        .make_link(&link("g", b"t"), None, Precondition::EmptyDirectory)
        .expect("a link over a directory");
    assert_eq!(keys(&**target), [".", "e", "g"]);
    assert_eq!(content(&**target, "e"), b"file");
}

fn leaves_replace_no_full_ones(Fixture { target, .. }: &Fixture) {
    fill(&**target, &[b"d/", b"d/x"]);
    let file = put(&**target, "d", b"file", Precondition::EmptyDirectory);
    assert_eq!(cause(file), "DirectoryStands");
    let made = target.make_link(&link("d", b"t"), None, Precondition::EmptyDirectory);
    assert_eq!(cause(made), "DirectoryStands");
    for place in [Precondition::Absent, Precondition::Leaf] {
        assert!(put(&**target, "d", b"file", place).is_err(), "{place:?}");
        assert!(target.make_link(&link("d", b"t"), None, place).is_err(), "{place:?}");
    }
    assert_eq!(keys(&**target), [".", "d/", "d/x"]);
}

fn metadata_is_kept(Fixture { source, target, .. }: &Fixture) {
    fill(&**target, &[b"d/", b"d/f"]);
    target.make_link(&link("d/l", b"text"), None, Precondition::Absent).expect("make a link");
    assert_eq!(look(&**source, "d/l").metadata.mtime, link("", b"").metadata.mtime);
    let times = [(1_000_000_000, 1), (-1, 999_999_999), (-1_000_000_000, 0), (0, 0)];
    for (mode, (seconds, nanos)) in [0o600, 0o755, 0o444, 0o777].into_iter().zip(times) {
        // Children first: what happens in a directory changes its time.
        for (name, kind) in [
            ("d/f", EntryKind::File),
            ("d/l", EntryKind::Symlink),
            ("d/", EntryKind::Directory),
            ("", EntryKind::Directory),
        ] {
            let stands = look(&**target, name).metadata;
            let mtime = Timestamp { seconds, nanos };
            let wanted =
                target.achievable_metadata(&Metadata { mode, mtime, ..stands }, kind, None);
            target
                .set_metadata(&key(name), kind, &(&wanted).into(), Precondition::Leaf)
                .expect("set metadata");
            let found = look(&**source, name).metadata;
            let mode = if kind == EntryKind::Symlink { found.mode } else { wanted.mode };
            assert_eq!(found, Metadata { mode, ..wanted }, "{name:?}");
        }
    }
    let mut wanted = look(&**target, "d/f").metadata;
    wanted.mtime = Timestamp { seconds: -5, nanos: 5 };
    let old = vidimus::model::Entry { metadata: wanted, ..file("d/old", b"x") };
    let mut old = staged(&**target, &old, b"x", Precondition::Absent).expect("stage");
    assert!(old.publish().expect("publish").is_none());
    assert_eq!(look(&**source, "d/old").metadata, wanted);
}

fn special_files_are_kept(Fixture { source, target, .. }: &Fixture) {
    fill(&**target, &[b"d/", b"d/f"]);
    let mut kinds = vec![(SpecialKind::Fifo, None), (SpecialKind::Socket, None)];
    if target.capabilities().devices {
        let device = |major, minor| Some(DeviceNumber { major, minor });
        kinds.push((SpecialKind::CharacterDevice, device(1, 3)));
        kinds.push((SpecialKind::BlockDevice, device(8, 300)));
    }
    for (number, (kind, device)) in kinds.into_iter().enumerate() {
        let kind = EntryKind::Special(kind);
        let extras = Extras { device, ..Extras::default() }.boxed();
        for (name, place) in [
            (format!("d/{number}"), Precondition::Absent),
            // In the place of a file, and of another special file.
            ("d/f".to_owned(), Precondition::Leaf),
        ] {
            let wanted = Entry { extras: extras.clone(), ..entry(&name, kind, 0) };
            let intended = &wanted.metadata;
            target.make_special(&wanted, &intended.into(), place).expect("make a special file");
            let found = look(&**source, &name);
            assert_eq!((found.kind, found.device()), (kind, device), "{name}");
            assert_eq!(found.metadata, wanted.metadata, "{name}");
            // Some stores know no conditions.
            if !target.capabilities().remote {
                let again = target.make_special(&wanted, &intended.into(), Precondition::Absent);
                assert!(matches!(again, Err(Cause::NameTaken)), "{name}: {again:?}");
            }
            let mode = 0o4751;
            let wanted = Metadata { mode, mtime: Timestamp { seconds: -1, nanos: 5 }, ..*intended };
            let set = target.set_metadata(&key(&name), kind, &(&wanted).into(), Precondition::Leaf);
            set.expect("set metadata");
            assert_eq!(look(&**source, &name).metadata, wanted, "{name}");
        }
    }
    let listed = list_with(&**source, &everything());
    assert!(told(&listed).contains(&"d/0".to_owned()));
    target.remove(&look(&**target, "d/0")).expect("remove a special file");
    assert!(matches!(target.look(&key("d/0")), Ok(None)));
}

fn what_is_removed_is_gone(Fixture { target, .. }: &Fixture) {
    fill(&**target, &[b"d/", b"d/x", b"e/", b"f"]);
    target.make_link(&link("l", b"d"), None, Precondition::Absent).expect("make a link");
    for name in ["e/", "f", "l"] {
        let entry = look(&**target, name);
        target.remove(&entry).expect("remove what stands");
        target.remove(&entry).expect("it is gone already: as wanted");
        assert!(matches!(target.look(&key(name)), Ok(None)), "{name}");
    }
    assert_eq!(keys(&**target), [".", "d/", "d/x"]);
}

fn entries_are_removed_together(Fixture { target, .. }: &Fixture) {
    fill(&**target, &[b"d/", b"d/x", b"d/y & <z>", b"f", b"g"]);
    let entries = ["d/x", "d/y & <z>", "d/", "f"].map(|name| look(&**target, name));
    for together in [&entries[..], &entries[2..]] {
        for removed in target.remove_all(together) {
            removed.expect("removed, or gone already");
        }
    }
    assert_eq!(keys(&**target), [".", "g"]);
    assert!(target.remove_all(&[]).is_empty());
}

fn each_key_stands_for_itself(Fixture { source, target, .. }: &Fixture) {
    let made = ["./x", "/", "//", "a", "a/", "a/../b", "a//b", "a/b", "\u{1}\n %2e+?#", "..", "é"];
    let flat = ListOptions { key_space: KeySpace::Flat, ..everything() };
    list_with(&**source, &flat);
    list_with(&**target, &flat);
    for name in made {
        put(&**target, name, name.as_bytes(), Precondition::Absent).expect("put");
    }
    let mut sorted = made;
    sorted.sort_unstable();
    let listed: Vec<_> = list_with(&**source, &flat)
        .into_iter()
        .map(|item| match item {
            vidimus::backend::ListItem::Entry(entry) => entry,
            other => panic!("{other:?}"),
        })
        .filter(|entry| !entry.key.is_root())
        .collect();
    assert!(listed.iter().map(|entry| entry.key.as_bytes()).eq(sorted.map(str::as_bytes)));
    for entry in &listed {
        let found = look(&**source, entry.key.as_bytes());
        assert_eq!((found.kind, found.stamp), (EntryKind::File, entry.stamp));
        assert_eq!(read(&**source, entry, 100).expect("read").concat(), entry.key.as_bytes());
    }
    target.remove(&listed[0]).expect("remove");
    assert!(target.remove_all(&listed[1..]).into_iter().all(|removed| removed.is_ok()));
    assert!(list_with(&**source, &flat).iter().all(|item| item.key().is_root()));
}

fn removal_is_of_what_was_listed(Fixture { target, .. }: &Fixture) {
    fill(&**target, &[b"d/", b"d/x", b"g", b"h"]);
    let listed = |name: &str| look(&**target, name);
    assert_eq!(cause(target.remove(&listed("d/"))), "NotEmpty");
    let replaced = listed("g");
    put(&**target, "g", b"G", Precondition::Leaf).expect("replace");
    assert_eq!(cause(target.remove(&replaced)), "TargetChanged");
    let became_directory = listed("h");
    let aside = target.make_directory(&key("h/"), Precondition::Leaf).expect("replace");
    target.remove_set_aside(&aside.expect("it is kept")).expect("remove what was set aside");
    assert_eq!(cause(target.remove(&became_directory)), "TargetChanged");
    let was_directory = listed("h/");
    put(&**target, "h", b"h", Precondition::EmptyDirectory).expect("replace");
    assert_eq!(cause(target.remove(&was_directory)), "TargetChanged");
    assert_eq!(keys(&**target), [".", "d/", "d/x", "g", "h"]);
}

fn only_temporaries_are_swept(Fixture { target, .. }: &Fixture) {
    fill(&**target, &[b"d/", b"f", b".vidimus.0123", b".vidimus.0123456789abcdeg"]);
    for name in ["f", "d/", ".vidimus.0123", ".vidimus.0123456789abcdeg", ""] {
        assert!(target.sweep(&key(name)).is_err(), "{name:?}");
    }
    let before = [".", ".vidimus.0123", ".vidimus.0123456789abcdeg", "d/", "f"];
    assert_eq!(keys(&**target), before);
    // Temporaries of this very run, told by the listing.
    let under_way =
        staged(&**target, &file("d/n", b"x"), b"x", Precondition::Absent).expect("stage");
    let building = target.stage_directory(&key("d/m/")).expect("stage a directory");
    building.make_link(&link("d/m/l", b"text"), None).expect("make a link");
    let built = building.finish().expect("finish");
    for item in list_with(&**target, &everything()) {
        if let vidimus::backend::ListItem::Leftover(key) = item {
            target.sweep(&key).expect("sweep a temporary");
            target.sweep(&key).expect("it is gone already: as wanted");
        }
    }
    assert_eq!(keys(&**target), before);
    drop((under_way, built));
}

fn barriers_succeed(Fixture { target, .. }: &Fixture) {
    target.barrier().expect("nothing to sync");
    fill(&**target, &[b"d/", b"d/f"]);
    target.make_link(&link("l", b"d"), None, Precondition::Absent).expect("make a link");
    target.barrier().expect("sync what was made");
    let wanted = entry("d/f", EntryKind::File, 0).metadata;
    let wanted = target.achievable_metadata(&wanted, EntryKind::File, None);
    target
        .set_metadata(&key("d/f"), EntryKind::File, &(&wanted).into(), Precondition::Leaf)
        .expect("set metadata");
    target.remove(&look(&**target, "l")).expect("remove");
    target.barrier().expect("sync what was changed");
    assert_eq!(target.notices(), []);
}
