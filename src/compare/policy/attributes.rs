//! Rules about extended attributes and ACLs, which a listing doesn't show: whether to look at an
//! entry for them.

use super::Policy;
use crate::manifest::Row;
use crate::model::stamp::{StampFields, StampMatch};
use crate::model::{AttributeKind, AttributeKinds, Entry, Metadata};

impl Policy {
    /// Returns the metadata that the target is to get, where it can store `wanted`. If an earlier
    /// run removed rights of the group from the mode because the source's ACL doesn't grant them,
    /// that mode is kept as long as the source's stamp is unchanged: a change of either changes
    /// ctime.
    pub fn narrowed(&self, source: &Entry, row: Option<&Row>, wanted: Metadata) -> Metadata {
        const GROUP: u32 = 0o070;
        let narrowed = row.filter(|row| {
            let trust = self.options.trust;
            let has_attributes = row.extras.as_ref().is_some_and(|it| it.attributes.is_some());
            // An entry that was looked at and has no ACL lost no rights by one.
            !trust.ignore_ctime
                && (has_attributes || !row.looked.has(AttributeKind::Acl))
                && row.knows_source(self.from)
                && row.source.inode().is_some()
                && source.stamp.compare(&row.source, trust) == StampMatch::Same
                && row.metadata.mode & !GROUP == wanted.mode & !GROUP
                && row.metadata.mode & GROUP & !wanted.mode == 0
        });
        narrowed.map_or(wanted, |row| Metadata { mode: row.metadata.mode, ..wanted })
    }

    /// Returns whether a source's directory was touched since its row was written: its ACL, for
    /// instance, may have changed. The inode doesn't count, since a copied tree has others.
    pub fn is_touched(&self, source: &Entry, row: &Row) -> bool {
        let trust = StampFields { ignore_inode: true, ..self.options.trust };
        row.knows_source(self.from)
            && source.stamp.inode().is_some()
            && source.stamp.compare(&row.source, trust) != StampMatch::Same
    }

    /// Returns whether a target's directory was touched since its row was written: somebody may have
    /// changed its attributes.
    pub fn is_target_touched(&self, target: &Entry, row: &Row) -> bool {
        let has_looked =
            self.looks_for != AttributeKinds::NONE && row.looked != AttributeKinds::NONE;
        has_looked
            && target.stamp.inode().is_some()
            && target.stamp.compare(&row.target, self.options.trust) != StampMatch::Same
    }

    /// Returns whether a leaf without content was touched on either side since its row was written.
    pub fn may_have_other_attributes(&self, source: &Entry, target: &Entry, row: &Row) -> bool {
        self.inspects
            && self.looks_for != AttributeKinds::NONE
            && (self.is_touched(source, row) || self.is_target_touched(target, row))
    }

    /// Returns which attributes of an entry of the source can be known.
    pub fn known_attributes(&self, source: &Entry) -> AttributeKinds {
        if self.inspects {
            return self.looks_for;
        }
        let told = source.extras.as_ref().map(|extras| extras.told);
        self.looks_for.and(told.unwrap_or_default())
    }

    /// Returns whether the run that wrote a row didn't look for attributes that this one preserves.
    pub fn is_unlooked(&self, source: &Entry, row: &Row) -> bool {
        let lacks_some = row.extras.as_ref().is_some_and(|extras| extras.apart.is_some());
        !row.looked.cover(self.known_attributes(source)) || self.retries_apart && lacks_some
    }

    /// Returns whether the source's record tells other attributes of an entry than the row.
    pub fn is_retold(&self, source: &Entry, row: &Row) -> bool {
        let Some(told) = source.extras.as_deref() else { return false };
        let digest = match told.apart.loaded() {
            // The row's digest is of those kinds alone that were looked for.
            Some(apart) if self.looks_for != AttributeKinds::ALL => {
                (**apart).clone().only(self.looks_for).digest()
            }
            _ => told.attributes,
        };
        self.looks_for != AttributeKinds::NONE
            && told.told.cover(self.looks_for)
            && digest != row.extras.as_ref().and_then(|extras| extras.attributes)
    }
}
