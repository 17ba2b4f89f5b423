//! Direct access to a bucket, bypassing the protocol: to set up tests, and to check results.

use super::store::{BucketState, Contents, Object, Store, Upload, Version};
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A bucket of a running server.
#[derive(Clone, Debug)]
pub struct Bucket {
    store: Arc<Mutex<Store>>,
    name: String,
}

impl Bucket {
    /// Returns a bucket, after making it if it is missing.
    pub(super) fn open(store: &Arc<Mutex<Store>>, name: &str, contents: Contents) -> Self {
        assert!(s3s::path::check_bucket_name(name), "S3 takes no bucket of the name {name:?}");
        let mut held = store.lock();
        held.buckets.entry(name.into()).or_insert_with(|| BucketState::new(contents));
        Self { store: store.clone(), name: name.into() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Puts an object and returns its entity tag.
    pub fn put(&self, key: &str, content: impl AsRef<[u8]>) -> String {
        self.put_object(key, Object::new(Bytes::copy_from_slice(content.as_ref())))
    }

    /// Puts an object with all its properties and returns its entity tag.
    pub fn put_object(&self, key: &str, object: Object) -> String {
        let etag = object.etag.clone();
        self.change(|bucket, id| bucket.put(key, object, || id))
            .expect("a synthetic bucket can't be written");
        etag
    }

    /// Returns the latest version of an object.
    pub fn get(&self, key: &str) -> Option<Object> {
        self.with(|bucket| bucket.get(key))
    }

    /// Returns the content of an object that must exist.
    #[track_caller]
    pub fn content(&self, key: &str) -> Bytes {
        self.get(key).unwrap_or_else(|| panic!("no object {key:?} in {}", self.name)).content
    }

    /// Deletes an object as a request would.
    pub fn delete(&self, key: &str) {
        self.change(|bucket, id| bucket.delete(key, None, || id))
            .expect("a synthetic bucket can't be written");
    }

    /// Returns all keys, in order.
    pub fn keys(&self) -> Vec<String> {
        self.with(|bucket| bucket.listed("").map(|listed| listed.key).collect())
    }

    /// Returns all objects.
    pub fn objects(&self) -> BTreeMap<String, Object> {
        self.with(|bucket| {
            let keys = bucket.listed("").map(|listed| listed.key);
            keys.filter_map(|key| bucket.get(&key).map(|object| (key, object))).collect()
        })
    }

    /// Returns all versions of a key, the latest last.
    pub fn versions(&self, key: &str) -> Vec<Version> {
        self.with(|bucket| match &bucket.contents {
            Contents::Held(keys) => keys.get(key).cloned().unwrap_or_default(),
            Contents::Synthetic(_) => bucket.get(key).into_iter().map(Version::Object).collect(),
        })
    }

    /// Turns versioning on or off.
    pub fn set_versioned(&self, versioned: bool) {
        self.with(|bucket| bucket.versioned = versioned);
    }

    /// Returns the uploads that were neither completed nor aborted.
    pub fn uploads(&self) -> Vec<Upload> {
        self.with(|bucket| bucket.uploads.values().cloned().collect())
    }

    fn with<T>(&self, look: impl FnOnce(&mut BucketState) -> T) -> T {
        let mut store = self.store.lock();
        look(store.buckets.get_mut(&self.name).expect("the bucket was deleted"))
    }

    fn change<T>(&self, change: impl FnOnce(&mut BucketState, String) -> T) -> T {
        let mut store = self.store.lock();
        let id = store.new_id();
        change(store.buckets.get_mut(&self.name).expect("the bucket was deleted"), id)
    }
}
