//! Options of all builders, events and progress.

use super::environment;
use crate::filter::{Filter, FilterSpec};
use crate::limits::LimitOptions;
use crate::model::{Error, ErrorKind, Event, Observer, Progress, Stop, Totals};
use crate::ticker::Ticker;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The progress of a run.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// Time since its start.
    pub elapsed: Duration,
    /// Its counts: [`Totals::files_planned`] and [`Totals::bytes_planned`] grow while it lists.
    pub totals: Totals,
    /// Whether planning is finished, so that the planned totals are final.
    pub is_planned: bool,
}

type EventListener = Box<dyn Fn(&Event) + Send + Sync>;
type ProgressListener = Arc<dyn Fn(&Snapshot) + Send + Sync>;

/// The options of each builder.
#[derive(Default)]
pub(super) struct Common {
    pub(super) allow_http: bool,
    pub(super) checkers: Option<u16>,
    pub(super) count_ahead: bool,
    pub(super) limits: LimitOptions,
    pub(super) running: Running,
}

impl Common {
    /// Returns the number of concurrent checkers.
    pub(super) fn checkers(&self, has_store: bool) -> Result<usize, Error> {
        let requested = environment::at_least_one("checkers", self.checkers)?;
        Ok(environment::workers(requested, has_store))
    }
}

/// How a run is observed and stopped.
#[derive(Default)]
pub(super) struct Running {
    pub(super) listener: Option<EventListener>,
    pub(super) watcher: Option<(Duration, ProgressListener)>,
    pub(super) stop: Stop,
}

impl Running {
    /// Calls `run` with an observer that reports to the listeners.
    pub(super) fn during<T>(
        &self,
        run: impl FnOnce(&dyn Observer, &Arc<Progress>, &Stop) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let progress = Arc::new(Progress::default());
        let _ticker = self.watch(&progress)?;
        run(&Callback(self.listener.as_ref()), &progress, &self.stop)
    }

    /// Calls the progress listener until the returned ticker is dropped.
    fn watch(&self, progress: &Arc<Progress>) -> Result<Option<Ticker>, Error> {
        let Some((interval, listener)) = &self.watcher else { return Ok(None) };
        let (listener, progress) = (Arc::clone(listener), Arc::clone(progress));
        let tick = move |elapsed| {
            let is_planned = progress.plan_final.load(Ordering::Relaxed);
            listener(&Snapshot { elapsed, totals: progress.totals(), is_planned });
        };
        Ticker::start(*interval, tick).map(Some)
    }
}

/// Passes events to a callback.
struct Callback<'a>(Option<&'a EventListener>);

impl Observer for Callback<'_> {
    fn observe(&self, event: &Event) {
        if let Some(listener) = self.0 {
            listener(event);
        }
    }

    fn wants_changes(&self) -> bool {
        self.0.is_some()
    }
}

/// Makes a filter from its definition.
///
/// # Errors
/// [`ErrorKind::Usage`] for an illegal pattern.
pub(super) fn filter(spec: FilterSpec) -> Result<Filter, Error> {
    Filter::try_from(spec).map_err(|error| Error::new(ErrorKind::Usage, error.to_string()))
}

/// The methods of each builder for the common options.
macro_rules! common_options {
    () => {
        /// Sets how many files are read, and directories listed, concurrently; by default one per
        /// processor, and more if a store is involved, which is mostly waited for.
        pub fn checkers(mut self, checkers: u16) -> Self {
            self.common.checkers = Some(checkers);
            self
        }

        /// Limits bandwidth, requests and memory.
        pub fn limits(mut self, limits: crate::limits::LimitOptions) -> Self {
            self.common.limits = limits;
            self
        }

        /// Allows unencrypted connections to a store on another machine.
        pub fn allow_http(mut self, allow: bool) -> Self {
            self.common.allow_http = allow;
            self
        }

        /// Calls `listener` with each event, from several threads concurrently: it must not block
        /// for long.
        pub fn on_event(
            mut self,
            listener: impl Fn(&crate::model::Event) + Send + Sync + 'static,
        ) -> Self {
            self.common.running.listener = Some(Box::new(listener));
            self
        }

        /// Calls `listener` with the run's progress at each interval, from a thread of its own.
        pub fn on_progress(
            mut self,
            interval: std::time::Duration,
            listener: impl Fn(&crate::api::Snapshot) + Send + Sync + 'static,
        ) -> Self {
            self.common.running.watcher = Some((interval, std::sync::Arc::new(listener)));
            self
        }

        /// Sets the handle that ends the run early: work in progress is finished or discarded, and
        /// the next run continues.
        pub fn stop(mut self, stop: crate::model::Stop) -> Self {
            self.common.running.stop = stop;
            self
        }
    };
}
pub(super) use common_options;

/// The method of a builder whose run can count its work ahead.
macro_rules! count_option {
    () => {
        /// Counts beside the run how much there is to do, by which presenters estimate.
        pub(crate) fn count_ahead(mut self, count_ahead: bool) -> Self {
            self.common.count_ahead = count_ahead;
            self
        }
    };
}
pub(super) use count_option;

/// The methods of a builder with the definition of a filter, `filter`.
macro_rules! filter_options {
    () => {
        /// Excludes entries that match a pattern, in the syntax of `.gitignore`. The last pattern
        /// that matches decides.
        pub fn exclude(mut self, pattern: impl Into<String>) -> Self {
            self.filter.rules.push(crate::filter::Rule::Exclude(pattern.into()));
            self
        }

        /// Includes entries that match a pattern, even if an earlier one excludes them.
        pub fn include(mut self, pattern: impl Into<String>) -> Self {
            self.filter.rules.push(crate::filter::Rule::Include(pattern.into()));
            self
        }

        /// Excludes files of fewer bytes.
        pub fn min_size(mut self, bytes: u64) -> Self {
            self.filter.min_size = Some(bytes);
            self
        }

        /// Excludes files of more bytes.
        pub fn max_size(mut self, bytes: u64) -> Self {
            self.filter.max_size = Some(bytes);
            self
        }

        /// Excludes files that were modified less than this time ago.
        pub fn min_age(mut self, age: std::time::Duration) -> Self {
            self.filter.modified_before = Some(crate::filter::ago(age));
            self
        }

        /// Excludes files that were modified more than this time ago.
        pub fn max_age(mut self, age: std::time::Duration) -> Self {
            self.filter.modified_since = Some(crate::filter::ago(age));
            self
        }

        /// Leaves out what is in directories of the source on which another file system is mounted.
        pub fn one_file_system(mut self, one_file_system: bool) -> Self {
            self.filter.directories.one_file_system = one_file_system;
            self
        }

        /// Leaves out what is in directories of the source with a `CACHEDIR.TAG`, but for the tag.
        pub fn exclude_caches(mut self, exclude_caches: bool) -> Self {
            self.filter.directories.exclude_caches = exclude_caches;
            self
        }

        /// Leaves out what is in directories of the source that hold an entry of this name, but for
        /// that entry.
        pub fn exclude_if_present(mut self, name: impl Into<String>) -> Self {
            self.filter.directories.exclude_if_present.push(name.into());
            self
        }

        /// Leaves out what `.vidimusignore` files in directories of the source name.
        pub fn ignore_files(mut self, ignore_files: bool) -> Self {
            self.filter.directories.ignore_files = ignore_files;
            self
        }

        /// Sets all of the filter.
        pub(crate) fn filter(mut self, filter: crate::filter::FilterSpec) -> Self {
            self.filter = filter;
            self
        }
    };
}
pub(super) use filter_options;
