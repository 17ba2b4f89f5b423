//! Holds the imports of `src/` against the table of layers: a layer imports only itself and the
//! layers below it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The layers, ground floor first (`docs/architecture.md`).
const LAYERS: [&str; 20] = [
    "model",
    "location",
    "filter",
    "limits",
    "spool",
    "small_directory",
    "ticker",
    "backend",
    "manifest",
    "place",
    "listing",
    "compare",
    "plan",
    "engine",
    "verify",
    "session",
    "api",
    "report",
    "cli",
    "main",
];

/// What a layer may import: lower floors and itself; `report` sees the model alone.
fn may_import(layer: &str, other: &str) -> bool {
    let floor = |name| LAYERS.iter().position(|layer| *layer == name);
    match (layer, other) {
        _ if layer == other => true,
        ("report", _) => other == "model",
        _ => floor(other) < floor(layer) && floor(other).is_some(),
    }
}

/// Blanks comments, strings and character literals, line by line, so that only code is left.
fn code_of(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(raw) = rest.strip_prefix("r#\"") {
            raw.find("\"#").map_or(rest.len(), |end| end + 5)
        } else if rest.starts_with('"') {
            string_length(rest)
        } else if rest.starts_with("'\"'") || rest.starts_with("b'\"'") {
            rest.find("\"'").map_or(1, |end| end + 2)
        } else if rest.starts_with("'\\\"'") {
            4
        } else {
            0
        };
        if skipped == 0 {
            let character = rest.chars().next().expect("not at the end");
            code.push(character);
            at += character.len_utf8();
        } else {
            code.extend(rest[..skipped].chars().filter(|&character| character == '\n'));
            code.push(' ');
            at += skipped;
        }
    }
    code
}

fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The text of string literals, as they are written.
fn strings_of(text: &str) -> Vec<&str> {
    let mut strings = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        at += if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(raw) = rest.strip_prefix("r#\"") {
            let end = raw.find("\"#").unwrap_or(raw.len());
            strings.push(&raw[..end]);
            (end + 5).min(rest.len())
        } else if rest.starts_with('"') {
            let length = string_length(rest);
            strings.push(&rest[..length]);
            length
        } else if rest.starts_with("'\"'") {
            3
        } else if rest.starts_with("'\\\"'") {
            4
        } else {
            rest.chars().next().map_or(1, char::len_utf8)
        };
    }
    strings
}

/// Drops `#[cfg(test)]` modules: a test may look down from anywhere.
fn without_tests(code: &str) -> String {
    let mut kept = String::new();
    let mut rest = code;
    while let Some(start) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..start]);
        let after = &rest[start..];
        let open = after.find('{').unwrap_or(after.len());
        let semicolon = after.find(';').unwrap_or(after.len());
        if semicolon < open {
            rest = &after[semicolon..];
            continue;
        }
        let mut depth = 0;
        let mut end = after.len();
        for (at, character) in after.char_indices().skip(open) {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                end = at + 1;
                break;
            }
        }
        rest = &after[end..];
    }
    kept.push_str(rest);
    kept
}

/// The first components of the paths that follow `root` (`crate::`, `vidimus::`, `super::`).
fn imported(code: &str, root: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(root) {
        let before = code[..at].chars().next_back();
        let is_path = before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
        let restricts = code[..at].ends_with("pub(in ");
        if is_path || restricts {
            continue;
        }
        let rest = &code[at + root.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            names.extend(group_heads(group));
        } else {
            names.extend(identifier(rest));
        }
    }
    names
}

fn identifier(text: &str) -> Option<String> {
    let name: String =
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

/// The first identifiers of each item of a group, up to its closing brace.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut item) = (0, Vec::new(), String::new());
    for character in group.chars() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                heads.extend(identifier(&item));
                item.clear();
                continue;
            }
            _ => {}
        }
        item.push(character);
    }
    heads.extend(identifier(&item));
    heads
}

#[test]
fn a_layer_imports_only_the_layers_below_it() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    let mut layers_seen = BTreeSet::new();
    for entry in walkdir::WalkDir::new(&source).sort_by_file_name() {
        let entry = entry.expect("src/ can be read");
        if entry.path().extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let path = entry.path().strip_prefix(&source).expect("it lies within");
        let path = path.to_str().expect("file names are UTF-8").to_owned();
        if path == "lib.rs" {
            continue;
        }
        let layer = path.split('/').next().expect("a path has a start").trim_end_matches(".rs");
        layers_seen.insert(layer.to_owned());
        if !LAYERS.contains(&layer) {
            wrong.push(format!("src/{path}: the layer `{layer}` is not in the table"));
            continue;
        }
        let text = fs::read_to_string(entry.path()).expect("a source file can be read");
        let code = without_tests(&code_of(&text));
        let root = if layer == "main" { "vidimus::" } else { "crate::" };
        let mut names = imported(&code, root);
        if path == format!("{layer}.rs") || path == format!("{layer}/mod.rs") {
            names.extend(imported(&code, "super::")); // the crate's root, by another name
        }
        for name in names.iter().filter(|name| !may_import(layer, name)) {
            wrong.push(format!("src/{path}: `{layer}` must not import `{name}`"));
        }
    }
    assert!(layers_seen.contains("model"), "the walk saw the sources: {layers_seen:?}");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The words of code that name the protocol S3, other than the location that a user types.
fn words_of_s3(code: &str) -> Vec<String> {
    let code = code.replace("Location::S3", " ");
    let words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
    let names = words.filter(|word| *word == "s3" || word.starts_with("S3"));
    names.filter(|word| *word != "S3Location").map(str::to_owned).collect()
}

#[test]
fn a_protocol_of_stores_is_named_by_its_own_module_and_by_the_list_of_protocols_alone() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let may_name_it = |path: &str| {
        let own = ["location", "backend/object/s3/", "backend/object/protocols.rs"];
        // The module is declared there.
        path == "backend/object/mod.rs" || own.iter().any(|own| path.starts_with(own))
    };
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for entry in walkdir::WalkDir::new(&source).sort_by_file_name() {
        let entry = entry.expect("src/ can be read");
        let path = entry.path().strip_prefix(&source).expect("it lies within");
        let path = path.to_str().expect("file names are UTF-8").to_owned();
        if entry.path().extension().is_some_and(|end| end == "rs") && !may_name_it(&path) {
            let text = fs::read_to_string(entry.path()).expect("a source file can be read");
            let words = words_of_s3(&without_tests(&code_of(&text)));
            wrong.extend(words.into_iter().map(|word| format!("src/{path}: {word}")));
            seen += 1;
        }
    }
    assert!(seen > 100, "the walk saw the sources");
    assert!(wrong.is_empty(), "ask a `dyn Store` instead:\n{}", wrong.join("\n"));
    let found = words_of_s3("use super::s3::{S3, Wanted}; Location::S3(location), S3Location, s30");
    assert_eq!(found, ["s3", "S3"]);
}

/// What only `place` and the layers below it may name: which kind a place is of is nobody's business
/// above, who goes by its capabilities.
const KINDS: [&str; 13] = [
    "LocalSource",
    "LocalTarget",
    "ObjectSource",
    "ObjectTarget",
    "BucketPrefix",
    "Stores",
    "Walking",
    "Guarded",
    "S3Location",
    "Location::Local",
    "Location::S3",
    "local::Root",
    "Lockable::",
];

/// The names of `KINDS` that code has, as whole words.
fn kinds_in(code: &str) -> Vec<&'static str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let has = |kind: &str| {
        code.match_indices(kind).any(|(at, _)| {
            // `SingleLocation::Local` is a `Location::Local`, too.
            let begins = kind.contains("::") || !code[..at].ends_with(is_word);
            begins && (kind.ends_with(':') || !code[at + kind.len()..].starts_with(is_word))
        })
    };
    KINDS.into_iter().filter(|kind| has(kind)).collect()
}

#[test]
fn nothing_above_the_opener_asks_for_the_kind_of_a_place() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let opener = LAYERS.iter().position(|layer| *layer == "place").expect("it is a layer");
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for entry in walkdir::WalkDir::new(&source).sort_by_file_name() {
        let entry = entry.expect("src/ can be read");
        let path = entry.path().strip_prefix(&source).expect("it lies within");
        let path = path.to_str().expect("file names are UTF-8").to_owned();
        let layer = path.split('/').next().expect("a path has a start").trim_end_matches(".rs");
        let is_above = LAYERS[opener + 1..].contains(&layer);
        let is_test = path.contains("/tests");
        if !is_above || is_test || entry.path().extension().is_none_or(|end| end != "rs") {
            continue;
        }
        seen += 1;
        let text = fs::read_to_string(entry.path()).expect("a source file can be read");
        for kind in kinds_in(&without_tests(&code_of(&text))) {
            wrong.push(format!("src/{path}: `{kind}` is for `place` and below"));
        }
    }
    assert!(seen > 50, "the walk saw the sources: {seen}");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_kind_is_seen_by_its_whole_name() {
    assert_eq!(kinds_in("match at { SingleLocation::Local(path) => path }"), ["Location::Local"]);
    assert_eq!(kinds_in("use crate::backend::local::Root;"), ["local::Root"]);
    assert_eq!(kinds_in("fn f(_: Stores<'_>) {}"), ["Stores"]);
    assert!(
        kinds_in("StoreSettings, local::RootIdentity, OtherStores, Location::LocalTime").is_empty()
    );
}

/// Commands of other programs, which a way out may name with their flags.
const OTHER_PROGRAMS: [&str; 2] = [
    // Where AWS's own client keeps a login, nothing but that client renews it.
    "aws sso login --profile",
    // A bag that no run here made is checked by the program that most bags are checked by.
    "bagit.py --validate",
];

/// The flags that a text names.
fn flags_in(text: &str) -> Vec<String> {
    let ours = OTHER_PROGRAMS.iter().fold(text.to_owned(), |text, other| text.replace(other, ""));
    let is_flag = |word: &str| {
        let letter = word.strip_prefix("--").and_then(|name| name.chars().next());
        letter.is_some_and(|letter| letter.is_ascii_alphabetic())
    };
    let words = ours.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    words.filter(|word| is_flag(word)).map(str::to_owned).collect()
}

#[test]
fn a_flag_is_named_by_the_command_line_and_its_presenters_alone() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for entry in walkdir::WalkDir::new(&source).sort_by_file_name() {
        let entry = entry.expect("src/ can be read");
        let path = entry.path().strip_prefix(&source).expect("it lies within");
        let path = path.to_str().expect("file names are UTF-8").to_owned();
        let may_name_them = ["cli/", "report/"].iter().any(|layer| path.starts_with(layer));
        let is_test = path.contains("/tests");
        if may_name_them || is_test || entry.path().extension().is_none_or(|end| end != "rs") {
            continue;
        }
        seen += 1;
        let text = fs::read_to_string(entry.path()).expect("a source file can be read");
        // Unit tests stand at the end of their file.
        let text = text.split("#[cfg(test)]\nmod tests {").next().expect("a first part");
        for flag in strings_of(text).into_iter().flat_map(flags_in) {
            wrong.push(format!("src/{path}: {flag} is for `cli`; name a `Setting` instead"));
        }
    }
    assert!(seen > 100, "the walk saw the sources: {seen}");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_flag_is_seen_in_whatever_string_names_it() {
    let text = r##"
        // "--comment" says nothing.
        let quote = '"'; f("see \"--no-markers\"", r#"or --delete: "#, "a--b, -- c, --- d");
        g("log in: aws sso login --profile {name}");
    "##;
    let found: Vec<_> = strings_of(text).into_iter().flat_map(flags_in).collect();
    assert_eq!(found, ["--no-markers", "--delete"]);
}

#[test]
fn the_check_sees_through_groups_comments_and_tests() {
    let text = r#"
        // use crate::cli;
        /* use crate::report; */
        use crate::{compare::{Policy, join}, model::Key};
        const NOT_CODE: &str = "use crate::engine;";
        fn f(_: crate::plan::Step) { quux::crate::nothing(); }
        #[cfg(test)]
        mod tests { use crate::session::mirror; fn g() { { } } }
        use crate::spool;
    "#;
    let found = imported(&without_tests(&code_of(text)), "crate::");
    let found: Vec<_> = found.iter().map(String::as_str).collect();
    assert_eq!(found, ["compare", "model", "plan", "spool"]);
    assert!(may_import("engine", "plan") && !may_import("plan", "engine"));
    assert!(may_import("report", "model") && !may_import("report", "filter"));
    assert!(may_import("cli", "report") && !may_import("session", "report"));
}
