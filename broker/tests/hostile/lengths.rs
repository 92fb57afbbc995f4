//! Lengths: a frame, array, string, varint or tag that claims more than there is costs what has arrived and no more.

use std::time::{Duration, Instant};

use millstream_protocol::messages::metadata::{MetadataRequest, MetadataResponse};

use crate::MIB;
use crate::harness::node::Node;
use crate::harness::wire::Wire;

/// Kafka takes 1,069 MiB for ten such claims; here it is what came.
const CLAIMS: usize = 10;

/// A frame with this header and body, its length right.
fn frame(api_key: i16, api_version: i16, flexible: bool, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.extend(api_key.to_be_bytes());
    bytes.extend(api_version.to_be_bytes());
    bytes.extend(7i32.to_be_bytes());
    bytes.extend((-1i16).to_be_bytes());
    if flexible {
        bytes.push(0);
    }
    bytes.extend(body);
    let length = (bytes.len() - 4) as i32;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    bytes
}

/// What to send, and what it is.
type Claim = (&'static str, Vec<u8>);

/// Frames that are wrong from their prefix on, and bytes of other protocols.
fn prefixes() -> Vec<Claim> {
    let prefix = |length: i32| [&length.to_be_bytes()[..], b"and some bytes"].concat();
    vec![
        ("2 GB", prefix(i32::MAX)),
        ("one byte too long", prefix(100 * MIB as i32 + 1)),
        ("-1", prefix(-1)),
        ("the least length", prefix(i32::MIN)),
        (
            "HTTP",
            b"GET /metrics HTTP/1.1\r\nHost: broker\r\n\r\n".to_vec(),
        ),
        ("HTTP 2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        (
            "TLS",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        ),
        ("SSH", b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()),
        ("no header", vec![0; 4]),
    ]
}

/// Whole frames with a count, length, varint or tag in them that cannot be.
fn bodies() -> Vec<Claim> {
    let mut claims = Vec::new();
    for (what, count) in [
        ("2^31 - 1", i32::MAX),
        ("2^31", i32::MIN),
        ("-2", -2),
        ("a million and one", 1_000_001),
    ] {
        let count = count.to_be_bytes();
        let after = |front: &[u8]| [front, &count[..], &[0; 40]].concat();
        // Topics of Metadata, Produce, Fetch, ListOffsets, CreateTopics; protocols of JoinGroup; groups of DescribeGroups.
        claims.push((what, frame(3, 1, false, &after(&[]))));
        claims.push((
            what,
            frame(0, 7, false, &after(&[0xff, 0xff, 0, 1, 0, 0, 1, 0])),
        ));
        claims.push((what, frame(1, 4, false, &after(&[0; 17]))));
        claims.push((what, frame(2, 2, false, &after(&[0; 5]))));
        claims.push((what, frame(19, 2, false, &after(&[]))));
        claims.push((
            what,
            frame(11, 0, false, &after(&[0, 0, 0, 0, 0, 9, 0, 0, 0, 0])),
        ));
        claims.push((what, frame(15, 0, false, &after(&[]))));
    }
    let ten = [0xff; 10];
    let most = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let flexible = |body: &[u8]| frame(3, 9, true, body);
    let unread = |tags: &[u8]| frame(3, 9, false, tags);
    claims.extend([
        ("a count of ten bytes", flexible(&ten)),
        ("a count of 2^32 - 1", flexible(&most)),
        (
            "a string of ten bytes' length",
            flexible(&[&[2][..], &ten].concat()),
        ),
        (
            "a string of 2^32 - 1",
            flexible(&[&[2][..], &most].concat()),
        ),
        ("header tags: a count of ten bytes", unread(&ten)),
        ("header tags: 2^32 - 1", unread(&most)),
        (
            "header tag: a size of ten bytes",
            unread(&[&[1, 0][..], &ten].concat()),
        ),
        (
            "header tag: a size of 2^32 - 1",
            unread(&[&[1, 0][..], &most].concat()),
        ),
        // Topics null, three flags, then the body's tags.
        (
            "body tags: 2^32 - 1",
            flexible(&[&[0, 1, 1, 1][..], &most].concat()),
        ),
        (
            "body tag: a size of 2^32 - 1",
            flexible(&[&[0, 1, 1, 1, 1, 0][..], &most].concat()),
        ),
        (
            "a string of 32,767",
            frame(3, 1, false, &[0, 0, 0, 1, 0x7f, 0xff, b'x']),
        ),
        (
            "bytes of 2^31 - 1",
            frame(
                14,
                0,
                false,
                &[
                    0, 1, b'g', 0, 0, 0, 1, 0, 1, b'm', 0, 0, 0, 1, 0, 1, b'm', 0x7f, 0xff, 0xff,
                    0xff,
                ],
            ),
        ),
    ]);
    claims.push(("tags within tags", nested_tags()));
    claims
}

/// Fetch v15: replica_state, tag 1, is a struct with tags of its own, the last of which claims what is not there.
fn nested_tags() -> Vec<u8> {
    let inner = [
        &[0, 0, 0, 1][..],
        &[0; 8],
        &[1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f],
    ]
    .concat();
    let mut body = vec![0; 13];
    body.extend([0; 8]);
    body.extend([1, 1, 1]);
    body.extend([1, 1, inner.len() as u8]);
    body.extend(inner);
    frame(1, 15, true, &body)
}

#[test]
fn what_cannot_be_is_closed_and_costs_nothing() {
    let mut node = Node::started(&[]);
    let mut good = node.connect();
    let claims = [prefixes(), bodies()].concat();
    let mut slowest = (Duration::ZERO, "");
    let mut round = |node: &Node, good: &mut Wire| {
        for (what, bytes) in &claims {
            let mut bad = node.connect();
            let sent = Instant::now();
            bad.raw(bytes);
            assert!(bad.is_closed(), "{what}");
            slowest = slowest.max((sent.elapsed(), what));
        }
        let _: MetadataResponse = good.ask(9, &MetadataRequest::default());
    };
    // Once to warm up; what comes then leaves nothing behind.
    round(&node, &mut good);
    let before = node.resident();
    for _ in 0..20 {
        round(&node, &mut good);
    }
    let grown = node.resident().saturating_sub(before);
    println!(
        "{} claims, 20 times: {} KiB more, the slowest was {} after {:?}",
        claims.len(),
        grown >> 10,
        slowest.1,
        slowest.0
    );
    assert!(grown <= MIB, "{grown} bytes");
    assert_eq!(node.stop(), Some(0), "{}", node.said());
}

#[test]
fn ten_sockets_that_claim_100_megabytes_cost_what_they_sent() {
    let mut node = Node::started(&[]);
    let mut good = node.connect();
    let mut claims: Vec<Wire> = (0..CLAIMS).map(|_| node.connect()).collect();
    for wire in &mut claims {
        let _: MetadataResponse = wire.ask(9, &MetadataRequest::default());
    }
    let before = node.resident();
    let claim = [
        &(100 * MIB as i32).to_be_bytes()[..],
        &[0, 0, 0, 9, 0, 0, 0, 1],
    ]
    .concat();
    for wire in &mut claims {
        wire.raw(&claim);
    }
    // Whoever asks now is answered after they were read.
    for _ in 0..20 {
        let _: MetadataResponse = good.ask(9, &MetadataRequest::default());
    }
    std::thread::sleep(Duration::from_millis(200));
    let grown = node.resident().saturating_sub(before);
    println!("{CLAIMS} claims of 100 MiB: {} KiB more", grown >> 10);
    assert!(grown <= MIB, "{grown} bytes");
    // A megabyte each is then held, and not twice as much.
    for wire in &mut claims {
        wire.raw(&vec![0; MIB]);
    }
    for _ in 0..20 {
        let _: MetadataResponse = good.ask(9, &MetadataRequest::default());
    }
    std::thread::sleep(Duration::from_millis(500));
    let grown = node.resident().saturating_sub(before);
    println!("and 1 MiB of each: {} KiB more", grown >> 10);
    assert!(grown <= (2 * CLAIMS + 17) * MIB, "{grown} bytes");
    drop(claims);
    assert_eq!(node.stop(), Some(0), "{}", node.said());
}

/// A frame may be as long as `socket.request.max.bytes`: what it costs to read is bounded too.
#[test]
fn the_longest_frames_of_the_smallest_things_are_answered_or_closed() {
    let mut node = Node::started(&["socket.request.max.bytes=16777216"]);
    let mut good = node.connect();
    let _: MetadataResponse = good.ask(9, &MetadataRequest::default());
    // A million names of one byte each, and a million partitions that do not exist.
    let mut names = vec![0xc1, 0x84, 0x3d];
    for _ in 0..1_000_000 {
        names.extend([2, b'a', 0]);
    }
    names.extend([0, 0, 0, 0]);
    let mut partitions = vec![0; 4];
    partitions.extend([0xff; 4]);
    partitions.extend([0, 0, 0, 1, 0, 1, b't']);
    partitions.extend(900_000i32.to_be_bytes());
    for index in 0..900_000i32 {
        partitions.extend(index.to_be_bytes());
        partitions.extend((-1i64).to_be_bytes());
    }
    let before = node.resident();
    for (what, bytes) in [
        ("a million topics", frame(3, 9, true, &names)),
        ("900,000 partitions", frame(2, 1, false, &partitions[4..])),
    ] {
        let mut bad = node.connect();
        let sent = Instant::now();
        bad.raw(&bytes);
        let answered = bad.frame().map_or(0, |frame| frame.len());
        println!("{what}: {answered} bytes after {:?}", sent.elapsed());
        let _: MetadataResponse = good.ask(9, &MetadataRequest::default());
    }
    let grown = node.resident().saturating_sub(before);
    println!("{} MiB more", grown / MIB);
    assert!(grown < 400 * MIB, "{grown} bytes");
    assert_eq!(node.stop(), Some(0), "{}", node.said());
}
