//! The databases behind the modules: one small pool of connections a URL, shared by all that name it (Kamailio `db_url`).

use parking_lot::Mutex;
use shared::db::Backend;
use shared::db::Error;
use shared::db::Url;
use shared::db::schema;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::Weak;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

/// Connections kept for reuse; more may be open at a moment, one for each worker that waits for an answer.
const IDLE_MAX: usize = 16;

/// Every pool in use, so that modules with the same URL share one.
static POOLS: LazyLock<Mutex<Vec<Weak<Database>>>> = LazyLock::new(Mutex::default);

/// A database and the connections to it.
pub(crate) struct Database {
    url: Url,
    idle: Mutex<Vec<Box<dyn Backend>>>,
    /// The last attempt failed: the outage was logged already.
    failing: AtomicBool,
}

impl Database {
    /// The pool of a URL; nothing is connected yet.
    pub(crate) fn shared(url: &str) -> Result<Arc<Self>, Error> {
        let url: Url = url.parse().map_err(Error::from)?;
        let mut pools = POOLS.lock();
        pools.retain(|pool| pool.strong_count() > 0);
        if let Some(pool) = pools
            .iter()
            .filter_map(Weak::upgrade)
            .find(|pool| pool.url == url)
        {
            return Ok(pool);
        }
        let pool = Arc::new(Self {
            url,
            idle: Mutex::default(),
            failing: AtomicBool::new(false),
        });
        pools.push(Arc::downgrade(&pool));
        Ok(pool)
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Whether the last attempt to use it failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// A connection of one's own, for a thread that keeps it.
    pub(crate) fn connect(&self) -> Result<Box<dyn Backend>, Error> {
        self.note(shared::db::open(&self.url))
    }

    /// Works on a connection: an idle one, else a new one. An outage is logged once, and once when it is over.
    pub(crate) fn with<T>(
        &self,
        work: impl FnOnce(&mut dyn Backend) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let idle = self.idle.lock().pop();
        let mut backend = match idle {
            Some(backend) => backend,
            None => self.connect()?,
        };
        let result = work(&mut *backend);
        if is_outage(&result) {
            // The others that lie idle are as dead; they reconnect by themselves, but may answer late.
            self.idle.lock().clear();
        } else {
            if backend.in_transaction() && backend.rollback().is_err() {
                return self.note(result);
            }
            let mut idle = self.idle.lock();
            if idle.len() < IDLE_MAX {
                idle.push(backend);
            }
        }
        self.note(result)
    }

    /// Checks that a table is there in the version of its layout, whatever it is called.
    pub(crate) fn check_version(&self, table: &str, layout: &schema::Table) -> Result<(), Error> {
        self.with(|db| schema::check_version_as(db, table, layout))
    }

    fn note<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if is_outage(&result) {
            if let (Err(error), false) = (&result, self.failing.swap(true, Ordering::Relaxed)) {
                crate::log::error("database", format_args!("{error}"));
            }
        } else if self.is_failing() && self.failing.swap(false, Ordering::Relaxed) {
            crate::log::notice("database", format_args!("{} answers again", self.url));
        }
        result
    }
}

/// Whether it is the database that is gone, rather than a statement that is wrong.
fn is_outage<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(error) if is_gone(error))
}

/// Whether this error will pass when the database comes back: the same statement may succeed later.
pub(crate) fn is_gone(error: &Error) -> bool {
    error.is_unreachable()
        || matches!(
            error,
            Error::Busy(_) | Error::Missing(_) | Error::Io { .. } | Error::ReadOnly(_)
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::db::Access;
    use shared::db::Insert;
    use shared::db::Select;

    #[test]
    fn modules_with_one_url_share_a_pool() {
        let dir = tempfile::tempdir().unwrap();
        let url = Url::sqlite(dir.path().join("a.db"));
        drop(shared::db::open_with(&url, Access::Create).unwrap());
        let text = format!("sqlite:///{}", dir.path().join("a.db").display());
        let (a, b) = (Database::shared(&text).unwrap(), Database::shared(&text).unwrap());
        assert!(Arc::ptr_eq(&a, &b));
        a.with(|db| db.raw("CREATE TABLE t (x INTEGER)", &[]).map(drop))
            .unwrap();
        b.with(|db| db.insert(&Insert::into("t").set("x", 5))).unwrap();
        assert_eq!(a.with(|db| db.count(&Select::from("t"))).unwrap(), 1);
        assert_eq!(a.idle.lock().len(), 1);
        assert!(a.with(|db| db.count(&Select::from("no_such_table"))).is_err());
        assert!(!a.is_failing());
    }

    #[test]
    fn a_missing_database_is_an_outage() {
        let pool = Database::shared("sqlite:////nonexistent/folder/x.db").unwrap();
        assert!(pool.with(|db| db.count(&Select::from("t"))).is_err());
        assert!(pool.is_failing());
        assert!(Database::shared("nonsense").is_err());
    }
}
