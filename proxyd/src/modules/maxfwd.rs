//! `loadmodule "maxfwd"`: hop limit (RFC 3261 §16.3 step 3, §16.6 step 3).

use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Routes;
use crate::script::module::State;
use crate::script::value::print_int;
use shared::sip::Header;
use shared::sip::HeaderName;
use shared::sip::scan::number;
use std::sync::Arc;

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[Param::Int("max_limit", 70, "Ceiling for Max-Forwards.")],
    functions: &[
        Function {
            names: &["mf_process_maxfwd_header", "maxfwd_process", "process_maxfwd"],
            args: &[Arg::Int("max_value")],
            routes: Routes::REQUEST,
            doc: "Decrements Max-Forwards; false when it had reached zero, 2 when it was added.",
            call: process,
        },
        Function {
            names: &["is_maxfwd_lt", "mf_lowlimit"],
            args: &[Arg::Int("max_value")],
            routes: Routes::REQUESTS,
            doc: "True when Max-Forwards is below a value; -2 without the header.",
            call: is_lower,
        },
        Function {
            names: &["maxfwd_at_least"],
            args: &[Arg::Int("max_value")],
            routes: Routes::REQUESTS,
            doc: "True when Max-Forwards is not below a value; -2 without the header.",
            call: is_at_least,
        },
    ],
    init: Some(init),
    ..ModuleDef::new("maxfwd", "Limits the hops a request may take.")
};

struct Limit(i64);

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let limit = init.int("max_limit");
    if !(1..=i64::from(u32::MAX)).contains(&limit) {
        return Err(InitError::Param {
            name: "max_limit",
            why: format!("{limit} is not between 1 and {}", u32::MAX),
        });
    }
    Ok(Arc::new(Limit(limit)))
}

/// The header with its number; none when it is missing.
fn found<'c>(call: &'c Call<'_, '_>) -> Option<(&'c Header, Option<i64>)> {
    let msg = &call.env.ctx.msg;
    let header = msg.first_header(HeaderName::MaxForwards)?;
    Some((header, number(msg.value(header)).map(i64::from)))
}

fn process(call: &mut Call<'_, '_>) -> Code {
    let limit = call.state::<Limit>().map_or(70, |limit| limit.0);
    match found(call) {
        None => {
            let line = format!("Max-Forwards: {}\r\n", call.int(0).clamp(0, limit));
            let ctx = &mut *call.env.ctx;
            ctx.lumps.append_header(&ctx.msg, line.as_bytes());
            Code(2)
        }
        Some((_, None)) => {
            crate::log::error("maxfwd", format_args!("unable to parse the max forwards number"));
            Code(-2)
        }
        Some((_, Some(0))) => Code::FALSE,
        Some((header, Some(number))) => {
            let header = header.clone();
            let lumps = &mut call.env.ctx.lumps;
            // a second call finds the header already rewritten
            if !lumps.is_deleted(header.value.start as usize) {
                let mut digits = Vec::new();
                print_int((number - 1).min(limit), &mut digits);
                lumps.replace_value(&header, &digits);
            }
            Code::TRUE
        }
    }
}

fn compare(call: &Call<'_, '_>, fits: impl Fn(i64, i64) -> bool) -> Code {
    match found(call) {
        None => Code(-2),
        Some((_, None)) => Code(-3),
        Some((_, Some(number))) => Code::from(fits(number, call.int(0))),
    }
}

fn is_lower(call: &mut Call<'_, '_>) -> Code {
    compare(call, |number, value| number < value)
}

fn is_at_least(call: &mut Call<'_, '_>) -> Code {
    compare(call, |number, value| number >= value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::testing::Stage;

    #[test]
    fn kamailio_answers_the_same() {
        for (header, lower, processed, written) in [
            ("Max-Forwards: 70\n", -1, 1, "Max-Forwards: 69\r\n"),
            ("Max-Forwards: 5\n", 1, 1, "Max-Forwards: 4\r\n"),
            ("Max-Forwards: 1000\n", -1, 1, "Max-Forwards: 70\r\n"),
            ("Max-Forwards: 0\n", 1, -1, "Max-Forwards: 0\r\n"),
            ("Max-Forwards: abc\n", -3, -2, "Max-Forwards: abc\r\n"),
            ("", -2, 2, "Max-Forwards: 10\r\n"),
        ] {
            let mut stage = Stage::new(&format!("OPTIONS sip:a SIP/2.0\n{header}CSeq: 1 OPTIONS\n\n"));
            assert_eq!(stage.call(&MODULE, "is_maxfwd_lt", &["10"]), lower, "{header}");
            assert_eq!(
                stage.call(&MODULE, "maxfwd_process", &["10"]),
                processed,
                "{header}"
            );
            assert!(stage.edited().contains(written), "{header} {}", stage.edited());
        }
    }
}
