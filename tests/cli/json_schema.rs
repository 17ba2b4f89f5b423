//! `docs/json.schema.json`: what `docs/json.md` says, as a JSON Schema (draft 2020-12). It is made of that
//! document (`INSTA_UPDATE=always` writes it anew), and real records are held against it.

use super::json_docs::Document;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

pub(super) const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/json.schema.json");

/// A field with what lies in it.
#[derive(Default)]
struct Node {
    kind: String,
    always: bool,
    words: Vec<String>,
    fields: BTreeMap<String, Node>,
}

impl Node {
    fn at(&mut self, path: &str) -> &mut Self {
        path.split('.').fold(self, |node, name| node.fields.entry(name.to_owned()).or_default())
    }

    fn schema(&self) -> Value {
        let (kind, unit) = self.kind.split_once(", ").unwrap_or((&self.kind, ""));
        let (kind, nullable) = match kind.strip_suffix(" or null") {
            Some(kind) => (kind, true),
            None => (kind, false),
        };
        let (kind, is_array) = match kind.strip_prefix("array of ") {
            Some(kind) => (kind, true),
            None => (kind, false),
        };
        let mut one = if kind == "object" { self.object() } else { json!({ "type": kind }) };
        match (kind, unit) {
            ("string", "time") => one["description"] = "a time: RFC 3339, or @ and seconds".into(),
            ("integer", _) => one["minimum"] = 0.into(),
            _ => {}
        }
        if !self.words.is_empty() {
            one["enum"] = self.words.clone().into();
        }
        let mut all = if is_array { json!({ "type": "array", "items": one }) } else { one };
        if nullable {
            all["type"] = json!([all["type"], "null"]);
            if let Some(words) = all.get_mut("enum").and_then(Value::as_array_mut) {
                words.push(Value::Null);
            }
        }
        all
    }

    fn object(&self) -> Value {
        let properties: Map<_, _> =
            self.fields.iter().map(|(name, node)| (name.clone(), node.schema())).collect();
        let required = self.fields.iter().filter(|(_, node)| node.always);
        let required: Vec<_> = required.map(|(name, _)| name.clone()).collect();
        json!({ "type": "object", "required": required, "properties": properties })
    }
}

/// The schema that a document amounts to.
pub(super) fn schema(document: &Document) -> Value {
    let mut records = Map::new();
    for (event, title) in document.events() {
        let mut record = Node::default();
        for (name, field) in document.fields_of(title) {
            let words = document.words_of(event, &name);
            let node = record.at(&name);
            (node.kind, node.always) = (field.kind.to_owned(), field.always);
            node.words = words;
        }
        let mut body = record.object();
        let title = title.replace('`', "");
        body["properties"]["event"] = json!({ "const": event });
        let name = name_of(&title);
        body["title"] = title.into();
        records.insert(name, body);
    }
    let names = records.keys().map(|name| json!({ "$ref": format!("#/$defs/{name}") }));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A record of vidimus --json",
        "anyOf": names.collect::<Vec<_>>(),
        "$defs": records,
    })
}

/// A definition's name, which a reference holds without escapes: `finished-manifest-show-manifest-log`.
fn name_of(title: &str) -> String {
    let words = title.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}

/// What of a value is not as a schema says, of those words that [`schema`] uses.
pub(super) fn faults(schema: &Value, value: &Value, root: &Value) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.strip_prefix("#/$defs/").expect("a definition");
        return faults(&root["$defs"][name], value, root);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let all: Vec<_> = any.iter().map(|schema| faults(schema, value, root)).collect();
        // Of a record that none holds, what keeps it from the likeliest.
        return all.into_iter().min_by_key(Vec::len).expect("a definition");
    }
    let mut found = Vec::new();
    let is_type = |name: &Value| match name.as_str().expect("a type") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("no type {other}"),
    };
    let is_typed = match &schema["type"] {
        Value::Null => true,
        Value::Array(names) => names.iter().any(is_type),
        name => is_type(name),
    };
    if !is_typed {
        found.push(format!("{value} is no {}", schema["type"]));
    }
    if schema.get("const").is_some_and(|only| only != value) {
        found.push(format!("{value} is not {}", schema["const"]));
    }
    if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
        found.push(format!("{value} is none of {}", schema["enum"]));
    }
    if let Some(object) = value.as_object() {
        for name in schema["required"].as_array().into_iter().flatten() {
            if !object.contains_key(name.as_str().expect("a name")) {
                found.push(format!("{name} is missing"));
            }
        }
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            if let Some(value) = object.get(name) {
                found.extend(faults(schema, value, root));
            }
        }
    }
    for value in value.as_array().into_iter().flatten() {
        found.extend(faults(&schema["items"], value, root));
    }
    found
}

#[test]
fn the_schema_refuses_what_the_document_does_not_say() {
    let text = "### Every record\n| `event` | string | always | . |\n\
                ### `seen`: `ls`\n| `at.kind` | string or null | always | . |\n\
                | `at` | array of object | if any | . |\n| `n` | integer, bytes | always | . |\n\
                ## Words\n### `kind`\n| `file` | . |\n";
    let schema = schema(&Document::parse(text));
    let faults = |value: Value| faults(&schema, &value, &schema);
    assert!(faults(json!({ "event": "seen", "n": 1 })).is_empty());
    assert!(faults(json!({ "event": "seen", "n": 1, "at": [{ "kind": null }] })).is_empty());
    for wrong in [
        json!({ "event": "other", "n": 1 }),
        json!({ "event": "seen" }),
        json!({ "event": "seen", "n": "1" }),
        json!({ "event": "seen", "n": 1, "at": [{}] }),
        json!({ "event": "seen", "n": 1, "at": [{ "kind": "fifo" }] }),
        json!({ "event": "seen", "n": 1, "at": { "kind": "file" } }),
    ] {
        assert_eq!(faults(wrong.clone()).len(), 1, "{wrong}");
    }
}
