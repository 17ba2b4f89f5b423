//! The two places of a run, and checks that a mirror between them makes sense.

use super::{BagOptions, MirrorOptions};
use crate::backend::KeySpace;
use crate::filter::Filter;
use crate::model::hint::hint;
use crate::model::{Error, ErrorKind, Key, Setting};
use crate::place::file::refuse_own;
use crate::place::{
    BagPlaces, MadeDirectories, Opener, Overlap, SharedDirectory, SourcePlace, TargetPlace,
};
use std::path::PathBuf;

/// The two sides of a run, resolved.
pub(crate) struct Places {
    /// Where entries are copied from.
    pub(crate) source: SourcePlace,
    /// Where they are copied to.
    pub(crate) target: TargetPlace,
    /// The bag whose payload is the target.
    pub(crate) bag: Option<BagPlace>,
}

/// A bag, which may not exist yet.
pub(crate) struct BagPlace {
    /// Its directory.
    pub(crate) place: TargetPlace,
    /// The canonical path of the directory.
    pub(crate) path: PathBuf,
    /// The mode of a new directory.
    pub(crate) mode: u32,
}

/// Resolves and checks both sides; changes nothing.
///
/// # Errors
/// [`ErrorKind::Unusable`] if one can't be used, [`ErrorKind::Refused`] if one lies in the other,
/// or the target in a bag.
pub(crate) fn resolve(options: &MirrorOptions, opener: &Opener) -> Result<Places, Error> {
    let MirrorOptions { source, target, source_store, target_store, bag, markers, .. } = options;
    let (location, source) = (source, opener.source(source, source_store.as_ref())?);
    refuse_own(location, source.only.as_deref())?;
    let (target, bag) = match bag {
        None => (opener.target_to_be(target, target_store.as_ref(), *markers)?, None),
        Some(BagOptions { mode }) => {
            let BagPlaces { payload, bag, path } = opener.bag(target)?;
            (payload, Some(BagPlace { place: bag, path, mode: *mode }))
        }
    };
    let places = Places { source, target, bag };
    places.refuse_overlap()?;
    let deletes_excluded = options.delete.is_some_and(|delete| delete.excluded);
    places.refuse_shared(&options.filter, deletes_excluded)?;
    // Only the run that makes a bag may write to its payload.
    places.bag.as_ref().map_or(&places.target, |bag| &bag.place).refuse_within_bag()?;
    Ok(places)
}

impl Places {
    /// Returns the key space: flat between two places with flat keys, else a tree.
    pub(crate) fn key_space(&self) -> KeySpace {
        let (source, target) = (self.source.capabilities(), self.target.capabilities());
        if source.flat_keys && target.flat_keys { KeySpace::Flat } else { KeySpace::Tree }
    }

    /// Creates the target's directory if it is missing, and that of its bag, inaccessible to others
    /// until their metadata is set. What was made is added to `made`.
    pub(crate) fn make_target(&self, made: &mut MadeDirectories) -> Result<(), Error> {
        if let Some(bag) = &self.bag {
            bag.place.make(bag.mode, made)?;
        }
        let rights = if self.source.only.is_some() { 0o755 } else { 0o700 };
        self.target.make(rights, made)
    }

    /// Refuses a target inside the source and the reverse, whatever their paths.
    fn refuse_overlap(&self) -> Result<(), Error> {
        let Some(overlap) = self.source.overlap(&self.target)? else { return Ok(()) };
        let (source, target) = (&self.source.name, &self.target.name);
        let message = match overlap {
            Overlap::Same => format!("source and target are the same place, \"{target}\""),
            Overlap::TargetInSource => {
                format!("the target \"{target}\" lies in the source \"{source}\"")
            }
            Overlap::SourceInTarget => {
                format!("the source \"{source}\" lies in the target \"{target}\"")
            }
        };
        Err(Error::new(ErrorKind::Refused, message)
            .help("mirror to a place outside the source that does not contain it"))
    }

    /// Refuses places that share a directory by a mount, unless the filter keeps the run out of
    /// it. Otherwise it would be found only when a walk reaches it, with half of the work done.
    fn refuse_shared(&self, filter: &Filter, deletes_excluded: bool) -> Result<(), Error> {
        let excludes = |key: &Key| !key.is_root() && filter.excludes_within(key);
        let is_reached = |shared: &SharedDirectory| {
            !excludes(&shared.in_source) && (deletes_excluded || !excludes(&shared.in_target))
        };
        let shared = self.source.shared_with(&self.target)?;
        let Some(SharedDirectory { in_source, in_target }) = shared.into_iter().find(is_reached)
        else {
            return Ok(());
        };
        let message = if in_target.is_root() {
            format!("the target lies in the source, at \"{in_source}\"")
        } else if in_source.is_root() {
            format!("the source lies in the target, at \"{in_target}\"")
        } else {
            format!(
                "\"{in_source}\" of the source and \"{in_target}\" of the target are one directory"
            )
        };
        Err(Error::new(ErrorKind::Refused, message).help(hint![
            "it is mounted in both (a bind mount): unmount it there, or leave it out by ",
            Setting::Exclude,
        ]))
    }
}
