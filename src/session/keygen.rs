//! Generation of a key pair for signing manifests.

use super::wall_clock;
use crate::backend::{Precondition, Staged};
use crate::location::SingleLocation;
use crate::manifest::keys::{NewKeys, PublicKey};
use crate::model::hint::hint;
use crate::model::{Cause, Digest, Entry, Error, ErrorKind, Setting};
use crate::place::file::{LocalFile, cannot_write, find_whole};
use crate::place::printable;
use std::fs;
use std::path::{Path, PathBuf};

/// Mode of a secret key: only its owner may read it.
const SECRET_MODE: u32 = 0o600;

/// Where a key pair is written.
#[derive(Debug)]
pub struct KeygenOptions {
    /// The file of the secret key.
    pub secret: PathBuf,
    /// The file of the public key.
    pub public: PathBuf,
    /// The mode of the public key; that of the secret one is 0600.
    pub mode: u32,
    /// Whether existing files are replaced.
    pub force: bool,
}

/// Checks that a key pair can be written there.
///
/// # Errors
/// [`ErrorKind::Refused`] if a file exists, [`ErrorKind::Usage`] if both are the same file,
/// [`ErrorKind::Unusable`] if nothing can be written.
pub fn check(options: &KeygenOptions) -> Result<(), Error> {
    KeyFiles::find(options).map(drop)
}

/// Generates a key pair and writes it: both files atomically and durably, the secret key first. A
/// new secret key is removed if the public one can't be published.
///
/// # Errors
/// Those of [`check`].
pub fn keygen(options: &KeygenOptions, password: Option<String>) -> Result<PublicKey, Error> {
    let KeyFiles { secret, public } = KeyFiles::find(options)?;
    let keys = NewKeys::make(password)?;
    let staged = stage(&secret, &options.secret, SECRET_MODE, &keys.secret)?;
    let staged_public = stage(&public, &options.public, options.mode, &keys.public)?;
    publish(staged, &secret, &options.secret)?;
    if let Err(error) = publish(staged_public, &public, &options.public) {
        if secret.place == Precondition::Absent {
            fs::remove_file(&options.secret).map_err(|left| {
                let path = printable(&options.secret);
                Error::new(error.kind, format!("{error}; the secret key \"{path}\" stays"))
                    .because(left)
            })?;
        }
        return Err(error);
    }
    Ok(keys.key)
}

/// The files of a pair of keys.
struct KeyFiles {
    secret: LocalFile,
    public: LocalFile,
}

impl KeyFiles {
    /// Finds both files, which must be different however their paths are spelt.
    fn find(options: &KeygenOptions) -> Result<Self, Error> {
        let secret = find(&options.secret, options.force)?;
        let public = find(&options.public, options.force)?;
        if secret.is_same(&public) {
            return Err(Error::new(ErrorKind::Usage, "the two keys can't go to the same file")
                .help(hint!["name another one with ", Setting::Public]));
        }
        Ok(Self { secret, public })
    }
}

fn find(path: &Path, force: bool) -> Result<LocalFile, Error> {
    let location = SingleLocation::from(path.to_owned());
    let found = find_whole(&location, path, &std::env::temp_dir())?;
    if found.place != Precondition::Absent && !force {
        let message = format!("\"{}\" exists already", printable(path));
        return Err(Error::new(ErrorKind::Refused, message).help(hint![
            "name other files with ",
            Setting::Secret,
            " and ",
            Setting::Public,
            "; ",
            Setting::Force,
            " replaces it, and what was signed with a key that is lost can't be signed with it again",
        ]));
    }
    Ok(found)
}

fn stage(
    file: &LocalFile,
    path: &Path,
    mode: u32,
    content: &str,
) -> Result<Box<dyn Staged>, Error> {
    let failed = |cause: Cause| cannot_write(&SingleLocation::from(path.to_owned()), cause);
    let (LocalFile { key, place, .. }, target) = (file, file.target());
    // A replaced key's permissions must not expose the new key.
    let metadata = file.of_new(mode, wall_clock());
    let entry = Entry::new_file(key.clone(), content.len() as u64, metadata);
    let mut stage = target.stage_stream(&entry, *place).map_err(failed)?;
    stage.write(content.as_bytes()).map_err(failed)?;
    let digest = Digest::of(content.as_bytes());
    stage
        .finish(&(&target.achievable_metadata(&metadata, entry.kind, None)).into(), &digest)
        .map_err(failed)
}

fn publish(mut staged: Box<dyn Staged>, file: &LocalFile, path: &Path) -> Result<(), Error> {
    let failed = |cause: Cause| cannot_write(&SingleLocation::from(path.to_owned()), cause);
    let target = file.target();
    if let Some(refused) = staged.publish().map_err(failed)? {
        return Err(failed(refused));
    }
    if target.capabilities().needs_barrier {
        target.barrier().map_err(failed)?;
    }
    Ok(())
}
