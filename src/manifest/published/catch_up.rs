//! Taking in what others published in a target since it was published from here.

use super::head::Publication;
use super::history::History;
use super::merge::Merged;
use super::shelf::Shelf;
use crate::manifest::keys::PublicKey;
use crate::manifest::state::TakingIn;
use crate::manifest::{Row, State};
use crate::model::{Error, RunId};
use std::cmp::Ordering;

/// Rows that are committed together.
const BATCH: u64 = 50_000;

/// What others published since, taken in.
#[derive(Debug, PartialEq, Eq)]
pub struct CaughtUp {
    /// The run that published it.
    pub run: RunId,
    /// How many rows came from there.
    pub taken: u64,
    /// How many rows here were dropped, because their keys were removed there.
    pub dropped: u64,
}

/// Makes what stands in a target the publication that a state goes on from, where another machine
/// (or another user) published it after what was published from here. Of each key the row counts
/// that was published there, unless it changed here since; those of the state's own source that are
/// missing there stay, and are published again. `key` is the one that it must be signed with, where
/// one is asked for.
///
/// What was put back to an earlier publication is not taken in: [`Standing`](super::Standing) tells
/// it. Costs one look at the pointer where nobody else published, else a reading of all rows.
/// Interrupted, it is begun again by the next run.
///
/// # Errors
/// As those of [`Shelf::latest`]; [`ErrorKind::Untrusted`](crate::model::ErrorKind::Untrusted) where
/// it isn't signed with the key; [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) when the
/// state can't be written.
pub fn catch_up(
    state: &State,
    shelf: &Shelf<'_>,
    key: Option<&PublicKey>,
) -> Result<Option<CaughtUp>, Error> {
    let Some(known) = state.published()? else { return Ok(None) };
    let Some((latest, _)) = shelf.pointed_to(Some(&known))? else { return Ok(None) };
    if latest == known || known.is_replaced_by(&latest) {
        return Ok(None);
    }
    if let Some(key) = key {
        shelf.seal(&latest, Some(key))?.demand(&latest, key)?;
    }
    let goes_on = goes_on_from(&latest, &known, shelf)?;
    let rows = Merged::of(shelf, &latest.head)?;
    let mut taking = state.take_in(&latest)?;
    let mut caught_up = CaughtUp { run: latest.head.run.clone(), taken: 0, dropped: 0 };
    merge(state, rows, &mut taking, goes_on, &mut caught_up)?;
    taking.finish(&latest, key)?;
    Ok(Some(caught_up))
}

/// Whether a publication came after a known one, and was made from what that said.
fn goes_on_from(
    latest: &Publication,
    known: &Publication,
    shelf: &Shelf<'_>,
) -> Result<bool, Error> {
    for publication in History::from(latest.clone(), shelf.clone()) {
        let publication = publication?;
        if publication.head.sequence <= known.head.sequence {
            return Ok(publication.digest == known.digest);
        }
    }
    Ok(false)
}

fn merge(
    state: &State,
    mut theirs: Merged,
    taking: &mut TakingIn<'_>,
    goes_on: bool,
    caught_up: &mut CaughtUp,
) -> Result<(), Error> {
    let own = state.number()?;
    let mut ours = state.rows()?;
    let mut changed = state.changes()?.peekable();
    let (mut our, mut their) = (ours.next().transpose()?, theirs.next().transpose()?);
    let mut waiting = 0;
    loop {
        let order = match (&our, &their) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(our), Some((their, _))) => our.key.cmp(&their.key),
        };
        let our = match order {
            Ordering::Greater => None,
            _ => std::mem::replace(&mut our, ours.next().transpose()?),
        };
        let their = match order {
            Ordering::Less => None,
            _ => std::mem::replace(&mut their, theirs.next().transpose()?),
        };
        let key = our.as_ref().map(|our| &our.key).or(their.as_ref().map(|(row, _)| &row.key));
        let Some(key) = key.cloned() else { continue };
        // What was removed here before it was published there.
        while let Some(Ok(change)) = changed.next_if(|it| it.as_ref().is_ok_and(|it| it.key < key))
        {
            taking.set_changed(&change.key, false)?;
        }
        let is_changed = changed.next_if(|change| change.as_ref().is_ok_and(|it| it.key == key));
        waiting += 1;
        match (our, their) {
            (_, their) if is_changed.is_some() => taking.set_changed(&key, their.is_some())?,
            (our, Some((their, run))) => {
                let their = taking.row(their, run)?;
                if our.as_ref().is_some_and(|our| knows_more(our, &their)) {
                    taking.set_changed(&key, true)?;
                } else if our.as_ref() != Some(&their) {
                    let is_other = our.is_none_or(|our| our.run != their.run);
                    caught_up.taken += u64::from(is_other);
                    taking.put(&their)?;
                }
            }
            (Some(our), None) if our.from == own || !goes_on => taking.set_changed(&key, false)?,
            (_, None) => {
                taking.remove(&key)?;
                caught_up.dropped += 1;
            }
        }
        if waiting % BATCH == 0 {
            taking.commit()?;
        }
    }
    for change in changed {
        taking.set_changed(&change?.key, false)?;
    }
    taking.commit()
}

/// Whether a row has a digest that another one of the same content of the target lacks.
fn knows_more(our: &Row, their: &Row) -> bool {
    our.digest.is_some() && their.digest.is_none() && our.target == their.target
}
