//! Verifying a target against a source: both are listed, joined and read. No manifest is needed,
//! and nothing is written.

use super::content_comparer::{ContentComparer, Job};
use super::extra::Extras;
use super::groups::Groups;
use super::open::{self, NamedSource, Opened, OpenedSource, open};
use super::{Depth, Sample, VerifyObserver, VerifyOptions};
use crate::backend::layer::{BandwidthLimit, PacedSource};
use crate::backend::object::StoreSettings;
use crate::backend::{KeySpace, ListOptions, Source, Target};
use crate::compare::join::Joined;
use crate::compare::{Conflict, Join, Pair, RecordedRows, Seen};
use crate::engine::{BUFFER, Cores, CountAhead};
use crate::filter::Filter;
use crate::listing::OrderChecked;
use crate::location::Location;
use crate::manifest::published::{ManifestReader, used_instead};
use crate::manifest::{RecordedOptions, SourceNumber, State, is_damage, recall};
use crate::model::error::Side;
use crate::model::hint::hint;
use crate::model::{Entry, Error, ErrorKind, Key, Notice, Progress, RunId, Setting, Stop, Totals};
use crate::place::Overlap;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// What a target is held against.
#[derive(Debug)]
pub struct Against {
    /// The source.
    pub source: Location,
    /// How its store is reached, where it is one.
    pub source_store: Option<StoreSettings>,
    /// What takes part; `None` for what took part in the latest run from this source, if that is
    /// known, else everything.
    pub filter: Option<Filter>,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct AgainstTotals {
    /// What was looked at: entries that the source has, extras that are told, and each part of a
    /// side that could not be listed.
    pub entries: u64,
    /// Files whose content was read on both sides and is the same.
    pub equal: u64,
    /// Files of one size that were not chosen to be read.
    pub unread: u64,
    /// Entries that the target lacks.
    pub missing: u64,
    /// Files whose content differs.
    pub content: u64,
    /// Entries whose type, link text or metadata differs.
    pub metadata: u64,
    /// Entries that the source lacks.
    pub extra: u64,
    /// Entries that could not be read, or changed meanwhile.
    pub failed: u64,
    /// Bytes of the source that were hashed.
    pub source_bytes: u64,
    /// Bytes of the target that were hashed.
    pub target_bytes: u64,
}

/// How it ended.
#[derive(Debug)]
pub struct AgainstOutcome {
    /// The run whose filter told what takes part, where one was taken over.
    pub filter_of: Option<RunId>,
    /// What was read, where not all was.
    pub sample: Option<Sample>,
    /// What was counted.
    pub totals: AgainstTotals,
    /// The counters at the end, those of requests to stores among them.
    pub counted: Totals,
    /// Differences that count.
    pub differences: u64,
    /// How long it took.
    pub duration: Duration,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
}

/// Verifies a target against a source: both are listed, and content is read on both sides, whatever
/// their stamps say. Of `options`, what concerns a manifest or mending plays no part.
///
/// # Errors
/// [`ErrorKind::Unusable`] when a side can't be read, or nothing is at the source;
/// [`ErrorKind::Refused`] when the source is empty and the target is not;
/// [`ErrorKind::Locked`] when a run is writing to the target.
pub fn verify_against(
    options: &VerifyOptions,
    against: &Against,
    observer: &dyn VerifyObserver,
    progress: &Arc<Progress>,
    stop: &Stop,
) -> Result<AgainstOutcome, Error> {
    let began = Instant::now();
    let named = NamedSource { location: &against.source, store: against.source_store.as_ref() };
    let opened = open(options, Some(named), observer, progress, stop)?;
    let Opened {
        target, name, shared, source: Some(OpenedSource { source, place, overlap }), ..
    } = opened
    else {
        return Err(Error::new(ErrorKind::Unusable, "there is no source"));
    };
    if overlap == Some(Overlap::Same) {
        let message = format!("source and target are the same place, \"{name}\"");
        return Err(Error::new(ErrorKind::Refused, message)
            .help("held against itself it proves nothing: name the source it was copied from"));
    }
    let key_space = key_space(&*source, &*target);
    let recorded = recorded(options, &place.name, &*target, &name, key_space, observer);
    if let Some(keeps) = recorded.as_ref().and_then(|latest| latest.options.keeps) {
        target.assume_keeps(keeps);
    }
    // Whoever wrote into it last found out the same. A state that can't be used was told of.
    let state = State::latest_into(&options.state_dir, &name).ok().flatten();
    recall(state.as_ref(), &*target, &open::spool_dir(options))?;
    let filter_of = recorded.as_ref().filter(|_| against.filter.is_none());
    let filter_of = filter_of.map(|latest| latest.run.clone());
    let filter = filter(against.filter.as_ref(), recorded.as_ref())?;
    if let Some(filter) = &against.filter {
        place.misplaced_patterns(filter).iter().for_each(|notice| observer.notice(notice));
    }
    let filter = Arc::new(filter);
    let deletes = recorded.is_some_and(|latest| latest.options.delete);
    let listing = ListOptions { filter: Arc::clone(&filter), only: place.only, key_space };
    // What is left out there tells which directories a mirror keeps.
    let all = ListOptions { filter: Arc::default(), ..listing.clone() };
    let _count = options
        .count_ahead
        .then(|| CountAhead::of_source(&source, listing.clone(), progress))
        .flatten();
    let join = Join::new(
        OrderChecked::new(source.list(&listing)?, Side::Source),
        OrderChecked::new(target.list(&all)?, Side::Target),
        RecordedRows { rows: std::iter::empty(), from: SourceNumber::NONE },
        key_space,
    )?;
    let sample = match options.depth {
        Depth::Stamps => None,
        Depth::Content(choice) => choice.sample,
    };
    let bandwidth = BandwidthLimit::new(&options.limits, stop);
    let paced_source = PacedSource::around(&*source, bandwidth.as_ref());
    let paced_target = PacedSource::around(&*target, bandwidth.as_ref());
    let comparer = ContentComparer {
        observer,
        totals: Mutex::default(),
        source: &*source,
        target: &*target,
        readers: [
            paced_source.as_ref().map_or(&*source, |paced| paced),
            paced_target.as_ref().map_or(&*target, |paced| paced),
        ],
        filter: &filter,
        key_space,
        sample,
        extras_count: deletes || options.strict,
        keeps_directories: target.keeps().is_none_or(|keeps| keeps.directories),
        cores: Cores::default(),
        bytes: Default::default(),
    };
    compare(join, &comparer, options.checkers, progress, stop)?;
    let notices = source.notices().into_iter().chain(target.notices());
    notices.for_each(|notice| observer.notice(&notice));
    drop(shared);
    let mut totals = comparer.totals.into_inner();
    [totals.source_bytes, totals.target_bytes] = comparer.bytes.map(|bytes| bytes.get());
    let extra = if deletes || options.strict { totals.extra } else { 0 };
    Ok(AgainstOutcome {
        filter_of,
        sample,
        totals,
        counted: progress.totals(),
        differences: totals.missing + totals.content + totals.metadata + extra,
        duration: began.elapsed(),
        interrupted: stop.requested(),
    })
}

/// Which form keys have: between two stores each stands for itself, as in a mirror.
fn key_space(source: &dyn Source, target: &dyn Target) -> KeySpace {
    let is_flat = source.capabilities().flat_keys && target.capabilities().flat_keys;
    if is_flat { KeySpace::Flat } else { KeySpace::Tree }
}

/// The latest run from the source into the target.
struct LatestRun {
    run: RunId,
    /// What it was asked.
    options: RecordedOptions,
}

/// The filter that was named, or else that of the latest run.
fn filter(named: Option<&Filter>, latest: Option<&LatestRun>) -> Result<Filter, Error> {
    match (named, latest) {
        (Some(filter), _) => Ok(filter.clone()),
        (None, Some(latest)) => Filter::try_from(latest.options.filter.clone()).map_err(|error| {
            Error::new(ErrorKind::Manifest, "the recorded run's filter can't be used")
                .because(error)
                .help(hint!["name the filter by ", Setting::Exclude, " and ", Setting::Include,])
        }),
        (None, None) => Ok(Filter::default()),
    }
}

/// What the latest run from the source into the target was asked, where the state or the manifest
/// tells; a record that can't be used tells nothing, for none is needed.
fn recorded(
    options: &VerifyOptions,
    from: &str,
    target: &dyn Target,
    name: &str,
    key_space: KeySpace,
    observer: &dyn VerifyObserver,
) -> Option<LatestRun> {
    let of_state = || -> Result<_, Error> {
        let Some(state) = State::open_read_only(&options.state_dir, from, name)? else {
            return Ok(None);
        };
        let Some(run) = state.last_run_from_source()? else { return Ok(None) };
        Ok(Some(LatestRun { run: run.id, options: RecordedOptions::decode(&run.options)? }))
    };
    let of_manifest = || -> Result<_, Error> {
        let latest =
            ManifestReader::of(target, &super::open::spool_dir(options)).latest_or_highest()?;
        let latest = latest.map(|(latest, fault)| {
            if let Some(fault) = fault {
                observer.notice(&used_instead(&latest, Some(&fault), None));
            }
            latest.head
        });
        let latest =
            latest.filter(|head| head.source == from && head.options.key_space == key_space);
        Ok(latest.map(|head| LatestRun { run: head.run, options: head.options }))
    };
    let of_state = of_state().or_else(|error| {
        if !is_damage(&error) {
            return Err(error);
        }
        observer.notice(&open::instead_of(&error));
        Ok(None)
    });
    let found = of_state.and_then(|found| found.map_or_else(of_manifest, |found| Ok(Some(found))));
    found.unwrap_or_else(|error| {
        observer.notice(&Notice::FilterUnknown { cause: error.to_string() });
        None
    })
}

/// On which sides anything was found, but for the roots.
#[derive(Default)]
struct Found {
    source: bool,
    target: bool,
}

/// Going through both sides.
struct Scan<'c, 'a> {
    comparer: &'c ContentComparer<'a>,
    progress: &'c Progress,
    found: Found,
    extras: Extras,
    /// The directory in the place of a leaf that is left out, where a mirror leaves it.
    stays: Option<Key>,
}

impl Scan<'_, '_> {
    /// Takes what comes next; what of it is to be read.
    fn take(&mut self, joined: Joined) -> Option<Job> {
        let comparer = self.comparer;
        match joined {
            Joined::Pair(pair) => return self.pair(*pair),
            Joined::Failed(error)
                if error.side == Side::Target && comparer.filter.excludes_within(&error.key) => {}
            Joined::Failed(error) | Joined::BrokeOff(error) => {
                self.extras.hold(&error.key, &mut |key| comparer.extra(key));
                self.found.source |= error.side == Side::Source;
                comparer.fail_to_list(&error);
            }
            Joined::Leftover(_) => {}
            Joined::LeftOut(key, why) => {
                self.extras.hold(&key, &mut |key| comparer.extra(key));
                comparer.observer.notice(&Notice::left_out(&key, why));
            }
        }
        None
    }

    fn pair(&mut self, pair: Pair) -> Option<Job> {
        let (comparer, progress) = (self.comparer, self.progress);
        let mut extra = |key: &Key| comparer.extra(key);
        progress.entries.add(1);
        if let Some(source) = pair.source.entry() {
            progress.source_entries.add(1);
            progress.source_bytes.add(source.size());
        }
        let is_root = pair.key.is_root();
        self.found.source |= !is_root && pair.source.entry().is_some();
        let takes_part = |entry: &Entry| !comparer.is_left_out(entry);
        self.found.target |= !is_root && pair.target.entry().is_some_and(takes_part);
        if matches!(pair.conflict, Some(Conflict::LeafOverDirectory { .. }))
            && pair.source.entry().is_some_and(|source| comparer.is_excluded(source))
        {
            self.stays = Some(Key::child(pair.key.parent(), pair.key.name(), true));
        }
        match (&pair.source, &pair.target) {
            (Seen::Absent, Seen::Present(entry)) => {
                let stays = self.stays.as_ref();
                let stays =
                    stays.is_some_and(|directory| entry.key.is_within(directory.as_bytes()));
                self.extras.take(entry, stays || comparer.is_left_out(entry), &mut extra);
            }
            (Seen::Unknown, Seen::Present(_)) => self.extras.hold(&pair.key, &mut extra),
            _ => {}
        }
        comparer.compare(pair)
    }

    /// Takes the end of both sides.
    fn finish(mut self) -> Found {
        let comparer = self.comparer;
        self.extras.leave(None, &mut |key| comparer.extra(key));
        self.found
    }
}

/// Goes through all, and reads what is to be read on both sides.
pub(super) fn compare(
    join: impl Iterator<Item = Result<Joined, Error>>,
    comparer: &ContentComparer<'_>,
    workers: usize,
    progress: &Progress,
    stop: &Stop,
) -> Result<(), Error> {
    let found = std::thread::scope(|scope| {
        let (mut groups, waiting) = Groups::<Job>::new(workers);
        for _ in 0..workers {
            let waiting = waiting.clone();
            scope.spawn(move || {
                let mut buffer = vec![0; BUFFER];
                for job in waiting.iter().flatten() {
                    comparer.read(job, &mut buffer, progress, stop);
                }
            });
        }
        drop(waiting);
        let mut scan = Scan {
            comparer,
            progress,
            found: Found::default(),
            extras: Extras::default(),
            stays: None,
        };
        for joined in join {
            if stop.requested() {
                break;
            }
            if let Some(job) = scan.take(joined?) {
                let bytes = job.bytes();
                progress.files_planned.add(u64::from(bytes > 0));
                progress.bytes_planned.add(bytes);
                groups.push(job, bytes);
            }
        }
        let found = scan.finish();
        groups.send();
        progress.plan_final.store(true, Ordering::Relaxed);
        Ok::<_, Error>(found)
    })?;
    if found.target && !found.source && !stop.requested() {
        return Err(Error::new(
            ErrorKind::Refused,
            "the source is empty and the target is not: is its disk mounted?",
        )
        .help(hint!["an empty source proves nothing; name another by ", Setting::Against]));
    }
    Ok(())
}
