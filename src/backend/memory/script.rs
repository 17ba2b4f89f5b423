//! Scripted behaviour of calls to a tree in memory.

use super::Memory;
use crate::model::{Cause, Key};
use parking_lot::Mutex;
use std::sync::Arc;

/// A call that can be scripted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// A directory is read for a listing; if this fails, its contents are unknown.
    List,
    /// A listing gives an entry; if this fails, the listing ends early.
    ListEntry,
    /// An entry is looked up.
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
    /// An invisible directory is begun.
    StageDirectory,
    /// Such a directory is put in its place.
    PublishDirectory,
    /// A directory is made.
    MakeDirectory,
    /// A link is made.
    MakeLink,
    /// A special file is made.
    MakeSpecial,
    /// A file is given another name.
    HardLink,
    /// A file is renamed.
    Rename,
    /// Metadata is set.
    SetMetadata,
    /// An entry is removed.
    Remove,
    /// A leaf that was set aside is removed.
    RemoveSetAside,
    /// A temporary is removed.
    Sweep,
    /// All changes are made durable.
    Barrier,
}

impl Call {
    /// Returns whether the call changes the tree or makes changes durable.
    pub(super) fn changes(self) -> bool {
        !matches!(self, Self::List | Self::ListEntry | Self::Look | Self::Read | Self::Write)
    }
}

/// Which calls of a kind a rule applies to.
#[derive(Clone, Debug)]
pub enum When {
    /// Every call.
    Always,
    /// The nth call from now on; 1 is the next.
    Nth(usize),
    /// Every call from the nth on; 1 is the next.
    Since(usize),
    /// Calls for this key.
    Key(&'static str),
}

/// A scripted action.
pub(super) type Act = dyn Fn(&Memory) -> Result<(), Cause> + Send + Sync;

struct Rule {
    /// `None` for every call that changes the tree.
    call: Option<Call>,
    when: When,
    act: Arc<Act>,
    /// The number of matching calls so far.
    calls: usize,
}

impl Rule {
    fn applies_to(&self, call: Call) -> bool {
        self.call.map_or_else(|| call.changes(), |wanted| wanted == call)
    }
}

/// The scripted rules, and the calls recorded so far.
#[derive(Default)]
pub(super) struct Script {
    rules: Mutex<Vec<Rule>>,
    changes: Mutex<Vec<(Call, Key)>>,
}

impl Script {
    pub(super) fn add(&self, call: Option<Call>, when: When, act: Box<Act>) {
        self.rules.lock().push(Rule { call, when, act: act.into(), calls: 0 });
    }

    pub(super) fn clear(&self) {
        self.rules.lock().clear();
        self.changes.lock().clear();
    }

    /// Returns the actions for a call.
    pub(super) fn acts(&self, call: Call, key: &Key) -> Vec<Arc<Act>> {
        let mut rules = self.rules.lock();
        let mut due = Vec::new();
        for rule in rules.iter_mut().filter(|rule| rule.applies_to(call)) {
            rule.calls += 1;
            let is_due = match rule.when {
                When::Always => true,
                When::Nth(nth) => rule.calls == nth,
                When::Since(nth) => rule.calls >= nth,
                When::Key(wanted) => key.as_bytes() == wanted.as_bytes(),
            };
            if is_due {
                due.push(Arc::clone(&rule.act));
            }
        }
        due
    }

    pub(super) fn record(&self, call: Call, key: &Key) {
        self.changes.lock().push((call, key.clone()));
    }

    pub(super) fn changes(&self) -> Vec<(Call, Key)> {
        self.changes.lock().clone()
    }
}
