//! What a run left behind as lines that two runs can be compared by: what servers invent is renamed in order of appearance.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::SystemTime;

use serde_json::Value;

use crate::message::Message;
use crate::message::parameter;

/// Everything that user agents, the log and the control socket showed in one run.
#[derive(Clone, Debug, Default)]
pub struct Record {
    agents: BTreeMap<String, Vec<String>>,
    findings: Vec<String>,
    sent: String,
    names: BTreeMap<String, String>,
    counts: BTreeMap<&'static str, usize>,
}

/// Parts of RPC results that no two runs share.
const VOLATILE: [&str; 21] = [
    "Conn-ID",
    "KA-Roundtrip",
    "Keepalive",
    "Last-Keepalive",
    "Last-Modified",
    "Records",
    "Ruid",
    "Server-Id",
    "Socket",
    "Stats",
    "Tcpconn-Id",
    "duration",
    "entry",
    "h_entry",
    "h_id",
    "init_ts",
    "now",
    "start_ts",
    "memsize",
    "nrnodes",
    "table",
];

impl Record {
    /// Notes what a user agent sent: names in it are not the server's.
    pub fn sent(&mut self, text: &str) {
        self.sent.push_str(text);
        self.sent.push('\n');
    }

    /// Notes where a user agent's connection comes from: its port is the system's choice.
    pub fn connected(&mut self, agent: &str, source: SocketAddr) {
        let ip = source.ip();
        for before in ["rport=".to_owned(), format!("{ip}:"), format!("{ip}~")] {
            let name = format!("{before}port-of-{agent}");
            self.names.insert(format!("{before}{}", source.port()), name);
        }
    }

    /// Notes a message that a user agent received.
    pub fn received(&mut self, agent: &str, message: &Message) {
        let mut lines = vec![format!("{agent} < {}", self.renamed(&message.start))];
        for (name, value) in &message.headers {
            self.name_tokens(name, value);
        }
        let mut fields: Vec<(String, String)> = message
            .headers
            .iter()
            .filter(|(name, _)| !name.eq_ignore_ascii_case("Warning"))
            .map(|(name, value)| (name.clone(), self.field(name, value)))
            .collect();
        // The order of different headers has no meaning (RFC 3261 §7.3.1).
        fields.sort_by_key(|(name, _)| name.to_ascii_lowercase());
        lines.extend(
            fields
                .iter()
                .map(|(name, value)| format!("{agent}     {name}: {value}")),
        );
        lines.extend(
            message
                .body
                .lines()
                .map(|line| format!("{agent}     | {}", self.renamed(line))),
        );
        self.agents.entry(agent.to_owned()).or_default().extend(lines);
    }

    /// Notes the lines that a script logged.
    pub fn logged(&mut self, log: &str) {
        for (level, text) in script_lines(log) {
            // What the module debugger traces is the peer's own.
            for line in text.lines().filter(|line| !line.contains("*** cfgtrace:")) {
                let line = format!("log: {level} {}", undated(&self.renamed(line)));
                self.findings.push(line.trim_end().to_owned());
            }
        }
    }

    /// Notes the answer to a remote procedure call.
    pub fn answered(&mut self, method: &str, answer: &Value) {
        let mut lines = Vec::new();
        flatten(answer, String::new(), &mut lines);
        let lines = lines
            .iter()
            .map(|line| format!("rpc {method}: {}", undated(&self.renamed(line))));
        self.findings.extend(lines.collect::<Vec<_>>());
    }

    /// Notes anything else that was found.
    pub fn found(&mut self, what: &str) {
        self.findings.push(undated(&self.renamed(what)));
    }

    /// Returns all lines: of each user agent in turn, then what else was found.
    pub fn lines(&self) -> Vec<&str> {
        let received = self.agents.values().flatten();
        received.chain(&self.findings).map(String::as_str).collect()
    }

    fn name_tokens(&mut self, header: &str, value: &str) {
        let header = header.to_ascii_lowercase();
        match header.as_str() {
            "via" => self.name_token("branch", parameter(value, "branch")),
            "from" | "to" => self.name_token("tag", parameter(value, "tag")),
            "call-id" => self.name_token("call-id", Some(value)),
            "sip-etag" => self.name_token("etag", Some(value)),
            "www-authenticate" | "proxy-authenticate" => {
                for kind in ["nonce", "opaque"] {
                    self.name_token(kind, quoted(value, kind));
                }
            }
            _ => {}
        }
    }

    fn name_token(&mut self, kind: &'static str, token: Option<&str>) {
        let Some(token) = token.filter(|token| !token.is_empty() && !self.sent.contains(token)) else {
            return;
        };
        if self.names.contains_key(token) {
            return;
        }
        // Nonces of one second may be equal or not.
        let name = if matches!(kind, "nonce" | "opaque") {
            format!("<{kind}>")
        } else {
            let count = self.counts.entry(kind).or_default();
            *count += 1;
            format!("<{kind} {count}>")
        };
        self.names.insert(token.to_owned(), name);
    }

    fn field(&self, name: &str, value: &str) -> String {
        let lower = name.to_ascii_lowercase();
        let value = self.renamed(value);
        match lower.as_str() {
            // Space is as good as more of it (RFC 3261 §25.1, LWS).
            "via" => sorted_parameters(&value.split_whitespace().collect::<Vec<_>>().join(" "), &["i"]),
            "contact" | "from" | "to" => sorted_parameters(&value, &[]),
            // The module dialog names its dialogs here.
            "route" | "record-route" => match value.split_once(";did=") {
                Some((before, rest)) => {
                    let end = rest.find([';', '>']).unwrap_or(rest.len());
                    format!("{before};did=<did>{}", &rest[end..])
                }
                None => value,
            },
            "date" => "<date>".to_owned(),
            "server" | "user-agent" if !self.sent.contains(&value) => "<agent>".to_owned(),
            "authorization" | "proxy-authorization" => match quoted(&value, "response") {
                Some(response) => value.replace(response, "<response>"),
                None => value,
            },
            "www-authenticate" | "proxy-authenticate" => {
                let (scheme, rest) = value.split_once(' ').unwrap_or((&value, ""));
                let mut parts: Vec<&str> = rest.split(',').map(str::trim).collect();
                parts.sort_unstable();
                format!("{scheme} {}", parts.join(", "))
            }
            _ => value,
        }
    }

    fn renamed(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (token, name) in &self.names {
            // A short token would be found where it is not meant.
            if token.len() >= 8 && text.contains(token.as_str()) {
                text = text.replace(token.as_str(), name);
            }
        }
        text
    }
}

/// Whether two lines are equal, but for an expiry that a second has passed for.
pub fn same(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    let (one, other) = (pieces(one), pieces(other));
    let timed = one
        .iter()
        .any(|piece| piece.to_ascii_lowercase().contains("xpires"));
    timed
        && one.len() == other.len()
        && one.iter().zip(&other).all(|(one, other)| {
            let near = |one: u64, other: u64| one.abs_diff(other) <= 2;
            one == other || matches!((one.parse(), other.parse()), (Ok(one), Ok(other)) if near(one, other))
        })
}

/// Returns what is only in one list (`-`) and only in the other (`+`), in order, by their longest common part.
pub fn difference(one: &[&str], other: &[&str]) -> Vec<String> {
    let (rows, columns) = (one.len(), other.len());
    let mut common = vec![vec![0_u32; columns + 1]; rows + 1];
    for row in (0..rows).rev() {
        for column in (0..columns).rev() {
            common[row][column] = if same(one[row], other[column]) {
                common[row + 1][column + 1] + 1
            } else {
                common[row + 1][column].max(common[row][column + 1])
            };
        }
    }
    let (mut row, mut column, mut found) = (0, 0, Vec::new());
    while row < rows || column < columns {
        if row < rows && column < columns && same(one[row], other[column]) {
            (row, column) = (row + 1, column + 1);
        } else if column == columns || (row < rows && common[row + 1][column] >= common[row][column + 1]) {
            found.push(format!("- {}", one[row]));
            row += 1;
        } else {
            found.push(format!("+ {}", other[column]));
            column += 1;
        }
    }
    found
}

/// Returns the level and text of each entry that the script wrote: ` 1(42) ERROR: <script>: text`.
fn script_lines(log: &str) -> Vec<(&str, String)> {
    // A text without a line end is followed by the next entry on the same line.
    let heads: Vec<usize> = log
        .match_indices('(')
        .filter_map(|(at, _)| head(log, at))
        .collect();
    let ends = heads.iter().skip(1).copied().chain([log.len()]);
    let entries = heads.iter().zip(ends).filter_map(|(&start, end)| {
        let (_, entry) = log[start..end].split_once(") ")?;
        let (level, text) = entry.split_once(": ")?;
        let at = text.find("<script>: ").map(|at| (at, at + "<script>: ".len()));
        let written = match (at, text.find("ACC: ")) {
            (Some((before, after)), _) => format!("{}{}", &text[..before], &text[after..]),
            (None, Some(at)) => text[at..].to_owned(),
            (None, None) => return None,
        };
        Some((level, written.trim_end().to_owned()))
    });
    entries.collect()
}

/// Returns where an entry begins whose process number stands in brackets at a place: ` 1(42) ERROR: `.
fn head(log: &str, bracket: usize) -> Option<usize> {
    let rest = log[bracket + 1..].trim_start_matches(|letter: char| letter.is_ascii_digit());
    let (level, _) = rest.strip_prefix(") ")?.split_once(": ")?;
    let start = log[..bracket]
        .trim_end_matches(|letter: char| letter.is_ascii_digit())
        .len();
    (start < bracket && level.chars().all(|letter| letter.is_ascii_uppercase())).then_some(start)
}

fn flatten(value: &Value, place: String, lines: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields.iter().collect::<BTreeMap<_, _>>() {
                if VOLATILE.contains(&name.as_str()) {
                    lines.push(format!("{place}/{name}"));
                } else {
                    flatten(value, format!("{place}/{name}"), lines);
                }
            }
        }
        // Tables are walked in the order of their own hashes.
        Value::Array(items) => {
            let mut all: Vec<Vec<String>> = Vec::new();
            for item in items {
                let mut lines = Vec::new();
                flatten(item, format!("{place}[]"), &mut lines);
                all.push(lines);
            }
            all.sort();
            lines.extend(all.into_iter().flatten());
        }
        value => lines.push(format!("{place} = {value}")),
    }
}

/// Returns the value with its parameters in order and without the ones named.
fn sorted_parameters(value: &str, without: &[&str]) -> String {
    let at = value.rfind('>').map_or(0, |at| at + 1);
    let (fixed, rest) = value.split_at(at);
    let mut parts = rest.split(';').map(str::trim);
    let first = parts.next().unwrap_or_default();
    let mut parts: Vec<&str> = parts
        .filter(|part| !without.contains(&part.split('=').next().unwrap_or_default()))
        .collect();
    parts.sort_unstable();
    let first = format!("{fixed}{first}");
    parts.insert(0, &first);
    parts.join(";")
}

/// Returns the value of `name="value"`.
fn quoted<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("{name}=\""))?;
    rest.split('"').next()
}

/// Blanks the clock: seconds since 1970 near today, and `2026-11-23 10:11:12`.
fn undated(text: &str) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_secs());
    let mut out = String::new();
    for piece in pieces(text) {
        let stamp = piece
            .parse::<u64>()
            .is_ok_and(|number| number.abs_diff(now) < 86_400);
        out.push_str(if stamp { "<time>" } else { piece });
    }
    let dated = |bytes: &[u8]| {
        bytes.iter().zip(b"0000-00-00 00:00:00").all(|(byte, shape)| {
            if *shape == b'0' {
                byte.is_ascii_digit()
            } else {
                byte == shape
            }
        })
    };
    while let Some(at) = out.as_bytes().windows(19).position(dated) {
        out.replace_range(at..at + 19, "<date>");
    }
    out
}

/// Splits a text where digits begin and end.
fn pieces(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let digits = first.is_ascii_digit();
        let end = rest
            .find(|letter: char| letter.is_ascii_digit() != digits)
            .unwrap_or(rest.len());
        found.push(&rest[..end]);
        rest = &rest[end..];
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Record;
    use super::difference;
    use super::same;
    use crate::message::Message;

    #[test]
    fn what_the_server_invents_is_renamed() {
        let mut record = Record::default();
        record.sent("Via: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKown");
        let reply = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1;rport=5060;branch=z9hG4bKown\r\n\
            To: <sip:a@b>;tag=invented\r\nServer: any 1.0\r\n\r\n";
        record.received("a", &Message::read(reply).unwrap());
        record
            .logged(" 1(42) ERROR: <script>: tag invented at 2026-11-23 06:07:08\n 1(42) INFO: tm: other\n");
        record.answered("m", &json!({"b": [2, 1], "Ruid": "x"}));
        assert_eq!(
            record.lines(),
            [
                "a < SIP/2.0 200 OK",
                "a     Server: <agent>",
                "a     To: <sip:a@b>;tag=<tag 1>",
                "a     Via: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKown;rport=5060",
                "log: ERROR tag <tag 1> at <date>",
                "rpc m: /Ruid",
                "rpc m: /b[] = 1",
                "rpc m: /b[] = 2",
            ]
        );
    }

    #[test]
    fn lines_are_compared() {
        assert!(same("expires=60;q=1", "expires=59;q=1"));
        assert!(!same("expires=60", "expires=50"));
        assert!(!same("port 60", "port 59"));
        assert_eq!(
            difference(&["a", "b", "c"], &["a", "x", "c", "d"]),
            ["- b", "+ x", "+ d"]
        );
        assert!(difference(&["a"], &["a"]).is_empty());
    }
}
