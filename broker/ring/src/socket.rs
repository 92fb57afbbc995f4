//! TCP: listen, accept, connect, receive, gather-send.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::rc::Rc;

use io_uring::{opcode, squeue, types};

use crate::address::Address;
use crate::buffer::{Buffer, Bytes};
use crate::file::Retries;
use crate::gather::Remaining;
use crate::idle::{GROUP, IDLE_BUFFER};
use crate::op::{Fd, Held, OnDrop, Op, Thing};
use crate::ring::Ring;

/// The most one receive asks for, in bytes: results are 31 bits wide.
const RECEIVE_MAX: usize = 1 << 30;

/// How to listen.
#[derive(Clone, Copy, Debug)]
pub struct ListenOptions {
    /// SO_REUSEPORT: every core binds the same address and gets its share of the connections.
    pub reuse_port: bool,
    /// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
    pub backlog: i32,
    /// IPV6_V6ONLY: an IPv6 wildcard does not take IPv4 connections too.
    pub v6only: bool,
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions {
            reuse_port: true,
            backlog: 1024,
            v6only: false,
        }
    }
}

/// A listening socket.
pub struct Listener {
    ring: Ring,
    fd: Fd,
    local: SocketAddr,
}

impl Listener {
    /// Binds `addr` and listens. Port 0 lets the kernel choose; see [`Listener::local_addr`].
    ///
    /// # Errors
    /// Those of socket(2), bind(2) and listen(2).
    pub fn bind(ring: &Ring, addr: SocketAddr, options: ListenOptions) -> io::Result<Listener> {
        let fd = bind(addr, options.reuse_port, options.v6only)?;
        // SAFETY: a plain system call on an open descriptor.
        check(unsafe { libc::listen(fd.as_raw_fd(), options.backlog) })?;
        let local = Address::local_of(fd.as_raw_fd())?;
        Ok(Listener {
            ring: ring.clone(),
            fd: Rc::new(fd),
            local,
        })
    }

    /// The address that is bound, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The next connection, with TCP_NODELAY on, and its peer.
    ///
    /// A dropped accept is taken back; a connection that it had got already is closed.
    ///
    /// # Errors
    /// Those of accept(2) except that the peer was gone again. EMFILE, ENFILE and ENOBUFS pass: go on
    /// after a pause.
    pub async fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
        loop {
            let mut address = Box::new(Address::empty());
            let (storage, len) = address.raw();
            let entry = opcode::Accept::new(types::Fd(self.fd.as_raw_fd()), storage, len)
                .flags(libc::SOCK_CLOEXEC)
                .build();
            let held = Held::new(&self.fd, Thing::Address(address));
            // SAFETY: the entry points to the address that the operation owns.
            let done = unsafe { Op::start(&self.ring, entry, held, OnDrop::Close) }.await;
            let fd = match done.result {
                Ok(fd) => fd,
                Err(e) if is_gone_again(&e) => continue,
                Err(e) => return Err(e),
            };
            // SAFETY: the kernel has just given us this descriptor.
            let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
            let Thing::Address(address) = done.held.thing else {
                unreachable!("an accept holds an address")
            };
            let peer = address.get()?;
            return Ok((Socket::new(&self.ring, Rc::new(fd), peer), peer));
        }
    }
}

/// Binds `addr` without SO_REUSEPORT and lets it go again: whether anybody, also a process of the same
/// user that would share it, has it. Returns the address with the real port.
///
/// # Errors
/// EADDRINUSE, and what else bind(2) and listen(2) say.
pub fn check_free(addr: SocketAddr) -> io::Result<SocketAddr> {
    // v6only: whether IPv4 has the port too is asked, and told, for itself.
    let fd = bind(addr, false, true)?;
    // Only listening, not binding, conflicts with every socket that listens already.
    // SAFETY: a plain system call on an open descriptor.
    check(unsafe { libc::listen(fd.as_raw_fd(), 1) })?;
    Address::local_of(fd.as_raw_fd())
}

/// A connected TCP socket with TCP_NODELAY on. Clones share it; it is closed when the last clone and the
/// last operation are gone. At most one task receives and one sends at a time.
///
/// Dropping the future of a receive or send takes the operation back *if it is still waiting*; bytes may
/// have moved by then. So drop one only to give the connection up.
#[derive(Clone)]
pub struct Socket(Rc<Connection>);

struct Connection {
    ring: Ring,
    fd: Fd,
    peer: SocketAddr,
}

impl Socket {
    fn new(ring: &Ring, fd: Fd, peer: SocketAddr) -> Socket {
        let socket = Socket(Rc::new(Connection {
            ring: ring.clone(),
            fd,
            peer,
        }));
        // Refused only when the connection is gone already, which the first receive will tell.
        let _ = set_option(socket.raw(), libc::IPPROTO_TCP, libc::TCP_NODELAY, 1);
        socket
    }

    /// The connection of a descriptor that [`Socket::duplicate`] gave, on whichever core.
    pub fn adopt(ring: &Ring, fd: OwnedFd, peer: SocketAddr) -> Socket {
        Socket::new(ring, Rc::new(fd), peer)
    }

    /// Another descriptor of the connection, for another core to [`Socket::adopt`]. That core may use it when
    /// nothing of this one receives or sends any more.
    ///
    /// # Errors
    /// Those of fcntl(2), F_DUPFD_CLOEXEC: EMFILE when too many files are open.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        self.0.fd.try_clone()
    }

    /// Connects to `addr`.
    ///
    /// # Errors
    /// Those of connect(2).
    pub async fn connect(ring: &Ring, addr: SocketAddr) -> io::Result<Socket> {
        let fd: Fd = Rc::new(open_socket(&addr)?);
        let mut address = Box::new(Address::from(addr));
        let (storage, len) = address.raw();
        // SAFETY: `raw` points into the box, which is valid here.
        let len = unsafe { *len };
        let entry = opcode::Connect::new(types::Fd(fd.as_raw_fd()), storage, len).build();
        let held = Held::new(&fd, Thing::Address(address));
        // SAFETY: the entry points to the address that the operation owns.
        unsafe { Op::start(ring, entry, held, OnDrop::Cancel) }
            .await
            .result?;
        Ok(Socket::new(ring, fd, addr))
    }

    /// Waits for bytes while holding no memory, and returns what there is, at most 16 KiB, in a buffer
    /// with room for 16 KiB. Empty: the peer has closed.
    ///
    /// # Errors
    /// Those of recv(2).
    pub async fn recv_idle(&self) -> io::Result<Buffer> {
        let mut retries = Retries::new();
        loop {
            let entry = opcode::Recv::new(self.target(), std::ptr::null_mut(), IDLE_BUFFER as u32)
                .buf_group(GROUP)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT);
            // SAFETY: the entry points to nothing: the kernel takes a buffer of its group, and the ring
            // replaces it at the completion.
            let op = unsafe {
                Op::start(
                    &self.0.ring,
                    entry,
                    self.held(Thing::Nothing),
                    OnDrop::Cancel,
                )
            };
            let done = op.await;
            match (done.result, done.held.thing) {
                (Ok(0), _) => return Ok(Buffer::with_capacity(0)),
                (Ok(_), Thing::Buffer(buffer)) => return Ok(buffer),
                (Ok(_), _) => unreachable!("received bytes are in a buffer of the group"),
                // More receives in one turn than buffers. They are refilled by now.
                (Err(e), _) if e.raw_os_error() == Some(libc::ENOBUFS) => {
                    self.0.ring.yield_now().await
                }
                (Err(e), _) => retries.pause(&self.0.ring, e).await?,
            }
        }
    }

    /// Receives what there is (waits for the first byte) behind the bytes of `buf`, up to its capacity.
    /// 0: the peer has closed. Asserts that there is room.
    ///
    /// # Errors
    /// Those of recv(2); `buf` keeps what it had.
    pub async fn recv(&self, mut buf: Buffer) -> (io::Result<usize>, Buffer) {
        let room = buf.remaining();
        assert!(room > 0, "a receive without room would look like the end");
        let mut retries = Retries::new();
        loop {
            let (result, back) = self.receive(buf, room, 0).await;
            buf = back;
            match result {
                Err(e) => {
                    if let Err(e) = retries.pause(&self.0.ring, e).await {
                        return (Err(e), buf);
                    }
                }
                received => return (received, buf),
            }
        }
    }

    /// Receives exactly `n` bytes behind the bytes of `buf`. Asserts that they fit.
    ///
    /// # Errors
    /// Those of recv(2), and `UnexpectedEof` when the peer closes before; `buf` keeps what came.
    pub async fn recv_exact(&self, mut buf: Buffer, n: usize) -> (io::Result<()>, Buffer) {
        assert!(
            n <= buf.remaining(),
            "a buffer never grows past its capacity"
        );
        let end = buf.len() + n;
        let mut retries = Retries::new();
        while buf.len() < end {
            let left = end - buf.len();
            // With MSG_WAITALL the kernel fills the buffer as packets come, without a wake-up for each.
            let (result, back) = self.receive(buf, left, libc::MSG_WAITALL).await;
            buf = back;
            match result {
                Ok(0) => return (Err(io::ErrorKind::UnexpectedEof.into()), buf),
                Ok(_) => {}
                Err(e) => {
                    if let Err(e) = retries.pause(&self.0.ring, e).await {
                        return (Err(e), buf);
                    }
                }
            }
        }
        (Ok(()), buf)
    }

    /// Sends all `parts`, one after another. A short send is continued; a closed peer is an error, not a
    /// signal.
    ///
    /// # Errors
    /// Those of send(2). Any prefix may have gone then: the connection is of no more use.
    pub async fn send(&self, parts: Vec<Bytes>) -> io::Result<()> {
        const FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let ring = &self.0.ring;
        let mut rest = Remaining::new(parts);
        let mut retries = Retries::new();
        while !rest.is_empty() {
            let (entry, thing) = if let Some((address, len)) = rest.single() {
                let entry = opcode::Send::new(self.target(), address, len)
                    .flags(FLAGS)
                    .build();
                (entry, Thing::Gather(rest.take_parts(), None))
            } else {
                let mut gather = ring.take_gather();
                rest.fill(&mut gather.iovecs);
                let message = gather.message();
                let entry = opcode::SendMsg::new(self.target(), message)
                    .flags(FLAGS as u32)
                    .build();
                (entry, Thing::Gather(rest.take_parts(), Some(gather)))
            };
            // SAFETY: the entry points to parts, or to a gather list of parts, that the operation owns.
            let done = unsafe { Op::start(ring, entry, self.held(thing), OnDrop::Cancel) }.await;
            rest.give_back(ring, done.held.thing);
            match done.result {
                Ok(n) => {
                    rest.advance(n);
                    retries = Retries::new();
                }
                Err(e) => retries.pause(ring, e).await?,
            }
        }
        Ok(())
    }

    /// Ends the connection in both directions: a waiting receive returns empty, a waiting send fails.
    pub fn shutdown(&self) {
        // SAFETY: a plain system call on an open descriptor. It fails only when the peer is gone already.
        unsafe { libc::shutdown(self.raw(), libc::SHUT_RDWR) };
    }

    /// Ends receiving only: what has arrived is still received, then (and for a waiting receive at once)
    /// it looks as if the peer had closed. Sends go on.
    pub fn shutdown_read(&self) {
        // SAFETY: as in `shutdown`.
        unsafe { libc::shutdown(self.raw(), libc::SHUT_RD) };
    }

    /// Asks for a receive buffer of `bytes` in the kernel, capped at `net.core.rmem_max`, and ends its
    /// autotuning.
    ///
    /// # Errors
    /// Those of setsockopt(2).
    pub fn set_receive_buffer(&self, bytes: usize) -> io::Result<()> {
        let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
        set_option(self.raw(), libc::SOL_SOCKET, libc::SO_RCVBUF, bytes)
    }

    /// As [`Socket::set_receive_buffer`], for sending; capped at `net.core.wmem_max`.
    ///
    /// # Errors
    /// Those of setsockopt(2).
    pub fn set_send_buffer(&self, bytes: usize) -> io::Result<()> {
        let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
        set_option(self.raw(), libc::SOL_SOCKET, libc::SO_SNDBUF, bytes)
    }

    /// Whom we talk to.
    pub fn peer_addr(&self) -> SocketAddr {
        self.0.peer
    }

    /// Our own address of this connection.
    ///
    /// # Errors
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Address::local_of(self.raw())
    }

    /// One receive of at most `len` bytes behind those of `buf`.
    async fn receive(
        &self,
        mut buf: Buffer,
        len: usize,
        flags: i32,
    ) -> (io::Result<usize>, Buffer) {
        let len = len.min(buf.remaining()).min(RECEIVE_MAX);
        let entry = opcode::Recv::new(self.target(), buf.end_ptr(), len as u32)
            .flags(flags)
            .build();
        let held = self.held(Thing::Buffer(buf));
        // SAFETY: the entry points into the buffer that the operation owns.
        let done = unsafe { Op::start(&self.0.ring, entry, held, OnDrop::Cancel) }.await;
        let Thing::Buffer(mut buf) = done.held.thing else {
            unreachable!("a receive holds its buffer")
        };
        if let Ok(n) = done.result {
            // SAFETY: the kernel has written n bytes at the end of the buffer.
            unsafe { buf.filled(n) };
        }
        (done.result, buf)
    }

    fn held(&self, thing: Thing) -> Held {
        Held::new(&self.0.fd, thing)
    }

    fn target(&self) -> types::Fd {
        types::Fd(self.raw())
    }

    fn raw(&self) -> i32 {
        self.0.fd.as_raw_fd()
    }
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Socket({})", self.0.peer)
    }
}

/// The peer left between the handshake and us (accept(2), "error handling").
fn is_gone_again(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EINTR
                | libc::EAGAIN
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::EHOSTUNREACH
        )
    )
}

fn open_socket(addr: &SocketAddr) -> io::Result<OwnedFd> {
    let family = if addr.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    // SAFETY: a plain system call.
    let fd = check(unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: just created, ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn bind(addr: SocketAddr, reuse_port: bool, v6only: bool) -> io::Result<OwnedFd> {
    let fd = open_socket(&addr)?;
    let raw = fd.as_raw_fd();
    // Old connections in TIME_WAIT must not keep a restarted broker from its port.
    set_option(raw, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    if reuse_port {
        set_option(raw, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    }
    if addr.is_ipv6() {
        set_option(
            raw,
            libc::IPPROTO_IPV6,
            libc::IPV6_V6ONLY,
            i32::from(v6only),
        )?;
    }
    let mut address = Address::from(addr);
    let (storage, len) = address.raw();
    // SAFETY: both pointers are into `address`, which lives through the call.
    check(unsafe { libc::bind(raw, storage, *len) })?;
    Ok(fd)
}

fn set_option(fd: i32, level: i32, name: i32, value: i32) -> io::Result<()> {
    let len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the value lives through the call and `len` is its size.
    check(unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), len) }).map(drop)
}

/// The result of a system call that says -1 and errno.
fn check(result: i32) -> io::Result<i32> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
