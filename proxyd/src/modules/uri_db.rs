//! `loadmodule "uri_db"`: users against credentials and tables (Kamailio module uri_db).

use super::auth;
use super::database::Database;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Routes;
use crate::script::module::State;
use shared::db::Select;
use shared::db::schema;
use shared::sip::Uri;
use std::sync::Arc;

const INTERNAL: Code = Code(-1);
const NO_CREDENTIALS: Code = Code(-2);
const DATABASE: Code = Code(-3);
const NOT_FOUND: Code = Code(-5);
const NO_USER: Code = Code(-4);
const NOT_IN_TABLE: Code = Code(-9);
const SPOOFED: Code = Code(-10);

/// What the module works with.
struct UriDb {
    db: Arc<Database>,
    table: String,
    user: String,
    domain: String,
    uri_user: String,
    use_uri_table: bool,
    use_domain: bool,
}

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        super::DB_URL,
        Param::Text("db_table", "subscriber", "The table: subscriber or uri."),
        Param::Text("user_column", "username", "Its column of the user."),
        Param::Text("domain_column", "domain", "Its column of the domain."),
        Param::Text(
            "uriuser_column",
            "uri_user",
            "Column of the user part that a user may use.",
        ),
        Param::Int(
            "use_uri_table",
            0,
            "Ask the table uri which user parts a user may use.",
        ),
        Param::Int(
            "use_domain",
            0,
            "does_uri_exist() tells users apart by domain too.",
        ),
    ],
    functions: &[
        Function {
            names: &["check_to"],
            args: &[],
            routes: Routes::REQUESTS,
            doc: "True when the user of To is that of the accepted credentials, or the table allows it.",
            call: check_to,
        },
        Function {
            names: &["check_from"],
            args: &[],
            routes: Routes::REQUESTS,
            doc: "The same for From.",
            call: check_from,
        },
        Function {
            names: &["check_uri"],
            args: &[Arg::Text("uri")],
            routes: Routes::REQUESTS,
            doc: "The same for a URI.",
            call: check_uri,
        },
        Function {
            names: &["check_uri"],
            args: &[Arg::Text("uri"), Arg::Text("username"), Arg::Text("realm")],
            routes: Routes::REQUESTS,
            doc: "The same for a URI and a user that need no credentials.",
            call: check_uri_of,
        },
        Function {
            names: &["does_uri_exist"],
            args: &[],
            routes: Routes::REQUESTS.or(Routes::FAILURE),
            doc: "True when the user of the Request-URI is in the table.",
            call: does_uri_exist,
        },
    ],
    init: Some(init),
    ..ModuleDef::new("uri_db", "Checks users of URIs against credentials and tables.")
};

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let db = Database::shared(&super::db_url(init))?;
    let use_uri_table = init.int("use_uri_table") != 0;
    let table = init.text("db_table");
    if let Some(layout) = schema::table(if use_uri_table { "uri" } else { "subscriber" }) {
        db.check_version(&table, layout)?;
    }
    Ok(Arc::new(UriDb {
        db,
        table,
        user: init.text("user_column"),
        domain: init.text("domain_column"),
        uri_user: init.text("uriuser_column"),
        use_uri_table,
        use_domain: init.int("use_domain") != 0,
    }))
}

impl UriDb {
    fn exists(&self, call: &Call<'_, '_>, select: &Select<'_>, none: Code) -> Code {
        match self.db.with(|db| db.count(select)) {
            Ok(0) => none,
            Ok(_) => Code::TRUE,
            Err(error) => {
                crate::log::error("uri_db", format_args!("{}: {error}", call.name));
                DATABASE
            }
        }
    }

    /// Whether the user of the accepted credentials may use a URI.
    fn check(&self, call: &Call<'_, '_>, uri: Option<&[u8]>) -> Code {
        let Some(credentials) = call.env.ctx.accepted_credentials() else {
            crate::log::error(
                "uri_db",
                format_args!("No authorized credentials found (error in scripts)"),
            );
            crate::log::error(
                "uri_db",
                format_args!("Call {{www,proxy}}_authorize before calling check_* functions!"),
            );
            return NO_CREDENTIALS;
        };
        let (username, realm) = (credentials.username_text(), credentials.realm_text());
        let (own, domain) = auth::split_user(&username);
        self.check_user(call, uri, own, domain.unwrap_or(&realm))
    }

    /// Whether a user of a domain may use a URI.
    fn check_user(&self, call: &Call<'_, '_>, uri: Option<&[u8]>, own: &[u8], domain: &[u8]) -> Code {
        let Some(uri) = uri.and_then(|uri| Uri::parse(uri).ok()) else {
            crate::log::error("uri_db", format_args!("{}: the URI cannot be read", call.name));
            return INTERNAL;
        };
        let user = uri.user_unescaped();
        if user.is_empty() {
            return NO_USER;
        }
        if self.use_uri_table {
            let select = Select::from(&self.table)
                .eq(&self.user, own)
                .eq(&self.domain, domain)
                .eq(&self.uri_user, &*user);
            return self.exists(call, &select, NOT_IN_TABLE);
        }
        // Kamailio: without regard to case.
        if own.eq_ignore_ascii_case(&user) {
            Code::TRUE
        } else {
            SPOOFED
        }
    }
}

fn check_to(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<UriDb>() else {
        return INTERNAL;
    };
    state.check(call, call.env.ctx.msg.to().map(|to| to.uri))
}

fn check_from(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<UriDb>() else {
        return INTERNAL;
    };
    state.check(call, call.env.ctx.msg.from().map(|from| from.uri))
}

fn check_uri(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<UriDb>() else {
        return INTERNAL;
    };
    state.check(call, Some(&call.text(0)))
}

fn check_uri_of(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<UriDb>() else {
        return INTERNAL;
    };
    state.check_user(call, Some(&call.text(0)), &call.text(1), &call.text(2))
}

fn does_uri_exist(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<UriDb>() else {
        return INTERNAL;
    };
    let Ok(uri) = Uri::parse(call.env.ctx.uri()) else {
        crate::log::error(
            "uri_db",
            format_args!("{}: the Request-URI cannot be read", call.name),
        );
        return INTERNAL;
    };
    let user = uri.user_unescaped();
    let column = if state.use_uri_table {
        &state.uri_user
    } else {
        &state.user
    };
    let mut select = Select::from(&state.table).eq(column, &*user);
    if state.use_domain {
        select = select.eq(&state.domain, uri.host);
    }
    state.exists(call, &select, NOT_FOUND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::testing::Db;
    use crate::modules::testing::authorized_request;
    use crate::script::testing::Bench;

    #[test]
    fn users_are_compared() {
        let rows = "INSERT INTO uri (username, domain, uri_user) VALUES ('alice', 'r', 'sales')";
        let user = "INSERT INTO subscriber (username, domain) VALUES ('bob', 'b.lan')";
        let db = Db::new(&["subscriber", "uri"], &[rows, user]);
        let plain: &[(&'static str, &str)] = &[("db_url", &db.url), ("use_domain", "1")];
        let table: &[(&'static str, &str)] =
            &[("db_url", &db.url), ("use_uri_table", "1"), ("db_table", "uri")];
        for (params, name, args, expected) in [
            (plain, "check_from", &[][..], 1),
            (plain, "check_to", &[], -10),
            (plain, "check_uri", &["sip:alice@any"], 1),
            (plain, "check_uri", &["sip:sales@any"], -10),
            (plain, "check_uri", &["nonsense"], -1),
            (plain, "does_uri_exist", &[], 1),
            (table, "check_uri", &["sip:sales@any"], 1),
            (table, "check_uri", &["sip:alice@any"], -9),
            (table, "check_uri", &["sip:sales@any", "alice", "r"], 1),
            (plain, "check_uri", &["sip:BOB@any", "bob", "r"], 1),
            (plain, "check_uri", &["sip:any"], -4),
            (table, "does_uri_exist", &[], -5),
        ] {
            let mut bench = Bench::new(&[(&auth::MODULE, &[]), (&MODULE, params)]);
            authorized_request(&mut bench, "sip:bob@b.lan");
            assert_eq!(bench.call(name, args), expected, "{name} {args:?}");
        }
        let mut bench = Bench::new(&[(&auth::MODULE, &[]), (&MODULE, plain)]);
        bench.receive("OPTIONS sip:x@y SIP/2.0\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\nFrom: <sip:alice@a>;tag=f\nTo: <sip:x@y>\nCall-ID: c\nCSeq: 1 OPTIONS\n\n");
        assert_eq!(bench.call("check_from", &[]), -2);
        assert_eq!(bench.call("does_uri_exist", &[]), -5);
    }
}
