//! Requests of the proxy's own, as `t_uac_send()` and `tm.t_uac_start` describe them.

use crate::proxy::context::SocketId;
use crate::proxy::sockets::Sockets;
use crate::script::host::LocalRequest;
use crate::script::module::Call;
use crate::script::module::Code;
use shared::net::SocketSpec;
use shared::sip::HeaderName;
use shared::sip::Message;
use shared::sip::Uri;

/// Headers that the transaction writes itself, with their compact forms.
const OWN: [&str; 9] = [
    "From",
    "To",
    "Call-ID",
    "CSeq",
    "Content-Length",
    "f",
    "t",
    "i",
    "l",
];

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
        let Self { method, uri, .. } = self;
        if method.is_empty() || method.contains(char::is_whitespace) {
            return Err("Empty method".to_owned());
        }
        let check = |uri: &str, what: &str| {
            let known = Uri::parse(uri.as_bytes()).map(|_| ());
            known.map_err(|_| format!("Invalid {what} \"{uri}\""))
        };
        check(uri, "request uri")?;
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty() && text != ".");
        let next = given(self.next);
        if let Some(next) = &next {
            check(next, "next-hop uri")?;
        }
        let socket = given(self.socket)
            .map(|text| socket_of(sockets, &text))
            .transpose()?;
        let head = format!("{method} {uri} SIP/2.0\r\n{}\r\n", header_lines(self.headers));
        let msg = Message::parse(head.into_bytes()).map_err(|_| "Invalid headers".to_owned())?;
        let from = msg.from().ok_or("From missing")?;
        let to = msg.to().ok_or("To missing")?;
        if !self.body.is_empty() && msg.first(HeaderName::ContentType).is_none() {
            return Err("Content-Type missing".to_owned());
        }
        let tag = |tag: Option<&[u8]>| tag.filter(|tag| !tag.is_empty()).map(<[u8]>::to_vec);
        let mut headers = Vec::new();
        for header in msg.headers() {
            let name = msg.name(header);
            if !OWN.iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes())) {
                for part in [name, b": ", msg.value(header), b"\r\n"] {
                    headers.extend_from_slice(part);
                }
            }
        }
        let in_brackets = |uri: &[u8]| [b"<", uri, b">"].concat();
        Ok(LocalRequest {
            method: method.as_bytes().to_vec(),
            uri: uri.as_bytes().to_vec(),
            dst_uri: next.map(String::into_bytes),
            from: in_brackets(from.uri),
            from_tag: tag(from.tag()),
            to: in_brackets(to.uri),
            to_tag: tag(to.tag()),
            call_id: Some(msg.call_id().to_vec()).filter(|id| !id.is_empty()),
            cseq: msg.cseq().map_or(1, |cseq| cseq.number),
            headers,
            body: self.body,
            socket,
            ..LocalRequest::default()
        })
    }
}

/// Header lines, each ended by CRLF.
pub(crate) fn header_lines(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.is_empty());
    lines.map(|line| format!("{line}\r\n")).collect()
}

fn socket_of(sockets: &Sockets, text: &str) -> Result<SocketId, String> {
    let spec: SocketSpec = text
        .parse()
        .map_err(|_| format!("Invalid send socket \"{text}\""))?;
    let port = spec.port_or_default();
    let found = sockets.position(|listener| {
        Some(listener.address.ip()) == spec.ip()
            && listener.address.port() == port
            && spec
                .transport
                .is_none_or(|transport| transport == listener.transport)
    });
    found.ok_or_else(|| format!("No local socket for \"{text}\""))
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
            (&b"<sip:bo@b.test>"[..], None, 7)
        );
        assert_eq!(sent.headers, b"X-A: 1\r\nContent-Type: text/plain\r\n");
        assert_eq!(
            (&*sent.body, sent.socket, sent.no_ack),
            (&b"hello"[..], Some(0), true)
        );
    }

    #[test]
    fn what_is_wrong_is_not_sent() {
        let mut stage = Stage::options();
        for args in [
            ["", "sip:b@b", "", "", HEADERS, ""],
            ["INFO", "nonsense", "", "", HEADERS, ""],
            ["INFO", "sip:b@b", "nonsense", "", HEADERS, ""],
            ["INFO", "sip:b@b", "", "udp:192.0.2.9:5060", HEADERS, ""],
            ["INFO", "sip:b@b", ".", ".", "From: <sip:a@a>\r\n", ""],
            ["INFO", "sip:b@b", "", "", HEADERS, "a body without its type"],
        ] {
            assert_eq!(stage.call(&MODULE, "t_uac_send", &args), -1, "{args:?}");
        }
        assert!(stage.host.originated.is_empty());
    }
}
