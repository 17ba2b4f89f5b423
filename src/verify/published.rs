//! The published manifest of a target that is verified by its state: whether it is intact, and
//! whether somebody else published a later one.

use super::VerifyOptions;
use super::open::spool_dir;
use crate::backend::Target;
use crate::manifest::State;
use crate::manifest::published::{
    Foreseen, Lost, ManifestReader, ManifestStatus, Publication, Since, foresee,
};
use crate::model::notice::Overtaken;
use crate::model::{Error, ErrorKind, Notice, Observer, Timestamp};

/// The condition of the published manifest.
pub(super) struct Published {
    /// What is wrong with it, if anything is.
    pub(super) fault: Option<Error>,
    /// The published manifest, if it came from elsewhere after the last one from here, and
    /// everything recorded here is in it.
    pub(super) later: Option<Publication>,
    /// Since when neither record may be up to date, because somebody published a later manifest,
    /// which is lost.
    pub(super) overtaken_since: Option<Timestamp>,
}

/// Examines the published manifest of a target and reads its segments. Damage is recorded in the
/// state, so that the next mirror publishes it anew.
pub(super) fn look(
    target: &dyn Target,
    state: &State,
    options: &VerifyOptions,
    observer: &dyn Observer,
) -> Published {
    let (mut fault, publication) = match find(target, state, options) {
        // A killed first run may have published rows without a head that points to them.
        Ok(ManifestStatus { publication: None, .. })
            if state.published().is_ok_and(|it| it.is_none()) =>
        {
            (None, None)
        }
        Ok(ManifestStatus { fault, publication, .. }) => (fault, publication),
        Err(error) => (Some(error), None),
    };
    if let Some(fault) = fault.as_ref().filter(|fault| fault.kind == ErrorKind::Damaged) {
        distrust(state, fault, observer);
    }
    let found = match &fault {
        None => later(publication, state).map(|later| (later, None)),
        Some(fault) if fault.kind == ErrorKind::Damaged => since(target, state, options),
        Some(_) => Ok((None, None)),
    };
    let (later, lost) = found.unwrap_or_else(|error| {
        if fault.is_some() && error.kind == ErrorKind::Unusable {
            fault = Some(error);
        } else {
            observer.notice(Notice::LaterManifestUnknown { cause: error.sentence() });
        }
        (None, None)
    });
    if let Some(later) = &later {
        observer.notice(Notice::LaterManifestUsed { run: later.head.run.clone() });
    }
    let overtaken_since = lost.map(|lost| {
        observer.notice(lost.notice(Overtaken::Unknown));
        let known = later.clone().or_else(|| state.published().ok().flatten());
        // If nothing is known, everything may have changed.
        known.map_or_else(Timestamp::default, |known| known.head.published)
    });
    Published { fault, later, overtaken_since }
}

/// Finds what others published since, when the manifest is damaged: what is usable, and what is
/// lost.
fn since(
    target: &dyn Target,
    state: &State,
    options: &VerifyOptions,
) -> Result<(Option<Publication>, Option<Lost>), Error> {
    let (spool_dir, changed) = (spool_dir(options), state.changed()?);
    Ok(match foresee(state, &ManifestReader::of(target, &spool_dir), None)? {
        None => (None, None),
        Some(Since::Usable(Foreseen { latest, lost, .. })) => {
            (Some(latest).filter(|_| changed == 0), lost)
        }
        Some(Since::Lost(lost)) => (None, Some(lost)),
    })
}

/// Records damage for the next mirror.
pub(super) fn distrust(state: &State, fault: &Error, observer: &dyn Observer) {
    if let Err(error) = state.for_recording().and_then(|state| state.distrust(fault)) {
        observer.notice(Notice::DamageNotRecorded { cause: error.sentence() });
    }
}

fn later(status: Option<Publication>, state: &State) -> Result<Option<Publication>, Error> {
    let (known, changed) = (state.published()?, state.changed()?);
    Ok(status.filter(|status| changed == 0 && known.is_some_and(|known| known != *status)))
}

fn find(
    target: &dyn Target,
    state: &State,
    options: &VerifyOptions,
) -> Result<ManifestStatus, Error> {
    let (spool_dir, known) = (spool_dir(options), state.published()?);
    let reader = ManifestReader::of(target, &spool_dir);
    let mut status = ManifestStatus::look(&reader, known.as_ref())?;
    status.read(&reader)?;
    status.follow(&reader)?;
    if status.fault.is_some() {
        // In a store, a mirror may publish meanwhile and remove what it replaced: look again.
        let mut now = ManifestStatus::look(&reader, known.as_ref())?;
        if now.publication != status.publication {
            now.read(&reader)?;
            now.follow(&reader)?;
            status = now;
        }
    }
    Ok(status)
}
