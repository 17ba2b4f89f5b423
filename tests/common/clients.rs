//! Programs to judge by, which `tests/servers.sh` installed: S3 clients, commands that know an
//! endpoint, the servers' keys, and nothing of this machine; `DuckDB`; and what validates bags.

use super::servers::{ACCESS_KEY, REGION, SECRET_KEY, environment, installed, program};
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

/// rclone, whose remote `s3:` is the endpoint: `s3:BUCKET/KEY`.
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

/// The AWS CLI: `aws s3 ls s3://BUCKET`, `aws s3api head-object --bucket …`.
pub fn aws(endpoint: &str) -> Result<Command, String> {
    let mut command = script("aws")?;
    command.envs(environment(endpoint)).env("AWS_PAGER", "");
    Ok(command)
}

/// s5cmd: `s5cmd cat s3://BUCKET/KEY`.
pub fn s5cmd(endpoint: &str) -> Result<Command, String> {
    let mut command = script("s5cmd")?;
    command.envs(environment(endpoint)).args(["--endpoint-url", endpoint]);
    Ok(command)
}

/// A program in Python that imports duckdb.
pub fn duckdb(program: &str) -> Result<Command, String> {
    let mut command = python()?;
    command.args(["-c", program]);
    Ok(command)
}

/// The Python package of that name, which `tests/bagit.sh` installed, about to validate a bag.
pub fn bagit(bag: &Path) -> Result<Command, String> {
    let mut command = hermetic("python3");
    command.env("PYTHONPATH", super::servers::bagit()?);
    command.args(["-m", "bagit", "--validate"]).arg(bag);
    Ok(command)
}

/// A program in Python.
fn script(name: &str) -> Result<Command, String> {
    let mut command = python()?;
    command.arg(program(name)?);
    Ok(command)
}

/// Python: in an environment of its own, or else beside its modules.
fn python() -> Result<Command, String> {
    let directory = installed()?;
    let own = directory.join("bin/python3");
    let mut command = hermetic(if own.exists() { own } else { "python3".into() });
    command.env("PYTHONPATH", directory);
    Ok(command)
}

/// A command without this machine's variables and configuration.
fn hermetic(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", "/nonexistent").env("TZ", "UTC").env("LANG", "C.UTF-8");
    command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    command
}
