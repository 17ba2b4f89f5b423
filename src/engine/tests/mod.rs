//! Runs between trees in memory: join, policy, plan and engine, connected as in a session, with a
//! state of their own.

mod changes;
mod conflicts;
mod deletion;
mod durability;
mod links;
mod model;
mod renames;
pub(crate) mod scene;
