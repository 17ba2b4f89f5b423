//! What a run of a single file may do to the manifest of its directory.

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
    /// It is damaged, or can't be read.
    Unread,
}

/// Refuses a run of a single file that would replace a signed manifest by an unsigned one, or has
/// none to sign. `name` is the target's name; the key is that of the run.
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
                " KEY signs it together with the file; or write the file elsewhere, or remove \
                 .vidimus/manifest there if no signature is needed any longer",
            ]))
        }
        (Ok(None), Some(_)) => Err(nothing_to_sign(name)),
        (Ok(_), _) => Ok(Pointer::Read),
        // An unreadable one is reported when it is taken over.
        (Err(_), _) => Ok(Pointer::Unread),
    }
}

/// Makes the error that a place has no manifest that a run of a single file could sign.
pub(super) fn nothing_to_sign(name: &str) -> Error {
    let message = format!("\"{name}\" has no manifest to sign");
    Error::new(ErrorKind::Usage, message).help(hint![
        "a mirror of a directory publishes it there; leave ",
        Setting::Sign,
        " out",
    ])
}

/// Refuses a state with entries that a key must not sign: a single file's run compares none of
/// them.
pub(super) fn check_trusted(state: &State, key: &PublicKey) -> Result<(), Error> {
    if state.is_for(key)? {
        return Ok(());
    }
    let message = "the record of this place was taken over from a manifest whose signature by this \
                   key was not checked";
    Err(Error::new(ErrorKind::Refused, message).help(hint![
        "a mirror of a directory with ",
        Setting::Sign,
        " compares everything, and then signs it",
    ]))
}
