//! Schema of calls in progress (modules dialog, sca, mohqueue).

use super::Group;
use super::Index;
use super::Table;
use super::column::datetime;
use super::column::int;
use super::column::text;
use super::column::uint;
use super::column::varchar;

/// `dialog` (module dialog).
pub(super) static DIALOG: Table = Table {
    columns: &[
        uint("hash_entry"),
        uint("hash_id"),
        varchar("callid", 255),
        varchar("from_uri", 255),
        varchar("from_tag", 128),
        varchar("to_uri", 255),
        varchar("to_tag", 128),
        varchar("caller_cseq", 20),
        varchar("callee_cseq", 20),
        varchar("caller_route_set", 512).null(),
        varchar("callee_route_set", 512).null(),
        varchar("caller_contact", 255),
        varchar("callee_contact", 255),
        varchar("caller_sock", 64),
        varchar("callee_sock", 64),
        uint("state"),
        uint("start_time"),
        uint("timeout").or("0"),
        uint("sflags").or("0"),
        uint("iflags").or("0"),
        varchar("toroute_name", 32).null(),
        varchar("req_uri", 255),
        varchar("xdata", 512).null(),
    ],
    indexes: &[Index("hash_idx", &["hash_entry", "hash_id"])],
    ..Table::new("dialog", 7, Group::Standard, "dialog")
};

/// `dialog_vars` (module dialog).
pub(super) static DIALOG_VARS: Table = Table {
    columns: &[
        uint("hash_entry"),
        uint("hash_id"),
        varchar("dialog_key", 128),
        varchar("dialog_value", 512),
    ],
    indexes: &[Index("hash_idx", &["hash_entry", "hash_id"])],
    ..Table::new("dialog_vars", 1, Group::Standard, "dialog")
};

/// `sca_subscriptions` (module sca).
pub(super) static SCA_SUBSCRIPTIONS: Table = Table {
    columns: &[
        varchar("subscriber", 255),
        varchar("aor", 255),
        int("event").or("0"),
        int("expires").or("0"),
        int("state").or("0"),
        int("app_idx").or("0"),
        varchar("call_id", 255),
        varchar("from_tag", 128),
        varchar("to_tag", 128),
        text("record_route").null(),
        int("notify_cseq"),
        int("subscribe_cseq"),
        int("server_id").or("0"),
    ],
    unique: &[Index(
        "sca_subscriptions_idx",
        &["subscriber", "call_id", "from_tag", "to_tag"],
    )],
    indexes: &[
        Index("sca_expires_idx", &["server_id", "expires"]),
        Index("sca_subscribers_idx", &["subscriber", "event"]),
    ],
    ..Table::new("sca_subscriptions", 2, Group::Extra, "sca")
};

/// `mohqcalls` (module mohqueue).
pub(super) static MOHQCALLS: Table = Table {
    columns: &[
        uint("mohq_id"),
        varchar("call_id", 100),
        uint("call_status"),
        varchar("call_from", 100),
        varchar("call_contact", 100).null(),
        datetime("call_time"),
    ],
    unique: &[Index("mohqcalls_idx", &["call_id"])],
    ..Table::new("mohqcalls", 1, Group::Extra, "mohqueue")
};

/// `mohqueues` (module mohqueue).
pub(super) static MOHQUEUES: Table = Table {
    columns: &[
        varchar("name", 25),
        varchar("uri", 100),
        varchar("mohdir", 100).null(),
        varchar("mohfile", 100),
        int("debug"),
    ],
    unique: &[
        Index("mohqueue_uri_idx", &["uri"]),
        Index("mohqueue_name_idx", &["name"]),
    ],
    ..Table::new("mohqueues", 1, Group::Extra, "mohqueue")
};
