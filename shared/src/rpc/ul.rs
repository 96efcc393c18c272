//! Replies of `ul.*`: the location table.

use serde::Deserialize;
use serde::Serialize;
use serde::Serializer;

/// Everything: [`Dump`]; with the parameter `brief` only the AoRs.
pub const DUMP: &str = "ul.dump";
/// One AoR: table, aor; [`Record`].
pub const LOOKUP: &str = "ul.lookup";
/// Adds a contact: table, aor, contact, expires, q, path, flags, cflags, methods [, received, socket].
pub const ADD: &str = "ul.add";
/// Removes an AoR: table, aor.
pub const RM: &str = "ul.rm";
/// Removes a contact: table, aor, contact.
pub const RM_CONTACT: &str = "ul.rm_contact";
/// Writes changes to the database now.
pub const FLUSH: &str = "ul.flush";
/// AoRs in the database: table; a number.
pub const DB_USERS: &str = "ul.db_users";
/// Contacts in the database: table; a number.
pub const DB_CONTACTS: &str = "ul.db_contacts";
/// Expired contacts in the database: table; a number.
pub const DB_EXPIRED_CONTACTS: &str = "ul.db_expired_contacts";
/// What stands where a contact has no value.
pub const NOT_SET: &str = "[not set]";
/// The fault of `ul.lookup` for an AoR that is not there.
pub const AOR_NOT_FOUND: &str = "AOR not found in location table";

/// The fault of a method for an AoR without a domain, where domains count (`use_domain`).
pub const DOMAIN_MISSING: &str = "Domain missing in AOR";

/// `ul.dump`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dump {
    /// The tables.
    #[serde(rename = "Domains")]
    pub domains: Vec<DomainEntry>,
}

/// A table in its list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DomainEntry {
    /// The table.
    #[serde(rename = "Domain")]
    pub domain: Domain,
}

/// One location table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Domain {
    /// Its name: `location`.
    #[serde(rename = "Domain")]
    pub name: String,
    /// Slots of its hash.
    #[serde(rename = "Size")]
    pub size: u64,
    /// Its AoRs.
    #[serde(rename = "AoRs")]
    pub aors: Vec<AorEntry>,
    /// Its numbers.
    #[serde(rename = "Stats")]
    pub stats: DomainStats,
}

/// One AoR of a dump.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AorEntry {
    /// With its contacts.
    Full {
        /// All of it.
        #[serde(rename = "Info")]
        info: AorInfo,
    },
    /// By name alone.
    Brief {
        /// The AoR.
        #[serde(rename = "AoR")]
        aor: String,
    },
}

/// An AoR with its contacts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AorInfo {
    /// The AoR.
    #[serde(rename = "AoR")]
    pub aor: String,
    /// Its hash.
    #[serde(rename = "HashID")]
    pub hash_id: u64,
    /// Its contacts.
    #[serde(rename = "Contacts")]
    pub contacts: Vec<ContactEntry>,
}

/// A contact in its list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContactEntry {
    /// The contact.
    #[serde(rename = "Contact")]
    pub contact: Contact,
}

/// Numbers of a location table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainStats {
    /// AoRs.
    #[serde(rename = "Records")]
    pub records: u64,
    /// AoRs in the fullest slot.
    #[serde(rename = "Max-Slots")]
    pub max_slots: u64,
}

/// `ul.lookup`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The AoR.
    #[serde(rename = "AoR")]
    pub aor: String,
    /// Its contacts.
    #[serde(rename = "Contacts")]
    pub contacts: Vec<ContactEntry>,
}

/// When a contact ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Expires {
    /// In so many seconds.
    Seconds(i64),
    /// `permanent`, `deleted` or `expired`.
    Word(String),
}

/// One binding of an AoR.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Contact {
    /// Its URI.
    pub address: String,
    /// When it ends.
    pub expires: Expires,
    /// Preference; -1 is unset.
    #[serde(serialize_with = "short_number")]
    pub q: f64,
    /// Call-ID of the REGISTER.
    #[serde(rename = "Call-ID")]
    pub call_id: String,
    /// CSeq of the REGISTER.
    #[serde(rename = "CSeq")]
    pub cseq: i64,
    /// User-Agent of the REGISTER.
    #[serde(rename = "User-Agent")]
    pub user_agent: String,
    /// Where the REGISTER came from, behind NAT.
    pub received: String,
    /// Path (RFC 3327).
    pub path: String,
    /// `CS_NEW`, `CS_SYNC`, `CS_DIRTY`.
    pub state: String,
    /// Flags.
    pub flags: i64,
    /// Contact flags.
    #[serde(rename = "CFlags")]
    pub cflags: i64,
    /// Our socket.
    pub socket: String,
    /// Methods allowed, as bits.
    pub methods: i64,
    /// Our name for the binding.
    pub ruid: String,
    /// `+sip.instance` (RFC 5626).
    pub instance: String,
    /// `reg-id` (RFC 5626).
    #[serde(rename = "Reg-Id")]
    pub reg_id: i64,
    /// The node that took it.
    #[serde(rename = "Server-Id")]
    pub server_id: i64,
    /// Its connection; -1 is none.
    #[serde(rename = "Tcpconn-Id")]
    pub tcpconn_id: i64,
    /// Whether it is being probed.
    pub keepalive: i64,
    /// When it last answered a probe.
    #[serde(rename = "Last-Keepalive")]
    pub last_keepalive: i64,
    /// How long the answer took, in microseconds.
    #[serde(rename = "KA-Roundtrip")]
    pub ka_roundtrip: i64,
    /// When it was last changed.
    #[serde(rename = "Last-Modified")]
    pub last_modified: i64,
}

/// Writes -1 rather than -1.0.
fn short_number<S: Serializer>(n: &f64, s: S) -> Result<S::Ok, S::Error> {
    if n.fract() == 0.0 && n.abs() < 1e15 {
        s.serialize_i64(*n as i64)
    } else {
        s.serialize_f64(*n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_reads_back() {
        let text = r#"{"Domains":[{"Domain":{"Domain":"location","Size":1024,"AoRs":[{"Info":{"AoR":"a","HashID":109,"Contacts":[{"Contact":{"Address":"sip:x@192.0.2.1","Expires":300,"Q":-1,"Call-ID":"c","CSeq":1,"User-Agent":"u","Received":"[not set]","Path":"[not set]","State":"CS_NEW","Flags":0,"CFlags":0,"Socket":"[not set]","Methods":0,"Ruid":"r","Instance":"[not set]","Reg-Id":0,"Server-Id":0,"Tcpconn-Id":-1,"Keepalive":0,"Last-Keepalive":0,"KA-Roundtrip":0,"Last-Modified":0}}]}},{"AoR":"b"}],"Stats":{"Records":2,"Max-Slots":1}}}]}"#;
        let dump: Dump = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&dump).unwrap(), text);
        let permanent = text
            .replace("300", "\"permanent\"")
            .replace("\"Q\":-1", "\"Q\":0.5");
        let dump: Dump = serde_json::from_str(&permanent).unwrap();
        assert_eq!(serde_json::to_string(&dump).unwrap(), permanent);
    }
}
