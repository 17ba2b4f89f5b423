//! Names that a target takes for one: each of them is named, and nothing is overwritten.

use crate::common::tools::{self, Mount};
use crate::common::{Environment, TestTree};
use crate::needs;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Files, directories and names of one file that differ in their case alone.
const PAIRS: [[&str; 2]; 4] =
    [["README", "Readme"], ["d/x", "d/X"], ["new/name", "new/Name"], ["Dir/f", "dir/f"]];

fn source(env: &Environment) {
    let tree = PAIRS.iter().flatten().fold(TestTree::new(), |tree, name| tree.file(name, name));
    tree.file("d/alone", "alone").write(&env.source);
    env.age();
}

/// What the target has: names in lower case, as some file systems tell them, with their content.
fn found(target: &Path) -> BTreeSet<(String, String)> {
    let entries = walkdir::WalkDir::new(target).into_iter().map(|entry| entry.expect("list"));
    let files = entries.filter(|entry| entry.file_type().is_file());
    let ours = files.filter_map(|entry| {
        let key = entry.path().strip_prefix(target).expect("below").to_str().expect("UTF-8");
        let content = fs::read_to_string(entry.path());
        (!key.starts_with(".vidimus/")).then(|| (key.to_lowercase(), content.expect("read")))
    });
    ours.collect()
}

fn keeps_case(target: &Path) -> bool {
    let names = fs::read_dir(target).expect("list").map(|entry| entry.expect("list").file_name());
    names.into_iter().any(|name| name.to_string_lossy().starts_with('R'))
}

fn folds(mount: impl FnOnce(&Path, &Path) -> Result<Mount, String>) {
    needs!(tools::root());
    let env = Environment::new();
    fs::create_dir(&env.target).expect("make a mount point");
    let mounted = mount(&env.root.join("image"), &env.target);
    needs!(mounted.as_ref().map(drop).map_err(Clone::clone));
    source(&env);
    let mut before = None;
    for flags in [&[][..], &["--delete"], &["--checksum"]] {
        let run = env.mirror(flags).expect(1);
        let found = found(&env.target);
        for [one, other] in PAIRS {
            let stands = |name: &str| found.contains(&(name.to_lowercase(), name.to_owned()));
            assert!(stands(one) != stands(other), "{one}, {other}: {found:?}\n{}", run.told());
            // The one that has no place is a failure, with the reason.
            let missing = if stands(one) { other } else { one };
            let is_missing = |key: &str| {
                // It may tell another name than it was given.
                missing.starts_with(key)
                    || !keeps_case(&env.target)
                        && missing.to_lowercase().starts_with(&key.to_lowercase())
            };
            let is_named = run.records().iter().any(|record| {
                record["event"] == "failed" && record["key"].as_str().is_some_and(is_missing)
            });
            assert!(is_named, "{missing}\n{}", run.told());
        }
        assert!(found.contains(&("d/alone".to_owned(), "alone".to_owned())));
        assert_eq!(found.len(), PAIRS.len() + 1, "{found:?}");
        // No run puts the other one in its place, but where the target tells another name than it
        // was given: there one run's `X` is the next one's `x`.
        if keeps_case(&env.target) {
            assert_eq!(before.get_or_insert_with(|| found.clone()), &found);
        }
    }
    drop(mounted);
}

#[test]
fn an_ntfs_that_ignores_case_has_one_of_two_names() {
    folds(|image, at| Mount::folding(image, at, 60));
}

#[test]
fn an_exfat_has_one_of_two_names() {
    folds(Mount::exfat);
}

#[test]
fn a_fat_has_one_of_two_names() {
    folds(Mount::vfat);
}

#[test]
fn an_ext4_that_folds_has_one_of_two_names() {
    folds(|image, at| {
        let mount = Mount::ext4_of(image, at, 64, &["-O", "casefold", "-E", "encoding=utf8"])?;
        // Only an empty directory can be made to fold.
        fs::remove_dir(at.join("lost+found")).expect("remove a directory");
        let made = std::process::Command::new("chattr").arg("+F").arg(at).status();
        match made {
            Ok(status) if status.success() => Ok(mount),
            other => Err(format!("chattr +F: {other:?}")),
        }
    });
}
