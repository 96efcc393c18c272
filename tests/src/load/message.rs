//! Requests as the generator writes them, and the few fields of a message that it reads (RFC 3261 §7, §20).

/// The fields of one message that the generator looks at.
#[derive(Default)]
pub(crate) struct Fields<'a> {
    pub(crate) first_line: &'a [u8],
    /// Zero in a request.
    pub(crate) status: u16,
    pub(crate) via: &'a [u8],
    pub(crate) vias: usize,
    pub(crate) record_route: &'a [u8],
    pub(crate) record_routes: usize,
    pub(crate) from: &'a [u8],
    pub(crate) to: &'a [u8],
    pub(crate) call_id: &'a [u8],
    pub(crate) cseq: &'a [u8],
    pub(crate) contact: &'a [u8],
    pub(crate) max_forwards: &'a [u8],
    pub(crate) challenge: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Reads the header; none when this is not a SIP message.
    pub(crate) fn read(message: &'a [u8]) -> Option<Self> {
        let mut fields = Self::default();
        let mut rest = message;
        fields.first_line = line(&mut rest);
        if let Some(status) = fields.first_line.strip_prefix(b"SIP/2.0 ") {
            fields.status = number(status.get(..3).unwrap_or_default()) as u16;
            if fields.status < 100 {
                return None;
            }
        }
        loop {
            let field = line(&mut rest);
            let Some(first) = field.first() else {
                return (!fields.call_id.is_empty()).then_some(fields);
            };
            let colon = field.iter().position(|&byte| byte == b':')?;
            let (name, value) = (&field[..colon], field[colon + 1..].trim_ascii());
            match (first | 0x20, name.len()) {
                (b'v', 3) if name.eq_ignore_ascii_case(b"via") => {
                    if fields.vias == 0 {
                        fields.via = value;
                    }
                    fields.vias += 1;
                }
                (b'r', 12) if name.eq_ignore_ascii_case(b"record-route") => {
                    if fields.record_routes == 0 {
                        fields.record_route = value;
                    }
                    fields.record_routes += 1;
                }
                (b'f', 4) if name.eq_ignore_ascii_case(b"from") => fields.from = value,
                (b't', 2) => fields.to = value,
                (b'c', 7) if name.eq_ignore_ascii_case(b"call-id") => fields.call_id = value,
                (b'c', 4) if name.eq_ignore_ascii_case(b"cseq") => fields.cseq = value,
                (b'c', 7) if name.eq_ignore_ascii_case(b"contact") => fields.contact = value,
                (b'm', 12) if name.eq_ignore_ascii_case(b"max-forwards") => fields.max_forwards = value,
                (b'w', 16) if name.eq_ignore_ascii_case(b"www-authenticate") => fields.challenge = value,
                (b'p', 18) if name.eq_ignore_ascii_case(b"proxy-authenticate") => fields.challenge = value,
                _ => {}
            }
        }
    }

    /// Returns the branch of the topmost Via.
    pub(crate) fn branch(&self) -> &'a [u8] {
        after(self.via, b";branch=")
    }
}

/// Who speaks to whom in one request; everything that differs between two requests of one scenario.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) uri: &'a [u8],
    /// Where the sender listens.
    pub(crate) sent_by: &'a str,
    pub(crate) branch: Branch,
    pub(crate) domain: &'a str,
    pub(crate) from_user: u32,
    pub(crate) to: To<'a>,
    pub(crate) call_id: &'a [u8],
    pub(crate) cseq: u32,
    pub(crate) route: &'a [u8],
    pub(crate) max_forwards: u32,
}

/// What the To header says.
#[derive(Clone, Copy)]
pub(crate) enum To<'a> {
    User(u32),
    Domain,
    Value(&'a [u8]),
}

/// The key by which a reply finds its transaction: it is the branch, and part of nothing else.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Branch {
    /// Tells a run from the one before it, whose late replies may still arrive.
    pub(crate) run: u32,
    pub(crate) slot: u32,
    pub(crate) serial: u32,
    pub(crate) stage: u8,
}

impl Branch {
    /// Writes the branch with RFC 3261's magic cookie.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"z9hG4bKload");
        hex(out, self.run, 8);
        hex(out, self.slot, 5);
        hex(out, self.serial, 8);
        hex(out, u32::from(self.stage), 1);
    }

    /// Reads what `write` wrote.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        let digits = text.strip_prefix(b"z9hG4bKload".as_slice())?;
        if digits.len() != 22 {
            return None;
        }
        let (run, slot, serial) = (
            unhex(&digits[..8])?,
            unhex(&digits[8..13])?,
            unhex(&digits[13..21])?,
        );
        let stage = unhex(&digits[21..])? as u8;
        Some(Self {
            run,
            slot,
            serial,
            stage,
        })
    }
}

impl Request<'_> {
    /// Writes the request line and every header a request must have.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        put(
            out,
            &[
                self.method.as_bytes(),
                b" ",
                self.uri,
                b" SIP/2.0\r\nVia: SIP/2.0/UDP ",
            ],
        );
        put(out, &[self.sent_by.as_bytes(), b";rport;branch="]);
        self.branch.write(out);
        out.extend_from_slice(b"\r\n");
        if !self.route.is_empty() {
            put(out, &[b"Route: ", self.route, b"\r\n"]);
        }
        out.extend_from_slice(b"Max-Forwards: ");
        decimal(out, self.max_forwards, 0);
        out.extend_from_slice(b"\r\nFrom: <sip:u");
        decimal(out, self.from_user, 7);
        put(out, &[b"@", self.domain.as_bytes(), b">;tag=f"]);
        hex(out, self.from_user, 7);
        out.extend_from_slice(b"\r\nTo: ");
        match self.to {
            To::Value(value) => out.extend_from_slice(value),
            To::Domain => put(out, &[b"<sip:", self.domain.as_bytes(), b">"]),
            To::User(user) => {
                out.extend_from_slice(b"<sip:u");
                decimal(out, user, 7);
                put(out, &[b"@", self.domain.as_bytes(), b">"]);
            }
        }
        put(out, &[b"\r\nCall-ID: ", self.call_id, b"\r\nCSeq: "]);
        decimal(out, self.cseq, 0);
        put(
            out,
            &[
                b" ",
                self.method.as_bytes(),
                b"\r\nUser-Agent: load generator 1.0\r\n",
            ],
        );
    }
}

/// Appends the Content-Length and the body.
pub(crate) fn finish(out: &mut Vec<u8>, body: &[u8]) {
    if body.is_empty() {
        out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
        return;
    }
    out.extend_from_slice(b"Content-Type: application/sdp\r\nContent-Length: ");
    decimal(out, body.len() as u32, 0);
    put(out, &[b"\r\n\r\n", body]);
}

/// Appends every piece.
pub(crate) fn put(out: &mut Vec<u8>, pieces: &[&[u8]]) {
    for piece in pieces {
        out.extend_from_slice(piece);
    }
}

/// Appends a decimal number, filled with zeros to the given width.
pub(crate) fn decimal(out: &mut Vec<u8>, mut value: u32, width: usize) {
    let mut digits = [b'0'; 10];
    let mut at = digits.len();
    while value > 0 || at == digits.len() {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&digits[at.min(digits.len() - width)..]);
}

/// Appends a hexadecimal number of exactly the given width.
pub(crate) fn hex(out: &mut Vec<u8>, value: u32, width: u32) {
    for digit in (0..width).rev() {
        out.push(b"0123456789abcdef"[(value >> (4 * digit) & 15) as usize]);
    }
}

/// Returns what follows `mark` up to the end of the parameter.
pub(crate) fn after<'a>(value: &'a [u8], mark: &[u8]) -> &'a [u8] {
    let Some(start) = value.windows(mark.len()).position(|window| window == mark) else {
        return b"";
    };
    let rest = &value[start + mark.len()..];
    let end = rest
        .iter()
        .position(|byte| b";,\" \r\n>".contains(byte))
        .unwrap_or(rest.len());
    &rest[..end]
}

/// Reads a decimal number; anything else is zero.
pub(crate) fn number(digits: &[u8]) -> u32 {
    digits.iter().fold(0_u32, |sum, &byte| match byte {
        b'0'..=b'9' => sum.wrapping_mul(10).wrapping_add(u32::from(byte - b'0')),
        _ => 0,
    })
}

fn unhex(digits: &[u8]) -> Option<u32> {
    digits
        .iter()
        .try_fold(0, |sum, &byte| Some(sum << 4 | (byte as char).to_digit(16)?))
}

fn line<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let end = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
    let (line, tail) = rest.split_at(end);
    *rest = tail.get(1..).unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::Branch;
    use super::Fields;
    use super::after;
    use super::decimal;

    #[test]
    fn branch_survives_the_round_trip() {
        let branch = Branch {
            run: 7,
            slot: 1023,
            serial: 0xdead_beef,
            stage: 4,
        };
        let mut text = Vec::new();
        branch.write(&mut text);
        assert_eq!(Branch::read(&text), Some(branch));
        assert_eq!(Branch::read(b"z9hG4bKother"), None);
    }

    #[test]
    fn numbers() {
        for (value, width, expected) in [
            (0, 0, "0"),
            (0, 3, "000"),
            (42, 7, "0000042"),
            (u32::MAX, 0, "4294967295"),
        ] {
            let mut text = Vec::new();
            decimal(&mut text, value, width);
            assert_eq!(text, expected.as_bytes());
        }
    }

    #[test]
    fn fields_of_a_reply() {
        let reply = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a;branch=x;rport=5\r\nv:x\r\nCall-ID: c\r\nCSeq: 7 BYE\r\n\r\n";
        let fields = Fields::read(reply).unwrap();
        assert_eq!(
            (fields.status, fields.branch(), fields.call_id),
            (200, &b"x"[..], &b"c"[..])
        );
        assert!(Fields::read(b"SIP/2.0 20").is_none());
        assert_eq!(after(b"Digest realm=\"r\", nonce=\"n\"", b"nonce=\""), b"n");
    }
}
