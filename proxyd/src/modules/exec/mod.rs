//! `loadmodule "exec"`: external commands with the message at hand (Kamailio module exec).

mod command;
mod environment;

use crate::proxy::branch::Branch;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::RouteKind;
use crate::script::module::State;
use crate::script::value::Value;
use command::Command;
use command::Ended;
use std::sync::Arc;
use std::time::Duration;

/// How long a command may take where the script does not say.
const TIME_TO_KILL: i64 = 30;

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        Param::Int(
            "setvars",
            1,
            "Commands find the message in their environment: SIP_HF_FROM and so on.",
        ),
        Param::Int(
            "time_to_kill",
            TIME_TO_KILL,
            "Seconds after which a command and what it started are killed; the worker waits for it so long.",
        ),
    ],
    functions: &[
        Function {
            names: &["exec_dset"],
            args: &[Arg::Text("command")],
            routes: RouteKind::REQUEST.or(RouteKind::FAILURE),
            doc: "Runs a command with the Request-URI as its argument; the lines that it writes become the target set.",
            call: exec_dset,
        },
        Function {
            names: &["exec_msg"],
            args: &[Arg::Text("command")],
            routes: RouteKind::REQUEST.or(RouteKind::FAILURE),
            doc: "Runs a command that reads the message; true when it exits with 0.",
            call: exec_msg,
        },
        Function {
            names: &["exec_avp"],
            args: &[Arg::Text("command"), Arg::OptLiteral("avplist")],
            routes: RouteKind::REQUEST.or(RouteKind::FAILURE),
            doc: "Runs a command; the lines that it writes become AVPs, $avp(i:1) and so on when none are named.",
            call: exec_avp,
        },
        Function::anywhere(
            &["exec_cmd"],
            &[Arg::Text("command")],
            "Runs a command that gets nothing of the message; true when it exits with 0.",
            exec_cmd,
        ),
    ],
    init: Some(init),
    ..ModuleDef::new("exec", "External commands.")
};

struct Exec {
    setvars: bool,
    time: Duration,
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let seconds = match u64::try_from(init.int("time_to_kill")) {
        Ok(seconds) if seconds > 0 => seconds,
        _ => TIME_TO_KILL.unsigned_abs(),
    };
    Ok(Arc::new(Exec {
        setvars: init.int("setvars") != 0,
        time: Duration::from_secs(seconds),
    }))
}

/// Runs the first argument as a command, changed by `prepare`; none when it could not be run to its end.
fn run(call: &Call<'_, '_>, prepare: impl FnOnce(&mut Command)) -> Option<Ended> {
    let exec = call.state::<Exec>()?;
    let mut command = Command::new(call.text_owned(0), exec.time);
    prepare(&mut command);
    let text = String::from_utf8_lossy(&command.text).into_owned();
    match command.run() {
        Ok(ended) => Some(ended),
        Err(why) => {
            crate::log::error("exec", format_args!("{}({text:?}): {why}", call.name));
            None
        }
    }
}

fn with_message(call: &Call<'_, '_>, command: &mut Command) {
    if call.state::<Exec>().is_some_and(|exec| exec.setvars) {
        command.variables = environment::of(call.env.ctx);
    }
}

fn exec_cmd(call: &mut Call<'_, '_>) -> Code {
    let ended = run(call, |_| {});
    Code::from(ended.is_some_and(|ended| ended.success))
}

fn exec_msg(call: &mut Call<'_, '_>) -> Code {
    let ended = run(call, |command| {
        with_message(call, command);
        command.input = Some(call.env.ctx.msg.as_bytes().to_vec());
    });
    Code::from(ended.is_some_and(|ended| ended.success))
}

fn exec_avp(call: &mut Call<'_, '_>) -> Code {
    let listed = call.has(1).then(|| call.text(1).into_owned());
    let names = match listed.as_deref().map(names_of) {
        Some(None) => {
            crate::log::error(
                "exec",
                format_args!("exec_avp: {:?} is no list of AVPs", call.value(1)),
            );
            return Code::FALSE;
        }
        Some(Some(names)) => Some(names),
        None => None,
    };
    let ended = run(call, |command| {
        with_message(call, command);
        command.reads = true;
    });
    let Some(ended) = ended else {
        return Code::FALSE;
    };
    for (at, line) in ended.lines().enumerate() {
        let name = match &names {
            Some(names) => names.get(at).cloned(),
            None => Some(format!("i:{}", at + 1).into_bytes().into()),
        };
        let Some(name) = name else { break };
        call.env.lists.push_avp(&name, Value::owned(line));
    }
    Code::from(ended.success)
}

/// The names of `$avp(a);$avp(b)`.
fn names_of(list: &[u8]) -> Option<Vec<Box<[u8]>>> {
    let list = std::str::from_utf8(list).ok()?;
    let names = list
        .split([';', ','])
        .map(str::trim)
        .filter(|name| !name.is_empty());
    names.map(super::avp_name).collect()
}

fn exec_dset(call: &mut Call<'_, '_>) -> Code {
    let uri = call.env.ctx.uri().to_vec();
    let ended = run(call, |command| {
        with_message(call, command);
        command.text.push(b' ');
        command.text.extend_from_slice(&uri);
        command.reads = true;
    });
    let Some(ended) = ended.filter(|ended| ended.success) else {
        return Code::FALSE;
    };
    let ctx = &mut *call.env.ctx;
    let mut lines = ended.lines();
    let Some(first) = lines.next() else {
        return Code::FALSE;
    };
    ctx.set_uri(first.to_vec());
    for line in lines {
        if ctx.append_branch(Branch::new(line.to_vec())).is_err() {
            return Code::FALSE;
        }
    }
    Code::TRUE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::testing::Bench;

    #[test]
    fn avp_lists() {
        let names = |list: &str| names_of(list.as_bytes()).map(|names| names.len());
        for (list, expected) in [
            ("$avp(a);$avp(s:b)", Some(2)),
            ("$avp(a), $avp(i:3)", Some(2)),
            ("$var(a)", None),
        ] {
            assert_eq!(names(list), expected, "{list}");
        }
    }

    #[test]
    fn output_and_status() {
        let mut bench = Bench::new(&[(&MODULE, &[])]);
        bench.receive("OPTIONS sip:a@b SIP/2.0\r\nCSeq: 1 OPTIONS\r\n\r\n");
        for (name, args, expected) in [
            ("exec_cmd", &["exit 0"][..], 1),
            ("exec_cmd", &["exit 3"], -1),
            ("exec_msg", &["grep -q ^OPTIONS"], 1),
            ("exec_avp", &["echo one; echo; echo two", "$avp(a);$avp(b)"], 1),
            ("exec_dset", &["printf 'sip:a@b\\nsip:c@d\\n' #"], 1),
            ("exec_dset", &["true"], -1),
        ] {
            assert_eq!(bench.call(name, args), expected, "{name}{args:?}");
        }
    }
}
