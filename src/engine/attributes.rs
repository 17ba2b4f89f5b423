//! Attributes of the source's entries: what of them a copy gets, and what it lacks.

use super::{Context, Purpose};
use crate::backend::Inspected;
use crate::model::{AttributeKinds, Attributes, Entry, Feature, Features};

/// What a closer look at an entry of the source found, as far as it concerns its copy.
#[derive(Default)]
pub(super) struct Kept {
    /// The attributes that the copy is to have; `None` leaves those of the target's entry as they
    /// are.
    pub(super) attributes: Option<Attributes>,
    /// The mode of a copy that gets no ACL.
    pub(super) mode_without_acl: u32,
    /// Features that the copy lacks.
    pub(super) lost: Features,
}

impl Context<'_> {
    /// Returns which attributes of the source's entries are looked for.
    pub(super) fn looks_for(&self) -> AttributeKinds {
        if self.purpose == Purpose::Mirror { self.policy.looks_for } else { AttributeKinds::NONE }
    }

    /// Separates what the copy of an entry gets from what it lacks. `entry` gets the copy's mode,
    /// which without the ACL is no wider than that was, and the digest of the attributes.
    pub(super) fn kept(&self, inspected: Inspected, entry: &mut Entry) -> Kept {
        let Inspected { features, mode, attributes } = inspected;
        let is_unread = features.has(Feature::UnreadAttributes);
        let kinds = if is_unread { AttributeKinds::NONE } else { self.looks_for() };
        let mut kept = Features::default();
        if kinds.extended {
            kept.add(Feature::Attributes);
        }
        if kinds.acls {
            kept.add(Feature::Acl);
        } else {
            entry.metadata.mode = mode;
        }
        let attributes = (kinds != AttributeKinds::NONE).then(|| attributes.only(kinds));
        entry.set_attributes(attributes.as_ref().and_then(Attributes::digest));
        Kept { attributes, mode_without_acl: mode, lost: features.without(kept) }
    }
}

impl Kept {
    /// Adds features that the target turned out not to keep. Without its ACL the entry has the mode
    /// for that.
    pub(super) fn lose(&mut self, lost: Features, entry: &mut Entry) {
        if lost.has(Feature::Acl) {
            entry.metadata.mode = self.mode_without_acl;
        }
        lost.iter().for_each(|feature| self.lost.add(feature));
    }
}
