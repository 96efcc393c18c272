//! `lcr`: least cost routes (Kamailio lcr, tables `lcr_gw`, `lcr_rule`, `lcr_rule_target`).

use clap::Subcommand;
use serde_json::json;
use shared::db::Select;
use shared::report::Report;

use super::rpc;
use super::table;
use crate::Answer;
use crate::Error;
use crate::check;
use crate::context::Context;

pub(crate) const EXAMPLES: &str = "\
Examples:
  proxyctl lcr show_gws
  proxyctl lcr show_routes
  proxyctl lcr eval_weights 1 3 6      how often gateways of these weights come first";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Gateways in the database
    #[command(name = "show_gws", after_help = "Examples:\n  proxyctl lcr show_gws")]
    ShowGws,
    /// Routes in the database
    #[command(name = "show_routes", after_help = "Examples:\n  proxyctl lcr show_routes")]
    ShowRoutes,
    /// Gateways in the daemon's memory
    #[command(name = "dump_gws", after_help = "Examples:\n  proxyctl lcr dump_gws")]
    DumpGws,
    /// Routes in the daemon's memory
    #[command(
        name = "dump_routes",
        alias = "dump_rules",
        after_help = "Examples:\n  proxyctl lcr dump_routes"
    )]
    DumpRoutes,
    /// Make the daemon read the tables again
    #[command(after_help = "Examples:\n  proxyctl lcr reload")]
    Reload,
    /// Chance of each gateway to come first, by weight
    #[command(
        name = "eval_weights",
        after_help = "Examples:\n  proxyctl lcr eval_weights 1 3 6"
    )]
    EvalWeights {
        /// Weights, from 1 to 254
        #[arg(required = true)]
        weights: Vec<String>,
    },
}

/// Runs it.
pub(crate) fn run(context: &Context<'_>, verb: &Verb) -> Result<Answer, Error> {
    match verb {
        Verb::ShowGws => {
            let mut db = context.read(&["lcr_gw"])?;
            let select = Select::from("lcr_gw").order_by("lcr_id").order_by("id");
            table::show(context, db.as_mut(), &select)
        }
        Verb::ShowRoutes => routes(context),
        Verb::DumpGws => rpc::show(context, "lcr.dump_gws", &[]),
        Verb::DumpRoutes => rpc::show(context, "lcr.dump_rules", &[]),
        Verb::Reload => table::reloaded(context, "lcr", "lcr.reload"),
        Verb::EvalWeights { weights } => {
            let weights: Vec<i64> = weights
                .iter()
                .map(|w| check::number("the weight", w, 1, 254))
                .collect::<Result<_, _>>()?;
            let mut report = Report::rows(&["weight", "first"]);
            for (weight, chance) in weights.iter().zip(chances(&weights)) {
                report.push([json!(weight), json!((chance * 10_000.0).round() / 10_000.0)]);
            }
            Ok(Answer::report(report))
        }
    }
}

/// A gateway comes first when its weight times a random number is the largest.
fn chances(weights: &[i64]) -> Vec<f64> {
    // The integral of the density of one product being x times the chance that all others are below, by Simpson's rule.
    const STEPS: i32 = 20_000;
    let largest = weights.iter().copied().max().unwrap_or(1) as f64;
    weights
        .iter()
        .enumerate()
        .map(|(index, weight)| {
            let below = |x: f64| -> f64 {
                let others = weights.iter().enumerate().filter(|(other, _)| *other != index);
                others.map(|(_, w)| (x / *w as f64).min(1.0)).product()
            };
            let width = (*weight as f64).min(largest) / f64::from(STEPS);
            let sum: f64 = (0..=STEPS)
                .map(|i| {
                    let factor = if i == 0 || i == STEPS {
                        1.0
                    } else if i % 2 == 1 {
                        4.0
                    } else {
                        2.0
                    };
                    factor * below(width * f64::from(i))
                })
                .sum();
            sum * width / 3.0 / *weight as f64
        })
        .collect()
}

fn routes(context: &Context<'_>) -> Result<Answer, Error> {
    let mut db = context.read(&["lcr_rule", "lcr_rule_target"])?;
    let rules = db.query(
        &Select::from("lcr_rule")
            .order_by("lcr_id")
            .order_by("prefix")
            .order_by("id"),
    )?;
    let targets = db.query(
        &Select::from("lcr_rule_target")
            .order_by("priority")
            .order_by("id"),
    )?;
    let columns = [
        "lcr_id",
        "id",
        "prefix",
        "from_uri",
        "request_uri",
        "stopper",
        "enabled",
        "gw_id",
        "priority",
        "weight",
    ];
    let mut report = Report::rows(&columns);
    for rule in rules.iter() {
        let cells: Vec<_> = columns
            .iter()
            .take(7)
            .map(|column| table::cell(rule, column))
            .collect();
        let mut has_target = false;
        for target in targets
            .iter()
            .filter(|target| target.int("rule_id") == rule.int("id"))
        {
            has_target = true;
            let more = columns.iter().skip(7).map(|column| table::cell(target, column));
            report.push(cells.iter().cloned().chain(more));
        }
        if !has_target {
            report.push(cells);
        }
    }
    Ok(Answer::report(report))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_follow_weights() {
        let close = |a: f64, b: f64| (a - b).abs() < 1e-3;
        let one = chances(&[7]);
        assert!(one.first().is_some_and(|c| close(*c, 1.0)));
        let two = chances(&[1, 2]);
        assert!(close(two.first().copied().unwrap(), 0.25) && close(two.get(1).copied().unwrap(), 0.75));
        assert!(close(chances(&[1, 3, 6, 6]).iter().sum(), 1.0));
    }
}
