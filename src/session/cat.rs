//! Reading one file or object, with an error if the content isn't what was recorded.

use super::wall_clock;
use crate::backend::object::StoreSettings;
use crate::backend::{ReadError, Reading};
use crate::limits::LimitOptions;
use crate::location::SingleLocation;
use crate::model::{
    Cause, Digest, EntryError, EntryKind, Error, ErrorKind, Operation, Progress, Stop,
};
use crate::place::{OpenOptions, Opener, ReadableFile, cannot_read};
use std::io::{self, Write};
use std::sync::Arc;

/// Size of the read buffer in bytes.
const BUFFER: usize = 1 << 20;
/// How often a file that changes is read, as long as nothing of it was written.
const ATTEMPTS: u32 = 3;

/// What to read.
#[derive(Debug)]
pub struct CatOptions {
    /// A file or an object.
    pub location: SingleLocation,
    /// Settings of its store, if it is in one.
    pub store: Option<StoreSettings>,
}

/// Why reading failed.
#[derive(Debug)]
pub enum CatError {
    /// Nothing was written.
    Fatal(Error),
    /// The output is incomplete, or isn't what was recorded.
    Entry(EntryError),
    /// The output failed.
    Output(io::Error),
}

impl From<Error> for CatError {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}

/// Writes the content of a file or an object to `out`.
///
/// A large object is read in several concurrent ranges, all of the version that was found first. If
/// a digest is stored with an object, its content is compared with it.
///
/// # Errors
/// See [`CatError`]; a location without content is fatal.
pub fn cat(
    options: &CatOptions,
    progress: &Arc<Progress>,
    out: &mut dyn Write,
) -> Result<(), CatError> {
    let (location, limits, stop) = (&options.location, LimitOptions::default(), Stop::default());
    let temporary = std::env::temp_dir();
    let opener =
        Opener::new(OpenOptions::to_look(&limits, progress, &stop, &temporary, wall_clock()));
    let file = opener.readable(location, options.store.as_ref())?;
    read(location, &file, out)
}

fn read(
    location: &SingleLocation,
    file: &ReadableFile,
    out: &mut dyn Write,
) -> Result<(), CatError> {
    for attempt in 1.. {
        let entry = file.find()?.ok_or_else(|| is_missing(location))?;
        if entry.kind != EntryKind::File {
            let cause = Cause::Other(format!("it is a {}", entry.kind));
            return Err(cannot_read(location, cause).into());
        }
        let mut copying = Copying {
            out: &mut *out,
            held_back: (attempt == 1).then_some(entry.stamp.size),
            recorded: None,
            written: 0,
            fault: None,
        };
        let mut buffer = vec![0; BUFFER];
        let result = file.source.read(&entry, &mut buffer, &mut |reading| copying.take(reading));
        let has_written = copying.written > 0;
        let cause = match result.and_then(|()| copying.check().map_err(ReadError::Damaged)) {
            Ok(()) => return out.flush().map_err(CatError::Output),
            Err(ReadError::Changed) if !has_written && attempt < ATTEMPTS => continue,
            // A bit may have flipped in transit.
            Err(ReadError::Damaged(_) | ReadError::Sink(Cause::OtherDigest { .. }))
                if !has_written && attempt == 1 =>
            {
                continue;
            }
            Err(ReadError::Changed) => Cause::Changed { attempts: attempt },
            Err(ReadError::Source(cause) | ReadError::Damaged(cause)) => cause,
            Err(ReadError::Sink(cause)) => match copying.fault {
                Some(error) => return Err(CatError::Output(error)),
                None => cause,
            },
        };
        if !has_written {
            return Err(cannot_read(location, cause).into());
        }
        return Err(CatError::Entry(EntryError::on_source(Operation::Read, entry.key, cause)));
    }
    Ok(())
}

/// A copy of content to the output in progress.
struct Copying<'a> {
    out: &'a mut dyn Write,
    /// Size of content that is written only after comparison, if it arrives in one chunk.
    held_back: Option<u64>,
    /// The digest stored with the content, and the hasher of what was received.
    recorded: Option<(Digest, Box<blake3::Hasher>)>,
    written: u64,
    fault: Option<io::Error>,
}

impl Copying<'_> {
    fn take(&mut self, reading: Reading<'_>) -> Result<(), Cause> {
        match reading {
            Reading::Opened(_) => Ok(()),
            Reading::Facts(facts) => {
                self.recorded = facts.digest.map(|digest| (digest, Box::default()));
                Ok(())
            }
            Reading::Content(piece) => piece.bytes(&mut |chunk| self.write(chunk)),
        }
    }

    fn write(&mut self, chunk: &[u8]) -> Result<(), Cause> {
        if let Some((_, hasher)) = &mut self.recorded {
            hasher.update(chunk);
        }
        if self.held_back == Some(chunk.len() as u64) {
            self.check()?;
        }
        if let Err(error) = self.out.write_all(chunk) {
            self.fault = Some(error);
            return Err(Cause::Stopped);
        }
        self.written += chunk.len() as u64;
        Ok(())
    }

    fn check(&self) -> Result<(), Cause> {
        let Some((recorded, hasher)) = &self.recorded else { return Ok(()) };
        let (recorded, found) = (*recorded, Digest::from(hasher.finalize()));
        if found == recorded {
            return Ok(());
        }
        Err(Cause::OtherDigest { recorded, found })
    }
}

fn is_missing(location: &SingleLocation) -> Error {
    Error::new(ErrorKind::Unusable, format!("there is nothing at \"{location}\""))
        .help("check its spelling; `vidimus ls` lists what is there")
}
