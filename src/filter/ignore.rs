//! Ignore files: rules that directories of the source hold for what lies below them.

use super::pattern::Pattern;
use super::{Filter, downwards};
use crate::model::Key;
use crate::model::key::Escaped;
use std::sync::Arc;

/// The name of a directory's ignore file.
pub const IGNORE_FILE: &str = ".vidimusignore";

/// In bytes: the largest ignore file that is read.
pub const LARGEST_IGNORE_FILE: u64 = 1 << 20;

/// The rules of a directory's ignore file, over those of the directories above it.
///
/// As with gitignore, the rules of the innermost directory go before those above it, and of one
/// file the last that matches decides. Rules of the filter itself go before all of them.
#[derive(Clone, Debug)]
pub struct IgnoreRules {
    directory: Key,
    rules: Vec<IgnoreRule>,
    above: Option<Arc<Self>>,
    filter: Arc<Filter>,
}

#[derive(Clone, Debug)]
struct IgnoreRule {
    pattern: Pattern,
    /// Whether what matches takes part after all (`!`).
    is_negated: bool,
}

/// A line of an ignore file that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of its {IGNORE_FILE}: the pattern \"{}\" {problem}", Escaped(pattern))]
pub struct IgnoreError {
    /// The number of the line, from 1.
    pub line: usize,
    /// The pattern.
    pub pattern: Box<[u8]>,
    /// What is wrong with it, as the end of a sentence that begins with the pattern.
    pub problem: String,
}

impl IgnoreRules {
    /// Parses the ignore file of a directory. Its patterns are relative to that directory; `!`
    /// before one takes back what others ignore. Empty lines and lines that begin with `#` say
    /// nothing.
    ///
    /// # Errors
    /// Fails for a pattern that is broken or can't match anything.
    pub fn parse(
        directory: &Key,
        text: &[u8],
        above: Option<&Arc<Self>>,
        filter: &Arc<Filter>,
    ) -> Result<Self, IgnoreError> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut rules = Vec::new();
        for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.starts_with(b"#") || line.iter().all(|&byte| byte == b' ') {
                continue;
            }
            let (pattern, is_negated) = match line.strip_prefix(b"!") {
                Some(pattern) => (pattern, true),
                None => (line, false),
            };
            let pattern = Pattern::parse_bytes(pattern).map_err(|problem| IgnoreError {
                line: at + 1,
                pattern: pattern.into(),
                problem: problem.to_string(),
            })?;
            rules.push(IgnoreRule { pattern, is_negated });
        }
        let (above, filter) = (above.cloned(), Arc::clone(filter));
        Ok(Self { directory: directory.clone(), rules, above, filter })
    }

    /// Returns the directory whose ignore file it is.
    pub fn directory(&self) -> &Key {
        &self.directory
    }

    /// Returns whether the rules exclude an entry below the directory, assuming that the
    /// directories above the entry are included.
    pub fn excludes(&self, key: &Key) -> bool {
        self.excludes_bytes(key.as_bytes())
    }

    /// Returns whether the rules exclude an entry below the directory, or one of the directories
    /// that contain the entry. An entry in an excluded directory can't be included again.
    pub fn excludes_within(&self, key: &Key) -> bool {
        downwards(key).any(|within| self.excludes_bytes(within))
    }

    fn excludes_bytes(&self, key: &[u8]) -> bool {
        // What an option says of the entry itself goes before.
        if self.filter.matching(key).is_some() {
            return false;
        }
        let mut next = Some(self);
        while let Some(here) = next {
            if let Some(is_negated) = here.matching(key) {
                return !is_negated;
            }
            next = here.above.as_deref();
        }
        false
    }

    /// Returns whether the last rule of this file that matches is negated, if one matches.
    fn matching(&self, key: &[u8]) -> Option<bool> {
        let below = key.strip_prefix(self.directory.as_bytes()).filter(|path| !path.is_empty())?;
        let (path, is_directory) = match below.strip_suffix(b"/") {
            Some(path) => (path, true),
            None => (below, false),
        };
        let matches = |rule: &&IgnoreRule| rule.pattern.matches(path, is_directory);
        self.rules.iter().rev().find(matches).map(|rule| rule.is_negated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Rule;

    fn rules(at: &str, text: &str, above: Option<&Arc<IgnoreRules>>) -> Arc<IgnoreRules> {
        let filter = Arc::new(Filter::default());
        let key = Key::new(at.as_bytes());
        Arc::new(IgnoreRules::parse(&key, text.as_bytes(), above, &filter).expect("rules"))
    }

    fn ignored(rules: &IgnoreRules, key: &str) -> bool {
        rules.excludes_within(&Key::new(key.as_bytes()))
    }

    #[test]
    fn patterns_are_relative_to_their_directory_and_the_last_decides() {
        let rules = rules("d/", "# a comment\n\n*.o\r\n/top\nsub/\n!keep.o\n\\#hash\n", None);
        for (key, is_ignored) in [
            ("d/a.o", true),
            ("d/e/a.o", true),
            ("d/keep.o", false),
            ("a.o", false),
            ("d/top", true),
            ("d/e/top", false),
            ("d/sub", false),
            ("d/sub/", true),
            ("d/sub/keep.o", true),
            ("d/#hash", true),
            ("d/", false),
            ("", false),
        ] {
            assert_eq!(ignored(&rules, key), is_ignored, "{key}");
        }
    }

    #[test]
    fn inner_rules_go_before_outer_ones_and_options_before_both() {
        let outer = rules("", "*.o\nx/\n", None);
        let inner = rules("d/", "!*.o\n*.c\n", Some(&outer));
        for (key, is_ignored) in
            [("a.o", true), ("d/a.o", false), ("d/a.c", true), ("d/x/", true), ("d/x/a.o", true)]
        {
            assert_eq!(ignored(&inner, key), is_ignored, "{key}");
        }
        let include = [Rule::Include("a.c".into()), Rule::Exclude("*.h".into())];
        let filter = Arc::new(Filter::new(&include, None, None).expect("a filter"));
        let rules = IgnoreRules::parse(&Key::root(), b"*.c\n*.h\n", None, &filter).expect("rules");
        assert!(!ignored(&rules, "a.c") && ignored(&rules, "b.c"));
        // The filter excludes it itself.
        assert!(!ignored(&rules, "b.h"));
    }

    #[test]
    fn a_line_that_is_no_pattern_is_named() {
        let filter = Arc::default();
        let broken = IgnoreRules::parse(&Key::root(), b"a\n\n[b\n", None, &filter);
        let error = broken.expect_err("no pattern");
        assert_eq!(error.line, 3);
        assert!(error.to_string().starts_with("line 3 of its .vidimusignore: the pattern \"[b\""));
    }
}
