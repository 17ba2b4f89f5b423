//! Runs from end to end: typed options in, events and an outcome out.
//!
//! [`mirror()`] is the main one, and [`explain`] says what it would do with one key.
//! [`ls`](ls::ls), [`cat`](cat::cat) and [`put`](put::put) work on a single location. [`manifest`]
//! opens published manifests, [`export`] converts one to a list, [`import`](mod@import) makes one
//! from a list, [`sign`](mod@sign) signs it with a key from [`keygen`](mod@keygen), and
//! [`diff`](diff::diff) compares two places, using their manifests' digests as far as the stamps
//! still match.

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

pub use crate::plan::{DeleteOptions, MaxChange, MaxDelete};
pub use mirror::{
    BagOptions, CopiedBy, Explained, Explanation, MirrorOptions, MirrorOutcome, Past, PastLine,
    explain, mirror,
};

use crate::model::Timestamp;
use crate::place::new_run_id;

fn wall_clock() -> Timestamp {
    let now = jiff::Timestamp::now();
    let nanos = now.as_nanosecond();
    Timestamp {
        seconds: nanos.div_euclid(1_000_000_000) as i64,
        nanos: nanos.rem_euclid(1_000_000_000) as u32,
    }
}
