//! Patterns, held against git: what `git check-ignore` leaves out, a filter does.
//!
//! Random patterns and paths; the alternatives of braces, which git lacks, don't take part.
//! `PROPTEST_CASES` tries so many sets of patterns instead of [`CASES`].

use crate::common::Environment;
use crate::common::tools::tool;
use crate::needs;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use std::collections::HashSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use vidimus::filter::{Filter, Rule};
use vidimus::model::Key;

/// Sets of patterns that are tried.
const CASES: usize = 2_000;

/// What names are made of.
const NAME: [&str; 30] = [
    "a", "a", "a", "b", "b", "c", "A", "Z", "1", "x", "ab", "ba", " ", "\\", "[", "]", "-", "!",
    "^", ":", "*", "?", "é", "{", "}", "#", "\t", ".", ",", "~",
];

/// What patterns are made of besides: what means something in git, or nearly.
const GLOB: [&str; 50] = [
    "*",
    "*",
    "*",
    "?",
    "**",
    "**/",
    "/**",
    "/**/",
    "/",
    "/",
    "/",
    "[ab]",
    "[!ab]",
    "[^a]",
    "[a-c]",
    "[c-a]",
    "[a-]",
    "[-a]",
    "[]a]",
    "[!]a]",
    "[]",
    "[a",
    "[",
    "[\\]]",
    "[\\a-c]",
    "[a-\\c]",
    "[a\\-c]",
    "[\\\\]",
    "[[:digit:]]",
    "[[:upper:]]",
    "[![:upper:]]",
    "[[:space:]]",
    "[[:alnum:]_-]",
    "[[:punct:]]",
    "[[:cntrl:][:xdigit:]]",
    "[[:nosuch:]]",
    "[[:digit:]",
    "[[:]",
    "[:digit:]",
    "[[a]",
    "[a/b]",
    "\\*",
    "\\?",
    "\\[",
    "\\]",
    "\\\\",
    "\\a",
    "\\{",
    "\\ ",
    "\\",
];

/// A name of three pieces at most, none of those that are no names.
fn name() -> impl Strategy<Value = String> {
    let pieces = vec(select(&NAME[..]), 1..4).prop_map(|pieces| pieces.concat());
    pieces.prop_filter("a name", |name| name != "." && name != "..")
}

fn pattern() -> impl Strategy<Value = String> {
    let literal = select(&NAME[..]).prop_filter("no alternatives", |piece| *piece != "{");
    let piece = prop_oneof![literal, select(&GLOB[..])];
    (vec(piece, 1..6), any::<[bool; 3]>()).prop_map(|(pieces, [anchored, directory, spaces])| {
        let (before, after) = (if anchored { "/" } else { "" }, if directory { "/" } else { "" });
        format!("{before}{}{after}{}", pieces.concat(), if spaces { "  " } else { "" })
    })
}

/// A set of patterns, and paths to hold against it; those that end in `/` are directories.
#[derive(Clone, Debug)]
struct Case {
    rules: Vec<Rule>,
    paths: Vec<String>,
}

fn case() -> impl Strategy<Value = Case> {
    let rule = (pattern(), prop::bool::weighted(0.25)).prop_map(|(pattern, includes)| {
        if includes { Rule::Include(pattern) } else { Rule::Exclude(pattern) }
    });
    let rules = prop_oneof![
        3 => pattern().prop_map(|pattern| vec![Rule::Exclude(pattern)]),
        2 => vec(rule, 2..5),
    ];
    let path = (vec(name(), 1..4), prop::bool::weighted(0.3))
        .prop_map(|(names, directory)| names.join("/") + if directory { "/" } else { "" });
    (rules, vec(path, 24)).prop_map(|(rules, paths)| Case { rules, paths })
}

/// Which of all these paths, each below the directory of its case, git leaves out.
fn ignored(git: &Path, cases: &[Case]) -> HashSet<String> {
    let env = Environment::new();
    let home = &env.root;
    let git = |arguments: &[&str]| {
        let mut command = Command::new(git);
        command.current_dir(home).env("HOME", home).args(arguments);
        command.env("GIT_CONFIG_NOSYSTEM", "1").env_remove("GIT_DIR").env_remove("GIT_WORK_TREE");
        command
    };
    assert!(git(&["init", "-q"]).status().unwrap().success());
    let mut asked = Vec::new();
    for (number, Case { rules, paths }) in cases.iter().enumerate() {
        let directory = home.join(number.to_string());
        fs::create_dir(&directory).unwrap();
        let line = |rule: &Rule| match rule {
            Rule::Exclude(pattern) => format!("{pattern}\n"),
            Rule::Include(pattern) => format!("!{pattern}\n"),
        };
        fs::write(directory.join(".gitignore"), rules.iter().map(line).collect::<String>())
            .unwrap();
        for path in paths {
            // What isn't there is a file to git.
            if path.ends_with('/') {
                fs::create_dir_all(directory.join(path)).unwrap();
            }
            asked
                .extend_from_slice(format!("{number}/{}\0", path.trim_end_matches('/')).as_bytes());
        }
    }
    let mut child = git(&["check-ignore", "--no-index", "--stdin", "-z"]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(&asked));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_terminator('\0').map(str::to_owned).collect()
}

/// Whether git may match a pattern that is refused for this: each of these is documented.
fn differs_on_purpose(problem: &str) -> bool {
    [
        "begins with \"!\"",
        "is a comment",
        "is white space alone",
        "has a range that ends",
        "has a set of characters beyond",
        "as between two \"/\"",
        "has a \"{\" without",
        "has \"**\" after part",
    ]
    .iter()
    .any(|purpose| problem.contains(purpose))
}

#[test]
fn patterns_leave_out_what_git_leaves_out() {
    needs!(tool("git"));
    let git = tool("git").unwrap();
    let count = std::env::var("PROPTEST_CASES").ok().and_then(|count| count.parse().ok());
    let mut runner = TestRunner::default();
    let cases: Vec<Case> = (0..count.unwrap_or(CASES))
        .map(|_| case().new_tree(&mut runner).unwrap().current())
        .collect();
    let ignored = ignored(&git, &cases);
    let mut differences = Vec::new();
    let mut compared = 0;
    for (number, Case { rules, paths }) in cases.iter().enumerate() {
        // Of one path, whether it is a directory is known of the whole case.
        let directories: HashSet<&str> = paths
            .iter()
            .flat_map(|path| path.match_indices('/').map(|(end, _)| &path[..end]))
            .collect();
        let filter = match Filter::new(rules, None, None) {
            Ok(filter) => Some(filter),
            Err(error) if differs_on_purpose(&error.to_string()) => continue,
            // What is refused matches nothing in git.
            Err(_) if rules.len() == 1 => None,
            Err(_) => continue,
        };
        for path in paths {
            let name = path.trim_end_matches('/');
            // Where a file's name is a directory's in another path, there can't be both.
            if directories.contains(name) != path.ends_with('/') {
                continue;
            }
            compared += 1;
            let by_git = ignored.contains(&format!("{number}/{name}"));
            let by_filter = filter
                .as_ref()
                .is_some_and(|filter| filter.excludes_within(&Key::new(path.as_bytes())));
            if by_git != by_filter {
                differences.push((rules, path, by_git, filter.is_some()));
            }
        }
    }
    assert!(compared > 10 * cases.len(), "{compared} comparisons of {} cases", cases.len());
    let count = differences.len();
    differences.sort_by_key(|(rules, ..)| (rules.len(), format!("{rules:?}").len()));
    differences.truncate(20);
    assert_eq!(count, 0, "(rules, path, left out by git, accepted): {differences:#?}");
}
