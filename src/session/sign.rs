//! Signing the manifest that stands in a target.

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

/// What was signed.
#[derive(Debug)]
pub struct Signed {
    /// The publication that counts.
    pub publication: Publication,
    /// Its signature, which was held against it.
    pub signature: Signature,
    /// Whether it was signed now; else it was with the same key before.
    pub is_new: bool,
    /// What is worth knowing beside that.
    pub notices: Vec<Notice>,
}

/// Signs the publication that counts at a target, once all of it and the chain before it were found
/// to be whole. The target is locked meanwhile, as by a mirror into it.
///
/// # Errors
/// [`ErrorKind::Manifest`] when there is no manifest, or it can't be used as it stands;
/// [`ErrorKind::Locked`] when a run holds the target; [`ErrorKind::Unusable`] when it can't be read
/// or written.
pub fn sign(
    at: &ManifestAt,
    key: &SecretKey,
    progress: &Arc<Progress>,
    stop: &Stop,
) -> Result<Signed, Error> {
    // Where there is nothing to sign, no lock is made either.
    let found = OpenManifest::open(at, progress, stop)?;
    if found.is_bare() {
        let message = format!("\"{}\" is a copy of a manifest, not a target", at.location);
        return Err(Error::new(ErrorKind::Manifest, message)
            .help("sign where it was published, or the copy of the head by `minisign -Sm`"));
    }
    drop(found);
    let run = new_run_id()?;
    let limits = LimitOptions::default();
    let options = OpenOptions::to_look(&limits, progress, stop, &at.spool_dir, wall_clock());
    let opener = Opener::new(OpenOptions { run: &run.0, ..options });
    let place = opener.target(&at.location, at.store.as_ref())?;
    let lockable = place.lockable()?;
    let target = opener.write(&place, Writes { durability: Durability::File, token: random()? })?;
    let mut notices = Vec::new();
    let held = TargetLock::take(&lockable, LockRequest::of(&run), stop, &mut |notice| {
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
    // A lock that stays is taken over by the next run; what became of signing counts more.
    let lost = held.lost();
    let released = held.release();
    if let Some(lost) = lost {
        return Err(lost);
    }
    let (publication, signature, is_new) = signed?;
    let stays = |error: Error| Notice::LockNotReleased { cause: error.to_string() };
    notices.extend(released.err().map(stays));
    Ok(Signed { publication, signature, is_new, notices })
}
