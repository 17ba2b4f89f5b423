//! Mirrors file trees and object stores, fast, and proves it.
//!
//! vidimus copies what changed from a source to a target, each a directory or a prefix of a bucket,
//! hashes every byte with BLAKE3 as it passes, and leaves a manifest in the target that proves the copy
//! and makes the next run cost only what changed. This is the library behind the `vidimus` command.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let at = tempfile::tempdir()?;
//! # std::fs::create_dir(at.path().join("photos"))?;
//! # std::fs::write(at.path().join("photos/a.jpg"), "a photo")?;
//! # let (source, target, records) =
//! #     (at.path().join("photos"), at.path().join("backup"), at.path().join("records"));
//! use vidimus::{Mirror, Verify};
//!
//! let outcome = Mirror::builder(&source, &target).state_dir(&records).run()?;
//! assert_eq!(outcome.totals.files_copied, 1);
//!
//! let outcome = Verify::builder(&target).state_dir(&records).run()?;
//! assert_eq!(outcome.totals.verified, 1);
//! # Ok(())
//! # }
//! ```
//!
//! [`Mirror`] mirrors, [`Verify`] holds a target against what was recorded of it, [`Diff`] compares two
//! places. What happens comes by callbacks, how it ended as data. `run` is `Ok` only where all is as it
//! was asked for: a mirror in which one file failed is [`RunError::Incomplete`], with its outcome.
//!
//! All of it runs on threads of its own and blocks until it is done: call it from
//! `tokio::task::spawn_blocking` in an asynchronous program. It never prints, and installs no handlers of
//! signals: [`Stop`] ends a run early.
//!
//! # Features
//! `cli`, on by default, is the command itself with what it needs; a program that only uses the library
//! says `default-features = false`.

pub mod api;
pub mod backend;
#[cfg(feature = "cli")]
pub mod cli;
pub mod compare;
pub mod engine;
pub mod filter;
pub mod limits;
pub mod listing;
pub mod location;
pub mod manifest;
pub mod model;
pub mod place;
pub mod plan;
#[cfg(feature = "cli")]
pub mod report;
pub mod session;
pub mod spool;
pub mod ticker;
pub mod verify;

pub use api::{
    Diff, DiffBuilder, DiffFinding, Finding, Mirror, MirrorBuilder, RunError, Snapshot, Unfinished,
    Verify, VerifyBuilder,
};
pub use model::{
    Action, Check, Decision, Digest, Durability, EntryError, EntryKind, Error, ErrorKind, Event,
    ExtraKinds, Key, Outcome, Reason, RunId, Status, Stop, Timestamp, Totals, Verdict,
};
pub use session::{DeleteOptions, MaxDelete, MirrorOutcome};
pub use verify::{Budget, Sample, VerifyOutcome, VerifyTotals};
