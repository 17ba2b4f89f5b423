//! What a run refuses before it does harm: a root that is the state's, a source that is not mounted,
//! deletions that nothing speaks for.

use super::Session;
use crate::backend::local::{FileSystem, Root, misplaced_patterns};
use crate::manifest::{RootIdentity, Sameness};
use crate::model::error::Side;
use crate::model::stamp::NO_NUMBER;
use crate::model::{Error, ErrorKind, Key};
use crate::plan::{DeletionTally, Evidence, guard};
use crate::session::bag_root;
use crate::session::places::{Places, SourceAt, TargetAt, printable};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Refuses the root of a bag that the source isn't, and what lies beside its payload; see [`bag_root::refuse`].
///
/// # Errors
/// As those of [`bag_root::refuse`].
pub(super) fn refuse_bag(places: &Places, state_dir: &Path) -> Result<(), Error> {
    let Places { source, target, .. } = places;
    let TargetAt::Local { path, .. } = &target.at else { return Ok(()) };
    let help = "name another directory; `vidimus bag SOURCE BAG` brings a bag up to date, and if it is \
                to become a copy of the source, remove its bagit.txt first";
    bag_root::refuse((path, &target.name), state_dir, Some(source), help)
}

impl Session<'_> {
    /// The state may lie below a root, where it is left out, but not be one.
    pub(super) fn check_state_dir(&self, target: Option<&Root>) -> Result<(), Error> {
        let Ok(state) = Root::open(&self.options.state_dir) else { return Ok(()) };
        let is_state = |root: &Root| root.directory().identity == state.directory().identity;
        let source = &self.places.source;
        let source = source.root().filter(|_| source.only.is_none());
        let side = if target.is_some_and(is_state) {
            Side::Target
        } else if source.is_some_and(|root| is_state(root)) {
            Side::Source
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Refused, format!("the state directory is the {side} itself"))
            .help("name another directory by --state-dir"))
    }

    /// Notes patterns that were meant for a path of this machine: they begin at the source's root, and
    /// match nothing.
    pub(super) fn tell_misplaced_patterns(&self) {
        let SourceAt::Local { path: real, .. } = &self.places.source.at else { return };
        if self.places.source.only.is_some() {
            return;
        }
        for note in misplaced_patterns(&self.filter, real) {
            self.note(&note);
        }
    }

    pub(super) fn root_identity(&self) -> Result<RootIdentity, Error> {
        let Some(root) = self.places.source.root() else {
            // A bucket has no identity beside its name, which the state is kept by.
            return Ok(RootIdentity { inode: NO_NUMBER, file_system: 0, id: None });
        };
        let directory = root.directory();
        let FileSystem { kind, id } = FileSystem::of(&**directory).map_err(|error| {
            Error::new(ErrorKind::Unusable, "cannot look at the source's file system")
                .because(error)
        })?;
        Ok(RootIdentity { inode: directory.number().unwrap_or(NO_NUMBER), file_system: kind, id })
    }

    /// Whether the guard allows the deletions that were planned.
    pub(super) fn allow(
        &self,
        tally: &DeletionTally,
        before: Option<RootIdentity>,
        now: &RootIdentity,
    ) -> Result<(), Error> {
        let Some(delete) = &self.options.delete else { return Ok(()) };
        let sameness = before.as_ref().map(|before| now.compare(before));
        let proven_by_file = self.options.require_file.is_some();
        guard::allow(
            delete,
            &Evidence {
                tally: *tally,
                root: Some(now.clone()),
                root_before: before,
                proven_by_file,
            },
        )?;
        if sameness == Some(Sameness::Unsure) && !delete.accept_source && !proven_by_file {
            self.note(
                "the source's file system has another id than in the last run that deleted: it may \
                 be another disk. Its type can have a new id after a restart, so nothing is refused; \
                 --require-file NAME makes sure of the disk",
            );
        }
        Ok(())
    }

    pub(super) fn check_required_file(&self) -> Result<(), Error> {
        let Some(name) = &self.options.require_file else { return Ok(()) };
        let plain = |part| matches!(part, std::path::Component::Normal(_));
        if !name.components().all(plain) {
            return Err(Error::new(
                ErrorKind::Usage,
                "--require-file names a file below the source",
            )
            .help("a relative path without \"..\": --require-file .mounted"));
        }
        let found = match &self.places.source.at {
            SourceAt::Local { path, .. } => path.join(name).symlink_metadata().map(|_| ()),
            SourceAt::Object(place) => {
                let key = Key::new(name.as_os_str().as_bytes());
                let missing = || std::io::ErrorKind::NotFound.into();
                if place.has_object(&key)? { Ok(()) } else { Err(missing()) }
            }
        };
        found.map_err(|error| {
            let name = printable(name);
            Error::new(
                ErrorKind::Refused,
                format!(
                    "the source lacks the file that --require-file names, \"{name}\": is it mounted?"
                ),
            )
            .because(error)
        })
    }
}
