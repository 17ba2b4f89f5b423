//! Where keys go, and their passwords, which are asked for here.

use super::args::KeygenArgs;
use crate::model::key::Escaped;
use crate::model::{Error, ErrorKind};
use crate::session::keygen::KeygenOptions;
use rustix::fs::Mode;
use std::fs::DirBuilder;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::{env, fmt};

/// Holds the password of a secret key.
const PASSWORD: &str = "VIDIMUS_KEY_PASSWORD";

/// Works out where a new pair of keys goes; `umask` is what the user's new files lack of rights. The
/// directory that they go to by default is made.
///
/// # Errors
/// [`ErrorKind::Usage`] where there is no such place, [`ErrorKind::Unusable`] where it can't be made.
pub(crate) fn new(args: &KeygenArgs, umask: Mode) -> Result<KeygenOptions, Error> {
    let secret = match &args.secret {
        Some(secret) => secret.clone(),
        None => default_directory()?.join("vidimus.key"),
    };
    let public = args.public.clone().unwrap_or_else(|| secret.with_extension("pub"));
    Ok(KeygenOptions { secret, public, mode: 0o666 & !umask.as_raw_mode(), force: args.force })
}

/// The password of a new key: that of the environment, or one that is typed twice.
///
/// # Errors
/// [`ErrorKind::Usage`] when there is none, or it was typed in two ways.
pub(crate) fn new_password() -> Result<String, Error> {
    if let Some(password) = password_in_environment() {
        return Ok(password);
    }
    let password = ask("Password of the new key: ")?;
    if password.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "the password is empty")
            .help("--no-password makes a key that is not encrypted"));
    }
    if ask("The same password again: ")? != password {
        return Err(Error::new(ErrorKind::Usage, "the two passwords are not the same"));
    }
    Ok(password)
}

/// Below `XDG_CONFIG_HOME` when that is absolute, else below the home directory.
fn default_directory() -> Result<PathBuf, Error> {
    let absolute =
        |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = absolute("XDG_CONFIG_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".config")))
        .ok_or_else(|| {
            Error::new(ErrorKind::Usage, "there is no place for keys: HOME is not set")
                .help("name files with --secret and --public")
        })?;
    let directory = config.join("vidimus");
    DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(|error| {
        let message = format!("cannot make the directory \"{}\"", printable(&directory));
        Error::new(ErrorKind::Unusable, message).because(error)
    })?;
    Ok(directory)
}

fn password_in_environment() -> Option<String> {
    env::var(PASSWORD).ok().filter(|password| !password.is_empty())
}

/// Asks for a password in the terminal, which doesn't show it.
fn ask(prompt: &str) -> Result<String, Error> {
    rpassword::prompt_password(prompt).map_err(|error| {
        Error::new(ErrorKind::Usage, "cannot ask for the password of the key")
            .because(error)
            .help(format!("run it in a terminal, or set {PASSWORD}"))
    })
}

fn printable(path: &Path) -> impl fmt::Display {
    Escaped(path.as_os_str().as_bytes())
}
