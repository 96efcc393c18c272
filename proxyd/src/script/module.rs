//! What a module is: tables of parameters, functions, pseudo-variables, transformations, RPCs and timers.
//!
//! Everything an operator can name stands in one of these tables with its type and help text; checks,
//! documentation and completion are made from them.

mod call;
mod init;

use super::host::Millis;
use super::program::Format;
use super::program::PvRef;
use super::span::Span;
use super::tap::Tap;
use super::value::Value;
use crate::control::methods::RpcCall;
use crate::control::methods::RpcResult;
pub use call::Call;
pub use call::CompiledArg;
pub use call::Env;
pub use init::Init;
pub use init::InitError;
pub use init::Loaded;
pub use init::ParamValue;
pub use init::Params;
pub use init::Script;
pub use init::States;
use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;

/// The result of a script function: above 0 true, below 0 false, 0 ends the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code(pub i32);

impl Code {
    /// True.
    pub const TRUE: Self = Self(1);
    /// False, or an error.
    pub const FALSE: Self = Self(-1);
    /// Ends the script.
    pub const EXIT: Self = Self(0);

    /// Whether a condition holds with it.
    pub fn is_true(self) -> bool {
        self.0 > 0
    }
}

impl From<bool> for Code {
    fn from(yes: bool) -> Self {
        if yes { Self::TRUE } else { Self::FALSE }
    }
}

/// The kinds of route, one bit each; a function's table row says where it may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Routes(pub u16);

/// One kind of route.
pub type RouteKind = Routes;

impl Routes {
    /// `request_route` and `route[NAME]` called from it.
    pub const REQUEST: Self = Self(1);
    /// `failure_route[NAME]`.
    pub const FAILURE: Self = Self(2);
    /// `onreply_route[NAME]` armed by a transaction.
    pub const ONREPLY: Self = Self(4);
    /// `branch_route[NAME]`.
    pub const BRANCH: Self = Self(8);
    /// `onsend_route`.
    pub const ONSEND: Self = Self(16);
    /// `reply_route` and a nameless `onreply_route`: every reply.
    pub const REPLY: Self = Self(32);
    /// `event_route[module:event]`: as capable as a request route.
    pub const EVENT: Self = Self(64);
    /// `event_route[tm:branch-failure:NAME]`.
    pub const BRANCH_FAILURE: Self = Self(128);
    /// Every kind.
    pub const ANY: Self = Self(0xff);
    /// Requests in any of their routes.
    pub const REQUESTS: Self = Self(1 | 2 | 8 | 64 | 128);

    /// Both.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the other's kinds are all in it.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether they share a kind.
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// What one argument of a function is. The compiler checks it; strings may hold pseudo-variables unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arg {
    /// Text, pseudo-variables expanded.
    Text(&'static str),
    /// Text that may be left out.
    OptText(&'static str),
    /// An integer, a pseudo-variable or a numeric string.
    Int(&'static str),
    /// An integer that may be left out.
    OptInt(&'static str),
    /// A pseudo-variable to assign to, also when quoted.
    Pv(&'static str),
    /// Such a pseudo-variable, optional.
    OptPv(&'static str),
    /// A POSIX extended regular expression, compiled with the script unless it holds pseudo-variables.
    Regex(&'static str),
    /// A regular expression that may be left out.
    OptRegex(&'static str),
    /// A regular expression whose `.`, `^` and `$` stop at line ends (`REG_NEWLINE`), never expanded.
    LineRegex(&'static str),
    /// A substitution `/expression/replacement/flags` with pseudo-variables in its replacement.
    Subst(&'static str),
    /// Text taken as it stands, never expanded (a table, route or parameter name).
    Literal(&'static str),
    /// Such text, optional.
    OptLiteral(&'static str),
    /// A flag: its number or its name.
    Flag(&'static str),
    /// The name of a route block of this kind.
    Route(&'static str, Routes),
}

impl Arg {
    /// Whether a call may leave it out.
    pub const fn optional(self) -> bool {
        matches!(
            self,
            Self::OptText(_) | Self::OptInt(_) | Self::OptPv(_) | Self::OptRegex(_) | Self::OptLiteral(_)
        )
    }

    /// Its name in help and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text(n)
            | Self::OptText(n)
            | Self::Int(n)
            | Self::OptInt(n)
            | Self::Pv(n)
            | Self::OptPv(n) => n,
            Self::Regex(n) | Self::OptRegex(n) | Self::LineRegex(n) | Self::Subst(n) => n,
            Self::Literal(n) | Self::OptLiteral(n) | Self::Flag(n) => n,
            Self::Route(n, _) => n,
        }
    }
}

/// A script function.
pub struct Function {
    /// Its name, then aliases.
    pub names: &'static [&'static str],
    /// Its arguments, optional ones last.
    pub args: &'static [Arg],
    /// Where it may be called.
    pub routes: Routes,
    /// What it does and when it is true, in one line.
    pub doc: &'static str,
    /// The work.
    pub call: fn(&mut Call<'_, '_>) -> Code,
}

impl Function {
    /// A row for a function that may be called in every kind of route.
    pub const fn anywhere(
        names: &'static [&'static str],
        args: &'static [Arg],
        doc: &'static str,
        call: fn(&mut Call<'_, '_>) -> Code,
    ) -> Self {
        Self {
            names,
            args,
            routes: Routes::ANY,
            doc,
            call,
        }
    }

    /// Why a function that is accepted has no effect here; none when it has.
    pub fn without_effect(&self) -> Option<&'static str> {
        self.doc.strip_prefix("Accepted: ")
    }
}

/// A module parameter.
#[derive(Debug, Clone, Copy)]
pub enum Param {
    /// An integer (also `yes`, `no`, a numeric string): name, default, help.
    Int(&'static str, i64, &'static str),
    /// A string: name, default, help.
    Text(&'static str, &'static str, &'static str),
    /// A string that may be given several times: name, help.
    List(&'static str, &'static str),
    /// A pseudo-variable: name, default (may be empty), help.
    Pv(&'static str, &'static str, &'static str),
    /// Accepted and without effect here: name, why.
    Ignored(&'static str, &'static str),
}

impl Param {
    /// Its name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Int(n, ..)
            | Self::Text(n, ..)
            | Self::List(n, _)
            | Self::Pv(n, ..)
            | Self::Ignored(n, _) => n,
        }
    }
}

/// What a pseudo-variable's parentheses hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PvParam {
    /// Nothing: `$ru`.
    None,
    /// Something: `$hdr(name)`.
    Required,
    /// Either.
    Optional,
}

/// Makes what reading needs of the text in parentheses, once, at compile time; an error is shown to the operator.
pub type PvCompile = fn(&PvInner<'_>) -> Result<PvData, String>;

/// Reads a pseudo-variable.
pub type PvGet = for<'e, 'x> fn(&'e Env<'x>, &'e PvSpec) -> Value<'e>;

/// Assigns to a pseudo-variable.
pub type PvSet = fn(&mut Env<'_>, &PvSpec, Value<'_>) -> Result<(), SetError>;

/// A pseudo-variable, or a class of them.
pub struct Pv {
    /// Its name without the dollar, then aliases.
    pub names: &'static [&'static str],
    /// Its parentheses.
    pub param: PvParam,
    /// What it is, in one line.
    pub doc: &'static str,
    /// Prepares what its parentheses hold.
    pub compile: Option<PvCompile>,
    /// Reads it.
    pub get: PvGet,
    /// Assigns to it; none: read only.
    pub set: Option<PvSet>,
}

impl Pv {
    /// One without parentheses that can be read.
    pub const fn plain(names: &'static [&'static str], doc: &'static str, get: PvGet) -> Self {
        Self {
            names,
            param: PvParam::None,
            doc,
            compile: None,
            get,
            set: None,
        }
    }

    /// One with parentheses that can be read.
    pub const fn class(
        names: &'static [&'static str],
        doc: &'static str,
        compile: PvCompile,
        get: PvGet,
    ) -> Self {
        Self {
            param: PvParam::Required,
            compile: Some(compile),
            ..Self::plain(names, doc, get)
        }
    }

    /// The same that can be assigned to as well.
    pub const fn settable(self, set: PvSet) -> Self {
        Self {
            set: Some(set),
            ..self
        }
    }
}

/// Why an assignment did not happen; logged with its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// The value does not fit.
    #[error("value {0:?} does not fit")]
    Value(String),
    /// There is nothing to assign to.
    #[error("nothing to assign to: {0}")]
    Missing(String),
}

/// The text in a pseudo-variable's parentheses, to be compiled.
pub struct PvInner<'a> {
    /// As written.
    pub text: &'a [u8],
    /// The same with pseudo-variables in it found.
    pub format: &'a Format,
    /// Compiles a text with pseudo-variables, for a part of `text`.
    pub parse: &'a dyn Fn(&[u8]) -> Result<Format, String>,
    /// Flag numbers and names, and the loaded modules' parameters, where a pseudo-variable needs them.
    pub names: &'a dyn Names,
    /// Where it stands.
    pub span: Span,
}

/// Names the compiler knows.
pub trait Names {
    /// The number of a declared flag.
    fn flag(&self, name: &[u8]) -> Option<u32>;
}

/// What `compile` made of a pseudo-variable's parentheses.
#[derive(Debug, Default)]
pub enum PvData {
    /// Nothing.
    #[default]
    None,
    /// A number, a slot, a header's code.
    Number(i64),
    /// A fixed text.
    Text(Box<[u8]>),
    /// Text to be expanded at each use.
    Format(Format),
    /// Two texts: `table=>key`, `list=>field`.
    Pair(Format, Format),
    /// A module's own type.
    Other(Box<dyn Any + Send + Sync>),
}

/// One use of a pseudo-variable in a script.
#[derive(Debug, Default)]
pub struct PvSpec {
    /// The compiled parentheses.
    pub data: PvData,
    /// `[n]`.
    pub index: Index,
}

/// The index of a pseudo-variable.
#[derive(Debug, Default)]
pub enum Index {
    /// None written.
    #[default]
    None,
    /// A number; negative counts from the end.
    At(i64),
    /// `[*]`.
    All,
    /// A pseudo-variable.
    Pv(Box<PvRef>),
}

impl PvSpec {
    /// The index as a number, when it is one.
    pub fn at(&self, env: &Env<'_>) -> Option<i64> {
        match &self.index {
            Index::None | Index::All => None,
            Index::At(n) => Some(*n),
            Index::Pv(pv) => Some(pv.read(env).to_int()),
        }
    }

    /// Whether the index is `[*]`.
    pub fn is_all(&self) -> bool {
        matches!(self.index, Index::All)
    }

    /// The text of the parentheses, expanded where needed.
    pub fn text<'e>(&'e self, env: &'e Env<'_>) -> Cow<'e, [u8]> {
        match &self.data {
            PvData::Text(text) => Cow::Borrowed(text),
            PvData::Format(format) | PvData::Pair(format, _) => format.expand(env),
            PvData::None | PvData::Number(_) | PvData::Other(_) => Cow::Borrowed(b""),
        }
    }

    /// The module's own type.
    pub fn other<T: 'static>(&self) -> Option<&T> {
        if let PvData::Other(any) = &self.data {
            any.downcast_ref()
        } else {
            None
        }
    }
}

/// A transformation `{class.name,parameters}`.
pub struct Transformation {
    /// Class and name: `s.len`.
    pub name: &'static str,
    /// How many parameters it takes, at least and at most.
    pub params: (usize, usize),
    /// What it makes, in one line.
    pub doc: &'static str,
    /// The work: null and failure are null.
    pub apply: for<'v> fn(Value<'v>, &[Value<'_>]) -> Value<'v>,
}

/// An RPC of a module.
pub struct Rpc {
    /// Its name: `ul.dump`.
    pub name: &'static str,
    /// What it does and its parameters, in one line.
    pub doc: &'static str,
    /// The work, on a thread of the control plane.
    pub call: fn(&RpcCall<'_>, &Arc<Script>) -> RpcResult,
}

/// Work that a module does at intervals, on the timer worker.
pub struct ModuleTimer {
    /// What it is for.
    pub name: &'static str,
    /// Its interval by the module's parameters; none: it does not run.
    pub interval: fn(&Script) -> Option<Millis>,
    /// The work.
    pub run: fn(&mut Env<'_>),
}

/// What a module wants to hear of.
pub enum Hook {
    /// A request entered the script, before it runs; false drops it.
    RequestIn(fn(&mut Env<'_>) -> bool),
    /// A final reply was sent upstream in a transaction: the request's context is in the view.
    ResponseOut(fn(&mut Env<'_>, &TransactionEnd<'_>)),
    /// Every branch of a leg has failed, before the failure route runs.
    LegFailed(fn(&mut Env<'_>, &TransactionEnd<'_>)),
    /// A request within a dialog came by a Route of ours: the route's URI is in the context.
    LooseRouted(fn(&mut Env<'_>)),
    /// An ACK to a 2xx passed (end to end).
    EndToEndAck(fn(&mut Env<'_>)),
    /// A request is about to be forwarded in a transaction: branches are known.
    RequestForwarded(fn(&mut Env<'_>)),
    /// A reply of any kind is about to be forwarded upstream: the context is the reply's.
    ResponseForwarded(fn(&mut Env<'_>)),
    /// A dialog went a step on: the message at hand is of it.
    Dialog(fn(&mut Env<'_>, DialogStep)),
    /// Whether a host is ours, besides sockets and aliases (`domain`'s register_myself).
    Myself(fn(&Script, &[u8], u16) -> bool),
    /// Every message on the wire, for what this makes when the script comes into force.
    Tap(fn(&Script) -> Option<Arc<dyn Tap>>),
}

/// How far a dialog is, for accounting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialogStep {
    /// Its INVITE is followed from now on.
    Created,
    /// The ACK to its 2xx passed.
    Confirmed,
    /// It is about to end: the script has not heard of it yet.
    Ending,
    /// A BYE ended it, and the script has heard of it.
    Ended,
    /// Its time was over.
    Expired,
    /// It was refused or cancelled.
    Failed,
}

/// A transaction's end, for accounting.
pub struct TransactionEnd<'a> {
    /// Status sent upstream.
    pub status: u16,
    /// Its reason.
    pub reason: &'a [u8],
    /// The reply as received; none when made here.
    pub reply: Option<&'a shared::sip::Message>,
    /// To tag that the caller saw.
    pub to_tag: &'a [u8],
}

/// The module's state, shared by all workers; it synchronises itself.
pub type State = Arc<dyn Any + Send + Sync>;

/// Everything `loadmodule` brings.
pub struct ModuleDef {
    /// Its name in `loadmodule`, without `.so`.
    pub name: &'static str,
    /// What it is for, in one line.
    pub doc: &'static str,
    /// Modules that must be loaded too.
    pub needs: &'static [&'static str],
    /// Parameters.
    pub params: &'static [Param],
    /// Those of them that a reload does not change.
    pub fixed: &'static [&'static str],
    /// Functions.
    pub functions: &'static [Function],
    /// Pseudo-variables.
    pub pvs: &'static [Pv],
    /// Transformations.
    pub transformations: &'static [Transformation],
    /// RPCs.
    pub rpcs: &'static [Rpc],
    /// Events it raises: `xhttp:request` runs `event_route[xhttp:request]`.
    pub events: &'static [&'static str],
    /// Timers.
    pub timers: &'static [ModuleTimer],
    /// Hooks.
    pub hooks: &'static [Hook],
    /// Makes its state from its parameters; nothing is bound or started if any module fails.
    pub init: Option<fn(&mut Init<'_>) -> Result<State, InitError>>,
    /// Starts what runs beside the workers, after every module has its state.
    pub start: Option<fn(&Arc<Script>) -> Result<(), InitError>>,
    /// Writes out what must not be lost, at the end.
    pub stop: Option<fn(&Script)>,
}

impl ModuleDef {
    /// A module with a name and nothing in it.
    pub const fn new(name: &'static str, doc: &'static str) -> Self {
        Self {
            name,
            doc,
            needs: &[],
            params: &[],
            fixed: &[],
            functions: &[],
            pvs: &[],
            transformations: &[],
            rpcs: &[],
            events: &[],
            timers: &[],
            hooks: &[],
            init: None,
            start: None,
            stop: None,
        }
    }
}
