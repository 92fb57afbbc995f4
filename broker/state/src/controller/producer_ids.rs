//! Producer ids, handed to brokers in blocks (KIP-730). An id is never handed out twice, also across restarts: a block
//! whose rest was not used when its broker stopped is lost, which 2^63 ids can bear.

use millstream_protocol::error::ErrorCode;

use super::image::Image;
use super::record::Record;
use super::{Refusal, Reply};

/// Ids in one block (Kafka: `ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE`).
pub const PRODUCER_ID_BLOCK_SIZE: i32 = 1000;

pub(super) fn allocate(image: &Image, broker_id: i32) -> Result<(Vec<Record>, Reply), Refusal> {
    if image.broker(broker_id).is_none() {
        return Err(Refusal::new(
            ErrorCode::BrokerIdNotRegistered,
            format!("Broker ID {broker_id} is not currently registered"),
        ));
    }
    let first = image.next_producer_id();
    let Some(next) = first.checked_add(i64::from(PRODUCER_ID_BLOCK_SIZE)) else {
        return Err(Refusal::new(
            ErrorCode::UnknownServerError,
            "Exhausted all producerIds",
        ));
    };
    let record = Record::ProducerIds {
        broker_id,
        next_producer_id: next,
    };
    Ok((
        vec![record],
        Reply::ProducerIds {
            first,
            count: PRODUCER_ID_BLOCK_SIZE,
        },
    ))
}

pub(super) fn replay(image: &mut Image, next_producer_id: i64) {
    assert!(
        next_producer_id > image.next_producer_id,
        "producer ids went from {} back to {next_producer_id}",
        image.next_producer_id
    );
    image.next_producer_id = next_producer_id;
}
