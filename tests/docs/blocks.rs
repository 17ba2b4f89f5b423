//! Every console block of every page, run.

use crate::common::tools;
use crate::compare::agrees;
use crate::console::{Step, shown, steps};
use crate::page::{OUTSIDE, PARTS, Page, ROOT, all, pages_in};
use crate::session;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// What a `sh` block begins with: its commands need what a test can't have.
const NOT_RUN: &str = "# Not run by the tests: ";

/// Programs that pages use and a machine may lack.
const TOOLS: [&str; 6] = ["b3sum", "bagit.py", "hashdeep", "jq", "minisign", "zstdcat"];

#[test]
fn pages_at_the_root() {
    let pages = OUTSIDE.map(|name| Page::read(Path::new(ROOT).join(name)));
    check_all(&pages);
}

#[test]
fn pages_of_the_book() {
    let docs = Path::new(ROOT).join("docs");
    let entries = fs::read_dir(&docs).expect("list docs").map(|entry| entry.expect("list docs"));
    let directories = entries.filter(|entry| entry.path().is_dir());
    let names = directories.map(|entry| entry.file_name().into_string().expect("UTF-8"));
    assert_eq!(names.collect::<BTreeSet<_>>(), PARTS.map(String::from).into());
    check_all(&pages_in(&docs));
}

#[test]
fn pages_of_how_to_guides() {
    check_part("how-to");
}

#[test]
fn pages_of_the_reference() {
    check_part("reference");
}

#[test]
fn pages_of_explanation() {
    check_part("explanation");
}

/// What a page doesn't run, it shows as such, with the reason.
#[test]
fn commands_that_are_not_run_say_why() {
    let mut told = String::new();
    for page in all() {
        for block in page.blocks() {
            let place = format!("{}:{}", page.name(), block.first_line);
            let commands = ["sh", "bash", "shell"].contains(&&*block.language);
            let typed = block.lines.iter().any(|line| line.starts_with("$ "));
            assert!(!typed || block.language == "console", "{place}: is this a console block?");
            if commands {
                let reason = block.lines[0].strip_prefix(NOT_RUN);
                let reason = reason.unwrap_or_else(|| panic!("{place}: {NOT_RUN:?} is missing"));
                writeln!(told, "not run: {place}: {reason}").expect("write to a string");
            }
        }
    }
    println!("{told}");
}

fn check_part(name: &str) {
    check_all(&pages_in(&Path::new(ROOT).join("docs").join(name)));
}

/// Checks pages, some of which show commands: a test that runs none would hold nothing.
fn check_all(pages: &[Page]) {
    let shows = |page: &Page| page.blocks().iter().any(|block| block.language == "console");
    assert!(pages.iter().any(shows), "none of these pages has a console block");
    pages.iter().for_each(check);
}

/// Runs a page's console blocks in one shell and compares.
fn check(page: &Page) {
    let blocks = page.blocks();
    let console = blocks.iter().filter(|block| block.language == "console");
    let steps: Vec<_> = console.flat_map(steps).collect();
    if steps.is_empty() {
        return;
    }
    if let Err(missing) = needed(&steps) {
        return tools::skipped(page.name(), 0, &missing);
    }
    let outputs = session::run(&steps);
    let mut lines: Vec<_> = page.text.lines().map(str::to_owned).collect();
    let mut wrong = String::new();
    // From the last one on, so that lines before it keep their numbers.
    for (step, output) in steps.iter().zip(&outputs).rev() {
        if agrees(&step.output, output) {
            continue;
        }
        let (was, is) = (shown(&step.command, &step.output), shown(&step.command, output));
        let first = step.line - 1;
        lines.splice(first..first + was.lines().count(), is.lines().map(str::to_owned));
        let place = format!("{}:{}", page.name(), step.line);
        write!(wrong, "\n{place} shows\n{was}\nbut it is\n{is}").expect("write to a string");
    }
    if std::env::var_os("SNAPSHOTS").is_some_and(|mode| mode == "overwrite") {
        let text: String = lines.into_iter().map(|line| line + "\n").collect();
        if text != page.text {
            fs::write(&page.path, text).expect("write a page");
        }
    } else {
        assert!(wrong.is_empty(), "{wrong}\n(SNAPSHOTS=overwrite writes it)");
    }
}

/// The tools that the steps use are there.
fn needed(steps: &[Step]) -> Result<(), String> {
    tools::tool("bash")?;
    for name in TOOLS {
        let words = |step: &Step| step.command.split_whitespace().any(|word| word == name);
        if steps.iter().any(words) {
            tools::tool(name)?;
        }
    }
    Ok(())
}
