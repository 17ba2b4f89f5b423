//! Filters: patterns from flags, files and variables, in the order in which the last match wins.

use super::super::args::{FilterArgs, MirrorFlags};
use super::super::input;
use super::{typed, usage};
use crate::filter::{
    DirectoryRules, Filter, FilterError, FilterSpec, NameListText, Rule, Separator, ago,
};
use crate::model::Error;
use crate::model::key::Escaped;
use clap::ArgMatches;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Makes the filter. Also returns the origin of each rule, in words.
pub(super) fn filter(
    args: &FilterArgs,
    matches: &ArgMatches,
) -> Result<(Filter, Vec<String>), Error> {
    let (min_size, max_size) = (args.min_size.map(|size| size.0), args.max_size.map(|size| size.0));
    if let (Some(min), Some(max)) = (min_size, max_size)
        && min > max
    {
        return Err(usage("--min-size is more than --max-size: no file has such a size"));
    }
    let (rules, origins): (Vec<_>, _) = rules(args, matches)?.into_iter().unzip();
    if let (Some(min), Some(max)) = (args.min_age, args.max_age)
        && min >= max
    {
        return Err(usage("--min-age is not less than --max-age: no file is both"));
    }
    let spec = FilterSpec {
        rules,
        min_size,
        max_size,
        modified_before: args.min_age.map(ago),
        modified_since: args.max_age.map(ago),
        directories: DirectoryRules {
            one_file_system: args.one_file_system,
            exclude_caches: args.exclude_caches,
            exclude_if_present: args.exclude_if_present.clone(),
            ignore_files: args.ignore_files,
        },
        ..FilterSpec::default()
    };
    let filter = Filter::try_from(spec).map_err(|error| {
        let help = "patterns are those of .gitignore; --help shows examples";
        let is_pattern = matches!(error, FilterError::Pattern { .. });
        let error = usage(error.to_string());
        if is_pattern { error.help(help) } else { error }
    })?;
    Ok((filter, origins))
}

/// Reads the list of names to which a mirror is limited, if it is.
pub(super) fn names(
    flags: &MirrorFlags,
    matches: &ArgMatches,
) -> Result<Option<NameListText>, Error> {
    let Some(path) = &flags.files_from else {
        if flags.from0 && typed(matches, "from0") {
            return Err(usage("--from0 makes no sense without --files-from")
                .help("it says how the names in that file are separated"));
        }
        return Ok(None);
    };
    let filter = &flags.run.filter;
    let mut patterns = filter.exclude_from.iter().chain(&filter.include_from);
    if path == Path::new("-") && patterns.any(|patterns| patterns == Path::new("-")) {
        return Err(usage("standard input can't be read for both names and patterns"));
    }
    let (content, name) = content_of(path)?;
    let bytes =
        content.map_err(|error| usage(format!("cannot read names from {name}")).because(error))?;
    let separator = if flags.from0 { Separator::Nul } else { Separator::Line };
    Ok(Some(NameListText { bytes, separator }))
}

/// Reads a file, or standard input for `-`. Also returns its name for messages.
fn content_of(path: &Path) -> Result<(io::Result<Vec<u8>>, String), Error> {
    if path == Path::new("-") {
        let mut content = Vec::new();
        let read = input::stdin()?.read_to_end(&mut content).map(|_| content);
        return Ok((read, "standard input".to_owned()));
    }
    Ok((fs::read(path), format!("\"{}\"", Escaped(path.as_os_str().as_bytes()))))
}

/// Returns the rules in the order in which the last match wins: the environment's, then the command
/// line's as typed; each with its origin, in words.
fn rules(args: &FilterArgs, matches: &ArgMatches) -> Result<Vec<(Rule, String)>, Error> {
    type Make = fn(String) -> Rule;
    let patterns: [(&str, &[String], Make); 2] =
        [("exclude", &args.exclude, Rule::Exclude), ("include", &args.include, Rule::Include)];
    let files: [(&str, &[PathBuf], Make); 2] = [
        ("exclude_from", &args.exclude_from, Rule::Exclude),
        ("include_from", &args.include_from, Rule::Include),
    ];
    // By position on the command line, 0 for values from the environment; the sort is stable.
    let mut placed: Vec<(usize, Vec<(Rule, String)>)> = Vec::new();
    let mut stdin_is_read = false;
    for (id, values, make) in files {
        for (place, path) in places(matches, id).zip(values) {
            // A variable has one name per line.
            for path in lines_of(path.as_os_str(), place == 0) {
                if path == "-" && std::mem::replace(&mut stdin_is_read, true) {
                    return Err(usage("standard input can be read for patterns only once"));
                }
                let from = origin(id, place);
                let numbered = pattern_file(Path::new(path), make)?.into_iter();
                let named = numbered
                    .map(|(rule, name, line)| (rule, format!("{from} {name}, line {line}")));
                placed.push((place, named.collect()));
            }
        }
    }
    for (id, values, make) in patterns {
        for (place, pattern) in places(matches, id).zip(values) {
            let rule = |pattern: &str| (make(pattern.to_owned()), origin(id, place));
            let rules = if place == 0 {
                pattern.lines().filter(|line| !line.is_empty()).map(rule).collect()
            } else {
                vec![rule(pattern)]
            };
            placed.push((place, rules));
        }
    }
    placed.sort_by_key(|(place, _)| *place);
    Ok(placed.into_iter().flat_map(|(_, rules)| rules).collect())
}

/// Returns the flag, or if it wasn't typed, the variable that sets it.
fn origin(id: &str, place: usize) -> String {
    if place == 0 {
        format!("VIDIMUS_{}", id.to_uppercase())
    } else {
        format!("--{}", id.replace('_', "-"))
    }
}

/// Returns the position of each value of a flag on the command line; 0 for values from the
/// environment.
fn places<'a>(matches: &'a ArgMatches, id: &str) -> impl Iterator<Item = usize> + 'a {
    let is_typed = typed(matches, id);
    matches.indices_of(id).into_iter().flatten().map(move |at| if is_typed { at } else { 0 })
}

fn lines_of(value: &OsStr, split: bool) -> impl Iterator<Item = &OsStr> {
    let bytes = value.as_bytes();
    bytes
        .split(move |&byte| split && byte == b'\n')
        .filter(move |line| !split || !line.is_empty())
        .map(OsStr::from_bytes)
}

/// Reads a file of patterns, one per line. Returns each with the file's name and the line's number.
fn pattern_file(
    path: &Path,
    make: fn(String) -> Rule,
) -> Result<Vec<(Rule, String, usize)>, Error> {
    let (content, name) = content_of(path)?;
    let content = content
        .map_err(|error| usage(format!("cannot read patterns from {name}")).because(error))?;
    patterns(content, &name, make)
}

/// Parses the content of a file of patterns.
fn patterns(
    content: Vec<u8>,
    name: &str,
    make: fn(String) -> Rule,
) -> Result<Vec<(Rule, String, usize)>, Error> {
    let content = String::from_utf8(content).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.split(|&byte| byte == b'\n').count();
        usage(format!("cannot read patterns from {name}: line {line} is not UTF-8"))
    })?;
    let content = content.strip_prefix('\u{feff}').unwrap_or(&content);
    Ok(content
        .lines()
        .zip(1..)
        .filter(|(line, _)| !line.trim_end().is_empty() && !line.starts_with('#'))
        .map(|(line, number)| (make(line.to_owned()), name.to_owned(), number))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::super::tests::parse;
    use super::*;
    use std::io::Write as _;

    fn exclude(pattern: &str) -> Rule {
        Rule::Exclude(pattern.into())
    }

    fn include(pattern: &str) -> Rule {
        Rule::Include(pattern.into())
    }

    #[test]
    fn patterns_keep_their_order_across_the_four_flags() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "# comment\n\n  \nfrom\r\n\\#sharp\n!not").unwrap();
        let path = file.path().to_str().unwrap();
        let (args, matches) = parse(&[
            "--include",
            "1",
            "s",
            "--exclude-from",
            path,
            "--exclude",
            "2",
            "t",
            "--include=3",
            "--exclude",
            "4",
            "--exclude=-5",
        ]);
        let (rules, origins) = rules(&args.flags.run.filter, &matches)
            .unwrap()
            .into_iter()
            .unzip::<_, _, Vec<_>, Vec<_>>();
        assert_eq!(origins[0], "--include");
        assert_eq!(origins[2], format!("--exclude-from \"{path}\", line 5"));
        let expected = [
            include("1"),
            exclude("from"),
            exclude("\\#sharp"),
            exclude("!not"),
            exclude("2"),
            include("3"),
            exclude("4"),
            exclude("-5"),
        ];
        assert_eq!(rules, expected);
    }

    #[test]
    fn a_variable_has_one_value_per_line() {
        let lines: Vec<_> = lines_of(OsStr::new("a\n\nb c\n"), true).collect();
        assert_eq!(lines, ["a", "b c"]);
        let typed: Vec<_> = lines_of(OsStr::new("a\nb"), false).collect();
        assert_eq!(typed, ["a\nb"]);
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;
    use crate::model::fuzz::{Input, assert_printable, config, inputs};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn a_file_of_patterns(Input(bytes) in inputs("filter")) {
            match patterns(bytes.clone(), "\"rules\"", Rule::Exclude) {
                Ok(rules) => {
                    let text = String::from_utf8(bytes).unwrap();
                    for (rule, ..) in rules {
                        let Rule::Exclude(pattern) = rule else { panic!("another rule") };
                        let begins = pattern.starts_with('#') || pattern.contains('\n');
                        prop_assert!(text.contains(&pattern) && !begins, "{:?}", pattern);
                    }
                }
                Err(error) => {
                    prop_assert!(std::str::from_utf8(&bytes).is_err());
                    assert_printable(&error);
                }
            }
        }
    }
}
