use super::publish::Signing;
use super::*;
use crate::backend::local::{LocalTarget, Root, Walking};
use crate::filter::FilterSpec;
use crate::manifest::keys::{self, PublicKey, SecretKey};
use crate::manifest::{ManifestMode, Origin, RecordedOptions, Row, RunNumber, State};
use crate::model::stamp::Evidence;
use crate::model::{
    Digest, Durability, ETag, EntryKind, ExtraDigests, Key, Metadata, RunId, Stamp, Timestamp,
    Totals, Verdict,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

fn target(root: &Path) -> LocalTarget {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let walking =
        Walking { pool: Arc::new(pool), spool_dir: root.to_owned(), guarded: Arc::new([]) };
    std::fs::create_dir_all(root.join(".vidimus")).unwrap();
    let root = Arc::new(Root::open(root).unwrap());
    LocalTarget::new(root, walking, Durability::None, 7).unwrap()
}

fn publishing(run: &RunId) -> Publishing {
    Publishing {
        run: run.clone(),
        started: Timestamp { seconds: 1, nanos: 2 },
        now: Timestamp { seconds: 3, nanos: 4 },
        verdict: Verdict::Complete,
        options: RecordedOptions {
            filter: FilterSpec::default(),
            delete: true,
            durability: Durability::None,
            only: None,
            key_space: crate::backend::KeySpace::Tree,
            keeps: None,
        },
        totals: Totals::default(),
    }
}

fn row(key: &[u8], version: u8, run: RunNumber) -> Row {
    Row {
        key: Key::new(key),
        kind: EntryKind::File,
        digest: (version > 0).then_some(Digest([version; 32])),
        extra: ExtraDigests::default(),
        origin: if version == 0 { Origin::Adopted } else { Origin::Proven },
        source: Stamp::of_object(version.into(), ETag::new(&[b'a' + version % 26])),
        source_racy: false,
        target: Stamp { size: version.into(), evidence: Evidence::Tag(None) },
        metadata: Metadata::default(),
        link: None,
        run,
        from: crate::manifest::SourceNumber::FIRST,
        verified_at: None,
    }
}

/// One run: what it puts (`Some`) and removes.
type Edits = Vec<(Vec<u8>, Option<u8>)>;

fn edits() -> impl Strategy<Value = Vec<Edits>> {
    // Few names, so that they meet again; some are not UTF-8.
    let key = prop_oneof![
        prop::collection::vec(prop::sample::select(&b"ab/\xff\n"[..]), 0..3),
        (0..60_u8).prop_map(|number| format!("common/{number:02}").into_bytes()),
    ];
    let edit = (key, prop::option::weighted(0.8, any::<u8>()));
    prop::collection::vec(prop::collection::vec(edit, 0..40), 1..12)
}

/// Whether that changes anything: to remove what isn't there does not.
fn put(
    state: &State,
    edits: &Edits,
    number: RunNumber,
    expected: &mut BTreeMap<Vec<u8>, Row>,
) -> bool {
    let mut has_changed = false;
    let mut writer = state.writer().unwrap();
    for (key, version) in edits {
        if let Some(version) = version {
            let row = row(key, *version, number);
            writer.put(&row).unwrap();
            expected.insert(key.clone(), row);
            has_changed = true;
        } else {
            writer.remove(&Key::new(&key[..])).unwrap();
            has_changed |= expected.remove(key).is_some();
        }
    }
    writer.commit().unwrap();
    has_changed
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// After each run, whatever was published before, the manifest is what the state holds, and a
    /// state that is made of it is the same.
    #[test]
    fn the_manifest_is_what_the_state_holds(runs in edits()) {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("target");
        std::fs::create_dir(&place).unwrap();
        let target = target(&place);
        let now = Timestamp { seconds: 1_700_000_000, nanos: 0 };
        let writer = ManifestWriter::new(&target, dir.path(), now);
        let reader = ManifestReader::of(&target, dir.path());
        let state = State::open(&dir.path().join("state"), "/s", "/t").unwrap().state;
        let mut expected = BTreeMap::new();
        for (at, edits) in runs.iter().enumerate() {
            let run = RunId(format!("run-{at}"));
            let number = state.begin_run(&run, now, "{}").unwrap();
            let has_changed = put(&state, edits, number, &mut expected);
            let before = reader.latest().unwrap();
            let published = publish(&state, &writer, publishing(&run)).unwrap();
            prop_assert_eq!(published.is_none(), before.is_some() && !has_changed);
            let latest = reader.latest().unwrap().unwrap();
            prop_assert_eq!(latest.head.rows, expected.len() as u64);
            prop_assert_eq!(state.published().unwrap(), Some(latest.clone()));
            if published.is_some() {
                let before = before.map(|before| before.as_predecessor());
                prop_assert_eq!(&latest.head.previous, &before);
            }
            let ids = |row: &Row| state.run_id(row.run).unwrap();
            let found: Vec<_> =
                Merged::of(&reader, &latest.head).unwrap().map(Result::unwrap).collect();
            let wanted: Vec<_> = expected
                .values()
                .map(|row| (Row { run: RunNumber(0), ..row.clone() }, ids(row)))
                .collect();
            // What is said last of a key counts.
            for asked in wanted.chunks(20) {
                let keys: Vec<_> = asked.iter().map(|(row, _)| row.key.clone()).collect();
                let said = trace(&reader, &latest.head, &keys).unwrap();
                for row in asked {
                    let last = said.iter().rfind(|said| said.key == row.0.key).unwrap();
                    prop_assert_eq!(last.row.as_ref(), Some(row));
                    prop_assert!(last.sequence <= latest.head.sequence);
                }
            }
            prop_assert_eq!(found, wanted);
        }
        let latest = reader.latest().unwrap().unwrap();
        let other = State::open(&dir.path().join("other"), "/s", "/elsewhere").unwrap().state;
        prop_assert_eq!(rebuild(&other, &reader, &latest, None).unwrap(), expected.len() as u64);
        let rows = |state: &State| -> Vec<_> {
            let rows = state.rows().unwrap().map(Result::unwrap);
            rows.map(|row| (state.run_id(row.run).unwrap(), Row { run: RunNumber(0), ..row }))
                .collect()
        };
        prop_assert_eq!(rows(&other), rows(&state));
        prop_assert_eq!(other.last_run().unwrap().unwrap().id, latest.head.run.clone());
        let again = publish(&other, &writer, publishing(&latest.head.run)).unwrap();
        prop_assert!(again.is_none(), "nothing changed since");
    }
}

#[test]
fn what_a_killed_run_left_counts_for_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("target");
    std::fs::create_dir(&place).unwrap();
    let target = target(&place);
    let now = Timestamp { seconds: 1_700_000_000, nanos: 0 };
    let writer = ManifestWriter::new(&target, dir.path(), now);
    let reader = ManifestReader::of(&target, dir.path());
    let state = State::open(&dir.path().join("state"), "/s", "/t").unwrap().state;
    let mut expected = BTreeMap::new();
    let edits = |version| (0..20_u8).map(|key| (vec![b'a' + key], Some(version))).collect();
    for (at, name) in ["00000002.ndjson.zst", "00000002.json"].into_iter().enumerate() {
        let run = RunId(format!("run-{at}"));
        let number = state.begin_run(&run, now, "{}").unwrap();
        put(&state, &edits(at as u8 + 1), number, &mut expected);
        if at == 0 {
            publish(&state, &writer, publishing(&run)).unwrap();
        }
        std::fs::write(place.join(crate::model::reserved::MANIFEST).join(name), "half").unwrap();
        assert_eq!(reader.latest().unwrap().unwrap().head.sequence, 1);
    }
    let last = RunId("last".to_owned());
    let latest = publish(&state, &writer, publishing(&last)).unwrap().unwrap().publication;
    assert_eq!(reader.latest().unwrap(), Some(latest.clone()));
    let rows = Merged::of(&reader, &latest.head).unwrap();
    assert!(rows.map(Result::unwrap).all(|(row, _)| row.digest == Some(Digest([2; 32]))));
}

/// A file of a manifest of two segments is damaged or gone, and no row changed since.
#[test]
fn what_is_damaged_or_gone_is_published_anew_though_nothing_changed() {
    type Damage = fn(&Path);
    let gone: Damage = |path| std::fs::remove_file(path).unwrap();
    let cut: Damage = |path| std::fs::write(path, &std::fs::read(path).unwrap()[1..]).unwrap();
    let flipped: Damage = |path| {
        let mut bytes = std::fs::read(path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    let (pointer, head) = ("latest.json", "00000002.json");
    let (first, last) = ("00000001.ndjson.zst", "00000002.ndjson.zst");
    let of_all = [pointer, head, first, last].map(|name| [(name, gone), (name, cut)]);
    let seen = of_all.into_iter().flatten().chain([(pointer, flipped), (head, flipped)]);
    // Only reading it tells: a run that builds on it reads it, and one that verifies.
    let unseen = [(first, flipped), (last, flipped)];
    for ((name, damage), is_seen) in
        seen.map(|case| (case, true)).chain(unseen.map(|case| (case, false)))
    {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("target");
        std::fs::create_dir(&place).unwrap();
        let target = target(&place);
        let now = Timestamp { seconds: 1_700_000_000, nanos: 0 };
        let (writer, reader) = (
            ManifestWriter::new(&target, dir.path(), now),
            ManifestReader::of(&target, dir.path()),
        );
        let state = State::open(&dir.path().join("state"), "/s", "/t").unwrap().state;
        let run = RunId("run".to_owned());
        let number = state.begin_run(&run, now, "{}").unwrap();
        let edits = |keys: std::ops::Range<u8>| keys.map(|key| (vec![key], Some(7))).collect();
        for keys in [0..25, 2..4] {
            put(&state, &edits(keys), number, &mut BTreeMap::new());
            publish(&state, &writer, publishing(&run)).unwrap().unwrap();
        }
        assert!(publish(&state, &writer, publishing(&run)).unwrap().is_none(), "all is whole");
        damage(&place.join(crate::model::reserved::MANIFEST).join(name));
        let known = state.published().unwrap();
        let mut status = ManifestStatus::look(&reader, known.as_ref()).unwrap();
        assert_eq!(status.fault.is_some(), is_seen, "{name}");
        status.read(&reader).unwrap();
        let fault = status.fault.unwrap();
        assert!(fault.to_string().contains(name), "{name}: {fault}");
        if !is_seen {
            assert!(publish(&state, &writer, publishing(&run)).unwrap().is_none(), "unseen");
            state.distrust(&fault).unwrap();
        }
        let done = publish(&state, &writer, publishing(&run)).unwrap().unwrap();
        assert!(done.fault.unwrap().to_string().contains(name));
        let latest = reader.latest().unwrap().unwrap();
        assert_eq!((latest.head.sequence, latest.head.segments.len()), (3, 1), "{name}");
        assert_eq!(check(&reader, &latest).unwrap().rows, 25);
        assert!(
            publish(&state, &writer, publishing(&run)).unwrap().is_none(),
            "all is whole again"
        );
        if !is_seen {
            // Nor does a publication go on from what is damaged so.
            put(&state, &edits(2..4), number, &mut BTreeMap::new());
            publish(&state, &writer, publishing(&run)).unwrap().unwrap();
            let first = reader.latest().unwrap().unwrap().head.segments[0].name();
            flipped(&place.join(crate::model::reserved::MANIFEST).join(first));
            put(&state, &edits(5..6), number, &mut BTreeMap::new());
            let done = publish(&state, &writer, publishing(&run)).unwrap().unwrap();
            assert_eq!(done.fault.unwrap().kind, ErrorKind::Damaged);
            assert_eq!(check(&reader, &done.publication).unwrap().rows, 25);
        }
    }
}

/// What a stranger wrote: each number as large as can be, and names that would move a cursor.
#[test]
fn a_head_of_a_strangers_harms_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("target");
    std::fs::create_dir(&place).unwrap();
    let target = target(&place);
    let now = Timestamp { seconds: 1_700_000_000, nanos: 0 };
    let (writer, reader) =
        (ManifestWriter::new(&target, dir.path(), now), ManifestReader::of(&target, dir.path()));
    let state = State::open(&dir.path().join("state"), "/s", "/t").unwrap().state;
    let run = RunId("run".to_owned());
    let number = state.begin_run(&run, now, "{}").unwrap();
    put(&state, &vec![(b"a".to_vec(), Some(1))], number, &mut BTreeMap::new());
    let good = publish(&state, &writer, publishing(&run)).unwrap().unwrap().publication;
    let text = String::from_utf8(good.head.encode().unwrap()).unwrap();
    let plant = |head: &str, sequence: u64| {
        let files = place.join(crate::model::reserved::MANIFEST);
        let digest = Digest::of(head.as_bytes());
        let pointer = format!(
            "{{\"vidimus_manifest\":1,\"head\":{{\"sequence\":{sequence},\"blake3\":\"{digest}\"}}}}"
        );
        std::fs::write(files.join(format!("{sequence:08}.json")), head).unwrap();
        std::fs::write(files.join("latest.json"), pointer).unwrap();
    };
    plant(&text.replace("\"run\": \"run\"", "\"run\": \"\\u001b[2J\""), 1);
    assert!(reader.latest().unwrap_err().to_string().contains("control characters"));
    // Whoever reads JSON quotes a word that it doesn't know.
    plant(&text.replace("\"complete\"", "\"\\u001b[2J\""), 1);
    let error = reader.latest().unwrap_err().to_string();
    assert!(error.contains("\\u{1b}[2J") && !error.contains('\u{1b}'), "{error:?}");
    let largest = u64::MAX;
    plant(&text.replacen("\"sequence\": 1", &format!("\"sequence\": {largest}"), 1), largest);
    put(&state, &vec![(b"a".to_vec(), Some(2))], number, &mut BTreeMap::new());
    let error = publish(&state, &writer, publishing(&run)).unwrap_err();
    assert!(error.to_string().contains("last number"), "{error}");
    plant(&text.replace("\"lines\": 1", &format!("\"lines\": {largest}")), 1);
    let latest = reader.latest().unwrap().unwrap();
    assert!(
        Merged::of(&reader, &latest.head).and_then(Iterator::collect::<Result<Vec<_>, _>>).is_err()
    );
    put(&state, &vec![(b"a".to_vec(), Some(3))], number, &mut BTreeMap::new());
    publish(&state, &writer, publishing(&run)).unwrap().unwrap();
    assert_eq!(reader.latest().unwrap().unwrap().head.rows, 1);
}

/// A key as somebody has it.
fn key() -> SecretKey {
    let keys = keys::NewKeys::make(None).unwrap();
    keys::LockedKey::decode(&keys.secret).unwrap().open(String::new()).unwrap()
}

/// Whether a manifest is whole and signed, as `manifest check` asks.
fn holds(reader: &ManifestReader<'_>, key: &PublicKey) -> bool {
    let checked = reader.latest_to_the_letter().and_then(|latest| {
        let latest = latest.ok_or_else(|| Error::new(ErrorKind::Damaged, "there is none"))?;
        reader.signature_status(&latest, Some(key))?.demand(&latest, key)?;
        check(reader, &latest)
    });
    let is_found = |kind| matches!(kind, ErrorKind::Damaged | ErrorKind::Untrusted);
    checked.map_err(|error| assert!(is_found(error.kind), "{error}")).is_ok()
}

#[test]
fn a_change_of_any_byte_of_a_signed_manifest_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("target");
    std::fs::create_dir(&place).unwrap();
    let target = target(&place);
    let now = Timestamp { seconds: 1_700_000_000, nanos: 0 };
    let (first, second) = (key(), key());
    let state = State::open(&dir.path().join("state"), "/s", "/t").unwrap().state;
    let reader = ManifestReader::of(&target, dir.path());
    let edits = |keys: std::ops::Range<u8>| keys.map(|key| (vec![key], Some(7))).collect();
    for (at, keys, key) in [(1, 0..25, &first), (2, 2..4, &second)] {
        let run = RunId(format!("run-{at}"));
        let number = state.begin_run(&run, now, "{}").unwrap();
        put(&state, &edits(keys), number, &mut BTreeMap::new());
        let writer = ManifestWriter::new(&target, dir.path(), now).signing_with(Some(key));
        publish(&state, &writer, publishing(&run)).unwrap().unwrap();
    }
    let key = second.public();
    assert!(holds(&reader, key));
    assert!(!holds(&reader, first.public()), "that is the key of the publication before");
    let files = place.join(crate::model::reserved::MANIFEST);
    let names = [
        "latest.json",
        "00000001.json",
        "00000001.ndjson.zst",
        "00000002.json",
        "00000002.json.minisig",
        "00000002.ndjson.zst",
    ];
    for name in names {
        let path = files.join(name);
        let whole = std::fs::read(&path).unwrap();
        // Nobody vouches for this comment.
        let comment = whole.iter().position(|&byte| byte == b'\n').unwrap_or_default();
        let comment = b"untrusted comment: ".len()..comment;
        for at in 0..whole.len() {
            if name.ends_with(".minisig") && comment.contains(&at) {
                continue;
            }
            let mut changed = whole.clone();
            changed[at] ^= 1 << (at % 8);
            std::fs::write(&path, &changed).unwrap();
            assert!(!holds(&reader, key), "byte {at} of {name}");
            std::fs::write(&path, &whole[..at]).unwrap();
            assert!(!holds(&reader, key), "{at} bytes of {name}");
        }
        std::fs::write(&path, [&whole[..], b"\n"].concat()).unwrap();
        assert!(!holds(&reader, key), "more than all of {name}");
        std::fs::remove_file(&path).unwrap();
        assert!(!holds(&reader, key), "{name} is gone");
        std::fs::write(&path, &whole).unwrap();
    }
    assert!(holds(&reader, key));
}

/// The number in a head is anybody's word.
#[test]
fn all_files_of_a_manifest_are_opened_whatever_numbers_they_have() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("target");
    std::fs::create_dir(&place).unwrap();
    let target = target(&place);
    let now = Timestamp { seconds: 1_700_000_000, nanos: 0 };
    let state = State::open(&dir.path().join("state"), "/s", "/t").unwrap().state;
    let run = RunId("run".to_owned());
    let number = state.begin_run(&run, now, "{}").unwrap();
    put(&state, &vec![(b"a".to_vec(), Some(1))], number, &mut BTreeMap::new());
    let secret = key();
    let writer = ManifestWriter::new(&target, dir.path(), now).signing_with(Some(&secret));
    let mut head = publish(&state, &writer, publishing(&run)).unwrap().unwrap().publication.head;
    head.sequence = u64::MAX;
    let last = writer.write_head(head).unwrap();
    writer.point_to(last.as_predecessor(), true).unwrap();
    let files = place.join(crate::model::reserved::MANIFEST);
    let foreign = files.join("notes.json");
    std::fs::write(&foreign, "").unwrap();
    let foreign_mode = foreign.metadata().unwrap().permissions().mode();
    for bits in [0o600, 0o644] {
        let asked = ManifestMode::new(bits);
        let writer = ManifestWriter::new(&target, dir.path(), now).with_mode(asked);
        writer.open(&state, super::open::Written::Nothing).unwrap();
        let names = [
            "00000001.json",
            "00000001.json.minisig",
            "00000001.ndjson.zst",
            "18446744073709551615.json",
            "18446744073709551615.json.minisig",
            "latest.json",
        ];
        for name in names {
            let mode = files.join(name).metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, bits, "{name}");
        }
        assert_eq!(foreign.metadata().unwrap().permissions().mode(), foreign_mode, "not ours");
    }
}

/// What a publication that nobody can use any more leaves is not what the next one goes on from.
#[test]
fn a_chain_that_was_lost_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("target");
    std::fs::create_dir(&place).unwrap();
    let target = target(&place);
    let now = Timestamp { seconds: 1_700_000_000, nanos: 0 };
    let state = State::open(&dir.path().join("state"), "/s", "/t").unwrap().state;
    let (reader, secret) = (ManifestReader::of(&target, dir.path()), key());
    let writer = ManifestWriter::new(&target, dir.path(), now).signing_with(Some(&secret));
    let run = RunId("run".to_owned());
    let number = state.begin_run(&run, now, "{}").unwrap();
    for version in 1..4 {
        put(&state, &vec![(b"a".to_vec(), Some(version))], number, &mut BTreeMap::new());
        publish(&state, &writer, publishing(&run)).unwrap().unwrap();
    }
    assert!(publish(&state, &writer, publishing(&run)).unwrap().is_none(), "nothing changed");
    let files = place.join(crate::model::reserved::MANIFEST);
    let third = reader.latest().unwrap().unwrap();
    std::fs::remove_file(files.join("latest.json")).unwrap();
    // It is signed again though no row changed.
    let fourth = publish(&state, &writer, publishing(&run)).unwrap().unwrap().publication.head;
    assert_eq!((fourth.sequence, fourth.previous), (4, None));
    assert_eq!(fourth.lost, Some(third.as_predecessor()));
    let latest = reader.latest().unwrap().unwrap();
    assert_eq!(
        check(&reader, &latest).unwrap(),
        CheckedChain { publications: 1, rows: 1, lost: Some(3) }
    );
    // A damaged segment of what stands unsigned: it is not signed as it is.
    std::fs::remove_file(files.join("00000004.json.minisig")).unwrap();
    std::fs::write(files.join("00000004.ndjson.zst"), "rubbish").unwrap();
    let done = publish(&state, &writer, publishing(&run)).unwrap().unwrap();
    assert_eq!((done.publication.head.sequence, done.signing), (5, Signing::AsBefore));
    assert!(holds(&reader, secret.public()));
    assert!(!files.join("00000004.ndjson.zst").exists(), "it counts no more");
}

/// A run that signs, of another machine perhaps, is killed before what it signed counts; the next
/// one doesn't sign.
#[test]
fn a_signature_that_a_killed_run_left_does_not_stay() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("target");
    std::fs::create_dir(&place).unwrap();
    let target = target(&place);
    let now = Timestamp { seconds: 1_700_000_000, nanos: 0 };
    let state = State::open(&dir.path().join("state"), "/s", "/t").unwrap().state;
    let (reader, secret) = (ManifestReader::of(&target, dir.path()), key());
    let files = place.join(crate::model::reserved::MANIFEST);
    let run = RunId("run".to_owned());
    let number = state.begin_run(&run, now, "{}").unwrap();
    put(&state, &vec![(b"a".to_vec(), Some(1))], number, &mut BTreeMap::new());
    std::fs::create_dir_all(&files).unwrap();
    let writer = ManifestWriter::new(&target, dir.path(), now);
    let signing = ManifestWriter::new(&target, dir.path(), now).signing_with(Some(&secret));
    signing.write("00000001.json.minisig", |_| Ok(())).unwrap();
    publish(&state, &writer, publishing(&run)).unwrap().unwrap();
    assert!(!files.join("00000001.json.minisig").exists());
    let latest = reader.latest().unwrap().unwrap();
    assert!(matches!(reader.signature_status(&latest, None).unwrap(), SignatureStatus::None));
    let done = publish(&state, &signing, publishing(&run)).unwrap().unwrap();
    assert_eq!((done.publication.head.sequence, done.signing), (1, Signing::Added));
    put(&state, &vec![(b"a".to_vec(), Some(2))], number, &mut BTreeMap::new());
    let done = publish(&state, &writer, publishing(&run)).unwrap().unwrap();
    assert_eq!((done.publication.head.sequence, done.signing), (2, Signing::Dropped));
    assert!(!holds(&reader, secret.public()));
}

/// Rows are not worth much without what tells where they are from.
#[test]
fn a_manifest_that_is_found_damaged_leaves_no_rows() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("target");
    std::fs::create_dir(&place).unwrap();
    let target = target(&place);
    let now = Timestamp { seconds: 1_700_000_000, nanos: 0 };
    let state = State::open(&dir.path().join("state"), "/s", "/t").unwrap().state;
    let (reader, writer) =
        (ManifestReader::of(&target, dir.path()), ManifestWriter::new(&target, dir.path(), now));
    let run = RunId("run".to_owned());
    let number = state.begin_run(&run, now, "{}").unwrap();
    // More than are committed together.
    let edits = (0..50_002_u32).map(|key| (key.to_be_bytes().to_vec(), Some(1))).collect();
    put(&state, &edits, number, &mut BTreeMap::new());
    let mut latest = publish(&state, &writer, publishing(&run)).unwrap().unwrap().publication;
    latest.head.segments[0].lines -= 1;
    let other = State::open(&dir.path().join("other"), "/s", "/t").unwrap().state;
    rebuild(&other, &reader, &latest, None).unwrap_err();
    assert!(other.rows().unwrap().next().is_none());
}

/// Nobody signs or goes on from what is not all there.
#[test]
fn a_segment_that_is_gone_or_cut_is_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("target");
    std::fs::create_dir(&place).unwrap();
    let target = target(&place);
    let now = Timestamp { seconds: 1_700_000_000, nanos: 0 };
    let state = State::open(&dir.path().join("state"), "/s", "/t").unwrap().state;
    let (reader, secret) = (ManifestReader::of(&target, dir.path()), key());
    let writer = ManifestWriter::new(&target, dir.path(), now);
    let signing = ManifestWriter::new(&target, dir.path(), now).signing_with(Some(&secret));
    let files = place.join(crate::model::reserved::MANIFEST);
    let run = RunId("run".to_owned());
    let number = state.begin_run(&run, now, "{}").unwrap();
    let change = |keys: std::ops::Range<u8>, version| {
        let edits = keys.map(|key| (vec![key], Some(version))).collect();
        put(&state, &edits, number, &mut BTreeMap::new());
    };
    let numbers = |head: &Head| -> Vec<u64> { head.segments.iter().map(|s| s.sequence).collect() };
    change(0..40, 1);
    publish(&state, &signing, publishing(&run)).unwrap().unwrap();
    change(7..8, 2);
    let second = publish(&state, &signing, publishing(&run)).unwrap().unwrap().publication;
    assert_eq!(numbers(&second.head), [1, 2]);
    std::fs::remove_file(files.join("00000001.ndjson.zst")).unwrap();
    // Nothing changed.
    let third = publish(&state, &signing, publishing(&run)).unwrap().unwrap().publication;
    assert_eq!(numbers(&third.head), [3]);
    assert_eq!(third.head.previous, Some(second.as_predecessor()));
    assert!(holds(&reader, secret.public()));
    assert!(!files.join("00000002.ndjson.zst").exists(), "it counts no more");
    let segment = std::fs::File::options().write(true).open(files.join("00000003.ndjson.zst"));
    segment.unwrap().set_len(7).unwrap();
    change(8..9, 2);
    let fourth = publish(&state, &writer, publishing(&run)).unwrap().unwrap().publication;
    assert_eq!(numbers(&fourth.head), [4]);
    let whole = CheckedChain { publications: 4, rows: 40, lost: None };
    assert_eq!(check(&reader, &fourth).unwrap(), whole);
}

/// A signature is as good where nobody said that it is there: the run that made it was killed, or it
/// was made by minisign.
#[test]
fn a_signature_that_the_pointer_does_not_tell_of_is_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("target");
    std::fs::create_dir(&place).unwrap();
    let target = target(&place);
    let now = Timestamp { seconds: 1_700_000_000, nanos: 0 };
    let state = State::open(&dir.path().join("state"), "/s", "/t").unwrap().state;
    let (reader, secret) = (ManifestReader::of(&target, dir.path()), key());
    let writer = ManifestWriter::new(&target, dir.path(), now);
    let signing = ManifestWriter::new(&target, dir.path(), now).signing_with(Some(&secret));
    let run = RunId("run".to_owned());
    let number = state.begin_run(&run, now, "{}").unwrap();
    put(&state, &vec![(b"a".to_vec(), Some(1))], number, &mut BTreeMap::new());
    let latest = publish(&state, &writer, publishing(&run)).unwrap().unwrap().publication;
    writer.sign(&secret, &latest.head, &reader.head(1).unwrap()).unwrap();
    assert!(publish(&state, &signing, publishing(&run)).unwrap().is_none(), "it is signed");
    assert!(holds(&reader, secret.public()));
    put(&state, &vec![(b"a".to_vec(), Some(2))], number, &mut BTreeMap::new());
    let done = publish(&state, &writer, publishing(&run)).unwrap().unwrap();
    assert_eq!((done.publication.head.sequence, done.signing), (2, Signing::Dropped));
}

/// The target is as it was some publications ago: what is published next takes no number of those
/// that it lost.
#[test]
fn numbers_go_on_where_an_older_manifest_was_put_back() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("target");
    std::fs::create_dir(&place).unwrap();
    let target = target(&place);
    let now = Timestamp { seconds: 1_700_000_000, nanos: 0 };
    let state = State::open(&dir.path().join("state"), "/s", "/t").unwrap().state;
    let (reader, writer) =
        (ManifestReader::of(&target, dir.path()), ManifestWriter::new(&target, dir.path(), now));
    let files = place.join(crate::model::reserved::MANIFEST);
    let run = RunId("run".to_owned());
    let number = state.begin_run(&run, now, "{}").unwrap();
    let publish = |version| {
        put(&state, &vec![(b"a".to_vec(), Some(version))], number, &mut BTreeMap::new());
        publish(&state, &writer, publishing(&run)).unwrap().unwrap().publication
    };
    publish(1);
    let pointer = std::fs::read(files.join("latest.json")).unwrap();
    let segment = std::fs::read(files.join("00000001.ndjson.zst")).unwrap();
    let second = publish(2);
    let third = publish(3);
    std::fs::write(files.join("latest.json"), pointer).unwrap();
    std::fs::write(files.join("00000001.ndjson.zst"), segment).unwrap();
    let fourth = publish(4);
    assert_eq!((fourth.head.sequence, &fourth.head.previous), (4, &None));
    assert_eq!(fourth.head.lost, Some(third.as_predecessor()));
    assert_eq!(Digest::of(&reader.head(2).unwrap()), second.digest, "heads are never changed");
    let whole = CheckedChain { publications: 1, rows: 1, lost: Some(3) };
    assert_eq!(check(&reader, &fourth).unwrap(), whole);
    let left = |sequence: u64| files.join(format!("{sequence:08}.ndjson.zst")).exists();
    assert_eq!([1, 3, 4].map(left), [false, false, true]);
}

/// Keys with their digests.
fn known(rows: impl Iterator<Item = Row>) -> Vec<(Key, Option<Digest>)> {
    rows.map(|row| (row.key, row.digest)).collect()
}

#[test]
fn what_is_foreseen_is_what_catching_up_makes_of_a_state() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("target");
    std::fs::create_dir(&place).unwrap();
    let target = target(&place);
    let now = Timestamp { seconds: 1_700_000_000, nanos: 0 };
    let (writer, reader) =
        (ManifestWriter::new(&target, dir.path(), now), ManifestReader::of(&target, dir.path()));
    let open =
        |name: &str| State::open(&dir.path().join(name), &format!("/{name}"), "/t").unwrap().state;
    let (ada, bob) = (open("ada"), open("bob"));
    let mut runs = 0;
    let mut edit = |state: &State, edits: &[(&str, Option<u8>)]| {
        runs += 1;
        let run = RunId(format!("run-{runs}"));
        let number = state.begin_run(&run, now, &publishing(&run).options.encode().unwrap());
        let edits = edits.iter().map(|(key, version)| (key.as_bytes().to_vec(), *version));
        put(state, &edits.collect(), number.unwrap(), &mut BTreeMap::new());
        run
    };
    let caught_up = |state: &State| {
        let foreseen = foresee(state, &reader, None).unwrap();
        let Some(Since::Usable(foreseen)) = foreseen else { panic!("others published") };
        let foreseen = known(foreseen.map(|row| row.unwrap().0));
        let since = catch_up(state, &reader, None).unwrap();
        assert!(matches!(since, Some(Since::Usable(_))));
        let rows = known(state.rows().unwrap().map(Result::unwrap));
        assert_eq!(foreseen, rows);
        assert!(catch_up(state, &reader, None).unwrap().is_none(), "it is taken in once");
        rows
    };
    let version = |rows: &[(Key, Option<Digest>)], key: &str| {
        let found = rows.iter().find(|(of, _)| of.as_bytes() == key.as_bytes());
        found.and_then(|(_, digest)| *digest).map(|digest| digest.0[0])
    };
    let first = edit(&ada, &[("a", Some(1)), ("b", Some(1)), ("c", Some(1))]);
    publish(&ada, &writer, publishing(&first)).unwrap();
    // Nothing was ever published from there.
    let second = edit(&bob, &[("d", Some(1))]);
    assert_eq!(caught_up(&bob).len(), 4);
    publish(&bob, &writer, publishing(&second)).unwrap();
    let third = edit(&bob, &[("a", Some(2)), ("d", None)]);
    publish(&bob, &writer, publishing(&third)).unwrap();
    edit(&ada, &[("c", Some(3))]);
    let rows = caught_up(&ada);
    let versions = ["a", "b", "c", "d"].map(|key| version(&rows, key));
    assert_eq!(versions, [Some(2), Some(1), Some(3), None]);
    let fourth = edit(&ada, &[("e", Some(4))]);
    publish(&ada, &writer, publishing(&fourth)).unwrap();
    caught_up(&bob);
    // A head between is gone: what was removed there can't be told, and all else is taken in.
    let fifth = edit(&ada, &[("a", Some(5)), ("b", None)]);
    publish(&ada, &writer, publishing(&fifth)).unwrap();
    let sixth = edit(&ada, &[("a", Some(6))]);
    let latest = publish(&ada, &writer, publishing(&sixth)).unwrap().unwrap().publication;
    let sequence = latest.head.sequence;
    let manifest = place.join(crate::model::reserved::MANIFEST);
    std::fs::remove_file(manifest.join(format!("{:08}.json", sequence - 1))).unwrap();
    let Some(Since::Usable(taken)) = catch_up(&bob, &reader, None).unwrap() else {
        panic!("its rows can be read")
    };
    assert_eq!((taken.run, taken.dropped), (sixth, 0));
    assert_eq!(taken.broken.map(|broken| broken.kind), Some(ErrorKind::Damaged));
    let rows = known(bob.rows().unwrap().map(Result::unwrap));
    assert_eq!((version(&rows, "a"), version(&rows, "b")), (Some(6), Some(1)));
    // Its segment is damaged: who published it is told, and nothing of it taken in.
    let seventh = edit(&ada, &[("a", Some(7))]);
    let latest = publish(&ada, &writer, publishing(&seventh)).unwrap().unwrap().publication;
    let name = latest.head.segments.last().unwrap().name();
    std::fs::write(manifest.join(name), "rubbish").unwrap();
    for lost in [
        catch_up(&bob, &reader, None).unwrap().map(|since| matches!(since, Since::Usable(_))),
        foresee(&bob, &reader, None).unwrap().map(|since| matches!(since, Since::Usable(_))),
    ] {
        assert_eq!(lost, Some(false));
    }
    assert_eq!(known(bob.rows().unwrap().map(Result::unwrap)), rows);
    // Nor can its head be read: it is later by the pointer, or by the head that stands.
    std::fs::remove_file(manifest.join(format!("{:08}.json", latest.head.sequence))).unwrap();
    let Some(Since::Lost(Lost { run: None, .. })) = catch_up(&bob, &reader, None).unwrap() else {
        panic!("somebody published")
    };
    assert!(catch_up(&ada, &reader, None).unwrap().is_none(), "it was published from there");
}
