//! The choice of journal for a state's database.
//!
//! A write-ahead log is best: readers and the writer don't wait for each other, and a commit
//! doesn't wait for the disk. But its index is a file that all processes map into memory, and
//! writing to mapped memory on a full disk kills the process with `SIGBUS`. `SQLite` reserves space
//! beforehand by writing one byte in each 4 KiB (`unixShmMap` in its `os_unix.c`), which suffices
//! only if blocks are that large and are overwritten in place. On other file systems, such as ext4
//! with blocks of 1 KiB and Btrfs, the database uses a rollback journal, and nothing is mapped.

use rusqlite::Connection;
use rustix::fs::statfs;
use std::path::Path;

/// The size of the pages that `SQLite` reserves space for, in bytes.
const INDEX_PAGE: u64 = 4096;

/// How a database makes a transaction atomic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Journal {
    /// A write-ahead log (<https://sqlite.org/wal.html>).
    Log,
    /// A rollback journal, whose file remains and is empty when unused. A commit waits for the
    /// disk, and readers wait for a commit.
    Rollback,
}

impl Journal {
    /// Returns the journal for a database at `path`, by its file system; if that is unknown, the
    /// rollback journal, which works everywhere.
    pub(super) fn of(path: &Path) -> Self {
        statfs(path).map_or(Self::Rollback, |found| {
            Self::on(found.f_type as u64, u64::try_from(found.f_bsize).unwrap_or(0))
        })
    }

    /// Returns the journal for a file system of this type (`f_type` of statfs(2)) and block size in
    /// bytes.
    fn on(file_system: u64, block: u64) -> Self {
        const EXT: u64 = 0xef53;
        const XFS: u64 = 0x5846_5342;
        const TMPFS: u64 = 0x0102_1994;
        match file_system {
            EXT | XFS | TMPFS if block >= INDEX_PAGE => Self::Log,
            _ => Self::Rollback,
        }
    }

    /// Makes a writing connection use the journal.
    pub(super) fn keep(self, connection: &Connection) -> rusqlite::Result<()> {
        let set = |pragma: &str| connection.query_row(pragma, [], |_| Ok(()));
        match self {
            Self::Log => {
                set("PRAGMA journal_mode = WAL")?;
                connection.pragma_update(None, "synchronous", "NORMAL")
            }
            Self::Rollback => {
                // Without its index, a database with a log (left from another file system) can only
                // be read exclusively.
                set("PRAGMA locking_mode = EXCLUSIVE")?;
                set("PRAGMA journal_mode = TRUNCATE")?;
                set("PRAGMA locking_mode = NORMAL")?;
                // The next access releases the lock.
                connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
                connection.pragma_update(None, "synchronous", "FULL")?;
                // Spilling a transaction early to save memory would make readers wait for a commit
                // that itself waits for a sync of the target. A batch fits in memory.
                connection.pragma_update(None, "cache_spill", false)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_mapped_only_where_a_full_disk_is_found_out_before() {
        const EXT: u64 = 0xef53;
        const BTRFS: u64 = 0x9123_683e;
        const OVERLAY: u64 = 0x794c_7630;
        assert_eq!(Journal::on(EXT, 4096), Journal::Log);
        assert_eq!(Journal::on(EXT, 1024), Journal::Rollback);
        assert_eq!(Journal::on(BTRFS, 4096), Journal::Rollback);
        assert_eq!(Journal::on(OVERLAY, 4096), Journal::Rollback);
        assert_eq!(Journal::of(Path::new("/nowhere")), Journal::Rollback);
    }

    #[test]
    fn a_database_changes_from_one_journal_to_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mode = |connection: &Connection| {
            connection.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0))
        };
        let open = |journal: Journal| {
            let connection = Connection::open(&path).unwrap();
            journal.keep(&connection).unwrap();
            connection
        };
        let log = open(Journal::Log);
        log.execute_batch("CREATE TABLE t (n); INSERT INTO t VALUES (1)").unwrap();
        assert_eq!(mode(&log).unwrap(), "wal");
        // A killed run leaves its log.
        let left = dir.path().join("left");
        for suffix in ["", "-wal", "-shm"] {
            let name = |of: &Path| super::super::database::with_suffix(of, suffix);
            std::fs::copy(name(&path), name(&left)).unwrap();
        }
        let taken = Connection::open(&left).unwrap();
        Journal::Rollback.keep(&taken).unwrap();
        assert_eq!(mode(&taken).unwrap(), "truncate");
        let count = |connection: &Connection| {
            connection.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, u32>(0))
        };
        assert_eq!(count(&taken).unwrap(), 1);
        // Another connection is not kept out.
        let beside = Connection::open(&left).unwrap();
        Journal::Rollback.keep(&beside).unwrap();
        taken.execute_batch("INSERT INTO t VALUES (2)").unwrap();
        assert_eq!(count(&beside).unwrap(), 2);
        drop((taken, beside));
        let again = Connection::open(&left).unwrap();
        Journal::Log.keep(&again).unwrap();
        assert_eq!((mode(&again).unwrap().as_str(), count(&again).unwrap()), ("wal", 2));
    }
}
