//! Schema of who may call from where (modules permissions, domain, domainpolicy, userblocklist, secfilter).

use super::Group;
use super::Index;
use super::Table;
use super::column::datetime;
use super::column::int;
use super::column::smallint;
use super::column::tinyint;
use super::column::uint;
use super::column::usmallint;
use super::column::varchar;

/// `trusted` (module permissions).
pub(super) static TRUSTED: Table = Table {
    columns: &[
        varchar("src_ip", 50),
        varchar("proto", 4),
        varchar("from_pattern", 64).null().or("NULL"),
        varchar("ruri_pattern", 64).null().or("NULL"),
        varchar("tag", 64).null(),
        int("priority").or("0"),
    ],
    indexes: &[Index("peer_idx", &["src_ip"])],
    ..Table::new("trusted", 6, Group::Standard, "permissions")
};

/// `address` (module permissions).
pub(super) static ADDRESS: Table = Table {
    columns: &[
        uint("grp").or("1"),
        varchar("ip_addr", 50),
        int("mask").or("32"),
        usmallint("port").or("0"),
        varchar("tag", 64).null(),
    ],
    ..Table::new("address", 6, Group::Standard, "permissions")
};

/// `domain` (module domain).
pub(super) static DOMAIN: Table = Table {
    columns: &[
        varchar("domain", 64),
        varchar("did", 64).null().or("NULL"),
        datetime("last_modified").or("'2000-01-01 00:00:01'"),
    ],
    unique: &[Index("domain_idx", &["domain"])],
    ..Table::new("domain", 2, Group::Standard, "domain")
};

/// `domain_attrs` (module domain).
pub(super) static DOMAIN_ATTRS: Table = Table {
    columns: &[
        varchar("did", 64),
        varchar("name", 32),
        uint("type"),
        varchar("value", 255),
        datetime("last_modified").or("'2000-01-01 00:00:01'"),
    ],
    indexes: &[Index("domain_attrs_idx", &["did", "name"])],
    ..Table::new("domain_attrs", 1, Group::Standard, "domain")
};

/// `domainpolicy` (module domainpolicy).
pub(super) static DOMAINPOLICY: Table = Table {
    columns: &[
        varchar("rule", 255),
        varchar("type", 255),
        varchar("att", 255).null(),
        varchar("val", 128).null(),
        varchar("description", 255),
    ],
    unique: &[Index("rav_idx", &["rule", "att", "val"])],
    indexes: &[Index("rule_idx", &["rule"])],
    ..Table::new("domainpolicy", 2, Group::Extra, "domainpolicy")
};

/// `userblocklist` (module userblocklist).
pub(super) static USERBLOCKLIST: Table = Table {
    columns: &[
        varchar("username", 64).empty(),
        varchar("domain", 64).empty(),
        varchar("prefix", 64).empty(),
        tinyint("allowlist").or("0"),
    ],
    indexes: &[Index("userblocklist_idx", &["username", "domain", "prefix"])],
    ..Table::new("userblocklist", 1, Group::Extra, "userblocklist")
};

/// `globalblocklist` (module userblocklist).
pub(super) static GLOBALBLOCKLIST: Table = Table {
    columns: &[
        varchar("prefix", 64).empty(),
        tinyint("allowlist").or("0"),
        varchar("description", 255).null().or("NULL"),
    ],
    indexes: &[Index("globalblocklist_idx", &["prefix"])],
    ..Table::new("globalblocklist", 1, Group::Extra, "userblocklist")
};

/// `secfilter` (module secfilter).
pub(super) static SECFILTER: Table = Table {
    columns: &[
        smallint("action").or("0"),
        smallint("type").or("0"),
        varchar("data", 64).empty(),
    ],
    indexes: &[Index("secfilter_idx", &["action", "type", "data"])],
    ..Table::new("secfilter", 1, Group::Extra, "secfilter")
};
