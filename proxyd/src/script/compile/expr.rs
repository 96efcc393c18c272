//! Expressions: operators, core keywords (core cookbook, "Core Keywords"), functions as values.

use super::Compiler;
use super::fold;
use crate::script::ast;
use crate::script::ast::BinaryOp;
use crate::script::ast::ExprKind;
use crate::script::ast::UnaryOp;
use crate::script::diag::Diagnostic;
use crate::script::diag::did_you_mean;
use crate::script::program::End;
use crate::script::program::Expr;
use crate::script::program::Keyword;
use crate::script::program::Node;
use crate::script::program::Pure;
use crate::script::program::RouteCall;
use crate::script::program::Test;
use crate::script::program::Unary;
use crate::script::span::Span;
use ipnet::IpNet;
use shared::net::Transport;
use shared::net::cidr;
use shared::regex::Options;
use shared::regex::Regex;
use smallvec::smallvec;

/// The words of Kamailio's core that stand for a part of the message.
const KEYWORDS: &[(&str, Keyword)] = &[
    ("method", Keyword::Method),
    ("uri", Keyword::Uri),
    ("from_uri", Keyword::FromUri),
    ("to_uri", Keyword::ToUri),
    ("status", Keyword::Status),
    ("src_ip", Keyword::SrcIp),
    ("dst_ip", Keyword::DstIp),
    ("src_port", Keyword::SrcPort),
    ("dst_port", Keyword::DstPort),
    ("proto", Keyword::Proto),
    ("af", Keyword::Af),
    ("msg:len", Keyword::MsgLen),
];

/// The keyword of a word.
pub(super) fn keyword(word: &str) -> Option<Keyword> {
    KEYWORDS
        .iter()
        .find(|(name, _)| *name == word)
        .map(|(_, keyword)| *keyword)
}

/// The value of the words that Kamailio takes as a boolean.
fn boolean(word: &str) -> Option<i64> {
    ast::Constant::Word(word.to_owned()).as_int()
}

/// The name an expression spells, as `route(NAME)`, `route("NAME")` and `route(1)` do.
pub(super) fn constant_name(expr: &ast::Expr) -> Option<String> {
    match &expr.kind {
        ExprKind::Str(text) | ExprKind::Word(text) => Some(text.clone()),
        ExprKind::Int(n) => Some(n.to_string()),
        _ => None,
    }
}

impl Compiler {
    /// Compiles an expression; none when something in it is wrong, which was reported.
    pub(super) fn node(&mut self, expr: &ast::Expr) -> Option<Node> {
        let pure = |kind| Some(Node::Pure(Expr(kind)));
        match &expr.kind {
            ExprKind::Int(n) => pure(Pure::Int(self.integer(*n, expr.span)?)),
            ExprKind::Str(text) => pure(Pure::Text(text.as_bytes().into())),
            ExprKind::Pv(pv) if pv.name == "null" && pv.inner.is_none() && pv.transformations.is_empty() => {
                pure(Pure::Null)
            }
            ExprKind::Pv(pv) => pure(Pure::Pv(self.variable(pv)?)),
            ExprKind::Select(name) => {
                let (index, transformations) = (None, Vec::new());
                let pv = ast::Pv {
                    name: "sel".into(),
                    inner: Some(name.clone()),
                    index,
                    transformations,
                    span: expr.span,
                };
                pure(Pure::Pv(self.variable(&pv)?))
            }
            ExprKind::Word(word) => self.word(word, expr.span),
            ExprKind::Network(text) => pure(Pure::Text(text.as_bytes().into())),
            ExprKind::Unary(op, inner) => {
                let op = match op {
                    UnaryOp::Not => Unary::Not,
                    UnaryOp::Minus => Unary::Minus,
                    UnaryOp::BitNot => Unary::BitNot,
                    UnaryOp::Int => Unary::Int,
                    UnaryOp::Str => Unary::Str,
                    UnaryOp::Defined => Unary::Defined,
                    UnaryOp::StrLen => Unary::StrLen,
                    UnaryOp::StrEmpty => Unary::StrEmpty,
                };
                Some(match self.node(inner)? {
                    Node::Pure(inner) => Node::Pure(fold::unary(op, inner)),
                    inner => Node::Unary(op, Box::new(inner)),
                })
            }
            ExprKind::Binary(op, left, right) => self.binary(*op, left, right, expr.span),
            ExprKind::Call(call) => self.call_value(call),
            ExprKind::Error => None,
        }
    }

    /// The same where only a value can stand, not a function.
    pub(super) fn pure(&mut self, expr: &ast::Expr) -> Option<Expr> {
        match self.node(expr)? {
            Node::Pure(expr) => Some(expr),
            _ => {
                let report = Diagnostic::error(
                    "argument",
                    expr.span,
                    "a function cannot be called within an argument",
                );
                self.report(report.help("assign its result to a `$var` first"));
                None
            }
        }
    }

    /// Kamailio: integers have 32 bits; a hexadecimal mask may use all of them.
    pub(super) fn integer(&mut self, n: i64, span: Span) -> Option<i64> {
        if n > i64::from(u32::MAX) || n < i64::from(i32::MIN) {
            self.error("number", span, format!("`{n}` does not fit in 32 bits"));
            return None;
        }
        Some(i64::from(n as i32))
    }

    fn word(&mut self, word: &str, span: Span) -> Option<Node> {
        if let Some(keyword) = keyword(word) {
            return Some(Node::Pure(Expr(Pure::Keyword(keyword))));
        }
        if let Some(n) = boolean(word) {
            return Some(Node::Pure(Expr(Pure::Int(n))));
        }
        let mut report = Diagnostic::error(
            "bare-word",
            span,
            format!("`{word}` is neither a value nor a keyword"),
        );
        let (rows, _) = self.lookup.functions(word);
        report = if rows.is_empty() {
            let near = did_you_mean(word, KEYWORDS.iter().map(|(name, _)| *name));
            match near {
                Some(near) => report.help(near),
                None => {
                    report.help("text stands in quotes, a name of a `#!define` needs its definition before")
                }
            }
        } else {
            report.help(format!("to call the function, write `{word}()`"))
        };
        self.report(report);
        None
    }

    fn binary(&mut self, op: BinaryOp, left: &ast::Expr, right: &ast::Expr, span: Span) -> Option<Node> {
        let comparison = matches!(op, BinaryOp::Equal | BinaryOp::NotEqual);
        if comparison {
            let negate = op == BinaryOp::NotEqual;
            let word = |expr: &ast::Expr| {
                if let ExprKind::Word(word) = &expr.kind {
                    Some(word.clone())
                } else {
                    None
                }
            };
            let (left_word, right_word) = (word(left), word(right));
            if let Some(keyword) = left_word.as_deref().and_then(keyword) {
                return self.keyword_comparison(keyword, left.span, right, negate);
            }
            if left_word.as_deref() == Some("myself")
                && let Some(keyword) = right_word.as_deref().and_then(keyword)
            {
                return self.keyword_comparison(keyword, right.span, left, negate);
            }
            if right_word.as_deref() == Some("myself") {
                let report = Diagnostic::error(
                    "myself",
                    span,
                    "`myself` compares with uri, from_uri, to_uri, src_ip or dst_ip",
                );
                self.report(report.help("use `is_myself(…)` for anything else"));
                return None;
            }
        }
        if matches!(op, BinaryOp::Match | BinaryOp::NotMatch)
            && let ExprKind::Str(pattern) = &right.kind
        {
            let left = self.node(left);
            let regex = self.regex(pattern, right.span, Options::CONDITION)?;
            return Some(match left? {
                Node::Pure(left) => {
                    Node::Pure(fold::test(Test::Match(left, regex), op == BinaryOp::NotMatch))
                }
                left => {
                    let pattern = Node::Pure(Expr(Pure::Text(pattern.as_bytes().into())));
                    Node::Binary(op, Box::new((left, pattern)))
                }
            });
        }
        // both sides are looked at, so that mistakes in either are reported
        let (left, right) = (self.node(left), self.node(right));
        let (left, right) = (left?, right?);
        Some(match (left, right) {
            (Node::Pure(left), Node::Pure(right)) => {
                if matches!(op, BinaryOp::Divide | BinaryOp::Modulo) && matches!(right.0, Pure::Int(0)) {
                    self.report(Diagnostic::warning(
                        "division",
                        span,
                        "division by zero: the expression has no value",
                    ));
                }
                Node::Pure(fold::binary(op, left, right))
            }
            (left, right) => Node::Binary(op, Box::new((left, right))),
        })
    }

    pub(super) fn regex(&mut self, pattern: &str, span: Span, options: Options) -> Option<Regex> {
        match Regex::compile(pattern.as_bytes(), options) {
            Ok(regex) => Some(regex),
            Err(error) => {
                let message = format!("`{}` is no regular expression: {}", error.pattern, error.why);
                self.error("regex", span, message);
                None
            }
        }
    }

    /// `method==INVITE`, `uri==myself`, `src_ip==10.0.0.0/8`, `proto==UDP`, `af==INET6`.
    fn keyword_comparison(
        &mut self,
        keyword: Keyword,
        left: Span,
        right: &ast::Expr,
        negate: bool,
    ) -> Option<Node> {
        let test = |test| Some(Node::Pure(fold::test(test, negate)));
        let own = || Expr(Pure::Keyword(keyword));
        match (keyword, &right.kind) {
            (_, ExprKind::Word(word)) if word == "myself" => match keyword {
                Keyword::Uri | Keyword::FromUri | Keyword::ToUri | Keyword::SrcIp | Keyword::DstIp => {
                    test(Test::Myself(keyword))
                }
                _ => {
                    self.error(
                        "myself",
                        left.to(right.span),
                        "only URIs and addresses can be compared with `myself`",
                    );
                    None
                }
            },
            (Keyword::Method | Keyword::Status, ExprKind::Word(word)) => {
                test(Test::EqualText(own(), word.as_bytes().into()))
            }
            (Keyword::Proto, ExprKind::Word(word) | ExprKind::Str(word)) => {
                match Transport::from_bytes(word.as_bytes()) {
                    Some(transport) => test(Test::Transport(transport)),
                    None => {
                        let help = did_you_mean(word, ["UDP", "TCP", "TLS", "SCTP", "WS", "WSS"]);
                        let report =
                            Diagnostic::error("protocol", right.span, format!("`{word}` is no transport"));
                        self.report(report.maybe_help(help));
                        None
                    }
                }
            }
            (Keyword::Af, ExprKind::Word(word) | ExprKind::Str(word)) => {
                match word.to_ascii_lowercase().as_str() {
                    "inet" => test(Test::Family6(false)),
                    "inet6" => test(Test::Family6(true)),
                    _ => {
                        self.error(
                            "family",
                            right.span,
                            format!("`{word}` is no address family: known are INET and INET6"),
                        );
                        None
                    }
                }
            }
            (
                Keyword::SrcIp | Keyword::DstIp,
                ExprKind::Network(text) | ExprKind::Str(text) | ExprKind::Word(text),
            ) => {
                let end = if keyword == Keyword::SrcIp {
                    End::Peer
                } else {
                    End::Local
                };
                let net = self.network(text, right.span)?;
                test(Test::Network(end, smallvec![net]))
            }
            _ => {
                let op = if negate {
                    BinaryOp::NotEqual
                } else {
                    BinaryOp::Equal
                };
                Some(match self.node(right)? {
                    Node::Pure(right) => Node::Pure(fold::binary(op, own(), right)),
                    right => Node::Binary(op, Box::new((Node::Pure(own()), right))),
                })
            }
        }
    }

    fn network(&mut self, text: &str, span: Span) -> Option<IpNet> {
        match cidr::parse_truncated(text) {
            Ok(net) => {
                if let Err(error @ cidr::CidrError::HostBits { .. }) = cidr::parse_network(text) {
                    self.report(Diagnostic::warning("network", span, error.to_string()));
                }
                Some(net)
            }
            Err(error) => {
                let mut report = Diagnostic::error("network", span, error.to_string());
                if text.contains(|c: char| c.is_ascii_alphabetic()) && !text.contains(':') {
                    report = report
                        .help("an address is compared with an address or a network; `$si` holds it as text");
                }
                self.report(report);
                None
            }
        }
    }

    /// A function, a route block or `selval(…)` as a value.
    fn call_value(&mut self, call: &ast::Call) -> Option<Node> {
        match call.name.text.as_str() {
            "route" => Some(Node::Route(Box::new(self.route_call(call)?))),
            "selval" => match call.args.as_slice() {
                [condition, then, otherwise] => {
                    let nodes = (self.node(condition), self.node(then), self.node(otherwise));
                    Some(Node::Choose(Box::new((nodes.0?, nodes.1?, nodes.2?))))
                }
                _ => {
                    self.error(
                        "argument-count",
                        call.span,
                        "`selval` takes a condition and two values",
                    );
                    None
                }
            },
            _ => Some(Node::Call(Box::new(self.invoke(call)?))),
        }
    }

    /// `route(NAME)`, `route("NAME")`, `route(1)`, `route($var(name))`.
    pub(super) fn route_call(&mut self, call: &ast::Call) -> Option<RouteCall> {
        let [arg] = call.args.as_slice() else {
            self.error(
                "argument-count",
                call.span,
                "`route` takes the name of one route block",
            );
            return None;
        };
        let Some(name) = constant_name(arg) else {
            let node = self.node(arg)?;
            if let Node::Pure(expr) = &node
                && let Some(value) = fold::constant(expr)
            {
                let name = String::from_utf8_lossy(&value.to_text()).into_owned();
                return self.route_named(&name, arg.span);
            }
            return Some(RouteCall::Named(node));
        };
        self.route_named(&name, arg.span)
    }

    fn route_named(&mut self, name: &str, span: Span) -> Option<RouteCall> {
        if let Some(id) = self.program.named(ast::RouteKeyword::Request, name) {
            return Some(RouteCall::Block(id));
        }
        let names = self.program.names.get(ast::RouteKeyword::Request as usize);
        let help = did_you_mean(
            name,
            names.iter().flat_map(|names| names.keys().map(|name| &**name)),
        );
        let report = Diagnostic::error("unknown-route", span, format!("there is no `route[{name}]`"));
        self.report(report.maybe_help(help));
        None
    }
}
