//! `loadmodule "regex"`: Perl-like regular expressions and groups of them in a file (Kamailio regex).
//!
//! The engine is linear in time: look-around and back references are refused.

use crate::control::methods::RpcCall;
use crate::control::methods::RpcFault;
use crate::control::methods::RpcReply;
use crate::control::methods::RpcResult;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Rpc;
use crate::script::module::Script;
use crate::script::module::State;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use regex::bytes::Regex;
use regex::bytes::RegexBuilder;
use std::collections::VecDeque;
use std::sync::Arc;

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        Param::Text(
            "file",
            "",
            "File with groups of expressions: [0], then one a line.",
        ),
        Param::Int("max_groups", 20, "Most groups in the file."),
        Param::Int("group_max_size", 8192, "Longest group."),
        Param::Int("pcre_caseless", 0, "Match without case."),
        Param::Int("pcre_multiline", 0, "Let ^ and $ match at line ends."),
        Param::Int("pcre_dotall", 0, "Let . match line ends."),
        Param::Int(
            "pcre_extended",
            0,
            "Ignore white space and comments in expressions.",
        ),
    ],
    functions: &[
        Function::anywhere(
            &["pcre_match"],
            &[Arg::Text("string"), Arg::Text("pcre_regex")],
            "True when an expression matches.",
            pcre_match,
        ),
        Function::anywhere(
            &["pcre_match_group"],
            &[Arg::Text("string"), Arg::OptInt("group")],
            "True when an expression of a group matches.",
            pcre_match_group,
        ),
    ],
    rpcs: &[Rpc {
        name: "regex.reload",
        doc: "Reads the file again.",
        call: reload,
    }],
    init: Some(init),
    ..ModuleDef::new("regex", "Perl-like regular expressions.")
};

struct Expressions {
    file: String,
    max_groups: usize,
    group_max_size: usize,
    options: Options,
    groups: ArcSwap<Vec<Regex>>,
    /// Expressions used lately.
    recent: Mutex<VecDeque<Known>>,
}

/// An expression as written, and compiled unless it is wrong.
type Known = (Box<[u8]>, Option<Regex>);

#[derive(Clone, Copy, Default)]
struct Options {
    caseless: bool,
    multiline: bool,
    dotall: bool,
    extended: bool,
}

impl Options {
    fn compile(self, text: &str) -> Result<Regex, regex::Error> {
        RegexBuilder::new(text)
            .unicode(false)
            .case_insensitive(self.caseless)
            .multi_line(self.multiline)
            .dot_matches_new_line(self.dotall)
            .ignore_whitespace(self.extended)
            .size_limit(1 << 22)
            .build()
    }
}

/// How many expressions of `pcre_match()` are remembered.
const KEPT: usize = 64;

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let size = |name: &str| usize::try_from(init.int(name)).unwrap_or(0);
    let expressions = Expressions {
        file: init.text("file"),
        max_groups: size("max_groups"),
        group_max_size: size("group_max_size"),
        options: Options {
            caseless: init.int("pcre_caseless") != 0,
            multiline: init.int("pcre_multiline") != 0,
            dotall: init.int("pcre_dotall") != 0,
            extended: init.int("pcre_extended") != 0,
        },
        groups: ArcSwap::default(),
        recent: Mutex::default(),
    };
    if !expressions.file.is_empty() {
        let groups = expressions
            .load()
            .map_err(|why| InitError::Param { name: "file", why })?;
        expressions.groups.store(Arc::new(groups));
    }
    Ok(Arc::new(expressions))
}

impl Expressions {
    /// Reads the groups of the file.
    fn load(&self) -> Result<Vec<Regex>, String> {
        let text = std::fs::read_to_string(&self.file).map_err(|why| format!("{}: {why}", self.file))?;
        self.parse(&text).map_err(|why| format!("{}: {why}", self.file))
    }

    fn parse(&self, text: &str) -> Result<Vec<Regex>, String> {
        let mut groups: Vec<String> = Vec::new();
        for line in text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            if let Some(number) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'))
                && let Ok(number) = number.parse::<usize>()
            {
                if number != groups.len() {
                    return Err(format!("group [{number}] is not [{}]", groups.len()));
                }
                if number >= self.max_groups {
                    return Err(format!("more than max_groups={} groups", self.max_groups));
                }
                groups.push(String::new());
                continue;
            }
            let Some(group) = groups.last_mut() else {
                return Err(format!("{line:?} stands before the first group [0]"));
            };
            if !group.is_empty() {
                group.push('|');
            }
            group.push_str(&format!("(?:{line})"));
            if group.len() > self.group_max_size {
                return Err(format!(
                    "group is longer than group_max_size={}",
                    self.group_max_size
                ));
            }
        }
        groups
            .iter()
            .map(|group| self.options.compile(group).map_err(|why| why.to_string()))
            .collect()
    }

    /// A compiled expression, remembered.
    fn compiled(&self, text: &[u8]) -> Option<Regex> {
        if let Some((_, known)) = self.recent.lock().iter().find(|(source, _)| **source == *text) {
            return known.clone();
        }
        let compiled = std::str::from_utf8(text)
            .map_err(|why| why.to_string())
            .and_then(|source| self.options.compile(source).map_err(|why| why.to_string()));
        let compiled = match compiled {
            Ok(regex) => Some(regex),
            Err(why) => {
                crate::log::error(
                    "regex",
                    format_args!("expression {:?}: {why}", text.escape_ascii().to_string()),
                );
                None
            }
        };
        let mut recent = self.recent.lock();
        recent.truncate(KEPT - 1);
        recent.push_front((text.into(), compiled.clone()));
        compiled
    }
}

fn pcre_match(call: &mut Call<'_, '_>) -> Code {
    let Some(regex) = call
        .state::<Expressions>()
        .and_then(|state| state.compiled(&call.text(1)))
    else {
        return Code(-4);
    };
    Code::from(regex.is_match(&call.text(0)))
}

fn pcre_match_group(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Expressions>() else {
        return Code::FALSE;
    };
    if state.file.is_empty() {
        crate::log::error(
            "regex",
            format_args!("pcre_match_group: group matching is disabled, see parameter file"),
        );
        return Code(-2);
    }
    let (number, groups) = (call.int(1), state.groups.load());
    match usize::try_from(number).ok().and_then(|number| groups.get(number)) {
        Some(regex) => Code::from(regex.is_match(&call.text(0))),
        None => {
            crate::log::error(
                "regex",
                format_args!("pcre_match_group: there is no group {number}"),
            );
            Code(-4)
        }
    }
}

fn reload(_: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let Some(state) = script
        .states
        .get::<Expressions>()
        .filter(|state| !state.file.is_empty())
    else {
        return Err(RpcFault::failed("Group matching not enabled"));
    };
    match state.load() {
        Ok(groups) => {
            state.groups.store(Arc::new(groups));
            Ok(RpcReply::empty())
        }
        Err(why) => Err(RpcFault::failed(format!("Failed to reload: {why}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::testing::Stage;

    fn expressions(text: &str) -> Result<Expressions, String> {
        let state = Expressions {
            file: "groups".to_owned(),
            max_groups: 2,
            group_max_size: 100,
            options: Options::default(),
            groups: ArcSwap::default(),
            recent: Mutex::default(),
        };
        let groups = state.parse(text)?;
        state.groups.store(Arc::new(groups));
        Ok(state)
    }

    #[test]
    fn expressions_and_groups_match() {
        let state = expressions("# greetings\n[0]\n^HOLA\n^ADIOS\n\n[1]\nx$\n").expect("two groups");
        let mut stage = Stage::options().with(Arc::new(state));
        for (name, args, expected) in [
            ("pcre_match", &["HOLA caracola", "^HOLA"][..], 1),
            ("pcre_match", &["hola", "^HOLA"], -1),
            ("pcre_match", &["hola", "(?i)^HOLA"], 1),
            ("pcre_match", &["a1", "\\d$"], 1),
            ("pcre_match", &["a", "("], -4),
            ("pcre_match_group", &["ADIOS", "0"], 1),
            ("pcre_match_group", &["other", "0"], -1),
            ("pcre_match_group", &["ADIOS"], 1),
            ("pcre_match_group", &["ax", "1"], 1),
            ("pcre_match_group", &["ax", "2"], -4),
        ] {
            assert_eq!(stage.call(&MODULE, name, args), expected, "{name}{args:?}");
        }
    }

    #[test]
    fn a_file_must_be_in_order() {
        for text in ["x\n", "[1]\nx", "[0]\n(", "[0]\n[1]\n[2]\n"] {
            assert!(expressions(text).is_err(), "{text}");
        }
    }
}
