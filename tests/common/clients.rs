//! Programs for comparison that `tests/servers.sh` installs: S3 clients, which only know an
//! endpoint and the servers' keys, and nothing of this machine; `DuckDB`; and a validator of bags.

use super::servers::{ACCESS_KEY, REGION, SECRET_KEY, environment, installed, program};
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

/// Returns rclone with the remote `s3:` for an endpoint: `s3:BUCKET/KEY`.
pub fn rclone(endpoint: &str) -> Result<Command, String> {
    let mut command = hermetic(program("rclone")?);
    command.env("RCLONE_CONFIG", "").args(["--retries", "1"]);
    for (name, value) in [
        ("TYPE", "s3"),
        ("PROVIDER", "Other"),
        ("ENDPOINT", endpoint),
        ("ACCESS_KEY_ID", ACCESS_KEY),
        ("SECRET_ACCESS_KEY", SECRET_KEY),
        ("REGION", REGION),
    ] {
        command.env(format!("RCLONE_CONFIG_S3_{name}"), value);
    }
    Ok(command)
}

/// Returns the AWS CLI: `aws s3 ls s3://BUCKET`, `aws s3api head-object --bucket …`.
pub fn aws(endpoint: &str) -> Result<Command, String> {
    let mut command = script("aws")?;
    command.envs(environment(endpoint)).env("AWS_PAGER", "");
    Ok(command)
}

/// Returns s5cmd: `s5cmd cat s3://BUCKET/KEY`.
pub fn s5cmd(endpoint: &str) -> Result<Command, String> {
    let mut command = script("s5cmd")?;
    command.envs(environment(endpoint)).args(["--endpoint-url", endpoint]);
    Ok(command)
}

/// Returns Python with a program that imports duckdb.
pub fn duckdb(program: &str) -> Result<Command, String> {
    let mut command = python()?;
    command.args(["-c", program]);
    Ok(command)
}

/// Returns a validation of a bag by the Python package, which `tests/bagit.sh` installs.
pub fn bagit(bag: &Path) -> Result<Command, String> {
    let mut command = hermetic("python3");
    command.env("PYTHONPATH", super::servers::bagit()?);
    command.args(["-m", "bagit", "--validate"]).arg(bag);
    Ok(command)
}

/// Returns a program that is written in Python.
fn script(name: &str) -> Result<Command, String> {
    let mut command = python()?;
    command.arg(program(name)?);
    Ok(command)
}

/// Returns Python from its own environment, or else the system's with the installed modules.
fn python() -> Result<Command, String> {
    let directory = installed()?;
    let own = directory.join("bin/python3");
    let mut command = hermetic(if own.exists() { own } else { "python3".into() });
    command.env("PYTHONPATH", directory);
    Ok(command)
}

/// Returns a command without this machine's variables and configuration.
fn hermetic(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", "/nonexistent").env("TZ", "UTC").env("LANG", "C.UTF-8");
    command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    command
}
