//! Metrics that scripts count: counters, gauges and histograms with labels, in the text format of Prometheus.

use parking_lot::Mutex;
use std::fmt::Write;

/// Label values of one metric; more are refused.
const SERIES_MAX: usize = 10_000;
/// Labels of one metric.
const LABELS_MAX: usize = 3;
/// Upper bounds of a histogram that names none.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// What a metric is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// A number that grows.
    Counter,
    /// A number that changes.
    Gauge,
    /// Numbers sorted into buckets, by their upper bounds.
    Histogram(Vec<f64>),
}

/// A metric as its parameter defines it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) kind: Kind,
    labels: Vec<String>,
    help: Option<String>,
}

impl Definition {
    /// Reads `name=N; label=A:B; buckets=1:2; help='text'`.
    pub(super) fn parse(text: &str, kind: Kind) -> Result<Self, String> {
        let mut definition = Self {
            name: String::new(),
            kind,
            labels: Vec::new(),
            help: None,
        };
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').ok_or_else(|| format!("{part:?} has no ="))?;
            let (key, value) = (key.trim(), value.trim());
            match (key, &mut definition.kind) {
                ("name", _) => definition.name = value.to_owned(),
                ("label", _) => definition.labels = value.split(':').map(str::to_owned).collect(),
                ("help", _) => definition.help = Some(value.trim_matches(['\'', '"']).to_owned()),
                ("buckets", Kind::Histogram(buckets)) => *buckets = bounds(value)?,
                _ => return Err(format!("{key:?} is not known")),
            }
        }
        if !is_name(&definition.name) {
            return Err(format!("{:?} is no name of a metric", definition.name));
        }
        if definition.labels.len() > LABELS_MAX || !definition.labels.iter().all(|label| is_name(label)) {
            return Err("at most three labels, each a name".to_owned());
        }
        Ok(definition)
    }

    /// A histogram with the usual buckets.
    pub(super) fn histogram() -> Kind {
        Kind::Histogram(BUCKETS.to_vec())
    }
}

fn bounds(text: &str) -> Result<Vec<f64>, String> {
    let bounds: Result<Vec<f64>, _> = text.split(':').map(|bound| bound.trim().parse()).collect();
    let bounds = bounds.map_err(|_| format!("{text:?} are no numbers"))?;
    if bounds.iter().all(|bound| bound.is_finite()) && bounds.is_sorted_by(|a, b| a < b) {
        Ok(bounds)
    } else {
        Err(format!("{text:?} does not rise"))
    }
}

fn is_name(text: &str) -> bool {
    let starts = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_';
    text.as_bytes().first().is_some_and(starts)
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// What is done to a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Act {
    /// Adds to a counter.
    Count(u64),
    /// Sets a counter to nothing.
    ResetCounter,
    /// Sets a gauge.
    Set(f64),
    /// Adds to a gauge.
    Add(f64),
    /// Observes a value.
    Observe(f64),
}

/// Why nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// The metric is of another kind.
    #[error("the metric is of another kind")]
    Kind,
    /// It has more or fewer labels.
    #[error("number of labels does not match")]
    Labels,
    /// There are too many label values.
    #[error("too many label values")]
    Full,
}

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Counter(u64),
    Gauge(f64),
    /// Observations up to each bound and beyond, their sum.
    Histogram(Vec<u64>, f64),
}

/// The values of a metric for one combination of labels.
#[derive(Debug, Clone)]
struct Series {
    labels: Vec<String>,
    value: Value,
    /// When it was used, seconds of wall time.
    used: u64,
}

/// A metric with its values.
pub(super) struct Metric {
    pub(super) definition: Definition,
    series: Mutex<Vec<Series>>,
}

/// How metrics are written.
#[derive(Debug, Clone, Default)]
pub(super) struct Style {
    /// Before each name.
    pub(super) prefix: String,
    /// Labels that all have: name and value.
    pub(super) tags: Vec<(String, String)>,
    /// Lines that tell the type, and the help text.
    pub(super) types: bool,
    pub(super) helps: bool,
    /// The time behind each value.
    pub(super) stamp: String,
}

impl Metric {
    /// A metric without values.
    pub(super) fn new(definition: Definition) -> Self {
        Self {
            definition,
            series: Mutex::default(),
        }
    }

    /// Takes over the values of the same metric.
    pub(super) fn adopt(&self, other: &Self) {
        self.series.lock().clone_from(&other.series.lock());
    }

    /// Changes the value for these labels, which begins at nothing.
    pub(super) fn act(&self, labels: &[String], act: Act, now: u64) -> Result<(), Refusal> {
        if labels.len() != self.definition.labels.len() {
            return Err(Refusal::Labels);
        }
        let fresh = match (&self.definition.kind, act) {
            (Kind::Counter, Act::Count(_) | Act::ResetCounter) => Value::Counter(0),
            (Kind::Gauge, Act::Set(_) | Act::Add(_)) => Value::Gauge(0.0),
            (Kind::Histogram(bounds), Act::Observe(_)) => Value::Histogram(vec![0; bounds.len() + 1], 0.0),
            _ => return Err(Refusal::Kind),
        };
        let mut series = self.series.lock();
        let at = match series.iter().position(|one| one.labels == labels) {
            Some(at) => at,
            None if series.len() >= SERIES_MAX => return Err(Refusal::Full),
            None => {
                series.push(Series {
                    labels: labels.to_vec(),
                    value: fresh,
                    used: now,
                });
                series.len() - 1
            }
        };
        let Some(one) = series.get_mut(at) else {
            return Err(Refusal::Full);
        };
        one.used = now;
        match (&mut one.value, act, &self.definition.kind) {
            (Value::Counter(n), Act::Count(more), _) => *n = n.saturating_add(more),
            (Value::Counter(n), Act::ResetCounter, _) => *n = 0,
            (Value::Gauge(n), Act::Set(value), _) => *n = value,
            (Value::Gauge(n), Act::Add(more), _) => *n += more,
            (Value::Histogram(counts, sum), Act::Observe(value), Kind::Histogram(bounds)) => {
                let bucket = bounds
                    .iter()
                    .position(|bound| value <= *bound)
                    .unwrap_or(bounds.len());
                if let Some(count) = counts.get_mut(bucket) {
                    *count = count.saturating_add(1);
                }
                *sum += value;
            }
            _ => return Err(Refusal::Kind),
        }
        Ok(())
    }

    /// Forgets values that were not used since then, seconds of wall time.
    pub(super) fn expire(&self, since: u64) {
        self.series.lock().retain(|one| one.used >= since);
    }

    /// Writes its values.
    pub(super) fn write(&self, style: &Style, out: &mut String) {
        let series = self.series.lock();
        if series.is_empty() {
            return;
        }
        let Definition { name, kind, help, .. } = &self.definition;
        let prefix = &style.prefix;
        if let (true, Some(help)) = (style.helps, help) {
            let _ = writeln!(out, "# HELP {prefix}{name} {help}");
        }
        if style.types {
            let kind = match kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram(_) => "histogram",
            };
            let _ = writeln!(out, "# TYPE {prefix}{name} {kind}");
        }
        for one in series.iter() {
            let labels = |more: &[(String, String)]| {
                let own = self
                    .definition
                    .labels
                    .iter()
                    .cloned()
                    .zip(one.labels.iter().cloned());
                let all: Vec<(String, String)> = own
                    .chain(style.tags.iter().cloned())
                    .chain(more.iter().cloned())
                    .collect();
                in_braces(&all)
            };
            let mut line = |suffix: &str, labels: String, value: &dyn std::fmt::Display| {
                let _ = writeln!(out, "{prefix}{name}{suffix}{labels} {value} {}", style.stamp);
            };
            match (&one.value, kind) {
                (Value::Counter(n), _) => line("", labels(&[]), n),
                (Value::Gauge(n), _) => line("", labels(&[]), &format_args!("{n:.6}")),
                (Value::Histogram(counts, sum), Kind::Histogram(bounds)) => {
                    let shown = bounds.iter().map(|bound| format!("{bound:.6}"));
                    let mut total = 0;
                    for (count, bound) in counts.iter().zip(shown.chain(["+Inf".to_owned()])) {
                        total += count;
                        line("_bucket", labels(&[("le".to_owned(), bound)]), &total);
                    }
                    line("_sum", labels(&[]), &format_args!("{sum:.6}"));
                    line("_count", labels(&[]), &total);
                }
                (Value::Histogram(..), _) => {}
            }
        }
    }
}

/// Labels as they stand behind a name; nothing for none.
pub(super) fn in_braces(labels: &[(String, String)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let shown: Vec<String> = labels
        .iter()
        .map(|(name, value)| {
            let value = value
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            format!("{name}=\"{value}\"")
        })
        .collect();
    format!("{{{}}}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(text: &str, kind: Kind) -> Metric {
        Metric::new(Definition::parse(text, kind).unwrap())
    }

    fn labels(of: &[&str]) -> Vec<String> {
        of.iter().map(|label| (*label).to_owned()).collect()
    }

    fn shown(metric: &Metric) -> String {
        let style = Style {
            prefix: "kamailio_".to_owned(),
            stamp: "1".to_owned(),
            ..Style::default()
        };
        let mut out = String::new();
        metric.write(&style, &mut out);
        out
    }

    /// As Kamailio 5.6.3 wrote them, but for the quotation marks within a label.
    #[test]
    fn values_are_written_as_kamailio_does() {
        let counter = metric("name=cnt_b; label=method:IP;", Kind::Counter);
        assert_eq!(shown(&counter), "");
        counter
            .act(&labels(&["OPTIONS", "127.0.0.1"]), Act::Count(5), 0)
            .unwrap();
        counter.act(&labels(&["a\"b", "c"]), Act::Count(7), 0).unwrap();
        counter
            .act(&labels(&["a\"b", "c"]), Act::ResetCounter, 0)
            .unwrap();
        assert_eq!(
            shown(&counter),
            "kamailio_cnt_b{method=\"OPTIONS\", IP=\"127.0.0.1\"} 5 1\nkamailio_cnt_b{method=\"a\\\"b\", IP=\"c\"} 0 1\n"
        );
        let gauge = metric("name=gg", Kind::Gauge);
        gauge.act(&[], Act::Set(-12.5), 0).unwrap();
        gauge.act(&[], Act::Add(1.0), 0).unwrap();
        assert_eq!(shown(&gauge), "kamailio_gg -11.500000 1\n");
        let histogram = metric("name=hh; label=l; buckets=2.3:5:10", Definition::histogram());
        for value in [2.3, 7.0, 70.0] {
            histogram.act(&labels(&["z"]), Act::Observe(value), 0).unwrap();
        }
        assert_eq!(
            shown(&histogram),
            "kamailio_hh_bucket{l=\"z\", le=\"2.300000\"} 1 1\nkamailio_hh_bucket{l=\"z\", le=\"5.000000\"} 1 1\n\
             kamailio_hh_bucket{l=\"z\", le=\"10.000000\"} 2 1\nkamailio_hh_bucket{l=\"z\", le=\"+Inf\"} 3 1\n\
             kamailio_hh_sum{l=\"z\"} 79.300000 1\nkamailio_hh_count{l=\"z\"} 3 1\n"
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let counter = metric("name=c; label=a", Kind::Counter);
        assert_eq!(counter.act(&[], Act::Count(1), 0), Err(Refusal::Labels));
        assert_eq!(counter.act(&labels(&["x"]), Act::Set(1.0), 0), Err(Refusal::Kind));
        for n in 0..SERIES_MAX {
            counter.act(&[n.to_string()], Act::Count(1), n as u64).unwrap();
        }
        assert_eq!(counter.act(&labels(&["x"]), Act::Count(1), 0), Err(Refusal::Full));
        counter.expire(SERIES_MAX as u64 - 1);
        assert_eq!(shown(&counter).lines().count(), 1);
        for (text, kind) in [
            ("label=a", Kind::Counter),
            ("name=a b", Kind::Counter),
            ("name=a; label=a:b:c:d", Kind::Gauge),
            ("name=a; buckets=1", Kind::Gauge),
            ("name=a; buckets=2:1", Definition::histogram()),
            ("name=a; buckets=x", Definition::histogram()),
            ("name", Kind::Gauge),
        ] {
            assert!(Definition::parse(text, kind).is_err(), "{text}");
        }
    }

    #[test]
    fn a_style_adds_tags_types_and_help() {
        let gauge = metric("name=g; label=a; help='Some help'", Kind::Gauge);
        gauge.act(&labels(&["x"]), Act::Set(1.0), 0).unwrap();
        let style = Style {
            tags: vec![("job".to_owned(), "sip".to_owned())],
            types: true,
            helps: true,
            stamp: "2".to_owned(),
            ..Style::default()
        };
        let mut out = String::new();
        gauge.write(&style, &mut out);
        assert_eq!(
            out,
            "# HELP g Some help\n# TYPE g gauge\ng{a=\"x\", job=\"sip\"} 1.000000 2\n"
        );
    }
}
