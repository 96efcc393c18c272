//! What small operations cost, one row each, for callgrind to count (`tests/bench/micro`).

mod digest;
mod location;
mod message;
mod parse;
mod script;
mod write;

use std::fmt;
use std::fmt::Display;
use std::fmt::Formatter;

/// One row.
pub struct Row {
    /// What selects it, beginning with what it measures.
    pub name: &'static str,
    /// Makes what the operation works on, and answers with the operation.
    pub prepare: fn() -> Operation,
}

impl Display for Row {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// What is run and counted.
pub type Operation = Box<dyn FnMut()>;

/// Every row.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    [
        parse::ROWS,
        script::ROWS,
        digest::ROWS,
        location::ROWS,
        write::ROWS,
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_row_runs() {
        for row in super::rows() {
            let mut operation = (row.prepare)();
            operation();
            operation();
        }
    }
}
