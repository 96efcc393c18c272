//! Core parameters: what may be set without `loadmodule` (Kamailio core cookbook, "Core parameters").

/// What a core parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number.
    Int,
    /// A number, or a word such as `yes`.
    Bool,
    /// Text in quotes.
    Text,
    /// A word, or text in quotes.
    Name,
    /// The name of a script interpreter.
    Engine,
    /// Anything; it has no meaning here, and this is why.
    Ignored(&'static str),
}

/// A core parameter.
#[derive(Clone, Copy, Debug)]
pub struct CoreParam {
    /// Its name, then aliases.
    pub names: &'static [&'static str],
    /// What it takes.
    pub kind: Kind,
    /// What it does, in one line.
    pub doc: &'static str,
}

const fn row(names: &'static [&'static str], kind: Kind, doc: &'static str) -> CoreParam {
    CoreParam { names, kind, doc }
}

/// A row of a parameter that has no meaning here.
macro_rules! ignored {
    ($($name:literal)|+, $why:expr) => {
        CoreParam {
            names: &[$($name),+],
            kind: Kind::Ignored($why),
            doc: "Accepted without effect.",
        }
    };
}

const MEMORY: &str = "memory is managed by the system's allocator";
const PROCESSES: &str = "workers are threads that the program schedules itself";
const KEMI: &str = "scripts of other languages are not embedded";
const BLOCKLIST: &str = "destinations that failed are remembered by the DNS failover";
const SCTP: &str = "SCTP is not supported";
const DNS: &str = "the resolver decides this itself";
const STREAMS: &str = "stream connections are handled by an event loop that needs no tuning";
const SYSTEM: &str = "the service manager does this";
const NAMES: &str = "names are looked up only to send to them";
const LATENCY: &str = "the time of single steps is not measured";
const MTU: &str = "a request goes by the transport of its next hop, however long it is";
const VIA: &str = "our Via takes nothing from an XAVP";
const OLD: &str = "it has no effect in current versions";

/// Every core parameter, by name.
#[rustfmt::skip]
pub static CORE_PARAMS: &[CoreParam] = &[
    row(&["advertised_address"], Kind::Text, "Address shown in Via instead of the socket's."),
    row(&["advertised_port"], Kind::Int, "Port shown in Via instead of the socket's."),
    row(&["alias", "domain", "host_alias"], Kind::Name, "A name this proxy answers to; may be set several times."),
    ignored!("async_nonblock", PROCESSES),
    ignored!("async_tkv_evcb", PROCESSES),
    ignored!("async_tkv_gname", PROCESSES),
    ignored!("async_usleep", PROCESSES),
    ignored!("async_workers", PROCESSES),
    ignored!("async_workers_group", PROCESSES),
    ignored!("auto_aliases", "a name is ours when `alias` says so"),
    ignored!("auto_bind_ipv6", "without `listen` every address of the machine has sockets, those of IPv6 too"),
    ignored!("bind_ipv6_link_local", SYSTEM),
    row(&["cfgengine"], Kind::Engine, "Only `native`: the script in this file."),
    ignored!("cfgengine_mode", OLD),
    ignored!("check_via", OLD),
    row(&["children"], Kind::Int, "Workers for each UDP socket."),
    ignored!("chroot", SYSTEM),
    ignored!("core_log", SYSTEM),
    ignored!("corelog", SYSTEM),
    row(&["debug"], Kind::Int, "Log level."),
    ignored!("description", "it is not shown anywhere"),
    ignored!("disable_core_dump", SYSTEM),
    ignored!("disable_sctp", SCTP),
    row(&["disable_tcp"], Kind::Bool, "No TCP sockets."),
    row(&["disable_tls"], Kind::Bool, "No TLS sockets."),
    ignored!("dns", NAMES),
    ignored!("dns_cache_del_nonexp", DNS),
    ignored!("dns_cache_delete_nonexpired", DNS),
    ignored!("dns_cache_flags", DNS),
    ignored!("dns_cache_gc_interval", DNS),
    ignored!("dns_cache_init", DNS),
    row(&["dns_cache_max_ttl"], Kind::Int, "Longest life of a cached record in seconds; an hour at most."),
    ignored!("dns_cache_mem", MEMORY),
    row(&["dns_cache_min_ttl"], Kind::Int, "Shortest life of a cached record in seconds."),
    row(&["dns_cache_negative_ttl"], Kind::Int, "Life of a cached failure in seconds."),
    ignored!("dns_cache_rec_pref", DNS),
    ignored!("dns_naptr_ignore_rfc", DNS),
    row(&["dns_retr_no"], Kind::Int, "How often a query is repeated."),
    row(&["dns_retr_time"], Kind::Int, "Seconds until a query is repeated; all queries for a name have 5."),
    ignored!("dns_sctp_pref", DNS),
    ignored!("dns_sctp_preference", DNS),
    ignored!("dns_search_full_match", DNS),
    ignored!("dns_servers_no", DNS),
    row(&["dns_srv_lb", "dns_srv_loadbalancing"], Kind::Bool, "Spread over SRV records by weight (RFC 2782); `no`: the heaviest comes first. Yes when not given."),
    ignored!("dns_tcp_pref", DNS),
    ignored!("dns_tcp_preference", DNS),
    ignored!("dns_tls_pref", DNS),
    ignored!("dns_tls_preference", DNS),
    row(&["dns_try_ipv6"], Kind::Bool, "Ask for AAAA records; yes when not given."),
    row(&["dns_try_naptr"], Kind::Bool, "Ask for NAPTR records (RFC 3263)."),
    ignored!("dns_udp_pref", DNS),
    ignored!("dns_udp_preference", DNS),
    ignored!("dns_use_search_list", "a name with a dot is complete; the search list is for names without one"),
    ignored!("dst_blacklist_expire", BLOCKLIST),
    ignored!("dst_blacklist_gc_interval", BLOCKLIST),
    ignored!("dst_blacklist_init", BLOCKLIST),
    ignored!("dst_blacklist_mem", BLOCKLIST),
    ignored!("dst_blocklist_expire", BLOCKLIST),
    ignored!("dst_blocklist_gc_interval", BLOCKLIST),
    ignored!("dst_blocklist_init", BLOCKLIST),
    ignored!("dst_blocklist_mem", MEMORY),
    ignored!("enable_sctp", SCTP),
    row(&["enable_tls"], Kind::Bool, "TLS sockets; the module tls must be loaded."),
    ignored!("exit_timeout", PROCESSES),
    row(&["force_rport"], Kind::Bool, "Answer every request to its source port (RFC 3581)."),
    ignored!("fork", "the command line says whether the program goes to the background"),
    ignored!("fork_delay", PROCESSES),
    ignored!("group" | "gid", SYSTEM),
    ignored!("http_reply_hack", OLD),
    ignored!("http_reply_parse", OLD),
    row(&["ip_free_bind", "ipfreebind", "ip_nonlocal_bind"], Kind::Bool, "Bind addresses that the machine has not got yet."),
    ignored!("ipv6_hex_style", "IPv6 addresses are written as RFC 5952 has them"),
    ignored!("kemi.onsend_route_callback", KEMI),
    ignored!("kemi.pre_routing_callback", KEMI),
    ignored!("kemi.received_route_callback", KEMI),
    ignored!("kemi.reply_route_callback", KEMI),
    ignored!("latency_cfg_log", LATENCY),
    ignored!("latency_limit_action", LATENCY),
    ignored!("latency_limit_db", LATENCY),
    ignored!("latency_log", LATENCY),
    row(&["listen"], Kind::Name, "A socket to listen on."),
    row(&["local_rport", "add_local_rport"], Kind::Bool, "Ask for rport in our own Via."),
    ignored!("log_engine_data", "lines of the JSON log have one form"),
    row(&["log_engine_type"], Kind::Text, "`json` for structured lines."),
    row(&["log_facility", "syslog_facility"], Kind::Name, "Facility of syslog lines."),
    row(&["log_name"], Kind::Text, "Name of syslog lines."),
    row(&["log_prefix"], Kind::Text, "Text with pseudo-variables before each line of a message's processing."),
    ignored!("log_prefix_mode", "the prefix is made once for a message"),
    row(&["log_stderror"], Kind::Bool, "Log to stderr instead of syslog."),
    row(&["max_branches"], Kind::Int, "Most branches of a request."),
    ignored!("max_len", OLD),
    row(&["max_recursive_level"], Kind::Int, "How deep route blocks may call each other."),
    row(&["max_while_loops"], Kind::Int, "Most rounds of a loop; 0: without a bound."),
    row(&["maxbuffer"], Kind::Int, "Receive queue asked for on UDP sockets, in bytes; net.core.rmem_max is the most."),
    row(&["maxsndbuffer"], Kind::Int, "Send queue asked for on UDP sockets, in bytes; net.core.wmem_max is the most."),
    ignored!("mcast", SYSTEM),
    row(&["mcast_loopback"], Kind::Bool, "Receive our own multicast packets."),
    row(&["mcast_ttl"], Kind::Int, "TTL of multicast packets."),
    ignored!("mem_add_size", MEMORY),
    ignored!("mem_join", MEMORY),
    ignored!("mem_safety", MEMORY),
    ignored!("mem_status_mode", MEMORY),
    ignored!("mem_summary", MEMORY),
    ignored!("memdbg", MEMORY),
    ignored!("memlog", MEMORY),
    ignored!("mhomed", "a request leaves by the first socket of its transport and address family, unless the script chooses one"),
    ignored!("mlock_pages", MEMORY),
    ignored!("modinit_delay", PROCESSES),
    ignored!("mpath" | "loadpath" | "module_path", "modules are part of the program"),
    ignored!("msg_apply_changes_mode", "msg_apply_changes() has one way for requests and replies"),
    ignored!("msg_clone_extra_size", MEMORY),
    row(&["msg_recv_max_size"], Kind::Int, "A message of this many bytes or more is dropped; not given, none is."),
    ignored!("onsend_route_mode", OLD),
    row(&["onsend_route_reply"], Kind::Bool, "Run onsend_route for replies, too."),
    ignored!("open_files_limit", SYSTEM),
    row(&["phone2tel"], Kind::Bool, "Read user=phone URIs as tel URIs."),
    row(&["pmtu_discovery"], Kind::Int, "0: packets are cut on their way; 1: those too long are lost; 2: they are cut here by what the path takes."),
    ignored!("poll_method", STREAMS),
    row(&["port"], Kind::Int, "Port of sockets given without one."),
    ignored!("pv_buffer_size", MEMORY),
    ignored!("pv_buffer_slots", MEMORY),
    ignored!("pv_cache_action", MEMORY),
    ignored!("pv_cache_limit", MEMORY),
    ignored!("random_engine", PROCESSES),
    ignored!("real_time", PROCESSES),
    row(&["received_route_mode"], Kind::Int, "Run event_route[core:msg-received]."),
    row(&["reply_to_via"], Kind::Bool, "Send replies to the Via's address, not the source."),
    ignored!("reply_to_via_mode", OLD),
    ignored!("rev_dns", NAMES),
    ignored!("route_locks_size", MEMORY),
    ignored!("rpc_exec_delta", SYSTEM),
    ignored!("rt_ftimer_policy", PROCESSES),
    ignored!("rt_ftimer_prio", PROCESSES),
    ignored!("rt_policy", PROCESSES),
    ignored!("rt_prio", PROCESSES),
    ignored!("rt_stimer_policy", PROCESSES),
    ignored!("rt_stimer_prio", PROCESSES),
    ignored!("rt_timer1_policy", PROCESSES),
    ignored!("rt_timer1_prio", PROCESSES),
    ignored!("rt_timer2_policy", PROCESSES),
    ignored!("rt_timer2_prio", PROCESSES),
    ignored!("rundir" | "run_dir", "option -Y says where the run-time files are"),
    ignored!("sctp_asocmaxrxt", SCTP),
    ignored!("sctp_assoc_reuse", SCTP),
    ignored!("sctp_assoc_tracking", SCTP),
    ignored!("sctp_autoclose", SCTP),
    ignored!("sctp_children", SCTP),
    ignored!("sctp_hbinterval", SCTP),
    ignored!("sctp_init_max_attempts", SCTP),
    ignored!("sctp_init_max_timeo", SCTP),
    ignored!("sctp_max_assocs", SCTP),
    ignored!("sctp_max_burst", SCTP),
    ignored!("sctp_pathmaxrxt", SCTP),
    ignored!("sctp_sack_delay", SCTP),
    ignored!("sctp_sack_freq", SCTP),
    ignored!("sctp_send_retries", SCTP),
    ignored!("sctp_send_ttl", SCTP),
    ignored!("sctp_socket_rcvbuf", SCTP),
    ignored!("sctp_socket_sndbuf", SCTP),
    ignored!("sctp_srto_initial", SCTP),
    ignored!("sctp_srto_max", SCTP),
    ignored!("sctp_srto_min", SCTP),
    ignored!("ser_kill_timeout", PROCESSES),
    row(&["server_header"], Kind::Text, "The Server header of replies made here."),
    row(&["server_id"], Kind::Int, "Number of this server among several."),
    row(&["server_signature"], Kind::Bool, "Whether replies made here carry a Server header."),
    ignored!("shm_force_alloc", MEMORY),
    ignored!("shm_mem_size", MEMORY),
    ignored!("shm_memory", MEMORY),
    row(&["sip_parser_log"], Kind::Int, "Log level of messages that cannot be read; 3 when not given."),
    ignored!("sip_parser_mode", OLD),
    row(&["sip_warning"], Kind::Bool, "Add a Warning header to replies made here."),
    ignored!("socket_workers", PROCESSES),
    ignored!("sql_buffer_size", MEMORY),
    ignored!("ssl_handshake_timeout", OLD),
    ignored!("ssl_send_timeout", OLD),
    ignored!("statistics", "every counter is kept"),
    ignored!("stats_name_separator", "names of counters are fixed"),
    ignored!("stats_port", OLD),
    ignored!("syn_branch", OLD),
    row(&["tcp_accept_aliases"], Kind::Bool, "Reuse connections by the Via's alias parameter."),
    ignored!("tcp_accept_haproxy", "the PROXY protocol is not read"),
    ignored!("tcp_accept_hep3", STREAMS),
    row(&["tcp_accept_iplimit"], Kind::Int, "Most connections from one address."),
    row(&["tcp_accept_no_cl"], Kind::Bool, "Accept messages without Content-Length on streams."),
    ignored!("tcp_accept_protocols", STREAMS),
    ignored!("tcp_accept_unique", STREAMS),
    ignored!("tcp_async", STREAMS),
    ignored!("tcp_buf_write", STREAMS),
    ignored!("tcp_check_timer", STREAMS),
    ignored!("tcp_children", "one thread reads all connections"),
    ignored!("tcp_clone_rcvbuf", STREAMS),
    row(&["tcp_conn_wq_max"], Kind::Int, "Most bytes waiting to be sent on a connection."),
    row(&["tcp_connect_timeout"], Kind::Int, "Seconds until a connection attempt is given up."),
    row(&["tcp_connection_lifetime"], Kind::Int, "Seconds until an idle connection is closed."),
    ignored!("tcp_connection_match", STREAMS),
    row(&["tcp_crlf_ping", "tcp_crlf_pingpong"], Kind::Bool, "Answer CRLF keepalives (RFC 5626 §4.4.1)."),
    ignored!("tcp_defer_accept", STREAMS),
    ignored!("tcp_delayed_ack", STREAMS),
    ignored!("tcp_fd_cache", STREAMS),
    row(&["tcp_keepalive"], Kind::Bool, "TCP keepalive on sockets."),
    row(&["tcp_keepcnt"], Kind::Int, "TCP keepalive probes."),
    row(&["tcp_keepidle"], Kind::Int, "Seconds before the first TCP keepalive probe."),
    row(&["tcp_keepintvl"], Kind::Int, "Seconds between TCP keepalive probes."),
    ignored!("tcp_linger2", STREAMS),
    row(&["tcp_listen_backlog"], Kind::Int, "Connections waiting to be accepted."),
    ignored!("tcp_main_threads", PROCESSES),
    row(&["tcp_max_connections", "max_tcp_connections"], Kind::Int, "Most stream connections."),
    ignored!("tcp_msg_data_timeout", STREAMS),
    ignored!("tcp_msg_read_timeout", STREAMS),
    row(&["tcp_no_connect"], Kind::Bool, "Never open connections."),
    ignored!("tcp_opt_buf", STREAMS),
    ignored!("tcp_opt_fd_cache", STREAMS),
    ignored!("tcp_poll_method", STREAMS),
    row(&["tcp_rd_buf_size"], Kind::Int, "Longest headers and longest body of a message on streams, in bytes."),
    row(&["tcp_reuse_port"], Kind::Bool, "Share TCP ports with other processes."),
    ignored!("tcp_script_mode", STREAMS),
    row(&["tcp_send_timeout"], Kind::Int, "Seconds until a blocked connection is closed."),
    ignored!("tcp_source_ipv4", STREAMS),
    ignored!("tcp_source_ipv6", STREAMS),
    ignored!("tcp_syncnt", STREAMS),
    ignored!("tcp_wait_data", STREAMS),
    ignored!("tcp_wq_blk_size", STREAMS),
    ignored!("tcp_wq_max", "tcp_conn_wq_max bounds each connection, tcp_max_connections their number"),
    ignored!("tcp_wq_timeout", STREAMS),
    ignored!("timer_sanity_check", PROCESSES),
    ignored!("tls_ca_list", OLD),
    ignored!("tls_certificate", OLD),
    ignored!("tls_connection_match_domain", STREAMS),
    ignored!("tls_handshake_timeout", OLD),
    row(&["tls_max_connections", "max_tls_connections"], Kind::Int, "Most TLS connections."),
    ignored!("tls_method", OLD),
    row(&["tls_port_no"], Kind::Int, "Port of TLS sockets given without one."),
    ignored!("tls_private_key", OLD),
    ignored!("tls_require_certificate", OLD),
    ignored!("tls_send_timeout", OLD),
    ignored!("tls_threads_mode", PROCESSES),
    ignored!("tls_verify", OLD),
    row(&["tos"], Kind::Name, "Type of service of sent packets: a number, or IPTOS_LOWDELAY and the like."),
    ignored!("udp4_raw", SYSTEM),
    ignored!("udp4_raw_mtu", SYSTEM),
    ignored!("udp4_raw_ttl", SYSTEM),
    ignored!("udp_mtu", MTU),
    ignored!("udp_mtu_try_proto", MTU),
    ignored!("udp_receiver_mode", PROCESSES),
    ignored!("uri_host_extra_chars", "the host of a URI may hold letters, digits, `-`, `.`, `_` and what is beyond ASCII"),
    ignored!("use_dns_cache" | "dns_use_cache", "answers are kept for their TTL; dns_cache_max_ttl shortens it"),
    row(&["use_dns_failover", "dns_use_failover"], Kind::Bool, "Try the next address when one fails; yes when not given."),
    ignored!("use_dst_blacklist", BLOCKLIST),
    ignored!("use_dst_blocklist", BLOCKLIST),
    ignored!("user" | "uid", SYSTEM),
    row(&["user_agent_header"], Kind::Text, "The User-Agent header of requests made here."),
    ignored!("verbose_startup", SYSTEM),
    ignored!("version_table", "the table that holds the versions of the others is always `version`"),
    ignored!("wait_worker1_mode", PROCESSES),
    ignored!("wait_worker1_time", PROCESSES),
    ignored!("wait_worker1_usleep", PROCESSES),
    ignored!("workdir" | "wdir", SYSTEM),
    ignored!("xavp_via_fields", VIA),
    ignored!("xavp_via_params", VIA),
    ignored!("xavp_via_reply_params", OLD),
];

/// The parameter of this name.
pub fn find(name: &str) -> Option<&'static CoreParam> {
    CORE_PARAMS.iter().find(|param| param.names.contains(&name))
}

/// Every name, aliases included.
pub fn names() -> impl Iterator<Item = &'static str> {
    CORE_PARAMS.iter().flat_map(|param| param.names.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_names_nothing_twice() {
        assert!(CORE_PARAMS.is_sorted_by(|a, b| a.names.first() < b.names.first()));
        let mut all: Vec<&str> = names().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
