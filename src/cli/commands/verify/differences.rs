//! Differences, as one line or record each.

use crate::model::{Digest, Key};
use crate::report::json::JsonKey;
use crate::verify::Difference;
use serde::Serialize;

/// Words for differing content, and for both digests.
#[derive(Debug)]
pub(super) struct Words {
    content: &'static str,
    expected: &'static str,
    found: &'static str,
}

/// For a target that is compared with its records.
pub(super) const RECORDED: Words =
    Words { content: "corrupt", expected: "expected", found: "found" };
/// For a target that is compared with a source.
pub(super) const AGAINST: Words = Words { content: "content", expected: "source", found: "target" };

/// Formats one difference: `corrupt a/b (expected 0a1b…, found 2c3d…)`.
pub(super) fn difference_line(
    key: &Key,
    difference: &Difference,
    counted: bool,
    words: &Words,
) -> String {
    let Words { content, expected: one, found: other } = words;
    match difference {
        Difference::Missing => format!("missing {key}"),
        Difference::Corrupt { expected: None, found: None } => {
            format!("{content} {key} (another size)")
        }
        Difference::Corrupt { expected, found } => {
            // The start of a digest is enough for people; --json has all of it.
            let short = |digest: &Option<Digest>| {
                digest
                    .map_or("another size".into(), |digest| format!("{:.16}…", digest.to_string()))
            };
            format!("{content} {key} ({one} {}, {other} {})", short(expected), short(found))
        }
        Difference::Metadata(change) => format!("metadata {key}: {change}"),
        Difference::Touched(change) => format!("touched {key}: {change}"),
        Difference::Unknown(how) => format!("unknown {key}: {how}"),
        Difference::Extra if counted => format!("extra {key}"),
        Difference::Extra => format!("extra {key} (not counted)"),
    }
}

#[derive(Debug, Serialize)]
pub(super) struct JsonDifference<'a> {
    #[serde(flatten)]
    key: JsonKey,
    difference: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    counted: bool,
}

impl<'a> JsonDifference<'a> {
    pub(super) fn new(key: &Key, difference: &'a Difference, counted: bool, words: &Words) -> Self {
        let mut body = Self {
            key: key.into(),
            difference: match difference {
                Difference::Missing => "missing",
                Difference::Corrupt { .. } => words.content,
                Difference::Metadata(_) => "metadata",
                Difference::Touched(_) => "touched",
                Difference::Extra => "extra",
                Difference::Unknown(_) => "unknown",
            },
            expected: None,
            found: None,
            detail: None,
            counted,
        };
        match difference {
            Difference::Corrupt { expected, found } => {
                body.expected = expected.map(|digest| digest.to_string());
                body.found = found.map(|digest| digest.to_string());
            }
            Difference::Metadata(change)
            | Difference::Touched(change)
            | Difference::Unknown(change) => {
                body.detail = Some(change);
            }
            Difference::Missing | Difference::Extra => {}
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_one_line_that_names_the_entry() {
        let key = Key::new(*b"a\nb");
        let digest = Some(Digest([0xab; 32]));
        let corrupt = Difference::Corrupt { expected: digest, found: None };
        let line = difference_line(&key, &corrupt, true, &RECORDED);
        assert_eq!(line, "corrupt a\\nb (expected abababababababab…, found another size)");
        let line = difference_line(&key, &corrupt, true, &AGAINST);
        assert_eq!(line, "content a\\nb (source abababababababab…, target another size)");
        let metadata = Difference::Metadata("mode 0644 -> 0600".into());
        let line = difference_line(&key, &metadata, true, &RECORDED);
        assert_eq!(line, "metadata a\\nb: mode 0644 -> 0600");
        assert_eq!(
            difference_line(&key, &Difference::Extra, false, &AGAINST),
            "extra a\\nb (not counted)"
        );
    }
}
