//! Mirrors file trees and object stores, fast, and proves it.
//!
//! vidimus copies what changed from a source to a target, each a directory or a prefix of a bucket,
//! hashes every byte with BLAKE3 as it passes, and leaves a manifest in the target that proves the
//! copy and makes the next run cost only what changed. This is the library behind the `vidimus`
//! command.
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
//! [`Mirror`] mirrors, or makes a bag. [`Verify`] compares a target with its records, and repairs it
//! on request; [`VerifyAgainst`] compares it with a source; [`Diff`] compares any two places.
//! Callbacks report [`Event`]s, and outcomes are data. `run` returns `Ok` only if everything was done
//! as requested: a mirror in which one file failed is [`RunError::Incomplete`], which has its
//! outcome.
//!
//! Runs use threads of their own and block until they are done: in an asynchronous program, call
//! them with `tokio::task::spawn_blocking`. They never print, and install no signal handlers:
//! [`Stop`] ends a run early.
//!
//! # Features
//! `cli`, on by default, is the command itself and its dependencies; a program that only uses the
//! library sets `default-features = false`.

// The command uses more than the facade does.
#![cfg_attr(not(feature = "cli"), allow(dead_code, unused_imports))]

/// Declares the modules below the facade: private, except for this crate's own tests and
/// benchmarks.
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
    Diff, DiffBuilder, Mirror, MirrorBuilder, RunError, RunOutcome, Snapshot, Verify,
    VerifyAgainst, VerifyAgainstBuilder, VerifyBuilder,
};
pub use engine::Holes;
pub use limits::{
    Days, Entry as TimetableEntry, LimitOptions, Period, Rate, RequestRate, Span, Timetable, Until,
};
pub use manifest::ManifestMode;
pub use manifest::keys::{KeyId, LockedKey, PublicKey, SecretKey};
pub use model::error::Side;
pub use model::run::RunLimit;
pub use model::{
    Action, Cause, Check, ContentSign, Decision, DiffEntry, DiffFinding, Difference, Digest,
    Durability, EntryError, EntryKind, Error, ErrorKind, ErrorReport, Event, ExtraKinds, Feature,
    Features, Finding, Hint, Key, Metadata, Mismatch, Notice, Operation, Outcome, Reason, RunId,
    Setting, Severity, Status, Stop, Timestamp, Totals, Verdict, Which, notice,
};
pub use session::diff::{Basis, DiffOutcome, DiffTotals};
pub use session::{BagOptions, DeleteOptions, MaxDelete, MirrorOutcome};
pub use verify::{
    AgainstOutcome, AgainstTotals, Budget, Depth, Sample, Unfinished, VerifyOutcome, VerifyTotals,
};
