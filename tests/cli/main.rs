//! Black-box tests of the `vidimus` binary, one module a theme, in one binary to link once.

#[path = "../common/mod.rs"]
mod common;

mod against;
mod bag;
mod brake;
mod building;
mod commands;
mod damaged_state;
mod delete_later;
mod deletion;
mod destinations;
mod diff;
mod digests;
mod dry_run;
mod explain;
mod failures;
mod faults;
mod file_systems;
mod filters;
mod filters_git;
mod ground;
mod import;
mod interrupts;
mod judge;
mod kill;
mod limits;
mod locks;
mod lost;
mod manifest;
mod mirror;
mod model;
mod other_disk;
mod power;
mod published;
mod races;
mod regressions;
mod repair;
mod signing;
mod sources;
mod state_disk;
mod terminal;
mod turns;
mod usage;
mod users;
mod verify;
