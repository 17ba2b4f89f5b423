//! A real terminal (tmux) with a shell.

use super::environment::{Environment, Run};
use std::process::Command;
use std::time::{Duration, Instant};

/// A terminal with a shell.
pub struct Pane<'a> {
    env: &'a Environment,
    variables: Vec<(&'static str, String)>,
}

impl<'a> Pane<'a> {
    /// Opens a terminal with `columns`, whose shell has these variables in addition.
    pub fn new(env: &'a Environment, columns: u16, variables: &[(&'static str, String)]) -> Self {
        let pane = Self { env, variables: variables.to_vec() };
        let (size, shell) = (columns.to_string(), "PS1='$ ' sh");
        pane.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", &size, "-y", "20", shell]);
        pane
    }

    /// Runs a command of tmux.
    pub fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(self.env.root.join("tmux")).args(arguments);
        let mut command = self.env.hermetic(command);
        command.env("TERM", "xterm-256color").env("PATH", std::env::var_os("PATH").unwrap());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        Run::of(command).expect(0).stdout
    }

    /// Clears the screen and types the binary's name with these arguments.
    pub fn vidimus(&self, words: &str) {
        let binary = env!("CARGO_BIN_EXE_vidimus");
        self.enter(&format!("clear; '{binary}' {words}"));
    }

    /// Types a line.
    pub fn enter(&self, line: &str) {
        self.tmux(&["send-keys", line, "Enter"]);
    }

    /// Presses Ctrl-C.
    pub fn interrupt(&self) {
        self.tmux(&["send-keys", "C-c"]);
    }

    /// Changes the width.
    pub fn resize(&self, columns: u16) {
        self.tmux(&["resize-window", "-x", &columns.to_string()]);
    }

    /// Returns the lines on the screen, without empty ones.
    pub fn lines(&self) -> Vec<String> {
        let seen = self.tmux(&["capture-pane", "-p", "-S", "-100"]);
        seen.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    /// Waits until the screen is as wanted.
    #[track_caller]
    pub fn wait(&self, what: &str, is_there: impl Fn(&[String]) -> bool) -> Vec<String> {
        let begun = Instant::now();
        loop {
            let lines = self.lines();
            if is_there(&lines) {
                return lines;
            }
            let waited = begun.elapsed();
            assert!(waited < Duration::from_mins(1), "{what}:\n{}", lines.join("\n"));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits for a bar with percentage and remaining time, and returns it.
    #[track_caller]
    pub fn wait_for_bar(&self, what: &str) -> String {
        let is_whole = |line: &&String| is_bar(line) && line.ends_with(" left");
        let lines = self.wait(what, |lines| lines.iter().any(|line| is_whole(&line)));
        lines.iter().find(is_whole).expect("it was waited for").clone()
    }

    /// Waits until the shell shows its prompt again.
    #[track_caller]
    pub fn wait_for_end(&self) -> Vec<String> {
        self.wait("the end", |lines| lines.last().is_some_and(|line| line.starts_with('$')))
    }
}

impl Drop for Pane<'_> {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

/// Returns whether a line is a progress bar.
pub fn is_bar(line: &str) -> bool {
    line.contains("iB/s") && line.contains("% ") | line.contains("%,")
}
