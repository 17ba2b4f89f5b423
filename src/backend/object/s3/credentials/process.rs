//! Helpers: programs that print credentials, as `credential_process` of a profile names them
//! (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html>).
//!
//! No message repeats what a helper prints, for it is a secret.

use super::Loaded;
use crate::backend::object::s3::Credential;
use jiff::Timestamp;
use serde::Deserialize;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A helper may ask a person; it doesn't get longer.
const TIME: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(10);
/// Bytes of output that are read.
const OUTPUT: u64 = 64 << 10;

/// What a helper prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Output {
    version: u32,
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    expiration: Option<String>,
}

/// Runs a helper, by the shell; an error says what is wrong with it.
pub(super) fn run(command: &str) -> Result<Loaded, String> {
    let child = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let output = read(child.map_err(|error| format!("cannot be started: {error}"))?, TIME)?;
    let output: Output =
        serde_json::from_slice(&output).map_err(|_| "printed no credentials in JSON".to_owned())?;
    if output.version != 1 {
        return Err(format!("printed credentials of version {}, not 1", output.version));
    }
    let expires = match &output.expiration {
        Some(text) => {
            Some(text.parse::<Timestamp>().map_err(|_| "printed no legal Expiration".to_owned())?)
        }
        None => None,
    };
    let token = output.session_token.map(Into::into);
    let credential = Credential::new(output.access_key_id, output.secret_access_key, token);
    Ok(Loaded { credential, expires })
}

/// Reads what a child prints, and waits for its end.
fn read(mut child: Child, time: Duration) -> Result<Vec<u8>, String> {
    let stdout = child.stdout.take();
    // Left alone where the child's own children hold its output open.
    let reader = thread::spawn(move || {
        let mut output = Vec::new();
        stdout.map_or(Ok(0), |stdout| stdout.take(OUTPUT).read_to_end(&mut output)).map(|_| output)
    });
    let began = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) if reader.is_finished() => break Ok(status),
            Ok(_) if began.elapsed() < time => thread::sleep(POLL),
            Ok(_) => break Err(format!("did not end within {} s", time.as_secs_f32())),
            Err(error) => break Err(format!("cannot be waited for: {error}")),
        }
    };
    if status.is_err() {
        // It may have ended by now.
        child.kill().ok();
        child.wait().ok();
    }
    let status = status?;
    if !status.success() {
        return Err(format!("failed ({status})"));
    }
    let output = reader.join().map_err(|_| "cannot be read".to_owned())?;
    output.map_err(|error| format!("cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_prints_credentials() {
        let loaded =
            run(r#"printf '{"Version": 1, "AccessKeyId": "AK x", "SecretAccessKey": "S", '
            echo '"SessionToken": "T", "Expiration": "2030-01-02T03:04:05+00:00", "More": 1}'"#);
        let Loaded { credential, expires } = loaded.unwrap();
        assert_eq!(credential.access_key(), "AK x");
        assert_eq!((credential.secret(), credential.token()), ("S", Some("T")));
        assert_eq!(expires.unwrap().to_string(), "2030-01-02T03:04:05Z");
        let lasting = r#"echo '{"Version":1,"AccessKeyId":"A","SecretAccessKey":"S"}'"#;
        assert_eq!(run(lasting).unwrap().expires, None);
    }

    #[test]
    fn a_helper_that_fails_is_told_without_its_output() {
        for (command, words) in [
            ("echo hunter2; echo hunter2 >&2; exit 3", "failed (exit status: 3)"),
            ("echo hunter2", "no credentials in JSON"),
            (r#"echo '{"Version":"hunter2"}'"#, "no credentials in JSON"),
            (
                r#"echo '{"Version":2,"AccessKeyId":"A","SecretAccessKey":"hunter2"}'"#,
                "version 2, not 1",
            ),
            (
                r#"echo '{"Version":1,"AccessKeyId":"A","SecretAccessKey":"S",
                    "Expiration":"hunter2"}'"#,
                "no legal Expiration",
            ),
        ] {
            let error = run(command).unwrap_err();
            assert!(error.contains(words) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_helper_that_hangs_is_ended() {
        let child = Command::new("sleep").arg("60").stdout(Stdio::piped()).spawn().unwrap();
        let error = read(child, Duration::from_millis(30)).unwrap_err();
        assert!(error.contains("did not end"), "{error}");
    }
}
