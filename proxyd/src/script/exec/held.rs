//! What a sandbox does not do: functions and variables that change what other messages see.

use crate::script::module::Call;
use crate::script::module::Env;
use crate::script::program::Invoke;

/// Functions that write tables, files, counters or the state of the process, or that wait.
/// `save` and the log functions look for themselves: they have an answer or a text to show.
const FUNCTIONS: &[&str] = &[
    "abort",
    "acc_db_request",
    "acc_log_request",
    "acc_request",
    "add_tcp_alias",
    "avp_db_delete",
    "avp_db_store",
    "cnt_add",
    "cnt_inc",
    "cnt_reset",
    "dbg_breakpoint",
    "dlgs_init",
    "dlgs_tags_add",
    "dlgs_tags_rm",
    "dlgs_update",
    "dns_set_local_ttl",
    "dp_reload",
    "ds_load_unset",
    "ds_load_update",
    "ds_mark_addr",
    "ds_mark_dst",
    "ds_reload",
    "error",
    "exec",
    "exec_avp",
    "exec_cmd",
    "exec_dset",
    "exec_msg",
    "file_write",
    "force_tcp_alias",
    "handle_publish",
    "handle_subscribe",
    "hlog",
    "http_async_query",
    "http_client_get",
    "http_client_query",
    "http_client_request",
    "http_connect",
    "http_connect_raw",
    "jsonrpc_dispatch",
    "jsonrpc_exec",
    "lock",
    "mq_add",
    "mq_fetch",
    "mq_pv_free",
    "pike_check_ip",
    "pike_check_req",
    "pres_refresh_watchers",
    "pres_update_watchers",
    "prom_counter_inc",
    "prom_counter_reset",
    "prom_gauge_inc",
    "prom_gauge_reset",
    "prom_gauge_set",
    "prom_histogram_observe",
    "rand_reset_prob",
    "rand_set_prob",
    "reset_gflag",
    "reset_stat",
    "resetdebug",
    "set_gflag",
    "setdebug",
    "sht_dec",
    "sht_inc",
    "sht_iterator_rm",
    "sht_iterator_setex",
    "sht_iterator_seti",
    "sht_iterator_sets",
    "sht_lock",
    "sht_reset",
    "sht_rm",
    "sht_rm_name",
    "sht_rm_name_re",
    "sht_rm_value",
    "sht_rm_value_re",
    "sht_setxi",
    "sht_setxs",
    "sht_unlock",
    "sip_trace",
    "sip_trace_mode",
    "sleep",
    "sql_query_async",
    "t_cancel_branch_idx",
    "t_cancel_callid",
    "t_cell_append_branches",
    "t_reply_callid",
    "timer_enable",
    "trylock",
    "uac_reg_disable",
    "uac_reg_enable",
    "uac_reg_refresh",
    "uac_reg_send_register",
    "uac_reg_send_unregister",
    "unlock",
    "unregister",
    "update_stat",
    "usleep",
    "ws_close",
    "ws_handle_handshake",
];

/// Functions that send SQL, which may read: the place of the statement among their arguments.
const SQL: &[(&str, usize)] = &[
    ("avp_db_query", 0),
    ("sql_query", 1),
    ("sql_xquery", 1),
    ("sql_pvquery", 1),
];

/// Variables that all workers share.
const VARIABLES: &[&str] = &["sht", "shtex", "shv"];

/// Whether a function is not to be called.
pub(super) fn is_held(invoke: &Invoke, env: &mut Env<'_>) -> bool {
    if env.may_write() {
        return false;
    }
    if let Some((_, n)) = SQL.iter().find(|(name, _)| *name == invoke.name) {
        let call = Call {
            env,
            args: &invoke.args,
            name: invoke.name,
            span: invoke.span,
        };
        let text = call.text_owned(*n);
        let statement = text.trim_ascii_start();
        let reads = statement
            .get(..6)
            .is_some_and(|word| word.eq_ignore_ascii_case(b"select"));
        return !reads;
    }
    invoke
        .function
        .names
        .iter()
        .any(|name| FUNCTIONS.binary_search(name).is_ok())
}

/// Whether a variable is not to be set.
pub(in crate::script) fn is_held_variable(names: &[&str], env: &Env<'_>) -> bool {
    env.vars.trace.is_some() && names.iter().any(|name| VARIABLES.contains(name)) && !env.may_write()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_functions() {
        assert!(FUNCTIONS.is_sorted());
        let modules = crate::modules::MODULES;
        let rows = modules.iter().flat_map(|module| module.functions);
        let core = crate::script::core_functions::FUNCTIONS;
        let names: Vec<&str> = rows.chain(core).flat_map(|row| row.names).copied().collect();
        for name in FUNCTIONS.iter().chain(SQL.iter().map(|(name, _)| name)) {
            assert!(names.contains(name), "no function {name}");
        }
    }
}
