//! Sending on in a transaction: `t_relay` and its kin, and serial forking by q.

use crate::proxy::context::Failure;
use crate::script::host::Deed;
use crate::script::host::Matched;
use crate::script::host::Named;
use crate::script::host::RelayOptions;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Routes;
use shared::sip::Method;

/// Relays, to the URI made of host, port and transport when a host is given.
fn relay_to(call: &mut Call<'_, '_>, transport: Option<&str>, mut options: RelayOptions) -> Code {
    if call.has(0) {
        let mut uri = b"sip:".to_vec();
        uri.extend_from_slice(&call.text(0));
        if call.has(1) {
            uri.push(b':');
            uri.extend_from_slice(&call.text(1));
        }
        if let Some(transport) = transport {
            uri.extend_from_slice(b";transport=");
            uri.extend_from_slice(transport.as_bytes());
        }
        let socket = call.env.ctx.send_socket;
        options.target = call.env.host.resolve(&uri, socket);
        if options.target.is_none() {
            call.env.ctx.failure = Failure::Unresolvable;
            return Code::FALSE;
        }
    }
    let (host, scope) = call.split();
    host.relay(scope, options)
}

pub(super) fn t_relay(call: &mut Call<'_, '_>) -> Code {
    relay_to(call, None, RelayOptions::default())
}

pub(super) fn t_relay_to_udp(call: &mut Call<'_, '_>) -> Code {
    relay_to(call, Some("udp"), RelayOptions::default())
}

pub(super) fn t_relay_to_tcp(call: &mut Call<'_, '_>) -> Code {
    relay_to(call, Some("tcp"), RelayOptions::default())
}

pub(super) fn t_relay_to_tls(call: &mut Call<'_, '_>) -> Code {
    relay_to(call, Some("tls"), RelayOptions::default())
}

/// `t_relay_to("udp:host:port", "0x01")`; the first argument may be the flags alone.
pub(super) fn t_relay_to(call: &mut Call<'_, '_>) -> Code {
    let flags = |text: &[u8]| {
        let text = std::str::from_utf8(text).ok()?.trim();
        text.strip_prefix("0x")
            .map_or_else(|| text.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok())
    };
    let first = call.text_owned(0);
    let mut options = RelayOptions::default();
    let bits = if call.has(1) {
        flags(&call.text(1))
    } else {
        flags(&first)
    }
    .unwrap_or(0);
    options.no_100 = bits & 1 != 0;
    options.no_error_reply = bits & 2 != 0;
    if !first.is_empty() && flags(&first).is_none() {
        let (transport, rest) = match first.iter().position(|b| *b == b':') {
            Some(at) if matches!(&first[..at], b"udp" | b"tcp" | b"tls") => (&first[..at], &first[at + 1..]),
            _ => (&b"udp"[..], &first[..]),
        };
        let uri = [b"sip:", rest, b";transport=", transport].concat();
        let socket = call.env.ctx.send_socket;
        options.target = call.env.host.resolve(&uri, socket);
        if options.target.is_none() {
            call.env.ctx.failure = Failure::Unresolvable;
            return Code::FALSE;
        }
    }
    let (host, scope) = call.split();
    host.relay(scope, options)
}

/// `t_replicate("sip:host")`, `t_replicate(host, port)` or to the request's own target.
pub(super) fn t_replicate(call: &mut Call<'_, '_>) -> Code {
    let options = RelayOptions {
        replicate: true,
        ..RelayOptions::default()
    };
    if call.has(0) && !call.has(1) {
        let uri = call.text_owned(0);
        let target = call.env.host.resolve(&uri, None);
        if target.is_none() {
            call.env.ctx.failure = Failure::Unresolvable;
            return Code::FALSE;
        }
        let (host, scope) = call.split();
        return host.relay(scope, RelayOptions { target, ..options });
    }
    relay_to(call, None, options)
}

pub(super) fn t_replicate_udp(call: &mut Call<'_, '_>) -> Code {
    relay_to(
        call,
        Some("udp"),
        RelayOptions {
            replicate: true,
            ..RelayOptions::default()
        },
    )
}

pub(super) fn t_replicate_tcp(call: &mut Call<'_, '_>) -> Code {
    relay_to(
        call,
        Some("tcp"),
        RelayOptions {
            replicate: true,
            ..RelayOptions::default()
        },
    )
}

pub(super) fn t_relay_cancel(call: &mut Call<'_, '_>) -> Code {
    let (host, scope) = call.split();
    if !matches!(scope.ctx.msg.method(), Method::Cancel) {
        return Code::TRUE;
    }
    match host.check_transaction(scope) {
        Matched::Related => {
            let (host, scope) = call.split();
            host.relay(scope, RelayOptions::default());
            Code::EXIT
        }
        Matched::Retransmission => Code::EXIT,
        Matched::None | Matched::EndToEndAck => Code::TRUE,
    }
}

/// What `t_newtran` returns where the request has a transaction already.
const IN_TRANSACTION: Code = Code(-10);

pub(super) fn t_newtran(call: &mut Call<'_, '_>) -> Code {
    if call.env.host.transaction().is_some() {
        return IN_TRANSACTION;
    }
    let (host, scope) = call.split();
    host.new_transaction(scope)
}

pub(super) fn t_check_trans(call: &mut Call<'_, '_>) -> Code {
    if call.env.route.meets(Routes::ONREPLY.or(Routes::REPLY)) {
        return t_exists(call);
    }
    let (host, scope) = call.split();
    match host.check_transaction(scope) {
        Matched::None => Code::FALSE,
        Matched::Retransmission => Code::EXIT,
        Matched::Related | Matched::EndToEndAck => Code::TRUE,
    }
}

pub(super) fn t_lookup_request(call: &mut Call<'_, '_>) -> Code {
    Code::from(call.env.host.precheck_transaction(call.env.ctx))
}

pub(super) fn t_lookup_cancel(call: &mut Call<'_, '_>) -> Code {
    let (host, scope) = call.split();
    let cancel = matches!(scope.ctx.msg.method(), Method::Cancel);
    Code::from(cancel && host.check_transaction(scope) == Matched::Related)
}

pub(super) fn t_exists(call: &mut Call<'_, '_>) -> Code {
    Code::from(call.env.host.transaction().is_some())
}

pub(super) fn t_release(call: &mut Call<'_, '_>) -> Code {
    call.env.host.release_transaction();
    Code::TRUE
}

pub(super) fn t_cell_append_branches(call: &mut Call<'_, '_>) -> Code {
    let (Ok(index), Ok(label)) = (u32::try_from(call.int(0)), u32::try_from(call.int(1))) else {
        return Code::FALSE;
    };
    let branches = call.env.ctx.branches.clone();
    if branches.is_empty() {
        return Code::FALSE;
    }
    Code::from(
        call.env
            .host
            .leave(Named::Id(index, label), Deed::Append(branches)),
    )
}

pub(super) fn t_msg_apply_changes(call: &mut Call<'_, '_>) -> Code {
    let ctx = &mut *call.env.ctx;
    let before = ctx.msg.clone();
    let done = ctx.apply_changes();
    if done {
        ctx.before_branch.get_or_insert_with(|| Box::new(before));
    }
    Code::from(done)
}
