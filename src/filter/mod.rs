//! Filters: which entries take part in a mirror.
//!
//! A [`Filter`] is a list of rules in gitignore's language, and bounds on the size of files. The
//! last rule that matches a key decides whether it is excluded or included. A key that no rule
//! matches takes part, and the root always does. Patterns follow gitignore(5), matched as git does:
//! a leading `/` (or one within) anchors a pattern at the root, `**` spans directories, a trailing
//! `/` takes directories only, and a pattern without an inner `/` matches at any depth. Two things
//! differ: `{a,b}` stands for two patterns here (a brace itself is `\{`), and what git silently
//! ignores (an empty pattern, a comment, an unclosed `[`) is an error.
//!
//! Matching is on bytes: a key need not be UTF-8, and `?` matches one byte.

mod pattern;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;

use crate::model::Key;
use crate::model::key::Escaped;
use pattern::Pattern;
use serde::{Deserialize, Serialize};

/// A pattern, and what happens to the keys that it matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Matching keys don't take part.
    Exclude(String),
    /// Matching keys take part, even if an earlier rule excludes them.
    Include(String),
}

impl Rule {
    /// Returns the pattern.
    pub fn pattern(&self) -> &str {
        match self {
            Self::Exclude(pattern) | Self::Include(pattern) => pattern,
        }
    }

    fn excludes(&self) -> bool {
        matches!(self, Self::Exclude(_))
    }
}

/// The definition of a filter as plain data, as a run records it.
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
pub struct MatchedRule {
    /// The key that the rule matches: the entry itself, or a directory above it that is excluded
    /// with everything in it.
    pub key: Key,
    /// The rule's index in [`Filter::rules`].
    pub rule: usize,
    /// Whether the rule excludes.
    pub excludes: bool,
}

/// Why a filter can't be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// A pattern is illegal.
    #[error("pattern \"{}\" {problem}", Escaped(pattern.as_bytes()))]
    Pattern {
        /// The pattern as given.
        pattern: String,
        /// What is wrong with it, as the end of a sentence that begins with the pattern.
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
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "FilterSpec", into = "FilterSpec")]
pub struct Filter {
    spec: FilterSpec,
    /// The parsed pattern of each rule.
    patterns: Vec<Pattern>,
}

impl TryFrom<FilterSpec> for Filter {
    type Error = FilterError;

    fn try_from(spec: FilterSpec) -> Result<Self, FilterError> {
        if let (Some(min), Some(max)) = (spec.min_size, spec.max_size)
            && min > max
        {
            return Err(FilterError::Sizes { min, max });
        }
        let compile = |rule: &Rule| {
            Pattern::parse(rule.pattern()).map_err(|problem| FilterError::Pattern {
                pattern: rule.pattern().to_owned(),
                problem: problem.to_string(),
            })
        };
        let patterns = spec.rules.iter().map(compile).collect::<Result<_, _>>()?;
        Ok(Self { spec, patterns })
    }
}

impl From<Filter> for FilterSpec {
    fn from(filter: Filter) -> Self {
        filter.spec
    }
}

impl Filter {
    /// Makes a filter from rules and the smallest and largest file size in bytes that take part.
    ///
    /// # Errors
    /// Fails for a pattern that is empty, a comment, negated with `!`, begins with `./` or `../`,
    /// names the root or is broken, and for a smallest size above the largest.
    pub fn new(
        rules: &[Rule],
        min_size: Option<u64>,
        max_size: Option<u64>,
    ) -> Result<Self, FilterError> {
        FilterSpec { rules: rules.to_vec(), min_size, max_size }.try_into()
    }

    /// Returns the filter's definition.
    pub fn spec(&self) -> &FilterSpec {
        &self.spec
    }

    /// Returns the rules, in order.
    pub fn rules(&self) -> &[Rule] {
        &self.spec.rules
    }

    /// Returns whether there are rules; without any, no key is excluded.
    pub fn has_patterns(&self) -> bool {
        !self.spec.rules.is_empty()
    }

    /// Returns whether the rules exclude the entry itself, assuming that the directories above it
    /// are included. This is enough for a walker that doesn't enter excluded directories.
    pub fn excludes(&self, key: &Key) -> bool {
        self.excludes_bytes(key.as_bytes())
    }

    /// Returns whether the rules exclude the entry or any directory above it. An entry below an
    /// excluded directory can't be included again.
    pub fn excludes_within(&self, key: &Key) -> bool {
        self.has_patterns() && downwards(key).any(|within| self.excludes_bytes(within))
    }

    /// Returns the rule that decides: the one that excludes the outermost excluded directory above
    /// the entry, else the last that matches the entry itself; `None` if no rule matches.
    pub fn matched_rule(&self, key: &Key) -> Option<MatchedRule> {
        let matched = |bytes: &[u8]| {
            let rule = self.matching(bytes)?;
            Some(MatchedRule {
                key: Key::new(bytes),
                rule,
                excludes: self.spec.rules[rule].excludes(),
            })
        };
        let excluding =
            downwards(key).find_map(|within| matched(within).filter(|rule| rule.excludes));
        excluding.or_else(|| matched(key.as_bytes()))
    }

    /// Returns whether a regular file of `size` bytes is excluded by the size bounds.
    pub fn excludes_size(&self, size: u64) -> bool {
        self.spec.min_size.is_some_and(|min| size < min)
            || self.spec.max_size.is_some_and(|max| size > max)
    }

    fn excludes_bytes(&self, key: &[u8]) -> bool {
        self.matching(key).is_some_and(|rule| self.spec.rules[rule].excludes())
    }

    /// Returns the index of the last rule that matches an entry.
    fn matching(&self, key: &[u8]) -> Option<usize> {
        if key.is_empty() {
            return None;
        }
        let (path, is_directory) = match key.strip_suffix(b"/") {
            Some(path) => (path, true),
            None => (key, false),
        };
        self.patterns.iter().rposition(|pattern| pattern.matches(path, is_directory))
    }
}

/// Returns the directories above an entry, outermost first, and then the entry itself.
fn downwards(key: &Key) -> impl Iterator<Item = &[u8]> {
    let bytes = key.as_bytes();
    bytes.split_inclusive(|&byte| byte == b'/').scan(0, |end, component| {
        *end += component.len();
        Some(&bytes[..*end])
    })
}
