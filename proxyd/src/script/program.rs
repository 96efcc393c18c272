//! The compiled script: immutable, every name resolved, shared by all workers.

use super::ast::BinaryOp;
use super::ast::RouteKeyword;
use super::host::RouteId;
use super::module::CompiledArg;
use super::module::Env;
use super::module::Function;
use super::module::ParamValue;
use super::module::Pv;
use super::module::PvSpec;
use super::module::RouteKind;
use super::module::Routes;
use super::module::SetError;
use super::module::Transformation;
use super::span::Sources;
use super::span::Span;
use super::value::Value;
use crate::proxy::context::Defaults;
use ahash::AHashMap;
use ipnet::IpNet;
use shared::net::SocketSpec;
use shared::net::Transport;
use shared::regex::Regex;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;

/// A compiled script.
#[derive(Debug, Default)]
pub struct Program {
    /// Route blocks by [`RouteId`].
    pub(super) blocks: Vec<Block>,
    /// Named blocks, by keyword.
    pub(super) names: [BTreeMap<Box<str>, RouteId>; 7],
    /// Blocks without a name, by keyword.
    pub(super) mains: [Option<RouteId>; 7],
    /// Event routes that may run for each message, by [`MessageEvent`].
    pub(super) message_events: [Option<RouteId>; MessageEvent::NAMES.len()],
    /// Core parameters as they were set, in order.
    pub(super) settings: AHashMap<&'static str, Vec<ParamValue>>,
    /// `group.name = value`.
    pub(super) customs: BTreeMap<(Box<str>, Box<str>), Custom>,
    /// Named flags.
    pub(super) flags: BTreeMap<Box<str>, u32>,
    /// Flags of AVPs.
    pub(super) avp_flags: BTreeMap<Box<str>, u32>,
    /// `#!define`s with a text.
    pub(super) defines: BTreeMap<Box<[u8]>, Box<[u8]>>,
    /// Constant arguments of functions, by what they are.
    pub(super) literals: BTreeSet<(&'static str, Box<[u8]>)>,
    /// `listen=`.
    pub(super) listens: Vec<ListenOn>,
    /// The files of the script.
    pub(super) sources: Sources,
    /// Header values derived from core parameters.
    pub(super) server: Option<Box<[u8]>>,
    /// The same for requests made here.
    pub(super) user_agent: Option<Box<[u8]>>,
    /// `log_prefix`.
    pub(super) log_prefix: Option<Format>,
    /// `max_while_loops`; 0: without a bound.
    pub(super) while_limit: u32,
    /// `max_recursive_level`.
    pub(super) route_limit: u32,
    /// `msg_recv_max_size`.
    pub(super) message_limit: Option<usize>,
    /// What core parameters say of every message.
    pub(super) defaults: Defaults,
}

/// An event that may come with each message and so must not be looked up by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageEvent {
    /// A request of our own is about to be sent.
    Request,
    /// A reply was made in a transaction.
    Response,
    /// A 2xx to an INVITE of our own was acknowledged.
    AckSent,
    /// A reply was made without a transaction.
    Stateless,
    /// A datagram or a message of a stream was received, with `received_route_mode=1`.
    Received,
    /// A message was read and its route is about to run.
    PreRouting,
    /// A message cannot be read.
    ParseError,
}

impl MessageEvent {
    /// Their names, in order.
    pub(super) const NAMES: [&str; 7] = [
        "tm:local-request",
        "tm:local-response",
        "tm:local-ack-sent",
        "sl:local-response",
        "core:msg-received",
        "core:pre-routing",
        "core:receive-parse-error",
    ];
}

/// A custom parameter.
#[derive(Debug)]
pub struct Custom {
    /// Its value in the script.
    pub value: ParamValue,
    /// `desc "…"`.
    pub description: Box<str>,
}

/// A socket of the script.
#[derive(Debug, Clone)]
pub struct ListenOn {
    /// Transport, address and port.
    pub spec: SocketSpec,
    /// `virtual`: only ours while the machine has the address.
    pub is_virtual: bool,
}

impl Program {
    /// What functions are given as constant text for an argument of this name: `domain` of `save("location")`.
    pub fn literals(&self, what: &str) -> impl Iterator<Item = &[u8]> {
        let named = self.literals.iter().filter(move |(name, _)| *name == what);
        named.map(|(_, text)| &**text)
    }

    /// The block that every request runs.
    pub fn request_route(&self) -> Option<RouteId> {
        self.main(RouteKeyword::Request)
    }

    /// The block that every reply runs (`reply_route`, or `onreply_route` without a name).
    pub fn reply_route(&self) -> Option<RouteId> {
        self.main(RouteKeyword::Reply)
    }

    /// The block that every request sent out runs.
    pub fn onsend_route(&self) -> Option<RouteId> {
        self.main(RouteKeyword::OnSend)
    }

    /// Whether the `alias` of a Via is heeded (`tcp_accept_aliases`).
    pub fn accepts_aliases(&self) -> bool {
        self.setting_int("tcp_accept_aliases").unwrap_or(0) != 0
    }

    /// Whether that block is run for replies as well (`onsend_route_reply`).
    pub fn shows_replies(&self) -> bool {
        self.onsend_route().is_some() && self.setting_int("onsend_route_reply").unwrap_or(0) != 0
    }

    /// The block of an event: `xhttp:request`.
    pub fn event_route(&self, name: &str) -> Option<RouteId> {
        self.named(RouteKeyword::Event, name)
    }

    /// The block of an event that may come with each message.
    pub fn message_event(&self, event: MessageEvent) -> Option<RouteId> {
        self.message_events.get(event as usize).copied().flatten()
    }

    /// The block of this name whose kind is among `kinds`.
    pub fn find_route(&self, kinds: Routes, name: &str) -> Option<RouteId> {
        let all = [
            (RouteKeyword::Request, Routes::REQUEST),
            (RouteKeyword::Failure, Routes::FAILURE),
            (RouteKeyword::OnReply, Routes::ONREPLY),
            (RouteKeyword::Branch, Routes::BRANCH),
            (RouteKeyword::Event, Routes::EVENT),
        ];
        let mut wanted = all.iter().filter(|(_, kind)| kinds.meets(*kind));
        wanted
            .find_map(|(keyword, _)| self.named(*keyword, name))
            .or_else(|| {
                // Kamailio: t_on_branch_failure("x") runs event_route[tm:branch-failure:x]
                kinds
                    .meets(Routes::BRANCH_FAILURE)
                    .then(|| self.event_route(&format!("tm:branch-failure:{name}")))?
            })
    }

    /// The block `route[NAME]`.
    pub fn route(&self, name: &[u8]) -> Option<RouteId> {
        self.find_route(Routes::REQUEST, std::str::from_utf8(name).ok()?)
    }

    /// The name of a block as its definition reads: `failure_route[NAME]`.
    pub fn route_name(&self, route: RouteId) -> &str {
        self.blocks.get(route as usize).map_or("", |block| &block.name)
    }

    /// The kind of a block; a `route[NAME]` runs in any.
    pub fn route_kind(&self, route: RouteId) -> RouteKind {
        self.blocks
            .get(route as usize)
            .map_or(Routes::REQUEST, |block| block.kind)
    }

    /// The value of Server in replies made here; none when switched off.
    pub fn server_header(&self) -> Option<&[u8]> {
        self.server.as_deref()
    }

    /// The value of User-Agent in requests made here.
    pub fn user_agent_header(&self) -> Option<&[u8]> {
        self.user_agent.as_deref()
    }

    /// What stands before each line logged for a message.
    pub fn log_prefix(&self) -> Option<&Format> {
        self.log_prefix.as_ref()
    }

    /// Whether a message of this many bytes is too long to be handled.
    pub fn is_too_long(&self, len: usize) -> bool {
        self.message_limit.is_some_and(|limit| limit <= len)
    }

    /// What core parameters say of every message.
    pub fn defaults(&self) -> Defaults {
        self.defaults
    }

    /// `server_id`.
    pub fn server_id(&self) -> i64 {
        self.setting_int("server_id").unwrap_or(0)
    }

    /// The text of a define.
    pub fn define(&self, name: &[u8]) -> Option<&[u8]> {
        self.defines.get(name).map(|text| &**text)
    }

    /// Every define, with its text when it has one.
    pub fn defines(&self) -> Vec<(String, Option<String>)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.defines
            .iter()
            .map(|(name, value)| (text(name), (!value.is_empty()).then(|| text(value))))
            .collect()
    }

    /// The value that the script gives a custom parameter.
    pub fn custom(&self, group: &str, name: &str) -> Option<&ParamValue> {
        let mut all = self.customs.iter();
        all.find(|((own_group, own), _)| **own_group == *group && **own == *name)
            .map(|(_, custom)| &custom.value)
    }

    /// Every custom parameter: group, name, value, description.
    pub fn customs(&self) -> impl Iterator<Item = (&str, &str, &ParamValue, &str)> {
        self.customs
            .iter()
            .map(|((group, name), custom)| (&**group, &**name, &custom.value, &*custom.description))
    }

    /// The number of a named flag.
    pub fn flag(&self, name: &str) -> Option<u32> {
        self.flags.get(name).copied()
    }

    /// A core parameter as it was set last.
    pub fn setting(&self, name: &str) -> Option<&ParamValue> {
        self.settings(name).last()
    }

    /// A core parameter that may be set several times, such as `alias`.
    pub fn settings(&self, name: &str) -> &[ParamValue] {
        self.settings.get(name).map_or(&[], Vec::as_slice)
    }

    /// An integer core parameter, when it is set.
    pub fn setting_int(&self, name: &str) -> Option<i64> {
        match self.setting(name)? {
            ParamValue::Int(n) => Some(*n),
            ParamValue::Text(text) => super::value::leading_int(text),
        }
    }

    /// A text core parameter, when it is set.
    pub fn setting_text(&self, name: &str) -> Option<Cow<'_, str>> {
        Some(match self.setting(name)? {
            ParamValue::Int(n) => Cow::Owned(n.to_string()),
            ParamValue::Text(text) => String::from_utf8_lossy(text),
        })
    }

    /// The sockets to listen on.
    pub fn listens(&self) -> &[ListenOn] {
        &self.listens
    }

    /// The name of the block that a place lies in.
    pub fn block_around(&self, span: Span) -> Option<&str> {
        let root = self.sources.root(span);
        let before = |block: &&Block| {
            let start = self.sources.root(block.span);
            start.file == root.file && start.start <= root.start
        };
        let last = |block: &&Block| self.sources.root(block.span).start;
        let block = self.blocks.iter().filter(before).max_by_key(last)?;
        Some(&block.name)
    }

    /// The files that the script was read from.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    fn main(&self, keyword: RouteKeyword) -> Option<RouteId> {
        self.mains.get(keyword as usize).copied().flatten()
    }

    /// The block of a keyword and name.
    pub(super) fn named(&self, keyword: RouteKeyword, name: &str) -> Option<RouteId> {
        self.names.get(keyword as usize)?.get(name).copied()
    }
}

/// A route block.
#[derive(Debug)]
pub(super) struct Block {
    /// As its definition reads.
    pub(super) name: Box<str>,
    /// Its kind.
    pub(super) kind: RouteKind,
    /// Its statements.
    pub(super) body: Box<[Stmt]>,
    /// Keyword and name.
    pub(super) span: Span,
}

/// A statement.
#[derive(Debug)]
pub(super) struct Stmt {
    /// What it does.
    pub(super) op: Op,
    /// Where it stands.
    pub(super) span: Span,
}

/// What a statement does. Targets are indices into the block's statements: `if`, loops and `switch` are jumps,
/// so that only route blocks that call each other take stack.
#[derive(Debug)]
pub(super) enum Op {
    /// Calls a function.
    Call(Invoke),
    /// Runs a route block.
    Route(RouteCall),
    /// Assigns.
    Assign(PvRef, Node),
    /// Goes on at the target unless the condition holds.
    Unless(Node, u32),
    /// Goes on at the target.
    Jump(u32),
    /// Begins to count the rounds of a loop.
    Enter,
    /// A round of a loop; goes on at the target when the condition does not hold or there were too many.
    Round(Node, u32),
    /// Ends the counting.
    Leave,
    /// Goes on at the target of the first label that fits, else at the last one.
    Switch(Box<Switch>),
    /// Leaves the block with what the last statement gave.
    Stop,
    /// Leaves the block.
    Return(Option<Node>),
    /// Ends the script; a value that calls functions is worked out before.
    Exit(Option<Node>),
    /// Ends it and drops what is under way.
    Drop(Option<Node>),
}

/// A `switch`.
#[derive(Debug)]
pub(super) struct Switch {
    pub(super) value: Node,
    pub(super) labels: Box<[(Label, u32)]>,
    pub(super) otherwise: u32,
}

/// What a case compares with.
#[derive(Debug)]
pub(super) enum Label {
    Int(i64),
    Text(Box<[u8]>),
    Regex(Regex),
}

/// A function with its arguments.
pub(super) struct Invoke {
    pub(super) function: &'static Function,
    pub(super) name: &'static str,
    pub(super) args: Box<[CompiledArg]>,
    pub(super) span: Span,
    /// It is the core's, not a module's.
    pub(super) core: bool,
}

impl fmt::Debug for Invoke {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Invoke")
            .field(&self.name)
            .field(&self.args)
            .finish()
    }
}

/// `route(…)`.
#[derive(Debug)]
pub(super) enum RouteCall {
    /// A block known when the script was compiled.
    Block(RouteId),
    /// A name worked out at run time.
    Named(Node),
}

/// An expression that may call functions.
#[derive(Debug)]
pub(super) enum Node {
    Pure(Expr),
    Call(Box<Invoke>),
    Route(Box<RouteCall>),
    Unary(Unary, Box<Self>),
    Binary(BinaryOp, Box<(Self, Self)>),
    /// `selval(condition, then, else)`.
    Choose(Box<(Self, Self, Self)>),
}

/// An operator before its operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unary {
    Not,
    Minus,
    BitNot,
    Int,
    Str,
    Defined,
    StrLen,
    StrEmpty,
}

/// An expression that calls no function.
#[derive(Debug)]
pub struct Expr(pub(super) Pure);

/// The kinds of [`Expr`].
#[derive(Debug)]
pub(super) enum Pure {
    Null,
    Int(i64),
    Text(Box<[u8]>),
    Pv(PvRef),
    Keyword(Keyword),
    Unary(Unary, Box<Expr>),
    Binary(BinaryOp, Box<(Expr, Expr)>),
    /// A comparison that needs no conversion at run time; true when its result is not `negate`.
    Test(Box<Test>, bool),
}

/// A comparison with something known when the script was compiled.
#[derive(Debug)]
pub(super) enum Test {
    IsNull(Expr),
    EqualText(Expr, Box<[u8]>),
    EqualInt(Expr, i64),
    Match(Expr, Regex),
    Network(End, SmallVec<[IpNet; 1]>),
    Myself(Keyword),
    Transport(Transport),
    Family6(bool),
}

/// An end of the path a message came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Peer,
    Local,
}

/// A core keyword that stands for a part of the message (core cookbook, "Core Keywords").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    Method,
    Uri,
    FromUri,
    ToUri,
    Status,
    SrcIp,
    DstIp,
    SrcPort,
    DstPort,
    Proto,
    Af,
    MsgLen,
}

/// Text with pseudo-variables.
#[derive(Debug, Default)]
pub struct Format {
    pub(super) pieces: Box<[Piece]>,
}

/// A piece of a [`Format`].
#[derive(Debug)]
pub(super) enum Piece {
    Text(Box<[u8]>),
    Pv(PvRef),
}

impl Format {
    /// The value of the only pseudo-variable that it is made of, else the text.
    pub fn value<'e>(&'e self, env: &'e Env<'_>) -> Value<'e> {
        match &*self.pieces {
            [Piece::Pv(pv)] => pv.read(env),
            _ => Value::Str(self.expand(env)),
        }
    }

    /// The text with every pseudo-variable put in, borrowed when there is nothing to put in. A null among other text is
    /// `<null>`, alone it is empty.
    pub fn expand<'e>(&'e self, env: &'e Env<'_>) -> Cow<'e, [u8]> {
        match &*self.pieces {
            [] => Cow::Borrowed(b""),
            [Piece::Text(text)] => Cow::Borrowed(text),
            [Piece::Pv(pv)] => pv.read(env).into_text(),
            pieces => {
                let mut out = Vec::with_capacity(pieces.len() * 16);
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => out.extend_from_slice(text),
                        Piece::Pv(pv) => pv.print(env, &mut out),
                    }
                }
                Cow::Owned(out)
            }
        }
    }

    /// The same as a log line: null is `<null>`; appended.
    pub fn print(&self, env: &Env<'_>, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Pv(pv) => pv.print(env, out),
            }
        }
    }

    /// The pseudo-variables in it, in order.
    pub fn variables(&self) -> impl Iterator<Item = &PvRef> {
        self.pieces
            .iter()
            .filter_map(|piece| if let Piece::Pv(pv) = piece { Some(pv) } else { None })
    }

    /// The text, when no pseudo-variable is in it.
    pub fn constant(&self) -> Option<&[u8]> {
        match &*self.pieces {
            [] => Some(b""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }
}

/// A pseudo-variable with its transformations.
pub struct PvRef {
    pub(super) pv: &'static Pv,
    pub(super) spec: PvSpec,
    pub(super) transformations: Box<[Applied]>,
    /// As written, dollar included.
    pub(super) text: Box<str>,
}

/// A transformation with its parameters.
pub(super) struct Applied {
    pub(super) transformation: &'static Transformation,
    pub(super) params: Box<[Format]>,
}

impl fmt::Debug for PvRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PvRef {
    /// Its value.
    pub fn read<'e>(&'e self, env: &'e Env<'_>) -> Value<'e> {
        let mut value = (self.pv.get)(env, &self.spec);
        for applied in &self.transformations {
            let params: SmallVec<[Value<'_>; 4]> = applied
                .params
                .iter()
                .map(|param| Value::Str(param.expand(env)))
                .collect();
            value = (applied.transformation.apply)(value, &params);
        }
        value
    }

    /// Appends what a log line shows of it: null is `<null>`.
    pub fn print(&self, env: &Env<'_>, out: &mut Vec<u8>) {
        match self.read(env) {
            // Kamailio: a transformation that fails shows nothing
            Value::Null if !self.transformations.is_empty() => {}
            value => value.print(out),
        }
    }

    /// Assigns to it.
    pub fn write(&self, env: &mut Env<'_>, value: Value<'_>) -> Result<(), SetError> {
        if super::exec::is_held_variable(self.pv.names, env) {
            env.note(format_args!(
                "{} is not set: other messages would see it",
                self.text
            ));
            return Ok(());
        }
        match self.pv.set {
            Some(set) if self.transformations.is_empty() => set(env, &self.spec, value),
            _ => Err(SetError::Missing(format!("{} is read only", self.text))),
        }
    }

    /// As the script writes it, dollar included.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The table row of the variable.
    pub fn definition(&self) -> &'static Pv {
        self.pv
    }

    /// What its parentheses and index were compiled to.
    pub fn spec(&self) -> &PvSpec {
        &self.spec
    }
}
