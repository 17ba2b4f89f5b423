//! The `vidimus` command.

fn main() -> std::process::ExitCode {
    vidimus::cli::main()
}
