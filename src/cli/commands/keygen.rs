//! `vidimus keygen`: generates a key pair.

use super::super::args::KeygenArgs;
use super::super::exit::Exit;
use super::super::keys;
use super::Purpose;
use crate::manifest::keys::PublicKey;
use crate::model::Error;
use crate::model::key::Escaped;
use crate::report::{Output, OutputOptions};
use crate::session::keygen::{self, KeygenOptions};
use rustix::fs::Mode;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Runs the command; `umask` is that of the process at its start.
pub(crate) fn run(args: &KeygenArgs, umask: Mode) -> Exit {
    match generate(args, umask) {
        Ok((options, key)) => {
            let exit = super::print(report(args, &options, &key).as_bytes(), Purpose::Work);
            if exit != Exit::Done {
                let note = format!("both keys were written; the public one is {key}");
                Output::new(OutputOptions::default(), None).message("note", &note);
            }
            exit
        }
        Err(error) => super::fail(&error),
    }
}

fn generate(args: &KeygenArgs, umask: Mode) -> Result<(KeygenOptions, PublicKey), Error> {
    let options = keys::new(args, umask)?;
    // Checked before the user thinks of a password.
    keygen::check(&options)?;
    let password = (!args.no_password).then(keys::new_password).transpose()?;
    let key = keygen::keygen(&options, password)?;
    Ok((options, key))
}

fn report(args: &KeygenArgs, options: &KeygenOptions, key: &PublicKey) -> String {
    let path = |path: &Path| Escaped(path.as_os_str().as_bytes()).to_string();
    let kind = if args.no_password { "not encrypted" } else { "encrypted" };
    format!(
        "made key {}\n  secret key  {} ({kind})\n  public key  {}\n              {key}\n",
        key.id(),
        path(&options.secret),
        path(&options.public),
    )
}
