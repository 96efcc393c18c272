//! `loadmodule "xlog"`: log lines with pseudo-variables (Kamailio xlog).

use crate::log::Level;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::CompiledArg;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Routes;
use crate::script::module::State;
use crate::script::pv::method_number;
use std::cell::RefCell;
use std::sync::Arc;

const fn row(
    names: &'static [&'static str],
    doc: &'static str,
    call: fn(&mut Call<'_, '_>) -> Code,
) -> Function {
    Function {
        names,
        args: &[Arg::Text("format")],
        routes: Routes::ANY,
        doc,
        call,
    }
}

const LEVELLED: &[Arg] = &[
    Arg::Text("level or format"),
    Arg::OptText("format or level"),
    Arg::OptText("format"),
];

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        Param::Int("buf_size", 4096, "Longest line."),
        Param::Text("prefix", "<script>: ", "What stands before each line."),
        Param::Int("methods_filter", -1, "Methods that xlogm() logs, by bit."),
        Param::Int(
            "long_format",
            0,
            "Lines of all functions begin with the number of their line in the script.",
        ),
        Param::Ignored("force_color", "colours are the terminal's affair"),
        Param::Ignored("log_colors", "colours are the terminal's affair"),
        Param::Ignored("prefix_mode", "the prefix is a plain text"),
        Param::Ignored("log_facility", "all lines share the facility of log_facility"),
        Param::Ignored("auto_newline", "every line is ended"),
    ],
    functions: &[
        Function::anywhere(
            &["xlog"],
            LEVELLED,
            "Logs a line; level L_ERR when none is given.",
            xlog,
        ),
        Function::anywhere(
            &["xlogl"],
            LEVELLED,
            "The same with the number of the line in the script.",
            xlogl,
        ),
        Function::anywhere(
            &["xlogm"],
            LEVELLED,
            "The same for the methods of methods_filter.",
            xlogm,
        ),
        row(&["xdbg", "xdebug"], "Logs a line at level DEBUG.", |call| {
            log(call, Level::Debug, 0)
        }),
        row(
            &["xdbgl"],
            "Logs a line at level DEBUG with the number of its line in the script.",
            |call| numbered(call, Level::Debug, 0),
        ),
        row(&["xinfo"], "Logs a line at level INFO.", |call| {
            log(call, Level::Info, 0)
        }),
        row(&["xnotice"], "Logs a line at level NOTICE.", |call| {
            log(call, Level::Notice, 0)
        }),
        row(&["xwarn"], "Logs a line at level WARNING.", |call| {
            log(call, Level::Warning, 0)
        }),
        row(&["xerr"], "Logs a line at level ERROR.", |call| {
            log(call, Level::Error, 0)
        }),
        row(&["xbug"], "Logs a line at level BUG.", |call| {
            log(call, Level::Bug, 0)
        }),
        row(&["xcrit"], "Logs a line at level CRITICAL.", |call| {
            log(call, Level::Critical, 0)
        }),
        row(&["xalert"], "Logs a line at level ALERT.", |call| {
            log(call, Level::Alert, 0)
        }),
    ],
    init: Some(init),
    ..ModuleDef::new("xlog", "Logs lines with pseudo-variables.")
};

struct Settings {
    longest: usize,
    /// A prefix other than the usual one, without its colon.
    prefix: Option<String>,
    methods: i64,
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let longest = usize::try_from(init.int("buf_size"))
        .ok()
        .filter(|size| *size > 0);
    let Some(longest) = longest else {
        return Err(InitError::Param {
            name: "buf_size",
            why: "it must be above 0".to_owned(),
        });
    };
    let prefix = init.text("prefix");
    let bare = prefix.trim_end().trim_end_matches(':');
    Ok(Arc::new(Settings {
        longest: longest.max(4096),
        prefix: (bare != "<script>" && !bare.is_empty()).then(|| bare.to_owned()),
        methods: init.int("methods_filter"),
    }))
}

/// The level of a name such as `L_ERR`, or of a number.
fn level_of(name: &[u8]) -> Level {
    match name.strip_prefix(b"L_").unwrap_or(name) {
        b"ALERT" => Level::Alert,
        b"BUG" => Level::Bug,
        b"CRIT" | b"CRIT2" => Level::Critical,
        b"ERR" | b"ERROR" => Level::Error,
        b"WARN" | b"WARNING" => Level::Warning,
        b"NOTICE" => Level::Notice,
        b"INFO" => Level::Info,
        b"DBG" | b"DEBUG" => Level::Debug,
        number => match crate::script::value::leading_int(number) {
            Some(n) => Level::from_number(n),
            None => Level::Error,
        },
    }
}

/// The level and the place of the format: `format`, `level, format` or `facility, level, format`.
fn parts(call: &Call<'_, '_>) -> (Level, usize) {
    match call.count() {
        0 | 1 => (Level::Error, 0),
        2 => (level_of(&call.text(0)), 1),
        _ => (level_of(&call.text(1)), 2),
    }
}

fn xlog(call: &mut Call<'_, '_>) -> Code {
    let (level, n) = parts(call);
    log(call, level, n)
}

fn xlogl(call: &mut Call<'_, '_>) -> Code {
    let (level, n) = parts(call);
    numbered(call, level, n)
}

fn xlogm(call: &mut Call<'_, '_>) -> Code {
    let mask = call.state::<Settings>().map_or(-1, |settings| settings.methods);
    if mask >= 0 && method_number(call.env.ctx.msg.method()) & mask == 0 {
        return Code::TRUE;
    }
    xlog(call)
}

thread_local! {
    /// Lines are made in one place, over and over.
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn log(call: &mut Call<'_, '_>, level: Level, n: usize) -> Code {
    if !call.env.may_write() {
        return explain(call, level, n);
    }
    if crate::log::enabled_for("xlog", level) {
        LINE.with_borrow_mut(|line| {
            line.clear();
            write(call, level, n, line);
        });
    }
    Code::TRUE
}

fn numbered(call: &mut Call<'_, '_>, level: Level, n: usize) -> Code {
    if !call.env.may_write() {
        return explain(call, level, n);
    }
    if crate::log::enabled_for("xlog", level) {
        let mut line = format!("{}:", call.line()).into_bytes();
        write(call, level, n, &mut line);
    }
    Code::TRUE
}

/// Shows the line in the trace: a sandbox does not log.
fn explain(call: &mut Call<'_, '_>, level: Level, n: usize) -> Code {
    let mut line = Vec::new();
    print(call, n, &mut line);
    let text = String::from_utf8_lossy(&line);
    call.env.note(format_args!("log {level:?}: {}", text.trim_end()));
    Code::TRUE
}

/// Completes a line and logs it.
fn write(call: &Call<'_, '_>, level: Level, n: usize, line: &mut Vec<u8>) {
    print(call, n, line);
    let settings = call.state::<Settings>();
    line.truncate(settings.map_or(4096, |settings| settings.longest));
    match settings.and_then(|settings| settings.prefix.as_deref()) {
        None => crate::log::script(level, line),
        Some(prefix) => crate::log::write(
            level,
            prefix,
            format_args!("{}", String::from_utf8_lossy(line).trim_end()),
        ),
    }
}

/// Appends an argument as a log line shows it: null is `<null>`.
fn print(call: &Call<'_, '_>, n: usize, line: &mut Vec<u8>) {
    match call.args.get(n) {
        Some(CompiledArg::Format(format)) => format.print(call.env, line),
        Some(CompiledArg::Pv(pv)) => pv.print(call.env, line),
        _ => call.value(n).print(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_names_and_numbers() {
        for (name, expected) in [
            ("L_ERR", Level::Error),
            ("L_WARN", Level::Warning),
            ("L_DBG", Level::Debug),
            ("L_CRIT", Level::Critical),
            ("L_ALERT", Level::Alert),
            ("3", Level::Debug),
            ("-1", Level::Error),
            ("what", Level::Error),
        ] {
            assert_eq!(level_of(name.as_bytes()), expected, "{name}");
        }
    }
}
