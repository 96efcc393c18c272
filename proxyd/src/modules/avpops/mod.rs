//! `loadmodule "avpops"`: operations on AVPs (Kamailio avpops).

use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Function;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::pv::dynamic::Dynamic;
use crate::script::pv::lists::avp_name;
use crate::script::value::Value;
use std::borrow::Cow;

mod change;
mod check;
mod database;

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        Param::Text("db_url", "", "Database of avp_db_load() and its kin."),
        Param::Text("avp_table", "usr_preferences", "Table of preferences."),
        Param::Int("use_domain", 0, "A user is known with its domain."),
        Param::Text("uuid_column", "uuid", "Column."),
        Param::Text("username_column", "username", "Column."),
        Param::Text("domain_column", "domain", "Column."),
        Param::Text("attribute_column", "attribute", "Column."),
        Param::Text("value_column", "value", "Column."),
        Param::Text("type_column", "type", "Column."),
        Param::Ignored(
            "db_scheme",
            "a table is named with its columns, $scheme is refused",
        ),
    ],
    functions: &[
        Function::anywhere(
            &["avp_db_load"],
            &[Arg::Literal("source"), Arg::Literal("name")],
            "Loads AVPs of a user from the table: source[/username|domain|uri|uuid], $avp(name)[/table].",
            database::avp_db_load,
        ),
        Function::anywhere(
            &["avp_db_store"],
            &[Arg::Literal("source"), Arg::Literal("name")],
            "Stores AVPs that the table has not.",
            database::avp_db_store,
        ),
        Function::anywhere(
            &["avp_db_delete"],
            &[Arg::Literal("source"), Arg::Literal("name")],
            "Deletes AVPs from the table.",
            database::avp_db_delete,
        ),
        Function::anywhere(
            &["avp_db_query"],
            &[Arg::Text("query"), Arg::OptLiteral("dest")],
            "Runs a statement; its columns become AVPs, $avp(i:1) and so on when none are named. -2 without rows.",
            database::avp_db_query,
        ),
        Function::anywhere(
            &["avp_delete"],
            &[Arg::Literal("name")],
            "Deletes an AVP's newest value; /g all of them.",
            change::avp_delete,
        ),
        Function::anywhere(
            &["avp_copy"],
            &[Arg::Literal("old_name"), Arg::Literal("new_name")],
            "Copies an AVP; /g all values, /d moves, /n and /s convert.",
            change::avp_copy,
        ),
        Function::anywhere(
            &["avp_subst"],
            &[Arg::Literal("avps"), Arg::Subst("subst")],
            "Substitutes in an AVP: source/destination/flags.",
            change::avp_subst,
        ),
        Function::anywhere(
            &["avp_subst_pv"],
            &[Arg::Literal("avps"), Arg::Text("subst")],
            "The same with an expression made at run time.",
            change::avp_subst_pv,
        ),
        Function::anywhere(
            &["avp_op"],
            &[Arg::Literal("name"), Arg::Literal("op_value")],
            "Calculates: add sub mul div mod and or xor not.",
            change::avp_op,
        ),
        Function::anywhere(
            &["avp_pushto"],
            &[Arg::Literal("destination"), Arg::Literal("name")],
            "Writes a value to $ru, $ru/username, $ru/domain, $du or $br.",
            change::avp_pushto,
        ),
        Function::anywhere(
            &["avp_check"],
            &[Arg::Literal("name"), Arg::Literal("op_value")],
            "Compares: eq ne lt le gt ge re fm and or xor.",
            check::avp_check,
        ),
        Function::anywhere(
            &["is_avp_set"],
            &[Arg::Literal("name")],
            "True when an AVP is set; /e empty, /s a text, /n a number.",
            check::is_avp_set,
        ),
        Function::anywhere(&["avp_print"], &[], "Logs all AVPs.", check::avp_print),
    ],
    init: Some(database::init),
    ..ModuleDef::new("avpops", "Operations on AVPs.")
};

/// An argument taken apart: a variable, perhaps another one, flags in lower case.
struct Target {
    text: Vec<u8>,
    second: Option<Vec<u8>>,
    flags: Vec<u8>,
}

impl Target {
    fn has(&self, flag: u8) -> bool {
        self.flags.contains(&flag)
    }
}

/// Splits at slashes outside parentheses.
fn slashes(text: &[u8]) -> Vec<&[u8]> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0usize, 0);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b'/' if depth == 0 => {
                parts.push(text.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts
}

/// `a`, `a/flags`, `a/b` or `a/b/flags`.
fn target(text: &[u8]) -> Target {
    let parts = slashes(text);
    let part = |at: usize| parts.get(at).copied().unwrap_or_default();
    let (second, flags) = if part(1).starts_with(b"$") {
        (Some(part(1).to_vec()), part(2))
    } else if parts.len() > 2 {
        (None, part(2))
    } else {
        (None, part(1))
    };
    Target {
        text: part(0).trim_ascii().to_vec(),
        second,
        flags: flags.to_ascii_lowercase(),
    }
}

/// The name in `$avp(name)`, put together at run time when it holds variables.
fn name_of(call: &Call<'_, '_>, text: &[u8]) -> Option<Vec<u8>> {
    let inner = text
        .strip_prefix(b"$(avp(")
        .and_then(|rest| rest.split(|byte| *byte == b')').next());
    let inner = inner.or_else(|| {
        text.strip_prefix(b"$avp(")
            .and_then(|rest| rest.strip_suffix(b")"))
    })?;
    let inner = if inner.contains(&b'$') {
        Cow::Owned(crate::script::pv::dynamic::expand(call.env, inner))
    } else {
        Cow::Borrowed(inner)
    };
    Some(avp_name(&inner).to_vec())
}

/// The names of `$avp(a);$avp(b)`.
fn names_of(call: &Call<'_, '_>, list: &[u8]) -> Option<Vec<Vec<u8>>> {
    let names = list
        .split(|byte| matches!(byte, b';' | b','))
        .map(<[u8]>::trim_ascii);
    names
        .filter(|name| !name.is_empty())
        .map(|name| name_of(call, name))
        .collect()
}

/// The values of a variable, the newest first: of an AVP all, of any other its one.
fn values(call: &Call<'_, '_>, text: &[u8]) -> Vec<Value<'static>> {
    if let Some(name) = name_of(call, text) {
        return call.env.lists.avps(&name).cloned().collect();
    }
    match Dynamic::parse(text).map(|pv| pv.read(call.env).into_owned()) {
        Some(Value::Null) | None => Vec::new(),
        Some(value) => vec![value],
    }
}

/// A value in an argument: a variable, `i:` and an integer, `s:` and a text, or a text.
fn operand(call: &Call<'_, '_>, text: &[u8]) -> Option<Value<'static>> {
    if text.starts_with(b"$") {
        return values(call, text).into_iter().next();
    }
    if let Some(digits) = text.strip_prefix(b"i:").or_else(|| text.strip_prefix(b"I:")) {
        let digits = std::str::from_utf8(digits).ok()?;
        let number = match digits.strip_prefix("0x") {
            Some(hex) => i64::from_str_radix(hex, 16),
            None => digits.parse(),
        };
        return number.ok().map(Value::Int);
    }
    Some(Value::owned(
        text.strip_prefix(b"s:")
            .or_else(|| text.strip_prefix(b"S:"))
            .unwrap_or(text),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::testing::Stage;

    /// Each row: a call, its code, then a variable and what it shows.
    #[test]
    fn kamailio_answers_the_same() {
        let mut stage = Stage::options();
        for (name, value) in [
            ("a", "one"),
            ("a", "two"),
            ("u", "sip:x@y"),
            ("d", "new.dom"),
            ("x", "5"),
        ] {
            stage
                .lists
                .push_avp(name.as_bytes(), Value::owned(value.as_bytes()));
        }
        stage.lists.push_avp(b"b", Value::Int(5));
        for (name, args, code, pv, expected) in [
            ("is_avp_set", &["$avp(a)"][..], 1, "avp(a)", "two"),
            ("is_avp_set", &["$avp(zz)"], -1, "null", "NULL"),
            ("is_avp_set", &["$avp(b)/n"], 1, "null", "NULL"),
            ("is_avp_set", &["$avp(b)/s"], -1, "null", "NULL"),
            ("is_avp_set", &["$avp(a)/e"], -1, "null", "NULL"),
            ("avp_check", &["$avp(a)", "eq/s:two"], 1, "null", "NULL"),
            ("avp_check", &["$avp(a)", "eq/s:one"], -1, "null", "NULL"),
            ("avp_check", &["$avp(a)", "eq/s:one/g"], 1, "null", "NULL"),
            ("avp_check", &["$avp(a)", "eq/s:TWO/i"], 1, "null", "NULL"),
            ("avp_check", &["$avp(b)", "gt/i:4"], 1, "null", "NULL"),
            ("avp_check", &["$avp(a)", "re/^t"], 1, "null", "NULL"),
            ("avp_check", &["$avp(a)", "fm/t*"], 1, "null", "NULL"),
            ("avp_check", &["$fU", "eq/$fU/I"], 1, "null", "NULL"),
            ("avp_check", &["$avp(zz)", "eq/s:x"], -1, "null", "NULL"),
            ("avp_check", &["$avp(b)", "and/i:4"], 1, "null", "NULL"),
            ("avp_check", &["$avp(x)", "eq/i:5"], -1, "null", "NULL"),
            ("avp_check", &["$avp(x)", "eq/5"], 1, "null", "NULL"),
            ("avp_check", &["$avp(x)", "ne/s:5"], -1, "null", "NULL"),
            ("avp_check", &["$avp(x)", "lt/s:6"], 1, "null", "NULL"),
            ("avp_copy", &["$avp(a)", "$avp(c)"], 1, "avp(c)[*]", "two"),
            ("avp_copy", &["$avp(a)", "$avp(e)/g"], 1, "avp(e)[*]", "one, two"),
            ("avp_copy", &["$avp(e)", "$avp(f)/gd"], 1, "avp(f)[*]", "two, one"),
            ("avp_copy", &["$avp(e)", "$avp(f)"], -1, "avp(e)", "NULL"),
            ("avp_copy", &["$avp(b)", "$avp(bs)/s"], 1, "avp(bs)", "5"),
            ("avp_pushto", &["$ru", "$avp(u)"], 1, "ru", "sip:x@y"),
            ("avp_pushto", &["$ru/domain", "$avp(d)"], 1, "ru", "sip:x@new.dom"),
            (
                "avp_pushto",
                &["$ru/username", "$avp(a)"],
                1,
                "ru",
                "sip:two@new.dom",
            ),
            ("avp_pushto", &["$du", "$avp(u)"], 1, "du", "sip:x@y"),
            ("avp_pushto", &["$du", "$fu"], 1, "du", "sip:alice@a.example"),
            ("avp_pushto", &["$br", "$avp(u)"], 1, "branch(count)", "1"),
            ("avp_pushto", &["$ru", "$avp(zz)"], -1, "ru", "sip:two@new.dom"),
            (
                "avp_subst",
                &["$avp(a)/$avp(h)/g", "/o/0/"],
                1,
                "avp(h)[*]",
                "0ne, tw0",
            ),
            ("avp_subst", &["$avp(a)", "/t/T/"], 1, "avp(a)[*]", "Two, one"),
            ("avp_subst", &["$avp(a)", "/zzz/y/"], -1, "avp(a)", "Two"),
            ("avp_subst", &["$avp(zz)", "/zzz/y/"], -1, "null", "NULL"),
            ("avp_subst_pv", &["$avp(a)", "/w/W/gi"], 1, "avp(a)", "TWo"),
            ("avp_op", &["$avp(b)", "add/i:3"], 1, "avp(b)[*]", "8, 5"),
            ("avp_op", &["$avp(b)/$avp(o)", "sub/i:1"], 1, "avp(o)", "7"),
            ("avp_op", &["$avp(b)", "div/i:0"], -1, "avp(b)", "8"),
            ("avp_op", &["$avp(zz)", "add/i:1"], -1, "avp(zz)", "NULL"),
            ("avp_delete", &["$avp(b)"], 1, "avp(b)", "5"),
            ("avp_delete", &["$avp(zz)"], -1, "null", "NULL"),
            ("avp_delete", &["$avp(h)/g"], 1, "avp(h)", "NULL"),
            ("avp_print", &[], 1, "null", "NULL"),
        ] {
            assert_eq!(stage.call(&MODULE, name, args), code, "{name}{args:?}");
            assert_eq!(stage.read(pv), expected, "{name}{args:?} ${pv}");
        }
    }
}
