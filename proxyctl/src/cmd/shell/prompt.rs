//! The prompt of the shell: lines with history, and the tabulator key completes commands, options and methods.

use std::io;
use std::io::BufRead as _;
use std::io::IsTerminal as _;

use clap::Command;
use rustyline::Context as History;
use rustyline::Editor;
use rustyline::Helper;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;

use super::past::MOST;
use super::past::Past;

/// Where lines come from.
pub(super) enum Lines {
    /// A person at a terminal.
    Terminal(Box<Editor<Words, MemHistory>>, Past),
    /// A file or a pipe.
    Input,
}

impl Lines {
    /// Takes the terminal where there is one.
    pub(super) fn new(words: Words, past: Past) -> Self {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Self::Input;
        }
        let editor = rustyline::Config::builder()
            .max_history_size(MOST)
            .map(rustyline::config::Builder::build)
            .and_then(|config| Editor::with_history(config, MemHistory::new()));
        let Ok(mut editor) = editor else {
            return Self::Input;
        };
        editor.set_helper(Some(words));
        for line in past.lines() {
            // A line that is not remembered can be typed again.
            let _ = editor.add_history_entry(line);
        }
        Self::Terminal(Box::new(editor), past)
    }
}

impl Iterator for Lines {
    type Item = io::Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        let Self::Terminal(editor, past) = self else {
            return io::stdin().lock().lines().next();
        };
        match editor.readline("proxyctl> ") {
            Ok(line) => {
                if editor.add_history_entry(&line).unwrap_or(false) {
                    past.add(&line);
                }
                Some(Ok(line))
            }
            // Ctrl-C drops the line, Ctrl-D ends the shell.
            Err(ReadlineError::Interrupted) => Some(Ok(String::new())),
            Err(ReadlineError::Eof) => None,
            Err(ReadlineError::Io(error)) => Some(Err(error)),
            Err(error) => Some(Err(io::Error::other(error.to_string()))),
        }
    }
}

/// What can be typed.
pub(super) struct Words {
    command: Command,
    /// The daemon's methods.
    methods: Vec<String>,
}

impl Words {
    pub(super) fn new(mut command: Command, methods: Vec<String>) -> Self {
        command.build();
        Self { command, methods }
    }

    /// Where the last word of a line begins, and what it may become.
    fn candidates(&self, line: &str) -> (usize, Vec<String>) {
        let start = line.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let (before, word) = line.split_at_checked(start).unwrap_or((line, ""));
        let mut command = &self.command;
        for name in before.split_whitespace().filter(|name| !name.starts_with('-')) {
            if let Some(found) = command.find_subcommand(name) {
                command = found;
            }
        }
        let mut found: Vec<String> = if word.starts_with('-') {
            command
                .get_arguments()
                .filter_map(|arg| arg.get_long())
                .map(|name| format!("--{name}"))
                .collect()
        } else {
            let names = command.get_subcommands().map(|sub| sub.get_name().to_owned());
            let takes_methods = before.trim().is_empty() || command.get_name() == "rpc";
            names
                .chain(self.methods.iter().filter(|_| takes_methods).cloned())
                .collect()
        };
        found.retain(|name| name.starts_with(word));
        found.sort();
        found.dedup();
        (start, found)
    }
}

impl Completer for Words {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &History<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.candidates(line.get(..at).unwrap_or(line)))
    }
}

impl Helper for Words {}
impl Highlighter for Words {}
impl Validator for Words {}

impl Hinter for Words {
    type Hint = String;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_completed() {
        let words = Words::new(crate::command(), vec!["ul.dump".into(), "ul.lookup".into()]);
        let table: [(&str, usize, &[&str]); 6] = [
            ("disp", 0, &["dispatcher"]),
            ("ul.l", 0, &["ul.lookup"]),
            ("rpc ul.d", 4, &["ul.dump"]),
            ("address re", 8, &["reload"]),
            ("ul show --br", 8, &["--brief"]),
            ("nothing ", 8, &[]),
        ];
        for (line, start, expected) in table {
            let (at, found) = words.candidates(line);
            assert_eq!(at, start, "{line}");
            for word in expected {
                assert!(
                    found.iter().any(|candidate| candidate == word),
                    "{line}: {found:?}"
                );
            }
        }
    }
}
