//! Peers that stop in the middle of a frame hold their own buffer and nothing else.

use std::time::Duration;

use millstream_protocol::messages::metadata::{MetadataRequest, MetadataResponse};

use crate::MIB;
use crate::harness::node::Node;
use crate::harness::wire::{self, PRODUCE, Wire, batch, produce_request};

#[test]
fn a_peer_that_stops_in_a_frame_holds_its_own_bytes_only() {
    let mut node = Node::started(&[]);
    let mut good = node.connect();
    good.create("stuck", 2);
    let value = vec![3u8; 600_000];
    assert_eq!(good.produce("stuck", 0, batch(&[&value])).error_code, 0);
    let whole = wire::request_frame(
        PRODUCE,
        &produce_request("stuck", 0, batch(&[&value]), -1),
        1,
    );
    // At every boundary that matters: in the prefix, behind it, in the header, in the records, before the last byte.
    let cuts = [1, 3, 4, 9, 40, 100, whole.len() / 2, whole.len() - 1];
    let before = node.resident();
    let mut stuck: Vec<(usize, Wire)> = Vec::new();
    let mut sent = 0;
    for round in 0..80 {
        let cut = cuts[round % cuts.len()];
        let mut wire = node.connect();
        wire.raw(&whole[..cut]);
        sent += cut;
        stuck.push((cut, wire));
    }
    for _ in 0..20 {
        assert_eq!(good.produce("stuck", 1, batch(&[b"on"])).error_code, 0);
        let _: MetadataResponse = good.ask(9, &MetadataRequest::default());
    }
    std::thread::sleep(Duration::from_millis(300));
    let grown = node.resident().saturating_sub(before);
    println!(
        "80 stuck frames, {} KiB sent: {} KiB more",
        sent >> 10,
        grown >> 10
    );
    assert!(grown <= 2 * sent + 8 * MIB, "{grown} bytes for {sent}");
    // Those that go on are answered as if nothing had been.
    for (at, (cut, mut wire)) in stuck.into_iter().enumerate().take(8) {
        wire.raw(&whole[cut..]);
        let frame = wire
            .frame()
            .unwrap_or_else(|| panic!("an answer to number {at}"));
        assert!(frame.len() > 20);
    }
    assert_eq!(good.values("stuck", 0, 0).len(), 9);
    assert_eq!(node.stop(), Some(0), "{}", node.said());
}

/// Also one that trickles: a byte now and then is no request.
#[test]
fn idle_and_trickling_peers_are_closed_after_the_idle_time() {
    let mut node = Node::started(&["connections.max.idle.ms=1500"]);
    let mut good = node.connect();
    let whole = wire::request_frame(9, &MetadataRequest::default(), 1);
    let mut idle = node.connect();
    let mut half = node.connect();
    half.raw(&whole[..10]);
    let mut unread = node.connect();
    unread.raw(&whole);
    for _ in 0..30 {
        let _: MetadataResponse = good.ask(9, &MetadataRequest::default());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(idle.is_closed(), "a connection that never asked");
    assert!(half.is_closed(), "half a frame");
    assert!(unread.frame().is_some(), "it was answered before");
    assert!(unread.is_closed(), "and closed after");
    let _: MetadataResponse = good.ask(9, &MetadataRequest::default());
    assert_eq!(node.stop(), Some(0), "{}", node.said());
}
