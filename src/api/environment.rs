//! What a run takes from the environment where nothing else is said: the directory of its records,
//! the number of its workers, and how stores are reached.
//!
//! The command line and the library's builders go by the same rules. Nothing below reads the
//! environment.

use crate::backend::object::StoreSettings;
use crate::limits::descriptors;
use crate::location::Location;
#[cfg(feature = "cli")]
use crate::location::SingleLocation;
use crate::model::{Error, ErrorKind};
use crate::place;
use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Requests to a store that are under way at the same time, unless the user says otherwise: enough
/// to make up for tens of milliseconds of distance.
const STORE_WORKERS: usize = 32;
/// Where root's state lives without a home directory.
const STATE_OF_ROOT: &str = "/var/lib/vidimus";

/// Where state lives: in the directory that was asked for, else below `XDG_STATE_HOME` when that is
/// absolute (the XDG base directory specification says to ignore it otherwise), else below the home
/// directory; of root, whom services run as without one, in [`STATE_OF_ROOT`].
///
/// # Errors
/// [`ErrorKind::Usage`] where there is no such place.
pub(crate) fn state_dir(asked: Option<&Path>) -> Result<PathBuf, Error> {
    let (xdg, home) = (env::var_os("XDG_STATE_HOME"), env::var_os("HOME"));
    let is_root = rustix::process::geteuid().is_root();
    state_dir_of(asked, xdg.as_deref(), home.as_deref(), is_root).ok_or_else(|| {
        let why = unusable_home(home.as_deref());
        Error::new(ErrorKind::Usage, format!("there is no place for the record of runs: {why}"))
    })
}

/// What is wrong with `HOME` where it can't be used.
pub(crate) fn unusable_home(home: Option<&OsStr>) -> &'static str {
    match home {
        None => "HOME is not set",
        Some(home) if home.is_empty() => "HOME is empty",
        Some(_) => "HOME is no absolute path",
    }
}

fn state_dir_of(
    asked: Option<&Path>,
    xdg: Option<&OsStr>,
    home: Option<&OsStr>,
    is_root: bool,
) -> Option<PathBuf> {
    let absolute = |path: &OsStr| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    asked
        .map(Path::to_path_buf)
        .or_else(|| xdg.and_then(absolute).map(|path| path.join("vidimus")))
        .or_else(|| home.and_then(absolute).map(|path| path.join(".local/state/vidimus")))
        .or_else(|| is_root.then(|| PathBuf::from(STATE_OF_ROOT)))
}

/// Workers, where nothing else is asked for: as many as there are processors, and for a store, which
/// is mostly waited for, [`STORE_WORKERS`]; in any case no more than may have their files open.
pub(crate) fn workers(asked: Option<u16>, has_store: bool) -> usize {
    let wanted = asked.map_or_else(
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
/// [`ErrorKind::Usage`], naming what was asked for.
pub(crate) fn at_least_one(what: &str, asked: Option<u16>) -> Result<Option<u16>, Error> {
    if asked == Some(0) {
        return Err(Error::new(ErrorKind::Usage, format!("0 {what}: nothing would be done"))
            .help("ask for at least one, or leave it out"));
    }
    Ok(asked)
}

/// Works out how a location's store is reached; `None` of a place that has none.
///
/// # Errors
/// As those of [`place::access`].
pub(crate) fn store(location: &Location, allow_http: bool) -> Result<Option<StoreSettings>, Error> {
    place::access(location, &|name| env::var(name).ok(), allow_http)
}

/// The same of a location of one thing.
///
/// # Errors
/// As those of [`place::access`].
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
    fn state_lives_where_the_user_says_or_where_the_xdg_specification_does() {
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
