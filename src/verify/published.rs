//! The published manifest of a target that is verified by another record: whether it is whole.

use super::open::spool_dir;
use super::{VerifyObserver, VerifyOptions};
use crate::backend::Target;
use crate::manifest::State;
use crate::manifest::published::{Shelf, Standing};
use crate::model::{Error, ErrorKind};

/// Looks at what is published in a target, and reads its segments; what is wrong with it, if anything
/// is. Damage is recorded in the state, so that the next mirror publishes it anew.
pub(super) fn fault(
    target: &dyn Target,
    state: &State,
    options: &VerifyOptions,
    observer: &dyn VerifyObserver,
) -> Option<Error> {
    let fault = find(target, state, options).unwrap_or_else(Some)?;
    if fault.kind == ErrorKind::Damaged
        && let Err(error) = state.for_recording().and_then(|state| state.distrust(&fault))
    {
        observer.note(&format!("the next mirror doesn't learn what is damaged: {error}"));
    }
    Some(fault)
}

fn find(
    target: &dyn Target,
    state: &State,
    options: &VerifyOptions,
) -> Result<Option<Error>, Error> {
    let (spool_dir, known) = (spool_dir(options), state.published()?);
    let shelf = Shelf::of(target, &spool_dir);
    let mut stands = Standing::look(&shelf, known.as_ref())?;
    stands.read(&shelf)?;
    if stands.fault.is_some() {
        // Nothing keeps a mirror from publishing in a store meanwhile, and removing what it replaced.
        let mut now = Standing::look(&shelf, known.as_ref())?;
        if now.publication != stands.publication {
            now.read(&shelf)?;
            stands = now;
        }
    }
    Ok(stands.fault)
}
