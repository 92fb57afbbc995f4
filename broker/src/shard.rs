//! One core's part of the broker: the fields it owns. Behaviour lives with the parts.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use millstream_protocol::uuid::Uuid;
use millstream_ring::Ring;
use millstream_state::controller::{Image, ResourceType};
use millstream_state::incremental_fetch::FetchSessions;
use millstream_storage::Store;

use crate::calls::Calls;
use crate::clock::{Moment, SteadyClock};
use crate::config::Config;
use crate::controller::Controller;
use crate::coordinator::Groups;
use crate::handover::Handover;
use crate::knobs::layers::{Layers, Overrides};
use crate::metrics::CoreMetrics;
use crate::net::connections::Connections;
use crate::net::memory::Memory;
use crate::net::quotas::ConnectionQuotas;
use crate::net::replies::Replies;
use crate::net::warnings::Warnings;
use crate::partition::waiters::WaitsFromAfar;
use crate::topics::Topics;

/// The core that also runs the controller.
pub(crate) const CONTROLLER: usize = 0;

/// Everything one core owns. Never leaves its thread.
pub(crate) struct Shard {
    /// This core's number among the broker's cores, from 0.
    pub(crate) index: usize,
    pub(crate) cores: usize,
    pub(crate) ring: Ring,
    pub(crate) config: Arc<Config>,
    /// `directory.id` of each data directory, in the order of `log.dirs`.
    pub(crate) directories: Arc<[Uuid]>,
    /// The way to the other cores.
    pub(crate) calls: Calls,
    pub(crate) handover: Handover,
    /// Metadata as last published by the controller.
    pub(crate) image: RefCell<Arc<Image>>,
    pub(crate) store: Store,
    /// Topics by name and id, with the partitions that live here.
    pub(crate) topics: Topics,
    pub(crate) groups: Groups,
    pub(crate) fetch_sessions: RefCell<FetchSessions>,
    pub(crate) waits_from_afar: WaitsFromAfar,
    pub(crate) connections: Connections,
    /// What they may hold.
    pub(crate) memory: Memory,
    /// The process's.
    pub(crate) quotas: ConnectionQuotas,
    /// The process's.
    pub(crate) warnings: Arc<Warnings>,
    /// Every core's; this one writes its own.
    pub(crate) metrics: Arc<[CoreMetrics]>,
    /// On [`CONTROLLER`] only.
    pub(crate) controller: RefCell<Option<Rc<Controller>>>,
    /// Connections whose next reply waits for a flush.
    pub(crate) commit_waiters: RefCell<Vec<Rc<Replies>>>,
    pub(crate) steady: SteadyClock,
    /// No new work is taken any more.
    pub(crate) stopping: Cell<bool>,
}

impl Shard {
    pub(crate) fn metrics(&self) -> &CoreMetrics {
        &self.metrics[self.index]
    }

    pub(crate) fn image(&self) -> Arc<Image> {
        self.image.borrow().clone()
    }

    /// All levels of the broker's settings, with what the metadata says.
    pub(crate) fn layers(&self) -> Layers {
        let image = self.image.borrow();
        let set = |name: &str| -> Overrides {
            image
                .config(ResourceType::Broker, name)
                .map(|own| (**own).clone())
                .unwrap_or_default()
        };
        self.config
            .layers(set(&self.config.node_id.to_string()), set(""))
    }

    /// Unix milliseconds for timers: they never go back and never jump.
    pub(crate) fn steady_ms(&self) -> i64 {
        self.moment().steady_ms
    }

    /// Both clocks.
    pub(crate) fn moment(&self) -> Moment {
        let wall_ms = self.ring.wall_ms();
        let steady_ms = self.steady.at(self.ring.now(), wall_ms);
        Moment { wall_ms, steady_ms }
    }

    /// Releases the connections, here and on other cores, that waited for the group that was just flushed.
    pub(crate) fn committed(&self) {
        self.answer_flushed();
        for replies in self.commit_waiters.take() {
            replies.committed();
        }
    }
}
