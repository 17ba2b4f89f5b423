//! What a verification can expect of a target after the runs into it: which entries take part,
//! whether extra entries count, and which runs have done something that isn't recorded.

use crate::backend::{KeySpace, ListOptions};
use crate::filter::{Filter, FilterSpec};
use crate::manifest::published::{Head, RecordedSource};
use crate::manifest::{CutOff, IMPORTED, LeftBehind, RecordedOptions, STREAM, State};
use crate::model::{Error, ErrorKind, RunId, Timestamp, Verdict};
use std::sync::Arc;

/// A run that ended without recording everything it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Its id.
    pub run: RunId,
    /// Its source; `None` if only its lock is known.
    pub source: Option<String>,
    /// When it began.
    pub started: Timestamp,
    /// How it ended; `None` where it was killed.
    pub verdict: Option<Verdict>,
    /// Since when runs from its source were killed or failed without a later run that makes up for
    /// it: changes of the target since then may be theirs, unrecorded.
    pub cut_off: Option<CutOff>,
}

/// What is expected of a target.
pub(super) struct Expected {
    /// The latest run.
    pub(super) run: RunId,
    /// Its source.
    pub(super) source: String,
    /// All sources, by their numbers.
    pub(super) sources: Vec<String>,
    /// How keys are read.
    pub(super) key_space: KeySpace,
    /// The only name that takes part, if only a single file was mirrored there.
    only: Option<Box<[u8]>>,
    /// The filter of the latest run of a whole tree.
    filter: FilterSpec,
    /// Whether that run deleted extra entries, so that they count now. They don't if it kept
    /// entries without rows, which can't be distinguished from later ones.
    pub(super) deletes: bool,
    /// Whether nothing was written to the target since that run, so that directories have their
    /// times.
    pub(super) keeps_times: bool,
    /// The latest run of each source that ended without recording everything.
    pub(super) unfinished: Vec<Unfinished>,
    /// The latest run of each source that ended properly.
    ended: Vec<RunId>,
}

/// A record of sources and their runs: a state or a manifest.
trait Recorded {
    /// Returns whether there are rows of a source.
    fn has_rows(&self, source: &RecordedSource) -> Result<bool, Error>;
    /// Returns since when runs from a source may not be recorded completely.
    fn cut_off(&self, source: &RecordedSource) -> Result<Option<CutOff>, Error>;
}

impl Recorded for State {
    fn has_rows(&self, source: &RecordedSource) -> Result<bool, Error> {
        self.has_rows_from(source.number)
    }

    fn cut_off(&self, source: &RecordedSource) -> Result<Option<CutOff>, Error> {
        State::cut_off(self, source.number)
    }
}

impl Recorded for Head {
    fn has_rows(&self, _: &RecordedSource) -> Result<bool, Error> {
        Ok(true)
    }

    fn cut_off(&self, source: &RecordedSource) -> Result<Option<CutOff>, Error> {
        let is_cut_off = matches!(source.verdict, None | Some(Verdict::Failed));
        let since = source.started;
        let deletes_since = source.options.delete.then_some(since);
        Ok(is_cut_off.then_some(CutOff { since, deletes_since }))
    }
}

/// The latest run into a target, and the latest one of a whole tree.
struct LatestRun {
    run: RunId,
    source: String,
    /// The latest run of a whole tree, if there was one.
    whole: Option<WholeRun>,
    /// Whether both are the same run: then directories have the times that it set.
    keeps_times: bool,
}

/// The latest run of a whole tree.
struct WholeRun {
    /// Its options.
    options: RecordedOptions,
    /// The number of entries that it left in the target without a row.
    kept_unrecorded: u64,
}

impl Expected {
    /// Returns since when runs may not be recorded completely, if any was cut off.
    pub(super) fn cut_off(&self) -> Option<CutOff> {
        self.unfinished.iter().filter_map(|unfinished| unfinished.cut_off).reduce(CutOff::and)
    }

    /// Returns the filter of the latest run of a whole tree.
    pub(super) fn filter(&self) -> Result<Filter, Error> {
        Filter::try_from(self.filter.clone()).map_err(|error| {
            Error::new(ErrorKind::Manifest, "the recorded run's filter can't be used")
                .because(error)
        })
    }

    /// Returns what is listed of the target. Entries that were excluded later still have rows, and
    /// are verified too.
    pub(super) fn listing(&self) -> ListOptions {
        let (only, key_space) = (self.only.clone(), self.key_space);
        ListOptions { filter: Arc::default(), only, key_space }
    }

    /// Reads it from the state; returns `None` if no run is recorded.
    pub(super) fn by_state(state: &State) -> Result<Option<Self>, Error> {
        let Some(latest) = state.last_run()? else { return Ok(None) };
        let whole = state.last_whole_run()?;
        let keeps_times = whole.as_ref().is_some_and(|whole| whole.number == latest.number);
        let totals = whole.as_ref().and_then(|whole| whole.totals);
        let kept_unrecorded = totals.map_or(0, |totals| totals.kept_unrecorded);
        let whole = whole.map(|whole| RecordedOptions::decode(&whole.options)).transpose()?;
        let whole = whole.map(|options| WholeRun { options, kept_unrecorded });
        let sources = state.recorded_sources()?;
        let unfinished = unfinished(&sources, state)?;
        let latest = LatestRun { run: latest.id, source: latest.source, whole, keeps_times };
        Ok(Some(Self::of(sources, latest, unfinished)))
    }

    /// Reads it from the head of a manifest.
    pub(super) fn by_head(head: &Head) -> Result<Self, Error> {
        let sources = head.sources();
        let keeps_times = sources.iter().any(|source| source.run == head.run && is_whole(source));
        // The options in the head are those of the latest run of a whole tree, if there was one.
        let whole = Some(head.options.clone()).filter(RecordedOptions::is_whole);
        let kept_unrecorded = head.totals.kept_unrecorded;
        let whole = whole.map(|options| WholeRun { options, kept_unrecorded });
        let unfinished = unfinished(&sources, head)?;
        let (run, source) = (head.run.clone(), head.source.clone());
        let latest = LatestRun { run, source, whole, keeps_times };
        Ok(Self::of(sources, latest, unfinished))
    }

    /// Adds a run that left its lock behind. It is ignored if it ended and was killed before it
    /// released the lock, or if it is known as unfinished.
    pub(super) fn add_left_behind(&mut self, LeftBehind { run, started }: LeftBehind) {
        let is_known = self.unfinished.iter().any(|unfinished| unfinished.run == run);
        if is_known || self.ended.contains(&run) {
            return;
        }
        let cut_off = Some(CutOff::of_unknown_runs(started));
        let (source, verdict) = (None, None);
        self.unfinished.push(Unfinished { run, source, started, verdict, cut_off });
    }

    fn of(sources: Vec<RecordedSource>, latest: LatestRun, unfinished: Vec<Unfinished>) -> Self {
        let ended = sources.iter().filter(|source| source.verdict.is_some());
        let ended = ended.map(|source| source.run.clone()).collect();
        // Imported lists only have files, whose keys are the same in both key spaces.
        let forms = sources.iter().filter(|source| source.source != IMPORTED);
        let is_flat = forms.clone().count() > 0 && { forms }
            .all(|source| source.options.key_space == KeySpace::Flat);
        let only = match &*sources {
            [single] if single.source != STREAM => single.options.only.clone(),
            _ => None,
        };
        let LatestRun { run, source, whole, keeps_times } = latest;
        let (filter, deletes) = whole.map_or_else(Default::default, |whole| {
            let RecordedOptions { filter, delete, .. } = whole.options;
            // What the target has in directories that were not entered stays, and is no extra.
            let knows_all = filter.directories.is_empty();
            (filter, delete && knows_all && whole.kept_unrecorded == 0)
        });
        Self {
            run,
            source,
            sources: sources.into_iter().map(|source| source.source).collect(),
            key_space: if is_flat { KeySpace::Flat } else { KeySpace::Tree },
            only,
            filter,
            deletes,
            keeps_times,
            unfinished,
            ended,
        }
    }
}

/// Returns whether the latest run from a source went through a whole tree.
fn is_whole(source: &RecordedSource) -> bool {
    ![STREAM, IMPORTED].contains(&&*source.source) && source.options.is_whole()
}

/// Returns the latest run of each source that ended without recording everything, unless a later
/// complete run makes up for it: one from another source that replaced all rows, or one that
/// deleted all entries that it didn't know.
fn unfinished(
    sources: &[RecordedSource],
    recorded: &impl Recorded,
) -> Result<Vec<Unfinished>, Error> {
    let mut found = Vec::new();
    for source in sources {
        let is_whole_run = matches!(source.verdict, Some(Verdict::Complete | Verdict::Refused));
        if is_whole_run || source.source == IMPORTED {
            continue;
        }
        let mut later = sources.iter().filter(|other| {
            other.started > source.started
                && is_whole(other)
                && other.verdict == Some(Verdict::Complete)
        });
        let cleared = |other: &RecordedSource| {
            other.options.delete && other.options.filter == FilterSpec::default()
        };
        if { later.clone() }.any(cleared) || later.next().is_some() && !recorded.has_rows(source)? {
            continue;
        }
        let cut_off = recorded.cut_off(source)?;
        let RecordedSource { run, source, started, verdict, .. } = source.clone();
        let source = Some(source);
        found.push(Unfinished { run, source, started, verdict, cut_off });
    }
    Ok(found)
}
