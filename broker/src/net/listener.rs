//! Accepting connections: every core listens on the same addresses (SO_REUSEPORT) and owns what it accepts.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use millstream_ring::{ListenOptions, Listener, Socket};

use crate::net::migrate::Guest;
use crate::net::quotas::{Full, Limits};
use crate::net::warnings::Kind;
use crate::shard::Shard;

/// Pause after an accept that failed for want of descriptors or memory, so that it does not spin.
const RETRY: Duration = Duration::from_millis(100);
/// Pause between two looks for a free place under `max.connections`; another core's connections may have left it.
const FULL_RETRY: Duration = Duration::from_millis(20);

/// Opens `address` for this core.
pub(crate) fn listen(shard: &Shard, address: SocketAddr) -> std::io::Result<Listener> {
    let options = ListenOptions {
        reuse_port: true,
        backlog: shard.config.broker.socket_listen_backlog_size,
        v6only: true,
    };
    Listener::bind(&shard.ring, address, options)
}

/// Accepts connections until the future is dropped, which closes the listener.
pub(crate) async fn accept(shard: Rc<Shard>, listener: Listener, index: usize) {
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => welcome(&shard, socket, peer, index).await,
            Err(error) => {
                shard
                    .warnings
                    .report(Kind::Accept, || format!("accept failed: {error}"));
                shard.ring.sleep(RETRY).await;
            }
        }
    }
}

/// Serves a connection as soon as there is a place for it. Whoever comes later on this listener waits behind it.
async fn welcome(shard: &Rc<Shard>, socket: Socket, peer: SocketAddr, listener: usize) {
    loop {
        let limits = Limits::of(shard, listener, peer.ip());
        match shard.quotas.enter(peer.ip(), &limits) {
            Ok(place) => {
                shard.metrics().connections_accepted.add(1);
                let guest = Guest {
                    peer,
                    listener,
                    place,
                    moves: 0,
                };
                let serving = shard.connections.track(shard.clone(), socket, guest);
                shard.ring.spawn(serving);
                return;
            }
            Err(Full::FromOne(max)) => {
                shard.warnings.report(Kind::Quota, || {
                    format!(
                        "rejected connection from {}: it has max.connections.per.ip={max} already",
                        peer.ip()
                    )
                });
                socket.shutdown();
                return;
            }
            Err(Full::TooFast(wait)) => {
                shard.warnings.report(Kind::Quota, || {
                    "connections come faster than max.connection.creation.rate: they wait"
                        .to_owned()
                });
                shard.ring.sleep(wait).await;
            }
            Err(Full::All(max)) => {
                shard.warnings.report(Kind::Quota, || {
                    format!("{max} connections are open, as many as max.connections and the limit of open files allow: new ones wait")
                });
                shard.ring.sleep(FULL_RETRY).await;
            }
        }
    }
}
