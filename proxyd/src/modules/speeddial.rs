//! `loadmodule "speeddial"`: short numbers of a user (Kamailio module speeddial).

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
use shared::db::Value as Cell;
use shared::sip::Uri;
use std::sync::Arc;

/// What the module works with.
struct Speeddial {
    db: Arc<Database>,
    user: String,
    domain: String,
    short_user: String,
    short_domain: String,
    new_uri: String,
    domain_prefix: Vec<u8>,
    use_domain: i64,
}

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        super::DB_URL,
        Param::Text("user_column", "username", "Column of the owner."),
        Param::Text("domain_column", "domain", "Column of the owner's domain."),
        Param::Text("sd_user_column", "sd_username", "Column of the short number."),
        Param::Text(
            "sd_domain_column",
            "sd_domain",
            "Column of the short number's domain.",
        ),
        Param::Text("new_uri_column", "new_uri", "Column of the address."),
        Param::Text("domain_prefix", "", "Prefix taken off the owner's domain."),
        Param::Int(
            "use_domain",
            0,
            "1: the owner's domain counts; 2: that of the Request-URI too.",
        ),
    ],
    functions: &[Function {
        names: &["sd_lookup"],
        args: &[Arg::Text("table"), Arg::OptText("owner")],
        routes: Routes::REQUEST
            .or(Routes::EVENT)
            .or(Routes::FAILURE)
            .or(Routes::BRANCH_FAILURE),
        doc: "Replaces the Request-URI by the address of a short number of the sender, or of the owner given.",
        call: sd_lookup,
    }],
    init: Some(init),
    ..ModuleDef::new("speeddial", "Dials addresses by short numbers in a table.")
};

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let db = Database::shared(&super::db_url(init))?;
    db.with(|db| db.ping())?;
    Ok(Arc::new(Speeddial {
        db,
        user: init.text("user_column"),
        domain: init.text("domain_column"),
        short_user: init.text("sd_user_column"),
        short_domain: init.text("sd_domain_column"),
        new_uri: init.text("new_uri_column"),
        domain_prefix: init.text("domain_prefix").into_bytes(),
        use_domain: init.int("use_domain"),
    }))
}

impl Speeddial {
    fn find(&self, call: &Call<'_, '_>) -> Option<Vec<u8>> {
        let complain = |what: &dyn std::fmt::Display| {
            crate::log::error("speeddial", format_args!("{}: {what}", call.name));
        };
        let ctx = &*call.env.ctx;
        let Ok(short) = Uri::parse(ctx.uri()) else {
            complain(&"the Request-URI cannot be read");
            return None;
        };
        let given = call.has(1).then(|| call.text(1));
        let owner = given.as_deref().or_else(|| ctx.msg.from().map(|from| from.uri));
        let Some(owner) = owner.and_then(|uri| Uri::parse(uri).ok()) else {
            complain(&"the URI of the owner cannot be read");
            return None;
        };
        let (number, user) = (short.user_unescaped(), owner.user_unescaped());
        if number.is_empty() || user.is_empty() {
            return None;
        }
        let table = call.text(0);
        let table = String::from_utf8_lossy(&table);
        let mut select = Select::from(&table)
            .columns(&[&self.new_uri])
            .eq(&self.user, &*user)
            .eq(&self.short_user, &*number);
        if self.use_domain >= 1 {
            let host = owner
                .host
                .strip_prefix(self.domain_prefix.as_slice())
                .unwrap_or(owner.host);
            select = select.eq(&self.domain, host);
        }
        if self.use_domain >= 2 {
            select = select.eq(&self.short_domain, short.host);
        }
        let rows = match self.db.with(|db| db.query(&select.limit(1))) {
            Ok(rows) => rows,
            Err(error) => {
                complain(&error);
                return None;
            }
        };
        let found = rows.first()?.at(0).map(Cell::to_bytes).unwrap_or_default();
        let mut uri = Vec::with_capacity(found.len() + 4);
        // Kamailio: an address without scheme is taken for a SIP URI.
        if !found
            .get(..4)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"sip:"))
            && !found
                .get(..5)
                .is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"sips:"))
        {
            uri.extend_from_slice(b"sip:");
        }
        uri.extend_from_slice(found.trim_ascii());
        if Uri::parse(&uri).is_err() {
            complain(&format_args!("{:?} is no URI", String::from_utf8_lossy(&uri)));
            return None;
        }
        Some(uri)
    }
}

fn sd_lookup(call: &mut Call<'_, '_>) -> Code {
    let Some(uri) = call.state::<Speeddial>().and_then(|state| state.find(call)) else {
        return Code::FALSE;
    };
    call.env.ctx.set_uri(uri);
    Code::TRUE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::testing::Db;
    use crate::script::testing::Bench;

    const ROWS: &str = "INSERT INTO speed_dial (username, domain, sd_username, sd_domain, new_uri) VALUES \
        ('alice', 'a.lan', '22', 'a.lan', 'sip:target@far.lan:5090;x=y'), ('bob', 'b.lan', '22', 'a.lan', 'bobs@far'), \
        ('alice', 'a.lan', '24', 'a.lan', 'sip:')";

    #[test]
    fn short_numbers_are_replaced() {
        let db = Db::new(&["speed_dial"], &[ROWS]);
        for (use_domain, uri, owner, expected) in [
            ("0", "sip:22@x", None, Some("sip:target@far.lan:5090;x=y")),
            ("0", "sip:22@x", Some("sip:bob@any"), Some("sip:bobs@far")),
            ("1", "sip:22@x", Some("sip:bob@any"), None),
            ("1", "sip:22@x", Some("sip:bob@b.lan"), Some("sip:bobs@far")),
            ("2", "sip:22@x", None, None),
            ("2", "sip:22@a.lan", None, Some("sip:target@far.lan:5090;x=y")),
            ("0", "sip:23@x", None, None),
            ("0", "sip:24@x", None, None),
            ("0", "sip:x", None, None),
            ("0", "sip:22@x", Some("nonsense"), None),
        ] {
            let params: &[(&'static str, &str)] = &[("db_url", &db.url), ("use_domain", use_domain)];
            let mut bench = Bench::new(&[(&MODULE, params)]);
            bench.receive(&format!(
                "INVITE {uri} SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1\nFrom: <sip:alice@a.lan>;tag=f\n\
                 To: <sip:x@y>\nCall-ID: c\nCSeq: 1 INVITE\nContent-Length: 0\n\n"
            ));
            let code = bench.call(
                "sd_lookup",
                &["speed_dial"].into_iter().chain(owner).collect::<Vec<_>>(),
            );
            assert_eq!(code, if expected.is_some() { 1 } else { -1 }, "{uri} {owner:?}");
            assert_eq!(String::from_utf8_lossy(bench.ctx.uri()), expected.unwrap_or(uri));
        }
    }
}
