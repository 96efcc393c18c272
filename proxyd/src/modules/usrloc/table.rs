//! The location tables that a script names, each with its store and its way to the database (usrloc `db_mode`).

use super::contact::Binding;
use super::contact::Contact;
use super::contact::OwnedContact;
use super::load;
use super::load::LoadSink;
use super::load::load_attributes;
use super::persist::Journal;
use super::persist::LOADED;
use super::persist::Pace;
use super::persist::Table;
use super::persist::{self};
use super::rows::Layout;
use super::store::Contacts;
use super::store::Counts;
use super::store::Edit;
use super::store::NoSink;
use super::store::Order;
use super::store::Sink;
use super::store::Store;
use crate::modules::database::Database;
use crate::stats::Counter;
use ahash::RandomState;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use shared::db::Delete;
use shared::db::Error;
use shared::db::Op;
use shared::db::Select;
use shared::db::schema;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// `db_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// 0: memory only.
    Memory,
    /// 1: an answer leaves after the commit.
    WriteThrough,
    /// 2: changes are written soon.
    WriteBack,
    /// 3: nothing is kept in memory.
    DatabaseOnly,
    /// 4: read at start, never written.
    LoadOnly,
}

impl Mode {
    /// The mode of this number.
    pub(crate) fn of(number: i64) -> Option<Self> {
        [
            Self::Memory,
            Self::WriteThrough,
            Self::WriteBack,
            Self::DatabaseOnly,
            Self::LoadOnly,
        ]
        .get(usize::try_from(number).ok()?)
        .copied()
    }

    /// Its number.
    pub(crate) fn number(self) -> i64 {
        self as i64
    }

    fn writes(self) -> bool {
        matches!(self, Self::WriteThrough | Self::WriteBack | Self::DatabaseOnly)
    }
}

/// What tables and journal are made by; a reload that changes none of it keeps them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    pub(crate) mode: Mode,
    pub(crate) db_url: String,
    pub(crate) columns: Vec<String>,
    pub(crate) use_domain: bool,
    pub(crate) seconds: bool,
    pub(crate) order: Order,
    pub(crate) attributes: bool,
    pub(crate) load: bool,
    pub(crate) check_version: bool,
    pub(crate) clean_tcp: bool,
    pub(crate) server_id: Option<u32>,
    pub(crate) delay: Duration,
}

/// The database could not be asked or told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unavailable;

/// Every location table, with the journal they share.
pub(crate) struct Tables {
    pub(crate) settings: Settings,
    domains: ArcSwap<Vec<Arc<Domain>>>,
    making: Mutex<()>,
    database: Option<Arc<Database>>,
    layout: Layout,
    journal: Option<Arc<Journal>>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
    started: AtomicBool,
    seed: u64,
}

/// One location table.
pub(crate) struct Domain {
    /// Its name: the table in the database.
    pub(crate) name: String,
    store: Arc<Store>,
    journal: Option<(Arc<Journal>, u16)>,
    only_database: Option<Arc<Database>>,
    layout: Layout,
    attributes: bool,
    /// Contacts that ran out.
    pub(crate) expired: Counter,
}

/// A change that may still be on its way to the database.
#[derive(Clone)]
pub(crate) struct Ticket(Option<(Arc<Journal>, u64)>);

impl Ticket {
    /// Waits until the change is as safe as the mode promises.
    pub(crate) fn wait(self, timeout: Duration) -> Result<(), Unavailable> {
        match self.0 {
            Some((journal, sequence)) if !journal.wait(sequence, timeout) => Err(Unavailable),
            _ => Ok(()),
        }
    }

    /// Whether there is anything to wait for.
    pub(crate) fn is_pending(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|(journal, sequence)| journal.committed() < *sequence)
    }

    /// Whether so many wait already that another one had better wait itself.
    pub(crate) fn is_congested(&self) -> bool {
        self.0.as_ref().is_some_and(|(journal, _)| journal.is_congested())
    }

    /// Runs `done` when the change is safe (true) or is not going to be soon (false), perhaps on another thread.
    pub(crate) fn then(self, done: persist::Done) {
        match self.0 {
            Some((journal, sequence)) => journal.when_committed(sequence, done),
            None => done(true),
        }
    }
}

impl Tables {
    /// No tables yet; nothing is connected before [`Self::start`].
    pub(crate) fn new(settings: Settings, seed: u64) -> Result<Self, Error> {
        let layout = Layout::new(settings.columns.clone(), settings.use_domain, settings.seconds);
        let database = match settings.mode {
            Mode::Memory => None,
            _ => Some(Database::shared(&settings.db_url)?),
        };
        let pace = match settings.mode {
            Mode::WriteThrough => Pace::Through,
            _ => Pace::Back(settings.delay),
        };
        let journal = database
            .as_ref()
            .filter(|_| settings.mode.writes())
            .map(|database| {
                Arc::new(Journal::new(
                    Arc::clone(database),
                    layout.clone(),
                    pace,
                    settings.attributes,
                ))
            });
        Ok(Self {
            settings,
            domains: ArcSwap::default(),
            making: Mutex::new(()),
            database,
            layout,
            journal,
            writer: Mutex::new(None),
            started: AtomicBool::new(false),
            seed,
        })
    }

    /// Connects, checks and loads the tables known so far, and starts the writer; only the first call does so.
    pub(crate) fn start(&self) -> Result<(), Error> {
        if self.started.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        for domain in self.domains.load().iter() {
            self.prepare(domain)?;
        }
        let journal = self
            .journal
            .clone()
            .filter(|_| self.settings.mode != Mode::DatabaseOnly);
        let Some(journal) = journal else { return Ok(()) };
        let thread = std::thread::Builder::new()
            .name("usrloc".into())
            .spawn(move || journal.run());
        match thread {
            Ok(handle) => *self.writer.lock() = Some(handle),
            Err(error) => crate::log::critical(
                "usrloc",
                format_args!("no thread to write registrations: {error}"),
            ),
        }
        Ok(())
    }

    /// Writes out everything and ends the writer.
    pub(crate) fn stop(&self) {
        if let (Some(journal), Some(writer)) = (&self.journal, self.writer.lock().take()) {
            journal.stop();
            if writer.join().is_err() {
                crate::log::critical(
                    "usrloc",
                    format_args!("the thread that writes registrations had ended"),
                );
            }
        }
    }

    /// The table of this name, if it is in use.
    pub(crate) fn find(&self, name: &[u8]) -> Option<Arc<Domain>> {
        self.domains
            .load()
            .iter()
            .find(|domain| domain.name.as_bytes() == name)
            .cloned()
    }

    /// The table of this name, made and loaded when it is new.
    pub(crate) fn open(&self, name: &[u8]) -> Arc<Domain> {
        if let Some(domain) = self.find(name) {
            return domain;
        }
        let _making = self.making.lock();
        if let Some(domain) = self.find(name) {
            return domain;
        }
        let domain = Arc::new(self.make(name));
        if self.started.load(Ordering::Acquire)
            && let Err(error) = self.prepare(&domain)
        {
            crate::log::error(
                "usrloc",
                format_args!("table `{}` not loaded: {error}", domain.name),
            );
        }
        let mut domains = Vec::clone(&self.domains.load());
        domains.push(Arc::clone(&domain));
        self.domains.store(Arc::new(domains));
        domain
    }

    /// Every table in use.
    pub(crate) fn all(&self) -> Arc<Vec<Arc<Domain>>> {
        self.domains.load_full()
    }

    /// The journal, where there is one.
    pub(crate) fn journal(&self) -> Option<&Arc<Journal>> {
        self.journal.as_ref()
    }

    /// The database, where there is one.
    pub(crate) fn database(&self) -> Option<&Arc<Database>> {
        self.database.as_ref()
    }

    /// The rows' layout.
    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Takes over the contacts of tables that a reload replaces.
    pub(crate) fn adopt(&self, previous: &Self) {
        for old in previous.all().iter() {
            let new = self.open(old.name.as_bytes());
            old.store.each(|contacts| {
                for contact in contacts {
                    let binding = contact.binding();
                    let _ = new.edit(binding.aor, |edit| edit.insert(&binding));
                }
            });
        }
    }

    fn make(&self, name: &[u8]) -> Domain {
        let name = String::from_utf8_lossy(name).into_owned();
        let hasher = RandomState::with_seed(self.seed as usize ^ name.len());
        let store = Arc::new(Store::new(SHARD_BITS, self.settings.order, hasher));
        let journal = self.journal.as_ref().map(|journal| {
            let store = Arc::clone(&store);
            let each = Box::new(move |visit: &mut dyn FnMut(Contact<'_>)| {
                store.each(|contacts| contacts.for_each(&mut *visit))
            });
            (
                Arc::clone(journal),
                journal.add_table(Table {
                    name: name.clone(),
                    each,
                }),
            )
        });
        Domain {
            name,
            store,
            journal,
            only_database: self
                .database
                .clone()
                .filter(|_| self.settings.mode == Mode::DatabaseOnly),
            layout: self.layout.clone(),
            attributes: self.settings.attributes,
            expired: Counter::default(),
        }
    }

    fn prepare(&self, domain: &Domain) -> Result<(), Error> {
        let Some(database) = &self.database else {
            return Ok(());
        };
        if self.settings.check_version
            && let Some(layout) = schema::table(&domain.name).or_else(|| schema::table("location"))
        {
            database.check_version(&domain.name, layout)?;
        }
        if self.settings.mode == Mode::DatabaseOnly || !self.settings.load {
            return Ok(());
        }
        domain.load(database, &self.settings)
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        self.stop();
    }
}

/// 128 shards: far more than threads that could meet in one.
const SHARD_BITS: u32 = 7;

/// Collects changes of a table that is not kept in memory.
#[derive(Default)]
struct Collector(Mutex<Vec<(OwnedContact, bool)>>);

impl Sink for Collector {
    fn put(&self, contact: Contact<'_>, _: bool) -> u64 {
        self.0.lock().push((contact.to_owned(), true));
        LOADED
    }
    fn remove(&self, contact: Contact<'_>) {
        self.0.lock().push((contact.to_owned(), false));
    }
}

impl Domain {
    /// Shows the contacts of an address, in order.
    pub(crate) fn read<R>(&self, aor: &[u8], look: impl FnOnce(Contacts<'_>) -> R) -> Result<R, Unavailable> {
        match &self.only_database {
            None => Ok(self.store.read(aor, look)),
            Some(database) => Ok(self.fetch(database, aor)?.read(aor, look)),
        }
    }

    /// Changes the contacts of an address; the ticket tells when that is safe.
    pub(crate) fn edit<R>(
        &self,
        aor: &[u8],
        change: impl FnOnce(&mut Edit<'_>) -> R,
    ) -> Result<(R, Ticket), Unavailable> {
        let Some(database) = &self.only_database else {
            let Some((journal, table)) = &self.journal else {
                return Ok((self.store.edit(aor, &NoSink, change), Ticket(None)));
            };
            let result = self.store.edit(aor, &journal.sink(*table), change);
            let ticket = journal
                .is_write_through()
                .then(|| (Arc::clone(journal), journal.appended()));
            return Ok((result, Ticket(ticket)));
        };
        let (store, collector) = (self.fetch(database, aor)?, Collector::default());
        let result = store.edit(aor, &collector, change);
        let changes = collector.0.into_inner();
        if let (Some((journal, _)), false) = (&self.journal, changes.is_empty()) {
            journal
                .write_now(&self.name, &changes)
                .map_err(|error| log_unavailable(&self.name, &error))?;
        }
        Ok((result, Ticket(None)))
    }

    /// Removes what ended by `now` from memory and database.
    pub(crate) fn expire(&self, now: u32, gone: &mut dyn FnMut(OwnedContact)) -> usize {
        if let Some(database) = &self.only_database {
            return self.expire_rows(database, now, gone);
        }
        let total = match &self.journal {
            Some((journal, table)) => self.store.expire(now, &journal.sink(*table), gone),
            None => self.store.expire(now, &NoSink, gone),
        };
        self.expired.add(total as i64);
        total
    }

    /// Whether its contacts are in memory.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.only_database.is_none()
    }

    /// What is in memory.
    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// How much is in memory.
    pub(crate) fn counts(&self) -> Counts {
        self.store.counts()
    }

    /// The number of changes that the database has.
    pub(crate) fn committed(&self) -> u64 {
        self.journal
            .as_ref()
            .map_or(LOADED, |(journal, _)| journal.committed())
    }

    fn load(&self, database: &Database, settings: &Settings) -> Result<(), Error> {
        load::load(database, &self.name, &self.layout, settings, &self.store)
    }

    /// The contacts of one address, from the database.
    fn fetch(&self, database: &Database, aor: &[u8]) -> Result<Store, Unavailable> {
        let store = Store::new(0, self.store_order(), RandomState::with_seed(0));
        let (username, domain) = self.layout.split(aor);
        let columns = self.layout.names();
        let mut select = Select::from(&self.name)
            .columns(&columns)
            .eq(self.layout.username(), username);
        if !domain.is_null() {
            select = select.eq(self.layout.domain(), domain);
        }
        let result = database.with(|db| {
            db.each(&select, &mut |row| {
                self.layout.read(row, b"", |binding| {
                    // The database compares names by its own rules: only the address asked for counts.
                    let binding = &Binding { aor, ..*binding };
                    let _ = store.edit(aor, &LoadSink, |edit| edit.insert(binding));
                });
                Ok(())
            })
        });
        result.map_err(|error| log_unavailable(&self.name, &error))?;
        if self.attributes {
            self.fetch_attributes(database, aor, &store)?;
        }
        Ok(store)
    }

    fn fetch_attributes(&self, database: &Database, aor: &[u8], store: &Store) -> Result<(), Unavailable> {
        let all = load_attributes(database, Some(self.layout.split(aor).0))
            .map_err(|e| log_unavailable(&self.name, &e))?;
        store.edit(aor, &LoadSink, |edit| {
            for at in 0..edit.contacts().len() {
                let Some(owned) = edit.contacts().nth(at).map(Contact::to_owned) else {
                    continue;
                };
                let binding = owned.view().binding();
                if let Some(packed) = all.get(binding.ruid) {
                    let _ = edit.update(
                        at,
                        &Binding {
                            attributes: packed,
                            ..binding
                        },
                    );
                }
            }
        });
        Ok(())
    }

    fn store_order(&self) -> Order {
        self.store.order()
    }

    fn expire_rows(&self, database: &Database, now: u32, gone: &mut dyn FnMut(OwnedContact)) -> usize {
        let columns = self.layout.names();
        let ended = Select::from(&self.name)
            .columns(&columns)
            .filter(self.layout.expires(), Op::Le, self.layout.time(now))
            .filter(self.layout.expires(), Op::Gt, self.layout.time(86_400));
        let mut found = Vec::new();
        let result = database.with(|db| {
            db.each(&ended, &mut |row| {
                found.extend(self.layout.read(row, b"", OwnedContact::of));
                Ok(())
            })?;
            for contact in &found {
                db.delete(&Delete::from(&self.name).eq(self.layout.ruid(), contact.view().ruid()))?;
            }
            Ok(())
        });
        if result.is_err() {
            return 0;
        }
        let total = found.len();
        found.into_iter().for_each(gone);
        total
    }
}

fn log_unavailable(table: &str, error: &Error) -> Unavailable {
    crate::log::error("usrloc", format_args!("table `{table}`: {error}"));
    Unavailable
}
