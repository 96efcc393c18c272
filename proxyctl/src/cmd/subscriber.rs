//! `add`, `passwd`, `rm`, `show`, `sets`, `setn`, and the same under `subscriber` (Kamailio kamctl, table `subscriber`).

mod password;

use clap::Args;
use clap::Subcommand;
use serde_json::json;
use shared::db::Backend;
use shared::db::Delete;
use shared::db::Insert;
use shared::db::Kind;
use shared::db::Row;
use shared::db::Select;
use shared::db::Update;
use shared::db::Value;
use shared::digest::Algorithm;
use shared::digest::ha1;
use shared::digest::ha1b;
use shared::report::Output;
use shared::report::Report;
use shared::rpc::ul;

pub(crate) use password::Password;

use super::table;
use crate::Answer;
use crate::Error;
use crate::check;
use crate::context::Context;
use crate::user::Origin;
use crate::user::User;

pub(crate) const EXAMPLES: &str = "\
Examples:
  proxyctl add 61312341234 supersecretpassword
  proxyctl add alice@example.org --generate
  echo secret | proxyctl passwd alice --password-stdin
  proxyctl subscriber list
  proxyctl subscriber show alice
  proxyctl rm alice@example.org

A user without a domain is of SIP_DOMAIN, from the environment or the resource file. What is stored is the hash (HA1) of \
the password, not the password, unless STORE_PLAINTEXT_PW=1.";

/// kamctl's short forms.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Add a subscriber
    #[command(
        after_help = "Examples:\n  proxyctl add 61312341234 supersecretpassword\n  proxyctl add alice@example.org\n  proxyctl add alice --generate\n  echo secret | proxyctl add alice --password-stdin"
    )]
    Add(WithPassword),
    /// Change a subscriber's password
    #[command(
        after_help = "Examples:\n  proxyctl passwd alice newsecret\n  echo secret | proxyctl passwd alice --password-stdin"
    )]
    Passwd(WithPassword),
    /// Remove subscribers with their groups, aliases, speed dials, preferences and registrations
    #[command(after_help = "Examples:\n  proxyctl rm alice\n  proxyctl rm alice@example.org bob@example.org")]
    Rm {
        /// Users
        #[arg(required = true)]
        users: Vec<String>,
    },
    /// Show a subscriber, or all of them
    #[command(
        after_help = "Examples:\n  proxyctl show alice\n  proxyctl --output json show alice@example.org\n  proxyctl show --secrets alice"
    )]
    Show(Show),
    /// Set a column of a subscriber to text
    #[command(
        after_help = "Examples:\n  proxyctl sets alice rpid +4930123456\n\nA column of your own is added first:\n  proxyctl db exec 'ALTER TABLE subscriber ADD COLUMN rpid VARCHAR(64)'"
    )]
    Sets(Set),
    /// Set a column of a subscriber to a number
    #[command(
        after_help = "Examples:\n  proxyctl setn alice quota 100\n\nA column of your own is added first:\n  proxyctl db exec 'ALTER TABLE subscriber ADD COLUMN quota INTEGER'"
    )]
    Setn(Set),
}

/// `subscriber VERB`.
#[derive(Debug, Subcommand)]
pub(crate) enum Noun {
    #[command(flatten)]
    Short(Verb),
    /// List all subscribers
    #[command(
        after_help = "Examples:\n  proxyctl subscriber list\n  proxyctl subscriber list --domain example.org"
    )]
    List {
        /// Only this domain
        #[arg(long)]
        domain: Option<String>,
        /// Show hashes and passwords too
        #[arg(long)]
        secrets: bool,
    },
    /// Set a column of a subscriber, to a number where the column holds numbers
    #[command(after_help = "Examples:\n  proxyctl subscriber set alice rpid +4930123456")]
    Set(Set),
}

/// A user with a password.
#[derive(Debug, Args)]
pub(crate) struct WithPassword {
    /// User, or user@domain
    user: String,
    #[command(flatten)]
    password: Password,
}

/// Whom to show.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// User, or user@domain
    user: Option<String>,
    /// Show hashes and passwords too
    #[arg(long)]
    secrets: bool,
}

/// A column and its new value.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// User, or user@domain
    user: String,
    /// Column
    attribute: String,
    /// Its new value
    #[arg(allow_hyphen_values = true)]
    value: String,
}

/// What the columns of a password hold.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) password: String,
    pub(crate) ha1: String,
    pub(crate) ha1b: String,
}

/// Whether the password itself is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    Hash,
    Plain,
}

/// Columns that hold secrets.
const SECRETS: [&str; 3] = ["password", "ha1", "ha1b"];

/// Tables with rows that mean nothing without their subscriber.
const BELONGINGS: [&str; 5] = ["grp", "dbaliases", "speed_dial", "usr_preferences", "uri"];

/// Runs a short form.
pub(crate) fn run(context: &Context<'_>, verb: &Verb) -> Result<Answer, Error> {
    match verb {
        Verb::Add(what) => add(context, what),
        Verb::Passwd(what) => passwd(context, what),
        Verb::Rm { users } => remove(context, users),
        Verb::Show(what) => show(context, what.user.as_deref(), None, what.secrets),
        Verb::Sets(set) => assign(context, set, Some(Kind::Text)),
        Verb::Setn(set) => assign(context, set, Some(Kind::Int)),
    }
}

/// Runs `subscriber VERB`.
pub(crate) fn run_noun(context: &Context<'_>, noun: &Noun) -> Result<Answer, Error> {
    match noun {
        Noun::Short(verb) => run(context, verb),
        Noun::List { domain, secrets } => show(context, None, domain.as_deref(), *secrets),
        Noun::Set(set) => assign(context, set, None),
    }
}

impl Credentials {
    /// Hashes a password for the realm that is the user's domain.
    pub(crate) fn new(user: &User, password: &str, storage: Storage) -> Self {
        let (name, realm, secret) = (user.name.as_bytes(), user.domain.as_bytes(), password.as_bytes());
        Self {
            password: if storage == Storage::Plain {
                password.to_owned()
            } else {
                String::new()
            },
            ha1: ha1(Algorithm::Md5, name, realm, secret).as_str().to_owned(),
            ha1b: ha1b(Algorithm::Md5, name, realm, realm, secret)
                .as_str()
                .to_owned(),
        }
    }

    /// Adds the subscriber.
    pub(crate) fn insert(&self, db: &mut dyn Backend, user: &User) -> Result<(), Error> {
        let row = Insert::into("subscriber")
            .set("username", &user.name)
            .set("domain", &user.domain)
            .set("password", &self.password)
            .set("ha1", &self.ha1)
            .set("ha1b", &self.ha1b);
        match db.insert(&row) {
            Ok(_) => Ok(()),
            Err(error) if error.is_duplicate() => Err(Error::Exists {
                what: "subscriber",
                name: user.to_string(),
                hint: ": change its password with `proxyctl passwd`",
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// Changes the subscriber's; returns whether there is one.
    pub(crate) fn update(&self, db: &mut dyn Backend, user: &User) -> Result<bool, Error> {
        let change = Update::table("subscriber")
            .set("password", &self.password)
            .set("ha1", &self.ha1)
            .set("ha1b", &self.ha1b)
            .eq("username", &user.name)
            .eq("domain", &user.domain);
        Ok(db.update(&change)? > 0)
    }
}

impl Storage {
    /// What `STORE_PLAINTEXT_PW` says, `None` where it says nothing.
    pub(crate) fn told(context: &Context<'_>) -> Option<Self> {
        context
            .settings
            .flag("STORE_PLAINTEXT_PW")
            .map(|plain| if plain { Self::Plain } else { Self::Hash })
    }
}

fn add(context: &Context<'_>, what: &WithPassword) -> Result<Answer, Error> {
    let (user, origin) = User::new(context, &what.user)?;
    let mut db = context.open(&["subscriber"])?;
    if user.is_subscriber(db.as_mut())? {
        // Before a password is asked for.
        return Err(Error::Exists {
            what: "subscriber",
            name: user.to_string(),
            hint: ": change its password with `proxyctl passwd`",
        });
    }
    let secret = what.password.read(&user)?;
    let mut storage = Storage::told(context);
    if origin == Origin::Guessed {
        guessed(context, &user, storage);
        // The hash of a guessed realm opens nothing when phones use another, so the password itself must serve.
        storage = storage.or(Some(Storage::Plain));
    }
    Credentials::new(&user, &secret.text, storage.unwrap_or(Storage::Hash)).insert(db.as_mut(), &user)?;
    Ok(done(context, "added", &user, &secret))
}

/// Says what follows from a domain that nobody named.
fn guessed(context: &Context<'_>, user: &User, storage: Option<Storage>) {
    let rc = context.places.rc();
    let (domain, rc) = (&user.domain, rc.display());
    let how = format!("say `user@domain`, or set SIP_DOMAIN in the environment or in `{rc}`");
    match storage {
        Some(Storage::Hash) => {
            context.note(format_args!("no SIP_DOMAIN: took this host's name, so phones must use the domain `{domain}`; else {how}"));
        }
        None | Some(Storage::Plain) => context.note(format_args!(
            "no SIP_DOMAIN: took this host's name `{domain}`, and stored the password as it is, as its hash serves one domain only; {how}"
        )),
    }
}

fn passwd(context: &Context<'_>, what: &WithPassword) -> Result<Answer, Error> {
    let mut db = context.open(&["subscriber"])?;
    let user = User::subscriber(context, db.as_mut(), &what.user)?;
    let secret = what.password.read(&user)?;
    let storage = match Storage::told(context) {
        Some(storage) => storage,
        None => stored(db.as_mut(), &user)?,
    };
    if !Credentials::new(&user, &secret.text, storage).update(db.as_mut(), &user)? {
        return Err(user.unknown(db.as_mut())?);
    }
    Ok(done(context, "changed the password of", &user, &secret))
}

/// How the password of a subscriber is kept until now.
fn stored(db: &mut dyn Backend, user: &User) -> Result<Storage, Error> {
    let select = Select::from("subscriber")
        .columns(&["password"])
        .eq("username", &user.name)
        .eq("domain", &user.domain);
    let rows = db.query(&select)?;
    let plain = rows
        .first()
        .and_then(|row| row.str("password"))
        .is_some_and(|text| !text.is_empty());
    Ok(if plain { Storage::Plain } else { Storage::Hash })
}

fn done(context: &Context<'_>, deed: &str, user: &User, secret: &password::Secret) -> Answer {
    if secret.is_generated && context.quiet && matches!(context.output, Output::Table | Output::Plain) {
        // Nobody else knows it.
        return Answer::report(Report::Text(secret.text.clone()));
    }
    let mut data = json!({ "username": user.name, "domain": user.domain });
    let mut words = format!("{deed} {user}");
    if secret.is_generated {
        words.push_str(&format!("\npassword: {}", secret.text));
        if let Some(object) = data.as_object_mut() {
            object.insert("password".to_owned(), json!(secret.text));
        }
    }
    Answer::new(words, data)
}

fn remove(context: &Context<'_>, names: &[String]) -> Result<Answer, Error> {
    let mut db = context.open(&["subscriber"])?;
    let belongings = belongings(db.as_mut())?;
    let users = shared::db::transaction(db.as_mut(), |db| {
        let mut users = Vec::new();
        for name in names {
            let user = User::subscriber(context, db, name)?;
            delete(db, &belongings, &user)?;
            users.push(user);
        }
        Ok::<_, Error>(users)
    })?;
    unregister(context, &users);
    let names: Vec<String> = users.iter().map(User::to_string).collect();
    Ok(Answer::new(
        format!("removed {}", names.join(", ")),
        json!({ "removed": names }),
    ))
}

/// The tables with rows that belong to subscribers, of those that are there.
pub(crate) fn belongings(db: &mut dyn Backend) -> Result<Vec<&'static str>, Error> {
    let tables = db.tables()?;
    let is_there = |name: &&str| tables.iter().any(|table| table == name);
    Ok(BELONGINGS.into_iter().filter(is_there).collect())
}

/// Removes a subscriber with the rows that belong to it.
pub(crate) fn delete(db: &mut dyn Backend, belongings: &[&str], user: &User) -> Result<(), Error> {
    for table in ["subscriber"].iter().chain(belongings) {
        db.delete(
            &Delete::from(table)
                .eq("username", &user.name)
                .eq("domain", &user.domain),
        )?;
    }
    Ok(())
}

/// Ends the registrations of who is no user any more; where there are none, or no daemon, nothing is to be done.
pub(crate) fn unregister<'u>(context: &Context<'_>, users: impl IntoIterator<Item = &'u User>) {
    if !context.client().may_be_there() {
        return;
    }
    for user in users {
        let removed = context
            .client()
            .call(ul::RM, &[json!("location"), json!(user.to_string())]);
        match removed {
            Ok(_) | Err(Error::Fault(_)) => {}
            Err(Error::Daemon(_)) => return,
            Err(error) => context.note(format_args!("{error}")),
        }
    }
}

fn show(
    context: &Context<'_>,
    name: Option<&str>,
    domain: Option<&str>,
    secrets: bool,
) -> Result<Answer, Error> {
    let mut db = context.read(&["subscriber"])?;
    let mut select = Select::from("subscriber").order_by("username").order_by("domain");
    if let Some(domain) = domain {
        select = select.eq("domain", domain);
    }
    if let Some(name) = name {
        let user = User::subscriber(context, db.as_mut(), name)?;
        select = select.eq("username", &user.name).eq("domain", &user.domain);
    }
    if secrets {
        return Ok(Answer::report(table::report(db.as_mut(), &select)?));
    }
    let rows = db.query(&select)?;
    let columns: Vec<&str> = rows
        .names()
        .iter()
        .map(String::as_str)
        .filter(|name| !SECRETS.contains(name))
        .collect();
    let mut report = Report::rows(&[&columns[..], &["stored"]].concat());
    for row in rows.iter() {
        let cells = columns.iter().map(|column| table::cell(row, column));
        report.push(cells.chain([json!(kept(row))]));
    }
    Ok(Answer::report(report))
}

/// In which form a row keeps its password.
fn kept(row: Row<'_>) -> &'static str {
    let has = |column: &str| row.bytes(column).is_some_and(|text| !text.is_empty());
    match (has("password"), has("ha1")) {
        (true, _) => "plaintext",
        (false, true) => "ha1",
        (false, false) => "nothing",
    }
}

fn assign(context: &Context<'_>, set: &Set, kind: Option<Kind>) -> Result<Answer, Error> {
    if SECRETS.contains(&set.attribute.as_str()) {
        return Err(Error::Usage(format!(
            "`{}` is changed with `proxyctl passwd {}`",
            set.attribute, set.user
        )));
    }
    let mut db = context.open(&["subscriber"])?;
    let columns = db.columns("subscriber")?;
    let known = columns.iter().find(|c| c.name == set.attribute && c.name != "id");
    let Some(column) = known else {
        let names: Vec<&str> = columns
            .iter()
            .map(|c| c.name.as_str())
            .filter(|n| *n != "id" && !SECRETS.contains(n))
            .collect();
        return Err(Error::NotFound {
            what: "column",
            name: set.attribute.clone(),
            hint: format!(": the table subscriber has {}", names.join(", ")),
        });
    };
    let value = Value::from(&set.value);
    let value = value.coerced(kind.unwrap_or(column.kind)).into_owned();
    let numeric = matches!(kind.unwrap_or(column.kind), Kind::Int);
    if numeric && value.as_int().is_none() {
        return Err(Error::Usage(format!("`{}` is not a number", set.value)));
    }
    match set.attribute.as_str() {
        "username" => check::user(&set.value)?,
        "domain" => check::domain(&set.value)?,
        _ => check::text("value", &set.value, 255)?,
    }
    let user = User::subscriber(context, db.as_mut(), &set.user)?;
    let change = Update::table("subscriber")
        .set(&set.attribute, value)
        .eq("username", &user.name)
        .eq("domain", &user.domain);
    db.update(&change)?;
    if matches!(set.attribute.as_str(), "username" | "domain") {
        context.note(format_args!(
            "the hash of the password is of the old name: set it anew with `proxyctl passwd`"
        ));
    }
    let data = json!({ "username": user.name, "domain": user.domain, "attribute": set.attribute, "value": set.value });
    Ok(Answer::new(format!("set {} of {user}", set.attribute), data))
}
