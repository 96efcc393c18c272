//! A small SQLite database with the tables that a script may read, in Kamailio's names and versions.

use std::path::Path;

use rusqlite::Connection;

use crate::digest::ha1;

const TABLES: &str = "
CREATE TABLE version (table_name VARCHAR(32) NOT NULL UNIQUE, table_version INTEGER DEFAULT 0 NOT NULL);
INSERT INTO version VALUES ('subscriber', 7), ('location', 9), ('location_attrs', 1), ('address', 6), ('trusted', 6),
    ('presentity', 5), ('active_watchers', 12), ('watchers', 3);
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
CREATE TABLE presentity (id INTEGER PRIMARY KEY NOT NULL, username VARCHAR(64) NOT NULL, domain VARCHAR(64) NOT NULL,
    event VARCHAR(64) NOT NULL, etag VARCHAR(128) NOT NULL, expires INTEGER NOT NULL, received_time INTEGER NOT NULL,
    body BLOB NOT NULL, sender VARCHAR(255) NOT NULL, priority INTEGER DEFAULT 0 NOT NULL, ruid VARCHAR(64) UNIQUE,
    UNIQUE (username, domain, event, etag));
CREATE TABLE active_watchers (id INTEGER PRIMARY KEY NOT NULL, presentity_uri VARCHAR(255) NOT NULL,
    watcher_username VARCHAR(64) NOT NULL, watcher_domain VARCHAR(64) NOT NULL, to_user VARCHAR(64) NOT NULL,
    to_domain VARCHAR(64) NOT NULL, event VARCHAR(64) DEFAULT 'presence' NOT NULL, event_id VARCHAR(64),
    to_tag VARCHAR(128) NOT NULL, from_tag VARCHAR(128) NOT NULL, callid VARCHAR(255) NOT NULL,
    local_cseq INTEGER NOT NULL, remote_cseq INTEGER NOT NULL, contact VARCHAR(255) NOT NULL, record_route TEXT,
    expires INTEGER NOT NULL, status INTEGER DEFAULT 2 NOT NULL, reason VARCHAR(64), version INTEGER DEFAULT 0 NOT NULL,
    socket_info VARCHAR(64) NOT NULL, local_contact VARCHAR(255) NOT NULL, from_user VARCHAR(64) NOT NULL,
    from_domain VARCHAR(64) NOT NULL, updated INTEGER NOT NULL, updated_winfo INTEGER NOT NULL,
    flags INTEGER DEFAULT 0 NOT NULL, user_agent VARCHAR(255) DEFAULT '', UNIQUE (callid, to_tag, from_tag));
CREATE TABLE watchers (id INTEGER PRIMARY KEY NOT NULL, presentity_uri VARCHAR(255) NOT NULL,
    watcher_username VARCHAR(64) NOT NULL, watcher_domain VARCHAR(64) NOT NULL,
    event VARCHAR(64) DEFAULT 'presence' NOT NULL, status INTEGER NOT NULL, reason VARCHAR(64),
    inserted_time INTEGER NOT NULL, UNIQUE (presentity_uri, watcher_username, watcher_domain, event));
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
