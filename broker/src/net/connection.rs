//! One task per connection reads frames and hands each to its API; a second one sends the replies in request order.

use std::cell::Cell;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use millstream_ring::{Buffer, Bytes, Socket};

use crate::api::{self, Outcome};
use crate::net::memory::Share;
use crate::net::migrate::{Guest, Pulls};
use crate::net::replies::Replies;
use crate::net::warnings::Kind;
use crate::shard::Shard;
use millstream_ring::Turn;

/// Length prefix of a frame.
const PREFIX: usize = 4;
/// A frame up to this size gets its whole buffer at once; a longer one only as its bytes arrive, unless the connection
/// has sent one as long before.
const TRUSTED_BYTES: usize = 4 << 10;
/// What a receive on a connection without a frame takes, however little comes.
const IDLE_BYTES: usize = 16 << 10;
/// A request below this size is moved out of such a buffer, of which it would hold all for as long as it is at work.
const MOVED_BELOW: usize = 2 << 10;
/// However long the frames a connection has sent, no more than this is set aside for bytes that have not arrived.
const TRUSTED_BYTES_MAX: usize = 4 << 20;
/// A frame or reply that takes long counts as progress each time that so much of it has moved.
const PROGRESS_BYTES: usize = 4 << 20;
/// An answer up to this size goes out in one system call; it is enough for a fetch of 1 MiB.
const WHOLE_BYTES: usize = 5 << 18;
/// What the kernel is given at once of a larger one: it copies all that the peer has room for, and nothing else happens on this
/// core meanwhile.
const PIECE_BYTES: usize = 512 << 10;

/// What handlers know of the connection a request came in on.
pub(crate) struct Connection {
    pub(crate) peer: SocketAddr,
    /// Index into `Config::listeners`.
    pub(crate) listener: usize,
    pub(crate) replies: Rc<Replies>,
    /// When something was last received or sent, on the ring's clock.
    pub(crate) active: Cell<Duration>,
    /// A part of a frame is here and the rest is waited for.
    pub(crate) in_frame: Cell<bool>,
    pub(crate) pulls: Pulls,
}

impl Connection {
    pub(crate) fn new(shard: &Shard, guest: &Guest) -> Self {
        let broker = &shard.config.broker;
        let replies = Replies::new(
            shard.memory.replies.clone(),
            broker.connection_requests_max,
            broker.connection_responses_max_bytes,
        );
        Self {
            peer: guest.peer,
            listener: guest.listener,
            replies,
            active: Cell::new(shard.ring.now()),
            in_frame: Cell::new(false),
            pulls: Pulls::after(guest.moves),
        }
    }
}

/// How a connection's time on this core ends.
pub(crate) enum Ending {
    Closed,
    /// It goes on, on that core, with this descriptor.
    Moves(usize, OwnedFd),
}

/// Serves one connection until the peer closes or errs, or it moves, and what it asked before is answered.
pub(crate) async fn serve(
    shard: &Rc<Shard>,
    socket: Socket,
    connection: &Rc<Connection>,
) -> Ending {
    // Boxed, as everything that lives as long as a connection and is handed on: by value it would be stored twice.
    let reader = Box::pin(async {
        let read = read_requests(shard, &socket, connection).await;
        connection.replies.finish();
        read.unwrap_or_else(|cause| {
            let peer = connection.peer;
            shard.warnings.report(Kind::Connection, || {
                format!("connection from {peer} closed: {cause}")
            });
            Ending::Closed
        })
    });
    let writer = Box::pin(send_replies(shard, &socket, connection));
    let reader = connection.replies.before_writer(reader);
    let (ending, ()) = futures_util::future::join(reader, writer).await;
    connection.replies.discard();
    if let Ending::Closed = ending {
        socket.shutdown();
    }
    ending
}

/// Why the broker itself closes a connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Close {
    #[error("frame length {0} is negative or above socket.request.max.bytes")]
    FrameLength(i32),
    #[error("{0}")]
    Request(#[from] api::BadRequest),
    /// acks=0 and the append failed: Kafka closes, so that the producer notices.
    #[error("a batch sent with acks=0 was refused: {0}")]
    Refused(&'static str),
}

async fn send_replies(shard: &Shard, socket: &Socket, connection: &Connection) {
    while let Some(parts) = connection.replies.next(shard).await {
        if send(shard, socket, connection, parts).await.is_err() {
            connection.replies.break_off();
        }
    }
    if connection.replies.is_broken() {
        // The reader waits for what would come to nothing.
        connection.replies.discard();
        socket.shutdown();
    }
}

/// Sends everything, the larger part of it in pieces: each that has gone is progress, and its memory is free.
async fn send(
    shard: &Shard,
    socket: &Socket,
    connection: &Connection,
    parts: Vec<Bytes>,
) -> std::io::Result<()> {
    connection.active.set(shard.ring.now());
    let piece_bytes = match parts.iter().map(|part| part.len()).sum::<usize>() {
        0..=WHOLE_BYTES => WHOLE_BYTES,
        _ => PIECE_BYTES,
    };
    let mut rest = parts.into_iter().peekable();
    while rest.peek().is_some() {
        let mut bytes = 0;
        let piece = std::iter::from_fn(|| {
            let part = rest.next_if(|_| bytes < piece_bytes)?;
            bytes += part.len();
            Some(part)
        });
        socket.send(piece.collect()).await?;
        shard.metrics().sent_bytes.add(bytes as u64);
        connection.active.set(shard.ring.now());
    }
    Ok(())
}

async fn read_requests(
    shard: &Rc<Shard>,
    socket: &Socket,
    connection: &Rc<Connection>,
) -> Result<Ending, Close> {
    let mut input = Input {
        partial: Buffer::with_capacity(0),
        trusted: TRUSTED_BYTES,
        held: shard.memory.requests.share(0),
        overrun: None,
    };
    while !shard.stopping.get() && !connection.replies.is_broken() {
        connection.replies.room().await;
        let received = input.receive(shard, socket, connection).await;
        connection.in_frame.set(false);
        let Some((bytes, held)) = received? else {
            break;
        };
        connection.active.set(shard.ring.now());
        let rest = answer_frames(shard, connection, bytes, held).await?;
        if rest.is_empty()
            && let Some(core) = connection.pulls.elsewhere(shard)
            && let Some(socket) = Box::pin(leave(shard, socket, connection)).await
        {
            return Ok(Ending::Moves(core, socket));
        }
        input.keep(&rest);
    }
    Ok(Ending::Closed)
}

/// Waits until everything is answered and gives the descriptor for another core; `None` when the connection stays, or ends.
async fn leave(shard: &Shard, socket: &Socket, connection: &Connection) -> Option<OwnedFd> {
    connection.replies.all_sent().await;
    if shard.stopping.get() || connection.replies.is_broken() {
        return None;
    }
    // Without a free descriptor it is served on here.
    socket.duplicate().ok()
}

/// Hands all whole frames on, in order; what is left over is the beginning of the next.
async fn answer_frames(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    mut bytes: Bytes,
    held: Share,
) -> Result<Bytes, Close> {
    let frame_max = shard.config.broker.socket_request_max_bytes;
    let mut held = Rc::new(held);
    while let Some(end) = frame_end(&bytes, frame_max)? {
        let mut frame = bytes.slice(PREFIX..end);
        bytes = bytes.slice(end..bytes.len());
        if bytes.is_empty() && frame.len() < MOVED_BELOW && !api::is_produce(&frame) {
            frame = Bytes::from(frame.to_vec());
            bytes = Bytes::new();
            held = Rc::new(shard.memory.requests.share(frame.len()));
        }
        connection.replies.room().await;
        if connection.replies.is_broken() {
            return Ok(Bytes::new());
        }
        match api::dispatch(shard, connection, frame, &held).await? {
            Outcome::Answered => {}
            Outcome::Refused(why) => return Err(Close::Refused(why)),
        }
    }
    Ok(bytes)
}

/// Length of the frame at the front, prefix included; `None` if more bytes are needed.
fn frame_end(bytes: &[u8], frame_max: usize) -> Result<Option<usize>, Close> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX>() else {
        return Ok(None);
    };
    let length = frame_length(*prefix, frame_max)?;
    Ok((rest.len() >= length).then_some(PREFIX + length))
}

fn frame_length(prefix: [u8; PREFIX], frame_max: usize) -> Result<usize, Close> {
    let length = i32::from_be_bytes(prefix);
    match usize::try_from(length) {
        Ok(length) if length <= frame_max => Ok(length),
        _ => Err(Close::FrameLength(length)),
    }
}

/// What has arrived of a frame that is not whole yet.
struct Input {
    partial: Buffer,
    /// Size up to which a buffer is given before the bytes are there.
    trusted: usize,
    /// The memory of `partial`.
    held: Share,
    /// This frame may take what it needs, although nothing is left.
    overrun: Option<Turn>,
}

impl Input {
    /// At least one more byte, appended to what was kept; `None` when the peer has closed.
    async fn receive(
        &mut self,
        shard: &Shard,
        socket: &Socket,
        connection: &Connection,
    ) -> Result<Option<(Bytes, Share)>, Close> {
        let requests = &shard.memory.requests;
        if self.partial.is_empty() {
            requests.room(shard).await;
            let received = socket.recv_idle().await.ok().filter(|b| !b.is_empty());
            return Ok(received.map(|buffer| {
                shard.metrics().received_bytes.add(buffer.len() as u64);
                (buffer.freeze(), requests.share(IDLE_BYTES))
            }));
        }
        // Boxed: it would otherwise sit in every idle connection.
        Box::pin(self.complete(shard, socket, connection)).await
    }

    /// The whole frame whose beginning was kept.
    async fn complete(
        &mut self,
        shard: &Shard,
        socket: &Socket,
        connection: &Connection,
    ) -> Result<Option<(Bytes, Share)>, Close> {
        let frame_max = shard.config.broker.socket_request_max_bytes;
        let requests = &shard.memory.requests;
        connection.in_frame.set(true);
        let wanted = match self.partial.first_chunk::<PREFIX>() {
            Some(prefix) => PREFIX + frame_length(*prefix, frame_max)?,
            None => PREFIX,
        };
        let broken = || connection.replies.is_broken();
        // Held until this frame is there, or the connection has ended.
        let _turn = requests.turn_of_large(shard, wanted, broken).await;
        while self.partial.len() < wanted {
            if self.partial.remaining() == 0 {
                if self.overrun.is_none() {
                    // The wait counts as standing still: of those who hold memory the longest-waiting goes first.
                    self.overrun = requests.more(shard, broken).await;
                }
                if broken() {
                    return Ok(None);
                }
                self.grow(wanted);
            }
            let partial = std::mem::replace(&mut self.partial, Buffer::with_capacity(0));
            let missing = (wanted - partial.len())
                .min(partial.remaining())
                .min(PROGRESS_BYTES);
            let (outcome, partial) = socket.recv_exact(partial, missing).await;
            self.partial = partial;
            if outcome.is_err() {
                return Ok(None);
            }
            shard.metrics().received_bytes.add(missing as u64);
            connection.active.set(shard.ring.now());
        }
        self.trusted = self.trusted.max(wanted.min(TRUSTED_BYTES_MAX));
        self.overrun = None;
        let whole = std::mem::replace(&mut self.partial, Buffer::with_capacity(0));
        let held = std::mem::replace(&mut self.held, requests.share(0));
        Ok(Some((whole.freeze(), held)))
    }

    /// Makes room for more of a frame of `wanted` bytes: all of it where that is trusted, else as much again as arrived.
    fn grow(&mut self, wanted: usize) {
        let capacity = if wanted <= self.trusted {
            wanted
        } else {
            wanted.min((self.partial.len() * 2).max(self.trusted))
        };
        let mut larger = Buffer::with_capacity(capacity);
        larger.extend_from_slice(&self.partial);
        self.held.set(larger.capacity());
        self.partial = larger;
    }

    fn keep(&mut self, rest: &[u8]) {
        let mut partial = Buffer::with_capacity(rest.len());
        partial.extend_from_slice(rest);
        self.held.set(partial.capacity());
        self.partial = partial;
    }
}
