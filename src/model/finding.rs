//! Findings of a verification: how an entry differs from what was recorded, or from a source.
//!
//! Main type: [`Finding`], plain data as all events are.

use super::{Digest, Key, serial};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A difference between an entry and its row, or the source's entry. Serialised as a code, which
/// stays the same from release to release, and the variant's data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "difference", content = "data", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Difference {
    /// The recorded entry, or the source's, doesn't exist.
    Missing,
    /// The content isn't the recorded one.
    Corrupt {
        /// The recorded digest; `None` if only sizes were compared.
        expected: Option<Digest>,
        /// The digest found; `None` if only sizes were compared.
        found: Option<Digest>,
    },
    /// The content isn't the source's.
    Content {
        /// The source's digest; `None` if only sizes were compared.
        source: Option<Digest>,
        /// The target's digest; `None` if only sizes were compared.
        target: Option<Digest>,
    },
    /// Mode, owner, group, mtime, type or link text isn't the recorded one, or the source's; in
    /// words.
    Metadata(String),
    /// Size, mtime and metadata are as recorded, but not the rest of the stamp (ctime, inode, a
    /// store's tag), in words: the content may have changed.
    Touched(String),
    /// It has no row, or isn't in the source.
    Extra,
    /// It isn't as recorded, in words, but it changed since the start of a run that was killed
    /// before it recorded everything: it may be that run's work.
    Unknown(String),
}

impl Difference {
    /// Returns the stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Corrupt { .. } => "corrupt",
            Self::Content { .. } => "content",
            Self::Metadata(_) => "metadata",
            Self::Touched(_) => "touched",
            Self::Extra => "extra",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Returns the digest that the content should have and the one it has, as far as they are
    /// known.
    pub fn digests(&self) -> [Option<Digest>; 2] {
        match self {
            Self::Corrupt { expected: right, found }
            | Self::Content { source: right, target: found } => [*right, *found],
            _ => [None, None],
        }
    }

    /// Describes what differs, unless it is the content or the whole entry.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Metadata(how) | Self::Touched(how) | Self::Unknown(how) => Some(how),
            _ => None,
        }
    }
}

/// A difference that a verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finding {
    /// The entry.
    #[serde(flatten, with = "serial::key")]
    pub key: Key,
    /// How it differs.
    #[serde(flatten)]
    pub difference: Difference,
    /// Whether it counts as a difference. An extra entry does only if a run was to delete it, an
    /// unknown one unless incomplete runs are accepted.
    pub counted: bool,
}

impl Finding {
    /// Makes a finding.
    pub fn new(key: &Key, difference: Difference, counted: bool) -> Self {
        Self { key: key.clone(), difference, counted }
    }
}

impl fmt::Display for Finding {
    /// Prints as in `corrupt a/b (expected 0a1b…, found 2c3d…)`. The start of a digest is enough
    /// for people.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, difference, counted } = self;
        write!(out, "{} {key}", difference.code())?;
        let (right, found) = match difference {
            Difference::Corrupt { .. } => ("expected", "found"),
            Difference::Content { .. } => ("source", "target"),
            Difference::Extra if !counted => return out.write_str(" (not counted)"),
            Difference::Missing | Difference::Extra => return Ok(()),
            Difference::Metadata(how) | Difference::Touched(how) | Difference::Unknown(how) => {
                return write!(out, ": {how}");
            }
        };
        let short = |digest: Digest| format!("{:.16}…", digest.to_string());
        match difference.digests() {
            [None, None] => out.write_str(" (another size)"),
            digests => {
                let [one, other] =
                    digests.map(|digest| digest.map_or_else(|| "another size".to_owned(), short));
                write!(out, " ({right} {one}, {found} {other})")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the next difference; starting from [`Difference::Missing`] this yields all of them.
    /// It doesn't compile if a new one is missing.
    fn following(difference: &Difference) -> Option<Difference> {
        let (one, other) = (Some(Digest([1; 32])), Some(Digest([2; 32])));
        Some(match difference {
            Difference::Missing => Difference::Corrupt { expected: one, found: other },
            Difference::Corrupt { .. } => Difference::Content { source: one, target: None },
            Difference::Content { .. } => Difference::Metadata("mode 0644 -> 0600".to_owned()),
            Difference::Metadata(_) => Difference::Touched("inode 1 -> 2".to_owned()),
            Difference::Touched(_) => Difference::Extra,
            Difference::Extra => Difference::Unknown("another size".to_owned()),
            Difference::Unknown(_) => return None,
        })
    }

    #[test]
    fn differences_have_codes_that_stay_and_come_back_as_they_were() {
        let mut codes = Vec::new();
        for difference in std::iter::successors(Some(Difference::Missing), following) {
            let finding = Finding::new(&Key::new(&b"a/\xff"[..]), difference, true);
            let value = serde_json::to_value(&finding).unwrap();
            assert_eq!(value["difference"], finding.difference.code());
            assert_eq!(serde_json::from_value::<Finding>(value).unwrap(), finding);
            codes.push(finding.difference.code());
        }
        let all = ["missing", "corrupt", "content", "metadata", "touched", "extra", "unknown"];
        assert_eq!(codes, all);
    }

    #[test]
    fn a_finding_is_one_line_that_names_the_entry() {
        let line = |difference, counted| {
            Finding::new(&Key::new(*b"a\nb"), difference, counted).to_string()
        };
        let digest = Some(Digest([0xab; 32]));
        let corrupt = Difference::Corrupt { expected: digest, found: None };
        let text = "corrupt a\\nb (expected abababababababab…, found another size)";
        assert_eq!(line(corrupt, true), text);
        let content = Difference::Content { source: digest, target: None };
        let text = "content a\\nb (source abababababababab…, target another size)";
        assert_eq!(line(content, true), text);
        let size = Difference::Corrupt { expected: None, found: None };
        assert_eq!(line(size, true), "corrupt a\\nb (another size)");
        let metadata = Difference::Metadata("mode 0644 -> 0600".into());
        assert_eq!(line(metadata, true), "metadata a\\nb: mode 0644 -> 0600");
        assert_eq!(line(Difference::Extra, false), "extra a\\nb (not counted)");
        assert_eq!(line(Difference::Extra, true), "extra a\\nb");
    }
}
