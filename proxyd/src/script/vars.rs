//! `$var(name)`: one value a name and worker, integer 0 at first (Kamailio pseudo-variables page).

use super::value::Value;
use parking_lot::RwLock;
use std::sync::LazyLock;

/// Every `$var` name any script of this process used; a slot is never given twice, so workers keep values across reloads.
static NAMES: LazyLock<RwLock<Vec<Box<[u8]>>>> = LazyLock::new(RwLock::default);

/// Index of a `$var` in [`Vars`].
pub type Slot = u32;

/// The slot of a name, made when it is new.
pub fn slot(name: &[u8]) -> Slot {
    let mut names = NAMES.write();
    let at = names
        .iter()
        .position(|known| **known == *name)
        .unwrap_or_else(|| {
            names.push(name.into());
            names.len() - 1
        });
    Slot::try_from(at).unwrap_or(Slot::MAX)
}

/// The name of a slot.
pub fn name(slot: Slot) -> Option<Box<[u8]>> {
    NAMES.read().get(slot as usize).cloned()
}

/// First values that a script gives to variables (`modparam("pv", "varset", …)`).
static PRESETS: LazyLock<RwLock<Vec<(Slot, Value<'static>)>>> = LazyLock::new(RwLock::default);

/// Gives a variable its first value, in workers that start later.
pub fn preset(slot: Slot, value: Value<'static>) {
    let mut presets = PRESETS.write();
    presets.retain(|(known, _)| *known != slot);
    presets.push((slot, value));
}

/// The variables of one worker.
#[derive(Debug)]
pub struct Vars {
    values: Vec<Value<'static>>,
    /// `$vn(name)`: null at first, else the same.
    nullable: Vec<Value<'static>>,
    /// Where the interpreter writes its steps, while somebody wants to know.
    pub trace: Option<Box<super::exec::trace::Trace>>,
}

impl Default for Vars {
    fn default() -> Self {
        let mut vars = Self {
            values: Vec::new(),
            nullable: Vec::new(),
            trace: None,
        };
        for (slot, value) in PRESETS.read().iter() {
            vars.write(*slot, value.clone());
        }
        vars
    }
}

impl Vars {
    /// The value of a `$var`.
    pub fn read(&self, slot: Slot) -> Value<'_> {
        self.values
            .get(slot as usize)
            .map_or(Value::Int(0), Value::borrow)
    }

    /// Sets a `$var`; null makes it integer 0.
    pub fn write(&mut self, slot: Slot, value: Value<'static>) {
        let value = if value.is_null() { Value::Int(0) } else { value };
        store(&mut self.values, slot, value, Value::Int(0));
    }

    /// The value of a `$vn`.
    pub fn read_nullable(&self, slot: Slot) -> Value<'_> {
        self.nullable
            .get(slot as usize)
            .map_or(Value::Null, Value::borrow)
    }

    /// Sets a `$vn`.
    pub fn write_nullable(&mut self, slot: Slot, value: Value<'static>) {
        store(&mut self.nullable, slot, value, Value::Null);
    }
}

fn store(values: &mut Vec<Value<'static>>, slot: Slot, value: Value<'static>, filler: Value<'static>) {
    let at = slot as usize;
    if at >= values.len() {
        values.resize(at + 1, filler);
    }
    if let Some(place) = values.get_mut(at) {
        *place = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_var_starts_as_zero_and_null_resets_it() {
        let (a, b) = (slot(b"test-a"), slot(b"test-b"));
        assert_eq!(a, slot(b"test-a"));
        let mut vars = Vars::default();
        assert_eq!(vars.read(b), Value::Int(0));
        vars.write(b, Value::owned(*b"x"));
        assert_eq!(vars.read(b), Value::text(b"x"));
        vars.write(b, Value::Null);
        assert_eq!(vars.read(b), Value::Int(0));
        assert_eq!(vars.read_nullable(a), Value::Null);
    }
}
