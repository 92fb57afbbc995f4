//! What is going on while the power fails.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use millstream_ring::Ring;
use millstream_storage::{Log, LogConfig, LogId, Ticket};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::model::{Life, Model, ModelLog, Stores, append, batch, verify_bytes};

/// The model, shared with the acknowledgements and with the looks into power cuts. Never borrowed across an await or a
/// call of the store.
pub type Shared = Rc<RefCell<Model>>;

/// Random work on started stores.
pub struct Workload {
    pub ring: Ring,
    pub stores: Rc<Stores>,
    pub model: Shared,
    pub rng: ChaCha8Rng,
    /// Rises with each topic that is created, over all sessions.
    pub topics: Rc<RefCell<u32>>,
    /// The logs it works on: these exist, at most.
    pub logs: Range<i32>,
    /// A new log goes to one of so many data directories.
    pub dirs: usize,
    pub config: LogConfig,
    /// What it became for each log: see [`Workload::class`].
    pub classes: BTreeMap<i32, LogConfig>,
    /// Size of the largest batches.
    pub large: usize,
}

/// Notes what is acknowledged, the moment it is.
pub fn listen(stores: &Rc<Stores>, model: &Shared) {
    for store in stores.all() {
        let (stores, model) = (Rc::downgrade(stores), model.clone());
        store.on_commit(Box::new(move || {
            let Some(stores) = stores.upgrade() else {
                return;
            };
            for (n, log) in model.borrow_mut().iter_mut() {
                let durable = |ticket: &Ticket| {
                    let durable = stores.of(*n).durable(ticket.dir as usize);
                    ticket.unit <= durable.unit
                };
                let acked = log.open.iter().filter(|(ticket, _)| durable(ticket));
                log.acked = acked.map(|(_, end)| *end).max().unwrap_or(0).max(log.acked);
                log.open.retain(|(ticket, _)| !durable(ticket));
            }
        }));
    }
}

impl Workload {
    /// Takes over the logs that are there.
    pub fn adopt(&mut self) {
        let known: Vec<(i32, LogId)> = {
            let model = self.model.borrow();
            let ours = model.range(self.logs.clone());
            ours.map(|(n, log)| (*n, log.id)).collect()
        };
        for (n, id) in known {
            let log = self.stores.log(&id).expect("verified before");
            self.adorn(n, &log);
        }
    }

    /// One log in three is acknowledged when it is written, and flushed by number, by time, or only for who waits. In each
    /// life it may be another.
    fn class(&mut self) -> LogConfig {
        let (flush_messages, flush_ms) = match self.rng.random_range(0..9) {
            0 => (self.rng.random_range(2..100), i64::MAX),
            1 => (i64::MAX, self.rng.random_range(1..30)),
            2 => (i64::MAX, i64::MAX),
            _ => (1, i64::MAX),
        };
        LogConfig {
            flush_messages,
            flush_ms,
            ..self.config
        }
    }

    fn adorn(&mut self, n: i32, log: &Log) {
        let class = self.class();
        self.classes.insert(n, class);
        log.set_config(class);
        let (model, id) = (Rc::downgrade(&self.model), log.id());
        log.set_snapshot_source(Box::new(move || {
            let Some(model) = model.upgrade() else {
                return Vec::new();
            };
            let model = model.borrow();
            let log = model.get(&n).filter(|log| log.id == id);
            log.map_or(Vec::new(), ModelLog::snapshot)
        }));
    }

    /// One random thing.
    pub async fn step(&mut self) {
        let n = self.rng.random_range(self.logs.clone());
        if !self.model.borrow().contains_key(&n) {
            return self.create(n).await;
        }
        match self.rng.random_range(0..100) {
            0..65 => self.append_some(n).await,
            65..73 => self.wait_acked(n).await,
            73..78 => self.read(n).await,
            78..84 => self.delete_records(n).await,
            84..90 => self.retain(n).await,
            90..93 => self.delete(n).await,
            _ => {
                let pause = Duration::from_micros(self.rng.random_range(0..20_000));
                self.ring.sleep(pause).await
            }
        }
    }

    fn log(&self, n: i32) -> Rc<Log> {
        let id = self.model.borrow()[&n].id;
        self.stores.log(&id).expect("it was created")
    }

    async fn create(&mut self, n: i32) {
        let number = {
            let mut topics = self.topics.borrow_mut();
            *topics += 1;
            *topics
        };
        let mut topic_id = [7; 16];
        topic_id[..4].copy_from_slice(&number.to_le_bytes());
        let id = LogId {
            topic_id,
            partition: 0,
        };
        // Created again it is another topic of the same name.
        let log = ModelLog::new(format!("topic{n}"), id);
        let topic = log.topic.clone();
        self.model.borrow_mut().insert(n, log);
        let dir = self.rng.random_range(0..self.dirs);
        let store = self.stores.of(n);
        let log = store.create_log(&topic, id, dir, 0, self.config).await;
        self.model.borrow_mut().get_mut(&n).expect("just put").life = Life::Live;
        self.adorn(n, &log.expect("creates"));
    }

    async fn append_some(&mut self, n: i32) {
        let log = self.log(n);
        let count = match self.rng.random_range(0..8) {
            0 => self.rng.random_range(20..100),
            _ => self.rng.random_range(1..6),
        };
        for _ in 0..count {
            let bytes = match self.rng.random_range(0..24) {
                0 => self.rng.random_range(66_000..self.large),
                1..4 => self.rng.random_range(4_000..60_000),
                _ => self.rng.random_range(1..3_000),
            };
            let bytes = {
                let mut model = self.model.borrow_mut();
                batch(&mut self.rng, model.get_mut(&n).expect("there"), bytes)
            };
            self.stores.of(n).admit(bytes.len()).await;
            let epoch = (self.model.borrow()[&n].end() / 300) as i32;
            let (ticket, stored) = append(&log, &bytes, epoch);
            let mut model = self.model.borrow_mut();
            let model = model.get_mut(&n).expect("there");
            model.open.push((ticket, stored.next()));
            model.batches.push(stored);
        }
    }

    async fn wait_acked(&mut self, n: i32) {
        let last = self.model.borrow()[&n].open.last().copied();
        if let Some((ticket, end)) = last {
            self.stores.of(n).wait(ticket).await.expect("flushed");
            if ticket.when_written {
                // That alone does not outlive a power cut. What somebody waits for does.
                if self.rng.random_bool(0.5) {
                    return;
                }
                self.log(n).flushed().await.expect("flushed");
            }
            assert!(self.model.borrow()[&n].acked >= end, "told so");
        }
    }

    async fn read(&mut self, n: i32) {
        let expected = self.model.borrow()[&n].clone();
        verify_bytes(&self.log(n), &expected, "a read while it is written to").await;
    }

    async fn delete_records(&mut self, n: i32) {
        let log = self.log(n);
        let (start, end) = (log.log_start_offset(), log.flushed_end_offset());
        let to = match self.rng.random_range(0..3) {
            0 => end,
            _ => self.rng.random_range(start..=end),
        };
        self.model
            .borrow_mut()
            .get_mut(&n)
            .expect("there")
            .start_max = to;
        let at = log.delete_records(to).await.expect("deletes records");
        assert_eq!(at, to);
        self.model.borrow_mut().get_mut(&n).expect("there").start = to;
    }

    async fn retain(&mut self, n: i32) {
        let log = self.log(n);
        let retention_bytes = [0, 300 << 10, 1 << 20][self.rng.random_range(0..3)];
        log.set_config(LogConfig {
            retention_bytes,
            retention_ms: -1,
            ..self.classes[&n]
        });
        let end = log.log_end_offset();
        self.model
            .borrow_mut()
            .get_mut(&n)
            .expect("there")
            .start_max = end;
        log.retain(0).await.expect("retains");
        log.set_config(self.classes[&n]);
        let mut model = self.model.borrow_mut();
        let model = model.get_mut(&n).expect("there");
        model.start = log.log_start_offset();
        model.start_max = model.start;
    }

    async fn delete(&mut self, n: i32) {
        let id = {
            let mut model = self.model.borrow_mut();
            let log = model.get_mut(&n).expect("there");
            log.life = Life::Deleting;
            log.id
        };
        self.stores.of(n).delete_log(&id).await.expect("deletes");
        self.model.borrow_mut().remove(&n);
    }
}
