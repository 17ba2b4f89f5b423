//! Opening of published manifests, in a target or copied elsewhere.

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
    /// A target, a directory with a copy of a target's `.vidimus/manifest/`, or one of its files:
    /// `latest.json`, or the head of a publication. A comparison, which needs no manifest, also
    /// takes any directory or part of a bucket.
    pub location: Location,
    /// Settings of its store, if it is in one.
    pub store: Option<StoreSettings>,
    /// The resource limits for reading it.
    pub limits: LimitOptions,
    /// The directory that holds segments while they are read.
    pub spool_dir: PathBuf,
}

/// An open manifest and its place.
pub struct OpenManifest {
    source: Arc<dyn Source>,
    name: String,
    pub(super) spool_dir: PathBuf,
    is_bare: bool,
    /// Whether one of its files was named: later publications are ignored then.
    is_named: bool,
    /// The current publication, or the one that was named.
    pub latest: Publication,
}

/// What was found at a location.
pub enum Found {
    /// A place with a manifest.
    Manifest(Box<OpenManifest>),
    /// A place without one.
    Bare(Arc<dyn Source>),
}

/// A manifest that was found intact.
#[derive(Debug)]
pub struct CheckedManifest {
    /// Its chain of publications.
    pub chain: CheckedChain,
    /// The signature of its latest publication.
    pub signature: SignatureStatus,
}

impl OpenManifest {
    /// Opens the manifest at a location, and reads the current head.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if there is none, or it can't be used; [`ErrorKind::Unusable`] if
    /// the location can't be read.
    pub fn open(at: &ManifestAt, progress: &Arc<Progress>, stop: &Stop) -> Result<Self, Error> {
        match Self::find(at, progress, stop)? {
            Found::Manifest(open) => Ok(*open),
            Found::Bare(_) => Err(no_manifest_at(&at.location)),
        }
    }

    /// Opens a location, and its manifest if it has one.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if there is one that can't be used; [`ErrorKind::Unusable`] if the
    /// location can't be read.
    pub fn find(at: &ManifestAt, progress: &Arc<Progress>, stop: &Stop) -> Result<Found, Error> {
        let (name, spool_dir) = (at.location.to_string(), at.spool_dir.clone());
        let options = OpenOptions::to_look(&at.limits, progress, stop, &at.spool_dir, wall_clock());
        let Browsed { source, file } =
            Opener::new(options).browse(&at.location, at.store.as_ref())?;
        if let Some(file) = file {
            let reader = ManifestReader::bare(&*source, &spool_dir);
            let latest = reader.named(file.as_bytes())?.ok_or_else(|| {
                let message = format!("\"{name}\" is a file, but not one of a manifest");
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

    /// Returns whether it is a copy of a manifest rather than a target.
    pub fn is_bare(&self) -> bool {
        self.is_bare
    }

    /// Returns the location as it prints.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the place that has it.
    pub(super) fn source(&self) -> &dyn Source {
        &*self.source
    }

    /// Returns a reader of the manifest's files.
    pub fn reader(&self) -> ManifestReader<'_> {
        let of = if self.is_bare { ManifestReader::bare } else { ManifestReader::of };
        of(&*self.source, &self.spool_dir)
    }

    /// Returns the publications from the current one back to the first.
    pub fn history(&self) -> History<'_> {
        History::from(self.latest.clone(), self.reader())
    }

    /// Returns the rows of the current publication, in key order. If a mirror meanwhile published
    /// all rows anew, and removed segments that were to be read, that publication becomes the
    /// current one.
    ///
    /// # Errors
    /// Those of [`ManifestReader::latest`].
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

    /// Checks that the manifest is intact, from its pointer to the last publication of its chain,
    /// and with a key, that it is signed with that.
    ///
    /// # Errors
    /// Those of [`published::check`] and [`SignatureStatus::demand`].
    pub fn check(&mut self, key: Option<&PublicKey>) -> Result<CheckedManifest, Error> {
        if self.is_named {
            return self.check_latest(key);
        }
        loop {
            let latest = self.reader().latest_to_the_letter()?;
            let latest = latest.ok_or_else(|| no_manifest(&self.name))?;
            self.latest = latest;
            match self.check_latest(key) {
                // A mirror that publishes all rows anew removes segments that are still to be read.
                Err(error) if error.kind == ErrorKind::Damaged => match self.reader().latest()? {
                    Some(now) if now.head.sequence > self.latest.head.sequence => {}
                    _ => return Err(error),
                },
                checked => return checked,
            }
        }
    }

    fn check_latest(&self, key: Option<&PublicKey>) -> Result<CheckedManifest, Error> {
        let status = self.signature_status(&self.latest, key)?;
        let status = match key {
            Some(key) => SignatureStatus::Good(status.demand(&self.latest, key)?),
            None => status,
        };
        let checked = published::check(&self.reader(), &self.latest);
        let checked = checked.map_err(|error| self.superseded(&self.latest.head).unwrap_or(error));
        Ok(CheckedManifest { chain: checked?, signature: status })
    }

    /// Returns why the rows of a named publication can't be read if a later one wrote all of them
    /// anew: segments that it needs were removed then, and are not damaged.
    fn superseded(&self, head: &Head) -> Option<Error> {
        let now = self.reader().latest().ok()?.filter(|_| self.is_named)?.head;
        let stays = |sequence| now.segments.iter().any(|segment| segment.sequence == sequence);
        let mut needed = head.segments.iter().map(|segment| segment.sequence);
        if now.sequence <= head.sequence || needed.all(stays) {
            return None;
        }
        let (sequence, base) = (head.sequence, now.segments.first()?.sequence);
        let message = format!(
            "the rows of publication {sequence} are no longer kept: publication {base} wrote all rows \
             anew"
        );
        Some(Error::new(ErrorKind::Manifest, message).help(
            "copy a target's .vidimus/manifest/ to keep what it says now for later comparisons",
        ))
    }

    /// Returns the status of a publication's signature.
    ///
    /// # Errors
    /// Those of [`ManifestReader::signature_status`].
    pub fn signature_status(
        &self,
        publication: &Publication,
        key: Option<&PublicKey>,
    ) -> Result<SignatureStatus, Error> {
        self.reader().signature_status(publication, key)
    }

    /// Returns the rows of a publication, in key order.
    ///
    /// # Errors
    /// Those of [`ManifestReader::latest`].
    pub fn rows(&self, head: &Head) -> Result<Merged, Error> {
        Merged::of(&self.reader(), head).map_err(|error| self.superseded(head).unwrap_or(error))
    }
}

/// Makes the error that a place has no published manifest.
pub(super) fn no_manifest_at(location: &Location) -> Error {
    let error = no_manifest(location);
    match bag_at(location) {
        None | Some(InBag::Payload) => error,
        Some(InBag::Root { typed, .. }) => {
            let payload = Quoted(typed.as_os_str().as_bytes());
            error.help(format!(
                "it is a bag: its own manifest is its manifest-sha256.txt, or of another digest; to verify its \
                 payload against what a run recorded, use: vidimus verify {payload}"
            ))
        }
    }
}

fn no_manifest(name: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorKind::Manifest, format!("\"{name}\" has no published manifest"))
        .help("a mirror publishes it in its target, under .vidimus/manifest/")
}
