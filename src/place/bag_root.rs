//! The root of a bag, and what lies beside its payload: nobody writes there but who makes it, or brings
//! a copy of it up to date.

use super::directory::Directory;
use super::opener::walking_alone;
use super::{OpenPlace as _, SourcePlace, printable};
use crate::backend::local::unopened;
use crate::location::Location;
use crate::manifest::published::{ManifestReader, RecordedSource};
use crate::manifest::{State, bag, is_damage};
use crate::model::{Error, ErrorKind};
use crate::small_directory;
use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};

/// What a location is of a bag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InBag {
    /// Its root.
    Root {
        /// The real path of its payload.
        payload: PathBuf,
        /// The same below the path that was typed.
        typed: PathBuf,
    },
    /// The directory of its payload.
    Payload,
}

/// What a location is of a bag, where one is there: for advice.
pub fn bag_at(location: &Location) -> Option<InBag> {
    let Location::Local(path) = location else { return None };
    let real = path.canonicalize().ok()?;
    if let Some(payload) = bag::payload_of(&real) {
        return Some(InBag::Root { payload, typed: path.join(bag::PAYLOAD) });
    }
    bag::payload_of(real.parent()?).map(|_| InBag::Payload)
}

/// Refuses a directory that is the root of a bag, or lies in it beside the payload: the bag would not be
/// valid any more, for its tag manifest lists all that lies there. Into a root, what is
/// mirrored `from` that very bag is not refused: it is the source of which an earlier mirror made the
/// directory a copy, or a bag with the same payload manifests. `name` is the directory's in the state;
/// `help` is the way out where the bag is not vidimus's own.
///
/// # Errors
/// [`ErrorKind::Refused`] for such a root, [`ErrorKind::Manifest`] where it can't be found out what was
/// mirrored there, [`ErrorKind::Unusable`] where it can't be read.
pub(super) fn refuse(
    path: &Path,
    name: &str,
    state_dir: &Path,
    from: Option<&SourcePlace>,
    help: &str,
) -> Result<(), Error> {
    let real = real(path);
    let around = |above: &Path| Some((above.to_owned(), bag::payload_of(above)?));
    let Some((root, payload)) = real.ancestors().find_map(around) else { return Ok(()) };
    // That is refused by whoever opens it; see `bag::refuse_within`.
    if real.starts_with(payload) {
        return Ok(());
    }
    if root != real {
        let root = printable(&root);
        let message =
            format!("\"{name}\" lies in the bag \"{root}\", which would not be valid any more");
        return Err(Error::new(ErrorKind::Refused, message).help(
            "name another directory; what you bring there by other means `vidimus bag SOURCE BAG` lists",
        ));
    }
    let refused = |help: &str| {
        let message = format!("\"{name}\" is a bag, and would not be valid any more");
        Err(Error::new(ErrorKind::Refused, message).help(help.to_owned()))
    };
    if bag::is_made_here(path) {
        return refused("`vidimus bag SOURCE BAG` brings a bag up to date; name another directory");
    }
    let Some(from) = from.filter(|from| from.only.is_none()) else { return refused(help) };
    if was_mirrored(from, path, name, state_dir)? || has_same_payload(from, path)? {
        return Ok(());
    }
    refused(help)
}

/// Where a path leads, links resolved: one that is still to be made lies below what stands of the way.
fn real(path: &Path) -> PathBuf {
    let standing =
        |above: &Path| Some((above.canonicalize().ok()?, path.strip_prefix(above).ok()?));
    let found = path.ancestors().find_map(standing);
    found.map_or_else(|| path.to_owned(), |(above, rest)| above.join(rest))
}

/// Whether the whole of a source was mirrored to a directory before, by the record or by what is
/// published there. What neither tells any more nobody knows.
fn was_mirrored(
    from: &SourcePlace,
    path: &Path,
    name: &str,
    state_dir: &Path,
) -> Result<bool, Error> {
    let is_from =
        |recorded: &RecordedSource| recorded.source == from.name && recorded.options.only.is_none();
    let by_state = || match State::latest_into(state_dir, name)? {
        Some(state) => Ok(state.recorded_sources()?.iter().any(is_from)),
        None => Ok(false),
    };
    let by_manifest = || {
        let directory = path.canonicalize().and_then(Directory::open);
        let directory = directory.map_err(|error| unopened(None, path, error))?;
        let published = directory.source(&|| walking_alone(state_dir))?;
        let latest = ManifestReader::of(&*published, state_dir).latest()?;
        Ok(latest.is_some_and(|latest| latest.head.sources().iter().any(is_from)))
    };
    let unless_damaged = |told: Result<bool, Error>| match told {
        Err(error) if is_damage(&error) => Ok(false),
        told => told,
    };
    Ok(unless_damaged(by_state())? || unless_damaged(by_manifest())?)
}

/// Whether a source is a bag of this machine whose payload manifests are those of another one: each
/// lists all of the payload, with digests (RFC 8493, section 2.1.3).
fn has_same_payload(from: &SourcePlace, other: &Path) -> Result<bool, Error> {
    let Some(path) = from.open.path() else { return Ok(false) };
    if bag::payload_of(path).is_none() {
        return Ok(false);
    }
    let compare = || -> io::Result<bool> {
        let mut any = false;
        for found in small_directory::entries(other)? {
            let found = found?;
            let name = found.file_name();
            let text = name.as_encoded_bytes();
            if !text.starts_with(b"manifest-") || !text.ends_with(b".txt") {
                continue;
            }
            any = true;
            if !is_same(&path.join(name), found.path())? {
                return Ok(false);
            }
        }
        Ok(any)
    };
    compare()
        .map_err(|error| Error::unusable("cannot compare the manifests of the bags", error.into()))
}

/// Whether two files have the same content; one that is missing has none.
fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let open = |path| match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        file => file.map(Some),
    };
    let (Some(one), Some(other)) = (open(one)?, open(other)?) else { return Ok(false) };
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let mut other = BufReader::new(other).bytes();
    for byte in BufReader::new(one).bytes() {
        if other.next().transpose()? != Some(byte?) {
            return Ok(false);
        }
    }
    Ok(other.next().is_none())
}
