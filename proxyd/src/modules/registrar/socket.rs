//! The socket that a REGISTER arrived at, as the location table stores it, and add_sock_hdr().

use super::Registrar;
use super::states;
use crate::modules::usrloc;
use crate::proxy::context::Context;
use crate::proxy::sockets::Listener;
use crate::proxy::sockets::Sockets;
use crate::script::module::Call;
use crate::script::module::Code;
use smallvec::SmallVec;

/// A socket as the table stores it.
pub(super) type SocketText = SmallVec<[u8; 64]>;

/// The socket a REGISTER arrived at, as the table stores it: `udp:10.0.0.1:5060`; a header may name another one of ours.
pub(super) fn socket_of(ctx: &Context, sockets: &Sockets, registrar: &Registrar) -> SocketText {
    if ctx.flags & registrar.sock_flag != 0 && !registrar.sock_hdr_name.is_empty() {
        let header = ctx.msg.all_named(&registrar.sock_hdr_name).next();
        let named = header.map(|header| ctx.msg.value(header));
        if let Some(text) = named.filter(|text| usrloc::socket_of(text, sockets).is_some()) {
            return SocketText::from_slice(text);
        }
    }
    sockets
        .get(ctx.source.socket)
        .map_or_else(SocketText::new, |listener| text_of(listener, registrar.advertise))
}

fn text_of(listener: &Listener, advertise: bool) -> SocketText {
    let mut text = SocketText::from_slice(listener.transport.as_str().as_bytes());
    text.push(b':');
    if advertise || listener.advertise.is_none() {
        text.extend_from_slice(listener.host_text.as_bytes());
        text.push(b':');
        text.extend_from_slice(listener.port_text.as_bytes());
    } else {
        // SocketAddr prints an IPv6 address in brackets, as the table has it.
        text.extend_from_slice(listener.address.to_string().as_bytes());
    }
    text
}

pub(super) fn add_sock_hdr(call: &mut Call<'_, '_>) -> Code {
    let Some((registrar, _)) = states(call) else {
        return Code::FALSE;
    };
    let mut line = call.text_owned(0);
    let env = &mut *call.env;
    let Some(listener) = env.host.sockets().get(env.ctx.source.socket) else {
        return Code::FALSE;
    };
    if line.is_empty() {
        return Code::FALSE;
    }
    line.extend_from_slice(b": ");
    line.extend_from_slice(&text_of(listener, registrar.advertise));
    line.extend_from_slice(b"\r\n");
    let Context { msg, lumps, .. } = &mut *env.ctx;
    lumps.append_header(msg, &line);
    Code::TRUE
}
