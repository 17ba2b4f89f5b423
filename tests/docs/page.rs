//! The pages, and the fenced blocks in them.

use std::fs;
use std::path::{Path, PathBuf};

/// The root of the repository.
pub(crate) const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The pages beside the book.
pub(crate) const OUTSIDE: [&str; 3] = ["CONTRIBUTING.md", "README.md", "SECURITY.md"];

/// The book's directories below `docs/`.
pub(crate) const PARTS: [&str; 3] = ["explanation", "how-to", "reference"];

/// A page for people.
pub(crate) struct Page {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl Page {
    pub(crate) fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path);
        let text = text.unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        Self { path, text }
    }

    /// The page's path below the repository's root.
    pub(crate) fn name(&self) -> &str {
        let below = self.path.strip_prefix(ROOT).expect("pages lie below the root");
        below.to_str().expect("names of pages are UTF-8")
    }

    /// The fenced blocks, in order.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        for (index, line) in self.text.lines().enumerate() {
            match (&mut open, line.strip_prefix("```")) {
                (None, Some(language)) => {
                    let language = language.to_owned();
                    open = Some(Block { language, first_line: index + 2, lines: Vec::new() });
                }
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(block), None) => block.lines.push(line.to_owned()),
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a block is not closed", self.name());
        blocks
    }

    /// The text outside of fenced blocks.
    pub(crate) fn prose(&self) -> String {
        let mut prose = String::new();
        let mut fenced = false;
        for line in self.text.lines() {
            if line.starts_with("```") {
                fenced = !fenced;
            } else if !fenced {
                prose.push_str(line);
                prose.push('\n');
            }
        }
        prose
    }
}

/// What stands between two fences.
pub(crate) struct Block {
    pub(crate) language: String,
    /// The number of the first line between the fences, from 1.
    pub(crate) first_line: usize,
    pub(crate) lines: Vec<String>,
}

/// The pages that lie in `directory` itself, in order.
pub(crate) fn pages_in(directory: &Path) -> Vec<Page> {
    let entries = fs::read_dir(directory).expect("list a directory of the book");
    let paths = entries.map(|entry| entry.expect("list a directory of the book").path());
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect();
    paths.sort();
    paths.into_iter().map(Page::read).collect()
}

/// The book's pages, without its table of contents.
pub(crate) fn book() -> Vec<Page> {
    let docs = Path::new(ROOT).join("docs");
    let mut pages = pages_in(&docs);
    pages.extend(PARTS.iter().flat_map(|part| pages_in(&docs.join(part))));
    pages.retain(|page| page.name() != "docs/SUMMARY.md");
    pages
}

/// All pages that tests hold.
pub(crate) fn all() -> Vec<Page> {
    let outside = OUTSIDE.iter().map(|name| Page::read(Path::new(ROOT).join(name)));
    outside.chain(book()).collect()
}
