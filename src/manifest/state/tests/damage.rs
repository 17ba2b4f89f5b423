//! Damaged files, files of a newer version, and rows that can't be decoded.

use super::*;

#[test]
fn a_newer_version_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = fill(dir.path(), &[row("a")]);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 6).unwrap();
    let before = fs::read(&path).unwrap();
    for error in [
        State::open(dir.path(), SOURCE, TARGET).unwrap_err(),
        State::open_read_only(dir.path(), SOURCE, TARGET).unwrap_err(),
        State::latest_into(dir.path(), TARGET).unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::Manifest);
        let expected = format!(
            "the state \"{}\" has format version 6; this vidimus knows versions up to 5",
            path.display()
        );
        assert_eq!(error.message, expected);
        assert!(!is_damage(&error));
    }
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(names(dir.path()).len(), 1);
}

#[test]
fn a_damaged_file_is_put_aside_and_a_new_one_begun() {
    fn execute(path: &Path, sql: &str) {
        Connection::open(path).unwrap().execute_batch(sql).unwrap();
    }
    type Damaging = fn(&Path);
    let table: &[(&str, Damaging)] = &[
        ("garbage", |path| fs::write(path, "garbage").unwrap()),
        ("garbage of a page", |path| fs::write(path, [b'x'; 4096]).unwrap()),
        ("zeros", |path| fs::write(path, [0; 8192]).unwrap()),
        ("cut in the header", |path| truncate(path, 50)),
        ("cut behind the header", |path| truncate(path, 4096)),
        ("cut in half", |path| truncate(path, fs::metadata(path).unwrap().len() / 2)),
        ("bit flipped in the magic", |path| flip(path, 3)),
        ("bit flipped in the page size", |path| flip(path, 16)),
        ("bit flipped in the application id", |path| flip(path, 68)),
        ("bit flipped in the first table", |path| flip(path, 100)),
        ("another application's", |path| execute(path, "PRAGMA application_id = 1")),
        ("an older version than any", |path| execute(path, "PRAGMA user_version = 0")),
        ("without a table", |path| execute(path, "DROP TABLE runs")),
        ("without a column", |path| execute(path, "ALTER TABLE entries DROP COLUMN link")),
        ("without its target", |path| execute(path, "DELETE FROM meta")),
        ("another target's", |path| execute(path, "UPDATE meta SET value = '/other'")),
        ("an illegible run", |path| {
            let run =
                "INSERT INTO runs (id, source, started, options, root) VALUES ('', 1, 0, '', '{')";
            execute(path, &format!("INSERT INTO sources (name) VALUES (''); {run}"));
        }),
    ];
    let rows: Vec<_> = (0..1_000).map(|n| row(format!("{n:04}"))).collect();
    for (what, damage) in table {
        let dir = tempfile::tempdir().unwrap();
        let path = fill(dir.path(), &rows);
        damage(&path);
        let damaged = fs::read(&path).unwrap();
        let error = State::open_read_only(dir.path(), SOURCE, TARGET).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Manifest, "{what}");
        assert!(is_damage(&error), "{what}: {error:?}");
        assert_eq!(names(dir.path()).len(), 1, "{what}");
        let opened = State::open(dir.path(), SOURCE, TARGET).unwrap();
        let aside = opened.set_aside.unwrap_or_else(|| panic!("{what}: taken as whole"));
        assert_eq!(aside, with_suffix(&path, ".damaged-1"));
        assert_eq!(fs::read(&aside).unwrap(), damaged, "{what}");
        assert!(all(&opened.state).is_empty(), "{what}");
        drop(opened.state);
        drop(open(dir.path()));
        fs::write(&path, "garbage").unwrap();
        let opened = State::open(dir.path(), SOURCE, TARGET).unwrap();
        assert_eq!(opened.set_aside, Some(with_suffix(&path, ".damaged-2")));
    }
}

#[test]
fn a_file_that_is_empty_is_damaged_to_readers_and_begun_again_by_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let path = fill(dir.path(), &[]);
    fs::write(&path, "").unwrap();
    let error = State::open_read_only(dir.path(), SOURCE, TARGET).unwrap_err();
    assert!(is_damage(&error), "{error}");
    let opened = State::open(dir.path(), SOURCE, TARGET).unwrap();
    assert!(opened.was_empty && opened.set_aside.is_none());
    drop(opened);
    assert!(!State::open(dir.path(), SOURCE, TARGET).unwrap().was_empty);
}

#[test]
fn damage_met_between_the_rows_is_an_error_that_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let rows: Vec<_> = (0..20_000).map(|n| row(format!("{n:08}"))).collect();
    let path = fill(dir.path(), &rows);
    State::open_read_only(dir.path(), SOURCE, TARGET).unwrap().unwrap().check_whole().unwrap();
    // Pages in the middle of the table, which the quick checks don't read.
    let length = fs::metadata(&path).unwrap().len();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&vec![0xaa; 64 << 10], length / 8192 * 4096).unwrap();
    let state = open(dir.path());
    let mut rows = state.rows().unwrap();
    let error = rows.find_map(Result::err).unwrap();
    assert_eq!(error.kind, ErrorKind::Manifest);
    assert!(is_damage(&error), "{error:?}");
    assert!(rows.next().is_none());
    drop(rows);
    assert!(is_damage(&state.check_whole().unwrap_err()));
    let opened = state.set_aside().unwrap();
    assert_eq!(opened.set_aside, Some(with_suffix(&path, ".damaged-1")));
    assert!(all(&opened.state).is_empty());
}

#[test]
fn a_row_that_cannot_be_decoded_is_passed_over_and_counted() {
    let breakages = [
        "kind = 99",
        "kind = -1",
        "digest = x'00'",
        "origin = 7",
        "source = x''",
        "target = x'0900'",
        "source_racy = 2",
        "mode = -1",
        "mtime_nanos = 1000000000",
        "sha256 = x'00'",
        "md5 = zeroblob(32)",
    ];
    let dir = tempfile::tempdir().unwrap();
    let rows: Vec<_> = (0..2 * PAGE).map(|n| row(format!("{n:08}"))).collect();
    let path = fill(dir.path(), &rows);
    let connection = Connection::open(&path).unwrap();
    // Also at the end of a page, where the next one begins.
    for (n, breakage) in (PAGE - breakages.len()..).zip(breakages) {
        let update = format!("UPDATE entries SET {breakage} WHERE key = ?1");
        let changed = connection.execute(&update, [format!("{n:08}").as_bytes()]).unwrap();
        assert_eq!(changed, 1, "{breakage}");
    }
    drop(connection);
    let state = open(dir.path());
    let mut read = state.rows().unwrap();
    assert_eq!(read.by_ref().map(Result::unwrap).count(), rows.len() - breakages.len());
    assert_eq!(read.skipped(), breakages.len() as u64);
    let mut read = state.lazy_rows().unwrap();
    read.advance().unwrap();
    let mut unchanged = 0;
    while let Some(next) = read.next() {
        unchanged += usize::from(next.file().is_some() && next.has_stamps(&stamp(1), &stamp(2)));
        read.advance().unwrap();
    }
    assert_eq!(unchanged, rows.len() - breakages.len());
}
