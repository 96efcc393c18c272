//! A contact as a row of the table `location`, cell for cell as Kamailio writes it (usrloc, `*_column` parameters).

use super::attributes;
use super::contact::ALL_METHODS;
use super::contact::Binding;
use super::contact::Contact;
use super::contact::NO_CONNECTION;
use super::contact::Q_UNSET;
use shared::db::Row;
use shared::db::Value;
use std::borrow::Cow;

/// The columns by their parameter and default name, in the order of a row's cells; `ruid`, the key, is the first.
pub(super) const COLUMNS: [(&str, &str); 22] = [
    ("ruid_column", "ruid"),
    ("user_column", "username"),
    ("domain_column", "domain"),
    ("contact_column", "contact"),
    ("received_column", "received"),
    ("path_column", "path"),
    ("expires_column", "expires"),
    ("q_column", "q"),
    ("callid_column", "callid"),
    ("cseq_column", "cseq"),
    ("last_modified_column", "last_modified"),
    ("flags_column", "flags"),
    ("cflags_column", "cflags"),
    ("user_agent_column", "user_agent"),
    ("socket_column", "socket"),
    ("methods_column", "methods"),
    ("instance_column", "instance"),
    ("reg_id_column", "reg_id"),
    ("server_id_column", "server_id"),
    ("keepalive_column", "keepalive"),
    ("connection_id_column", "connection_id"),
    ("partition_column", "partition"),
];

/// How many columns from the first on hold what outlives the process that wrote it: all but connection and partition.
const LASTING: usize = 20;

/// The columns of `location_attrs` that are written.
pub(super) const ATTRIBUTE_COLUMNS: [&str; 7] = [
    "ruid",
    "username",
    "domain",
    "aname",
    "atype",
    "avalue",
    "last_modified",
];

/// How rows of this installation look.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    names: Vec<String>,
    use_domain: bool,
    /// Dates are seconds in BIGINT columns (`expires_type`).
    seconds: bool,
}

impl Layout {
    /// The layout for these column names.
    pub(super) fn new(names: Vec<String>, use_domain: bool, seconds: bool) -> Self {
        Self {
            names,
            use_domain,
            seconds,
        }
    }

    /// Every column.
    pub(super) fn names(&self) -> Vec<&str> {
        self.names.iter().map(String::as_str).collect()
    }

    /// The columns that a new process reads.
    pub(super) fn lasting_names(&self) -> Vec<&str> {
        self.names.iter().take(LASTING).map(String::as_str).collect()
    }

    fn name(&self, index: usize) -> &str {
        self.names.get(index).map_or("", String::as_str)
    }

    /// The key column.
    pub(super) fn ruid(&self) -> &str {
        self.name(0)
    }

    /// The column of user names.
    pub(super) fn username(&self) -> &str {
        self.name(1)
    }

    /// The column of domains.
    pub(super) fn domain(&self) -> &str {
        self.name(2)
    }

    /// The column of ends.
    pub(super) fn expires(&self) -> &str {
        self.name(6)
    }

    /// The column of servers.
    pub(super) fn server_id(&self) -> &str {
        self.name(18)
    }

    /// A second as the date columns hold it.
    pub(super) fn time(&self, second: u32) -> Value {
        if self.seconds {
            Value::Int(second.into())
        } else {
            Value::DateTime(second.into())
        }
    }

    /// User name and domain of an address; the domain is NULL where it does not tell users apart.
    pub(super) fn split(&self, aor: &[u8]) -> (Value, Value) {
        match memchr::memrchr(b'@', aor).filter(|_| self.use_domain) {
            Some(at) => {
                let (user, domain) = (
                    aor.get(..at).unwrap_or_default(),
                    aor.get(at + 1..).unwrap_or_default(),
                );
                (Value::from(user), Value::from(domain))
            }
            None => (Value::from(aor), Value::Null),
        }
    }

    /// A contact as a row.
    pub(super) fn row(&self, contact: Contact<'_>) -> Vec<Value> {
        let (username, domain) = self.split(contact.aor());
        let optional = |text: &[u8]| {
            if text.is_empty() {
                Value::Null
            } else {
                Value::from(text)
            }
        };
        let q = if contact.q() == Q_UNSET {
            -1.0
        } else {
            f64::from(contact.q()) / 1000.0
        };
        let methods = (contact.methods() != ALL_METHODS).then(|| contact.methods());
        let connection = contact
            .connection()
            .and_then(|id| i32::try_from(id).ok())
            .unwrap_or(-1);
        vec![
            Value::from(contact.ruid()),
            username,
            domain,
            Value::from(contact.address()),
            optional(contact.received()),
            optional(contact.path),
            self.time(contact.expires()),
            Value::Double(q),
            Value::from(clip(contact.call_id(), 255)),
            // INT columns hold 31 bits; a CSeq stays below that (RFC 3261 §8.1.1.5), flags and methods keep their bits.
            signed(contact.cseq()),
            self.time(contact.modified()),
            signed(contact.flags()),
            signed(contact.cflags()),
            Value::from(clip(contact.user_agent, 255)),
            optional(contact.socket),
            Value::from(methods.map(u32::cast_signed)),
            optional(contact.instance()),
            signed(contact.reg_id()),
            signed(contact.server_id()),
            Value::from(contact.keepalive()),
            Value::from(connection),
            Value::Int(0),
        ]
    }

    /// The rows of a contact's attributes.
    pub(super) fn attributes(&self, contact: Contact<'_>) -> Vec<Vec<Value>> {
        let (username, domain) = self.split(contact.aor());
        attributes::iter(contact.attributes())
            .map(|(name, value)| {
                let kind = i64::from(matches!(value, attributes::Attribute::Int(_)));
                vec![
                    Value::from(contact.ruid()),
                    username.clone(),
                    domain.clone(),
                    Value::from(name),
                    Value::Int(kind),
                    Value::from(&*value.text()),
                    self.time(contact.modified()),
                ]
            })
            .collect()
    }

    /// Reads a row whose cells are in the order of [`COLUMNS`], the last of which may be missing; `attributes` are packed ones from their own table.
    pub(super) fn read<R>(
        &self,
        row: Row<'_>,
        attributes: &[u8],
        use_it: impl FnOnce(&Binding<'_>) -> R,
    ) -> R {
        let text = |index| row.at(index).and_then(Value::as_bytes).unwrap_or_default();
        let int = |index| row.at(index).and_then(Value::as_int);
        let bits = |index| int(index).map_or(0, |n| n as u32);
        let second = |index| {
            row.at(index)
                .and_then(Value::as_time)
                .map_or(0, |time| u32::try_from(time).unwrap_or(0))
        };
        let (user, domain) = (text(1), text(2));
        let mut aor = Cow::Borrowed(user);
        if self.use_domain && !domain.is_empty() {
            let aor = aor.to_mut();
            aor.push(b'@');
            aor.extend_from_slice(domain);
        }
        let q = row.at(7).and_then(Value::as_double).filter(|q| *q >= 0.0);
        use_it(&Binding {
            aor: &aor,
            address: text(3),
            ruid: text(0),
            call_id: text(8),
            received: text(4),
            instance: text(16),
            attributes,
            path: text(5),
            user_agent: text(13),
            socket: text(14),
            // A permanent contact's zero goes through Julian days and local time, and may come back a second off.
            expires: Some(second(6)).filter(|second| *second > 1).unwrap_or(0),
            modified: second(10),
            cseq: bits(9),
            q: q.map_or(Q_UNSET, |q| (q * 1000.0).round().min(f64::from(i16::MAX)) as i16),
            flags: bits(11),
            cflags: bits(12),
            methods: int(15).map_or(ALL_METHODS, |n| n as u32),
            reg_id: bits(17),
            server_id: bits(18),
            connection: int(20)
                .and_then(|id| u64::try_from(id).ok())
                .unwrap_or(NO_CONNECTION),
            last_keepalive: 0,
            roundtrip: 0,
            keepalive: int(19).unwrap_or(0) != 0,
            memory_only: false,
        })
    }
}

fn signed(bits: u32) -> Value {
    Value::Int(bits.cast_signed().into())
}

/// The beginning of a text that fits its column, cut between characters.
fn clip(text: &[u8], len: usize) -> &[u8] {
    let Some(mut head) = text.get(..len).filter(|_| text.len() > len) else {
        return text;
    };
    while let Some((last, rest)) = head.split_last() {
        if text.get(head.len()).is_none_or(|next| next & 0xC0 != 0x80) || last.is_ascii() {
            break;
        }
        head = rest;
    }
    head
}

#[cfg(test)]
mod tests {
    use super::super::contact::OwnedContact;
    use super::*;

    fn layout(use_domain: bool) -> Layout {
        Layout::new(
            COLUMNS.iter().map(|(_, name)| (*name).to_owned()).collect(),
            use_domain,
            false,
        )
    }

    #[test]
    fn a_row_is_what_kamailio_writes() {
        let binding = Binding {
            aor: b"alice@test.lan",
            address: b"sip:alice@127.9.9.1",
            ruid: b"uloc-1-2-3",
            call_id: b"c1",
            user_agent: b"n/a",
            socket: b"udp:127.0.0.1:5060",
            expires: 1_795_404_421,
            modified: 1_795_403_821,
            cseq: 1,
            ..Binding::default()
        };
        let owned = OwnedContact::of(&binding).unwrap();
        let row = layout(true).row(owned.view());
        let expected = [
            Value::from("uloc-1-2-3"),
            Value::from("alice"),
            Value::from("test.lan"),
            Value::from("sip:alice@127.9.9.1"),
            Value::Null,
            Value::Null,
            Value::DateTime(1_795_404_421),
            Value::Double(-1.0),
            Value::from("c1"),
            Value::Int(1),
            Value::DateTime(1_795_403_821),
            Value::Int(0),
            Value::Int(0),
            Value::from("n/a"),
            Value::from("udp:127.0.0.1:5060"),
            Value::Null,
            Value::Null,
            Value::Int(0),
            Value::Int(0),
            Value::Int(0),
            Value::Int(-1),
            Value::Int(0),
        ];
        assert_eq!(row, expected);
        let names: Vec<String> = COLUMNS.iter().map(|(_, name)| (*name).to_owned()).collect();
        layout(true).read(Row::new(&names, &row), b"", |read| assert_eq!(*read, binding));
        assert_eq!(layout(false).split(b"a@b"), (Value::from("a@b"), Value::Null));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let long = "ä".repeat(200);
        assert_eq!(clip(long.as_bytes(), 255).len(), 254);
        assert_eq!(clip(b"abc", 255), b"abc");
        assert_eq!(clip(&[0x80; 300], 255).len(), 0);
        assert_eq!(clip(&[b'x'; 300], 255).len(), 255);
    }
}
