//! The tree of a script: global parameters, modules, route blocks, statements, expressions, pseudo-variables.

use super::span::Span;

/// A name with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// As written.
    pub text: String,
    /// Where.
    pub span: Span,
}

/// A whole script in the order it was written.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// Everything at the top level.
    pub items: Vec<Item>,
}

/// Something at the top level of a script.
#[derive(Clone, Debug)]
pub enum Item {
    /// `name = value`, `group.name = value desc "…"`.
    Global(Global),
    /// `listen=…`, `socket = { … }`.
    Listen(Listen),
    /// `flags NAME:12, OTHER`.
    Flags(Vec<Flag>),
    /// `avpflags a, b;`
    AvpFlags(Vec<Flag>),
    /// `loadmodule "x.so"`.
    LoadModule(Name),
    /// `loadpath "…"`, `mpath="…"`.
    LoadPath(Name),
    /// `modparam("module", "name", value)`.
    ModParam(ModParam),
    /// A route block.
    Route(Route),
}

/// A core or custom parameter.
#[derive(Clone, Debug)]
pub struct Global {
    /// Its parts: one for a core parameter, group and name for a custom one.
    pub path: Vec<Name>,
    /// `group[3].name`.
    pub instance: Option<i64>,
    /// The values of a list, mostly one.
    pub values: Vec<GlobalValue>,
    /// `desc "…"`.
    pub description: Option<String>,
    /// The whole setting.
    pub span: Span,
}

impl Global {
    /// The parts joined by dots.
    pub fn name(&self) -> String {
        let parts: Vec<&str> = self.path.iter().map(|name| name.text.as_str()).collect();
        parts.join(".")
    }
}

/// A value of a global parameter.
#[derive(Clone, Debug)]
pub struct GlobalValue {
    /// What was written.
    pub value: Constant,
    /// Where.
    pub span: Span,
}

/// A constant at the top level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Constant {
    /// A number.
    Int(i64),
    /// Text in quotes.
    Str(String),
    /// Bare text: `LOG_LOCAL0`, `yes`, `udp:10.0.0.1:5060`.
    Word(String),
}

impl Constant {
    /// Its text, whatever it is.
    pub fn text(&self) -> String {
        match self {
            Self::Int(n) => n.to_string(),
            Self::Str(text) | Self::Word(text) => text.clone(),
        }
    }

    /// 1 or 0 for the words that Kamailio takes as a boolean, and any integer.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(n) => Some(*n),
            Self::Str(text) => text.trim().parse().ok(),
            Self::Word(word) => match word.as_str() {
                "yes" | "true" | "on" | "enable" | "YES" | "TRUE" | "ON" | "ENABLE" => Some(1),
                "no" | "false" | "off" | "disable" | "NO" | "FALSE" | "OFF" | "DISABLE" => Some(0),
                _ => None,
            },
        }
    }
}

/// One socket to listen on.
#[derive(Clone, Debug)]
pub struct Listen {
    /// `udp:10.0.0.1:5060`.
    pub address: Name,
    /// `advertise 1.2.3.4:5060`.
    pub advertise: Option<Name>,
    /// `name "s1"`.
    pub name: Option<Name>,
    /// `virtual`.
    pub is_virtual: bool,
    /// Other attributes of `socket = { … }`: `agname`, `vrf`.
    pub others: Vec<(Name, GlobalValue)>,
    /// The whole setting.
    pub span: Span,
}

/// A named flag.
#[derive(Clone, Debug)]
pub struct Flag {
    /// Its name.
    pub name: Name,
    /// Its number, when given.
    pub number: Option<i64>,
}

/// A module parameter.
#[derive(Clone, Debug)]
pub struct ModParam {
    /// A module name, or several as a regular expression.
    pub modules: Name,
    /// The parameter.
    pub name: Name,
    /// Its value.
    pub value: GlobalValue,
    /// `modparamx`: pseudo-variables in the value are expanded.
    pub expand: bool,
}

/// The keyword of a route block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RouteKeyword {
    /// `request_route`, `route`.
    Request,
    /// `reply_route`, and `onreply_route` without a name.
    Reply,
    /// `onreply_route[NAME]`.
    OnReply,
    /// `failure_route[NAME]`.
    Failure,
    /// `branch_route[NAME]`.
    Branch,
    /// `onsend_route`.
    OnSend,
    /// `event_route[module:event]`.
    Event,
}

impl RouteKeyword {
    /// The keyword as written before a name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "route",
            Self::Reply => "reply_route",
            Self::OnReply => "onreply_route",
            Self::Failure => "failure_route",
            Self::Branch => "branch_route",
            Self::OnSend => "onsend_route",
            Self::Event => "event_route",
        }
    }
}

/// A route block.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its kind.
    pub keyword: RouteKeyword,
    /// Its name; none for the main ones.
    pub name: Option<Name>,
    /// Its statements.
    pub body: Vec<Stmt>,
    /// Keyword and name.
    pub span: Span,
    /// The closing brace.
    pub end: Span,
}

/// A statement.
#[derive(Clone, Debug)]
pub struct Stmt {
    /// What it does.
    pub kind: StmtKind,
    /// All of it; of `if` and its kin only the head.
    pub span: Span,
}

/// What a statement does.
#[derive(Clone, Debug)]
pub enum StmtKind {
    /// `;`
    Empty,
    /// `{ … }`
    Block(Vec<Stmt>),
    /// `$var(x) = 1`
    Assign {
        /// What is assigned to.
        target: Pv,
        /// The operator of `+=` and its kin.
        op: Option<BinaryOp>,
        /// The value.
        value: Expr,
    },
    /// A function called for its effect.
    Call(Call),
    /// `if` and every `else if` behind it
    If {
        /// Conditions with what is done when they hold.
        branches: Vec<(Expr, Stmt)>,
        /// When none holds.
        otherwise: Option<Box<Stmt>>,
    },
    /// `while`
    While {
        /// The condition.
        condition: Expr,
        /// The body.
        body: Box<Stmt>,
    },
    /// `switch`
    Switch {
        /// What is compared.
        value: Expr,
        /// The cases in order; `default` is one without labels.
        cases: Vec<Case>,
    },
    /// `break`
    Break,
    /// `return`, `return(1)`
    Return(Option<Expr>),
    /// `exit`
    Exit(Option<Expr>),
    /// `drop`
    Drop(Option<Expr>),
}

/// A branch of a `switch`.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it compares with; none: `default`.
    pub label: CaseLabel,
    /// Its statements, from where control falls into the next case.
    pub body: Vec<Stmt>,
    /// The label's place.
    pub span: Span,
}

/// The label of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaseLabel {
    /// `case 1:`
    Int(i64),
    /// `case "x":`
    Str(String),
    /// `case /re/i:`
    Regex(String, String),
    /// `case INVITE:`
    Word(String),
    /// `default:`
    Default,
}

/// An expression.
#[derive(Clone, Debug)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// All of it.
    pub span: Span,
}

/// What an expression is.
#[derive(Clone, Debug)]
pub enum ExprKind {
    /// A number.
    Int(i64),
    /// A text in quotes.
    Str(String),
    /// A pseudo-variable.
    Pv(Pv),
    /// A select: `cfg_get.group.name`.
    Select(String),
    /// A bare word: `method`, `INVITE`, `myself`, `UDP`, the name of a route or flag, `msg:len`, `udp:10.0.0.1:5060`.
    Word(String),
    /// An address or network: `10.0.0.0/8`, `2001:db8::1`.
    Network(String),
    /// An operator and what it works on.
    Unary(UnaryOp, Box<Expr>),
    /// An operator between two.
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// A function.
    Call(Call),
    /// A mistake that was reported.
    Error,
}

/// A function call.
#[derive(Clone, Debug)]
pub struct Call {
    /// The function.
    pub name: Name,
    /// Its arguments.
    pub args: Vec<Expr>,
    /// Parentheses were written.
    pub parens: bool,
    /// All of it.
    pub span: Span,
}

/// An operator before its operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// `!`, `not`
    Not,
    /// `-`
    Minus,
    /// `~`
    BitNot,
    /// `(int)`
    Int,
    /// `(str)`
    Str,
    /// `defined`
    Defined,
    /// `strlen(…)`
    StrLen,
    /// `strempty(…)`
    StrEmpty,
}

/// An operator between two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `||`, `or`
    Or,
    /// `&&`, `and`
    And,
    /// `|`
    BitOr,
    /// `&`
    BitAnd,
    /// `^`
    BitXor,
    /// `<<`
    ShiftLeft,
    /// `>>`
    ShiftRight,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `eq`
    StrEqual,
    /// `ne`
    StrNotEqual,
    /// `ieq`
    IntEqual,
    /// `ine`
    IntNotEqual,
    /// `=~`
    Match,
    /// `!~`
    NotMatch,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `+`
    Plus,
    /// `-`
    Minus,
    /// `*`
    Times,
    /// `/`
    Divide,
    /// `%`, `mod`
    Modulo,
}

impl BinaryOp {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Or => "||",
            Self::And => "&&",
            Self::BitOr => "|",
            Self::BitAnd => "&",
            Self::BitXor => "^",
            Self::ShiftLeft => "<<",
            Self::ShiftRight => ">>",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::StrEqual => "eq",
            Self::StrNotEqual => "ne",
            Self::IntEqual => "ieq",
            Self::IntNotEqual => "ine",
            Self::Match => "=~",
            Self::NotMatch => "!~",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::Plus => "+",
            Self::Minus => "-",
            Self::Times => "*",
            Self::Divide => "/",
            Self::Modulo => "mod",
        }
    }
}

/// A pseudo-variable, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pv {
    /// Its name without the dollar.
    pub name: String,
    /// What its parentheses hold; none: it has none.
    pub inner: Option<String>,
    /// `[…]` in the form `$(name[…])`.
    pub index: Option<PvIndex>,
    /// `{class.name,…}`
    pub transformations: Vec<Transformation>,
    /// All of it.
    pub span: Span,
}

/// An index of a pseudo-variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PvIndex {
    /// A number, negative from the end.
    At(i64),
    /// `*`
    All,
    /// Another pseudo-variable.
    Pv(Box<Pv>),
}

/// A transformation with its parameters as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transformation {
    /// Class and name: `s.len`.
    pub name: String,
    /// What follows the first comma, undivided: some transformations take commas as they are.
    pub params: Option<String>,
    /// All of it, braces included.
    pub span: Span,
}

/// A piece of a text with pseudo-variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// As it stands.
    Text(String),
    /// A pseudo-variable.
    Pv(Pv),
}
