//! Reuses what earlier runs found out about a target.

use super::published::ManifestReader;
use super::{RecordedOptions, State};
use crate::backend::Target;
use crate::model::Error;
use std::path::Path;

/// Makes a target assume what the latest run into it, from any source, found out about its file
/// system. This is for commands that only read, because probing writes. The run is taken from the
/// state, or else from the manifest published in the target.
///
/// # Errors
/// [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) when the state can't be read.
pub fn recall(state: Option<&State>, target: &dyn Target, spool_dir: &Path) -> Result<(), Error> {
    let recorded = match state {
        Some(state) => {
            let run = state.last_run()?;
            run.map(|run| RecordedOptions::decode(&run.options)).transpose()?
        }
        // For a remote target, reading the manifest costs requests. A manifest that can't be read
        // is reported when its rows are read.
        None if target.capabilities().remote => None,
        None => {
            let latest = ManifestReader::of(target, spool_dir).latest_or_highest();
            latest.ok().flatten().map(|(latest, _)| latest.head.options)
        }
    };
    if let Some(keeps) = recorded.and_then(|options| options.keeps) {
        target.assume_keeps(keeps);
    }
    Ok(())
}
