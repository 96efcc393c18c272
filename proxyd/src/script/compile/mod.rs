//! From the tree to a [`Program`]: every name resolved, every argument checked, every mistake reported.

mod args;
mod expr;
mod fold;
mod lint;
mod names;
mod pv;
mod settings;
mod stmt;

use super::ast;
use super::ast::RouteKeyword;
use super::diag::Diagnostic;
use super::diag::Diagnostics;
use super::host::RouteId;
use super::module::Loaded;
use super::module::ModuleDef;
use super::module::ParamValue;
use super::module::RouteKind;
use super::module::Routes;
use super::parse::Parsed;
use super::program::Block;
use super::program::Format;
use super::program::MessageEvent;
use super::program::Program;
use super::span::Span;
use ahash::AHashMap;
use names::Lookup;

/// What the command line adds to a script.
#[derive(Clone, Debug, Default)]
pub struct Additions {
    /// `--loadmodule=NAME`.
    pub modules: Vec<String>,
    /// `--modparam=module:name:type:value`.
    pub modparams: Vec<(String, String, ParamValue)>,
}

/// What became of a script.
pub struct Compiled {
    /// The program; complete only without errors.
    pub program: Program,
    /// The modules with their parameters, each behind those it needs.
    pub modules: Vec<Loaded>,
    /// Everything that was found, ordered by place.
    pub found: Diagnostics,
}

impl Compiled {
    /// Whether the program may run.
    pub fn is_ok(&self) -> bool {
        self.found.errors() == 0
    }
}

/// Compiles a script against the modules that there are.
pub fn compile(parsed: Parsed, modules: &'static [&'static ModuleDef], additions: &Additions) -> Compiled {
    let Parsed {
        script,
        sources,
        found,
        defines,
    } = parsed;
    let mut compiler = Compiler {
        lookup: Lookup::new(modules),
        program: Program {
            sources,
            while_limit: 100,
            route_limit: 256,
            ..Program::default()
        },
        found,
        loaded: Vec::new(),
        kind: Routes::REQUEST,
        calls: Vec::new(),
        missing: Vec::new(),
    };
    for (name, text) in defines {
        compiler
            .program
            .defines
            .insert(name.as_bytes().into(), text.as_bytes().into());
    }
    compiler.settings(&script, additions);
    let routes: Vec<&ast::Route> = script
        .items
        .iter()
        .filter_map(|item| {
            if let ast::Item::Route(route) = item {
                Some(route)
            } else {
                None
            }
        })
        .collect();
    compiler.index_routes(&routes);
    compiler.program.message_events = MessageEvent::NAMES.map(|name| compiler.program.event_route(name));
    let kinds = compiler.kinds(&routes);
    for (index, route) in routes.iter().enumerate() {
        compiler.block(index, route, kinds.get(index).copied().unwrap_or(Routes::ANY));
    }
    compiler.lints(&routes, &kinds);
    let Compiler {
        program,
        mut found,
        loaded,
        ..
    } = compiler;
    found.sort(&program.sources);
    Compiled {
        program,
        modules: settings::ordered(loaded),
        found,
    }
}

/// Compiles a text with pseudo-variables for a module's parameter, when modules and flags are known.
pub fn parse_format(text: &[u8], modules: &[Loaded], program: &Program) -> Result<Format, String> {
    let mut lookup = Lookup::new(&[]);
    lookup.loaded = modules.iter().map(|module| module.def).collect();
    lookup.flags = program
        .flags
        .iter()
        .map(|(name, number)| (name.to_string(), *number))
        .collect();
    lookup.format_bytes(text)
}

/// A call of a function, for the lints.
struct Seen {
    name: &'static str,
    span: Span,
}

struct Compiler {
    lookup: Lookup,
    program: Program,
    found: Diagnostics,
    loaded: Vec<Loaded>,
    /// The kinds of route that the block being compiled may run in.
    kind: RouteKind,
    calls: Vec<Seen>,
    /// Modules that are not there: what follows from it is no second mistake.
    missing: Vec<String>,
}

impl Compiler {
    fn report(&mut self, diagnostic: Diagnostic) {
        self.found.push(diagnostic);
    }

    fn error(&mut self, code: &'static str, span: Span, message: impl Into<String>) {
        self.found.push(Diagnostic::error(code, span, message));
    }

    /// Gives every block its id and its place among the names.
    fn index_routes(&mut self, routes: &[&ast::Route]) {
        let mut places: AHashMap<(RouteKeyword, &str), Span> = AHashMap::new();
        for (index, route) in routes.iter().enumerate() {
            let name = route.name.as_ref().map_or("", |name| name.text.as_str());
            if let Some(first) = places.insert((route.keyword, name), route.span) {
                let shown = title(route);
                let report = Diagnostic::error(
                    "duplicate-route",
                    route.span,
                    format!("`{shown}` is defined twice"),
                );
                self.report(report.label(first, "first defined here"));
                continue;
            }
            let Ok(id) = RouteId::try_from(index) else {
                continue;
            };
            let at = route.keyword as usize;
            if name.is_empty() {
                if let Some(main) = self.program.mains.get_mut(at) {
                    *main = Some(id);
                }
            } else if let Some(names) = self.program.names.get_mut(at) {
                names.insert(name.into(), id);
            }
        }
        if self.program.request_route().is_none() {
            // Kamailio: starts, and ignores every request
            let span = routes.first().map_or(Span::default(), |route| route.span);
            let report = Diagnostic::warning("no-request-route", span, "the script has no `request_route`");
            self.report(report.help("every request begins there; without it none is answered"));
        }
        // blocks are named before they are compiled: dynamic calls and messages need it
        self.program.blocks = routes
            .iter()
            .map(|route| Block {
                name: title(route).into(),
                kind: own_kind(route),
                body: Box::default(),
                span: route.span,
            })
            .collect();
    }

    /// The kinds of route each block may run in: its own, or for `route[NAME]` those of the blocks that call it.
    fn kinds(&self, routes: &[&ast::Route]) -> Vec<RouteKind> {
        let sub = |route: &ast::Route| route.keyword == RouteKeyword::Request && route.name.is_some();
        let mut kinds: Vec<u16> = routes
            .iter()
            .map(|route| if sub(route) { 0 } else { own_kind(route).0 })
            .collect();
        let calls: Vec<Vec<usize>> = routes.iter().map(|route| self.called(&route.body)).collect();
        loop {
            let mut changed = false;
            for (index, called) in calls.iter().enumerate() {
                let from = kinds.get(index).copied().unwrap_or(0);
                for target in called {
                    if let Some(kind) = kinds.get_mut(*target)
                        && *kind | from != *kind
                    {
                        *kind |= from;
                        changed = true;
                    }
                }
            }
            if !changed {
                break;
            }
        }
        // a block that nothing calls by its name may be called by a name made at run time
        kinds
            .into_iter()
            .map(|kind| if kind == 0 { Routes::ANY } else { Routes(kind) })
            .collect()
    }

    /// The `route[NAME]`s that statements call by name.
    fn called(&self, body: &[ast::Stmt]) -> Vec<usize> {
        let mut found = Vec::new();
        for call in lint::calls(body) {
            if call.name.text != "route" {
                continue;
            }
            let name = call.args.first().and_then(expr::constant_name);
            let target = name.and_then(|name| self.program.named(RouteKeyword::Request, &name));
            found.extend(target.map(|id| id as usize));
        }
        found
    }

    fn block(&mut self, index: usize, route: &ast::Route, kind: RouteKind) {
        self.kind = kind;
        if route.keyword == RouteKeyword::Event {
            self.check_event(route);
        }
        let mut code = stmt::Code::default();
        self.statements(&route.body, &mut code);
        let body = code.finish();
        if let Some(block) = self.program.blocks.get_mut(index) {
            block.body = body;
        }
    }

    fn check_event(&mut self, route: &ast::Route) {
        let Some(name) = &route.name else { return };
        if !self.lookup.is_event(&name.text) {
            let help = self.lookup.event_help(&name.text);
            let message = format!("nothing raises the event `{}`", name.text);
            self.report(Diagnostic::warning("unknown-event", name.span, message).maybe_help(help));
        }
    }
}

/// A block's head as it should be written.
fn title(route: &ast::Route) -> String {
    match (&route.name, route.keyword) {
        (Some(name), keyword) => format!("{}[{}]", keyword.as_str(), name.text),
        (None, RouteKeyword::Request) => "request_route".to_owned(),
        (None, keyword) => keyword.as_str().to_owned(),
    }
}

fn own_kind(route: &ast::Route) -> RouteKind {
    match route.keyword {
        RouteKeyword::Request => Routes::REQUEST,
        RouteKeyword::Reply => Routes::REPLY,
        RouteKeyword::OnReply => Routes::ONREPLY,
        RouteKeyword::Failure => Routes::FAILURE,
        RouteKeyword::Branch => Routes::BRANCH,
        RouteKeyword::OnSend => Routes::ONSEND,
        RouteKeyword::Event => match &route.name {
            Some(name) if name.text.starts_with("tm:branch-failure") => Routes::BRANCH_FAILURE,
            _ => Routes::EVENT,
        },
    }
}

#[cfg(test)]
mod tests;
