//! The manifest that a run leaves in its target, and takes over where it has no state.

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
    /// Refuses what a single file must not do to a manifest, as a `put` of it does. A mirror of all
    /// of a source publishes unsigned, and says so: it is what the target is. The state, if there
    /// is one, knows what is published.
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

    /// Whether a single file is to be signed with what stands: that has to be whole and trusted
    /// then.
    pub(super) fn signs_single(&self) -> bool {
        self.places.source.only.is_some() && self.options.sign.is_some()
    }

    /// Makes the state of what was published in the target, where it is new, whoever published
    /// that. What can't be used is told: all is compared then. Whether all that earlier runs
    /// recorded was dropped.
    pub(super) fn take_over_published(
        &self,
        opened: &Opened,
        place: LookedAt<'_>,
    ) -> Result<bool, Error> {
        let (state, kept) = (&opened.state, place.reader);
        // Without a run, what it holds was left by one that was killed while it took a manifest
        // over.
        let is_new = state.last_run()?.is_none();
        let is_dropped = !is_new && self.mistrusts(state)?;
        if is_new || is_dropped {
            state.clear()?;
        }
        if !is_new {
            self.check_single(Some(state), Some(kept))?;
            self.tell_lost(opened, Instead::RestCompared);
            self.catch_up(state, place)?;
            return Ok(is_dropped);
        }
        let key = self.options.sign.as_ref().map(SecretKey::public);
        let allows = || self.check_single(None, Some(kept));
        let taken = in_target::take_over(state, place, key, &allows, self.stop);
        let taken = self.usable(taken, |cause| Notice::ManifestUnusable { cause });
        let Some(TakenOver { rows, latest, notices }) =
            taken.map_err(|error| self.unread(Side::Target, error))?.flatten()
        else {
            self.check_single(Some(state), Some(kept))?;
            self.tell_lost(opened, Instead::AllCompared);
            return Ok(false);
        };
        self.notices(notices);
        let (entries, run) = (rows, latest.head.run);
        if !self.tell_lost(opened, Instead::TakenOver { entries, run: run.clone() }) {
            self.notice(Notice::ManifestTakenOver { entries, run });
        }
        Ok(false)
    }

    /// Takes in what another machine, or user, published since it was published from here.
    fn catch_up(&self, state: &State, place: LookedAt<'_>) -> Result<(), Error> {
        let key = self.options.sign.as_ref().map(SecretKey::public);
        match in_target::catch_up(state, place, key, self.stop) {
            Ok(notices) => self.notices(notices),
            Err(error) if error.kind == ErrorKind::Untrusted && !self.signs_single() => {
                self.notice(Notice::ManifestReplaced { cause: error.to_string() });
            }
            // Of what may not be signed nothing is known; it is told when the run publishes.
            Err(error) if error.kind == ErrorKind::Damaged && !self.signs_single() => {}
            Err(error) => return Err(self.unread(Side::Target, error)),
        }
        Ok(())
    }

    /// The target, as it is looked at for what others published.
    pub(super) fn place<'a>(
        &self,
        target: &'a dyn Target,
        reader: &'a ManifestReader<'a>,
    ) -> LookedAt<'a> {
        let (key_space, trust) = (self.places.key_space(), self.options.policy.trust);
        LookedAt { target, reader, key_space, trust }
    }

    /// That a run ends because it can't read what is published on a side.
    pub(super) fn unread(&self, side: Side, error: Error) -> Error {
        const LATER: &str =
            "nothing was compared or changed; run again once the manifest can be read";
        if error.kind != ErrorKind::Unusable {
            return error;
        }
        let Places { source, target, .. } = self.places;
        let name = if side == Side::Source { &source.name } else { &target.name };
        let help = error.help.clone().unwrap_or_else(|| LATER.into());
        let message = format!("cannot mirror without what is published in \"{name}\"");
        Error::new(error.kind, message).because(error).help(help)
    }

    /// Tells that the state of this target could not be used, where it couldn't, and what is done
    /// instead; whether it did.
    pub(super) fn tell_lost(&self, opened: &Opened, instead: Instead) -> bool {
        let Some(lost) = opened.lost(Some(instead)) else { return false };
        self.notice(lost);
        true
    }

    /// Whether the state holds what the key of this run must not sign, which is told; a single file
    /// is refused then.
    pub(super) fn mistrusts(&self, state: &State) -> Result<bool, Error> {
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

    /// The rows that a run would take over, if there are any.
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

    /// The number that a publication names this run's source by.
    pub(super) fn number_in(&self, head: &Head) -> SourceNumber {
        let name = &self.places.source.name;
        let found = head.sources().into_iter().find(|source| source.source == *name);
        found.map_or(SourceNumber::NONE, |source| source.number)
    }

    /// What was published in the target.
    pub(super) fn published(
        &self,
        kept: &ManifestReader<'_>,
    ) -> Result<Option<Publication>, Error> {
        let Some((latest, fault)) = kept.latest_or_highest()? else { return Ok(None) };
        // A signature is to vouch for what was seen here, not for what anybody put there.
        if let Some(key) = &self.options.sign {
            let key = key.public();
            kept.signature_status(&latest, Some(key))?.demand(&latest, key)?;
        }
        if let Some(fault) = fault {
            self.notice(published::used_instead(&latest, Some(&fault), None));
        }
        Ok(Some(latest))
    }

    /// What a manifest gave; one that can't be used is told of as `unusable`, unless a
    /// newer vidimus made it: a run would replace it. A single file that is signed with it replaces
    /// nothing of it.
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
                self.notice(unusable(error.to_string()));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Tells what a run would publish anew, as far as a look at what stands there tells.
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
            // What is to be done was told all the same; a run as somebody who may read it tells.
            Err(error) if error.kind == ErrorKind::Unusable => {
                self.notice(Notice::ManifestUnchecked { cause: error.to_string() });
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if let Some(fault) = status.fault.or(state.distrusted()?) {
            self.notice(Notice::ManifestDamaged { cause: fault.to_string() });
        }
        Ok(())
    }

    /// What is to be published of a run that ends now.
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

    /// Publishes what changed. A single file makes no manifest where there is none.
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
