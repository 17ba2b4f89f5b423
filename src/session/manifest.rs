//! Published manifests, wherever they lie: in a target, or copied elsewhere.

use super::wall_clock;
use crate::backend::Source;
use crate::backend::object::StoreSettings;
use crate::limits::LimitOptions;
use crate::location::Location;
use crate::manifest::keys::PublicKey;
use crate::manifest::published::{
    self, CheckedChain, Head, History, ManifestReader, Merged, Publication, SignatureStatus,
};
use crate::model::shell::Quoted;
use crate::model::{Error, ErrorKind, Progress, Stop};
use crate::place::{Browsed, InBag, OpenOptions, Opener, bag_at};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::Arc;

/// Which manifest to read.
#[derive(Debug)]
pub struct ManifestAt {
    /// A target, a directory that holds what a target has in `.vidimus/manifest/`, or a file of these:
    /// `latest.json`, or the head of a publication. Where no manifest is needed, as in a comparison,
    /// any directory or part of a bucket.
    pub location: Location,
    /// How its store is reached, where it is one.
    pub store: Option<StoreSettings>,
    /// What reading it may use.
    pub limits: LimitOptions,
    /// Where segments are kept while they are read.
    pub spool_dir: PathBuf,
}

/// A place that has a manifest.
pub struct OpenManifest {
    source: Arc<dyn Source>,
    name: String,
    pub(super) spool_dir: PathBuf,
    is_bare: bool,
    /// Whether one of its files was named: what is published later plays no part then.
    is_named: bool,
    /// The publication that counts, or the one that was named.
    pub latest: Publication,
}

/// What a location was found to be.
pub enum Found {
    /// One with a manifest.
    Manifest(Box<OpenManifest>),
    /// One without.
    Bare(Arc<dyn Source>),
}

impl OpenManifest {
    /// Opens the manifest at a location, and reads the head that counts.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] when there is none, or it can't be used; [`ErrorKind::Unusable`] when
    /// the location can't be read.
    pub fn open(at: &ManifestAt, progress: &Arc<Progress>, stop: &Stop) -> Result<Self, Error> {
        match Self::find(at, progress, stop)? {
            Found::Manifest(open) => Ok(*open),
            Found::Bare(_) => Err(no_manifest_at(&at.location)),
        }
    }

    /// Opens a location, and its manifest where it has one.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] when there is one that can't be used; [`ErrorKind::Unusable`] when the
    /// location can't be read.
    pub fn find(at: &ManifestAt, progress: &Arc<Progress>, stop: &Stop) -> Result<Found, Error> {
        let (name, spool_dir) = (at.location.to_string(), at.spool_dir.clone());
        let options = OpenOptions::to_look(&at.limits, progress, stop, &at.spool_dir, wall_clock());
        let Browsed { source, file } =
            Opener::new(options).browse(&at.location, at.store.as_ref())?;
        if let Some(file) = file {
            let reader = ManifestReader::bare(&*source, &spool_dir);
            let latest = reader.named(file.as_bytes())?.ok_or_else(|| {
                let message =
                    format!("\"{name}\" is a file, not a directory, and none of a manifest");
                Error::new(ErrorKind::Unusable, message).help(
                    "name a directory (a target, or one that holds a copy of its manifest), a \
                     manifest's latest.json, or the head of a publication",
                )
            })?;
            let (is_bare, is_named) = (true, true);
            let open = Self { source, name, spool_dir, is_bare, is_named, latest };
            return Ok(Found::Manifest(Box::new(open)));
        }
        let reader = ManifestReader::bare(&*source, &spool_dir);
        let (latest, is_bare) = match ManifestReader::of(&*source, &spool_dir).latest()? {
            Some(latest) => (Some(latest), false),
            None if reader.is_meant()? => (reader.latest()?, true),
            None => (None, true),
        };
        Ok(match latest {
            Some(latest) => {
                let is_named = false;
                let open = Self { source, name, spool_dir, is_bare, is_named, latest };
                Found::Manifest(Box::new(open))
            }
            None => Found::Bare(source),
        })
    }

    /// Whether it is a copy of a manifest, not a target.
    pub fn is_bare(&self) -> bool {
        self.is_bare
    }

    /// The location, as it prints.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The place that has it.
    pub(super) fn source(&self) -> &dyn Source {
        &*self.source
    }

    /// The files of the manifest.
    pub fn reader(&self) -> ManifestReader<'_> {
        let of = if self.is_bare { ManifestReader::bare } else { ManifestReader::of };
        of(&*self.source, &self.spool_dir)
    }

    /// The publications from the one that counts back to the first.
    pub fn history(&self) -> History<'_> {
        History::from(self.latest.clone(), self.reader())
    }

    /// The rows of the publication that counts, in key order. Where a mirror published all rows anew
    /// meanwhile, and removed the segments that were to be read, it is that publication from now on.
    ///
    /// # Errors
    /// As those of [`ManifestReader::latest`].
    pub fn latest_rows(&mut self) -> Result<Merged, Error> {
        loop {
            let error = match self.rows(&self.latest.head) {
                Ok(rows) => return Ok(rows),
                Err(error) if self.is_named => return Err(error),
                Err(error) => error,
            };
            let now = self.reader().latest();
            match now {
                Ok(Some(now)) if now.head.sequence > self.latest.head.sequence => self.latest = now,
                _ => return Err(error),
            }
        }
    }

    /// Makes sure that the manifest is whole, from what points to it to the last publication of its
    /// chain; and, with a key, that it is signed with that.
    ///
    /// # Errors
    /// As those of [`published::check`] and [`SignatureStatus::demand`].
    pub fn check(
        &mut self,
        key: Option<&PublicKey>,
    ) -> Result<(CheckedChain, SignatureStatus), Error> {
        if self.is_named {
            return self.check_latest(key);
        }
        loop {
            let latest = self.reader().latest_to_the_letter()?;
            let latest = latest.ok_or_else(|| no_manifest(&self.name))?;
            self.latest = latest;
            match self.check_latest(key) {
                // A mirror that publishes all rows anew removes what was to be read.
                Err(error) if error.kind == ErrorKind::Damaged => match self.reader().latest()? {
                    Some(now) if now.head.sequence > self.latest.head.sequence => {}
                    _ => return Err(error),
                },
                checked => return checked,
            }
        }
    }

    fn check_latest(
        &self,
        key: Option<&PublicKey>,
    ) -> Result<(CheckedChain, SignatureStatus), Error> {
        let status = self.signature_status(&self.latest, key)?;
        let status = match key {
            Some(key) => SignatureStatus::Good(status.demand(&self.latest, key)?),
            None => status,
        };
        let checked = published::check(&self.reader(), &self.latest);
        let checked = checked.map_err(|error| self.superseded(&self.latest.head).unwrap_or(error));
        Ok((checked?, status))
    }

    /// Why the rows of a publication that was named can't be read, where one that counts now wrote all of
    /// them anew: what it needed was removed then, and is not damaged.
    fn superseded(&self, head: &Head) -> Option<Error> {
        let now = self.reader().latest().ok()?.filter(|_| self.is_named)?.head;
        let stays = |sequence| now.segments.iter().any(|segment| segment.sequence == sequence);
        let mut needed = head.segments.iter().map(|segment| segment.sequence);
        if now.sequence <= head.sequence || needed.all(stays) {
            return None;
        }
        let (sequence, base) = (head.sequence, now.segments.first()?.sequence);
        let message = format!(
            "the rows of publication {sequence} are not kept any more: publication {base} wrote all \
             rows anew"
        );
        Some(Error::new(ErrorKind::Manifest, message).help(
            "copy a target's .vidimus/manifest/ to keep what it says now for later comparisons",
        ))
    }

    /// What the signature of a publication is worth.
    ///
    /// # Errors
    /// As those of [`ManifestReader::signature_status`].
    pub fn signature_status(
        &self,
        publication: &Publication,
        key: Option<&PublicKey>,
    ) -> Result<SignatureStatus, Error> {
        self.reader().signature_status(publication, key)
    }

    /// The rows of a publication, in key order.
    ///
    /// # Errors
    /// As those of [`ManifestReader::latest`].
    pub fn rows(&self, head: &Head) -> Result<Merged, Error> {
        Merged::of(&self.reader(), head).map_err(|error| self.superseded(head).unwrap_or(error))
    }
}

/// That a place has no published manifest.
pub(super) fn no_manifest_at(location: &Location) -> Error {
    let error = no_manifest(location);
    match bag_at(location) {
        None | Some(InBag::Payload) => error,
        Some(InBag::Root { typed, .. }) => {
            let payload = Quoted(typed.as_os_str().as_bytes());
            error.help(format!(
                "it is a bag: its own manifest is its manifest-sha256.txt, or of another digest, and \
                 what a run recorded of its payload is verified by: vidimus verify {payload}"
            ))
        }
    }
}

fn no_manifest(name: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorKind::Manifest, format!("\"{name}\" has no published manifest"))
        .help("a mirror publishes it in its target, under .vidimus/manifest/")
}
