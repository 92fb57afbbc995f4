//! The connections of one core: counted, and ended when the broker stops.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;

use millstream_ring::Socket;

use crate::net::connection;
use crate::shard::Shard;

/// Open connections by number.
#[derive(Default)]
pub(crate) struct Connections {
    open: RefCell<HashMap<u64, Socket>>,
    next: Cell<u64>,
}

impl Connections {
    /// Serves a connection and keeps it in the list meanwhile.
    pub(crate) fn track(&self, shard: Rc<Shard>, socket: Socket, peer: SocketAddr, listener: usize) -> impl Future<Output = ()> + use<> {
        let number = self.next.get();
        self.next.set(number + 1);
        self.open.borrow_mut().insert(number, socket.clone());
        async move {
            connection::serve(shard.clone(), socket, peer, listener).await;
            shard.connections.open.borrow_mut().remove(&number);
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.open.borrow().len()
    }

    /// Ends every connection: nothing more is read, replies that are under way still leave.
    pub(crate) fn stop_reading(&self) {
        for socket in self.open.borrow().values() {
            socket.shutdown_read();
        }
    }

    /// Ends what is left at once.
    pub(crate) fn shut_down(&self) {
        for socket in self.open.borrow().values() {
            socket.shutdown();
        }
    }
}
