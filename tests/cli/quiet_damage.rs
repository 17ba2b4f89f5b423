//! What is told to those, too, who want to hear of failures alone.

use crate::common::{Environment, Run, TestTree};
use std::fs;

#[test]
fn damage_of_the_manifest_is_told_in_quiet_too_and_what_is_worth_knowing_is_not() {
    let env = Environment::new();
    TestTree::new().file("f", "content").write(&env.source);
    env.mirrored(&[]);
    let pointer = env.target.join(".vidimus/manifest/latest.json");
    fs::remove_file(&pointer).expect("remove");
    let run = env.vidimus(&["mirror", "source", "target", "-q"]).expect(0);
    run.names("warning: ").names("latest.json: it is missing");
    fs::remove_file(&pointer).expect("remove");
    let run = env.mirror(&["-q"]).expect(0).names("\"level\":\"warning\"");
    run.names("latest.json: it is missing");
    let left = r#"{"run":"dead","pid":7,"host":"h","started":"2026-11-21T03:38:00Z"}"#;
    for command in [&["mirror", "source", "target", "-q"][..], &["put", "-", "target/put", "-q"]] {
        fs::write(env.target.join(".vidimus/lock"), left).expect("write");
        let mut run = env.command(command);
        run.stdin(fs::File::open(env.source.join("f")).expect("open"));
        Run::of(run).expect(0).is_silent_about("took over");
    }
}
