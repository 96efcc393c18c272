//! Where a password comes from: the command line, standard input, a prompt, or chance.

use std::io;
use std::io::BufRead as _;

use clap::Args;
use rand::RngExt as _;

use crate::Error;
use crate::check;
use crate::context::is_interactive;
use crate::user::User;

/// Letters and digits that are not taken for one another when read aloud.
const ALPHABET: &[u8] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const GENERATED: usize = 20;

/// The options of a password.
#[derive(Debug, Args)]
pub(crate) struct Password {
    /// Password; other programs can see it here, so scripts better use --password-stdin
    #[arg(allow_hyphen_values = true)]
    password: Option<String>,
    /// Read the password from the first line of standard input
    #[arg(long, conflicts_with_all = ["password", "generate"])]
    password_stdin: bool,
    /// Make a password and print it
    #[arg(long, conflicts_with = "password")]
    generate: bool,
}

/// A password and where it came from.
pub(crate) struct Secret {
    pub(crate) text: String,
    pub(crate) is_generated: bool,
}

impl Password {
    /// Gets it.
    pub(crate) fn read(&self, user: &User) -> Result<Secret, Error> {
        let given = |text: String| Secret {
            text,
            is_generated: false,
        };
        let secret = if let Some(text) = &self.password {
            if text.starts_with("--") || (text.starts_with('-') && text.len() == 2) {
                // A mistyped option must not become somebody's password.
                return Err(Error::Usage(format!(
                    "`{text}` looks like an option: if it is the password, give it with --password-stdin"
                )));
            }
            given(text.clone())
        } else if self.generate {
            Secret {
                text: generated(),
                is_generated: true,
            }
        } else if self.password_stdin {
            given(first_line()?)
        } else if is_interactive() {
            given(asked(user)?)
        } else {
            return Err(Error::Usage(format!(
                "no password for {user}: give it as argument, with --password-stdin, or say --generate"
            )));
        };
        if secret.text.is_empty() {
            return Err(check::Invalid::Empty("password").into());
        }
        // The column of the plain text is the narrowest.
        check::text("password", &secret.text, 64).map_err(|_| {
            Error::Usage("the password is longer than 64 characters, or has a control character".to_owned())
        })?;
        Ok(secret)
    }
}

fn generated() -> String {
    let mut rng = rand::rng();
    let letter = |_| {
        let index = rng.random_range(0..ALPHABET.len());
        ALPHABET.get(index).map_or('x', |b| char::from(*b))
    };
    (0..GENERATED).map(letter).collect()
}

fn first_line() -> Result<String, Error> {
    let mut line = String::new();
    io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|e| Error::file("read", "standard input", &e))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn asked(user: &User) -> Result<String, Error> {
    let ask = |question: String| {
        rpassword::prompt_password(question)
            .map_err(|e| Error::file("read the password from", "terminal", &e))
    };
    let first = ask(format!("Password of {user}: "))?;
    if ask("Again: ".to_owned())? == first {
        Ok(first)
    } else {
        Err(Error::NotConfirmed(
            "the two passwords differ: nothing was changed".to_owned(),
        ))
    }
}
