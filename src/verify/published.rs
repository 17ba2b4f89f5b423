//! The published manifest of a target that is verified by another record: whether it is whole, and
//! whether somebody else published it since.

use super::open::spool_dir;
use super::{VerifyObserver, VerifyOptions};
use crate::backend::Target;
use crate::manifest::State;
use crate::manifest::published::{Publication, Shelf, Standing};
use crate::model::{Error, ErrorKind};

/// What stands beside a record.
pub(super) struct Stands {
    /// What is wrong with it, if anything is.
    pub(super) fault: Option<Error>,
    /// The publication that counts, where it came from elsewhere after the last one from here, and all
    /// that is recorded here was published: it tells of that, too.
    pub(super) later: Option<Publication>,
}

/// Looks at what is published in a target, and reads its segments. Damage is recorded in the state,
/// so that the next mirror publishes it anew.
pub(super) fn look(
    target: &dyn Target,
    state: &State,
    options: &VerifyOptions,
    observer: &dyn VerifyObserver,
) -> Stands {
    let (fault, later) = match find(target, state, options) {
        Ok(Standing { fault: None, publication, .. }) => (None, later(publication, state)),
        Ok(Standing { fault, .. }) => (fault, Ok(None)),
        Err(error) => (Some(error), Ok(None)),
    };
    if let Some(fault) = fault.as_ref().filter(|fault| fault.kind == ErrorKind::Damaged)
        && let Err(error) = state.for_recording().and_then(|state| state.distrust(fault))
    {
        observer.warning(&format!("the next mirror doesn't learn what is damaged: {error}"));
    }
    let later = later.unwrap_or_else(|error| {
        observer.note(&error.to_string());
        None
    });
    if let Some(later) = &later {
        observer.note(&format!(
            "run {} published the manifest since, from elsewhere: it is gone by instead of the record \
             here",
            later.head.run
        ));
    }
    Stands { fault, later }
}

fn later(stands: Option<Publication>, state: &State) -> Result<Option<Publication>, Error> {
    let (known, changed) = (state.published()?, state.changed()?);
    Ok(stands.filter(|stands| changed == 0 && known.is_some_and(|known| known != *stands)))
}

fn find(target: &dyn Target, state: &State, options: &VerifyOptions) -> Result<Standing, Error> {
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
    Ok(stands)
}
