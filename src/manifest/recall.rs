//! What earlier runs found out of a target.

use super::published::ManifestReader;
use super::{RecordedOptions, State};
use crate::backend::Target;
use crate::model::Error;
use std::path::Path;

/// Has a target go by what the latest run into it, from whatever source, found out of its file system:
/// for who only looks, since to try it is to write. A run is told of by the state, else by the manifest
/// that is published in the target.
///
/// # Errors
/// [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) when the state can't be read.
pub fn recall(state: Option<&State>, target: &dyn Target, spool_dir: &Path) -> Result<(), Error> {
    let recorded = match state {
        Some(state) => {
            let run = state.last_run()?;
            run.map(|run| RecordedOptions::decode(&run.options)).transpose()?
        }
        // What a remote place was found to do costs requests to be told; a manifest that can't be read is told
        // where its rows are read.
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
