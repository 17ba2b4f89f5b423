//! What all builders take, and how far a run is.

use super::environment;
use crate::limits::LimitOptions;
use crate::model::{Error, Progress, Stop, Totals};
use crate::ticker::Ticker;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How far a run is.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// How long it has been going on.
    pub elapsed: Duration,
    /// What it has counted: [`Totals::files_planned`] and [`Totals::bytes_planned`] grow with
    /// what is listed.
    pub totals: Totals,
    /// Whether all was listed, so that what is planned is all there is.
    pub is_planned: bool,
}

type Tell = Arc<dyn Fn(&Snapshot) + Send + Sync>;

/// What each builder takes.
#[derive(Default)]
pub(super) struct Common {
    pub(super) allow_http: bool,
    pub(super) checkers: Option<u16>,
    pub(super) limits: LimitOptions,
    pub(super) running: Running,
}

impl Common {
    /// How many check at the same time.
    pub(super) fn checkers(&self, has_store: bool) -> Result<usize, Error> {
        let asked = environment::at_least_one("checkers", self.checkers)?;
        Ok(environment::workers(asked, has_store))
    }
}

/// How a run is watched, and stopped.
#[derive(Default)]
pub(super) struct Running {
    pub(super) watcher: Option<(Duration, Tell)>,
    pub(super) stop: Stop,
}

impl Running {
    /// Tells of `progress` until what is returned is dropped.
    pub(super) fn watch(&self, progress: &Arc<Progress>) -> Result<Option<Ticker>, Error> {
        let Some((interval, tell)) = &self.watcher else { return Ok(None) };
        let (tell, progress) = (Arc::clone(tell), Arc::clone(progress));
        let tick = move |elapsed| {
            let is_planned = progress.plan_final.load(Ordering::Relaxed);
            tell(&Snapshot { elapsed, totals: progress.totals(), is_planned });
        };
        Ticker::start(*interval, tick).map(Some)
    }
}

/// The methods by which each builder takes it.
macro_rules! common_options {
    () => {
        /// Files that are read, and directories that are listed, at the same time; by default one a
        /// processor, and more where it is mostly a store that is waited for.
        pub fn checkers(mut self, checkers: u16) -> Self {
            self.common.checkers = Some(checkers);
            self
        }

        /// What may be used of bandwidth, requests and memory.
        pub fn limits(mut self, limits: crate::limits::LimitOptions) -> Self {
            self.common.limits = limits;
            self
        }

        /// Allows a store of another machine to be spoken to without encryption.
        pub fn allow_http(mut self, allow: bool) -> Self {
            self.common.allow_http = allow;
            self
        }

        /// Calls `tell` at each interval, from a thread of its own, with how far the run is.
        pub fn on_progress(
            mut self,
            interval: std::time::Duration,
            tell: impl Fn(&crate::api::Snapshot) + Send + Sync + 'static,
        ) -> Self {
            self.common.running.watcher = Some((interval, std::sync::Arc::new(tell)));
            self
        }

        /// Lets `stop` end the run before its end: what is under way is finished or taken back, and the
        /// next run goes on.
        pub fn stop(mut self, stop: crate::model::Stop) -> Self {
            self.common.running.stop = stop;
            self
        }
    };
}
pub(super) use common_options;
