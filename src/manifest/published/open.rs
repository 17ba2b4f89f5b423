//! Permissions of a manifest in a directory.

use super::head::is_numbered;
use super::reader::POINTER;
use super::writer::ManifestWriter;
use crate::backend::Precondition;
use crate::manifest::{ManifestMode, RowSelection, State};
use crate::model::notice::Readers;
use crate::model::reserved::{DIRECTORY, LOCK};
use crate::model::{Cause, Entry, EntryKind, Error, Key, Metadata, Notice};

/// What is about to be written to a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// Nothing, or a signature.
    Nothing,
    /// The changes since the previous publication.
    Changes,
    /// All rows.
    All,
}

impl ManifestWriter<'_> {
    /// Creates the manifest's directory if it is missing, and sets its permissions and those of the
    /// files in it: as a user requested, in this run or an earlier one; else those of the target's
    /// root, as far as no row contains what they may not read. Files of another user stay as they
    /// are. Returns a notice if someone who could read the manifest before can't any more.
    ///
    /// The directory's mode implies those of the files in it, so that for most runs one lookup
    /// suffices.
    pub(super) fn open(&self, state: &State, written: Written) -> Result<Option<Notice>, Error> {
        if let Some(mode) = self.mode {
            state.set_manifest_mode(mode)?;
        }
        if !self.target.capabilities().enforces_modes {
            return Ok(None);
        }
        let key = self.reader.key("");
        let failed = |cause| self.reader.failed("open", "", cause);
        let mut existing = self.target.look(&key).map_err(failed)?;
        let is_new = existing.is_none();
        if is_new && written == Written::Nothing {
            return Ok(None);
        }
        let root = self.target.look(&Key::root()).map_err(failed)?;
        let Metadata { mode, gid, .. } = root.ok_or_else(|| failed(Cause::Vanished))?.metadata;
        let asked = state.manifest_mode()?;
        let before =
            existing.as_ref().map(|existing| ManifestMode::of_directory(existing.metadata.mode));
        let wanted = match (asked, written, before) {
            (Some(asked), ..) => asked,
            (None, Written::Nothing, _) => return Ok(None),
            (None, Written::Changes, Some(before)) => {
                // Earlier publications were not checked for another group's permissions.
                let is_its_group = existing.as_ref().is_some_and(|it| it.metadata.gid == gid);
                let before = if is_its_group { before } else { before.without_group() };
                state.narrow(ManifestMode::of_root(mode).and(before), gid, RowSelection::Changes)?
            }
            (None, ..) => state.narrow(ManifestMode::of_root(mode), gid, RowSelection::All)?,
        };
        if is_new {
            // The lock was acquired before the root had its mode, if this run created it.
            let lock = asked.unwrap_or_else(|| ManifestMode::of_lock(mode));
            for (own, mode) in
                [(format!("{DIRECTORY}/"), lock.directory()), (LOCK.to_owned(), lock.file())]
            {
                if let Some(own) = self.target.look(&Key::new(own.as_bytes())).map_err(failed)? {
                    self.set_mode(&own, mode, Some(gid)).map_err(failed)?;
                }
            }
            self.target.make_directory(&key, Precondition::Absent).map_err(failed)?;
            existing = self.target.look(&key).map_err(failed)?;
        }
        let existing = existing.ok_or_else(|| failed(Cause::Vanished))?;
        let metadata = Metadata { mode: wanted.directory(), gid, ..existing.metadata };
        // The directory's actual group is not the intended one.
        let held = self.target.achievable_metadata(
            &metadata,
            EntryKind::Directory,
            Some(&existing.metadata),
        );
        let wanted = if held.gid == gid { wanted } else { wanted.without_group() };
        if held.uid != existing.metadata.uid {
            // It belongs to another user.
            match asked.filter(|_| self.mode.is_some() && before != asked) {
                None => self.max_mode.set(wanted),
                Some(_) => return Err(failed(rustix::io::Errno::PERM.into())),
            }
        } else if existing.metadata.mode != wanted.directory() || existing.metadata.gid != held.gid
        {
            let group = wanted.group_reads().then_some(gid);
            self.set_modes(&existing, wanted, group).map_err(failed)?;
        }
        let before = before.filter(|before| before.and(wanted) != *before && asked.is_none());
        Ok(before.map(|before| {
            let of_group = before.group_reads() && !wanted.group_reads();
            let to = if of_group { Readers::Group } else { Readers::Others };
            Notice::ManifestClosed { to, mode: before.to_string() }
        }))
    }

    /// Returns whether another group than before would be able to read the manifest: then all its
    /// content has to be checked for that group's permissions. If a user requested a mode, that is
    /// the user's decision.
    pub(super) fn is_for_another_group(&self, state: &State) -> Result<bool, Error> {
        if !self.target.capabilities().enforces_modes
            || self.mode.or(state.manifest_mode()?).is_some()
        {
            return Ok(false);
        }
        let failed = |cause| self.reader.failed("open", "", cause);
        let directory = self.target.look(&self.reader.key("")).map_err(failed)?;
        let root = self.target.look(&Key::root()).map_err(failed)?;
        let (Some(directory), Some(root)) = (directory, root) else { return Ok(false) };
        let (existing, gid) = (directory.metadata, root.metadata.gid);
        let wanted = Metadata { gid, ..existing };
        let held = self.target.achievable_metadata(&wanted, EntryKind::Directory, Some(&existing));
        let is_read = ManifestMode::of_directory(existing.mode).group_reads();
        Ok(is_read && existing.gid != gid && held.gid == gid)
    }

    /// Sets the modes of the directory and of this user's files in it. The directory is closed
    /// first and opened last.
    fn set_modes(
        &self,
        directory: &Entry,
        mode: ManifestMode,
        group: Option<u32>,
    ) -> Result<(), Cause> {
        let set = |entry: &Entry, mode| self.set_mode(entry, mode, group);
        let before = ManifestMode::of_directory(directory.metadata.mode);
        set(directory, before.and(mode).directory())?;
        for name in self.target.names(&directory.key)? {
            if name != POINTER.as_bytes() && !is_numbered(&name) {
                continue;
            }
            let key = Key::child(directory.key.as_bytes(), &name, false);
            if let Some(entry) = self.target.look(&key)?.filter(|it| it.kind == EntryKind::File) {
                set(&entry, mode.file())?;
            }
        }
        set(directory, mode.directory())
    }

    /// Sets an entry's mode and group, if it belongs to this user.
    fn set_mode(&self, entry: &Entry, mode: u32, group: Option<u32>) -> Result<(), Cause> {
        let existing = entry.metadata;
        let wanted = Metadata { mode, gid: group.unwrap_or(existing.gid), ..existing };
        let is_ours = self.target.achievable_metadata(&wanted, entry.kind, Some(&existing)).uid
            == existing.uid;
        if wanted == existing || !is_ours {
            return Ok(());
        }
        self.target
            .set_metadata(&entry.key, entry.kind, &(&wanted).into(), Precondition::Leaf)
            .map(drop)
    }
}
