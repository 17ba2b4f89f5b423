//! What `vidimus keygen` takes.

#![expect(clippy::doc_markdown, reason = "doc comments are help here, printed as they stand")]

use super::super::values;
use clap::Args;
use std::path::PathBuf;

pub(super) const LONG_ABOUT: &str = "\
Makes a pair of keys to sign manifests with: a secret key that signs (`vidimus mirror --sign`, \
`vidimus manifest sign`) and a public key by which anybody can tell that it did (`vidimus verify \
--key`, `vidimus manifest check --key`).

The keys are those of minisign, which can use them, and vidimus uses those that minisign made. The \
secret key is encrypted by a password: that in VIDIMUS_KEY_PASSWORD, else one that is asked for in the \
terminal. Keep it off the target, and out of the source: whoever has both the key and its password \
signs in your name.";

pub(super) const EXAMPLES: &str = "\
Examples:
  vidimus keygen
  vidimus keygen --secret ~/keys/photos.key --public ~/keys/photos.pub
  vidimus mirror --sign ~/.config/vidimus/vidimus.key ~/photos /mnt/backup/photos

Exit codes:
    0  both keys were written
    1  both keys were written, but nothing was written to standard output
    2  wrong usage, or no password
    6  a file of that name exists already
    7  a file can't be written

Each flag can be set in the environment as VIDIMUS_<FLAG>; a flag on the command line wins.";

#[derive(Debug, Args)]
pub(crate) struct KeygenArgs {
    /// Write the secret key to FILE [default: $XDG_CONFIG_HOME/vidimus/vidimus.key, or
    /// ~/.config/vidimus/vidimus.key]
    ///
    /// Only its owner can read it (mode 0600).
    #[arg(short = 's', long, value_name = "FILE", env = "VIDIMUS_SECRET")]
    pub(crate) secret: Option<PathBuf>,
    /// Write the public key to FILE [default: the secret key's name, with .pub]
    #[arg(short = 'p', long, value_name = "FILE", env = "VIDIMUS_PUBLIC")]
    pub(crate) public: Option<PathBuf>,
    /// Replace files that stand there
    ///
    /// What a key signed can still be checked with its public key, but nothing more signed with it.
    #[arg(long, env = "VIDIMUS_FORCE", value_parser = values::switch)]
    pub(crate) force: bool,
    /// Don't encrypt the secret key: whoever can read its file can sign
    #[arg(long, env = "VIDIMUS_NO_PASSWORD", value_parser = values::switch)]
    pub(crate) no_password: bool,
}
