//! Schema of presence documents and subscriptions (modules presence, pua, rls, xcap, purple).

use super::Group;
use super::Index;
use super::Table;
use super::column::blob;
use super::column::int;
use super::column::medium_blob;
use super::column::text;
use super::column::varchar;

/// `presentity` (module presence).
pub(super) static PRESENTITY: Table = Table {
    columns: &[
        varchar("username", 64),
        varchar("domain", 64),
        varchar("event", 64),
        varchar("etag", 128),
        int("expires"),
        int("received_time"),
        blob("body"),
        varchar("sender", 255),
        int("priority").or("0"),
        varchar("ruid", 64).null(),
    ],
    unique: &[
        Index("presentity_idx", &["username", "domain", "event", "etag"]),
        Index("ruid_idx", &["ruid"]),
    ],
    indexes: &[
        Index("presentity_expires", &["expires"]),
        Index("account_idx", &["username", "domain", "event"]),
    ],
    ..Table::new("presentity", 5, Group::Presence, "presence")
};

/// `active_watchers` (module presence).
pub(super) static ACTIVE_WATCHERS: Table = Table {
    columns: &[
        varchar("presentity_uri", 255),
        varchar("watcher_username", 64),
        varchar("watcher_domain", 64),
        varchar("to_user", 64),
        varchar("to_domain", 64),
        varchar("event", 64).or("'presence'"),
        varchar("event_id", 64).null(),
        varchar("to_tag", 128),
        varchar("from_tag", 128),
        varchar("callid", 255),
        int("local_cseq"),
        int("remote_cseq"),
        varchar("contact", 255),
        text("record_route").null(),
        int("expires"),
        int("status").or("2"),
        varchar("reason", 64).null(),
        int("version").or("0"),
        varchar("socket_info", 64),
        varchar("local_contact", 255),
        varchar("from_user", 64),
        varchar("from_domain", 64),
        int("updated"),
        int("updated_winfo"),
        int("flags").or("0"),
        varchar("user_agent", 255).null().empty(),
    ],
    unique: &[Index("active_watchers_idx", &["callid", "to_tag", "from_tag"])],
    indexes: &[
        Index("active_watchers_expires", &["expires"]),
        Index("active_watchers_pres", &["presentity_uri", "event"]),
        Index("updated_idx", &["updated"]),
        Index("updated_winfo_idx", &["updated_winfo", "presentity_uri"]),
    ],
    ..Table::new("active_watchers", 12, Group::Presence, "presence")
};

/// `watchers` (module presence).
pub(super) static WATCHERS: Table = Table {
    columns: &[
        varchar("presentity_uri", 255),
        varchar("watcher_username", 64),
        varchar("watcher_domain", 64),
        varchar("event", 64).or("'presence'"),
        int("status"),
        varchar("reason", 64).null(),
        int("inserted_time"),
    ],
    unique: &[Index(
        "watcher_idx",
        &["presentity_uri", "watcher_username", "watcher_domain", "event"],
    )],
    ..Table::new("watchers", 3, Group::Presence, "presence")
};

/// `xcap` (module presence).
pub(super) static XCAP: Table = Table {
    columns: &[
        varchar("username", 64),
        varchar("domain", 64),
        medium_blob("doc"),
        int("doc_type"),
        varchar("etag", 128),
        int("source"),
        varchar("doc_uri", 255),
        int("port"),
    ],
    unique: &[Index("doc_uri_idx", &["doc_uri"])],
    indexes: &[
        Index("account_doc_type_idx", &["username", "domain", "doc_type"]),
        Index(
            "account_doc_type_uri_idx",
            &["username", "domain", "doc_type", "doc_uri"],
        ),
        Index("account_doc_uri_idx", &["username", "domain", "doc_uri"]),
    ],
    ..Table::new("xcap", 4, Group::Presence, "presence")
};

/// `pua` (module presence).
pub(super) static PUA: Table = Table {
    columns: &[
        varchar("pres_uri", 255),
        varchar("pres_id", 255),
        int("event"),
        int("expires"),
        int("desired_expires"),
        int("flag"),
        varchar("etag", 128),
        varchar("tuple_id", 64).null(),
        varchar("watcher_uri", 255),
        varchar("call_id", 255),
        varchar("to_tag", 128),
        varchar("from_tag", 128),
        int("cseq"),
        text("record_route").null(),
        varchar("contact", 255),
        varchar("remote_contact", 255),
        int("version"),
        text("extra_headers"),
    ],
    unique: &[Index("pua_idx", &["etag", "tuple_id", "call_id", "from_tag"])],
    indexes: &[
        Index("expires_idx", &["expires"]),
        Index("dialog1_idx", &["pres_id", "pres_uri"]),
        Index("dialog2_idx", &["call_id", "from_tag"]),
        Index("record_idx", &["pres_id"]),
    ],
    ..Table::new("pua", 7, Group::Presence, "presence")
};

/// `rls_presentity` (module rls).
pub(super) static RLS_PRESENTITY: Table = Table {
    columns: &[
        varchar("rlsubs_did", 255),
        varchar("resource_uri", 255),
        varchar("content_type", 255),
        blob("presence_state"),
        int("expires"),
        int("updated"),
        int("auth_state"),
        varchar("reason", 64),
    ],
    unique: &[Index("rls_presentity_idx", &["rlsubs_did", "resource_uri"])],
    indexes: &[
        Index("rlsubs_idx", &["rlsubs_did"]),
        Index("updated_idx", &["updated"]),
        Index("expires_idx", &["expires"]),
    ],
    ..Table::new("rls_presentity", 1, Group::Presence, "rls")
};

/// `rls_watchers` (module rls).
pub(super) static RLS_WATCHERS: Table = Table {
    columns: &[
        varchar("presentity_uri", 255),
        varchar("to_user", 64),
        varchar("to_domain", 64),
        varchar("watcher_username", 64),
        varchar("watcher_domain", 64),
        varchar("event", 64).or("'presence'"),
        varchar("event_id", 64).null(),
        varchar("to_tag", 128),
        varchar("from_tag", 128),
        varchar("callid", 255),
        int("local_cseq"),
        int("remote_cseq"),
        varchar("contact", 255),
        text("record_route").null(),
        int("expires"),
        int("status").or("2"),
        varchar("reason", 64),
        int("version").or("0"),
        varchar("socket_info", 64),
        varchar("local_contact", 255),
        varchar("from_user", 64),
        varchar("from_domain", 64),
        int("updated"),
    ],
    unique: &[Index("rls_watcher_idx", &["callid", "to_tag", "from_tag"])],
    indexes: &[
        Index(
            "rls_watchers_update",
            &["watcher_username", "watcher_domain", "event"],
        ),
        Index("rls_watchers_expires", &["expires"]),
        Index("updated_idx", &["updated"]),
    ],
    ..Table::new("rls_watchers", 3, Group::Presence, "rls")
};

/// `purplemap` (module purple).
pub(super) static PURPLEMAP: Table = Table {
    columns: &[
        varchar("sip_user", 255),
        varchar("ext_user", 255),
        varchar("ext_prot", 16),
        varchar("ext_pass", 64).null(),
    ],
    ..Table::new("purplemap", 1, Group::Extra, "purple")
};
