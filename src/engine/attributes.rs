//! Attributes of the source's entries: what of them a copy gets, what the manifest keeps for it,
//! and what it lacks.

use super::{Context, Purpose};
use crate::backend::Inspected;
use crate::model::{Apart, AttributeKinds, Attributes, Cause, Entry, Feature, Features};
use std::sync::Arc;

/// What a closer look at an entry of the source found, as far as it concerns its copy.
#[derive(Default)]
pub(super) struct Kept {
    /// The attributes that the copy is to have; `None` leaves those of the target's entry as they
    /// are.
    pub(super) attributes: Option<Arc<Attributes>>,
    /// The mode of a copy that gets no ACL.
    mode_without_acl: u32,
    /// Features that the copy lacks.
    pub(super) lost: Features,
    /// The attributes that the copy lacks, and that the manifest keeps.
    pub(super) apart: Apart,
}

impl Context<'_> {
    /// Returns which attributes of an entry of the source are known once it was looked at.
    pub(super) fn looks_for(&self, entry: &Entry) -> AttributeKinds {
        match self.purpose {
            Purpose::Mirror => self.policy.known_attributes(entry),
            Purpose::Mend { .. } => AttributeKinds::NONE,
        }
    }

    /// Separates what the copy of an entry gets from what it lacks. `entry` gets the copy's mode,
    /// which without the ACL is no wider than that was, and the digest of the attributes.
    pub(super) fn kept(&self, inspected: Inspected, entry: &mut Entry) -> Kept {
        let Inspected { features, mode, attributes } = inspected;
        let is_unread = features.has(Feature::UnreadAttributes);
        let kinds = if is_unread || self.purpose != Purpose::Mirror {
            AttributeKinds::NONE
        } else {
            attributes.kinds().and(self.policy.looks_for)
        };
        let mut kept = Features::default();
        if kinds.extended {
            kept.add(Feature::Attributes);
        }
        if kinds.acls {
            kept.add(Feature::Acl);
        }
        let target_keeps = self.target.capabilities().keeps_attributes;
        if !kinds.acls || !target_keeps {
            entry.metadata.mode = mode;
        }
        let attributes = (kinds != AttributeKinds::NONE).then(|| attributes.only(kinds));
        entry.set_attributes(attributes.as_ref().and_then(Attributes::digest));
        let mut kept = Kept {
            attributes: attributes.map(Arc::new),
            mode_without_acl: mode,
            lost: features.without(kept),
            apart: Apart::Nothing,
        };
        if !target_keeps {
            kept.keep_apart(self, entry);
        }
        kept
    }
}

impl Context<'_> {
    /// Finds out which attributes an entry that is mended as it was recorded gets: the recorded ones,
    /// if what is `offered` has them. Else it gets none, and its group no rights that an ACL might
    /// take away.
    pub(super) fn mended(
        &self,
        entry: &mut Entry,
        offered: impl FnOnce() -> Result<Inspected, Cause>,
    ) -> Kept {
        const GROUP: u32 = 0o070;
        let extras = entry.extras.as_deref().cloned().unwrap_or_default();
        let (told, recorded) = (extras.told, extras.attributes);
        let mut kept =
            Kept { mode_without_acl: entry.metadata.mode, apart: extras.apart, ..Kept::default() };
        let wanted = match recorded {
            None => Some(Attributes::new(told, Vec::new())),
            Some(_) => offered().ok().map(|offered| offered.attributes.only(told)),
        };
        match wanted.filter(|wanted| wanted.digest() == recorded) {
            Some(wanted) if told != AttributeKinds::NONE => {
                kept.mode_without_acl = wanted.mode_without_acl(entry.metadata.mode);
                let wanted = Arc::new(wanted);
                if !self.target.capabilities().keeps_attributes && !wanted.is_empty() {
                    let extras = entry.extras.get_or_insert_default();
                    extras.apart = Apart::Loaded(Arc::clone(&wanted));
                }
                kept.attributes = Some(wanted);
            }
            _ if recorded.is_some() && !kept.apart.is_some() => {
                entry.metadata.mode &= !GROUP;
                kept.lost.add(Feature::UnreadAttributes);
            }
            _ => {}
        }
        kept
    }
}

impl Kept {
    /// Keeps the attributes in the manifest, if they are not too many; `entry` gets them, too, for
    /// a target that keeps them beside it.
    fn keep_apart(&mut self, context: &Context<'_>, entry: &mut Entry) {
        let Some(attributes) = self.attributes.as_ref().filter(|wanted| !wanted.is_empty()) else {
            return;
        };
        if context.policy.keeps_apart && attributes.encode().is_some() {
            self.apart = Apart::Loaded(Arc::clone(attributes));
            entry.extras.get_or_insert_default().apart.clone_from(&self.apart);
        } else {
            attributes.features().iter().for_each(|feature| self.lost.add(feature));
            entry.set_attributes(None);
        }
    }

    /// Adds features that the target turned out not to keep. Without its ACL the entry has the mode
    /// for that.
    pub(super) fn lose(&mut self, context: &Context<'_>, lost: Features, entry: &mut Entry) {
        if lost.has(Feature::Acl) {
            entry.metadata.mode = self.mode_without_acl;
        }
        let attributes = self.attributes.as_ref().map(|wanted| wanted.features());
        let is_apart = attributes.unwrap_or_default().iter().any(|feature| lost.has(feature));
        if is_apart && !self.apart.is_some() {
            self.keep_apart(context, entry);
        }
        for feature in lost.iter() {
            let is_attribute = matches!(feature, Feature::Attributes | Feature::Acl);
            let is_kept = is_attribute && self.apart.is_some();
            self.lost.add(if is_kept { Feature::AttributesApart } else { feature });
        }
        if is_apart && !self.apart.is_some() {
            // The record tells what the entry has, and the next run tries again.
            let kinds = AttributeKinds::ALL.without(self.lost);
            let has = self.attributes.as_ref().map(|wanted| (**wanted).clone().only(kinds));
            entry.set_attributes(has.and_then(|has| has.digest()));
        }
    }
}
