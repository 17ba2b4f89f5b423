//! Which journal a state's database keeps.
//!
//! Best is a write-ahead log: readers and the writer don't wait for each other, and a commit waits
//! for no disk. But its index is a file that all of them map into memory, and a store to mapped
//! memory that finds no room on the disk ends the process by `SIGBUS`. `SQLite` makes room
//! beforehand by writing one byte in each 4 KiB (`unixShmMap` in its `os_unix.c`), which is enough
//! only where blocks are that large and are written in place. Elsewhere, as on an ext4 of 1 KiB
//! blocks and on Btrfs, the database keeps a rollback journal, and nothing is mapped.

use rusqlite::Connection;
use rustix::fs::statfs;
use std::path::Path;

/// The pages that `SQLite` makes room for.
const INDEX_PAGE: u64 = 4096;

/// How a database keeps a transaction whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Journal {
    /// A write-ahead log (<https://sqlite.org/wal.html>).
    Log,
    /// A rollback journal, whose file stays, empty, when it isn't needed. A commit waits for the
    /// disk, and readers wait for a commit.
    Rollback,
}

impl Journal {
    /// The one for a database at `path`, by its file system; where that isn't known, the one that is
    /// right everywhere.
    pub(super) fn of(path: &Path) -> Self {
        statfs(path).map_or(Self::Rollback, |found| {
            Self::on(found.f_type as u64, u64::try_from(found.f_bsize).unwrap_or(0))
        })
    }

    /// The one for a file system of this type (`f_type` of statfs(2)) and size of block, in bytes.
    fn on(file_system: u64, block: u64) -> Self {
        const EXT: u64 = 0xef53;
        const XFS: u64 = 0x5846_5342;
        const TMPFS: u64 = 0x0102_1994;
        match file_system {
            EXT | XFS | TMPFS if block >= INDEX_PAGE => Self::Log,
            _ => Self::Rollback,
        }
    }

    /// Has a connection that writes keep it.
    pub(super) fn keep(self, connection: &Connection) -> rusqlite::Result<()> {
        let set = |pragma: &str| connection.query_row(pragma, [], |_| Ok(()));
        match self {
            Self::Log => {
                set("PRAGMA journal_mode = WAL")?;
                connection.pragma_update(None, "synchronous", "NORMAL")
            }
            Self::Rollback => {
                // What has a log, from where one is kept, is read without its index only by one that
                // is alone.
                set("PRAGMA locking_mode = EXCLUSIVE")?;
                set("PRAGMA journal_mode = TRUNCATE")?;
                set("PRAGMA locking_mode = NORMAL")?;
                // The next access gives the lock back.
                connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
                connection.pragma_update(None, "synchronous", "FULL")?;
                // What is written before its end to make room in memory would keep readers waiting
                // for a commit that waits for a sync of the target. A batch fits.
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
        // Another one beside it is kept out by nothing.
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
