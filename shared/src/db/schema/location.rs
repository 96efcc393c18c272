//! Schema of registered contacts (modules usrloc and registrar).

use super::Column;
use super::Group;
use super::Index;
use super::Table;
use super::column::datetime;
use super::column::float2;
use super::column::int;
use super::column::varchar;

/// The columns of a table of contacts, whose addresses may be so long.
const fn columns(contact: u16, received: u16) -> [Column; 22] {
    [
        varchar("ruid", 64).empty(),
        varchar("username", 64).empty(),
        varchar("domain", 64).null().or("NULL"),
        varchar("contact", contact).empty(),
        varchar("received", received).null().or("NULL"),
        varchar("path", 512).null().or("NULL"),
        datetime("expires").or("'2030-05-28 21:32:15'"),
        float2("q").or("1.0"),
        varchar("callid", 255).or("'Default-Call-ID'"),
        int("cseq").or("1"),
        datetime("last_modified").or("'2000-01-01 00:00:01'"),
        int("flags").or("0"),
        int("cflags").or("0"),
        varchar("user_agent", 255).empty(),
        varchar("socket", 64).null().or("NULL"),
        int("methods").null().or("NULL"),
        varchar("instance", 255).null().or("NULL"),
        int("reg_id").or("0"),
        int("server_id").or("0"),
        int("connection_id").or("0"),
        int("keepalive").or("0"),
        int("partition").or("0"),
    ]
}

/// `location` (module usrloc).
pub(super) static LOCATION: Table = Table {
    columns: &columns(512, 128),
    unique: &[Index("ruid_idx", &["ruid"])],
    indexes: &[
        Index("account_contact_idx", &["username", "domain", "contact"]),
        Index("expires_idx", &["expires"]),
        Index("tcpcon_idx", &["connection_id"]),
        Index("connection_idx", &["server_id", "connection_id"]),
    ],
    ..Table::new("location", 9, Group::Standard, "usrloc")
};

/// `location_attrs` (module usrloc).
pub(super) static LOCATION_ATTRS: Table = Table {
    columns: &[
        varchar("ruid", 64).empty(),
        varchar("username", 64).empty(),
        varchar("domain", 64).null().or("NULL"),
        varchar("aname", 64).empty(),
        int("atype").or("0"),
        varchar("avalue", 512).empty(),
        datetime("last_modified").or("'2000-01-01 00:00:01'"),
    ],
    indexes: &[
        Index("account_record_idx", &["username", "domain", "ruid"]),
        Index("last_modified_idx", &["last_modified"]),
    ],
    ..Table::new("location_attrs", 1, Group::Standard, "usrloc")
};

/// `aliases` (module registrar), which operators of usrloc had to give the version of `location`.
pub(super) static ALIASES: Table = Table {
    columns: &columns(255, 255),
    unique: &[Index("ruid_idx", &["ruid"])],
    indexes: &[
        Index("account_contact_idx", &["username", "domain", "contact"]),
        Index("expires_idx", &["expires"]),
    ],
    also: &[9],
    ..Table::new("aliases", 8, Group::Standard, "registrar")
};
