//! Accounts: rows of `subscriber` as HA1s, kept while the database says that nothing changed (SQLite `data_version`), or
//! for the batch of messages that needs them.

use super::ahead;
use crate::modules::database::Database;
use crate::modules::database::is_gone;
use crate::script::host::Host;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::value::Value;
use ahash::RandomState;
use hashbrown::HashTable;
use parking_lot::Mutex;
use parking_lot::RwLock;
use shared::db;
use shared::db::Backend;
use shared::db::Engine;
use shared::db::Error;
use shared::db::Rows;
use shared::db::Select;
use shared::db::schema;
use shared::digest;
use shared::digest::Algorithm;
use shared::digest::Hex;
use std::hash::BuildHasher as _;
use std::hash::Hash as _;
use std::hash::Hasher as _;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// Connections that watch for changes: one for each worker, shared beyond so many.
const SLOTS: usize = 32;
/// Parts of the table of kept accounts.
const SHARDS: usize = 64;
/// Accounts kept in each part; a full part begins anew.
const SHARD_MAX: usize = 4096;
/// Rows read for one user name, in different domains.
const ROWS_OF_A_NAME: usize = 4;
/// HA1 columns that serve where the configured one is empty: plain, of user@domain.
const HA1_COLUMNS: [[&str; 2]; 2] = [["ha1", "ha1_sha256"], ["ha1b", "ha1b_sha256"]];

/// An account as its credentials are checked.
#[derive(Debug)]
pub(super) struct Account {
    /// The HA1 to check with; none: no password that fits the hash.
    pub(super) ha1: Option<Hex>,
    /// Values of `load_credentials`, in its order.
    pub(super) loaded: Box<[Value<'static>]>,
}

/// Which account is sought.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) table: &'a [u8],
    pub(super) user: &'a [u8],
    /// Only of this domain.
    pub(super) domain: Option<&'a [u8]>,
    /// As in the credentials, with or without domain: it is part of the HA1.
    pub(super) username: &'a [u8],
    pub(super) realm: &'a [u8],
    /// None: the password does not matter.
    pub(super) algorithm: Option<Algorithm>,
}

/// The accounts of a database.
pub(super) struct Accounts {
    db: Arc<Database>,
    config: Config,
    /// Columns of the tables used so far.
    layouts: RwLock<Vec<Arc<Layout>>>,
    slots: Box<[Mutex<Slot>]>,
    /// Rises when a connection notices that data changed: what was read before is read again.
    generation: AtomicU64,
    kept: Kept,
}

struct Config {
    user: String,
    domain: String,
    password: String,
    password_2: String,
    calculate: bool,
    load: Vec<String>,
    check_version: bool,
    /// Seconds that accounts are kept on engines that cannot tell of changes.
    keep: u64,
}

/// The columns of one table that are there and wanted.
struct Layout {
    table: String,
    columns: Vec<String>,
}

#[derive(Default)]
struct Slot {
    connection: Option<Box<dyn Backend>>,
    seen: i64,
    /// The worker and its batch that asked last.
    asked: (usize, u64),
    /// The users of that batch that a server was asked about, what it said, and of which table.
    users: Vec<Box<[u8]>>,
    rows: Rows,
    table: Box<[u8]>,
}

/// Until when a kept account may serve: a generation on SQLite, a second elsewhere.
type Stamp = u64;

#[derive(Debug)]
struct Entry {
    hash: u64,
    key: Box<[u8]>,
    stamp: Stamp,
    account: Arc<Account>,
}

struct Kept {
    hasher: RandomState,
    shards: Box<[RwLock<HashTable<Entry>>]>,
}

impl Kept {
    fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
        }
    }

    fn hash(&self, wanted: &Wanted<'_>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        wanted.parts().hash(&mut hasher);
        wanted.algorithm.hash(&mut hasher);
        hasher.finish()
    }

    fn shard(&self, hash: u64) -> Option<&RwLock<HashTable<Entry>>> {
        self.shards.get((hash >> 32) as usize % SHARDS)
    }

    fn find(&self, hash: u64, wanted: &Wanted<'_>, good: impl Fn(Stamp) -> bool) -> Option<Arc<Account>> {
        let shard = self.shard(hash)?.read();
        let entry = shard.find(hash, |entry| wanted.is(&entry.key))?;
        good(entry.stamp).then(|| Arc::clone(&entry.account))
    }

    fn store(&self, hash: u64, wanted: &Wanted<'_>, stamp: Stamp, account: &Arc<Account>) {
        let Some(shard) = self.shard(hash) else { return };
        let account = Arc::clone(account);
        let mut shard = shard.write();
        if let Some(entry) = shard.find_mut(hash, |entry| wanted.is(&entry.key)) {
            entry.stamp = stamp;
            entry.account = account;
            return;
        }
        if shard.len() >= SHARD_MAX {
            shard.clear();
        }
        shard.insert_unique(
            hash,
            Entry {
                hash,
                key: wanted.key(),
                stamp,
                account,
            },
            |entry| entry.hash,
        );
    }
}

impl Wanted<'_> {
    fn parts(&self) -> [&[u8]; 5] {
        [
            self.table,
            self.username,
            self.realm,
            self.domain.unwrap_or_default(),
            self.kind(),
        ]
    }

    fn kind(&self) -> &'static [u8] {
        match (self.domain.is_some(), self.algorithm) {
            (false, None) => b"0",
            (false, Some(Algorithm::Md5)) => b"1",
            (false, Some(Algorithm::Sha256)) => b"2",
            (true, None) => b"3",
            (true, Some(Algorithm::Md5)) => b"4",
            (true, Some(Algorithm::Sha256)) => b"5",
        }
    }

    /// Every part with its length in front, so that no two accounts have one key.
    fn key(&self) -> Box<[u8]> {
        let mut key = Vec::with_capacity(64);
        for part in self.parts() {
            key.extend_from_slice(&(part.len() as u32).to_ne_bytes());
            key.extend_from_slice(part);
        }
        key.into()
    }

    fn is(&self, mut key: &[u8]) -> bool {
        for part in self.parts() {
            let Some((length, rest)) = key.split_first_chunk::<4>() else {
                return false;
            };
            let length = u32::from_ne_bytes(*length) as usize;
            let Some((own, rest)) = rest.split_at_checked(length) else {
                return false;
            };
            if own != part {
                return false;
            }
            key = rest;
        }
        true
    }
}

impl Accounts {
    pub(super) fn new(init: &Init<'_>, load: Vec<String>) -> Result<Self, InitError> {
        let config = Config {
            user: init.text("user_column"),
            domain: init.text("domain_column"),
            password: init.text("password_column"),
            password_2: init.text("password_column_2"),
            calculate: init.int("calculate_ha1") != 0,
            load,
            check_version: init.int("version_table") != 0,
            keep: u64::try_from(init.int("cache_credentials")).unwrap_or(0),
        };
        let accounts = Self {
            db: Database::shared(&crate::modules::db_url(init))?,
            config,
            layouts: RwLock::default(),
            slots: (0..SLOTS).map(|_| Mutex::default()).collect(),
            generation: AtomicU64::new(1),
            kept: Kept::new(),
        };
        // The usual table is looked at now, so that a database of another version stops the start; others when used.
        match accounts.db.with(|db| accounts.layout(db, b"subscriber")) {
            Ok(_) | Err(Error::NoTable { .. }) => Ok(accounts),
            Err(error @ Error::NoColumn { .. }) => {
                crate::log::warning("auth_db", format_args!("{error}"));
                Ok(accounts)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The account; none when there is no such user.
    pub(super) fn find(&self, host: &dyn Host, wanted: &Wanted<'_>) -> Result<Option<Arc<Account>>, Error> {
        if self.db.url().engine == Engine::Sqlite {
            self.find_watched((host.worker().0, host.batch()), wanted)
        } else if self.config.keep > 0 {
            self.find_timed(host.wall().as_secs(), wanted)
        } else {
            self.find_together(host, wanted)
        }
    }

    /// Asks a server about the users whose credentials came in one batch, many at a time, at the first of them: a round trip
    /// costs as much as ten rows. Who is not among the rows is asked for alone, in whatever spelling the server takes for the same.
    fn find_together(&self, host: &dyn Host, wanted: &Wanted<'_>) -> Result<Option<Arc<Account>>, Error> {
        let batch = (host.worker().0, host.batch());
        let alone = || self.db.with(|db| self.read(db, wanted));
        let (Some(slot), true) = (
            self.slots.get(batch.0 % SLOTS),
            batch.1 != 0 && wanted.algorithm.is_some(),
        ) else {
            return alone();
        };
        let mut slot = slot.lock();
        let slot = &mut *slot;
        let same_table = *slot.table == *wanted.table;
        if slot.asked != batch || same_table && !slot.users.iter().any(|user| **user == *wanted.user) {
            slot.asked = batch;
            slot.table = Box::from(wanted.table);
            slot.users = ahead::users(host, wanted.user);
            slot.rows = match self.db.with(|db| self.read_all(db, wanted, &slot.users)) {
                Err(error) if is_gone(&error) => return Err(error),
                read => read.unwrap_or_default(),
            };
        }
        let config = &self.config;
        let is_wanted = |row: &db::Row<'_>| {
            row.bytes(&config.user) == Some(wanted.user)
                && wanted
                    .domain
                    .is_none_or(|domain| row.bytes(&config.domain) == Some(domain))
        };
        match slot.rows.iter().find(is_wanted) {
            Some(row) if *slot.table == *wanted.table => Ok(Some(Arc::new(self.account(&row, wanted)))),
            _ => alone(),
        }
    }

    /// Asks the worker's own connection whether anything changed since it last asked, and trusts what is kept if not.
    ///
    /// Asking takes and drops the database's lock, 2.3 of the 13 microseconds of a REGISTER, so it is done once a batch.
    fn find_watched(&self, batch: (usize, u64), wanted: &Wanted<'_>) -> Result<Option<Arc<Account>>, Error> {
        let Some(slot) = self.slots.get(batch.0 % SLOTS) else {
            return Ok(None);
        };
        let mut slot = slot.lock();
        let slot = &mut *slot;
        let connection = match &mut slot.connection {
            Some(connection) => connection,
            None => slot.connection.insert(self.db.connect()?),
        };
        let known = batch.1 != 0 && slot.asked == batch;
        let result = self.find_fresh(&mut **connection, (!known).then_some(&mut slot.seen), wanted);
        slot.asked = batch;
        if result.is_err() {
            slot.connection = None;
            slot.asked = (0, 0);
        }
        result
    }

    fn find_fresh(
        &self,
        connection: &mut dyn Backend,
        seen: Option<&mut i64>,
        wanted: &Wanted<'_>,
    ) -> Result<Option<Arc<Account>>, Error> {
        if let Some(seen) = seen {
            let version = connection.data_version()?.unwrap_or(0);
            if version != *seen {
                *seen = version;
                self.generation.fetch_add(1, Ordering::AcqRel);
            }
        }
        // Taken before the row is read: a change after that raises it, whichever worker notices.
        let generation = self.generation.load(Ordering::Acquire);
        let hash = self.kept.hash(wanted);
        if let Some(account) = self.kept.find(hash, wanted, |stamp| stamp == generation) {
            return Ok(Some(account));
        }
        let found = self.read(connection, wanted)?;
        if let Some(account) = &found {
            self.kept.store(hash, wanted, generation, account);
        }
        Ok(found)
    }

    /// Reads the account again where the one found may be older than what the database holds: a password that was just
    /// changed counts at once. None where nothing older is ever found.
    pub(super) fn read_again(&self, host: &dyn Host, wanted: &Wanted<'_>) -> Option<Arc<Account>> {
        if self.db.url().engine == Engine::Sqlite || self.config.keep == 0 {
            return None;
        }
        let account = self.db.with(|db| self.read(db, wanted)).ok()??;
        let until = host.wall().as_secs().saturating_add(self.config.keep);
        self.kept.store(self.kept.hash(wanted), wanted, until, &account);
        Some(account)
    }

    fn find_timed(&self, now: u64, wanted: &Wanted<'_>) -> Result<Option<Arc<Account>>, Error> {
        let hash = self.kept.hash(wanted);
        if let Some(account) = self.kept.find(hash, wanted, |until| now < until) {
            return Ok(Some(account));
        }
        let found = self.db.with(|db| self.read(db, wanted))?;
        if let Some(account) = &found {
            self.kept
                .store(hash, wanted, now.saturating_add(self.config.keep), account);
        }
        Ok(found)
    }

    /// The columns of a table, looked up at its first use together with its version.
    fn layout(&self, db: &mut dyn Backend, table: &[u8]) -> Result<Arc<Layout>, Error> {
        if let Some(layout) = self
            .layouts
            .read()
            .iter()
            .find(|layout| layout.table.as_bytes() == table)
        {
            return Ok(Arc::clone(layout));
        }
        let table = String::from_utf8_lossy(table).into_owned();
        if self.config.check_version
            && let Some(known) = schema::table("subscriber")
        {
            schema::check_version_as(db, &table, known)?;
        }
        let there: Vec<String> = db
            .columns(&table)?
            .into_iter()
            .map(|column| column.name)
            .collect();
        let config = &self.config;
        let mut columns = vec![config.password.clone()];
        if !config.calculate {
            columns.push(config.password_2.clone());
        }
        columns.extend(config.load.iter().cloned());
        let missing = columns
            .iter()
            .find(|column| !there.iter().any(|own| own.eq_ignore_ascii_case(column)));
        if let Some(column) = missing {
            return Err(Error::NoColumn {
                url: db.url().to_string(),
                table,
                column: column.clone(),
            });
        }
        for column in HA1_COLUMNS.as_flattened() {
            if there.iter().any(|own| own.eq_ignore_ascii_case(column)) {
                columns.push((*column).to_owned());
            }
        }
        columns.sort_unstable();
        columns.dedup();
        let layout = Arc::new(Layout { table, columns });
        self.layouts.write().push(Arc::clone(&layout));
        Ok(layout)
    }

    fn read(&self, db: &mut dyn Backend, wanted: &Wanted<'_>) -> Result<Option<Arc<Account>>, Error> {
        let layout = self.layout(db, wanted.table)?;
        let columns: Vec<&str> = layout.columns.iter().map(String::as_str).collect();
        // Kamailio: without use_domain the first row of that user name counts.
        let mut select = Select::from(&layout.table)
            .columns(&columns)
            .eq(&self.config.user, wanted.user)
            .limit(1);
        if let Some(domain) = wanted.domain {
            select = select.eq(&self.config.domain, domain);
        }
        let mut found = None;
        let result = db.each(&select, &mut |row| {
            found = Some(Arc::new(self.account(&row, wanted)));
            Ok(())
        });
        if matches!(
            result,
            Err(Error::NoColumn { .. } | Error::NoTable { .. } | Error::Engine { .. })
        ) {
            // The table was changed: its columns are looked up again.
            self.layouts.write().retain(|known| !Arc::ptr_eq(known, &layout));
        }
        result.map(|()| found)
    }

    /// The rows of several users; none when they are more than these users can have.
    fn read_all(
        &self,
        db: &mut dyn Backend,
        wanted: &Wanted<'_>,
        users: &[Box<[u8]>],
    ) -> Result<Rows, Error> {
        let Some((last, [_, ..])) = users.split_last() else {
            return Ok(Rows::default());
        };
        let layout = self.layout(db, wanted.table)?;
        let mut columns: Vec<&str> = layout.columns.iter().map(String::as_str).collect();
        let keys = [
            Some(&self.config.user),
            wanted.domain.map(|_| &self.config.domain),
        ];
        for column in keys.into_iter().flatten() {
            if !columns.contains(&column.as_str()) {
                columns.push(column);
            }
        }
        // Few lengths of lists, so that few statements are prepared.
        let names = users
            .iter()
            .map(Box::as_ref)
            .chain(std::iter::repeat(&**last))
            .map(db::Value::from)
            .take(users.len().next_power_of_two())
            .collect();
        let limit = users.len() * ROWS_OF_A_NAME;
        let select = Select::from(&layout.table)
            .columns(&columns)
            .one_of(&self.config.user, names)
            .limit(limit as u64);
        let rows = db.query(&select)?;
        Ok(if rows.len() < limit { rows } else { Rows::default() })
    }

    fn account(&self, row: &db::Row<'_>, wanted: &Wanted<'_>) -> Account {
        let load = self
            .config
            .load
            .iter()
            .map(|column| row.get(column).map_or(Value::Null, script_value));
        let ha1 = wanted
            .algorithm
            .and_then(|algorithm| self.ha1(row, wanted, algorithm));
        Account {
            ha1,
            loaded: load.collect(),
        }
    }

    fn ha1(&self, row: &db::Row<'_>, wanted: &Wanted<'_>, algorithm: Algorithm) -> Option<Hex> {
        let config = &self.config;
        if config.calculate {
            let plain = row
                .get(&config.password)
                .map(db::Value::to_bytes)
                .unwrap_or_default();
            if !plain.is_empty() {
                return Some(digest::ha1(algorithm, wanted.username, wanted.realm, &plain));
            }
        }
        let with_domain = wanted.username.len() != wanted.user.len();
        let configured = if with_domain {
            &config.password_2
        } else {
            &config.password
        };
        let configured = (!config.calculate).then_some(configured.as_str());
        let [plain, domain] = HA1_COLUMNS;
        let others = if with_domain { domain } else { plain };
        let stored =
            |column: &str| Hex::from_bytes(row.bytes(column)?).filter(|ha1| ha1.algorithm() == algorithm);
        configured.into_iter().chain(others).find_map(stored)
    }
}

/// A cell as an AVP takes it.
fn script_value(cell: &db::Value) -> Value<'static> {
    match cell {
        db::Value::Null => Value::Null,
        db::Value::Int(n) | db::Value::DateTime(n) => Value::Int(*n),
        db::Value::Text(text) | db::Value::Blob(text) => Value::owned(text.as_slice()),
        db::Value::Double(_) => Value::owned(cell.to_bytes().into_owned()),
    }
}
