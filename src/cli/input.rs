//! Standard input.

use crate::model::{Error, ErrorKind};
use rustix::fs::{OFlags, fcntl_getfl};
use std::io::{self, Stdin};

/// Returns standard input. Rust's own handle treats a closed one as ended.
///
/// # Errors
/// [`ErrorKind::Unusable`] if it is not open for reading.
pub(crate) fn stdin() -> Result<Stdin, Error> {
    let stdin = io::stdin();
    let is_open = fcntl_getfl(&stdin).map(|flags| flags & OFlags::RWMODE != OFlags::WRONLY);
    match is_open.map_err(io::Error::from) {
        Ok(true) => Ok(stdin),
        Ok(false) => Err(Error::new(ErrorKind::Unusable, "standard input is closed")
            .help("redirect input to it, or < /dev/null for no input")),
        Err(error) => {
            Err(Error::new(ErrorKind::Unusable, "cannot read standard input").because(error))
        }
    }
}
