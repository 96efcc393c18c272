//! The addresses of this machine, for a daemon without a `listen` line and for interface names in one.
#![expect(unsafe_code, reason = "getifaddrs(3) hands out a list of C structures")]

use std::ffi::CStr;
use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

/// An address of an interface that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The interface: `eth0`.
    pub name: String,
    /// The address.
    pub address: IpAddr,
}

/// Every address of every interface that is up; IPv6 link-local ones are left out, for they need a scope.
pub fn addresses() -> io::Result<Vec<InterfaceAddress>> {
    let mut first: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: the pointer is valid for the call to write to; what it gets is freed below.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut next = first;
    while !next.is_null() {
        // SAFETY: `next` is an entry of the list that getifaddrs made and that is not freed yet.
        let entry = unsafe { &*next };
        let up = entry.ifa_flags & libc::IFF_UP as libc::c_uint != 0;
        if up && let Some(address) = address(entry.ifa_addr) {
            // SAFETY: every entry has a name, a C string that lives as long as the list.
            let name = unsafe { CStr::from_ptr(entry.ifa_name) }
                .to_string_lossy()
                .into_owned();
            found.push(InterfaceAddress { name, address });
        }
        next = entry.ifa_next;
    }
    // SAFETY: the list came from getifaddrs and nothing refers to it any more.
    unsafe { libc::freeifaddrs(first) };
    Ok(found)
}

fn address(from: *const libc::sockaddr) -> Option<IpAddr> {
    if from.is_null() {
        return None;
    }
    // SAFETY: the pointer is not null and comes from getifaddrs; the family says what it points to.
    match i32::from(unsafe { (*from).sa_family }) {
        libc::AF_INET => {
            // SAFETY: the family is AF_INET.
            let v4 = unsafe { &*from.cast::<libc::sockaddr_in>() };
            Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr))))
        }
        libc::AF_INET6 => {
            // SAFETY: the family is AF_INET6.
            let v6 = unsafe { &*from.cast::<libc::sockaddr_in6>() };
            let address = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            (!address.is_unicast_link_local()).then_some(IpAddr::V6(address))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_among_them() {
        let all = addresses().expect("getifaddrs");
        assert!(
            all.iter()
                .any(|a| a.address.is_loopback() && a.name.starts_with("lo")),
            "{all:?}"
        );
    }
}
