//! `vidimus completions SHELL`: a completion script on stdout.

use super::super::args;
use super::super::exit::Exit;
use super::Purpose;
use clap_complete::Shell;
use std::collections::HashSet;

pub(crate) fn run(shell: Shell) -> Exit {
    super::print(&script(shell), Purpose::Tell)
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "vidimus", &mut script);
    match shell {
        Shell::Bash => with_paths(&String::from_utf8_lossy(&script)).into_bytes(),
        _ => script,
    }
}

/// The line of the script for bash that offers a command's words.
const WORDS: &str = "            COMPREPLY=( $(compgen -W \"${opts}\" -- \"${cur}\") )";
/// The lines that offer files and directories instead.
const PATHS: &str = "            mapfile -t COMPREPLY < <(compgen -f -- \"${cur}\")
            compopt -o filenames 2> /dev/null";

/// Makes bash complete paths where a command takes them. `clap_complete`'s script would offer the
/// flags and the placeholder names of values instead: for a command's first argument always, and
/// for later ones if nothing is typed yet.
fn with_paths(script: &str) -> String {
    let commands = takers_of_paths();
    let mut takes_paths = false;
    let mut done = String::with_capacity(script.len());
    for line in script.lines() {
        if let Some(label) = line.strip_prefix("        ").and_then(|line| line.strip_suffix(')'))
            && label.starts_with("vidimus")
        {
            takes_paths = commands.contains(label);
        }
        match line {
            WORDS if takes_paths => done.push_str(PATHS),
            _ if takes_paths && line.contains("|| ${COMP_CWORD} -eq ") => {
                let indented = &line[..line.len() - line.trim_start().len()];
                done.push_str(indented);
                done.push_str("if [[ ${cur} == -* ]] ; then");
            }
            _ => done.push_str(line),
        }
        done.push('\n');
    }
    done
}

/// Returns the commands whose arguments are locations, as the script for bash names them.
fn takers_of_paths() -> HashSet<String> {
    fn add(command: &clap::Command, name: &str, takers: &mut HashSet<String>) {
        let hint = command.get_positionals().next().map(clap::Arg::get_value_hint);
        if hint.is_some_and(|hint| hint != clap::ValueHint::Unknown) {
            takers.insert(name.to_owned());
        }
        for below in command.get_subcommands() {
            add(below, &format!("{name}__subcmd__{}", below.get_name()), takers);
        }
    }
    let mut takers = HashSet::new();
    add(&args::command(), "vidimus", &mut takers);
    takers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bash_completes_paths_for_every_command_that_takes_them() {
        let takers = takers_of_paths();
        for name in ["mirror", "bag", "verify", "explain", "diff", "ls", "cat"] {
            assert!(takers.contains(&format!("vidimus__subcmd__{name}")), "{name}: {takers:?}");
        }
        assert!(takers.contains("vidimus__subcmd__manifest__subcmd__show"), "{takers:?}");
        let script = String::from_utf8(script(Shell::Bash)).unwrap();
        assert_eq!(script.matches(PATHS).count(), takers.len());
    }

    #[test]
    fn zsh_completes_values_that_are_paths() {
        let script = String::from_utf8(script(Shell::Zsh)).unwrap();
        assert!(script.contains(":target -- ") && script.contains(":_files -/'"), "{script}");
    }
}
