//! `loadmodule "xhttp_prom"`: metrics for Prometheus over HTTP on the SIP ports (Kamailio module xhttp_prom).

mod metric;
#[cfg(test)]
mod tests;

use super::xhttp;
use crate::log;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::ModuleTimer;
use crate::script::module::Param;
use crate::script::module::Routes;
use crate::script::module::State;
use crate::stats::Statistics;
use metric::Act;
use metric::Definition;
use metric::Kind;
use metric::Metric;
use metric::Style;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// What the module works with.
struct XhttpProm {
    metrics: Vec<Metric>,
    statistics: Arc<Statistics>,
    /// Which statistics are shown; empty: none.
    shown: String,
    style: Style,
    stamp: Stamp,
    /// How long values stay that nobody uses, s; 0: for ever.
    timeout: u64,
}

/// How the time behind a value is written (`timestamp_format`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stamp {
    Milliseconds,
    Seconds,
    Fractional,
}

const VALUE: &[Arg] = &[
    Arg::Text("name"),
    Arg::Text("number"),
    Arg::OptText("l0"),
    Arg::OptText("l1"),
    Arg::OptText("l2"),
];
const COUNT: &[Arg] = &[
    Arg::Text("name"),
    Arg::Int("number"),
    Arg::OptText("l0"),
    Arg::OptText("l1"),
    Arg::OptText("l2"),
];
const NAME: &[Arg] = &[
    Arg::Text("name"),
    Arg::OptText("l0"),
    Arg::OptText("l1"),
    Arg::OptText("l2"),
];

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    needs: &["xhttp"],
    params: &[
        Param::Text(
            "xhttp_prom_stats",
            "",
            "Statistics that are shown: all, a group with a colon, or a name; empty: none.",
        ),
        Param::Text(
            "xhttp_prom_beginning",
            "kamailio_",
            "Before the name of each metric.",
        ),
        Param::Int(
            "xhttp_prom_timeout",
            60,
            "Minutes that values stay which nobody uses; 0: for ever.",
        ),
        Param::Int(
            "xhttp_prom_metadata_flags",
            0,
            "1: lines with the type, 2: lines with the help text, 3: both.",
        ),
        Param::Text(
            "xhttp_prom_tags",
            "",
            "Labels of every metric: name=value, by commas.",
        ),
        Param::Text(
            "timestamp_format",
            "ms",
            "Time behind each value: ms, s, or sf for seconds with a fraction.",
        ),
        Param::List("prom_counter", "A counter: name=N; label=A:B:C; help='text'."),
        Param::List("prom_gauge", "A gauge: name=N; label=A:B:C; help='text'."),
        Param::List(
            "prom_histogram",
            "A histogram: name=N; label=A:B:C; buckets=1:2:5; help='text'.",
        ),
        Param::Ignored("xhttp_prom_buf_size", "answers may be of any length"),
        Param::Ignored("xhttp_prom_pkg_stats", "there is no private memory pool"),
        Param::Ignored("xhttp_prom_uptime_stat", "see core.uptime"),
    ],
    functions: &[
        Function::anywhere(
            &["prom_counter_inc"],
            COUNT,
            "Adds to a counter.",
            prom_counter_inc,
        ),
        Function::anywhere(&["prom_counter_reset"], NAME, "Sets a counter to 0.", |call| {
            change(call, 1, Act::ResetCounter)
        }),
        Function::anywhere(&["prom_gauge_set"], VALUE, "Sets a gauge.", |call| {
            let value = number(call);
            change(call, 2, Act::Set(value))
        }),
        Function::anywhere(&["prom_gauge_inc"], VALUE, "Adds to a gauge.", |call| {
            let value = number(call);
            change(call, 2, Act::Add(value))
        }),
        Function::anywhere(&["prom_gauge_reset"], NAME, "Sets a gauge to 0.", |call| {
            change(call, 1, Act::Set(0.0))
        }),
        Function::anywhere(
            &["prom_histogram_observe"],
            VALUE,
            "Counts a value in a histogram.",
            |call| {
                let value = number(call);
                change(call, 2, Act::Observe(value))
            },
        ),
        Function {
            names: &["prom_dispatch"],
            args: &[],
            routes: Routes::REQUEST.or(Routes::EVENT),
            doc: "Answers the HTTP request with all metrics.",
            call: prom_dispatch,
        },
        Function {
            names: &["prom_check_uri"],
            args: &[],
            routes: Routes::REQUEST.or(Routes::EVENT),
            doc: "True when the HTTP request is for /metrics.",
            call: |call| Code::from(call.env.ctx.msg.request_uri() == b"/metrics"),
        },
    ],
    timers: &[ModuleTimer {
        name: "xhttp_prom: values that nobody uses",
        interval: |script| {
            let state = script.states.get::<XhttpProm>()?;
            (state.timeout > 0).then_some(60_000)
        },
        run: |env| {
            if let Some(state) = env.state::<XhttpProm>() {
                let since = env.host.wall().as_secs().saturating_sub(state.timeout);
                state.metrics.iter().for_each(|metric| metric.expire(since));
            }
        },
    }],
    init: Some(init),
    ..ModuleDef::new("xhttp_prom", "Metrics for Prometheus over HTTP.")
};

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let mut metrics: Vec<Metric> = Vec::new();
    let kinds = [
        ("prom_counter", Kind::Counter),
        ("prom_gauge", Kind::Gauge),
        ("prom_histogram", Definition::histogram()),
    ];
    for (name, kind) in kinds {
        for text in init.list(name) {
            let definition =
                Definition::parse(&text, kind.clone()).map_err(|why| InitError::Param { name, why })?;
            if metrics
                .iter()
                .any(|other| other.definition.name == definition.name)
            {
                let why = format!("{} is defined twice", definition.name);
                return Err(InitError::Param { name, why });
            }
            metrics.push(Metric::new(definition));
        }
    }
    if let Some(previous) = init.previous::<XhttpProm>() {
        for metric in &metrics {
            let same = previous
                .metrics
                .iter()
                .find(|old| old.definition == metric.definition);
            same.into_iter().for_each(|old| metric.adopt(old));
        }
    }
    let stamp = match init.text("timestamp_format").as_str() {
        "ms" => Stamp::Milliseconds,
        "s" => Stamp::Seconds,
        "sf" => Stamp::Fractional,
        other => {
            return Err(InitError::Param {
                name: "timestamp_format",
                why: format!("{other:?} is none of ms, s, sf"),
            });
        }
    };
    let tags = init.text("xhttp_prom_tags");
    let tags = tags.split(',').filter_map(|tag| tag.split_once('='));
    let metadata = init.int("xhttp_prom_metadata_flags");
    Ok(Arc::new(XhttpProm {
        metrics,
        statistics: Arc::clone(init.statistics),
        shown: init.text("xhttp_prom_stats"),
        style: Style {
            prefix: init.text("xhttp_prom_beginning"),
            tags: tags
                .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
                .collect(),
            types: metadata & 1 != 0,
            helps: metadata & 2 != 0,
            stamp: String::new(),
        },
        stamp,
        timeout: u64::try_from(init.int("xhttp_prom_timeout"))
            .unwrap_or(0)
            .saturating_mul(60),
    }))
}

fn prom_counter_inc(call: &mut Call<'_, '_>) -> Code {
    match u64::try_from(call.int(1)) {
        Ok(more) => change(call, 2, Act::Count(more)),
        Err(_) => {
            log::error(
                "xhttp_prom",
                format_args!("{}: a counter does not shrink", call.name),
            );
            Code::FALSE
        }
    }
}

/// The number in the second argument; what is none is 0.
fn number(call: &Call<'_, '_>) -> f64 {
    let text = call.text(1);
    let number: Option<f64> = std::str::from_utf8(&text)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    number.filter(|number| number.is_finite()).unwrap_or(0.0)
}

/// Changes the metric in the first argument; its labels begin at argument `first`.
fn change(call: &mut Call<'_, '_>, first: usize, act: Act) -> Code {
    let Some(state) = call.state::<XhttpProm>() else {
        return Code::FALSE;
    };
    let name = call.text(0);
    let metric = state
        .metrics
        .iter()
        .find(|metric| metric.definition.name.as_bytes() == &*name);
    let Some(metric) = metric else {
        let name = String::from_utf8_lossy(&name);
        log::error(
            "xhttp_prom",
            format_args!("{}: no metric is called {name:?}", call.name),
        );
        return Code::FALSE;
    };
    let labels: Vec<String> = (first..first + 3)
        .filter(|n| call.has(*n))
        .map(|n| String::from_utf8_lossy(&call.text(n)).into_owned())
        .collect();
    let now = call.env.host.wall().as_secs();
    match metric.act(&labels, act, now) {
        Ok(()) => Code::TRUE,
        Err(refusal) => {
            let metric = &metric.definition.name;
            log::error("xhttp_prom", format_args!("{}: {metric}: {refusal}", call.name));
            Code::FALSE
        }
    }
}

fn prom_dispatch(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<XhttpProm>() else {
        return Code::FALSE;
    };
    let text = state.text(call.env.host.wall());
    let kind = b"text/plain; version=0.0.4";
    Code::from(xhttp::reply(call.env, 200, b"OK", kind, text.as_bytes()))
}

impl XhttpProm {
    /// Every metric and the statistics that are shown.
    fn text(&self, wall: Duration) -> String {
        let stamp = match self.stamp {
            Stamp::Milliseconds => wall.as_millis().to_string(),
            Stamp::Seconds => wall.as_secs().to_string(),
            Stamp::Fractional => format!("{}.{:03}", wall.as_secs(), wall.subsec_millis()),
        };
        let style = Style {
            stamp,
            ..self.style.clone()
        };
        let mut out = String::from("# User defined metrics\n");
        for metric in &self.metrics {
            metric.write(&style, &mut out);
        }
        let _ = match self.shown.as_str() {
            "" => return out,
            "all" => writeln!(out, "\n# Kamailio whole internal statistics"),
            group if group.ends_with(':') => writeln!(out, "\n# Kamailio statistics for group: {group}"),
            name => writeln!(out, "\n# Kamailio statistics for: {name}"),
        };
        let plain = |text: &str| text.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let labels = metric::in_braces(&style.tags);
        for one in self.statistics.select(&self.shown) {
            let (group, name) = (plain(&one.group), plain(&one.name));
            let _ = writeln!(
                out,
                "{}{group}_{name}{labels} {} {}",
                style.prefix, one.value, style.stamp
            );
        }
        out
    }
}
