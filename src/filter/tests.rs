//! Tests of which keys and sizes a filter excludes.

use super::*;
use crate::model::Metadata;

fn exclude(pattern: &str) -> Rule {
    Rule::Exclude(pattern.to_owned())
}

fn include(pattern: &str) -> Rule {
    Rule::Include(pattern.to_owned())
}

fn filter(rules: &[Rule]) -> Filter {
    Filter::new(rules, None, None).unwrap()
}

/// A file of this size, modified at this time.
fn file(size: u64, seconds: i64) -> Entry {
    let metadata = Metadata { mtime: Timestamp { seconds, nanos: 0 }, ..Metadata::default() };
    Entry::new_file(key("a"), size, metadata)
}

fn key(bytes: impl AsRef<[u8]>) -> Key {
    Key::new(bytes.as_ref())
}

#[test]
fn patterns_match_as_in_gitignore() {
    let table: &[(&str, &[&str], &[&str])] = &[
        // A pattern without an inner slash matches at any depth, files and directories.
        ("a", &["a", "a/", "b/a", "b/c/a/"], &["ab", "A", "b", "ba/", "a.a"]),
        ("*.o", &["x.o", ".o", "d/x.o", "x.o/"], &["x.oo", "x.o.c"]),
        ("b?r", &["bar", "d/b.r"], &["br", "b/r", "baar"]),
        ("[a-c]x", &["ax", "d/cx"], &["dx", "x"]),
        ("[!a-c]x", &["dx", "d/zx"], &["ax"]),
        // A leading or inner slash anchors.
        ("/a", &["a", "a/"], &["b/a", "ab"]),
        ("a/b", &["a/b", "a/b/"], &["c/a/b", "a/bc", "a"]),
        ("/a/*", &["a/b", "a/b/"], &["a/", "a/b/c", "b/a/c"]),
        // A trailing slash takes directories only.
        ("a/", &["a/", "b/a/"], &["a", "b/a"]),
        ("/a/", &["a/"], &["a", "b/a/"]),
        ("a/b/", &["a/b/"], &["a/b", "c/a/b/"]),
        // Two stars span.
        ("**/a", &["a", "b/a", "b/c/a/"], &["ab"]),
        ("a/**", &["a/b", "a/b/", "a/b/c"], &["a/", "a", "b/a/c"]),
        ("a/**/b", &["a/b", "a/x/b", "a/x/y/b/"], &["a/xb", "b/a/b"]),
        ("**/a/b", &["a/b", "x/a/b"], &["a/x/b"]),
        ("**", &["a", "a/", "a/b"], &[]),
        ("*", &["a", "a/", ".a", "a/b"], &[]),
        ("/*", &["a", "a/", ".a"], &["a/b"]),
        // Names that begin or end with dots are names like any other.
        (".a", &[".a", ".a/", "b/.a"], &["a", "..a"]),
        ("a", &[], &[".a", "./", ".", "..a"]),
        (".*", &[".a", "b/..a/"], &["a", "a."]),
        ("a.", &["a.", "b/a./"], &["a"]),
        ("...", &["...", "b/.../"], &["...."]),
        ("/.a/b", &[".a/b"], &["a/b", "/.a/b"]),
        // Escapes.
        ("\\#a", &["#a", "b/#a"], &["a", "\\#a"]),
        ("\\!a", &["!a"], &["a"]),
        ("a#", &["a#"], &["a"]),
        ("a!b", &["a!b"], &["ab"]),
        ("\\*", &["*"], &["a"]),
        ("a\\ ", &["a "], &["a"]),
        ("a ", &["a"], &["a "]),
        (" a", &[" a"], &["a"]),
        ("a b", &["a b"], &["a", "b"]),
        ("\\{a\\}", &["{a}"], &["a"]),
        ("{a,b}c", &["ac", "bc"], &["{a,b}c"]),
        ("{a,b/c}", &["a", "x/a", "b/c"], &["x/b/c", "c"]),
        ("x{,.{gz,zst}}", &["x", "x.gz", "d/x.zst"], &["x.", "x{"]),
        ("[{,}]a", &["{a", ",a", "}a"], &["a"]),
        ("a,b}", &["a,b}"], &["a", "b"]),
        // Sets, with classes and escapes.
        ("log.[[:digit:]]", &["log.1"], &["log.a", "log.:", "log.d"]),
        ("[![:upper:]]1", &["x1"], &["X1", "U1"]),
        ("a[[:space:]]b", &["a b", "a\tb", "a\nb"], &["asb"]),
        ("[[:alpha:]_-]", &["x", "_", "-"], &["1"]),
        ("[\\]a]", &["]", "a"], &["\\"]),
        ("[]a]", &["]", "a"], &["]a"]),
        ("[a\\-c]", &["a", "-", "c"], &["b", "\\"]),
        ("[[:a]", &["[", ":", "a"], &["b"]),
        ("[x[:]y", &["[y", ":y", "xy"], &["y"]),
        ("[!]a]", &["b"], &["]", "a"]),
        ("a**", &["a", "ab", "d/ab/"], &["ba"]),
        ("b\\\\/", &["b\\/"], &["b\\", "b/"]),
        ("a\\  ", &["a "], &["a", "a  "]),
        ("a\t", &["a\t"], &["a"]),
        // A newline is a byte of a name.
        ("a*b", &["a\nb"], &["a/b"]),
        ("é", &["é", "b/é"], &["e"]),
    ];
    for (pattern, matching, others) in table {
        let excluding = filter(&[exclude(pattern)]);
        let including = filter(&[exclude("*"), include(pattern)]);
        for name in *matching {
            assert!(excluding.excludes(&key(name)), "{pattern:?} excludes {name:?}");
            assert!(!including.excludes(&key(name)), "{pattern:?} includes {name:?}");
        }
        for name in *others {
            assert!(!excluding.excludes(&key(name)), "{pattern:?} leaves {name:?}");
            assert!(including.excludes(&key(name)), "{pattern:?} does not include {name:?}");
        }
    }
}

#[test]
fn names_that_are_not_utf8_match_by_their_bytes() {
    let stars = filter(&[exclude("*.bak")]);
    assert!(stars.excludes(&key(b"\xff\xfe.bak")));
    assert!(stars.excludes(&key(b"d\xff/x.bak")));
    assert!(!stars.excludes(&key(b"\xff.ba\xff")));
    assert!(filter(&[exclude("/d?/")]).excludes(&key(b"d\xff/")));
}

#[test]
fn the_last_match_decides() {
    let rules = [exclude("*.log"), include("keep.log"), exclude("/a/keep.log"), include("/z*")];
    let filter = filter(&rules);
    let excluded = ["x.log", "a/x.log", "a/keep.log"];
    let included = ["keep.log", "b/keep.log", "other", "z.log"];
    for name in excluded {
        assert!(filter.excludes(&key(name)), "{name}");
    }
    for name in included {
        assert!(!filter.excludes(&key(name)), "{name}");
    }
}

#[test]
fn excluding_everything_keeps_what_a_later_rule_includes() {
    let filter = filter(&[exclude("/*"), include("/src/")]);
    assert!(filter.excludes(&key("doc/")));
    assert!(filter.excludes(&key("src")), "a file of the directory's name");
    assert!(!filter.excludes_within(&key("src/")));
    assert!(!filter.excludes_within(&key("src/deep/file")));
}

#[test]
fn an_entry_below_an_excluded_directory_cannot_be_included_again() {
    let filter = filter(&[exclude("build/"), include("build/keep")]);
    assert!(!filter.excludes(&key("build/keep")), "its parents are taken as included");
    for within in ["build/keep", "build/", "x/build/y/z", "x/build/y/"] {
        assert!(filter.excludes_within(&key(within)), "{within}");
    }
    for outside in ["build", "builds/x", "x/y/", ""] {
        assert!(!filter.excludes_within(&key(outside)), "{outside}");
    }
}

#[test]
fn the_rule_that_decides_is_reported() {
    let rules = [exclude("*.log"), include("keep.log"), exclude("build/"), include("*.rs")];
    let filter = filter(&rules);
    let decided = |name: &str| {
        let matched = filter.matched_rule(&key(name))?;
        Some((matched.key.to_string(), matched.rule, matched.excludes))
    };
    assert_eq!(decided("a/x.log"), Some(("a/x.log".into(), 0, true)));
    assert_eq!(decided("a/keep.log"), Some(("a/keep.log".into(), 1, false)));
    assert_eq!(decided("a/build/b/x.rs"), Some(("a/build/".into(), 2, true)));
    assert_eq!(decided("a/b/x.rs"), Some(("a/b/x.rs".into(), 3, false)));
    assert_eq!(decided("build"), None, "no directory");
    assert_eq!(decided(""), None);
}

#[test]
fn the_root_always_takes_part() {
    for pattern in ["*", "**", "/*", "**/", "/**"] {
        let filter = filter(&[exclude(pattern)]);
        assert!(!filter.excludes(&Key::root()), "{pattern}");
        assert!(!filter.excludes_within(&Key::root()), "{pattern}");
    }
}

#[test]
fn without_rules_everything_takes_part() {
    let filter = Filter::default();
    assert!(!filter.has_patterns());
    assert!(!filter.excludes(&key("a")) && !filter.excludes_within(&key("a/b")));
    assert!(!filter.excludes_file(&file(0, 0)) && !filter.excludes_file(&file(u64::MAX, 0)));
}

#[test]
fn sizes_are_bounded_inclusively() {
    let filter = Filter::new(&[], Some(10), Some(20)).unwrap();
    let excluded: Vec<_> =
        [9, 10, 20, 21].into_iter().filter(|&size| filter.excludes_file(&file(size, 0))).collect();
    assert_eq!(excluded, [9, 21]);
    assert!(Filter::new(&[], Some(10), Some(10)).is_ok());
    let error = Filter::new(&[], Some(2), Some(1)).unwrap_err();
    assert_eq!(error.to_string(), "the smallest size (2 bytes) is above the largest (1 bytes)");
}

#[test]
fn ages_concern_files_alone_and_are_kept_as_times() {
    let at = |seconds| Timestamp { seconds, nanos: 0 };
    let spec = FilterSpec {
        modified_since: Some(at(10)),
        modified_before: Some(at(20)),
        ..FilterSpec::default()
    };
    let recorded = serde_json::to_string(&spec).unwrap();
    let filter: Filter = serde_json::from_str(&recorded).unwrap();
    let excluded: Vec<_> =
        [9, 10, 19, 20].into_iter().filter(|&time| filter.excludes_file(&file(1, time))).collect();
    assert_eq!(excluded, [9, 20]);
    let directory = Entry { kind: EntryKind::Directory, ..file(1, 0) };
    assert!(!filter.excludes_file(&directory));
    assert!(filter.excludes_by_age_alone(&file(1, 9)));
    let none = FilterSpec { modified_since: Some(at(20)), ..spec };
    assert!(Filter::try_from(none).is_err());
}

#[test]
fn what_earlier_versions_recorded_of_a_filter_is_understood() {
    let earlier = r#"{"rules":[{"exclude":"*.o"}],"min_size":null,"max_size":5}"#;
    let spec: FilterSpec = serde_json::from_str(earlier).unwrap();
    assert_eq!(spec.max_size, Some(5));
    assert_eq!(serde_json::to_string(&spec).unwrap(), earlier, "what isn't used isn't recorded");
}

#[test]
fn a_name_that_excludes_a_directory_is_one_name() {
    for name in ["", ".", "..", "a/b", "a\0"] {
        let directories =
            DirectoryRules { exclude_if_present: vec![name.into()], ..DirectoryRules::default() };
        let spec = FilterSpec { directories, ..FilterSpec::default() };
        assert!(matches!(Filter::try_from(spec), Err(FilterError::Name { .. })), "{name:?}");
    }
}

#[test]
fn patterns_that_match_nothing_are_refused_with_the_reason() {
    let table = [
        ("", "is empty"),
        ("  ", "is empty"),
        ("!a", "without the \"!\""),
        ("#a", "is a comment"),
        ("/", "names the root"),
        ("./a", "matches nothing"),
        ("../a", "matches nothing"),
        ("a//b", "matches nothing"),
        ("\t", "is white space alone"),
        ("a[", "without its \"]\""),
        ("[]", "without its \"]\""),
        ("[[:digit:]", "without its \"]\""),
        ("[[:digits:]]", "has a set with the unknown class \"[:digits:]\""),
        ("[z-a]", "has a range that ends before it begins, \"z-a\""),
        ("[z-\\a]", "has a range that ends before it begins, \"z-a\""),
        ("[é]", "characters beyond ASCII"),
        ("[a-é]", "characters beyond ASCII"),
        ("{a", "without its \"}\""),
        ("{a,{b}", "without its \"}\""),
        ("{,a}", "is empty"),
        ("a\\", "escapes nothing"),
        ("b\\/", "escapes nothing"),
        ("{b\\/,c}", "escapes nothing"),
        (&"{a,b}".repeat(10), "more than 1000 alternatives"),
        ("/a**", "after part of a name"),
        ("a**/b", "after part of a name"),
        (&"*a".repeat(61), "more than 60 stars"),
    ];
    for (pattern, problem) in table {
        for rule in [exclude(pattern), include(pattern)] {
            let error = Filter::new(&[exclude("fine"), rule], None, None).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with(&format!("pattern \"{}\" ", Escaped(pattern.as_bytes()))));
            assert!(text.contains(problem), "{text}");
        }
    }
}

#[test]
fn a_broken_pattern_is_printed_without_control_characters() {
    let error = Filter::new(&[exclude("[9-\u{1b}]")], None, None).unwrap_err().to_string();
    assert!(error.contains("\\u{1b}") && !error.contains('\u{1b}'), "{error:?}");
}

#[test]
fn a_filter_survives_serialisation() {
    let original = Filter::new(&[exclude("*.o"), include("\\#x ")], Some(1), None).unwrap();
    let json = serde_json::to_string(&original).unwrap();
    assert_eq!(
        json,
        r#"{"rules":[{"exclude":"*.o"},{"include":"\\#x "}],"min_size":1,"max_size":null}"#
    );
    let again: Filter = serde_json::from_str(&json).unwrap();
    assert_eq!(again.spec(), original.spec());
    assert!(again.excludes(&key("a.o")));
    assert!(serde_json::from_str::<Filter>(r#"{"rules":[{"exclude":"!a"}]}"#).is_err());
}
