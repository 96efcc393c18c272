//! Requests of the proxy's own, as `t_uac_send()` and `tm.t_uac_start` describe them.

use crate::proxy::sockets::Sockets;
use crate::script::host::LocalRequest;
use crate::script::module::Call;
use crate::script::module::Code;
use shared::sip::NameAddr;
use shared::sip::Uri;

/// The CSeq of a request whose headers have none, as Kamailio's.
const CSEQ: u32 = 10;

/// A request as it is described; empty and a dot mean none.
pub(crate) struct Template<'a> {
    pub(crate) method: &'a str,
    pub(crate) uri: &'a str,
    /// Next hop.
    pub(crate) next: &'a str,
    /// Socket to send from.
    pub(crate) socket: &'a str,
    /// Header lines, From and To among them.
    pub(crate) headers: &'a str,
    pub(crate) body: Vec<u8>,
}

impl Template<'_> {
    /// The request, or what is wrong with it.
    pub(crate) fn request(self, sockets: &Sockets) -> Result<LocalRequest, String> {
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty() && text != ".");
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b);
        if self.method.is_empty() || !self.method.bytes().all(is_token) {
            return Err(format!("Invalid method {:?}", self.method));
        }
        let next = given(self.next);
        check(self.uri, "request")?;
        if let Some(next) = &next {
            check(next, "next hop")?;
        }
        let unknown = |text: &str| format!("No local socket for {text:?}");
        let socket = given(self.socket)
            .map(|text| sockets.named(&text).ok_or_else(|| unknown(&text)))
            .transpose()?;
        let mut request = LocalRequest {
            method: self.method.as_bytes().to_vec(),
            uri: self.uri.as_bytes().to_vec(),
            dst_uri: next.map(String::into_bytes),
            cseq: CSEQ,
            body: self.body,
            socket,
            ..LocalRequest::default()
        };
        let mut has_type = false;
        for line in self.headers.lines().filter(|line| !line.is_empty()) {
            has_type |= header(&mut request, line).ok_or("Invalid headers")?;
        }
        match () {
            () if request.to.is_empty() => Err("To missing".to_owned()),
            () if request.from.is_empty() => Err("From missing".to_owned()),
            () if !has_type && !request.body.is_empty() => Err("Content-Type missing".to_owned()),
            () => Ok(request),
        }
    }
}

fn check(uri: &str, what: &str) -> Result<(), String> {
    if Uri::parse(uri.as_bytes()).is_err() || uri.contains(char::is_control) {
        return Err(format!("Invalid {what} uri {uri:?}"));
    }
    Ok(())
}

/// Takes over a header line; tells whether it is a Content-Type.
fn header(request: &mut LocalRequest, line: &str) -> Option<bool> {
    let (name, value) = line.split_once(':')?;
    let (name, value) = (name.trim(), value.trim());
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return None;
    }
    match name.to_ascii_lowercase().as_str() {
        // what the transaction writes by itself
        "via" | "v" | "max-forwards" | "content-length" | "l" => {}
        "from" | "f" => (request.from, request.from_tag) = party(value)?,
        "to" | "t" => (request.to, request.to_tag) = party(value)?,
        "call-id" | "i" => request.call_id = Some(value.as_bytes().to_vec()),
        "cseq" => request.cseq = value.split_whitespace().next()?.parse().ok()?,
        lower => {
            let line = format!("{name}: {value}\r\n");
            request.headers.extend_from_slice(line.as_bytes());
            return Some(matches!(lower, "content-type" | "c"));
        }
    }
    Some(false)
}

/// The address of a From or To in brackets, and its tag.
fn party(value: &str) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let addr = NameAddr::parse(value.as_bytes()).ok()?;
    Uri::parse(addr.uri).ok()?;
    let mut text = addr.display.to_vec();
    if !text.is_empty() {
        text.push(b' ');
    }
    text.extend([b"<", addr.uri, b">"].concat());
    let tag = addr.tag().filter(|tag| !tag.is_empty());
    Some((text, tag.map(<[u8]>::to_vec)))
}

/// Header lines, each ended by CRLF.
pub(crate) fn header_lines(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.is_empty());
    lines.map(|line| format!("{line}\r\n")).collect()
}

/// `t_uac_send(method, ruri, nexthop, socket, headers, body)`; a dot behind the method: a 2xx is not acknowledged.
pub(super) fn t_uac_send(call: &mut Call<'_, '_>) -> Code {
    let texts: Vec<String> = (0..5)
        .map(|n| String::from_utf8_lossy(&call.text(n)).into_owned())
        .collect();
    let [method, uri, next, socket, headers] = texts.as_slice() else {
        return Code::FALSE;
    };
    let bare = method.strip_suffix('.');
    let template = Template {
        method: bare.unwrap_or(method),
        uri,
        next,
        socket,
        headers,
        body: call.text_owned(5),
    };
    match template.request(call.env.host.sockets()) {
        Ok(request) => call.env.host.originate(LocalRequest {
            no_ack: bare.is_some(),
            ..request
        }),
        Err(why) => {
            crate::log::error("tm", format_args!("t_uac_send: {why}"));
            Code::FALSE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::Template;
    use crate::script::testing::Stage;

    const HEADERS: &str =
        "From: <sip:al@a.test>;tag=f1\r\nTo: \"Bo\" <sip:bo@b.test>\r\nCSeq: 7 INFO\r\nX-A: 1\r\n";

    #[test]
    fn a_request_is_sent_as_described() {
        let mut stage = Stage::options();
        let typed = format!("{HEADERS}Content-Type: text/plain\r\n");
        let args = [
            "INVITE.",
            "sip:bo@b.test",
            "",
            "udp:127.0.0.1:5060",
            &typed,
            "hello",
        ];
        assert_eq!(stage.call(&MODULE, "t_uac_send", &args), 1);
        let sent = stage.host.originated.pop().expect("a request");
        assert_eq!(
            (&*sent.method, &*sent.uri),
            (&b"INVITE"[..], &b"sip:bo@b.test"[..])
        );
        assert_eq!(
            (&*sent.from, sent.from_tag.as_deref()),
            (&b"<sip:al@a.test>"[..], Some(&b"f1"[..]))
        );
        assert_eq!(
            (&*sent.to, sent.to_tag, sent.cseq),
            (&b"\"Bo\" <sip:bo@b.test>"[..], None, 7)
        );
        assert_eq!(sent.headers, b"X-A: 1\r\nContent-Type: text/plain\r\n");
        assert_eq!(
            (&*sent.body, sent.socket, sent.no_ack),
            (&b"hello"[..], Some(0), true)
        );
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let mut stage = Stage::options();
        for (args, expected) in [
            (["", "sip:b@b", "", "", HEADERS, ""], "Invalid method \"\""),
            (
                ["IN FO", "sip:b@b", "", "", HEADERS, ""],
                "Invalid method \"IN FO\"",
            ),
            (
                ["INFO", "bad", "", "", HEADERS, ""],
                "Invalid request uri \"bad\"",
            ),
            (
                ["INFO", "sip:b@b", "bad", "", HEADERS, ""],
                "Invalid next hop uri \"bad\"",
            ),
            (
                ["INFO", "sip:b@b", "", "udp:192.0.2.9:5060", HEADERS, ""],
                "No local socket for \"udp:192.0.2.9:5060\"",
            ),
            (["INFO", "sip:b@b", ".", ".", "nonsense", ""], "Invalid headers"),
            (["INFO", "sip:b@b", ".", ".", "From: sip:a@a", ""], "To missing"),
            (["INFO", "sip:b@b", ".", ".", "To: sip:a@a", ""], "From missing"),
            (
                ["INFO", "sip:b@b", "", "", HEADERS, "text"],
                "Content-Type missing",
            ),
        ] {
            let [method, uri, next, socket, headers, body] = args;
            let template = Template {
                method,
                uri,
                next,
                socket,
                headers,
                body: body.as_bytes().to_vec(),
            };
            let made = template.request(&stage.host.sockets).map(|_| ());
            assert_eq!(made, Err(expected.to_owned()));
            assert_eq!(stage.call(&MODULE, "t_uac_send", &args), -1, "{args:?}");
        }
        assert!(stage.host.originated.is_empty());
    }
}
