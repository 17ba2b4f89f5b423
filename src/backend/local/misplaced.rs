//! Patterns that were meant for a path of this machine: they begin at a source's root, and match
//! nothing.

use crate::filter::{Filter, Rule};
use crate::model::key::Escaped;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Says of each pattern that is a path below a source's root what was meant. The root has a `real`
/// path, and the one that was `typed`.
pub fn misplaced_patterns(filter: &Filter, real: &Path, typed: Option<&Path>) -> Vec<String> {
    let typed = typed.filter(|path| path.is_absolute());
    let meant = |pattern: &str| {
        [Some(real), typed].into_iter().flatten().find_map(|root| {
            let below = Path::new(pattern).strip_prefix(root).ok()?;
            let root = root.strip_prefix("/").unwrap_or(root);
            let is_meant = !below.as_os_str().is_empty()
                && !root.as_os_str().is_empty()
                && real.join(root).symlink_metadata().is_err();
            is_meant.then(|| Escaped(below.as_os_str().as_bytes()).to_string())
        })
    };
    let patterns = filter.rules().iter().map(Rule::pattern);
    let misplaced = patterns.filter_map(|pattern| Some((pattern, meant(pattern)?)));
    misplaced
        .map(|(pattern, meant)| {
            let slash = if pattern.ends_with('/') { "/" } else { "" };
            format!(
                "the pattern \"{}\" matches nothing: patterns begin at the source's root; write \
                 \"/{meant}{slash}\"",
                Escaped(pattern.as_bytes())
            )
        })
        .collect()
}
