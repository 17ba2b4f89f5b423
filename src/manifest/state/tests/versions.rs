//! Conversion of files of older versions.

use super::*;

/// Makes the file of a pair as older versions did, with the run of its rows.
fn pair(dir: &Path, version: i64, source: &str, (run, started): (&str, i64), rows: &[Row]) {
    let made = tempfile::tempdir().unwrap();
    let state = State::open(made.path(), source, TARGET).unwrap().state;
    let number = state.begin_run(&RunId(run.to_owned()), at(started), "{}").unwrap();
    let of_run = |row: &Row| Row { run: number, ..row.clone() };
    let path = fill(made.path(), &rows.iter().map(of_run).collect::<Vec<_>>());
    drop(state);
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch(&format!(
            "DROP TABLE links;
             ALTER TABLE entries DROP COLUMN extras;
             ALTER TABLE entries DROP COLUMN born;
             ALTER TABLE entries DROP COLUMN from_source;
             DROP TABLE sources;
             ALTER TABLE runs DROP COLUMN source;
             INSERT INTO meta VALUES ('source', '{source}');
             PRAGMA user_version = {version};"
        ))
        .unwrap();
    if version < 3 {
        let shrink = "ALTER TABLE entries DROP COLUMN sha256; ALTER TABLE entries DROP COLUMN md5;";
        connection.execute_batch(shrink).unwrap();
    }
    if version < 2 {
        connection.execute_batch("DROP TABLE changed").unwrap();
    }
    drop(connection);
    let hash = |text: &str| crate::manifest::database::short_hash(text);
    let name = format!("{}-{}.sqlite3", hash(TARGET), hash(source));
    fs::create_dir_all(dir).unwrap();
    fs::rename(path, dir.join(name)).unwrap();
}

/// Makes the file that version 4 wrote of a mirror of `/srv/photos` to `/srv/mirror`.
fn version_4(dir: &Path) -> PathBuf {
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/state/version-4.sqlite3.zst");
    let path = path_of(dir, "/srv/mirror");
    fs::write(&path, zstd::decode_all(&*fs::read(fixture).unwrap()).unwrap()).unwrap();
    path
}

fn version_of(path: &Path) -> i64 {
    pragma(&Connection::open(path).unwrap(), "user_version").unwrap()
}

#[test]
fn a_file_of_version_4_is_read_as_it_is_and_converted_by_whoever_writes() {
    let dir = tempfile::tempdir().unwrap();
    let path = version_4(dir.path());
    let before = fs::read(&path).unwrap();
    let (source, target) = ("/srv/photos", "/srv/mirror");
    let read = State::open_read_only(dir.path(), source, target).unwrap().unwrap();
    let rows = all(&read);
    let keys: Vec<_> = rows.iter().map(|row| row.key.to_string()).collect();
    let expected = [".", "2024/", "2024/a.txt", "2024/b.txt", "2024/link", "2024/same"];
    assert_eq!(keys, expected);
    assert!(rows.iter().all(|row| row.extras.is_none() && row.born.is_none()));
    assert_eq!(read.row(&rows[3].key).unwrap().as_ref(), Some(&rows[3]));
    let published = read.published().unwrap();
    assert!(published.is_some());
    assert_eq!((names(dir.path()).len(), fs::read(&path).unwrap()), (1, before));
    // A verification records what it found, and leaves the version as it is.
    let mut writer = read.for_recording().unwrap().writer().unwrap();
    writer.set_verified(&verified(&rows[3])).unwrap();
    writer.commit().unwrap();
    drop((writer, read));
    assert_eq!(version_of(&path), 4);

    let opened = State::open(dir.path(), source, target).unwrap();
    assert_eq!((&opened.set_aside, opened.was_empty), (&None, false));
    let state = opened.state;
    let mut rows = rows;
    rows[3].verified_at = Some(at(1_900_000_000));
    assert_eq!((all(&state), version_of(&path)), (rows.clone(), 5));
    assert_eq!((state.published().unwrap(), state.changed().unwrap()), (published, 0));
    assert_eq!(state.last_run_from_source().unwrap().unwrap().number, RunNumber(3));
    rows[3].extras = Some(Box::new(crate::model::extras::tests::all()));
    rows[3].born = Birth::of(at(5));
    let mut writer = state.writer().unwrap();
    writer.put(&rows[3]).unwrap();
    writer.commit().unwrap();
    drop((writer, state));
    assert_eq!(all(&State::open(dir.path(), source, target).unwrap().state), rows);
    assert_eq!(names(dir.path()).len(), 1);
}

/// Only what the conversion changes tells whether it was done.
#[test]
fn a_conversion_that_fails_leaves_version_4() {
    let dir = tempfile::tempdir().unwrap();
    let path = version_4(dir.path());
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE links (x)").unwrap();
    let connection = Connection::open(&path).unwrap();
    let mut writing = connect(&path, Access::Write).unwrap();
    assert!(crate::manifest::database::upgrade(&mut writing).is_err());
    drop(writing);
    assert_eq!(pragma(&connection, "user_version").unwrap(), 4);
    let columns = "SELECT count(*) FROM pragma_table_info('entries')";
    let count = connection.query_row(columns, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count, 18);
}

#[test]
fn files_of_older_versions_are_taken_over_by_whoever_writes() {
    for version in 1..=3 {
        let dir = tempfile::tempdir().unwrap();
        pair(dir.path(), version, SOURCE, ("r1", 1), &[row("a")]);
        let looked = crate::model::AttributeKinds::NONE;
        let expected = Row { run: RunNumber(1), from: SourceNumber(1), looked, ..row("a") };
        let files = names(dir.path());
        let read = State::open_read_only(dir.path(), SOURCE, TARGET).unwrap().unwrap();
        assert_eq!(all(&read), std::slice::from_ref(&expected));
        assert!(read.for_recording().is_err());
        drop(read);
        assert_eq!(names(dir.path()), files, "whoever reads makes no file");
        let state = open(dir.path());
        assert_eq!(all(&state), std::slice::from_ref(&expected));
        assert_eq!((state.published().unwrap(), state.changed().unwrap()), (None, 0));
        assert_eq!(state.last_run_from_source().unwrap().unwrap().id.0, "r1");
        drop(state);
        assert_eq!(names(dir.path()).len(), 1);
        assert_eq!(all(&open(dir.path())), [expected]);
    }
}

/// The run that wrote a row decides, not the latest of its source.
#[test]
fn of_several_sources_rows_of_a_key_the_latest_run_s_counts() {
    let dir = tempfile::tempdir().unwrap();
    let of = |key: &str, size| Row { source: stamp(size), ..row(key) };
    pair(dir.path(), 3, "/late", ("r3", 3), &[of("a", 3), of("c", 3)]);
    pair(dir.path(), 2, "/early", ("r1", 1), &[of("a", 1), of("b", 1)]);
    pair(dir.path(), 3, STREAM, ("r2", 2), &[of("b", 2), of("c", 2)]);
    // Without a run or a complete import.
    pair(dir.path(), 3, IMPORTED, ("r4", 4), &[of("a", 4)]);
    fs::write(dir.path().join(format!("{}-0123.sqlite3", "0".repeat(16))), "").unwrap();
    let read = State::latest_into(dir.path(), TARGET).unwrap().unwrap();
    assert_eq!(read.source(), "/late");
    let (state, names) = (open(dir.path()), ["/early", STREAM, "/late"]);
    for state in [&read, &state] {
        let found: Vec<_> = all(state)
            .iter()
            .map(|row| {
                let run = state.run(row.run).unwrap().unwrap();
                assert_eq!(run.source, names[row.from.0 as usize - 1]);
                (row.key.to_string(), row.source.size, run.id.0)
            })
            .collect();
        let expected = [("a", 3, "r3"), ("b", 2, "r2"), ("c", 3, "r3")];
        let expected = expected.map(|(key, size, run)| (key.to_owned(), size, run.to_owned()));
        assert_eq!(found, expected);
    }
    assert_eq!(state.last_run().unwrap().unwrap().id.0, "r3");
}

#[test]
fn a_damaged_file_of_an_older_version_costs_no_other() {
    let dir = tempfile::tempdir().unwrap();
    pair(dir.path(), 3, "/one", ("r1", 1), &[row("a")]);
    let whole = names(dir.path());
    pair(dir.path(), 3, "/two", ("r2", 2), &[row("b")]);
    let damaged = names(dir.path()).into_iter().find(|name| *name != whole[0]).unwrap();
    flip(&dir.path().join(&damaged), 3);
    assert!(is_damage(&State::latest_into(dir.path(), TARGET).unwrap_err()));
    let opened = State::open(dir.path(), SOURCE, TARGET).unwrap();
    assert_eq!(opened.set_aside.unwrap(), dir.path().join(format!("{damaged}.damaged-1")));
    assert_eq!(all(&opened.state).len(), 1);
}

#[test]
fn a_file_of_an_older_version_that_is_damaged_in_its_middle_costs_no_other() {
    use std::os::unix::fs::FileExt as _;
    let dir = tempfile::tempdir().unwrap();
    let rows: Vec<_> = (0..5_000).map(|number| row(format!("{number:04}"))).collect();
    pair(dir.path(), 3, "/one", ("r1", 1), &rows);
    let damaged = names(dir.path()).remove(0);
    pair(dir.path(), 3, "/two", ("r2", 2), &[row("z")]);
    let path = dir.path().join(&damaged);
    let middle = (fs::metadata(&path).unwrap().len() / 2) & !4095;
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0; 4096], middle).unwrap();
    let error = State::latest_into(dir.path(), TARGET).unwrap_err();
    assert!(is_damage(&error) && error.to_string().contains(&damaged), "{error}");
    let opened = State::open(dir.path(), SOURCE, TARGET).unwrap();
    assert_eq!(opened.set_aside.unwrap(), dir.path().join(format!("{damaged}.damaged-1")));
    let found: Vec<_> = all(&opened.state).into_iter().map(|row| row.key.to_string()).collect();
    assert_eq!(found, ["z"]);
    assert_eq!(opened.state.last_run().unwrap().unwrap().id.0, "r2");
}

#[test]
fn a_file_of_an_older_version_that_cannot_be_read_just_now_is_not_damaged() {
    let dir = tempfile::tempdir().unwrap();
    pair(dir.path(), 3, "/one", ("r1", 1), &[row("a")]);
    pair(dir.path(), 3, "/two", ("r2", 2), &[row("b")]);
    let Ok(found) = pairs::Pair::all_into(dir.path(), TARGET, false) else { panic!("whole files") };
    let files = names(dir.path());
    for name in &files {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    let mut connection = Connection::open_in_memory().unwrap();
    let Err(obstacle) = State::begin_of(&mut connection, TARGET, &found.pairs) else {
        panic!("there is nothing to take over")
    };
    assert!(matches!(obstacle, Obstacle::Pair(0, Trouble::Failed(_))));
    let error = obstacle.refusal(&dir.path().join("new"), &found.pairs);
    assert!(files.iter().any(|name| error.to_string().contains(name)), "{error}");
}
