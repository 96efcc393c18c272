//! `tls`: certificates for tests and for one's own authority, made by openssl(1).

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use clap::Args;
use clap::Subcommand;
use serde_json::json;

use crate::Answer;
use crate::Error;
use crate::check;
use crate::context::Context;

pub(crate) const EXAMPLES: &str = "\
Examples:
  proxyctl tls gen-certs sip.example.org          a certificate that signs itself
  proxyctl tls rootCA                             an authority of one's own
  proxyctl tls userCERT sip.example.org           a certificate that it signs

They are written below the folder of the configuration, or where --folder says. Existing ones are replaced after a \
question, or with --yes. Keys can be read by their owner alone: give the server's to the user that proxyd runs as.";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make a key and a certificate that signs itself
    #[command(
        name = "gen-certs",
        after_help = "Examples:\n  proxyctl tls gen-certs\n  proxyctl tls gen-certs sip.example.org --days 30 --folder ."
    )]
    GenCerts {
        /// Host name or address it is for
        #[arg(default_value = "localhost")]
        name: String,
        #[command(flatten)]
        place: Place,
    },
    /// Make the key and the certificate of an authority
    #[command(
        name = "rootCA",
        alias = "rootca",
        after_help = "Examples:\n  proxyctl tls rootCA\n  proxyctl tls rootCA /etc/proxyd/tls --name 'Example CA' --days 3650"
    )]
    RootCa {
        /// The same as --folder
        #[arg(conflicts_with = "folder")]
        etcdir: Option<PathBuf>,
        /// Its name
        #[arg(long, default_value = "proxyd root CA")]
        name: String,
        #[command(flatten)]
        place: Place,
    },
    /// Make a key and a certificate that the authority signs
    #[command(
        name = "userCERT",
        alias = "usercert",
        after_help = "Examples:\n  proxyctl tls userCERT sip.example.org\n  proxyctl tls userCERT sip.example.org /etc/proxyd/tls"
    )]
    UserCert {
        /// Host name or address it is for
        name: String,
        /// The same as --folder
        #[arg(conflicts_with = "folder")]
        etcdir: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
}

/// Where, and for how long.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Folder [default: `tls` in the folder of the configuration]
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Days until it ends
    #[arg(long, default_value = "365", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
}

/// Runs it.
pub(crate) fn run(context: &Context<'_>, verb: &Verb) -> Result<Answer, Error> {
    match verb {
        Verb::GenCerts { name, place } => self_signed(context, name, place),
        Verb::RootCa { etcdir, name, place } => root(context, name, &place.or(etcdir)),
        Verb::UserCert { name, etcdir, place } => signed(context, name, &place.or(etcdir)),
    }
}

fn self_signed(context: &Context<'_>, name: &str, place: &Place) -> Result<Answer, Error> {
    let folder = place.folder(context)?;
    let made = Made {
        key: folder.join("proxyd-selfsigned.key"),
        certificate: folder.join("proxyd-selfsigned.pem"),
        authority: None,
    };
    made.may_replace(context)?;
    certificate(name, place.days, &made, &[])?;
    Ok(made.answer())
}

fn root(context: &Context<'_>, name: &str, place: &Place) -> Result<Answer, Error> {
    check::text("name", name, 64)?;
    let folder = place.folder(context)?.join("rootCA");
    let made = authority(&folder);
    made.may_replace(context)?;
    make_folder(&folder.join("private"))?;
    let subject = subject(name);
    let days = place.days.to_string();
    openssl(&[
        "req".as_ref(),
        "-x509".as_ref(),
        "-newkey".as_ref(),
        "rsa:2048".as_ref(),
        "-nodes".as_ref(),
        "-days".as_ref(),
        days.as_ref(),
        "-subj".as_ref(),
        subject.as_ref(),
        "-addext".as_ref(),
        "keyUsage=critical,keyCertSign,cRLSign".as_ref(),
        "-keyout".as_ref(),
        &made.key,
        "-out".as_ref(),
        &made.certificate,
    ])?;
    Ok(made.answer())
}

fn signed(context: &Context<'_>, name: &str, place: &Place) -> Result<Answer, Error> {
    let base = place.folder(context)?;
    let root = authority(&base.join("rootCA"));
    if !root.key.exists() {
        return Err(Error::NotFound {
            what: "authority at",
            name: base.join("rootCA").display().to_string(),
            hint: ": make one with `proxyctl tls rootCA`".to_owned(),
        });
    }
    check::domain(name)?;
    let folder = base.join(name);
    let made = Made {
        key: folder.join(format!("{name}-privkey.pem")),
        certificate: folder.join(format!("{name}-cert.pem")),
        authority: Some(folder.join(format!("{name}-calist.pem"))),
    };
    made.may_replace(context)?;
    make_folder(&folder)?;
    certificate(
        name,
        place.days,
        &made,
        &["-CA".as_ref(), &root.certificate, "-CAkey".as_ref(), &root.key],
    )?;
    if let Some(list) = &made.authority {
        fs::copy(&root.certificate, list).map_err(|error| Error::file("write", list, &error))?;
    }
    Ok(made.answer())
}

impl Place {
    /// The same, in the folder that kamctl's spelling names.
    fn or(&self, etcdir: &Option<PathBuf>) -> Self {
        Self {
            folder: self.folder.clone().or_else(|| etcdir.clone()),
            days: self.days,
        }
    }

    /// The folder, made where it is absent.
    fn folder(&self, context: &Context<'_>) -> Result<PathBuf, Error> {
        let folder = self
            .folder
            .clone()
            .unwrap_or_else(|| context.places.config.join("tls"));
        make_folder(&folder)?;
        Ok(folder)
    }
}

/// The files of a certificate.
struct Made {
    key: PathBuf,
    certificate: PathBuf,
    /// The certificate of the authority that signs it.
    authority: Option<PathBuf>,
}

impl Made {
    fn may_replace(&self, context: &Context<'_>) -> Result<(), Error> {
        if !self.key.exists() {
            return Ok(());
        }
        context.confirm(&format!("this replaces the key {}", self.key.display()))
    }

    fn answer(&self) -> Answer {
        let (key, certificate) = (
            self.key.display().to_string(),
            self.certificate.display().to_string(),
        );
        let mut words = format!("private key: {key}\ncertificate: {certificate}");
        let list = self.authority.as_ref().map(|list| list.display().to_string());
        if let Some(list) = &list {
            words += &format!("\nauthority: {list}");
        }
        Answer::new(
            words,
            json!({ "private_key": key, "certificate": certificate, "authority": list }),
        )
    }
}

/// Where an authority has its files.
fn authority(folder: &Path) -> Made {
    Made {
        key: folder.join("private/cakey.pem"),
        certificate: folder.join("cacert.pem"),
        authority: None,
    }
}

/// Makes a key and its certificate for a host, signed by itself unless `signer` says by whom.
fn certificate(name: &str, days: u32, made: &Made, signer: &[&Path]) -> Result<(), Error> {
    check::domain(name)?;
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let kind = if bare.parse::<IpAddr>().is_ok() {
        "IP"
    } else {
        "DNS"
    };
    let (subject, names) = (subject(bare), format!("subjectAltName={kind}:{bare}"));
    let days = days.to_string();
    let arguments: [&Path; 17] = [
        "req".as_ref(),
        "-x509".as_ref(),
        "-newkey".as_ref(),
        "rsa:2048".as_ref(),
        "-nodes".as_ref(),
        "-days".as_ref(),
        days.as_ref(),
        "-subj".as_ref(),
        subject.as_ref(),
        "-addext".as_ref(),
        names.as_ref(),
        "-addext".as_ref(),
        "basicConstraints=critical,CA:FALSE".as_ref(),
        "-keyout".as_ref(),
        &made.key,
        "-out".as_ref(),
        &made.certificate,
    ];
    openssl(&[&arguments, signer].concat())
}

/// A distinguished name of one common name, as `-subj` reads it.
fn subject(name: &str) -> String {
    let escaped: String = name
        .chars()
        .flat_map(|c| "/+\\".contains(c).then_some('\\').into_iter().chain([c]))
        .collect();
    format!("/CN={escaped}")
}

fn make_folder(folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(|error| Error::file("make", folder, &error))
}

fn openssl(arguments: &[&Path]) -> Result<(), Error> {
    let failed = |reason: String| Error::Program {
        program: "openssl",
        reason,
    };
    let output = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    let output = output.map_err(|error| {
        failed(if error.kind() == io::ErrorKind::NotFound {
            "it is not installed; on Debian: apt-get install openssl".to_owned()
        } else {
            error.to_string()
        })
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(failed(
        said.lines().last().unwrap_or("it does not say why").to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped() {
        assert_eq!(subject("a.test"), "/CN=a.test");
        assert_eq!(subject("A/B+C\\D"), "/CN=A\\/B\\+C\\\\D");
    }
}
