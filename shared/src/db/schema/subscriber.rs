//! Schema of subscribers with their aliases, groups, speed dials and preferences (modules auth_db, alias_db, uri_db, group, speeddial, avpops).

use super::Group;
use super::Index;
use super::Table;
use super::column::datetime;
use super::column::int;
use super::column::varchar;

/// `subscriber` (module auth_db).
pub(super) static SUBSCRIBER: Table = Table {
    columns: &[
        varchar("username", 64).empty(),
        varchar("domain", 64).empty(),
        varchar("password", 64).empty(),
        varchar("ha1", 128).empty(),
        varchar("ha1b", 128).empty(),
    ],
    unique: &[Index("account_idx", &["username", "domain"])],
    indexes: &[Index("username_idx", &["username"])],
    ..Table::new("subscriber", 7, Group::Standard, "auth_db")
};

/// `dbaliases` (module alias_db).
pub(super) static DBALIASES: Table = Table {
    columns: &[
        varchar("alias_username", 64).empty(),
        varchar("alias_domain", 64).empty(),
        varchar("username", 64).empty(),
        varchar("domain", 64).empty(),
    ],
    indexes: &[
        Index("alias_user_idx", &["alias_username"]),
        Index("alias_idx", &["alias_username", "alias_domain"]),
        Index("target_idx", &["username", "domain"]),
    ],
    ..Table::new("dbaliases", 1, Group::Standard, "alias_db")
};

/// `uri` (module uri_db).
pub(super) static URI: Table = Table {
    columns: &[
        varchar("username", 64).empty(),
        varchar("domain", 64).empty(),
        varchar("uri_user", 64).empty(),
        datetime("last_modified").or("'2000-01-01 00:00:01'"),
    ],
    unique: &[Index("account_idx", &["username", "domain", "uri_user"])],
    ..Table::new("uri", 1, Group::Standard, "uri_db")
};

/// `grp` (module group).
pub(super) static GRP: Table = Table {
    columns: &[
        varchar("username", 64).empty(),
        varchar("domain", 64).empty(),
        varchar("grp", 64).empty(),
        datetime("last_modified").or("'2000-01-01 00:00:01'"),
    ],
    unique: &[Index("account_group_idx", &["username", "domain", "grp"])],
    ..Table::new("grp", 2, Group::Standard, "group")
};

/// `re_grp` (module group).
pub(super) static RE_GRP: Table = Table {
    columns: &[varchar("reg_exp", 128).empty(), int("group_id").or("0")],
    indexes: &[Index("group_idx", &["group_id"])],
    ..Table::new("re_grp", 1, Group::Standard, "group")
};

/// `speed_dial` (module speeddial).
pub(super) static SPEED_DIAL: Table = Table {
    columns: &[
        varchar("username", 64).empty(),
        varchar("domain", 64).empty(),
        varchar("sd_username", 64).empty(),
        varchar("sd_domain", 64).empty(),
        varchar("new_uri", 255).empty(),
        varchar("fname", 64).empty(),
        varchar("lname", 64).empty(),
        varchar("description", 64).empty(),
    ],
    unique: &[Index(
        "speed_dial_idx",
        &["username", "domain", "sd_domain", "sd_username"],
    )],
    ..Table::new("speed_dial", 2, Group::Standard, "speeddial")
};

/// `usr_preferences` (module avpops).
pub(super) static USR_PREFERENCES: Table = Table {
    columns: &[
        varchar("uuid", 64).empty(),
        varchar("username", 255).or("0"),
        varchar("domain", 64).empty(),
        varchar("attribute", 32).empty(),
        int("type").or("0"),
        varchar("value", 128).empty(),
        datetime("last_modified").or("'2000-01-01 00:00:01'"),
    ],
    indexes: &[
        Index("ua_idx", &["uuid", "attribute"]),
        Index("uda_idx", &["username", "domain", "attribute"]),
    ],
    ..Table::new("usr_preferences", 2, Group::Standard, "avpops")
};
