//! Signed manifests.

use super::*;

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
        // This comment is not authenticated.
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

/// A signing run, perhaps on another machine, is killed before its publication becomes current; the
/// next run doesn't sign.
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

/// A signature is valid even if the pointer doesn't mention it: the run that made it was killed, or
/// minisign made it.
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
