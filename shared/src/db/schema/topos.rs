//! Schema of hidden topologies (module topos).

use super::Group;
use super::Index;
use super::Table;
use super::column::datetime;
use super::column::int;
use super::column::medium_text;
use super::column::uint;
use super::column::varchar;

/// `topos_d` (module topos).
pub(super) static TOPOS_D: Table = Table {
    columns: &[
        datetime("rectime"),
        varchar("x_context", 64).empty(),
        varchar("s_method", 64).empty(),
        varchar("s_cseq", 64).empty(),
        varchar("a_callid", 255).empty(),
        varchar("a_uuid", 255).empty(),
        varchar("b_uuid", 255).empty(),
        varchar("a_contact", 512).empty(),
        varchar("b_contact", 512).empty(),
        varchar("as_contact", 512).empty(),
        varchar("bs_contact", 512).empty(),
        varchar("a_tag", 255).empty(),
        varchar("b_tag", 255).empty(),
        medium_text("a_rr").null(),
        medium_text("b_rr").null(),
        medium_text("s_rr").null(),
        uint("iflags").or("0"),
        varchar("a_uri", 255).empty(),
        varchar("b_uri", 255).empty(),
        varchar("r_uri", 255).empty(),
        varchar("a_srcaddr", 128).empty(),
        varchar("b_srcaddr", 128).empty(),
        varchar("a_socket", 128).empty(),
        varchar("b_socket", 128).empty(),
    ],
    indexes: &[
        Index("rectime_idx", &["rectime"]),
        Index("a_callid_idx", &["a_callid"]),
        Index("a_uuid_idx", &["a_uuid"]),
        Index("b_uuid_idx", &["b_uuid"]),
    ],
    ..Table::new("topos_d", 2, Group::Standard, "topos")
};

/// `topos_t` (module topos).
pub(super) static TOPOS_T: Table = Table {
    columns: &[
        datetime("rectime"),
        varchar("x_context", 64).empty(),
        varchar("s_method", 64).empty(),
        varchar("s_cseq", 64).empty(),
        varchar("a_callid", 255).empty(),
        varchar("a_uuid", 255).empty(),
        varchar("b_uuid", 255).empty(),
        int("direction").or("0"),
        medium_text("x_via").null(),
        varchar("x_vbranch", 255).empty(),
        medium_text("x_rr").null(),
        medium_text("y_rr").null(),
        medium_text("s_rr").null(),
        varchar("x_uri", 255).empty(),
        varchar("a_contact", 512).empty(),
        varchar("b_contact", 512).empty(),
        varchar("as_contact", 512).empty(),
        varchar("bs_contact", 512).empty(),
        varchar("x_tag", 255).empty(),
        varchar("a_tag", 255).empty(),
        varchar("b_tag", 255).empty(),
        varchar("a_srcaddr", 255).empty(),
        varchar("b_srcaddr", 255).empty(),
        varchar("a_socket", 128).empty(),
        varchar("b_socket", 128).empty(),
    ],
    indexes: &[
        Index("rectime_idx", &["rectime"]),
        Index("a_callid_idx", &["a_callid"]),
        Index("x_vbranch_idx", &["x_vbranch"]),
        Index("a_uuid_idx", &["a_uuid"]),
    ],
    ..Table::new("topos_t", 2, Group::Standard, "topos")
};
