//! What the parts of a run cost, each alone: `cargo bench --bench micro -- [NAME]`.
//!
//! Files are made below the temporary directory that `TMPDIR` names.

mod copy;
mod join;
mod policy;
mod published;
mod rows;
mod sample;
mod walk;

fn main() {
    divan::main();
}
