//! Topics as one core sees them: which core each partition lives on, and the partitions that live here.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use millstream_protocol::error::ErrorCode;
use millstream_protocol::uuid::Uuid;

use crate::partition::Partition;
use crate::partition::config::PartitionConfig;
use crate::shard::Shard;

/// One topic.
pub(crate) struct Topic {
    pub(crate) name: Arc<str>,
    pub(crate) id: Uuid,
    /// `__consumer_offsets` and its like: only the broker writes there.
    pub(crate) internal: bool,
    pub(crate) config: RefCell<Rc<PartitionConfig>>,
    places: RefCell<Vec<Place>>,
    pub(crate) deleted: Cell<bool>,
}

#[derive(Clone)]
enum Place {
    Here(Rc<Partition>),
    Core(usize),
    /// Not created yet, or its data directory is gone.
    Nowhere,
}

/// Where a partition lives.
pub(crate) enum Home {
    /// On this core.
    Here(Rc<Partition>),
    /// On another one.
    Core(usize),
    /// There is no such partition.
    Nowhere,
}

impl Topic {
    pub(crate) fn new(
        name: Arc<str>,
        id: Uuid,
        internal: bool,
        config: Rc<PartitionConfig>,
    ) -> Rc<Self> {
        Rc::new(Self {
            name,
            id,
            internal,
            config: RefCell::new(config),
            places: RefCell::default(),
            deleted: Cell::new(false),
        })
    }

    pub(crate) fn partition_count(&self) -> i32 {
        self.places.borrow().len() as i32
    }

    pub(crate) fn home(&self, index: i32) -> Home {
        let places = self.places.borrow();
        match usize::try_from(index)
            .ok()
            .and_then(|index| places.get(index))
        {
            Some(Place::Here(partition)) => Home::Here(partition.clone()),
            Some(Place::Core(core)) => Home::Core(*core),
            Some(Place::Nowhere) | None => Home::Nowhere,
        }
    }

    /// The partitions that live on this core.
    pub(crate) fn here(&self) -> Vec<Rc<Partition>> {
        let places = self.places.borrow();
        places
            .iter()
            .filter_map(|place| match place {
                Place::Here(partition) => Some(partition.clone()),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn place_here(&self, index: i32, partition: Rc<Partition>) {
        self.place(index, Place::Here(partition));
    }

    pub(crate) fn place_on(&self, index: i32, core: usize) {
        self.place(index, Place::Core(core));
    }

    fn place(&self, index: i32, place: Place) {
        let index = usize::try_from(index).expect("partitions in the metadata are numbered from 0");
        let mut places = self.places.borrow_mut();
        if places.len() <= index {
            places.resize(index + 1, Place::Nowhere);
        }
        places[index] = place;
    }
}

impl Shard {
    /// The core a partition lives on.
    pub(crate) fn core_of(&self, topic: &Topic, index: i32) -> Result<usize, ErrorCode> {
        match topic.home(index) {
            Home::Here(_) => Ok(self.index),
            Home::Core(core) => Ok(core),
            Home::Nowhere => Err(ErrorCode::UnknownTopicOrPartition),
        }
    }

    /// A partition of this core, for a request that was sent here; it may have gone on the way.
    pub(crate) fn partition(&self, topic: &Uuid, index: i32) -> Result<Rc<Partition>, ErrorCode> {
        match self.topics.by_id(topic).map(|topic| topic.home(index)) {
            Some(Home::Here(partition)) => Ok(partition),
            _ => Err(ErrorCode::NotLeaderOrFollower),
        }
    }
}

/// All topics by name and by id.
#[derive(Default)]
pub(crate) struct Topics {
    by_name: RefCell<HashMap<Arc<str>, Rc<Topic>>>,
    by_id: RefCell<HashMap<Uuid, Rc<Topic>>>,
}

impl Topics {
    pub(crate) fn by_name(&self, name: &str) -> Option<Rc<Topic>> {
        self.by_name.borrow().get(name).cloned()
    }

    pub(crate) fn by_id(&self, id: &Uuid) -> Option<Rc<Topic>> {
        self.by_id.borrow().get(id).cloned()
    }

    pub(crate) fn insert(&self, topic: Rc<Topic>) {
        self.by_id.borrow_mut().insert(topic.id, topic.clone());
        self.by_name.borrow_mut().insert(topic.name.clone(), topic);
    }

    pub(crate) fn remove(&self, id: &Uuid) -> Option<Rc<Topic>> {
        let topic = self.by_id.borrow_mut().remove(id)?;
        self.by_name.borrow_mut().remove(&topic.name);
        topic.deleted.set(true);
        Some(topic)
    }

    pub(crate) fn all(&self) -> Vec<Rc<Topic>> {
        self.by_id.borrow().values().cloned().collect()
    }
}
