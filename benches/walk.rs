//! Ways to walk one tree, in turns: `cargo bench --bench walk -- DIRECTORY`.
//!
//! Each way lists every entry below a directory in key order with its stat; medians of nine rounds.
//! Without a directory it walks the Rust toolchain that built it.

use rustix::fs::{AtFlags, StatxFlags, statx};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use vidimus::backend::local::{LocalSource, Root, Walking};
use vidimus::backend::{ListItem, ListOptions, Source as _};
use walkdir::WalkDir;

const ROUNDS: usize = 9;

fn main() {
    let named = std::env::args_os().skip(1).find(|argument| !argument.as_bytes().starts_with(b"-"));
    let root = named.map_or_else(toolchain, PathBuf::from);
    let ways: [(&str, Way); 4] = [
        ("walkdir over the whole tree", whole),
        ("walkdir a level at a time, by handles", by_level),
        ("vidimus, 1 checker", |root| vidimus(root, 1)),
        ("vidimus, a checker a core", |root| vidimus(root, 0)),
    ];
    let mut times = vec![Vec::new(); ways.len()];
    let mut counts = vec![0; ways.len()];
    for round in 0..=ROUNDS {
        for (at, (_, way)) in ways.iter().enumerate() {
            let began = Instant::now();
            counts[at] = way(&root);
            // The first round warms the caches.
            if round > 0 {
                times[at].push(began.elapsed());
            }
        }
    }
    let mut out = std::io::stdout().lock();
    for (at, (name, _)) in ways.iter().enumerate() {
        times[at].sort_unstable();
        let median = times[at][ROUNDS / 2];
        let each = Duration::from_nanos(median.as_nanos() as u64 / counts[at].max(1));
        let line =
            format!("{name:40} {:>9} entries {median:>10.1?} {each:>8.0?} an entry", counts[at]);
        writeln!(out, "{line}").expect("stdout is open");
    }
}

type Way = fn(&Path) -> u64;

fn toolchain() -> PathBuf {
    let rustc = std::process::Command::new("rustc").args(["--print", "sysroot"]).output();
    let sysroot = rustc.expect("rustc is on the path").stdout;
    PathBuf::from(String::from_utf8_lossy(&sysroot).trim())
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
    let pool = rayon::ThreadPoolBuilder::new().num_threads(checkers).build();
    let walking = Walking {
        pool: Arc::new(pool.expect("threads can be started")),
        spool_dir: std::env::temp_dir(),
        guarded: [].into(),
    };
    let root = Arc::new(Root::open(root).expect("the tree is there"));
    let options = ListOptions { filter: Arc::default(), only: None };
    let listing = LocalSource::new(root, walking).list(&options).expect("the tree is there");
    listing.filter(|item| matches!(item, Ok(ListItem::Entry(_)))).count() as u64
}
