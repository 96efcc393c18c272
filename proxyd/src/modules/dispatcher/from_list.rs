//! Whether a request comes from a destination: `ds_is_from_list`, `ds_is_active`, `ds_list_exists`.

use super::Dispatcher;
use super::destination;
use super::destination::Destination;
use crate::log;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::value::Value;
use shared::net::Transport;
use shared::sip::Uri;
use std::net::IpAddr;
use std::sync::Arc;

const ANY_PORT: i64 = 1;
const ANY_TRANSPORT: i64 = 2;
const ACTIVE_ONLY: i64 = 4;

/// What is looked for.
struct Wanted {
    addresses: Vec<IpAddr>,
    port: u16,
    transport: Option<Transport>,
}

impl Wanted {
    fn of_uri(text: &[u8]) -> Option<Self> {
        let uri = Uri::parse(text).ok()?;
        Some(Self {
            addresses: destination::resolve(std::str::from_utf8(uri.host_bare()).ok()?),
            port: uri.port.unwrap_or(0),
            transport: uri.param(b"transport").flatten().and_then(Transport::from_bytes),
        })
    }

    /// Kamailio: a destination without a port stands for any port, one without a transport for none but itself.
    fn fits(&self, destination: &Destination, mode: i64) -> bool {
        self.addresses.iter().any(|ip| destination.addresses.contains(ip))
            && (mode & ANY_PORT != 0 || destination.port == 0 || destination.port == self.port)
            && (mode & ANY_TRANSPORT != 0 || destination.transport == self.transport)
            && (mode & ACTIVE_ONLY == 0 || destination.is_active())
    }
}

/// `ds_is_from_list([set[, mode[, uri]]])`.
pub(super) fn is_from_list(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Dispatcher>() else {
        return Code::FALSE;
    };
    let set = call.opt_int(0).unwrap_or(-1);
    let mode = call.opt_int(1).unwrap_or(ANY_TRANSPORT);
    let uri = call.text_owned(2);
    let source = &call.env.ctx.source;
    let wanted = if uri.is_empty() {
        Wanted {
            addresses: vec![source.peer.ip().to_canonical()],
            port: source.peer.port(),
            transport: Some(source.transport),
        }
    } else {
        let Some(wanted) = Wanted::of_uri(&uri) else {
            log::error(
                "dispatcher",
                format_args!("bad uri [{}]", String::from_utf8_lossy(&uri)),
            );
            return Code::FALSE;
        };
        wanted
    };
    let sets = state.sets.load();
    let found = sets
        .destinations()
        .find(|(id, destination)| (set == -1 || set == *id) && wanted.fits(destination, mode));
    let Some((id, destination)) = found.map(|(id, destination)| (id, Arc::clone(destination))) else {
        return Code::FALSE;
    };
    if set == -1
        && let Some(pv) = &state.set_pv
        && let Err(error) = pv.write(call.env, Value::Int(id))
    {
        log::error("dispatcher", format_args!("setid_pvname: {error}"));
    }
    let attrs = &destination.attributes.body;
    if !attrs.is_empty()
        && let Some(pv) = &state.attrs_pv
        && let Err(error) = pv.write(call.env, Value::text(attrs))
    {
        log::error("dispatcher", format_args!("attrs_pvname: {error}"));
    }
    Code::TRUE
}

/// `ds_is_active(set[, uri])`.
pub(super) fn is_active(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Dispatcher>() else {
        return Code::FALSE;
    };
    let (set, uri) = (call.int(0), call.text(1));
    let sets = state.sets.load();
    let Some(set) = sets.get(set) else {
        return Code::FALSE;
    };
    let fits = |d: &&Arc<Destination>| uri.is_empty() || *d.uri == *uri;
    Code::from(
        set.destinations
            .iter()
            .filter(fits)
            .any(|destination| destination.is_active()),
    )
}

/// `ds_list_exists(set)`.
pub(super) fn exists(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Dispatcher>() else {
        return Code::FALSE;
    };
    Code::from(state.sets.load().get(call.int(0)).is_some())
}
