//! Schema of media relays, hash tables, remote registrations and pipes (modules rtpproxy, rtpengine, htable, uac, pipelimit).

use super::Group;
use super::Index;
use super::Table;
use super::column::datetime;
use super::column::int;
use super::column::uint;
use super::column::varchar;

/// `rtpproxy` (module rtpproxy).
pub(super) static RTPPROXY: Table = Table {
    columns: &[
        varchar("setid", 32).or("00"),
        varchar("url", 64).empty(),
        int("flags").or("0"),
        int("weight").or("1"),
        varchar("description", 64).empty(),
    ],
    ..Table::new("rtpproxy", 1, Group::Extra, "rtpproxy")
};

/// `rtpengine` (module rtpengine).
pub(super) static RTPENGINE: Table = Table {
    columns: &[
        uint("setid").or("0"),
        varchar("url", 64),
        uint("weight").or("1"),
        int("disabled").or("0"),
        datetime("stamp").or("'1900-01-01 00:00:01'"),
    ],
    unique: &[Index("rtpengine_nodes", &["setid", "url"])],
    ..Table::new("rtpengine", 1, Group::Extra, "rtpengine")
};

/// `htable` (module htable).
pub(super) static HTABLE: Table = Table {
    columns: &[
        varchar("key_name", 64).empty(),
        int("key_type").or("0"),
        int("value_type").or("0"),
        varchar("key_value", 128).empty(),
        int("expires").or("0"),
    ],
    ..Table::new("htable", 2, Group::Extra, "htable")
};

/// `uacreg` (module uac).
pub(super) static UACREG: Table = Table {
    columns: &[
        varchar("l_uuid", 64).empty(),
        varchar("l_username", 64).empty(),
        varchar("l_domain", 64).empty(),
        varchar("r_username", 64).empty(),
        varchar("r_domain", 64).empty(),
        varchar("realm", 64).empty(),
        varchar("auth_username", 64).empty(),
        varchar("auth_password", 64).empty(),
        varchar("auth_ha1", 128).empty(),
        varchar("auth_proxy", 255).empty(),
        int("expires").or("0"),
        int("flags").or("0"),
        int("reg_delay").or("0"),
        varchar("contact_addr", 255).empty(),
        varchar("socket", 128).empty(),
    ],
    unique: &[Index("l_uuid_idx", &["l_uuid"])],
    also: &[6],
    ..Table::new("uacreg", 5, Group::Extra, "uac")
};

/// `pl_pipes` (module pipelimit).
pub(super) static PL_PIPES: Table = Table {
    columns: &[
        varchar("pipeid", 64).empty(),
        varchar("algorithm", 32).empty(),
        int("plimit").or("0"),
    ],
    ..Table::new("pl_pipes", 1, Group::Extra, "pipelimit")
};
