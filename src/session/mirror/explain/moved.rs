//! Whether a run would rename the target's file of another name.

use super::{Explained, Listed, Session};
use crate::backend::Target;
use crate::compare::{Pair, Seen};
use crate::engine::moved_from;
use crate::manifest::{Row, State};
use crate::model::{Action, Decision, Entry, EntryKind, Error, Reason, Stamp};
use crate::plan::moves::{MovedFrom, may_be_moved};

impl Session<'_> {
    /// Completes the explanation of a file that was recorded under another name.
    pub(super) fn apply_move(
        &self,
        explained: &mut Explained,
        sides: Listed<'_>,
        state: Option<&State>,
    ) -> Result<(), Error> {
        let Listed { from, to, number, is_first_contact, .. } = sides;
        let is_new = explained.decision.as_ref().is_ok_and(|decision| {
            let makes =
                matches!(decision.action, Action::Copy { unless: None } | Action::MakeDirectory);
            makes && decision.reason == Reason::New
        });
        let (Some(state), Seen::Present(source)) = (state, &explained.pair.source) else {
            return Ok(());
        };
        let is_wanted = source.kind != EntryKind::Directory || self.moves_directories(to);
        let may_be_moved = is_new && is_wanted && may_be_moved(&explained.pair);
        if !may_be_moved || !self.renames(from, is_first_contact) {
            return Ok(());
        }
        if let Some(MovedFrom { row, is_gone: true }) = moved_from(from, state, number, source)?
            && let Some(target) = as_recorded(to, &row)
        {
            let key = row.key.clone();
            let (source, target) = (Seen::Absent, Seen::Present(target));
            let old = Pair { key: key.clone(), source, target, row: Some(row), conflict: None };
            let policy = self.policy(number, from, to);
            let decided = policy.decide(&old, |metadata, _, _| *metadata);
            let is_listed = self.options.delete.is_some_and(|delete| delete.excluded)
                || !self.filter.excludes_within(&key);
            if is_listed && decided.is_ok_and(|decision| decision.action == Action::Delete) {
                explained.decision = Ok(Decision::new(Action::Rename, Reason::Moved));
                explained.renamed_from = Some(key);
            }
        }
        Ok(())
    }
}

/// Returns the target's entry with the key of a row, if it is as it was recorded.
fn as_recorded(target: &dyn Target, row: &Row) -> Option<Entry> {
    // What can't be looked at is not renamed either.
    let found = target.look(&row.key).ok()??;
    let number = |stamp: &Stamp| stamp.inode().and_then(|inode| inode.number);
    let is_it = match row.kind {
        EntryKind::Directory => number(&found.stamp) == number(&row.target),
        _ => found.group().is_none() && found.stamp.is_still(&row.target),
    };
    is_it.then_some(found)
}
