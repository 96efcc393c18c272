//! `completions`, `man` and `shell`: made of the same definitions as the command line.

mod past;
mod prompt;

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use clap::CommandFactory as _;
use clap::Parser as _;
use serde_json::json;
use shared::report::ExitCode;
use shared::report::Report;
use shared::report::complain;

use crate::Answer;
use crate::Error;
use crate::args;
use crate::args::Args;
use crate::context::Context;
use past::Past;
use prompt::Lines;
use prompt::Words;

/// Prints what makes a shell complete our commands.
pub(crate) fn completions(shell: clap_complete::Shell) -> Answer {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "proxyctl", &mut text);
    Answer::report(Report::Text(String::from_utf8_lossy(&text).into_owned()))
}

/// Writes a manual page for every command.
pub(crate) fn man(folder: &Path) -> Result<Answer, Error> {
    fs::create_dir_all(folder).map_err(|e| Error::file("make folder", folder, &e))?;
    clap_mangen::generate_to(Args::command(), folder).map_err(|e| Error::file("write into", folder, &e))?;
    let count = pages(&Args::command());
    let words = format!("{count} pages in {}", folder.display());
    Ok(Answer::new(
        words,
        json!({ "folder": folder.display().to_string(), "pages": count }),
    ))
}

/// A page for a command, and for each below it.
fn pages(command: &clap::Command) -> usize {
    let below = command.get_subcommands().filter(|below| !below.is_hide_set());
    1 + below.map(pages).sum::<usize>()
}

/// Reads commands until the end of input; a failure does not end it.
pub(crate) fn shell(context: &Context<'_>) -> Result<Answer, Error> {
    let mut last = ExitCode::Done;
    let words = Words::new(Args::command(), methods(context));
    let past = Past::in_home((context.environment)("HOME"));
    for line in Lines::new(words, past) {
        let mut words = match split(&line.map_err(|e| Error::file("read", "standard input", &e))?) {
            Ok(words) => words,
            Err(reason) => {
                complain("proxyctl", &reason);
                last = ExitCode::Usage;
                continue;
            }
        };
        // Lines of a script may be written as for a shell.
        if words.first().is_some_and(|word| word == "proxyctl") {
            words.remove(0);
        }
        match words.first().map(String::as_str) {
            None | Some("shell") => continue,
            Some("exit" | "quit") => break,
            Some("help" | "?") => {
                let _ = Args::command().print_help();
                continue;
            }
            Some(_) => {}
        }
        let line = context
            .globals
            .iter()
            .cloned()
            .chain(words.into_iter().map(Into::into));
        last = run(line);
    }
    // A script that is piped in fails when its last command did.
    match last {
        ExitCode::Done => Ok(Answer::printed()),
        code => Err(Error::Told(code)),
    }
}

/// Runs one line, and tells what went wrong.
fn run(line: impl Iterator<Item = OsString>) -> ExitCode {
    let done = match args::command_line(line).map(Args::try_parse_from) {
        Ok(Err(error)) => {
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::Usage
            } else {
                ExitCode::Done
            };
        }
        Ok(Ok(args)) => crate::run_with(&args).and_then(|answer| crate::print(&args, &answer)),
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => ExitCode::Done,
        Err(error) => {
            complain("proxyctl", &error);
            error.exit_code()
        }
    }
}

/// The daemon's methods; none where it is down.
fn methods(context: &Context<'_>) -> Vec<String> {
    let names = context.call("system.listMethods", &[]).unwrap_or_default();
    names
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect()
}

/// Cuts a line into words as a shell does: blanks, quotes, backslashes.
fn split(line: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = line.trim().chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(chars.next()),
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, '#') if word.is_none() => break,
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    match quote {
        None => Ok(words),
        Some(quote) => Err(format!("the quote {quote} does not end")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_words() {
        let table: [(&str, &[&str]); 6] = [
            ("ul show", &["ul", "show"]),
            (
                "address add 1 10.0.0.1 32 0 'a b'",
                &["address", "add", "1", "10.0.0.1", "32", "0", "a b"],
            ),
            (r#"a "b \" c" '' d\ e"#, &["a", "b \" c", "", "d e"]),
            ("# nothing", &[]),
            ("  ", &[]),
            ("a#b", &["a#b"]),
        ];
        for (line, words) in table {
            assert_eq!(split(line).unwrap(), words, "{line}");
        }
        assert!(split("'a").is_err());
    }
}
