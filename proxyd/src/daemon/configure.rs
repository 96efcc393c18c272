//! What core parameters and options make of the daemon: its log, its sockets, its connections.

use crate::args::Args;
use crate::daemon::StartError;
use crate::log;
use crate::modules::tls;
use crate::proxy::context::Advertised;
use crate::proxy::context::Context;
use crate::proxy::sockets::Alias;
use crate::runtime::endpoints::Change;
use crate::runtime::endpoints::Endpoints;
use crate::runtime::listen;
use crate::runtime::listen::Defaults;
use crate::runtime::listen::ListenError;
use crate::script::compile::Compiled;
use crate::script::module::ParamValue;
use crate::script::program::Program;
use crate::transport::conn::StreamOptions;
use crate::transport::dns::DnsOptions;
use crate::transport::options;
use crate::transport::options::PathMtu;
use crate::transport::options::SocketOptions;
use crate::transport::resolve::ResolveOptions;
use shared::net::SocketSpec;
use socket2::TcpKeepalive;
use std::time::Duration;

/// `tcp_rd_buf_size` may ask for this, as in Kamailio.
const LONGEST_BODY: usize = 16 << 20;

/// Queries repeated for one name.
const MOST_RETRIES: usize = 16;

/// Where log lines go, in which form, and which.
pub(super) fn log(args: &Args, program: &Program) {
    let foreground = args.log_stderr || args.log_color || program.setting_int("log_stderror") == Some(1);
    let destination = if foreground {
        log::Destination::Stderr {
            colour: args.log_color,
        }
    } else {
        let name = args
            .log_facility
            .clone()
            .or_else(|| program.setting_text("log_facility").map(|t| t.into_owned()));
        let facility = name.as_deref().and_then(log::facility).unwrap_or(3);
        log::Destination::Syslog {
            facility,
            ident: program
                .setting_text("log_name")
                .map_or_else(|| "proxyd".to_owned(), |name| name.into_owned()),
        }
    };
    let engine = program.setting_text("log_engine_type");
    let format = if args.logs_json() || engine.as_deref() == Some("json") {
        log::Format::Json
    } else {
        log::Format::Kamailio
    };
    log::configure(destination, format);
    let of_script = program
        .setting_int("debug")
        .and_then(|level| i32::try_from(level).ok());
    log::set_level(args.level().or(of_script).unwrap_or(log::Level::Warning as i32));
}

/// The names that `alias` lines and `-a` give us.
fn aliases(program: &Program, args: &Args) -> Vec<Alias> {
    let of_script = program.settings("alias").iter().map(|value| match value {
        ParamValue::Int(n) => n.to_string(),
        ParamValue::Text(text) => String::from_utf8_lossy(text).into_owned(),
    });
    let alias = |text: String| match text.parse::<SocketSpec>() {
        Ok(spec) => Alias {
            transport: spec.transport,
            host: match spec.host {
                shared::net::Host::Ip(ip) => ip.to_string(),
                shared::net::Host::Name(name) => name.to_ascii_lowercase(),
                shared::net::Host::Any => "*".to_owned(),
            },
            port: spec.port,
        },
        Err(_) => Alias {
            transport: None,
            host: text.to_ascii_lowercase(),
            port: None,
        },
    };
    of_script.chain(args.alias.iter().cloned()).map(alias).collect()
}

/// Threads for each UDP socket: as many as are asked for, at most one for each core.
pub(super) fn children(args: &Args, program: &Program) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let wanted = args.children.or_else(|| count(program, "children"));
    wanted.unwrap_or(cores).clamp(1, cores)
}

/// A core parameter that counts something, when it is set to what can be counted.
fn count(program: &Program, name: &str) -> Option<usize> {
    program.setting_int(name).and_then(|n| usize::try_from(n).ok())
}

/// A core parameter that has to be more than nothing.
fn some(program: &Program, name: &str) -> Option<usize> {
    count(program, name).filter(|n| *n > 0)
}

/// A core parameter in seconds, of which there has to be one at least.
fn seconds(program: &Program, name: &str) -> Option<Duration> {
    let n = some(program, name).and_then(|n| u64::try_from(n).ok());
    n.map(Duration::from_secs)
}

/// A core parameter that is yes or no, when it is set.
fn switch(program: &Program, name: &str) -> Option<bool> {
    program.setting_int(name).map(|n| n != 0)
}

/// `tos`.
fn type_of_service(program: &Program) -> Option<u32> {
    let text = program.setting_text("tos")?;
    let tos = options::type_of_service(&text);
    if tos.is_none() {
        log::warning("core", format_args!("tos: `{text}` is no type of service"));
    }
    tos
}

/// Bounds and times of connections.
pub(super) fn stream_options(program: &Program) -> StreamOptions {
    let usual = StreamOptions::default();
    let mut limits = usual.limits;
    if let Some(longest) = some(program, "tcp_rd_buf_size") {
        (limits.headers, limits.body) = (longest.min(limits.headers), longest.min(LONGEST_BODY));
    }
    limits.accept_no_cl = switch(program, "tcp_accept_no_cl") == Some(true);
    StreamOptions {
        max_connections: count(program, "tcp_max_connections").unwrap_or(usual.max_connections),
        max_tls_connections: count(program, "tls_max_connections").unwrap_or(usual.max_tls_connections),
        // a negative number is none, too
        per_address: program
            .setting_int("tcp_accept_iplimit")
            .map_or(usual.per_address, |n| usize::try_from(n).unwrap_or(0)),
        lifetime: seconds(program, "tcp_connection_lifetime").unwrap_or(usual.lifetime),
        connect_timeout: seconds(program, "tcp_connect_timeout").unwrap_or(usual.connect_timeout),
        send_timeout: seconds(program, "tcp_send_timeout").unwrap_or(usual.send_timeout),
        queue_bytes: some(program, "tcp_conn_wq_max").unwrap_or(usual.queue_bytes),
        no_connect: switch(program, "tcp_no_connect") == Some(true),
        crlf_ping: switch(program, "tcp_crlf_ping").unwrap_or(usual.crlf_ping),
        keepalive: keepalive(program),
        tos: type_of_service(program),
        limits,
    }
}

/// How idle peers are probed by TCP itself.
fn keepalive(program: &Program) -> Option<TcpKeepalive> {
    if switch(program, "tcp_keepalive") == Some(false) {
        return None;
    }
    let mut probes = TcpKeepalive::new();
    if let Some(idle) = seconds(program, "tcp_keepidle") {
        probes = probes.with_time(idle);
    }
    if let Some(interval) = seconds(program, "tcp_keepintvl") {
        probes = probes.with_interval(interval);
    }
    match some(program, "tcp_keepcnt").and_then(|n| u32::try_from(n).ok()) {
        Some(times) => Some(probes.with_retries(times)),
        None => Some(probes),
    }
}

/// How sockets are opened.
fn socket_options(program: &Program) -> SocketOptions {
    let usual = SocketOptions::default();
    let backlog = some(program, "tcp_listen_backlog").and_then(|n| i32::try_from(n).ok());
    SocketOptions {
        tos: type_of_service(program),
        free_bind: switch(program, "ip_free_bind") == Some(true),
        receive_buffer: some(program, "maxbuffer").unwrap_or(usual.receive_buffer),
        send_buffer: some(program, "maxsndbuffer"),
        path_mtu: program
            .setting_int("pmtu_discovery")
            .and_then(PathMtu::from_number),
        multicast_ttl: count(program, "mcast_ttl").and_then(|n| u8::try_from(n).ok().map(u32::from)),
        multicast_loop: switch(program, "mcast_loopback"),
        backlog: backlog.unwrap_or(usual.backlog),
        tcp_reuse_port: switch(program, "tcp_reuse_port") == Some(true),
    }
}

/// How names are looked up.
pub(super) fn resolving(program: &Program) -> ResolveOptions {
    let usual = ResolveOptions::default();
    let (least, most) = usual.dns.ttl;
    let most = seconds(program, "dns_cache_max_ttl").map_or(most, |given| given.min(most));
    let least = seconds(program, "dns_cache_min_ttl").unwrap_or(least);
    let refused = program.setting_int("dns_cache_negative_ttl");
    let refused = refused.and_then(|n| u64::try_from(n).ok());
    ResolveOptions {
        dns: DnsOptions {
            timeout: seconds(program, "dns_retr_time").unwrap_or(usual.dns.timeout),
            retries: count(program, "dns_retr_no").map_or(usual.dns.retries, |n| n.min(MOST_RETRIES)),
            ttl: (least.min(most), most),
            negative_ttl: refused.map(|n| Duration::from_secs(n).min(usual.dns.ttl.1)),
            ..usual.dns
        },
        naptr: switch(program, "dns_try_naptr").unwrap_or(usual.naptr),
        ipv6: switch(program, "dns_try_ipv6").unwrap_or(usual.ipv6),
        share: switch(program, "dns_srv_lb").unwrap_or(usual.share),
        failover: switch(program, "use_dns_failover").unwrap_or(usual.failover),
        ..usual
    }
}

/// `advertised_address` and `advertised_port`.
fn advertised(program: &Program) -> Option<Advertised> {
    let host = program
        .setting_text("advertised_address")
        .map(|text| text.into_owned());
    let port = program.setting_int("advertised_port");
    let port = port.and_then(|port| u16::try_from(port).ok());
    (host.is_some() || port.is_some()).then_some(Advertised { host, port })
}

fn has(compiled: &Compiled, module: &str) -> bool {
    compiled.modules.iter().any(|loaded| loaded.def.name == module)
}

/// The port of TLS sockets that are given without one; none where TLS is off.
fn tls_port(compiled: &Compiled) -> Result<Option<u16>, StartError> {
    let program = &compiled.program;
    if !tls::is_enabled(program) {
        return Ok(None);
    }
    if !has(compiled, "tls") {
        return Err(ListenError::NoTls.into());
    }
    let port = program.setting_int("tls_port_no");
    Ok(Some(
        port.and_then(|port| u16::try_from(port).ok()).unwrap_or(5061),
    ))
}

/// The sockets that the script and `-l` want, compared with those in force.
pub(super) fn sockets(compiled: &Compiled, args: &Args, now: &Endpoints) -> Result<Change, StartError> {
    let program = &compiled.program;
    let listens = program.listens().iter();
    let mut specs: Vec<SocketSpec> = listens.map(|listen| listen.spec.clone()).collect();
    for text in args.listen_lines() {
        specs.push(text.parse()?);
    }
    let port = program
        .setting_int("port")
        .and_then(|port| u16::try_from(port).ok())
        .unwrap_or(5060);
    let tcp = !args.disable_tcp && program.setting_int("disable_tcp") != Some(1);
    let mut wanted = listen::listeners(
        &specs,
        Defaults {
            port,
            tcp,
            web: has(compiled, "websocket"),
            tls: tls_port(compiled)?,
        },
    )?;
    let advertised = Context {
        advertised: advertised(program).map(Box::new),
        ..Context::default()
    };
    for listener in wanted.iter_mut().filter(|listener| listener.advertise.is_none()) {
        if let Some(named) = advertised.named_as(listener) {
            *listener = named;
        }
    }
    Ok(now.change(wanted, aliases(program, args), socket_options(program))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::testing::program;

    #[test]
    fn connections_are_as_the_script_says() {
        let options = stream_options(&program(
            "tcp_accept_iplimit=-1\ntcp_conn_wq_max=1000\ntcp_crlf_ping=no\ntcp_rd_buf_size=8192\ntcp_keepalive=no\ntos=0x10\n",
        ));
        assert_eq!((options.per_address, options.queue_bytes), (0, 1000));
        assert_eq!((options.limits.body, options.limits.headers), (8192, 8192));
        assert!(!options.crlf_ping && options.keepalive.is_none());
        assert_eq!(options.tos, Some(0x10));
        let usual = stream_options(&program(""));
        assert!(usual.crlf_ping && usual.keepalive.is_some());
    }

    #[test]
    fn names_are_looked_up_as_the_script_says() {
        let options = resolving(&program(
            "dns_try_ipv6=no\ndns_try_naptr=yes\ndns_srv_lb=no\nuse_dns_failover=off\ndns_retr_no=3\ndns_retr_time=2\n\
             dns_cache_max_ttl=60\ndns_cache_min_ttl=5\ndns_cache_negative_ttl=9\n",
        ));
        assert!(options.naptr && !options.ipv6 && !options.share && !options.failover);
        let second = Duration::from_secs(1);
        assert_eq!((options.dns.retries, options.dns.timeout), (3, 2 * second));
        assert_eq!(options.dns.ttl, (5 * second, 60 * second));
        assert_eq!(options.dns.negative_ttl, Some(9 * second));
    }

    #[test]
    fn sockets_are_as_the_script_says() {
        let options = socket_options(&program(
            "ip_free_bind=1\nmaxbuffer=1000\nmaxsndbuffer=2000\npmtu_discovery=2\nmcast_ttl=3\nmcast_loopback=yes\n\
             tcp_listen_backlog=9\ntcp_reuse_port=yes\ntos=IPTOS_LOWDELAY\n",
        ));
        assert!(options.free_bind && options.tcp_reuse_port);
        assert_eq!((options.receive_buffer, options.send_buffer), (1000, Some(2000)));
        assert_eq!(
            (options.path_mtu, options.multicast_ttl),
            (Some(PathMtu::Known), Some(3))
        );
        assert_eq!(
            (options.multicast_loop, options.backlog, options.tos),
            (Some(true), 9, Some(0x10))
        );
    }
}
