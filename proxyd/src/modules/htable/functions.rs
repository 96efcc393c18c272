//! The functions of the module (Kamailio module htable, "Functions").

use super::Htable;
use super::pv::now;
use super::table::Item;
use super::table::Life;
use super::table::Table;
use super::table::Test;
use super::table::shown_hash;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Function;
use crate::script::value::Value;

const T: Arg = Arg::Text("table");
const K: Arg = Arg::Text("key");
const I: Arg = Arg::Text("iterator");
const OP: Arg = Arg::Text("operator");
const TEXT: Arg = Arg::Text("text");
const PLACE: Arg = Arg::Text("table=>key");

/// The rows.
pub(super) static FUNCTIONS: &[Function] = &[
    Function::anywhere(&["sht_print"], &[], "Logs every item of every table.", sht_print),
    Function::anywhere(
        &["sht_lock"],
        &[PLACE],
        "Waits until no other worker holds the lock of the key, and takes it.",
        sht_lock,
    ),
    Function::anywhere(
        &["sht_unlock"],
        &[PLACE],
        "Lets the lock of the key go.",
        sht_unlock,
    ),
    Function::anywhere(&["sht_reset"], &[T], "Removes every item.", sht_reset),
    Function::anywhere(&["sht_rm"], &[T, K], "Removes an item.", sht_rm),
    Function::anywhere(
        &["sht_rm_name_re"],
        &[PLACE],
        "Removes items whose names fit an expression.",
        sht_rm_name_re,
    ),
    Function::anywhere(
        &["sht_rm_value_re"],
        &[PLACE],
        "Removes items whose string values fit an expression.",
        sht_rm_value_re,
    ),
    Function::anywhere(
        &["sht_rm_name"],
        &[T, OP, TEXT],
        "Removes items by name: re, sw, ew, in.",
        sht_rm_name,
    ),
    Function::anywhere(
        &["sht_rm_value"],
        &[T, OP, TEXT],
        "Removes items by string value: re, sw, ew, in.",
        sht_rm_value,
    ),
    Function::anywhere(
        &["sht_setxs"],
        &[T, K, Arg::Text("value"), Arg::Int("expire")],
        "Sets a string and its end.",
        sht_setxs,
    ),
    Function::anywhere(
        &["sht_setxi"],
        &[T, K, Arg::Int("value"), Arg::Int("expire")],
        "Sets an integer and its end.",
        sht_setxi,
    ),
    Function::anywhere(
        &["sht_match_name", "sht_has_name"],
        &[T, OP, TEXT],
        "True when a name fits: eq, ne, re, sw.",
        sht_match_name,
    ),
    Function::anywhere(
        &["sht_match_str_value", "sht_has_str_value"],
        &[T, OP, TEXT],
        "True when a string value fits: eq, ne, re, sw.",
        sht_match_value,
    ),
    Function::anywhere(
        &["sht_is_null"],
        &[T, K],
        "True when there is no such item.",
        sht_is_null,
    ),
    Function::anywhere(&["sht_inc"], &[T, K], "Adds 1 to an integer item.", sht_inc),
    Function::anywhere(&["sht_dec"], &[T, K], "Takes 1 from an integer item.", sht_dec),
    Function::anywhere(
        &["sht_iterator_start"],
        &[I, T],
        "Begins to walk over a table.",
        sht_iterator_start,
    ),
    Function::anywhere(
        &["sht_iterator_next"],
        &[I],
        "Goes to the next item; false at the end.",
        sht_iterator_next,
    ),
    Function::anywhere(&["sht_iterator_end"], &[I], "Ends the walk.", sht_iterator_end),
    Function::anywhere(
        &["sht_iterator_rm"],
        &[I],
        "Removes the item and goes to the next; -2 at the end.",
        sht_iterator_rm,
    ),
    Function::anywhere(
        &["sht_iterator_sets"],
        &[I, Arg::Text("value")],
        "Sets the item to a string.",
        sht_iterator_sets,
    ),
    Function::anywhere(
        &["sht_iterator_seti"],
        &[I, Arg::Int("value")],
        "Sets the item to an integer.",
        sht_iterator_seti,
    ),
    Function::anywhere(
        &["sht_iterator_setex"],
        &[I, Arg::Int("expire")],
        "Sets the item's end.",
        sht_iterator_setex,
    ),
];

fn complain(call: &Call<'_, '_>, why: &dyn std::fmt::Display) -> Code {
    crate::log::error("htable", format_args!("{}: {why}", call.name));
    Code::FALSE
}

/// The table that argument `n` names.
fn table<'a>(call: &Call<'_, 'a>, n: usize) -> Option<&'a Table> {
    let name = call.text(n);
    let table = call.state::<Htable>()?.table(&name);
    if table.is_none() {
        complain(
            call,
            &format_args!("cannot find hash table {:?}", String::from_utf8_lossy(&name)),
        );
    }
    table
}

/// The table and the rest of an argument `table=>rest`.
fn place<'a>(call: &Call<'_, 'a>) -> Option<(usize, &'a Table, Vec<u8>)> {
    let text = call.text(0);
    let at = memchr::memmem::find(&text, b"=>");
    let (name, rest) = at
        .and_then(|at| Some((text.get(..at)?, text.get(at + 2..)?)))
        .or_else(|| {
            complain(
                call,
                &format_args!("{:?} is not TABLE=>KEY", String::from_utf8_lossy(&text)),
            );
            None
        })?;
    let found = call.state::<Htable>()?.find(name.trim_ascii());
    if found.is_none() {
        complain(
            call,
            &format_args!("cannot find hash table {:?}", String::from_utf8_lossy(name)),
        );
    }
    found.map(|(at, table)| (at, table, rest.to_vec()))
}

fn sht_print(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Htable>() else {
        return Code::FALSE;
    };
    for table in &state.tables {
        crate::log::error("htable", format_args!("===== htable[{}]", table.definition.name));
        table.each(now(call.env), |item| {
            let (key, value) = (String::from_utf8_lossy(&item.key), item.value.to_text());
            crate::log::error(
                "htable",
                format_args!("{key} = {}", String::from_utf8_lossy(&value)),
            );
        });
    }
    Code::TRUE
}

fn sht_lock(call: &mut Call<'_, '_>) -> Code {
    let (Some((at, _, key)), Some(state)) = (place(call), call.state::<Htable>()) else {
        return Code::FALSE;
    };
    let worker = call.env.host.worker().0;
    let in_time = state
        .locks
        .get(at)
        .is_some_and(|locks| locks.lock(shown_hash(&key), worker));
    if !in_time {
        complain(
            call,
            &format_args!(
                "a lock of {:?} was not let go for a second: taken away",
                String::from_utf8_lossy(&key)
            ),
        );
    }
    Code::TRUE
}

fn sht_unlock(call: &mut Call<'_, '_>) -> Code {
    let (Some((at, _, key)), Some(state)) = (place(call), call.state::<Htable>()) else {
        return Code::FALSE;
    };
    let worker = call.env.host.worker().0;
    state
        .locks
        .get(at)
        .is_some_and(|locks| locks.unlock(shown_hash(&key), worker))
        .into()
}

fn sht_reset(call: &mut Call<'_, '_>) -> Code {
    let Some(table) = table(call, 0) else {
        return Code::FALSE;
    };
    table.clear();
    Code::TRUE
}

fn sht_rm(call: &mut Call<'_, '_>) -> Code {
    let Some(table) = table(call, 0) else {
        return Code::FALSE;
    };
    table.remove(&call.text(1));
    Code::TRUE
}

type By = fn(&Test, &Item) -> bool;

fn by_name(test: &Test, item: &Item) -> bool {
    test.holds(&item.key)
}

fn by_value(test: &Test, item: &Item) -> bool {
    test.holds_value(&item.value)
}

fn remove_re(call: &Call<'_, '_>, by: By) -> Code {
    let Some((_, table, text)) = place(call) else {
        return Code::FALSE;
    };
    match Test::regex(&text) {
        Ok(test) => {
            table.remove_where(|item| by(&test, item), drop);
            Code::TRUE
        }
        Err(why) => complain(call, &why),
    }
}

fn sht_rm_name_re(call: &mut Call<'_, '_>) -> Code {
    remove_re(call, by_name)
}

fn sht_rm_value_re(call: &mut Call<'_, '_>) -> Code {
    remove_re(call, by_value)
}

fn remove_by(call: &Call<'_, '_>, by: By) -> Code {
    let Some(table) = table(call, 0) else {
        return Code::FALSE;
    };
    match Test::new(&call.text(1), call.text_owned(2)) {
        Ok(test) => {
            table.remove_where(|item| by(&test, item), drop);
            Code::TRUE
        }
        Err(why) => complain(call, &why),
    }
}

fn sht_rm_name(call: &mut Call<'_, '_>) -> Code {
    remove_by(call, by_name)
}

fn sht_rm_value(call: &mut Call<'_, '_>) -> Code {
    remove_by(call, by_value)
}

fn match_by(call: &Call<'_, '_>, by: By) -> Code {
    let Some(table) = table(call, 0) else {
        return Code::FALSE;
    };
    match Test::new(&call.text(1), call.text_owned(2)) {
        Ok(test) => table.any(now(call.env), |item| by(&test, item)).into(),
        Err(why) => complain(call, &why),
    }
}

fn sht_match_name(call: &mut Call<'_, '_>) -> Code {
    match_by(call, by_name)
}

fn sht_match_value(call: &mut Call<'_, '_>) -> Code {
    match_by(call, by_value)
}

fn set(call: &Call<'_, '_>, value: Value<'static>) -> Code {
    let Some(table) = table(call, 0) else {
        return Code::FALSE;
    };
    let life = Life::Seconds(u64::try_from(call.int(3)).unwrap_or(0));
    match table.set(&call.text(1), value, life, now(call.env)) {
        Ok(()) => Code::TRUE,
        Err(error) => complain(call, &error),
    }
}

fn sht_setxs(call: &mut Call<'_, '_>) -> Code {
    set(call, Value::owned(call.text_owned(2)))
}

fn sht_setxi(call: &mut Call<'_, '_>) -> Code {
    set(call, Value::Int(call.int(2)))
}

/// Kamailio: 1 null, 2 no such table; -1 the table has an initial value, -2 not null.
fn sht_is_null(call: &mut Call<'_, '_>) -> Code {
    let name = call.text(0);
    let Some(table) = call.state::<Htable>().and_then(|state| state.table(&name)) else {
        return Code(2);
    };
    if table.item(&call.text(1), now(call.env)).is_some() {
        Code(-2)
    } else if table.definition.initval.is_some() {
        Code(-1)
    } else {
        Code(1)
    }
}

fn add(call: &Call<'_, '_>, n: i64) -> Code {
    let Some(table) = table(call, 0) else {
        return Code::FALSE;
    };
    table.add(&call.text(1), n, now(call.env)).is_some().into()
}

fn sht_inc(call: &mut Call<'_, '_>) -> Code {
    add(call, 1)
}

fn sht_dec(call: &mut Call<'_, '_>) -> Code {
    add(call, -1)
}

fn sht_iterator_start(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Htable>() else {
        return Code::FALSE;
    };
    let Some((at, table)) = state.find(&call.text(1)) else {
        table(call, 1);
        return Code::FALSE;
    };
    let items = table.by_slot(now(call.env));
    let name = call.text(0);
    let started = state
        .worker(call.env)
        .is_some_and(|worker| worker.lock().start(&name, at, items));
    if started {
        Code::TRUE
    } else {
        complain(call, &"too many iterators")
    }
}

/// Works on an iterator and its table.
fn with_iterator(
    call: &Call<'_, '_>,
    work: impl FnOnce(&mut super::worker::Iterator, &Table, u64) -> Code,
) -> Code {
    let Some(state) = call.state::<Htable>() else {
        return Code::FALSE;
    };
    let Some(worker) = state.worker(call.env) else {
        return Code::FALSE;
    };
    let (name, now) = (call.text(0), now(call.env));
    let mut worker = worker.lock();
    let Some(iterator) = worker.iterator(&name) else {
        return Code::FALSE;
    };
    let Some(table) = state.tables.get(iterator.table) else {
        return Code::FALSE;
    };
    work(iterator, table, now)
}

fn sht_iterator_next(call: &mut Call<'_, '_>) -> Code {
    with_iterator(call, |iterator, table, now| {
        iterator.next(|key| table.item(key, now).is_some()).into()
    })
}

fn sht_iterator_end(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Htable>() else {
        return Code::FALSE;
    };
    let name = call.text(0);
    state
        .worker(call.env)
        .is_some_and(|worker| worker.lock().end(&name))
        .into()
}

fn sht_iterator_rm(call: &mut Call<'_, '_>) -> Code {
    with_iterator(call, |iterator, table, now| {
        let Some(item) = iterator.current.take() else {
            return Code::FALSE;
        };
        table.remove(&item.key);
        if iterator.next(|key| table.item(key, now).is_some()) {
            Code::TRUE
        } else {
            Code(-2)
        }
    })
}

fn set_current(call: &Call<'_, '_>, value: Value<'static>) -> Code {
    with_iterator(call, |iterator, table, now| {
        let Some(item) = &mut iterator.current else {
            return Code::FALSE;
        };
        item.value = value.clone();
        table.set(&item.key, value, Life::Defined, now).is_ok().into()
    })
}

fn sht_iterator_sets(call: &mut Call<'_, '_>) -> Code {
    set_current(call, Value::owned(call.text_owned(1)))
}

fn sht_iterator_seti(call: &mut Call<'_, '_>) -> Code {
    set_current(call, Value::Int(call.int(1)))
}

fn sht_iterator_setex(call: &mut Call<'_, '_>) -> Code {
    let seconds = u64::try_from(call.int(1)).unwrap_or(0);
    with_iterator(call, |iterator, table, now| {
        let key = iterator.current.as_ref().map(|item| item.key.clone());
        key.is_some_and(|key| table.set_end(&key, seconds, now)).into()
    })
}
