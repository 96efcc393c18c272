//! Kamailio's log levels and line form (core cookbook, `debug`, `log_stderror`, `log_facility`), to stderr or syslog.

use std::cell::Cell;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::hash::BuildHasher;
use std::hash::Hasher;
use std::io;
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicI32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::RwLock;

use line::json_line;
use line::kamailio_line;

mod level;
mod line;

pub use level::Level;
pub use level::facility;

/// Equal lines of one thread within a second, after which they are only counted.
const FOLD_AFTER: u64 = 100;
/// The longest line.
const LONGEST: usize = 64 << 10;

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// ` N(pid) LEVEL: module: text`.
    #[default]
    Kamailio,
    /// One JSON object a line.
    Json,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard error.
    Stderr {
        /// In colours.
        colour: bool,
    },
    /// The system's log daemon.
    Syslog {
        /// `LOG_DAEMON`, `LOG_LOCAL0` and so on, as number.
        facility: u8,
        /// Name of the program.
        ident: String,
    },
}

struct Sink {
    destination: Destination,
    format: Format,
    socket: Option<UnixDatagram>,
}

static LEVEL: AtomicI32 = AtomicI32::new(Level::Info as i32);
/// The highest of the level and of all module levels: what is above it is filtered out by one load.
static CEILING: AtomicI32 = AtomicI32::new(Level::Info as i32);
static BY_MODULE: AtomicBool = AtomicBool::new(false);
static MODULES: LazyLock<RwLock<BTreeMap<String, i32>>> = LazyLock::new(RwLock::default);
static LOST: AtomicU64 = AtomicU64::new(0);
static SINK: LazyLock<ArcSwap<Sink>> = LazyLock::new(|| {
    let destination = Destination::Stderr { colour: false };
    ArcSwap::from_pointee(Sink {
        destination,
        format: Format::Kamailio,
        socket: None,
    })
});

thread_local! {
    static WORKER: Cell<u32> = const { Cell::new(0) };
    static PREFIX: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static LINE: RefCell<Line> = RefCell::new(Line::default());
}

#[derive(Default)]
struct Line {
    text: String,
    out: String,
    fold: Fold,
}

/// Counts equal lines.
#[derive(Default)]
struct Fold {
    hash: u64,
    level: Option<Level>,
    since: Option<Instant>,
    count: u64,
}

impl Fold {
    /// Whether this line is only counted, and how many were until now if the counting ends with it.
    fn see(&mut self, hash: u64, level: Level, now: Instant) -> (bool, Option<(Level, u64)>) {
        let fresh = self
            .since
            .is_some_and(|since| now.duration_since(since) < Duration::from_secs(1));
        if self.hash == hash && fresh {
            self.count += 1;
            return (self.count > FOLD_AFTER, None);
        }
        let ended = self.end();
        *self = Self {
            hash,
            level: Some(level),
            since: Some(now),
            count: 1,
        };
        (false, ended)
    }

    fn end(&mut self) -> Option<(Level, u64)> {
        let folded = self.count.saturating_sub(FOLD_AFTER);
        self.count = self.count.min(FOLD_AFTER);
        self.level.filter(|_| folded > 0).map(|level| (level, folded))
    }
}

/// Whether lines go to standard error.
pub fn is_on_stderr() -> bool {
    matches!(SINK.load().destination, Destination::Stderr { .. })
}

/// Sets where lines go, and how they look. Where there is no log daemon, they go to stderr.
pub fn configure(destination: Destination, format: Format) {
    let socket = match &destination {
        Destination::Stderr { .. } => None,
        Destination::Syslog { .. } => connect_syslog(),
    };
    SINK.store(std::sync::Arc::new(Sink {
        destination,
        format,
        socket,
    }));
}

fn connect_syslog() -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    socket.connect("/dev/log").ok()?;
    Some(socket)
}

/// The level in force (`debug=`).
pub fn level() -> i32 {
    LEVEL.load(Relaxed)
}

/// Sets the level.
pub fn set_level(level: i32) {
    LEVEL.store(level, Relaxed);
    set_ceiling();
}

/// Sets or unsets the level of one module (`mod_level` of `debugger`).
pub fn set_module_level(module: &str, level: Option<i32>) {
    let mut modules = MODULES.write();
    match level {
        Some(level) => modules.insert(module.to_owned(), level),
        None => modules.remove(module),
    };
    BY_MODULE.store(!modules.is_empty(), Relaxed);
    drop(modules);
    set_ceiling();
}

/// The level of one module, if it has its own.
pub fn module_level(module: &str) -> Option<i32> {
    MODULES.read().get(module).copied()
}

fn set_ceiling() {
    let highest = MODULES.read().values().copied().max();
    CEILING.store(highest.map_or(level(), |h| h.max(level())), Relaxed);
}

/// Whether a line of that level may be written: ask before making its text.
pub fn enabled(level: Level) -> bool {
    level.number() <= CEILING.load(Relaxed)
}

/// Whether a line of that module and level is written.
pub fn enabled_for(module: &str, level: Level) -> bool {
    if !enabled(level) {
        return false;
    }
    let own = if BY_MODULE.load(Relaxed) {
        module_level(module)
    } else {
        None
    };
    level.number() <= own.unwrap_or_else(self::level)
}

/// Sets the number that this thread's lines begin with.
pub fn set_worker(index: u32) {
    WORKER.set(index);
}

/// Sets what this thread's lines carry behind the level (`log_prefix`), until it is set again.
///
/// `write` appends it; what is logged meanwhile has none. A script may want it for every message, and few messages log.
pub fn set_prefix(write: impl FnOnce(&mut Vec<u8>)) {
    let mut prefix = PREFIX.take();
    prefix.clear();
    write(&mut prefix);
    PREFIX.set(prefix);
}

/// Lines that no log daemon took.
pub fn lost() -> u64 {
    LOST.load(Relaxed)
}

/// Writes out the count of equal lines, if any were folded: for a worker that is idle.
pub fn flush() {
    LINE.with_borrow_mut(|line| {
        if let Some((level, folded)) = line.fold.end() {
            write_folded(line, level, folded);
        }
    });
}

/// Writes a line, if its level is in force. Without a module the text stands alone, as accounting lines do.
pub fn write(level: Level, module: &str, text: fmt::Arguments<'_>) {
    if enabled_for(module, level) {
        with_text(level, module, |line| {
            // Formatting into a string fails only if a value's own formatting does.
            let _ = line.write_fmt(text);
        });
    }
}

/// Writes what a script logs; level and `debug` decide.
pub fn script(level: Level, text: &[u8]) {
    if enabled_for("xlog", level) {
        with_text(level, "<script>", |line| {
            line.push_str(&String::from_utf8_lossy(text))
        });
    }
}

/// Writes at level ALERT.
pub fn alert(module: &str, text: fmt::Arguments<'_>) {
    write(Level::Alert, module, text);
}

/// Writes at level BUG.
pub fn bug(module: &str, text: fmt::Arguments<'_>) {
    write(Level::Bug, module, text);
}

/// Writes at level CRITICAL.
pub fn critical(module: &str, text: fmt::Arguments<'_>) {
    write(Level::Critical, module, text);
}

/// Writes at level ERROR.
pub fn error(module: &str, text: fmt::Arguments<'_>) {
    write(Level::Error, module, text);
}

/// Writes at level WARNING.
pub fn warning(module: &str, text: fmt::Arguments<'_>) {
    write(Level::Warning, module, text);
}

/// Writes at level NOTICE.
pub fn notice(module: &str, text: fmt::Arguments<'_>) {
    write(Level::Notice, module, text);
}

/// Writes at level INFO.
pub fn info(module: &str, text: fmt::Arguments<'_>) {
    write(Level::Info, module, text);
}

/// Writes at level DEBUG.
pub fn debug(module: &str, text: fmt::Arguments<'_>) {
    write(Level::Debug, module, text);
}

fn with_text(level: Level, module: &str, fill: impl FnOnce(&mut String)) {
    let done = LINE.try_with(|line| {
        // A value whose formatting logs in turn: that inner line has no buffer and is left out.
        let Ok(mut line) = line.try_borrow_mut() else {
            return;
        };
        let line = &mut *line;
        line.text.clear();
        fill(&mut line.text);
        let mut hasher = HASHER.build_hasher();
        hasher.write(module.as_bytes());
        hasher.write(line.text.as_bytes());
        let (folded, ended) = line.fold.see(hasher.finish(), level, Instant::now());
        if let Some((level, n)) = ended {
            let text = std::mem::take(&mut line.text);
            write_folded(line, level, n);
            line.text = text;
        }
        if !folded {
            emit(line, level, module);
        }
    });
    // The thread ends and its buffer is gone.
    let _ = done;
}

static HASHER: LazyLock<ahash::RandomState> = LazyLock::new(ahash::RandomState::new);

fn write_folded(line: &mut Line, level: Level, n: u64) {
    line.text.clear();
    let _ = write!(line.text, "the last line was repeated {n} times more");
    emit(line, level, "<core>");
}

fn emit(line: &mut Line, level: Level, module: &str) {
    if line.text.len() > LONGEST {
        let cut = (0..=LONGEST)
            .rev()
            .find(|at| line.text.is_char_boundary(*at))
            .unwrap_or(0);
        line.text.truncate(cut);
    }
    let sink = SINK.load();
    line.out.clear();
    PREFIX.with_borrow(|prefix| {
        let prefix = &String::from_utf8_lossy(prefix);
        let _ = match sink.format {
            Format::Json => json_line(&mut line.out, level, module, prefix, &line.text),
            Format::Kamailio => kamailio_line(&mut line.out, level, module, prefix, &line.text, &sink),
        };
    });
    match (&sink.destination, &sink.socket) {
        (Destination::Syslog { .. }, Some(socket)) => {
            if socket.send(line.out.as_bytes()).is_err() {
                LOST.fetch_add(1, Relaxed);
                reconnect(&sink);
            }
        }
        _ => {
            // One call for one line, so that lines of several threads do not mix.
            let _ = io::stderr().lock().write_all(line.out.as_bytes());
        }
    }
    line.text.shrink_to(4096);
    line.out.shrink_to(4096);
}

/// A log daemon that was restarted has a new socket; it is looked for once a second at most.
fn reconnect(sink: &Sink) {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = crate::clock::wall().as_secs();
    if LAST.swap(now, Relaxed) != now && connect_syslog().is_some() {
        configure(sink.destination.clone(), sink.format);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_may_have_its_own_level() {
        set_module_level("noisy", Some(3));
        set_module_level("quiet", Some(-1));
        assert!(enabled(Level::Debug) && enabled_for("noisy", Level::Debug));
        assert!(!enabled_for("quiet", Level::Warning) && !enabled_for("other", Level::Debug));
        set_module_level("noisy", None);
        set_module_level("quiet", None);
        assert!(!enabled(Level::Debug));
    }

    #[test]
    fn a_flood_is_counted() {
        let (mut fold, start) = (Fold::default(), Instant::now());
        for _ in 0..FOLD_AFTER {
            assert_eq!(fold.see(1, Level::Error, start), (false, None));
        }
        for _ in 0..7 {
            assert_eq!(fold.see(1, Level::Error, start), (true, None));
        }
        assert_eq!(fold.see(2, Level::Info, start), (false, Some((Level::Error, 7))));
        assert_eq!(fold.end(), None);
        for _ in 0..=FOLD_AFTER {
            fold.see(2, Level::Info, start);
        }
        let later = start + Duration::from_secs(2);
        assert_eq!(fold.see(2, Level::Info, later), (false, Some((Level::Info, 2))));
    }
}
