//! Real trees after a mirror: rsync, which knows nothing of vidimus, sees no difference.

use crate::common::environment::text;
use crate::common::{Environment, tools};
use crate::needs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Entries of a tree, counted up to `bound`.
fn entries(tree: &Path, bound: usize) -> usize {
    walkdir::WalkDir::new(tree).into_iter().take(bound).count()
}

/// Real trees of this machine, small enough for a test: at least ten entries, at most some thousand.
fn real_trees() -> Vec<PathBuf> {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output().ok();
    let sysroot = sysroot.and_then(|output| String::from_utf8(output.stdout).ok());
    let sysroot = PathBuf::from(sysroot.unwrap_or_default().trim());
    let candidates = [
        "/usr/share/zoneinfo",
        "/usr/share/perl",
        "/usr/share/perl5",
        "/usr/share/terminfo",
        "/usr/share/bash-completion",
        "/etc/alternatives",
        "/usr/share/git-core",
    ];
    let mut trees: Vec<_> = candidates.iter().map(PathBuf::from).collect();
    trees.extend([sysroot.join("share"), sysroot.join("etc"), sysroot.join("libexec")]);
    trees.retain(|tree| tree.is_dir() && (10..5000).contains(&entries(tree, 5000)));
    trees
}

/// Asserts that rsync would change nothing: content by size and time, modes, owners, hard links,
/// ACLs, extended attributes, devices.
#[track_caller]
pub(crate) fn sees_no_difference(source: &Path, target: &Path) {
    let judged = Command::new("rsync")
        .args(["-aHAXSn", "--delete", "--itemize-changes", "--exclude=/.vidimus/"])
        // XFS shows root each ACL as an attribute, too.
        .arg("--filter=-x trusted.SGI_ACL_*")
        .args([source, target].map(|root| format!("{}/", root.display())))
        .output()
        .expect("run rsync");
    assert!(judged.status.success(), "{judged:?}");
    let seen = String::from_utf8_lossy(&judged.stdout);
    assert!(seen.is_empty(), "rsync sees differences of {}:\n{seen}", source.display());
}

#[test]
fn rsync_sees_no_difference_after_a_mirror_of_real_trees() {
    needs!(tools::tool("rsync"));
    let trees = real_trees();
    needs!(if trees.is_empty() { Err("no real tree found".to_owned()) } else { Ok(()) });
    for tree in trees {
        let env = Environment::new();
        let tree = tree.canonicalize().unwrap();
        let run = env.vidimus(&["mirror", "-q", "--delete", text(&tree), text(&env.target)]);
        assert!(run.code() == 0, "{}\n{}", tree.display(), run.told());
        sees_no_difference(&tree, &env.target);
        let again = env.vidimus(&["mirror", "--json", text(&tree), text(&env.target)]).expect(0);
        again.finished().counts(&[("files_copied", 0), ("metadata_updated", 0)]);
        env.verify(&["--strict"]).expect(0);
    }
}
