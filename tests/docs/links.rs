//! Links within the repository, the book's table of contents, and README's length.

use crate::page::{Page, ROOT, all, book};
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A front page, not a manual.
const README_BYTES: usize = 12 << 10;

#[test]
fn readme_is_a_front_page() {
    let readme = Page::read(Path::new(ROOT).join("README.md"));
    assert!(readme.text.len() <= README_BYTES, "{} bytes", readme.text.len());
}

#[test]
fn the_table_of_contents_lists_every_page_once() {
    let summary = Page::read(Path::new(ROOT).join("docs/SUMMARY.md"));
    let listed: Vec<_> = links(&summary).into_iter().map(|(path, _)| path).collect();
    let unique: BTreeSet<_> = listed.iter().cloned().collect();
    assert_eq!(listed.len(), unique.len(), "a page is listed twice");
    assert_eq!(unique, book().into_iter().map(|page| page.path).collect());
}

#[test]
fn every_link_leads_somewhere() {
    let mut headings: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    let mut broken = Vec::new();
    let changelog = Page::read(Path::new(ROOT).join("CHANGELOG.md"));
    for page in all().into_iter().chain([changelog]) {
        for (path, anchor) in links(&page) {
            let known = path.exists()
                && (anchor.is_empty() || {
                    let found = headings.entry(path.clone());
                    found.or_insert_with(|| anchors(&Page::read(path.clone()))).contains(&anchor)
                });
            if !known {
                broken.push(format!("{}: {}#{anchor}", page.name(), path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// What lies beside the book is not in it, where mdBook makes a website of it.
#[test]
fn links_of_the_book_stay_in_it() {
    let docs = Path::new(ROOT).join("docs");
    for page in book() {
        for (path, _) in links(&page) {
            assert!(path.starts_with(&docs), "{}: {}", page.name(), path.display());
        }
    }
}

/// Where a page's links to files of the repository lead: path and anchor.
fn links(page: &Page) -> Vec<(PathBuf, String)> {
    let link = Regex::new("\\]\\(([^)\\s]+)\\)").expect("a regular expression");
    let prose = page.prose();
    let found = link.captures_iter(&prose).map(|captures| captures[1].to_owned());
    let local = found.filter(|to| !to.contains("://"));
    let directory = page.path.parent().expect("a page lies in a directory");
    local
        .map(|to| {
            let (path, anchor) = to.split_once('#').unwrap_or((&to, ""));
            let path = if path.is_empty() { page.path.clone() } else { directory.join(path) };
            (resolved(&path), anchor.to_owned())
        })
        .collect()
}

/// The path without `..`, whether it is there or not.
fn resolved(path: &Path) -> PathBuf {
    let mut resolved = PathBuf::new();
    for component in path.components() {
        if component.as_os_str() == ".." {
            resolved.pop();
        } else {
            resolved.push(component);
        }
    }
    resolved
}

/// The anchors of a page's headings, as GitHub and mdBook make them.
fn anchors(page: &Page) -> BTreeSet<String> {
    let prose = page.prose();
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|heading| {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter(|&character| {
                character.is_alphanumeric() || matches!(character, ' ' | '-' | '_')
            });
            kept.map(|character| if character == ' ' { '-' } else { character }).collect()
        })
        .collect()
}
