//! The journal against a database of its own.

use super::super::contact::Binding;
use super::super::rows::COLUMNS;
use super::*;
use shared::db::Access;
use shared::db::Select;
use shared::db::Url;
use shared::db::schema;

struct Bench {
    _dir: tempfile::TempDir,
    path: std::path::PathBuf,
    database: Arc<Database>,
    journal: Arc<Journal>,
    writer: Option<std::thread::JoinHandle<()>>,
}

fn layout() -> Layout {
    Layout::new(
        COLUMNS.iter().map(|(_, name)| (*name).to_owned()).collect(),
        false,
        false,
    )
}

fn create(path: &std::path::Path) {
    let mut db = shared::db::open_with(&Url::sqlite(path), Access::Create).unwrap();
    let tables = ["version", "location", "location_attrs"].map(|name| schema::table(name).unwrap());
    schema::create(&mut *db, &tables).unwrap();
}

impl Bench {
    fn new(pace: Pace) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("loc.db");
        create(&path);
        let database = Database::shared(&format!("sqlite:///{}", path.display())).unwrap();
        let journal = Arc::new(Journal::new(Arc::clone(&database), layout(), pace, true));
        journal.add_table(Table {
            name: "location".into(),
            each: Box::new(|_| ()),
        });
        let run = Arc::clone(&journal);
        let writer = Some(std::thread::spawn(move || run.run()));
        Self {
            _dir: dir,
            path,
            database,
            journal,
            writer,
        }
    }

    fn put(&self, ruid: &str, expires: u32) -> u64 {
        let attributes = [1, b'a', 0, 1, 0, b'x'];
        let binding = Binding {
            aor: b"alice",
            ruid: ruid.as_bytes(),
            address: b"sip:a@h",
            expires,
            attributes: &attributes,
            ..Binding::default()
        };
        self.journal
            .sink(0)
            .put(OwnedContact::of(&binding).unwrap().view(), true)
    }

    fn remove(&self, ruid: &str) {
        let binding = Binding {
            aor: b"alice",
            ruid: ruid.as_bytes(),
            ..Binding::default()
        };
        self.journal
            .sink(0)
            .remove(OwnedContact::of(&binding).unwrap().view());
    }

    fn rows(&self) -> Vec<(String, i64)> {
        let select = Select::from("location")
            .columns(&["ruid", "expires"])
            .order_by("ruid");
        let rows = self.database.with(|db| db.query(&select)).unwrap();
        rows.iter()
            .map(|row| (row.str("ruid").unwrap().to_owned(), row.time("expires").unwrap()))
            .collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.journal.stop();
        self.writer.take().unwrap().join().unwrap();
    }
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn what_is_waited_for_is_there() {
    let bench = Bench::new(Pace::Through);
    let sequence = bench.put("r1", 5000);
    assert!(bench.journal.wait(sequence, LONG));
    assert_eq!(bench.rows(), [("r1".to_owned(), 5000)]);
    bench.put("r1", 6000);
    bench.put("r2", 7000);
    bench.put("r3", 1);
    bench.remove("r3");
    let (tell, told) = std::sync::mpsc::channel();
    bench.journal.when_committed(
        bench.journal.appended(),
        Box::new(move |done| tell.send(done).unwrap()),
    );
    assert_eq!(told.recv_timeout(LONG), Ok(true));
    assert_eq!(bench.rows(), [("r1".to_owned(), 6000), ("r2".to_owned(), 7000)]);
    assert_eq!(
        bench
            .database
            .with(|db| db.count(&Select::from("location_attrs")))
            .unwrap(),
        2
    );
    bench.remove("r1");
    assert!(bench.journal.wait(bench.journal.appended(), LONG));
    assert_eq!(
        bench
            .database
            .with(|db| db.count(&Select::from("location_attrs")))
            .unwrap(),
        1
    );
}

#[test]
fn many_changes_share_a_commit_and_the_last_counts() {
    let bench = Bench::new(Pace::Back(Duration::from_secs(3600)));
    for n in 0..1000 {
        bench.put(&format!("r{:04}", n % 250), 10_000 + n);
    }
    assert!(bench.rows().is_empty());
    assert!(bench.journal.flush(LONG));
    let rows = bench.rows();
    assert_eq!(rows.len(), 250);
    assert_eq!(rows.first(), Some(&("r0000".to_owned(), 10_750)));
}

#[test]
fn everything_is_written_at_the_end() {
    let bench = Bench::new(Pace::Back(Duration::from_secs(3600)));
    bench.put("r1", 5000);
    let path = bench.path.clone();
    let database = Arc::clone(&bench.database);
    bench.journal.stop();
    while bench.journal.committed() < bench.journal.appended() {
        std::thread::yield_now();
    }
    assert!(path.exists());
    assert_eq!(
        database.with(|db| db.count(&Select::from("location"))).unwrap(),
        1
    );
}

#[test]
fn an_outage_is_told_and_made_good() {
    let bench = Bench::new(Pace::Through);
    assert!(bench.journal.wait(bench.put("r1", 5000), LONG));
    bench
        .database
        .with(|db| db.raw("ALTER TABLE location RENAME TO gone", &[]).map(drop))
        .unwrap();
    // A table that is not there is no outage: the change is logged and dropped, and others are not held up.
    assert!(bench.journal.wait(bench.put("r2", 5000), LONG));
    bench
        .database
        .with(|db| db.raw("ALTER TABLE gone RENAME TO location", &[]).map(drop))
        .unwrap();
    assert!(bench.journal.wait(bench.put("r3", 5000), LONG));
    assert_eq!(bench.rows().len(), 2);
}

#[test]
fn a_database_that_comes_back_gets_what_it_missed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("late.db");
    let database = Database::shared(&format!("sqlite:///{}", path.display())).unwrap();
    let journal = Arc::new(Journal::new(
        Arc::clone(&database),
        layout(),
        Pace::Through,
        false,
    ));
    journal.add_table(Table {
        name: "location".into(),
        each: Box::new(|_| ()),
    });
    let run = Arc::clone(&journal);
    let writer = std::thread::spawn(move || run.run());
    let binding = Binding {
        aor: b"alice",
        ruid: b"r1",
        ..Binding::default()
    };
    let sequence = journal
        .sink(0)
        .put(OwnedContact::of(&binding).unwrap().view(), true);
    assert!(!journal.wait(sequence, LONG), "whoever waits is told at once");
    create(&path);
    let until = Instant::now() + LONG;
    while journal.committed() < sequence && Instant::now() < until {
        std::thread::yield_now();
    }
    assert_eq!(
        database.with(|db| db.count(&Select::from("location"))).unwrap(),
        1
    );
    journal.stop();
    writer.join().unwrap();
}
