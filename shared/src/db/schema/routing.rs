//! Schema of routing data (modules lcr, dispatcher, dialplan, pdt, mtree, matrix).

use super::Group;
use super::Index;
use super::Table;
use super::column::int;
use super::column::smallint;
use super::column::uint;
use super::column::usmallint;
use super::column::utinyint;
use super::column::varchar;

/// `lcr_gw` (module lcr).
pub(super) static LCR_GW: Table = Table {
    columns: &[
        usmallint("lcr_id"),
        varchar("gw_name", 128).null(),
        varchar("ip_addr", 50).null(),
        varchar("hostname", 64).null(),
        usmallint("port").null(),
        varchar("params", 64).null(),
        utinyint("uri_scheme").null(),
        utinyint("transport").null(),
        utinyint("strip").null(),
        varchar("prefix", 16).null().or("NULL"),
        varchar("tag", 64).null().or("NULL"),
        uint("flags").or("0"),
        uint("defunct").null().or("NULL"),
    ],
    indexes: &[Index("lcr_id_idx", &["lcr_id"])],
    ..Table::new("lcr_gw", 3, Group::Standard, "lcr")
};

/// `lcr_rule_target` (module lcr).
pub(super) static LCR_RULE_TARGET: Table = Table {
    columns: &[
        usmallint("lcr_id"),
        uint("rule_id"),
        uint("gw_id"),
        utinyint("priority"),
        uint("weight").or("1"),
    ],
    unique: &[Index("rule_id_gw_id_idx", &["rule_id", "gw_id"])],
    indexes: &[Index("lcr_id_idx", &["lcr_id"])],
    ..Table::new("lcr_rule_target", 1, Group::Standard, "lcr")
};

/// `lcr_rule` (module lcr).
pub(super) static LCR_RULE: Table = Table {
    columns: &[
        usmallint("lcr_id"),
        varchar("prefix", 16).null().or("NULL"),
        varchar("from_uri", 64).null().or("NULL"),
        varchar("request_uri", 64).null().or("NULL"),
        varchar("mt_tvalue", 128).null().or("NULL"),
        uint("stopper").or("0"),
        uint("enabled").or("1"),
    ],
    unique: &[Index(
        "lcr_id_prefix_from_uri_idx",
        &["lcr_id", "prefix", "from_uri"],
    )],
    ..Table::new("lcr_rule", 3, Group::Standard, "lcr")
};

/// `dispatcher` (module dispatcher).
pub(super) static DISPATCHER: Table = Table {
    columns: &[
        int("setid").or("0"),
        varchar("destination", 192).empty(),
        int("flags").or("0"),
        int("priority").or("0"),
        varchar("attrs", 128).empty(),
        varchar("description", 64).empty(),
    ],
    ..Table::new("dispatcher", 4, Group::Standard, "dispatcher")
};

/// `dialplan` (module dialplan).
pub(super) static DIALPLAN: Table = Table {
    columns: &[
        int("dpid"),
        int("pr"),
        int("match_op"),
        varchar("match_exp", 64),
        int("match_len"),
        varchar("subst_exp", 64),
        varchar("repl_exp", 256),
        varchar("attrs", 64),
    ],
    ..Table::new("dialplan", 2, Group::Standard, "dialplan")
};

/// `pdt` (module pdt).
pub(super) static PDT: Table = Table {
    columns: &[
        varchar("sdomain", 255),
        varchar("prefix", 32),
        varchar("domain", 255).empty(),
    ],
    unique: &[Index("sdomain_prefix_idx", &["sdomain", "prefix"])],
    ..Table::new("pdt", 1, Group::Standard, "pdt")
};

/// `mtree` (module mtree).
pub(super) static MTREE: Table = Table {
    columns: &[varchar("tprefix", 32).empty(), varchar("tvalue", 128).empty()],
    unique: &[Index("tprefix_idx", &["tprefix"])],
    ..Table::new("mtree", 1, Group::Extra, "mtree")
};

/// `mtrees` (module mtree).
pub(super) static MTREES: Table = Table {
    columns: &[
        varchar("tname", 128).empty(),
        varchar("tprefix", 32).empty(),
        varchar("tvalue", 128).empty(),
    ],
    unique: &[Index("tname_tprefix_tvalue_idx", &["tname", "tprefix", "tvalue"])],
    ..Table::new("mtrees", 2, Group::Extra, "mtree")
};

/// `matrix` (module matrix).
pub(super) static MATRIX: Table = Table {
    columns: &[int("first"), smallint("second"), int("res")],
    indexes: &[Index("matrix_idx", &["first", "second"])],
    ..Table::new("matrix", 1, Group::Other, "matrix")
};
