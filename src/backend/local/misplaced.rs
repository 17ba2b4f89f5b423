//! Warnings about patterns that are absolute paths of this machine. Patterns begin at the source's
//! root, so these match nothing.

use super::below;
use crate::filter::{Filter, Rule};
use crate::model::Notice;
use crate::model::key::Escaped;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Returns a notice for each pattern that is an absolute path below the source's root (by any
/// links) with the pattern to write instead. `real` is the root's canonical path.
pub fn misplaced_patterns(filter: &Filter, real: &Path) -> Vec<Notice> {
    let meant = |pattern: &str| {
        let pattern = Path::new(pattern);
        let below = pattern.is_absolute().then(|| below(real, pattern)).flatten()?;
        // The part of the path that leads to the root, as a name below the root.
        let above = pattern.ancestors().nth(below.components().count())?.strip_prefix("/").ok()?;
        let is_meant = !below.as_os_str().is_empty()
            && !above.as_os_str().is_empty()
            && real.join(above).symlink_metadata().is_err();
        is_meant.then(|| Escaped(below.as_os_str().as_bytes()).to_string())
    };
    let patterns = filter.rules().iter().map(Rule::pattern);
    let misplaced = patterns.filter_map(|pattern| Some((pattern, meant(pattern)?)));
    misplaced
        .map(|(pattern, meant)| {
            let slash = if pattern.ends_with('/') { "/" } else { "" };
            Notice::MisplacedPattern {
                pattern: Escaped(pattern.as_bytes()).to_string(),
                meant: format!("/{meant}{slash}"),
            }
        })
        .collect()
}
