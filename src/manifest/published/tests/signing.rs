//! Signed manifests.

use super::*;

#[test]
fn a_change_of_any_byte_of_a_signed_manifest_is_found() {
    let scene = Scene::new();
    let (first, second) = (key(), key());
    let reader = scene.reader();
    let edits = |keys: std::ops::Range<u8>| keys.map(|key| (vec![key], Some(7))).collect();
    for (at, keys, key) in [(1, 0..25, &first), (2, 2..4, &second)] {
        let run = scene.begin(&format!("run-{at}"));
        scene.put(&run, &edits(keys));
        let writer = scene.signing(key);
        scene.publish(&writer, &run).unwrap();
    }
    let key = second.public();
    assert!(holds(&reader, key));
    assert!(!holds(&reader, first.public()), "that is the key of the publication before");
    let files = scene.files();
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
    let scene = Scene::new();
    let (reader, secret) = (scene.reader(), key());
    let files = scene.files();
    let run = scene.begin("run");
    scene.set(&run, "a", 1);
    std::fs::create_dir_all(&files).unwrap();
    let (writer, signing) = (scene.writer(), scene.signing(&secret));
    signing.write("00000001.json.minisig", |_| Ok(())).unwrap();
    scene.publish(&writer, &run).unwrap();
    assert!(!files.join("00000001.json.minisig").exists());
    let latest = reader.latest().unwrap().unwrap();
    assert!(matches!(reader.signature_status(&latest, None).unwrap(), SignatureStatus::None));
    let done = scene.publish(&signing, &run).unwrap();
    assert_eq!((done.publication.head.sequence, done.signing), (1, Signing::Added));
    scene.set(&run, "a", 2);
    let done = scene.publish(&writer, &run).unwrap();
    assert_eq!((done.publication.head.sequence, done.signing), (2, Signing::Dropped));
    assert!(!holds(&reader, secret.public()));
}

/// A signature is valid even if the pointer doesn't mention it: the run that made it was killed, or
/// minisign made it.
#[test]
fn a_signature_that_the_pointer_does_not_tell_of_is_told_of() {
    let scene = Scene::new();
    let (reader, secret) = (scene.reader(), key());
    let (writer, signing) = (scene.writer(), scene.signing(&secret));
    let run = scene.begin("run");
    scene.set(&run, "a", 1);
    let latest = scene.publish(&writer, &run).unwrap().publication;
    writer.sign(&secret, &latest.head, &reader.head(1).unwrap()).unwrap();
    assert!(scene.publish(&signing, &run).is_none(), "it is signed");
    assert!(holds(&reader, secret.public()));
    scene.set(&run, "a", 2);
    let done = scene.publish(&writer, &run).unwrap();
    assert_eq!((done.publication.head.sequence, done.signing), (2, Signing::Dropped));
}
