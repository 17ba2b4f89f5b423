//! `docs/json.md` against what `--json` gives: each event, field, type and word that comes is
//! documented, and what is documented comes. So is `docs/json.schema.json`, which is made of it.

use crate::common::environment::text;
use crate::common::tree::FAILING;
use crate::common::{Environment, Run, TestTree};
use crate::json_schema::{self, SCHEMA};
use crate::signing::keygen;
use rustix::process::Signal;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Stdio;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/json.md");

/// What is documented and none of these runs gives: it takes a store, a file system that keeps less,
/// or a user other than root.
const RARE: &[&str] = &[
    "Stamps: `etag`",
    "`entry`: `ls`: `etag`",
    "`publication`: `manifest show`, `manifest log`, `manifest check`, `manifest sign`: `lost`",
    "`publication`: `manifest show`, `manifest log`, `manifest check`, `manifest sign`: `lost.blake3`",
    "`publication`: `manifest show`, `manifest log`, `manifest check`, `manifest sign`: `lost.sequence`",
    "Options: `keeps`",
    "Options: `keeps.directories`",
    "Options: `keeps.directory_mode`",
    "Options: `keeps.file_mode`",
    "Options: `keeps.links`",
    "Options: `keeps.names`",
    "Options: `keeps.of_links`",
    "Options: `keeps.owner`",
    "Options: `keeps.time_unit`",
    "Options: `keeps.times`",
    "Options: `settable`",
    "Options: `settable.acls`",
    "Options: `settable.root`",
    "Options: `settable.user`",
    "Options: `source_tells`",
    "`publication`: `manifest show`, `manifest log`, `manifest check`, `manifest sign`: `segments.tells_more`",
];

/// A row of a table: fields, or all rows of another section behind a prefix.
#[derive(Debug)]
enum Row {
    Field { name: String, kind: String, always: bool },
    Section { prefix: String, title: String, always: bool },
}

/// What the document says.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// Rows by the title of their section.
    sections: BTreeMap<String, Vec<Row>>,
    /// The words that a field can have, by its name.
    words: BTreeMap<String, BTreeSet<String>>,
}

/// A field of an event, and where it is documented.
#[derive(Debug)]
pub(super) struct Field<'a> {
    pub(super) kind: &'a str,
    pub(super) always: bool,
    row: String,
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

impl Document {
    pub(super) fn parse(text: &str) -> Self {
        let mut document = Self::default();
        let (mut title, mut of_words) = (String::new(), false);
        for line in text.lines() {
            if let Some(heading) = line.strip_prefix("## ") {
                of_words = heading == "Words";
            } else if let Some(heading) = line.strip_prefix("### ") {
                heading.clone_into(&mut title);
                if !of_words {
                    document.sections.insert(title.clone(), Vec::new());
                }
            } else if let Some(row) = line.strip_prefix('|') {
                let cells: Vec<_> = row.split('|').map(str::trim).collect();
                document.row(&title, &cells, of_words);
            }
        }
        document
    }

    fn row(&mut self, title: &str, cells: &[&str], of_words: bool) {
        let names = quoted(cells[0]);
        if of_words {
            for (field, word) in quoted(title).into_iter().zip(names.iter().cycle()) {
                self.words.entry(field.to_owned()).or_default().insert((*word).to_owned());
            }
            return;
        }
        let Some(rows) = self.sections.get_mut(title) else { return };
        if let Some((_, title)) = cells[0].split_once('[') {
            let title = title.split(']').next().expect("a link").to_owned();
            let prefix = names.first().copied().unwrap_or_default().to_owned();
            rows.push(Row::Section { prefix, title, always: cells[2].is_empty() });
            return;
        }
        rows.extend(names.into_iter().map(|name| Row::Field {
            name: name.to_owned(),
            kind: cells[1].to_owned(),
            always: cells[2] == "always",
        }));
    }

    /// The section of an event that a command gives.
    fn section(&self, event: &str, command: &str) -> Option<&str> {
        let of = |command: &str| {
            let mut titles = self.sections.keys();
            titles.find(|title| {
                let Some((name, commands)) = title.split_once(": ") else { return false };
                name == format!("`{event}`") && commands.split(", ").any(|one| one == command)
            })
        };
        if command == ANY {
            return self
                .sections
                .get_key_value(&format!("`{event}`: {ANY}"))
                .map(|(title, _)| &**title);
        }
        let command = format!("`{command}`");
        of(&command).or_else(|| of(&command.replace(" --against", ""))).map(String::as_str)
    }

    /// Adds all fields of a section.
    fn fields<'a>(
        &'a self,
        title: &str,
        before: &str,
        all_always: bool,
        to: &mut BTreeMap<String, Field<'a>>,
    ) {
        let rows = self.sections.get(title).unwrap_or_else(|| panic!("no section {title:?}"));
        for row in rows {
            match row {
                Row::Field { name, kind, always } => {
                    let (always, row) = (*always && all_always, format!("{title}: `{name}`"));
                    to.insert(format!("{before}{name}"), Field { kind, always, row });
                }
                Row::Section { prefix, title, always } => {
                    self.fields(title, &format!("{before}{prefix}"), *always && all_always, to);
                }
            }
        }
    }

    /// Each event with the titles of its sections.
    pub(super) fn events(&self) -> impl Iterator<Item = (&str, &str)> {
        self.sections.keys().filter_map(|title| {
            let (event, _) = title.strip_prefix('`')?.split_once("`: ")?;
            Some((event, &**title))
        })
    }

    /// All fields of an event's section.
    pub(super) fn fields_of(&self, title: &str) -> BTreeMap<String, Field<'_>> {
        let mut fields = BTreeMap::new();
        self.fields("Every record", "", true, &mut fields);
        self.fields(title, "", true, &mut fields);
        fields
    }

    /// The words that a field of an event can have; none where it can have any.
    pub(super) fn words_of(&self, event: &str, name: &str) -> Vec<String> {
        let last = name.rsplit('.').next().unwrap_or(name);
        let words = self.words.get(&format!("{event}.{name}")).or_else(|| self.words.get(last));
        words.into_iter().flatten().cloned().collect()
    }

    /// Where each field is documented.
    fn rows(&self) -> BTreeSet<String> {
        let rows = self.sections.iter().flat_map(|(title, rows)| {
            rows.iter().filter_map(move |row| match row {
                Row::Field { name, .. } => Some(format!("{title}: `{name}`")),
                Row::Section { .. } => None,
            })
        });
        rows.collect()
    }
}

/// Whether a value is of a type as the document names it: `array of string or null, unit`.
fn is_of(kind: &str, value: &Value) -> bool {
    let (kind, unit) = kind.split_once(", ").unwrap_or((kind, ""));
    let (kind, nullable) = match kind.strip_suffix(" or null") {
        Some(kind) => (kind, true),
        None => (kind, false),
    };
    if value.is_null() {
        return nullable;
    }
    if let Some(kind) = kind.strip_prefix("array of ") {
        return value.as_array().is_some_and(|values| values.iter().all(|one| is_of(kind, one)));
    }
    match (kind, unit) {
        ("string", "time") => {
            let text = value.as_str().unwrap_or_default();
            text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok()
        }
        ("string", _) => value.is_string(),
        ("integer", _) => value.is_u64(),
        ("number", _) => value.is_number(),
        ("boolean", _) => value.is_boolean(),
        ("object", _) => value.is_object(),
        _ => panic!("the document names a type {kind:?}"),
    }
}

/// What was found of the records so far.
struct Checker {
    document: Document,
    /// What the document amounts to.
    schema: Value,
    seen: BTreeSet<String>,
    /// The commands that ended with a last record.
    ended: BTreeSet<String>,
    problems: BTreeSet<String>,
}

impl Checker {
    fn new(document: &str) -> Self {
        let document = Document::parse(document);
        Self {
            schema: json_schema::schema(&document),
            document,
            seen: BTreeSet::new(),
            ended: BTreeSet::new(),
            problems: BTreeSet::new(),
        }
    }

    /// Takes all records of a run; `command` is how the document names it.
    #[track_caller]
    fn take(&mut self, command: &str, run: &Run) -> Vec<Value> {
        assert!(run.stderr.is_empty(), "records alone tell\n{}", run.told());
        run.finished();
        let records = run.records();
        for record in &records {
            self.record(command, record);
        }
        self.ended.insert(command.to_owned());
        records
    }

    fn record(&mut self, command: &str, record: &Value) {
        let Self { document, schema, seen, problems, .. } = self;
        let event = record["event"].as_str().expect("an event");
        let Some(title) = document.section(event, command) else {
            problems.insert(format!("`{event}` of `{command}` is not documented"));
            return;
        };
        let fields = document.fields_of(title);
        for fault in json_schema::faults(schema, record, schema) {
            problems.insert(format!("the schema refuses {record}: {fault}"));
        }
        let mut found = Vec::new();
        let body = record.as_object().expect("an object");
        walk(body, "", &mut found);
        for (prefix, object) in objects(body, "") {
            for (name, field) in fields.iter().filter(|(_, field)| field.always) {
                let last = name.strip_prefix(&prefix).filter(|last| !last.contains('.'));
                if last.is_some_and(|last| !object.contains_key(last)) {
                    problems.insert(format!("{} is not always there: {record}", field.row));
                }
            }
        }
        for (name, value) in found {
            let Some(field) = fields.get(&name) else {
                problems.insert(format!("{title}: `{name}` is not documented: {record}"));
                continue;
            };
            seen.insert(field.row.clone());
            if !is_of(field.kind, value) {
                problems.insert(format!("{} is no {}: {value}", field.row, field.kind));
            }
            let words = document.words_of(event, &name);
            let values = value.as_array().map_or(std::slice::from_ref(value), |all| &all[..]);
            for value in values.iter().filter_map(Value::as_str) {
                if !words.is_empty() && !words.iter().any(|word| word == value) {
                    problems.insert(format!("{value:?} is no documented word of `{event}.{name}`"));
                }
            }
        }
    }

    /// What is wrong, what is documented and never came among it.
    fn problems(&self) -> Vec<String> {
        let mut problems: Vec<_> = self.problems.iter().cloned().collect();
        for row in self.document.rows() {
            let is_rare = RARE.contains(&&*row);
            match self.seen.contains(&row) {
                true if is_rare => problems.push(format!("{row} is not rare")),
                false if !is_rare => problems.push(format!("{row} never came")),
                _ => {}
            }
        }
        for title in self.document.sections.keys() {
            if let Some(commands) = title.strip_prefix("`finished`: ") {
                for command in quoted(commands) {
                    if !self.ended.contains(command) {
                        problems.push(format!("no run of `{command}`"));
                    }
                }
            }
        }
        problems
    }
}

/// All fields below an object, with the path that the document names them by.
fn walk<'a>(object: &'a Map<String, Value>, before: &str, to: &mut Vec<(String, &'a Value)>) {
    for (name, value) in object {
        to.push((format!("{before}{name}"), value));
        for object in below(value) {
            walk(object, &format!("{before}{name}."), to);
        }
    }
}

/// The object itself and all below it, with the prefix of their fields.
fn objects<'a>(
    object: &'a Map<String, Value>,
    before: &str,
) -> Vec<(String, &'a Map<String, Value>)> {
    let mut all = vec![(before.to_owned(), object)];
    for (name, value) in object {
        for object in below(value) {
            all.extend(objects(object, &format!("{before}{name}.")));
        }
    }
    all
}

/// The object that a value is, or those in an array.
fn below(value: &Value) -> impl Iterator<Item = &Map<String, Value>> {
    let one = value.as_object().into_iter();
    one.chain(value.as_array().into_iter().flatten().filter_map(Value::as_object))
}

const ANY: &str = "any command, before it begins";

/// Mirrors, what they failed at, and what may be asked of what they left.
fn runs(checker: &mut Checker) {
    let env = Environment::new();
    let tree = TestTree::new()
        .file("same", "same")
        .file("changes", "old")
        .file("goes", "goes")
        .file("rots", "as it was")
        .file("mode", "mode")
        .file("becomes", "a file")
        .file("left.log", "left out")
        .file(b"not\xffutf8", "x")
        .file(b"moves\xff", "moves")
        .file("d/e/leaf", "leaf")
        .symlink("link", "same");
    tree.write(&env.source);
    fs::hard_link(env.source.join("same"), env.source.join("hard")).expect("link");
    env.age();
    keygen(&env, "ada");
    let [source, target] = [&env.source, &env.target].map(|side| text(side).to_owned());
    let run = |arguments: &[&str]| env.vidimus(&[arguments, &["--json"]].concat());
    let mirror = |flags: &[&str]| run(&[&["mirror", &source, &target], flags].concat());
    checker.take(
        "mirror",
        &mirror(&["-v", "--sign", "ada.key", "--exclude", "*.log", "--include", "no"]),
    );
    checker.take("mirror", &run(&["mirror", &source, "separate", "-v", "--no-hard-links"]));
    checker.take("manifest show", &run(&["manifest", "show", "target"]));
    checker.take("manifest check", &run(&["manifest", "check", "target"]));
    fs::write(env.source.join("changes"), "newer").expect("write");
    fs::remove_file(env.source.join("goes")).expect("remove");
    let moves = OsStr::from_bytes(b"moves\xff");
    fs::rename(env.source.join(moves), env.source.join("moved")).expect("rename");
    let socket = UnixListener::bind(env.source.join("socket")).expect("bind");
    fs::write(env.source.join(FAILING), "").expect("write");
    env.age();
    checker.take("mirror", &mirror(&["--dry-run", "--delete"]));
    checker.take("explain", &run(&["explain", &source, &target, "moved", "--delete"]));
    let despite = ["--delete", "--delete-despite-errors", "-v", "--sign", "ada.key"];
    checker.take("mirror", &mirror(&despite));
    checker.take("verify", &run(&["verify", &target]));
    fs::remove_file(env.source.join(FAILING)).expect("remove");
    TestTree::new().file("blocked", "a file").write(&env.source);
    TestTree::new().file("blocked/by", "a directory").write(&env.target);
    for key in ["changes", "goes", "socket", "left.log", "link", "d/e", "blocked"] {
        let run = run(&["explain", &source, &target, key, "--exclude", "*.log"]);
        checker.take("explain", &run);
    }
    checker.take("explain", &run(&["explain", &source, &target, "nowhere"]));
    drop(socket);
    fs::remove_file(env.source.join("socket")).expect("remove");
    fs::remove_file(env.source.join("blocked")).expect("remove");
    fs::remove_dir_all(env.target.join("blocked")).expect("remove");
    // Another source, so that the manifest has several; and a publication that isn't signed.
    fs::write(env.outside.join("note"), "note").expect("write");
    let outside = text(&env.outside).to_owned();
    checker.take("mirror", &run(&["mirror", &outside, &target]));
    checker.take("manifest sign", &run(&["manifest", "sign", "--key", "ada.key", "target"]));
    keygen(&env, "eve");
    for key in ["ada.pub", "eve.pub"] {
        let run = run(&["manifest", "log", "--key", key, "target"]);
        checker.take("manifest log", &run);
    }
    checker.take("manifest log", &run(&["manifest", "log", "nowhere"]));
    checker.take("ls", &run(&["ls", "-r", &target]));
    checker.take("ls", &run(&["ls", "nowhere"]));
    checker.take("mirror", &run(&["mirror", "nowhere", &target]));
    checker.take("put", &run(&["put", "-", "target/put"]));
    checker.take("put", &run(&["put", "-", "outside/put"]));
    checker.take("put", &run(&["put", "-", "nowhere/at/all/"]));
    differences(checker, &env);
}

/// Makes the target another in all ways, and has it told and mended.
fn differences(checker: &mut Checker, env: &Environment) {
    let [source, target] = [&env.source, &env.target].map(|side| text(side).to_owned());
    let run = |arguments: &[&str]| env.vidimus(&[arguments, &["--json"]].concat());
    checker.take("mirror", &run(&["mirror", &source, &target, "--sign", "ada.key"]));
    env.age();
    let at = |name: &str| env.target.join(name);
    fs::write(at("rots"), "otherwise").expect("write");
    fs::write(at("extra"), "extra").expect("write");
    for gone in ["d/e/leaf", "link", "becomes"] {
        fs::remove_file(at(gone)).expect("remove");
    }
    symlink("elsewhere", at("link")).expect("link");
    symlink("same", at("becomes")).expect("link");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(at("mode"), mode).expect("set the mode");
    fs::hard_link(at("same"), at("another")).expect("link");
    fs::remove_file(env.source.join("changes")).expect("remove");
    for flags in [&["--strict"][..], &["--quick"], &["--key", "ada.pub", "--sample", "1/2"]] {
        checker.take("verify", &run(&[&["verify", &target], flags].concat()));
    }
    for flags in [&["--strict"][..], &["--sample", "1/2"]] {
        let run = run(&[&["verify", &target, "--against", &source], flags].concat());
        checker.take("verify --against", &run);
    }
    checker.take("verify --against", &run(&["verify", &target, "--against", "nowhere"]));
    for flags in [&["--content"][..], &["--recorded"]] {
        let run = run(&[&["diff", &source, &target], flags].concat());
        checker.take("diff", &run);
    }
    checker.take("diff", &run(&["diff", &target, &source]));
    checker.take("diff", &run(&["diff", "--recorded", &target, &target]));
    let mut missing = env.source.join("rots");
    fs::write(&missing, "another").expect("write");
    let mended = run(&["verify", &target, "--repair-from", &source]);
    checker.take("verify", &mended);
    missing = env.target.join(".vidimus/manifest/latest.json");
    fs::remove_file(missing).expect("remove");
    checker.take("verify", &run(&["verify", &target]));
    checker.take("verify", &run(&["verify", "nowhere"]));
}

/// What a guard refuses, what a signal stops, what is typed wrong, lists and bags.
fn endings(checker: &mut Checker) {
    let env = Environment::new();
    let large = vec![7; 4 << 20];
    TestTree::new().file("large", large.clone()).write(&env.source);
    let run = |arguments: &[&str]| env.vidimus(&[arguments, &["--json"]].concat());
    let [source, target] = [&env.source, &env.target].map(|side| text(side).to_owned());
    let limited = ["--bwlimit", "1MiB/s"];
    let mut command = env.command(&env.mirror_arguments(&limited));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("spawn");
    let at = ("progress", Signal::INT);
    let stopped = Run::signalled_at(child, at, "mirror".to_owned()).expect(130);
    checker.take("mirror", &stopped);
    let verdict = checker.take("mirror", &run(&["mirror", &source, &target])).pop();
    assert_eq!(verdict.expect("a record")["verdict"], "complete");
    checker.take("verify", &run(&[&["verify", &target], &limited[..]].concat()));
    checker.take("mirror", &run(&["mirror", &source, &target, "--max-duration", "0s"]));
    let filters = ["--min-age", "0s", "--max-age", "99w", "-x", "--exclude-if-present", ".skip"];
    let mapping = ["--chown=7:8", "--chmod=F640", "--by-name"];
    let flags = [&filters[..], &mapping].concat();
    checker.take("mirror", &run(&[&["mirror", &source, "filtered"], &flags[..]].concat()));
    checker.take("manifest show", &run(&["manifest", "show", "filtered"]));
    fs::write(env.root.join("names"), "large\n").expect("write");
    checker.take("mirror", &run(&["mirror", &source, "listed", "--files-from", "names"]));
    checker.take("manifest show", &run(&["manifest", "show", "listed"]));
    fs::remove_file(env.source.join("large")).expect("remove");
    checker.take("mirror", &run(&["mirror", &source, &target, "--delete"]));
    for words in [&["mirror"][..], &["diff", "--nonsense", "a", "b"], &["verify", "a", "b", "c"]] {
        let run = run(words);
        checker.take(ANY, &run);
    }
    let digest = blake3::hash(&large);
    fs::write(env.root.join("list"), format!("{digest}  large\n{digest}  gone\n")).expect("write");
    let import = ["manifest", "import", "--format", "b3sum", &*target, "list"];
    checker.take("manifest import", &run(&import));
    checker.take("bag", &run(&["bag", &target, "bag"]));
}

#[test]
fn each_event_field_and_word_is_documented_and_what_is_documented_comes() {
    let mut checker = Checker::new(&fs::read_to_string(DOCUMENT).expect("read the document"));
    runs(&mut checker);
    endings(&mut checker);
    let problems = checker.problems();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn each_code_of_a_notice_is_documented() {
    let document = Document::parse(&fs::read_to_string(DOCUMENT).expect("read the document"));
    let codes: BTreeSet<_> = vidimus::Notice::CODES.iter().map(|code| (*code).to_owned()).collect();
    assert_eq!(document.words["code"], codes);
}

#[test]
fn the_schema_says_what_the_document_says() {
    let document = Document::parse(&fs::read_to_string(DOCUMENT).expect("read the document"));
    let schema = json_schema::schema(&document);
    let text = serde_json::to_string_pretty(&schema).expect("a schema") + "\n";
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        fs::write(SCHEMA, &text).expect("write the schema");
    }
    let written = fs::read_to_string(SCHEMA).unwrap_or_default();
    assert!(written == text, "docs/json.schema.json is another: INSTA_UPDATE=always writes it");
}
