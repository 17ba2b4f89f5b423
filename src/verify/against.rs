//! Verifying a target against a source: both are listed, joined and read. This needs no manifest
//! and writes nothing.

use super::ahead;
use super::content_comparer::{ContentComparer, Job};
use super::extra::Extras;
use super::groups::Groups;
use super::links::LinkGroups;
use super::open::{self, NamedSource, Opened, OpenedSource, open};
use super::{Sample, VerifyOptions};
use crate::backend::layer::{BandwidthLimit, MappedSource, Mapper, PacedSource};
use crate::backend::object::StoreSettings;
use crate::backend::{KeySpace, ListOptions, Source, Target};
use crate::compare::join::Joined;
use crate::compare::{Conflict, Join, Pair, RecordedRows, Seen};
use crate::engine::{BUFFER, Cores, CountAhead};
use crate::filter::Filter;
use crate::listing::OrderChecked;
use crate::location::Location;
use crate::manifest::published::{ManifestReader, used_instead};
use crate::manifest::{RecordedOptions, SharedLock, SourceNumber, State, is_damage, recall};
use crate::model::error::Side;
use crate::model::hint::hint;
use crate::model::mapping::RecordedNames;
use crate::model::{
    Difference, Entry, Error, ErrorKind, Key, MetadataMapping, Notice, Observer, Progress, RunId,
    Setting, Stop, Totals,
};
use crate::place::{Overlap, SourcePlace};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// What a target is compared with.
#[derive(Debug)]
pub struct Against {
    /// The source.
    pub source: Location,
    /// How its store is reached, if it is in one.
    pub source_store: Option<StoreSettings>,
    /// The entries that take part; `None` for those of the latest run from this source, or for all
    /// if none is known.
    pub filter: Option<Filter>,
}

/// Counts of a verification against a source.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct AgainstTotals {
    /// Entries of the source, extra entries that are reported, and parts of either side that could
    /// not be listed.
    pub entries: u64,
    /// Files whose content was read on both sides and is equal.
    pub equal: u64,
    /// Files of equal size that were not chosen to be read.
    pub unread: u64,
    /// Entries that the target lacks.
    pub missing: u64,
    /// Files whose content differs.
    pub content: u64,
    /// Entries whose type, link text or metadata differs.
    pub metadata: u64,
    /// Entries that the source lacks.
    pub extra: u64,
    /// Entries that could not be read, or changed while they were.
    pub failed: u64,
    /// Bytes of the source that were hashed.
    pub source_bytes: u64,
    /// Bytes of the target that were hashed.
    pub target_bytes: u64,
}

/// The result of a verification against a source.
#[derive(Debug)]
pub struct AgainstOutcome {
    /// The run whose filter was taken over, if one was.
    pub filter_of: Option<RunId>,
    /// The sample that was read, if it wasn't everything.
    pub sample: Option<Sample>,
    /// What was counted.
    pub totals: AgainstTotals,
    /// The counters at the end, including requests to stores.
    pub counted: Totals,
    /// The number of differences that count.
    pub differences: u64,
    /// How long it took.
    pub duration: Duration,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
}

/// Verifies a target against a source: both are listed, and content is read on both sides whatever
/// their stamps are. Those of `options` that concern manifests or repair are ignored.
///
/// # Errors
/// [`ErrorKind::Unusable`] if a side can't be read or the source doesn't exist;
/// [`ErrorKind::Refused`] if the source is empty and the target is not;
/// [`ErrorKind::Locked`] if a run is writing to the target.
pub fn verify_against(
    options: &VerifyOptions,
    against: &Against,
    observer: &dyn Observer,
    progress: &Arc<Progress>,
    stop: &Stop,
) -> Result<AgainstOutcome, Error> {
    let began = Instant::now();
    let mut sides = Sides::open(options, against, observer, progress, stop)?;
    let latest = sides.latest_run(options, observer);
    sides.recall(options, latest.as_ref())?;
    if let Some(latest) = &latest {
        if latest.options.preserve.follows_links {
            sides.place.follow_links();
        }
        let names = sides.names(options, &latest.options.mapping)?;
        let mapper = Mapper::new(&latest.options.mapping, names);
        sides.source = MappedSource::around(sides.source, mapper.as_ref());
    }
    let (source, target, place) = (&*sides.source, &*sides.target, &sides.place);
    if let Some(filter) = &against.filter {
        place.misplaced_patterns(filter).into_iter().for_each(|notice| observer.notice(notice));
    }
    let scope = Scope::of(against, latest)?;
    let listing = ListOptions {
        filter: Arc::clone(&scope.filter),
        only: place.only.clone(),
        key_space: sides.key_space,
    };
    let _count = options.count_ahead.then(|| {
        ahead::begun(CountAhead::of_source(&sides.source, listing.clone(), progress), observer)
    });
    let join = sides.join(&listing)?;
    let bandwidth = BandwidthLimit::new(&options.limits, stop);
    let paced_source = PacedSource::around(source, bandwidth.as_ref());
    let paced_target = PacedSource::around(target, bandwidth.as_ref());
    let comparer = ContentComparer {
        observer,
        totals: Mutex::default(),
        source,
        target,
        readers: [
            paced_source.as_ref().map_or(source, |paced| paced),
            paced_target.as_ref().map_or(target, |paced| paced),
        ],
        filter: &scope.filter,
        key_space: sides.key_space,
        sample: options.depth.sample(),
        has_specials: scope.has_specials,
        extras_count: scope.deletes || options.strict,
        keeps_directories: target.keeps().is_none_or(|keeps| keeps.directories),
        cores: Cores::default(),
        bytes: Default::default(),
    };
    let links = LinkGroups::new(&open::spool_dir(options));
    compare(join, &comparer, links, options.checkers, progress, stop)?;
    let notices = source.notices().into_iter().chain(target.notices());
    notices.for_each(|notice| observer.notice(notice));
    let differences = comparer.differences();
    let sample = comparer.sample;
    let mut totals = comparer.totals.into_inner();
    [totals.source_bytes, totals.target_bytes] = comparer.bytes.map(|bytes| bytes.get());
    Ok(AgainstOutcome {
        filter_of: scope.filter_of,
        sample,
        totals,
        counted: progress.totals(),
        differences,
        duration: began.elapsed(),
        interrupted: stop.requested(),
    })
}

/// The two sides of a comparison, open.
struct Sides {
    source: Arc<dyn Source>,
    place: SourcePlace,
    target: Arc<dyn Target>,
    /// The target's name in the state.
    name: String,
    /// How keys are read: between two stores as plain names, as in a mirror.
    key_space: KeySpace,
    /// Keeps runs from writing to the target meanwhile.
    _shared: Option<SharedLock>,
}

impl Sides {
    /// Opens both, and refuses to compare a place with itself.
    fn open(
        options: &VerifyOptions,
        against: &Against,
        observer: &dyn Observer,
        progress: &Arc<Progress>,
        stop: &Stop,
    ) -> Result<Self, Error> {
        let named = NamedSource { location: &against.source, store: against.source_store.as_ref() };
        let opened = open(options, Some(named), observer, progress, stop)?;
        let Opened {
            target,
            name,
            shared,
            source: Some(OpenedSource { source, place, overlap }),
            ..
        } = opened
        else {
            return Err(Error::new(ErrorKind::Unusable, "there is no source"));
        };
        if overlap == Some(Overlap::Same) {
            let message = format!("source and target are the same place, \"{name}\"");
            return Err(Error::new(ErrorKind::Refused, message).help(
                "comparing it with itself proves nothing: name the source it was copied from",
            ));
        }
        let is_flat = source.capabilities().flat_keys && target.capabilities().flat_keys;
        let key_space = if is_flat { KeySpace::Flat } else { KeySpace::Tree };
        Ok(Self { source, place, target, name, key_space, _shared: shared })
    }

    /// Has the target know what the last runs found out about it.
    fn recall(&self, options: &VerifyOptions, latest: Option<&LatestRun>) -> Result<(), Error> {
        if let Some(keeps) = latest.and_then(|latest| latest.options.keeps) {
            self.target.assume_keeps(keeps);
        }
        // If the state can't be used, that was reported.
        let state = State::latest_into(&options.state_dir, &self.name).ok().flatten();
        recall(state.as_ref(), &*self.target, &open::spool_dir(options))
    }

    /// Returns the names of users and groups that the manifest in the source tells, if the run gave
    /// owners by name.
    fn names(
        &self,
        options: &VerifyOptions,
        mapping: &MetadataMapping,
    ) -> Result<RecordedNames, Error> {
        if !mapping.by_name {
            return Ok(RecordedNames::default());
        }
        let spool_dir = open::spool_dir(options);
        let found = ManifestReader::of(&*self.source, &spool_dir).latest_or_highest()?;
        Ok(found.map(|(latest, _)| latest.head.names()).unwrap_or_default())
    }

    /// Lists both and joins the listings.
    fn join(
        &self,
        listing: &ListOptions,
    ) -> Result<impl Iterator<Item = Result<Joined, Error>>, Error> {
        // Excluded entries are listed too: they show which directories a mirror keeps.
        let all = ListOptions { filter: Arc::default(), ..listing.clone() };
        Join::new(
            OrderChecked::new(self.source.list(listing)?, Side::Source),
            OrderChecked::new(self.target.list(&all)?, Side::Target),
            RecordedRows { rows: std::iter::empty(), from: SourceNumber::NONE }.read_ahead(),
            self.key_space,
        )
    }

    /// Returns the latest run from the source into the target, from the state or the manifest.
    /// Records that can't be used are reported and otherwise ignored, since none is needed.
    fn latest_run(&self, options: &VerifyOptions, observer: &dyn Observer) -> Option<LatestRun> {
        let from_state = self.latest_in_state(options).or_else(|error| {
            if !is_damage(&error) {
                return Err(error);
            }
            observer.notice(open::instead_of(&error));
            Ok(None)
        });
        let found = from_state.and_then(|found| match found {
            Some(found) => Ok(Some(found)),
            None => self.latest_in_manifest(options, observer),
        });
        found.unwrap_or_else(|error| {
            observer.notice(Notice::FilterUnknown { cause: error.sentence() });
            None
        })
    }

    fn latest_in_state(&self, options: &VerifyOptions) -> Result<Option<LatestRun>, Error> {
        let Some(state) = State::open_read_only(&options.state_dir, &self.place.name, &self.name)?
        else {
            return Ok(None);
        };
        let Some(run) = state.last_unlisted_run_from_source()? else { return Ok(None) };
        Ok(Some(LatestRun { run: run.id, options: RecordedOptions::decode(&run.options)? }))
    }

    fn latest_in_manifest(
        &self,
        options: &VerifyOptions,
        observer: &dyn Observer,
    ) -> Result<Option<LatestRun>, Error> {
        let spool_dir = open::spool_dir(options);
        let reader = ManifestReader::of(&*self.target, &spool_dir);
        let Some((latest, fault)) = reader.latest_or_highest()? else { return Ok(None) };
        if let Some(fault) = fault {
            observer.notice(used_instead(&latest, Some(&fault), None));
        }
        let head = latest.head;
        let is_of_sides =
            head.source == self.place.name && head.options.key_space == self.key_space;
        Ok(is_of_sides.then_some(LatestRun { run: head.run, options: head.options }))
    }
}

/// The latest run from the source into the target.
struct LatestRun {
    run: RunId,
    /// Its options.
    options: RecordedOptions,
}

/// What is compared.
struct Scope {
    /// The entries that take part.
    filter: Arc<Filter>,
    /// The run whose filter it is, if none was named.
    filter_of: Option<RunId>,
    /// Whether the latest run deleted what the source lacked, so that extra entries count.
    deletes: bool,
    /// Whether the latest run mirrored special files.
    has_specials: bool,
}

impl Scope {
    /// Takes the filter that was named, or else that of the latest run.
    fn of(against: &Against, latest: Option<LatestRun>) -> Result<Self, Error> {
        let deletes = latest.as_ref().is_some_and(|LatestRun { options, .. }| {
            // What the target has in directories that were not entered stays.
            options.delete && options.filter.directories.is_empty()
        });
        let has_specials = latest.as_ref().is_none_or(|latest| latest.options.preserve.specials);
        let (filter, filter_of) = match (&against.filter, latest) {
            (Some(filter), _) => (filter.clone(), None),
            (None, None) => (Filter::default(), None),
            (None, Some(LatestRun { run, options })) => {
                let filter = Filter::try_from(options.filter).map_err(|error| {
                    Error::new(ErrorKind::Manifest, "the recorded run's filter can't be used")
                        .because(error)
                        .help(hint![
                            "name the filter by ",
                            Setting::Exclude,
                            " and ",
                            Setting::Include
                        ])
                })?;
                (filter, Some(run))
            }
        };
        Ok(Self { filter: Arc::new(filter), filter_of, deletes, has_specials })
    }
}

/// The sides on which anything but the root was found.
#[derive(Default)]
struct Found {
    source: bool,
    target: bool,
}

/// A pass through both sides.
struct Scan<'c, 'a> {
    comparer: &'c ContentComparer<'a>,
    progress: &'c Progress,
    found: Found,
    extras: Extras,
    /// The names of files with several.
    links: LinkGroups,
    /// The directory in the place of an excluded leaf, if a mirror leaves it alone.
    protected: Option<Key>,
}

impl Scan<'_, '_> {
    /// Takes the next item; returns the files that have to be read for it.
    fn take(&mut self, joined: Joined) -> Result<Option<Job>, Error> {
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
            // Without rows nothing is known to be unchanged.
            Joined::Leftover(_) | Joined::MountPoint(_) | Joined::Unchanged(_) => {}
            Joined::LeftOut(key, why) => {
                self.extras.hold(&key, &mut |key| comparer.extra(key));
                comparer.observer.notice(Notice::left_out(&key, why));
            }
        }
        Ok(None)
    }

    fn pair(&mut self, pair: Pair) -> Result<Option<Job>, Error> {
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
            self.protected = Some(Key::child(pair.key.parent(), pair.key.name(), true));
        }
        match (&pair.source, &pair.target) {
            (Seen::Absent, Seen::Present(entry)) => {
                let protected = self.protected.as_ref();
                let is_protected =
                    protected.is_some_and(|directory| entry.key.is_within(directory.as_bytes()));
                let is_left_out = is_protected || comparer.is_left_out(entry);
                self.extras.take(entry, is_left_out, &mut extra);
            }
            (Seen::Unknown, Seen::Present(_)) => self.extras.hold(&pair.key, &mut extra),
            _ => {}
        }
        if let (Some(source), Some(target)) = (pair.source.entry(), pair.target.entry())
            && source.kind == target.kind
            && comparer.both_list_links()
            && !comparer.is_excluded(source)
        {
            let file = |entry: &Entry| entry.group().map(|group| group.id);
            self.links.add(&pair.key, [file(source), file(target)])?;
        }
        Ok(comparer.compare(pair))
    }

    /// Ends the pass after the last item.
    fn finish(mut self) -> (Found, LinkGroups) {
        let comparer = self.comparer;
        self.extras.leave(None, &mut |key| comparer.extra(key));
        (self.found, self.links)
    }
}

/// Goes through both sides, and reads files on both where that is needed.
pub(super) fn compare(
    join: impl Iterator<Item = Result<Joined, Error>>,
    comparer: &ContentComparer<'_>,
    links: LinkGroups,
    workers: usize,
    progress: &Progress,
    stop: &Stop,
) -> Result<(), Error> {
    let (found, links) = std::thread::scope(|scope| {
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
            links,
            protected: None,
        };
        for joined in join {
            if stop.requested() {
                break;
            }
            if let Some(job) = scan.take(joined?)? {
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
    if !stop.requested() {
        links.finish(|key, torn| {
            comparer.differs(key, &Difference::Metadata(torn.words().to_owned()));
        })?;
    }
    if found.target && !found.source && !stop.requested() {
        return Err(Error::new(
            ErrorKind::Refused,
            "the source is empty and the target is not: is its disk mounted?",
        )
        .help(hint!["an empty source proves nothing; name another by ", Setting::Against]));
    }
    Ok(())
}
