//! `loadmodule "auth_db"`: passwords of the table `subscriber` (Kamailio module auth_db, RFC 7616).

mod accounts;
mod ahead;
#[cfg(test)]
mod tests;

use super::auth;
use super::auth::Auth;
use super::auth::Identity;
use super::auth::Proven;
use super::auth::Refusal;
use super::auth::Role;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Routes;
use crate::script::module::State;
use accounts::Account;
use accounts::Accounts;
use accounts::Wanted;
use shared::digest::Algorithm;
use shared::sip::Uri;
use std::sync::Arc;

const CHECKING: Routes = Routes::REQUESTS.or(Routes::FAILURE);

/// What the module works with.
pub(crate) struct AuthDb {
    accounts: Accounts,
    use_domain: bool,
    force_generate_avps: bool,
    /// AVPs that `load_credentials` fills, in the order of their columns.
    avps: Vec<Box<[u8]>>,
}

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    needs: &["auth"],
    params: &[
        super::DB_URL,
        Param::Text("user_column", "username", "Column of the user name."),
        Param::Text("domain_column", "domain", "Column of the domain."),
        Param::Text(
            "password_column",
            "ha1",
            "Column of the HA1, or of the plaintext with calculate_ha1; empty there, HA1 columns serve.",
        ),
        Param::Text("password_column_2", "ha1b", "Column of the HA1 of user@domain."),
        Param::Int("calculate_ha1", 0, "password_column holds plaintext."),
        Param::Int("use_domain", 0, "Users are told apart by domain too."),
        Param::List(
            "load_credentials",
            "Columns put into AVPs: $avp(x)=column;column.",
        ),
        Param::Int("version_table", 1, "Check the version of the table."),
        Param::Int(
            "force_generate_avps",
            0,
            "Fill the AVPs when the password is wrong too.",
        ),
        Param::Int(
            "cache_credentials",
            0,
            "Seconds that rows are kept where changes cannot be noticed (not SQLite), but for a wrong password; 0: never.",
        ),
    ],
    functions: &[
        Function {
            names: &["www_authenticate", "www_authorize"],
            args: &[Arg::Text("realm"), Arg::Text("table"), Arg::OptText("method")],
            routes: CHECKING,
            doc: "True when Authorization fits the table; -1 error, -2 password, -3 user, -4 stale, -5 none, -6 reused.",
            call: www_authenticate,
        },
        Function {
            names: &["proxy_authenticate", "proxy_authorize"],
            args: &[Arg::Text("realm"), Arg::Text("table")],
            routes: CHECKING,
            doc: "The same for Proxy-Authorization.",
            call: proxy_authenticate,
        },
        Function {
            names: &["auth_check"],
            args: &[Arg::Text("realm"), Arg::Text("table"), Arg::Int("flags")],
            routes: CHECKING,
            doc: "The first for REGISTER, the second for the rest; flags 1: the user must be that of From and To, else -8.",
            call: auth_check,
        },
        Function {
            names: &["is_subscriber"],
            args: &[Arg::Text("uri"), Arg::Text("table"), Arg::Int("flags")],
            routes: Routes::ANY,
            doc: "True when the URI's user is in the table; flags 1 by domain too, 2 fill no AVPs.",
            call: is_subscriber,
        },
    ],
    init: Some(init),
    ..ModuleDef::new("auth_db", "Checks digest credentials against a database.")
};

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let mut columns = Vec::new();
    let mut avps = Vec::new();
    for part in init
        .list("load_credentials")
        .iter()
        .flat_map(|text| text.split(';'))
        .map(str::trim)
    {
        if part.is_empty() {
            continue;
        }
        let (avp, column) = part.split_once('=').unwrap_or((part, part));
        avps.push(super::avp_name(avp).ok_or_else(|| InitError::Param {
            name: "load_credentials",
            why: format!("{avp:?} is no AVP"),
        })?);
        columns.push(column.trim().to_owned());
    }
    let accounts = Accounts::new(init, columns)?;
    Ok(Arc::new(AuthDb {
        accounts,
        use_domain: init.int("use_domain") != 0,
        force_generate_avps: init.int("force_generate_avps") != 0,
        avps,
    }))
}

impl AuthDb {
    fn load(&self, env: &mut Env<'_>, account: &Account) {
        for (avp, value) in self.avps.iter().zip(&account.loaded) {
            if !value.is_null() {
                env.lists.push_avp(avp, value.clone());
            }
        }
    }
}

/// What checking found, free of the message.
enum Found {
    /// The method needs no credentials.
    Unneeded,
    /// Right.
    Proven(Proven, Vec<u8>, Arc<Account>),
    /// Wrong, though the user is there.
    Refused(Refusal, Option<Arc<Account>>),
}

fn find(
    call: &Call<'_, '_>,
    state: &AuthDb,
    auth: &Auth,
    role: Role,
    flags: i64,
    method: Option<usize>,
) -> Found {
    let refused = |refusal| Found::Refused(refusal, None);
    let (given, table) = (call.text(0), call.text(1));
    for (name, value) in [("realm", &given), ("table", &table)] {
        if value.is_empty() {
            crate::log::error(
                "auth_db",
                format_args!("{}: invalid {name} parameter - empty value", call.name),
            );
            return refused(Refusal::Error);
        }
    }
    let realm = auth.strip(&given);
    let method = method.map(|n| call.text(n)).filter(|method| !method.is_empty());
    let credentials = match auth::admit(auth, call.env, role, realm, method.as_deref()) {
        Ok(None) => return Found::Unneeded,
        Ok(Some(credentials)) => credentials,
        Err(refusal) => return refused(refusal),
    };
    let username = credentials.auth.username_text();
    let (user, domain) = auth::split_user(&username);
    let wanted = Wanted {
        table: &table,
        user,
        domain: state.use_domain.then_some(domain.unwrap_or(realm)),
        username: &username,
        realm,
        algorithm: Some(credentials.algorithm),
    };
    let mut account = match state.accounts.find(call.env.host, &wanted) {
        Ok(Some(account)) => account,
        Ok(None) => return refused(Refusal::UnknownUser),
        Err(error) => {
            crate::log::error("auth_db", format_args!("{}: {error}", call.name));
            auth.fail(call.env);
            return refused(Refusal::Error);
        }
    };
    let prove = |account: &Account| {
        let ha1 = account.ha1.as_ref().ok_or(Refusal::Password)?;
        let proven = credentials.prove(ha1)?;
        let identity = Identity {
            flags,
            domains: state.use_domain,
            third_party: false,
        };
        if auth::is_own(call.env, &username, realm, identity) {
            Ok((proven, auth.info(&credentials, ha1)))
        } else {
            Err(Refusal::Mismatch)
        }
    };
    let mut proven = prove(&account);
    if matches!(proven, Err(Refusal::Password))
        && let Some(now) = state.accounts.read_again(call.env.host, &wanted)
    {
        account = now;
        proven = prove(&account);
    }
    match proven {
        Ok((proven, info)) => Found::Proven(proven, info, account),
        Err(refusal) => Found::Refused(refusal, Some(account)),
    }
}

fn authenticate(call: &mut Call<'_, '_>, role: Role, flags: i64, method: Option<usize>) -> Code {
    let (Some(state), Some(auth)) = (call.state::<AuthDb>(), call.state::<Auth>()) else {
        return Code::FALSE;
    };
    match find(call, state, auth, role, flags, method) {
        Found::Unneeded => Code::TRUE,
        Found::Proven(proven, info, account) => match auth.accept(call.env, proven, &info) {
            Ok(()) => {
                state.load(call.env, &account);
                Code::TRUE
            }
            Err(refusal) => refusal.into(),
        },
        Found::Refused(refusal, account) => {
            // Kamailio: who is somebody else's right user has proved to be one, and gets its AVPs.
            let known = refusal == Refusal::Mismatch || state.force_generate_avps;
            if let Some(account) = account.filter(|_| known) {
                state.load(call.env, &account);
            }
            refusal.into()
        }
    }
}

fn www_authenticate(call: &mut Call<'_, '_>) -> Code {
    let method = call.has(2).then_some(2);
    authenticate(call, Role::Www, 0, method)
}

fn proxy_authenticate(call: &mut Call<'_, '_>) -> Code {
    authenticate(call, Role::Proxy, 0, None)
}

fn auth_check(call: &mut Call<'_, '_>) -> Code {
    let role = Role::of(call.env.ctx);
    let flags = call.int(2);
    authenticate(call, role, flags, None)
}

fn is_subscriber(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<AuthDb>() else {
        return Code::FALSE;
    };
    let flags = call.int(2);
    let (text, table) = (call.text(0), call.text(1));
    let Ok(uri) = Uri::parse(&text) else {
        crate::log::error(
            "auth_db",
            format_args!("is_subscriber: {:?} is no URI", String::from_utf8_lossy(&text)),
        );
        return Code::FALSE;
    };
    let user = uri.user_unescaped();
    if user.is_empty() {
        return Code::FALSE;
    }
    let domain = (flags & 1 != 0).then_some(uri.host);
    let wanted = Wanted {
        table: &table,
        user: &user,
        domain,
        username: &user,
        realm: b"",
        algorithm: None::<Algorithm>,
    };
    match state.accounts.find(call.env.host, &wanted) {
        Ok(None) => Code(-2),
        Ok(Some(account)) => {
            if flags & 2 == 0 {
                state.load(call.env, &account);
            }
            Code::TRUE
        }
        Err(error) => {
            crate::log::error("auth_db", format_args!("is_subscriber: {error}"));
            Code::FALSE
        }
    }
}
