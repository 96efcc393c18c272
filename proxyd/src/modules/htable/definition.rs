//! Definitions of tables: `name=>size=8;autoexpire=120;dbtable=x;…` (Kamailio module htable, parameter `htable`).

use crate::script::value::Value;

/// A table as its parameter defines it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Definition {
    pub(super) name: Box<str>,
    /// Slots that dumps show; ours are another matter.
    pub(super) slots: u32,
    /// Seconds an item lives; 0 for ever.
    pub(super) autoexpire: u64,
    /// An update begins its life anew.
    pub(super) updateexpire: bool,
    /// What a missing item reads as.
    pub(super) initval: Option<i64>,
    pub(super) dbtable: String,
    /// Write the items back at the end.
    pub(super) write_back: bool,
    /// Columns of a table that is not laid out as ours: key, then values.
    pub(super) cols: Vec<String>,
    pub(super) coldelim: char,
    pub(super) colnull: String,
    /// Seconds between reloads; 0 never.
    pub(super) reload_every: u64,
    pub(super) replicate: bool,
}

impl Definition {
    /// Reads a definition; the error says what is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (name, rest) = text.split_once("=>").ok_or("NAME=>ATTRIBUTES is wanted")?;
        let name = name.trim();
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '$') {
            return Err(format!("{name:?} is no name of a table"));
        }
        let mut this = Self {
            name: name.into(),
            slots: 1 << 8,
            autoexpire: 0,
            updateexpire: true,
            initval: None,
            dbtable: String::new(),
            write_back: false,
            cols: Vec::new(),
            coldelim: ',',
            colnull: "NULL".to_owned(),
            reload_every: 0,
            replicate: false,
        };
        for part in split_unquoted(rest, ';') {
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| format!("{part:?}: ATTRIBUTE=VALUE is wanted"))?;
            this.set(key.trim(), unquoted(value.trim()))?;
        }
        if this.cols.len() == 1 {
            return Err("cols: a key and a value are wanted at least".to_owned());
        }
        Ok(this)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let wrong = |wanted: &str| format!("{key}: {value:?} is not {wanted}");
        let seconds = || value.parse::<u64>().map_err(|_| wrong("a number of seconds"));
        let flag = || match value {
            "0" => Ok(false),
            "1" => Ok(true),
            _ => Err(wrong("0 or 1")),
        };
        match key {
            "size" => {
                // Kamailio: what is out of range is brought into it.
                let power: u32 = value.parse().map_err(|_| wrong("a number"))?;
                self.slots = 1 << if power < 2 { 3 } else { power.min(14) };
            }
            "autoexpire" => self.autoexpire = seconds()?,
            "reloadat" => self.reload_every = seconds()?,
            "updateexpire" => self.updateexpire = flag()?,
            "dmqreplicate" => self.replicate = flag()?,
            "dbmode" => self.write_back = flag()?,
            "initval" => self.initval = Some(value.parse().map_err(|_| wrong("an integer"))?),
            "dbtable" => value.clone_into(&mut self.dbtable),
            "cols" => self.cols = value.split(',').map(|column| column.trim().to_owned()).collect(),
            "coldelim" => {
                let mut chars = value.chars();
                self.coldelim = match (chars.next(), chars.next()) {
                    (Some(c), None) => c,
                    _ => return Err(wrong("one character")),
                };
            }
            "colnull" => value.clone_into(&mut self.colnull),
            other => return Err(format!("unknown attribute {other:?}")),
        }
        Ok(())
    }

    /// What a missing item reads as.
    pub(super) fn default_value(&self) -> Value<'static> {
        self.initval.map_or(Value::Null, Value::Int)
    }
}

fn unquoted(value: &str) -> &str {
    let inner = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    inner('\'').or_else(|| inner('"')).unwrap_or(value)
}

fn split_unquoted(text: &str, at: char) -> impl Iterator<Item = &str> {
    let mut quote = None;
    text.split(move |c| {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '\'' || c == '"' => quote = Some(c),
            _ => {}
        }
        c == at && quote.is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_read() {
        let text = "c => size=4; autoexpire=7200;dbtable=customer;cols='name, dids,description';coldelim=';';colnull='';initval=-1;updateexpire=0;dbmode=1;";
        let table = Definition::parse(text).unwrap();
        assert_eq!((&*table.name, table.slots, table.autoexpire), ("c", 16, 7200));
        assert_eq!(table.cols, ["name", "dids", "description"]);
        assert_eq!(
            (table.coldelim, &*table.colnull, table.initval),
            (';', "", Some(-1))
        );
        assert!(!table.updateexpire && table.write_back && table.dbtable == "customer");
        for (size, slots) in [("0", 8), ("2", 4), ("14", 16384), ("31", 16384)] {
            assert_eq!(
                Definition::parse(&format!("a=>size={size}")).unwrap().slots,
                slots
            );
        }
    }

    #[test]
    fn bad_definitions_say_why() {
        for (text, why) in [
            ("a", "NAME=>"),
            ("=>size=4", "no name"),
            ("a=>size", "ATTRIBUTE=VALUE"),
            ("a=>size=x", "a number"),
            ("a=>expire=4", "unknown attribute"),
            ("a=>dbmode=2", "0 or 1"),
            ("a=>cols=x", "a key and a value"),
            ("a=>coldelim=xy", "one character"),
        ] {
            let error = Definition::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
