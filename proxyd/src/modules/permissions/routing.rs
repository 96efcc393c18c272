//! `allow_routing`, `allow_register`, `allow_uri`: pairs of URIs against files of rules (Kamailio module permissions).

use super::Permissions;
use super::files::decide;
use crate::script::module::Call;
use crate::script::module::Code;
use shared::sip::NameAddr;
use shared::sip::Uri;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::path::PathBuf;

/// How much of a URI the expressions see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// Scheme, user, host.
    Plain,
    /// The port too.
    Port,
}

/// A URI without parameters, as the expressions see it.
fn plain(text: &[u8], shown: Shown) -> Option<Vec<u8>> {
    let uri = Uri::parse(text).ok()?;
    let mut out = Vec::with_capacity(text.len());
    let scheme = memchr::memchr(b':', text)
        .and_then(|at| text.get(..at))
        .unwrap_or(b"sip");
    out.extend_from_slice(scheme);
    out.push(b':');
    if let Some(user) = uri.user {
        out.extend_from_slice(user);
        if !uri.host.is_empty() {
            out.push(b'@');
        }
    }
    out.extend_from_slice(uri.host);
    if let Some(port) = uri.port.filter(|_| shown == Shown::Port) {
        out.push(b':');
        out.extend_from_slice(port.to_string().as_bytes());
    }
    Some(out)
}

impl Permissions {
    /// The two files of a basename.
    pub(super) fn paths(&self, basename: &[u8]) -> [PathBuf; 2] {
        let [allow, deny] = &self.suffixes;
        let path = |suffix: &str| {
            let mut name = basename.to_vec();
            name.extend_from_slice(suffix.as_bytes());
            self.folder.join(std::ffi::OsStr::from_bytes(&name))
        };
        [path(allow), path(deny)]
    }

    fn decide(&self, [allow, deny]: &[PathBuf; 2], from: &[u8], uris: &[Vec<u8>]) -> bool {
        let uris: Vec<&[u8]> = uris.iter().map(Vec::as_slice).collect();
        let rules = |path: &Path| {
            if path.as_os_str().is_empty() {
                Default::default()
            } else {
                self.files.rules(path)
            }
        };
        decide(&rules(allow), &rules(deny), from, &uris)
    }
}

/// The files that the arguments name: a basename, or two files.
fn files(state: &Permissions, call: &Call<'_, '_>) -> [PathBuf; 2] {
    if !call.has(0) {
        return state.default_files.clone();
    }
    if !call.has(1) {
        return state.paths(&call.text(0));
    }
    [0, 1].map(|n| state.folder.join(std::ffi::OsStr::from_bytes(&call.text(n))))
}

fn address_uri<'m>(addr: Option<NameAddr<'m>>) -> Option<Vec<u8>> {
    plain(addr?.uri, Shown::Plain)
}

fn unreadable(call: &Call<'_, '_>, what: &str) -> Code {
    crate::log::error(
        "permissions",
        format_args!("{}: {what} cannot be read", call.name),
    );
    Code::FALSE
}

pub(super) fn allow_routing(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Permissions>() else {
        return Code::FALSE;
    };
    let ctx = &*call.env.ctx;
    let Some(from) = address_uri(ctx.msg.from()) else {
        return unreadable(call, "From");
    };
    let branches = ctx.branches.iter().map(|branch| branch.uri.as_slice());
    let branches = branches.take(if state.check_all_branches { usize::MAX } else { 0 });
    let uris: Option<Vec<_>> = std::iter::once(ctx.uri())
        .chain(branches)
        .map(|uri| plain(uri, Shown::Plain))
        .collect();
    let Some(uris) = uris else {
        return unreadable(call, "the Request-URI");
    };
    state.decide(&files(state, call), &from, &uris).into()
}

fn register(call: &mut Call<'_, '_>, shown: Shown) -> Code {
    let Some(state) = call.state::<Permissions>() else {
        return Code::FALSE;
    };
    let msg = &call.env.ctx.msg;
    let Some(to) = address_uri(msg.to()) else {
        return unreadable(call, "To");
    };
    let mut uris = Vec::new();
    for contact in msg.contacts() {
        let Ok(contact) = contact else {
            return unreadable(call, "a Contact");
        };
        if contact.is_star() {
            return Code::TRUE;
        }
        let Some(uri) = plain(contact.uri(), shown) else {
            return unreadable(call, "a Contact");
        };
        uris.push(uri);
    }
    state.decide(&files(state, call), &to, &uris).into()
}

pub(super) fn allow_register(call: &mut Call<'_, '_>) -> Code {
    register(call, Shown::Plain)
}

pub(super) fn allow_register_include_port(call: &mut Call<'_, '_>) -> Code {
    register(call, Shown::Port)
}

pub(super) fn allow_refer_to(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Permissions>() else {
        return Code::FALSE;
    };
    let msg = &call.env.ctx.msg;
    let Some(from) = address_uri(msg.from()) else {
        return unreadable(call, "From");
    };
    let refer_to = msg.all_named(b"Refer-To").next().map(|header| msg.value(header));
    let refer_to = refer_to.and_then(|value| address_uri(NameAddr::parse(value).ok()));
    let Some(refer_to) = refer_to else {
        return unreadable(call, "Refer-To");
    };
    state.decide(&files(state, call), &from, &[refer_to]).into()
}

pub(super) fn allow_uri(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Permissions>() else {
        return Code::FALSE;
    };
    let Some(from) = address_uri(call.env.ctx.msg.from()) else {
        return unreadable(call, "From");
    };
    let Some(uri) = plain(&call.text(1), Shown::Plain) else {
        return unreadable(call, "the URI");
    };
    state.decide(&state.paths(&call.text(0)), &from, &[uri]).into()
}
