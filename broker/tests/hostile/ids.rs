//! Names without end: every group, client, transactional and producer id is one that never came before and never comes again.

use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use millstream_protocol::batch::BatchBuilder;
use millstream_protocol::compress::Codec;
use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::find_coordinator::{
    FindCoordinatorRequest, FindCoordinatorResponse,
};
use millstream_protocol::messages::init_producer_id::{
    InitProducerIdRequest, InitProducerIdResponse,
};
use millstream_protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use millstream_protocol::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse};
use millstream_protocol::messages::metadata::MetadataRequest;
use millstream_protocol::messages::produce::ProduceResponse;

use crate::MIB;
use crate::harness::node::Node;
use crate::harness::wire::{self, PRODUCE, Wire, produce_request, request_frame_of};

/// Before the first look at memory: buffers, tables and the allocator's own have their size then.
const WARM_UP: usize = 20_000;
/// Requests on their way on one connection.
const PIPELINE: usize = 200;
const CONNECTIONS: usize = 4;
/// How much more memory may be in use when everything has expired, whatever the number of ids.
const GROWTH_MAX: usize = 64 * MIB;

/// Ids of each kind: `MILLSTREAM_IDS`.
fn ids() -> usize {
    std::env::var("MILLSTREAM_IDS").map_or(20_000, |text| text.parse().expect("a number"))
}

/// Sends a request for each number, each from a client of its own name, and hands on the answers; `None` when the connection
/// is closed before they are all there.
fn each(
    wire: &mut Wire,
    numbers: Range<usize>,
    request: impl Fn(usize, &str) -> Vec<u8>,
    mut answer: impl FnMut(usize, Vec<u8>),
) -> Option<()> {
    let numbers: Vec<usize> = numbers.collect();
    for some in numbers.chunks(PIPELINE) {
        for number in some {
            wire.raw(&request(*number, &format!("client-{number}")));
        }
        for number in some {
            answer(*number, wire.frame()?);
        }
    }
    Some(())
}

/// A member joins and leaves each group; each client asks for metadata, and for a transactional id, which is refused.
fn groups(wire: &mut Wire, numbers: Range<usize>) -> Option<()> {
    let mut members = Vec::with_capacity(numbers.len());
    let group = |number: usize| format!("group-{number}");
    let join = |number: usize, client: &str| {
        let request = JoinGroupRequest {
            group_id: group(number).into(),
            session_timeout_ms: 6000,
            protocol_type: "consumer".into(),
            protocols: vec![JoinGroupRequestProtocol {
                name: "range".into(),
                metadata: vec![0; 100].into(),
            }],
            ..Default::default()
        };
        request_frame_of(client, 0, &request, number as i32)
    };
    each(wire, numbers.clone(), join, |number, frame| {
        let joined: JoinGroupResponse = wire::answer(frame, 0, number as i32);
        assert_eq!(joined.error_code, 0, "{joined:?}");
        members.push(joined.member_id.to_string());
    })?;
    let begin = numbers.start;
    let leave = |number: usize, client: &str| {
        let request = LeaveGroupRequest {
            group_id: group(number).into(),
            member_id: members[number - begin].as_str().into(),
            ..Default::default()
        };
        request_frame_of(client, 0, &request, number as i32)
    };
    each(wire, numbers.clone(), leave, |_, _| {})?;
    let transactional = |number: usize, client: &str| {
        let request = InitProducerIdRequest {
            transactional_id: Some(format!("transactional-{number}").into()),
            transaction_timeout_ms: 1000,
            ..Default::default()
        };
        request_frame_of(client, 0, &request, number as i32)
    };
    each(wire, numbers.clone(), transactional, |number, frame| {
        let refused: InitProducerIdResponse = wire::answer(frame, 0, number as i32);
        let code = ErrorCode::TransactionalIdAuthorizationFailed.code();
        assert_eq!(refused.error_code, code, "{refused:?}");
    })?;
    let metadata = |number: usize, client: &str| {
        request_frame_of(client, 9, &MetadataRequest::default(), number as i32)
    };
    each(wire, numbers, metadata, |_, _| {})
}

/// A batch of each producer id.
fn producers(wire: &mut Wire, numbers: Range<usize>) -> Option<()> {
    let produce = |number: usize, client: &str| {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed();
        let now = now.expect("the clock is past 1970").as_millis() as i64;
        let mut batch = BatchBuilder::new(Codec::None, now).producer(number as i64, 0, 0);
        batch.push(now, None, Some(b"v"), &[]);
        let request = produce_request("ids", 0, batch.finish(0), -1);
        request_frame_of(client, PRODUCE, &request, number as i32)
    };
    each(wire, numbers, produce, |number, frame| {
        let stored: ProduceResponse = wire::answer(frame, PRODUCE, number as i32);
        let stored = &stored.responses[0].partition_responses[0];
        assert_eq!(stored.error_code, 0, "{stored:?}");
    })
}

/// The first group makes the topic of all groups, whose coordinators then begin, one for each partition.
pub fn await_coordinators(wire: &mut Wire) {
    for number in 0..100 {
        loop {
            let request = LeaveGroupRequest {
                group_id: format!("first-{number}").into(),
                ..Default::default()
            };
            let left: LeaveGroupResponse = wire.ask(0, &request);
            if left.error_code == ErrorCode::UnknownMemberId.code() {
                break;
            }
            let _: FindCoordinatorResponse = wire.ask(1, &find_coordinator());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn find_coordinator() -> FindCoordinatorRequest<'static> {
    FindCoordinatorRequest {
        key: "first".into(),
        ..Default::default()
    }
}

/// All kinds of ids over a few connections; whether all were answered. The topic `ids` must be there.
pub fn storm(port: u16, numbers: Range<usize>) -> bool {
    let share = numbers.len() / CONNECTIONS;
    let threads: Vec<_> = (0..CONNECTIONS)
        .map(|thread| {
            let begin = numbers.start + thread * share;
            thread::spawn(move || {
                let mut wire = Wire::connect(port);
                groups(&mut wire, begin..begin + share)?;
                producers(&mut wire, begin..begin + share)
            })
        })
        .collect();
    let ended = threads.into_iter().map(|thread| thread.join());
    // All are waited for.
    let answered: Vec<_> = ended.map(|end| end.expect("answers are right")).collect();
    answered.iter().all(Option::is_some)
}

#[test]
fn ids_that_come_once_leave_nothing() {
    let mut node = Node::started(&[
        "offsets.retention.check.interval.ms=1000",
        "offsets.retention.minutes=1",
        "producer.id.expiration.ms=1000",
        "producer.id.expiration.check.interval.ms=500",
        "tail.memory.bytes=16777216",
    ]);
    let mut first = node.connect();
    first.create("ids", 1);
    await_coordinators(&mut first);
    // The tail has its full size then.
    assert!(storm(node.port, 0..WARM_UP));
    thread::sleep(Duration::from_secs(4));
    let before = node.resident();
    let count = ids();
    assert!(storm(node.port, WARM_UP..WARM_UP + count));
    let most = node.resident().saturating_sub(before);
    let end = Instant::now() + Duration::from_secs(120);
    let mut left = most;
    while left > GROWTH_MAX / 4 && Instant::now() < end {
        thread::sleep(Duration::from_millis(500));
        left = node.resident().saturating_sub(before);
    }
    println!(
        "{count} ids of each kind: {} MiB more, {} MiB when they had expired",
        most / MIB,
        left / MIB
    );
    assert!(left <= GROWTH_MAX, "{} MiB stay", left / MIB);
    assert_eq!(node.stop(), Some(0), "{}", node.said());
}
