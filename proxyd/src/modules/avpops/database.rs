//! AVPs in a database: the table `usr_preferences`, and queries (Kamailio avpops, `avp_db_*`).

use super::names_of;
use super::operand;
use crate::modules::database::Database;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::State;
use crate::script::value::Value;
use shared::db;
use shared::db::Delete;
use shared::db::Insert;
use shared::db::Op;
use shared::db::Select;
use shared::db::schema;
use shared::sip::Uri;
use std::sync::Arc;

/// The flag of an AVP that a row was read into, or written from.
const STORED: u32 = 1 << 31;

/// Bits of the column `type`: the value is an integer, the name is a number.
const INT_VALUE: i64 = 1;
const INT_NAME: i64 = 2;

/// The table.
struct Preferences {
    database: Arc<Database>,
    table: String,
    use_domain: bool,
    uuid: String,
    username: String,
    domain: String,
    attribute: String,
    value: String,
    kind: String,
}

/// The module's state; none without a database.
struct Avpops(Option<Preferences>);

pub(super) fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let url = init.text("db_url");
    if url.is_empty() {
        return Ok(Arc::new(Avpops(None)));
    }
    let database = Database::shared(&url)?;
    let table = init.text("avp_table");
    if let Some(layout) = schema::table("usr_preferences") {
        database.check_version(&table, layout)?;
    }
    Ok(Arc::new(Avpops(Some(Preferences {
        database,
        table,
        use_domain: init.int("use_domain") != 0,
        uuid: init.text("uuid_column"),
        username: init.text("username_column"),
        domain: init.text("domain_column"),
        attribute: init.text("attribute_column"),
        value: init.text("value_column"),
        kind: init.text("type_column"),
    }))))
}

/// Whose AVPs: columns and what they hold.
type Owner<'p> = Vec<(&'p str, Vec<u8>)>;

/// Which AVPs.
enum Named {
    One(Vec<u8>),
    /// All whose names are numbers, or are not; none: all.
    Every(Option<bool>),
}

/// What the two arguments of a function say.
struct Subject<'a> {
    preferences: &'a Preferences,
    owner: Owner<'a>,
    named: Named,
    table: String,
}

impl Subject<'_> {
    /// Name of the AVP as the table has it, without `i:`.
    fn attribute(&self) -> Option<&[u8]> {
        match &self.named {
            Named::One(name) => Some(name.strip_prefix(b"i:").unwrap_or(name)),
            Named::Every(_) => None,
        }
    }

    fn is_meant(&self, name: &[u8]) -> bool {
        match &self.named {
            Named::One(own) => own == name,
            Named::Every(numbers) => numbers.is_none_or(|numbers| numbers == name.starts_with(b"i:")),
        }
    }
}

fn preferences<'a>(call: &Call<'a, '_>) -> Option<&'a Preferences> {
    let found = call.state::<Avpops>()?.0.as_ref();
    if found.is_none() {
        crate::log::error("avpops", format_args!("{}: db_url is not set", call.name));
    }
    found
}

/// Reads `source[/flag]` and `name[/table]`.
fn subject<'a>(call: &Call<'a, '_>) -> Option<Subject<'a>> {
    let preferences = preferences(call)?;
    let (source, name) = (call.text_owned(0), call.text_owned(1));
    let (name, table) = split(&name);
    let table = match table {
        Some(table) => String::from_utf8(table.to_vec()).ok()?,
        None => preferences.table.clone(),
    };
    let named = match name {
        b"a" | b"A" => Named::Every(None),
        b"i" | b"I" => Named::Every(Some(true)),
        b"s" | b"S" => Named::Every(Some(false)),
        name => Named::One(super::name_of(call, name)?),
    };
    Some(Subject {
        owner: owner(call, preferences, &source)?,
        preferences,
        named,
        table,
    })
}

/// A text and what stands after its last stroke.
fn split(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let text = text.trim_ascii();
    match text.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&text[..at], text.get(at + 1..)),
        None => (text, None),
    }
}

fn owner<'p>(call: &Call<'_, '_>, preferences: &'p Preferences, source: &[u8]) -> Option<Owner<'p>> {
    let (text, flag) = match split(source) {
        (text, Some(flag @ (b"username" | b"domain" | b"uri" | b"uuid"))) => (text, flag),
        _ => {
            let text = source.trim_ascii();
            let is_uri = matches!(text, b"$ru" | b"$fu" | b"$tu" | b"$ou");
            (text, if is_uri { &b"uri"[..] } else { b"uuid" })
        }
    };
    let value = operand(call, text)?.into_text().into_owned();
    let uri = Uri::parse(&value).ok();
    let user = uri.as_ref().and_then(|uri| uri.user).unwrap_or(&value).to_vec();
    let host = uri.as_ref().map_or(&value[..], |uri| uri.host).to_vec();
    Some(match flag {
        b"username" => vec![(&preferences.username, user)],
        b"domain" => vec![(&preferences.domain, host)],
        b"uri" => {
            uri.as_ref()?.user?;
            let mut owner: Owner<'_> = vec![(&preferences.username, user)];
            if preferences.use_domain {
                owner.push((&preferences.domain, host));
            }
            owner
        }
        _ => vec![(&preferences.uuid, value)],
    })
}

/// Logs what went wrong.
fn done<T>(call: &Call<'_, '_>, result: Result<T, db::Error>) -> Option<T> {
    result
        .inspect_err(|error| crate::log::error("avpops", format_args!("{}: {error}", call.name)))
        .ok()
}

pub(super) fn avp_db_load(call: &mut Call<'_, '_>) -> Code {
    let Some(subject) = subject(call) else {
        return Code::FALSE;
    };
    let columns = subject.preferences;
    let mut select =
        Select::from(&subject.table).columns(&[&columns.attribute, &columns.value, &columns.kind]);
    for (column, value) in &subject.owner {
        select = select.eq(column, &value[..]);
    }
    if let Some(attribute) = subject.attribute() {
        select = select.eq(&columns.attribute, attribute);
    }
    let result = columns.database.with(|db| db.query(&select));
    let Some(rows) = done(call, result) else {
        return Code::FALSE;
    };
    let mut loaded = false;
    for row in rows.iter() {
        let text = |at: usize| row.at(at).map(db::Value::to_bytes).unwrap_or_default();
        let kind = row.at(2).and_then(db::Value::as_int).unwrap_or(0);
        let name = if kind & INT_NAME == 0 {
            text(0).into_owned()
        } else {
            [b"i:", &*text(0)].concat()
        };
        let value = if kind & INT_VALUE == 0 {
            Some(Value::owned(text(1)))
        } else {
            std::str::from_utf8(&text(1))
                .ok()
                .and_then(|digits| digits.parse().ok())
                .map(Value::Int)
        };
        if let (true, Some(value)) = (subject.is_meant(&name), value) {
            call.env.lists.push_avp(&name, value);
            mark(call, &name, 0);
            loaded = true;
        }
    }
    Code::from(loaded)
}

/// Notes that the table has an AVP.
fn mark(call: &mut Call<'_, '_>, name: &[u8], index: usize) {
    if let Some(flags) = call.env.lists.avp_flags(name, index) {
        *flags |= STORED;
    }
}

pub(super) fn avp_db_store(call: &mut Call<'_, '_>) -> Code {
    let Some(subject) = subject(call) else {
        return Code::FALSE;
    };
    let mut seen: Vec<Box<[u8]>> = Vec::new();
    let all: Vec<(Box<[u8]>, usize, Value<'static>)> = call
        .env
        .lists
        .all_avps()
        .filter(|(name, _)| subject.is_meant(name))
        .map(|(name, value)| {
            let index = seen.iter().filter(|known| ***known == *name).count();
            seen.push(name.into());
            (name.into(), index, value.clone())
        })
        .collect();
    let columns = subject.preferences;
    let mut stored = false;
    for (name, index, value) in all {
        let known = call
            .env
            .lists
            .avp_flags(&name, index)
            .is_none_or(|flags| *flags & STORED != 0);
        if known {
            continue;
        }
        let number = name.strip_prefix(b"i:");
        let kind = if number.is_some() { INT_NAME } else { 0 }
            | if matches!(value, Value::Int(_)) {
                INT_VALUE
            } else {
                0
            };
        let mut insert = Insert::into(&subject.table)
            .set(&columns.attribute, number.unwrap_or(&name))
            .set(&columns.value, &*value.to_text())
            .set(&columns.kind, kind);
        for (column, owned) in &subject.owner {
            insert = insert.set(column, &owned[..]);
        }
        let result = columns.database.with(|db| db.insert(&insert));
        if done(call, result).is_none() {
            return Code::FALSE;
        }
        mark(call, &name, index);
        stored = true;
    }
    Code::from(stored)
}

pub(super) fn avp_db_delete(call: &mut Call<'_, '_>) -> Code {
    let Some(subject) = subject(call) else {
        return Code::FALSE;
    };
    let columns = subject.preferences;
    let mut delete = Delete::from(&subject.table);
    for (column, value) in &subject.owner {
        delete = delete.eq(column, &value[..]);
    }
    if let Some(attribute) = subject.attribute() {
        delete = delete.eq(&columns.attribute, attribute);
    }
    delete = match subject.named {
        Named::Every(Some(true)) => delete.filter(&columns.kind, Op::Ge, INT_NAME),
        Named::Every(Some(false)) => delete.filter(&columns.kind, Op::Lt, INT_NAME),
        Named::Every(None) | Named::One(_) => delete,
    };
    let result = columns.database.with(|db| db.delete(&delete));
    Code::from(done(call, result).is_some())
}

pub(super) fn avp_db_query(call: &mut Call<'_, '_>) -> Code {
    let Some(preferences) = preferences(call) else {
        return Code::FALSE;
    };
    let names = match call.has(1).then(|| names_of(call, &call.text(1))) {
        Some(None) => {
            crate::log::error(
                "avpops",
                format_args!("avp_db_query: {:?} is no list of AVPs", call.value(1)),
            );
            return Code::FALSE;
        }
        Some(names) => names,
        None => None,
    };
    let query = call.text_owned(0);
    let Ok(sql) = std::str::from_utf8(&query) else {
        crate::log::error("avpops", format_args!("avp_db_query: it is not UTF-8"));
        return Code::FALSE;
    };
    let result = preferences.database.with(|db| db.raw(sql, &[]));
    let Some(outcome) = done(call, result) else {
        return Code::FALSE;
    };
    if outcome.rows.is_empty() {
        return Code(-2);
    }
    // the first row is the newest value
    let rows: Vec<_> = outcome.rows.iter().collect();
    for row in rows.into_iter().rev() {
        for (at, cell) in row.cells().iter().enumerate() {
            let name = match &names {
                Some(names) => names.get(at).cloned(),
                None => Some(format!("i:{}", at + 1).into_bytes()),
            };
            let value = match cell {
                db::Value::Null => continue,
                db::Value::Int(n) => Value::Int(*n),
                other => Value::owned(other.to_bytes()),
            };
            if let Some(name) = name {
                call.env.lists.push_avp(&name, value);
            }
        }
    }
    Code::TRUE
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::modules::testing::Db;
    use crate::script::testing::Bench;

    #[test]
    fn preferences_come_and_go() {
        let row = "INSERT INTO usr_preferences (uuid, username, domain, attribute, type, value) VALUES";
        let rows = [
            format!(
                "{row} ('u1', 'alice', 'a.lan', 'lang', 0, 'en'), ('u1', 'alice', 'a.lan', 'ring', 1, '20')"
            ),
            format!(
                "{row} ('u2', 'alice', 'b.lan', 'lang', 0, 'de'), ('u2', 'alice', 'b.lan', '7', 2, 'seven')"
            ),
        ];
        let db = Db::new(&["usr_preferences"], &rows.each_ref().map(String::as_str));
        let mut bench = Bench::new(&[(&MODULE, &[("db_url", &db.url), ("use_domain", "1")])]);
        bench.receive("OPTIONS sip:alice@a.lan SIP/2.0\nFrom: <sip:alice@b.lan>;tag=1\nCSeq: 1 OPTIONS\n\n");
        for (name, args, expected, avp, shown) in [
            ("avp_db_load", &["$ru", "$avp(lang)"][..], 1, "lang", "en"),
            ("avp_db_load", &["$ru", "s"], 1, "ring", "20"),
            ("avp_db_load", &["$fu", "$avp(i:7)"], 1, "i:7", "seven"),
            ("avp_db_load", &["u2/uuid", "$avp(lang)"], 1, "lang", "de"),
            ("avp_db_load", &["b.lan/domain", "$avp(none)"], -1, "none", ""),
            ("avp_db_store", &["$ru", "$avp(lang)"], -1, "lang", "de"),
            ("avp_db_query", &["SELECT 'x', 5", "$avp(x);$avp(y)"], 1, "y", "5"),
            ("avp_db_store", &["$ru", "$avp(y)"], 1, "y", "5"),
            ("avp_db_delete", &["$ru", "$avp(lang)"], 1, "lang", "de"),
            (
                "avp_db_query",
                &["SELECT count(*) FROM usr_preferences", "$avp(n)"],
                1,
                "n",
                "4",
            ),
            ("avp_db_query", &["SELECT 1 WHERE 1 = 0"], -2, "n", "4"),
            ("avp_db_query", &["nonsense"], -1, "n", "4"),
        ] {
            assert_eq!(bench.call(name, args), expected, "{name}{args:?}");
            let env = bench.env();
            let value = env.lists.avps(avp.as_bytes()).next().cloned();
            let value = value
                .map(|value| value.into_text().into_owned())
                .unwrap_or_default();
            assert_eq!(String::from_utf8_lossy(&value), shown, "{name}{args:?}");
        }
    }
}
