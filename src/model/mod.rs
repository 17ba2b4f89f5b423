//! Plain data that every layer shares: keys, entries, stamps, digests, events, errors and runs.
//!
//! Nothing here does I/O. `docs/architecture.md` defines the terms.

pub mod acl;
pub mod attributes;
pub mod comparison;
pub mod decision;
pub mod digest;
pub mod entry;
pub mod error;
pub mod etag;
pub mod event;
pub mod extras;
pub mod feature;
pub mod finding;
mod flags;
#[cfg(test)]
pub(crate) mod fuzz;
pub mod hex;
pub mod hint;
mod id_map;
pub mod keeps;
pub mod key;
pub mod mapping;
mod mode_changes;
pub mod names;
pub mod notice;
pub mod percent;
pub mod preserve;
mod reason;
pub mod request;
pub mod reserved;
pub mod run;
mod sentence;
pub mod serial;
pub mod shell;
pub mod stamp;

pub use attributes::{Attribute, AttributeKind, AttributeKinds, Attributes, SettableAttributes};
pub use comparison::{ContentSign, DiffEntry, DiffFinding, Mismatch, Which};
pub use decision::{Action, Check, Decision};
pub use digest::{Digest, ExtraDigests, ExtraKinds};
pub use entry::{Birth, Entry, EntryKind, Metadata, SpecialKind};
pub use error::{Cause, EntryError, Error, ErrorKind, ErrorReport, Operation};
pub use etag::{ETag, TagHash};
pub use event::{Event, Observer, Outcome, Status};
pub use extras::{Apart, AttributesDigest, DeviceNumber, Extras, GroupId, LinkGroup};
pub use feature::{Feature, Features};
pub use finding::{Difference, Finding};
pub use flags::FileFlags;
pub use hint::{Hint, Setting};
pub use id_map::IdMap;
pub use keeps::Keeps;
pub use key::Key;
pub use mapping::MetadataMapping;
pub use mode_changes::ModeChanges;
pub use names::{NameLimit, NameLimits};
pub use notice::{Notice, Severity};
pub use preserve::Preserve;
pub use reason::Reason;
pub use request::RequestKind;
pub use run::{Ahead, Counted, Durability, InFlight, Progress, RunId, Stop, Totals, Verdict};
pub use stamp::{Stamp, Timestamp};
