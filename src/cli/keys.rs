//! Keys on the command line: reading their files, and asking for passwords.

use super::args::KeygenArgs;
use crate::api::environment::unusable_home;
use crate::manifest::keys::{LONGEST, LockedKey, PublicKey, SecretKey};
use crate::model::key::Escaped;
use crate::model::{Error, ErrorKind};
use crate::session::keygen::KeygenOptions;
use rustix::fs::Mode;
use std::env::VarError;
use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::{env, fmt};

/// The environment variable with the password of a secret key.
pub(super) const PASSWORD: &str = "VIDIMUS_KEY_PASSWORD";
/// Permissions that the file of an unencrypted secret key must not grant: any to group or others.
const OTHERS: u32 = 0o077;

/// Opens the secret key in a file, with the password from the environment or the user.
///
/// # Errors
/// [`ErrorKind::Usage`] if it can't be read or opened, or is accessible to others than its owner.
pub(crate) fn secret(path: &Path) -> Result<SecretKey, Error> {
    let KeyFile { text, mode } = KeyFile::read(path)?;
    let locked = LockedKey::decode(&text).map_err(|error| cannot_use(path, error))?;
    let password = if locked.is_encrypted() {
        match password_in_environment()? {
            Some(password) => password,
            None => ask(&format!("Password of \"{}\": ", printable(path)))?,
        }
    } else if mode & OTHERS != 0 {
        let how = "it is not encrypted, and users other than its owner can read or write it";
        let error = Error::new(ErrorKind::Usage, how)
            .help("run chmod 600 on it; whoever has read it can sign in your name");
        return Err(cannot_use(path, error));
    } else {
        String::new()
    };
    locked.open(password).map_err(|error| cannot_use(path, error))
}

/// Parses a public key: the key itself in Base64, or the name of its file.
///
/// # Errors
/// [`ErrorKind::Usage`] if it is neither.
pub(crate) fn public(typed: &OsStr) -> Result<PublicKey, Error> {
    if let Some(key) = typed.to_str().and_then(|text| PublicKey::decode(text).ok()) {
        return Ok(key);
    }
    let path = Path::new(typed);
    PublicKey::decode(&KeyFile::read(path)?.text).map_err(|error| cannot_use(path, error))
}

/// Returns where a new key pair goes, and creates the default directory if that is used. `umask`
/// has the permissions that the user's new files lack.
///
/// # Errors
/// [`ErrorKind::Usage`] if there is no such place, [`ErrorKind::Unusable`] if it can't be created.
pub(crate) fn new(args: &KeygenArgs, umask: Mode) -> Result<KeygenOptions, Error> {
    let secret = match &args.secret {
        Some(secret) => secret.clone(),
        None => default_directory()?.join("vidimus.key"),
    };
    let public = args.public.clone().unwrap_or_else(|| secret.with_extension("pub"));
    Ok(KeygenOptions { secret, public, mode: 0o666 & !umask.as_raw_mode(), force: args.force })
}

/// Returns the password of a new key: from the environment, or typed twice by the user.
///
/// # Errors
/// [`ErrorKind::Usage`] if there is none, the two differ, or it is not UTF-8.
pub(crate) fn new_password() -> Result<String, Error> {
    if let Some(password) = password_in_environment()? {
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

/// Returns the directory below `XDG_CONFIG_HOME` if that is absolute, else below the home
/// directory.
fn default_directory() -> Result<PathBuf, Error> {
    let absolute =
        |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = absolute("XDG_CONFIG_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".config")))
        .ok_or_else(|| {
            let why = unusable_home(env::var_os("HOME").as_deref());
            Error::new(ErrorKind::Usage, format!("there is no directory for keys: {why}"))
                .help("name files with --secret and --public")
        })?;
    let directory = config.join("vidimus");
    DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(|error| {
        let message = format!("cannot make the directory \"{}\"", printable(&directory));
        Error::new(ErrorKind::Unusable, message).because(error)
    })?;
    Ok(directory)
}

fn password_in_environment() -> Result<Option<String>, Error> {
    match env::var(PASSWORD) {
        Ok(password) => Ok(Some(password).filter(|password| !password.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => {
            Err(Error::new(ErrorKind::Usage, format!("{PASSWORD} is not UTF-8")))
        }
    }
}

/// Asks for a password in the terminal, without echo.
fn ask(prompt: &str) -> Result<String, Error> {
    rpassword::prompt_password(prompt).map_err(|error| {
        Error::new(ErrorKind::Usage, "cannot ask for the password of the key")
            .because(error)
            .help(format!("run it in a terminal, or set {PASSWORD}"))
    })
}

/// The file of a key.
struct KeyFile {
    text: String,
    mode: u32,
}

impl KeyFile {
    fn read(path: &Path) -> Result<Self, Error> {
        let failed = |error: io::Error| {
            let message = format!("cannot read the key \"{}\"", printable(path));
            Error::new(ErrorKind::Usage, message).because(error)
        };
        let file = File::open(path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.mode();
        let mut bytes = Vec::new();
        file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > LONGEST {
            return Err(failed(io::Error::other("it is too large to be a key")));
        }
        let text =
            String::from_utf8(bytes).map_err(|_| failed(io::Error::other("it is not UTF-8")))?;
        Ok(Self { text, mode })
    }
}

fn cannot_use(path: &Path, error: Error) -> Error {
    let message = format!("cannot use the key \"{}\"", printable(path));
    let help = error.help.clone();
    let error = Error::new(ErrorKind::Usage, message).because(error);
    match help {
        Some(help) => error.help(help),
        None => error,
    }
}

fn printable(path: &Path) -> impl fmt::Display {
    Escaped(path.as_os_str().as_bytes())
}
