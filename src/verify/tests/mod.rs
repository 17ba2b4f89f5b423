//! Verification at its own layer: trees in memory, the rows that a run recorded, and changes since.

mod against;
mod choice;
mod damage;
mod groups;
mod repair;
mod scene;
mod unfinished;
