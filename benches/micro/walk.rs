//! Ways to walk one tree: each lists every entry below a directory in key order with its stat.
//!
//! The tree is the one that `WALK_TREE` names, or the Rust toolchain that built this.

use divan::Bencher;
use divan::counter::ItemsCount;
use rustix::fs::{AtFlags, StatxFlags, statx};
use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use vidimus::backend::local::{LocalSource, Root, Walking};
use vidimus::backend::{KeySpace, ListItem, ListOptions, Source as _};
use walkdir::WalkDir;

/// The tree, and how many entries it has.
static TREE: LazyLock<(PathBuf, u64)> = LazyLock::new(|| {
    let root = std::env::var_os("WALK_TREE").map_or_else(toolchain, PathBuf::from);
    let count = whole(&root);
    (root, count)
});

fn toolchain() -> PathBuf {
    let rustc = std::process::Command::new("rustc").args(["--print", "sysroot"]).output();
    let sysroot = rustc.expect("rustc is on the path").stdout;
    PathBuf::from(String::from_utf8_lossy(&sysroot).trim())
}

fn measure(bencher: Bencher<'_, '_>, way: impl Fn(&Path) -> u64) {
    let (root, count) = &*TREE;
    bencher.counter(ItemsCount::new(*count)).bench_local(|| assert_eq!(way(root), *count));
}

#[divan::bench(sample_count = 9, sample_size = 1)]
fn walkdir_whole(bencher: Bencher<'_, '_>) {
    measure(bencher, whole);
}

#[divan::bench(sample_count = 9, sample_size = 1)]
fn walkdir_by_level_and_handle(bencher: Bencher<'_, '_>) {
    measure(bencher, by_level);
}

/// 0 checkers are one a core.
#[divan::bench(args = [1, 0], sample_count = 9, sample_size = 1)]
fn vidimus_checkers(bencher: Bencher<'_, '_>, checkers: usize) {
    measure(bencher, |root| vidimus(root, checkers));
}

fn whole(root: &Path) -> u64 {
    let mut count = 0;
    for entry in WalkDir::new(root).sort_by_file_name() {
        let entry = entry.expect("a tree that is not being changed");
        entry.metadata().expect("a tree that is not being changed");
        count += 1;
    }
    count
}

fn by_level(root: &Path) -> u64 {
    fn level(directory: &File) -> u64 {
        let path = format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd());
        let mut count = 0;
        // Listed through the link that /proc shows, so that it has to be followed.
        for entry in WalkDir::new(path + "/.").min_depth(1).max_depth(1).sort_by_file_name() {
            let entry = entry.expect("a tree that is not being changed");
            let name = entry.file_name();
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            statx(directory, name, flags, StatxFlags::BASIC_STATS).expect("it was just listed");
            count += 1;
            if entry.file_type().is_dir() {
                let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::NOFOLLOW;
                let mode = rustix::fs::Mode::empty();
                let child = rustix::fs::openat(directory, name, flags, mode);
                count += level(&File::from(child.expect("it was just listed")));
            }
        }
        count
    }
    1 + level(&File::open(root).expect("the tree is there"))
}

fn vidimus(root: &Path, checkers: usize) -> u64 {
    let root = Arc::new(Root::open(root).expect("the tree is there"));
    let options = ListOptions { filter: Arc::default(), only: None, key_space: KeySpace::Tree };
    let listing =
        LocalSource::new(root, walking(checkers)).list(&options).expect("the tree is there");
    listing.filter(|item| matches!(item, Ok(ListItem::Entry(_)))).count() as u64
}

/// What a walker needs, with a pool of its own.
pub(crate) fn walking(checkers: usize) -> Walking {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(checkers).build();
    Walking {
        pool: Arc::new(pool.expect("threads can be started")),
        spool_dir: std::env::temp_dir(),
        guarded: [].into(),
    }
}
