//! Helper programs that print credentials, named by `credential_process` of a profile
//! (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html>).
//!
//! A helper's standard output is secret and never repeated. If it fails, the end of its standard
//! error is shown, without words that it also printed to standard output or got as arguments: an
//! argument may be a password, which shells repeat in errors. The program's own path is shown.

use super::Loaded;
use crate::backend::object::s3::Credential;
use crate::model::key::Escaped;
use jiff::Timestamp;
use serde::Deserialize;
use std::io::{self, Read as _};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The timeout of a helper, which may have to ask a person.
const TIME: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(10);
/// Bytes kept from the end of the output: more than credentials take.
const OUTPUT: usize = 64 << 10;
/// Bytes shown from the end of standard error.
const WORDS: usize = 300;
/// The shortest word that may be a secret, in bytes.
const SECRET: usize = 6;

/// The output of a helper.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Output {
    version: u32,
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    expiration: Option<String>,
}

/// Runs a helper in the shell; an error says what is wrong with it.
pub(super) fn run(command: &str) -> Result<Loaded, String> {
    let child = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let child = child.map_err(|error| format!("cannot be started: {error}"))?;
    let output = read(command, child, TIME)?;
    let output: Output = serde_json::from_slice(&output)
        .map_err(|_| "did not print credentials in JSON".to_owned())?;
    if output.version != 1 {
        return Err(format!("printed credentials of version {}, not 1", output.version));
    }
    let expires = match &output.expiration {
        Some(text) => Some(
            text.parse::<Timestamp>().map_err(|_| "printed an invalid Expiration".to_owned())?,
        ),
        None => None,
    };
    let token = output.session_token.map(Into::into);
    let credential = Credential::new(output.access_key_id, output.secret_access_key, token);
    Ok(Loaded { credential, expires })
}

/// Reads the output of a child process and waits for its end.
fn read(command: &str, mut child: Child, time: Duration) -> Result<Vec<u8>, String> {
    let output = reader(child.stdout.take());
    let stderr = reader(child.stderr.take());
    let began = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) if output.is_finished() => break Ok(status),
            Ok(_) if began.elapsed() < time => thread::sleep(POLL),
            Ok(_) => break Err(format!("did not end within {} s", time.as_secs_f32())),
            Err(error) => break Err(format!("cannot be waited for: {error}")),
        }
    };
    if status.is_err() {
        // The process may have ended already.
        child.kill().ok();
        child.wait().ok();
    }
    let finished = |reader: Reader| {
        // Don't wait for a grandchild that keeps the pipe open.
        let ended = reader.is_finished().then(|| reader.join().ok()).flatten();
        ended.unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))
    };
    let output = finished(output);
    let words = || {
        // Leave a moment for the last output.
        thread::sleep(POLL);
        let (printed, stderr) = (output.as_deref().unwrap_or_default(), finished(stderr));
        words(stderr.as_deref().unwrap_or_default(), &[printed, arguments(command).as_bytes()])
    };
    match status {
        Err(error) => Err(format!("{error}{}", words())),
        Ok(status) if !status.success() => Err(format!("failed ({status}){}", words())),
        Ok(_) => output.map_err(|error| format!("cannot be read: {error}")),
    }
}

/// Returns the arguments of a command; all of it if it begins with the assignment of a variable.
fn arguments(command: &str) -> &str {
    let command = command.trim_start();
    let program = match command.chars().next() {
        Some(quote @ ('"' | '\'')) => command[1..].find(quote).map(|end| end + 2),
        _ => command.find(char::is_whitespace),
    };
    let (program, arguments) = command.split_at(program.unwrap_or(command.len()));
    if program.contains('=') { command } else { arguments }
}

type Reader = thread::JoinHandle<io::Result<Vec<u8>>>;

/// Reads a pipe to its end on a thread and keeps the last bytes.
fn reader(pipe: Option<impl io::Read + Send + 'static>) -> Reader {
    thread::spawn(move || {
        let mut output = Vec::new();
        let Some(mut pipe) = pipe else { return Ok(output) };
        while pipe.by_ref().take(OUTPUT as u64).read_to_end(&mut output)? > 0 {
            output.drain(..output.len().saturating_sub(OUTPUT));
        }
        Ok(output)
    })
}

/// Returns the end of a helper's standard error as part of a message, without words that must stay
/// hidden.
fn words(stderr: &[u8], hidden: &[&[u8]]) -> String {
    let stderr = String::from_utf8_lossy(stderr);
    let hidden = hidden.iter().map(|text| String::from_utf8_lossy(text)).collect::<Vec<_>>();
    let is_part = |letter: char| letter.is_alphanumeric() || "+/=_-".contains(letter);
    let words = hidden.iter().flat_map(|text| text.split(|letter| !is_part(letter)));
    let secrets = words.filter(|word| word.len() >= SECRET);
    let stderr =
        secrets.fold(stderr.trim().to_owned(), |stderr, secret| stderr.replace(secret, "…"));
    let mut start = stderr.len().saturating_sub(WORDS);
    while !stderr.is_char_boundary(start) {
        start += 1;
    }
    if stderr.is_empty() { stderr } else { format!(": {}", Escaped(&stderr.as_bytes()[start..])) }
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
            ("echo hunter2; echo no hunter2 >&2; exit 3", "failed (exit status: 3): no …"),
            ("printf 'log\\033[2J in' >&2; exit 1", "failed (exit status: 1): log\\u{1b}[2J in"),
            ("echo hunter2", "did not print credentials in JSON"),
            (r#"echo '{"Version":"hunter2"}'"#, "did not print credentials in JSON"),
            (
                r#"echo '{"Version":2,"AccessKeyId":"A","SecretAccessKey":"hunter2"}'"#,
                "version 2, not 1",
            ),
            (
                r#"echo '{"Version":1,"AccessKeyId":"A","SecretAccessKey":"S",
                    "Expiration":"hunter2"}'"#,
                "an invalid Expiration",
            ),
        ] {
            let error = run(command).unwrap_err();
            assert!(error.contains(words) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn the_program_is_readable_and_what_it_is_given_is_not() {
        let error = run("/no/such-helper --password hunter2").unwrap_err();
        assert!(error.contains("/no/such-helper") && !error.contains("hunter2"), "{error}");
        let error = run("TOKEN=hunter2 /no/such-helper; echo hunter2 >&2; exit 1").unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
        for (command, given) in [
            ("helper", ""),
            (" /a/helper x", " x"),
            ("'/a b/helper' x", " x"),
            ("\"/a b/helper\"", ""),
            ("A=b helper", "A=b helper"),
            ("'unclosed x", ""),
        ] {
            assert_eq!(arguments(command), given, "{command}");
        }
    }

    #[test]
    fn what_a_helper_says_is_passed_on_to_its_end_and_within_bounds() {
        let error = run("yes éx | head -c 200000 >&2; echo log in first >&2; exit 1").unwrap_err();
        assert!(error.len() < 500 && error.ends_with("log in first"), "{error}");
    }

    #[test]
    fn a_helper_that_hangs_is_ended() {
        let child = Command::new("sleep").arg("60").stdout(Stdio::piped()).spawn().unwrap();
        let error = read("sleep 60", child, Duration::from_millis(30)).unwrap_err();
        assert!(error.contains("did not end"), "{error}");
    }
}
