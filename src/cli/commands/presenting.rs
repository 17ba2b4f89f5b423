//! The presenters of a run: records, or what a person sees.

use crate::report::bars::Bars;
use crate::report::{
    Concludes, HumanOptions, HumanReport, JsonReport, Output, Presenters, ProgressReport,
    ProgressStyle, Watch,
};
use std::sync::Arc;

/// The presenters of a run, which show its end by `E`, and where they write.
pub(super) struct Presenting<E> {
    pub(super) presenters: Arc<Presenters<E>>,
    pub(super) output: Arc<Output>,
}

impl<E> Presenting<E>
where
    ProgressReport: Concludes<E>,
    HumanReport: Concludes<E>,
    JsonReport: Concludes<E>,
{
    /// Makes those that the options ask for: records if `json`. `watch` is the state before the run.
    pub(super) fn new(options: HumanOptions, json: bool, watch: Watch) -> Self {
        let shows_bars = !json && options.progress == ProgressStyle::Bars;
        let bars = shows_bars.then(Bars::new);
        let output = Arc::new(Output::new(options.output, bars.as_ref().map(Bars::bar)));
        let own = || Arc::clone(&output);
        let mut all: Vec<Box<dyn Concludes<E>>> = Vec::new();
        if json {
            let HumanOptions { verbose, quiet, dry_run, .. } = options;
            all.push(Box::new(JsonReport::new(own(), verbose, quiet, dry_run)));
        } else {
            if options.progress != ProgressStyle::Off {
                all.push(Box::new(ProgressReport::new(own(), bars)));
            }
            all.push(Box::new(HumanReport::new(options, own())));
        }
        Self { presenters: Arc::new(Presenters::new(all, watch)), output }
    }
}
