//! Core parameters, custom parameters, sockets, flags, modules and their parameters.

use super::Additions;
use super::Compiler;
use crate::proxy::branch::MAX_BRANCHES;
use crate::proxy::branch::USUAL_BRANCHES;
use crate::proxy::context::Defaults;
use crate::proxy::context::Switches;
use crate::script::ast;
use crate::script::ast::Constant;
use crate::script::ast::Item;
use crate::script::core_params;
use crate::script::core_params::Kind;
use crate::script::diag::Diagnostic;
use crate::script::diag::did_you_mean;
use crate::script::exec;
use crate::script::module::Loaded;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::ParamValue;
use crate::script::module::Params;
use crate::script::module::Script;
use crate::script::module::States;
use crate::script::nowhere::expand_alone;
use crate::script::parse::pv as parse;
use crate::script::parse::pv::Place;
use crate::script::program::Custom;
use crate::script::program::ListenOn;
use crate::script::span::Span;
use shared::net::SocketSpec;
use shared::regex::Options;
use shared::regex::Regex;
use std::sync::Arc;

/// What Server and User-Agent say unless the script says otherwise.
const AGENT: &str = concat!("proxyd (", env!("CARGO_PKG_VERSION"), ")");

impl Compiler {
    /// Everything outside of route blocks.
    pub(super) fn settings(&mut self, script: &ast::Script, additions: &Additions) {
        for name in &additions.modules {
            self.load(name, Span::default());
        }
        for item in &script.items {
            match item {
                Item::LoadModule(name) => self.load(&name.text, name.span),
                Item::Flags(flags) => self.flags(flags),
                Item::AvpFlags(flags) => self.avp_flags(flags),
                Item::Global(global) => self.global(global),
                Item::Listen(listen) => self.listen(listen),
                Item::ModParam(_) | Item::LoadPath(_) | Item::Route(_) => {}
            }
        }
        self.check_needs();
        for item in &script.items {
            let Item::ModParam(param) = item else { continue };
            let (modules, name) = (&param.modules, &param.name);
            match self.expanded(param) {
                None => self.modparam(&modules.text, modules.span, name, &param.value),
                Some(value) => self.modparam(&modules.text, modules.span, name, &value),
            }
        }
        for (modules, name, value) in &additions.modparams {
            let value = match value {
                ParamValue::Int(n) => Constant::Int(*n),
                ParamValue::Text(text) => Constant::Str(String::from_utf8_lossy(text).into_owned()),
            };
            let name = ast::Name {
                text: name.clone(),
                span: Span::default(),
            };
            self.modparam(
                modules,
                Span::default(),
                &name,
                &ast::GlobalValue {
                    value,
                    span: Span::default(),
                },
            );
        }
        self.derived();
    }

    /// The value of a `modparamx` with its pseudo-variables put in; none when it has none.
    fn expanded(&mut self, param: &ast::ModParam) -> Option<ast::GlobalValue> {
        let Constant::Str(text) = &param.value.value else {
            return None;
        };
        if !param.expand || !text.contains('$') {
            return None;
        }
        let span = param.value.span;
        // what is no format is reported, and stays as it is
        let format = self.text(text, span)?;
        let script = Script {
            program: std::mem::take(&mut self.program),
            modules: Vec::new(),
            states: States::default(),
        };
        let value = expand_alone(&script, crate::clock::wall(), &format);
        self.program = script.program;
        let value = Constant::Str(String::from_utf8_lossy(&value).into_owned());
        Some(ast::GlobalValue { value, span })
    }

    fn load(&mut self, file: &str, span: Span) {
        let Some(module) = self.lookup.module(file) else {
            let name = file.rsplit('/').next().unwrap_or(file).trim_end_matches(".so");
            let help = self.lookup.module_help(name);
            self.report(
                Diagnostic::error("unknown-module", span, format!("unknown module `{name}`"))
                    .maybe_help(help),
            );
            self.missing.push(name.to_owned());
            return;
        };
        if self.lookup.loaded.iter().any(|loaded| loaded.name == module.name) {
            self.report(Diagnostic::warning(
                "module",
                span,
                format!("module `{}` is loaded twice", module.name),
            ));
            return;
        }
        self.lookup.loaded.push(module);
        self.loaded.push(Loaded {
            def: module,
            params: Params::default(),
        });
    }

    fn check_needs(&mut self) {
        let loaded = self.lookup.loaded.clone();
        for module in &loaded {
            for need in module.needs {
                if !loaded.iter().any(|other| other.name == *need) {
                    let message = format!("module `{}` needs `loadmodule \"{need}.so\"`", module.name);
                    self.error("module-needs", Span::default(), message);
                }
            }
        }
    }

    fn flags(&mut self, flags: &[ast::Flag]) {
        for flag in flags {
            let next = || (0..32).find(|n| !self.program.flags.values().any(|used| used == n));
            let number = match flag.number {
                Some(n) => u32::try_from(n).ok().filter(|n| *n < 32),
                None => next(),
            };
            let Some(number) = number else {
                self.error(
                    "flag",
                    flag.name.span,
                    format!("flag `{}` needs a number from 0 to 31", flag.name.text),
                );
                continue;
            };
            self.program.flags.insert(flag.name.text.as_str().into(), number);
            self.lookup.flags.insert(flag.name.text.clone(), number);
        }
    }

    /// Flags of AVPs are numbered as they are declared.
    fn avp_flags(&mut self, flags: &[ast::Flag]) {
        for flag in flags {
            let known = &mut self.program.avp_flags;
            let next = u32::try_from(known.len()).unwrap_or(u32::MAX);
            if next >= 32 {
                self.error("flag", flag.name.span, "there are 32 flags of AVPs at most");
                return;
            }
            known.entry(flag.name.text.as_str().into()).or_insert(next);
        }
    }

    fn global(&mut self, global: &ast::Global) {
        let name = global.name();
        let Some(param) = core_params::find(&name) else {
            if let [group, name] = global.path.as_slice() {
                self.custom(global, &group.text, &name.text);
                return;
            }
            let help = did_you_mean(&name, core_params::names());
            let report = Diagnostic::error(
                "unknown-parameter",
                global.span,
                format!("unknown core parameter `{name}`"),
            );
            self.report(report.maybe_help(help));
            return;
        };
        let Some(canonical) = param.names.first().copied() else {
            return;
        };
        for value in &global.values {
            let compiled = match (param.kind, &value.value) {
                (Kind::Ignored(why), _) => {
                    let message = format!("`{name}` has no effect here: {why}");
                    self.report(Diagnostic::note("ignored", global.span, message));
                    None
                }
                (Kind::Int | Kind::Bool, constant) => match constant.as_int() {
                    Some(n) => Some(ParamValue::Int(n)),
                    None => {
                        let wanted = if param.kind == Kind::Bool {
                            "yes or no"
                        } else {
                            "a number"
                        };
                        self.error(
                            "parameter",
                            value.span,
                            format!("core parameter `{name}` needs {wanted}"),
                        );
                        None
                    }
                },
                (Kind::Text, Constant::Int(n)) => Some(ParamValue::Text(n.to_string().into_bytes())),
                (Kind::Text | Kind::Name, constant) => Some(ParamValue::Text(constant.text().into_bytes())),
                (Kind::Engine, constant) => {
                    let engine = constant.text();
                    if !["native", "default"].contains(&engine.as_str()) {
                        let message = format!("script engine `{engine}` is not there: only `native` is");
                        self.error("parameter", value.span, message);
                    }
                    None
                }
            };
            if let Some(compiled) = compiled {
                self.program.settings.entry(canonical).or_default().push(compiled);
            }
        }
    }

    fn custom(&mut self, global: &ast::Global, group: &str, name: &str) {
        let Some(value) = global.values.first() else {
            return;
        };
        let value = match &value.value {
            Constant::Int(n) => ParamValue::Int(*n),
            Constant::Str(text) => ParamValue::Text(text.clone().into_bytes()),
            Constant::Word(word) => match value.value.as_int() {
                Some(n) => ParamValue::Int(n),
                None => {
                    let message = format!("`{group}.{name}` needs a number or text in quotes");
                    let report = Diagnostic::error("parameter", value.span, message);
                    self.report(report.help(format!("put it in quotes: \"{word}\"")));
                    return;
                }
            },
        };
        let description = global.description.as_deref().unwrap_or("").into();
        self.program
            .customs
            .insert((group.into(), name.into()), Custom { value, description });
    }

    fn listen(&mut self, listen: &ast::Listen) {
        let mut text = listen.address.text.clone();
        if let Some(advertise) = &listen.advertise {
            text.push_str(" advertise ");
            text.push_str(&advertise.text);
        }
        match text.parse::<SocketSpec>() {
            Ok(mut spec) => {
                spec.name = listen.name.as_ref().map(|name| name.text.clone());
                self.program.listens.push(ListenOn {
                    spec,
                    is_virtual: listen.is_virtual,
                });
            }
            Err(error) => self.error("socket", listen.address.span, error.to_string()),
        }
    }

    /// What other parts ask for often, worked out once.
    fn derived(&mut self) {
        let header = |value: Option<std::borrow::Cow<'_, str>>, name: &str| -> Box<[u8]> {
            let Some(value) = value else {
                return AGENT.as_bytes().into();
            };
            // Kamailio: the parameter holds the whole header line
            let own = value
                .get(..name.len())
                .filter(|start| start.eq_ignore_ascii_case(name));
            let bare = own.and_then(|_| value.get(name.len()..)?.trim_start().strip_prefix(':'));
            bare.unwrap_or(&value).trim().as_bytes().into()
        };
        let server = header(self.program.setting_text("server_header"), "Server");
        let agent = header(self.program.setting_text("user_agent_header"), "User-Agent");
        let signed = self.program.setting_int("server_signature").unwrap_or(1) != 0;
        self.program.server = signed.then_some(server).filter(|value| !value.is_empty());
        self.program.user_agent = Some(agent).filter(|value| !value.is_empty());
        if let Some(text) = self.program.setting_text("log_prefix") {
            match self.lookup.format_bytes(text.as_bytes()) {
                Ok(format) => self.program.log_prefix = Some(format),
                Err(why) => self.error("value", Span::default(), format!("log_prefix: {why}")),
            }
        }
        let limit =
            |value: Option<i64>, default: u32| value.and_then(|n| u32::try_from(n).ok()).unwrap_or(default);
        self.program.while_limit = limit(self.program.setting_int("max_while_loops"), 100);
        let is_set = |name: &str| self.program.setting_int(name).is_some_and(|value| value != 0);
        self.program.defaults = Defaults {
            switches: Switches {
                force_rport: is_set("force_rport"),
                local_rport: is_set("local_rport"),
                reply_to_via: is_set("reply_to_via"),
                sip_warning: is_set("sip_warning"),
                ..Switches::default()
            },
            most_branches: (limit(self.program.setting_int("max_branches"), USUAL_BRANCHES as u32) as usize)
                .clamp(1, MAX_BRANCHES),
        };
        let longest = self.program.setting_int("msg_recv_max_size");
        self.program.message_limit = longest.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
        self.program.route_limit = limit(self.program.setting_int("max_recursive_level"), 256).clamp(1, 1024);
    }

    fn modparam(&mut self, modules: &str, modules_span: Span, name: &ast::Name, value: &ast::GlobalValue) {
        let pattern = format!("^({modules})$");
        let plain = Options {
            ignore_case: false,
            newline: false,
        };
        let Ok(regex) = Regex::compile(pattern.as_bytes(), plain) else {
            self.error(
                "modparam",
                modules_span,
                format!("`{modules}` is no list of modules"),
            );
            return;
        };
        let matching: Vec<usize> = (0..self.loaded.len())
            .filter(|at| {
                self.loaded
                    .get(*at)
                    .is_some_and(|loaded| regex.is_match(loaded.def.name.as_bytes()))
            })
            .collect();
        if matching.is_empty() {
            self.unmatched(modules, modules_span);
            return;
        }
        let defs: Vec<&'static ModuleDef> = matching
            .iter()
            .filter_map(|at| self.loaded.get(*at))
            .map(|loaded| loaded.def)
            .collect();
        let mut known = false;
        for (at, def) in matching.iter().zip(&defs) {
            let Some(param) = def.params.iter().find(|param| param.name() == name.text) else {
                continue;
            };
            known = true;
            self.module_param(*at, def, param, value);
        }
        if !known {
            let names = defs.iter().flat_map(|def| def.params.iter().map(Param::name));
            let help = did_you_mean(&name.text, names);
            let owner = match defs.as_slice() {
                [one] => format!("module `{}` has", one.name),
                _ => format!("none of the modules `{modules}` has"),
            };
            let negation = if defs.len() == 1 { "no" } else { "a" };
            let message = format!("{owner} {negation} parameter `{}`", name.text);
            self.report(Diagnostic::error("unknown-modparam", name.span, message).maybe_help(help));
        }
    }

    fn unmatched(&mut self, modules: &str, span: Span) {
        if modules
            .split('|')
            .any(|name| self.missing.iter().any(|missing| missing == name))
        {
            // its loadmodule was reported
            return;
        }
        let exists = modules
            .split('|')
            .find(|name| self.lookup.modules.iter().any(|module| module.name == *name));
        let report = match exists {
            Some(name) => Diagnostic::error("modparam", span, format!("module `{name}` is not loaded"))
                .help(format!("it needs `loadmodule \"{name}.so\"`")),
            None => {
                let help = self.lookup.module_help(modules);
                Diagnostic::error("modparam", span, format!("unknown module `{modules}`")).maybe_help(help)
            }
        };
        self.report(report);
    }

    fn module_param(&mut self, at: usize, def: &ModuleDef, param: &'static Param, value: &ast::GlobalValue) {
        let title = || format!("parameter `{}` of module `{}`", param.name(), def.name);
        let mut pv = None;
        let compiled = match param {
            Param::Ignored(_, why) => {
                let message = format!("{} has no effect here: {why}", title());
                self.report(Diagnostic::note("ignored", value.span, message));
                return;
            }
            Param::Int(..) => {
                let number = match &value.value {
                    Constant::Str(text) => exec::whole_int(text.trim().as_bytes())
                        .or_else(|| Constant::Word(text.clone()).as_int()),
                    other => other.as_int(),
                };
                match number {
                    Some(n) => ParamValue::Int(n),
                    None => {
                        self.error("modparam-type", value.span, format!("{} needs a number", title()));
                        return;
                    }
                }
            }
            Param::Text(..) | Param::List(..) => ParamValue::Text(value.value.text().into_bytes()),
            Param::Pv(..) => {
                let text = value.value.text();
                if !text.is_empty() {
                    let place = Place {
                        span: value.span,
                        offset: None,
                    };
                    match parse::parse(text.trim(), place).map(|pv| self.lookup.variable(&pv, text.trim())) {
                        Ok(Ok(compiled)) => pv = Some((param.name(), Arc::new(compiled))),
                        Ok(Err(_)) => {
                            // compiled once more as text, which reports the place
                            self.text(&text, value.span);
                            return;
                        }
                        Err(_) => {
                            let message = format!("{} needs a pseudo-variable, such as \"$avp(x)\"", title());
                            self.error("modparam-type", value.span, message);
                            return;
                        }
                    }
                }
                ParamValue::Text(text.into_bytes())
            }
        };
        if let Some(loaded) = self.loaded.get_mut(at) {
            loaded.params.values.push((param.name(), compiled));
            loaded.params.pvs.extend(pv);
        }
    }
}

/// Puts every module behind those it needs, else in the order they were loaded.
pub(super) fn ordered(mut loaded: Vec<Loaded>) -> Vec<Loaded> {
    let mut out: Vec<Loaded> = Vec::with_capacity(loaded.len());
    while !loaded.is_empty() {
        let names: Vec<&str> = loaded.iter().map(|module| module.def.name).collect();
        let ready = loaded
            .iter()
            .position(|module| !module.def.needs.iter().any(|need| names.contains(need)));
        // modules that need each other stay as they are
        out.push(loaded.remove(ready.unwrap_or(0)));
    }
    out
}
