//! `loadmodule "textops"`: searching and editing the text of a message (Kamailio textops).

use crate::script::module::Arg;
use crate::script::module::Function;
use crate::script::module::ModuleDef;
use crate::script::module::Param;

pub(crate) mod body;
mod compare;
pub(crate) mod headers;
pub(crate) mod multipart;
mod replace;

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[Param::Ignored(
        "mode_append_hf",
        "headers are always appended after the last one",
    )],
    functions: &[
        Function::anywhere(
            &["search"],
            &[Arg::LineRegex("re")],
            "True when an expression is found in the message.",
            replace::search,
        ),
        Function::anywhere(
            &["search_body"],
            &[Arg::LineRegex("re")],
            "True when an expression is found in the body.",
            replace::search_body,
        ),
        Function::anywhere(
            &["search_str"],
            &[Arg::Text("text"), Arg::Regex("re")],
            "True when an expression is found in a text.",
            replace::search_str,
        ),
        Function::anywhere(
            &["search_hf"],
            &[Arg::Text("hf"), Arg::LineRegex("re"), Arg::Text("flags")],
            "True when an expression is found in headers: a all, f the first, l the last.",
            replace::search_hf,
        ),
        Function::anywhere(
            &["search_append"],
            &[Arg::LineRegex("re"), Arg::Text("txt")],
            "Inserts a text after the first match.",
            replace::search_append,
        ),
        Function::anywhere(
            &["search_append_body"],
            &[Arg::LineRegex("re"), Arg::Text("txt")],
            "Inserts a text after the first match in the body.",
            replace::search_append_body,
        ),
        Function::anywhere(
            &["replace"],
            &[Arg::LineRegex("re"), Arg::Text("txt")],
            "Replaces the first match in headers and body.",
            replace::replace,
        ),
        Function::anywhere(
            &["replace_body"],
            &[Arg::LineRegex("re"), Arg::Text("txt")],
            "Replaces the first match in the body.",
            replace::replace_body,
        ),
        Function::anywhere(
            &["replace_hdrs"],
            &[Arg::LineRegex("re"), Arg::Text("txt")],
            "Replaces the first match in the headers.",
            replace::replace_hdrs,
        ),
        Function::anywhere(
            &["replace_all"],
            &[Arg::LineRegex("re"), Arg::Text("txt")],
            "Replaces every match in headers and body.",
            replace::replace_all,
        ),
        Function::anywhere(
            &["replace_body_all"],
            &[Arg::LineRegex("re"), Arg::Text("txt")],
            "Replaces every match in the body, line by line.",
            replace::replace_body_all,
        ),
        Function::anywhere(
            &["replace_body_atonce"],
            &[Arg::Regex("re"), Arg::Text("txt")],
            "Replaces every match in the body taken as a whole.",
            replace::replace_body_all,
        ),
        Function::anywhere(
            &["replace_str"],
            &[Arg::Text("match"), Arg::Text("repl"), Arg::Text("mode")],
            "Replaces a text in headers and body: f the first, a all.",
            replace::replace_str,
        ),
        Function::anywhere(
            &["replace_hdrs_str"],
            &[Arg::Text("match"), Arg::Text("repl"), Arg::Text("mode")],
            "Replaces a text in the headers.",
            replace::replace_hdrs_str,
        ),
        Function::anywhere(
            &["replace_body_str"],
            &[Arg::Text("match"), Arg::Text("repl"), Arg::Text("mode")],
            "Replaces a text in the body.",
            replace::replace_body_str,
        ),
        Function::anywhere(
            &["subst"],
            &[Arg::Subst("subst")],
            "Substitutes in headers and body.",
            replace::subst,
        ),
        Function::anywhere(
            &["subst_uri"],
            &[Arg::Subst("subst")],
            "Substitutes in the Request-URI.",
            replace::subst_uri,
        ),
        Function::anywhere(
            &["subst_user"],
            &[Arg::Subst("subst")],
            "Substitutes in the user part of the Request-URI.",
            replace::subst_user,
        ),
        Function::anywhere(
            &["subst_body"],
            &[Arg::Subst("subst")],
            "Substitutes in the body.",
            replace::subst_body,
        ),
        Function::anywhere(
            &["subst_hf"],
            &[Arg::Text("hf"), Arg::Subst("subst"), Arg::Text("flags")],
            "Substitutes in headers: a all, f the first, l the last.",
            replace::subst_hf,
        ),
        Function::anywhere(
            &["subst_v"],
            &[Arg::Text("itext"), Arg::Text("subst"), Arg::Pv("opv")],
            "Substitutes in a text.",
            replace::subst_v,
        ),
        Function::anywhere(
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
        Function::anywhere(
            &["set_body"],
            &[Arg::Text("txt"), Arg::Text("content_type")],
            "Replaces the body.",
            body::set_body,
        ),
        Function::anywhere(
            &["set_body_hex"],
            &[Arg::Text("txt"), Arg::Text("content_type")],
            "Replaces the body by bytes in hexadecimal.",
            body::set_body_hex,
        ),
        Function::anywhere(
            &["set_reply_body"],
            &[Arg::Text("txt"), Arg::Text("content_type")],
            "Body of the replies made here.",
            body::set_reply_body,
        ),
        Function::anywhere(
            &["set_reply_body_hex"],
            &[Arg::Text("txt"), Arg::Text("content_type")],
            "Body of the replies made here, in hexadecimal.",
            body::set_reply_body_hex,
        ),
        Function::anywhere(
            &["filter_body"],
            &[Arg::Text("content_type")],
            "Keeps one part of a multipart body.",
            multipart::filter_body,
        ),
        Function::anywhere(
            &["has_body"],
            &[Arg::OptText("mime")],
            "True when there is a body (of that type).",
            body::has_body,
        ),
        Function::anywhere(
            &["is_audio_on_hold"],
            &[],
            "Above 0 when SDP has audio on hold: 1 by address, 2 by direction.",
            body::is_audio_on_hold,
        ),
        Function::anywhere(
            &["set_body_multipart"],
            &[
                Arg::OptText("txt"),
                Arg::OptText("content_type"),
                Arg::OptText("boundary"),
            ],
            "Makes the body multipart.",
            multipart::set_body_multipart,
        ),
        Function::anywhere(
            &["append_body_part"],
            &[
                Arg::Text("txt"),
                Arg::Text("content_type"),
                Arg::OptText("content_disposition"),
            ],
            "Adds a part to a multipart body.",
            multipart::append_body_part,
        ),
        Function::anywhere(
            &["append_body_part_hex"],
            &[
                Arg::Text("txt"),
                Arg::Text("content_type"),
                Arg::OptText("content_disposition"),
            ],
            "Adds a part given in hexadecimal.",
            multipart::append_body_part_hex,
        ),
        Function::anywhere(
            &["get_body_part"],
            &[Arg::Text("content_type"), Arg::Pv("opv")],
            "Assigns the content of a part.",
            multipart::get_body_part,
        ),
        Function::anywhere(
            &["get_body_part_raw"],
            &[Arg::Text("content_type"), Arg::Pv("opv")],
            "Assigns a part with its headers.",
            multipart::get_body_part_raw,
        ),
        Function::anywhere(
            &["remove_body_part"],
            &[Arg::Text("content_type")],
            "Removes a part.",
            multipart::remove_body_part,
        ),
        Function::anywhere(
            &["append_to_reply"],
            &[Arg::Text("txt")],
            "Adds header lines to the replies made here.",
            headers::append_to_reply,
        ),
        Function::anywhere(
            &["append_hf"],
            &[Arg::Text("txt"), Arg::OptText("hdr")],
            "Adds header lines after the last header (of that name).",
            headers::append_hf,
        ),
        Function::anywhere(
            &["insert_hf"],
            &[Arg::Text("txt"), Arg::OptText("hdr")],
            "Adds header lines before the first header (of that name).",
            headers::insert_hf,
        ),
        Function::anywhere(
            &["append_urihf"],
            &[Arg::Text("prefix"), Arg::Text("suffix")],
            "Adds a header with the received Request-URI.",
            headers::append_urihf,
        ),
        Function::anywhere(
            &["append_time"],
            &[],
            "Adds Date to the replies made here.",
            headers::append_time,
        ),
        Function::anywhere(
            &["append_time_to_request"],
            &[],
            "Adds Date to the message.",
            headers::append_time_to_request,
        ),
        Function::anywhere(
            &["is_present_hf", "is_present_hf_pv"],
            &[Arg::Text("hf_name")],
            "True when there is such a header.",
            headers::is_present_hf,
        ),
        Function::anywhere(
            &["is_present_hf_re"],
            &[Arg::Regex("hf_name_re")],
            "True when a header's name matches.",
            headers::is_present_hf_re,
        ),
        Function::anywhere(
            &["is_present_hf_re_pv"],
            &[Arg::Regex("hf_name_re")],
            "True when a header's name matches.",
            headers::is_present_hf_re,
        ),
        Function::anywhere(
            &["remove_hf"],
            &[Arg::Text("hname")],
            "Removes all headers of a name; true when there was one.",
            headers::remove_hf,
        ),
        Function::anywhere(
            &["remove_hf_pv"],
            &[Arg::Text("hname")],
            "Removes all headers of a name, of which there may be none.",
            headers::remove_hf_pv,
        ),
        Function::anywhere(
            &["remove_hf_re", "remove_hf_re_pv"],
            &[Arg::Regex("re")],
            "Removes headers whose name matches.",
            headers::remove_hf_re,
        ),
        Function::anywhere(
            &["remove_hf_exp", "remove_hf_exp_pv"],
            &[Arg::Regex("expmatch"), Arg::Regex("expskip")],
            "Removes headers whose name matches one expression and not the other.",
            headers::remove_hf_exp,
        ),
        Function::anywhere(
            &["remove_hf_idx"],
            &[Arg::Text("hname"), Arg::Int("idx")],
            "Removes one of the headers of a name, negative from the end.",
            headers::remove_hf_idx,
        ),
        Function::anywhere(
            &["remove_hf_match"],
            &[Arg::Text("hname"), Arg::Text("op"), Arg::Text("expr")],
            "Removes headers by value: eq, ne, in, re.",
            headers::remove_hf_match,
        ),
        Function::anywhere(
            &["via_param_rm"],
            &[Arg::Text("name"), Arg::Int("idx")],
            "Removes a parameter of a Via.",
            headers::via_param_rm,
        ),
        Function::anywhere(
            &["is_method"],
            &[Arg::Text("name")],
            "True when the method is one of those between |.",
            compare::is_method,
        ),
        Function::anywhere(
            &["is_privacy"],
            &[Arg::Text("privacy_type")],
            "True when Privacy asks for it.",
            compare::is_privacy,
        ),
        Function::anywhere(
            &["in_list"],
            &[Arg::Text("subject"), Arg::Text("list"), Arg::Text("separator")],
            "True when a text is in a list.",
            compare::in_list,
        ),
        Function::anywhere(
            &["in_list_prefix"],
            &[Arg::Text("subject"), Arg::Text("list"), Arg::Text("separator")],
            "True when a text begins with an item of a list.",
            compare::in_list_prefix,
        ),
        Function::anywhere(
            &["cmp_str"],
            &[Arg::Text("str1"), Arg::Text("str2")],
            "True when texts are equal.",
            compare::cmp_str,
        ),
        Function::anywhere(
            &["cmp_istr"],
            &[Arg::Text("str1"), Arg::Text("str2")],
            "True when texts are equal without case.",
            compare::cmp_istr,
        ),
        Function::anywhere(
            &["starts_with"],
            &[Arg::Text("str1"), Arg::Text("str2")],
            "True when the first text starts with the second.",
            compare::starts_with,
        ),
        Function::anywhere(
            &["ends_with"],
            &[Arg::Text("str1"), Arg::Text("str2")],
            "True when the first text ends with the second.",
            compare::ends_with,
        ),
        Function::anywhere(
            &["str_find"],
            &[Arg::Text("str1"), Arg::Text("str2")],
            "Place of the second text in the first, from 1.",
            compare::str_find,
        ),
        Function::anywhere(
            &["str_ifind"],
            &[Arg::Text("str1"), Arg::Text("str2")],
            "The same without case.",
            compare::str_ifind,
        ),
        Function::anywhere(
            &["str_any_in"],
            &[Arg::Text("txt"), Arg::Text("clist")],
            "True when any of the characters is in the text.",
            compare::str_any_in,
        ),
        Function::anywhere(
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
