//! Explanation of a name whose file has others.

use super::{Explained, Listed, Session};
use crate::compare::HardLinks;
use crate::manifest::{Row, State};
use crate::model::{Action, Decision, Error, Reason};

impl Session<'_> {
    /// Decides to link a leaf that a run would make, if another name of its file is recorded.
    pub(super) fn link_to_others(
        &self,
        explained: &mut Explained,
        state: Option<&State>,
        sides: Listed<'_>,
    ) -> Result<(), Error> {
        let makes = matches!(
            explained.action(),
            Some(Action::Copy { .. } | Action::MakeLink | Action::MakeSpecial)
        );
        let (Some(source), Some(state)) = (explained.pair.source.entry(), state) else {
            return Ok(());
        };
        let Some(group) = source.group().filter(|_| makes) else { return Ok(()) };
        if self.hard_links(sides.to) != HardLinks::Made {
            return Ok(());
        }
        let is_name = |row: &Row| {
            let found = sides.from.look(&row.key).ok().flatten();
            let is_of_file =
                found.and_then(|found| found.group()).map(|it| it.id) == Some(group.id);
            row.key != source.key && row.from == sides.number && is_of_file
        };
        if !state.rows_of(group.id, |row| is_name(&row).then_some(row))?.is_empty() {
            explained.decision = Ok(Decision::new(Action::Link, Reason::HardLink));
        }
        Ok(())
    }
}
