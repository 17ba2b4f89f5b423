//! Keys and signatures: `keygen`.

use crate::common::{Environment, Run, Snapshot};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

fn with_password(env: &Environment, arguments: &[&str], password: &str) -> Run {
    let mut command = env.command(arguments);
    command.env("VIDIMUS_KEY_PASSWORD", password);
    Run::of(command)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("stat").permissions().mode() & 0o7777
}

#[test]
fn a_new_pair_of_keys_is_written_and_none_is_written_over() {
    let env = Environment::new();
    let run = with_password(&env, &["keygen"], "secret").expect(0);
    let keys = env.root.join("home/.config/vidimus");
    let public = fs::read_to_string(keys.join("vidimus.pub")).expect("read");
    let run = run.names("(encrypted)").names(public.lines().nth(1).expect("a key"));
    assert!(!run.told().contains("secret\n"), "{}", run.told());
    assert_eq!((mode(&keys), mode(&keys.join("vidimus.key"))), (0o700, 0o600));
    assert_eq!(mode(&keys.join("vidimus.pub")) & 0o700, 0o600);
    with_password(&env, &["keygen"], "secret").expect(6).names("vidimus.key").names("--force");
    fs::remove_file(keys.join("vidimus.key")).expect("remove");
    with_password(&env, &["keygen"], "secret").expect(6).names("vidimus.pub");
    assert!(!keys.join("vidimus.key").exists());
    with_password(&env, &["keygen", "--force"], "secret").expect(0);
    assert_ne!(fs::read_to_string(keys.join("vidimus.pub")).expect("read"), public);
    assert_eq!(mode(&keys.join("vidimus.key")), 0o600);
    assert_eq!(Snapshot::read(&keys).temporaries(), Vec::<String>::new());
    env.vidimus(&["keygen", "-s", "a", "-p", "a", "--no-password"]).expect(2).names("--public");
    env.vidimus(&["keygen", "-s", "missing/a", "--no-password"]).expect(7).names("missing/a");
}
