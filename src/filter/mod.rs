//! Filters: which entries take part in a mirror.
//!
//! A [`Filter`] is a list of rules in gitignore's language, and bounds on the size of files. Of the
//! rules that match a key the last one decides, whether it excludes or includes; a key that none
//! matches takes part, and so does the root, always. The rules are those of gitignore(5): a leading
//! `/` (or one within) anchors a pattern at the root, `**` spans directories, a trailing `/` takes
//! directories only, and a pattern without an inner `/` matches at any depth. Two things differ:
//! `{a,b}` is an alternative here (a brace itself is `\{`), and what gitignore passes over in silence
//! (an empty pattern, a comment, an unclosed `[`) is an error.
//!
//! Matching is on bytes: a key need not be UTF-8, and `?` stands for one byte.

use crate::model::Key;
use crate::model::key::{Escaped, printable};
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder, Glob};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// One pattern and what it does to the keys that it matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// They don't take part.
    Exclude(String),
    /// They take part, though a rule before excludes them.
    Include(String),
}

impl Rule {
    fn pattern(&self) -> &str {
        match self {
            Self::Exclude(pattern) | Self::Include(pattern) => pattern,
        }
    }
}

/// What a filter is made of, as plain data: what a run's record keeps of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FilterSpec {
    /// The rules, in order; the last that matches decides.
    pub rules: Vec<Rule>,
    /// The smallest file that takes part, in bytes.
    pub min_size: Option<u64>,
    /// The largest file that takes part, in bytes.
    pub max_size: Option<u64>,
}

/// The rule that decides whether an entry takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// What it matches: the entry, or the directory above it that it excludes with all in it.
    pub key: Key,
    /// Which of [`Filter::rules`] it is.
    pub rule: usize,
    /// Whether it excludes.
    pub excludes: bool,
}

/// Why a filter can't be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// A pattern is none.
    #[error("pattern \"{}\" {problem}", Escaped(pattern.as_bytes()))]
    Pattern {
        /// The pattern as it was given.
        pattern: String,
        /// What is wrong with it, behind its name.
        problem: String,
    },
    /// No size can satisfy both bounds.
    #[error("the smallest size ({min} bytes) is above the largest ({max} bytes)")]
    Sizes {
        /// The lower bound.
        min: u64,
        /// The upper bound.
        max: u64,
    },
}

/// Which entries take part; by default, all.
///
/// Serialises as its [`FilterSpec`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "FilterSpec", into = "FilterSpec")]
pub struct Filter {
    spec: FilterSpec,
    patterns: Gitignore,
}

impl Default for Filter {
    fn default() -> Self {
        Self { spec: FilterSpec::default(), patterns: Gitignore::empty() }
    }
}

impl TryFrom<FilterSpec> for Filter {
    type Error = FilterError;

    fn try_from(spec: FilterSpec) -> Result<Self, FilterError> {
        if let (Some(min), Some(max)) = (spec.min_size, spec.max_size)
            && min > max
        {
            return Err(FilterError::Sizes { min, max });
        }
        let patterns = compile(&spec.rules)?;
        Ok(Self { spec, patterns })
    }
}

impl From<Filter> for FilterSpec {
    fn from(filter: Filter) -> Self {
        filter.spec
    }
}

impl Filter {
    /// Makes a filter of rules, and of the smallest and the largest size in bytes that take part.
    ///
    /// # Errors
    /// A pattern that is empty, a comment, negated with `!`, begins with `./` or `../`, names the
    /// root or is broken; a smallest size above the largest.
    pub fn new(
        rules: &[Rule],
        min_size: Option<u64>,
        max_size: Option<u64>,
    ) -> Result<Self, FilterError> {
        FilterSpec { rules: rules.to_vec(), min_size, max_size }.try_into()
    }

    /// What it is made of.
    pub fn spec(&self) -> &FilterSpec {
        &self.spec
    }

    /// The rules, in order.
    pub fn rules(&self) -> &[Rule] {
        &self.spec.rules
    }

    /// The smallest file that takes part, in bytes.
    pub fn min_size(&self) -> Option<u64> {
        self.spec.min_size
    }

    /// The largest file that takes part, in bytes.
    pub fn max_size(&self) -> Option<u64> {
        self.spec.max_size
    }

    /// Whether there are rules; without, no key is excluded.
    pub fn has_patterns(&self) -> bool {
        !self.spec.rules.is_empty()
    }

    /// Whether the rules exclude the entry itself, the directories above it taken as included: what
    /// a walker asks that doesn't enter excluded directories.
    pub fn excludes(&self, key: &Key) -> bool {
        self.excludes_bytes(key.as_bytes())
    }

    /// Whether the rules exclude the entry or any directory above it. An entry below an excluded
    /// directory can't be included again.
    pub fn excludes_within(&self, key: &Key) -> bool {
        self.has_patterns() && downwards(key).any(|within| self.excludes_bytes(within))
    }

    /// The rule that decides: the one that excludes the outermost excluded directory above the entry,
    /// else the last that matches the entry itself; `None` where none does.
    pub fn ruling(&self, key: &Key) -> Option<Ruling> {
        let ruling = |bytes: &[u8]| {
            let (rule, excludes) = match self.matched(bytes) {
                Match::None => return None,
                Match::Ignore(rule) => (rule, true),
                Match::Whitelist(rule) => (rule, false),
            };
            let rule = rule.from()?.to_str()?.parse().ok()?;
            Some(Ruling { key: Key::new(bytes), rule, excludes })
        };
        let excluding =
            downwards(key).find_map(|within| ruling(within).filter(|ruling| ruling.excludes));
        excluding.or_else(|| ruling(key.as_bytes()))
    }

    /// Whether a regular file of so many bytes is excluded for its size.
    pub fn excludes_size(&self, size: u64) -> bool {
        self.spec.min_size.is_some_and(|min| size < min)
            || self.spec.max_size.is_some_and(|max| size > max)
    }

    fn excludes_bytes(&self, key: &[u8]) -> bool {
        self.matched(key).is_ignore()
    }

    /// The last rule that matches an entry.
    fn matched(&self, key: &[u8]) -> Match<&Glob> {
        if !self.has_patterns() || key.is_empty() {
            return Match::None;
        }
        let (path, is_directory) = match key.strip_suffix(b"/") {
            Some(path) => (path, true),
            None => (key, false),
        };
        self.patterns.matched(OsStr::from_bytes(path), is_directory)
    }
}

/// The directories above an entry, the outermost first, and then the entry itself.
fn downwards(key: &Key) -> impl Iterator<Item = &[u8]> {
    let bytes = key.as_bytes();
    bytes.split_inclusive(|&byte| byte == b'/').scan(0, |end, component| {
        *end += component.len();
        Some(&bytes[..*end])
    })
}

fn compile(rules: &[Rule]) -> Result<Gitignore, FilterError> {
    // The root `.` is the one that `Gitignore` doesn't strip from the keys it is asked about.
    let mut builder = GitignoreBuilder::new(".");
    builder.allow_unclosed_class(false);
    for (number, rule) in rules.iter().enumerate() {
        // Where a pattern comes from, in the words of gitignore: here its number.
        let from = Some(PathBuf::from(number.to_string()));
        let pattern = rule.pattern();
        let refuse =
            |problem: String| FilterError::Pattern { pattern: pattern.to_owned(), problem };
        if let Some(problem) = misuse(pattern) {
            return Err(refuse(problem.to_owned()));
        }
        let added = match rule {
            Rule::Exclude(_) => builder.add_line(from, pattern),
            Rule::Include(_) => builder.add_line(from, &format!("!{pattern}")),
        };
        added.map_err(|error| refuse(broken(error)))?;
    }
    builder.build().map_err(|error| FilterError::Pattern {
        pattern: rules.iter().map(Rule::pattern).collect::<Vec<_>>().join("\", \""),
        problem: broken(error),
    })
}

/// Names what gitignore would take for something else than a pattern, or for one that matches
/// nothing.
fn misuse(pattern: &str) -> Option<&'static str> {
    let shown = pattern.trim_end();
    if shown.is_empty() {
        Some("is empty")
    } else if pattern.starts_with('!') {
        Some(
            "begins with \"!\": use --include to include and --exclude to exclude; for a name that \
             begins with \"!\" write \"\\!\"",
        )
    } else if pattern.starts_with('#') {
        Some("is a comment; for a name that begins with \"#\" write \"\\#\"")
    } else if shown.bytes().all(|byte| byte == b'/') {
        Some("names the root, which always takes part")
    } else if shown.starts_with("./") || shown.starts_with("../") || shown == "." || shown == ".." {
        Some("matches nothing: patterns begin at the root, without \".\" or \"..\"")
    } else if shown.contains("//") {
        Some("matches nothing: no name is empty, as between two \"/\"")
    } else {
        None
    }
}

fn broken(error: ignore::Error) -> String {
    // They quote the pattern, which may be a stranger's: a manifest has the filter of its run.
    printable(match error {
        ignore::Error::Glob { err, .. } => format!("is broken: {err}"),
        other => format!("is broken: {other}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exclude(pattern: &str) -> Rule {
        Rule::Exclude(pattern.to_owned())
    }

    fn include(pattern: &str) -> Rule {
        Rule::Include(pattern.to_owned())
    }

    fn filter(rules: &[Rule]) -> Filter {
        Filter::new(rules, None, None).unwrap()
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
    fn an_anchored_whole_exclusion_keeps_what_is_included_after_it() {
        let filter = filter(&[exclude("/*"), include("/src/")]);
        assert!(filter.excludes(&key("doc/")));
        assert!(filter.excludes(&key("src")), "a file of the directory's name");
        assert!(!filter.excludes_within(&key("src/")));
        assert!(!filter.excludes_within(&key("src/deep/file")));
    }

    #[test]
    fn an_entry_below_an_excluded_directory_is_excluded_whatever_includes_it() {
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
    fn the_rule_that_decides_is_told() {
        let rules = [exclude("*.log"), include("keep.log"), exclude("build/"), include("*.rs")];
        let filter = filter(&rules);
        let told = |name: &str| {
            let ruling = filter.ruling(&key(name))?;
            Some((ruling.key.to_string(), ruling.rule, ruling.excludes))
        };
        assert_eq!(told("a/x.log"), Some(("a/x.log".into(), 0, true)));
        assert_eq!(told("a/keep.log"), Some(("a/keep.log".into(), 1, false)));
        assert_eq!(told("a/build/b/x.rs"), Some(("a/build/".into(), 2, true)));
        assert_eq!(told("a/b/x.rs"), Some(("a/b/x.rs".into(), 3, false)));
        assert_eq!(told("build"), None, "no directory");
        assert_eq!(told(""), None);
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
        assert!(!filter.excludes_size(0) && !filter.excludes_size(u64::MAX));
    }

    #[test]
    fn sizes_are_bounded_inclusively() {
        let filter = Filter::new(&[], Some(10), Some(20)).unwrap();
        let excluded: Vec<_> =
            [9, 10, 20, 21].into_iter().filter(|&s| filter.excludes_size(s)).collect();
        assert_eq!(excluded, [9, 21]);
        assert!(Filter::new(&[], Some(10), Some(10)).is_ok());
        let error = Filter::new(&[], Some(2), Some(1)).unwrap_err();
        assert_eq!(error.to_string(), "the smallest size (2 bytes) is above the largest (1 bytes)");
    }

    #[test]
    fn patterns_that_would_match_nothing_are_refused_by_name() {
        let table = [
            ("", "is empty"),
            ("  ", "is empty"),
            ("!a", "use --include"),
            ("#a", "is a comment"),
            ("/", "names the root"),
            ("./a", "matches nothing"),
            ("../a", "matches nothing"),
            ("a//b", "matches nothing"),
            ("a[", "is broken"),
            ("[z-a]", "is broken"),
            ("{a", "is broken"),
            ("a\\", "is broken"),
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
    fn a_pattern_that_is_broken_is_named_without_what_would_move_a_cursor() {
        let error = Filter::new(&[exclude("[9-\u{1b}]")], None, None).unwrap_err().to_string();
        assert!(error.contains("\\u{1b}") && !error.contains('\u{1b}'), "{error:?}");
    }

    #[test]
    fn a_filter_survives_its_record() {
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
}

#[cfg(test)]
mod fuzz {
    use super::*;
    use crate::model::fuzz::{Input, assert_printable, config, inputs};
    use proptest::prelude::*;

    /// Every other pattern includes.
    fn rules() -> impl Strategy<Value = Vec<Rule>> {
        let rule = (inputs("filter"), any::<bool>()).prop_map(|(Input(bytes), includes)| {
            let pattern = String::from_utf8_lossy(&bytes).into_owned();
            if includes { Rule::Include(pattern) } else { Rule::Exclude(pattern) }
        });
        prop::collection::vec(rule, 0..4)
    }

    /// Names that patterns of the corpus match, or nearly.
    const NAMES: [&str; 17] = [
        "a",
        "b",
        "build",
        "cache",
        "docs",
        "src",
        "x.tmp",
        "z.o",
        "foo.log",
        "caf\u{e9}",
        "9x",
        ".a",
        "#sharp",
        "node_modules",
        "\n",
        "a b",
        "trailing ",
    ];

    /// Keys of the names that the patterns of the corpus have, some of them directories.
    fn keys() -> impl Strategy<Value = Vec<Key>> {
        let name = prop_oneof![
            prop::sample::select(&NAMES[..]).prop_map(|name| name.as_bytes().to_vec()),
            prop::collection::vec(1..=255_u8, 1..4),
        ];
        let legal = |name: &Vec<u8>| !name.contains(&b'/') && name != b"." && name != b"..";
        let path = prop::collection::vec(name.prop_filter("a name", legal), 1..5);
        let key = (path, any::<bool>()).prop_map(|(path, is_directory)| {
            let mut bytes = path.join(&b'/');
            bytes.extend(is_directory.then_some(b'/'));
            Key::new(bytes)
        });
        prop::collection::vec(key, 1..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: config().cases / 4, ..config() })]

        /// What is decided of a directory holds for all that lies below it, a filter that was
        /// recorded decides as the one that it was, and the last rule has the last word.
        #[test]
        fn whatever_the_patterns_decisions_agree(rules in rules(), keys in keys()) {
            let filter = match Filter::new(&rules, None, None) {
                Ok(filter) => filter,
                Err(error) => {
                    assert_printable(&error);
                    return Ok(());
                }
            };
            let json = serde_json::to_string(&filter).unwrap();
            let recorded: Filter = serde_json::from_str(&json).unwrap();
            let all = [&rules[..], &[Rule::Exclude("*".to_owned())]].concat();
            let all = Filter::new(&all, None, None).unwrap();
            let none = [&rules[..], &[Rule::Include("*".to_owned())]].concat();
            let none = Filter::new(&none, None, None).unwrap();
            for key in keys {
                let is_within = filter.excludes_within(&key);
                prop_assert_eq!(recorded.excludes_within(&key), is_within);
                prop_assert_eq!(recorded.excludes(&key), filter.excludes(&key));
                prop_assert!(is_within || !filter.excludes(&key), "{:?}", key);
                prop_assert!(all.excludes(&key) && !none.excludes_within(&key), "{:?}", key);
                let parent = Key::new(key.parent());
                if filter.excludes_within(&parent) {
                    prop_assert!(is_within, "{:?} below {:?}", key, parent);
                } else {
                    prop_assert_eq!(is_within, filter.excludes(&key), "{:?}", key);
                }
            }
        }
    }
}
