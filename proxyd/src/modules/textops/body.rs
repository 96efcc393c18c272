//! The body replaced and asked about: `set_body` `has_body` `is_audio_on_hold` (Kamailio textops; RFC 3261 §7.4, RFC 3264 §8.4).

use crate::proxy::context::Context;
use crate::proxy::context::ReplyBody;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::transform::coding::from_hex;
use shared::sip::HeaderName;
use std::borrow::Cow;

/// Records a new body of the message with its type; an empty type leaves the header as it is.
pub(crate) fn replace(ctx: &mut Context, body: &[u8], content_type: &[u8]) {
    let known = ctx.msg.first_header(HeaderName::ContentType).cloned();
    if known
        .as_ref()
        .is_some_and(|header| ctx.lumps.is_deleted(header.value.start as usize))
    {
        // the type was written anew before: an edit cannot be taken back, but it can be made real
        ctx.apply_changes();
    }
    ctx.lumps.set_body(body);
    if content_type.is_empty() {
        return;
    }
    match ctx.msg.first_header(HeaderName::ContentType).cloned() {
        Some(header) => ctx.lumps.replace_value(&header, content_type),
        None => {
            let line = [b"Content-Type: ".as_slice(), content_type, b"\r\n"].concat();
            ctx.lumps.append_header(&ctx.msg, &line);
        }
    }
}

fn hexadecimal(call: &Call<'_, '_>) -> Option<Vec<u8>> {
    let digits: Vec<u8> = call
        .text(0)
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b' ' | b'\t'))
        .collect();
    let bytes = if digits.len().is_multiple_of(2) {
        from_hex(&digits)
    } else {
        None
    };
    if bytes.is_none() {
        crate::log::error("textops", format_args!("{}: body is not hexadecimal", call.name));
    }
    bytes
}

fn typed(call: &Call<'_, '_>) -> Option<Vec<u8>> {
    let content_type = call.text_owned(1);
    if content_type.is_empty() {
        crate::log::error("textops", format_args!("{}: empty content-type", call.name));
        return None;
    }
    Some(content_type)
}

pub(super) fn set_body(call: &mut Call<'_, '_>) -> Code {
    let body = call.printed(0).into_owned();
    let Some(content_type) = typed(call) else {
        return Code::FALSE;
    };
    replace(call.env.ctx, &body, &content_type);
    Code::TRUE
}

pub(super) fn set_body_hex(call: &mut Call<'_, '_>) -> Code {
    let (Some(body), Some(content_type)) = (hexadecimal(call), typed(call)) else {
        return Code::FALSE;
    };
    replace(call.env.ctx, &body, &content_type);
    Code::TRUE
}

pub(super) fn set_reply_body(call: &mut Call<'_, '_>) -> Code {
    let body = call.printed(0).into_owned();
    let Some(content_type) = typed(call) else {
        return Code::FALSE;
    };
    call.env.ctx.reply_body = Some(ReplyBody {
        body,
        content_type: Some(content_type),
    });
    Code::TRUE
}

pub(super) fn set_reply_body_hex(call: &mut Call<'_, '_>) -> Code {
    let (Some(body), Some(content_type)) = (hexadecimal(call), typed(call)) else {
        return Code::FALSE;
    };
    call.env.ctx.reply_body = Some(ReplyBody {
        body,
        content_type: Some(content_type),
    });
    Code::TRUE
}

/// The media type of a Content-Type, parameters left out.
pub(super) fn media_type(value: &[u8]) -> &[u8] {
    value
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii()
}

pub(super) fn has_body(call: &mut Call<'_, '_>) -> Code {
    let msg = &call.env.ctx.msg;
    if msg.body().is_empty() || msg.content_length() == Some(0) {
        return Code::FALSE;
    }
    if !call.has(0) {
        return Code::TRUE;
    }
    let wanted: Cow<'_, [u8]> = call.text(0);
    // RFC 3261 §20.15: without the header the type is that of SDP
    let own = msg
        .first(HeaderName::ContentType)
        .map_or(b"application/sdp".as_slice(), media_type);
    Code::from(own.eq_ignore_ascii_case(media_type(&wanted)))
}

pub(super) fn is_audio_on_hold(call: &mut Call<'_, '_>) -> Code {
    hold(call.env.ctx.msg.body())
}

/// 1 when an audio stream's address is null (RFC 2543), 2 when its direction is sendonly or inactive.
fn hold(sdp: &[u8]) -> Code {
    let (mut null_session, mut held_session) = (false, false);
    let mut stream: Option<(bool, bool, bool, bool)> = None; // audio, null address, held, direction given
    let verdict = |stream: &Option<(bool, bool, bool, bool)>, null: bool, held: bool| match stream {
        Some((true, own_null, _, _)) if *own_null || null => Some(Code(1)),
        Some((true, _, own_held, given)) if *own_held || (!given && held) => Some(Code(2)),
        _ => None,
    };
    for line in crate::script::transform::lines::lines(sdp) {
        let direction = matches!(
            line,
            b"a=sendrecv" | b"a=recvonly" | b"a=sendonly" | b"a=inactive"
        );
        let held = matches!(line, b"a=sendonly" | b"a=inactive");
        let null = line.starts_with(b"c=")
            && line
                .split(|byte| *byte == b' ')
                .any(|word| matches!(word, b"0.0.0.0" | b"::"));
        if let Some(media) = line.strip_prefix(b"m=") {
            if let Some(code) = verdict(&stream, null_session, held_session) {
                return code;
            }
            let audio = media.starts_with(b"audio ");
            let port = media.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
            stream = Some((audio && port != b"0", false, false, false));
        } else if let Some((_, own_null, own_held, given)) = &mut stream {
            *own_null |= null;
            *own_held |= held;
            *given |= direction;
        } else {
            null_session |= null;
            held_session |= held;
        }
    }
    verdict(&stream, null_session, held_session).unwrap_or(Code::FALSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hold_is_an_address_or_a_direction() {
        for (sdp, expected) in [
            (
                "v=0\r\nc=IN IP4 1.2.3.4\r\nm=audio 4000 RTP/AVP 0\r\na=sendonly\r\n",
                2,
            ),
            ("v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 4000 RTP/AVP 0\r\n", 1),
            ("v=0\r\na=inactive\r\nm=audio 4000 RTP/AVP 0\r\n", 2),
            (
                "v=0\r\na=inactive\r\nm=audio 4000 RTP/AVP 0\r\na=sendrecv\r\n",
                -1,
            ),
            ("v=0\r\nm=video 4000 RTP/AVP 0\r\na=sendonly\r\n", -1),
            ("", -1),
        ] {
            assert_eq!(hold(sdp.as_bytes()).0, expected, "{sdp}");
        }
    }
}
