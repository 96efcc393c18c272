//! P-Charging-Vector: `sip_p_charging_vector()` and `$pcv(name)` (Kamailio siputils; RFC 7315 §5.6).

use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::module::Pv;
use crate::script::module::PvData;
use crate::script::module::PvInner;
use crate::script::module::PvSpec;
use crate::script::value::Value;
use shared::sip::HeaderName;
use shared::sip::params::find;
use std::net::IpAddr;

/// The rows.
pub(super) const PVS: &[Pv] = &[Pv::class(
    &["pcv"],
    "P-Charging-Vector: all, value, genaddr, orig, term, status.",
    compile,
    read,
)];

const PARTS: &[(&[u8], &[u8])] = &[
    (b"all", b""),
    (b"value", b"icid-value"),
    (b"genaddr", b"icid-generated-at"),
    (b"orig", b"orig-ioi"),
    (b"term", b"term-ioi"),
    (b"status", b""),
];

fn compile(inner: &PvInner<'_>) -> Result<PvData, String> {
    let at = PARTS
        .iter()
        .position(|(name, _)| *name == inner.text)
        .and_then(|at| i64::try_from(at).ok());
    at.map(PvData::Number).ok_or_else(|| {
        format!(
            "{:?} is no part of P-Charging-Vector",
            String::from_utf8_lossy(inner.text)
        )
    })
}

fn read<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let value = env.ctx.msg.first(HeaderName::PChargingVector);
    let PvData::Number(part) = spec.data else {
        return Value::Null;
    };
    let param = |name: &[u8]| {
        let text = value.and_then(|value| find(value, name)).flatten();
        text.map(|text| {
            text.strip_prefix(b"\"")
                .and_then(|t| t.strip_suffix(b"\""))
                .unwrap_or(text)
        })
    };
    match part {
        0 => Value::maybe(value),
        5 => Value::Int(match (value, param(b"icid-value")) {
            (None, _) => 0,
            (Some(_), Some(_)) => 1,
            (Some(_), None) => 2,
        }),
        part => {
            let name = usize::try_from(part)
                .ok()
                .and_then(|at| PARTS.get(at))
                .map_or(b"".as_slice(), |(_, name)| name);
            Value::maybe(param(name))
        }
    }
}

pub(super) fn manage(call: &mut Call<'_, '_>) -> Code {
    let flags = call.text(0).to_ascii_lowercase();
    let forced = flags.contains(&b'f');
    let (removes, makes) = (forced || flags.contains(&b'r'), forced || flags.contains(&b'g'));
    let (first, second) = (call.env.host.random(), call.env.host.random());
    let ctx = &mut *call.env.ctx;
    let mut present = false;
    for header in ctx.msg.all(HeaderName::PChargingVector) {
        present = true;
        if removes {
            ctx.lumps.delete_header(header);
        }
    }
    if !makes || (present && !removes) {
        return Code::TRUE;
    }
    let at = match ctx.source.local.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let line = format!("P-Charging-Vector: icid-value={first:016x}{second:016x};icid-generated-at={at}\r\n");
    ctx.lumps.append_header(&ctx.msg, line.as_bytes());
    Code::TRUE
}
