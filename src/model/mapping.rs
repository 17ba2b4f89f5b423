//! Metadata that a run gives its source's entries instead of their own.

use super::{EntryKind, IdMap, Metadata, ModeChanges};
use serde::{Deserialize, Serialize};

/// How the owner, group and mode of a source's entries are changed before they are compared and
/// copied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MetadataMapping {
    /// Owners that take the place of others.
    #[serde(skip_serializing_if = "IdMap::is_empty")]
    pub users: IdMap,
    /// Groups that take the place of others.
    #[serde(skip_serializing_if = "IdMap::is_empty")]
    pub groups: IdMap,
    /// Changes of modes.
    #[serde(skip_serializing_if = "ModeChanges::is_empty")]
    pub modes: ModeChanges,
}

/// What the maps of ids need to know: names of users and groups.
pub trait Names {
    /// Returns the name of a user.
    fn user(&self, id: u32) -> Option<String>;
    /// Returns the name of a group.
    fn group(&self, id: u32) -> Option<String>;
}

impl MetadataMapping {
    /// Returns whether everything stays as it is.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Changes the metadata of an entry.
    pub fn apply(&self, metadata: &mut Metadata, kind: EntryKind, names: &dyn Names) {
        metadata.mode = self.modes.apply(metadata.mode, kind);
        let uid = self.users.map(metadata.uid, &|id| names.user(id));
        let gid = self.groups.map(metadata.gid, &|id| names.group(id));
        metadata.uid = uid.unwrap_or(metadata.uid);
        metadata.gid = gid.unwrap_or(metadata.gid);
    }
}
