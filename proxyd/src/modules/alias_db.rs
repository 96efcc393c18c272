//! `loadmodule "alias_db"`: users by their other names (Kamailio module alias_db).

use super::database::Database;
use crate::proxy::branch::Branch;
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
use crate::script::value::Value;
use shared::db::Error;
use shared::db::Select;
use shared::db::Value as Cell;
use shared::sip::Uri;
use std::sync::Arc;

/// What the module works with.
struct AliasDb {
    db: Arc<Database>,
    /// Columns of the user and of the domain.
    user: [String; 2],
    alias: [String; 2],
    use_domain: bool,
    domain_prefix: Vec<u8>,
    append_branches: bool,
}

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        super::DB_URL,
        Param::Text("user_column", "username", "Column of the user."),
        Param::Text("domain_column", "domain", "Column of the user's domain."),
        Param::Text("alias_user_column", "alias_username", "Column of the alias."),
        Param::Text(
            "alias_domain_column",
            "alias_domain",
            "Column of the alias's domain.",
        ),
        Param::Int("use_domain", 0, "Aliases are told apart by domain too."),
        Param::Text("domain_prefix", "", "Prefix taken off the domain sought."),
        Param::Int("append_branches", 0, "Further users of an alias become branches."),
    ],
    functions: &[
        Function {
            names: &["alias_db_lookup"],
            args: &[Arg::Text("table"), Arg::OptText("flags")],
            routes: Routes::REQUEST
                .or(Routes::FAILURE)
                .or(Routes::EVENT)
                .or(Routes::BRANCH_FAILURE),
            doc: "Replaces the Request-URI by the user it is an alias of; flags d without, u with domain, r the other way.",
            call: alias_db_lookup,
        },
        Function {
            names: &["alias_db_find"],
            args: &[
                Arg::Text("table"),
                Arg::Text("input"),
                Arg::Pv("output"),
                Arg::OptText("flags"),
            ],
            routes: Routes::ANY,
            doc: "Puts the user that a URI is an alias of into a variable.",
            call: alias_db_find,
        },
    ],
    init: Some(init),
    ..ModuleDef::new("alias_db", "Finds users by aliases in a table.")
};

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let db = Database::shared(&super::db_url(init))?;
    db.with(|db| db.ping())?;
    Ok(Arc::new(AliasDb {
        db,
        user: [init.text("user_column"), init.text("domain_column")],
        alias: [init.text("alias_user_column"), init.text("alias_domain_column")],
        use_domain: init.int("use_domain") != 0,
        domain_prefix: init.text("domain_prefix").into_bytes(),
        append_branches: init.int("append_branches") != 0,
    }))
}

impl AliasDb {
    /// The URIs that another one stands for, in the order of the table.
    fn find(&self, call: &Call<'_, '_>, uri: &[u8], flags: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        let Ok(uri) = Uri::parse(uri) else {
            let text = String::from_utf8_lossy(uri);
            crate::log::error("alias_db", format_args!("{}: {text:?} is no URI", call.name));
            return Ok(Vec::new());
        };
        let user = uri.user_unescaped();
        if user.is_empty() {
            return Ok(Vec::new());
        }
        let has = |flag: u8| flags.contains(&flag);
        let use_domain = if has(b'd') {
            false
        } else {
            has(b'u') || self.use_domain
        };
        let (from, to) = if has(b'r') {
            (&self.user, &self.alias)
        } else {
            (&self.alias, &self.user)
        };
        let ([from_user, from_domain], [to_user, to_domain]) = (from, to);
        let table = call.text(0);
        let table = String::from_utf8_lossy(&table);
        let mut select = Select::from(&table)
            .columns(&[to_user, to_domain])
            .eq(from_user, &*user);
        if use_domain {
            let domain = uri
                .host
                .strip_prefix(self.domain_prefix.as_slice())
                .unwrap_or(uri.host);
            select = select.eq(from_domain, domain);
        }
        if !self.append_branches {
            select = select.limit(1);
        }
        let mut found = Vec::new();
        self.db.with(|db| {
            db.each(&select, &mut |row| {
                let cell = |at: usize| row.at(at).map(Cell::to_bytes).unwrap_or_default();
                let (user, domain) = (cell(0), cell(1));
                let mut uri = Vec::with_capacity(user.len() + domain.len() + 5);
                for part in [b"sip:", &*user, b"@", &*domain] {
                    uri.extend_from_slice(part);
                }
                if user.is_empty() || domain.is_empty() || Uri::parse(&uri).is_err() {
                    let uri = String::from_utf8_lossy(&uri);
                    crate::log::error(
                        "alias_db",
                        format_args!("table {table}: {uri:?} is no URI: row ignored"),
                    );
                } else {
                    found.push(uri);
                }
                Ok(())
            })
        })?;
        Ok(found)
    }
}

fn found(call: &Call<'_, '_>, state: &AliasDb, uri: &[u8], flags: usize) -> Vec<Vec<u8>> {
    let flags = call.text(flags);
    state.find(call, uri, &flags).unwrap_or_else(|error| {
        crate::log::error("alias_db", format_args!("{}: {error}", call.name));
        Vec::new()
    })
}

fn alias_db_lookup(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<AliasDb>() else {
        return Code::FALSE;
    };
    let mut uris = found(call, state, call.env.ctx.uri(), 1).into_iter();
    let Some(first) = uris.next() else {
        return Code::FALSE;
    };
    let ctx = &mut *call.env.ctx;
    ctx.set_uri(first);
    for uri in uris {
        if ctx.append_branch(Branch::new(uri)).is_err() {
            crate::log::warning(
                "alias_db",
                format_args!("too many branches: further users are left out"),
            );
            break;
        }
    }
    Code::TRUE
}

fn alias_db_find(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<AliasDb>() else {
        return Code::FALSE;
    };
    let uris = found(call, state, &call.text(1), 3);
    if uris.is_empty() {
        return Code::FALSE;
    }
    let assigned = uris.into_iter().all(|uri| call.assign(2, Value::owned(uri)));
    Code::from(assigned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::testing::Db;
    use crate::script::testing::Bench;

    const ROWS: &str = "INSERT INTO dbaliases (alias_username, alias_domain, username, domain) VALUES \
        ('nick', 'test.lan', 'alice', 'test.lan'), ('nick', 'test.lan', 'bob', 'b.lan'), ('odd', 'x', '', '')";

    fn request(uri: &str) -> String {
        format!(
            "INVITE {uri} SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1\nFrom: <sip:a@b>;tag=f\nTo: <sip:x@y>\n\
                 Call-ID: c\nCSeq: 1 INVITE\nContent-Length: 0\n\n"
        )
    }

    #[test]
    fn aliases_are_replaced() {
        let db = Db::new(&["dbaliases"], &[ROWS]);
        let params: &[(&'static str, &str)] = &[
            ("db_url", &db.url),
            ("append_branches", "1"),
            ("domain_prefix", "sip."),
        ];
        let mut bench = Bench::new(&[(&MODULE, params)]);
        for (uri, flags, code, expected) in [
            (
                "sip:nick@test.lan:5080;transport=udp",
                "",
                1,
                &["sip:alice@test.lan", "sip:bob@b.lan"][..],
            ),
            ("sip:nick@other", "", 1, &["sip:alice@test.lan", "sip:bob@b.lan"]),
            ("sip:nick@other", "u", -1, &["sip:nick@other"]),
            (
                "sip:nick@sip.test.lan",
                "u",
                1,
                &["sip:alice@test.lan", "sip:bob@b.lan"],
            ),
            (
                "sip:nick@other",
                "ud",
                1,
                &["sip:alice@test.lan", "sip:bob@b.lan"],
            ),
            ("sip:alice@test.lan", "ru", 1, &["sip:nick@test.lan"]),
            ("sip:none@test.lan", "", -1, &["sip:none@test.lan"]),
            ("sip:odd@x", "", -1, &["sip:odd@x"]),
            ("sip:test.lan", "", -1, &["sip:test.lan"]),
        ] {
            bench.receive(&request(uri));
            assert_eq!(
                bench.call("alias_db_lookup", &["dbaliases", flags]),
                code,
                "{uri} {flags}"
            );
            let mut uris = vec![String::from_utf8_lossy(bench.ctx.uri()).into_owned()];
            uris.extend(
                bench
                    .ctx
                    .branches
                    .iter()
                    .map(|branch| String::from_utf8_lossy(&branch.uri).into_owned()),
            );
            assert_eq!(uris, expected, "{uri} {flags}");
        }
        assert_eq!(bench.call("alias_db_lookup", &["nosuch"]), -1);
    }
}
