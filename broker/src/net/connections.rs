//! The connections of one core: listed, ended when idle for too long, and when the broker stops.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{AbortHandle, abortable};
use millstream_ring::{Listener, Socket};

use crate::net::connection::{self, Connection, Ending};
use crate::net::listener;
use crate::net::migrate::{Guest, Traveller};
use crate::net::warnings::Kind;
use crate::shard::Shard;

/// Shortest and longest pause between two searches for idle connections.
const IDLE_SEARCH_MIN: Duration = Duration::from_millis(100);
const IDLE_SEARCH_MAX: Duration = Duration::from_secs(3600);

/// Open connections by number, and the listeners they come from.
#[derive(Default)]
pub(crate) struct Connections {
    open: RefCell<HashMap<u64, (Socket, Rc<Connection>)>>,
    next: Cell<u64>,
    accepting: RefCell<Vec<AbortHandle>>,
}

impl Connections {
    /// Accepts what comes in on `listener` from now on.
    pub(crate) fn accept(&self, shard: &Rc<Shard>, listener: Listener, index: usize) {
        let (accepting, handle) = abortable(listener::accept(shard.clone(), listener, index));
        self.accepting.borrow_mut().push(handle);
        shard.ring.spawn(async move {
            let _aborted = accepting.await;
        });
    }

    /// Serves a connection, and keeps it in the list meanwhile.
    pub(crate) fn track(
        &self,
        shard: Rc<Shard>,
        socket: Socket,
        guest: Guest,
    ) -> impl Future<Output = ()> + use<> {
        let number = self.next.get();
        self.next.set(number + 1);
        let connection = Rc::new(Connection::new(&shard, &guest));
        self.open
            .borrow_mut()
            .insert(number, (socket.clone(), connection.clone()));
        self.tell_count(&shard);
        async move {
            let ending = connection::serve(&shard, socket, &connection).await;
            shard.connections.open.borrow_mut().remove(&number);
            shard.connections.tell_count(&shard);
            if let Ending::Moves(core, socket) = ending {
                let traveller = Traveller { socket, guest };
                // Boxed: it would otherwise sit in every idle connection.
                Box::pin(traveller.leave(&shard, core)).await;
            }
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.open.borrow().len()
    }

    fn tell_count(&self, shard: &Shard) {
        shard.metrics().connections.set(self.count() as u64);
    }

    /// Closes the listeners, and lets every connection end: nothing more is read, replies that are under way still leave.
    pub(crate) fn stop_reading(&self) {
        for accepting in self.accepting.take() {
            accepting.abort();
        }
        for (socket, _) in self.open.borrow().values() {
            socket.shutdown_read();
        }
    }

    /// Ends what is left at once.
    pub(crate) fn shut_down(&self) {
        for (socket, connection) in self.open.borrow().values() {
            connection.replies.break_off();
            socket.shutdown();
        }
    }

    /// Ends connections that hold memory, stopped in the middle of a frame or of a reply, and have not moved for `max`.
    pub(crate) fn shut_down_stalled(&self, shard: &Shard, max: Duration) {
        let now = shard.ring.now();
        for (socket, connection) in self.open.borrow().values() {
            let idle = now.saturating_sub(connection.active.get());
            let stands = !connection.replies.is_broken() && idle >= max;
            if stands && (connection.in_frame.get() || connection.replies.is_sending()) {
                let peer = connection.peer;
                shard.warnings.report(Kind::Stalled, || {
                    format!("connection from {peer} closed: memory is short, and it has not moved for {idle:.1?}")
                });
                connection.replies.break_off();
                socket.shutdown();
            }
        }
    }

    /// Ends connections on which nothing has moved for `max`; the pause until the next may be due.
    fn shut_down_idle(&self, now: Duration, max: Duration) -> Duration {
        let mut next = max;
        for (socket, connection) in self.open.borrow().values() {
            let idle = now.saturating_sub(connection.active.get());
            if idle >= max {
                connection.replies.break_off();
                socket.shutdown();
            } else {
                next = next.min(max - idle);
            }
        }
        next.clamp(IDLE_SEARCH_MIN, IDLE_SEARCH_MAX)
    }
}

/// Closes idle connections (`connections.max.idle.ms`; never if it is negative), as Kafka also those whose request is still
/// being answered: a client that is there again would have asked anew long ago.
pub(crate) async fn close_idle(shard: Rc<Shard>) {
    let Ok(max) = u64::try_from(shard.config.broker.connections_max_idle_ms) else {
        return;
    };
    let max = Duration::from_millis(max);
    let mut pause = max.clamp(IDLE_SEARCH_MIN, IDLE_SEARCH_MAX);
    loop {
        shard.ring.sleep(pause).await;
        pause = shard.connections.shut_down_idle(shard.ring.now(), max);
    }
}
