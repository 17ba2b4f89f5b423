//! Extended attributes and ACLs in a run: what of them a listing doesn't show, and whether the
//! target can have more of them than before.

use crate::backend::{Inspected, Source, Target};
use crate::manifest::{RecordedOptions, State};
use crate::model::entry::Completeness;
use crate::model::{AttributeKinds, Entry, EntryKind, Error, Metadata, SettableAttributes};

/// Returns which attributes can be set in the target, if some of its entries lack theirs.
pub(super) fn settable(
    state: &State,
    target: &dyn Target,
) -> Result<Option<SettableAttributes>, Error> {
    let lacks_some = state.keeps_attributes()?;
    Ok(if lacks_some { target.settable_attributes() } else { None })
}

/// Returns whether the manifest in the source told more than the source has in the latest complete
/// run.
pub(super) fn told_more(state: &State) -> Result<bool, Error> {
    let Some(run) = state.last_complete_run()? else { return Ok(false) };
    Ok(RecordedOptions::decode(&run.options)?.source_tells)
}

/// Returns whether more attributes can be set now than in the source's latest complete run: that
/// was another user's, say.
pub(super) fn can_set_more(state: &State, settable: SettableAttributes) -> Result<bool, Error> {
    let Some(run) = state.last_complete_run()? else { return Ok(true) };
    let before = RecordedOptions::decode(&run.options)?.settable;
    Ok(before.is_none_or(|before| !before.cover(settable)))
}

/// Returns the metadata that a run sets on a file that both sides have, if it sets more than a
/// listing shows: the source's attributes differ from the target's, or its ACL, which the target
/// isn't to have, grants the group less than the mode says.
pub(super) fn unlisted(
    source: &Entry,
    existing: &Entry,
    from: &dyn Source,
    to: &dyn Target,
    looks_for: AttributeKinds,
) -> Option<Metadata> {
    if source.kind != EntryKind::File || existing.completeness == Completeness::NoStoredMetadata {
        return None;
    }
    // If it can't be inspected, the copy itself reports why.
    let Inspected { mode, attributes, .. } = from.inspect(source).ok()?;
    let keeps = to.capabilities().keeps_attributes;
    let mode = if looks_for.acls && keeps { source.metadata.mode } else { mode };
    let wanted = Metadata { mode, ..source.metadata };
    let wanted = to.achievable_metadata(&wanted, source.kind, Some(&existing.metadata));
    let is_narrower = mode != source.metadata.mode && wanted != existing.metadata;
    let looks_for = looks_for.and(attributes.kinds());
    let differ = || {
        if !keeps {
            let recorded = existing.extras.as_ref().and_then(|extras| extras.attributes);
            return Some(recorded != attributes.only(looks_for).digest());
        }
        let found = to.inspect(existing).ok()?.attributes.only(looks_for);
        Some(found != attributes.only(looks_for))
    };
    let is_unlisted = is_narrower || looks_for != AttributeKinds::NONE && differ()?;
    is_unlisted.then_some(wanted)
}
