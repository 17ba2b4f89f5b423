//! Copies within a store, large ones in parts, by the library: the limits of S3 are too large for a
//! test.

use crate::common::background::wait_until;
use crate::common::beside;
use crate::common::content::content;
use crate::s3::{ACCESS_KEY, Bucket, Fault, Hold, Kind, Object, On, REGION, S3Server, SECRET_KEY};
use crate::scene::MEBIBYTE;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use vidimus::backend::object::s3::{Credential, Fixed, Proxies, S3, S3Config};
use vidimus::backend::object::{
    BucketPrefix, ObjectSource, ObjectTarget, Outcome, PrefixOptions, RequestLimits, Store,
};
use vidimus::backend::{Precondition, ReadError, Source as _, Target as _};
use vidimus::limits::{Began, Memory};
use vidimus::model::{Cause, Entry, EntryKind, Key, Metadata, RequestKind, Stamp, Stop, Timestamp};

/// Lets everything through.
struct Open;

impl RequestLimits for Open {
    fn begin(&self, _: RequestKind) -> Option<Began> {
        Some(Began::now())
    }

    fn end(&self, _: Began, _: Outcome) {}

    fn retried(&self, _: RequestKind, _: Duration) {}
}

/// A server whose copies are small.
struct Copying {
    server: S3Server,
    from: Bucket,
    to: Bucket,
    state: TempDir,
    source: ObjectSource,
    target: ObjectTarget,
}

const ABOVE: usize = 10 * MEBIBYTE;

impl Copying {
    fn new() -> Self {
        let server = S3Server::start();
        server.settings(|settings| settings.copy_limit = ABOVE as u64);
        let (from, to) = (server.bucket("bucket"), server.bucket("other"));
        let state = tempfile::tempdir().expect("make a directory");
        let place = |bucket: &str| {
            let config = S3Config {
                endpoint: Some(server.endpoint()),
                region: REGION.to_owned(),
                bucket: bucket.to_owned(),
                path_style: true,
                ca_file: None,
                proxies: Proxies::default(),
            };
            let keys = Arc::new(Fixed(Some(Credential::new(ACCESS_KEY, SECRET_KEY, None))));
            let store: Arc<dyn Store> =
                Arc::new(S3::new(config, keys, Arc::new(Open), Stop::default()).expect("a client"));
            let guess = Metadata { mode: 0, uid: 0, gid: 0, mtime: Timestamp::default() };
            let place = BucketPrefix::new(PrefixOptions {
                lock_store: Arc::clone(&store),
                store,
                prefix: Box::default(),
                spool_dir: state.path().into(),
                memory: Memory::new(64 << 20),
                stop: Stop::default(),
                token: "token".to_owned(),
                guess,
            });
            Arc::new(place.copying_in_parts(ABOVE as u64, 8 << 20))
        };
        let (source, target) =
            (ObjectSource::new(place("bucket")), ObjectTarget::new(place("other")));
        Self { server, from, to, state, source, target }
    }

    /// An object of the source of three parts, as it is listed.
    fn large(&self) -> (Entry, Vec<u8>) {
        let content = content(20 * MEBIBYTE, 5);
        let object = Object::new(content.clone())
            .with_etag("0123456789abcdef0123456789abcdef-9")
            .with_header("content-type", "a/b")
            .with_metadata("mine", "yes");
        self.from.put_object("x", object);
        (self.listed("x"), content)
    }

    fn listed(&self, key: &str) -> Entry {
        self.source.look(&Key::new(key.as_bytes())).expect("look").expect("it is there")
    }

    fn copy(&self, entry: &Entry, place: Precondition) -> Result<Stamp, ReadError> {
        let copied = self.target.copy_server_side(&self.source, entry, place)?;
        Ok(copied.expect("the store copies it"))
    }

    /// Nothing is left behind.
    fn is_clean(&self) {
        assert!(self.to.uploads().is_empty(), "no upload is left");
        let notes = self.state.path().join("uploads");
        let notes = std::fs::read_dir(notes).map_or(0, Iterator::count);
        assert_eq!(notes, 0, "nor its note");
    }
}

#[test]
fn a_large_object_is_copied_in_parts_side_by_side_with_all_that_is_kept() {
    let copying = Copying::new();
    let (entry, content) = copying.large();
    let hold = Hold::new();
    let scripted = copying.server.fail(On::every(Kind::PartCopy), Fault::Held(hold.clone()));
    let ((), stamp) = beside(
        |_| {
            wait_until("parts side by side", || scripted.struck() == 3);
            hold.release();
        },
        || copying.copy(&entry, Precondition::Absent).expect("copied"),
    );
    let copy = copying.to.get("x").expect("it is there");
    assert!(copy.content == content);
    assert_eq!((&*copy.headers["content-type"], &*copy.metadata["mine"]), ("a/b", "yes"));
    assert_eq!(stamp.tag().expect("a tag").as_str(), copy.etag);
    assert_eq!((copying.server.count(Kind::PartCopy), copying.server.count(Kind::Get)), (3, 0));
    assert_eq!(copying.server.peak(), 3, "side by side");
    copying.is_clean();
}

#[test]
fn a_copy_survives_what_passes_at_each_of_its_requests() {
    for kind in [Kind::CreateUpload, Kind::PartCopy, Kind::Complete] {
        for fault in [Fault::Status(500), Fault::Reset, Fault::ErrorInOk("InternalError")] {
            let copying = Copying::new();
            let (entry, content) = copying.large();
            copying.server.fail(On::nth(kind, 1), fault.clone());
            copying
                .copy(&entry, Precondition::Absent)
                .unwrap_or_else(|e| panic!("{kind:?} {fault:?} {e:?}"));
            assert!(copying.to.content("x") == content, "{kind:?} {fault:?}");
            copying.is_clean();
        }
    }
}

#[test]
fn a_copy_in_parts_whose_end_was_not_answered_is_known_for_ones_own() {
    for place in [Precondition::Absent, Precondition::Leaf] {
        let copying = Copying::new();
        let (entry, content) = copying.large();
        let lost = copying.server.fail(On::nth(Kind::Complete, 1), Fault::LostReply);
        let stamp = copying.copy(&entry, place).expect("copied");
        assert_eq!(lost.struck(), 1);
        let copy = copying.to.get("x").expect("it is there");
        assert!(copy.content == content);
        assert_eq!(stamp.tag().expect("a tag").as_str(), copy.etag);
        copying.is_clean();
    }
}

#[test]
fn a_copy_overwrites_nothing_that_somebody_else_put_meanwhile() {
    let copying = Copying::new();
    let (large, _) = copying.large();
    copying.from.put("small", "small");
    let small = copying.listed("small");
    for (entry, kind) in [(&large, Kind::Complete), (&small, Kind::Copy)] {
        let key = str::from_utf8(entry.key.as_bytes()).expect("UTF-8");
        for stands in [None, Some("old")] {
            copying.to.delete(key);
            let place = match stands {
                None => Precondition::Absent,
                Some(old) => {
                    copying.to.put(key, old);
                    let at = copying.target.look(&entry.key).expect("look").expect("it is there");
                    Precondition::Object(at.stamp.tag().expect("a tag"))
                }
            };
            copying.server.fail(On::nth(kind, 1), Fault::Replaced(b"someone else's"));
            let error = copying.copy(entry, place).expect_err("somebody was first");
            let is_told = matches!(error, ReadError::Sink(Cause::NameTaken | Cause::TargetChanged));
            assert!(is_told, "{key} {place:?}: {error:?}");
            assert_eq!(copying.to.content(key), "someone else's", "{key} {place:?}");
            copying.server.heal();
            // And one that was deleted is not made anew.
            if let Precondition::Object(_) = place {
                copying.to.delete(key);
                copying.copy(entry, place).expect_err("it is gone");
                assert_eq!(copying.to.get(key), None, "{key}");
            }
        }
    }
    copying.is_clean();
}

#[test]
fn a_source_that_changed_is_not_copied() {
    let copying = Copying::new();
    let (large, content) = copying.large();
    copying.from.put("small", "small");
    let small = copying.listed("small");
    copying.from.put("small", "other");
    copying.from.put("x", &content);
    for entry in [large, small] {
        let error = copying.copy(&entry, Precondition::Absent).expect_err("it is another");
        assert!(matches!(error, ReadError::Changed), "{error:?}");
    }
    assert!(copying.to.keys().is_empty());
    copying.is_clean();
}

#[test]
fn a_copy_whose_reply_was_lost_is_known_for_ones_own() {
    let copying = Copying::new();
    copying.from.put("tag", "content");
    let object = Object::new("content").with_etag("0123456789abcdef0123456789abcdef-2");
    let digest = vidimus::model::Digest::of(b"content").to_string();
    copying.from.put_object("digest", object.clone().with_metadata("vidimus-blake3", &digest));
    copying.from.put_object("neither", object);
    for (key, is_known) in [("tag", true), ("digest", true), ("neither", false)] {
        copying.server.fail(On::nth(Kind::Copy, 1), Fault::LostReply);
        let copied = copying.copy(&copying.listed(key), Precondition::Absent);
        assert_eq!(copied.is_ok(), is_known, "{key}: {copied:?}");
        assert_eq!(copying.to.content(key), "content");
        copying.server.heal();
    }
}

#[test]
fn a_store_that_refuses_conditions_copies_without_them() {
    for fault in [Fault::Status(501), Fault::Status(400)] {
        let copying = Copying::new();
        let (large, content) = copying.large();
        let on = On::every(Kind::Copy).or(Kind::Complete).header("if-none-match: *");
        copying.server.fail(on, fault.clone());
        for key in ["a", "b"] {
            copying.from.put(key, key);
            copying.copy(&copying.listed(key), Precondition::Absent).expect("copied");
        }
        assert_eq!(copying.server.count(Kind::Copy), 3, "learnt once");
        copying.copy(&large, Precondition::Absent).expect("copied");
        assert!(copying.to.content("x") == content);
        copying.is_clean();
    }
}

#[test]
fn metadata_is_set_on_the_known_version_alone() {
    let copying = Copying::new();
    let metadata = Metadata { mode: 0o600, ..Metadata::default() };
    let set = |key: &str, place| {
        copying.target.set_metadata(
            &Key::new(key.as_bytes()),
            EntryKind::File,
            &(&metadata).into(),
            place,
        )
    };
    let content = content(20 * MEBIBYTE, 6);
    for (key, content) in [("small", &b"content"[..]), ("large", &content)] {
        copying.to.put(key, content);
        let listed =
            copying.target.look(&Key::new(key.as_bytes())).expect("look").expect("it is there");
        let place = Precondition::Object(listed.stamp.tag().expect("a tag"));
        set(key, place).expect("set");
        assert!(copying.to.content(key) == content);
        assert_eq!(copying.to.get(key).expect("there").metadata["vidimus-mode"], "0600");
        copying.to.put(key, "someone else's");
        assert!(matches!(set(key, place), Err(Cause::TargetChanged)), "{key}");
        assert_eq!(copying.to.get(key).expect("there").metadata.len(), 0, "{key}");
    }
    // Between the look and the copy.
    let kinds = On::every(Kind::Copy).turns(1..=1);
    copying.server.fail(kinds, Fault::Replaced(b"another one's"));
    assert!(matches!(set("small", Precondition::Leaf), Err(Cause::TargetChanged)));
    assert_eq!(copying.to.content("small"), "another one's");
    copying.server.heal();
    copying.server.fail(On::nth(Kind::Copy, 1), Fault::LostReply);
    copying.to.put_object("small", Object::new("x").with_etag("0123-2"));
    set("small", Precondition::Leaf).expect("its own");
    copying.is_clean();
}

#[test]
fn a_copy_that_could_not_be_given_up_is_given_up_by_the_next_run() {
    let copying = Copying::new();
    let (entry, _) = copying.large();
    copying.server.fail(On::nth(Kind::PartCopy, 2), Fault::Error(404, "NoSuchBucket"));
    copying.server.fail(On::every(Kind::Abort), Fault::Status(403));
    copying.copy(&entry, Precondition::Absent).expect_err("no bucket");
    assert_eq!((copying.to.get("x"), copying.to.uploads().len()), (None, 1));
    copying.server.heal();
    let mut given_up = Vec::new();
    copying
        .target
        .abort_stale_uploads(&mut |key| given_up.push(key.to_string()))
        .expect("given up");
    assert_eq!(given_up.len(), 1, "{given_up:?}");
    copying.is_clean();
}

/// A store copies gigabytes for minutes: who asks again before it is done has it all copied twice.
#[test]
fn a_copy_whose_reply_was_lost_is_looked_for_and_not_asked_for_again() {
    for kind in [Kind::PartCopy, Kind::Complete] {
        let copying = Copying::new();
        let (entry, content) = copying.large();
        copying.server.fail(On::nth(kind, 1), Fault::LostReply);
        let stamp = copying.copy(&entry, Precondition::Absent).expect("copied");
        let copy = copying.to.get("x").expect("it is there");
        assert!(copy.content == content);
        assert_eq!(stamp.tag().expect("a tag").as_str(), copy.etag, "{kind:?}");
        let counts = (copying.server.count(Kind::PartCopy), copying.server.count(Kind::Complete));
        assert_eq!(counts, (3, 1), "{kind:?}");
        copying.is_clean();
    }
    let copying = Copying::new();
    copying.from.put("small", "content");
    let entry = copying.listed("small");
    copying.server.fail(On::nth(Kind::Copy, 1), Fault::LostReply);
    copying.copy(&entry, Precondition::Absent).expect("copied");
    assert_eq!(copying.to.content("small"), "content");
    assert_eq!(copying.server.count(Kind::Copy), 1);
}
