//! A small SQLite database with the tables that a script may read, in Kamailio's names and versions.

use std::path::Path;

use rusqlite::Connection;

use crate::digest::ha1;

const TABLES: &str = "
CREATE TABLE version (table_name VARCHAR(32) NOT NULL UNIQUE, table_version INTEGER DEFAULT 0 NOT NULL);
INSERT INTO version VALUES ('subscriber', 7), ('location', 9), ('location_attrs', 1), ('address', 6), ('trusted', 6);
CREATE TABLE subscriber (id INTEGER PRIMARY KEY NOT NULL, username VARCHAR(64) DEFAULT '' NOT NULL,
    domain VARCHAR(64) DEFAULT '' NOT NULL, password VARCHAR(64) DEFAULT '' NOT NULL,
    ha1 VARCHAR(128) DEFAULT '' NOT NULL, ha1b VARCHAR(128) DEFAULT '' NOT NULL, UNIQUE (username, domain));
CREATE TABLE address (id INTEGER PRIMARY KEY NOT NULL, grp INTEGER DEFAULT 1 NOT NULL,
    ip_addr VARCHAR(50) NOT NULL, mask INTEGER DEFAULT 32 NOT NULL, port SMALLINT DEFAULT 0 NOT NULL, tag VARCHAR(64));
CREATE TABLE trusted (id INTEGER PRIMARY KEY NOT NULL, src_ip VARCHAR(50) NOT NULL, proto VARCHAR(4) NOT NULL,
    from_pattern VARCHAR(64), ruri_pattern VARCHAR(64), tag VARCHAR(64), priority INTEGER DEFAULT 0 NOT NULL);
CREATE TABLE location (id INTEGER PRIMARY KEY NOT NULL, ruid VARCHAR(64) DEFAULT '' NOT NULL UNIQUE,
    username VARCHAR(64) DEFAULT '' NOT NULL, domain VARCHAR(64), contact VARCHAR(512) DEFAULT '' NOT NULL,
    received VARCHAR(128), path VARCHAR(512), expires DATETIME DEFAULT '2030-05-28 21:32:15' NOT NULL,
    q FLOAT(10,2) DEFAULT 1.0 NOT NULL, callid VARCHAR(255) DEFAULT 'Default-Call-ID' NOT NULL,
    cseq INTEGER DEFAULT 1 NOT NULL, last_modified DATETIME DEFAULT '2000-01-01 00:00:01' NOT NULL,
    flags INTEGER DEFAULT 0 NOT NULL, cflags INTEGER DEFAULT 0 NOT NULL, user_agent VARCHAR(255) DEFAULT '' NOT NULL,
    socket VARCHAR(64), methods INTEGER, instance VARCHAR(255), reg_id INTEGER DEFAULT 0 NOT NULL,
    server_id INTEGER DEFAULT 0 NOT NULL, connection_id INTEGER DEFAULT 0 NOT NULL,
    keepalive INTEGER DEFAULT 0 NOT NULL, partition INTEGER DEFAULT 0 NOT NULL);
CREATE TABLE location_attrs (id INTEGER PRIMARY KEY NOT NULL, ruid VARCHAR(64) DEFAULT '' NOT NULL,
    username VARCHAR(64) DEFAULT '' NOT NULL, domain VARCHAR(64), aname VARCHAR(64) DEFAULT '' NOT NULL,
    atype INTEGER DEFAULT 0 NOT NULL, avalue VARCHAR(512) DEFAULT '' NOT NULL,
    last_modified DATETIME DEFAULT '2000-01-01 00:00:01' NOT NULL);
";

/// Makes the tables in a new file.
pub fn create(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.execute_batch(TABLES)?;
    Ok(connection)
}

/// Adds a subscriber with plaintext password and HA1.
pub fn add_subscriber(
    connection: &Connection,
    user: &str,
    domain: &str,
    password: &str,
) -> rusqlite::Result<()> {
    let insert = "INSERT INTO subscriber (username, domain, password, ha1, ha1b) VALUES (?,?,?,?,?)";
    let ha1b = ha1(&format!("{user}@{domain}"), domain, password);
    connection
        .execute(
            insert,
            (user, domain, password, ha1(user, domain, password), ha1b),
        )
        .map(|_| ())
}

/// Adds an address to a group.
pub fn add_address(connection: &Connection, group: u32, address: &str, mask: u8) -> rusqlite::Result<()> {
    let insert = "INSERT INTO address (grp, ip_addr, mask) VALUES (?,?,?)";
    connection.execute(insert, (group, address, mask)).map(|_| ())
}
