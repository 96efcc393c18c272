//! Schema of carrier routing (modules carrierroute and drouting).

use super::Group;
use super::Table;
use super::column::float;
use super::column::int;
use super::column::uint;
use super::column::varchar;

/// `carrierroute` (module carrierroute).
pub(super) static CARRIERROUTE: Table = Table {
    columns: &[
        uint("carrier").or("0"),
        uint("domain").or("0"),
        varchar("scan_prefix", 64).empty(),
        uint("flags").or("0"),
        uint("mask").or("0"),
        float("prob").or("0"),
        uint("strip").or("0"),
        varchar("rewrite_host", 255).empty(),
        varchar("rewrite_prefix", 64).empty(),
        varchar("rewrite_suffix", 64).empty(),
        varchar("description", 255).null().or("NULL"),
    ],
    ..Table::new("carrierroute", 3, Group::Extra, "carrierroute")
};

/// `carrierfailureroute` (module carrierroute).
pub(super) static CARRIERFAILUREROUTE: Table = Table {
    columns: &[
        uint("carrier").or("0"),
        uint("domain").or("0"),
        varchar("scan_prefix", 64).empty(),
        varchar("host_name", 255).empty(),
        varchar("reply_code", 3).empty(),
        uint("flags").or("0"),
        uint("mask").or("0"),
        uint("next_domain").or("0"),
        varchar("description", 255).null().or("NULL"),
    ],
    ..Table::new("carrierfailureroute", 2, Group::Extra, "carrierroute")
};

/// `carrier_name` (module carrierroute).
pub(super) static CARRIER_NAME: Table = Table {
    columns: &[varchar("carrier", 64).null().or("NULL")],
    ..Table::new("carrier_name", 1, Group::Extra, "carrierroute")
};

/// `domain_name` (module carrierroute).
pub(super) static DOMAIN_NAME: Table = Table {
    columns: &[varchar("domain", 64).null().or("NULL")],
    ..Table::new("domain_name", 1, Group::Extra, "carrierroute")
};

/// `dr_gateways` (module drouting).
pub(super) static DR_GATEWAYS: Table = Table {
    columns: &[
        uint("type").or("0"),
        varchar("address", 128),
        uint("strip").or("0"),
        varchar("pri_prefix", 64).null().or("NULL"),
        varchar("attrs", 255).null().or("NULL"),
        varchar("description", 128).empty(),
    ],
    key: "gwid",
    ..Table::new("dr_gateways", 3, Group::Extra, "drouting")
};

/// `dr_rules` (module drouting).
pub(super) static DR_RULES: Table = Table {
    columns: &[
        varchar("groupid", 255),
        varchar("prefix", 64),
        varchar("timerec", 255),
        int("priority").or("0"),
        varchar("routeid", 64),
        varchar("gwlist", 255),
        varchar("description", 128).empty(),
    ],
    key: "ruleid",
    ..Table::new("dr_rules", 3, Group::Extra, "drouting")
};

/// `dr_gw_lists` (module drouting).
pub(super) static DR_GW_LISTS: Table = Table {
    columns: &[varchar("gwlist", 255), varchar("description", 128).empty()],
    ..Table::new("dr_gw_lists", 1, Group::Extra, "drouting")
};

/// `dr_groups` (module drouting).
pub(super) static DR_GROUPS: Table = Table {
    columns: &[
        varchar("username", 64),
        varchar("domain", 128).empty(),
        uint("groupid").or("0"),
        varchar("description", 128).empty(),
    ],
    ..Table::new("dr_groups", 2, Group::Extra, "drouting")
};
