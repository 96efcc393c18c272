//! The destination set: where a request shall go besides its Request-URI (RFC 3261 §16.5, Kamailio's branches).

use super::context::SocketId;

/// The most branches a request may have, its own Request-URI among them, whatever `max_branches` says.
pub const MAX_BRANCHES: usize = 31;

/// How many it may have when `max_branches` says nothing.
pub const USUAL_BRANCHES: usize = 12;

/// The q of a branch that was given none; it sorts below 0.
pub const Q_UNSET: i32 = -1;

/// One target besides the Request-URI.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Branch {
    /// Its Request-URI.
    pub uri: Vec<u8>,
    /// The next hop, when it is not the URI's.
    pub dst_uri: Option<Vec<u8>>,
    /// The Path vector of the contact, put in Route headers (RFC 3327).
    pub path: Option<Vec<u8>>,
    /// q in thousandths; [`Q_UNSET`] when it has none.
    pub q: i32,
    /// Branch flags.
    pub flags: u32,
    /// The socket to send from.
    pub socket: Option<SocketId>,
    /// +sip.instance of the contact.
    pub instance: Option<Vec<u8>>,
    /// ruid of the contact.
    pub ruid: Option<Vec<u8>>,
    /// User-Agent of the contact.
    pub location_ua: Option<Vec<u8>>,
}

/// More targets than `max_branches` allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more branches than max_branches")]
pub struct TooManyBranches;

impl Branch {
    /// A branch that has nothing but its URI.
    pub fn new(uri: impl Into<Vec<u8>>) -> Self {
        Self {
            uri: uri.into(),
            q: Q_UNSET,
            ..Self::default()
        }
    }
}

/// Puts the highest q first; equal ones keep their order.
pub fn sort_by_q(branches: &mut [Branch]) {
    branches.sort_by_key(|branch| std::cmp::Reverse(branch.q));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn highest_q_first_and_stable() {
        let mut branches: Vec<_> = [("a", Q_UNSET), ("b", 500), ("c", 500), ("d", 1000), ("e", 0)]
            .map(|(uri, q)| Branch {
                q,
                ..Branch::new(uri)
            })
            .into();
        sort_by_q(&mut branches);
        let order: Vec<_> = branches.iter().map(|branch| branch.uri[0]).collect();
        assert_eq!(order, *b"dbcea");
    }
}
