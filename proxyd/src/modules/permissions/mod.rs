//! `loadmodule "permissions"`: who may do what by address, peer or pair of URIs (Kamailio module permissions).

mod address;
mod files;
mod load;
mod routing;
mod rpc;
#[cfg(test)]
mod tests;
mod trusted;

use crate::modules::database::Database;
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
use crate::script::value::Value;
use address::Addresses;
use address::Match;
use arc_swap::ArcSwap;
use arc_swap::ArcSwapOption;
use files::Files;
use load::LoadError;
use load::Pace;
use load::Reading;
use load::Source;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use trusted::Proto;
use trusted::Rule;
use trusted::Shown;
use trusted::Trusted;

const CHECKING: Routes = Routes::REQUESTS.or(Routes::ONREPLY).or(Routes::REPLY);

/// What the module works with.
pub(crate) struct Permissions {
    source: Source,
    addresses: ArcSwap<Addresses>,
    /// None: not kept (`db_mode` 0), or not wanted.
    trusted: ArcSwapOption<Trusted>,
    /// The trusted table is asked for each request.
    ask_trusted: bool,
    /// The folder of the script, where files named without one are.
    folder: PathBuf,
    /// One reload at a time; those that wait run after.
    reloading: Mutex<()>,
    peer_tag_avp: Option<Box<[u8]>>,
    all_tags: bool,
    files: Files,
    default_files: [PathBuf; 2],
    suffixes: [String; 2],
    check_all_branches: bool,
}

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        Param::Text(
            "db_url",
            "",
            "Database of the address and trusted tables; not given, neither is read.",
        ),
        Param::Int(
            "db_mode",
            0,
            "1: keep the trusted table in memory; 0: ask it for each request.",
        ),
        Param::Int(
            "load_backends",
            0xffff,
            "What to read: 1 addresses, 2 trusted peers, 4 the allow file, 8 the deny file.",
        ),
        Param::Text("address_file", "", "File of addresses, instead of the table."),
        Param::Text("address_table", "address", "Table of addresses."),
        Param::Text("grp_col", "grp", "Its column of the group."),
        Param::Text("ip_addr_col", "ip_addr", "Its column of the address."),
        Param::Text("mask_col", "mask", "Its column of the mask."),
        Param::Text("port_col", "port", "Its column of the port."),
        Param::Text("tag_col", "tag", "Column of the tag, in both tables."),
        Param::Text("trusted_table", "trusted", "Table of trusted peers."),
        Param::Text("source_col", "src_ip", "Its column of the address."),
        Param::Text("proto_col", "proto", "Its column of the transport."),
        Param::Text(
            "from_col",
            "from_pattern",
            "Its column of the expression for From.",
        ),
        Param::Text(
            "ruri_col",
            "ruri_pattern",
            "Its column of the expression for the Request-URI.",
        ),
        Param::Text("priority_col", "priority", "Its column of the priority."),
        Param::Text("peer_tag_avp", "", "AVP that takes the tag of what matched."),
        Param::Int(
            "peer_tag_mode",
            0,
            "1: allow_trusted() takes the tags of all matches and returns their number.",
        ),
        Param::Int(
            "subnet_match_mode",
            0,
            "0: the first subnet counts; 1: the narrowest.",
        ),
        Param::Text(
            "default_allow_file",
            "permissions.allow",
            "File of allow_routing() without arguments.",
        ),
        Param::Text(
            "default_deny_file",
            "permissions.deny",
            "File of allow_routing() without arguments.",
        ),
        Param::Text(
            "allow_suffix",
            ".allow",
            "Suffix of the allow file of a basename.",
        ),
        Param::Text("deny_suffix", ".deny", "Suffix of the deny file of a basename."),
        Param::Int("check_all_branches", 1, "allow_routing() looks at every branch."),
        Param::Ignored("max_subnets", "there is no limit"),
        Param::Ignored("reload_delta", "a reload is never refused"),
        Param::Ignored(
            "trusted_cleanup_interval",
            "an old table goes when its last reader is done",
        ),
    ],
    functions: &[
        Function {
            names: &["allow_source_address"],
            args: &[Arg::OptInt("group")],
            routes: CHECKING,
            doc: "True when the sender is in the group, 1 if not given.",
            call: allow_source_address,
        },
        Function {
            names: &["allow_source_address_group"],
            args: &[],
            routes: CHECKING,
            doc: "The group that the sender is in, else -1.",
            call: allow_source_address_group,
        },
        Function::anywhere(
            &["allow_address"],
            &[Arg::Int("group"), Arg::Text("address"), Arg::Int("port")],
            "True when the address or name is in the group.",
            allow_address,
        ),
        Function::anywhere(
            &["allow_address_group"],
            &[Arg::Text("address"), Arg::Int("port")],
            "The group that the address or name is in, else -1.",
            allow_address_group,
        ),
        Function::anywhere(
            &["allow_trusted"],
            &[
                Arg::OptText("address"),
                Arg::OptText("proto"),
                Arg::OptText("from"),
            ],
            "True when the sender, or who is given, is a trusted peer.",
            allow_trusted,
        ),
        Function {
            names: &["allow_routing"],
            args: &[Arg::OptText("allow_file"), Arg::OptText("deny_file")],
            routes: Routes::REQUESTS.or(Routes::FAILURE),
            doc: "True when From may send to every branch; one argument is a basename.",
            call: routing::allow_routing,
        },
        Function {
            names: &["allow_register"],
            args: &[Arg::Text("allow_file"), Arg::OptText("deny_file")],
            routes: Routes::REQUESTS.or(Routes::FAILURE),
            doc: "True when To may register every Contact; one argument is a basename.",
            call: routing::allow_register,
        },
        Function {
            names: &["allow_register_include_port"],
            args: &[Arg::Text("allow_file"), Arg::OptText("deny_file")],
            routes: Routes::REQUESTS.or(Routes::FAILURE),
            doc: "The same, the port of a Contact shown to the expressions too.",
            call: routing::allow_register_include_port,
        },
        Function {
            names: &["allow_refer_to"],
            args: &[Arg::Text("allow_file"), Arg::OptText("deny_file")],
            routes: Routes::REQUESTS.or(Routes::FAILURE),
            doc: "True when From may refer to the Refer-To.",
            call: routing::allow_refer_to,
        },
        Function::anywhere(
            &["allow_uri"],
            &[Arg::Text("basename"), Arg::Text("uri")],
            "True when From may send to the URI.",
            routing::allow_uri,
        ),
    ],
    rpcs: rpc::RPCS,
    init: Some(init),
    ..ModuleDef::new(
        "permissions",
        "Tells by address, peer or pair of URIs who may do what.",
    )
};

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let optional = |name: &str| Some(init.text(name)).filter(|text| !text.is_empty());
    let backends = init.int("load_backends");
    let folder = init
        .program
        .sources()
        .names()
        .next()
        .and_then(Path::parent)
        .map(Path::to_owned)
        .unwrap_or_default();
    let address_file = optional("address_file").map(|name| folder.join(name));
    let db = optional("db_url").map(|url| Database::shared(&url)).transpose()?;
    let cached = init.int("db_mode") == 1;
    let wants_trusted = backends & 2 != 0 && db.is_some();
    let source = Source::new(init, db, address_file);
    source.check(backends & 1 != 0, wants_trusted)?;
    let peer_tag_avp = match optional("peer_tag_avp") {
        Some(text) => Some(super::avp_name(&text).ok_or_else(|| InitError::Param {
            name: "peer_tag_avp",
            why: format!("{text:?} is no AVP"),
        })?),
        None => None,
    };
    let default_file = |bit: i64, name: &str| {
        if backends & bit != 0 {
            folder.join(init.text(name))
        } else {
            PathBuf::new()
        }
    };
    let state = Permissions {
        source,
        addresses: ArcSwap::default(),
        trusted: ArcSwapOption::empty(),
        ask_trusted: wants_trusted && !cached,
        folder: folder.clone(),
        reloading: Mutex::new(()),
        peer_tag_avp,
        all_tags: init.int("peer_tag_mode") == 1,
        files: Files::default(),
        default_files: [
            default_file(4, "default_allow_file"),
            default_file(8, "default_deny_file"),
        ],
        suffixes: [init.text("allow_suffix"), init.text("deny_suffix")],
        check_all_branches: init.int("check_all_branches") != 0,
    };
    if backends & 1 != 0 {
        state
            .read_addresses(&mut Pace::new(Reading::First))
            .map_err(refused)?;
    }
    if wants_trusted && cached {
        state.reload_trusted().map_err(refused)?;
    }
    Ok(Arc::new(state))
}

fn refused(error: LoadError) -> InitError {
    match error {
        LoadError::Database(error) => error.into(),
        LoadError::File { path, error } => InitError::Io { path, error },
    }
}

impl Permissions {
    /// Builds the new table aside and puts it in place; the old one serves until then, and stays when this fails.
    fn read_addresses(&self, pace: &mut Pace) -> Result<usize, LoadError> {
        let _alone = self.reloading.lock();
        let table = self.source.addresses(&self.addresses.load(), pace)?;
        let rows = table.len();
        self.addresses.store(Arc::new(table));
        Ok(rows)
    }

    fn reload_trusted(&self) -> Result<(), LoadError> {
        let _alone = self.reloading.lock();
        if !self.ask_trusted {
            self.trusted.store(Some(Arc::new(self.source.trusted(None)?)));
        }
        Ok(())
    }

    fn tag(&self, env: &mut Env<'_>, tag: Option<&[u8]>) {
        if let (Some(avp), Some(tag)) = (&self.peer_tag_avp, tag) {
            env.lists.push_avp(avp, Value::owned(tag));
        }
    }
}

/// Sets the tag of what matched and gives its group, or true when a group was asked for.
fn matched(state: &Permissions, call: &mut Call<'_, '_>, found: Option<Match<'_>>, asked: bool) -> Code {
    let Some(found) = found else { return Code::FALSE };
    state.tag(call.env, found.tag);
    if asked {
        Code::TRUE
    } else {
        Code(i32::try_from(found.group).unwrap_or(i32::MAX))
    }
}

fn peer(call: &Call<'_, '_>) -> SocketAddr {
    call.env.ctx.source.peer
}

/// A group as the script writes it; none below 1, where no row can be.
fn group(call: &Call<'_, '_>, n: usize) -> Option<u32> {
    u32::try_from(call.opt_int(n).unwrap_or(1))
        .ok()
        .filter(|group| *group > 0)
}

fn allow_source_address(call: &mut Call<'_, '_>) -> Code {
    let (Some(state), Some(group)) = (call.state::<Permissions>(), group(call, 0)) else {
        return Code::FALSE;
    };
    let (table, peer) = (state.addresses.load(), peer(call));
    let found = table.find_ip(peer.ip(), peer.port(), Some(group));
    matched(state, call, found, true)
}

fn allow_source_address_group(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Permissions>() else {
        return Code::FALSE;
    };
    let (table, peer) = (state.addresses.load(), peer(call));
    let found = table.find_ip(peer.ip(), peer.port(), None);
    matched(state, call, found, false)
}

fn port(call: &Call<'_, '_>, n: usize) -> Option<u16> {
    let port = u16::try_from(call.int(n)).ok();
    if port.is_none() {
        crate::log::error(
            "permissions",
            format_args!("{}: port {} is not 0 to 65535", call.name, call.int(n)),
        );
    }
    port
}

fn allow_address(call: &mut Call<'_, '_>) -> Code {
    let (Some(state), Some(group), Some(port)) = (call.state::<Permissions>(), group(call, 0), port(call, 2))
    else {
        return Code::FALSE;
    };
    let table = state.addresses.load();
    let found = table.find(&call.text(1), port, Some(group));
    matched(state, call, found, true)
}

fn allow_address_group(call: &mut Call<'_, '_>) -> Code {
    let (Some(state), Some(port)) = (call.state::<Permissions>(), port(call, 1)) else {
        return Code::FALSE;
    };
    let table = state.addresses.load();
    let found = table.find(&call.text(0), port, None);
    matched(state, call, found, false)
}

fn allow_trusted(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Permissions>() else {
        return Code::FALSE;
    };
    let source = &call.env.ctx.source;
    let given = call.has(0).then(|| call.text(0));
    let proto = if call.has(1) {
        Proto::from_bytes(&call.text(1))
    } else {
        Some(Proto::Only(source.transport))
    };
    let Some(proto) = proto else {
        let name = call.text_owned(1);
        crate::log::error(
            "permissions",
            format_args!("unknown protocol {}", String::from_utf8_lossy(&name)),
        );
        return Code::FALSE;
    };
    let table = if state.ask_trusted {
        let written = crate::proxy::sender::AddressText::new(source.peer.ip().to_canonical());
        match state
            .source
            .trusted(Some(given.as_deref().unwrap_or(written.as_bytes())))
        {
            Ok(table) => Arc::new(table),
            Err(error) => {
                crate::log::error("permissions", format_args!("{}: {error}", call.name));
                return Code::FALSE;
            }
        }
    } else {
        let Some(table) = state.trusted.load_full() else {
            return Code::FALSE;
        };
        table
    };
    let own_from = call.env.ctx.msg.from().map_or(&b""[..], |from| from.uri);
    let given_from = call.has(2).then(|| call.text(2));
    let shown = Shown {
        proto,
        from: given_from.as_deref().unwrap_or(own_from),
        ruri: call.env.ctx.uri(),
    };
    let most = if state.all_tags { usize::MAX } else { 1 };
    let rules: Vec<&Rule> = match &given {
        Some(text) => table.matches_text(text, shown).take(most).collect(),
        None => table.matches(source.peer.ip(), shown).take(most).collect(),
    };
    for rule in &rules {
        state.tag(call.env, rule.tag.as_deref());
    }
    match i32::try_from(rules.len()) {
        Ok(0) => Code::FALSE,
        Ok(n) => Code(n),
        Err(_) => Code::TRUE,
    }
}
