//! The command line, from which help, completions and man pages are made.

use std::path::PathBuf;

use clap::Parser;
use clap::Subcommand;
use shared::report::Output;

const EXAMPLES: &str = "\
Examples:
  dbctl create                                     the embedded database, standard tables
  dbctl --db-url sqlite:///tmp/p.db create --all   with presence and extra tables
  DBENGINE=MYSQL DBROOTPW=secret dbctl create      a MySQL database with its accounts
  dbctl version location                           the version of one table
  dbctl migrate --dry-run                          what an upgrade would change
  dbctl backup proxyd.backup                       every table into one file
  dbctl copy sqlite:///old.db mysql://u:p@db/new   from one engine to another

The database is that of --db-url, of DB_URL, of DBENGINE with DB_PATH or with DBHOST, DBPORT, \
DBNAME, DBRWUSER and DBRWPW (environment or resource file), or the embedded SQLite file.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 not found, 4 already exists, \
6 database not reachable.";

/// Creates, upgrades, backs up, restores and checks the database.
#[derive(Debug, Parser)]
#[command(name = "dbctl", bin_name = "dbctl", version, after_help = EXAMPLES, disable_help_subcommand = true, arg_required_else_help = true)]
pub(crate) struct Args {
    /// Database: sqlite:///path, mysql://user:password@host/name, postgres://… or text:///folder
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) db_url: Option<String>,

    /// Folder with database, socket and resource file [env: PROXYD_HOME]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,

    /// Resource file, a kamctlrc too [env: PROXYCTLRC]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) rc: Option<PathBuf>,

    /// Form of the answer: table, json, yaml, csv or plain [default: table on a terminal, else plain]
    #[arg(short, long, global = true, value_name = "FORM")]
    pub(crate) output: Option<Output>,

    /// Say nothing when all went well
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,

    /// Say yes to every question about deleting or replacing
    #[arg(short, long, global = true)]
    pub(crate) yes: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create the database with the standard tables; what exists is left as it is
    #[command(
        after_help = "Examples:\n  dbctl create\n  dbctl create --all\n  DBENGINE=MYSQL DBROOTPW=secret dbctl create"
    )]
    Create {
        /// Name of the database, path of the file or folder
        name: Option<String>,
        /// Create the presence tables too
        #[arg(long)]
        presence: bool,
        /// Create the extra tables too
        #[arg(long)]
        extra: bool,
        /// Create the tables of the uid modules too
        #[arg(long)]
        uid: bool,
        /// Create presence and extra tables too
        #[arg(long)]
        all: bool,
    },
    /// Delete the database with everything in it
    #[command(after_help = "Examples:\n  dbctl drop\n  dbctl --yes drop")]
    Drop {
        /// Name of the database, path of the file or folder
        name: Option<String>,
    },
    /// Delete the database and create it anew
    #[command(after_help = "Examples:\n  dbctl --yes reinit")]
    Reinit {
        /// Name of the database, path of the file or folder
        name: Option<String>,
    },
    /// Show the versions of the tables, found and wanted
    #[command(after_help = "Examples:\n  dbctl version\n  dbctl version location")]
    Version {
        /// One table
        table: Option<String>,
    },
    /// Show the tables, or the rows of one
    #[command(after_help = "Examples:\n  dbctl show\n  dbctl show subscriber --limit 10")]
    Show {
        /// One table
        table: Option<String>,
        /// At most so many rows
        #[arg(long, value_name = "ROWS")]
        limit: Option<u64>,
        /// Show passwords and digests
        #[arg(long)]
        secrets: bool,
    },
    /// Add the presence tables
    #[command(after_help = "Examples:\n  dbctl presence")]
    Presence,
    /// Add the extra tables
    #[command(after_help = "Examples:\n  dbctl extra")]
    Extra,
    /// Add the tables of the uid modules
    #[command(after_help = "Examples:\n  dbctl dbuid")]
    Dbuid,
    /// Add tables of a group (standard, presence, extra, uid), of a module, or single ones
    #[command(after_help = "Examples:\n  dbctl add-tables presence\n  dbctl add-tables htable mtree")]
    AddTables {
        /// Groups, modules or tables
        #[arg(required = true, value_name = "GROUP")]
        groups: Vec<String>,
    },
    /// Create an empty database
    #[command(after_help = "Examples:\n  dbctl dbonly\n  dbctl --db-url mysql://u:p@db/new dbonly")]
    Dbonly {
        /// Name of the database, path of the file or folder
        name: Option<String>,
    },
    /// Write every table into a file, `-` for standard output
    #[command(
        after_help = "Examples:\n  dbctl backup proxyd.backup\n  dbctl backup - | gzip > proxyd.backup.gz"
    )]
    Backup {
        /// The file
        file: PathBuf,
    },
    /// Replace the tables of a backup by its contents; an SQL script (mysqldump, pg_dump, sqlite3 .dump) is run as it is
    #[command(
        after_help = "Examples:\n  dbctl restore proxyd.backup\n  zcat proxyd.backup.gz | dbctl --yes restore -\n  dbctl --yes restore dump.sql"
    )]
    Restore {
        /// The file, `-` for standard input
        file: PathBuf,
    },
    /// Copy every table into another database, which is created when it does not exist
    #[command(
        after_help = "Examples:\n  dbctl copy mysql://u:p@db/kamailio sqlite:///tmp/p.db\n  dbctl copy postgres://u:p@db/new"
    )]
    Copy {
        /// The source and the target, or only the target: URLs, names or paths
        #[arg(required = true, num_args = 1..=2, value_names = ["FROM", "TO"])]
        databases: Vec<String>,
    },
    /// Bring older tables up to the versions this program knows
    #[command(after_help = "Examples:\n  dbctl migrate --dry-run\n  dbctl migrate")]
    Migrate {
        /// Only say what would change
        #[arg(long)]
        dry_run: bool,
    },
    /// Look for missing tables, wrong versions, columns and keys unlike the schema's, wrong rows and damage
    #[command(after_help = "Examples:\n  dbctl check\n  dbctl --output json check")]
    Check,
    /// Create the accounts DBRWUSER and DBROUSER and give them their rights
    #[command(after_help = "Examples:\n  DBROOTPW=secret dbctl --db-url mysql://u:p@db/proxyd grant")]
    Grant {
        /// Name of the database
        name: Option<String>,
    },
    /// Take the rights from DBRWUSER and DBROUSER
    #[command(after_help = "Examples:\n  DBROOTPW=secret dbctl --db-url mysql://u:p@db/proxyd revoke")]
    Revoke {
        /// Name of the database
        name: Option<String>,
    },
}
