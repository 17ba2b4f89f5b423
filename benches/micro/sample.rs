//! Keys, entries and rows of a tree that need not be there.

use vidimus::manifest::{Origin, Row, RunNumber, SourceNumber};
use vidimus::model::entry::Completeness;
use vidimus::model::stamp::Inode;
use vidimus::model::{Digest, Entry, EntryKind, ExtraDigests, Key, Metadata, Stamp, Timestamp};

/// Keys of `files` files, 100 to a directory, and of their directories, in key order.
pub(crate) fn keys(files: usize) -> Vec<Key> {
    let mut keys = vec![Key::root()];
    for at in 0..files {
        let directory = format!("usr/share/some/where/{:05}/", at / 100);
        if at % 100 == 0 {
            keys.push(Key::new(directory.as_bytes()));
        }
        keys.push(Key::new(format!("{directory}file-{:03}.dat", at % 100).into_bytes()));
    }
    keys
}

/// An entry as a listing shows it, long after its last change.
pub(crate) fn entry(key: &Key) -> Entry {
    let mtime = Timestamp { seconds: 1_700_000_000, nanos: 5 };
    let ctime = Timestamp { seconds: 1_700_000_009, nanos: 7 };
    Entry {
        key: key.clone(),
        kind: if key.is_directory() { EntryKind::Directory } else { EntryKind::File },
        stamp: Stamp::of_inode(8192, Inode { mtime, ctime, number: Some(1_234_567) }),
        metadata: Metadata { mode: 0o644, uid: 1000, gid: 1000, mtime },
        link: None,
        completeness: Completeness::Full,
        recorded: None,
        extras: None,
        born: None,
    }
}

/// The row of an entry that was copied.
pub(crate) fn row(key: &Key) -> Row {
    let Entry { key, kind, stamp, metadata, link, .. } = entry(key);
    Row {
        digest: (kind == EntryKind::File).then(|| Digest::of(key.as_bytes())),
        key,
        kind,
        extra: ExtraDigests::default(),
        origin: Origin::Proven,
        source: stamp,
        source_racy: false,
        target: stamp,
        metadata,
        link,
        run: RunNumber(1),
        from: SourceNumber::FIRST,
        verified_at: None,
        extras: None,
        looked: vidimus::model::AttributeKinds::ALL,
        born: None,
    }
}
