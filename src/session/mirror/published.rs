//! The manifest that a run publishes in its target, and takes over if it has no state.

use super::Session;
use super::sides::RowsToJoin;
use crate::backend::Target;
use crate::manifest::keys::SecretKey;
use crate::manifest::published::{
    self, Done, Head, ManifestReader, ManifestStatus, ManifestWriter, Merged, Publication,
    Publishing,
};
use crate::manifest::{Opened, RecordedOptions, SourceNumber, State};
use crate::model::error::Side;
use crate::model::notice::Instead;
use crate::model::{Error, ErrorKind, Notice, Timestamp, Verdict};
use crate::session::places::Places;
use crate::session::published::{self as in_target, LookedAt, TakenOver};
use crate::session::{single, wall_clock};

impl Session<'_> {
    /// Refuses a run of a single file that would drop a signature or has nothing to sign, as `put`
    /// does. A mirror of a whole source may publish without a signature, and reports it. A state,
    /// if there is one, knows whether a manifest is published.
    pub(super) fn check_single(
        &self,
        state: Option<&State>,
        kept: Option<&ManifestReader<'_>>,
    ) -> Result<(), Error> {
        if self.places.source.only.is_none() || self.places.bag.is_some() {
            return Ok(());
        }
        let (name, key) = (&self.places.target.name, self.options.sign.as_ref());
        let publishes = match state {
            Some(state) => state.published()?.is_some(),
            None => true,
        };
        match (kept, key) {
            (_, None) if !publishes => Ok(()),
            (None, None) => Ok(()),
            (None, Some(_)) => Err(single::nothing_to_sign(name)),
            (Some(kept), _) => single::check_signed(kept, name, key).map(|_| ()),
        }
    }

    /// Returns whether a single file's run signs the manifest, which must then be intact and
    /// trusted.
    pub(super) fn signs_single(&self) -> bool {
        self.places.source.only.is_some() && self.options.sign.is_some()
    }

    /// Fills a new state from what is published in the target, whoever published it. If that can't
    /// be used, this is reported and everything is compared. Returns whether everything that
    /// earlier runs recorded was dropped.
    pub(super) fn take_over_published(
        &self,
        opened: &Opened,
        place: LookedAt<'_>,
    ) -> Result<bool, Error> {
        let (state, kept) = (&opened.state, place.reader);
        // Rows without a run are left from one that was killed while it took a manifest over.
        let is_new = state.last_run()?.is_none();
        let is_dropped = !is_new && self.distrusts(state)?;
        if is_new || is_dropped {
            state.clear()?;
        }
        if !is_new {
            self.check_single(Some(state), Some(kept))?;
            self.report_lost_state(opened, Instead::RestCompared);
            self.catch_up(state, place)?;
            return Ok(is_dropped);
        }
        let key = self.options.sign.as_ref().map(SecretKey::public);
        let allows = || self.check_single(None, Some(kept));
        let taken = in_target::take_over(state, place, key, &allows, self.stop);
        let taken = self.usable(taken, |cause| Notice::ManifestUnusable { cause });
        let Some(TakenOver { rows, latest, notices }) =
            taken.map_err(|error| self.manifest_unreadable(Side::Target, error))?.flatten()
        else {
            self.check_single(Some(state), Some(kept))?;
            self.report_lost_state(opened, Instead::AllCompared);
            return Ok(false);
        };
        self.notices(notices);
        let (entries, run) = (rows, latest.head.run);
        if !self.report_lost_state(opened, Instead::TakenOver { entries, run: run.clone() }) {
            self.notice(Notice::ManifestTakenOver { entries, run });
        }
        Ok(false)
    }

    /// Takes over what another machine or user has published since this one did.
    fn catch_up(&self, state: &State, place: LookedAt<'_>) -> Result<(), Error> {
        let key = self.options.sign.as_ref().map(SecretKey::public);
        match in_target::catch_up(state, place, key, self.stop) {
            Ok(notices) => self.notices(notices),
            Err(error) if error.kind == ErrorKind::Untrusted && !self.signs_single() => {
                self.notice(Notice::ManifestReplaced { cause: error.sentence() });
            }
            // Nothing is known of a damaged manifest; it is reported when the run publishes.
            Err(error) if error.kind == ErrorKind::Damaged && !self.signs_single() => {}
            Err(error) => return Err(self.manifest_unreadable(Side::Target, error)),
        }
        Ok(())
    }

    /// Describes the target for checks of what others published.
    pub(super) fn place<'a>(
        &self,
        target: &'a dyn Target,
        reader: &'a ManifestReader<'a>,
    ) -> LookedAt<'a> {
        let (key_space, trust) = (self.places.key_space(), self.options.policy.trust);
        LookedAt { target, reader, key_space, trust }
    }

    /// Makes the error of a run that ends because it can't read a side's manifest.
    pub(super) fn manifest_unreadable(&self, side: Side, error: Error) -> Error {
        const LATER: &str =
            "nothing was compared or changed; run again once the manifest can be read";
        if error.kind != ErrorKind::Unusable {
            return error;
        }
        let Places { source, target, .. } = self.places;
        let name = if side == Side::Source { &source.name } else { &target.name };
        let help = error.help.clone().unwrap_or_else(|| LATER.into());
        let message = format!("cannot mirror without the manifest published in \"{name}\"");
        Error::new(error.kind, message).because(error).help(help)
    }

    /// Reports a state that could not be used, and what is done instead. Returns whether it was
    /// lost.
    pub(super) fn report_lost_state(&self, opened: &Opened, instead: Instead) -> bool {
        let Some(lost) = opened.lost(Some(instead)) else { return false };
        self.notice(lost);
        true
    }

    /// Returns whether the state has entries that this run's key must not sign, and reports it; a
    /// single file is refused then.
    pub(super) fn distrusts(&self, state: &State) -> Result<bool, Error> {
        let Some(key) = &self.options.sign else { return Ok(false) };
        if self.signs_single() {
            return single::check_trusted(state, key.public()).map(|()| false);
        }
        if state.is_for(key.public())? {
            return Ok(false);
        }
        self.notice(match state.rows_of_others()? {
            0 => Notice::RecordDistrusted,
            entries => Notice::OthersDistrusted { entries },
        });
        Ok(true)
    }

    /// Returns the rows that a run would take over, if there are any.
    pub(super) fn published_rows(
        &self,
        kept: &ManifestReader<'_>,
    ) -> Result<Option<RowsToJoin>, Error> {
        let merged = self.published(kept).and_then(|latest| {
            let merge = |latest: Publication| {
                Ok((Merged::of(kept, &latest.head)?, self.number_in(&latest.head)))
            };
            latest.map(merge).transpose()
        });
        let unusable = |cause| Notice::ManifestUnusable { cause };
        Ok(self.usable(merged, unusable)?.flatten().map(|(merged, from)| {
            let rows = merged.map(|row| row.map(|(row, _)| row));
            self.take_part(RowsToJoin { rows: Box::new(rows), from })
        }))
    }

    /// Returns the number of this run's source in a publication.
    pub(super) fn number_in(&self, head: &Head) -> SourceNumber {
        let name = &self.places.source.name;
        let found = head.sources().into_iter().find(|source| source.source == *name);
        found.map_or(SourceNumber::NONE, |source| source.number)
    }

    /// Returns the latest publication in the target.
    pub(super) fn published(
        &self,
        kept: &ManifestReader<'_>,
    ) -> Result<Option<Publication>, Error> {
        let Some((latest, fault)) = kept.latest_or_highest()? else { return Ok(None) };
        // A signature must only cover what was verified here, not what others put there.
        if let Some(key) = &self.options.sign {
            let key = key.public();
            kept.signature_status(&latest, Some(key))?.demand(&latest, key)?;
        }
        if let Some(fault) = fault {
            self.notice(published::used_instead(&latest, Some(&fault), None));
        }
        Ok(Some(latest))
    }

    /// Unwraps what was read from a manifest. One that can't be used is reported as `unusable`,
    /// since a run would replace it. It is an error if a newer vidimus made it, or if a single file
    /// is signed with it, which replaces nothing of it.
    pub(super) fn usable<T>(
        &self,
        given: Result<T, Error>,
        unusable: impl FnOnce(String) -> Notice,
    ) -> Result<Option<T>, Error> {
        match given {
            Ok(given) => Ok(Some(given)),
            Err(error)
                if matches!(error.kind, ErrorKind::Damaged | ErrorKind::Untrusted)
                    && !self.signs_single() =>
            {
                self.notice(unusable(error.sentence()));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Reports what a run would publish anew, as far as reading the manifest shows.
    pub(super) fn look_at_published(
        &self,
        state: &State,
        kept: &ManifestReader<'_>,
    ) -> Result<(), Error> {
        let known = state.published()?;
        let is_single = self.places.source.only.is_some();
        if self.places.bag.is_some() || is_single && known.is_none() {
            return Ok(());
        }
        let status = match ManifestStatus::look(kept, known.as_ref()) {
            Ok(status) => status,
            // The dry run is done; a run by a user who may read the manifest reports more.
            Err(error) if error.kind == ErrorKind::Unusable => {
                self.notice(Notice::ManifestUnchecked { cause: error.sentence() });
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if let Some(fault) = status.fault.or(state.distrusted()?) {
            self.notice(Notice::ManifestDamaged { cause: fault.sentence() });
        }
        Ok(())
    }

    /// Returns what to publish for a run that ends now.
    pub(super) fn publishing(
        &self,
        started: Timestamp,
        verdict: Verdict,
        options: RecordedOptions,
    ) -> Publishing {
        Publishing {
            run: self.run.clone(),
            started,
            now: wall_clock(),
            verdict,
            options,
            totals: self.progress.totals(),
        }
    }

    /// Publishes what changed. A single file doesn't create a manifest.
    pub(super) fn publish(
        &self,
        state: &State,
        place: LookedAt<'_>,
        publishing: Publishing,
    ) -> Result<(), Error> {
        let known = state.published()?;
        if self.places.source.only.is_some() && known.is_none() {
            return Ok(());
        }
        let writer = ManifestWriter::new(place.target, &self.options.state_dir, publishing.now);
        let writer = writer.going_by(place.reader);
        let writer =
            writer.signing_with(self.options.sign.as_ref()).with_mode(self.options.manifest_mode);
        let done = published::publish(state, &writer, publishing)
            .map_err(|error| in_target::unpublished("the mirror is done", error))?;
        self.notices(done.iter().flat_map(Done::notices));
        Ok(())
    }
}
