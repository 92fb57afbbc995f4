//! A connection follows its data: one whose Produce requests are all for partitions of one other core moves there, between
//! two requests, and is served from then on without a hand-over.
//!
//! It moves when everything it asked is answered and nothing of a next request is here, so that only the descriptor, and
//! what is known of the peer, travels. Fetch sessions stay with their core: a connection that fetches stays too.

use std::cell::Cell;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use millstream_ring::Socket;

use crate::net::quotas::Place;
use crate::shard::Shard;

/// Requests in a row, all for one other core, before a connection moves for the first time. Each further move takes twice
/// as many, so that one whose partitions change does not go to and fro.
const PULLS: u32 = 64;
/// Doublings after which it stays that way.
const DOUBLINGS_MAX: u32 = 16;

/// Where a connection's requests want it to be.
#[derive(Clone, Copy, Default)]
struct Pull {
    core: usize,
    requests: u32,
}

/// What pulls one connection, and how often it gave in.
pub(crate) struct Pulls {
    now: Cell<Pull>,
    moves: u32,
}

impl Pulls {
    /// Of a connection that has moved so often.
    pub(crate) fn after(moves: u32) -> Self {
        Self {
            now: Cell::default(),
            moves,
        }
    }

    /// A request was for partitions of `core` alone, which is not this one; `None`: it was for others too, or holds the
    /// connection here.
    pub(crate) fn asked(&self, core: Option<usize>) {
        let Pull {
            core: before,
            requests,
        } = self.now.get();
        self.now.set(match core {
            Some(core) if core == before => Pull {
                core,
                requests: requests.saturating_add(1),
            },
            Some(core) => Pull { core, requests: 1 },
            None => Pull::default(),
        });
    }

    /// Where the connection should be instead. A core takes up to twice its share of all connections: beyond that it is
    /// better off with others to receive and parse for it.
    pub(crate) fn elsewhere(&self, shard: &Shard) -> Option<usize> {
        let Pull { core, requests } = self.now.get();
        if requests < PULLS << self.moves.min(DOUBLINGS_MAX) {
            return None;
        }
        // Asked again after as many requests more.
        self.now.set(Pull::default());
        let open: Vec<u64> = shard
            .metrics
            .iter()
            .map(|of| of.connections.get())
            .collect();
        let share = open.iter().sum::<u64>().div_ceil(open.len() as u64);
        (open[core] < 2 * share).then_some(core)
    }
}

/// Who a connection is with, wherever it is served.
pub(crate) struct Guest {
    pub(crate) peer: SocketAddr,
    /// The index of the listener it came in on.
    pub(crate) listener: usize,
    /// Counts in the limits of connections until it is dropped.
    #[expect(dead_code, reason = "held only")]
    pub(crate) place: Place,
    /// How often it has moved.
    pub(crate) moves: u32,
}

/// A connection between two cores. Dropped on the way, it is closed.
pub(crate) struct Traveller {
    pub(crate) socket: OwnedFd,
    pub(crate) guest: Guest,
}

impl Traveller {
    /// Sends it on its way to `core`, behind all that was sent there before.
    pub(crate) async fn leave(mut self, shard: &Rc<Shard>, core: usize) {
        self.guest.moves += 1;
        shard.metrics().connections_moved.add(1);
        shard.tell(core, move |there| self.arrive(there)).await;
    }

    fn arrive(self, shard: &Rc<Shard>) {
        if shard.stopping.get() {
            return;
        }
        let socket = Socket::adopt(&shard.ring, self.socket, self.guest.peer);
        let serving = shard.connections.track(shard.clone(), socket, self.guest);
        shard.ring.spawn(serving);
    }
}

#[cfg(test)]
mod tests {
    use super::{PULLS, Pull, Pulls};

    #[test]
    fn only_requests_in_a_row_for_one_core_pull() {
        let pulls = Pulls::after(0);
        for _ in 0..PULLS - 1 {
            pulls.asked(Some(2));
        }
        pulls.asked(None);
        assert_eq!(pulls.now.get().requests, 0, "one for here starts anew");
        pulls.asked(Some(2));
        pulls.asked(Some(3));
        pulls.asked(Some(3));
        let Pull { core, requests } = pulls.now.get();
        assert_eq!((core, requests), (3, 2));
    }
}
