//! That the reference is complete.

use crate::common::Environment;
use crate::console::steps;
use crate::page::{Page, ROOT};
use std::collections::BTreeSet;
use std::path::Path;

fn page(name: &str) -> Page {
    Page::read(Path::new(ROOT).join(name))
}

/// A manual page is written for each command, and the reference shows the short help of each.
#[test]
fn every_command_has_its_options_listed() {
    let env = Environment::new();
    let manual = env.root.join("manual");
    std::fs::create_dir(&manual).expect("make a directory");
    env.vidimus(&["man", "--dir", manual.to_str().expect("UTF-8")]).expect(0);
    let entries = std::fs::read_dir(&manual).expect("list the manual");
    let names = entries.map(|entry| entry.expect("list the manual").file_name());
    let names = names.map(|name| name.into_string().expect("UTF-8"));
    let commands: BTreeSet<_> = names
        .map(|name| {
            let name = name.strip_suffix(".1").expect("a page of section 1");
            format!("{} -h", name.replace('-', " "))
        })
        .collect();
    let blocks = page("docs/reference/options.md").blocks();
    let shown = blocks.iter().filter(|block| block.language == "console").flat_map(steps);
    let shown: BTreeSet<_> = shown.map(|step| step.command).collect();
    assert_eq!(commands, shown);
}

#[test]
fn readme_lists_the_exit_codes_of_the_reference() {
    let codes = |name| {
        let text = page(name).text;
        let after = text.split_once("| code | meaning |\n").expect("a table of codes").1;
        let rows = after.lines().take_while(|line| line.starts_with('|')).skip(1);
        let first = |row: &str| row.split('|').nth(1).expect("a cell").trim().to_owned();
        rows.map(first).collect::<Vec<_>>()
    };
    assert_eq!(codes("README.md"), codes("docs/reference/exit-codes.md"));
    assert_eq!(codes("README.md").len(), 11);
}
