use super::pages::PAGE;
use super::*;
use crate::manifest::database::with_suffix;
use crate::manifest::journal::Journal;
use crate::manifest::{Origin, is_damage};
use crate::model::Digest;
use crate::model::stamp::Inode;
use crate::model::{EntryKind, ExtraDigests, Metadata, Stamp};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};

const SOURCE: &str = "/source";
const TARGET: &str = "/target";

fn at(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 7 }
}

fn stamp(size: u64) -> Stamp {
    Stamp::of_inode(size, Inode { mtime: at(-5), ctime: at(1_800_000_000), number: u64::MAX })
}

fn row(key: impl AsRef<[u8]>) -> Row {
    Row {
        key: Key::new(key.as_ref()),
        kind: EntryKind::File,
        digest: Some(Digest::of(key.as_ref())),
        extra: ExtraDigests::default(),
        origin: Origin::Proven,
        source: stamp(1),
        source_racy: true,
        target: stamp(2),
        metadata: Metadata { mode: 0o7644, uid: u32::MAX, gid: 0, mtime: at(-5) },
        link: None,
        run: RunNumber(3),
        verified_at: None,
    }
}

fn open(dir: &Path) -> State {
    let opened = State::open(dir, SOURCE, TARGET).unwrap();
    assert_eq!(opened.set_aside, None);
    opened.state
}

/// Puts rows and lets all connections go, so that the log is back in the file.
fn fill(dir: &Path, rows: &[Row]) -> PathBuf {
    let state = open(dir);
    let mut writer = state.writer().unwrap();
    for row in rows {
        writer.put(row).unwrap();
    }
    writer.commit().unwrap();
    state.path().to_owned()
}

fn all(state: &State) -> Vec<Row> {
    state.rows().unwrap().map(Result::unwrap).collect()
}

/// The files of a state directory, without the empty journal that stays beside a database which
/// keeps no log.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| {
            let is_journal = entry.file_name().as_bytes().ends_with(b"-journal");
            !is_journal || entry.metadata().unwrap().len() > 0
        })
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn rows_come_back_whole_and_in_key_order() {
    let dir = tempfile::tempdir().unwrap();
    let link = Row {
        kind: EntryKind::Symlink,
        digest: None,
        link: Some(Box::from(&b"to\xff\n"[..])),
        source_racy: false,
        verified_at: Some(at(-1)),
        ..row("link")
    };
    let directory = Row { kind: EntryKind::Directory, digest: None, ..row("") };
    let extra = ExtraDigests { sha256: Some([3; 32]), md5: None };
    let digested = Row { extra, ..row("digested") };
    let adopted = Row { digest: None, origin: Origin::Adopted, ..row(b"\xff\x00\xfe") };
    let long = row(vec![b'x'; 9_000]);
    let mut rows = vec![adopted, digested, link, long, row("a/"), row("a-b"), row("a"), directory];
    fill(dir.path(), &rows);
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(all(&open(dir.path())), rows);
    let read = State::open_read_only(dir.path(), SOURCE, TARGET).unwrap().unwrap();
    assert_eq!(all(&read), rows);
}

#[test]
fn single_rows_and_those_from_a_key_on_are_found() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), &["", "a", "a-b", "a/", "b"].map(row));
    let state = State::open_read_only(dir.path(), SOURCE, TARGET).unwrap().unwrap();
    let key = |bytes: &str| Key::new(bytes.as_bytes());
    assert_eq!(state.row(&key("a/")).unwrap(), Some(row("a/")));
    assert_eq!(state.row(&key("a.")).unwrap(), None);
    let from = |first| state.rows_from(&key(first)).unwrap().map(Result::unwrap);
    assert_eq!(from("a-b").collect::<Vec<_>>(), ["a-b", "a/", "b"].map(row));
    assert_eq!(from("a.").collect::<Vec<_>>(), ["a/", "b"].map(row));
    assert_eq!(from("c").next(), None);
    assert_eq!(state.run(RunNumber(3)).unwrap(), None);
}

#[test]
fn paging_gives_every_row_once() {
    for count in [0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE] {
        let dir = tempfile::tempdir().unwrap();
        let rows: Vec<_> = (0..count).map(|n| row(format!("{n:08}"))).collect();
        fill(dir.path(), &rows);
        assert_eq!(all(&open(dir.path())).len(), count);
    }
}

#[test]
fn a_writer_replaces_removes_and_forgets_what_it_did_not_commit() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), &[row("a"), row("b"), row("c")]);
    let state = open(dir.path());
    let mut writer = state.writer().unwrap();
    let replaced = Row { source: stamp(99), ..row("b") };
    writer.put(&replaced).unwrap();
    writer.remove(&Key::new(*b"a")).unwrap();
    writer.remove(&Key::new(*b"never there")).unwrap();
    writer.commit().unwrap();
    writer.commit().unwrap();
    writer.remove(&Key::new(*b"c")).unwrap();
    drop(writer);
    assert_eq!(all(&state), [replaced, row("c")]);
}

#[test]
fn a_reader_goes_on_while_a_writer_commits() {
    let dir = tempfile::tempdir().unwrap();
    let rows: Vec<_> = (0..5 * PAGE).map(|n| row(format!("{n:08}"))).collect();
    fill(dir.path(), &rows);
    let state = open(dir.path());
    let reader = state.rows().unwrap();
    let mut writer = state.writer().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for chunk in rows.chunks(100) {
                for row in chunk {
                    writer.put(&Row { source: stamp(50), ..row.clone() }).unwrap();
                }
                writer.commit().unwrap();
            }
        });
        assert_eq!(reader.map(Result::unwrap).count(), 5 * PAGE);
    });
    assert!(all(&state).iter().all(|row| row.source == stamp(50)));
}

#[test]
fn a_second_writer_waits_for_the_first_one_s_commit() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(dir.path());
    let mut first = state.writer().unwrap();
    let mut second = state.writer().unwrap();
    first.put(&row("a")).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(move || {
            second.put(&row("b")).unwrap();
            second.commit().unwrap();
        });
        first.commit().unwrap();
        waiting.join().unwrap();
    });
    assert_eq!(all(&state).len(), 2);
}

#[test]
fn runs_are_recorded_from_begin_to_end() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(dir.path());
    assert_eq!(state.last_run().unwrap(), None);
    assert_eq!(state.last_finished_totals().unwrap(), None);
    assert_eq!(state.last_allowed_root().unwrap(), None);
    let root = RootIdentity { inode: u64::MAX, file_system: 0xef53, id: None };
    let verdicts = [
        Verdict::Complete,
        Verdict::Incomplete,
        Verdict::Refused,
        Verdict::Interrupted,
        Verdict::Failed,
    ];
    for (n, verdict) in (1..).zip(verdicts) {
        let number = state.begin_run(&RunId(format!("run-{n}")), at(n), "{}").unwrap();
        let begun = state.last_run().unwrap().unwrap();
        assert_eq!((begun.number, begun.ended, begun.verdict), (number, None, None));
        let totals = Totals { entries: n as u64, ..Totals::default() };
        let allowed = (n == 2).then(|| root.clone());
        state.finish_run(number, at(n + 10), verdict, &totals, allowed.clone()).unwrap();
        let expected = RunRecord {
            number,
            id: RunId(format!("run-{n}")),
            started: at(n),
            ended: Some(at(n + 10)),
            verdict: Some(verdict),
            totals: Some(totals),
            options: "{}".to_owned(),
            root: allowed,
        };
        assert_eq!(state.last_run().unwrap(), Some(expected));
    }
    state.begin_run(&RunId("run-6".to_owned()), at(60), "{}").unwrap();
    assert_eq!(state.last_finished_totals().unwrap().unwrap().entries, 3);
    assert_eq!(state.last_allowed_root().unwrap(), Some(root));
}

#[test]
fn directory_and_files_are_for_the_owner_alone() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("a/b");
    let state = open(&dir);
    state.begin_run(&RunId("run".to_owned()), at(1), "{}").unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    let files: Vec<_> = fs::read_dir(&dir).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() > 1, "no journal: {files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{file:?}");
    }
}

#[test]
fn reading_alone_makes_and_changes_no_file() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("a %?#é");
    assert!(State::open_read_only(&dir, SOURCE, TARGET).unwrap().is_none());
    assert!(State::latest_into(&dir, TARGET).unwrap().is_none());
    assert!(!dir.exists());
    let path = fill(&dir, &[row("a")]);
    let before = (names(&dir), fs::read(&path).unwrap());
    let state = State::open_read_only(&dir, SOURCE, TARGET).unwrap().unwrap();
    let keeps_log = Journal::of(&path) == Journal::Log;
    assert_eq!(state.access, if keeps_log { Access::Immutable } else { Access::Read });
    assert_eq!(all(&state), [row("a")]);
    assert_eq!((names(&dir), fs::read(&path).unwrap()), before);
    assert!(state.writer().unwrap().put(&row("b")).is_err());
    assert!(State::open_read_only(&dir, "/other", TARGET).unwrap().is_none());
}

#[test]
fn reading_alone_sees_what_a_killed_run_left_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(dir.path());
    let mut writer = state.writer().unwrap();
    writer.put(&row("a")).unwrap();
    writer.commit().unwrap();
    // What a killed run leaves, as a copy: its connections never closed.
    let copy = tempfile::tempdir().unwrap();
    for name in names(dir.path()) {
        fs::copy(dir.path().join(&name), copy.path().join(&name)).unwrap();
    }
    let contents = || {
        let content = |name: &String| fs::read(copy.path().join(name)).unwrap();
        let shared = |name: &String| name.ends_with("-shm");
        let names = names(copy.path());
        (names.iter().filter(|n| !shared(n)).map(content).collect::<Vec<_>>(), names)
    };
    let before = contents();
    let left = State::open_read_only(copy.path(), SOURCE, TARGET).unwrap().unwrap();
    let keeps_log = Journal::of(left.path()) == Journal::Log;
    assert_eq!(left.access, if keeps_log { Access::Read } else { Access::Immutable });
    assert_eq!(all(&left), [row("a")]);
    drop(left);
    assert!(contents() == before);
    assert_eq!(all(&open(copy.path())), [row("a")]);
}

#[test]
fn the_latest_run_into_a_target_is_found_whatever_the_source() {
    let dir = tempfile::tempdir().unwrap();
    // Ids tell starts apart to the second only.
    for (source, target, run, started) in [
        ("/one", TARGET, "20260101T000000Z-9", 1),
        ("/two", TARGET, "20260101T000000Z-0", 3),
        ("/three", TARGET, "20260101T000000Z-8", 2),
        ("/four", "/elsewhere", "20260401T000000Z-0", 4),
    ] {
        let state = State::open(dir.path(), source, target).unwrap().state;
        state.begin_run(&RunId(run.to_owned()), at(started), "{}").unwrap();
    }
    State::open(dir.path(), "/never run", TARGET).unwrap();
    let state = State::latest_into(dir.path(), TARGET).unwrap().unwrap();
    assert_eq!((state.source(), state.target()), ("/two", TARGET));
    assert!(State::latest_into(dir.path(), "/nowhere").unwrap().is_none());
}

#[test]
fn what_was_streamed_into_a_target_hides_no_run_that_mirrored_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let begin = |source: &str, started| {
        let state = State::open(dir.path(), source, TARGET).unwrap().state;
        state.begin_run(&RunId(format!("r{started}")), at(started), "{}").unwrap();
    };
    let latest = || State::latest_into(dir.path(), TARGET).unwrap().unwrap().source().to_owned();
    begin(STREAM, 5);
    assert_eq!(latest(), STREAM);
    begin("/one", 1);
    begin("/two", 2);
    begin(STREAM, 6);
    assert_eq!(latest(), "/two");
}

#[test]
fn a_newer_version_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = fill(dir.path(), &[row("a")]);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 4).unwrap();
    let before = fs::read(&path).unwrap();
    for error in [
        State::open(dir.path(), SOURCE, TARGET).unwrap_err(),
        State::open_read_only(dir.path(), SOURCE, TARGET).unwrap_err(),
        State::latest_into(dir.path(), TARGET).unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::Manifest);
        let expected = format!(
            "the state \"{}\" has format version 4; this vidimus knows versions up to 3",
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
        ("without its pair", |path| execute(path, "DELETE FROM meta")),
        ("another pair's", |path| execute(path, "UPDATE meta SET value = '/other'")),
        ("an illegible run", |path| {
            execute(path, "INSERT INTO runs (id, started, options, root) VALUES ('', 0, '', '{')");
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
fn a_file_that_was_only_just_made_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = fill(dir.path(), &[]);
    fs::write(&path, "").unwrap();
    assert!(State::open_read_only(dir.path(), SOURCE, TARGET).unwrap().is_none());
    open(dir.path());
}

#[test]
fn damage_met_between_the_rows_is_an_error_that_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let rows: Vec<_> = (0..20_000).map(|n| row(format!("{n:08}"))).collect();
    let path = fill(dir.path(), &rows);
    // Leaves in the middle of the table, out of sight of the checks at its ends.
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
    // At the end of a page too, from where the next one goes on.
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
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let error = State::open(Path::new("/proc/vidimus"), SOURCE, TARGET).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Manifest);
    assert_eq!(error.message, "cannot make the state directory \"/proc/vidimus\"");
}

#[test]
fn readers_and_writers_can_be_given_to_threads() {
    fn is_send<T: Send>() {}
    is_send::<State>();
    is_send::<Rows>();
    is_send::<Writer>();
}

fn truncate(path: &Path, length: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
}

fn flip(path: &Path, offset: usize) {
    let mut content = fs::read(path).unwrap();
    content[offset] ^= 0x10;
    fs::write(path, content).unwrap();
}

#[test]
fn states_of_older_versions_are_taken_over() {
    let versions = ["PRAGMA user_version = 2;", "DROP TABLE changed; PRAGMA user_version = 1;"];
    for older in versions {
        let dir = tempfile::tempdir().unwrap();
        let path = fill(dir.path(), &[row("a")]);
        let old = Connection::open(&path).unwrap();
        let shrink = "ALTER TABLE entries DROP COLUMN sha256; ALTER TABLE entries DROP COLUMN md5;";
        old.execute_batch(&format!("{shrink}{older}")).unwrap();
        drop(old);
        let read = State::open_read_only(dir.path(), SOURCE, TARGET).unwrap().unwrap();
        assert_eq!(all(&read), [row("a")]);
        let mut rows = read.rows().unwrap();
        let state = open(dir.path());
        assert_eq!(all(&state), [row("a")]);
        assert_eq!((state.published().unwrap(), state.changed().unwrap()), (None, 0));
        // Whoever was about to read it goes on.
        assert_eq!(rows.next().unwrap().unwrap(), row("a"));
        let extra = ExtraDigests { sha256: Some([1; 32]), md5: Some([2; 16]) };
        let digested = Row { extra, ..row("b") };
        let mut writer = state.writer().unwrap();
        writer.put(&digested).unwrap();
        writer.commit().unwrap();
        assert_eq!(all(&state), [row("a"), digested]);
    }
}

fn verified(row: &Row) -> Verified {
    let digest = row.digest.unwrap();
    Verified { key: row.key.clone(), digest, target: row.target, at: at(1_900_000_000) }
}

#[test]
fn what_was_verified_is_recorded_and_is_no_change() {
    let dir = tempfile::tempdir().unwrap();
    let rows = [row("a"), row("b"), row("c")];
    fill(dir.path(), &rows);
    let read = State::open_read_only(dir.path(), SOURCE, TARGET).unwrap().unwrap();
    let state = read.for_recording().unwrap();
    let mut writer = state.writer().unwrap();
    writer.tracks = true;
    writer.set_verified(&verified(&rows[0])).unwrap();
    // Rows that are others since, or gone.
    writer.set_verified(&Verified { digest: Digest([1; 32]), ..verified(&rows[1]) }).unwrap();
    writer.set_verified(&Verified { target: stamp(3), ..verified(&rows[2]) }).unwrap();
    writer.set_verified(&verified(&row("gone"))).unwrap();
    writer.commit().unwrap();
    let expected = [
        Row { verified_at: Some(at(1_900_000_000)), ..rows[0].clone() },
        rows[1].clone(),
        rows[2].clone(),
    ];
    assert_eq!(all(&state), expected);
    assert_eq!(state.changed().unwrap(), 0);
}
