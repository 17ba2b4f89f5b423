//! Stores as fixtures: the one of this process, and real ones.

use crate::common::servers::{SeaweedFs, environment};
use crate::conformance::conformance;
use crate::fixture::{Fixture, content, everything, fill, look};
use crate::local::Local;
use crate::needs;
use crate::s3::{Fault, Kind, On, S3Server};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use vidimus::backend::object::memory::MemoryService;
use vidimus::backend::object::{
    BucketPrefix, ObjectSource, ObjectTarget, PrefixOptions, Store, StoreSettings, Stores,
};
use vidimus::backend::{Precondition, Source, Target as _};
use vidimus::limits::{LimitOptions, Memory};
use vidimus::location::Location;
use vidimus::model::{EntryKind, Key, Metadata, Progress, Stop, Timestamp};

/// An empty prefix of a bucket, with a marker for its root.
fn fixture(endpoint: &str, bucket: &str) -> Fixture {
    static PREFIX: AtomicU64 = AtomicU64::new(0);
    let prefix = PREFIX.fetch_add(1, Ordering::Relaxed);
    let typed = format!("s3://{bucket}/m{prefix}");
    let place = || Arc::new(connect(endpoint, &typed));
    let target = ObjectTarget::new(place());
    make_root(&target);
    let (source, target) = (Box::new(ObjectSource::new(place())), Box::new(target));
    Fixture { source, target, _keep: Box::new(()) }
}

fn make_root(target: &ObjectTarget) {
    let root = Metadata { mode: 0o755, uid: 0, gid: 0, mtime: Timestamp::default() };
    target
        .set_metadata(&Key::root(), EntryKind::Directory, &(&root).into(), Precondition::Leaf)
        .expect("make the root");
}

fn connect(endpoint: &str, typed: &str) -> BucketPrefix {
    let Location::S3(location) = Location::parse(OsStr::new(typed)).expect("a location") else {
        panic!("{typed} is an S3 location")
    };
    let variables: HashMap<_, _> = environment(endpoint).into_iter().collect();
    let settings = StoreSettings::resolve(&location, &|name| variables.get(name).cloned(), false);
    let settings = settings.expect("settings");
    let (limits, progress) = (LimitOptions::default(), Arc::<Progress>::default());
    let (stop, began) = (Stop::default(), Timestamp { seconds: 1_600_000_000, nanos: 0 });
    let spool_dir = std::env::temp_dir();
    let stores = Stores::new(&limits, 4, &progress, &stop, "token".into(), began, &spool_dir);
    stores.connect(&location, Some(&settings)).expect("connect")
}

#[test]
fn a_store_that_holds_every_key_keeps_every_promise() {
    let server = S3Server::start();
    let bucket = server.bucket("bucket");
    conformance(|| fixture(&server.endpoint(), "bucket"), &[]);
    assert!(bucket.uploads().is_empty(), "{:?}", bucket.uploads());
}

#[test]
fn the_store_in_memory_keeps_every_promise() {
    let service = MemoryService::default();
    let prefix = AtomicU64::new(0);
    conformance(
        || {
            let bucket = service.bucket("bucket", "key");
            let prefix = prefix.fetch_add(1, Ordering::Relaxed);
            let place = || {
                let store: Arc<dyn Store> = Arc::new(bucket.clone());
                Arc::new(BucketPrefix::new(PrefixOptions {
                    lock_store: Arc::clone(&store),
                    store,
                    prefix: format!("m{prefix}/").into_bytes().into(),
                    spool_dir: std::env::temp_dir().into(),
                    memory: Memory::new(64 << 20),
                    stop: Stop::default(),
                    token: "token".into(),
                    guess: Metadata::default(),
                }))
            };
            let target = ObjectTarget::new(place());
            make_root(&target);
            let source = Box::new(ObjectSource::new(place()));
            Fixture { source, target: Box::new(target), _keep: Box::new(()) }
        },
        &[],
    );
    assert!(service.bucket("bucket", "key").uploads().is_empty());
}

#[test]
fn a_store_that_knows_no_conditions_keeps_all_promises_that_need_none() {
    let server = S3Server::start();
    server.bucket("bucket");
    server.settings(|settings| settings.conditions = false);
    let but = ["a leaf that turned up meanwhile is not overwritten"];
    conformance(|| fixture(&server.endpoint(), "bucket"), &but);
}

#[test]
fn a_layer_around_a_store_keeps_every_promise() {
    let server = S3Server::start();
    server.bucket("bucket");
    conformance(|| fixture(&server.endpoint(), "bucket").layered(), &[]);
}

#[test]
fn a_store_copies_by_itself_through_layers_around_both_sides() {
    let server = S3Server::start();
    server.bucket("bucket");
    let [from, to] = [(); 2].map(|()| fixture(&server.endpoint(), "bucket"));
    fill(&*from.target, &[b"f"]);
    let (from, to) = (from.layered(), to.layered());
    assert!(to.target.can_copy_server_side(&*from.source));
    let listed = look(&*from.source, "f");
    server.forget();
    let copied = to.target.copy_server_side(&*from.source, &listed, Precondition::Absent);
    assert!(matches!(copied, Ok(Some(_))), "{copied:?}");
    assert_eq!(server.count(Kind::Copy), 1, "{:?}", server.log());
    assert_eq!((server.count(Kind::Get), server.count(Kind::Put)), (0, 0), "{:?}", server.log());
    assert_eq!(content(&*to.source, "f"), b"f");
    // What is of another kind is read and written.
    let here = Local::new();
    assert!(!to.target.can_copy_server_side(&here.source()));
    let not_copied = to.target.copy_server_side(&here.source(), &listed, Precondition::Absent);
    assert!(matches!(not_copied, Ok(None)), "{not_copied:?}");
}

/// Counts a place: how many of its entries are files, their bytes, and whether that is all.
fn counted(source: &dyn Source) -> (u64, u64, bool) {
    let (mut files, mut bytes) = (0, 0);
    let is_whole = source.count(&everything(), &mut |kind, size| {
        files += u64::from(kind == EntryKind::File);
        bytes += size;
        true
    });
    (files, bytes, is_whole.expect("count"))
}

#[test]
fn a_count_goes_through_all_pages_and_is_not_whole_where_one_is_missing() {
    let server = S3Server::start();
    let bucket = server.bucket("bucket");
    for n in 0..10 {
        bucket.put(&format!("m/d{}/{n}", n % 3), vec![0_u8; 100]);
    }
    server.settings(|settings| settings.page = 3);
    let source = ObjectSource::new(Arc::new(connect(&server.endpoint(), "s3://bucket/m")));
    server.forget();
    assert_eq!(counted(&source), (10, 1000, true));
    assert_eq!(server.count(Kind::List), 4, "a request a page, and no other: {:?}", server.log());
    server.fail(On::every(Kind::List).page(3), Fault::Error(403, "AccessDenied"));
    assert_eq!(counted(&source), (6, 600, false));
}

/// It lists in an order of its own, keeps nothing with markers, and takes keys for paths.
#[test]
fn seaweedfs_keeps_the_promises_that_it_can() {
    needs!(SeaweedFs::shared());
    let server = SeaweedFs::shared().expect("it is there");
    let bucket = server.bucket();
    let but = [
        "a listing is whole and in byte order of keys",
        "metadata is kept",
        "each key stands for itself",
    ];
    conformance(|| fixture(&server.endpoint(), &bucket), &but);
}
