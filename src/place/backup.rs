//! The directory or prefix that keeps what a run replaces or removes.

use super::bag_root::real;
use super::overlap::Position;
use super::{SourcePlace, TargetPlace, printable};
use crate::backend::local::{Backup, unopened};
use crate::backend::object::BucketPrefix;
use crate::filter::Rule;
use crate::model::error::Side;
use crate::model::hint::hint;
use crate::model::key::Escaped;
use crate::model::reserved::is_reserved;
use crate::model::{Error, ErrorKind, Key, RunId, Setting};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

/// A directory for backups, which need not exist yet.
#[derive(Debug)]
pub struct BackupPlace {
    at: At,
    /// The run's id, by which its directory there is named.
    run: RunId,
    /// Its key, if it lies in the target.
    below: Option<Key>,
}

/// Where a backup directory is.
#[derive(Debug)]
enum At {
    /// The real path of a local one.
    Path(PathBuf),
    /// The prefix of one in the target's bucket, and its name in messages.
    Prefix(Box<[u8]>, String),
}

impl BackupPlace {
    /// Finds the directory at a path, which begins at the target if it is relative. Changes
    /// nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for a place that can't keep what is in the target,
    /// [`ErrorKind::Refused`] for one in the source, [`ErrorKind::Unusable`] if its parent is
    /// missing.
    pub fn resolve(
        typed: &Path,
        source: &SourcePlace,
        target: &TargetPlace,
        run: &RunId,
    ) -> Result<Self, Error> {
        let wrong = |what: &str| {
            let message = format!("the backup directory \"{}\" {what}", printable(typed));
            Error::new(ErrorKind::Usage, message)
        };
        let (at, below) = match (target.path(), target.position()?) {
            (None, Position::Prefix(place)) => prefix(typed, source, &place, &wrong)?,
            (root, _) => path(typed, source, root.unwrap_or(Path::new("/")), &wrong)?,
        };
        if let Some(key) = &below
            && (is_reserved(key) || str::from_utf8(key.as_bytes()).is_err())
        {
            return Err(wrong("has a name that it can't have in the target")
                .help("choose one that is UTF-8 and not vidimus's own, or one beside the target"));
        }
        if let (At::Path(path), Some(root)) = (&at, target.path()) {
            check(path, root, target.exists(), &wrong)?;
        }
        if let Some(key) = &below
            && source.only.is_none()
            && source.lacks(Path::new(OsStr::from_bytes(key.trimmed())))?.is_none()
        {
            let message =
                format!("the source has a \"{key}\", which the backup directory would hide");
            return Err(Error::new(ErrorKind::Refused, message)
                .help("name another directory, or one beside the target"));
        }
        Ok(Self { at, run: run.clone(), below })
    }

    /// Returns the rule that keeps a run out of it, if it lies in the target.
    pub fn rule(&self) -> Option<Rule> {
        let key = str::from_utf8(self.below.as_ref()?.as_bytes()).ok()?;
        let mut pattern = String::from("/");
        for character in key.chars() {
            if "\\*?[]{}".contains(character) {
                pattern.push('\\');
            }
            pattern.push(character);
        }
        Some(Rule::Exclude(pattern))
    }

    /// Returns its path or URL, for messages.
    pub fn shown(&self) -> String {
        match &self.at {
            At::Path(path) => printable(path),
            At::Prefix(_, shown) => shown.clone(),
        }
    }

    /// Opens it for a run, if it is a local directory.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if its parent can't be opened.
    pub(super) fn open(&self) -> Result<Option<Backup>, Error> {
        let At::Path(path) = &self.at else { return Ok(None) };
        let opened = Backup::open(path, &self.run.0, self.below.is_some());
        opened.map(Some).map_err(|error| unopened(Some(Side::Target), path, error))
    }

    /// Returns the prefix of this run's objects, if it is in a bucket.
    pub(super) fn prefix(&self) -> Option<Box<[u8]>> {
        let At::Prefix(prefix, _) = &self.at else { return None };
        Some([prefix, self.run.0.as_bytes(), b"/"].concat().into())
    }
}

/// Finds a backup directory on this machine; a relative path begins at the target's root.
fn path(
    typed: &Path,
    source: &SourcePlace,
    root: &Path,
    wrong: &dyn Fn(&str) -> Error,
) -> Result<(At, Option<Key>), Error> {
    if let Some(link) = link_below(&root.join(typed), root) {
        let message =
            format!("leads through a symbolic link in the target, \"{}\"", printable(&link));
        return Err(
            wrong(&message).help("name a directory beside the target, or without links in it")
        );
    }
    let path = real(&root.join(typed));
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(wrong("lies in a directory that is missing")
            .help("make it first, or name it without \"..\""));
    }
    if path == root {
        return Err(wrong("is the target itself").help("name one beside it, or in it"));
    }
    if source.only.is_none() && source.open.path().is_some_and(|root| path.starts_with(root)) {
        return Err(in_source().help("name one outside the source, on the target's file system"));
    }
    let below = path.strip_prefix(root).ok();
    let below = below.map(|below| Key::child(b"", below.as_os_str().as_bytes(), true));
    Ok((At::Path(path), below))
}

/// Returns the first symbolic link of a path that lies below a directory: what is in a target may be
/// a stranger's, and must not lead anywhere.
fn link_below(path: &Path, root: &Path) -> Option<PathBuf> {
    let root = real(root);
    let mut above = PathBuf::new();
    for part in path.components() {
        let next = above.join(part);
        if above.starts_with(&root) && next.is_symlink() {
            return Some(next);
        }
        above = real(&next);
    }
    None
}

/// Finds a backup directory in the target's bucket: `s3://bucket/prefix`, a prefix that begins with
/// a slash, or one that begins at the target's.
fn prefix(
    typed: &Path,
    source: &SourcePlace,
    target: &BucketPrefix,
    wrong: &dyn Fn(&str) -> Error,
) -> Result<(At, Option<Key>), Error> {
    let typed = typed.as_os_str().as_bytes();
    let bucket = format!("s3://{}/", target.store.id().bucket);
    let (above, rest) = match typed.strip_prefix(bucket.as_bytes()) {
        Some(rest) => (&b""[..], rest),
        None if typed.starts_with(b"s3://") => {
            return Err(wrong("is not in the target's bucket").help(format!("{bucket}PREFIX is")));
        }
        None => match typed.strip_prefix(b"/") {
            Some(rest) => (&b""[..], rest),
            None => (&*target.prefix, typed),
        },
    };
    let rest = rest.strip_suffix(b"/").unwrap_or(rest);
    let prefix: Box<[u8]> = [above, rest, b"/"].concat().into();
    if rest.is_empty() || prefix == target.prefix {
        return Err(
            wrong("names no prefix of its own").help("name one beside the target, or in it")
        );
    }
    if rest.split(|&byte| byte == b'/').any(|part| matches!(part, b"" | b"." | b"..")) {
        return Err(wrong("has an empty name, \".\" or \"..\" in it"));
    }
    if source.only.is_none()
        && let Position::Prefix(source) = source.open.position()?
        && source.store.id().is_same_bucket(target.store.id())
        && prefix.starts_with(&source.prefix)
    {
        return Err(in_source().help("name a prefix outside the source"));
    }
    let below = prefix.strip_prefix(&*target.prefix).map(Key::new);
    let shown = format!("{}/{}", target.store.id(), Escaped(&prefix));
    Ok((At::Prefix(prefix, shown), below))
}

fn in_source() -> Error {
    let message = "the backup directory lies in the source, where it would be mirrored";
    Error::new(ErrorKind::Refused, message)
}

/// Checks that it is a directory on the file system of the target, or can become one.
fn check(
    path: &Path,
    target: &Path,
    target_exists: bool,
    wrong: &dyn Fn(&str) -> Error,
) -> Result<(), Error> {
    let parent = path.parent().unwrap_or(path);
    let look = |path: &Path| match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some).map_err(|error| {
            let message = format!("cannot look at \"{}\"", printable(path));
            Error::new(ErrorKind::Unusable, message).because(error)
        }),
    };
    let (itself, above) = (look(path)?, look(parent)?);
    let Some(found) = itself.as_ref().or(above.as_ref()) else {
        // The target will be made, and with it the parent.
        if parent == target && !target_exists {
            return Ok(());
        }
        let message =
            format!("cannot keep anything in \"{}\": its parent is missing", printable(path));
        return Err(Error::new(ErrorKind::Unusable, message)
            .help("make its parent directory first, or check its spelling"));
    };
    if !found.is_dir() {
        return Err(wrong("is not a directory"));
    }
    let on = if target_exists { look(target)? } else { look(target.parent().unwrap_or(target))? };
    if on.is_some_and(|on| on.dev() != found.dev()) {
        return Err(wrong("is on another file system than the target").help(hint![
            Setting::BackupDir,
            " takes a directory that files can be renamed to: choose one on the target's disk"
        ]));
    }
    Ok(())
}
