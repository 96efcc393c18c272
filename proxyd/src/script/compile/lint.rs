//! What a script may do but hardly means: unguarded registrations and relays, code that never runs, answers that go on.

use super::Compiler;
use super::own_kind;
use crate::script::ast;
use crate::script::ast::ExprKind;
use crate::script::ast::RouteKeyword;
use crate::script::ast::StmtKind;
use crate::script::diag::Diagnostic;
use crate::script::module::RouteKind;
use crate::script::module::Routes;
use crate::script::span::Span;

/// Functions that ask who sends a request.
const GUARDS: &[&str] = &[
    "auth_check",
    "www_authenticate",
    "proxy_authenticate",
    "www_authorize",
    "proxy_authorize",
    "pv_www_authenticate",
    "pv_proxy_authenticate",
    "pv_auth_check",
    "allow_source_address",
    "allow_source_address_group",
    "allow_address",
    "allow_address_group",
    "allow_trusted",
    "allow_register",
    "ds_is_from_list",
    "radius_www_authorize",
    "radius_proxy_authorize",
    "is_in_subnet",
    "is_peer_verified",
    "auth_get_www_authenticate",
    "autheph_check",
    "autheph_www",
    "autheph_proxy",
    "autheph_authenticate",
    "jwt_decode",
    "from_gw",
    "from_any_gw",
    "ki_auth_check",
    "http_client_query",
    "http_async_query",
    "sql_query",
    "sql_xquery",
    "avp_check",
    "is_user_in",
];

/// Functions that send a request on.
const RELAYS: &[&str] = &[
    "t_relay",
    "forward",
    "t_relay_to",
    "t_relay_to_udp",
    "t_relay_to_tcp",
    "t_relay_to_tls",
    "t_forward_nonack",
    "send_tcp",
    "forward_tcp",
    "forward_udp",
];

/// Functions that answer a request.
const REPLIES: &[&str] = &[
    "sl_send_reply",
    "sl_reply",
    "send_reply",
    "t_reply",
    "send_reply_mode",
];

/// Every call in statements, those within expressions included.
pub(super) fn calls(body: &[ast::Stmt]) -> Vec<&ast::Call> {
    let mut found = Vec::new();
    for stmt in body {
        in_statement(stmt, &mut found);
    }
    found
}

fn in_statement<'a>(stmt: &'a ast::Stmt, found: &mut Vec<&'a ast::Call>) {
    match &stmt.kind {
        StmtKind::Empty | StmtKind::Break => {}
        StmtKind::Block(body) => body.iter().for_each(|stmt| in_statement(stmt, found)),
        StmtKind::Assign { value, .. } => in_expr(value, found),
        StmtKind::Call(call) => in_call(call, found),
        StmtKind::If { branches, otherwise } => {
            for (condition, then) in branches {
                in_expr(condition, found);
                in_statement(then, found);
            }
            if let Some(other) = otherwise {
                in_statement(other, found);
            }
        }
        StmtKind::While { condition, body } => {
            in_expr(condition, found);
            in_statement(body, found);
        }
        StmtKind::Switch { value, cases } => {
            in_expr(value, found);
            cases
                .iter()
                .flat_map(|case| &case.body)
                .for_each(|stmt| in_statement(stmt, found));
        }
        StmtKind::Return(value) | StmtKind::Exit(value) | StmtKind::Drop(value) => {
            if let Some(value) = value {
                in_expr(value, found);
            }
        }
    }
}

fn in_call<'a>(call: &'a ast::Call, found: &mut Vec<&'a ast::Call>) {
    found.push(call);
    call.args.iter().for_each(|arg| in_expr(arg, found));
}

fn in_expr<'a>(expr: &'a ast::Expr, found: &mut Vec<&'a ast::Call>) {
    match &expr.kind {
        ExprKind::Call(call) => in_call(call, found),
        ExprKind::Unary(_, inner) => in_expr(inner, found),
        ExprKind::Binary(_, left, right) => {
            in_expr(left, found);
            in_expr(right, found);
        }
        _ => {}
    }
}

impl Compiler {
    /// Looks at the whole script.
    pub(super) fn lints(&mut self, routes: &[&ast::Route], kinds: &[RouteKind]) {
        self.unused_routes(routes);
        for (index, route) in routes.iter().enumerate() {
            self.unreachable(&route.body);
            self.ignored_lookup(&route.body);
            if kinds.get(index).is_none_or(|kind| kind.meets(Routes::REQUEST)) {
                self.answered(&route.body, None);
            }
        }
        self.unguarded(routes);
    }

    fn warn(&mut self, code: &'static str, span: Span, message: impl Into<String>, help: &str) {
        self.report(Diagnostic::warning(code, span, message).help(help));
    }

    /// `route[NAME]` blocks that nothing calls, unless names are made at run time.
    fn unused_routes(&mut self, routes: &[&ast::Route]) {
        if self.found.errors() > 0 {
            // a call that is misspelt would make its block look unused
            return;
        }
        let all: Vec<&ast::Call> = routes.iter().flat_map(|route| calls(&route.body)).collect();
        let dynamic = all.iter().any(|call| {
            call.name.text == "route"
                && call
                    .args
                    .first()
                    .is_some_and(|arg| super::expr::constant_name(arg).is_none())
        });
        let mut named: Vec<String> = Vec::new();
        for call in &all {
            named.extend(call.args.iter().filter_map(super::expr::constant_name));
        }
        for route in routes {
            let Some(name) = &route.name else { continue };
            let armed = matches!(
                route.keyword,
                RouteKeyword::Failure | RouteKeyword::OnReply | RouteKeyword::Branch
            );
            let sub = route.keyword == RouteKeyword::Request;
            if (armed || (sub && !dynamic)) && !named.contains(&name.text) {
                let shown = super::title(route);
                let call = match route.keyword {
                    RouteKeyword::Failure => "t_on_failure",
                    RouteKeyword::OnReply => "t_on_reply",
                    RouteKeyword::Branch => "t_on_branch",
                    _ => "route",
                };
                let help = if sub {
                    format!("call it with `route({})`, or remove it", name.text)
                } else {
                    format!("arm it with `{call}(\"{}\")`, or remove it", name.text)
                };
                let help = help.as_str();
                self.warn(
                    "unused-route",
                    route.span,
                    format!("`{shown}` is never run"),
                    help,
                );
            }
        }
    }

    /// Statements behind `exit`, `drop`, `return` and `break`.
    fn unreachable(&mut self, body: &[ast::Stmt]) {
        let mut ended: Option<&ast::Stmt> = None;
        for stmt in body {
            if matches!(stmt.kind, StmtKind::Empty) {
                continue;
            }
            if let Some(end) = ended {
                let report = Diagnostic::warning("unreachable", stmt.span, "this is never run");
                self.report(report.label(end.span, "the block ends here"));
                return;
            }
            match &stmt.kind {
                StmtKind::Return(_) | StmtKind::Exit(_) | StmtKind::Drop(_) | StmtKind::Break => {
                    ended = Some(stmt)
                }
                StmtKind::Block(inner) => self.unreachable(inner),
                StmtKind::If { branches, otherwise } => {
                    for (_, then) in branches {
                        self.unreachable(std::slice::from_ref(then));
                    }
                    if let Some(other) = otherwise {
                        self.unreachable(std::slice::from_ref(other));
                    }
                }
                StmtKind::While { body, .. } => self.unreachable(std::slice::from_ref(body)),
                StmtKind::Switch { cases, .. } => {
                    for case in cases {
                        self.unreachable(&case.body);
                    }
                }
                StmtKind::Empty | StmtKind::Assign { .. } | StmtKind::Call(_) => {}
            }
        }
    }

    /// `lookup("location");` whose result nothing asks for.
    fn ignored_lookup(&mut self, body: &[ast::Stmt]) {
        for (at, stmt) in body.iter().enumerate() {
            match &stmt.kind {
                StmtKind::Call(call) if call.name.text == "lookup" => {
                    let next = body
                        .iter()
                        .skip(at + 1)
                        .find(|stmt| !matches!(stmt.kind, StmtKind::Empty));
                    if !next.is_some_and(|next| self.asks_for_result(next)) {
                        self.warn(
                            "ignored-result",
                            call.span,
                            "nothing asks whether `lookup` found a contact",
                            "write `if (!lookup(…)) { … }`, or look at `$rc`",
                        );
                    }
                }
                StmtKind::Block(inner) => self.ignored_lookup(inner),
                StmtKind::If { branches, otherwise } => {
                    for (_, then) in branches {
                        self.ignored_lookup(std::slice::from_ref(then));
                    }
                    if let Some(other) = otherwise {
                        self.ignored_lookup(std::slice::from_ref(other));
                    }
                }
                StmtKind::While { body, .. } => self.ignored_lookup(std::slice::from_ref(body)),
                StmtKind::Switch { cases, .. } => {
                    for case in cases {
                        self.ignored_lookup(&case.body);
                    }
                }
                _ => {}
            }
        }
    }

    fn asks_for_result(&self, stmt: &ast::Stmt) -> bool {
        let mentions = |expr: &ast::Expr| {
            let text = self.program.sources.quote(expr.span);
            text.contains("$rc") || text.contains("$retcode") || text.contains("$?")
        };
        match &stmt.kind {
            StmtKind::If { branches, .. } => branches.iter().any(|(condition, _)| mentions(condition)),
            StmtKind::Switch { value, .. } => mentions(value),
            StmtKind::Assign { value, .. } => mentions(value),
            StmtKind::Return(Some(value)) => mentions(value),
            _ => false,
        }
    }

    /// Follows final answers: what sends or answers once more behind one is reported. Gives the answer that is still
    /// open at the end of the list; none when the list never gets there.
    fn answered(&mut self, body: &[ast::Stmt], before: Option<Span>) -> Option<Span> {
        let mut open = before;
        for stmt in body {
            match &stmt.kind {
                StmtKind::Exit(_) | StmtKind::Drop(_) | StmtKind::Return(_) | StmtKind::Break => return None,
                StmtKind::Call(call) => {
                    let name = call.name.text.as_str();
                    if let Some(first) = open
                        && (RELAYS.contains(&name) || REPLIES.contains(&name))
                    {
                        let report = Diagnostic::warning(
                            "answered-twice",
                            call.span,
                            "the request was answered already",
                        );
                        self.report(
                            report
                                .label(first, "here")
                                .help("the script runs on behind an answer: put `exit;` there"),
                        );
                        open = None;
                    } else if REPLIES.contains(&name) && is_final(call) {
                        open = Some(call.span);
                    }
                }
                StmtKind::Block(inner) => open = self.answered(inner, open),
                StmtKind::If { branches, otherwise } => {
                    let mut after = if otherwise.is_none() { open } else { None };
                    for (_, then) in branches {
                        after = self.answered(std::slice::from_ref(then), open).or(after);
                    }
                    if let Some(other) = otherwise {
                        after = self.answered(std::slice::from_ref(other), open).or(after);
                    }
                    open = after;
                }
                StmtKind::While { body, .. } => {
                    self.answered(std::slice::from_ref(body), None);
                }
                StmtKind::Switch { cases, .. } => {
                    for case in cases {
                        self.answered(&case.body, None);
                    }
                }
                StmtKind::Empty | StmtKind::Assign { .. } => {}
            }
        }
        open
    }

    /// A script that registers or relays for anyone.
    fn unguarded(&mut self, routes: &[&ast::Route]) {
        if self.calls.iter().any(|call| GUARDS.contains(&call.name)) {
            return;
        }
        if let Some(save) = self.calls.iter().find(|call| call.name == "save") {
            let span = save.span;
            self.warn(
                "open-registrar",
                span,
                "REGISTER is saved without authentication",
                "anyone can take over a user's calls: check with `auth_check(\"$fd\", \"subscriber\", \"1\")` before",
            );
        }
        let text_checks = routes
            .iter()
            .any(|route| checks_source(self.program.sources.quote(route.span.to(route.end))));
        let requests = routes
            .iter()
            .filter(|route| own_kind(route).meets(Routes::REQUEST));
        let relays: Vec<Span> = requests
            .flat_map(|route| calls(&route.body))
            .filter(|call| RELAYS.contains(&call.name.text.as_str()))
            .map(|call| call.span)
            .collect();
        if let Some(span) = relays.first()
            && !text_checks
        {
            self.warn(
                "open-relay",
                *span,
                "requests are relayed for anyone",
                "check who sends them, with `auth_check` or `allow_source_address`, or where they go, with `uri==myself`",
            );
        }
    }
}

/// Whether a block compares where a request comes from or goes to with what is known.
fn checks_source(text: &str) -> bool {
    [
        "myself",
        "src_ip",
        "$si",
        "is_myself",
        "is_from_local",
        "is_uri_host_local",
        "$sht(",
        "$dlg",
    ]
    .iter()
    .any(|word| text.contains(word))
}

/// Whether a reply is a final one, as far as its text tells.
fn is_final(call: &ast::Call) -> bool {
    let code = match call.args.first().map(|arg| &arg.kind) {
        Some(ExprKind::Str(text)) => text.parse().unwrap_or(0),
        Some(ExprKind::Int(n)) => *n,
        _ => 0,
    };
    code >= 200
}
