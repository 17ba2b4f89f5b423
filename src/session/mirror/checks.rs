//! What a run refuses before it does harm: a root that is the state's, a source that is not mounted,
//! deletions that nothing speaks for.

use super::Session;
use crate::manifest::{RootIdentity, Sameness};
use crate::model::error::Side;
use crate::model::hint::hint;
use crate::model::{Error, ErrorKind, Notice, Setting};
use crate::place::printable;
use crate::plan::{DeletionTally, Evidence, guard};
use crate::session::places::Places;
use std::path::Path;

/// Refuses the root of a bag that the source isn't, and what lies beside its payload.
///
/// # Errors
/// As those of [`TargetPlace::refuse_bag`](crate::place::TargetPlace::refuse_bag).
pub(super) fn refuse_bag(places: &Places, state_dir: &Path) -> Result<(), Error> {
    let Places { source, target, .. } = places;
    let help = "name another directory; `vidimus bag SOURCE BAG` brings a bag up to date, and if it is \
                to become a copy of the source, remove its bagit.txt first";
    target.refuse_bag(state_dir, Some(source), help)
}

impl Session<'_> {
    /// The state may lie below a root, where it is left out, but not be one.
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

    /// Notes patterns that were meant for a path of this machine: they begin at the source's root, and
    /// match nothing.
    pub(super) fn tell_misplaced_patterns(&self) {
        self.notices(self.places.source.misplaced_patterns(&self.filter));
    }

    /// Whether the guard allows the deletions that were planned.
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
            },
        )?;
        if sameness == Some(Sameness::Unsure) && !delete.accept_source && !proven_by_file {
            self.notice(Notice::OtherFileSystem);
        }
        Ok(())
    }

    pub(super) fn check_required_file(&self) -> Result<(), Error> {
        let Some(name) = &self.options.require_file else { return Ok(()) };
        let plain = |part| matches!(part, std::path::Component::Normal(_));
        if !name.components().all(plain) {
            return Err(Error::new(
                ErrorKind::Usage,
                "a file that is required lies below the source",
            )
            .help(hint![
                "a relative path without \"..\": ",
                Setting::RequireFile,
                " .mounted"
            ]));
        }
        let Some(why) = self.places.source.lacks(name)? else { return Ok(()) };
        let name = printable(name);
        let message =
            format!("the source lacks the file that is required, \"{name}\": is it mounted?");
        Err(Error::new(ErrorKind::Refused, message).because(why))
    }
}
