//! Accepting connections: every core listens on the same addresses (SO_REUSEPORT) and owns what it accepts.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use millstream_ring::{ListenOptions, Listener};

use crate::net::warnings::Kind;
use crate::shard::Shard;

/// Pause after an accept that failed for want of descriptors or memory, so that it does not spin.
const RETRY: Duration = Duration::from_millis(100);

/// Opens `address` for this core.
pub(crate) fn listen(shard: &Shard, address: SocketAddr) -> std::io::Result<Listener> {
    let options = ListenOptions { reuse_port: true, backlog: shard.config.broker.socket_listen_backlog_size, v6only: true };
    Listener::bind(&shard.ring, address, options)
}

/// Accepts connections until the broker stops.
pub(crate) async fn accept(shard: Rc<Shard>, listener: Listener, index: usize) {
    while !shard.stopping.get() {
        match listener.accept().await {
            Ok((socket, peer)) => {
                if shard.stopping.get() {
                    socket.shutdown();
                    break;
                }
                shard.ring.spawn(shard.connections.track(shard.clone(), socket, peer, index));
            }
            Err(error) => {
                shard.warnings.report(Kind::Accept, || format!("accept failed: {error}"));
                shard.ring.sleep(RETRY).await;
            }
        }
    }
}
