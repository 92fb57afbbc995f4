//! TCP between two threads of this machine, or two machines: how much one connection carries, and how long a small
//! message takes there and back.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use millstream_ring::{Buffer, Bytes, CoreOptions, ListenOptions, Listener, Ring, Socket};
use serde::{Deserialize, Serialize};

use super::{Latency, Rate, SLICES, latencies};
use crate::Fault;
use crate::load::CpuList;

/// Size of a large message.
const LARGE: usize = 1 << 20;
/// Size of a small message, and of its answer.
const SMALL: usize = 64;
/// Large messages whose answers are awaited at a time.
const IN_FLIGHT: usize = 5;
/// Largest message a server takes.
const MESSAGE_MAX: usize = 16 << 20;
/// What a client says first: the size of its messages.
const HELLO: usize = 8;

/// What the network does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Network {
    pub to: SocketAddr,
    /// 1 MiB messages over one connection, five in flight, each answered with 64 bytes; 10⁶ bytes a second.
    pub mb_per_second: Rate,
    /// 64 bytes there and back, one at a time.
    pub round_trip: Latency,
}

/// Measures to `peer`, or over `address` of this machine.
pub fn measure(
    address: SocketAddr,
    peer: Option<SocketAddr>,
    duration: Duration,
    cpus: &CpuList,
) -> Result<Network, Fault> {
    let (told, address_of_server) = std::sync::mpsc::channel();
    let server = match peer {
        Some(_) => None,
        None => Some(millstream_ring::start(
            core(cpus.at(0), "server"),
            move |ring| async move {
                let listener = Listener::bind(&ring, address, ListenOptions::default())?;
                // The client is gone only after both its connections.
                let _ = told.send(listener.local_addr());
                for _ in 0..2 {
                    let (socket, _) = listener.accept().await?;
                    answer(&socket).await?;
                }
                Ok::<(), Fault>(())
            },
        )?),
    };
    let to = match peer {
        Some(peer) => peer,
        None => address_of_server
            .recv()
            .map_err(|_| format!("{address} cannot be listened on"))?,
    };
    let client = millstream_ring::start(core(cpus.at(1), "client"), move |ring| async move {
        let mb_per_second = throughput(&ring, to, duration).await?;
        let round_trip = round_trip(&ring, to, duration).await?;
        Ok::<_, Fault>(Network {
            to,
            mb_per_second,
            round_trip,
        })
    })?;
    let network = client.join().map_err(|_| "the client panicked")??;
    if let Some(server) = server {
        server.join().map_err(|_| "the server panicked")??;
    }
    Ok(network)
}

/// Answers whoever connects, until the process is ended.
pub fn serve_only(address: SocketAddr, cpu: Option<usize>) -> Result<(), Fault> {
    let server = millstream_ring::start(core(cpu, "server"), move |ring| async move {
        let listener = Listener::bind(&ring, address, ListenOptions::default())?;
        println!(
            "waiting for roofline --network-peer {}",
            listener.local_addr()
        );
        loop {
            let (socket, peer) = listener.accept().await?;
            ring.spawn(async move {
                if let Err(fault) = answer(&socket).await {
                    eprintln!("{peer}: {fault}");
                }
            });
        }
    })?;
    server.join().map_err(|_| "the server panicked")?
}

fn core(cpu: Option<usize>, name: &str) -> CoreOptions {
    CoreOptions {
        cpu,
        name: name.into(),
        scratch_dirs: vec![std::env::temp_dir()],
        ..CoreOptions::default()
    }
}

/// Reads messages of the size the client names and answers each.
async fn answer(socket: &Socket) -> Result<(), Fault> {
    let (received, hello) = socket.recv_exact(Buffer::with_capacity(HELLO), HELLO).await;
    received?;
    let size = usize::try_from(u64::from_be_bytes(*hello.first_chunk().ok_or("no hello")?))?;
    if size == 0 || size > MESSAGE_MAX {
        return Err("a message size that is none".into());
    }
    let reply = Bytes::from_static(&[0; SMALL]);
    let mut buffer = Buffer::with_capacity(size);
    loop {
        buffer.clear();
        let received;
        (received, buffer) = socket.recv_exact(buffer, size).await;
        match received {
            Ok(()) => socket.send(vec![reply.clone()]).await?,
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

async fn connect(ring: &Ring, to: SocketAddr, size: usize) -> Result<Socket, Fault> {
    let socket = Socket::connect(ring, to)
        .await
        .map_err(|error| format!("{to}: {error}"))?;
    let hello = (size as u64).to_be_bytes().to_vec();
    socket.send(vec![Bytes::from(hello)]).await?;
    Ok(socket)
}

async fn throughput(ring: &Ring, to: SocketAddr, duration: Duration) -> Result<Rate, Fault> {
    let socket = Rc::new(connect(ring, to, LARGE).await?);
    let message = Bytes::from(crate::produce::payload::noise(LARGE));
    // Sends keep so many in flight; each answer makes room for the next.
    let window = Rc::new(crate::connection::Window::new(IN_FLIGHT));
    let (sending, room) = (socket.clone(), window.clone());
    ring.spawn(async move {
        while room.room().await > 0 {
            room.sent(Instant::now());
            if sending.send(vec![message.clone()]).await.is_err() {
                return;
            }
        }
    });
    let (mut slices, mut buffer) = (Vec::new(), Buffer::with_capacity(SMALL));
    for _ in 0..SLICES {
        let (began, mut messages) = (Instant::now(), 0u32);
        while began.elapsed() < duration / SLICES {
            buffer.clear();
            let received;
            (received, buffer) = socket.recv_exact(buffer, SMALL).await;
            received?;
            window.pop();
            window.wake();
            messages += 1;
        }
        let megabytes = f64::from(messages) * LARGE as f64 / 1e6;
        slices.push(megabytes / began.elapsed().as_secs_f64());
    }
    window.stop();
    while window.in_flight() > 0 {
        buffer.clear();
        let received;
        (received, buffer) = socket.recv_exact(buffer, SMALL).await;
        received?;
        window.pop();
    }
    socket.shutdown();
    Ok(Rate::of(slices))
}

async fn round_trip(ring: &Ring, to: SocketAddr, duration: Duration) -> Result<Latency, Fault> {
    let socket = connect(ring, to, SMALL).await?;
    let message = Bytes::from_static(&[0; SMALL]);
    let mut latencies = latencies();
    let mut buffer = Buffer::with_capacity(SMALL);
    let end = Instant::now() + duration;
    while Instant::now() < end {
        let began = Instant::now();
        socket.send(vec![message.clone()]).await?;
        buffer.clear();
        let received;
        (received, buffer) = socket.recv_exact(buffer, SMALL).await;
        received?;
        let elapsed = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        latencies.saturating_record(elapsed);
    }
    socket.shutdown();
    Ok(Latency::of(&latencies))
}
