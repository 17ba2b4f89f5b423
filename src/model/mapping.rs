//! Metadata that a run gives its source's entries instead of their own.

use super::{EntryKind, IdMap, Metadata, ModeChanges};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    /// Give an entry that no map concerns to the user and group of the same name as on the machine
    /// that it comes from.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub by_name: bool,
}

/// What is known of users and groups.
pub trait Names {
    /// Returns the name of a user where the entries come from.
    fn user(&self, id: u32) -> Option<String>;
    /// Returns the name of a group where the entries come from.
    fn group(&self, id: u32) -> Option<String>;
    /// Returns the user here who has the name of one there.
    fn user_here(&self, id: u32) -> Option<u32>;
    /// Returns the group here that has the name of one there.
    fn group_here(&self, id: u32) -> Option<u32>;
}

/// The names of users and groups that a published manifest tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordedNames {
    /// Of users.
    pub users: BTreeMap<u32, String>,
    /// Of groups.
    pub groups: BTreeMap<u32, String>,
}

impl RecordedNames {
    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty()
    }
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
        let by_name = |here: &dyn Fn() -> Option<u32>| self.by_name.then(here).flatten();
        let uid = uid.or_else(|| by_name(&|| names.user_here(metadata.uid)));
        let gid = gid.or_else(|| by_name(&|| names.group_here(metadata.gid)));
        metadata.uid = uid.unwrap_or(metadata.uid);
        metadata.gid = gid.unwrap_or(metadata.gid);
    }
}
