//! The command line of the daemon: Kamailio's options (kamailio(8)) and their long forms.

use crate::transport::waiting::Waiting;
use clap::ArgAction;
use clap::Parser;
use clap::ValueEnum;
use std::path::PathBuf;
use std::time::Duration;

/// A SIP proxy and registrar that runs Kamailio-language routing scripts.
///
/// Without -f it runs its built-in script on an embedded database, which it creates at the first start.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "proxyd",
    version,
    disable_version_flag = true,
    disable_help_flag = true,
    after_help = "Examples:\n  proxyd -DD -E                         run in the foreground with the built-in script\n  \
                  proxyd -f kamailio.cfg -c             check a script and exit\n  \
                  proxyd -f kamailio.cfg -l udp:10.0.0.1:5060 -A WITH_AUTH\n"
)]
pub struct Args {
    /// The routing script.
    #[arg(short = 'f', long = "config", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Check the script and exit: 0 when it is good, 1 when not.
    #[arg(short = 'c', long = "check")]
    pub check: bool,

    /// How -c reports.
    #[arg(long, value_enum, default_value_t = CheckOutput::Text)]
    pub output: CheckOutput,

    /// Sockets to listen on.
    #[arg(
        short = 'l',
        long = "listen",
        value_name = "SOCKET",
        help = "Listen on this socket: udp:10.0.0.1:5060, tcp:[::1]:5060, an interface; may be repeated"
    )]
    pub listen: Vec<String>,

    /// Define this name, as #!define does; may be repeated.
    #[arg(short = 'A', long = "define", value_name = "NAME[=VALUE]", value_parser = a_define)]
    pub define: Vec<String>,

    /// Where modules are looked for (accepted; modules are built in).
    #[arg(short = 'L', long = "modules-path", value_name = "PATH", hide = true)]
    pub modules_path: Option<String>,

    /// Load this module before the script.
    #[arg(long = "loadmodule", value_name = "NAME")]
    pub loadmodule: Vec<String>,

    /// Set a module parameter: module:param:type:value, type s or i.
    #[arg(long = "modparam", value_name = "MOD:PARAM:TYPE:VALUE", value_parser = a_modparam)]
    pub modparam: Vec<String>,

    /// A name this proxy answers to; may be repeated.
    #[arg(long = "alias", value_name = "NAME")]
    pub alias: Vec<String>,

    /// The folder of run-time files: control socket, FIFO.
    #[arg(short = 'Y', long = "runtime-dir", value_name = "DIR")]
    pub runtime_dir: Option<PathBuf>,

    /// Put database, control socket and resource file in this folder.
    #[arg(long, value_name = "DIR", env = "PROXYD_HOME")]
    pub home: Option<PathBuf>,

    /// The mode of the control sockets.
    #[arg(long = "control-mode", value_name = "MODE", default_value = "0660", value_parser = a_mode)]
    pub control_mode: u32,

    /// The owner of the control sockets.
    #[arg(long = "control-user", value_name = "USER")]
    pub control_user: Option<String>,

    /// The group of the control sockets.
    #[arg(long = "control-group", value_name = "GROUP")]
    pub control_group: Option<String>,

    /// Open a second control socket here, for methods that only read.
    #[arg(long = "monitor-socket", value_name = "PATH")]
    pub monitor_socket: Option<PathBuf>,

    /// The methods of the second control socket, `name.*` for those of a module; unless told, all that only read.
    #[arg(
        long = "monitor-methods",
        value_name = "LIST",
        value_delimiter = ',',
        requires = "monitor_socket"
    )]
    pub monitor_methods: Vec<String>,

    /// The mode of the second control socket, where it differs.
    #[arg(long = "monitor-mode", value_name = "MODE", value_parser = a_mode, requires = "monitor_socket")]
    pub monitor_mode: Option<u32>,

    /// The group of the second control socket, where it differs.
    #[arg(long = "monitor-group", value_name = "GROUP", requires = "monitor_socket")]
    pub monitor_group: Option<String>,

    /// Write the process id to this file.
    #[arg(short = 'P', long = "pid-file", value_name = "FILE")]
    pub pid_file: Option<PathBuf>,

    /// Change to this folder.
    #[arg(short = 'w', long = "working-dir", value_name = "DIR")]
    pub working_dir: Option<PathBuf>,

    /// Worker threads for each UDP socket (at most one for each core).
    #[arg(short = 'n', long = "children", value_name = "N")]
    pub children: Option<usize>,

    /// How long a worker sleeps at middling rates so that datagrams gather, instead of being woken for each; 0: never.
    #[arg(long = "coalesce", value_name = "MICROSECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=1000))]
    pub coalesce: u64,

    /// How long a worker looks for datagrams after each batch before it sleeps; 0: not at all. It shortens latencies by
    /// the time of a waking and keeps a processor busy meanwhile.
    #[arg(long = "busy-poll", value_name = "MICROSECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=1000), conflicts_with = "coalesce")]
    pub busy_poll: u64,

    /// Log to stderr.
    #[arg(short = 'E', long = "log-stderr")]
    pub log_stderr: bool,

    /// Log to stderr in colours (accepted, same as -E).
    #[arg(short = 'e', long = "log-color")]
    pub log_color: bool,

    /// How log lines look.
    #[arg(long = "log-format", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// The syslog facility: daemon, local0…
    #[arg(long = "log-facility", value_name = "NAME")]
    pub log_facility: Option<String>,

    /// Stay in the foreground.
    #[arg(short = 'D', long = "foreground", action = ArgAction::Count)]
    pub foreground: u8,

    /// Log more; may be repeated.
    #[arg(short = 'd', action = ArgAction::Count)]
    pub debug: u8,

    /// The log level, from -5 (alert) to 3 (debug).
    #[arg(long = "debug", value_name = "LEVEL", allow_negative_numbers = true)]
    pub debug_level: Option<i32>,

    /// Print the version; with -c, also what became of parameters without effect.
    #[arg(short = 'v', short_alias = 'V', long = "version")]
    pub version: bool,

    /// Print the version in detail.
    #[arg(short = 'I', hide = true)]
    pub version_flags: bool,

    /// Print every module, function, parameter and pseudo-variable as a reference page.
    #[arg(long = "modules")]
    pub modules: bool,

    /// Print this help.
    #[arg(short = 'h', long = "help", action = ArgAction::Help)]
    pub help: Option<bool>,

    /// Print the script with includes and defines resolved, and exit.
    #[arg(long = "cfg-print")]
    pub cfg_print: bool,

    /// A substitution as by #!subst; may be repeated.
    #[arg(long = "subst", value_name = "EXP")]
    pub subst: Vec<String>,

    /// A substitution as by #!substdef; may be repeated.
    #[arg(long = "substdef", value_name = "EXP")]
    pub substdef: Vec<String>,

    /// A substitution as by #!substdefs; may be repeated.
    #[arg(long = "substdefs", value_name = "EXP")]
    pub substdefs: Vec<String>,

    /// The number of this server.
    #[arg(long = "server-id", value_name = "N", allow_negative_numbers = true)]
    pub server_id: Option<i64>,

    /// Another log (`json` and `json:…` are --log-format json).
    #[arg(long = "log-engine", value_name = "ENGINE", hide = true)]
    pub log_engine: Option<String>,

    /// Callbacks of libraries at the end (accepted; there are none).
    #[arg(long = "atexit", value_name = "MODE", hide = true)]
    pub atexit: Option<String>,

    /// Shared memory in megabytes (accepted; memory is taken as needed).
    #[arg(short = 'm', value_name = "MB", hide = true)]
    pub shared_memory: Option<String>,
    /// Private memory in megabytes (accepted).
    #[arg(short = 'M', value_name = "MB", hide = true)]
    pub private_memory: Option<String>,
    /// Memory manager (accepted).
    #[arg(short = 'x', value_name = "NAME", hide = true)]
    pub memory_manager: Option<String>,
    /// Memory manager (accepted).
    #[arg(short = 'X', value_name = "NAME", hide = true)]
    pub memory_manager_private: Option<String>,
    /// Automatic aliases (accepted; names come from alias lines only).
    #[arg(short = 'a', value_name = "MODE", hide = true)]
    pub auto_aliases: Option<String>,
    /// TCP workers (accepted).
    #[arg(short = 'N', value_name = "N", hide = true)]
    pub tcp_children: Option<String>,
    /// TLS workers (accepted).
    #[arg(short = 'Q', value_name = "N", hide = true)]
    pub sctp_children: Option<String>,
    /// Receive buffer (accepted; 4 MiB are asked for).
    #[arg(short = 'b', value_name = "N", hide = true)]
    pub buffer: Option<String>,
    /// Buffer probing (accepted).
    #[arg(short = 'O', value_name = "N", hide = true)]
    pub optimise: Option<String>,
    /// Check via (accepted).
    #[arg(short = 'r', hide = true)]
    pub reverse_dns: bool,
    /// Reverse DNS (accepted).
    #[arg(short = 'R', hide = true)]
    pub reverse_dns_via: bool,
    /// Disable TCP.
    #[arg(short = 'T', long = "disable-tcp")]
    pub disable_tcp: bool,
    /// Disable SCTP (accepted).
    #[arg(short = 'S', hide = true)]
    pub disable_sctp: bool,
    /// Check replies' Via (accepted).
    #[arg(short = 'K', hide = true)]
    pub check_via: bool,
    /// Poll method (accepted).
    #[arg(short = 'W', value_name = "METHOD", hide = true)]
    pub poll: Option<String>,
    /// Chroot (refused: use the service manager's).
    #[arg(short = 't', value_name = "DIR", hide = true)]
    pub chroot: Option<String>,
    /// User to run as (accepted when it is the present one).
    #[arg(short = 'u', value_name = "USER", hide = true)]
    pub user: Option<String>,
    /// Group to run as (accepted when it is the present one).
    #[arg(short = 'g', value_name = "GROUP", hide = true)]
    pub group: Option<String>,
    /// Process group file (accepted).
    #[arg(short = 'G', value_name = "FILE", hide = true)]
    pub pgid_file: Option<String>,
}

/// How `-c` reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckOutput {
    /// With the source quoted.
    Text,
    /// One line for each finding: file:line:column.
    Short,
    /// JSON.
    Json,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Kamailio's lines.
    Text,
    /// One JSON object a line.
    Json,
}

impl Args {
    /// The log level asked for; none: the script's.
    pub fn level(&self) -> Option<i32> {
        self.debug_level
            .or_else(|| (self.debug > 0).then(|| i32::from(self.debug)))
    }

    /// How workers wait for datagrams.
    pub(crate) fn waiting(&self) -> Waiting {
        match (self.coalesce, self.busy_poll) {
            (0, 0) => Waiting::Asleep,
            (0, limit) => Waiting::Polling(Duration::from_micros(limit)),
            (pause, _) => Waiting::Coalescing(Duration::from_micros(pause)),
        }
    }

    /// The sockets of `-l`, as `listen` lines spell them.
    pub fn listen_lines(&self) -> Vec<String> {
        self.listen.iter().flat_map(|text| listen_lines(text)).collect()
    }

    /// Whether lines are JSON objects, by either option.
    pub fn logs_json(&self) -> bool {
        let engine = self.log_engine.as_deref().unwrap_or_default();
        self.log_format == LogFormat::Json || engine == "json" || engine.starts_with("json:")
    }
}

/// One `--modparam`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModParam {
    /// Module.
    pub module: String,
    /// Parameter.
    pub name: String,
    /// Value.
    pub value: ModValue,
}

/// The value of a `--modparam`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModValue {
    /// Of type `i`.
    Int(i32),
    /// Of type `s`.
    Text(String),
}

/// The text of `-v`.
pub fn version_text() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "version: proxyd {version} ({}/{})\nflags: {}\nid: {}\ncompiled with rustc {}\n",
        std::env::consts::ARCH,
        std::env::consts::OS,
        crate::control::core_rpcs::FLAGS,
        option_env!("PROXYD_REVISION").unwrap_or("unknown"),
        env!("CARGO_PKG_RUST_VERSION"),
    )
}

/// Takes one `-l` apart: `proto:(a, b):port/advertised` becomes one `listen` line for each address.
pub fn listen_lines(text: &str) -> Vec<String> {
    let (sockets, advertise) = match text.split_once('/') {
        Some((sockets, advertise)) => (sockets, format!(" advertise {}", advertise.trim())),
        None => (text, String::new()),
    };
    let list = sockets.split_once('(').and_then(|(before, rest)| {
        let (list, after) = rest.split_once(')')?;
        Some((before, list, after))
    });
    match list {
        Some((before, list, after)) => {
            let line = |host: &str| format!("{before}{}{after}{advertise}", host.trim());
            list.split(',')
                .filter(|host| !host.trim().is_empty())
                .map(line)
                .collect()
        }
        None => vec![format!("{}{advertise}", sockets.trim())],
    }
}

/// Takes an `-A` apart: name and value.
pub fn define(text: &str) -> Result<(String, Option<String>), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !plain || !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return Err(format!("`{name}` is not a name: letters, digits and underscores"));
    }
    Ok((name.to_owned(), value))
}

/// Takes a `--modparam` apart.
pub fn modparam(text: &str) -> Result<ModParam, String> {
    let mut parts = text.splitn(4, ':');
    let mut next = || parts.next().filter(|part| !part.is_empty());
    let (Some(module), Some(name), Some(kind)) = (next(), next(), next()) else {
        return Err("write it as module:parameter:type:value".to_owned());
    };
    let Some(text) = parts.next() else {
        return Err("write it as module:parameter:type:value".to_owned());
    };
    let value = match kind {
        "s" => ModValue::Text(text.to_owned()),
        "i" => ModValue::Int(
            text.parse()
                .map_err(|_| format!("`{text}` is not an integer of 32 bits"))?,
        ),
        other => return Err(format!("type `{other}` is neither s (string) nor i (integer)")),
    };
    Ok(ModParam {
        module: module.to_owned(),
        name: name.to_owned(),
        value,
    })
}

fn a_mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| format!("`{text}` is not a mode: three octal digits such as 0660"))
}

fn a_define(text: &str) -> Result<String, String> {
    define(text).map(|_| text.to_owned())
}

fn a_modparam(text: &str) -> Result<String, String> {
    modparam(text).map(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn kamailios_command_lines_are_read() {
        let args = Args::try_parse_from([
            "proxyd",
            "-DD",
            "-E",
            "-a",
            "no",
            "-m",
            "48",
            "-M",
            "6",
            "-Y",
            "/tmp/r",
            "-w",
            "/tmp/r",
            "-P",
            "/tmp/r/pid",
            "-f",
            "k.cfg",
            "-l",
            "udp:127.0.0.1:5060",
            "-l",
            "tcp:127.0.0.1:5060",
            "-A",
            "WITH_X",
            "-A",
            "N=1",
            "-n",
            "2",
        ])
        .expect("kamailio's options");
        assert_eq!(
            (
                args.foreground,
                args.listen.len(),
                args.define.len(),
                args.children
            ),
            (2, 2, 2, Some(2))
        );
    }

    fn parse(line: &str) -> Result<Args, String> {
        let words = std::iter::once("proxyd").chain(line.split_whitespace());
        Args::try_parse_from(words).map_err(|e| e.to_string())
    }

    #[test]
    fn options_bundle_as_with_getopt() {
        let args = parse("-DDEef k.cfg -l tcp:1.2.3.4/5.6.7.8:5070 -A N=1=2 -rR -n4 -dd").unwrap();
        assert_eq!(args.listen_lines(), ["tcp:1.2.3.4 advertise 5.6.7.8:5070"]);
        assert_eq!(
            (args.foreground, args.children, args.level()),
            (2, Some(4), Some(2))
        );
        assert_eq!(
            define(&args.define[0]),
            Ok(("N".to_owned(), Some("1=2".to_owned())))
        );
        let args = parse("--modparam=usrloc:db_url:s:sqlite:///x --modparam=tm:fr_timer:i:30 --debug=-1 -cV")
            .unwrap();
        assert_eq!(
            modparam(&args.modparam[0]).unwrap().value,
            ModValue::Text("sqlite:///x".into())
        );
        assert_eq!(modparam(&args.modparam[1]).unwrap().value, ModValue::Int(30));
        assert_eq!((args.level(), args.check, args.version), (Some(-1), true, true));
        assert!(parse("--log-engine=json:M").unwrap().logs_json());
    }

    #[test]
    fn mistakes_are_named() {
        let table = [
            ("--modparam=a:b:x:1", "neither s (string) nor i (integer)"),
            ("--modparam=a:b", "module:parameter:type:value"),
            ("--modparam=a:b:i:x", "`x` is not an integer of 32 bits"),
            (
                "--modparam=a:b:i:2147483648",
                "`2147483648` is not an integer of 32 bits",
            ),
            ("-A 1X", "`1X` is not a name"),
            ("-n x", "invalid value 'x'"),
            ("--confg x", "--config"),
        ];
        for (line, part) in table {
            let error = parse(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }

    #[test]
    fn lists_of_addresses_are_taken_apart() {
        let table = [
            (
                "udp:(10.0.0.1, 10.0.0.2):5065",
                vec!["udp:10.0.0.1:5065", "udp:10.0.0.2:5065"],
            ),
            ("(eth0)", vec!["eth0"]),
            ("[::1]:5060", vec!["[::1]:5060"]),
            ("localhost", vec!["localhost"]),
        ];
        for (text, expected) in table {
            assert_eq!(listen_lines(text), expected);
        }
    }

    #[test]
    fn the_version_names_program_and_system() {
        assert!(version_text().starts_with("version: proxyd "));
    }
}
