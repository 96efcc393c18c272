//! Kamailio's log levels and syslog's facilities (core cookbook, `debug`, `log_facility`).

use std::fmt;

/// How grave a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Act at once.
    Alert = -5,
    /// A mistake of ours.
    Bug = -4,
    /// The service is at stake.
    Critical = -3,
    /// Something failed that an operator must see to.
    Error = -1,
    /// Something is not as it should be.
    Warning = 0,
    /// Worth knowing.
    Notice = 1,
    /// What goes on.
    Info = 2,
    /// Every step.
    Debug = 3,
}

impl Level {
    /// All of them, the gravest first.
    pub const ALL: [Self; 8] = [
        Self::Alert,
        Self::Bug,
        Self::Critical,
        Self::Error,
        Self::Warning,
        Self::Notice,
        Self::Info,
        Self::Debug,
    ];

    /// The level of a number; Kamailio has two for critical.
    pub fn from_number(n: i64) -> Self {
        match n {
            ..=-5 => Self::Alert,
            -4 => Self::Bug,
            -3 | -2 => Self::Critical,
            -1 => Self::Error,
            0 => Self::Warning,
            1 => Self::Notice,
            2 => Self::Info,
            3.. => Self::Debug,
        }
    }

    /// The level of a name as scripts and tools spell it: `L_ERR`, `err`, `error`, `dbg`, a number.
    pub fn from_name(name: &str) -> Option<Self> {
        if let Ok(n) = name.parse() {
            return Some(Self::from_number(n));
        }
        let lower = name.to_ascii_lowercase();
        match lower.strip_prefix("l_").unwrap_or(&lower) {
            "alert" => Some(Self::Alert),
            "bug" => Some(Self::Bug),
            "crit" | "critical" | "crit2" => Some(Self::Critical),
            "err" | "error" => Some(Self::Error),
            "warn" | "warning" => Some(Self::Warning),
            "notice" => Some(Self::Notice),
            "info" => Some(Self::Info),
            "dbg" | "debug" => Some(Self::Debug),
            _ => None,
        }
    }

    /// Its number in `debug=`.
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// Its name in a line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alert => "ALERT",
            Self::Bug => "BUG",
            Self::Critical => "CRITICAL",
            Self::Error => "ERROR",
            Self::Warning => "WARNING",
            Self::Notice => "NOTICE",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
        }
    }

    /// Severity in syslog (RFC 5424 §6.2.1).
    pub(super) const fn severity(self) -> u8 {
        match self {
            Self::Alert => 1,
            Self::Bug | Self::Critical => 2,
            Self::Error => 3,
            Self::Warning => 4,
            Self::Notice => 5,
            Self::Info => 6,
            Self::Debug => 7,
        }
    }

    /// Colour on a terminal (`-e`).
    pub(super) const fn colour(self) -> &'static str {
        match self {
            Self::Alert | Self::Bug | Self::Critical => "\x1b[1;31m",
            Self::Error => "\x1b[31m",
            Self::Warning => "\x1b[33m",
            Self::Notice => "\x1b[36m",
            Self::Info => "\x1b[32m",
            Self::Debug => "\x1b[2m",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The number of a facility by its name: `LOG_LOCAL0`, `local0`.
pub fn facility(name: &str) -> Option<u8> {
    let lower = name.to_ascii_lowercase();
    let known = [
        ("kern", 0),
        ("user", 1),
        ("mail", 2),
        ("daemon", 3),
        ("auth", 4),
        ("syslog", 5),
        ("lpr", 6),
        ("news", 7),
        ("uucp", 8),
        ("cron", 9),
        ("authpriv", 10),
        ("ftp", 11),
        ("local0", 16),
        ("local1", 17),
        ("local2", 18),
        ("local3", 19),
        ("local4", 20),
        ("local5", 21),
        ("local6", 22),
        ("local7", 23),
    ];
    let short = lower.strip_prefix("log_").unwrap_or(&lower);
    known
        .into_iter()
        .find(|(n, _)| *n == short)
        .map(|(_, number)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_by_name_and_number() {
        for level in Level::ALL {
            assert_eq!(Level::from_name(level.name()), Some(level));
            assert_eq!(Level::from_number(level.number().into()), level);
        }
        let table = [
            ("L_ERR", Level::Error),
            ("dbg", Level::Debug),
            ("-1", Level::Error),
            ("9", Level::Debug),
        ];
        for (name, level) in table {
            assert_eq!(Level::from_name(name), Some(level), "{name}");
        }
        assert_eq!(Level::from_name("loud"), None);
        assert_eq!(
            (facility("LOG_LOCAL0"), facility("daemon"), facility("x")),
            (Some(16), Some(3), None)
        );
    }
}
