//! Schema of stored messages, rooms, traces and scripts (modules msilo, imc, siptrace, cpl_c).

use super::Group;
use super::Index;
use super::Table;
use super::column::blob;
use super::column::datetime;
use super::column::int;
use super::column::medium_text;
use super::column::text;
use super::column::uint;
use super::column::varchar;

/// `silo` (module msilo).
pub(super) static SILO: Table = Table {
    columns: &[
        varchar("src_addr", 255).empty(),
        varchar("dst_addr", 255).empty(),
        varchar("username", 64).empty(),
        varchar("domain", 64).empty(),
        int("inc_time").or("0"),
        int("exp_time").or("0"),
        int("snd_time").or("0"),
        varchar("ctype", 32).or("'text/plain'"),
        blob("body").null(),
        text("extra_hdrs").null(),
        varchar("callid", 128).empty(),
        int("status").or("0"),
    ],
    indexes: &[Index("account_idx", &["username", "domain"])],
    ..Table::new("silo", 8, Group::Standard, "msilo")
};

/// `imc_rooms` (module imc).
pub(super) static IMC_ROOMS: Table = Table {
    columns: &[varchar("name", 64), varchar("domain", 64), int("flag")],
    unique: &[Index("name_domain_idx", &["name", "domain"])],
    ..Table::new("imc_rooms", 1, Group::Extra, "imc")
};

/// `imc_members` (module imc).
pub(super) static IMC_MEMBERS: Table = Table {
    columns: &[
        varchar("username", 64),
        varchar("domain", 64),
        varchar("room", 64),
        int("flag"),
    ],
    unique: &[Index("account_room_idx", &["username", "domain", "room"])],
    ..Table::new("imc_members", 1, Group::Extra, "imc")
};

/// `sip_trace` (module siptrace).
pub(super) static SIP_TRACE: Table = Table {
    columns: &[
        datetime("time_stamp").or("'2000-01-01 00:00:01'"),
        uint("time_us").or("0"),
        varchar("callid", 255).empty(),
        varchar("traced_user", 255).empty(),
        medium_text("msg"),
        varchar("method", 50).empty(),
        varchar("status", 255).empty(),
        varchar("fromip", 64).empty(),
        varchar("toip", 64).empty(),
        varchar("fromtag", 128).empty(),
        varchar("totag", 128).empty(),
        varchar("direction", 4).empty(),
    ],
    indexes: &[
        Index("traced_user_idx", &["traced_user"]),
        Index("date_idx", &["time_stamp"]),
        Index("fromip_idx", &["fromip"]),
        Index("callid_idx", &["callid"]),
    ],
    ..Table::new("sip_trace", 4, Group::Extra, "siptrace")
};

/// `cpl` (module cpl).
pub(super) static CPL: Table = Table {
    columns: &[
        varchar("username", 64),
        varchar("domain", 64).empty(),
        text("cpl_xml").null(),
        text("cpl_bin").null(),
    ],
    unique: &[Index("account_idx", &["username", "domain"])],
    ..Table::new("cpl", 1, Group::Extra, "cpl")
};
