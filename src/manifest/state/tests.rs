mod damage;
mod lazy;
mod links;
mod versions;

use super::pages::{PAGE, PAGE_KEYS};
use super::*;
use crate::manifest::database::with_suffix;
use crate::manifest::journal::Journal;
use crate::manifest::{ManifestMode, Origin, Verified, is_damage};
use crate::model::stamp::Inode;
use crate::model::{
    Apart, Attribute, Attributes, EntryKind, ExtraDigests, Extras, Metadata, Stamp,
};
use crate::model::{Birth, Digest};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::sync::Arc;

const SOURCE: &str = "/source";
const TARGET: &str = "/target";

fn at(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 7 }
}

fn stamp(size: u64) -> Stamp {
    Stamp::of_inode(size, Inode { mtime: at(-5), ctime: at(1_800_000_000), number: Some(u64::MAX) })
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
        from: SourceNumber(2),
        verified_at: None,
        extras: None,
        looked: crate::model::AttributeKinds::ALL,
        born: None,
    }
}

fn open(dir: &Path) -> State {
    let opened = State::open(dir, SOURCE, TARGET).unwrap();
    assert_eq!(opened.set_aside, None);
    opened.state
}

/// Puts rows and closes all connections, so that the log is back in the file.
fn fill(dir: &Path, rows: &[Row]) -> PathBuf {
    let state = open(dir);
    let mut writer = state.writer().unwrap();
    for row in rows {
        writer.put(row).unwrap();
    }
    writer.commit().unwrap();
    state.path.clone()
}

fn all(state: &State) -> Vec<Row> {
    state.rows().unwrap().map(Result::unwrap).collect()
}

/// Returns the files of a state directory, without the empty journal of a database that keeps no
/// log.
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
        extras: Some(Box::new(crate::model::extras::tests::all())),
        born: Birth::of(at(-2)),
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
            source: SOURCE.to_owned(),
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
    assert!(State::open_read_only(&dir, SOURCE, "/other").unwrap().is_none());
}

#[test]
fn reading_alone_sees_what_a_killed_run_left_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(dir.path());
    let mut writer = state.writer().unwrap();
    writer.put(&row("a")).unwrap();
    writer.commit().unwrap();
    // A copy made before closing the connections is what a killed run leaves.
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
    let keeps_log = Journal::of(&left.path) == Journal::Log;
    assert_eq!(left.access, if keeps_log { Access::Read } else { Access::Immutable });
    assert_eq!(all(&left), [row("a")]);
    drop(left);
    assert!(contents() == before);
    assert_eq!(all(&open(copy.path())), [row("a")]);
}

#[test]
fn runs_from_all_sources_are_kept_apart_in_the_state_of_their_target() {
    let dir = tempfile::tempdir().unwrap();
    assert!(State::latest_into(dir.path(), TARGET).unwrap().is_none());
    let root = |inode| Some(RootIdentity { inode, file_system: 1, id: None });
    for (source, target, run, only) in [
        ("/one", TARGET, 1, "null"),
        ("/two", TARGET, 2, "null"),
        ("/two/a", TARGET, 3, "[97]"),
        (STREAM, TARGET, 4, "[98]"),
        ("/one", "/elsewhere", 5, "null"),
    ] {
        let state = State::open(dir.path(), source, target).unwrap().state;
        let options = format!("{{\"only\":{only}}}");
        let number = state.begin_run(&RunId(format!("r{run}")), at(run), &options).unwrap();
        let totals = Totals { entries: run as u64, ..Totals::default() };
        state.finish_run(number, at(run), Verdict::Complete, &totals, root(run as u64)).unwrap();
    }
    State::open(dir.path(), "/never run", TARGET).unwrap();
    let ids = |run: Option<RunRecord>| run.map(|run| (run.id.0, run.source));
    let id = |id: &str, source: &str| Some((id.to_owned(), source.to_owned()));
    let state = State::latest_into(dir.path(), TARGET).unwrap().unwrap();
    assert_eq!((state.source(), state.target()), (STREAM, TARGET));
    assert_eq!(ids(state.last_run().unwrap()), id("r4", STREAM));
    assert_eq!(ids(state.last_mirror().unwrap()), id("r3", "/two/a"));
    assert_eq!(ids(state.last_whole_run().unwrap()), id("r2", "/two"));
    let latest: Vec<_> = state.last_runs().unwrap();
    let latest = latest.into_iter().map(|(number, run)| (number.0, run.source));
    let expected = [(1, "/one"), (2, "/two"), (3, "/two/a"), (4, STREAM)];
    assert!(latest.eq(expected.map(|(number, source)| (number, source.to_owned()))));
    let of = |source| State::open_read_only(dir.path(), source, TARGET).unwrap().unwrap();
    let one = of("/one");
    assert_eq!(one.number().unwrap(), SourceNumber(1));
    assert_eq!(ids(one.last_run_from_source().unwrap()), id("r1", "/one"));
    assert_eq!(one.last_finished_totals().unwrap().unwrap().entries, 1);
    assert_eq!(one.last_allowed_root().unwrap(), root(1));
    let new = of("/new");
    assert_eq!(new.number().unwrap(), SourceNumber::NONE);
    assert_eq!(new.last_run_from_source().unwrap(), None);
    assert_eq!(new.last_allowed_root().unwrap(), None);
    assert!(State::latest_into(dir.path(), "/nowhere").unwrap().is_none());
}

#[test]
fn an_import_that_did_not_come_to_its_end_is_no_record() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path(), IMPORTED, TARGET).unwrap().state;
    state.begin_run(&RunId("r1".to_owned()), at(1), "{}").unwrap();
    assert!(State::latest_into(dir.path(), TARGET).unwrap().is_none());
    let state = State::open(dir.path(), "/one", TARGET).unwrap().state;
    state.begin_run(&RunId("r2".to_owned()), at(2), "{}").unwrap();
    assert_eq!(State::latest_into(dir.path(), TARGET).unwrap().unwrap().source(), "/one");
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
    // Rows that changed since, or are gone.
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

/// Returns a row whose entry lacks an attribute of this name.
fn lacking(key: &str, name: &str) -> Row {
    let attribute = Attribute { name: name.as_bytes().into(), value: (*b"1").into() };
    let set = Attributes::checked(vec![attribute]).unwrap();
    let (attributes, apart) = (set.digest(), Apart::Loaded(Arc::new(set)));
    let extras = Extras { attributes, apart, ..Extras::default() };
    Row { extras: Some(Box::new(extras)), ..row(key) }
}

#[test]
fn attributes_that_entries_lack_are_kept_once_while_rows_refer_to_them() {
    let dir = tempfile::tempdir().unwrap();
    assert!(!open(dir.path()).knows_more_than_target().unwrap());
    let rows = [lacking("a", "user.a"), lacking("b", "user.a"), lacking("c", "user.c"), row("d")];
    fill(dir.path(), &rows);
    let state = open(dir.path());
    assert!(state.knows_more_than_target().unwrap());
    let loaded = |mut row: Row| {
        assert!(row.extras.as_ref().is_none_or(|extras| extras.apart.loaded().is_none()));
        state.load_attributes(&mut row).unwrap();
        let apart = row.extras.and_then(|extras| extras.apart.loaded().cloned());
        apart.map(|apart| apart.listed().join(", "))
    };
    let of = |name: &str| Some(format!("attribute {name} (1 B)"));
    let found: Vec<_> = all(&state).into_iter().map(loaded).collect();
    assert_eq!(found, [of("user.a"), of("user.a"), of("user.c"), None]);
    let used = rows[0].extras.as_ref().and_then(|extras| extras.attributes);
    state.keep_attributes(&used.into_iter().collect()).unwrap();
    let found: Vec<_> = all(&state).into_iter().map(loaded).collect();
    assert_eq!(found, [of("user.a"), of("user.a"), None, None], "nothing is claimed that is lost");
}

#[test]
fn attributes_of_root_close_the_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let open_to_all = ManifestMode::new(0o644).unwrap();
    for (name, expected) in [("user.a", open_to_all), ("trusted.a", ManifestMode::PRIVATE)] {
        let metadata = Metadata { mode: 0o755, ..Metadata::default() };
        fill(dir.path(), &[Row { metadata, ..lacking("a", name) }]);
        let narrowed = open(dir.path()).narrow(open_to_all, 0, RowSelection::All).unwrap();
        assert_eq!(narrowed, expected, "{name}");
    }
}

#[test]
fn a_mode_is_narrowed_to_whom_every_row_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path(), "/source", "/target").unwrap().state;
    let mode = |bits| ManifestMode::new(bits).unwrap();
    let (group, open) = (7, mode(0o664));
    let narrowed = || state.narrow(open, group, RowSelection::All).unwrap();
    let put = |key: &str, kind, mode, gid| {
        let mut writer = state.writer().unwrap();
        let metadata = Metadata { mode, gid, ..Metadata::default() };
        writer.put(&Row { kind, metadata, ..row(key) }).unwrap();
        writer.commit().unwrap();
    };
    assert_eq!(narrowed(), open);
    let (file, directory) = (EntryKind::File, EntryKind::Directory);
    for (kind, bits, gid, expected) in [
        (file, 0o644, group, open),
        // Of another group, whose permissions say nothing about this one's.
        (file, 0o604, 8, open),
        (file, 0o640, 8, mode(0o600)),
        (file, 0o640, group, mode(0o660)),
        (file, 0o604, group, mode(0o604)),
        (directory, 0o755, group, open),
        (directory, 0o751, group, mode(0o660)),
        (directory, 0o754, group, mode(0o660)),
        (directory, 0o715, group, mode(0o604)),
        (EntryKind::Symlink, 0, group, open),
    ] {
        put("a", kind, bits, gid);
        assert_eq!(narrowed(), expected, "{kind} {bits:o} {gid}");
    }
    put("b", file, 0o600, group);
    assert_eq!(narrowed(), ManifestMode::PRIVATE);
    // Nothing was published, so nothing has changed since.
    assert_eq!(state.narrow(open, group, RowSelection::Changes).unwrap(), open);
    assert_eq!(state.manifest_mode().unwrap(), None);
    state.set_manifest_mode(mode(0o640)).unwrap();
    assert_eq!(state.manifest_mode().unwrap(), Some(mode(0o640)));
    let imported = State::open(dir.path(), IMPORTED, "/target").unwrap().state;
    imported.begin_run(&RunId("one".into()), Timestamp::default(), "{}").unwrap();
    assert_eq!(imported.narrow(open, group, RowSelection::Changes).unwrap(), ManifestMode::PRIVATE);
}
