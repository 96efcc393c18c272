//! Writes the manual pages and the shells' completions of the three programs into a folder (`man/`, `bash/`, `zsh/`, `fish/`).

use clap::Command;
use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_complete::generate_to;
use clap_mangen::Man;
use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// Commands of the administrator (`man 7 man-pages`).
const SECTION: &str = "8";

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("t-docs: which folder?");
        return ExitCode::from(2);
    };
    match write_all(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!(
                "t-docs: cannot write to `{}`: {error}",
                Path::new(&folder).display()
            );
            ExitCode::FAILURE
        }
    }
}

fn write_all(folder: &Path) -> io::Result<()> {
    let manual = folder.join("man");
    fs::create_dir_all(&manual)?;
    for mut command in [
        proxyd::args::Args::command(),
        proxyctl::command(),
        dbctl::command(),
    ] {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let folder = folder.join(shell.to_string());
            fs::create_dir_all(&folder)?;
            generate_to(shell, &mut command.clone(), command.get_name(), &folder)?;
        }
        command.build();
        write_manual(&manual, &command, command.get_name())?;
    }
    Ok(())
}

/// One page for the command, and one for each of its parts: `proxyctl-address-add.8`.
fn write_manual(folder: &Path, command: &Command, name: &str) -> io::Result<()> {
    let mut text = Vec::new();
    // What follows the help are examples: they have a section of that name.
    let examples = command
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let mut shown = command.clone();
    if let Some(examples) = examples.strip_prefix("Examples:\n") {
        shown = shown.after_help(examples.to_owned());
    }
    let page = Man::new(shown)
        .title(name.to_uppercase())
        .section(SECTION)
        .manual("proxyd");
    page.render(&mut text)?;
    let text = String::from_utf8_lossy(&text).replace("\n.SH EXTRA\n", "\n.SH EXAMPLES\n");
    fs::write(folder.join(format!("{name}.{SECTION}")), text)?;
    for part in command.get_subcommands().filter(|part| !part.is_hide_set()) {
        write_manual(folder, part, &format!("{name}-{}", part.get_name()))?;
    }
    Ok(())
}
