//! Socket addresses as the kernel knows them.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Room for any address, and how much of it is used (sockaddr(3type)).
pub(crate) struct Address {
    storage: libc::sockaddr_storage,
    len: libc::socklen_t,
}

impl Address {
    /// Room for an address that the kernel will write.
    pub(crate) fn empty() -> Address {
        // SAFETY: sockaddr_storage is plain data.
        let storage = unsafe { std::mem::zeroed() };
        Address {
            storage,
            len: size_of::<libc::sockaddr_storage>() as libc::socklen_t,
        }
    }

    /// The address a socket is bound to.
    pub(crate) fn local_of(fd: i32) -> io::Result<SocketAddr> {
        let mut address = Address::empty();
        let (storage, len) = address.raw();
        // SAFETY: both pointers are into `address`, which lives through the call.
        if unsafe { libc::getsockname(fd, storage, len) } < 0 {
            return Err(io::Error::last_os_error());
        }
        address.get()
    }

    /// What system calls take.
    pub(crate) fn raw(&mut self) -> (*mut libc::sockaddr, *mut libc::socklen_t) {
        ((&raw mut self.storage).cast(), &raw mut self.len)
    }

    /// The address, if it is an internet address.
    pub(crate) fn get(&self) -> io::Result<SocketAddr> {
        match i32::from(self.storage.ss_family) {
            libc::AF_INET => {
                // SAFETY: the family says which of the layouts the storage holds, and it has room for each.
                let v4 = unsafe { &*(&raw const self.storage).cast::<libc::sockaddr_in>() };
                let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
                Ok(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: as above.
                let v6 = unsafe { &*(&raw const self.storage).cast::<libc::sockaddr_in6>() };
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let port = u16::from_be(v6.sin6_port);
                Ok(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
            }
            family => Err(io::Error::other(format!(
                "address family {family} is not of the internet"
            ))),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(addr: SocketAddr) -> Address {
        let mut address = Address::empty();
        let storage = &raw mut address.storage;
        match addr {
            SocketAddr::V4(addr) => {
                // SAFETY: the storage has room for every kind of address, and is aligned for it.
                let v4 = unsafe { &mut *storage.cast::<libc::sockaddr_in>() };
                v4.sin_family = libc::AF_INET as libc::sa_family_t;
                v4.sin_port = addr.port().to_be();
                v4.sin_addr.s_addr = u32::from(*addr.ip()).to_be();
                address.len = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            }
            SocketAddr::V6(addr) => {
                // SAFETY: as above.
                let v6 = unsafe { &mut *storage.cast::<libc::sockaddr_in6>() };
                v6.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                v6.sin6_port = addr.port().to_be();
                v6.sin6_addr.s6_addr = addr.ip().octets();
                v6.sin6_flowinfo = addr.flowinfo();
                v6.sin6_scope_id = addr.scope_id();
                address.len = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
            }
        }
        address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_trip() {
        for text in [
            "127.0.0.1:9092",
            "0.0.0.0:0",
            "[::1]:65535",
            "[fe80::1%3]:80",
        ] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(Address::from(addr).get().unwrap(), addr);
        }
        assert!(Address::empty().get().is_err());
    }
}
