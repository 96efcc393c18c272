//! Schema of the table of table versions (kamailio `lib/srdb1`).

use super::Group;
use super::Index;
use super::Table;
use super::column::uint;
use super::column::varchar;

/// `version` (module standard).
pub(super) static VERSION: Table = Table {
    columns: &[varchar("table_name", 32), uint("table_version").or("0")],
    unique: &[Index("table_name_idx", &["table_name"])],
    ..Table::new("version", 1, Group::Standard, "standard")
};
