//! `vidimus cat LOCATION`: prints content unchanged.

use super::super::args::CatArgs;
use super::super::exit::Exit;
use super::super::settings;
use crate::model::Progress;
use crate::report::output::stdout;
use crate::report::{Output, OutputOptions};
use crate::session::cat::{CatError, cat};
use std::sync::Arc;

pub(crate) fn run(args: &CatArgs) -> Exit {
    let progress = Arc::new(Progress::default());
    let written = settings::cat(args).map_err(CatError::Fatal).and_then(|options| {
        let mut stdout = stdout().map_err(CatError::Output)?.lock();
        cat(&options, &progress, &mut stdout)
    });
    match written {
        Ok(()) => Exit::Done,
        Err(CatError::Fatal(error)) => super::fail(&error),
        Err(CatError::Entry(error)) => {
            let output = Output::new(OutputOptions::default(), None);
            output.message("error", &super::entry_failure(&error));
            output.message("help", "do not use the output");
            Exit::Incomplete
        }
        Err(CatError::Output(error)) => super::unwritten(error),
    }
}
