//! SIP messages as the test's own user agent sees them: lines of text, kept in order, judged by no one else's parser.

/// One message, request or reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The request or status line.
    pub start: String,
    /// Header fields in order, names in their long form and as usually spelt.
    pub headers: Vec<(String, String)>,
    /// Everything after the empty line.
    pub body: String,
}

const COMPACT: [(&str, &str); 10] = [
    ("v", "Via"),
    ("f", "From"),
    ("t", "To"),
    ("i", "Call-ID"),
    ("m", "Contact"),
    ("l", "Content-Length"),
    ("c", "Content-Type"),
    ("k", "Supported"),
    ("s", "Subject"),
    ("e", "Content-Encoding"),
];

/// Headers whose values may share a line, separated by commas.
const LISTS: [&str; 5] = ["via", "route", "record-route", "contact", "path"];

impl Message {
    /// Reads a whole message; none when there is no start line.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let head = head.replace("\r\n ", " ").replace("\r\n\t", " ");
        let mut lines = head.split("\r\n");
        let start = lines.next().filter(|line| line.contains(' '))?.to_owned();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .flat_map(|(name, value)| {
                let name = name.trim();
                let long = COMPACT
                    .iter()
                    .find(|(short, _)| name.eq_ignore_ascii_case(short))
                    .map_or(name, |(_, long)| long);
                let values = if LISTS.iter().any(|list| long.eq_ignore_ascii_case(list)) {
                    split_list(value)
                } else {
                    vec![value.trim().to_owned()]
                };
                values.into_iter().map(move |value| (long.to_owned(), value))
            });
        let headers = headers.collect();
        Some(Self {
            start,
            headers,
            body: body.to_owned(),
        })
    }

    /// Returns the status of a reply.
    pub fn status(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// Returns the method: of the request line, or of CSeq in a reply.
    pub fn method(&self) -> &str {
        match self.status() {
            Some(_) => self
                .value("CSeq")
                .and_then(|value| value.split_whitespace().nth(1))
                .unwrap_or_default(),
            None => self.start.split(' ').next().unwrap_or_default(),
        }
    }

    /// Returns the Request-URI; empty for a reply.
    pub fn uri(&self) -> &str {
        match self.status() {
            Some(_) => "",
            None => self.start.split(' ').nth(1).unwrap_or_default(),
        }
    }

    /// Returns the first value of a header.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// Returns every value of a header in order.
    pub fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Writes the message, with its Content-Length.
    pub fn write(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.start);
        for (name, value) in self
            .headers
            .iter()
            .filter(|(name, _)| !name.eq_ignore_ascii_case("Content-Length"))
        {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!(
            "Content-Length: {}\r\n\r\n{}",
            self.body.len(),
            self.body
        ));
        text.into_bytes()
    }
}

/// Returns a parameter of a header value: what follows `;name=`.
pub fn parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let after_uri = value.rsplit_once('>').map_or(value, |(_, rest)| rest);
    after_uri
        .split(';')
        .skip(1)
        .find_map(|part| match part.split_once('=') {
            Some((known, value)) => known.trim().eq_ignore_ascii_case(name).then_some(value.trim()),
            None => part.trim().eq_ignore_ascii_case(name).then_some(""),
        })
}

/// Returns the URI of a header value.
pub fn uri(value: &str) -> &str {
    match value.split_once('<') {
        Some((_, rest)) => rest.split('>').next().unwrap_or_default(),
        None => value.split(';').next().unwrap_or_default().trim(),
    }
}

/// Splits a list at the commas that are not within quotes or angle brackets.
pub fn split_list(text: &str) -> Vec<String> {
    let (mut parts, mut quoted, mut bracketed) = (vec![String::new()], false, false);
    for letter in text.chars() {
        match letter {
            '"' => quoted = !quoted,
            '<' if !quoted => bracketed = true,
            '>' if !quoted => bracketed = false,
            ',' if !quoted && !bracketed => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(letter);
        }
    }
    parts.into_iter().map(|part| part.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::Message;
    use super::parameter;
    use super::split_list;
    use super::uri;

    #[test]
    fn reads_compact_and_folded_fields() {
        let text = b"SIP/2.0 200 OK\r\nv: SIP/2.0/UDP a,\r\n SIP/2.0/UDP b\r\nCSeq: 1 BYE\r\n\r\nbody";
        let message = Message::read(text).unwrap();
        assert_eq!(
            message.values("Via").collect::<Vec<_>>(),
            ["SIP/2.0/UDP a", "SIP/2.0/UDP b"]
        );
        assert_eq!(
            (message.status(), message.method(), message.body.as_str()),
            (Some(200), "BYE", "body")
        );
    }

    #[test]
    fn parts_of_values() {
        assert_eq!(parameter("<sip:a;x=1>;tag=7", "tag"), Some("7"));
        assert_eq!(parameter("<sip:a;x=1>;tag=7", "x"), None);
        assert_eq!(parameter("SIP/2.0/UDP a;rport;branch=b", "rport"), Some(""));
        assert_eq!(uri("\"A, B\" <sip:a;x=1>;tag=7"), "sip:a;x=1");
        assert_eq!(split_list("\"A, B\" <sip:a,b>, c"), ["\"A, B\" <sip:a,b>", "c"]);
    }
}
