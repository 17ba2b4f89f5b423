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

mod ignore;
mod names;
mod pattern;

pub use ignore::{IGNORE_FILE, IgnoreRules, LARGEST_IGNORE_FILE};
pub use names::{Extent, Missing, NameForm, NameList, NameListText, Separator};

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;

use crate::model::key::Escaped;
use crate::model::{Entry, EntryKind, Key, Timestamp};
use pattern::Pattern;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
    /// The time from which on a modified file doesn't take part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified_before: Option<Timestamp>,
    /// The time before which a modified file doesn't take part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified_since: Option<Timestamp>,
    /// Which directories of the source take part, by what they hold or lie on.
    #[serde(skip_serializing_if = "DirectoryRules::is_empty")]
    pub directories: DirectoryRules,
    /// Whether only the names of a list take part. The list itself isn't recorded.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_listed: bool,
}

/// Which directories of the source take part with what they hold. What doesn't is unknown to a run,
/// not absent: nothing below it is deleted from the target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DirectoryRules {
    /// Directories on which another file system is mounted take part without what they hold.
    pub one_file_system: bool,
    /// Directories with a [cache tag](https://bford.info/cachedir/) take part with that alone.
    pub exclude_caches: bool,
    /// Directories that hold an entry of one of these names take part with that alone.
    pub exclude_if_present: Vec<String>,
    /// What a directory's [ignore file](IGNORE_FILE) names, and those above it, takes no part.
    pub ignore_files: bool,
}

impl DirectoryRules {
    /// Returns whether all directories take part.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
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
    /// No time can satisfy both bounds.
    #[error("the smallest age is above the largest: no file is both")]
    Ages,
    /// A name that no entry of a directory can have.
    #[error("\"{}\" is no name of a file", Escaped(name.as_bytes()))]
    Name {
        /// The name as given.
        name: String,
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
    /// The names that take part, if not all do.
    names: Option<Arc<NameList>>,
    /// Whether what directories' rules exclude is absent, and not unknown.
    deletes_excluded: bool,
}

impl TryFrom<FilterSpec> for Filter {
    type Error = FilterError;

    fn try_from(spec: FilterSpec) -> Result<Self, FilterError> {
        if let (Some(min), Some(max)) = (spec.min_size, spec.max_size)
            && min > max
        {
            return Err(FilterError::Sizes { min, max });
        }
        if let (Some(before), Some(since)) = (spec.modified_before, spec.modified_since)
            && since >= before
        {
            return Err(FilterError::Ages);
        }
        let is_name =
            |name: &String| !matches!(&**name, "" | "." | "..") && !name.contains(['/', '\0']);
        if let Some(name) = spec.directories.exclude_if_present.iter().find(|name| !is_name(name)) {
            return Err(FilterError::Name { name: name.clone() });
        }
        let compile = |rule: &Rule| {
            Pattern::parse(rule.pattern()).map_err(|problem| FilterError::Pattern {
                pattern: rule.pattern().to_owned(),
                problem: problem.to_string(),
            })
        };
        let patterns = spec.rules.iter().map(compile).collect::<Result<_, _>>()?;
        Ok(Self { spec, patterns, names: None, deletes_excluded: false })
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
        let rules = rules.to_vec();
        FilterSpec { rules, min_size, max_size, ..FilterSpec::default() }.try_into()
    }

    /// Limits the filter to the names of a list.
    #[must_use]
    pub fn limited_to(mut self, names: Arc<NameList>) -> Self {
        self.spec.is_listed = true;
        self.names = Some(names);
        self
    }

    /// Returns the names that the filter is limited to, if it is.
    pub fn names(&self) -> Option<&Arc<NameList>> {
        self.names.as_ref()
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

    /// Returns whether an entry is a regular file that its size or its age excludes.
    pub fn excludes_file(&self, entry: &Entry) -> bool {
        entry.kind == EntryKind::File && (self.excludes_size(entry) || self.excludes_age(entry))
    }

    fn excludes_size(&self, file: &Entry) -> bool {
        let size = file.stamp.size;
        self.spec.min_size.is_some_and(|min| size < min)
            || self.spec.max_size.is_some_and(|max| size > max)
    }

    /// Returns whether a regular file is excluded by its age, and not by its size.
    pub fn excludes_by_age_alone(&self, file: &Entry) -> bool {
        !self.excludes_size(file) && self.excludes_age(file)
    }

    fn excludes_age(&self, file: &Entry) -> bool {
        let mtime = file.metadata.mtime;
        self.spec.modified_before.is_some_and(|before| mtime >= before)
            || self.spec.modified_since.is_some_and(|since| mtime < since)
    }

    /// Returns which directories of the source take part.
    pub fn directories(&self) -> &DirectoryRules {
        &self.spec.directories
    }

    /// Makes what directories' rules exclude absent instead of unknown, so that it is deleted from
    /// the target.
    #[must_use]
    pub fn deleting_excluded(mut self) -> Self {
        self.deletes_excluded = true;
        self
    }

    /// Returns whether what directories' rules exclude is absent instead of unknown.
    pub fn deletes_excluded(&self) -> bool {
        self.deletes_excluded
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

/// Returns the time that was `age` ago; the earliest there is, if that is before it.
pub fn ago(age: Duration) -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanos = i128::try_from(now.as_nanos()).unwrap_or(i128::MAX)
        - i128::try_from(age.as_nanos()).unwrap_or(i128::MAX);
    Timestamp {
        seconds: i64::try_from(nanos.div_euclid(1_000_000_000)).unwrap_or(i64::MIN),
        nanos: nanos.rem_euclid(1_000_000_000) as u32,
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
