//! Defaults that depend on the environment: the state directory, the number of workers, and the
//! access to stores.
//!
//! The command line and the library's builders use the same rules. Nothing in lower layers reads
//! the environment.

use crate::backend::object::StoreSettings;
use crate::limits::descriptors;
use crate::location::Location;
#[cfg(feature = "cli")]
use crate::location::SingleLocation;
use crate::model::hint::hint;
use crate::model::{Error, ErrorKind, Setting};
use crate::place;
use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Default number of concurrent requests to a store: enough to compensate for tens of milliseconds
/// of latency.
const STORE_WORKERS: usize = 32;
/// The state directory of root without a home directory.
const STATE_OF_ROOT: &str = "/var/lib/vidimus";

/// Returns the state directory: the requested one, else one below `XDG_STATE_HOME` if that is
/// absolute (the XDG base directory specification says to ignore it otherwise), else below the home
/// directory, else, for root, whose services run without one, [`STATE_OF_ROOT`].
///
/// # Errors
/// [`ErrorKind::Usage`] if there is none.
pub(crate) fn state_dir(requested: Option<&Path>) -> Result<PathBuf, Error> {
    let (xdg, home) = (env::var_os("XDG_STATE_HOME"), env::var_os("HOME"));
    let is_root = rustix::process::geteuid().is_root();
    state_dir_of(requested, xdg.as_deref(), home.as_deref(), is_root).ok_or_else(|| {
        let why = unusable_home(home.as_deref());
        Error::new(ErrorKind::Usage, format!("there is no directory for the record of runs: {why}"))
            .help(hint!["name one with ", Setting::StateDir, " DIR"])
    })
}

/// Returns why `HOME` can't be used.
pub(crate) fn unusable_home(home: Option<&OsStr>) -> &'static str {
    match home {
        None => "HOME is not set",
        Some(home) if home.is_empty() => "HOME is empty",
        Some(_) => "HOME is not an absolute path",
    }
}

fn state_dir_of(
    requested: Option<&Path>,
    xdg: Option<&OsStr>,
    home: Option<&OsStr>,
    is_root: bool,
) -> Option<PathBuf> {
    let absolute = |path: &OsStr| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    requested
        .map(Path::to_path_buf)
        .or_else(|| xdg.and_then(absolute).map(|path| path.join("vidimus")))
        .or_else(|| home.and_then(absolute).map(|path| path.join(".local/state/vidimus")))
        .or_else(|| is_root.then(|| PathBuf::from(STATE_OF_ROOT)))
}

/// Returns the number of workers: the requested one, else one per processor, or [`STORE_WORKERS`]
/// for a store, which is mostly waited for; in any case no more than the limit of open files
/// allows.
pub(crate) fn workers(requested: Option<u16>, has_store: bool) -> usize {
    let wanted = requested.map_or_else(
        || {
            if has_store {
                STORE_WORKERS
            } else {
                std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
            }
        },
        usize::from,
    );
    descriptors::workers(wanted)
}

/// Refuses 0 where at least one is needed.
///
/// # Errors
/// [`ErrorKind::Usage`], naming `what`.
pub(crate) fn at_least_one(what: &str, requested: Option<u16>) -> Result<Option<u16>, Error> {
    if requested == Some(0) {
        return Err(Error::new(ErrorKind::Usage, format!("0 {what}: nothing would be done"))
            .help("ask for at least one, or leave it out"));
    }
    Ok(requested)
}

/// Returns the settings for a location's store; `None` if it is not in one.
///
/// # Errors
/// Those of [`place::access`].
pub(crate) fn store(location: &Location, allow_http: bool) -> Result<Option<StoreSettings>, Error> {
    place::access(location, &|name| env::var(name).ok(), allow_http)
}

/// Does the same for the location of a single file or object.
///
/// # Errors
/// Those of [`place::access_single`].
#[cfg(feature = "cli")]
pub(crate) fn store_of(
    location: &SingleLocation,
    allow_http: bool,
) -> Result<Option<StoreSettings>, Error> {
    place::access_single(location, &|name| env::var(name).ok(), allow_http)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_where_the_user_or_the_xdg_specification_says() {
        let (xdg, home) = (Some(OsStr::new("/xdg")), Some(OsStr::new("/home/me")));
        let at = |path: &str| Some(PathBuf::from(path));
        let state_dir_of = |flag: Option<&str>, xdg, home| {
            super::state_dir_of(flag.map(Path::new), xdg, home, false)
        };
        assert_eq!(state_dir_of(Some("rel"), xdg, home), at("rel"));
        assert_eq!(state_dir_of(None, xdg, home), at("/xdg/vidimus"));
        let relative = Some(OsStr::new("xdg"));
        assert_eq!(state_dir_of(None, relative, home), at("/home/me/.local/state/vidimus"));
        for nowhere in [None, Some(OsStr::new("")), Some(OsStr::new("home"))] {
            assert_eq!(state_dir_of(None, Some(OsStr::new("")), nowhere), None);
            let of_root = super::state_dir_of(None, None, nowhere, true);
            assert_eq!(of_root, at("/var/lib/vidimus"));
        }
        assert_eq!(super::state_dir_of(None, xdg, home, true), at("/xdg/vidimus"));
        assert_eq!(unusable_home(Some(OsStr::new(""))), "HOME is empty");
    }
}
