//! One run, wired end to end: typed options in, events and an outcome out.
//!
//! [`mirror()`] is the run that the tool is made for, and [`explain`] says what it would do with one key;
//! [`ls`](ls::ls), [`cat`](cat::cat) and [`put`](put::put) are what one does beside it, to what lies at
//! a single location; [`manifest`] opens what runs published, [`export`] makes a list of it,
//! [`import`](mod@import) makes it of a list, [`sign`](mod@sign) signs it with a key that
//! [`keygen`](mod@keygen) made, and [`diff`](diff::diff) lists two places and tells them apart, by its
//! digests where their stamps still hold.

mod atomic_file;
pub mod cat;
pub mod diff;
pub mod export;
pub mod import;
mod input;
pub mod keygen;
pub mod ls;
pub mod manifest;
mod mirror;
mod places;
mod published;
pub mod put;
pub mod sign;
mod single;

pub use crate::plan::{DeleteOptions, MaxDelete};
pub use mirror::{
    BagOptions, CopiedBy, Explained, Explanation, MirrorOptions, MirrorOutcome, Past, PastLine,
    explain, mirror,
};

use crate::model::{Error, RunId, Timestamp};
use crate::place::random;

/// Makes the id of a run that begins now.
///
/// # Errors
/// [`random`]'s.
pub(crate) fn new_run_id() -> Result<RunId, Error> {
    let start = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    Ok(RunId(format!("{start}-{:08x}", random()?)))
}

fn wall_clock() -> Timestamp {
    let now = jiff::Timestamp::now();
    let nanos = now.as_nanosecond();
    Timestamp {
        seconds: nanos.div_euclid(1_000_000_000) as i64,
        nanos: nanos.rem_euclid(1_000_000_000) as u32,
    }
}
