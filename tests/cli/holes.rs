//! Holes: a copy has those of its source, and content is the same with and without them.

use crate::common::tree::{assert_whole, set_mtime_of};
use crate::common::{Environment, TestTree, assert_mirrored};
use rustix::fs::{FallocateFlags, fallocate};
use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const GIB: u64 = 1 << 30;

/// Files that are read at once, in order, and in ranges; holes at the beginning, in the middle and
/// at the end, and nothing but a hole.
fn sparse() -> TestTree {
    TestTree::new()
        .sparse("small", 100 * KIB, &[(40 * KIB, b"some")])
        .sparse("d/in order", 3 * MIB + 5, &[(0, b"begins"), (2 * MIB, b"ends")])
        .sparse("d/in ranges", 20 * MIB, &[(9 * MIB, b"a"), (20 * MIB - 1, b"z")])
        .sparse("d/new/hole", 9 * MIB + 1, &[])
        .sparse("d/new/small hole", 5000, &[])
        .file("dense", vec![7; 9 * MIB])
        .file("zeros", vec![0; 9 * MIB])
}

fn blocks(path: &Path) -> u64 {
    path.metadata().expect("look").blocks()
}

fn open(path: &Path) -> File {
    File::options().write(true).open(path).expect("open")
}

#[test]
fn a_copy_has_the_holes_of_its_source() {
    let env = Environment::new();
    sparse().write(&env.source);
    let run = env.mirrored(&[]);
    run.counts(&[("files_copied", 7), ("holes_lost", 0)]);
    assert_whole(&env.source, &env.target);
    // Holes are not moved.
    assert!(run.count("bytes_moved") < 19 * MIB as u64, "{}", run.count("bytes_moved"));
    env.mirrored(&[]).counts(&[("files_copied", 0), ("bytes_hashed", 0)]);
    env.verify(&[]).expect(0);
}

/// A copy that is adopted, or only read again, has its holes.
#[test]
fn holes_that_are_there_are_not_counted_as_lost() {
    let env = Environment::new();
    for root in [&env.source, &env.target] {
        sparse().write(root);
    }
    TestTree::new().file("d/in order", without_holes()).write(&env.target);
    for entry in walkdir::WalkDir::new(&env.root) {
        set_mtime_of(entry.expect("list").path(), 1_000_000_000, 0);
    }
    env.age();
    env.mirrored(&[]).counts(&[("files_adopted", 7), ("holes_lost", 1)]);
    env.age();
    std::fs::hard_link(env.target.join("small"), env.root.join("other name")).expect("link");
    std::fs::remove_file(env.root.join("other name")).expect("remove");
    env.mirrored(&[]).counts(&[("bytes_hashed", 204_800), ("holes_lost", 0)]);
}

/// The content of `d/in order`.
fn without_holes() -> Vec<u8> {
    let mut content = vec![0; 3 * MIB + 5];
    content[..6].copy_from_slice(b"begins");
    content[2 * MIB..][..4].copy_from_slice(b"ends");
    content
}

/// Digests other than BLAKE3 have to read every byte in order.
#[test]
fn holes_are_kept_with_further_digests_too() {
    let env = Environment::new();
    sparse().write(&env.source);
    env.mirrored(&["--digest", "sha256"]);
    assert_whole(&env.source, &env.target);
    env.verify(&[]).expect(0);
}

#[test]
fn a_file_of_a_tebibyte_takes_what_its_data_take() {
    let env = Environment::new();
    let file = File::create(env.source.join("image")).expect("create");
    for at in [0, 3 * GIB, 700 * GIB, 1024 * GIB - 9] {
        file.write_all_at(b"some data", at).expect("write");
    }
    drop(file);
    env.mirrored(&[]).counts(&[("files_copied", 1), ("bytes_copied", 1024 * GIB)]);
    let copy = env.target.join("image");
    assert_eq!(copy.metadata().expect("look").len(), 1024 * GIB);
    assert!(blocks(&copy) <= blocks(&env.source.join("image")), "{}", blocks(&copy));
    env.verify(&[]).expect(0);
    open(&copy).write_all_at(b"other", 700 * GIB).expect("write");
    env.verify(&[]).expect(3);
}

/// The content stays what it was: only its mtime shows that something happened.
#[test]
fn holes_that_are_gained_or_lost_are_followed() {
    let env = Environment::new();
    let tree = TestTree::new().file("gains", vec![0; 9 * MIB]).file("dense", vec![1; 9 * MIB]);
    tree.sparse("loses", 9 * MIB, &[(0, b"x")]).sparse("same", 9 * MIB, &[]).write(&env.source);
    env.age();
    env.mirrored(&[]);
    assert_whole(&env.source, &env.target);
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(open(&env.source.join("gains")), punch, 0, 4 << 20).expect("punch a hole");
    open(&env.source.join("loses")).write_all_at(&vec![0; 5 * MIB], MIB as u64).expect("write");
    open(&env.source.join("loses")).write_all_at(&vec![0; 9 * MIB - 1], 1).expect("write");
    for name in ["dense", "same"] {
        set_mtime_of(&env.source.join(name), 1_000_000_000, 5);
    }
    env.age();
    env.mirrored(&[]).counts(&[("files_copied", 2), ("metadata_updated", 2)]);
    assert_whole(&env.source, &env.target);
    env.mirrored(&[]).counts(&[("files_copied", 0), ("metadata_updated", 0)]);
}

#[test]
fn zeros_become_holes_on_request_and_holes_become_zeros() {
    let env = Environment::new();
    let tree = TestTree::new().file("zeros", vec![0; 9 * MIB]).file("small", vec![0; 64 * KIB]);
    let mut mixed = vec![0; 3 * MIB];
    mixed[2 * MIB] = 1;
    tree.file("mixed", mixed).sparse("hole", 9 * MIB, &[(1, b"x")]).write(&env.source);
    let used = || ["zeros", "small", "mixed", "hole"].map(|name| blocks(&env.target.join(name)));
    env.mirrored(&["--sparse"]);
    assert_mirrored(&env.source, &env.target);
    assert_eq!(used(), [0, 0, 8, 8]);
    env.verify(&[]).expect(0);
    std::fs::remove_dir_all(&env.target).expect("remove");
    env.lose_records();
    env.mirrored(&["--no-holes"]);
    assert_mirrored(&env.source, &env.target);
    let full = 9 * MIB as u64 / 512;
    assert_eq!(used(), [full, 128, 3 * MIB as u64 / 512, full]);
    let both = env.mirror(&["--sparse", "--no-holes"]).expect(2);
    both.names("--sparse and --no-holes can't be used together");
}

#[test]
fn holes_are_read_as_zeros_by_whoever_reads_a_file() {
    let env = Environment::new();
    sparse().write(&env.source);
    let copy = env.root.join("copy");
    for name in ["small", "d/in order", "d/in ranges"] {
        let path = env.source.join(name);
        let run = env.vidimus(&["cat", path.to_str().expect("UTF-8")]).expect(0);
        assert!(run.stdout.as_bytes() == std::fs::read(&path).expect("read"), "{name}");
    }
    let pair = [&env.source, &copy].map(|path| path.to_str().expect("UTF-8"));
    sparse().write(&copy);
    // Only the times differ.
    let run = env.vidimus(&["diff", "--content", pair[0], pair[1]]).expect(3);
    run.is_silent_about("content    ");
    open(&copy.join("d/in ranges")).write_all_at(b"b", 5 << 20).expect("write");
    let run = env.vidimus(&["diff", "--content", pair[0], pair[1]]).expect(3);
    run.names("content    d/in ranges");
}
