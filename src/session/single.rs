//! Single locations: what they lead to.

use super::random;
use crate::backend::Target;
use crate::backend::local::{LocalSource, LocalTarget, Root, Walking, unopened};
use crate::backend::object::StoreSettings;
use crate::backend::object::{BucketPrefix, ObjectTarget, Stores};
use crate::limits::LimitOptions;
use crate::location::{Location, S3Location};
use crate::manifest::keys::{PublicKey, SecretKey};
use crate::manifest::published::ManifestReader;
use crate::manifest::{Lockable, State};
use crate::model::error::Side;
use crate::model::hint::hint;
use crate::model::{Durability, Error, ErrorKind, Key, Progress, Setting, Stop};
use crate::place::printable;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Requests of one object that are under way at the same time.
pub(super) const REQUESTS: usize = 4;

/// Whether a manifest's pointer could be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pointer {
    /// It was read, or there is none.
    Read,
    /// It is damaged, or may not be read.
    Unread,
}

/// Refuses to make an unsigned manifest of a signed one for the sake of a single file, and to sign one
/// that isn't there. `name` is the target's; the key is that of the run.
pub(super) fn check_signed(
    reader: &ManifestReader<'_>,
    name: &str,
    key: Option<&SecretKey>,
) -> Result<Pointer, Error> {
    match (reader.is_signed(), key) {
        (Ok(Some(true)), None) => {
            let message = format!("the manifest of \"{name}\" is signed");
            Err(Error::new(ErrorKind::Refused, message).help(hint![
                Setting::Sign,
                " signs it with the file; bring that elsewhere, or remove .vidimus/manifest there if \
                 it needs no signature any more",
            ]))
        }
        (Ok(None), Some(_)) => Err(nothing_to_sign(name)),
        (Ok(_), _) => Ok(Pointer::Read),
        // What can't be read is told when it is taken over.
        (Err(_), _) => Ok(Pointer::Unread),
    }
}

/// That a place, by its name, has no manifest which a run of a single file could sign.
pub(super) fn nothing_to_sign(name: &str) -> Error {
    let message = format!("\"{name}\" has no manifest to sign");
    Error::new(ErrorKind::Usage, message).help(hint![
        "a mirror of a directory publishes it there; leave ",
        Setting::Sign,
        " out",
    ])
}

/// Refuses a state that holds what a key must not sign: a single file compares nothing of that.
pub(super) fn check_trusted(state: &State, key: &PublicKey) -> Result<(), Error> {
    if state.is_for(key)? {
        return Ok(());
    }
    let message = "the record of this place was taken over from a manifest that was not found to be \
                   signed with this key";
    Err(Error::new(ErrorKind::Refused, message).help(hint![
        "a mirror of a directory with ",
        Setting::Sign,
        " compares everything, and signs then",
    ]))
}

/// Splits a key into the prefix that it lies in, which ends in `/` or is empty, and the rest.
pub(super) fn split(key: &[u8]) -> (&[u8], &[u8]) {
    let at = key.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
    key.split_at(at)
}

/// Reaches the part of a bucket whose keys begin with `prefix`. What has to be kept on disk goes to
/// `state_dir`.
pub(super) fn connect(
    bucket: &S3Location,
    prefix: &[u8],
    settings: Option<&StoreSettings>,
    limits: &LimitOptions,
    (progress, stop, token): (&Arc<Progress>, &Stop, &str),
    state_dir: &Path,
) -> Result<BucketPrefix, Error> {
    let run_and_start = (token.to_owned(), super::wall_clock());
    let stores = Stores::new(limits, REQUESTS, progress, stop, run_and_start, state_dir);
    stores.connect(&S3Location { prefix: prefix.into(), ..bucket.clone() }, settings)
}

/// What walkers and readers of one directory work with.
pub(super) fn walking(checkers: usize, spool_dir: &Path) -> Result<Walking, Error> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(checkers)
        .thread_name(|number| format!("check-{number}"))
        .build()
        .map_err(|error| Error::new(ErrorKind::Unusable, "cannot start threads").because(error))?;
    Ok(Walking { pool: Arc::new(pool), spool_dir: spool_dir.into(), guarded: Arc::new([]) })
}

/// A target of which something is to be recorded or signed.
pub(super) struct OpenedTarget {
    pub(super) target: Box<dyn Target>,
    /// What is to be locked before anything is written there.
    pub(super) lockable: Lockable,
    /// Its name in the state.
    pub(super) name: String,
}

/// Opens a target, a directory or a part of a bucket that `stores` reach, to be walked by so many
/// `checkers`. Nothing is locked yet.
pub(super) fn open_target(
    (location, settings): (&Location, Option<&StoreSettings>),
    stores: &Stores,
    checkers: usize,
    spool_dir: &Path,
) -> Result<OpenedTarget, Error> {
    let path = match location {
        Location::Local(path) => path,
        Location::S3(location) => {
            let place = Arc::new(stores.connect(location, settings)?);
            let name = place.name();
            let target = Box::new(ObjectTarget::new(Arc::clone(&place)));
            return Ok(OpenedTarget { target, lockable: Lockable::Store(place), name });
        }
    };
    let failed = |error| unopened(Some(Side::Target), path, error);
    let path = path.canonicalize().map_err(failed)?;
    let root = Arc::new(Root::open(&path).map_err(|error| failed(error.into()))?);
    let walking = walking(checkers, spool_dir)?;
    let target = LocalTarget::new(Arc::clone(&root), walking, Durability::File, random());
    let target = Box::new(target.map_err(|error| failed(error.into()))?);
    let name = printable(&path);
    Ok(OpenedTarget { target, lockable: Lockable::Directory(root), name })
}

/// A path of this machine, resolved.
pub(super) struct LocalPlace {
    /// A directory.
    pub(super) source: LocalSource,
    /// The name in it; `None` for the directory itself.
    pub(super) name: Option<Key>,
}

/// Opens what stands at a path, or the directory that it lies in. Symbolic links are followed.
pub(super) fn open(path: &Path, spool_dir: &Path) -> Result<LocalPlace, Error> {
    let failed = |error| unopened(None, path, error);
    let real = path.canonicalize().map_err(failed)?;
    let is_directory = real.metadata().map_err(failed)?.is_dir();
    let (directory, name) = match real.file_name() {
        Some(name) if !is_directory => {
            let parent = real.parent().map_or_else(PathBuf::new, Path::to_path_buf);
            (parent, Some(Key::new(name.as_bytes())))
        }
        _ => (real, None),
    };
    let root = Root::open(&directory).map_err(|error| failed(error.into()))?;
    let checkers = if name.is_some() { 1 } else { REQUESTS };
    let source = LocalSource::new(Arc::new(root), walking(checkers, spool_dir)?);
    Ok(LocalPlace { source, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_split_behind_its_last_slash() {
        for (key, prefix, name) in
            [("a", "", "a"), ("a/b", "a/", "b"), ("/a", "/", "a"), ("a//b", "a//", "b")]
        {
            assert_eq!(split(key.as_bytes()), (prefix.as_bytes(), name.as_bytes()), "{key}");
        }
        assert_eq!(split(b"a/"), (&b"a/"[..], &b""[..]));
    }
}
