//! Prints what a mirror would do, one event per line: `cargo run --example events SOURCE TARGET`.

#![expect(clippy::print_stdout, reason = "a program of its own")]

use vidimus::{Event, Mirror};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(source), Some(target)) = (arguments.next(), arguments.next()) else {
        return Err("usage: events SOURCE TARGET".into());
    };
    Mirror::builder(source, target)
        .dry_run(true)
        .on_event(|event| match event {
            Event::Changed(outcome) => println!("{outcome}"),
            Event::Failed(error) => println!("{}", error.sentence()),
            _ => {}
        })
        .run()?;
    Ok(())
}
