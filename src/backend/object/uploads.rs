//! The journal of multipart uploads in the state directory. A later run resumes or aborts those
//! that didn't end: stores keep, and charge for, parts of incomplete uploads.
//!
//! Each has one small file. Only uploads in the journal are ever aborted: others belong to other
//! programs.

use super::UploadId;
use crate::model::key::Escaped;
use crate::model::{Digest, Metadata};
use crate::small_directory;
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The directory in the state directory.
const DIRECTORY: &str = "uploads";

/// A multipart upload and the file that it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begun {
    /// The name of the location.
    place: String,
    /// The object's key, which is UTF-8 like all keys of stores.
    key: String,
    /// The store's name for the upload.
    id: String,
    /// The token in the upload's metadata by which it is recognised.
    pub(super) token: String,
    size: u64,
    /// Whether a later run may resume it, given the same file.
    #[serde(default = "default_resumable")]
    resumable: bool,
    #[serde(with = "numbers")]
    metadata: Metadata,
}

/// Metadata as five numbers: mode, owner, group, seconds and nanoseconds of the mtime.
mod numbers {
    use crate::model::{Metadata, Timestamp};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        metadata: &Metadata,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let Metadata { mode, uid, gid, mtime: Timestamp { seconds, nanos } } = *metadata;
        (mode, uid, gid, seconds, nanos).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Metadata, D::Error> {
        let (mode, uid, gid, seconds, nanos) = Deserialize::deserialize(deserializer)?;
        Ok(Metadata { mode, uid, gid, mtime: Timestamp { seconds, nanos } })
    }
}

impl Begun {
    pub(super) fn id(&self) -> UploadId {
        UploadId(self.id.as_str().into())
    }

    pub(super) fn key(&self) -> &[u8] {
        self.key.as_bytes()
    }

    /// Marks it as not resumable: a stream or a copy.
    pub(super) fn not_resumable(self) -> Self {
        Self { resumable: false, ..self }
    }
}

/// The default for journals written before the field existed.
fn default_resumable() -> bool {
    true
}

/// An upload of an earlier run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftUpload {
    /// Its journal file.
    pub(super) record: PathBuf,
    pub(super) begun: Begun,
}

/// Uploads of earlier runs; `None` until they were read.
type Left = Option<Vec<LeftUpload>>;

/// The uploads of one location.
pub(super) struct Journal {
    directory: PathBuf,
    place: String,
    /// The uploads of earlier runs.
    left: Mutex<Left>,
}

impl Journal {
    /// Makes the journal of a location in a state directory, without reading it.
    pub(super) fn new(state_dir: &Path, place: String) -> Self {
        Self { directory: state_dir.join(DIRECTORY), place, left: Mutex::default() }
    }

    /// Describes an upload of a file of `size` bytes.
    pub(super) fn describe(
        &self,
        key: &[u8],
        id: &UploadId,
        token: &str,
        size: u64,
        metadata: &Metadata,
    ) -> Begun {
        Begun {
            place: self.place.clone(),
            key: String::from_utf8_lossy(key).into_owned(),
            id: id.0.to_string(),
            token: token.to_owned(),
            size,
            resumable: true,
            metadata: *metadata,
        }
    }

    /// Records an upload, and returns the file to remove when it has ended.
    ///
    /// # Errors
    /// Fails if the file can't be written.
    pub(super) fn begin(&self, begun: &Begun) -> io::Result<PathBuf> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let name =
            format!("{}{}.json", self.prefix(), &Digest::of(begun.id.as_bytes()).to_string()[..16]);
        let path = self.directory.join(name);
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all(&serde_json::to_vec(begun)?)?;
        file.sync_all()?;
        Ok(path)
    }

    /// Takes an unfinished upload of this very file by an earlier run, if there is one.
    pub(super) fn resume(
        &self,
        key: &[u8],
        size: u64,
        metadata: &Metadata,
    ) -> io::Result<Option<LeftUpload>> {
        let mut left = self.left()?;
        let Some(left) = left.as_mut() else { return Ok(None) };
        let wanted = |begun: &Begun| {
            let same = self.describe(key, &begun.id(), &begun.token, size, metadata);
            *begun == same
        };
        let found = left.iter().position(|left| wanted(&left.begun));
        Ok(found.map(|at| left.swap_remove(at)))
    }

    /// Takes all uploads of earlier runs that were not resumed.
    pub(super) fn take_left(&self) -> io::Result<Vec<LeftUpload>> {
        Ok(self.left()?.take().unwrap_or_default())
    }

    /// Takes the uploads of earlier runs that can't be resumed.
    pub(super) fn take_unresumable(&self) -> io::Result<Vec<LeftUpload>> {
        let mut left = self.left()?;
        let all = left.take().unwrap_or_default();
        let (resumable, unresumable) = all.into_iter().partition(|left| left.begun.resumable);
        *left = Some(resumable);
        Ok(unresumable)
    }

    fn left(&self) -> io::Result<MutexGuard<'_, Left>> {
        let mut left = self.left.lock();
        if left.is_none() {
            *left = Some(self.read()?);
        }
        Ok(left)
    }

    fn read(&self) -> io::Result<Vec<LeftUpload>> {
        let mut found = Vec::new();
        let names = match small_directory::entries(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            other => other?,
        };
        let prefix = self.prefix();
        for name in names {
            let name = name?;
            if !name.file_name().to_string_lossy().starts_with(&prefix) {
                continue;
            }
            let record = name.into_path();
            // A file truncated by a crash names no upload. The prefix may collide with another
            // location's.
            match serde_json::from_slice::<Begun>(&fs::read(&record)?) {
                Ok(begun) if begun.place == self.place => found.push(LeftUpload { record, begun }),
                Ok(_) => {}
                Err(_) => fs::remove_file(&record)?,
            }
        }
        Ok(found)
    }

    fn prefix(&self) -> String {
        format!("{}-", &Digest::of(self.place.as_bytes()).to_string()[..16])
    }
}

/// Builds the cause for a journal that can't be used.
pub(super) fn unusable(error: &io::Error, key: &[u8]) -> crate::model::Cause {
    crate::model::Cause::Other(format!(
        "cannot record in the state directory that its upload was begun (\"{}\"): {error}",
        Escaped(key)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_is_resumed_only_for_the_same_file_of_the_same_place() {
        let dir = tempfile::tempdir().expect("make a directory");
        let journal = |place: &str| Journal::new(dir.path(), place.to_owned());
        let metadata = Metadata { mode: 0o644, ..Metadata::default() };
        let id = UploadId("id".into());
        let begun = journal("one").describe("ké".as_bytes(), &id, "token", 9, &metadata);
        let path = journal("one").begin(&begun).expect("take note");
        let resume = |place: &str, key: &str, size, metadata: &Metadata| {
            journal(place)
                .resume(key.as_bytes(), size, metadata)
                .expect("read")
                .map(|left| left.begun)
        };
        assert_eq!(resume("one", "ké", 9, &metadata), Some(begun.clone()));
        assert_eq!(resume("two", "ké", 9, &metadata), None);
        assert_eq!(resume("one", "k", 9, &metadata), None);
        assert_eq!(resume("one", "ké", 8, &metadata), None);
        assert_eq!(resume("one", "ké", 9, &Metadata::default()), None);
        assert!(journal("one").take_unresumable().expect("read").is_empty());
        let left = [LeftUpload { record: path, begun }];
        assert_eq!(journal("one").take_left().expect("read"), left);
        assert!(journal("two").take_left().expect("read").is_empty());
        let stream = journal("one").describe(b"s", &id, "token", 0, &metadata).not_resumable();
        let path = journal("one").begin(&stream).expect("take note");
        let left = [LeftUpload { record: path.clone(), begun: stream }];
        assert_eq!(journal("one").take_unresumable().expect("read"), left);
        fs::write(&path, "{").expect("write");
        assert!(journal("one").take_left().expect("read").is_empty());
        assert!(!path.exists(), "what is not legible names no upload");
    }
}
