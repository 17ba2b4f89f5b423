//! The published manifest: what the state holds, under the target's `.vidimus/manifest/`, for any
//! machine and any reader. `docs/manifest.md` specifies it.
//!
//! Rows lie in segments, each a file that never changes: a base with all of them, then one for
//! each publication with what changed since. A [`Head`] says which segments make up the manifest and
//! names its predecessor by digest; the [`Pointer`], written last, says which head counts. [`Shelf`]
//! reads these files, [`Standing`] tells what of them is damaged or gone, [`History`] follows the chain
//! of heads, [`Seal`] tells what a head's signature is worth, [`check`] makes sure that all of it is
//! whole, [`trace`](trace::trace) follows single keys. [`Press`] writes them, [`publish`](publish::publish) adds a publication, [`sign`] signs the
//! one that counts, [`rebuild`](rebuild::rebuild) makes a state of what was published,
//! [`catch_up`](catch_up::catch_up) takes in what others published since.

mod catch_up;
mod head;
mod history;
mod line;
mod merge;
mod open;
mod press;
mod publish;
mod rebuild;
mod seal;
mod segment;
mod shelf;
mod standing;
mod trace;

pub use catch_up::{CaughtUp, Foreseen, Lost, Since, catch_up, foresee};
pub use head::{Head, Pointer, Predecessor, Publication, RecordedSource, Segment};
pub use history::History;
pub use line::Published;
pub use merge::Merged;
pub use press::Press;
pub use publish::{Done, Publishing, Signing, publish};
pub use rebuild::rebuild;
pub use seal::{Checked, Seal, check, sign};
pub use shelf::{Shelf, gone_by};
pub use standing::Standing;
pub use trace::trace;

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
