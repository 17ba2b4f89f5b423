//! Filters: which entries take part in a mirror.
//!
//! A [`Filter`] is a list of rules in gitignore's language, and bounds on the size of files. Of the
//! rules that match a key the last one decides, whether it excludes or includes; a key that none
//! matches takes part, and so does the root, always. The rules are those of gitignore(5), matched as
//! git does: a leading `/` (or one within) anchors a pattern at the root, `**` spans directories, a
//! trailing `/` takes directories only, and a pattern without an inner `/` matches at any depth. Two
//! things differ: `{a,b}` stands for two patterns here (a brace itself is `\{`), and what git passes
//! over in silence (an empty pattern, a comment, an unclosed `[`) is an error.
//!
//! Matching is on bytes: a key need not be UTF-8, and `?` stands for one byte.

mod pattern;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;

use crate::model::Key;
use crate::model::key::Escaped;
use pattern::Pattern;
use serde::{Deserialize, Serialize};

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
    /// The pattern.
    pub fn pattern(&self) -> &str {
        match self {
            Self::Exclude(pattern) | Self::Include(pattern) => pattern,
        }
    }

    fn excludes(&self) -> bool {
        matches!(self, Self::Exclude(_))
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
pub struct MatchedRule {
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
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "FilterSpec", into = "FilterSpec")]
pub struct Filter {
    spec: FilterSpec,
    /// One a rule.
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
    pub fn ruling(&self, key: &Key) -> Option<MatchedRule> {
        let ruling = |bytes: &[u8]| {
            let rule = self.matching(bytes)?;
            Some(MatchedRule {
                key: Key::new(bytes),
                rule,
                excludes: self.spec.rules[rule].excludes(),
            })
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
        self.matching(key).is_some_and(|rule| self.spec.rules[rule].excludes())
    }

    /// The last rule that matches an entry.
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

/// The directories above an entry, the outermost first, and then the entry itself.
fn downwards(key: &Key) -> impl Iterator<Item = &[u8]> {
    let bytes = key.as_bytes();
    bytes.split_inclusive(|&byte| byte == b'/').scan(0, |end, component| {
        *end += component.len();
        Some(&bytes[..*end])
    })
}
