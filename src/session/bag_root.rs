//! The root of a bag: nobody writes there but who makes it, or copies a whole one.

use crate::backend;
use crate::manifest::{State, bag, is_damage};
use crate::model::{Error, ErrorKind};
use std::path::Path;

/// Refuses a directory that is the root of a bag, unless it is the copy of one that an earlier mirror
/// made: the bag would not be valid any more. `name` is the directory's in the state; `help` is the way
/// out where it is not vidimus's own.
///
/// # Errors
/// [`ErrorKind::Refused`] for such a root, [`ErrorKind::Manifest`] where it can't be found out whether
/// there was a mirror.
pub(super) fn refuse(path: &Path, name: &str, state_dir: &Path, help: &str) -> Result<(), Error> {
    if bag::payload_of(path).is_none() {
        return Ok(());
    }
    let refused = |help: &str| {
        let message = format!("\"{name}\" is a bag, and would not be valid any more");
        Err(Error::new(ErrorKind::Refused, message).help(help.to_owned()))
    };
    if bag::is_made_here(path) {
        return refused("`vidimus bag SOURCE BAG` brings a bag up to date; name another directory");
    }
    // Its own content makes a copy a bag: what a mirror left beside that tells them apart.
    let is_copy = path.join(backend::MANIFEST).is_dir()
        || match State::latest_into(state_dir, name) {
            Ok(Some(state)) => state.last_mirror()?.is_some(),
            Ok(None) => false,
            // What it told is told by nobody any more.
            Err(error) if is_damage(&error) => false,
            Err(error) => return Err(error),
        };
    if is_copy { Ok(()) } else { refused(help) }
}
