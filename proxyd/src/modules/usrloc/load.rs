//! Reading a location table at the start (usrloc `db_mode` 1, 2 and 4): pieces of it at the same time, their contacts in
//! the order of their rows.

use super::attributes;
use super::attributes::Attribute;
use super::contact::Contact;
use super::contact::OwnedContact;
use super::persist::ATTRIBUTES;
use super::rows::Layout;
use super::store::Edit;
use super::store::Sink;
use super::store::Store;
use super::table::Settings;
use crate::modules::database::Database;
use ahash::AHashMap;
use parking_lot::Mutex;
use shared::db;
use shared::db::Error;
use shared::db::Op;
use shared::db::Select;
use std::collections::BTreeMap;
use std::sync::mpsc;
use std::sync::mpsc::SyncSender;
use std::thread;

/// Rows in a piece: few enough to be in the processor's cache when they are put into the store.
const PIECE: u64 = 1000;
/// Threads that read; putting contacts into the store takes a third of the time, so that more of them would wait.
const READERS_MAX: usize = 3;
/// Room made for contacts before any is read.
const RESERVE_MAX: usize = 10_000_000;
/// The column that rows are numbered by.
const ID: &str = "id";

/// Packed attributes by record unique id.
type Attributes = AHashMap<Vec<u8>, Vec<u8>>;

/// Marks what is loaded as written.
pub(super) struct LoadSink;

impl Sink for LoadSink {
    fn put(&self, _: Contact<'_>, _: bool) -> u64 {
        super::persist::LOADED
    }
    fn remove(&self, _: Contact<'_>) {}
}

/// Reads the whole table `name` into `store`.
pub(super) fn load(
    database: &Database,
    name: &str,
    layout: &Layout,
    settings: &Settings,
    store: &Store,
) -> Result<(), Error> {
    let reader = Reader {
        database,
        name,
        layout,
        settings,
        attributes: if settings.attributes {
            load_attributes(database, None)?
        } else {
            Attributes::new()
        },
        next: Mutex::default(),
    };
    let (rows, numbered) = database.with(|db| {
        let columns = db.columns(name)?;
        Ok((
            db.count(&reader.rows())?,
            columns.iter().any(|column| column.name == ID),
        ))
    })?;
    store.reserve(usize::try_from(rows).unwrap_or(0).min(RESERVE_MAX));
    let mut refused = 0;
    if numbered && rows > PIECE {
        reader.in_pieces(store, &mut refused)?;
    } else {
        refused += reader.read(&reader.rows(), |contact| put(store, &contact))?;
    }
    if refused > 0 {
        crate::log::warning(
            "usrloc",
            format_args!("{refused} rows of table `{name}` hold texts too long"),
        );
    }
    Ok(())
}

fn put(store: &Store, contact: &OwnedContact) {
    let binding = contact.view().binding();
    // What was packed once has texts that fit.
    let _ = store.edit(binding.aor, &LoadSink, |edit: &mut Edit<'_>| {
        edit.insert(&binding)
    });
}

/// One table, read by several threads.
struct Reader<'a> {
    database: &'a Database,
    name: &'a str,
    layout: &'a Layout,
    settings: &'a Settings,
    attributes: Attributes,
    next: Mutex<Next>,
}

/// Where the next piece begins.
#[derive(Default)]
struct Next {
    index: usize,
    /// The number of the last row of the piece before.
    after: Option<i64>,
    ended: bool,
}

/// Contacts that follow each other in the table.
struct Piece {
    index: usize,
    contacts: Vec<OwnedContact>,
    refused: usize,
}

impl Reader<'_> {
    /// Every row that counts.
    fn rows(&self) -> Select<'_> {
        let select = Select::from(self.name);
        match self.settings.server_id {
            Some(server_id) => select.eq(self.layout.server_id(), server_id),
            None => select,
        }
    }

    fn in_pieces(&self, store: &Store, refused: &mut usize) -> Result<(), Error> {
        let readers = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            let (sender, pieces) = mpsc::sync_channel(READERS_MAX);
            for _ in 0..readers.min(READERS_MAX) {
                let sender = sender.clone();
                scope.spawn(move || self.run(&sender));
            }
            drop(sender);
            let (mut early, mut turn) = (BTreeMap::new(), 0);
            for piece in pieces {
                let piece = piece?;
                early.insert(piece.index, piece);
                while let Some(piece) = early.remove(&turn) {
                    piece.contacts.iter().for_each(|contact| put(store, contact));
                    *refused += piece.refused;
                    turn += 1;
                }
            }
            Ok(())
        })
    }

    /// Reads one piece after the other until none is left or nobody wants them any more.
    fn run(&self, sender: &SyncSender<Result<Piece, Error>>) {
        while let Some(piece) = self.piece().transpose() {
            let failed = piece.is_err();
            if sender.send(piece).is_err() || failed {
                return;
            }
        }
    }

    fn piece(&self) -> Result<Option<Piece>, Error> {
        let (index, from, to) = {
            let mut next = self.next.lock();
            if next.ended {
                return Ok(None);
            }
            let from = next.after;
            next.after = self.end_of_piece(from)?;
            next.ended = next.after.is_none();
            next.index += 1;
            (next.index - 1, from, next.after)
        };
        let mut select = self.rows().order_by(ID);
        if let Some(from) = from {
            select = select.filter(ID, Op::Gt, from);
        }
        if let Some(to) = to {
            select = select.filter(ID, Op::Le, to);
        }
        let mut contacts = Vec::new();
        let refused = self.read(&select, |contact| contacts.push(contact))?;
        Ok(Some(Piece {
            index,
            contacts,
            refused,
        }))
    }

    /// The number of the last row of the piece that begins after `from`; none when the table ends before.
    fn end_of_piece(&self, from: Option<i64>) -> Result<Option<i64>, Error> {
        let mut select = self.rows().columns(&[ID]).order_by(ID).limit(1).offset(PIECE - 1);
        if let Some(from) = from {
            select = select.filter(ID, Op::Gt, from);
        }
        let rows = self.database.with(|db| db.query(&select))?;
        Ok(rows.first().and_then(|row| row.int(ID)))
    }

    /// Reads rows; how many hold texts too long.
    fn read(&self, rows: &Select<'_>, mut each: impl FnMut(OwnedContact)) -> Result<usize, Error> {
        // Connections do not survive the process that had them.
        let select = rows.clone().columns(&self.layout.lasting_names());
        let mut refused = 0;
        self.database.with(|db| {
            db.each(&select, &mut |row| {
                let packed = row
                    .at(0)
                    .and_then(db::Value::as_bytes)
                    .and_then(|ruid| self.attributes.get(ruid));
                self.layout
                    .read(row, packed.map_or(&[], Vec::as_slice), |binding| {
                        let is_stream = !binding.socket.is_empty() && !binding.socket.starts_with(b"udp:");
                        if self.settings.clean_tcp && is_stream {
                            return;
                        }
                        match OwnedContact::of(binding) {
                            Some(contact) => each(contact),
                            None => refused += 1,
                        }
                    });
                Ok(())
            })
        })?;
        Ok(refused)
    }
}

/// Packed attributes by record unique id; of one user or of all.
pub(super) fn load_attributes(database: &Database, username: Option<db::Value>) -> Result<Attributes, Error> {
    let mut all: Attributes = AHashMap::new();
    let mut select = Select::from(ATTRIBUTES).columns(&["ruid", "aname", "atype", "avalue"]);
    if let Some(username) = username {
        select = select.eq("username", username);
    }
    database.with(|db| {
        db.each(&select, &mut |row| {
            let (Some(ruid), Some(name)) = (row.bytes("ruid"), row.bytes("aname")) else {
                return Ok(());
            };
            let text = row.bytes("avalue").unwrap_or_default();
            let number = || crate::script::value::leading_int(text).unwrap_or(0);
            let value = if row.int("atype") == Some(1) {
                Attribute::Int(number())
            } else {
                Attribute::Text(text)
            };
            attributes::push(all.entry(ruid.to_vec()).or_default(), name, &value);
            Ok(())
        })
    })?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::super::rows::COLUMNS;
    use super::super::store::Order;
    use super::super::table::Mode;
    use super::*;
    use shared::db::Access;
    use shared::db::Delete;
    use shared::db::Insert;
    use shared::db::Url;
    use shared::db::schema;
    use std::time::Duration;

    #[test]
    fn pieces_come_together_in_the_order_of_their_rows() {
        let dir = tempfile::tempdir().unwrap();
        let url = Url::sqlite(dir.path().join("loc.db"));
        let mut db = shared::db::open_with(&url, Access::Create).unwrap();
        let tables = ["version", "location", "location_attrs"].map(|name| schema::table(name).unwrap());
        schema::create(&mut *db, &tables).unwrap();
        // Contacts of `all` stand in every piece; rows that are gone leave a gap as long as a piece.
        let piece = i64::try_from(PIECE).unwrap();
        let (rows, gap) = (3 * piece, piece / 2..piece * 3 / 2);
        let user = |n: i64| {
            if n % 100 == 0 {
                "all".to_owned()
            } else {
                format!("u{n}")
            }
        };
        let cells = (0..rows).map(|n| {
            let ruid = format!("r{n}");
            vec![
                db::Value::from(ruid.as_str()),
                db::Value::from(user(n).as_str()),
                db::Value::from("sip:a@h"),
                db::Value::Double(-1.0),
                db::Value::from(if n == 7 { "tcp:127.0.0.1:5060" } else { "" }),
            ]
        });
        let columns = ["ruid", "username", "contact", "q", "socket"];
        db.insert(&Insert::rows("location", &columns, cells.collect()))
            .unwrap();
        let gone = Delete::from("location").filter(ID, Op::Gt, gap.start);
        let gone = db.delete(&gone.filter(ID, Op::Le, gap.end)).unwrap();
        let attribute = Insert::into("location_attrs").set("ruid", "r2900");
        let attribute = attribute.set("username", "all").set("aname", "a");
        db.insert(&attribute.set("atype", 0).set("avalue", "x")).unwrap();
        let layout = Layout::new(
            COLUMNS.iter().map(|(_, name)| (*name).to_owned()).collect(),
            false,
            false,
        );
        let settings = Settings {
            mode: Mode::LoadOnly,
            db_url: String::new(),
            columns: Vec::new(),
            use_domain: false,
            seconds: false,
            order: Order::Q,
            attributes: true,
            load: true,
            check_version: false,
            clean_tcp: true,
            server_id: None,
            delay: Duration::ZERO,
        };
        let store = Store::new(2, Order::Q, ahash::RandomState::with_seed(1));
        let database = Database::shared(&url.to_string()).unwrap();
        load(&database, "location", &layout, &settings, &store).unwrap();
        // One came by a connection that is gone.
        let kept = usize::try_from(rows).unwrap() - usize::try_from(gone).unwrap() - 1;
        assert_eq!(store.counts().contacts, kept);
        let (ruids, attributed) = store.read(b"all", |contacts| {
            let ruids: Vec<String> = contacts
                .clone()
                .map(|contact| String::from_utf8_lossy(contact.ruid()).into_owned())
                .collect();
            (
                ruids,
                contacts
                    .filter(|contact| !contact.attributes().is_empty())
                    .count(),
            )
        });
        let expected: Vec<String> = (0..rows)
            .filter(|n| n % 100 == 0 && !gap.contains(n))
            .map(|n| format!("r{n}"))
            .collect();
        assert_eq!(ruids, expected);
        assert_eq!(attributed, 1);
        let failed = load(&database, "no_such_table", &layout, &settings, &store);
        assert!(failed.is_err());
    }
}
