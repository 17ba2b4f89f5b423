//! An explanation as a record. Names and forms of an entry's fields are those of
//! `docs/manifest.md`.

use super::{Asked, words};
use crate::compare::Seen;
use crate::model::key::Escaped;
use crate::model::stamp::Evidence;
use crate::model::{Action, Cause, Entry, Key, Stamp};
use crate::report::flags;
use crate::report::json::{JsonKey, kind};
use crate::session::{Explained, Explanation, PastLine};
use serde_json::{Map, Value, json};

/// Makes the body of the record of one key.
pub(super) fn explanation(explained: &Explained, whole: &Explanation, asked: &Asked<'_>) -> Value {
    let pair = &explained.pair;
    let row = pair.row.as_ref();
    let (word, reason) = words::decision(explained);
    let mut body = named(&pair.key);
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            body.insert(name.to_owned(), value);
        }
    };
    put("source", side(&pair.source, row.map(|row| &row.source)));
    put("target", side(&pair.target, row.map(|row| &row.target)));
    put(
        "row",
        row.map_or(Value::Null, |row| {
            json!({
                "kind": kind(row.kind),
                "blake3": row.digest.map(|digest| digest.to_string()),
                "adopted": row.origin == crate::manifest::Origin::Adopted,
                "run": explained.copied_by.as_ref().map(|by| &by.run),
                "verified": row.verified_at.map(|at| at.to_string()),
                "source_racy": row.source_racy,
            })
        }),
    );
    put("excluded", explained.matched_rule.as_ref().is_some_and(|rule| rule.excludes).into());
    put(
        "rule",
        explained.matched_rule.as_ref().map_or(Value::Null, |matched| {
            let mut rule = named(&matched.key);
            rule.insert("text".to_owned(), asked.rule(matched.rule).into());
            rule.into()
        }),
    );
    put("decision", word.replace(' ', "_").into());
    put("reason", reason.into());
    let cause = words::cause(explained);
    if cause.is_none() {
        put("action", explained.action().map(Action::code).into());
        put("reason_code", json!(explained.reason()));
    }
    if let Some(from) = explained.renamed_from.as_ref().map(JsonKey::from) {
        let JsonKey { key, key_hex } = from;
        put("from", key.into());
        put("from_hex", key_hex.into());
    }
    put("cause", cause.map(flags::cause).into());
    put("cause_code", cause.map(Cause::code).into());
    put("consequences", words::consequences(explained, asked.options).into());
    put("last_run", whole.last_run.as_ref().map_or(Value::Null, |run| run.id.0.clone().into()));
    if let Some(past) = &whole.past {
        let lines = past.lines.iter().filter(|line| line.content.key == pair.key);
        put("past", lines.map(line).collect());
        put("past_since", past.since.into());
    }
    Value::Object(body)
}

fn side(seen: &Seen, recorded: Option<&Stamp>) -> Value {
    let mut body = json!({ "seen": words::seen(seen) });
    if let (Some(Entry { stamp: found, kind: is, metadata, link, .. }), Value::Object(body)) =
        (seen.entry(), &mut body)
    {
        body.insert("kind".to_owned(), kind(*is).into());
        body.insert("mode".to_owned(), format!("{:04o}", metadata.mode).into());
        body.insert("uid".to_owned(), metadata.uid.into());
        body.insert("gid".to_owned(), metadata.gid.into());
        if let Some(link) = link {
            body.insert("link".to_owned(), Escaped(link).to_string().into());
        }
        body.insert("stamp".to_owned(), stamp(found));
        if let Some(recorded) = recorded {
            let fields = words::fields(found, recorded);
            let differ = fields.iter().filter(|field| field.recorded != field.found);
            body.insert("recorded".to_owned(), stamp(recorded));
            body.insert("differs".to_owned(), differ.map(|field| name(field.name)).collect());
        }
    }
    body
}

/// Returns the fields that name a key.
fn named(key: &Key) -> Map<String, Value> {
    match serde_json::to_value(JsonKey::from(key)) {
        Ok(Value::Object(named)) => named,
        _ => Map::new(),
    }
}

/// Returns the name of a stamp's field in records.
fn name(field: &'static str) -> &'static str {
    if field == "tag" { "etag" } else { field }
}

fn stamp(stamp: &Stamp) -> Value {
    match stamp.evidence {
        Evidence::Inode(inode) => json!({
            "size": stamp.size,
            "mtime": inode.mtime.to_string(),
            "ctime": inode.ctime.to_string(),
            "inode": inode.number,
        }),
        Evidence::Tag(tag) => json!({
            "size": stamp.size,
            "etag": tag.map(|tag| tag.to_string()),
        }),
    }
}

fn line(line: &PastLine) -> Value {
    let PastLine { content, by } = line;
    let row = content.row.as_ref();
    json!({
        "sequence": content.sequence,
        "published": by.as_ref().map(|by| by.published.to_string()),
        "published_by": by.as_ref().map(|by| &by.run),
        "removed": row.is_none(),
        "blake3": row.and_then(|(row, _)| row.digest).map(|digest| digest.to_string()),
        "run": row.map(|(_, run)| run),
    })
}
