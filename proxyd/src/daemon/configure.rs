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
use shared::net::SocketSpec;
use std::time::Duration;

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
            ident: "proxyd".to_owned(),
        }
    };
    let format = if args.logs_json() {
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

/// Bounds and times of connections.
pub(super) fn stream_options(program: &Program) -> StreamOptions {
    let mut options = StreamOptions::default();
    let seconds = |name: &str| {
        program
            .setting_int(name)
            .and_then(|n| u64::try_from(n).ok())
            .filter(|n| *n > 0)
            .map(Duration::from_secs)
    };
    if let Some(most) = program
        .setting_int("tcp_max_connections")
        .and_then(|n| usize::try_from(n).ok())
    {
        options.max_connections = most;
    }
    if let Some(most) = program
        .setting_int("tls_max_connections")
        .and_then(|n| usize::try_from(n).ok())
    {
        options.max_tls_connections = most;
    }
    options.lifetime = seconds("tcp_connection_lifetime").unwrap_or(options.lifetime);
    options.connect_timeout = seconds("tcp_connect_timeout").unwrap_or(options.connect_timeout);
    options.send_timeout = seconds("tcp_send_timeout").unwrap_or(options.send_timeout);
    options.no_connect = program.setting_int("tcp_no_connect") == Some(1);
    options.limits.accept_no_cl = program.setting_int("tcp_accept_no_cl") == Some(1);
    options
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
    Ok(now.change(wanted, aliases(program, args))?)
}
