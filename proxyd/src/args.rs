//! The command line of the daemon: Kamailio's options (kamailio(8)) and their long forms.

use clap::ArgAction;
use clap::Parser;
use clap::ValueEnum;
use std::path::PathBuf;

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

    /// Listen on this socket: udp:10.0.0.1:5060, tcp:[::1]:5060, an interface; may be repeated.
    #[arg(short = 'l', long = "listen", value_name = "SOCKET")]
    pub listen: Vec<String>,

    /// Define this name, as #!define does; may be repeated.
    #[arg(short = 'A', long = "define", value_name = "NAME[=VALUE]")]
    pub define: Vec<String>,

    /// Where modules are looked for (accepted; modules are built in).
    #[arg(short = 'L', long = "modules-path", value_name = "PATH", hide = true)]
    pub modules_path: Option<String>,

    /// Load this module before the script.
    #[arg(long = "loadmodule", value_name = "NAME")]
    pub loadmodule: Vec<String>,

    /// Set a module parameter: module:param:type:value, type s or i.
    #[arg(long = "modparam", value_name = "MOD:PARAM:TYPE:VALUE")]
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

    /// Write the process id to this file.
    #[arg(short = 'P', long = "pid-file", value_name = "FILE")]
    pub pid_file: Option<PathBuf>,

    /// Change to this folder.
    #[arg(short = 'w', long = "working-dir", value_name = "DIR")]
    pub working_dir: Option<PathBuf>,

    /// Worker threads for each UDP socket (at most one for each core).
    #[arg(short = 'n', long = "children", value_name = "N")]
    pub children: Option<usize>,

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
    #[arg(short = 'd', long = "debug", action = ArgAction::Count)]
    pub debug: u8,

    /// Print the version; with -c, also what became of parameters without effect.
    #[arg(short = 'v', long = "version")]
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
            "proxyd", "-DD", "-E", "-a", "no", "-m", "48", "-M", "6", "-Y", "/tmp/r", "-w", "/tmp/r", "-P", "/tmp/r/pid",
            "-f", "k.cfg", "-l", "udp:127.0.0.1:5060", "-l", "tcp:127.0.0.1:5060", "-A", "WITH_X", "-A", "N=1", "-n", "2",
        ])
        .expect("kamailio's options");
        assert_eq!((args.foreground, args.listen.len(), args.define.len(), args.children), (2, 2, 2, Some(2)));
    }
}
