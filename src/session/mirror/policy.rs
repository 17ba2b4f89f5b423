//! The rules of a run, from its options and from what both places can do.

use super::Session;
use crate::backend::{KeySpace, Renames, Source, Target};
use crate::compare::policy::Surplus;
use crate::compare::{HardLinks, Policy, PolicyOptions};
use crate::manifest::SourceNumber;
use crate::model::{AttributeKinds, Preserve};
use std::sync::Arc;

impl Session<'_> {
    /// Returns the policy of a run from the source with this number into a target.
    pub(super) fn policy(
        &self,
        from: SourceNumber,
        source: &dyn Source,
        target: &dyn Target,
    ) -> Policy {
        // Between two stores objects are copied as they are.
        let is_tree = self.places.key_space() == KeySpace::Tree;
        let preserved = self.options.policy.preserve.attribute_kinds();
        let time_unit = target.keeps().map_or(0, |keeps| keeps.time_unit);
        Policy {
            from,
            looks_for: if is_tree { preserved } else { AttributeKinds::NONE },
            inspects: source.capabilities().inspects,
            keeps_apart: self.options.bag.is_none(),
            retries_apart: false,
            has_links: target.keeps().is_none_or(|keeps| keeps.links),
            has_devices: target.capabilities().devices,
            hard_links: self.hard_links(target),
            options: PolicyOptions { time_unit, ..self.options.policy },
            filter: Arc::clone(&self.filter),
            surplus: match &self.options.delete {
                None => Surplus::Keep,
                Some(delete) if delete.excluded => Surplus::DeleteExcluded,
                Some(_) => Surplus::Delete,
            },
        }
    }

    /// Returns what the copies have by this run, which is less than what was asked for where the
    /// target can't.
    pub(super) fn preserved(&self, target: &dyn Target) -> Preserve {
        let links = self.hard_links(target) != HardLinks::Separate;
        Preserve { links, ..self.options.policy.preserve }
    }

    /// Returns what becomes of several names of one file.
    pub(super) fn hard_links(&self, target: &dyn Target) -> HardLinks {
        let capabilities = target.capabilities();
        if !self.options.policy.preserve.links || self.options.bag.is_some() {
            HardLinks::Separate
        } else if capabilities.hard_links {
            HardLinks::Made
        } else if capabilities.lists_metadata {
            HardLinks::Separate
        } else {
            HardLinks::Recorded
        }
    }

    /// Returns whether files are renamed in the target that were moved in the source, which only the
    /// record of an earlier run tells.
    pub(super) fn renames(&self, source: &dyn Source, is_first_contact: bool) -> bool {
        self.options.renames && !is_first_contact && source.capabilities().lists_metadata
    }

    /// Returns whether directories are renamed, too: not where a rule may hide what is in
    /// them on either side.
    pub(super) fn moves_directories(&self, target: &dyn Target) -> bool {
        target.capabilities().renames == Renames::InPlace
            && !self.hides_of_target()
            && self.filter.directories().is_empty()
            && self.filter.names().is_none()
    }
}
