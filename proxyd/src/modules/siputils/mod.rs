//! `loadmodule "siputils"`: checks and edits of URIs, numbers and Contact headers (Kamailio siputils).

use crate::script::module::Arg;
use crate::script::module::Code;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Routes;
use crate::script::module::State;
use crate::script::program::PvRef;
use std::sync::Arc;

mod charging;
mod check;
mod contact;
mod uri;

const TEXT: &[Arg] = &[Arg::Text("text")];
const PARAM: &[Arg] = &[Arg::Text("param")];
const TEL: &[Arg] = &[Arg::Text("uri"), Arg::Text("hostpart"), Arg::Pv("result")];

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    needs: &["sl"],
    params: &[
        Param::Text("options_accept", "*/*", "Accept in replies to OPTIONS."),
        Param::Text(
            "options_accept_encoding",
            "",
            "Accept-Encoding in replies to OPTIONS.",
        ),
        Param::Text(
            "options_accept_language",
            "en",
            "Accept-Language in replies to OPTIONS.",
        ),
        Param::Text("options_support", "", "Supported in replies to OPTIONS."),
        Param::Text("contact_flds_separator", "*", "Separator in encoded contacts."),
        Param::Text(
            "rpid_prefix",
            "",
            "What stands before the URI in Remote-Party-ID.",
        ),
        Param::Text(
            "rpid_suffix",
            ";party=calling;id-type=subscriber;screen=yes",
            "What stands behind the URI in Remote-Party-ID.",
        ),
        Param::Pv(
            "rpid_avp",
            "$avp(s:rpid)",
            "The AVP with the URI of Remote-Party-ID.",
        ),
        Param::Int("e164_max_len", 16, "Longest E.164 number, its + included."),
    ],
    functions: &[
        Function {
            names: &["options_reply"],
            args: &[],
            routes: Routes::REQUEST,
            doc: "Answers OPTIONS for this server with what it can do.",
            call: check::options_reply,
        },
        Function::anywhere(
            &["is_user"],
            &[Arg::Text("username")],
            "True when the credentials are of that user.",
            check::is_user,
        ),
        Function::anywhere(
            &["has_totag"],
            &[],
            "True when To has a tag: within a dialog.",
            |call| Code::from(!call.env.ctx.msg.to_tag().is_empty()),
        ),
        Function::anywhere(
            &["uri_param"],
            &[Arg::Text("param"), Arg::OptText("value")],
            "True when the Request-URI has a parameter without a value, or with that one.",
            uri::uri_param,
        ),
        Function::anywhere(
            &["uri_param_any"],
            PARAM,
            "True when the Request-URI has a parameter.",
            uri::uri_param_any,
        ),
        Function::anywhere(
            &["add_uri_param"],
            PARAM,
            "Adds name=value to the Request-URI.",
            uri::add_uri_param,
        ),
        Function::anywhere(
            &["get_uri_param"],
            &[Arg::Text("name"), Arg::Pv("var")],
            "Assigns the value of a parameter of the Request-URI.",
            uri::get_uri_param,
        ),
        Function::anywhere(
            &["uri_param_rm"],
            PARAM,
            "Removes a parameter of the Request-URI.",
            uri::uri_param_rm,
        ),
        Function::anywhere(
            &["tel2sip"],
            TEL,
            "Assigns the SIP URI of a tel URI; 2 when it is no tel URI.",
            uri::tel2sip,
        ),
        Function::anywhere(
            &["tel2sip2"],
            TEL,
            "The same with parameters in order and phone-context resolved.",
            uri::tel2sip2,
        ),
        Function::anywhere(&["is_e164"], TEXT, "True for + and digits.", check::is_e164),
        Function::anywhere(
            &["is_uri_user_e164"],
            TEXT,
            "True when a URI's user part is + and digits.",
            check::is_uri_user_e164,
        ),
        Function::anywhere(&["is_uri"], TEXT, "True for a URI.", |call| {
            Code::from(shared::sip::Uri::parse(&call.text(0)).is_ok())
        }),
        Function::anywhere(
            &["is_tel_number"],
            TEXT,
            "True for digits, perhaps behind +; -2 else.",
            check::is_tel_number,
        ),
        Function::anywhere(
            &["is_numeric"],
            TEXT,
            "True for digits; -2 else.",
            check::is_numeric,
        ),
        Function::anywhere(
            &["is_alphanum"],
            TEXT,
            "True for digits and letters; -3 else.",
            check::is_alphanum,
        ),
        Function::anywhere(
            &["is_alphanumex"],
            &[Arg::Text("text"), Arg::Text("eset")],
            "True for digits, letters and those of a set; -3 else.",
            check::is_alphanum,
        ),
        Function::anywhere(
            &["encode_contact"],
            &[Arg::Text("prefix"), Arg::Text("hostpart")],
            "Hides contacts in the user part of URIs of ours.",
            contact::encode,
        ),
        Function::anywhere(
            &["decode_contact"],
            &[],
            "Brings the contact hidden in the Request-URI back.",
            contact::decode_uri,
        ),
        Function::anywhere(
            &["decode_contact_header"],
            &[],
            "Brings contacts hidden in Contact back.",
            contact::decode_header,
        ),
        Function::anywhere(
            &["cmp_uri"],
            &[Arg::Text("str1"), Arg::Text("str2")],
            "True when URIs are the same (RFC 3261 §19.1.4).",
            uri::cmp_uri,
        ),
        Function::anywhere(
            &["cmp_aor"],
            &[Arg::Text("str1"), Arg::Text("str2")],
            "True when URIs have the same user, host and port.",
            uri::cmp_aor,
        ),
        Function::anywhere(
            &["cmp_hdr_name"],
            &[Arg::Text("str1"), Arg::Text("str2")],
            "True when header names are the same.",
            uri::cmp_hdr_name,
        ),
        Function::anywhere(
            &["append_rpid_hf"],
            &[Arg::OptText("prefix"), Arg::OptText("suffix")],
            "Adds Remote-Party-ID.",
            check::append_rpid_hf,
        ),
        Function::anywhere(
            &["is_rpid_user_e164"],
            &[],
            "True when the user part of the Remote-Party-ID is + and digits.",
            check::is_rpid_user_e164,
        ),
        Function::anywhere(
            &["set_uri_user"],
            &[Arg::Pv("uri"), Arg::Text("user")],
            "Changes the user part of the URI in a variable.",
            uri::set_uri_user,
        ),
        Function::anywhere(
            &["set_uri_host"],
            &[Arg::Pv("uri"), Arg::Text("host")],
            "Changes the host of the URI in a variable.",
            uri::set_uri_host,
        ),
        Function::anywhere(&["is_request"], &[], "True for a request.", |call| {
            Code::from(call.env.ctx.msg.is_request())
        }),
        Function::anywhere(&["is_reply"], &[], "True for a reply.", |call| {
            Code::from(call.env.ctx.msg.is_reply())
        }),
        Function::anywhere(&["is_sip"], &[], "True for a SIP message.", |call| {
            Code::from(!call.env.ctx.msg.is_http())
        }),
        Function::anywhere(&["is_http"], &[], "True for an HTTP message.", |call| {
            Code::from(call.env.ctx.msg.is_http())
        }),
        Function::anywhere(
            &["is_gruu"],
            &[Arg::OptText("uri")],
            "1 for a public GRUU, 2 for a temporary one.",
            uri::is_gruu,
        ),
        Function::anywhere(
            &["is_supported"],
            &[Arg::Text("option")],
            "True when Supported has an option.",
            check::is_supported,
        ),
        Function::anywhere(
            &["is_first_hop"],
            &[Arg::OptInt("mode")],
            "True when the message comes from where it began.",
            check::is_first_hop,
        ),
        Function::anywhere(
            &["sip_p_charging_vector"],
            &[Arg::Text("flags")],
            "P-Charging-Vector: r removed, g made, f made anew.",
            charging::manage,
        ),
        Function::anywhere(
            &["contact_param_encode"],
            &[Arg::Text("pname"), Arg::Text("saddr")],
            "Hides contacts in a parameter of a URI of ours.",
            contact::param_encode,
        ),
        Function::anywhere(
            &["contact_param_encode_alias"],
            &[Arg::Text("pname"), Arg::Text("saddr")],
            "The same with the source as alias.",
            contact::param_encode_alias,
        ),
        Function::anywhere(
            &["contact_param_decode"],
            &[Arg::Text("pname")],
            "Brings contacts hidden in a parameter back.",
            contact::param_decode,
        ),
        Function::anywhere(
            &["contact_param_decode_uri", "contact_param_decode_ruri"],
            &[Arg::Text("pname")],
            "Brings the Request-URI hidden in a parameter back.",
            contact::param_decode_uri,
        ),
        Function::anywhere(
            &["contact_param_rm"],
            &[Arg::Text("pname")],
            "Removes a parameter of the contacts' URIs.",
            contact::param_rm,
        ),
        Function::anywhere(
            &["contact_param_check"],
            &[Arg::Text("pname")],
            "True when a contact's URI has a parameter.",
            contact::param_check,
        ),
        Function::anywhere(
            &["hdr_date_check"],
            &[Arg::Int("tdiff")],
            "True when Date is not older than so many seconds.",
            check::hdr_date_check,
        ),
        Function::anywhere(
            &["sip_parse_headers"],
            &[],
            "True: headers were read before the script runs.",
            |_| Code::TRUE,
        ),
    ],
    pvs: charging::PVS,
    init: Some(init),
    ..ModuleDef::new(
        "siputils",
        "Checks and edits of URIs, numbers and Contact headers.",
    )
};

/// The module's parameters.
pub(super) struct Settings {
    /// Header lines of replies to OPTIONS.
    options: Vec<u8>,
    separator: u8,
    rpid_prefix: Vec<u8>,
    rpid_suffix: Vec<u8>,
    rpid: Option<Arc<PvRef>>,
    e164_max_len: usize,
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let options = [
        ("Accept", init.text("options_accept")),
        ("Accept-Encoding", init.text("options_accept_encoding")),
        ("Accept-Language", init.text("options_accept_language")),
        ("Supported", init.text("options_support")),
    ];
    let separator = init.text("contact_flds_separator");
    let Some(separator) = separator.bytes().next() else {
        return Err(InitError::Param {
            name: "contact_flds_separator",
            why: "it is empty".to_owned(),
        });
    };
    Ok(Arc::new(Settings {
        options: options
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .concat()
            .into_bytes(),
        separator,
        rpid_prefix: init.text("rpid_prefix").into_bytes(),
        rpid_suffix: init.text("rpid_suffix").into_bytes(),
        rpid: init.pv("rpid_avp"),
        e164_max_len: usize::try_from(init.int("e164_max_len")).unwrap_or(16),
    }))
}

#[cfg(test)]
mod tests;
