//! `X-Siptrace-*` headers, which tell a second server how a copied message went.

use super::deliver::Told;
use shared::sip::Message;
use std::time::Duration;

const PREFIX: &[u8] = b"X-Siptrace-";

/// The message with headers that say what is told of it.
pub(super) fn write(bytes: &[u8], told: &Told) -> Vec<u8> {
    let Ok(msg) = Message::parse(bytes) else {
        return bytes.to_vec();
    };
    let end = msg.headers_end();
    let (head, body) = bytes.split_at_checked(end).unwrap_or((bytes, b""));
    let lines = format!(
        "X-Siptrace-Fromip: {}\r\nX-Siptrace-Toip: {}\r\nX-Siptrace-Time: {} {}\r\nX-Siptrace-Method: {}\r\nX-Siptrace-Dir: {}\r\n",
        told.from,
        told.to,
        told.at.as_secs(),
        told.at.subsec_micros(),
        told.method,
        told.direction,
    );
    [head, lines.as_bytes(), body].concat()
}

/// What such headers of a message say, and the message without them; none when it lacks one of them.
pub(super) fn read(msg: &Message) -> Option<(Told, Vec<u8>)> {
    let value = |name: &str| {
        let header = msg.all_named(name.as_bytes()).next()?;
        Some(String::from_utf8_lossy(msg.value(header)).into_owned())
    };
    let time = value("X-Siptrace-Time")?;
    let (seconds, micros) = time.split_once(' ')?;
    let micros: u32 = micros.trim().parse().ok().filter(|micros| *micros < 1_000_000)?;
    let told = Told {
        from: value("X-Siptrace-Fromip")?,
        to: value("X-Siptrace-Toip")?,
        at: Duration::new(seconds.parse().ok()?, micros * 1000),
        method: value("X-Siptrace-Method")?,
        direction: if value("X-Siptrace-Dir")? == "out" {
            "out"
        } else {
            "in"
        },
    };
    let bytes = msg.as_bytes();
    let mut out = bytes.get(..msg.headers_start())?.to_vec();
    let ours = |name: &[u8]| {
        name.get(..PREFIX.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
    };
    for header in msg.headers().iter().filter(|header| !ours(msg.name(header))) {
        out.extend_from_slice(msg.field(header));
    }
    out.extend_from_slice(bytes.get(msg.headers_end()..)?);
    Some((told, out))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &str = "INVITE sip:b@b SIP/2.0\r\nCall-ID: c\r\nContent-Length: 4\r\n\r\nbody";

    #[test]
    fn what_is_written_is_read() {
        let told = Told {
            at: Duration::new(17, 5_000),
            from: "udp:192.0.2.1:5060".to_owned(),
            to: "tcp:192.0.2.2:5062".to_owned(),
            method: "INVITE".to_owned(),
            direction: "out",
        };
        let written = write(INVITE.as_bytes(), &told);
        assert_eq!(
            String::from_utf8_lossy(&written),
            "INVITE sip:b@b SIP/2.0\r\nCall-ID: c\r\nContent-Length: 4\r\nX-Siptrace-Fromip: udp:192.0.2.1:5060\r\n\
             X-Siptrace-Toip: tcp:192.0.2.2:5062\r\nX-Siptrace-Time: 17 5\r\nX-Siptrace-Method: INVITE\r\nX-Siptrace-Dir: out\r\n\r\nbody"
        );
        let (read_told, rest) = read(&Message::parse(written).unwrap()).unwrap();
        assert_eq!(read_told, told);
        assert_eq!(rest, INVITE.as_bytes());
    }

    #[test]
    fn without_all_of_them_nothing_is_told() {
        let told = Told {
            at: Duration::ZERO,
            from: String::new(),
            to: String::new(),
            method: String::new(),
            direction: "in",
        };
        for (from, to) in [
            ("X-Siptrace-Time: 0 0", "X-Siptrace-Time: x"),
            ("X-Siptrace-Toip", "X-Other"),
        ] {
            let text = String::from_utf8(write(INVITE.as_bytes(), &told)).unwrap();
            assert!(
                read(&Message::parse(text.replace(from, to)).unwrap()).is_none(),
                "{to}"
            );
        }
        assert!(read(&Message::parse(INVITE).unwrap()).is_none());
    }
}
