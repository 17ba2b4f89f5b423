//! `vidimus bag SOURCE BAG`.

use super::super::args::BagArgs;
use super::super::exit::Exit;
use super::super::settings;
use super::mirror::{Asked, execute};
use clap::ArgMatches;
use rustix::fs::Mode;

/// Runs the command; `umask` is that of the process at its start.
pub(crate) fn run(args: &BagArgs, matches: &ArgMatches, umask: Mode) -> Exit {
    let BagArgs { source, bag, run } = args;
    let asked = Asked { source, target: bag, run };
    execute(&asked, matches, || settings::bag(args, matches, umask))
}
