//! A dry run: the same decisions, reported instead of executed.

use super::sides::RowsToJoin;
use super::{Ended, Session};
use crate::backend::Listing;
use crate::compare::RecordedRows;
use crate::engine::{Preview, Refusals, moved_from};
use crate::manifest::keys::SecretKey;
use crate::manifest::published::ManifestReader;
use crate::manifest::{SourceNumber, State, Writing, is_damage, recall};
use crate::model::run::Counter;
use crate::model::{Entry, EntryKind, Error, ErrorKind, Event, Key, Metadata, Notice};
use crate::place::Sides;
use crate::plan::{Plan, Planning, Step};
use crate::session::published::{Foreseen, Foresight, LookedAt, foresee};
use std::path::Path;

impl Session<'_> {
    /// Opens the state read-only; `None` if a run would start with an empty one.
    pub(super) fn recorded(&self) -> Result<Option<State>, Error> {
        let (source, target) = (&self.places.source.name, &self.places.target.name);
        match State::open_read_only(&self.options.state_dir, source, target) {
            Err(error) if is_damage(&error) => {
                self.notice(Notice::StateDamaged);
                Ok(None)
            }
            // A run was killed while it took over a published manifest.
            Ok(Some(state)) if state.last_run()?.is_none() => Ok(None),
            other => other,
        }
    }

    /// Returns the run that is currently writing to the target, if there is one, and reports it.
    pub(super) fn writing(&self) -> Option<Writing> {
        let writing = self.places.target.lockable().ok()?.writer()?;
        self.notice(Notice::TargetInUse { holder: writing.who.clone() });
        Some(writing)
    }

    /// Returns the rows that a run would use, and the number of its source in them, if others have
    /// published in the target since.
    pub(super) fn foreseen(
        &self,
        state: &State,
        place: LookedAt<'_>,
    ) -> Result<Option<RecordedRows<Foreseen>>, Error> {
        if !self.places.target.exists() || self.places.bag.is_some() {
            return Ok(None);
        }
        let key = self.options.sign.as_ref().map(SecretKey::public);
        match foresee(state, place, key) {
            Ok(None) => Ok(None),
            Ok(Some(Foresight { recorded, notices })) => {
                self.notices(notices);
                Ok(Some(recorded))
            }
            // The dry run goes on; a run by a user who may read the manifest takes it over.
            Err(error) if error.kind == ErrorKind::Unusable => {
                self.notice(Notice::LaterManifestUnknown { cause: error.sentence() });
                Ok(None)
            }
            Err(error)
                if matches!(error.kind, ErrorKind::Untrusted | ErrorKind::Damaged)
                    && !self.signs_single() =>
            {
                self.notice(Notice::ManifestToReplace { cause: error.sentence() });
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the rows that a run would use, limited to its keys.
    fn rows_to_join(
        &self,
        state: Option<&State>,
        place: LookedAt<'_>,
    ) -> Result<RowsToJoin, Error> {
        let nothing =
            || RowsToJoin { rows: Box::new(std::iter::empty()), from: SourceNumber::NONE };
        let Some(state) = state else {
            if !self.places.target.exists() || self.places.bag.is_some() {
                return Ok(nothing());
            }
            return Ok(self.published_rows(place.reader)?.unwrap_or_else(nothing));
        };
        if self.distrusts(state)? {
            return Ok(nothing());
        }
        match self.foreseen(state, place)? {
            Some(RecordedRows { rows, from }) => {
                let rows = rows.map(|row| row.map(|(row, _)| row));
                Ok(self.take_part(RowsToJoin { rows: Box::new(rows), from }))
            }
            None => self.rows(state),
        }
    }

    /// Performs a dry run: reads what a run would read, and writes nothing.
    pub(super) fn preview(&self) -> Result<Ended, Error> {
        let state = self.recorded()?;
        let previous = state.as_ref().map(State::last_finished_totals).transpose()?.flatten();
        self.started(previous.as_ref());
        let exists = self.places.target.exists();
        if exists {
            self.places.target.open()?;
            self.places.target.lockable()?.check_directory()?;
        }
        self.check_state_dir()?;
        let sides = self.open()?;
        let spool_dir = std::env::temp_dir();
        recall(state.as_ref(), &*sides.target, &spool_dir)?;
        let kept = ManifestReader::of(&*sides.target, &spool_dir);
        self.check_single(state.as_ref(), exists.then_some(&kept))?;
        let braked = match &state {
            Some(state) => self.brake(&*sides.source, state).err(),
            None => None,
        };
        let recorded = self.rows_to_join(state.as_ref(), self.place(&*sides.target, &kept))?;
        let refusal = self.report_plan(&sides, state.as_ref(), recorded, &spool_dir)?;
        let refusal = match braked {
            // The changes are shown all the same: they are what has to be looked at.
            Some(error) if error.kind == ErrorKind::Refused => {
                self.observer.observe(&Event::Refused(error.report()));
                Some(error)
            }
            Some(error) => return Err(error),
            None => refusal,
        };
        self.warn(&[&*sides.source, &*sides.target]);
        if let Some(backup) = &self.backup {
            self.notice(Notice::BackupPlanned { directory: backup.shown() });
        }
        if let Some(state) = state.as_ref().filter(|_| !self.stop.requested()) {
            self.look_at_published(state, &kept)?;
        }
        let verdict = self.verdict(refusal.as_ref());
        Ok(Ended { verdict, refusal, unpublished: None })
    }

    /// Plans the run and reports what it would do; returns the error of the guard if that would
    /// refuse the deletions.
    fn report_plan(
        &self,
        Sides { source, target }: &Sides,
        state: Option<&State>,
        recorded: RowsToJoin,
        spool_dir: &Path,
    ) -> Result<Option<Error>, Error> {
        let exists = self.places.target.exists();
        let target_listing: Listing = if exists {
            target.list(&self.target_listing())?
        } else {
            Box::new(std::iter::empty())
        };
        let policy = self.policy(recorded.from, &**source, &**target);
        let looks_for = policy.looks_for;
        let is_first_contact = state.map_or(Ok(true), State::is_first_contact)?;
        let source_listing =
            self.enrich(&**source, source.list(&self.listing())?, is_first_contact)?;
        let join = self.join(source_listing, target_listing, recorded.read_ahead())?;
        let holds = |metadata: &Metadata, kind: EntryKind, existing: Option<&Metadata>| {
            target.achievable_metadata(metadata, kind, existing)
        };
        let accepts = |key: &Key| target.accepts(key);
        let is_over = || self.stop.requested();
        let from = policy.from;
        let moved_from = |entry: &Entry| match state {
            Some(state) => moved_from(&**source, state, from, entry),
            None => Ok(None),
        };
        let renames = self.renames(&**source, is_first_contact);
        let planning = Planning {
            policy: &policy,
            achievable: &holds,
            count_loss: &|entry| target.count_loss(entry),
            accepts: &accepts,
            stands_linked: &|entry| super::stands_linked(&**target, state, entry),
            moved_from: if renames { Some(&moved_from) } else { None },
            moves_directories: self.moves_directories(&**target),
            is_recount: false,
            leaves_out: self.leaves_out(),
            surplus: &Counter::default(),
            progress: self.progress,
            // Only what exceeds memory is written there, to unlinked files: a dry run makes no
            // state.
            spool_dir,
            is_first_contact,
            root_is_new: !exists,
            directories_change: target.capabilities().directory_times,
            is_over: &is_over,
        };
        let plan = Plan::new(join, planning);
        let (writing, lockable) = (self.writing(), self.places.target.lockable().ok());
        let partials = self.partials()?;
        let under_way = |key: &Key| {
            partials.holds(key)
                || writing.as_ref().is_some_and(|writing| writing.owns(key))
                || lockable.as_ref().is_some_and(|target| target.is_held_below(key))
        };
        let sets_unlisted = |step: &Step| {
            let sets = step.target.as_ref().and_then(|existing| {
                super::attributes::unlisted(&step.source, existing, &**source, &**target, looks_for)
            });
            sets.is_some()
        };
        let preview = Preview {
            refusals: Refusals::default(),
            observer: self.observer,
            progress: self.progress,
            stop: self.stop,
            deletes: self.options.delete.as_ref(),
            renames: target.capabilities().renames,
            state,
            spool_dir,
            under_way: &under_way,
            sets_unlisted: &sets_unlisted,
        };
        preview.run((plan, planning), |tally| {
            let before = state.map(State::last_allowed_root).transpose()?.flatten();
            self.allow(tally, before, &self.places.source.root_identity()?)
        })
    }
}
