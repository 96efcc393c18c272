//! `loadmodule "group"`: groups that users are in (Kamailio module group).

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
use crate::script::value::Value;
use shared::db::Select;
use shared::db::schema;
use shared::regex::Options;
use shared::regex::Regex;
use shared::sip::Uri;
use std::borrow::Cow;
use std::sync::Arc;

const NOT_IN: Code = Code(-6);

/// What the module works with.
struct Group {
    db: Arc<Database>,
    table: String,
    user: String,
    domain: String,
    group: String,
    use_domain: bool,
    /// Expressions of the table `re_table` with their groups, in the order of the table.
    expressions: Vec<(Regex, i64)>,
    multiple: bool,
}

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        super::DB_URL,
        Param::Text("table", "grp", "Table of users and their groups."),
        Param::Text("user_column", "username", "Its column of the user."),
        Param::Text("domain_column", "domain", "Its column of the domain."),
        Param::Text("group_column", "grp", "Its column of the group."),
        Param::Int("use_domain", 0, "Users are told apart by domain too."),
        Param::Text(
            "re_table",
            "",
            "Table of expressions for URIs; not given, get_user_group() finds nothing.",
        ),
        Param::Text("re_exp_column", "reg_exp", "Its column of the expression."),
        Param::Text("re_gid_column", "group_id", "Its column of the group's number."),
        Param::Int(
            "multiple_gid",
            1,
            "get_user_group() gives every group, not only the first.",
        ),
    ],
    functions: &[
        Function {
            names: &["is_user_in"],
            args: &[Arg::Text("uri"), Arg::Text("group")],
            routes: Routes::REQUESTS.or(Routes::FAILURE),
            doc: "True when the user of Request-URI, To, From, Credentials or a URI is in the group.",
            call: is_user_in,
        },
        Function {
            names: &["get_user_group"],
            args: &[Arg::Text("uri"), Arg::Pv("avp")],
            routes: Routes::REQUESTS.or(Routes::FAILURE),
            doc: "Puts the groups whose expressions fit the URI into an AVP; their number.",
            call: get_user_group,
        },
    ],
    init: Some(init),
    ..ModuleDef::new("group", "Tells which groups users are in.")
};

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let db = Database::shared(&super::db_url(init))?;
    let check = |table: &str, name: &str| {
        schema::table(name).map_or(Ok(()), |layout| db.check_version(table, layout))
    };
    let table = init.text("table");
    check(&table, "grp")?;
    let mut expressions = Vec::new();
    let re_table = init.text("re_table");
    if !re_table.is_empty() {
        check(&re_table, "re_grp")?;
        let columns = [init.text("re_exp_column"), init.text("re_gid_column")];
        let select = Select::from(&re_table).columns(&columns.each_ref().map(String::as_str));
        db.with(|db| {
            db.each(&select, &mut |row| {
                let text = row.at(0).map(shared::db::Value::to_bytes).unwrap_or_default();
                let group = row.at(1).and_then(shared::db::Value::as_int).unwrap_or(0);
                match Regex::compile(&text, Options::CONDITION) {
                    Ok(regex) => expressions.push((regex, group)),
                    Err(error) => {
                        crate::log::error("group", format_args!("table {re_table}: {error}: row ignored"))
                    }
                }
                Ok(())
            })
        })?;
    }
    Ok(Arc::new(Group {
        db: Arc::clone(&db),
        table,
        user: init.text("user_column"),
        domain: init.text("domain_column"),
        group: init.text("group_column"),
        use_domain: init.int("use_domain") != 0,
        expressions,
        multiple: init.int("multiple_gid") != 0,
    }))
}

/// The URI that the first argument means.
fn subject<'c>(call: &'c Call<'_, '_>) -> Option<Cow<'c, [u8]>> {
    let text = call.text(0);
    let ctx = &*call.env.ctx;
    let is = |name: &str| text.eq_ignore_ascii_case(name.as_bytes());
    let uri = if is("Request-URI") {
        Some(ctx.uri())
    } else if is("To") {
        ctx.msg.to().map(|to| to.uri)
    } else if is("From") {
        ctx.msg.from().map(|from| from.uri)
    } else if is("Credentials") {
        let Some(credentials) = ctx.accepted_credentials() else {
            crate::log::error(
                "group",
                format_args!("no authorized credentials found (error in script)"),
            );
            return None;
        };
        let (username, realm) = (credentials.username_text(), credentials.realm_text());
        let (user, domain) = auth::split_user(&username);
        return Some(Cow::Owned(
            [b"sip:", user, b"@", domain.unwrap_or(&realm)].concat(),
        ));
    } else {
        return Some(text);
    };
    uri.map(Cow::Borrowed)
}

fn unreadable(call: &Call<'_, '_>) -> Code {
    crate::log::error(
        "group",
        format_args!("{}: failed to get username@domain", call.name),
    );
    Code::FALSE
}

fn is_user_in(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Group>() else {
        return Code::FALSE;
    };
    let Some(subject) = subject(call) else {
        return unreadable(call);
    };
    let Ok(uri) = Uri::parse(&subject) else {
        return unreadable(call);
    };
    let user = uri.user_unescaped();
    if user.is_empty() {
        return Code::FALSE;
    }
    let group = call.text(1);
    let mut select = Select::from(&state.table)
        .eq(&state.user, &*user)
        .eq(&state.group, &*group);
    if state.use_domain {
        select = select.eq(&state.domain, uri.host);
    }
    match state.db.with(|db| db.count(&select)) {
        Ok(0) => NOT_IN,
        Ok(_) => Code::TRUE,
        Err(error) => {
            crate::log::error("group", format_args!("{}: {error}", call.name));
            Code::FALSE
        }
    }
}

fn get_user_group(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Group>() else {
        return Code::FALSE;
    };
    let Some(subject) = subject(call) else {
        return unreadable(call);
    };
    let Ok(uri) = Uri::parse(&subject) else {
        return unreadable(call);
    };
    let mut plain = b"sip:".to_vec();
    plain.extend_from_slice(uri.user.unwrap_or_default());
    plain.push(b'@');
    plain.extend_from_slice(uri.host);
    let fitting = state
        .expressions
        .iter()
        .filter(|(regex, _)| regex.is_match(&plain))
        .map(|(_, group)| *group);
    let groups: Vec<i64> = fitting
        .take(if state.multiple { usize::MAX } else { 1 })
        .collect();
    if groups.is_empty() {
        return Code::FALSE;
    }
    // The newest value of an AVP is read first: the first row's group goes in last.
    let assigned = groups
        .iter()
        .rev()
        .all(|group| call.assign(1, Value::Int(*group)));
    if assigned {
        Code(i32::try_from(groups.len()).unwrap_or(i32::MAX))
    } else {
        Code::FALSE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::testing::Db;
    use crate::modules::testing::authorized_request;
    use crate::script::testing::Bench;

    #[test]
    fn members_are_found() {
        let rows = "INSERT INTO grp (username, domain, grp) VALUES ('alice', 'a.lan', 'ld')";
        let bad = "INSERT INTO re_grp (reg_exp, group_id) VALUES ('([', 1), ('^sip:AL', 5)";
        let db = Db::new(&["grp", "re_grp"], &[rows, bad]);
        for (use_domain, uri, group, expected) in [
            ("0", "From", "ld", 1),
            ("0", "Request-URI", "ld", -6),
            ("0", "Credentials", "ld", 1),
            ("0", "sip:alice@zz", "ld", 1),
            ("1", "sip:alice@zz", "ld", -6),
            ("1", "sip:alice@A.LAN", "ld", -6),
            ("1", "sip:alice@a.lan", "ld", 1),
            ("0", "From", "no", -6),
            ("0", "nonsense", "ld", -1),
            ("0", "sip:host", "ld", -1),
        ] {
            let params: &[(&'static str, &str)] = &[
                ("db_url", &db.url),
                ("use_domain", use_domain),
                ("re_table", "re_grp"),
            ];
            let mut bench = Bench::new(&[(&auth::MODULE, &[]), (&MODULE, params)]);
            authorized_request(&mut bench, "sip:bob@b.lan");
            assert_eq!(
                bench.call("is_user_in", &[uri, group]),
                expected,
                "{use_domain} {uri} {group}"
            );
        }
    }
}
