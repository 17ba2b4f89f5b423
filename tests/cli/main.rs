//! Black-box tests of the `vidimus` binary, one module a theme, in one binary to link once.

#[path = "../common/mod.rs"]
mod common;

mod mirror;
