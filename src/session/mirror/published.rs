//! The manifest that a run leaves in its target, and takes over where it has no state.

use super::Session;
use crate::backend::Target;
use crate::manifest::published::{self, Press, Publishing, Shelf};
use crate::manifest::{RecordedOptions, State};
use crate::model::{Error, ErrorKind, Timestamp, Verdict};
use crate::session::wall_clock;

impl Session<'_> {
    /// Makes the state of what was published in the target, where it is new and the same source was
    /// mirrored there. What can't be used is told: all is compared then.
    pub(super) fn take_over_published(
        &self,
        state: &State,
        target: &dyn Target,
    ) -> Result<(), Error> {
        if self.places.source.only.is_some() || state.last_run()?.is_some() {
            return Ok(());
        }
        let kept = Shelf::of(target, &self.options.state_dir);
        let rebuilt = kept.latest().and_then(|latest| {
            let same = latest.filter(|latest| {
                let head = &latest.head;
                head.source == state.source() && head.options.form == self.places.form()
            });
            same.map(|latest| Ok((published::rebuild(state, &kept, &latest)?, latest))).transpose()
        });
        match rebuilt {
            Ok(None) => {}
            Ok(Some((rows, latest))) => self.note(&format!(
                "this mirror has no state here: {rows} entries were taken over from the manifest \
                 that run {} published in the target",
                latest.head.run
            )),
            Err(error) if published::is_newer(&error) => return Err(error),
            Err(error) if error.kind == ErrorKind::Manifest => {
                self.note(&format!("{error}; everything is compared"));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Publishes what changed. The manifest of a single file would take the place of that of all
    /// that lies beside it.
    pub(super) fn publish(
        &self,
        state: &State,
        target: &dyn Target,
        (started, verdict, options): (Timestamp, Verdict, RecordedOptions),
    ) -> Result<(), Error> {
        if self.places.source.only.is_some() {
            return Ok(());
        }
        let now = wall_clock();
        let publishing = Publishing {
            run: self.run.clone(),
            started,
            now,
            verdict,
            options,
            totals: self.progress.totals(),
        };
        let press = Press::new(target, &self.options.state_dir, now);
        published::publish(state, &press, publishing).map(|_| ()).map_err(|error| {
            let message = "the mirror is done, but its manifest could not be published";
            Error::new(error.kind, message)
                .because(error)
                .help("the next run publishes it; until then the one before it counts")
        })
    }
}
