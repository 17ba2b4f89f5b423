//! What a run of a single file may do to the manifest that it leaves its trace in.

use crate::manifest::State;
use crate::manifest::keys::{PublicKey, SecretKey};
use crate::manifest::published::ManifestReader;
use crate::model::hint::hint;
use crate::model::{Error, ErrorKind, Setting};

/// Whether a manifest's pointer could be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pointer {
    /// It was read, or there is none.
    Read,
    /// It is damaged, or may not be read.
    Unread,
}

/// Refuses to make an unsigned manifest of a signed one for the sake of a single file, and to sign one
/// that isn't there. `name` is the target's; the key is that of the run.
pub(super) fn check_signed(
    reader: &ManifestReader<'_>,
    name: &str,
    key: Option<&SecretKey>,
) -> Result<Pointer, Error> {
    match (reader.is_signed(), key) {
        (Ok(Some(true)), None) => {
            let message = format!("the manifest of \"{name}\" is signed");
            Err(Error::new(ErrorKind::Refused, message).help(hint![
                Setting::Sign,
                " KEY signs it with the file; bring that elsewhere, or remove .vidimus/manifest there if \
                 it needs no signature any more",
            ]))
        }
        (Ok(None), Some(_)) => Err(nothing_to_sign(name)),
        (Ok(_), _) => Ok(Pointer::Read),
        // What can't be read is told when it is taken over.
        (Err(_), _) => Ok(Pointer::Unread),
    }
}

/// That a place, by its name, has no manifest which a run of a single file could sign.
pub(super) fn nothing_to_sign(name: &str) -> Error {
    let message = format!("\"{name}\" has no manifest to sign");
    Error::new(ErrorKind::Usage, message).help(hint![
        "a mirror of a directory publishes it there; leave ",
        Setting::Sign,
        " out",
    ])
}

/// Refuses a state that holds what a key must not sign: a single file compares nothing of that.
pub(super) fn check_trusted(state: &State, key: &PublicKey) -> Result<(), Error> {
    if state.is_for(key)? {
        return Ok(());
    }
    let message = "the record of this place was taken over from a manifest that was not found to be \
                   signed with this key";
    Err(Error::new(ErrorKind::Refused, message).help(hint![
        "a mirror of a directory with ",
        Setting::Sign,
        " compares everything, and signs then",
    ]))
}
