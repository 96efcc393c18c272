//! What a caller may call: everything, or on a socket for monitoring a list of methods; and which calls change something.

use std::sync::Arc;

/// Methods that change nothing and show nothing secret: those of a socket for monitoring unless it names others.
const READING: &[&str] = &[
    "cfg.diff",
    "cfg.get",
    "cfg.help",
    "cfg.list",
    "cfgutils.check_config_hash",
    "cfgutils.get_config_hash",
    "cfgutils.get_gflags",
    "cfgutils.is_gflag",
    "cfgutils.rand_get_prob",
    "cnt.get",
    "cnt.get_vars",
    "cnt.grp_get_all",
    "cnt.grps_list",
    "cnt.help",
    "cnt.list_groups",
    "cnt.list_vars",
    "cnt.var_list",
    "core.aliases_list",
    "core.echo",
    "core.flags",
    "core.info",
    "core.modules",
    "core.printi",
    "core.prints",
    "core.ps",
    "core.psa",
    "core.psx",
    "core.runinfo",
    "core.shmmem",
    "core.sockets_list",
    "core.tcp_info",
    "core.tcp_list",
    "core.tcp_options",
    "core.udp4_raw_info",
    "core.uptime",
    "core.version",
    "corex.list_aliases",
    "corex.list_sockets",
    "corex.pkg_summary",
    "corex.shm_status",
    "corex.shm_summary",
    "ctl.connections",
    "ctl.listen",
    "ctl.who",
    "dbg.get_mod_level",
    "dbg.ls",
    "dialplan.dump",
    "dialplan.translate",
    "dispatcher.hash",
    "dispatcher.list",
    "dlg.briefing",
    "dlg.dlg_list",
    "dlg.is_alive",
    "dlg.list",
    "dlg.list_match",
    "dlg.profile_get_size",
    "dlg.profile_list",
    "dlg.stats_active",
    "dlgs.briefing",
    "dlgs.count",
    "dlgs.get",
    "dlgs.getall",
    "dlgs.list",
    "dlgs.stats",
    "domain.dump",
    "htable.listTables",
    "htable.stats",
    "httpclient.listcon",
    "jsonrpc.echo",
    "mqueue.get_size",
    "mqueue.get_sizes",
    "mtree.list",
    "mtree.match",
    "mtree.summary",
    "permissions.addressDump",
    "permissions.allowUri",
    "permissions.domainDump",
    "permissions.subnetDump",
    "permissions.testUri",
    "permissions.trustedDump",
    "pike.list",
    "pike.top",
    "pkg.stats",
    "presence.watcher_list",
    "rtpengine.show",
    "rtpproxy.list",
    "shm.stats",
    "sl.stats",
    "stats.fetch",
    "stats.fetchn",
    "stats.get_statistics",
    "stats.list",
    "system.listMethods",
    "system.methodHelp",
    "system.methodSignature",
    "tls.info",
    "tls.list",
    "tls.options",
    "tm.hash_stats",
    "tm.list",
    "tm.stats",
    "ul.db_contacts",
    "ul.db_expired_contacts",
    "ul.db_users",
    "ul.dump",
    "ul.lookup",
    "ws.dump",
];

/// Methods that change nothing, but show the command line, files, or what scripts and operators keep in tables.
const REVEALING: &[&str] = &[
    "core.arg",
    "core.explain",
    "core.explain_live",
    "core.ppdefines",
    "core.ppdefines_full",
    "core.pwd",
    "dlg.dlg_list_ctx",
    "dlg.list_ctx",
    "dlg.list_match_ctx",
    "htable.dump",
    "htable.get",
    "modparam.getn",
    "modparam.gets",
    "modparam.list",
    "presence.presentity_list",
    "presence.presentity_show",
    "pv.shvGet",
    "uac.reg_dump",
    "uac.reg_info",
];

/// What may be called over a socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Rights {
    /// Every method.
    #[default]
    All,
    /// Methods that only read.
    Reading,
    /// These, and for `name.*` those of a module.
    Only(Arc<[String]>),
}

impl Rights {
    /// Whether a method may be called.
    pub fn allow(&self, method: &str) -> bool {
        match self {
            Self::All => true,
            Self::Reading => READING.binary_search(&method).is_ok(),
            Self::Only(patterns) => patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(start) => method.starts_with(start),
                None => method == pattern,
            }),
        }
    }
}

/// Whether a method may change something, as far as is known.
pub fn changes(method: &str) -> bool {
    READING.binary_search(&method).is_err() && REVEALING.binary_search(&method).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted() {
        for table in [READING, REVEALING] {
            assert!(table.is_sorted(), "{table:?}");
        }
    }

    #[test]
    fn rights_and_changes() {
        let only = Rights::Only(["ul.dump".to_owned(), "stats.*".to_owned()].into());
        let table = [
            ("ul.dump", true, true, false),
            ("ul.rm", false, false, true),
            ("stats.fetch", true, true, false),
            ("stats.reset_statistics", false, true, true),
            ("core.arg", false, false, false),
            ("no.such", false, false, true),
        ];
        for (method, reading, listed, changing) in table {
            assert!(Rights::All.allow(method));
            assert_eq!(Rights::Reading.allow(method), reading, "{method}");
            assert_eq!(only.allow(method), listed, "{method}");
            assert_eq!(changes(method), changing, "{method}");
        }
    }
}
