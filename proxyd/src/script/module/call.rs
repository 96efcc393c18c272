//! What a running route works on, and one call of a function from it.

use super::Hook;
use super::RouteKind;
use super::Routes;
use super::Script;
use crate::proxy::context::Context;
use crate::script::host::Host;
use crate::script::host::Scope;
use crate::script::lists::Lists;
use crate::script::program::Format;
use crate::script::program::PvRef;
use crate::script::span::Span;
use crate::script::value::Value;
use crate::script::vars::Vars;
use shared::sip::Uri;
use std::any::Any;
use std::borrow::Cow;

/// What a running route works on.
pub struct Env<'a> {
    /// The message under way.
    pub ctx: &'a mut Context,
    /// Its `$avp` and `$xavp`.
    pub lists: &'a mut Lists,
    /// `$var` of this worker.
    pub vars: &'a mut Vars,
    /// The script.
    pub script: &'a Script,
    /// The proxy.
    pub host: &'a mut dyn Host,
    /// The kind of route that runs.
    pub route: RouteKind,
    /// `$rc`: the result of the last function.
    pub rc: i64,
}

impl<'a> Env<'a> {
    /// The same with another message, in a route of this kind.
    pub fn with<'b>(&'b mut self, ctx: &'b mut Context, route: RouteKind) -> Env<'b> {
        Env {
            ctx,
            lists: &mut *self.lists,
            vars: &mut *self.vars,
            script: self.script,
            host: &mut *self.host,
            route,
            rc: 0,
        }
    }

    /// Splits the proxy from what it works on, for [`Host`] methods.
    pub fn split(&mut self) -> (&mut dyn Host, Scope<'_>) {
        let scope = Scope {
            ctx: &mut *self.ctx,
            lists: &mut *self.lists,
            vars: &mut *self.vars,
            script: self.script,
            route: self.route,
        };
        (&mut *self.host, scope)
    }

    /// Whether functions may change what other messages see: not in a sandbox.
    pub fn may_write(&self) -> bool {
        self.vars.trace.is_none() || !self.host.is_sandbox()
    }

    /// Adds a remark to the trace, when there is one.
    pub fn note(&mut self, text: std::fmt::Arguments<'_>) {
        if let Some(trace) = &mut self.vars.trace {
            trace.note(text.to_string());
        }
    }

    /// The state of a module; none when it is not loaded. Not tied to the borrow of `self`.
    pub fn state<T: Any + Send + Sync>(&self) -> Option<&'a T> {
        self.script.states.get::<T>()
    }

    /// Whether the URI of a Route is ours. Kamailio: without a port it means 5060, over TLS too.
    pub fn is_own_route(&self, uri: &Uri<'_>) -> bool {
        self.is_myself(uri.host, uri.port.filter(|port| *port != 0).unwrap_or(5060))
    }

    /// Whether a host (and port, 0 for any) is ours, by socket, alias or module.
    pub fn is_myself(&self, host: &[u8], port: u16) -> bool {
        self.host.sockets().is_local(host, port, None)
            || self
                .script
                .hooks()
                .any(|hook| matches!(hook, Hook::Myself(asks) if asks(self.script, host, port)))
    }
}

/// A compiled argument.
#[derive(Debug)]
pub enum CompiledArg {
    /// Left out.
    Absent,
    /// A constant integer.
    Int(i64),
    /// Constant text.
    Text(Box<[u8]>),
    /// Text with pseudo-variables.
    Format(Format),
    /// A pseudo-variable.
    Pv(PvRef),
    /// An expression.
    Expr(Box<crate::script::program::Expr>),
    /// A regular expression.
    Regex(shared::regex::Regex),
    /// A substitution.
    Subst(crate::script::transform::subst::Subst),
    /// A route block.
    Route(crate::script::host::RouteId),
}

/// One call of a function.
pub struct Call<'c, 'a> {
    /// What it works on.
    pub env: &'c mut Env<'a>,
    /// Its arguments.
    pub args: &'c [CompiledArg],
    /// The function's name as written, for messages.
    pub name: &'c str,
    /// Where the call stands.
    pub span: Span,
}

impl<'a> Call<'_, 'a> {
    /// The line of the script that the call stands in.
    pub fn line(&self) -> usize {
        let sources = self.env.script.program.sources();
        sources.position(sources.root(self.span)).line
    }

    /// How many arguments were written.
    pub fn count(&self) -> usize {
        self.args
            .iter()
            .filter(|arg| !matches!(arg, CompiledArg::Absent))
            .count()
    }

    /// Whether argument `n` was written.
    pub fn has(&self, n: usize) -> bool {
        !matches!(self.args.get(n), None | Some(CompiledArg::Absent))
    }

    /// Argument `n` as a value; null when left out.
    pub fn value(&self, n: usize) -> Value<'_> {
        match self.args.get(n) {
            None | Some(CompiledArg::Absent | CompiledArg::Regex(_) | CompiledArg::Subst(_)) => Value::Null,
            Some(CompiledArg::Int(i)) => Value::Int(*i),
            Some(CompiledArg::Text(text)) => Value::text(text),
            Some(CompiledArg::Format(format)) => Value::Str(format.expand(self.env)),
            Some(CompiledArg::Pv(pv)) => pv.read(self.env),
            Some(CompiledArg::Expr(expr)) => expr.read(self.env),
            Some(CompiledArg::Route(id)) => Value::Int(i64::from(*id)),
        }
    }

    /// Argument `n` as text; null and left out are empty.
    pub fn text(&self, n: usize) -> Cow<'_, [u8]> {
        match self.args.get(n) {
            Some(CompiledArg::Text(text)) => Cow::Borrowed(text),
            _ => self.value(n).into_text(),
        }
    }

    /// Argument `n` as text that outlives the borrow.
    pub fn text_owned(&self, n: usize) -> Vec<u8> {
        self.value(n).into_text().into_owned()
    }

    /// Argument `n` as a text shows it: null is `<null>`.
    pub fn printed(&self, n: usize) -> Cow<'_, [u8]> {
        let value = match self.args.get(n) {
            Some(CompiledArg::Format(format)) => format.value(self.env),
            _ => self.value(n),
        };
        match value {
            Value::Null => Cow::Borrowed(b"<null>"),
            value => value.into_text(),
        }
    }

    /// Argument `n` as an integer; left out is 0.
    pub fn int(&self, n: usize) -> i64 {
        self.value(n).to_int()
    }

    /// Argument `n` as an integer, if written.
    pub fn opt_int(&self, n: usize) -> Option<i64> {
        self.has(n).then(|| self.int(n))
    }

    /// Assigns to the pseudo-variable in argument `n`; false when it cannot be.
    pub fn assign(&mut self, n: usize, value: Value<'_>) -> bool {
        match self.args.get(n) {
            Some(CompiledArg::Pv(pv)) => pv.write(self.env, value).is_ok(),
            _ => false,
        }
    }

    /// The regular expression in argument `n`, compiled now if it holds pseudo-variables.
    pub fn regex(&self, n: usize) -> Option<Cow<'_, shared::regex::Regex>> {
        match self.args.get(n)? {
            CompiledArg::Regex(regex) => Some(Cow::Borrowed(regex)),
            CompiledArg::Absent => None,
            _ => shared::regex::Regex::cached(&self.text(n)).map(Cow::Owned),
        }
    }

    /// The substitution in argument `n`.
    pub fn subst(&self, n: usize) -> Option<&crate::script::transform::subst::Subst> {
        if let Some(CompiledArg::Subst(subst)) = self.args.get(n) {
            Some(subst)
        } else {
            None
        }
    }

    /// The route block in argument `n`: of one of these kinds, when its name is made at run time.
    pub fn route(&self, n: usize, kinds: Routes) -> Option<crate::script::host::RouteId> {
        match self.args.get(n)? {
            CompiledArg::Route(id) => Some(*id),
            CompiledArg::Absent => None,
            _ => {
                let name = self.text(n);
                self.env
                    .script
                    .program
                    .find_route(kinds, std::str::from_utf8(&name).ok()?)
            }
        }
    }

    /// The state of a module.
    pub fn state<T: Any + Send + Sync>(&self) -> Option<&'a T> {
        self.env.state::<T>()
    }

    /// The proxy and what it works on.
    pub fn split(&mut self) -> (&mut dyn Host, Scope<'_>) {
        self.env.split()
    }
}
