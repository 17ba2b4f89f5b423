//! The published manifest: what the state holds, under the target's `.vidimus/manifest/`, for any
//! machine and any reader. `docs/manifest.md` specifies it.
//!
//! Rows lie in segments, each a file that never changes: a base with all of them, then one for
//! each publication with what changed since. A [`Head`] says which segments make up the manifest and
//! names its predecessor by digest; the pointer, written last, says which head counts. [`ManifestReader`]
//! reads these files, [`ManifestStatus`] tells what of them is damaged or gone, [`History`] follows the chain
//! of heads, [`SignatureStatus`] tells what a head's signature is worth, [`check()`] makes sure that all of it is
//! whole, [`trace`](trace::trace) follows single keys. [`ManifestWriter`] writes them, [`publish`](publish::publish) adds a publication, [`sign`] signs the
//! one that counts, [`rebuild`](rebuild::rebuild) makes a state of what was published,
//! [`catch_up`](catch_up::catch_up) takes in what others published since.

mod catch_up;
mod check;
mod head;
mod history;
mod line;
mod merge;
mod open;
mod publish;
mod reader;
mod rebuild;
mod segment;
mod signature;
mod status;
mod trace;
mod writer;

pub use catch_up::{CaughtUp, Foreseen, Lost, Since, catch_up, foresee};
pub use check::{CheckedChain, check, sign};
pub use head::{Head, Publication, Publishing, RecordedSource};
pub use history::History;
pub use line::Published;
pub use merge::Merged;
pub use publish::{Done, publish};
pub use reader::{ManifestReader, gone_by};
pub use rebuild::rebuild;
pub use signature::SignatureStatus;
pub use status::ManifestStatus;
pub use trace::trace;
pub use writer::ManifestWriter;

use crate::model::key::printable;
use crate::model::{Error, ErrorKind};

/// The error of a published manifest that can't be used as it stands.
fn damaged(what: &str, how: impl std::fmt::Display) -> Error {
    // Whoever reads JSON may quote what it read.
    let how = printable(how.to_string());
    Error::new(ErrorKind::Damaged, format!("the published manifest is damaged: {what}: {how}"))
        .help(
            "the next mirror publishes anew what is missing, or of another size, and what `vidimus \
             verify` finds damaged",
        )
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
