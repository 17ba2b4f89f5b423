//! Paths that a user names: why one can't be opened, and what it has below a root.

use crate::model::error::Side;
use crate::model::key::Escaped;
use crate::model::{Error, ErrorKind};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

/// Makes the error of a place of this machine that can't be opened, as the side that it was to be, if
/// any. Where nothing is there, a link on the way that leads to nothing is named.
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
        () if no_directory => built.help("name a directory: of a file, the one that it lies in"),
        () => built,
    }
}

/// The error of a path that is, or leads through, a symbolic link to nothing.
pub fn dangling(side: Option<Side>, path: &Path) -> Option<Error> {
    let on_the_way: Vec<_> = path.ancestors().collect();
    let leads_to_nothing = |path: &&&Path| {
        let missing = |error: io::Error| error.kind() == io::ErrorKind::NotFound;
        path.is_symlink() && path.metadata().is_err_and(missing)
    };
    let link = *on_the_way.iter().rev().find(leads_to_nothing)?;
    let text = link.read_link().ok()?;
    let leads = format!("is a symbolic link to \"{}\", where nothing is", printable(&text));
    let message = if link == path {
        format!("{} {leads}", named(side, path))
    } else {
        format!("cannot open {}: \"{}\" {leads}", named(side, path), printable(link))
    };
    let error = Error::new(ErrorKind::Unusable, message);
    Some(error.help("mount the disk that it leads to, make what it names, or correct the link"))
}

/// What a path has below `root`, a real path, whatever links and `..` lead there. Links below the
/// root stand for themselves, and what is missing there does no harm.
pub fn below(root: &Path, path: &Path) -> Option<PathBuf> {
    let above: Vec<_> = path.ancestors().collect();
    above.iter().rev().find_map(|above| {
        let rest = path.strip_prefix(above).ok()?;
        let is_plain = rest.components().all(|part| matches!(part, Component::Normal(_)));
        let start = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        // Whether what comes behind a `..` is a name is not known before it is followed.
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
    fn a_link_to_nothing_is_named_wherever_it_is_on_the_way() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        std::fs::create_dir(at("d")).unwrap();
        symlink(at("d"), at("link")).unwrap();
        symlink("gone", at("d/dangling")).unwrap();
        symlink("loop", at("loop")).unwrap();
        let told = |name: &str| {
            let path = at(name);
            let error = unopened(Some(Side::Source), &path, path.metadata().unwrap_err());
            (error.to_string(), error.help.unwrap_or_default().to_string())
        };
        let link = format!("\"{}\" is a symbolic link to \"gone\"", at("link/dangling").display());
        assert!(told("link/dangling").0.starts_with(&format!("the source {link}")));
        let (message, help) = told("link/dangling/x/y");
        assert!(message.starts_with("cannot open the source") && message.contains(&link));
        assert!(help.contains("mount"));
        let (message, help) = told("link/missing");
        assert!(message.starts_with("cannot open the source") && help.contains("spelling"));
        assert_eq!(told("loop").1, "");
        assert!(dangling(None, &at("d")).is_none());
    }

    #[test]
    fn a_path_below_a_root_is_found_by_whatever_links_lead_there() {
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
