//! Schema of accounting tables (module acc).

use super::Group;
use super::Index;
use super::Table;
use super::column::datetime;
use super::column::float3;
use super::column::varchar;

/// `acc` (module acc).
pub(super) static ACC: Table = Table {
    columns: &[
        varchar("method", 16).empty(),
        varchar("from_tag", 128).empty(),
        varchar("to_tag", 128).empty(),
        varchar("callid", 255).empty(),
        varchar("sip_code", 3).empty(),
        varchar("sip_reason", 128).empty(),
        datetime("time"),
    ],
    indexes: &[Index("callid_idx", &["callid"])],
    ..Table::new("acc", 5, Group::Standard, "acc")
};

/// `acc_cdrs` (module acc).
pub(super) static ACC_CDRS: Table = Table {
    columns: &[
        datetime("start_time").or("'2000-01-01 00:00:00'"),
        datetime("end_time").or("'2000-01-01 00:00:00'"),
        float3("duration").or("0"),
    ],
    indexes: &[Index("start_time_idx", &["start_time"])],
    also: &[3],
    ..Table::new("acc_cdrs", 2, Group::Standard, "acc")
};

/// `missed_calls` (module acc).
pub(super) static MISSED_CALLS: Table = Table {
    columns: &[
        varchar("method", 16).empty(),
        varchar("from_tag", 128).empty(),
        varchar("to_tag", 128).empty(),
        varchar("callid", 255).empty(),
        varchar("sip_code", 3).empty(),
        varchar("sip_reason", 128).empty(),
        datetime("time"),
    ],
    indexes: &[Index("callid_idx", &["callid"])],
    ..Table::new("missed_calls", 4, Group::Standard, "acc")
};
