//! Places: what the two locations of a run are, and whether a mirror between them makes sense.

use crate::backend::local::{Identity, Root};
use crate::location::Location;
use crate::model::key::Escaped;
use crate::model::{Error, ErrorKind};
use rustix::fs::Mode;
use rustix::io::Errno;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The two sides of a run, resolved.
pub(crate) struct Places {
    /// The source's root.
    pub(crate) source_root: Arc<Root>,
    /// The only name to mirror, where the source is a single file.
    pub(crate) only: Option<Box<[u8]>>,
    /// The source's name in the state: its real path.
    pub(crate) source: String,
    /// The target's real path; it may not exist yet.
    pub(crate) target_path: PathBuf,
    /// The target's name in the state.
    pub(crate) target: String,
    /// Whether the target exists.
    pub(crate) target_exists: bool,
}

/// Resolves and checks both sides; changes nothing.
///
/// # Errors
/// [`ErrorKind::Unusable`] when one can't be used, [`ErrorKind::Refused`] when one lies in the
/// other.
pub(crate) fn resolve(source: &Location, target: &Location) -> Result<Places, Error> {
    let unusable = |side: &str, location: &Location, error: io::Error| {
        let missing = error.kind() == io::ErrorKind::NotFound;
        let built =
            Error::new(ErrorKind::Unusable, format!("cannot open the {side} \"{location}\""))
                .because(error);
        if missing { built.help("check its spelling, and that its disk is mounted") } else { built }
    };
    let source_real =
        real(source.require_local()?).map_err(|error| unusable("source", source, error))?;
    let stat = source_real.metadata().map_err(|error| unusable("source", source, error))?;
    let (source_dir, only) = if stat.is_dir() {
        (source_real.clone(), None)
    } else if stat.is_file() {
        let name = source_real.file_name().map(|name| name.as_bytes().into());
        (source_real.parent().unwrap_or(Path::new("/")).to_owned(), name)
    } else {
        return Err(Error::new(
            ErrorKind::Unusable,
            format!("the source \"{source}\" is neither a directory nor a file"),
        ));
    };
    let source_root =
        Root::open(&source_dir).map_err(|error| unusable("source", source, error.into()))?;

    let (target_path, target_exists) = match real(target.require_local()?) {
        Ok(path) => (path, true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (parent_of(target)?, false),
        Err(error) => return Err(unusable("target", target, error)),
    };
    if target_exists
        && !target_path.metadata().map_err(|error| unusable("target", target, error))?.is_dir()
    {
        return Err(Error::new(
            ErrorKind::Unusable,
            format!("the target \"{target}\" is not a directory"),
        )
        .help("name a directory; a single file as source goes into it"));
    }
    let places = Places {
        source_root: Arc::new(source_root),
        only,
        source: printable(&source_real),
        target: printable(&target_path),
        target_path,
        target_exists,
    };
    places.check_overlap(&source_dir).map_err(|error| match error {
        Overlap::Error(error) => error,
        Overlap::Found(message) => Error::new(ErrorKind::Refused, message)
            .help("mirror to a place outside the source, and not to one that holds it"),
    })?;
    Ok(places)
}

enum Overlap {
    Found(String),
    Error(Error),
}

impl Places {
    /// Makes the target's directory where it is missing, closed to others until its metadata is
    /// set, and opens it.
    pub(crate) fn open_target(&self) -> Result<Root, Error> {
        let failed = |what: &str, error: io::Error| {
            Error::new(ErrorKind::Unusable, format!("cannot {what} the target \"{}\"", self.target))
                .because(error)
        };
        if !self.target_exists {
            let mode = Mode::from_raw_mode(if self.only.is_some() { 0o755 } else { 0o700 });
            match rustix::fs::mkdir(&self.target_path, mode) {
                // Another run was faster; the lock decides between the two.
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(failed("make", error.into())),
            }
        }
        Root::open(&self.target_path).map_err(|error| failed("open", error.into()))
    }

    /// Refuses a target in the source and the reverse, by whatever names.
    fn check_overlap(&self, source_dir: &Path) -> Result<(), Overlap> {
        let stands = |path: &Path| {
            path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/")).to_owned()
        };
        let target_dir = stands(&self.target_path);
        let source = self.source_root.directory().identity;
        if self.only.is_none() && identities(&target_dir)?.contains(&source) {
            let same = self.target_exists && identity(&target_dir)? == source;
            return Err(Overlap::Found(if same {
                format!("source and target are the same place, \"{}\"", self.target)
            } else {
                format!("the target \"{}\" lies in the source \"{}\"", self.target, self.source)
            }));
        }
        let target = identity(&target_dir)?;
        let inside = self.target_exists && identities(source_dir)?.contains(&target);
        let same_directory = target == source;
        // A single file beside the target's other files is no overlap unless it is its own target.
        if inside && (self.only.is_none() || same_directory) {
            return Err(Overlap::Found(format!(
                "the source \"{}\" lies in the target \"{}\"",
                self.source, self.target
            )));
        }
        Ok(())
    }
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
fn parent_of(target: &Location) -> Result<PathBuf, Error> {
    let path = target.require_local()?;
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
