//! Places: what the two locations of a run are, and whether a mirror between them makes sense.

use super::{BagOptions, MirrorOptions, file};
use crate::backend::KeySpace;
use crate::backend::local::{Identity, Root, dangling, unopened};
use crate::backend::object::{BucketPrefix, Stores};
use crate::location::{Location, S3Location};
use crate::manifest::bag::{self, PAYLOAD};
use crate::model::error::Side;
use crate::model::key::Escaped;
use crate::model::{Error, ErrorKind};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::Metadata;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
    /// Its real path.
    pub(crate) path: PathBuf,
    /// The mode that it is made with.
    pub(crate) mode: u32,
}

/// The source of a run.
pub(crate) struct SourcePlace {
    /// Its name in the state: a real path, or a URL.
    pub(crate) name: String,
    /// The only name to mirror, where the source is a single file.
    pub(crate) only: Option<Box<[u8]>>,
    /// What it is.
    pub(crate) at: SourceAt,
}

/// What a source is.
pub(crate) enum SourceAt {
    /// A directory of this machine.
    Local {
        /// Open.
        root: Arc<Root>,
        /// Its real path.
        path: PathBuf,
    },
    /// A part of a store.
    Object(Arc<BucketPrefix>),
}

/// The target of a run.
pub(crate) struct TargetPlace {
    /// Its name in the state: a real path, or a URL.
    pub(crate) name: String,
    /// What it is.
    pub(crate) at: TargetAt,
}

/// What a target is.
pub(crate) enum TargetAt {
    /// A directory of this machine.
    Local {
        /// Its real path; it may not exist yet.
        path: PathBuf,
        /// Whether it exists.
        exists: bool,
    },
    /// A part of a store, which exists when its bucket does.
    Object(Arc<BucketPrefix>),
}

/// Resolves and checks both sides; changes nothing.
///
/// # Errors
/// [`ErrorKind::Unusable`] when one can't be used, [`ErrorKind::Refused`] when one lies in the
/// other, or the target in a bag.
pub(crate) fn resolve(options: &MirrorOptions, stores: &Stores) -> Result<Places, Error> {
    let MirrorOptions { source, target, source_store, target_store, bag, .. } = options;
    let are_stores = source.local().is_none() && target.local().is_none();
    let divided = are_stores.then(|| stores.divided());
    let source = match source {
        Location::Local(path) => local_source(path, source)?,
        Location::S3(location) => {
            let mut place = stores.connect(location, source_store.as_ref())?;
            if let Some([reading, _]) = &divided {
                place.memory = reading.clone();
            }
            object_source(location, place)?
        }
    };
    let mut bag_place = None;
    let target = match target {
        Location::Local(path) => match bag {
            None => local_target(path, target)?,
            Some(BagOptions { mode }) => {
                let (payload, path) = payload(path, target)?;
                bag_place = Some(BagPlace { path, mode: *mode });
                payload
            }
        },
        Location::S3(_) if bag.is_some() => {
            return Err(Error::new(
                ErrorKind::Usage,
                "a bag is made in a directory of this machine",
            )
            .help("make it here, then mirror it to the bucket"));
        }
        Location::S3(location) => {
            let mut place = stores.connect(location, target_store.as_ref())?;
            if !options.markers {
                place = place.without_markers();
            }
            if let Some([_, writing]) = divided {
                place.memory = writing;
            }
            TargetPlace { name: place.name(), at: TargetAt::Object(Arc::new(place)) }
        }
    };
    let places = Places { source, target, bag: bag_place };
    places.check_overlap().map_err(|error| match error {
        Overlap::Error(error) => error,
        Overlap::Found(message) => Error::new(ErrorKind::Refused, message)
            .help("mirror to a place outside the source, and not to one that holds it"),
    })?;
    places.check_bags()?;
    Ok(places)
}

fn local_source(path: &Path, location: &Location) -> Result<SourcePlace, Error> {
    let unusable = |error| unopened(Some(Side::Source), path, error);
    let real = real(path).map_err(unusable)?;
    let stat = real.metadata().map_err(unusable)?;
    let (directory, only) = if stat.is_dir() {
        (real.clone(), None)
    } else if stat.is_file() {
        let name = real.file_name().map(|name| Box::from(name.as_bytes()));
        file::refuse_own(location, name.as_deref())?;
        (real.parent().unwrap_or(Path::new("/")).to_owned(), name)
    } else {
        return Err(Error::new(
            ErrorKind::Unusable,
            format!("the source \"{location}\" is neither a directory nor a file"),
        ));
    };
    let root = Root::open(&directory).map_err(|error| unusable(error.into()))?;
    Ok(SourcePlace {
        name: printable(&real),
        only,
        at: SourceAt::Local { root: Arc::new(root), path: directory },
    })
}

/// A prefix with something below it, or a single object.
fn object_source(location: &S3Location, place: BucketPrefix) -> Result<SourcePlace, Error> {
    let name = place.name();
    let (place, only) = place.as_source(location)?;
    file::refuse_own(location, only.as_deref())?;
    let name = if only.is_some() { name.trim_end_matches('/').to_owned() } else { name };
    Ok(SourcePlace { name, only, at: SourceAt::Object(Arc::new(place)) })
}

fn local_target(path: &Path, location: &Location) -> Result<TargetPlace, Error> {
    let (path, exists) = target_directory(path, location)?;
    Ok(TargetPlace { name: printable(&path), at: TargetAt::Local { path, exists } })
}

/// The real path of a directory, and whether it exists.
fn target_directory(path: &Path, location: &Location) -> Result<(PathBuf, bool), Error> {
    let unusable = |error| unopened(Some(Side::Target), path, error);
    let (path, exists) = match real(path) {
        Ok(path) => (path, true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(dangling) = dangling(Some(Side::Target), path) {
                return Err(dangling);
            }
            (parent_of(path, location)?, false)
        }
        Err(error) => return Err(unusable(error)),
    };
    if exists && !path.metadata().map_err(unusable)?.is_dir() {
        return Err(Error::new(
            ErrorKind::Unusable,
            format!("the target \"{location}\" is not a directory"),
        )
        .help("name a directory; a single file as source goes into it"));
    }
    Ok((path, exists))
}

/// The payload of a bag, which may be missing, as may the bag; and the bag's own path.
fn payload(path: &Path, location: &Location) -> Result<(TargetPlace, PathBuf), Error> {
    let (bag, exists) = target_directory(path, location)?;
    let payload = bag.join(PAYLOAD);
    if payload.is_symlink() {
        let message = format!("\"{}\" is a symbolic link", printable(&payload));
        return Err(Error::new(ErrorKind::Refused, message)
            .help("a bag holds its payload itself: put the directory in the link's place"));
    }
    let (path, exists) =
        if exists { target_directory(&payload, location)? } else { (payload, false) };
    Ok((TargetPlace { name: printable(&path), at: TargetAt::Local { path, exists } }, bag))
}

impl SourcePlace {
    /// The directory that it is, of this machine.
    pub(crate) fn root(&self) -> Option<&Arc<Root>> {
        match &self.at {
            SourceAt::Local { root, .. } => Some(root),
            SourceAt::Object(_) => None,
        }
    }
}

impl Places {
    /// Which form keys have: between two stores each stands for itself.
    pub(crate) fn key_space(&self) -> KeySpace {
        match (&self.source.at, &self.target.at) {
            (SourceAt::Object(_), TargetAt::Object(_)) => KeySpace::Flat,
            _ => KeySpace::Tree,
        }
    }

    /// Makes the target's directory, where it is one of this machine and missing, closed to others
    /// until its metadata is set; and so the bag that it is the payload of. They are removed again
    /// unless they are [kept](MadeDirectories::keep).
    pub(crate) fn make_target(&self) -> Result<MadeDirectories, Error> {
        let mut made = MadeDirectories::default();
        let TargetAt::Local { path, exists } = &self.target.at else { return Ok(made) };
        let bag = self.bag.as_ref().map(|bag| (&*bag.path, bag.mode));
        let rights = if self.source.only.is_some() { 0o755 } else { 0o700 };
        let target = (!exists).then_some((&**path, rights));
        for (path, rights) in bag.into_iter().chain(target) {
            let is_new = make(path, Mode::from_raw_mode(rights));
            if is_new.map_err(|error| self.no_target("make", error.into()))? {
                made.paths.push(path.to_owned());
            }
        }
        Ok(made)
    }

    /// Opens the target's directory, where it is one of this machine.
    pub(crate) fn open_target(&self) -> Result<Option<Root>, Error> {
        let TargetAt::Local { path, .. } = &self.target.at else { return Ok(None) };
        Root::open(path).map(Some).map_err(|error| self.no_target("open", error.into()))
    }

    fn no_target(&self, verb: &str, error: io::Error) -> Error {
        let name = &self.target.name;
        Error::new(ErrorKind::Unusable, format!("cannot {verb} the target \"{name}\""))
            .because(error)
    }

    /// Opens the directory of the bag whose payload the target is; [`Places::make_target`] made it.
    pub(crate) fn open_bag(&self) -> Result<Option<Root>, Error> {
        let Some(bag) = &self.bag else { return Ok(None) };
        Root::open(&bag.path).map(Some).map_err(|error| {
            let message = format!("cannot open the bag \"{}\"", printable(&bag.path));
            Error::new(ErrorKind::Unusable, message).because(io::Error::from(error))
        })
    }

    /// Whether the target is there already.
    pub(crate) fn target_exists(&self) -> bool {
        match self.target.at {
            TargetAt::Local { exists, .. } => exists,
            TargetAt::Object(_) => true,
        }
    }

    /// Refuses a target in the source and the reverse, by whatever names.
    fn check_overlap(&self) -> Result<(), Overlap> {
        match (&self.source.at, &self.target.at) {
            (SourceAt::Local { root, path: source }, TargetAt::Local { path, exists }) => {
                self.check_directories((root, source), path, *exists)
            }
            (SourceAt::Object(source), TargetAt::Object(target)) => {
                self.check_prefixes(source, target)
            }
            _ => Ok(()),
        }
    }

    /// Refuses to write to the payload of a bag, unless the run makes that bag.
    fn check_bags(&self) -> Result<(), Error> {
        let TargetAt::Local { path: target, .. } = &self.target.at else { return Ok(()) };
        let path = self.bag.as_ref().map_or(target, |bag| &bag.path);
        let stands = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(stands, flags, Mode::empty()).map_err(|error| {
            let message = format!("cannot open \"{}\"", printable(stands));
            Error::new(ErrorKind::Unusable, message).because(io::Error::from(error))
        })?;
        bag::refuse_within(directory.as_fd())
    }

    fn check_prefixes(&self, source: &BucketPrefix, target: &BucketPrefix) -> Result<(), Overlap> {
        if !target.store.id().is_same_bucket(source.store.id()) {
            return Ok(());
        }
        let (source_name, target_name) = (&self.source.name, &self.target.name);
        let inside = target.prefix.starts_with(&source.prefix);
        let holds = source.prefix.starts_with(&target.prefix);
        // A single object that goes beside the prefix's other ones is no overlap.
        Err(Overlap::Found(match (inside, holds) {
            (false, false) => return Ok(()),
            _ if self.source.only.is_some() && source.prefix != target.prefix => return Ok(()),
            (true, true) => format!("source and target are the same place, \"{target_name}\""),
            (true, false) => {
                format!("the target \"{target_name}\" lies in the source \"{source_name}\"")
            }
            (false, true) => {
                format!("the source \"{source_name}\" lies in the target \"{target_name}\"")
            }
        }))
    }

    fn check_directories(
        &self,
        (source_root, source_dir): (&Root, &Path),
        target_path: &Path,
        target_exists: bool,
    ) -> Result<(), Overlap> {
        let (source_name, target_name) = (&self.source.name, &self.target.name);
        let stands = |path: &Path| {
            path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/")).to_owned()
        };
        let target_dir = stands(target_path);
        let source = source_root.directory().identity;
        let is_single = self.source.only.is_some();
        if !is_single && identities(&target_dir)?.contains(&source) {
            let same = target_exists && identity(&target_dir)? == source;
            return Err(Overlap::Found(if same {
                format!("source and target are the same place, \"{target_name}\"")
            } else {
                format!("the target \"{target_name}\" lies in the source \"{source_name}\"")
            }));
        }
        let target = identity(&target_dir)?;
        let inside = target_exists && identities(source_dir)?.contains(&target);
        let same_directory = target == source;
        // A single file beside the target's other files is no overlap unless it is its own target.
        if inside && (!is_single || same_directory) {
            return Err(Overlap::Found(format!(
                "the source \"{source_name}\" lies in the target \"{target_name}\""
            )));
        }
        Ok(())
    }
}

/// Makes a directory where there is none; whether there was none. Where another run was faster, the
/// lock decides between the two.
fn make(path: &Path, mode: Mode) -> rustix::io::Result<bool> {
    match rustix::fs::mkdir(path, mode) {
        Err(Errno::EXIST) => Ok(false),
        other => other.map(|()| true),
    }
}

/// Directories that were made for a run, each in the one before it. Dropped before the run began,
/// they are removed.
#[derive(Debug, Default)]
pub(crate) struct MadeDirectories {
    paths: Vec<PathBuf>,
    is_kept: AtomicBool,
}

impl MadeDirectories {
    /// Says that the run began: they stay.
    pub(crate) fn keep(&self) {
        self.is_kept.store(true, Ordering::Relaxed);
    }
}

impl Drop for MadeDirectories {
    fn drop(&mut self) {
        if !*self.is_kept.get_mut() {
            // One in which something is by now is somebody else's.
            self.paths.iter().rev().for_each(|path| drop(std::fs::remove_dir(path)));
        }
    }
}

enum Overlap {
    Found(String),
    Error(Error),
}

/// A directory and all above it.
fn identities(path: &Path) -> Result<Vec<Identity>, Overlap> {
    path.ancestors().map(identity).collect()
}

fn identity(path: &Path) -> Result<Identity, Overlap> {
    let of = |stat: Metadata| Identity { device: stat.dev(), inode: stat.ino() };
    path.metadata().map(of).map_err(|error| {
        let message = format!("cannot look at \"{}\"", printable(path));
        Overlap::Error(Error::new(ErrorKind::Unusable, message).because(error))
    })
}

/// The path without links and `..`; an error names what is missing.
fn real(path: &Path) -> io::Result<PathBuf> {
    path.canonicalize()
}

/// The path that a missing target will have.
fn parent_of(path: &Path, target: &Location) -> Result<PathBuf, Error> {
    let help = "make its parent directory first, or check its spelling";
    let name = path.file_name().ok_or_else(|| {
        Error::new(ErrorKind::Unusable, format!("there is no directory \"{target}\"")).help(help)
    })?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let real = real(parent).and_then(|parent| {
        if parent.metadata()?.is_dir() {
            Ok(parent)
        } else {
            Err(io::ErrorKind::NotADirectory.into())
        }
    });
    let real = real.map_err(|error| {
        let message = format!("cannot make the target \"{target}\": its parent can't be used");
        Error::new(ErrorKind::Unusable, message).because(error).help(help)
    })?;
    Ok(real.join(name))
}

/// A path as the state and messages name it.
pub(crate) fn printable(path: &Path) -> String {
    Escaped(path.as_os_str().as_bytes()).to_string()
}
