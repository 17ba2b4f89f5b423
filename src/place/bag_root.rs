//! Protection of bags: nothing may be written beside a bag's payload, except by the command that
//! makes the bag or brings a copy of it up to date.

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

/// The part of a bag that a location names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InBag {
    /// The root of the bag.
    Root {
        /// The real path of its payload.
        payload: PathBuf,
        /// The path of the payload, below the path that was typed.
        typed: PathBuf,
    },
    /// The directory of the payload.
    Payload,
}

/// Returns the part of a bag that a location names, if it names one, for use in advice.
pub fn bag_at(location: &Location) -> Option<InBag> {
    let Location::Local(path) = location else { return None };
    let real = path.canonicalize().ok()?;
    if let Some(payload) = bag::payload_of(&real) {
        return Some(InBag::Root { payload, typed: path.join(bag::PAYLOAD) });
    }
    bag::payload_of(real.parent()?).map(|_| InBag::Payload)
}

/// Refuses a directory that is the root of a bag, or lies in a bag beside the payload: the tag
/// manifest lists everything there, so a new file would make the bag invalid. The root isn't
/// refused if `from` is the same bag: if an earlier mirror from that source made the directory, or
/// if both have the same payload manifests. `name` is the name of the directory in the state;
/// `help` is the advice for a bag that vidimus didn't make.
///
/// # Errors
/// [`ErrorKind::Refused`] for such a directory, [`ErrorKind::Manifest`] if the record of what was
/// mirrored there can't be read, [`ErrorKind::Unusable`] if the directory can't be read.
pub(super) fn refuse(
    path: &Path,
    name: &str,
    state_dir: &Path,
    from: Option<&SourcePlace>,
    help: &str,
) -> Result<(), Error> {
    let real = real(path);
    let bag_at = |above: &Path| Some((above.to_owned(), bag::payload_of(above)?));
    let Some((root, payload)) = real.ancestors().find_map(bag_at) else { return Ok(()) };
    // `bag::refuse_within` refuses the payload when it is opened.
    if real.starts_with(payload) {
        return Ok(());
    }
    if root != real {
        let root = printable(&root);
        let message =
            format!("\"{name}\" lies in the bag \"{root}\", which would no longer be valid");
        return Err(Error::new(ErrorKind::Refused, message).help(
            "name another directory; what other programs put there is listed by the next `vidimus \
             bag SOURCE BAG`",
        ));
    }
    let refused = |help: &str| {
        let message = format!("\"{name}\" is a bag, and would no longer be valid");
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

/// Returns a path with symbolic links resolved, as far as it exists.
pub(super) fn real(path: &Path) -> PathBuf {
    let resolve = |above: &Path| Some((above.canonicalize().ok()?, path.strip_prefix(above).ok()?));
    let found = path.ancestors().find_map(resolve);
    found.map_or_else(
        || path.to_owned(),
        // Joining nothing would add a slash.
        |(above, rest)| if rest.as_os_str().is_empty() { above } else { above.join(rest) },
    )
}

/// Returns whether all of a source was mirrored to a directory before, by the state or by the
/// manifest that is published there. If both are damaged, it counts as not mirrored.
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
    let unless_damaged = |found: Result<bool, Error>| match found {
        Err(error) if is_damage(&error) => Ok(false),
        found => found,
    };
    Ok(unless_damaged(by_state())? || unless_damaged(by_manifest())?)
}

/// Returns whether a source is a local bag whose payload manifests equal those of another one. Each
/// manifest lists the complete payload with digests (RFC 8493, section 2.1.3).
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

/// Returns whether two files exist and have the same content.
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
