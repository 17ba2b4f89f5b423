//! Damaged, missing, incomplete and restored manifests.

use super::*;

#[test]
fn what_a_killed_run_left_counts_for_nothing() {
    let scene = Scene::new();
    let (writer, reader) = (scene.writer(), scene.reader());
    let edits = |version| (0..20_u8).map(|key| (vec![b'a' + key], Some(version))).collect();
    for (at, name) in ["00000002.ndjson.zst", "00000002.json"].into_iter().enumerate() {
        let run = scene.begin(&format!("run-{at}"));
        scene.put(&run, &edits(at as u8 + 1));
        if at == 0 {
            scene.publish(&writer, &run);
        }
        std::fs::write(scene.files().join(name), "half").unwrap();
        assert_eq!(reader.latest().unwrap().unwrap().head.sequence, 1);
    }
    let latest = scene.publish(&writer, &scene.begin("last")).unwrap().publication;
    assert_eq!(reader.latest().unwrap(), Some(latest.clone()));
    let rows = Merged::of(&reader, &latest.head).unwrap();
    assert!(rows.map(Result::unwrap).all(|(row, _)| row.digest == Some(Digest([2; 32]))));
}

/// A file of a manifest of two segments is damaged or missing, and no row changed since.
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
    // Only a full read shows this damage: a run that extends the manifest does one, and a
    // verification.
    let unseen = [(first, flipped), (last, flipped)];
    for ((name, damage), is_seen) in
        seen.map(|case| (case, true)).chain(unseen.map(|case| (case, false)))
    {
        let scene = Scene::new();
        let (writer, reader) = (scene.writer(), scene.reader());
        let run = scene.begin("run");
        let edits = |keys: std::ops::Range<u8>| keys.map(|key| (vec![key], Some(7))).collect();
        for keys in [0..25, 2..4] {
            scene.put(&run, &edits(keys));
            scene.publish(&writer, &run).unwrap();
        }
        assert!(scene.publish(&writer, &run).is_none(), "all is whole");
        damage(&scene.files().join(name));
        let known = scene.state.published().unwrap();
        let mut status = ManifestStatus::look(&reader, known.as_ref()).unwrap();
        assert_eq!(status.fault.is_some(), is_seen, "{name}");
        status.read(&reader).unwrap();
        let fault = status.fault.unwrap();
        assert!(fault.to_string().contains(name), "{name}: {fault}");
        if !is_seen {
            assert!(scene.publish(&writer, &run).is_none(), "unseen");
            scene.state.distrust(&fault).unwrap();
        }
        let done = scene.publish(&writer, &run).unwrap();
        assert!(done.fault.unwrap().to_string().contains(name));
        let latest = reader.latest().unwrap().unwrap();
        assert_eq!((latest.head.sequence, latest.head.segments.len()), (3, 1), "{name}");
        assert_eq!(check(&reader, &latest).unwrap().rows, 25);
        assert!(scene.publish(&writer, &run).is_none(), "all is whole again");
        if !is_seen {
            // A publication doesn't extend a manifest damaged like this.
            scene.put(&run, &edits(2..4));
            scene.publish(&writer, &run).unwrap();
            let first = reader.latest().unwrap().unwrap().head.segments[0].name();
            flipped(&scene.files().join(first));
            scene.put(&run, &edits(5..6));
            let done = scene.publish(&writer, &run).unwrap();
            assert_eq!(done.fault.unwrap().kind, ErrorKind::Damaged);
            assert_eq!(check(&reader, &done.publication).unwrap().rows, 25);
        }
    }
}

/// A hostile manifest: extreme numbers, and names with terminal escapes.
#[test]
fn a_head_of_a_strangers_harms_nobody() {
    let scene = Scene::new();
    let (writer, reader) = (scene.writer(), scene.reader());
    let run = scene.begin("run");
    scene.set(&run, "a", 1);
    let good = scene.publish(&writer, &run).unwrap().publication;
    let text = String::from_utf8(good.head.encode().unwrap()).unwrap();
    let plant = |head: &str, sequence: u64| {
        let files = scene.files();
        let digest = Digest::of(head.as_bytes());
        let pointer = format!(
            "{{\"vidimus_manifest\":1,\"head\":{{\"sequence\":{sequence},\"blake3\":\"{digest}\"}}}}"
        );
        std::fs::write(files.join(format!("{sequence:08}.json")), head).unwrap();
        std::fs::write(files.join("latest.json"), pointer).unwrap();
    };
    plant(&text.replace("\"run\": \"run\"", "\"run\": \"\\u001b[2J\""), 1);
    assert!(reader.latest().unwrap_err().to_string().contains("control characters"));
    // The JSON parser quotes unknown words.
    plant(&text.replace("\"complete\"", "\"\\u001b[2J\""), 1);
    let error = reader.latest().unwrap_err().to_string();
    assert!(error.contains("\\u{1b}[2J") && !error.contains('\u{1b}'), "{error:?}");
    let largest = u64::MAX;
    plant(&text.replacen("\"sequence\": 1", &format!("\"sequence\": {largest}"), 1), largest);
    scene.set(&run, "a", 2);
    let error = publish(&scene.state, &writer, publishing(&run.id)).unwrap_err();
    assert!(error.to_string().contains("highest number"), "{error}");
    plant(&text.replace("\"lines\": 1", &format!("\"lines\": {largest}")), 1);
    let latest = reader.latest().unwrap().unwrap();
    assert!(
        Merged::of(&reader, &latest.head).and_then(Iterator::collect::<Result<Vec<_>, _>>).is_err()
    );
    scene.set(&run, "a", 3);
    scene.publish(&writer, &run).unwrap();
    assert_eq!(reader.latest().unwrap().unwrap().head.rows, 1);
}

/// A new publication doesn't build on the remains of an unusable one.
#[test]
fn a_chain_that_was_lost_begins_anew() {
    let scene = Scene::new();
    let (reader, secret) = (scene.reader(), key());
    let writer = scene.signing(&secret);
    let run = scene.begin("run");
    for version in 1..4 {
        scene.set(&run, "a", version);
        scene.publish(&writer, &run).unwrap();
    }
    assert!(scene.publish(&writer, &run).is_none(), "nothing changed");
    let files = scene.files();
    let third = reader.latest().unwrap().unwrap();
    std::fs::remove_file(files.join("latest.json")).unwrap();
    // It is signed again although no row changed.
    let fourth = scene.publish(&writer, &run).unwrap().publication.head;
    assert_eq!((fourth.sequence, fourth.previous), (4, None));
    assert_eq!(fourth.lost, Some(third.as_predecessor()));
    let latest = reader.latest().unwrap().unwrap();
    assert_eq!(
        check(&reader, &latest).unwrap(),
        CheckedChain { publications: 1, rows: 1, lost: Some(3) }
    );
    // An unsigned manifest with a damaged segment is not signed as it is.
    std::fs::remove_file(files.join("00000004.json.minisig")).unwrap();
    std::fs::write(files.join("00000004.ndjson.zst"), "rubbish").unwrap();
    let done = scene.publish(&writer, &run).unwrap();
    assert_eq!((done.publication.head.sequence, done.signing), (5, Signing::AsBefore));
    assert!(holds(&reader, secret.public()));
    assert!(!files.join("00000004.ndjson.zst").exists(), "it counts no more");
}

/// Rows are of little use without their sources.
#[test]
fn a_manifest_that_is_found_damaged_leaves_no_rows() {
    let scene = Scene::new();
    let (reader, writer) = (scene.reader(), scene.writer());
    let run = scene.begin("run");
    // More rows than are committed together.
    let edits = (0..50_002_u32).map(|key| (key.to_be_bytes().to_vec(), Some(1))).collect();
    scene.put(&run, &edits);
    let mut latest = scene.publish(&writer, &run).unwrap().publication;
    latest.head.segments[0].lines -= 1;
    let other = scene.other_state("other", "/s", "/t");
    rebuild(&other, &reader, &latest, None).unwrap_err();
    assert!(other.rows().unwrap().next().is_none());
}

/// An incomplete manifest is neither signed nor extended.
#[test]
fn a_segment_that_is_gone_or_cut_is_written_anew() {
    let scene = Scene::new();
    let (reader, secret) = (scene.reader(), key());
    let (writer, signing) = (scene.writer(), scene.signing(&secret));
    let files = scene.files();
    let run = scene.begin("run");
    let change = |keys: std::ops::Range<u8>, version| {
        let edits = keys.map(|key| (vec![key], Some(version))).collect();
        scene.put(&run, &edits);
    };
    let numbers = |head: &Head| -> Vec<u64> { head.segments.iter().map(|s| s.sequence).collect() };
    change(0..40, 1);
    scene.publish(&signing, &run).unwrap();
    change(7..8, 2);
    let second = scene.publish(&signing, &run).unwrap().publication;
    assert_eq!(numbers(&second.head), [1, 2]);
    std::fs::remove_file(files.join("00000001.ndjson.zst")).unwrap();
    // Nothing changed.
    let third = scene.publish(&signing, &run).unwrap().publication;
    assert_eq!(numbers(&third.head), [3]);
    assert_eq!(third.head.previous, Some(second.as_predecessor()));
    assert!(holds(&reader, secret.public()));
    assert!(!files.join("00000002.ndjson.zst").exists(), "it counts no more");
    let segment = std::fs::File::options().write(true).open(files.join("00000003.ndjson.zst"));
    segment.unwrap().set_len(7).unwrap();
    change(8..9, 2);
    let fourth = scene.publish(&writer, &run).unwrap().publication;
    assert_eq!(numbers(&fourth.head), [4]);
    let whole = CheckedChain { publications: 4, rows: 40, lost: None };
    assert_eq!(check(&reader, &fourth).unwrap(), whole);
}

/// The target was restored to an earlier publication: the next one doesn't reuse the numbers of
/// those lost.
#[test]
fn numbers_go_on_where_an_older_manifest_was_put_back() {
    let scene = Scene::new();
    let (reader, writer) = (scene.reader(), scene.writer());
    let files = scene.files();
    let run = scene.begin("run");
    let publish = |version| {
        scene.set(&run, "a", version);
        scene.publish(&writer, &run).unwrap().publication
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
