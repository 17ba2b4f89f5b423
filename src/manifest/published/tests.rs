mod damage;
mod scene;
mod signing;

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
use scene::{NOW, Scene};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

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
            preserve: crate::model::Preserve::NOTHING,
            settable: None,
            source_tells: false,
            mapping: crate::model::MetadataMapping::default(),
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
        extras: None,
        looked: crate::model::AttributeKinds::ALL,
        born: None,
    }
}

/// One run: what it puts (`Some`) and removes.
type Edits = Vec<(Vec<u8>, Option<u8>)>;

fn edits() -> impl Strategy<Value = Vec<Edits>> {
    // Few names, so that they recur; some are not UTF-8.
    let key = prop_oneof![
        prop::collection::vec(prop::sample::select(&b"ab/\xff\n"[..]), 0..3),
        (0..60_u8).prop_map(|number| format!("common/{number:02}").into_bytes()),
    ];
    let edit = (key, prop::option::weighted(0.8, any::<u8>()));
    prop::collection::vec(prop::collection::vec(edit, 0..40), 1..12)
}

/// Applies edits; returns whether they change anything, which removing a missing key doesn't.
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

    /// After each run, whatever was published before, the manifest has the state's content, and a
    /// state rebuilt from it is the same.
    #[test]
    fn the_manifest_is_what_the_state_holds(runs in edits()) {
        let scene = Scene::new();
        let (writer, reader, state) = (scene.writer(), scene.reader(), &scene.state);
        let mut expected = BTreeMap::new();
        for (at, edits) in runs.iter().enumerate() {
            let run = scene.begin(&format!("run-{at}"));
            let has_changed = scene.put_into(&run, edits, &mut expected);
            let before = reader.latest().unwrap();
            let published = scene.publish(&writer, &run);
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
            // The last row of a key wins.
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
        let other = scene.other_state("other", "/s", "/elsewhere");
        prop_assert_eq!(rebuild(&other, &reader, &latest, None).unwrap(), expected.len() as u64);
        let rows = |state: &State| -> Vec<_> {
            let rows = state.rows().unwrap().map(Result::unwrap);
            rows.map(|row| (state.run_id(row.run).unwrap(), Row { run: RunNumber(0), ..row }))
                .collect()
        };
        prop_assert_eq!(rows(&other), rows(state));
        prop_assert_eq!(other.last_run().unwrap().unwrap().id, latest.head.run.clone());
        let again = publish(&other, &writer, publishing(&latest.head.run)).unwrap();
        prop_assert!(again.is_none(), "nothing changed since");
    }
}

#[test]
fn only_what_needs_version_2_is_published_as_such() {
    let scene = Scene::new();
    let (writer, run) = (scene.writer(), scene.begin("run"));
    let publish = |edit: &dyn Fn(&mut crate::manifest::Writer)| {
        let mut rows = scene.state.writer().unwrap();
        edit(&mut rows);
        rows.commit().unwrap();
        let head = scene.publish(&writer, &run).unwrap().publication.head;
        let pointer = std::fs::read(scene.files().join("latest.json"));
        let pointer: serde_json::Value = serde_json::from_slice(&pointer.unwrap()).unwrap();
        let version = serde_json::to_value(&head).unwrap()["vidimus_manifest"].clone();
        assert_eq!(pointer["vidimus_manifest"], version);
        (version.as_u64().unwrap(), head.segments.len())
    };
    let plain = |key: &str| row(key.as_bytes(), 1, run.number);
    let holes = |key: &str| {
        let extras = crate::model::Extras { holes: true, ..Default::default() };
        Row { extras: extras.boxed(), ..plain(key) }
    };
    let many = |rows: &mut crate::manifest::Writer| {
        (0..100).for_each(|number| rows.put(&plain(&format!("{number:02}"))).unwrap());
    };
    assert_eq!(publish(&many), (1, 1));
    assert_eq!(publish(&|rows| rows.put(&holes("sparse")).unwrap()), (2, 2));
    // It goes on from a segment that needs it.
    assert_eq!(publish(&|rows| rows.put(&plain("plain")).unwrap()), (2, 3));
    assert_eq!(publish(&|rows| rows.remove(&Key::new(*b"sparse")).unwrap()), (2, 4));
    assert_eq!(publish(&many), (1, 1), "all rows are written again");
}

/// Makes a secret key.
fn key() -> SecretKey {
    let keys = keys::NewKeys::make(None).unwrap();
    keys::LockedKey::decode(&keys.secret).unwrap().open(String::new()).unwrap()
}

/// The number in a head is not trustworthy.
#[test]
fn all_files_of_a_manifest_are_opened_whatever_numbers_they_have() {
    use std::os::unix::fs::PermissionsExt as _;
    let scene = Scene::new();
    let run = scene.begin("run");
    scene.set(&run, "a", 1);
    let secret = key();
    let writer = scene.signing(&secret);
    let mut head = scene.publish(&writer, &run).unwrap().publication.head;
    head.sequence = u64::MAX;
    let last = writer.write_head(head).unwrap();
    writer.point_to(&last, true).unwrap();
    let files = scene.files();
    let foreign = files.join("notes.json");
    std::fs::write(&foreign, "").unwrap();
    let foreign_mode = foreign.metadata().unwrap().permissions().mode();
    for bits in [0o600, 0o644] {
        let asked = ManifestMode::new(bits);
        let writer = scene.writer().with_mode(asked);
        writer.open(&scene.state, super::open::Written::Nothing).unwrap();
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

/// Keys with their digests.
fn known(rows: impl Iterator<Item = Row>) -> Vec<(Key, Option<Digest>)> {
    rows.map(|row| (row.key, row.digest)).collect()
}

#[test]
fn what_is_foreseen_is_what_catching_up_makes_of_a_state() {
    let scene = Scene::new();
    let (writer, reader) = (scene.writer(), scene.reader());
    let (ada, bob) =
        (scene.other_state("ada", "/ada", "/t"), scene.other_state("bob", "/bob", "/t"));
    let mut runs = 0;
    let mut edit = |state: &State, edits: &[(&str, Option<u8>)]| {
        runs += 1;
        let run = RunId(format!("run-{runs}"));
        let number = state.begin_run(&run, NOW, &publishing(&run).options.encode().unwrap());
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
    // This state never published.
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
    // A head in between is missing: its removals are unknown, and everything else is imported.
    let fifth = edit(&ada, &[("a", Some(5)), ("b", None)]);
    publish(&ada, &writer, publishing(&fifth)).unwrap();
    let sixth = edit(&ada, &[("a", Some(6))]);
    let latest = publish(&ada, &writer, publishing(&sixth)).unwrap().unwrap().publication;
    let sequence = latest.head.sequence;
    let manifest = scene.files();
    std::fs::remove_file(manifest.join(format!("{:08}.json", sequence - 1))).unwrap();
    let Some(Since::Usable(taken)) = catch_up(&bob, &reader, None).unwrap() else {
        panic!("its rows can be read")
    };
    assert_eq!((taken.run, taken.dropped), (sixth, 0));
    assert_eq!(taken.broken.map(|broken| broken.kind), Some(ErrorKind::Damaged));
    let rows = known(bob.rows().unwrap().map(Result::unwrap));
    assert_eq!((version(&rows, "a"), version(&rows, "b")), (Some(6), Some(1)));
    // Its segment is damaged: its run is reported, and nothing is imported.
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
    // Its head is unreadable, too: the pointer or the existing head shows that it is later.
    std::fs::remove_file(manifest.join(format!("{:08}.json", latest.head.sequence))).unwrap();
    let Some(Since::Lost(Lost { run: None, .. })) = catch_up(&bob, &reader, None).unwrap() else {
        panic!("somebody published")
    };
    assert!(catch_up(&ada, &reader, None).unwrap().is_none(), "it was published from there");
}

/// Returns whether a manifest is complete and signed, as `manifest check` requires.
fn holds(reader: &ManifestReader<'_>, key: &PublicKey) -> bool {
    let checked = reader.latest_to_the_letter().and_then(|latest| {
        let latest = latest.ok_or_else(|| Error::new(ErrorKind::Damaged, "there is none"))?;
        reader.signature_status(&latest, Some(key))?.demand(&latest, key)?;
        check(reader, &latest)
    });
    let is_found = |kind| matches!(kind, ErrorKind::Damaged | ErrorKind::Untrusted);
    checked.map_err(|error| assert!(is_found(error.kind), "{error}")).is_ok()
}
