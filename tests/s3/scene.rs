//! A hermetic environment beside a server that goes wrong where it is told to: directories to S3,
//! S3 to directories, S3 to S3.

use crate::common::{Environment, Run};
use crate::s3::{Bucket, Object, S3Server};
use std::fs;
use std::process::Command;

/// A directory of this machine, and a server with two buckets.
pub(crate) struct Scene {
    pub(crate) env: Environment,
    pub(crate) server: S3Server,
    pub(crate) bucket: Bucket,
    pub(crate) other: Bucket,
}

/// Where the first bucket's objects lie.
pub(crate) const PREFIX: &str = "p/";
/// The first place in the store.
pub(crate) const PLACE: &str = "s3://bucket/p";
/// The second place in the store.
pub(crate) const OTHER: &str = "s3://other/q";

impl Scene {
    pub(crate) fn new() -> Self {
        let server = S3Server::start();
        let (bucket, other) = (server.bucket("bucket"), server.bucket("other"));
        Self { env: Environment::new(), server, bucket, other }
    }

    /// A source directory of these files, old enough to be trusted.
    pub(crate) fn with_files(self, files: &[(&str, &[u8])]) -> Self {
        for (name, content) in files {
            self.write(name, content);
        }
        self.env.age();
        self
    }

    /// A source bucket of these objects.
    pub(crate) fn with_objects(self, objects: &[(&str, &[u8])]) -> Self {
        for (key, content) in objects {
            self.bucket.put(&format!("{PREFIX}{key}"), content);
        }
        self
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) {
        let path = self.env.source.join(name);
        fs::create_dir_all(path.parent().expect("a file has a parent")).expect("make a directory");
        fs::write(path, content).expect("write a file");
    }

    /// The binary with these arguments, led to the server.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.env.command(arguments);
        command.envs(self.server.environment());
        command
    }

    /// `mirror --json FROM TO`.
    pub(crate) fn mirror_command(&self, from: &str, to: &str, flags: &[&str]) -> Command {
        self.command(&[&["mirror", "--json", from, to], flags].concat())
    }

    pub(crate) fn mirror(&self, from: &str, to: &str, flags: &[&str]) -> Run {
        Run::of(self.mirror_command(from, to, flags))
    }

    /// From the source directory to the first place.
    pub(crate) fn up(&self, flags: &[&str]) -> Run {
        self.mirror(self.source(), PLACE, flags)
    }

    /// From the first place to the target directory.
    pub(crate) fn down(&self, flags: &[&str]) -> Run {
        self.mirror(PLACE, self.target(), flags)
    }

    /// From the first place to the second.
    pub(crate) fn across(&self, flags: &[&str]) -> Run {
        self.mirror(PLACE, OTHER, flags)
    }

    pub(crate) fn source(&self) -> &str {
        self.env.source.to_str().expect("test paths are UTF-8")
    }

    pub(crate) fn target(&self) -> &str {
        self.env.target.to_str().expect("test paths are UTF-8")
    }

    /// An object of the first place that was mirrored.
    #[track_caller]
    pub(crate) fn uploaded(&self, key: &str) -> Object {
        let key = format!("{PREFIX}{key}");
        self.bucket.get(&key).unwrap_or_else(|| panic!("no object {key:?}"))
    }

    /// A file of the target directory, if it is there.
    pub(crate) fn downloaded(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.env.target.join(name)).ok()
    }
}

pub(crate) const MEBIBYTE: usize = 1 << 20;
