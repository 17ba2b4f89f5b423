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

// The command uses more than the facade has.
#![cfg_attr(not(feature = "cli"), allow(dead_code, unused_imports))]

/// Declares the modules below the facade: private, but for this crate's own tests and benchmarks.
macro_rules! internals {
    ($($(#[$attribute:meta])* $name:ident,)*) => {$(
        $(#[$attribute])*
        #[cfg(feature = "internals")]
        #[doc(hidden)]
        pub mod $name;
        $(#[$attribute])*
        #[cfg(not(feature = "internals"))]
        mod $name;
    )*};
}

mod api;
#[cfg(feature = "cli")]
pub mod cli;
internals! {
    backend,
    compare,
    engine,
    filter,
    limits,
    listing,
    location,
    manifest,
    model,
    place,
    plan,
    #[cfg(feature = "cli")]
    report,
    session,
    small_directory,
    spool,
    ticker,
    verify,
}

pub use api::{
    Diff, DiffBuilder, DiffFinding, Finding, Mirror, MirrorBuilder, RunError, RunOutcome, Snapshot,
    Verify, VerifyBuilder,
};
pub use limits::{
    Days, Entry as TimetableEntry, LimitOptions, Period, Rate, RequestRate, Span, Timetable,
};
pub use manifest::keys::{KeyId, LockedKey, PublicKey, SecretKey};
pub use model::error::Side;
pub use model::{
    Action, Cause, Check, Decision, Digest, Durability, EntryError, EntryKind, Error, ErrorKind,
    ErrorReport, Event, ExtraKinds, Feature, Features, Hint, Key, Metadata, Notice, Operation,
    Outcome, Reason, RunId, Setting, Severity, Status, Stop, Timestamp, Totals, Verdict, notice,
};
pub use session::diff::{Basis, DiffEntry, DiffOutcome, DiffTotals, Which};
pub use session::{DeleteOptions, MaxDelete, MirrorOutcome};
pub use verify::{Budget, Depth, Difference, Sample, VerifyOutcome, VerifyTotals};
