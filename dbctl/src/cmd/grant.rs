//! `dbctl grant`, `revoke`: the accounts of DBRWUSER and DBROUSER (MySQL, PostgreSQL).

use serde_json::json;
use shared::db::Access;
use shared::db::Backend;
use shared::db::Engine;
use shared::db::Url;

use crate::Answer;
use crate::Error;
use crate::context::Context;
use crate::context::literal;
use crate::context::open;
use crate::context::quoted;

/// One account with what it may do.
struct Account {
    name: String,
    password: String,
    writes: bool,
}

/// Creates the accounts and gives them their rights.
pub(super) fn grant(context: &Context<'_>, url: &Url) -> Result<Answer, Error> {
    let root = administrator(context, url, "grant")?;
    // MySQL gives rights on what does not exist.
    drop(inside(&root, url)?);
    give(context, &root, url)?;
    Ok(answer(context, url, "granted the rights on"))
}

/// Takes the rights; the accounts stay, for they may have rights elsewhere.
pub(super) fn revoke(context: &Context<'_>, url: &Url) -> Result<Answer, Error> {
    let root = administrator(context, url, "revoke")?;
    let mut server = open(&root, Access::Existing)?;
    let engine = url.engine;
    for account in accounts(context, url) {
        if engine == Engine::Postgres {
            if !has_role(&mut *server, &account)? {
                continue;
            }
            let (mut db, role) = (inside(&root, url)?, quoted(engine, &account.name));
            for object in ["ALL TABLES", "ALL SEQUENCES"] {
                db.raw(
                    &format!("REVOKE ALL ON {object} IN SCHEMA public FROM {role}"),
                    &[],
                )?;
            }
            let database = quoted(engine, &url.name);
            for objects in ["TABLES", "SEQUENCES"] {
                let rest = format!("IN SCHEMA public REVOKE ALL ON {objects} FROM {role}");
                db.raw(&format!("ALTER DEFAULT PRIVILEGES {rest}"), &[])?;
                for writer in writers(context, url).filter(|_| !account.writes) {
                    let writer = quoted(engine, &writer.name);
                    db.raw(&format!("ALTER DEFAULT PRIVILEGES FOR ROLE {writer} {rest}"), &[])?;
                }
            }
            db.raw(&format!("REVOKE ALL ON SCHEMA public FROM {role}"), &[])?;
            db.raw(&format!("REVOKE ALL ON DATABASE {database} FROM {role}"), &[])?;
            continue;
        }
        for host in hosts(context, url) {
            let known = server.raw(
                "SELECT 1 AS one FROM mysql.db WHERE User = ? AND Host = ? AND Db = ?",
                &[(&account.name).into(), (&host).into(), (&url.name).into()],
            )?;
            // MySQL refuses to take what nobody has.
            if known.rows.is_empty() {
                continue;
            }
            let (name, host) = (literal(engine, &account.name), literal(engine, &host));
            server.raw(
                &format!(
                    "REVOKE ALL PRIVILEGES ON {}.* FROM {name}@{host}",
                    quoted(engine, &url.name)
                ),
                &[],
            )?;
        }
    }
    Ok(answer(context, url, "revoked the rights on"))
}

/// Gives rights as the administrator `root`.
pub(super) fn give(context: &Context<'_>, root: &Url, url: &Url) -> Result<(), Error> {
    let mut server = open(root, Access::Existing)?;
    for account in accounts(context, url) {
        if url.engine == Engine::Postgres {
            give_postgres(context, root, &mut *server, url, &account)?;
        } else {
            give_mysql(context, &mut *server, url, &account)?;
        }
    }
    Ok(())
}

fn give_mysql(
    context: &Context<'_>,
    server: &mut dyn Backend,
    url: &Url,
    account: &Account,
) -> Result<(), Error> {
    let rights = if account.writes {
        "ALL PRIVILEGES"
    } else {
        "SELECT"
    };
    for host in hosts(context, url) {
        let who = format!(
            "{}@{}",
            literal(url.engine, &account.name),
            literal(url.engine, &host)
        );
        let password = literal(url.engine, &account.password);
        server.raw(
            &format!("CREATE USER IF NOT EXISTS {who} IDENTIFIED BY {password}"),
            &[],
        )?;
        server.raw(
            &format!("GRANT {rights} ON {}.* TO {who}", quoted(url.engine, &url.name)),
            &[],
        )?;
    }
    Ok(())
}

fn has_role(server: &mut dyn Backend, account: &Account) -> Result<bool, Error> {
    let sql = "SELECT 1 AS one FROM pg_roles WHERE rolname = $1";
    let known = server.raw(sql, &[(&account.name).into()])?;
    Ok(!known.rows.is_empty())
}

fn give_postgres(
    context: &Context<'_>,
    root: &Url,
    server: &mut dyn Backend,
    url: &Url,
    account: &Account,
) -> Result<(), Error> {
    let role = quoted(url.engine, &account.name);
    if !has_role(server, account)? {
        let password = literal(url.engine, &account.password);
        server.raw(&format!("CREATE ROLE {role} LOGIN PASSWORD {password}"), &[])?;
    }
    let mut db = inside(root, url)?;
    let (tables, sequences, schema) = if account.writes {
        ("ALL", "ALL", "USAGE, CREATE")
    } else {
        ("SELECT", "SELECT", "USAGE")
    };
    db.raw(&format!("GRANT {schema} ON SCHEMA public TO {role}"), &[])?;
    for (rights, objects) in [(tables, "TABLES"), (sequences, "SEQUENCES")] {
        db.raw(
            &format!("GRANT {rights} ON ALL {objects} IN SCHEMA public TO {role}"),
            &[],
        )?;
        db.raw(
            &format!("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT {rights} ON {objects} TO {role}"),
            &[],
        )?;
        // Tables made later belong to whoever makes them: those of the writing account must reach the reading one.
        for writer in writers(context, url).filter(|_| !account.writes) {
            let writer = quoted(url.engine, &writer.name);
            db.raw(
                &format!("ALTER DEFAULT PRIVILEGES FOR ROLE {writer} IN SCHEMA public GRANT {rights} ON {objects} TO {role}"),
                &[],
            )?;
        }
    }
    Ok(())
}

/// The administrator, for engines that have accounts.
fn administrator(context: &Context<'_>, url: &Url, command: &'static str) -> Result<Url, Error> {
    if !url.engine.is_server() {
        return Err(Error::NoAccounts {
            command,
            url: url.to_string(),
        });
    }
    context.administrator(url)?.ok_or(Error::NoAdministrator {
        doing: "changing accounts",
    })
}

/// The administrator's connection inside the database: PostgreSQL grants nothing from outside.
fn inside(root: &Url, url: &Url) -> Result<Box<dyn Backend>, Error> {
    open(
        &Url {
            name: url.name.clone(),
            ..root.clone()
        },
        Access::Existing,
    )
}

fn accounts(context: &Context<'_>, url: &Url) -> Vec<Account> {
    let setting = |key: &str, default: &str| context.settings.get(key).unwrap_or_else(|| default.to_owned());
    let name = url
        .user
        .clone()
        .unwrap_or_else(|| setting("DBRWUSER", "kamailio"));
    let password = url
        .password
        .clone()
        .unwrap_or_else(|| setting("DBRWPW", "kamailiorw"));
    let mut accounts = vec![Account {
        name,
        password,
        writes: true,
    }];
    // A reader is made only when somebody asked for one: an account with a well-known password is a hole.
    if let Some(name) = context.settings.get("DBROUSER") {
        accounts.push(Account {
            name,
            password: setting("DBROPW", "kamailioro"),
            writes: false,
        });
    }
    accounts.dedup_by(|b, a| b.name == a.name);
    accounts
}

fn writers(context: &Context<'_>, url: &Url) -> impl Iterator<Item = Account> {
    accounts(context, url)
        .into_iter()
        .filter(|account| account.writes)
}

/// Hosts from which a MySQL account may come.
fn hosts(context: &Context<'_>, url: &Url) -> Vec<String> {
    let mut hosts = vec!["localhost".to_owned()];
    for host in [Some(url.host.clone()), context.settings.get("DBACCESSHOST")]
        .into_iter()
        .flatten()
    {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}

fn answer(context: &Context<'_>, url: &Url, done: &str) -> Answer {
    let names: Vec<String> = accounts(context, url)
        .into_iter()
        .map(|account| account.name)
        .collect();
    let words = format!("{done} {url}: {}", names.join(", "));
    Answer::new(words, json!({"database": url.to_string(), "accounts": names}))
}
