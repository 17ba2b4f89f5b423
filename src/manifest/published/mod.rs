//! The published manifest: the content of the state under the target's `.vidimus/manifest/`, for
//! any machine and any reader. `docs/manifest.md` specifies it.
//!
//! Rows are in segments, files that never change: a base with all rows, then one for each
//! publication with its changes. A [`Head`] lists the segments of the manifest and names its
//! predecessor by digest. The pointer, written last, names the current head. [`ManifestReader`]
//! reads these files, [`ManifestStatus`] reports damaged or missing ones, [`History`] follows the
//! chain of heads, [`SignatureStatus`] is the result of verifying a head's signature, [`check()`]
//! verifies everything, [`trace`](trace::trace) follows single keys. [`ManifestWriter`] writes the
//! files, [`publish`](publish::publish) adds a publication, [`sign`] signs the current one,
//! [`rebuild`](rebuild::rebuild) makes a state from a publication, [`catch_up`](catch_up::catch_up)
//! imports what others published since.

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
pub use reader::{ManifestReader, used_instead};
pub use rebuild::rebuild;
pub use signature::SignatureStatus;
pub use status::ManifestStatus;
pub use trace::trace;
pub use writer::ManifestWriter;

use crate::model::key::printable;
use crate::model::{Error, ErrorKind};

/// Builds the error for a published manifest that can't be used.
fn damaged(what: &str, how: impl std::fmt::Display) -> Error {
    // The JSON parser's error may quote the file.
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
