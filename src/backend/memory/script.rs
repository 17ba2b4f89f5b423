//! What is to happen when a tree in memory is called.

use super::Memory;
use crate::model::{Cause, Key};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A call that can be scripted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// A directory is read for a listing: one that fails is unknown.
    List,
    /// A listing tells of an entry: one that fails breaks the listing off.
    Tell,
    /// An entry is looked at.
    Look,
    /// A chunk is read.
    Read,
    /// A file is begun.
    Stage,
    /// A chunk is written.
    Write,
    /// A file is ended.
    Finish,
    /// A file is put in its place, or made part of a directory that is built.
    Publish,
    /// A directory is begun that nobody sees.
    StageDirectory,
    /// Such a directory is put in its place.
    PublishDirectory,
    /// A directory is made.
    MakeDirectory,
    /// A link is made.
    MakeLink,
    /// Metadata is set.
    SetMetadata,
    /// An entry is removed.
    Remove,
    /// A leaf that was set aside is removed.
    RemoveSetAside,
    /// A temporary is removed.
    Sweep,
    /// All is made durable.
    Barrier,
}

impl Call {
    /// Whether it changes the tree, or makes durable what did.
    pub(super) fn changes(self) -> bool {
        !matches!(self, Self::List | Self::Tell | Self::Look | Self::Read | Self::Write)
    }
}

/// Which calls of a kind are meant.
#[derive(Clone, Debug)]
pub enum When {
    /// All of them.
    Always,
    /// The nth one from now on, 1 being the next.
    Nth(usize),
    /// All from the nth one on, 1 being the next.
    Since(usize),
    /// Those of this key.
    Key(&'static str),
}

/// What is done at a call.
pub(super) type Act = dyn Fn(&Memory) -> Result<(), Cause> + Send + Sync;

struct Rule {
    /// `None` for every call that changes the tree.
    call: Option<Call>,
    when: When,
    act: Arc<Act>,
    /// How many calls of its kind there were.
    met: usize,
}

impl Rule {
    fn is_of(&self, call: Call) -> bool {
        self.call.map_or_else(|| call.changes(), |wanted| wanted == call)
    }
}

/// What is to happen, and what happened.
#[derive(Default)]
pub(super) struct Script {
    rules: Mutex<Vec<Rule>>,
    changes: Mutex<Vec<(Call, Key)>>,
}

impl Script {
    pub(super) fn add(&self, call: Option<Call>, when: When, act: Box<Act>) {
        lock(&self.rules).push(Rule { call, when, act: act.into(), met: 0 });
    }

    pub(super) fn clear(&self) {
        lock(&self.rules).clear();
        lock(&self.changes).clear();
    }

    /// What is to be done at this call.
    pub(super) fn acts(&self, call: Call, key: &Key) -> Vec<Arc<Act>> {
        let mut rules = lock(&self.rules);
        let mut due = Vec::new();
        for rule in rules.iter_mut().filter(|rule| rule.is_of(call)) {
            rule.met += 1;
            let is_due = match rule.when {
                When::Always => true,
                When::Nth(nth) => rule.met == nth,
                When::Since(nth) => rule.met >= nth,
                When::Key(wanted) => key.as_bytes() == wanted.as_bytes(),
            };
            if is_due {
                due.push(Arc::clone(&rule.act));
            }
        }
        due
    }

    pub(super) fn took(&self, call: Call, key: &Key) {
        lock(&self.changes).push((call, key.clone()));
    }

    pub(super) fn changes(&self) -> Vec<(Call, Key)> {
        lock(&self.changes).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
