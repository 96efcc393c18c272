//! `loadmodule "textops"`: searching and editing the text of a message (Kamailio textops).

use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Function;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Routes;

pub(crate) mod body;
mod compare;
pub(crate) mod headers;
mod multipart;
mod replace;

/// A row for a function that may be called everywhere.
const fn anywhere(
    names: &'static [&'static str],
    args: &'static [Arg],
    doc: &'static str,
    call: fn(&mut Call<'_, '_>) -> Code,
) -> Function {
    Function {
        names,
        args,
        routes: Routes::ANY,
        doc,
        call,
    }
}

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[Param::Ignored(
        "mode_append_hf",
        "headers are always appended after the last one",
    )],
    functions: &[
        anywhere(
            &["search"],
            &[Arg::LineRegex("re")],
            "True when an expression is found in the message.",
            replace::search,
        ),
        anywhere(
            &["search_body"],
            &[Arg::LineRegex("re")],
            "True when an expression is found in the body.",
            replace::search_body,
        ),
        anywhere(
            &["search_str"],
            &[Arg::Text("text"), Arg::Regex("re")],
            "True when an expression is found in a text.",
            replace::search_str,
        ),
        anywhere(
            &["search_hf"],
            &[Arg::Text("hf"), Arg::LineRegex("re"), Arg::Text("flags")],
            "True when an expression is found in headers: a all, f the first, l the last.",
            replace::search_hf,
        ),
        anywhere(
            &["search_append"],
            &[Arg::LineRegex("re"), Arg::Text("txt")],
            "Inserts a text after the first match.",
            replace::search_append,
        ),
        anywhere(
            &["search_append_body"],
            &[Arg::LineRegex("re"), Arg::Text("txt")],
            "Inserts a text after the first match in the body.",
            replace::search_append_body,
        ),
        anywhere(
            &["replace"],
            &[Arg::LineRegex("re"), Arg::Text("txt")],
            "Replaces the first match in headers and body.",
            replace::replace,
        ),
        anywhere(
            &["replace_body"],
            &[Arg::LineRegex("re"), Arg::Text("txt")],
            "Replaces the first match in the body.",
            replace::replace_body,
        ),
        anywhere(
            &["replace_hdrs"],
            &[Arg::LineRegex("re"), Arg::Text("txt")],
            "Replaces the first match in the headers.",
            replace::replace_hdrs,
        ),
        anywhere(
            &["replace_all"],
            &[Arg::LineRegex("re"), Arg::Text("txt")],
            "Replaces every match in headers and body.",
            replace::replace_all,
        ),
        anywhere(
            &["replace_body_all"],
            &[Arg::LineRegex("re"), Arg::Text("txt")],
            "Replaces every match in the body, line by line.",
            replace::replace_body_all,
        ),
        anywhere(
            &["replace_body_atonce"],
            &[Arg::Regex("re"), Arg::Text("txt")],
            "Replaces every match in the body taken as a whole.",
            replace::replace_body_all,
        ),
        anywhere(
            &["replace_str"],
            &[Arg::Text("match"), Arg::Text("repl"), Arg::Text("mode")],
            "Replaces a text in headers and body: f the first, a all.",
            replace::replace_str,
        ),
        anywhere(
            &["replace_hdrs_str"],
            &[Arg::Text("match"), Arg::Text("repl"), Arg::Text("mode")],
            "Replaces a text in the headers.",
            replace::replace_hdrs_str,
        ),
        anywhere(
            &["replace_body_str"],
            &[Arg::Text("match"), Arg::Text("repl"), Arg::Text("mode")],
            "Replaces a text in the body.",
            replace::replace_body_str,
        ),
        anywhere(
            &["subst"],
            &[Arg::Subst("subst")],
            "Substitutes in headers and body.",
            replace::subst,
        ),
        anywhere(
            &["subst_uri"],
            &[Arg::Subst("subst")],
            "Substitutes in the Request-URI.",
            replace::subst_uri,
        ),
        anywhere(
            &["subst_user"],
            &[Arg::Subst("subst")],
            "Substitutes in the user part of the Request-URI.",
            replace::subst_user,
        ),
        anywhere(
            &["subst_body"],
            &[Arg::Subst("subst")],
            "Substitutes in the body.",
            replace::subst_body,
        ),
        anywhere(
            &["subst_hf"],
            &[Arg::Text("hf"), Arg::Subst("subst"), Arg::Text("flags")],
            "Substitutes in headers: a all, f the first, l the last.",
            replace::subst_hf,
        ),
        anywhere(
            &["subst_v"],
            &[Arg::Text("itext"), Arg::Text("subst"), Arg::Pv("opv")],
            "Substitutes in a text.",
            replace::subst_v,
        ),
        anywhere(
            &["regex_substring"],
            &[
                Arg::Text("itext"),
                Arg::Text("regexp"),
                Arg::Int("mindex"),
                Arg::Int("mcount"),
                Arg::Pv("dpv"),
            ],
            "Assigns a group of a match.",
            replace::regex_substring,
        ),
        anywhere(
            &["set_body"],
            &[Arg::Text("txt"), Arg::Text("content_type")],
            "Replaces the body.",
            body::set_body,
        ),
        anywhere(
            &["set_body_hex"],
            &[Arg::Text("txt"), Arg::Text("content_type")],
            "Replaces the body by bytes in hexadecimal.",
            body::set_body_hex,
        ),
        anywhere(
            &["set_reply_body"],
            &[Arg::Text("txt"), Arg::Text("content_type")],
            "Body of the replies made here.",
            body::set_reply_body,
        ),
        anywhere(
            &["set_reply_body_hex"],
            &[Arg::Text("txt"), Arg::Text("content_type")],
            "Body of the replies made here, in hexadecimal.",
            body::set_reply_body_hex,
        ),
        anywhere(
            &["filter_body"],
            &[Arg::Text("content_type")],
            "Keeps one part of a multipart body.",
            multipart::filter_body,
        ),
        anywhere(
            &["has_body"],
            &[Arg::OptText("mime")],
            "True when there is a body (of that type).",
            body::has_body,
        ),
        anywhere(
            &["is_audio_on_hold"],
            &[],
            "Above 0 when SDP has audio on hold: 1 by address, 2 by direction.",
            body::is_audio_on_hold,
        ),
        anywhere(
            &["set_body_multipart"],
            &[
                Arg::OptText("txt"),
                Arg::OptText("content_type"),
                Arg::OptText("boundary"),
            ],
            "Makes the body multipart.",
            multipart::set_body_multipart,
        ),
        anywhere(
            &["append_body_part"],
            &[
                Arg::Text("txt"),
                Arg::Text("content_type"),
                Arg::OptText("content_disposition"),
            ],
            "Adds a part to a multipart body.",
            multipart::append_body_part,
        ),
        anywhere(
            &["append_body_part_hex"],
            &[
                Arg::Text("txt"),
                Arg::Text("content_type"),
                Arg::OptText("content_disposition"),
            ],
            "Adds a part given in hexadecimal.",
            multipart::append_body_part_hex,
        ),
        anywhere(
            &["get_body_part"],
            &[Arg::Text("content_type"), Arg::Pv("opv")],
            "Assigns the content of a part.",
            multipart::get_body_part,
        ),
        anywhere(
            &["get_body_part_raw"],
            &[Arg::Text("content_type"), Arg::Pv("opv")],
            "Assigns a part with its headers.",
            multipart::get_body_part_raw,
        ),
        anywhere(
            &["remove_body_part"],
            &[Arg::Text("content_type")],
            "Removes a part.",
            multipart::remove_body_part,
        ),
        anywhere(
            &["append_to_reply"],
            &[Arg::Text("txt")],
            "Adds header lines to the replies made here.",
            headers::append_to_reply,
        ),
        anywhere(
            &["append_hf"],
            &[Arg::Text("txt"), Arg::OptText("hdr")],
            "Adds header lines after the last header (of that name).",
            headers::append_hf,
        ),
        anywhere(
            &["insert_hf"],
            &[Arg::Text("txt"), Arg::OptText("hdr")],
            "Adds header lines before the first header (of that name).",
            headers::insert_hf,
        ),
        anywhere(
            &["append_urihf"],
            &[Arg::Text("prefix"), Arg::Text("suffix")],
            "Adds a header with the received Request-URI.",
            headers::append_urihf,
        ),
        anywhere(
            &["append_time"],
            &[],
            "Adds Date to the replies made here.",
            headers::append_time,
        ),
        anywhere(
            &["append_time_to_request"],
            &[],
            "Adds Date to the message.",
            headers::append_time_to_request,
        ),
        anywhere(
            &["is_present_hf", "is_present_hf_pv"],
            &[Arg::Text("hf_name")],
            "True when there is such a header.",
            headers::is_present_hf,
        ),
        anywhere(
            &["is_present_hf_re"],
            &[Arg::Regex("hf_name_re")],
            "True when a header's name matches.",
            headers::is_present_hf_re,
        ),
        anywhere(
            &["is_present_hf_re_pv"],
            &[Arg::Regex("hf_name_re")],
            "True when a header's name matches.",
            headers::is_present_hf_re,
        ),
        anywhere(
            &["remove_hf", "remove_hf_pv"],
            &[Arg::Text("hname")],
            "Removes all headers of a name; true when there was one.",
            headers::remove_hf,
        ),
        anywhere(
            &["remove_hf_re", "remove_hf_re_pv"],
            &[Arg::Regex("re")],
            "Removes headers whose name matches.",
            headers::remove_hf_re,
        ),
        anywhere(
            &["remove_hf_exp", "remove_hf_exp_pv"],
            &[Arg::Regex("expmatch"), Arg::Regex("expskip")],
            "Removes headers whose name matches one expression and not the other.",
            headers::remove_hf_exp,
        ),
        anywhere(
            &["remove_hf_idx"],
            &[Arg::Text("hname"), Arg::Int("idx")],
            "Removes one of the headers of a name, negative from the end.",
            headers::remove_hf_idx,
        ),
        anywhere(
            &["remove_hf_match"],
            &[Arg::Text("hname"), Arg::Text("op"), Arg::Text("expr")],
            "Removes headers by value: eq, ne, in, re.",
            headers::remove_hf_match,
        ),
        anywhere(
            &["via_param_rm"],
            &[Arg::Text("name"), Arg::Int("idx")],
            "Removes a parameter of a Via.",
            headers::via_param_rm,
        ),
        anywhere(
            &["is_method"],
            &[Arg::Text("name")],
            "True when the method is one of those between |.",
            compare::is_method,
        ),
        anywhere(
            &["is_privacy"],
            &[Arg::Text("privacy_type")],
            "True when Privacy asks for it.",
            compare::is_privacy,
        ),
        anywhere(
            &["in_list"],
            &[Arg::Text("subject"), Arg::Text("list"), Arg::Text("separator")],
            "True when a text is in a list.",
            compare::in_list,
        ),
        anywhere(
            &["in_list_prefix"],
            &[Arg::Text("subject"), Arg::Text("list"), Arg::Text("separator")],
            "True when a text begins with an item of a list.",
            compare::in_list_prefix,
        ),
        anywhere(
            &["cmp_str"],
            &[Arg::Text("str1"), Arg::Text("str2")],
            "True when texts are equal.",
            compare::cmp_str,
        ),
        anywhere(
            &["cmp_istr"],
            &[Arg::Text("str1"), Arg::Text("str2")],
            "True when texts are equal without case.",
            compare::cmp_istr,
        ),
        anywhere(
            &["starts_with"],
            &[Arg::Text("str1"), Arg::Text("str2")],
            "True when the first text starts with the second.",
            compare::starts_with,
        ),
        anywhere(
            &["ends_with"],
            &[Arg::Text("str1"), Arg::Text("str2")],
            "True when the first text ends with the second.",
            compare::ends_with,
        ),
        anywhere(
            &["str_find"],
            &[Arg::Text("str1"), Arg::Text("str2")],
            "Place of the second text in the first, from 1.",
            compare::str_find,
        ),
        anywhere(
            &["str_ifind"],
            &[Arg::Text("str1"), Arg::Text("str2")],
            "The same without case.",
            compare::str_ifind,
        ),
        anywhere(
            &["str_any_in"],
            &[Arg::Text("txt"), Arg::Text("clist")],
            "True when any of the characters is in the text.",
            compare::str_any_in,
        ),
        anywhere(
            &["str_all_in"],
            &[Arg::Text("txt"), Arg::Text("clist")],
            "True when all of the characters are in the text.",
            compare::str_all_in,
        ),
    ],
    ..ModuleDef::new("textops", "Searches and edits the text of a message.")
};

#[cfg(test)]
mod tests;
