//! Schema of the uid_* modules.

use super::Group;
use super::Index;
use super::Table;
use super::column::int;
use super::column::uint;
use super::column::varchar;

/// `uid_credentials` (module uid_auth_db).
pub(super) static UID_CREDENTIALS: Table = Table {
    columns: &[
        varchar("auth_username", 64),
        varchar("did", 64).or("'_default'"),
        varchar("realm", 64),
        varchar("password", 28).empty(),
        int("flags").or("0"),
        varchar("ha1", 32),
        varchar("ha1b", 32).empty(),
        varchar("uid", 64),
    ],
    indexes: &[
        Index("cred_idx", &["auth_username", "did"]),
        Index("uid", &["uid"]),
        Index("did_idx", &["did"]),
        Index("realm_idx", &["realm"]),
    ],
    ..Table::new("uid_credentials", 7, Group::Uid, "uid_auth_db")
};

/// `uid_user_attrs` (module uid_avp_db).
pub(super) static UID_USER_ATTRS: Table = Table {
    columns: &[
        varchar("uid", 64),
        varchar("name", 32),
        varchar("value", 128).null(),
        int("type").or("0"),
        uint("flags").or("0"),
    ],
    unique: &[Index("userattrs_idx", &["uid", "name", "value"])],
    ..Table::new("uid_user_attrs", 3, Group::Uid, "uid_avp_db")
};

/// `uid_domain` (module uid_domain).
pub(super) static UID_DOMAIN: Table = Table {
    columns: &[varchar("did", 64), varchar("domain", 64), uint("flags").or("0")],
    unique: &[Index("domain_idx", &["domain"])],
    indexes: &[Index("did_idx", &["did"])],
    ..Table::new("uid_domain", 2, Group::Uid, "uid_domain")
};

/// `uid_domain_attrs` (module uid_domain).
pub(super) static UID_DOMAIN_ATTRS: Table = Table {
    columns: &[
        varchar("did", 64).null(),
        varchar("name", 32),
        int("type").or("0"),
        varchar("value", 128).null(),
        uint("flags").or("0"),
    ],
    unique: &[Index("domain_attr_idx", &["did", "name", "value"])],
    indexes: &[Index("domain_did", &["did", "flags"])],
    ..Table::new("uid_domain_attrs", 1, Group::Uid, "uid_domain")
};

/// `uid_global_attrs` (module uid_gflags).
pub(super) static UID_GLOBAL_ATTRS: Table = Table {
    columns: &[
        varchar("name", 32),
        int("type").or("0"),
        varchar("value", 128).null(),
        uint("flags").or("0"),
    ],
    unique: &[Index("global_attrs_idx", &["name", "value"])],
    ..Table::new("uid_global_attrs", 1, Group::Uid, "uid_gflags")
};

/// `uid_uri` (module uid_uri_db).
pub(super) static UID_URI: Table = Table {
    columns: &[
        varchar("uid", 64),
        varchar("did", 64),
        varchar("username", 64),
        uint("flags").or("0"),
        varchar("scheme", 8).or("'sip'"),
    ],
    indexes: &[
        Index("uri_idx1", &["username", "did", "scheme"]),
        Index("uri_uid", &["uid"]),
    ],
    ..Table::new("uid_uri", 3, Group::Uid, "uid_uri_db")
};

/// `uid_uri_attrs` (module uid_uri_db).
pub(super) static UID_URI_ATTRS: Table = Table {
    columns: &[
        varchar("username", 64),
        varchar("did", 64),
        varchar("name", 32),
        varchar("value", 128).null(),
        int("type").or("0"),
        uint("flags").or("0"),
        varchar("scheme", 8).or("'sip'"),
    ],
    unique: &[Index(
        "uriattrs_idx",
        &["username", "did", "name", "value", "scheme"],
    )],
    ..Table::new("uid_uri_attrs", 2, Group::Uid, "uid_uri_db")
};

/// `nds_trusted_domains` (module ims_icscf).
pub(super) static NDS_TRUSTED_DOMAINS: Table = Table {
    columns: &[varchar("trusted_domain", 83).empty()],
    ..Table::new("nds_trusted_domains", 1, Group::Extra, "ims_icscf")
};
