//! `vidimus manifest`: what a mirror published, shown and exported.

use crate::common::clients::duckdb;
use crate::common::environment::text;
use crate::common::{Environment, Run, Snapshot, TestTree, assert_untouched, tools};
use crate::manifest::{directory, head, lose_state, many, published};
use crate::mirror::{mirrored, sample};
use crate::needs;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, Stdio};

/// Three publications: a hundred files, then one changed, then one removed.
fn three() -> Environment {
    let env = mirrored(&many());
    fs::write(env.source.join("d0/f0"), "changed").expect("write");
    env.mirrored(&[]);
    fs::remove_file(env.source.join("d1/f1")).expect("remove");
    env.mirrored(&["--delete"]);
    env
}

#[test]
fn show_tells_what_the_head_says() {
    let env = three();
    let before = Snapshot::read(&env.target);
    lose_state(&env);
    let run = env.vidimus(&["manifest", "show", text(&env.target)]).expect(0);
    let head = head(&env);
    run.names(head["run"].as_str().unwrap())
        .names("complete")
        .names(text(&env.source))
        .names("rows        107\n")
        .names("3 segments, 112 lines");
    let records = env.vidimus(&["manifest", "show", "--json", "target"]).expect(0).records();
    assert_eq!(records.len(), 2);
    let record = records[0].as_object().unwrap();
    for (name, value) in head.as_object().unwrap() {
        if ["started", "published"].contains(&&**name) {
            let date: jiff::Timestamp = record[name].as_str().unwrap().parse().unwrap();
            let seconds = value.as_str().unwrap().split_once('.').unwrap().0;
            assert_eq!(date.as_second().to_string(), seconds, "{name}");
            continue;
        }
        assert_eq!(record[name], *value, "{name}");
    }
    assert_eq!((&record["event"], &record["lines"]), (&"publication".into(), &112.into()));
    let bytes = fs::read(directory(&env).join("00000003.json")).unwrap();
    assert_eq!(record["blake3"], blake3::hash(&bytes).to_hex().as_str());
    assert_eq!((&records[1]["publications"], &records[1]["exit_code"]), (&1.into(), &0.into()));
    assert!(!env.state.exists());
    assert_untouched(&before, &env.target);
}

#[test]
fn a_copy_of_a_manifest_is_one() {
    let env = mirrored(&sample());
    let copy = env.root.join("copy");
    fs::rename(directory(&env), &copy).expect("rename");
    env.vidimus(&["manifest", "show", "copy"]).expect(0).names("complete");
    env.vidimus(&["manifest", "show", "target"]).expect(4).names("no published manifest");
}

#[test]
fn what_is_no_manifest_is_refused() {
    let env = mirrored(&sample());
    let show = |location: &str| env.vidimus(&["manifest", "show", location]);
    show("source").expect(4).names("no published manifest").names("help:");
    show("missing").expect(7).names("missing");
    show("source/README.md").expect(7).names("is a file");
    show("s3://bucket/x?regoin=eu").expect(2);
    fs::write(directory(&env).join("latest.json"), "{}").expect("write");
    show("target").expect(4).names("damaged");
    let finished = env.vidimus(&["manifest", "show", "--json", "target"]).expect(4).finished();
    assert_eq!(
        (&finished.record["exit_code"], &finished.record["verdict"]),
        (&4.into(), &"failed".into())
    );
    assert!(finished.record["error"].as_str().unwrap().contains("damaged"));
}

/// Writes something else in the first head, and what vouches for that.
fn forge(env: &Environment, part: &str, other: &str) {
    let path = directory(env).join("00000001.json");
    let whole = fs::read_to_string(&path).expect("read");
    let forged = whole.replace(part, other);
    assert_ne!(forged, whole);
    fs::write(&path, &forged).expect("write");
    let pointer = format!(
        "{{\"vidimus_manifest\": 1, \"head\": {{\"sequence\": 1, \"blake3\": \"{}\"}}}}",
        blake3::hash(forged.as_bytes())
    );
    fs::write(directory(env).join("latest.json"), pointer).expect("write");
}

/// Nobody knows who wrote it.
#[test]
fn a_head_that_is_not_safe_in_a_terminal_is_refused() {
    let env = mirrored(&sample());
    let name = format!("\"source\": \"{}\"", env.source.display());
    forge(&env, &name, "\"source\": \"/a\\\\n\\u001b[2J\"");
    lose_state(&env);
    let target = crate::common::environment::text(&env.target);
    for arguments in
        [&["manifest", "show", target][..], &["verify", target], &["diff", target, target]]
    {
        let run = env.vidimus(arguments).expect(4).names("control characters");
        assert!(!run.told().contains('\u{1b}'), "{}", run.told());
    }
    let run = env.mirror(&[]).expect(0).names("everything is compared");
    assert!(!run.told().contains('\u{1b}'), "{}", run.told());
}

#[test]
fn times_that_no_calendar_has_are_shown_all_the_same() {
    let env = mirrored(&sample());
    let head = fs::read_to_string(directory(&env).join("00000001.json")).expect("read");
    let started = head.lines().find(|line| line.contains("\"started\"")).expect("it began");
    forge(&env, started, "  \"started\": \"9223372036854775807.999999999\",");
    lose_state(&env);
    env.vidimus(&["manifest", "show", "target"]).expect(0);
    env.vidimus(&["manifest", "log", "target"]).expect(0);
    env.mirror(&[]).expect(0);
}

#[test]
fn log_walks_back_to_the_first_publication() {
    let env = three();
    lose_state(&env);
    let log = env.vidimus(&["manifest", "log", "target"]).expect(0).stdout;
    let lines: Vec<Vec<_>> = log.lines().map(|line| line.split_whitespace().collect()).collect();
    let told: Vec<_> =
        lines.iter().map(|words| (words[0], words[words.len() - 2..].join(" "))).collect();
    assert_eq!(
        told,
        [("3", "2 changes"), ("2", "2 changes"), ("1", "all rows"), ("3", "rows too")]
            .map(|(number, changed)| (number, changed.to_owned()))
    );
    let run = env.vidimus(&["manifest", "log", "--json", "target"]).expect(0);
    run.finished().counts(&[("publications", 3), ("exit_code", 0)]);
    let records = run.records();
    for (at, changed) in [Some(2), Some(2), None].into_iter().enumerate() {
        let bytes = fs::read(directory(&env).join(format!("{:08}.json", 3 - at))).unwrap();
        assert_eq!(records[at]["blake3"], blake3::hash(&bytes).to_hex().as_str());
        assert_eq!(records[at]["changed"].as_u64(), changed);
    }
}

/// What came before the break is not told of: nothing vouches for it.
#[test]
fn a_broken_chain_is_named() {
    let env = three();
    let path = directory(&env).join("00000002.json");
    let whole = fs::read_to_string(&path).expect("read");
    let tampered = whole.replace("complete", "refused");
    assert_ne!(tampered, whole);
    for tampered in [Some(tampered), None] {
        match tampered {
            Some(tampered) => fs::write(&path, tampered).expect("write"),
            None => fs::remove_file(&path).expect("remove"),
        }
        let run = env.vidimus(&["manifest", "log", "target"]).expect(4);
        assert_eq!(run.stdout.lines().count(), 1, "{}", run.stdout);
        run.names("broken between publications 2 and 3").names("00000002.json").names("help:");
        let run = env.vidimus(&["manifest", "log", "--json", "target"]).expect(4);
        run.finished().counts(&[("publications", 1), ("exit_code", 4)]);
    }
    // What counts is whole all the same.
    env.vidimus(&["manifest", "show", "target"]).expect(0);
}

#[test]
fn numbers_of_the_chain_go_on_by_one() {
    let env = mirrored(&sample());
    let previous = format!("\"previous\": {{\"sequence\": 4, \"blake3\": \"{}\"}}", "0".repeat(64));
    forge(&env, "\"previous\": null", &previous);
    let run = env.vidimus(&["manifest", "log", "target"]).expect(4);
    run.names("damaged").names("publication 4 came before");
}

/// Names that are hard to write in a list.
fn awkward() -> TestTree {
    TestTree::new()
        .file("plain", "1")
        .file("two  spaces", "2")
        .file("d/new\nline", "3")
        .file("d/back\\slash\\n", "4")
        .file("carriage\rreturn\r", "5")
        .file("\"quoted\", comma", "6")
        .file("-", "7")
        .file("BLAKE3 (a) = b", "8")
        .file("\\", "9")
        .file("empty", "")
        .symlink("link, \"l\"", "plain")
        .file(b"not\xffutf8", "10")
        .file("\u{fffd}", "11")
}

fn export(env: &Environment, format: &str, flags: &[&str]) -> Run {
    let arguments = [&["manifest", "export", "--format", format, "target"][..], flags].concat();
    env.vidimus(&arguments)
}

#[test]
fn b3sum_accepts_what_is_exported_for_it() {
    needs!(tools::b3sum());
    let env = mirrored(&awkward());
    let run = export(&env, "b3sum", &[]).expect(0);
    let left_out: Vec<_> = run.stderr.lines().collect();
    assert_eq!(
        left_out,
        [
            "note: left out \"not\\xffutf8\": its name is not UTF-8",
            "note: left out \"\u{fffd}\": b3sum refuses the character U+FFFD",
        ]
    );
    assert_eq!(run.stdout.lines().count(), 10);
    let list = env.root.join("list");
    fs::write(&list, &run.stdout).expect("write");
    let check = || {
        let mut command = Command::new(tools::b3sum().unwrap());
        command.arg("--check").arg(&list);
        let mut command = env.hermetic(command);
        command.current_dir(&env.target);
        Run::of(command)
    };
    assert_eq!(check().expect(0).stdout.matches(": OK").count(), 10);
    fs::write(env.target.join("d/new\nline"), "X").expect("write");
    check().expect(1).names("new\\nline: FAILED");
}

/// What the target holds, named one by one, as a shell's `*` does where there are no dot files.
fn by_name(env: &Environment, mut command: Command) -> Run {
    let names = fs::read_dir(&env.target).expect("list").map(|name| name.unwrap().file_name());
    // What `-` names is standard input to most tools.
    command.args(names.filter(|name| name != ".vidimus" && name != "-"));
    let mut command = env.hermetic(command);
    command.current_dir(&env.target);
    Run::of(command)
}

#[test]
fn sha256sum_accepts_what_is_exported_for_it() {
    let env = Environment::new();
    awkward().write(&env.source);
    env.mirrored(&["--digest", "sha256"]);
    let list = env.root.join("list");
    let run = export(&env, "sha256sum", &["--output", text(&list)]).expect(0);
    assert_eq!(run.stderr, "", "coreutils take any name");
    let check = || {
        let mut command = Command::new("sha256sum");
        command.args(["--check", "--strict"]).arg(&list);
        let mut command = env.hermetic(command);
        command.current_dir(&env.target);
        Run::of(command)
    };
    assert_eq!(check().expect(0).stdout.matches(": OK").count(), 12);
    fs::write(env.target.join("d/new\nline"), "X").expect("write");
    check().expect(1).names("new\\nline: FAILED");
}

#[test]
fn hashdeep_accepts_what_is_exported_for_it() {
    needs!(tools::tool("hashdeep"));
    for (kinds, algorithms) in [("sha256", "sha256"), ("sha256,md5", "md5,sha256")] {
        let env = Environment::new();
        // Two of one content are two files all the same.
        awkward().file("d/again", "1").file("again", "1").write(&env.source);
        fs::remove_file(env.source.join("-")).expect("remove");
        env.mirrored(&["--digest", kinds]);
        let list = env.root.join("list");
        let run = export(&env, "hashdeep", &["--output", text(&list)]).expect(0);
        let why = "a line of hashdeep's can't contain a line end";
        let left_out: Vec<_> = run.stderr.lines().collect();
        assert_eq!(
            left_out,
            [
                format!("note: left out \"carriage\\rreturn\\r\": {why}"),
                format!("note: left out \"d/new\\nline\": {why}"),
            ]
        );
        let known = fs::read(&list).expect("read");
        let header = format!("%%%% HASHDEEP-1.0\n%%%% size,{algorithms},filename\n");
        assert!(known.starts_with(header.as_bytes()));
        for name in ["carriage\rreturn\r", "d/new\nline"] {
            fs::remove_file(env.target.join(name)).expect("remove");
        }
        let audit = || {
            let mut command = Command::new(tools::tool("hashdeep").unwrap());
            command.args(["-r", "-l", "-o", "f", "-a", "-vv", "-k"]).arg(&list);
            by_name(&env, command)
        };
        let run = audit().expect(0);
        assert!(run.stdout.contains("Audit passed"), "{}", run.stdout);
        assert!(run.stdout.contains("Files matched: 11"), "{}", run.stdout);
        fs::write(env.target.join("plain"), "X").expect("write");
        assert!(audit().stdout.contains("Audit failed"));
    }
}

#[test]
fn json_is_the_manifest_flattened() {
    let env = three();
    lose_state(&env);
    let exported = export(&env, "json", &[]).expect(0).records();
    let rows: Vec<Value> = published(&env).into_values().collect();
    assert_eq!(rows.len(), 107);
    assert_eq!(exported, rows);
    let env = mirrored(&awkward());
    let run = export(&env, "json", &[]).expect(0);
    assert_eq!((run.stderr.as_str(), run.records().len()), ("", 15));
}

#[test]
fn csv_has_a_line_a_row() {
    let env = mirrored(&awkward());
    fs::remove_file(env.source.join("plain")).expect("remove");
    symlink("new", env.source.join("plain")).expect("link");
    env.mirrored(&[]);
    let run = export(&env, "csv", &[]).expect(0);
    assert_eq!(run.stderr, "note: left out \"not\\xffutf8\": its name is not UTF-8\n");
    let header = "key,kind,size,blake3,sha256,md5,mtime,mode,uid,gid,link,run,verified\r\n";
    assert!(run.stdout.starts_with(header));
    // The root's key is empty.
    assert!(run.stdout[header.len()..].starts_with(",directory,,,,,"), "{}", run.stdout);
    let digest = blake3::hash(b"6");
    run.names(&format!("\"\"\"quoted\"\", comma\",file,1,{digest},"))
        .names("\"link, \"\"l\"\"\",symlink,,,")
        .names("plain,symlink,,,")
        .is_silent_about("plain,file")
        .names("\"d/new\nline\",file,1,");
}

#[test]
fn files_without_a_digest_are_counted_where_one_is_needed() {
    let env = mirrored(&sample());
    env.lose_records();
    env.mirrored(&[]);
    let run = export(&env, "b3sum", &[]).expect(0);
    assert_eq!(run.stdout, "");
    run.names("left out").names("files without a recorded digest");
    assert_eq!(export(&env, "csv", &[]).expect(0).stderr, "");
}

#[test]
fn help_that_cannot_be_written_is_a_failure_too() {
    let env = Environment::new();
    for arguments in [&["--help"][..], &["mirror", "-h"], &["--version"], &["man"]] {
        let mut command = env.command(arguments);
        command.stdout(fs::File::options().write(true).open("/dev/full").unwrap());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(7), "{arguments:?}");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains("cannot write to standard output"), "{told}");
    }
}

#[test]
fn an_output_that_nobody_reads_is_no_failure_and_one_that_is_full_is() {
    let env = mirrored(&many());
    let command = || env.command(&["manifest", "export", "--format", "json", "target"]);
    let mut child = command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let run = Run::wait(child, "export, unread".into()).expect(0);
    assert_eq!(run.stderr, "");
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let child = command().stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    Run::wait(child, "export, full".into()).expect(7).names("standard output");
}

#[test]
fn digests_that_nobody_recorded_are_refused_before_anything_is_written() {
    let env = mirrored(&sample());
    let list = env.root.join("list");
    fs::write(&list, "what it had").expect("write");
    for format in ["sha256sum", "hashdeep"] {
        let run = export(&env, format, &[]).expect(2);
        assert_eq!(run.stdout, "");
        let files = sample().files() - 4;
        let message = format!("error: \"README.md\" and {} more files have no SHA-256", files - 1);
        run.names(&message).names("--digest sha256");
        export(&env, format, &["--output", text(&list)]).expect(2);
        assert_eq!(fs::read(&list).expect("read"), b"what it had");
    }
    env.mirrored(&["--digest", "sha256"]);
    fs::write(env.source.join("bin/run"), "changed").expect("write");
    env.mirrored(&[]);
    let run = export(&env, "sha256sum", &[]).expect(2);
    assert_eq!(run.stdout, "");
    run.names("error: \"bin/run\" has no SHA-256");
    // What takes up all digests but one kind of it is no list.
    env.mirrored(&["--digest", "sha256"]);
    export(&env, "hashdeep", &[]).expect(0).names("%%%% size,sha256,filename\n");
    export(&env, "md5sum", &[]).expect(2);
    env.vidimus(&["manifest", "export", "target"]).expect(2).names("--format");
}

#[test]
fn a_file_is_written_whole_or_not_at_all() {
    let env = mirrored(&many());
    let output = env.root.join("list");
    fs::write(&output, "before").expect("write");
    let whole = export(&env, "json", &[]).expect(0).stdout;
    let run = export(&env, "json", &["--output", "list"]).expect(0);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
    assert_eq!(fs::read_to_string(&output).expect("read"), whole);
    let mode = fs::metadata(&output).expect("stat").permissions().mode() & 0o777;
    assert_eq!(mode & 0o600, 0o600, "{mode:o}");
    // A line is wrong, though all digests are right.
    let zst = directory(&env).join("00000001.ndjson.zst");
    let segment = fs::read(&zst).expect("read");
    let lines = String::from_utf8(zstd::decode_all(&segment[..]).unwrap()).unwrap();
    let wrong = zstd::encode_all(lines.replace("d1/f99", "d1/a99").as_bytes(), 3).unwrap();
    fs::write(&zst, &wrong).expect("write");
    let head = fs::read_to_string(directory(&env).join("00000001.json")).unwrap();
    let head: Value = serde_json::from_str(&head).unwrap();
    let size = format!("\"bytes\": {}", segment.len());
    let digest = head["segments"][0]["blake3"].as_str().unwrap();
    if wrong.len() != segment.len() {
        forge(&env, &size, &format!("\"bytes\": {}", wrong.len()));
    }
    forge(&env, digest, &blake3::hash(&wrong).to_hex());
    export(&env, "b3sum", &["--output", "list"]).expect(4).names("out of order");
    assert_eq!(fs::read_to_string(&output).expect("read"), whole);
    let names = fs::read_dir(&env.root).expect("list").map(|entry| entry.unwrap().file_name());
    assert!(names.into_iter().all(|name| !text(name.as_ref()).contains("vidimus")));
    export(&env, "b3sum", &["--output", "missing/list"]).expect(7).names("missing/list");
    export(&env, "b3sum", &["--output", "s3://bucket/list"]).expect(2).names("--output");
}

/// The statements of docs/manifest.md, to the letter.
#[test]
fn duckdb_reads_it_as_documented() {
    let document = include_str!("../../docs/manifest.md");
    let (_, sql) = document.split_once("```sql\n").expect("statements");
    let (sql, _) = sql.split_once("```").expect("their end");
    let program = format!(
        "import duckdb, json\n\
         db = duckdb.connect()\n\
         db.execute(r\"\"\"{sql}\"\"\")\n\
         rows = db.sql('SELECT * FROM manifest ORDER BY encode(key), key_base64')\n\
         for row in rows.fetchall():\n    \
             row = zip(rows.columns, row)\n    \
             print(json.dumps({{name: value for name, value in row if value is not None}}))"
    );
    needs!(duckdb(&program));
    let env = mirrored(&many());
    awkward().write(&env.source);
    fs::remove_file(env.source.join("d2/f2")).expect("remove");
    env.mirrored(&["--delete"]);
    assert_eq!(head(&env)["segments"].as_array().expect("segments").len(), 2);
    let mut command = duckdb(&program).unwrap();
    command.current_dir(directory(&env));
    let read = Run::of(command).expect(0).records();
    let mut exported = export(&env, "json", &[]).expect(0).records();
    exported.sort_by_key(|row| row["key"].is_null());
    for row in &mut exported {
        let row = row.as_object_mut().unwrap();
        for stamp in ["source", "target", "source_racy"] {
            row.remove(stamp);
        }
    }
    assert_eq!(read.len(), 100 + 7 + 1 - 1 + 13 + 1);
    for (read, exported) in read.iter().zip(&exported) {
        assert_eq!(read, exported);
    }
    assert_eq!(read.len(), exported.len());
}

#[test]
fn a_head_that_counts_other_rows_is_damaged() {
    let env = mirrored(&sample());
    let rows = head(&env)["rows"].as_u64().expect("a number");
    forge(&env, &format!("\"rows\": {rows}"), &format!("\"rows\": {}", rows + 1));
    lose_state(&env);
    env.vidimus(&["verify", "target"]).expect(4).names("damaged").names("rows");
    env.vidimus(&["manifest", "export", "--format", "json", "target"]).expect(4);
    env.mirror(&[]).expect(0).names("everything is compared");
    env.vidimus(&["verify", "target"]).expect(0);
}

#[test]
fn a_publication_is_read_by_its_head() {
    let env = three();
    let head = |number: u32| format!("target/.vidimus/manifest/{number:08}.json");
    let rows = |location: &str| {
        let run = env.vidimus(&["manifest", "export", "--format", "json", location]).expect(0);
        run.stdout.lines().count()
    };
    assert_eq!(
        [rows(&head(1)), rows(&head(2)), rows(&head(3)), rows("target")],
        [108, 108, 107, 107]
    );
    env.vidimus(&["manifest", "show", &head(2)]).expect(0).names("rows        108\n");
    env.vidimus(&["manifest", "log", &head(2)]).expect(0).names("2 publications");
    env.vidimus(&["manifest", "check", &head(2)]).expect(0);
    let diff = |a: &str, b: &str| env.vidimus(&["diff", "--no-metadata", a, b]);
    diff(&head(1), &head(2)).expect(3).names("content    d0/f0").is_silent_about("d1/f1");
    diff(&head(2), "target").expect(3).names("only in A  d1/f1").is_silent_about("d0/f0");
    diff("target/.vidimus/manifest/latest.json", "target").expect(0);
    // All rows are published anew, and what came before is not kept.
    fs::write(env.source.join("d0/f0"), "changed again").expect("write");
    for number in 0..40 {
        fs::write(env.source.join(format!("d2/f{number}")), "changed").expect("write");
    }
    env.mirrored(&[]);
    let superseded = "the rows of publication 2 are no longer kept: publication 4 wrote all";
    env.vidimus(&["manifest", "export", "--format", "json", &head(2)]).expect(4).names(superseded);
    env.vidimus(&["manifest", "check", &head(2)]).expect(4).names(superseded);
    diff(&head(2), "target").expect(4).names(superseded).is_silent_about("damaged");
    env.vidimus(&["diff", "source/d0/f0", "target"]).expect(7).names("not one of a manifest");
    env.vidimus(&["diff", "target/.vidimus/manifest/00000001.ndjson.zst", "target"]).expect(7);
}
