//! Replies of `permissions.*`: addresses, subnets, trusted peers.

use serde::Deserialize;
use serde::Serialize;

/// Reads the address table again.
pub const ADDRESS_RELOAD: &str = "permissions.addressReload";
/// Reads the trusted table again.
pub const TRUSTED_RELOAD: &str = "permissions.trustedReload";
/// Single addresses: a list of [`AddressRow`].
pub const ADDRESS_DUMP: &str = "permissions.addressDump";
/// Subnets: a list of [`AddressRow`].
pub const SUBNET_DUMP: &str = "permissions.subnetDump";
/// Trusted peers.
pub const TRUSTED_DUMP: &str = "permissions.trustedDump";
/// Domain names of the address table.
pub const DOMAIN_DUMP: &str = "permissions.domainDump";
/// What a reload answers.
pub const RELOAD_OK: &str = "Reload OK";

/// One row of `addressDump` or `subnetDump`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRow {
    /// Slot of the table, in `addressDump`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u64>,
    /// Number of the row, in `subnetDump`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Group.
    pub group: i64,
    /// What it holds.
    pub item: AddressItem,
}

/// An address or subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressItem {
    /// The address.
    pub ip: String,
    /// Bits of the mask, in `subnetDump`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<u8>,
    /// Port; 0 is any.
    pub port: u16,
    /// Its tag.
    pub tag: String,
}
