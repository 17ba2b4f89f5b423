//! Black-box tests against object stores that speak S3: one in this process that goes wrong where
//! it is told to, and real ones.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/s3/mod.rs"]
mod s3;

mod adoption;
mod against;
mod attributes;
mod backup;
mod changes;
mod client;
mod commands;
mod conditions;
mod copies;
mod deletion;
mod diff;
mod digests;
mod explain;
mod faults;
mod files_from;
mod heads;
mod import;
mod keys;
mod kill;
mod locks;
mod manifest;
mod manifest_faults;
mod markers;
mod other_clients;
mod places;
mod real;
mod renames;
mod rerun;
mod round_trip;
mod scene;
mod secrets;
mod server;
mod server_faults;
mod server_uploads;
mod signing;
mod site;
mod splits;
mod strangers;
mod terminal;
mod verify;
mod ways;
