//! Sockets on loopback.

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use millstream_ring::{
    Buffer, Bytes, CoreOptions, ListenOptions, Listener, Ring, Socket, block_on, check_free, start,
};

fn listen(ring: &Ring) -> Listener {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    Listener::bind(ring, any, ListenOptions::default()).unwrap()
}

async fn pair(ring: &Ring) -> (Socket, Socket) {
    let listener = listen(ring);
    let client = Socket::connect(ring, listener.local_addr()).await.unwrap();
    let (server, peer) = listener.accept().await.unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    assert_eq!(client.peer_addr(), listener.local_addr());
    (client, server)
}

/// Waits until `count` is zero.
async fn none_left(ring: &Ring, count: &Cell<usize>) {
    while count.get() > 0 {
        ring.sleep(Duration::from_millis(1)).await;
    }
}

/// Polls a future once, and expects it to wait.
async fn begin<F: Future>(future: std::pin::Pin<&mut F>) {
    let mut future = Some(future);
    poll_fn(|cx| {
        assert!(future.take().unwrap().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

#[test]
fn many_connections_echo() {
    const CONNECTIONS: usize = 100;
    const ROUNDS: usize = 50;
    block_on(async |ring: Ring| {
        let listener = listen(&ring);
        let addr = listener.local_addr();
        let server = ring.clone();
        ring.spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                server.spawn(async move {
                    loop {
                        let bytes = socket.recv_idle().await.unwrap();
                        if bytes.is_empty() {
                            return;
                        }
                        socket.send(vec![bytes.freeze()]).await.unwrap();
                    }
                });
            }
        });
        let left = Rc::new(Cell::new(CONNECTIONS));
        for number in 0..CONNECTIONS {
            let (ring, left) = (ring.clone(), left.clone());
            ring.clone().spawn(async move {
                let socket = Socket::connect(&ring, addr).await.unwrap();
                let mut buffer = Buffer::with_capacity(100_000);
                for round in 0..ROUNDS {
                    let len = 1 + (number * 7919 + round * 104_729) % 50_000;
                    let expected: Vec<u8> =
                        (0..len).map(|i| (i * 31 + round + number) as u8).collect();
                    socket
                        .send(vec![Bytes::from(expected.clone())])
                        .await
                        .unwrap();
                    buffer.clear();
                    let (result, back) = socket.recv_exact(buffer, len).await;
                    result.unwrap();
                    buffer = back;
                    assert_eq!(&buffer[..], &expected[..]);
                }
                left.set(left.get() - 1);
            });
        }
        none_left(&ring, &left).await;
    });
}

#[test]
fn large_gather_sends_to_a_slow_reader_arrive_whole() {
    block_on(async |ring: Ring| {
        let (client, server) = pair(&ring).await;
        client.set_send_buffer(64 << 10).unwrap();
        server.set_receive_buffer(64 << 10).unwrap();
        // More parts than one call takes, of all sizes, empty ones too: about 23 MB.
        let parts: Vec<Bytes> = (0..3000usize)
            .map(|i| Bytes::from(vec![i as u8; (i * 7919) % 15_000]))
            .collect();
        let expected: Vec<u8> = parts.iter().flat_map(|part| part.to_vec()).collect();
        let done = Rc::new(Cell::new(1));
        let sent = done.clone();
        ring.spawn(async move {
            client.send(parts).await.unwrap();
            sent.set(0);
        });
        let mut got = Vec::new();
        while got.len() < expected.len() {
            let (result, buffer) = server.recv(Buffer::with_capacity(100_000)).await;
            assert!(result.unwrap() > 0);
            got.extend_from_slice(&buffer);
        }
        assert!(got == expected);
        none_left(&ring, &done).await;
        server.send(Vec::new()).await.unwrap();
    });
}

#[test]
fn two_hundred_idle_connections() {
    const CONNECTIONS: usize = 200;
    block_on(async |ring: Ring| {
        let listener = listen(&ring);
        let addr = listener.local_addr();
        let mut clients: Vec<TcpStream> = (0..CONNECTIONS)
            .map(|_| TcpStream::connect(addr).unwrap())
            .collect();
        let left = Rc::new(Cell::new(CONNECTIONS));
        for _ in 0..CONNECTIONS {
            let (socket, peer) = listener.accept().await.unwrap();
            let left = left.clone();
            ring.spawn(async move {
                // More bytes than one buffer has, in as many pieces as it takes.
                let mut total = 0;
                while total < 20_000 {
                    let bytes = socket.recv_idle().await.unwrap();
                    assert!(!bytes.is_empty() && bytes.len() <= 16 << 10);
                    assert!(
                        bytes.iter().all(|b| *b == peer.port() as u8),
                        "every byte is this connection's"
                    );
                    total += bytes.len();
                }
                assert!(
                    socket.recv_idle().await.unwrap().is_empty(),
                    "the peer has closed"
                );
                left.set(left.get() - 1);
            });
        }
        ring.sleep(Duration::from_millis(20)).await;
        // All at once, which is more than there are buffers.
        for client in &mut clients {
            let port = client.local_addr().unwrap().port();
            client.write_all(&vec![port as u8; 20_000]).unwrap();
        }
        drop(clients);
        none_left(&ring, &left).await;
    });
}

#[test]
fn a_closed_peer() {
    block_on(async |ring: Ring| {
        let (client, server) = pair(&ring).await;
        client.send(vec![Bytes::from_static(b"abc")]).await.unwrap();
        drop(client);
        let (result, buffer) = server.recv_exact(Buffer::with_capacity(10), 10).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(&buffer[..], b"abc", "what came is kept");
        let (result, buffer) = server.recv(buffer).await;
        assert_eq!(result.unwrap(), 0);
        assert_eq!(&buffer[..], b"abc");
        let error = loop {
            if let Err(e) = server.send(vec![Bytes::from(vec![1; 1000])]).await {
                break e;
            }
        };
        assert!(
            matches!(
                error.kind(),
                ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
            ),
            "{error}"
        );
    });
}

#[test]
fn shutdown_ends_a_waiting_receive() {
    block_on(async |ring: Ring| {
        let (client, server) = pair(&ring).await;
        let waiting = server.clone();
        let left = Rc::new(Cell::new(1));
        let done = left.clone();
        ring.spawn(async move {
            assert!(waiting.recv_idle().await.unwrap().is_empty());
            done.set(0);
        });
        ring.sleep(Duration::from_millis(5)).await;
        server.shutdown();
        none_left(&ring, &left).await;
        assert!(client.recv_idle().await.unwrap().is_empty());
    });
}

#[test]
fn shutdown_read_takes_what_has_come_and_lets_sends_go_on() {
    block_on(async |ring: Ring| {
        let (client, server) = pair(&ring).await;
        let waiting = server.clone();
        let left = Rc::new(Cell::new(1));
        let done = left.clone();
        ring.spawn(async move {
            assert!(waiting.recv_idle().await.unwrap().is_empty());
            done.set(0);
        });
        ring.sleep(Duration::from_millis(5)).await;
        server.shutdown_read();
        none_left(&ring, &left).await;
        server.send(vec![Bytes::from_static(b"bye")]).await.unwrap();
        assert_eq!(&client.recv_idle().await.unwrap()[..], b"bye");

        let (client, server) = pair(&ring).await;
        client
            .send(vec![Bytes::from_static(b"last words")])
            .await
            .unwrap();
        // On loopback a sent byte has arrived when the send returns.
        server.shutdown_read();
        assert_eq!(&server.recv_idle().await.unwrap()[..], b"last words");
        assert!(server.recv_idle().await.unwrap().is_empty());
    });
}

#[test]
fn dropped_operations_are_taken_back() {
    block_on(async |ring: Ring| {
        let (client, server) = pair(&ring).await;
        for _ in 0..20 {
            begin(std::pin::pin!(server.recv_idle())).await;
            begin(std::pin::pin!(server.recv(Buffer::with_capacity(100)))).await;
        }
        // If one of them were still waiting it would swallow these bytes.
        ring.sleep(Duration::from_millis(5)).await;
        client
            .send(vec![Bytes::from_static(b"for the living")])
            .await
            .unwrap();
        assert_eq!(&server.recv_idle().await.unwrap()[..], b"for the living");

        let listener = listen(&ring);
        begin(std::pin::pin!(listener.accept())).await;
        ring.sleep(Duration::from_millis(5)).await;
        let mut late = TcpStream::connect(listener.local_addr()).unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        socket.send(vec![Bytes::from_static(b"hi")]).await.unwrap();
        drop(socket);
        let mut text = String::new();
        late.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hi");
    });
}

#[test]
fn a_receive_with_a_timeout() {
    block_on(async |ring: Ring| {
        let (client, server) = pair(&ring).await;
        let short = Duration::from_millis(5);
        assert!(ring.timeout(short, server.recv_idle()).await.is_none());
        client.send(vec![Bytes::from_static(b"x")]).await.unwrap();
        let got = ring
            .timeout(Duration::from_secs(60), server.recv_idle())
            .await;
        assert_eq!(&got.expect("it was sent").unwrap()[..], b"x");
    });
}

#[test]
fn an_accepted_connection_nobody_wants_is_closed() {
    block_on(async |ring: Ring| {
        let listener = listen(&ring);
        for _ in 0..20 {
            let mut client = TcpStream::connect(listener.local_addr()).unwrap();
            // The connection is there: the accept will get it, and nobody will get the accept.
            begin(std::pin::pin!(listener.accept())).await;
            let left = Rc::new(Cell::new(1));
            let closed = left.clone();
            let thread = std::thread::spawn(move || {
                client.read(&mut [0; 1]).map(|n| n == 0).unwrap_or(true)
            });
            let ring2 = ring.clone();
            let accept = async move {
                while !thread.is_finished() {
                    ring2.sleep(Duration::from_millis(1)).await;
                }
                assert!(thread.join().unwrap());
                closed.set(0);
            };
            ring.spawn(accept);
            // Either it was closed with the dropped accept, or the cancellation came first and it waits here.
            let mut next = std::pin::pin!(listener.accept());
            poll_fn(|cx| {
                if left.get() == 0 {
                    return Poll::Ready(());
                }
                let _ = next.as_mut().poll(cx).map(drop);
                cx.waker().wake_by_ref();
                if left.get() == 0 {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
        }
    });
}

#[test]
fn addresses() {
    block_on(async |ring: Ring| {
        let first = listen(&ring);
        let addr = first.local_addr();
        let second = Listener::bind(&ring, addr, ListenOptions::default()).unwrap();
        assert_eq!(second.local_addr(), addr, "cores share a port");
        assert_eq!(check_free(addr).unwrap_err().kind(), ErrorKind::AddrInUse);
        drop((first, second));
        assert_eq!(check_free(addr).unwrap(), addr);
        let exclusive = ListenOptions {
            reuse_port: false,
            ..ListenOptions::default()
        };
        let third = Listener::bind(&ring, addr, exclusive).unwrap();
        assert!(Listener::bind(&ring, addr, ListenOptions::default()).is_err());
        drop(third);
        let refused = Socket::connect(&ring, addr).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn both_families_on_one_port() {
    if TcpStream::connect_timeout(&"[::1]:1".parse().unwrap(), Duration::from_secs(1))
        .is_err_and(|e| e.kind() != ErrorKind::ConnectionRefused)
    {
        eprintln!("this machine has no IPv6");
        return;
    }
    block_on(async |ring: Ring| {
        let dual =
            Listener::bind(&ring, "[::]:0".parse().unwrap(), ListenOptions::default()).unwrap();
        let port = dual.local_addr().port();
        for host in ["127.0.0.1", "[::1]"] {
            let client = Socket::connect(&ring, format!("{host}:{port}").parse().unwrap())
                .await
                .unwrap();
            let (server, _) = dual.accept().await.unwrap();
            server.send(vec![Bytes::from_static(b"x")]).await.unwrap();
            assert_eq!(&client.recv_idle().await.unwrap()[..], b"x");
        }
        let only6 = ListenOptions {
            v6only: true,
            ..ListenOptions::default()
        };
        let six = Listener::bind(&ring, "[::]:0".parse().unwrap(), only6).unwrap();
        let four = format!("127.0.0.1:{}", six.local_addr().port())
            .parse()
            .unwrap();
        assert!(Socket::connect(&ring, four).await.is_err());
    });
}

/// Not a benchmark, but prints what one would look at first: `cargo test -- --nocapture small_frames`.
#[test]
fn small_frames_on_many_connections() {
    const CONNECTIONS: usize = 64;
    const FRAMES: usize = 2000;
    const FRAME: usize = 1024;
    let (tell, told) = std::sync::mpsc::channel();
    let server = start(CoreOptions::default(), async move |ring: Ring| {
        let listener = listen(&ring);
        tell.send(listener.local_addr()).unwrap();
        let (left, frames) = (Rc::new(Cell::new(CONNECTIONS)), Rc::new(Cell::new(0)));
        for _ in 0..CONNECTIONS {
            let (socket, _) = listener.accept().await.unwrap();
            let (left, frames) = (left.clone(), frames.clone());
            ring.spawn(async move {
                let mut bytes = 0;
                loop {
                    let got = socket.recv_idle().await.unwrap();
                    if got.is_empty() {
                        break;
                    }
                    let before = bytes / FRAME;
                    bytes += got.len();
                    let whole = bytes / FRAME - before;
                    frames.set(frames.get() + whole);
                    socket
                        .send(vec![Bytes::from_static(&[0; 32]); whole])
                        .await
                        .unwrap();
                }
                left.set(left.get() - 1);
            });
        }
        none_left(&ring, &left).await;
        frames.get()
    })
    .unwrap();
    let addr = told.recv().unwrap();
    let began = std::time::Instant::now();
    block_on(async move |ring: Ring| {
        let left = Rc::new(Cell::new(CONNECTIONS));
        for _ in 0..CONNECTIONS {
            let (ring, left) = (ring.clone(), left.clone());
            ring.clone().spawn(async move {
                let socket = Socket::connect(&ring, addr).await.unwrap();
                let frames = Bytes::from(vec![1; 5 * FRAME]);
                let (mut sent, mut acknowledged) = (0, 0);
                let mut buffer = Buffer::with_capacity(4096);
                // Five in flight: as many new frames as acknowledgements came.
                while acknowledged < FRAMES * 32 {
                    let more = (acknowledged / 32 + 5).min(FRAMES) - sent;
                    socket
                        .send(vec![frames.slice(0..more * FRAME)])
                        .await
                        .unwrap();
                    sent += more;
                    buffer.clear();
                    let (result, back) = socket.recv(buffer).await;
                    acknowledged += result.unwrap();
                    buffer = back;
                }
                left.set(left.get() - 1);
            });
        }
        none_left(&ring, &left).await;
    });
    let frames = server.join().unwrap();
    assert_eq!(frames, CONNECTIONS * FRAMES);
    eprintln!(
        "{:.0} frames of 1 KiB a second",
        frames as f64 / began.elapsed().as_secs_f64()
    );
}
