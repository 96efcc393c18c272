//! `loadmodule "dialplan"`: rules that match and translate numbers and other texts (Kamailio module dialplan).

mod glob;
mod rule;

use crate::control::methods::RpcCall;
use crate::control::methods::RpcFault;
use crate::control::methods::RpcReply;
use crate::control::methods::RpcResult;
use crate::log;
use crate::modules::database::Database;
use crate::script::compile::parse_format;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::CompiledArg;
use crate::script::module::Env;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Rpc;
use crate::script::module::Script;
use crate::script::module::State;
use crate::script::program::PvRef;
use crate::script::value::Value;
use ahash::AHashMap;
use arc_swap::ArcSwap;
use rule::Made;
use rule::Parse;
use rule::Row;
use rule::Rule;
use serde_json::json;
use shared::db;
use shared::db::Select;
use shared::db::schema;
use shared::sip::Uri;
use std::sync::Arc;

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        Param::Text("db_url", "", "The database with the rules."),
        Param::Text("table_name", "dialplan", "Its table."),
        Param::Text("dpid_col", "dpid", "Column of the dialplan's number."),
        Param::Text("pr_col", "pr", "Column of the priority."),
        Param::Text(
            "match_op_col",
            "match_op",
            "Column of the operator: 0 equal, 1 regular expression, 2 fnmatch.",
        ),
        Param::Text("match_exp_col", "match_exp", "Column of what is matched."),
        Param::Text(
            "match_len_col",
            "match_len",
            "Column of the length that the input must have; 0 any.",
        ),
        Param::Text(
            "subst_exp_col",
            "subst_exp",
            "Column of the expression whose groups the replacement uses.",
        ),
        Param::Text("repl_exp_col", "repl_exp", "Column of the replacement."),
        Param::Text("attrs_col", "attrs", "Column of the attributes."),
        Param::Pv("attrs_pvar", "", "Gets the attributes of the rule that matched."),
        Param::Int("match_dynamic", 0, "1: expressions may hold pseudo-variables."),
        Param::Int(
            "append_branch",
            1,
            "1: a new Request-URI in a failure_route is a new branch.",
        ),
        Param::Ignored("fetch_rows", "rows are read one by one"),
        Param::Ignored("reload_delta", "reloads are never refused"),
    ],
    functions: &[
        Function::anywhere(
            &["dp_translate"],
            &[Arg::Int("id"), Arg::OptText("src/dest")],
            "Translates src into dest, the user of the Request-URI by default; -2 when there is no such dialplan.",
            dp_translate,
        ),
        Function::anywhere(
            &["dp_match"],
            &[Arg::Int("dpid"), Arg::Text("inval")],
            "Matches a text, for the attributes of the rule.",
            dp_match,
        ),
        Function::anywhere(
            &["dp_replace"],
            &[Arg::Int("dpid"), Arg::Text("inval"), Arg::Pv("outvar")],
            "Translates a text into a variable.",
            dp_replace,
        ),
        Function::anywhere(&["dp_reload"], &[], "Reads the rules anew.", dp_reload),
    ],
    rpcs: &[
        Rpc {
            name: "dialplan.dump",
            doc: "Lists the rules of a dialplan: dpid.",
            call: dump,
        },
        Rpc {
            name: "dialplan.reload",
            doc: "Reads the rules anew.",
            call: reload,
        },
        Rpc {
            name: "dialplan.translate",
            doc: "Translates a text: dpid, text.",
            call: translate,
        },
    ],
    init: Some(init),
    ..ModuleDef::new("dialplan", "Rules that match and translate numbers.")
};

/// Rules by dialplan, each in the order they are tried.
type Plans = AHashMap<i64, Vec<Rule>>;

struct Dialplan {
    database: Arc<Database>,
    table: String,
    columns: [String; 8],
    dynamic: bool,
    new_branch: bool,
    attrs: Option<Arc<PvRef>>,
    plans: ArcSwap<Plans>,
}

impl Dialplan {
    fn read(&self, parse: Parse<'_>) -> Result<Plans, String> {
        let columns: Vec<&str> = self.columns.iter().map(String::as_str).collect();
        let mut rows = Vec::new();
        let read = self.database.with(|db| {
            db.each(&Select::from(&self.table).columns(&columns), &mut |row| {
                rows.push(row_of(row));
                Ok(())
            })
        });
        read.map_err(|error| error.to_string())?;
        let mut plans = Plans::default();
        for row in rows {
            let rule = Rule::compile(row, parse, self.dynamic)?;
            plans.entry(rule.row.dpid).or_default().push(rule);
        }
        // Kamailio: rules for the input's own length come first, then by priority, then as they were read
        plans
            .values_mut()
            .for_each(|rules| rules.sort_by_key(|rule| (rule.row.match_len == 0, rule.row.priority)));
        Ok(plans)
    }

    fn reload(&self, script: &Script) -> Result<(), String> {
        let plans = self.read(&|text| parse_format(text, &script.modules, &script.program))?;
        self.plans.store(Arc::new(plans));
        Ok(())
    }
}

fn row_of(row: db::Row<'_>) -> Row {
    let int = |at| row.at(at).and_then(db::Value::as_int).unwrap_or(0);
    let text = |at| row.at(at).map(ToString::to_string).unwrap_or_default();
    Row {
        dpid: int(0),
        priority: int(1),
        operator: int(2),
        match_exp: text(3),
        match_len: int(4),
        subst_exp: text(5),
        repl_exp: text(6),
        attrs: text(7),
    }
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    if !init.is_set("db_url") {
        return Err(InitError::Param {
            name: "db_url",
            why: "must be set: the rules are in a database".into(),
        });
    }
    let database = Database::shared(&init.text("db_url"))?;
    let table = init.text("table_name");
    if let Some(layout) = schema::table("dialplan") {
        database.check_version(&table, layout)?;
    }
    let names = [
        "dpid",
        "pr",
        "match_op",
        "match_exp",
        "match_len",
        "subst_exp",
        "repl_exp",
        "attrs",
    ];
    let state = Dialplan {
        database,
        table,
        columns: names.map(|name| init.text(&format!("{name}_col"))),
        dynamic: init.int("match_dynamic") != 0,
        new_branch: init.int("append_branch") != 0,
        attrs: init.pv("attrs_pvar"),
        plans: ArcSwap::default(),
    };
    let plans = state.read(init.parse).map_err(InitError::Refused)?;
    state.plans.store(Arc::new(plans));
    Ok(Arc::new(state))
}

/// What became of an input.
enum Outcome {
    NoPlan,
    NoRule,
    Failed,
    Made(Made, String),
}

/// Finds the first rule for an input and applies it.
fn work(state: &Dialplan, env: Option<&Env<'_>>, dpid: i64, input: &[u8]) -> Outcome {
    let plans = state.plans.load();
    let Some(rules) = plans.get(&dpid) else {
        return Outcome::NoPlan;
    };
    let length = i64::try_from(input.len()).unwrap_or(i64::MAX);
    let fits =
        |rule: &&Rule| (rule.row.match_len == 0 || rule.row.match_len == length) && rule.matches(input, env);
    let Some(rule) = rules.iter().find(fits) else {
        return Outcome::NoRule;
    };
    match rule.apply(input, env) {
        Made::Failed => Outcome::Failed,
        made => Outcome::Made(made, rule.row.attrs.clone()),
    }
}

/// Translates for the script; the attributes are set, the text is handed to `store`.
fn run(call: &mut Call<'_, '_>, input: &[u8], store: impl FnOnce(&mut Call<'_, '_>, &[u8]) -> bool) -> Code {
    let Some(state) = call.state::<Dialplan>() else {
        return Code::FALSE;
    };
    let dpid = call.int(0);
    if input.is_empty() {
        log::warning(
            "dialplan",
            format_args!("invalid or empty input string to be matched"),
        );
        return Code::FALSE;
    }
    match work(state, Some(call.env), dpid, input) {
        Outcome::NoPlan => Code(-2),
        Outcome::NoRule => Code::FALSE,
        Outcome::Failed => {
            log::error(
                "dialplan",
                format_args!("dpid {dpid}: subst_exp of the matching rule does not fit the input"),
            );
            Code::FALSE
        }
        Outcome::Made(made, attrs) => {
            if let Some(pv) = &state.attrs
                && let Err(error) = pv.write(call.env, Value::text(attrs.as_bytes()))
            {
                log::error("dialplan", format_args!("attrs_pvar: {error}"));
                return Code::FALSE;
            }
            match made {
                Made::Text(text) => Code::from(store(call, &text)),
                Made::Nothing | Made::Failed => Code::TRUE,
            }
        }
    }
}

fn dp_translate(call: &mut Call<'_, '_>) -> Code {
    let args = call.args;
    match args.get(1) {
        None | Some(CompiledArg::Absent) => {
            let uri = call.env.ctx.uri();
            let user = Uri::parse(uri)
                .ok()
                .and_then(|uri| uri.user)
                .unwrap_or_default()
                .to_vec();
            run(call, &user, set_user)
        }
        Some(CompiledArg::Format(format)) => {
            let mut variables = format.variables();
            let input = variables
                .next()
                .map(|pv| pv.read(call.env).to_text().into_owned())
                .unwrap_or_default();
            let output = variables.next();
            run(call, &input, |call, text| match output {
                Some(pv) => write(call, pv, text),
                None => true,
            })
        }
        _ => {
            let input = call.text_owned(1);
            run(call, &input, |_, _| true)
        }
    }
}

fn dp_match(call: &mut Call<'_, '_>) -> Code {
    let input = call.text_owned(1);
    run(call, &input, |_, _| true)
}

fn dp_replace(call: &mut Call<'_, '_>) -> Code {
    let input = call.text_owned(1);
    run(call, &input, |call, text| call.assign(2, Value::text(text)))
}

fn write(call: &mut Call<'_, '_>, pv: &PvRef, text: &[u8]) -> bool {
    match pv.write(call.env, Value::text(text)) {
        Ok(()) => true,
        Err(error) => {
            log::error("dialplan", format_args!("{}: {error}", pv.text()));
            false
        }
    }
}

/// Puts a new user in the Request-URI.
fn set_user(call: &mut Call<'_, '_>, user: &[u8]) -> bool {
    let Some(state) = call.state::<Dialplan>() else {
        return false;
    };
    let ctx = &mut *call.env.ctx;
    let uri = ctx.uri().to_vec();
    let Ok(parsed) = Uri::parse(&uri) else {
        return false;
    };
    let scheme = uri
        .iter()
        .position(|byte| *byte == b':')
        .and_then(|at| uri.get(..=at))
        .unwrap_or(b"sip:");
    let old = parsed.user.map_or(0, <[u8]>::len);
    let behind = uri.get(scheme.len() + old..).unwrap_or_default();
    let at: &[u8] = if parsed.user.is_some() { b"" } else { b"@" };
    let was_new = ctx.uri_is_new;
    ctx.set_uri([scheme, user, at, behind].concat());
    ctx.uri_is_new = state.new_branch || was_new;
    true
}

fn dp_reload(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Dialplan>() else {
        return Code::FALSE;
    };
    match state.reload(call.env.script) {
        Ok(()) => Code::TRUE,
        Err(why) => {
            log::error("dialplan", format_args!("reload: {why}"));
            Code::FALSE
        }
    }
}

fn state(script: &Arc<Script>) -> Result<&Dialplan, RpcFault> {
    script
        .states
        .get::<Dialplan>()
        .ok_or_else(|| RpcFault::failed("dialplan is not loaded"))
}

fn reload(_: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    state(script)?
        .reload(script)
        .map_err(|why| RpcFault::failed(format!("Dialplan Reload Failed: {why}")))?;
    Ok(RpcReply::empty())
}

fn translate(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let state = state(script)?;
    let dpid = call.int(0).map_err(|_| RpcFault::failed("Invalid parameters"))?;
    let input = call.str(1).map_err(|_| RpcFault::failed("Invalid parameters"))?;
    if input.is_empty() {
        return Err(RpcFault::failed("Empty input parameter"));
    }
    match work(state, None, dpid, input.as_bytes()) {
        Outcome::NoPlan => Err(RpcFault::failed("Dialplan ID not matched")),
        Outcome::NoRule | Outcome::Failed => Err(RpcFault::failed("No translation")),
        Outcome::Made(made, attrs) => {
            let text = if let Made::Text(text) = made {
                text
            } else {
                Vec::new()
            };
            Ok(json!({ "Output": String::from_utf8_lossy(&text), "Attributes": attrs }).into())
        }
    }
}

fn dump(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let state = state(script)?;
    let dpid = call.int(0).map_err(|_| RpcFault::failed("Missing parameter"))?;
    let plans = state.plans.load();
    let rules = plans
        .get(&dpid)
        .ok_or_else(|| RpcFault::failed("Dialplan ID not matched"))?;
    let given = |text: &String| (!text.is_empty()).then(|| text.clone());
    let entry = |rule: &Rule| {
        let row = &rule.row;
        json!({ "ENTRY": {
            "PRIO": row.priority,
            "MATCHOP": row.operator,
            "MATCHEXP": row.match_exp,
            "MATCHLEN": row.match_len,
            "SUBSTEXP": given(&row.subst_exp),
            "REPLEXP": given(&row.repl_exp),
            "ATTRS": row.attrs,
        } })
    };
    let entries: Vec<_> = rules.iter().map(entry).collect();
    Ok(json!({ "DPID": dpid, "ENTRIES": entries }).into())
}
