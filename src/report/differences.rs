//! Differences between two places, formatted for people.

use super::format::{count, size};
use crate::model::key::Escaped;
use crate::model::{ContentSign, DiffEntry, DiffFinding, Digest, Mismatch};

/// Formats one difference: `content    a/b  (0a1b… -> 2c3d…)`.
pub(crate) fn side_difference(finding: &DiffFinding) -> String {
    let (word, key) = (finding.word(), finding.key());
    let detail = match finding {
        DiffFinding::Differs { mismatch, a, b } => Some(detail(mismatch, a, b)),
        _ => finding.metadata().map(str::to_owned),
    };
    match detail {
        Some(detail) => format!("{word:<9}  {key}  ({detail})"),
        None => format!("{word:<9}  {key}"),
    }
}

/// Describes what A and B have.
fn detail(mismatch: &Mismatch, a: &DiffEntry, b: &DiffEntry) -> String {
    let [one, other] = [a, b].map(|entry| match mismatch {
        Mismatch::Type => entry.kind.map_or("object".to_owned(), |kind| kind.to_string()),
        Mismatch::Link => format!("\"{}\"", Escaped(entry.link.as_deref().unwrap_or_default())),
        // The start of a digest is enough for people; --json has all of it.
        Mismatch::Content(ContentSign::Digest) => {
            let short = |digest: Digest| format!("{:.16}…", digest.to_string());
            entry.content().1.map_or_else(String::new, short)
        }
        Mismatch::Content(ContentSign::Size) => size(entry.content().0),
        Mismatch::Content(ContentSign::Time) => {
            entry.metadata.map_or_else(String::new, |metadata| metadata.mtime.to_string())
        }
        Mismatch::Metadata(_) => String::new(),
    });
    match mismatch {
        Mismatch::Metadata(words) => words.clone(),
        Mismatch::Content(ContentSign::Size) if one == other => {
            format!("{} -> {} bytes", count(a.content().0), count(b.content().0))
        }
        Mismatch::Content(ContentSign::Time) => format!("same size, mtime {one} -> {other}"),
        _ => format!("{one} -> {other}"),
    }
}
