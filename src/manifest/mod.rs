//! The manifest: what earlier runs did, as evidence for the next one; and the lock that keeps two
//! runs from writing to one target.
//!
//! [`State`] has a row for each key of a target, from any source, in the user's state directory. It
//! is evidence, not authority: a lost or damaged state costs a full comparison, never data. Its
//! content is [`published`] in the target, for other machines and other readers.

pub use database::is_damage;
pub use holder::LeftBehind;
pub use lock::Writing;
pub use mode::ManifestMode;
pub use recall::recall;
pub use row::{Origin, PendingRow, RecordedBy, Row, RunNumber, SourceNumber, Verified};
pub use runs::{CutOff, RootIdentity, RunRecord, Sameness};
pub use state::{
    Changes, IMPORTED, LazyRow, LazyRows, Opened, RowSelection, Rows, STREAM, State, Writer,
};
pub use target_lock::{LockRequest, Lockable, SharedLock, TargetLock};

use crate::backend::KeySpace;
use crate::filter::FilterSpec;
use crate::model::{
    Durability, Error, ErrorKind, Keeps, MetadataMapping, Preserve, SettableAttributes,
};
use serde::{Deserialize, Serialize};

pub mod bag;
mod database;
mod holder;
mod journal;
pub mod keys;
mod lease;
pub mod list;
pub mod lock;
mod mode;
pub mod published;
mod recall;
mod row;
mod runs;
pub mod state;
mod target_lock;

/// The options of a run, as far as its rows can't be interpreted without them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedOptions {
    /// Which entries took part.
    pub filter: FilterSpec,
    /// Whether extra entries of the target were deleted.
    pub delete: bool,
    /// How durable files were made.
    pub durability: Durability,
    /// The only name mirrored, where the source was a single file.
    pub only: Option<Box<[u8]>>,
    /// How keys were interpreted.
    #[serde(default)]
    #[serde(rename = "form")]
    pub key_space: KeySpace,
    /// What the target keeps of metadata and directories, if not everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keeps: Option<Keeps>,
    /// What was preserved, beside content and metadata.
    #[serde(default = "Preserve::nothing")]
    pub preserve: Preserve,
    /// How the owners, groups and modes of the source's entries were changed.
    #[serde(default, skip_serializing_if = "MetadataMapping::is_empty")]
    pub mapping: MetadataMapping,
    /// Which attributes could be set in the target, where entries lack some of theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settable: Option<SettableAttributes>,
    /// Whether the manifest in a source that lists no metadata told more than the source has, or may.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub source_tells: bool,
}

impl RecordedOptions {
    /// Returns whether the run went through a whole tree, and not just a file or what was listed.
    pub fn is_whole(&self) -> bool {
        self.only.is_none() && !self.filter.is_listed
    }

    /// Encodes the options for [`State::begin_run`].
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if they can't be encoded.
    pub fn encode(&self) -> Result<String, Error> {
        serde_json::to_string(self).map_err(|error| {
            Error::new(ErrorKind::Manifest, "cannot encode the run's options").because(error)
        })
    }

    /// Decodes what [`RecordedOptions::encode`] wrote.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] for anything else.
    pub fn decode(text: &str) -> Result<Self, Error> {
        serde_json::from_str(text).map_err(|error| {
            Error::new(ErrorKind::Manifest, "cannot decode the recorded run's options")
                .because(error)
        })
    }
}
