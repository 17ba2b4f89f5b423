//! Directories that two places share by a mount, whatever their paths are.
//!
//! A bind mount shows a directory a second time, under a path that the first has nothing to do
//! with. The mount table tells which directory of its file system each mount shows: two places
//! share a directory where both show it.

use super::printable;
use crate::model::{Error, ErrorKind, Key};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The mounts that this process sees; `proc_pid_mountinfo(5)` is its format.
const TABLE: &str = "/proc/self/mountinfo";

/// A directory that is in two places at once.
#[derive(Debug, PartialEq, Eq)]
pub struct SharedDirectory {
    /// Its key in the source; the root's if it is the source.
    pub in_source: Key,
    /// Its key in the target; the root's if it is the target.
    pub in_target: Key,
}

/// Returns directories that the source and the target at two real paths share by a mount, so that
/// writing to the one changes the other. The target may not exist yet; its parent must.
///
/// # Errors
/// [`ErrorKind::Unusable`] if the mount table can't be read.
pub(super) fn shared(source: &Path, target: &Path) -> Result<Vec<SharedDirectory>, Error> {
    let table = match std::fs::read(TABLE) {
        // Without /proc the walk finds out when it reaches the other side's root.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        table => table.map_err(|error| {
            let message = format!("cannot read \"{TABLE}\"");
            Error::new(ErrorKind::Unusable, message).because(error)
        })?,
    };
    let mut found = Vec::new();
    for meeting in meetings(&table, source, target) {
        // Another mount may cover what the table shows.
        if is_same(&source.join(&meeting.in_source), &target.join(&meeting.in_target))? {
            found.push(SharedDirectory {
                in_source: key_of(&meeting.in_source),
                in_target: key_of(&meeting.in_target),
            });
        }
    }
    Ok(found)
}

fn key_of(path: &Path) -> Key {
    match path.as_os_str().as_bytes() {
        b"" => Key::root(),
        path => Key::child(b"", path, true),
    }
}

/// Returns whether two paths lead to one directory, or, if one doesn't exist yet, to one name in
/// one directory.
fn is_same(one: &Path, other: &Path) -> Result<bool, Error> {
    let identity = |path: &Path| match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(|found| Some((found.dev(), found.ino()))).map_err(|error| {
            let message = format!("cannot look at \"{}\"", printable(path));
            Error::new(ErrorKind::Unusable, message).because(error)
        }),
    };
    Ok(match (identity(one)?, identity(other)?) {
        (Some(one), Some(other)) => one == other,
        (None, None) => match (one.parent(), other.parent()) {
            (Some(above), Some(above_other)) => {
                let above = identity(above)?;
                above.is_some()
                    && above == identity(above_other)?
                    && one.file_name() == other.file_name()
            }
            _ => false,
        },
        _ => false,
    })
}

/// One line of the mount table.
struct Mount {
    /// The device number that identifies the file system.
    device: Vec<u8>,
    /// The directory of the file system that is shown.
    root: PathBuf,
    /// Where it is shown.
    at: PathBuf,
}

impl Mount {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == b' ').skip(2);
        let device = fields.next()?.to_vec();
        let (root, at) = (path(fields.next()?), path(fields.next()?));
        Some(Self { device, root, at })
    }
}

/// Decodes a path of the mount table, in which blanks and backslashes are octal numbers.
fn path(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| byte == b'\\');
        let code = code.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(byte));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// A directory of a file system that a place shows with everything in it.
struct Shown<'a> {
    device: &'a [u8],
    /// The directory's path within its file system.
    within: PathBuf,
    /// Its path below the place's root; empty for the root itself.
    at: PathBuf,
}

/// Returns what the directory at a real path shows: itself, and what is mounted below it.
fn shown<'a>(mounts: &'a [Mount], place: &Path) -> Vec<Shown<'a>> {
    // Of several mounts at one path the last covers the others.
    let depth = |mount: &&Mount| mount.at.components().count();
    let own = mounts.iter().filter(|mount| place.starts_with(&mount.at)).max_by_key(depth);
    let own = own.and_then(|mount| {
        let within = join(&mount.root, place.strip_prefix(&mount.at).ok()?);
        Some(Shown { device: &mount.device, within, at: PathBuf::new() })
    });
    let below = mounts.iter().filter(|mount| mount.at != place).filter_map(|mount| {
        let at = mount.at.strip_prefix(place).ok()?.to_owned();
        Some(Shown { device: &mount.device, within: mount.root.clone(), at })
    });
    own.into_iter().chain(below).collect()
}

/// A path below the source, and one below the target, that should be the same directory.
#[derive(Debug, PartialEq, Eq)]
struct Meeting {
    in_source: PathBuf,
    in_target: PathBuf,
}

/// Returns where two places meet by the mount table. That both have a third directory mounted in
/// them is none: neither is then in the other.
fn meetings(table: &[u8], source: &Path, target: &Path) -> Vec<Meeting> {
    let lines = table.split(|&byte| byte == b'\n');
    let mounts: Vec<_> = lines.filter_map(Mount::parse).collect();
    let (in_source, in_target) = (shown(&mounts, source), shown(&mounts, target));
    let mut meetings = Vec::new();
    for one in &in_source {
        for other in &in_target {
            let are_roots = one.at.as_os_str().is_empty() || other.at.as_os_str().is_empty();
            if one.device != other.device || !are_roots {
                continue;
            }
            let (one_at, other_at) = (one.at.clone(), other.at.clone());
            if let Ok(rest) = other.within.strip_prefix(&one.within) {
                let meeting = Meeting { in_source: join(&one_at, rest), in_target: other_at };
                meetings.push(meeting);
            } else if let Ok(rest) = one.within.strip_prefix(&other.within) {
                meetings.push(Meeting { in_source: one_at, in_target: join(&other_at, rest) });
            }
        }
    }
    meetings
}

/// Joins two paths without the final slash that an empty second one would add.
fn join(path: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { path.to_owned() } else { path.join(rest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
22 21 8:2 / /mnt/back\\040up rw,relatime - ext4 /dev/sdb1 rw
23 21 8:2 /daily /home/ada/bound rw,relatime - ext4 /dev/sdb1 rw
24 22 8:1 /home /mnt/back\\040up/homes rw,relatime - ext4 /dev/sda1 rw
25 21 0:5 / /home/ada/proc rw - proc proc rw
26 22 0:5 / /mnt/back\\040up/proc rw - proc proc rw
";

    fn met(source: &str, target: &str) -> Vec<(String, String)> {
        let found = meetings(TABLE.as_bytes(), Path::new(source), Path::new(target));
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        found.into_iter().map(|it| (text(it.in_source), text(it.in_target))).collect()
    }

    #[test]
    fn places_meet_where_one_shows_a_directory_of_the_other() {
        for (source, target, expected) in [
            // The target is mounted deep in the source.
            ("/home", "/mnt/back up/daily", &[("ada/bound", "")][..]),
            ("/home", "/mnt/back up/daily/ada", &[("ada/bound/ada", "")]),
            // A part of the target is, and the source in the target.
            ("/home/ada", "/mnt/back up", &[("", "homes/ada"), ("bound", "daily")]),
            // The source lies in what is mounted in the target, and the reverse.
            ("/mnt/back up/homes", "/home/ada", &[("ada", "")]),
            // Beside each other.
            ("/home/ada/bound", "/mnt/back up/weekly", &[]),
            ("/srv", "/mnt/back up/daily", &[]),
            // A third file system is mounted in both.
            ("/home/ada/proc", "/mnt/back up/daily", &[]),
        ] {
            let mut found = met(source, target);
            found.sort();
            let expected: Vec<_> =
                expected.iter().map(|(one, other)| (one.to_string(), other.to_string())).collect();
            assert_eq!(found, expected, "{source} {target}");
        }
    }
}
