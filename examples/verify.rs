//! Verifies a target against its records: `cargo run --example verify TARGET`.

#![expect(clippy::print_stdout, reason = "a program of its own")]

use vidimus::{Event, RunError, Verify};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let target = std::env::args_os().nth(1).ok_or("usage: verify TARGET")?;
    let verified = Verify::builder(target)
        .on_event(|event| match event {
            Event::Difference(_) | Event::Failed(_) => println!("{event}"),
            _ => {}
        })
        .run();
    match verified {
        Ok(outcome) => println!("{} files are as recorded", outcome.totals.verified),
        // Everything was examined, and something differs.
        Err(RunError::Incomplete(outcome)) => println!("{} differences", outcome.differences),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
