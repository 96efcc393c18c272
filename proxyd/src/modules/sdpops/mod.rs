//! `loadmodule "sdpops"`: session descriptions asked about and edited (Kamailio module sdpops).

mod sdp;
#[cfg(test)]
mod tests;

use super::textops::multipart::place_of_type;
use crate::log;
use crate::log::Level;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::module::Function;
use crate::script::module::ModuleDef;
use crate::script::module::Pv;
use crate::script::module::PvData;
use crate::script::module::PvInner;
use crate::script::module::PvSpec;
use crate::script::module::SetError;
use crate::script::value::Value;
use sdp::Media;
use sdp::Sdp;
use std::ops::Range;

const TYPE: &[u8] = b"application/sdp";

/// Some of the media have it.
const SOME: Code = Code(2);
/// There is no session description, or the media differ.
const NONE: Code = Code(-2);

const LIST: &[Arg] = &[Arg::Text("list"), Arg::OptText("mtype")];
const KIND: &[Arg] = &[Arg::Text("type")];

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    functions: &[
        Function::anywhere(
            &["sdp_remove_codecs_by_id"],
            LIST,
            "Removes payload types, given by commas, from all media or those of a type.",
            |call| edit_codecs(call, By::Id, Choice::Remove),
        ),
        Function::anywhere(
            &["sdp_remove_codecs_by_name"],
            LIST,
            "Removes codecs, given by commas, from all media or those of a type.",
            |call| edit_codecs(call, By::Name, Choice::Remove),
        ),
        Function::anywhere(
            &["sdp_keep_codecs_by_id"],
            LIST,
            "Removes all other payload types from all media or those of a type.",
            |call| edit_codecs(call, By::Id, Choice::Keep),
        ),
        Function::anywhere(
            &["sdp_keep_codecs_by_name"],
            LIST,
            "Removes all other codecs from all media or those of a type.",
            |call| edit_codecs(call, By::Name, Choice::Keep),
        ),
        Function::anywhere(
            &["sdp_remove_line_by_prefix"],
            &[Arg::Text("prefix"), Arg::OptText("mtype")],
            "Removes lines that begin so, everywhere or within media of a type.",
            sdp_remove_line_by_prefix,
        ),
        Function::anywhere(
            &["sdp_with_media"],
            KIND,
            "True when there is media of this type.",
            |call| any_media(call, |media, kind| media.kind().eq_ignore_ascii_case(kind)),
        ),
        Function::anywhere(
            &["sdp_with_active_media"],
            KIND,
            "True when there is media of this type with a port that is not inactive.",
            |call| {
                any_media(call, |media, kind| {
                    media.kind().eq_ignore_ascii_case(kind) && media.is_active()
                })
            },
        ),
        Function::anywhere(
            &["sdp_remove_media"],
            KIND,
            "Removes the media of this type.",
            |call| remove_media(call, |media, kind| media.kind().eq_ignore_ascii_case(kind)),
        ),
        Function::anywhere(
            &["sdp_with_transport"],
            KIND,
            "True when media has this transport.",
            |call| any_media(call, |media, kind| media.transport().eq_ignore_ascii_case(kind)),
        ),
        Function::anywhere(
            &["sdp_with_transport_like"],
            KIND,
            "True when media has a transport that contains this.",
            |call| {
                any_media(call, |media, kind| {
                    let transport = media.transport().to_ascii_lowercase();
                    memchr::memmem::find(&transport, &kind.to_ascii_lowercase()).is_some()
                })
            },
        ),
        Function::anywhere(
            &["sdp_transport"],
            &[Arg::Pv("variable")],
            "Puts the transport of all media into a variable; -2 when they differ.",
            sdp_transport,
        ),
        Function::anywhere(
            &["sdp_remove_transport"],
            KIND,
            "Removes the media with this transport.",
            |call| remove_media(call, |media, kind| media.transport().eq_ignore_ascii_case(kind)),
        ),
        Function::anywhere(
            &["sdp_with_codecs_by_id"],
            &[Arg::Text("list")],
            "1 when all media have all of these payload types, 2 when some have one; -2 without a description.",
            |call| with_codecs(call, By::Id, NONE),
        ),
        Function::anywhere(
            &["sdp_with_codecs_by_name"],
            &[Arg::Text("list")],
            "1 when all media have all of these codecs, 2 when some have one.",
            |call| with_codecs(call, By::Name, Code::FALSE),
        ),
        Function::anywhere(
            &["sdp_print"],
            &[Arg::Int("level")],
            "Logs the session description line by line.",
            sdp_print,
        ),
        Function::anywhere(
            &["sdp_get"],
            &[Arg::Pv("variable")],
            "Puts the session description into a variable; -2 when there is none.",
            sdp_get,
        ),
        Function::anywhere(
            &["sdp_content"],
            &[Arg::OptText("sloppy")],
            "True when there is a session description; with an argument only its type is looked at.",
            sdp_content,
        ),
        Function::anywhere(
            &["sdp_with_ice"],
            &[],
            "True when there are ICE candidates.",
            |call| Code::from(of(call.env).is_some_and(|(sdp, _)| has_line(sdp, b"a=candidate:"))),
        ),
        Function::anywhere(
            &["sdp_get_line_startswith"],
            &[Arg::Pv("variable"), Arg::Text("prefix")],
            "Puts the first line that begins so into a variable; -2 without a description.",
            sdp_get_line_startswith,
        ),
        Function::anywhere(
            &["sdp_get_address_family"],
            &[],
            "The address family of the session's connection: 4 or 6.",
            sdp_get_address_family,
        ),
    ],
    pvs: &[Pv::class(
        &["sdp"],
        "The session description: body; sess_version, to which -1 assigns the next number.",
        compile,
        attribute,
    )
    .settable(set_attribute)],
    ..ModuleDef::new("sdpops", "Looks at session descriptions and edits them.")
};

/// How codecs are named.
#[derive(Clone, Copy)]
enum By {
    Id,
    Name,
}

/// What becomes of the codecs named.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    Remove,
    Keep,
}

/// The session description of the message, and where it stands.
fn of<'e>(env: &'e Env<'_>) -> Option<(Sdp<'e>, usize)> {
    let msg = &env.ctx.msg;
    let place = place_of_type(msg, TYPE)?;
    let start = place.start;
    Some((Sdp::new(msg.as_bytes().get(place)?)?, start))
}

/// What a call without a readable description returns: `absent` when there is no body at all.
fn failure(env: &Env<'_>, absent: Code) -> Code {
    if env.ctx.msg.body().is_empty() {
        absent
    } else {
        Code::FALSE
    }
}

fn has_line(sdp: Sdp<'_>, prefix: &[u8]) -> bool {
    sdp.lines().any(|line| sdp.at(&line.text).starts_with(prefix))
}

/// Removes places of the description from the message.
fn delete(env: &mut Env<'_>, base: usize, places: impl IntoIterator<Item = Range<usize>>) {
    for place in places {
        env.ctx.lumps.delete(base + place.start..base + place.end);
    }
}

/// The payload types that the list in the first argument means.
fn payload_types(call: &Call<'_, '_>, sdp: Sdp<'_>, by: By) -> Vec<Vec<u8>> {
    let list = call.text(0);
    let items = list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let items = items.filter(|item| !item.is_empty());
    match by {
        By::Id => items.map(<[u8]>::to_vec).collect(),
        By::Name => items.flat_map(|name| sdp.payload_types(name)).collect(),
    }
}

fn edit_codecs(call: &mut Call<'_, '_>, by: By, choice: Choice) -> Code {
    let kind = call.text_owned(1);
    let Some((sdp, base)) = of(call.env) else {
        return Code::FALSE;
    };
    let named = payload_types(call, sdp, by);
    if named.is_empty() {
        return Code::FALSE;
    }
    let mut places = Vec::new();
    for media in sdp.media_of(&kind) {
        for (format, _) in media.formats() {
            let is_named = named.iter().any(|id| id == format);
            if is_named == (choice == Choice::Remove) {
                places.extend(media.places_of(format));
            }
        }
    }
    delete(call.env, base, places);
    Code::TRUE
}

fn sdp_remove_line_by_prefix(call: &mut Call<'_, '_>) -> Code {
    let (prefix, kind) = (call.text_owned(0), call.text_owned(1));
    let Some((sdp, base)) = of(call.env) else {
        return Code::FALSE;
    };
    if prefix.is_empty() {
        return Code::FALSE;
    }
    let lines: Vec<_> = if kind.is_empty() {
        sdp.lines().collect()
    } else {
        sdp.media_of(&kind).into_iter().flat_map(Media::lines).collect()
    };
    let begins = |line: &sdp::Line| sdp.at(&line.text).starts_with(&prefix);
    let places: Vec<Range<usize>> = lines.into_iter().filter(begins).map(|line| line.whole).collect();
    delete(call.env, base, places);
    Code::TRUE
}

fn any_media(call: &Call<'_, '_>, fits: fn(Media<'_>, &[u8]) -> bool) -> Code {
    let kind = call.text(0);
    let Some((sdp, _)) = of(call.env) else {
        return Code::FALSE;
    };
    sdp.media().into_iter().any(|media| fits(media, &kind)).into()
}

fn remove_media(call: &mut Call<'_, '_>, fits: fn(Media<'_>, &[u8]) -> bool) -> Code {
    let kind = call.text_owned(0);
    let Some((sdp, base)) = of(call.env) else {
        return Code::FALSE;
    };
    let mut media = sdp.media();
    media.retain(|one| fits(*one, &kind));
    let places: Vec<Range<usize>> = media.into_iter().map(Media::range).collect();
    let found = !places.is_empty();
    delete(call.env, base, places);
    found.into()
}

fn sdp_transport(call: &mut Call<'_, '_>) -> Code {
    let Some((sdp, _)) = of(call.env) else {
        return Code::FALSE;
    };
    let media = sdp.media();
    let Some(first) = media.first().map(|media| media.transport()) else {
        return Code::FALSE;
    };
    if media
        .iter()
        .any(|media| !media.transport().eq_ignore_ascii_case(first))
    {
        return NONE;
    }
    let common = Value::owned(first);
    call.assign(0, common).into()
}

fn with_codecs(call: &Call<'_, '_>, by: By, absent: Code) -> Code {
    let Some((sdp, _)) = of(call.env) else {
        return absent;
    };
    let named = payload_types(call, sdp, by);
    let (mut found, mut missing) = (false, false);
    for media in sdp.media() {
        let formats = media.formats();
        for id in &named {
            let has = formats.iter().any(|(format, _)| id == format);
            found |= has;
            missing |= !has;
        }
    }
    match (found, missing) {
        (false, _) => Code::FALSE,
        (true, false) => Code::TRUE,
        (true, true) => SOME,
    }
}

fn sdp_print(call: &mut Call<'_, '_>) -> Code {
    let level = Level::from_number(call.int(0));
    let Some((sdp, _)) = of(call.env) else {
        return failure(call.env, Code::TRUE);
    };
    for line in sdp.lines() {
        let text = String::from_utf8_lossy(sdp.at(&line.text));
        log::write(level, "sdpops", format_args!("{text}"));
    }
    Code::TRUE
}

fn sdp_get(call: &mut Call<'_, '_>) -> Code {
    let Some((sdp, _)) = of(call.env) else {
        return failure(call.env, NONE);
    };
    let text = Value::owned(sdp.text());
    call.assign(0, text).into()
}

fn sdp_content(call: &mut Call<'_, '_>) -> Code {
    if call.has(0) {
        let place = place_of_type(&call.env.ctx.msg, TYPE);
        return place.is_some_and(|place| !place.is_empty()).into();
    }
    of(call.env).is_some().into()
}

fn sdp_get_line_startswith(call: &mut Call<'_, '_>) -> Code {
    let prefix = call.text_owned(1);
    let Some((sdp, _)) = of(call.env) else {
        return failure(call.env, NONE);
    };
    let found = sdp
        .lines()
        .map(|line| sdp.at(&line.text))
        .find(|text| text.starts_with(&prefix))
        .map(Value::owned);
    match found {
        Some(line) => call.assign(0, line).into(),
        None => Code::FALSE,
    }
}

fn sdp_get_address_family(call: &mut Call<'_, '_>) -> Code {
    let Some((sdp, _)) = of(call.env) else {
        return Code::FALSE;
    };
    let connection = sdp
        .session()
        .map(|line| sdp.at(&line.text))
        .find(|text| text.starts_with(b"c="));
    match connection.and_then(|text| text.get(2..8)) {
        Some(b"IN IP4") => Code(4),
        Some(b"IN IP6") => Code(6),
        _ => Code::FALSE,
    }
}

/// What `$sdp(…)` asks for.
enum Attribute {
    Body,
    SessVersion,
}

fn compile(inner: &PvInner<'_>) -> Result<PvData, String> {
    let attribute = match inner.text {
        b"body" => Attribute::Body,
        b"sess_version" => Attribute::SessVersion,
        other => {
            return Err(format!(
                "{:?} is neither body nor sess_version",
                String::from_utf8_lossy(other)
            ));
        }
    };
    Ok(PvData::Other(Box::new(attribute)))
}

/// The place of sess-version: the third word of `o=` (RFC 8866 §5.2).
fn sess_version(sdp: Sdp<'_>) -> Option<Range<usize>> {
    let line = sdp.lines().find(|line| sdp.at(&line.text).starts_with(b"o="))?;
    let mut start = line.text.start;
    for (n, word) in sdp.at(&line.text).split(|byte| *byte == b' ').enumerate() {
        if n == 2 {
            return Some(start..start + word.len());
        }
        start += word.len() + 1;
    }
    None
}

fn attribute<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let (Some((sdp, _)), Some(attribute)) = (of(env), spec.other::<Attribute>()) else {
        return Value::Null;
    };
    match attribute {
        Attribute::Body => Value::text(sdp.text()),
        Attribute::SessVersion => match sess_version(sdp) {
            Some(place) => Value::text(sdp.at(&place)),
            None => Value::Null,
        },
    }
}

fn set_attribute(env: &mut Env<'_>, spec: &PvSpec, value: Value<'_>) -> Result<(), SetError> {
    let missing = || SetError::Missing("no session description".to_owned());
    if !matches!(spec.other(), Some(Attribute::SessVersion)) {
        return Err(SetError::Missing("$sdp(body) is read only".to_owned()));
    }
    let (sdp, base) = of(env).ok_or_else(missing)?;
    let place = sess_version(sdp).ok_or_else(missing)?;
    let now = std::str::from_utf8(sdp.at(&place))
        .ok()
        .and_then(|text| text.parse::<u64>().ok());
    let wanted = match value.to_int() {
        -1 => now.ok_or_else(missing)?.saturating_add(1),
        number => u64::try_from(number).map_err(|_| SetError::Value(number.to_string()))?,
    };
    let place = base + place.start..base + place.end;
    env.ctx.lumps.replace(place, wanted.to_string().as_bytes());
    Ok(())
}
