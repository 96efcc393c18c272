//! Folders of dbtext files (Kamailio module db_text): a file is a table, its first line names the columns.

mod file;

use std::collections::BTreeMap;
use std::fs;
use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::path::PathBuf;

use file::Column;
use file::Contents;
use file::Stamp;

use super::Access;
use super::Backend;
use super::ColumnInfo;
use super::Delete;
use super::Direction;
use super::Engine;
use super::Error;
use super::Filter;
use super::Insert;
use super::Op;
use super::Outcome;
use super::Row;
use super::Select;
use super::Update;
use super::Upsert;
use super::Url;
use super::Value;
use super::schema::Table;

/// Guards a folder against two writers; readers see whole files, for these are replaced, never changed.
const LOCK: &str = ".lock";

/// A folder; its tables are kept in memory as long as their files do not change.
pub(super) struct Text {
    url: Url,
    folder: PathBuf,
    read_only: bool,
    tables: BTreeMap<String, (Option<Stamp>, Contents)>,
    transaction: Option<Transaction>,
}

/// Changes not yet written.
struct Transaction {
    _lock: File,
    /// `None` for a table that was dropped.
    changed: BTreeMap<String, Option<Contents>>,
}

impl Text {
    pub(super) fn open(url: &Url, access: Access) -> Result<Self, Error> {
        let folder = PathBuf::from(&url.name);
        if !folder.is_dir() {
            if access != Access::Create {
                return Err(Error::Missing(folder));
            }
            fs::create_dir_all(&folder).map_err(|e| io("create folder", &folder, &e))?;
        }
        let read_only = access == Access::ReadOnly;
        Ok(Self {
            url: url.clone(),
            folder,
            read_only,
            tables: BTreeMap::new(),
            transaction: None,
        })
    }

    /// The table as it is now: with the open transaction's changes, else as the file says.
    fn load(&mut self, name: &str) -> Result<&Contents, Error> {
        let path = self.path(name)?;
        if let Some(changed) = self.transaction.as_ref().and_then(|t| t.changed.get(name)) {
            return changed.as_ref().ok_or_else(|| self.no_table(name));
        }
        let stamp = match fs::metadata(&path) {
            Ok(metadata) => Stamp::of(&metadata),
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(self.no_table(name)),
            Err(error) => return Err(io("read", &path, &error)),
        };
        if self
            .tables
            .get(name)
            .is_none_or(|(known, _)| *known != Some(stamp))
        {
            let bytes = fs::read(&path).map_err(|e| io("read", &path, &e))?;
            let contents = Contents::parse(&path, &bytes)?;
            self.tables.insert(name.to_owned(), (Some(stamp), contents));
        }
        self.tables
            .get(name)
            .map(|(_, contents)| contents)
            .ok_or_else(|| self.no_table(name))
    }

    /// Changes a table: at once, or with the rest of the open transaction.
    fn change<T>(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut Contents) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let own = self.transaction.is_none();
        if own {
            self.begin()?;
        }
        let changed = self.load(name).cloned().and_then(|mut contents| {
            let answer = change(&mut contents)?;
            Ok((contents, answer))
        });
        match changed {
            Ok((contents, answer)) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.changed.insert(name.to_owned(), Some(contents));
                }
                if own {
                    self.commit()?;
                }
                Ok(answer)
            }
            Err(error) => {
                if own {
                    self.transaction = None;
                }
                Err(error)
            }
        }
    }

    fn path(&self, name: &str) -> Result<PathBuf, Error> {
        let plain = !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if plain {
            Ok(self.folder.join(name))
        } else {
            Err(Error::Name(name.to_owned()))
        }
    }

    fn no_table(&self, name: &str) -> Error {
        Error::NoTable {
            url: self.url.to_string(),
            table: name.to_owned(),
        }
    }

    fn no_column(&self, table: &str, column: &str) -> Error {
        Error::NoColumn {
            url: self.url.to_string(),
            table: table.to_owned(),
            column: column.to_owned(),
        }
    }

    /// Positions of columns, all of them known.
    fn positions(&mut self, table: &str, columns: &[&str]) -> Result<Vec<usize>, Error> {
        let contents = self.load(table)?;
        let found: Vec<Option<usize>> = columns.iter().map(|column| contents.position(column)).collect();
        let pairs = columns.iter().zip(found);
        pairs
            .map(|(column, at)| at.ok_or_else(|| self.no_column(table, column)))
            .collect()
    }

    fn tests<'f>(
        &mut self,
        table: &str,
        filters: &'f [Filter<'_>],
    ) -> Result<Vec<(usize, &'f Filter<'f>)>, Error> {
        let columns: Vec<&str> = filters.iter().map(|filter| filter.column).collect();
        Ok(self
            .positions(table, &columns)?
            .into_iter()
            .zip(filters)
            .collect())
    }
}

impl Backend for Text {
    fn engine(&self) -> Engine {
        Engine::Text
    }

    fn url(&self) -> &Url {
        &self.url
    }

    fn each(
        &mut self,
        select: &Select<'_>,
        visit: &mut dyn FnMut(Row<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let tests = self.tests(select.table, &select.filters)?;
        let order: Vec<&str> = select.order.iter().map(|(column, _)| *column).collect();
        let order = self.positions(select.table, &order)?;
        let one_of = match &select.one_of {
            Some((column, values)) => {
                let at = self.positions(select.table, &[*column])?;
                at.first().map(|at| (*at, values))
            }
            None => None,
        };
        let is_one = |row: &[Value]| {
            one_of.is_none_or(|(at, values)| {
                values
                    .iter()
                    .any(|value| file::compare(row.get(at), Some(value)).is_eq())
            })
        };
        let wanted = self.positions(select.table, &select.columns)?;
        let contents = self.load(select.table)?;
        let mut rows: Vec<&Vec<Value>> = contents
            .rows
            .iter()
            .filter(|row| matches_all(&tests, row) && is_one(row))
            .collect();
        if select.count {
            return visit(Row::new(
                &["count".to_owned()],
                &[Value::Int(i64::try_from(rows.len()).unwrap_or(i64::MAX))],
            ));
        }
        rows.sort_by(|a, b| {
            let keys = order.iter().zip(&select.order);
            let ordered = keys.map(|(&at, (_, direction))| {
                let ordering = file::compare(a.get(at), b.get(at));
                if *direction == Direction::Descending {
                    ordering.reverse()
                } else {
                    ordering
                }
            });
            ordered.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
        });
        let limit = select
            .limit
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(usize::MAX);
        let all = select.columns.is_empty();
        let names: Vec<String> = if all {
            contents
                .columns
                .iter()
                .map(|column| column.name.clone())
                .collect()
        } else {
            select.columns.iter().map(|column| (*column).to_owned()).collect()
        };
        let offset = usize::try_from(select.offset).unwrap_or(usize::MAX);
        for row in rows.into_iter().skip(offset).take(limit) {
            if all {
                visit(Row::new(&names, row))?;
            } else {
                let cells: Vec<Value> = wanted
                    .iter()
                    .map(|&at| row.get(at).cloned().unwrap_or_default())
                    .collect();
                visit(Row::new(&names, &cells))?;
            }
        }
        Ok(())
    }

    fn insert(&mut self, insert: &Insert<'_>) -> Result<u64, Error> {
        let at = self.positions(insert.table, &insert.columns)?;
        self.change(insert.table, |contents| {
            contents.append(insert.table, &at, &insert.rows)?;
            Ok(insert.rows.len() as u64)
        })
    }

    fn update(&mut self, update: &Update<'_>) -> Result<u64, Error> {
        let tests = self.tests(update.table, &update.filters)?;
        let columns: Vec<&str> = update.set.iter().map(|(column, _)| *column).collect();
        let at = self.positions(update.table, &columns)?;
        self.change(update.table, |contents| {
            let chosen: Vec<usize> = contents
                .rows
                .iter()
                .enumerate()
                .filter(|(_, r)| matches_all(&tests, r))
                .map(|(i, _)| i)
                .collect();
            for &index in &chosen {
                let values = at.iter().copied().zip(update.set.iter().map(|(_, value)| value));
                contents.assign(update.table, index, values)?;
            }
            Ok(chosen.len() as u64)
        })
    }

    fn delete(&mut self, delete: &Delete<'_>) -> Result<u64, Error> {
        let tests = self.tests(delete.table, &delete.filters)?;
        self.change(delete.table, |contents| {
            let before = contents.rows.len();
            contents.rows.retain(|row| !matches_all(&tests, row));
            Ok((before - contents.rows.len()) as u64)
        })
    }

    fn upsert(&mut self, upsert: &Upsert<'_>) -> Result<u64, Error> {
        let insert = &upsert.insert;
        let at = self.positions(insert.table, &insert.columns)?;
        let key = self.positions(insert.table, &upsert.key)?;
        self.change(insert.table, |contents| {
            for row in &insert.rows {
                let fresh = contents.fresh(insert.table, &at, row, contents.next_number())?;
                let same = |old: &Vec<Value>| key.iter().all(|&k| old.get(k) == fresh.get(k));
                match contents.rows.iter().position(same) {
                    Some(index) => contents.assign(insert.table, index, at.iter().copied().zip(row))?,
                    None => {
                        contents.check_unique(insert.table, &fresh, None)?;
                        contents.rows.push(fresh);
                    }
                }
            }
            Ok(insert.rows.len() as u64)
        })
    }

    fn raw(&mut self, _sql: &str, _params: &[Value]) -> Result<Outcome, Error> {
        Err(Error::Unsupported {
            engine: "text",
            what: "SQL statements",
        })
    }

    fn begin(&mut self) -> Result<(), Error> {
        if self.transaction.is_some() {
            return Err(Error::Transaction("a transaction is open already"));
        }
        if self.read_only {
            return Err(Error::ReadOnly(self.folder.clone()));
        }
        let path = self.folder.join(LOCK);
        let lock = File::create(&path).and_then(|file| file.lock().map(|()| file));
        let lock = lock.map_err(|e| match e.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                Error::ReadOnly(self.folder.clone())
            }
            _ => io("lock", &path, &e),
        })?;
        self.transaction = Some(Transaction {
            _lock: lock,
            changed: BTreeMap::new(),
        });
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Error> {
        let Some(transaction) = self.transaction.take() else {
            return Err(Error::Transaction("no transaction is open"));
        };
        // Everything is written beside before anything is replaced: a full disk changes nothing.
        let mut ready = Vec::new();
        for (name, contents) in &transaction.changed {
            let path = self.path(name)?;
            if let Some(contents) = contents {
                let fresh = self.folder.join(format!(".{name}.new"));
                file::write(&fresh, &contents.to_bytes()).map_err(|e| io("write", &fresh, &e))?;
                ready.push((fresh, path));
            }
        }
        for (fresh, path) in &ready {
            fs::rename(fresh, path).map_err(|e| io("replace", path, &e))?;
        }
        for (name, contents) in transaction.changed {
            let path = self.path(&name)?;
            match contents {
                Some(contents) => {
                    let stamp = fs::metadata(&path).ok().map(|metadata| Stamp::of(&metadata));
                    self.tables.insert(name, (stamp, contents));
                }
                None => {
                    self.tables.remove(&name);
                    match fs::remove_file(&path) {
                        Err(error) if error.kind() != ErrorKind::NotFound => {
                            return Err(io("remove", &path, &error));
                        }
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }

    fn rollback(&mut self) -> Result<(), Error> {
        self.transaction
            .take()
            .map(|_| ())
            .ok_or(Error::Transaction("no transaction is open"))
    }

    fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    fn tables(&mut self) -> Result<Vec<String>, Error> {
        let entries = fs::read_dir(&self.folder).map_err(|e| io("read folder", &self.folder, &e))?;
        let files = entries.flatten().filter(|entry| entry.path().is_file());
        let mut names: Vec<String> = files
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.retain(|name| self.path(name).is_ok());
        for (name, contents) in self.transaction.iter().flat_map(|t| &t.changed) {
            names.retain(|n| n != name);
            if contents.is_some() {
                names.push(name.clone());
            }
        }
        names.sort();
        Ok(names)
    }

    fn columns(&mut self, table: &str) -> Result<Vec<ColumnInfo>, Error> {
        let column = |column: &Column| ColumnInfo {
            name: column.name.clone(),
            kind: column.kind,
            declared: column.declared.clone(),
            null: column.null,
        };
        Ok(self.load(table)?.columns.iter().map(column).collect())
    }

    fn create_table(&mut self, table: &Table) -> Result<(), Error> {
        if self.table_exists(table.name)? {
            let reason = format!("table `{}` exists already", table.name);
            return Err(Error::Engine {
                url: self.url.to_string(),
                reason,
            });
        }
        let own = self.transaction.is_none();
        if own {
            self.begin()?;
        }
        if let Some(transaction) = &mut self.transaction {
            transaction
                .changed
                .insert(table.name.to_owned(), Some(Contents::of_schema(table)));
        }
        if own { self.commit() } else { Ok(()) }
    }

    fn drop_table(&mut self, table: &str) -> Result<(), Error> {
        self.load(table)?;
        let own = self.transaction.is_none();
        if own {
            self.begin()?;
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.changed.insert(table.to_owned(), None);
        }
        if own { self.commit() } else { Ok(()) }
    }

    fn ping(&mut self) -> Result<(), Error> {
        if self.folder.is_dir() {
            Ok(())
        } else {
            Err(Error::Missing(self.folder.clone()))
        }
    }

    fn reconnect(&mut self) -> Result<(), Error> {
        self.tables.clear();
        self.transaction = None;
        self.ping()
    }
}

fn matches_all(tests: &[(usize, &Filter<'_>)], row: &[Value]) -> bool {
    tests.iter().all(|(at, filter)| {
        let cell = row.get(*at).unwrap_or(&Value::Null);
        match (cell.is_null(), filter.value.is_null(), filter.op) {
            (null, true, Op::Ne) => !null,
            (null, true, _) => null,
            (true, false, _) => false,
            (false, false, op) => {
                let ordering = file::compare(Some(cell), Some(&filter.value));
                match op {
                    Op::Eq => ordering.is_eq(),
                    Op::Ne => ordering.is_ne(),
                    Op::Lt => ordering.is_lt(),
                    Op::Gt => ordering.is_gt(),
                    Op::Le => ordering.is_le(),
                    Op::Ge => ordering.is_ge(),
                }
            }
        }
    })
}

fn io(doing: &'static str, path: &Path, error: &std::io::Error) -> Error {
    Error::Io {
        doing,
        path: path.to_owned(),
        reason: error.to_string(),
    }
}
