//! The command line of the daemon: Kamailio's options (kamailio(8)) and a long form for each.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::ArgAction;
use clap::CommandFactory;
use clap::Parser;
use clap::ValueEnum;

/// What the command line says, as it was written; the defaults of what it leaves out are the daemon's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args {
    /// `-f`: the routing script; none: the built-in one.
    pub config: Option<PathBuf>,
    /// `-c`: check the script and exit.
    pub check: bool,
    /// `--cfg-print`: print the script with includes and defines resolved, and exit.
    pub print_config: bool,
    /// `-v`: print the version and exit; with `-c`, say more.
    pub version: bool,
    /// `-I`: print what was built in, and exit.
    pub build_info: bool,
    /// `-l`: sockets, one for each address.
    pub listen: Vec<String>,
    /// `--alias`: names the daemon answers to.
    pub aliases: Vec<String>,
    /// `-a`: names of our addresses found in DNS are aliases, too.
    pub auto_aliases: Option<bool>,
    /// `-A`: defines of the preprocessor.
    pub defines: Vec<(String, Option<String>)>,
    /// `--subst`, `--substdef`, `--substdefs`: substitutions of the preprocessor, by kind.
    pub substitutions: Vec<(Substitution, String)>,
    /// `--loadmodule`: modules loaded besides those of the script.
    pub modules: Vec<String>,
    /// `--modparam`: their parameters.
    pub modparams: Vec<ModParam>,
    /// `-L`: where modules are looked for; ours are built in.
    pub module_path: Option<String>,
    /// `-Y`: the folder of the control socket, FIFO and the like.
    pub run_dir: Option<PathBuf>,
    /// `--home`: the folder of database, control socket and resource file.
    pub home: Option<PathBuf>,
    /// `-P`: the file that gets the process id.
    pub pid_file: Option<PathBuf>,
    /// `-G`: the file that gets the process group id.
    pub pgid_file: Option<PathBuf>,
    /// `-w`: the working directory.
    pub work_dir: Option<PathBuf>,
    /// `-t`: the new root directory.
    pub chroot: Option<PathBuf>,
    /// `-u`: the user to run as.
    pub user: Option<String>,
    /// `-g`: the group to run as.
    pub group: Option<String>,
    /// `-n`: workers for each socket.
    pub children: Option<usize>,
    /// `-N`: workers for stream connections.
    pub tcp_children: Option<usize>,
    /// `-m`: megabytes the daemon may use.
    pub memory: Option<u64>,
    /// `-b`: the largest receive queue asked of the kernel, in bytes.
    pub receive_buffer: Option<usize>,
    /// `--debug`, or as many steps above 0 as there are `-d`: the log level.
    pub debug: Option<i32>,
    /// `-E`: log to stderr.
    pub log_stderr: bool,
    /// `-e`: in colours.
    pub log_colour: bool,
    /// `--log-format`: how lines look.
    pub log_format: LogFormat,
    /// `--log-engine`: name and data of another log.
    pub log_engine: Option<String>,
    /// How often `-D` was given: none, or three times: in the background; once or twice: in the foreground.
    pub foreground: u8,
    /// `-T`: no TCP.
    pub no_tcp: bool,
    /// `-r`: compare the host of Via with the source address by DNS.
    pub dns: bool,
    /// `-R`: and by reverse DNS.
    pub reverse_dns: bool,
    /// `-K`: check the Via of replies.
    pub check_via: bool,
    /// `--server-id`.
    pub server_id: Option<i64>,
}

/// One `--modparam`.
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
    Int(i64),
    /// Of type `s`.
    Text(String),
}

/// How lines of the log look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Kamailio's.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A kind of substitution of the preprocessor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Substitution {
    /// `#!subst`.
    Subst,
    /// `#!substdef`.
    SubstDef,
    /// `#!substdefs`.
    SubstDefs,
}

impl Args {
    /// Reads a command line, program name first.
    pub fn parse_from<I, T>(line: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<OsString> + Clone,
    {
        Cli::try_parse_from(line).map(Self::from)
    }

    /// Reads the command line of this process; help and mistakes end it.
    pub fn from_env() -> Self {
        Self::from(Cli::parse())
    }
}

/// The command line as data, for completions and man pages.
pub fn command() -> clap::Command {
    Cli::command()
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

/// SIP proxy and registrar that runs routing scripts in Kamailio's configuration language.
#[derive(Parser)]
#[command(name = "proxyd", disable_version_flag = true, max_term_width = 100)]
struct Cli {
    /// Routing script; without it a built-in one runs
    #[arg(short = 'f', long = "config", value_name = "FILE", help_heading = "Script")]
    config: Option<PathBuf>,
    /// Check the script and exit; with -v say what became of every parameter
    #[arg(short = 'c', long, help_heading = "Script")]
    check: bool,
    /// Print the script with includes and defines resolved, and exit
    #[arg(long, help_heading = "Script")]
    cfg_print: bool,
    /// Define NAME for the preprocessor
    #[arg(short = 'A', long = "define", value_name = "NAME[=VALUE]", value_parser = define, help_heading = "Script")]
    define: Vec<(String, Option<String>)>,
    /// Substitution as by #!subst
    #[arg(long, value_name = "EXP", help_heading = "Script")]
    subst: Vec<String>,
    /// Substitution as by #!substdef
    #[arg(long, value_name = "EXP", help_heading = "Script")]
    substdef: Vec<String>,
    /// Substitution as by #!substdefs
    #[arg(long, value_name = "EXP", help_heading = "Script")]
    substdefs: Vec<String>,
    /// Load a module besides those of the script
    #[arg(long, value_name = "NAME", help_heading = "Script")]
    loadmodule: Vec<String>,
    /// Set a parameter of a module; TYPE is s (string) or i (integer)
    #[arg(long, value_name = "MODULE:NAME:TYPE:VALUE", value_parser = modparam, help_heading = "Script")]
    modparam: Vec<ModParam>,
    /// Where modules are looked for: accepted, ours are built in
    #[arg(short = 'L', long = "modules", value_name = "PATH", help_heading = "Script")]
    module_path: Option<String>,

    /// Listen on an address: [proto:]addr[:port][/advertised], where addr may be a list in parentheses
    #[arg(short = 'l', long, value_name = "SOCKET", help_heading = "Network")]
    listen: Vec<String>,
    /// Answer to a name: [proto:]host[:port]
    #[arg(long, value_name = "NAME", help_heading = "Network")]
    alias: Vec<String>,
    /// Whether names found in DNS for our addresses are aliases
    #[arg(short = 'a', long = "auto-aliases", value_name = "yes|no", value_parser = yes_no, help_heading = "Network")]
    auto_aliases: Option<bool>,
    /// Do not serve TCP
    #[arg(short = 'T', long = "no-tcp", help_heading = "Network")]
    no_tcp: bool,
    /// Do not serve SCTP: it is not served
    #[arg(short = 'S', long = "no-sctp", help_heading = "Network")]
    no_sctp: bool,
    /// Compare the host of Via with the source address by DNS
    #[arg(short = 'r', long = "dns", help_heading = "Network")]
    dns: bool,
    /// The same by reverse DNS
    #[arg(short = 'R', long = "rev-dns", help_heading = "Network")]
    rev_dns: bool,
    /// Check the Via of replies
    #[arg(short = 'K', long = "check-via", help_heading = "Network")]
    check_via: bool,
    /// Largest receive queue asked of the kernel, in bytes
    #[arg(
        short = 'b',
        long = "max-recv-buffer",
        value_name = "BYTES",
        help_heading = "Network"
    )]
    receive_buffer: Option<usize>,
    /// How sockets are waited for: accepted, there is one way
    #[arg(short = 'W', long = "poll", value_name = "TYPE", help_heading = "Network")]
    poll: Option<String>,
    /// Number of this server
    #[arg(
        long,
        value_name = "NUMBER",
        allow_negative_numbers = true,
        help_heading = "Network"
    )]
    server_id: Option<i64>,

    /// Folder of database, control socket and resource file
    #[arg(long, value_name = "DIR", env = "PROXYD_HOME", help_heading = "Places")]
    home: Option<PathBuf>,
    /// Folder of files that live as long as the daemon: control socket, FIFO
    #[arg(short = 'Y', long = "run-dir", value_name = "DIR", help_heading = "Places")]
    run_dir: Option<PathBuf>,
    /// File that gets the process id
    #[arg(short = 'P', long = "pid-file", value_name = "FILE", help_heading = "Places")]
    pid_file: Option<PathBuf>,
    /// File that gets the process group id
    #[arg(short = 'G', long = "pgid-file", value_name = "FILE", help_heading = "Places")]
    pgid_file: Option<PathBuf>,
    /// Working directory
    #[arg(short = 'w', long = "workdir", value_name = "DIR", help_heading = "Places")]
    work_dir: Option<PathBuf>,
    /// New root directory
    #[arg(short = 't', long = "chroot", value_name = "DIR", help_heading = "Places")]
    chroot: Option<PathBuf>,

    /// User to run as
    #[arg(short = 'u', long, value_name = "USER", help_heading = "Process")]
    user: Option<String>,
    /// Group to run as
    #[arg(short = 'g', long, value_name = "GROUP", help_heading = "Process")]
    group: Option<String>,
    /// Stay in the foreground: -D or -DD; -DDD does not
    #[arg(short = 'D', long = "foreground", action = ArgAction::Count, help_heading = "Process")]
    foreground: u8,
    /// Workers for each UDP socket
    #[arg(
        short = 'n',
        long = "workers",
        value_name = "NUMBER",
        help_heading = "Process"
    )]
    children: Option<usize>,
    /// Workers for stream connections
    #[arg(
        short = 'N',
        long = "tcp-workers",
        value_name = "NUMBER",
        help_heading = "Process"
    )]
    tcp_children: Option<usize>,
    /// Workers for SCTP: accepted, it is not served
    #[arg(
        short = 'Q',
        long = "sctp-workers",
        value_name = "NUMBER",
        help_heading = "Process"
    )]
    sctp_children: Option<usize>,
    /// Megabytes the daemon may use
    #[arg(short = 'm', long = "memory", value_name = "MB", help_heading = "Process")]
    memory: Option<u64>,
    /// Private memory of a process: accepted, there is one pool
    #[arg(
        short = 'M',
        long = "private-memory",
        value_name = "MB",
        help_heading = "Process"
    )]
    private_memory: Option<u64>,
    /// Manager of shared memory: accepted, there is one
    #[arg(
        short = 'x',
        long = "shm-manager",
        value_name = "NAME",
        help_heading = "Process"
    )]
    shm_manager: Option<String>,
    /// Manager of private memory: accepted, there is one
    #[arg(
        short = 'X',
        long = "pkg-manager",
        value_name = "NAME",
        help_heading = "Process"
    )]
    pkg_manager: Option<String>,
    /// Optimization level of the script: accepted, there is one
    #[arg(
        short = 'O',
        long = "optimize",
        value_name = "LEVEL",
        help_heading = "Process"
    )]
    optimize: Option<u32>,
    /// Callbacks of libraries at the end: accepted, there are none
    #[arg(long, value_name = "yes|no", value_parser = yes_no, help_heading = "Process")]
    atexit: Option<bool>,

    /// Log to stderr
    #[arg(short = 'E', long = "log-stderr", help_heading = "Log")]
    log_stderr: bool,
    /// Log in colours, with -E
    #[arg(short = 'e', long = "log-color", help_heading = "Log")]
    log_colour: bool,
    /// Log more: as many levels above 0 as it is given
    #[arg(short = 'd', action = ArgAction::Count, help_heading = "Log")]
    more: u8,
    /// Log level, from -5 (alert) to 3 (debug)
    #[arg(
        long,
        value_name = "LEVEL",
        allow_negative_numbers = true,
        help_heading = "Log"
    )]
    debug: Option<i32>,
    /// How lines look
    #[arg(long, value_name = "FORMAT", default_value = "text", help_heading = "Log")]
    log_format: LogFormat,
    /// Name and data of another log; `json` is --log-format json
    #[arg(long, value_name = "ENGINE", help_heading = "Log")]
    log_engine: Option<String>,

    /// Print the version and exit
    #[arg(short = 'v', short_alias = 'V', long)]
    version: bool,
    /// Print what was built in, and exit
    #[arg(short = 'I', long = "build-info")]
    build_info: bool,
}

impl From<Cli> for Args {
    fn from(cli: Cli) -> Self {
        let of_kind = |kind, list: Vec<String>| list.into_iter().map(move |text| (kind, text));
        let substitutions = of_kind(Substitution::Subst, cli.subst)
            .chain(of_kind(Substitution::SubstDef, cli.substdef))
            .chain(of_kind(Substitution::SubstDefs, cli.substdefs))
            .collect();
        let json = cli
            .log_engine
            .as_deref()
            .is_some_and(|e| e == "json" || e.starts_with("json:"));
        Self {
            config: cli.config,
            check: cli.check,
            print_config: cli.cfg_print,
            version: cli.version,
            build_info: cli.build_info,
            listen: cli.listen.iter().flat_map(|text| listen_lines(text)).collect(),
            aliases: cli.alias,
            auto_aliases: cli.auto_aliases,
            defines: cli.define,
            substitutions,
            modules: cli.loadmodule,
            modparams: cli.modparam,
            module_path: cli.module_path,
            run_dir: cli.run_dir,
            home: cli.home,
            pid_file: cli.pid_file,
            pgid_file: cli.pgid_file,
            work_dir: cli.work_dir,
            chroot: cli.chroot,
            user: cli.user,
            group: cli.group,
            children: cli.children,
            tcp_children: cli.tcp_children,
            memory: cli.memory,
            receive_buffer: cli.receive_buffer,
            debug: cli.debug.or_else(|| (cli.more > 0).then(|| i32::from(cli.more))),
            log_stderr: cli.log_stderr,
            log_colour: cli.log_colour,
            log_format: if json { LogFormat::Json } else { cli.log_format },
            log_engine: cli.log_engine,
            foreground: cli.foreground,
            no_tcp: cli.no_tcp,
            dns: cli.dns,
            reverse_dns: cli.rev_dns,
            check_via: cli.check_via,
            server_id: cli.server_id,
        }
    }
}

fn define(text: &str) -> Result<(String, Option<String>), String> {
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

fn modparam(text: &str) -> Result<ModParam, String> {
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
        "i" => ModValue::Int(text.parse().map_err(|_| format!("`{text}` is not an integer"))?),
        other => return Err(format!("type `{other}` is neither s (string) nor i (integer)")),
    };
    Ok(ModParam {
        module: module.to_owned(),
        name: name.to_owned(),
        value,
    })
}

fn yes_no(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" | "on" | "1" | "true" => Ok(true),
        "n" | "no" | "off" | "0" | "false" => Ok(false),
        _ => Err("neither yes nor no".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        let words = std::iter::once("proxyd").chain(line.split_whitespace());
        Args::parse_from(words).map_err(|e| e.to_string())
    }

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn kamailio_command_lines() {
        let args = parse("-DD -E -a no -m 48 -M 6 -Y /run/x -w /run/x -P /run/x/pid -f k.cfg -x fm -n4 -dd")
            .unwrap();
        let expected = Args {
            config: Some("k.cfg".into()),
            auto_aliases: Some(false),
            memory: Some(48),
            run_dir: Some("/run/x".into()),
            work_dir: Some("/run/x".into()),
            pid_file: Some("/run/x/pid".into()),
            children: Some(4),
            debug: Some(2),
            log_stderr: true,
            foreground: 2,
            ..Args::default()
        };
        assert_eq!(args, expected);
        let args =
            parse("-DDEef k.cfg -l udp:1.2.3.4:5060 -l tcp:1.2.3.4/5.6.7.8:5070 -A WITH_X -A N=1=2 -rR")
                .unwrap();
        assert_eq!(
            args.listen,
            ["udp:1.2.3.4:5060", "tcp:1.2.3.4 advertise 5.6.7.8:5070"]
        );
        assert_eq!(
            args.defines,
            [
                ("WITH_X".to_owned(), None),
                ("N".to_owned(), Some("1=2".to_owned()))
            ]
        );
        assert!(args.log_colour && args.dns && args.reverse_dns && args.foreground == 2);
        let args =
            parse("--modparam=usrloc:db_url:s:sqlite:///x --modparam=tm:fr_timer:i:30000 --debug=-1 -cv")
                .unwrap();
        assert_eq!(args.modparams[0].value, ModValue::Text("sqlite:///x".into()));
        assert_eq!(args.modparams[1].value, ModValue::Int(30000));
        assert_eq!((args.debug, args.check, args.version), (Some(-1), true, true));
        assert_eq!(parse("--log-engine=json:M").unwrap().log_format, LogFormat::Json);
        assert!(parse("-V").unwrap().version);
    }

    #[test]
    fn mistakes_are_named() {
        let table = [
            ("--modparam=a:b:x:1", "neither s (string) nor i (integer)"),
            ("--modparam=a:b", "module:parameter:type:value"),
            ("--modparam=a:b:i:x", "`x` is not an integer"),
            ("-A 1X", "`1X` is not a name"),
            ("-a maybe", "neither yes nor no"),
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
