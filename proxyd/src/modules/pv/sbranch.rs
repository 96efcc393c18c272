//! The static branch, and a first branch taken from an XAVP (Kamailio pv, `sbranch_*`, `xavp_push_dst`).

use crate::proxy::branch::Branch;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::pv::branch::q_number;
use crate::script::pv::branch::reset_static;
use crate::script::pv::branch::with_static;
use crate::script::pv::find_socket;

/// Makes a branch the first one of a request.
fn make_first(call: &mut Call<'_, '_>, branch: Branch) -> Code {
    if branch.uri.is_empty() {
        return Code::FALSE;
    }
    call.env.ctx.aim(branch);
    Code::TRUE
}

pub(super) fn set_ruri(call: &mut Call<'_, '_>) -> Code {
    let branch = with_static(|branch| branch.clone());
    make_first(call, branch)
}

pub(super) fn append(call: &mut Call<'_, '_>) -> Code {
    let own = with_static(|branch| branch.clone());
    Code::from(!own.uri.is_empty() && call.env.ctx.append_branch(own).is_ok())
}

pub(super) fn reset(_: &mut Call<'_, '_>) -> Code {
    reset_static();
    Code::TRUE
}

pub(super) fn push_dst(call: &mut Call<'_, '_>) -> Code {
    let name = call.text_owned(0);
    let lists = &*call.env.lists;
    let field = |part: &[u8]| lists.xavp.field(&name, part);
    let text = |part: &[u8]| {
        field(part)
            .map(|value| value.to_text().into_owned())
            .filter(|text| !text.is_empty())
    };
    let made = Branch {
        uri: text(b"uri").unwrap_or_default(),
        dst_uri: text(b"dst_uri").or_else(|| text(b"dsturi")),
        path: text(b"path"),
        q: text(b"q").map_or(-1, |q| q_number(&q)),
        flags: field(b"flags")
            .and_then(|value| u32::try_from(value.to_int()).ok())
            .unwrap_or(0),
        socket: text(b"sockname")
            .or_else(|| text(b"socket"))
            .and_then(|text| find_socket(call.env, &text)),
        ..Branch::default()
    };
    make_first(call, made)
}
