//! `sink`: a broker that reads every request, answers it and keeps nothing.
//!
//! What a run reaches against it is the ceiling of load generator, network and ring together: nothing that stores
//! records can be faster on this machine. One core, as many connections as come.

mod answers;

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use millstream_protocol::frame;
use millstream_ring::{Buffer, Bytes, CoreOptions, ListenOptions, Listener, Ring, Socket};

use crate::Fault;
use crate::connection::split_frame;
use answers::{Answer, Answers};

/// Ends the sink.
const STOP_SIGNALS: [i32; 2] = [libc::SIGTERM, libc::SIGINT];
/// Kafka's socket.request.max.bytes.
const FRAME_MAX: usize = 100 << 20;
const BACKLOG: i32 = 4096;
/// After an accept that failed (no descriptors left, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:9092", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// CPU to run on. Without it the thread is not pinned.
    #[arg(long)]
    cpu: Option<usize>,
    /// Partitions that every topic has: each topic a client asks for exists.
    #[arg(long, default_value_t = 1)]
    partitions: i32,
}

/// Serves until SIGTERM or SIGINT.
pub fn run(options: &Options) -> Result<bool, Fault> {
    // Before any other thread exists: one that does not block them would take the signals.
    millstream_ring::block_signals(&STOP_SIGNALS)?;
    let core = CoreOptions {
        cpu: options.cpu,
        name: "sink".into(),
        scratch_dirs: vec![std::env::temp_dir()],
        ..CoreOptions::default()
    };
    let options = options.clone();
    let thread = millstream_ring::start(core, move |ring| serve(ring, options))?;
    thread.join().map_err(|_| "the sink panicked")??;
    Ok(true)
}

async fn serve(ring: Ring, options: Options) -> Result<(), Fault> {
    let how = ListenOptions {
        backlog: BACKLOG,
        ..ListenOptions::default()
    };
    let listener = Listener::bind(&ring, options.listen, how)
        .map_err(|error| format!("{}: {error}", options.listen))?;
    let address = listener.local_addr();
    println!(
        "sink is ready on {address}, pid {}: it answers and keeps nothing",
        std::process::id()
    );
    let answers = Rc::new(Answers::new(address, options.partitions));
    let requests = Rc::new(Cell::new(0));
    let (inner, counted) = (ring.clone(), requests.clone());
    ring.spawn(async move {
        loop {
            match listener.accept().await {
                Ok((socket, _)) => {
                    let (ring, answers, counted) =
                        (inner.clone(), answers.clone(), counted.clone());
                    inner.spawn(async move {
                        let peer = socket.peer_addr();
                        if let Err(fault) = connection(&ring, &socket, &answers, &counted).await {
                            eprintln!("sink: connection from {peer} closed: {fault}");
                        }
                    });
                }
                Err(error) => {
                    eprintln!("sink: accept: {error}");
                    inner.sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    });
    ring.signal(&STOP_SIGNALS).await?;
    println!("{} requests answered", requests.get());
    Ok(())
}

/// Reads frames and answers what has arrived together with one send, until the client closes.
async fn connection(
    ring: &Ring,
    socket: &Socket,
    answers: &Answers,
    requests: &Cell<u64>,
) -> Result<(), Fault> {
    let mut partial = Buffer::with_capacity(0);
    while let Some(input) = receive(socket, &mut partial).await? {
        let mut replies = Vec::new();
        let mut pause = Duration::ZERO;
        let mut at = 0;
        while let Some((frame, length)) = split_frame(&input[at..]) {
            at += length;
            requests.set(requests.get() + 1);
            match answers.answer(frame, &mut replies)? {
                Answer::Now => {}
                Answer::After(wait) => pause = pause.max(wait),
            }
        }
        if at < input.len() {
            partial = keep(&input[at..])?;
        }
        // Gone before the wait: a large frame's memory serves the next connection.
        drop(input);
        if !pause.is_zero() {
            ring.sleep(pause).await;
        }
        if !replies.is_empty() {
            socket.send(vec![Bytes::from(replies)]).await?;
        }
    }
    Ok(())
}

/// More input behind `partial`: whatever is there, or the whole of the frame that has begun. `None`: closed.
async fn receive(socket: &Socket, partial: &mut Buffer) -> Result<Option<Buffer>, Fault> {
    if partial.is_empty() {
        // An idle connection holds no buffer.
        let input = socket.recv_idle().await?;
        return Ok((!input.is_empty()).then_some(input));
    }
    let mut buffer = std::mem::replace(partial, Buffer::with_capacity(0));
    if buffer.len() < frame::PREFIX {
        let (received, back) = socket.recv(buffer).await;
        return Ok((received? > 0).then_some(back));
    }
    let missing = wanted(&buffer)?.saturating_sub(buffer.len());
    let received;
    (received, buffer) = socket.recv_exact(buffer, missing).await;
    match received {
        Ok(()) => Ok(Some(buffer)),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The begun frame in a buffer that can hold all of it.
fn keep(rest: &[u8]) -> Result<Buffer, Fault> {
    let mut buffer = Buffer::with_capacity(wanted(rest)?);
    buffer.extend_from_slice(rest);
    Ok(buffer)
}

/// Bytes of the frame that starts here, its length included; just that length's own while it is not known.
fn wanted(begun: &[u8]) -> Result<usize, Fault> {
    Ok(match begun.first_chunk() {
        Some(prefix) => frame::PREFIX + frame::length(*prefix, FRAME_MAX)?,
        None => frame::PREFIX,
    })
}
