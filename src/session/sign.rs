//! Signing of the manifest published in a target.

use super::manifest::{ManifestAt, OpenManifest};
use super::{new_run_id, wall_clock};
use crate::limits::LimitOptions;
use crate::manifest::keys::{SecretKey, Signature};
use crate::manifest::published::{self, ManifestWriter, Publication};
use crate::manifest::{LockRequest, TargetLock};
use crate::model::{Durability, Error, ErrorKind, Notice, Progress, Stop};
use crate::place::random;
use crate::place::{OpenOptions, Opener, Writes};
use std::sync::Arc;

/// The signed manifest.
#[derive(Debug)]
pub struct Signed {
    /// The current publication.
    pub publication: Publication,
    /// Its signature, which was verified.
    pub signature: Signature,
    /// Whether it was signed now rather than earlier, with the same key.
    pub is_new: bool,
    /// Other notices.
    pub notices: Vec<Notice>,
}

/// Signs a target's current publication, after checking that it and the chain before it are intact.
/// The target is locked meanwhile, as by a mirror into it.
///
/// # Errors
/// [`ErrorKind::Manifest`] if there is no manifest, or it can't be used; [`ErrorKind::Locked`] if a
/// run holds the target; [`ErrorKind::Unusable`] if it can't be read or written.
pub fn sign(
    at: &ManifestAt,
    key: &SecretKey,
    progress: &Arc<Progress>,
    stop: &Stop,
) -> Result<Signed, Error> {
    // If there is nothing to sign, no lock is created either.
    let found = OpenManifest::open(at, progress, stop)?;
    if found.is_bare() {
        let message = format!("\"{}\" is a copy of a manifest, not a target", at.location);
        return Err(Error::new(ErrorKind::Manifest, message).help(
            "sign it in the target where it was published, or sign the copy of its head with \
             `minisign -Sm`",
        ));
    }
    drop(found);
    let run = new_run_id()?;
    let limits = LimitOptions::default();
    let options = OpenOptions::to_look(&limits, progress, stop, &at.spool_dir, wall_clock());
    let opener = Opener::new(OpenOptions { run: &run.0, ..options });
    let place = opener.target(&at.location, at.store.as_ref())?;
    let lockable = place.lockable()?;
    let target = opener.write(&place, Writes::new(Durability::File, random()?))?;
    let mut notices = Vec::new();
    let lock = TargetLock::take(&lockable, LockRequest::of(&run), stop, &mut |notice| {
        notices.push(notice);
    })?;
    lockable.probe(&*target, &mut |notice| notices.push(notice));
    let writer = ManifestWriter::new(&*target, &at.spool_dir, wall_clock());
    let signed = writer
        .reader()
        .latest_to_the_letter()
        .and_then(|latest| latest.ok_or_else(|| super::manifest::no_manifest_at(&at.location)))
        .and_then(|latest| {
            let is_new = published::sign(&writer, &latest, key)?;
            let status = writer.reader().signature_status(&latest, Some(key.public()))?;
            let signature = status.demand(&latest, key.public())?;
            Ok((latest, signature, is_new))
        });
    // If releasing fails, the next run takes the lock over; the result of signing matters more.
    let lost = lock.lost();
    let released = lock.release();
    if let Some(lost) = lost {
        return Err(lost);
    }
    let (publication, signature, is_new) = signed?;
    let stays = |error: Error| Notice::LockNotReleased { cause: error.sentence() };
    notices.extend(released.err().map(stays));
    Ok(Signed { publication, signature, is_new, notices })
}
