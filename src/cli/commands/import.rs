//! `vidimus manifest import TARGET LIST`: presented as the verification that is part of it.

use super::super::args::ImportArgs;
use super::super::exit::Exit;
use super::super::{input, settings};
use super::presenting::Presenting;
use super::verify::{Verification, Verified};
use crate::location::Location;
use crate::manifest::list::ListFormat;
use crate::model::key::Escaped;
use crate::model::{Error, ErrorKind, Event, Notice};
use crate::report::Watch;
use crate::report::estimate::{Estimate, Kind};
use crate::session::import::{DigestList, import};
use clap::ArgMatches;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Instant;

pub(crate) fn run(args: &ImportArgs, matches: &ArgMatches) -> Exit {
    let began = Instant::now();
    let human = settings::human(&args.output, matches, false);
    let watch = Watch::new(Estimate::new(Kind::Verify));
    let verification = Verification {
        began,
        target: Location::printable(&args.target),
        against: None,
        allows_incomplete: false,
        presenting: Presenting::new(human, args.output.json, watch),
    };
    // Before signals are handled: opening a named pipe may block.
    let asked = settings::check_output(&args.output, matches)
        .and_then(|()| Ok((settings::import(args)?, open(&args.list)?)));
    verification.present(|observer, progress, stop| {
        let (options, list) = asked?;
        let outcome = import(&options, list, observer, progress, stop)?;
        if outcome.totals.verified == 0 && outcome.totals.corrupt > 0 {
            observer.observe(&Event::Notice(of_another_kind(options.format)));
        }
        Ok(Verified::Imported(outcome))
    })
}

/// Makes the hint for a list in which no file has its digest: BLAKE3 and SHA-256 look alike.
fn of_another_kind(format: ListFormat) -> Notice {
    let (format, other) = match format {
        ListFormat::B3sum => ("b3sum", "sha256sum"),
        ListFormat::Sha256sum => ("sha256sum", "b3sum"),
    };
    Notice::ListOfOtherDigests { format: format.to_owned(), other: other.to_owned() }
}

/// Opens a list.
fn open(path: &Path) -> Result<DigestList, Error> {
    if path.as_os_str() == "-" {
        let name = "the list on standard input".to_owned();
        return Ok(DigestList { list: Box::new(input::stdin()?), name });
    }
    let name = format!("the list \"{}\"", Escaped(path.as_os_str().as_bytes()));
    match File::open(path) {
        Ok(file) => Ok(DigestList { list: Box::new(file), name }),
        Err(error) => {
            Err(Error::new(ErrorKind::Unusable, format!("cannot open {name}")).because(error))
        }
    }
}
