//! Databases for the benchmark: Kamailio's own tables, filled at run time.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use md5::Digest;
use md5::Md5;
use rusqlite::Connection;

use super::BenchError;
use super::DOMAIN;
use super::row::Database;
use crate::load::PASSWORD;

const SCRIPTS: &str = "/usr/share/kamailio";
const TABLES: [&str; 4] = ["standard", "auth_db", "usrloc", "permissions"];

/// Makes the database of a row in `folder` and returns its URL; none when the row needs none.
pub(crate) fn database(
    kind: Database,
    users: u32,
    contacts: u32,
    folder: &Path,
) -> Result<Option<String>, BenchError> {
    match kind {
        Database::None => Ok(None),
        Database::Sqlite => sqlite(folder, users, &[], contacts).map(Some),
        Database::AddressesOwnFirst(subnets) => sqlite(folder, 0, &subnets_of(subnets, 0), 0).map(Some),
        Database::AddressesOwnLast(subnets) => {
            sqlite(folder, 0, &subnets_of(subnets, subnets - 1), 0).map(Some)
        }
        Database::MariaDb => mariadb(users).map(Some),
    }
}

fn sqlite(folder: &Path, users: u32, subnets: &[(String, u8)], contacts: u32) -> Result<String, BenchError> {
    let path = folder.join("bench.db");
    let mut connection = Connection::open(&path)?;
    for table in TABLES {
        connection.execute_batch(&script("db_sqlite", table)?)?;
    }
    let rows = connection.transaction()?;
    {
        let mut insert = rows
            .prepare("INSERT INTO subscriber (username, domain, password, ha1, ha1b) VALUES (?,?,?,?,?)")?;
        for user in 0..users {
            let [name, ha1, ha1b] = subscriber(user);
            insert.execute((&name, DOMAIN, PASSWORD, &ha1, &ha1b))?;
        }
        let mut insert =
            rows.prepare("INSERT INTO address (grp, ip_addr, mask, port, tag) VALUES (1,?,?,0,'bench')")?;
        for (network, mask) in subnets {
            insert.execute((network, mask))?;
        }
        let mut insert = rows.prepare(
            "INSERT INTO location (ruid, username, contact, expires, q, callid, cseq, last_modified, user_agent, \
             socket, methods) VALUES (?,?,?,julianday('now','+1 day'),-1,?,1,julianday('now'),?,?,5951)",
        )?;
        for contact in 0..contacts {
            let name = format!("u{contact:07}");
            let uri = format!("sip:{name}@127.22.0.3:22002;line=7f3a");
            let call_id = format!("{contact:08x}@seed.test");
            let socket = "udp:127.22.0.10:22000";
            insert.execute((
                format!("uloc-seed-{contact:x}"),
                &name,
                &uri,
                &call_id,
                "load generator 1.0",
                socket,
            ))?;
        }
    }
    rows.commit()?;
    Ok(format!("sqlite:///{}", path.display()))
}

/// Lists as many subnets, with the generator's own at the given place.
fn subnets_of(count: u32, own: u32) -> Vec<(String, u8)> {
    let subnet = |number: u32| match number {
        _ if number == own => ("127.22.0.0".to_owned(), 16),
        _ => (
            format!("{}.{}.{}.0", 11 + (number >> 16), number >> 8 & 255, number & 255),
            24,
        ),
    };
    (0..count).map(subnet).collect()
}

/// Fills the private MariaDB server that the environment names; its user may do anything.
fn mariadb(users: u32) -> Result<String, BenchError> {
    let url = env::var("TEST_MYSQL_URL").map_err(|_| BenchError::NoMariaDb)?;
    let (server, _) = url.rsplit_once('/').ok_or(BenchError::NoMariaDb)?;
    let mut text = String::from("DROP DATABASE IF EXISTS bench; CREATE DATABASE bench; USE bench;\n");
    for table in TABLES {
        text.push_str(&script("mysql", table)?);
    }
    for user in 0..users {
        let [name, ha1, ha1b] = subscriber(user);
        let start = "INSERT INTO subscriber (username, domain, password, ha1, ha1b) VALUES ";
        text.push_str(if user % 1000 == 0 { start } else { "," });
        // Writing to a String cannot fail.
        let _ = write!(text, "('{name}','{DOMAIN}','{PASSWORD}','{ha1}','{ha1b}')");
        text.push_str(if user % 1000 == 999 || user + 1 == users {
            ";\n"
        } else {
            ""
        });
    }
    let account = server
        .strip_prefix("mysql://")
        .and_then(|rest| rest.split_once('@'))
        .ok_or(BenchError::NoMariaDb)?;
    let (user, password) = account.0.split_once(':').ok_or(BenchError::NoMariaDb)?;
    let (host, port) = account.1.split_once(':').ok_or(BenchError::NoMariaDb)?;
    let mut client = Command::new("mariadb")
        .args(["--no-defaults", "-h", host, "-P", port, "-u", user])
        .env("MYSQL_PWD", password)
        .stdin(Stdio::piped())
        .spawn()?;
    if let Some(mut input) = client.stdin.take() {
        input.write_all(text.as_bytes())?;
    }
    if !client.wait()?.success() {
        return Err(BenchError::NoMariaDb);
    }
    Ok(format!("{server}/bench"))
}

fn script(engine: &str, table: &str) -> Result<String, BenchError> {
    let path = format!("{SCRIPTS}/{engine}/{table}-create.sql");
    fs::read_to_string(&path).map_err(|error| BenchError::File(path, error))
}

fn subscriber(user: u32) -> [String; 3] {
    let name = format!("u{user:07}");
    let ha1 = hex_digest(&format!("{name}:{DOMAIN}:{PASSWORD}"));
    let ha1b = hex_digest(&format!("{name}@{DOMAIN}:{DOMAIN}:{PASSWORD}"));
    [name, ha1, ha1b]
}

fn hex_digest(text: &str) -> String {
    Md5::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
