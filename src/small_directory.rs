//! Reads directories that are vidimus's own, or small, by their path. Mirrored trees are read by
//! the walker of `backend::local`.

use rustix::io::Errno;
use std::io;
use std::path::Path;
use walkdir::{DirEntry, WalkDir};

/// Returns the entries of a directory, in no order. Links in it are not followed.
///
/// # Errors
/// Fails if there is no such directory. A failure to read it is an item.
pub fn entries(directory: &Path) -> io::Result<impl Iterator<Item = io::Result<DirEntry>> + use<>> {
    // walkdir yields a file by itself, at a depth that is left out here: it would look empty.
    if !directory.metadata()?.is_dir() {
        return Err(Errno::NOTDIR.into());
    }
    let walk = WalkDir::new(directory).min_depth(1).max_depth(1);
    Ok(walk.into_iter().map(|entry| {
        entry.map_err(|error| {
            error.into_io_error().expect("where no link is followed there are no loops")
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::entries;
    use std::fs;
    use std::io::ErrorKind;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn names(directory: &Path) -> Vec<String> {
        let names = entries(directory).unwrap().map(|entry| entry.unwrap().file_name().to_owned());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn one_level_is_read_and_links_in_it_are_not_followed() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = temporary.path().join("directory");
        fs::create_dir_all(directory.join("below/deeper")).unwrap();
        fs::write(directory.join("file"), "").unwrap();
        symlink(".", directory.join("loop")).unwrap();
        symlink("nowhere", directory.join("broken")).unwrap();
        let linked = temporary.path().join("linked");
        symlink("directory", &linked).unwrap();
        for directory in [&directory, &linked] {
            assert_eq!(names(directory), ["below", "broken", "file", "loop"]);
        }
    }

    #[test]
    fn what_is_no_directory_is_an_error_and_not_empty() {
        let temporary = tempfile::tempdir().unwrap();
        let file = temporary.path().join("file");
        fs::write(&file, "").unwrap();
        let kind = |path: &Path| entries(path).err().map(|error| error.kind());
        assert_eq!(kind(&file), Some(ErrorKind::NotADirectory));
        assert_eq!(kind(&temporary.path().join("missing")), Some(ErrorKind::NotFound));
    }
}
