//! The two places of a run, and whether a mirror between them makes sense.

use super::{BagOptions, MirrorOptions};
use crate::backend::KeySpace;
use crate::model::{Error, ErrorKind};
use crate::place::file::refuse_own;
use crate::place::{BagPlaces, MadeDirectories, Opener, Overlap, SourcePlace, TargetPlace};
use std::path::PathBuf;

/// The two sides of a run, resolved.
pub(crate) struct Places {
    /// Where entries come from.
    pub(crate) source: SourcePlace,
    /// Where they go.
    pub(crate) target: TargetPlace,
    /// The bag whose payload the target is.
    pub(crate) bag: Option<BagPlace>,
}

/// A bag, which may not exist yet.
pub(crate) struct BagPlace {
    /// Its directory.
    pub(crate) place: TargetPlace,
    /// The real path of that.
    pub(crate) path: PathBuf,
    /// The mode that it is made with.
    pub(crate) mode: u32,
}

/// Resolves and checks both sides; changes nothing.
///
/// # Errors
/// [`ErrorKind::Unusable`] when one can't be used, [`ErrorKind::Refused`] when one lies in the
/// other, or the target in a bag.
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
    // Nobody writes to the payload of a bag but who makes that bag.
    places.bag.as_ref().map_or(&places.target, |bag| &bag.place).refuse_within_bag()?;
    Ok(places)
}

impl Places {
    /// Which form keys have: between two places that let each key stand for itself they do.
    pub(crate) fn key_space(&self) -> KeySpace {
        let (source, target) = (self.source.capabilities(), self.target.capabilities());
        if source.flat_keys && target.flat_keys { KeySpace::Flat } else { KeySpace::Tree }
    }

    /// Makes the target's directory, where it has one that is missing, closed to others until its
    /// metadata is set; and so the bag that it is the payload of. They are removed again unless they
    /// are [kept](MadeDirectories::keep).
    pub(crate) fn make_target(&self) -> Result<MadeDirectories, Error> {
        let mut made = MadeDirectories::default();
        if let Some(bag) = &self.bag {
            bag.place.make(bag.mode, &mut made)?;
        }
        let rights = if self.source.only.is_some() { 0o755 } else { 0o700 };
        self.target.make(rights, &mut made)?;
        Ok(made)
    }

    /// Refuses a target in the source and the reverse, by whatever names.
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
            .help("mirror to a place outside the source, and not to one that holds it"))
    }
}
