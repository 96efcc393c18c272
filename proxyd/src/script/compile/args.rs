//! Calls of functions: does it exist, may it stand here, and do its arguments fit its row.

use super::Compiler;
use super::Seen;
use super::expr::constant_name;
use super::fold;
use crate::script::ast;
use crate::script::ast::ExprKind;
use crate::script::ast::RouteKeyword;
use crate::script::diag::Diagnostic;
use crate::script::diag::did_you_mean;
use crate::script::exec;
use crate::script::module::Arg;
use crate::script::module::CompiledArg;
use crate::script::module::Function;
use crate::script::module::RouteKind;
use crate::script::module::Routes;
use crate::script::parse::pv as parse;
use crate::script::parse::pv::Place;
use crate::script::program::Expr;
use crate::script::program::Format;
use crate::script::program::Invoke;
use crate::script::program::Pure;
use crate::script::span::Span;
use crate::script::transform::subst::Subst;
use crate::script::value::Value;
use shared::regex::Options;

impl Compiler {
    /// Compiles a call, or reports what is wrong with it.
    pub(super) fn invoke(&mut self, call: &ast::Call) -> Option<Invoke> {
        let name = call.name.text.as_str();
        let (rows, core) = self.lookup.functions(name);
        let Some(function) = fitting(&rows, call.args.len()) else {
            let help = self.lookup.function_help(name);
            let report = Diagnostic::error(
                "unknown-function",
                call.name.span,
                format!("unknown function `{name}`"),
            );
            self.report(report.maybe_help(help));
            for arg in &call.args {
                // their own mistakes are reported all the same
                if !matches!(arg.kind, ExprKind::Word(_)) {
                    self.node(arg);
                }
            }
            return None;
        };
        let name = function.names.iter().copied().find(|known| *known == name)?;
        self.calls.push(Seen {
            name,
            span: call.name.span,
        });
        if !call.parens && !core {
            let report = Diagnostic::error(
                "syntax",
                call.span.after(),
                format!("missing `()` behind `{name}`"),
            );
            self.report(report);
            return None;
        }
        self.check_place(function, name, call.name.span);
        if let Some(why) = function.without_effect() {
            let message = format!("`{name}()` has no effect here: {why}");
            self.report(Diagnostic::note("ignored", call.name.span, message));
        }
        if !self.check_count(function, name, call) {
            return None;
        }
        let mut args = Vec::with_capacity(function.args.len());
        let mut complete = true;
        for (at, kind) in function.args.iter().enumerate() {
            let compiled = match call.args.get(at) {
                None => Some(CompiledArg::Absent),
                Some(arg) => self.arg(*kind, arg, name, core),
            };
            match compiled {
                Some(compiled) => args.push(compiled),
                None => complete = false,
            }
        }
        complete.then(|| Invoke {
            function,
            name,
            args: args.into(),
            span: call.span,
            core,
        })
    }

    /// A function that its row forbids in this kind of route.
    fn check_place(&mut self, function: &Function, name: &str, span: Span) {
        let mut allowed = function.routes;
        if allowed.meets(Routes::REQUEST) {
            // Kamailio: an event route may do what a request route may
            allowed = allowed.or(Routes::EVENT).or(Routes::BRANCH_FAILURE);
        }
        let single = self.kind.0.count_ones() == 1;
        let fits = if single {
            allowed.contains(self.kind)
        } else {
            allowed.meets(self.kind)
        };
        if !fits {
            let message = format!("`{name}` cannot be called in {}", kind_names(self.kind, "or"));
            let report = Diagnostic::error("route-kind", span, message);
            self.report(report.help(format!(
                "it may be called in {}",
                kind_names(function.routes, "and")
            )));
        }
    }

    fn check_count(&mut self, function: &Function, name: &str, call: &ast::Call) -> bool {
        let most = function.args.len();
        let least = function.args.iter().filter(|arg| !arg.optional()).count();
        let given = call.args.len();
        if (least..=most).contains(&given) {
            return true;
        }
        let wanted = match (least, most) {
            (0, 0) => "no arguments".to_owned(),
            (1, 1) => "1 argument".to_owned(),
            (least, most) if least == most => format!("{least} arguments"),
            (least, most) => format!("{least} to {most} arguments"),
        };
        let names: Vec<String> = function
            .args
            .iter()
            .map(|arg| {
                if arg.optional() {
                    format!("[{}]", arg.name())
                } else {
                    arg.name().to_owned()
                }
            })
            .collect();
        let report = Diagnostic::error(
            "argument-count",
            call.span,
            format!("`{name}` takes {wanted}, {given} given"),
        );
        self.report(report.help(format!("it is written {name}({})", names.join(", "))));
        false
    }

    fn arg(&mut self, kind: Arg, arg: &ast::Expr, function: &str, core: bool) -> Option<CompiledArg> {
        if let ExprKind::Error = arg.kind {
            return None;
        }
        match kind {
            Arg::Text(what) | Arg::OptText(what) => self.text_arg(arg, what, function, core),
            Arg::Int(what) | Arg::OptInt(what) => self.int_arg(arg, what, function),
            Arg::Pv(what) | Arg::OptPv(what) => self.pv_arg(arg, what, function),
            Arg::Regex(what) | Arg::OptRegex(what) => self.regex_arg(arg, what, function),
            Arg::LineRegex(what) => match &arg.kind {
                ExprKind::Str(text) => {
                    let options = Options {
                        ignore_case: true,
                        newline: true,
                    };
                    self.regex(text, arg.span, options).map(CompiledArg::Regex)
                }
                _ => self.misfit(arg, what, function, "a regular expression in quotes"),
            },
            Arg::Subst(what) => match &arg.kind {
                ExprKind::Str(text) => {
                    let lookup = &self.lookup;
                    match Subst::compile(text.as_bytes(), &|text| lookup.format_bytes(text)) {
                        Ok(subst) => Some(CompiledArg::Subst(subst)),
                        Err(why) => {
                            self.error("subst", arg.span, why);
                            None
                        }
                    }
                }
                _ => self.misfit(arg, what, function, "a substitution in quotes"),
            },
            Arg::Literal(what) | Arg::OptLiteral(what) => {
                let text: Box<[u8]> = match &arg.kind {
                    ExprKind::Str(text) => text.as_bytes().into(),
                    ExprKind::Int(n) => n.to_string().into_bytes().into(),
                    ExprKind::Word(text) | ExprKind::Network(text) if core => text.as_bytes().into(),
                    _ => return self.misfit(arg, what, function, "a constant text in quotes"),
                };
                self.program.literals.insert((what, text.clone()));
                Some(CompiledArg::Text(text))
            }
            Arg::Flag(what) => self.flag_arg(arg, what, function),
            Arg::Route(what, kinds) => self.route_arg(arg, what, function, kinds),
        }
    }

    /// Reports an argument of the wrong kind.
    fn misfit(&mut self, arg: &ast::Expr, what: &str, function: &str, wanted: &str) -> Option<CompiledArg> {
        let message = format!("argument `{what}` of `{function}` needs {wanted}");
        self.report(Diagnostic::error("argument", arg.span, message));
        None
    }

    fn compiled_format(format: Format) -> CompiledArg {
        match format.constant() {
            Some(text) => CompiledArg::Text(text.into()),
            None => CompiledArg::Format(format),
        }
    }

    fn text_arg(&mut self, arg: &ast::Expr, what: &str, function: &str, core: bool) -> Option<CompiledArg> {
        match &arg.kind {
            ExprKind::Str(text) => self.text(text, arg.span).map(Self::compiled_format),
            ExprKind::Word(text) | ExprKind::Network(text) if core => {
                Some(CompiledArg::Text(text.as_bytes().into()))
            }
            ExprKind::Word(word) => {
                let help = format!("put it in quotes: \"{word}\"");
                let message = format!("argument `{what}` of `{function}` is the bare word `{word}`");
                self.report(Diagnostic::error("argument", arg.span, message).help(help));
                None
            }
            _ => self.value_arg(arg),
        }
    }

    /// A value worked out at run time, or now when it is constant.
    fn value_arg(&mut self, arg: &ast::Expr) -> Option<CompiledArg> {
        let expr = self.pure(arg)?;
        if let Some(value) = fold::constant(&expr) {
            return Some(match value {
                Value::Int(n) => CompiledArg::Int(n),
                other => CompiledArg::Text(other.to_text().into_owned().into()),
            });
        }
        Some(match expr {
            Expr(Pure::Pv(pv)) => CompiledArg::Pv(pv),
            expr => CompiledArg::Expr(Box::new(expr)),
        })
    }

    fn int_arg(&mut self, arg: &ast::Expr, what: &str, function: &str) -> Option<CompiledArg> {
        match &arg.kind {
            ExprKind::Str(text) => {
                if let Some(n) = exec::whole_int(text.trim().as_bytes()) {
                    return Some(CompiledArg::Int(n));
                }
                if let Some(digits) = text.strip_prefix("0x")
                    && let Ok(n) = i64::from_str_radix(digits, 16)
                {
                    return Some(CompiledArg::Int(n));
                }
                let format = self.text(text, arg.span)?;
                match format.constant() {
                    Some(_) => self.misfit(arg, what, function, "a number or a pseudo-variable"),
                    None => Some(CompiledArg::Format(format)),
                }
            }
            ExprKind::Word(word) => match ast::Constant::Word(word.clone()).as_int() {
                Some(n) => Some(CompiledArg::Int(n)),
                None => self.misfit(arg, what, function, "a number or a pseudo-variable"),
            },
            _ => self.value_arg(arg),
        }
    }

    fn pv_arg(&mut self, arg: &ast::Expr, what: &str, function: &str) -> Option<CompiledArg> {
        match &arg.kind {
            ExprKind::Pv(pv) => self.variable(pv).map(CompiledArg::Pv),
            ExprKind::Str(text) => match parse::parse(
                text.trim(),
                Place {
                    span: arg.span,
                    offset: None,
                },
            ) {
                Ok(pv) => match self.lookup.variable(&pv, text.trim()) {
                    Ok(compiled) => Some(CompiledArg::Pv(compiled)),
                    Err(_) => {
                        // compiled once more as text, which reports the place
                        self.text(text, arg.span);
                        None
                    }
                },
                Err(_) => self.misfit(arg, what, function, "a pseudo-variable, such as \"$var(x)\""),
            },
            _ => self.misfit(arg, what, function, "a pseudo-variable, such as \"$var(x)\""),
        }
    }

    fn regex_arg(&mut self, arg: &ast::Expr, what: &str, function: &str) -> Option<CompiledArg> {
        match &arg.kind {
            ExprKind::Str(text) => {
                let format = self.text(text, arg.span)?;
                match format.constant() {
                    Some(_) => self
                        .regex(text, arg.span, Options::CONDITION)
                        .map(CompiledArg::Regex),
                    None => Some(CompiledArg::Format(format)),
                }
            }
            ExprKind::Pv(_) | ExprKind::Binary(..) | ExprKind::Select(_) => self.value_arg(arg),
            _ => self.misfit(arg, what, function, "a regular expression in quotes"),
        }
    }

    fn flag_arg(&mut self, arg: &ast::Expr, what: &str, function: &str) -> Option<CompiledArg> {
        let name = match &arg.kind {
            ExprKind::Int(n) => n.to_string(),
            ExprKind::Str(text) | ExprKind::Word(text) => text.clone(),
            ExprKind::Pv(_) | ExprKind::Binary(..) => return self.value_arg(arg),
            _ => return self.misfit(arg, what, function, "the number or name of a flag"),
        };
        if name.contains('$')
            && let Some(format) = self.text(&name, arg.span)
            && format.constant().is_none()
        {
            return Some(CompiledArg::Format(format));
        }
        if let Some(n) = exec::whole_int(name.as_bytes()) {
            if (0..=31).contains(&n) {
                return Some(CompiledArg::Int(n));
            }
            self.error(
                "flag",
                arg.span,
                format!("`{n}` is no flag: flags are numbered 0 to 31"),
            );
            return None;
        }
        if let Some(n) = self.program.flag(&name) {
            return Some(CompiledArg::Int(i64::from(n)));
        }
        let help = did_you_mean(&name, self.program.flags.keys().map(|name| &**name))
            .or_else(|| Some("name it with `#!define NAME 5` or `flags NAME:5`".to_owned()));
        self.report(Diagnostic::error("flag", arg.span, format!("unknown flag `{name}`")).maybe_help(help));
        None
    }

    fn route_arg(
        &mut self,
        arg: &ast::Expr,
        what: &str,
        function: &str,
        kinds: Routes,
    ) -> Option<CompiledArg> {
        let Some(name) = constant_name(arg) else {
            return self.value_arg(arg);
        };
        if name.contains('$')
            && let Some(format) = self.text(&name, arg.span)
            && format.constant().is_none()
        {
            return Some(CompiledArg::Format(format));
        }
        if let Some(id) = self.program.find_route(kinds, &name) {
            return Some(CompiledArg::Route(id));
        }
        // Kamailio: "0" and an empty name take the route off again
        if name.is_empty() || name == "0" {
            return Some(CompiledArg::Absent);
        }
        let keyword = route_keyword(kinds);
        let names = self.program.names.get(keyword as usize);
        let help = did_you_mean(
            &name,
            names.iter().flat_map(|names| names.keys().map(|name| &**name)),
        );
        let shown = if kinds == Routes::BRANCH_FAILURE {
            format!("event_route[tm:branch-failure:{name}]")
        } else {
            format!("{}[{name}]", keyword.as_str())
        };
        let message = format!("there is no `{shown}` for argument `{what}` of `{function}`");
        // Kamailio: starts all the same, and nothing runs; public configurations rely on it
        self.report(Diagnostic::warning("unknown-route", arg.span, message).maybe_help(help));
        Some(CompiledArg::Absent)
    }
}

/// The row that takes this many arguments, else the first.
fn fitting(rows: &[&'static Function], given: usize) -> Option<&'static Function> {
    let fits = |row: &&&'static Function| {
        let least = row.args.iter().filter(|arg| !arg.optional()).count();
        (least..=row.args.len()).contains(&given)
    };
    rows.iter().find(fits).or(rows.first()).copied()
}

fn route_keyword(kinds: Routes) -> RouteKeyword {
    let all = [
        (Routes::FAILURE, RouteKeyword::Failure),
        (Routes::ONREPLY, RouteKeyword::OnReply),
        (Routes::BRANCH, RouteKeyword::Branch),
        (Routes::BRANCH_FAILURE, RouteKeyword::Event),
        (Routes::EVENT, RouteKeyword::Event),
    ];
    all.iter()
        .find(|(kind, _)| kinds.meets(*kind))
        .map_or(RouteKeyword::Request, |(_, keyword)| *keyword)
}

/// The kinds of route in words.
fn kind_names(kinds: RouteKind, last: &str) -> String {
    let all = [
        (Routes::REQUEST, "request_route"),
        (Routes::FAILURE, "failure_route"),
        (Routes::ONREPLY, "onreply_route"),
        (Routes::BRANCH, "branch_route"),
        (Routes::ONSEND, "onsend_route"),
        (Routes::REPLY, "reply_route"),
        (Routes::EVENT, "event_route"),
        (Routes::BRANCH_FAILURE, "event_route[tm:branch-failure]"),
    ];
    let names: Vec<&str> = all
        .iter()
        .filter(|(kind, _)| kinds.meets(*kind))
        .map(|(_, name)| *name)
        .collect();
    match names.as_slice() {
        [] => "no route".to_owned(),
        [one] => (*one).to_owned(),
        [first @ .., final_one] => format!("{} {last} {final_one}", first.join(", ")),
    }
}
