//! The rows of the benchmark's table: what is loaded, how the server is set up, and the ratio aimed at.

use crate::load::Load;

/// One row.
pub struct Row {
    /// What `--only` selects it by.
    pub name: &'static str,
    /// What the table calls it.
    pub title: &'static str,
    /// How it is measured.
    pub kind: Kind,
    /// What each transaction is.
    pub load: Load,
    /// How many users take part.
    pub users: u32,
    /// Transactions open at a time when saturating.
    pub window: usize,
    /// Definitions for the tuned script.
    pub defines: &'static [&'static str],
    /// What the database holds before the start.
    pub database: Database,
    /// Whether the stock script is measured too, and with authentication.
    pub stock: Stock,
    /// Whether what no server can beat is measured too.
    pub floor: bool,
    /// The ratio to tuned Kamailio aimed at.
    pub goal_tuned: Option<f64>,
    /// The ratio to stock Kamailio aimed at.
    pub goal_stock: Option<f64>,
}

/// How a row is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Alternating rounds on servers that stay up: saturated, then at half of Kamailio's rate.
    Steady,
    /// A fresh server each round, filled with this many contacts.
    Fill(u32),
    /// A fresh server each round on a database with this many contacts, until it answers for the last of them.
    Start(u32),
    /// A fresh server each round: saturated, then at one and a half times the rate it reached.
    Overload,
    /// A fresh server each round: with one worker on one processor, then on two with these definitions, which ask for two.
    Workers(&'static [&'static str]),
}

/// What the database holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    /// There is none.
    None,
    /// SQLite with as many subscribers as the row has users.
    Sqlite,
    /// SQLite with this many subnets in the address table, the generator's own before all others.
    AddressesOwnFirst(u32),
    /// The same, the generator's own after all others.
    AddressesOwnLast(u32),
    /// MariaDB with as many subscribers as the row has users.
    MariaDb,
}

/// Whether Kamailio's own script is measured too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stock {
    /// It is not.
    Absent,
    /// As it is.
    Plain,
    /// With `WITH_AUTH`, so that every request is challenged.
    Challenged,
}

const STEADY: Row = Row {
    name: "",
    title: "",
    kind: Kind::Steady,
    load: Load::Options,
    users: 20_000,
    window: 128,
    defines: &[],
    database: Database::None,
    stock: Stock::Absent,
    floor: false,
    goal_tuned: None,
    goal_stock: None,
};

/// Every row, in the order of the table.
pub const ROWS: &[Row] = &[
    Row {
        name: "options",
        title: "OPTIONS answered by the script",
        stock: Stock::Plain,
        floor: true,
        goal_tuned: Some(0.65),
        goal_stock: Some(0.25),
        ..STEADY
    },
    Row {
        name: "refresh",
        title: "REGISTER refresh, memory only",
        load: Load::RegisterRefresh,
        stock: Stock::Plain,
        goal_tuned: Some(0.60),
        goal_stock: Some(0.25),
        ..STEADY
    },
    Row {
        name: "new",
        title: "REGISTER new contact, 100,000",
        kind: Kind::Fill(100_000),
        load: Load::RegisterNew,
        users: 100_000,
        goal_tuned: Some(0.50),
        ..STEADY
    },
    Row {
        name: "unknown",
        title: "INVITE to an unknown user: 404, ACK",
        load: Load::InviteUnknown,
        stock: Stock::Challenged,
        goal_tuned: Some(0.75),
        goal_stock: Some(0.15),
        ..STEADY
    },
    Row {
        name: "call",
        title: "call INVITE-180-200-ACK-BYE-200, relayed",
        load: Load::Call,
        users: 1000,
        window: 64,
        stock: Stock::Challenged,
        goal_tuned: Some(0.45),
        goal_stock: Some(0.20),
        ..STEADY
    },
    Row {
        name: "digest",
        title: "REGISTER, digest from SQLite, challenged",
        load: Load::RegisterDigest,
        defines: &["WITH_AUTH"],
        database: Database::Sqlite,
        stock: Stock::Challenged,
        goal_tuned: Some(0.35),
        goal_stock: Some(0.20),
        ..STEADY
    },
    Row {
        name: "nonce",
        title: "REGISTER, digest from SQLite, nonce reused",
        load: Load::RegisterNonceReused,
        defines: &["WITH_AUTH"],
        database: Database::Sqlite,
        goal_tuned: Some(0.30),
        ..STEADY
    },
    Row {
        name: "mariadb",
        title: "REGISTER, digest from MariaDB, server included",
        load: Load::RegisterDigest,
        defines: &["WITH_AUTH", "WITH_MARIADB"],
        database: Database::MariaDb,
        goal_tuned: Some(0.25),
        ..STEADY
    },
    Row {
        name: "through",
        title: "REGISTER written through to SQLite (mode 1)",
        load: Load::RegisterRefresh,
        users: 500,
        window: 32,
        defines: &["WITH_WRITE_THROUGH"],
        database: Database::Sqlite,
        goal_tuned: Some(0.10),
        ..STEADY
    },
    Row {
        name: "address",
        title: "OPTIONS, source is the first of 100,000 subnets",
        defines: &["WITH_ADDRESS"],
        database: Database::AddressesOwnFirst(100_000),
        goal_tuned: Some(0.50),
        ..STEADY
    },
    Row {
        name: "address-last",
        title: "OPTIONS, source is the last of 100,000 subnets",
        defines: &["WITH_ADDRESS"],
        database: Database::AddressesOwnLast(100_000),
        goal_tuned: Some(0.50),
        ..STEADY
    },
    Row {
        name: "million",
        title: "REGISTER new contact, 1,000,000",
        kind: Kind::Fill(1_000_000),
        load: Load::RegisterNew,
        users: 1_000_000,
        goal_tuned: Some(0.50),
        ..STEADY
    },
    Row {
        name: "start",
        title: "start with 100,000 persisted contacts",
        kind: Kind::Start(100_000),
        defines: &["WITH_LOAD"],
        database: Database::Sqlite,
        goal_tuned: Some(0.25),
        ..STEADY
    },
    Row {
        name: "overload",
        title: "calls past saturation: goodput at 1.5 times the most",
        kind: Kind::Overload,
        defines: &["WITH_WORK"],
        load: Load::Call,
        users: 1000,
        window: 32,
        ..STEADY
    },
    Row {
        name: "workers",
        title: "OPTIONS with two workers on two processors",
        kind: Kind::Workers(&["WITH_TWO_WORKERS"]),
        ..STEADY
    },
    Row {
        name: "workers-call",
        title: "calls with two workers on two processors, each counting to a thousand",
        kind: Kind::Workers(&["WITH_TWO_WORKERS", "WITH_WORK"]),
        defines: &["WITH_WORK"],
        load: Load::Call,
        users: 1000,
        ..STEADY
    },
];
