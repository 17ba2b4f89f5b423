//! Verification at its own layer: trees in memory, what a run recorded of them, and what was done to
//! them since.

mod against;
mod choice;
mod damage;
mod groups;
mod repair;
mod scene;
mod unfinished;
