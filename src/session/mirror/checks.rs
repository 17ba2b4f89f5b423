//! Checks before a run does harm: a root that is the state directory, a source that is not mounted,
//! suspicious deletions.

use super::Session;
use crate::backend::Source;
use crate::compare::join::Joined;
use crate::engine::moved_from;
use crate::manifest::{RootIdentity, Sameness, State};
use crate::model::error::Side;
use crate::model::hint::hint;
use crate::model::{Error, ErrorKind, Notice, Setting};
use crate::place::printable;
use crate::plan::moves::may_be_moved;
use crate::plan::{ChangeTally, DeletionTally, Evidence, guard};
use crate::session::places::Places;
use std::path::Path;

/// Refuses a target that is a bag's root (unless the source is one, too) or lies beside its
/// payload.
///
/// # Errors
/// Those of [`TargetPlace::refuse_bag`](crate::place::TargetPlace::refuse_bag).
pub(super) fn refuse_bag(places: &Places, state_dir: &Path) -> Result<(), Error> {
    let Places { source, target, .. } = places;
    let help = "name another directory; `vidimus bag SOURCE BAG` brings a bag up to date; if it is \
                to become a copy of the source, remove its bagit.txt first";
    target.refuse_bag(state_dir, Some(source), help)
}

impl Session<'_> {
    /// Refuses a state directory that is a root; it may be below one, where it is excluded.
    pub(super) fn check_state_dir(&self) -> Result<(), Error> {
        let (Places { source, target, .. }, state_dir) = (self.places, &self.options.state_dir);
        let side = if target.is_at(state_dir) {
            Side::Target
        } else if source.is_at(state_dir) {
            Side::Source
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Refused, format!("the state directory is the {side} itself"))
            .help(hint!["name another directory by ", Setting::StateDir]))
    }

    /// Reports patterns that look like local paths: patterns begin at the source's root, so that
    /// they match nothing.
    pub(super) fn report_misplaced_patterns(&self) {
        self.notices(self.places.source.misplaced_patterns(&self.filter));
    }

    /// Refuses the planned deletions if the guard does.
    pub(super) fn allow(
        &self,
        tally: &DeletionTally,
        before: Option<RootIdentity>,
        now: &RootIdentity,
    ) -> Result<(), Error> {
        let Some(delete) = &self.options.delete else { return Ok(()) };
        let sameness = before.as_ref().map(|before| now.compare(before));
        let proven_by_file = self.options.require_file.is_some();
        guard::allow(
            delete,
            &Evidence {
                tally: *tally,
                root: Some(now.clone()),
                root_before: before,
                proven_by_file,
                is_listed: self.filter.names().is_some(),
            },
        )?;
        if sameness == Some(Sameness::Unsure)
            && !delete.accept_source
            && !proven_by_file
            && self.told_other_source.set(()).is_ok()
        {
            self.notice(Notice::OtherFileSystem);
        }
        Ok(())
    }

    /// Refuses a run for which too much of the source changed since it was recorded, or can't be
    /// counted. Costs a listing of the source.
    pub(super) fn brake(&self, source: &dyn Source, state: &State) -> Result<(), Error> {
        let Some(max) = self.options.max_change else { return Ok(()) };
        let recorded = self.rows(state)?;
        let (from, trust) = (recorded.from, self.options.policy.trust);
        let (listing, nothing) = (source.list(&self.listing())?, Box::new(std::iter::empty()));
        let deletes = self.options.delete.is_some();
        let mut tally = ChangeTally::default();
        let sees_moves = self.renames(source, state.is_first_contact()?);
        for joined in self.join(listing, nothing, recorded.read_ahead())? {
            if self.stop.requested() {
                return Ok(());
            }
            match joined? {
                Joined::Pair(pair) if !self.filter.excludes_within(&pair.key) => {
                    tally.add(&pair, from, trust, deletes);
                    let entry = pair.source.entry().filter(|_| sees_moves && may_be_moved(&pair));
                    if let Some(entry) = entry {
                        let moved = moved_from(source, state, from, entry)?;
                        tally.moved += u64::from(moved.is_some_and(|moved| moved.is_gone));
                    }
                }
                Joined::BrokeOff(error) => {
                    tally.allow(max)?;
                    let message = "cannot count what changed: the source's listing broke off";
                    return Err(Error::new(ErrorKind::Unusable, message).because(error).help(
                        hint![
                            "run again; without ",
                            Setting::MaxChange,
                            " what can be listed is mirrored all the same"
                        ],
                    ));
                }
                _ => {}
            }
        }
        tally.allow(max)
    }

    pub(super) fn check_required_file(&self) -> Result<(), Error> {
        let Some(name) = &self.options.require_file else { return Ok(()) };
        let plain = |part| matches!(part, std::path::Component::Normal(_));
        if !name.components().all(plain) {
            return Err(Error::new(ErrorKind::Usage, "a required file must be below the source")
                .help(hint![
                    "a relative path without \"..\": ",
                    Setting::RequireFile,
                    " .mounted"
                ]));
        }
        let Some(why) = self.places.source.lacks(name)? else { return Ok(()) };
        let name = printable(name);
        let message = format!("the source lacks the required file, \"{name}\": is it mounted?");
        Err(Error::new(ErrorKind::Refused, message).because(why))
    }
}
