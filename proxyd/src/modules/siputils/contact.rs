//! Contacts hidden in URIs of ours and brought back (Kamailio siputils).

use super::Settings;
use super::uri::without;
use crate::proxy::context::Context;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::transform::coding::BASE64_URL;
use crate::script::transform::coding::Padding;
use crate::script::transform::coding::of_base64;
use crate::script::transform::coding::to_base64;
use crate::script::transform::uri::transport_number;
use shared::sip::Contact;
use shared::sip::HeaderName;
use shared::sip::Uri;
use shared::sip::UriParts;

fn separator(call: &Call<'_, '_>) -> u8 {
    call.state::<Settings>()
        .map_or(b'*', |settings| settings.separator)
}

/// Replaces the URI of every contact that `make` makes another of; false when a contact cannot be read.
fn change(ctx: &mut Context, mut make: impl FnMut(&Uri<'_>, &[u8]) -> Option<Vec<u8>>) -> Code {
    let mut edits = Vec::new();
    for value in ctx.msg.values(HeaderName::Contact) {
        let Ok(contact) = Contact::parse(value.bytes) else {
            return Code::FALSE;
        };
        if contact.is_star() {
            continue;
        }
        let Ok(uri) = contact.parsed_uri() else {
            return Code::FALSE;
        };
        let text = contact.uri();
        if let Some(made) = make(&uri, text) {
            let start = (text.as_ptr() as usize).wrapping_sub(ctx.msg.as_bytes().as_ptr() as usize);
            edits.push((start..start + text.len(), made));
        }
    }
    for (range, made) in edits {
        ctx.lumps.replace(range, &made);
    }
    Code::TRUE
}

pub(super) fn encode(call: &mut Call<'_, '_>) -> Code {
    let (prefix, host, separator) = (call.text_owned(0), call.text_owned(1), separator(call));
    change(call.env.ctx, |uri, _| {
        let port = uri.port.map(|port| port.to_string()).unwrap_or_default();
        let transport = uri.param(b"transport").flatten().unwrap_or_default();
        let fields = [
            &prefix,
            uri.user.unwrap_or_default(),
            uri.password.unwrap_or_default(),
            uri.host,
            port.as_bytes(),
            transport,
        ];
        Some([b"sip:".as_slice(), &fields.join(&[separator][..]), b"@", &host].concat())
    })
}

/// The URI that `encode_contact()` hid in a user part.
fn decoded(uri: &Uri<'_>, separator: u8) -> Option<Vec<u8>> {
    let fields: Vec<&[u8]> = uri.user?.split(|byte| *byte == separator).collect();
    let [_, user, password, host, port, transport] = fields.as_slice() else {
        return None;
    };
    let port = if port.is_empty() {
        None
    } else {
        Some(std::str::from_utf8(port).ok()?.parse().ok()?)
    };
    let params = if transport.is_empty() {
        Vec::new()
    } else {
        [b"transport=".as_slice(), transport].concat()
    };
    let text = |part: &[u8]| (!part.is_empty()).then(|| part.to_vec());
    let (user, password) = (text(user), text(password));
    let made = UriParts {
        scheme: b"sip",
        user: user.as_deref(),
        password: password.as_deref(),
        host,
        port,
        params: &params,
        headers: b"",
    };
    Some(made.to_vec())
}

pub(super) fn decode_uri(call: &mut Call<'_, '_>) -> Code {
    let separator = separator(call);
    let made = Uri::parse(call.env.ctx.uri())
        .ok()
        .and_then(|uri| decoded(&uri, separator));
    match made {
        Some(uri) => {
            call.env.ctx.set_uri(uri);
            Code::TRUE
        }
        None => {
            crate::log::error("siputils", format_args!("the Request-URI hides no contact"));
            Code::FALSE
        }
    }
}

pub(super) fn decode_header(call: &mut Call<'_, '_>) -> Code {
    let separator = separator(call);
    change(call.env.ctx, |uri, _| decoded(uri, separator))
}

pub(super) fn param_encode(call: &mut Call<'_, '_>) -> Code {
    let (name, address) = (call.text_owned(0), call.text_owned(1));
    change(call.env.ctx, |_, text| Some(hidden(&name, &address, text)))
}

/// Our own URI with another one in a parameter.
fn hidden(name: &[u8], address: &[u8], text: &[u8]) -> Vec<u8> {
    [
        address,
        b";",
        name,
        b"=",
        &to_base64(text, BASE64_URL, Padding::Optional),
    ]
    .concat()
}

pub(super) fn param_encode_alias(call: &mut Call<'_, '_>) -> Code {
    let (name, address) = (call.text_owned(0), call.text_owned(1));
    let source = call.env.ctx.source;
    let alias = format!(
        ";alias={}~{}~{}",
        source.peer.ip(),
        source.peer.port(),
        transport_number(source.transport)
    );
    change(call.env.ctx, |_, text| {
        Some(hidden(&name, &address, &[text, alias.as_bytes()].concat()))
    })
}

/// The URI hidden in a parameter.
fn revealed(uri: &Uri<'_>, name: &[u8]) -> Option<Vec<u8>> {
    let text = of_base64(uri.param(name)??, BASE64_URL, Padding::Optional)?;
    Uri::parse(&text).is_ok().then_some(text)
}

pub(super) fn param_decode(call: &mut Call<'_, '_>) -> Code {
    let name = call.text_owned(0);
    change(call.env.ctx, |uri, _| revealed(uri, &name))
}

pub(super) fn param_decode_uri(call: &mut Call<'_, '_>) -> Code {
    let name = call.text_owned(0);
    let made = Uri::parse(call.env.ctx.uri())
        .ok()
        .and_then(|uri| revealed(&uri, &name));
    match made {
        Some(uri) => {
            call.env.ctx.set_uri(uri);
            Code::TRUE
        }
        None => Code::FALSE,
    }
}

pub(super) fn param_rm(call: &mut Call<'_, '_>) -> Code {
    let name = call.text_owned(0);
    change(call.env.ctx, |uri, _| {
        uri.param(&name)?;
        let params = without(uri.params, &name);
        let mut parts = uri.parts();
        parts.params = &params;
        Some(parts.to_vec())
    })
}

pub(super) fn param_check(call: &mut Call<'_, '_>) -> Code {
    let name = call.text(0);
    let mut contacts = call.env.ctx.msg.contacts().flatten();
    Code::from(contacts.any(|contact| contact.parsed_uri().is_ok_and(|uri| uri.param(&name).is_some())))
}
