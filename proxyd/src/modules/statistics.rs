//! `loadmodule "statistics"`: statistic variables of the script (Kamailio statistics).

use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::State;
use crate::stats::Counter;
use crate::stats::Statistics;
use ahash::AHashMap;
use std::sync::Arc;

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[Param::List("variable", "A variable: name or name/no_reset.")],
    functions: &[
        Function::anywhere(
            &["update_stat"],
            &[Arg::Text("variable"), Arg::Text("value")],
            "Adds a number, which may be negative, to a variable.",
            update_stat,
        ),
        Function::anywhere(
            &["reset_stat"],
            &[Arg::Text("variable")],
            "Sets a variable to 0.",
            reset_stat,
        ),
    ],
    init: Some(init),
    ..ModuleDef::new("statistics", "Statistic variables of the script.")
};

/// Group of the variables, as Kamailio shows them.
const GROUP: &str = "script";

struct Variables {
    statistics: Arc<Statistics>,
    known: AHashMap<String, Arc<Counter>>,
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let statistics = Arc::clone(init.statistics);
    let mut known = AHashMap::new();
    for text in init.list("variable") {
        let (name, flag) = text.split_once('/').unwrap_or((&text, ""));
        if name.is_empty() || !(flag.is_empty() || flag == "no_reset") {
            let why = format!("{text:?} is not written name or name/no_reset");
            return Err(InitError::Param {
                name: "variable",
                why,
            });
        }
        let counter = match flag {
            "" => statistics.counter(GROUP, name),
            _ => statistics.lasting(GROUP, name),
        };
        known.insert(name.to_owned(), counter);
    }
    Ok(Arc::new(Variables { statistics, known }))
}

fn update_stat(call: &mut Call<'_, '_>) -> Code {
    let (name, value) = (call.text(0), call.text(1));
    let Ok(name) = std::str::from_utf8(&name) else {
        return Code::FALSE;
    };
    let text = std::str::from_utf8(&value).unwrap_or_default().trim();
    let Ok(number) = text.strip_prefix('+').unwrap_or(text).parse::<i64>() else {
        crate::log::error("statistics", format_args!("update_stat: {text:?} is no number"));
        return Code::FALSE;
    };
    match call.state::<Variables>().and_then(|state| state.known.get(name)) {
        Some(counter) => {
            counter.add(number);
            Code::TRUE
        }
        None => unknown(name),
    }
}

fn unknown(name: &str) -> Code {
    crate::log::error(
        "statistics",
        format_args!("variable {name:?} is not declared by parameter variable"),
    );
    Code::FALSE
}

fn reset_stat(call: &mut Call<'_, '_>) -> Code {
    let name = call.text(0);
    let Ok(name) = std::str::from_utf8(&name) else {
        return Code::FALSE;
    };
    let Some(state) = call.state::<Variables>() else {
        return Code::FALSE;
    };
    let own = state.known.contains_key(name).then(|| format!("{GROUP}:{name}"));
    let id = own.as_deref().unwrap_or(name);
    if state.statistics.value(id).is_none() {
        return unknown(name);
    }
    // Kamailio: true also where there is nothing to reset
    state.statistics.reset(id);
    Code::TRUE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::testing::Stage;

    #[test]
    fn variables_change() {
        let statistics = Arc::new(Statistics::new());
        let counter = statistics.counter(GROUP, "s1");
        let kept = statistics.lasting(GROUP, "s2");
        let known = [("s1", &counter), ("s2", &kept)]
            .map(|(name, counter)| (name.to_owned(), Arc::clone(counter)))
            .into_iter()
            .collect();
        let mut stage = Stage::options().with(Arc::new(Variables { statistics, known }));
        for (name, args, expected, value) in [
            ("update_stat", &["s1", "5"][..], 1, 5),
            ("update_stat", &["s1", "+1"], 1, 6),
            ("update_stat", &["s1", "-2"], 1, 4),
            ("update_stat", &["s1", "x"], -1, 4),
            ("update_stat", &["nope", "1"], -1, 4),
            ("update_stat", &["s2", "7"], 1, 4),
            ("reset_stat", &["s1"], 1, 0),
            ("reset_stat", &["s2"], 1, 0),
            ("reset_stat", &["nope"], -1, 0),
        ] {
            assert_eq!(stage.call(&MODULE, name, args), expected, "{name}{args:?}");
            assert_eq!(counter.value(), value, "{name}{args:?}");
        }
        assert_eq!(kept.value(), 7, "no_reset");
    }
}
