//! The controller's glue: commands in, entries to the metadata log, the new image to every core.
//!
//! It runs on one core among that core's other work, in its background queue. One command at a time: decide, write,
//! flush, replay, publish, answer.

pub(crate) mod apply;
pub(crate) mod metadata_log;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use millstream_protocol::error::ErrorCode;
use millstream_protocol::uuid::Uuid;
use millstream_state::controller::{
    Command, Context, Entry, Image, NewTopic, Refusal, Reply, State, log, topics,
};

use crate::coordinator::OFFSETS_TOPIC;
use crate::shard::{CONTROLLER, Shard};
use metadata_log::MetadataLog;
use millstream_ring::Turns;

/// On the controller's core.
pub(crate) struct Controller {
    state: RefCell<State>,
    log: MetadataLog,
    /// Of the entries this process writes.
    epoch: i32,
    turns: Turns,
    context: Context,
    /// Producer ids allocated and not handed out yet: next and end.
    producer_ids: Cell<(i64, i64)>,
}

impl Controller {
    pub(crate) fn new(state: State, log: MetadataLog, epoch: i32, context: Context) -> Self {
        Self {
            state: RefCell::new(state),
            log,
            epoch,
            turns: Turns::default(),
            context,
            producer_ids: Cell::new((0, 0)),
        }
    }

    /// Carries out one command: when this returns, the outcome is durable and every core knows it.
    async fn execute(&self, shard: &Rc<Shard>, command: &Command) -> Result<Reply, Refusal> {
        let _turn = self.turns.take().await;
        self.execute_in_turn(Some(shard), command).await
    }

    /// The same before there are cores to tell.
    pub(crate) async fn execute_at_start(&self, command: &Command) -> Result<Reply, Refusal> {
        let _turn = self.turns.take().await;
        self.execute_in_turn(None, command).await
    }

    pub(crate) fn image(&self) -> Arc<Image> {
        self.state.borrow().image()
    }

    async fn execute_in_turn(
        &self,
        shard: Option<&Rc<Shard>>,
        command: &Command,
    ) -> Result<Reply, Refusal> {
        let (records, reply) = self.state.borrow().command(command, &self.context)?;
        if records.is_empty() {
            return Ok(reply);
        }
        let deletes = matches!(command, Command::DeleteTopics(_));
        if !self.log.has_room().await && !deletes {
            tracing::error!("the metadata log has no space for more than deletions");
            return Err(ErrorCode::KafkaStorageError.into());
        }
        let position = self.state.borrow().position().next(self.epoch);
        let entry = Entry { position, records };
        if let Err(error) = self.log.append(&entry).await {
            tracing::error!("the metadata log cannot be written: {error}");
            return Err(ErrorCode::KafkaStorageError.into());
        }
        self.state.borrow_mut().replay(&entry);
        // Before the cores run, entries may still have to be seen to: the log is kept.
        let Some(shard) = shard else { return Ok(reply) };
        apply::publish(shard, self.image(), entry.records).await;
        if self.log.wants_snapshot() {
            self.take_snapshot(shard).await;
        }
        Ok(reply)
    }

    /// All that came of the log's entries is done, except in a data directory that could not be asked.
    async fn take_snapshot(&self, shard: &Shard) {
        let online: Vec<Uuid> = std::iter::zip(&*shard.directories, shard.store.dirs())
            .filter(|(_, directory)| directory.offline.is_none())
            .map(|(id, _)| *id)
            .collect();
        self.state
            .borrow_mut()
            .logs_are_deleted(|directory| online.contains(directory));
        let bytes = log::encode_snapshot(&self.state.borrow());
        if let Err(error) = self.log.snapshot(bytes).await {
            tracing::error!("the metadata snapshot cannot be written: {error}");
        }
    }

    async fn next_producer_id(&self, shard: &Rc<Shard>) -> Result<i64, Refusal> {
        let _turn = self.turns.take().await;
        let (next, end) = self.producer_ids.get();
        if next < end {
            self.producer_ids.set((next + 1, end));
            return Ok(next);
        }
        let command = Command::AllocateProducerIds {
            broker_id: shard.config.node_id,
        };
        match self.execute_in_turn(Some(shard), &command).await? {
            Reply::ProducerIds { first, count } => {
                self.producer_ids.set((first + 1, first + i64::from(count)));
                Ok(first)
            }
            _ => unreachable!("a command has its own reply"),
        }
    }
}

/// Has the controller carry out a command, from any core.
pub(crate) async fn command(shard: &Rc<Shard>, command: Command) -> Result<Reply, Refusal> {
    shard
        .on(CONTROLLER, move |there| async move {
            let controller = running(&there)?;
            controller.execute(&there, &command).await
        })
        .await
}

/// A producer id that was never handed out before.
pub(crate) async fn next_producer_id(shard: &Rc<Shard>) -> Result<i64, ErrorCode> {
    let outcome: Result<i64, Refusal> = shard
        .on(CONTROLLER, |there| async move {
            running(&there)?.next_producer_id(&there).await
        })
        .await;
    outcome.map_err(|refusal| refusal.error)
}

/// Creates `__consumer_offsets` if it is not there yet.
pub(crate) async fn create_offsets_topic(shard: &Rc<Shard>) -> Result<(), Refusal> {
    let config = &shard.config.broker;
    let topic = NewTopic {
        name: OFFSETS_TOPIC.to_owned(),
        topic_id: new_topic_id(),
        num_partitions: config.offsets_topic_num_partitions,
        replication_factor: config.offsets_topic_replication_factor,
        assignments: Vec::new(),
        configs: Ok(vec![
            ("cleanup.policy".to_owned(), "compact".to_owned()),
            ("compression.type".to_owned(), "producer".to_owned()),
            (
                "segment.bytes".to_owned(),
                config.offsets_topic_segment_bytes.to_string(),
            ),
        ]),
    };
    if config.offsets_topic_replication_factor > 1 {
        tracing::info!(
            "{OFFSETS_TOPIC} gets one replica, not offsets.topic.replication.factor={}: there is one broker",
            config.offsets_topic_replication_factor
        );
    }
    command(shard, Command::CreateInternalTopic(topic))
        .await
        .map(|_| ())
}

/// A random topic id, never one of the reserved ones (all zero, or ending in one).
pub(crate) fn new_topic_id() -> Uuid {
    Uuid(*uuid::Uuid::new_v4().as_bytes())
}

/// `Topic.validate`: 1 to 249 of `[a-zA-Z0-9._-]`, and not `.` or `..`.
pub(crate) fn is_valid_topic_name(name: &str) -> bool {
    topics::invalid_name(name).is_none()
}

fn running(shard: &Shard) -> Result<Rc<Controller>, Refusal> {
    shard
        .controller
        .borrow()
        .clone()
        .ok_or_else(|| ErrorCode::NotController.into())
}
