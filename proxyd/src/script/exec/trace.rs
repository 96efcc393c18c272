//! Which statements a message took and why: what `explain` and cfgtrace show.

use crate::script::host::RouteId;
use crate::script::span::Span;

/// A script that runs longer is cut off here.
const LIMIT: usize = 10_000;

/// One step of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where.
    pub span: Span,
    /// How many route blocks were open.
    pub depth: u32,
    /// What happened.
    pub what: What,
    /// The variables that it read, with what they held before.
    pub values: Vec<(Box<str>, Box<[u8]>)>,
}

/// What happened at a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A block began.
    Enter(RouteId),
    /// A block ended with this code.
    Leave(RouteId, i64),
    /// A condition held or not.
    Condition(bool),
    /// A function gave this code.
    Call(&'static str, i32),
    /// A function was not called, for it writes what others see: it counts as done.
    HeldBack(&'static str),
    /// What a function says beside its code.
    Note(Box<str>),
    /// A variable was set to this text.
    Assign(Box<str>, Box<[u8]>),
    /// The script was ended by `exit` or a function that gave 0.
    Exit,
    /// The script was ended by `drop`.
    Drop,
}

/// The steps of a run.
#[derive(Debug, Default)]
pub struct Trace {
    /// In order.
    pub steps: Vec<Step>,
    /// Steps beyond the limit.
    pub omitted: usize,
    /// The statement under way, and how many route blocks were open.
    at: Option<(Span, u32)>,
}

impl Trace {
    /// Remembers the statement that functions belong to.
    pub(super) fn begin(&mut self, span: Span, depth: u32) {
        self.at = Some((span, depth));
    }

    /// Adds a remark to the statement under way.
    pub fn note(&mut self, text: impl Into<Box<str>>) {
        if let Some((span, depth)) = self.at {
            self.push(Step {
                span,
                depth,
                what: What::Note(text.into()),
                values: Vec::new(),
            });
        }
    }

    /// Writes a step down.
    pub fn push(&mut self, step: Step) {
        if self.steps.len() < LIMIT {
            self.steps.push(step);
        } else {
            self.omitted += 1;
        }
    }
}
