//! `loadmodule "db_sqlite"` and its kin: the engines are built in, the modules only accept what scripts set for them.

use crate::script::module::ModuleDef;
use crate::script::module::Param;

const POOLED: &str = "connections are pooled and checked when they are taken";

/// SQLite.
pub(crate) static SQLITE: ModuleDef = ModuleDef {
    params: &[
        Param::Ignored(
            "db_set_readonly",
            "a database is opened for writing only where something is written",
        ),
        Param::Ignored(
            "db_set_journal_mode",
            "WAL is always used: readers and the writer do not wait for each other",
        ),
    ],
    ..ModuleDef::new("db_sqlite", "SQLite databases, sqlite:///path.")
};

/// MySQL and MariaDB.
pub(crate) static MYSQL: ModuleDef = ModuleDef {
    params: &[
        Param::Ignored("ping_interval", POOLED),
        Param::Ignored("timeout_interval", "queries end after five seconds"),
        Param::Ignored("auto_reconnect", POOLED),
        Param::Ignored("insert_delayed", "MariaDB ignores it too"),
        Param::Ignored("update_affected_found", "the affected rows are those found"),
        Param::Ignored("unsigned_type", "unsigned columns are read as integers"),
        Param::Ignored(
            "opt_ssl_mode",
            "TLS is used when the server offers it; ask for it with ?ssl-mode= in the URL",
        ),
        Param::Ignored("opt_ssl_ca", "TLS options stand in the URL"),
        Param::Ignored("opt_ssl_cert", "TLS options stand in the URL"),
        Param::Ignored("opt_ssl_key", "TLS options stand in the URL"),
    ],
    ..ModuleDef::new(
        "db_mysql",
        "MySQL and MariaDB databases, mysql://user:password@host/name.",
    )
};

/// PostgreSQL.
pub(crate) static POSTGRES: ModuleDef = ModuleDef {
    params: &[
        Param::Ignored("retries", POOLED),
        Param::Ignored("timeout", "queries end after five seconds"),
        Param::Ignored("tcp_keepalive", POOLED),
        Param::Ignored("lockset", "rows are locked by the server"),
        Param::Ignored("bytea_output_escape", "binary columns travel in binary form"),
    ],
    ..ModuleDef::new(
        "db_postgres",
        "PostgreSQL databases, postgres://user:password@host/name.",
    )
};

/// Text files.
pub(crate) static TEXT: ModuleDef = ModuleDef {
    params: &[
        Param::Ignored("db_mode", "files are read when they changed"),
        Param::Ignored("emptystring", "an empty field is an empty string"),
        Param::Ignored("file_buffer_size", "lines may be of any length"),
        Param::Ignored("max_result_rows", "all rows are returned"),
        Param::Ignored("default_connection", "connections are named by URL"),
    ],
    ..ModuleDef::new("db_text", "Tables in text files, text:///folder.")
};
