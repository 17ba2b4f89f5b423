//! Paths that a user typed: why one can't be opened, and which key it has below a root.

use crate::model::error::Side;
use crate::model::key::Escaped;
use crate::model::{Error, ErrorKind};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

/// Builds the error for a path that can't be opened as `side`. If nothing exists there because of a
/// dangling symbolic link, that link is named.
pub fn unopened(side: Option<Side>, path: &Path, error: io::Error) -> Error {
    let missing = error.kind() == io::ErrorKind::NotFound;
    let no_directory = error.kind() == io::ErrorKind::NotADirectory;
    if missing && let Some(dangling) = dangling(side, path) {
        return dangling;
    }
    let message = format!("cannot open {}", named(side, path));
    let built = Error::new(ErrorKind::Unusable, message).because(error);
    match () {
        () if missing => built.help("check its spelling, and that its disk is mounted"),
        () if no_directory => {
            built.help("name a directory; for a file, name the one that contains it")
        }
        () => built,
    }
}

/// Builds the error for a path that is or leads through a dangling symbolic link, if it does.
pub fn dangling(side: Option<Side>, path: &Path) -> Option<Error> {
    let ancestors: Vec<_> = path.ancestors().collect();
    let is_dangling = |path: &&&Path| {
        let missing = |error: io::Error| error.kind() == io::ErrorKind::NotFound;
        path.is_symlink() && path.metadata().is_err_and(missing)
    };
    let link = *ancestors.iter().rev().find(is_dangling)?;
    let text = link.read_link().ok()?;
    let leads = format!("is a symbolic link to \"{}\", which does not exist", printable(&text));
    let message = if link == path {
        format!("{} {leads}", named(side, path))
    } else {
        format!("cannot open {}: \"{}\" {leads}", named(side, path), printable(link))
    };
    let error = Error::new(ErrorKind::Unusable, message);
    Some(error.help("mount the disk that it points to, create what it names, or correct the link"))
}

/// Returns the part of a path below `root`, a canonical path, after resolving links and `..` above
/// the root. Links below the root are not followed, and the path needn't exist there.
pub fn below(root: &Path, path: &Path) -> Option<PathBuf> {
    let above: Vec<_> = path.ancestors().collect();
    above.iter().rev().find_map(|above| {
        let rest = path.strip_prefix(above).ok()?;
        let is_plain = rest.components().all(|part| matches!(part, Component::Normal(_)));
        let start = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        // What follows a `..` is known only once that is resolved.
        let found = is_plain.then(|| start.canonicalize().ok()).flatten()?;
        Some(found.strip_prefix(root).ok()?.join(rest))
    })
}

fn named(side: Option<Side>, path: &Path) -> String {
    let path = printable(path);
    side.map_or_else(|| format!("\"{path}\""), |side| format!("the {side} \"{path}\""))
}

fn printable(path: &Path) -> String {
    Escaped(path.as_os_str().as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_dangling_link_is_named_anywhere_on_the_path() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        std::fs::create_dir(at("d")).unwrap();
        symlink(at("d"), at("link")).unwrap();
        symlink("gone", at("d/dangling")).unwrap();
        symlink("loop", at("loop")).unwrap();
        let error_text = |name: &str| {
            let path = at(name);
            let error = unopened(Some(Side::Source), &path, path.metadata().unwrap_err());
            (error.to_string(), error.help.unwrap_or_default().to_string())
        };
        let link = format!("\"{}\" is a symbolic link to \"gone\"", at("link/dangling").display());
        assert!(error_text("link/dangling").0.starts_with(&format!("the source {link}")));
        let (message, help) = error_text("link/dangling/x/y");
        assert!(message.starts_with("cannot open the source") && message.contains(&link));
        assert!(help.contains("mount"));
        let (message, help) = error_text("link/missing");
        assert!(message.starts_with("cannot open the source") && help.contains("spelling"));
        assert_eq!(error_text("loop").1, "");
        assert!(dangling(None, &at("d")).is_none());
    }

    #[test]
    fn a_path_below_a_root_is_found_through_any_links() {
        let scratch = tempfile::tempdir().unwrap();
        let base = scratch.path().canonicalize().unwrap();
        let root = base.join("root");
        std::fs::create_dir_all(root.join("d/e")).unwrap();
        symlink(&root, base.join("link")).unwrap();
        symlink(root.join("d"), base.join("into")).unwrap();
        symlink(&root, root.join("loop")).unwrap();
        for (path, found) in [
            ("root", Some("")),
            ("root/d/missing", Some("d/missing")),
            ("link/d/e", Some("d/e")),
            ("into/e/", Some("d/e")),
            ("root/../link/d", Some("d")),
            ("root/loop/x", Some("loop/x")),
            ("root/d/..", Some("")),
            ("rooted", None),
            ("missing/../root/d", None),
            ("", None),
        ] {
            let found = found.map(PathBuf::from);
            assert_eq!(below(&root, &base.join(path)), found, "{path}");
        }
    }
}
