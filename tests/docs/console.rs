//! Console blocks: commands behind `$ `, continued behind `> `, each with what it prints.

use crate::page::Block;

/// A command and what it is said to print.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// The number of the command's line in its page, from 1.
    pub(crate) line: usize,
    /// The command, continued lines and all.
    pub(crate) command: String,
    /// The lines that follow it.
    pub(crate) output: String,
}

/// The steps of a console block.
///
/// # Panics
///
/// Where the block doesn't begin with a command.
pub(crate) fn steps(block: &Block) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (line, text) in (block.first_line..).zip(&block.lines) {
        if let Some(command) = text.strip_prefix("$ ") {
            steps.push(Step { line, command: command.to_owned(), output: String::new() });
            continue;
        }
        let step = steps.last_mut();
        let step = step.unwrap_or_else(|| panic!("line {line}: a block begins with a command"));
        if let Some(more) = text.strip_prefix("> ").filter(|_| step.output.is_empty()) {
            step.command.push('\n');
            step.command.push_str(more);
        } else {
            step.output.push_str(text);
            step.output.push('\n');
        }
    }
    steps
}

/// A step as a page shows it.
pub(crate) fn shown(command: &str, output: &str) -> String {
    format!("$ {}\n{output}", command.replace('\n', "\n> "))
}

#[test]
fn a_block_is_split_into_commands_and_outputs() {
    let lines = ["$ one \\", "> more", "out", "> put", "$ two"].map(String::from).to_vec();
    let block = Block { language: "console".into(), first_line: 7, lines };
    let expected = [
        Step { line: 7, command: "one \\\nmore".into(), output: "out\n> put\n".into() },
        Step { line: 11, command: "two".into(), output: String::new() },
    ];
    assert_eq!(steps(&block), expected);
    assert_eq!(shown(&expected[0].command, &expected[0].output), "$ one \\\n> more\nout\n> put\n");
}
