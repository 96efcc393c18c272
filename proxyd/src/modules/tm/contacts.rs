//! Serial forking by q, and the flows of one device one after another (Kamailio tm, `t_load_contacts()` and what follows it).

use super::Tm;
use crate::proxy::branch::Branch;
use crate::script::lists::Item;
use crate::script::lists::Lists;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Script;
use crate::script::value::Value;

/// The `$xavp()` lists that branches wait in, one item a branch.
struct Waiting<'a> {
    /// The next to be tried on top.
    contacts: &'a [u8],
    /// Further flows of devices that were tried; none when the script has no list for them.
    flows: Option<&'a [u8]>,
}

fn waiting(script: &Script) -> Option<Waiting<'_>> {
    let tm = script.states.get::<Tm>()?;
    if tm.contacts_avp.is_empty() {
        crate::log::error(
            "tm",
            format_args!("serial forking needs the parameter contacts_avp"),
        );
        return None;
    }
    Some(Waiting {
        contacts: &tm.contacts_avp,
        flows: (!tm.contact_flows_avp.is_empty()).then_some(&tm.contact_flows_avp),
    })
}

/// Puts the branches aside: by q, or with mode 1 in an order drawn by lot in which q is the weight.
pub(super) fn t_load_contacts(call: &mut Call<'_, '_>) -> Code {
    let by_weight = call.opt_int(0) == Some(1);
    let env = &mut *call.env;
    let Some(waiting) = waiting(env.script) else {
        return Code::FALSE;
    };
    let ctx = &mut *env.ctx;
    if ctx.branches.is_empty() {
        return Code::TRUE;
    }
    let first = Branch {
        uri: ctx.uri().to_vec(),
        dst_uri: ctx.dst_uri.take(),
        path: ctx.path.take(),
        q: ctx.q,
        flags: ctx.bflags,
        socket: ctx.send_socket,
        instance: ctx.instance.take(),
        ruid: ctx.ruid.take(),
        location_ua: ctx.location_ua.take(),
    };
    let mut all: Vec<Branch> = std::iter::once(first).chain(ctx.branches.drain(..)).collect();
    if by_weight {
        all = draw(all, || env.host.random());
        all.reverse();
    } else {
        all.sort_by_key(|branch| branch.q);
    }
    // the first to be tried is pushed last, and so on top
    let mut lower = None;
    for branch in all {
        let ends = by_weight || lower.is_none_or(|lower| lower != branch.q);
        lower = Some(branch.q);
        let item = Item::Fields(fields(branch, ends));
        env.lists.xavp.push(waiting.contacts, item);
    }
    Code::TRUE
}

/// Draws an order: each next one with the probability that its q is of the sum; those without come last.
fn draw(all: Vec<Branch>, mut random: impl FnMut() -> u64) -> Vec<Branch> {
    let (mut weighted, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|branch| branch.q > 0);
    let mut drawn = Vec::with_capacity(weighted.len() + rest.len());
    while !weighted.is_empty() {
        let weight = |branch: &Branch| u64::from(branch.q.unsigned_abs());
        let sum: u64 = weighted.iter().map(weight).sum();
        let mut lot = random() % sum.max(1);
        let place = weighted.iter().position(|branch| {
            let hit = lot < weight(branch);
            lot = lot.saturating_sub(weight(branch));
            hit
        });
        drawn.push(weighted.remove(place.unwrap_or(0)));
    }
    drawn.extend(rest);
    drawn
}

/// Takes the contacts that are tried together: the first becomes the request's own, the others are appended.
///
/// Of one `+sip.instance` only one is taken, when there is a list for its further flows.
pub(super) fn t_next_contacts(call: &mut Call<'_, '_>) -> Code {
    let env = &mut *call.env;
    let Some(waiting) = waiting(env.script) else {
        return Code::FALSE;
    };
    if let Some(flows) = waiting.flows {
        while env.lists.xavp.remove(flows, 0) {}
    }
    let mut taken: Vec<Branch> = Vec::new();
    while let Some(item @ Item::Fields(_)) = env.lists.xavp.item(waiting.contacts, 0) {
        let (next, ends) = branch(item);
        env.lists.xavp.remove(waiting.contacts, 0);
        let same = |other: &Branch| next.instance.is_some() && other.instance == next.instance;
        match waiting.flows {
            Some(flows) if taken.iter().any(same) => {
                env.lists.xavp.push(flows, Item::Fields(fields(next, true)));
            }
            _ => taken.push(next),
        }
        if ends {
            break;
        }
    }
    let mut taken = taken.into_iter();
    let Some(first) = taken.next() else {
        return Code(-2);
    };
    let socket = first.socket;
    env.ctx.aim(first);
    env.ctx.send_socket = socket;
    env.ctx.branches.extend(taken);
    Code::TRUE
}

/// After a branch has failed: adds another flow of its device to the targets.
pub(super) fn t_next_contact_flow(call: &mut Call<'_, '_>) -> Code {
    let env = &mut *call.env;
    let Some(flows) = waiting(env.script).and_then(|waiting| waiting.flows) else {
        return Code::FALSE;
    };
    let failed = env.host.transaction().and_then(|view| {
        let branch = view.branches.get(view.current_branch)?;
        branch.instance.map(<[u8]>::to_vec)
    });
    let Some(instance) = failed else { return Code(-2) };
    let Some((place, next)) = flow_of(env.lists, flows, &instance) else {
        return Code(-2);
    };
    env.lists.xavp.remove(flows, place);
    Code::from(env.ctx.append_branch(next).is_ok())
}

/// The first waiting flow of a device, and its place.
fn flow_of(lists: &Lists, flows: &[u8], instance: &[u8]) -> Option<(usize, Branch)> {
    let mut place = 0_usize;
    while let Some(item @ Item::Fields(_)) = lists.xavp.items(flows).nth(place) {
        let (flow, _) = branch(item);
        if flow.instance.as_deref() == Some(instance) {
            return Some((place, flow));
        }
        place += 1;
    }
    None
}

/// A branch as the fields of an item; `qflag` ends the contacts that are tried together.
fn fields(branch: Branch, ends: bool) -> Vec<(Box<[u8]>, Value<'static>)> {
    let optional = |value: Option<Vec<u8>>| value.map_or(Value::Null, Value::owned);
    vec![
        (Box::from(&b"q"[..]), Value::Int(i64::from(branch.q))),
        (Box::from(&b"qflag"[..]), Value::Int(i64::from(ends))),
        (Box::from(&b"uri"[..]), Value::owned(branch.uri)),
        (Box::from(&b"dst_uri"[..]), optional(branch.dst_uri)),
        (Box::from(&b"path"[..]), optional(branch.path)),
        (Box::from(&b"flags"[..]), Value::Int(i64::from(branch.flags))),
        (
            Box::from(&b"sock"[..]),
            branch.socket.map_or(Value::Null, |id| Value::Int(i64::from(id))),
        ),
        (Box::from(&b"instance"[..]), optional(branch.instance)),
        (Box::from(&b"ruid"[..]), optional(branch.ruid)),
        (Box::from(&b"ua"[..]), optional(branch.location_ua)),
    ]
}

/// A branch of the fields of an item, and whether it ends the contacts that are tried together.
fn branch(item: &Item) -> (Branch, bool) {
    let field = |name: &[u8]| item.field(name).unwrap_or(&Value::Null);
    let text = |name: &[u8]| {
        let value = field(name);
        (!value.is_null()).then(|| value.to_text().into_owned())
    };
    let branch = Branch {
        uri: text(b"uri").unwrap_or_default(),
        dst_uri: text(b"dst_uri"),
        path: text(b"path"),
        q: i32::try_from(field(b"q").to_int()).unwrap_or(-1),
        flags: u32::try_from(field(b"flags").to_int()).unwrap_or(0),
        socket: u16::try_from(field(b"sock").to_int())
            .ok()
            .filter(|_| !field(b"sock").is_null()),
        instance: text(b"instance"),
        ruid: text(b"ruid"),
        location_ua: text(b"ua"),
    };
    (branch, field(b"qflag").to_int() != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_is_the_weight_of_a_lot() {
        let branch = |q| Branch {
            q,
            ..Branch::default()
        };
        let drawn = |lots: &[u64]| {
            let mut lots = lots.iter().copied();
            let all = vec![branch(-1), branch(300), branch(700), branch(0)];
            let order = draw(all, || lots.next().expect("a lot for each weight"));
            order.iter().map(|branch| branch.q).collect::<Vec<_>>()
        };
        assert_eq!(drawn(&[0, 0]), [300, 700, -1, 0]);
        assert_eq!(drawn(&[299, 0]), [300, 700, -1, 0]);
        assert_eq!(drawn(&[300, 5]), [700, 300, -1, 0]);
        assert_eq!(drawn(&[1999, u64::MAX]), [700, 300, -1, 0]);
    }

    #[test]
    fn branches_are_kept_as_fields() {
        let kept = Branch {
            uri: b"sip:a@b".to_vec(),
            q: 500,
            flags: 3,
            socket: Some(2),
            instance: Some(b"<urn:uuid:1>".to_vec()),
            ..Branch::default()
        };
        for ends in [true, false] {
            let item = Item::Fields(fields(kept.clone(), ends));
            assert_eq!(branch(&item), (kept.clone(), ends));
        }
    }
}
