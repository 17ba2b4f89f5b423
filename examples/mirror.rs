//! Mirrors one place to another and shows its progress: `cargo run --example mirror SOURCE TARGET`.

#![expect(clippy::print_stderr, reason = "a program of its own")]

use std::time::Duration;
use vidimus::Mirror;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [source, target] = two_arguments()?;
    let outcome = Mirror::builder(source, target)
        .on_progress(Duration::from_millis(200), |progress| {
            let totals = &progress.totals;
            eprint!("\r{} of {} files", totals.files_copied, totals.files_planned);
        })
        .run()?;
    let totals = outcome.totals;
    eprintln!("\rcopied {} of {} entries", totals.files_copied, totals.entries);
    Ok(())
}

fn two_arguments() -> Result<[std::ffi::OsString; 2], &'static str> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    arguments.try_into().map_err(|_| "usage: mirror SOURCE TARGET")
}
