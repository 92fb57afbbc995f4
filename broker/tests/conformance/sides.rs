//! Two brokers that are asked the same, and the record of what Kafka answered.
//!
//! An answer is kept as one line of text, after what differs between any two brokers (ports, ids, times) has been given a
//! name. Consecutive versions with the same text share a line.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write as _};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use millstream_protocol::api::{self, ApiRow};
use millstream_protocol::frame;
use millstream_protocol::header::{self, RequestHeader};
use millstream_protocol::message::Message;
use millstream_protocol::message::definition::Kind;
use millstream_protocol::uuid::Uuid;

/// Far above what any answer takes: a busy machine must not fail the test.
const PATIENCE: Duration = Duration::from_secs(60);
/// As good as a topic id that no broker gives.
pub const NO_SUCH_ID: Uuid = Uuid([0x5a; 16]);

/// Kafka gives no answer at all to some malformed records; it is idle then, and this is far above what it takes.
const PEER_PATIENCE: Duration = Duration::from_secs(4);
/// One broker, and a connection to it.
pub struct Side {
    address: String,
    patience: Duration,
    stream: Option<TcpStream>,
    correlation_id: i32,
    /// What this broker calls something, and the name it has in the record.
    names: Vec<(String, String)>,
    ids: BTreeMap<&'static str, Uuid>,
}

impl Side {
    fn new(address: &str, patience: Duration) -> Side {
        let port = address.rsplit(':').next().expect("host:port");
        let names = vec![(format!("port: {port}"), "port: PORT".to_owned())];
        Side {
            address: address.to_owned(),
            patience,
            stream: None,
            correlation_id: 0,
            names,
            ids: BTreeMap::new(),
        }
    }

    /// The id this broker gave a topic.
    pub fn id(&self, topic: &'static str) -> Uuid {
        *self.ids.get(topic).unwrap_or(&NO_SUCH_ID)
    }

    pub fn learn_id(&mut self, topic: &'static str, id: Uuid) {
        self.learn(&id.to_string(), &format!("id of {topic}"));
        self.ids.insert(topic, id);
    }

    /// Has `value` shown as `name` from now on.
    pub fn learn(&mut self, value: &str, name: &str) {
        if !value.is_empty() && !self.names.iter().any(|(known, _)| known == value) {
            self.names.push((value.to_owned(), name.to_owned()));
        }
    }

    /// Sends the request. Nothing is read.
    pub fn send<'q, Q: Message<'q>>(&mut self, version: i16, request: &Q) {
        let row = row::<Q>();
        self.correlation_id += 1;
        let mut writer = frame::open(256);
        let header = RequestHeader {
            api_key: row.key as i16,
            api_version: version,
            correlation_id: self.correlation_id,
            client_id: Some("conformance".into()),
        };
        header::write(&mut writer, &header, row);
        request.write(&mut writer, version);
        let bytes = frame::close(writer)
            .unwrap_or_else(|fault| panic!("{} v{version}: {fault}", row.name))
            .bytes;
        if self.stream.is_none() {
            let stream = TcpStream::connect(&self.address).expect("the broker listens");
            stream
                .set_read_timeout(Some(self.patience))
                .expect("a timeout can be set");
            stream.set_nodelay(true).expect("it is a TCP connection");
            self.stream = Some(stream);
        }
        // A broken connection shows itself when the answer is read.
        let _ = self
            .stream
            .as_mut()
            .expect("just connected")
            .write_all(&bytes);
    }

    /// Reads one answer; an error says what came instead.
    pub fn receive<R: Message<'static>>(&mut self, version: i16) -> Result<R, String> {
        let bytes = match self.frame() {
            Ok(bytes) => bytes,
            Err(error) => {
                self.stream = None;
                return Err(match error.kind() {
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
                        "(no answer)".to_owned()
                    }
                    _ => "(closed)".to_owned(),
                });
            }
        };
        let row = row::<R>();
        // The few thousand answers of one test run; a response that borrows from nothing else is far easier to handle.
        let bytes: &'static [u8] = Vec::leak(bytes);
        let (correlation_id, mut body) = header::read_response(bytes, row, version)
            .map_err(|error| format!("(bad header: {error})"))?;
        assert_eq!(
            correlation_id, self.correlation_id,
            "{} v{version}: answers come in order",
            row.name
        );
        R::read(&mut body, version).map_err(|error| format!("(does not parse: {error}) {bytes:?}"))
    }

    /// Asks and reads the answer.
    pub fn ask<'q, Q: Message<'q>, R: Message<'static>>(
        &mut self,
        version: i16,
        request: &Q,
    ) -> Result<R, String> {
        self.send(version, request);
        self.receive(version)
    }

    fn frame(&mut self) -> std::io::Result<Vec<u8>> {
        let stream = self.stream.as_mut().expect("something was sent");
        let mut prefix = [0; frame::PREFIX];
        stream.read_exact(&mut prefix)?;
        let len = frame::length(prefix, 100 << 20).expect("a broker's frame has a length");
        let mut bytes = vec![0; len];
        stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn text(&self, version: i16, answer: &Result<impl Debug, String>) -> String {
        let mut text = match answer {
            Ok(response) => format!("{response:?}"),
            Err(instead) => instead.clone(),
        };
        for (value, name) in &self.names {
            text = text.replace(value, name);
        }
        mask_member_ids(&text).replace(&format!("-v{version}"), "-vN")
    }
}

/// The row of the API a message belongs to.
fn row<'m, M: Message<'m>>() -> &'static ApiRow {
    match M::DEFINITION.kind {
        Kind::Request(key) | Kind::Response(key) => api::row(key).expect("it is served"),
        _ => unreachable!("requests and responses only"),
    }
}

/// Member ids end in a UUID that the broker makes up.
fn mask_member_ids(text: &str) -> String {
    let is_uuid = |bytes: &[u8]| {
        bytes.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(byte),
        })
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if rest.len() >= 36 && is_uuid(&rest[..36]) {
            bytes.extend_from_slice(b"UUID");
            rest = &rest[36..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).expect("only ASCII was replaced")
}

/// Answers by case and version.
type Answers = BTreeMap<String, BTreeMap<i16, String>>;

/// The broker under test and, if there is one, real Kafka.
pub struct Sides {
    pub ours: Side,
    pub peer: Option<Side>,
    our_answers: Answers,
    peer_answers: Answers,
    order: Vec<String>,
    asked: BTreeSet<(i16, i16)>,
}

impl Sides {
    pub fn new(ours: &str, peer: Option<&str>) -> Sides {
        Sides {
            ours: Side::new(ours, PATIENCE),
            peer: peer.map(|peer| Side::new(peer, PEER_PATIENCE)),
            our_answers: Answers::new(),
            peer_answers: Answers::new(),
            order: Vec::new(),
            asked: BTreeSet::new(),
        }
    }

    pub fn both(&mut self) -> impl Iterator<Item = &mut Side> {
        std::iter::once(&mut self.ours).chain(self.peer.as_mut())
    }

    /// Asks both sides in each of `versions` and keeps what they say, after `settle` has taken out what may differ.
    pub fn case<Q: Message<'static>, R: Message<'static>>(
        &mut self,
        name: &str,
        versions: RangeInclusive<i16>,
        request: impl Fn(&Side, i16) -> Q,
        settle: impl Fn(&mut R),
    ) {
        let row = row::<Q>();
        let name = format!("{}: {name}", row.name);
        assert!(!self.order.contains(&name), "{name} is there twice");
        self.order.push(name.clone());
        for version in versions {
            self.asked.insert((row.key as i16, version));
            let ask = |side: &mut Side| {
                let request = request(side, version);
                let mut answer: Result<R, String> = side.ask(version, &request);
                if let Ok(response) = &mut answer {
                    settle(response);
                }
                side.text(version, &answer)
            };
            let ours = ask(&mut self.ours);
            self.our_answers
                .entry(name.clone())
                .or_default()
                .insert(version, ours);
            if let Some(peer) = &mut self.peer {
                let theirs = ask(peer);
                self.peer_answers
                    .entry(name.clone())
                    .or_default()
                    .insert(version, theirs);
            }
        }
    }

    /// All served versions of an API.
    pub fn versions<Q: Message<'static>>() -> RangeInclusive<i16> {
        let row = row::<Q>();
        row.first..=row.max
    }

    /// Served versions that no case asked for.
    pub fn never_asked(&self) -> Vec<String> {
        let all = api::served()
            .iter()
            .flat_map(|row| (row.first..=row.max).map(move |version| (row, version)));
        all.filter(|(row, version)| !self.asked.contains(&(row.key as i16, *version)))
            .map(|(row, version)| format!("{} v{version}", row.name))
            .collect()
    }

    /// Differences between our answers and Kafka's: those of the peer, or else those on record. `deliberate` names the
    /// cases in which ours are meant to be others; there the record holds ours, too.
    pub fn differences(&self, record: &Path, deliberate: &[(&str, &str)]) -> String {
        let on_record = std::fs::read_to_string(record).unwrap_or_default();
        let (kafka, ours_on_record) = match self.peer {
            Some(_) => (self.peer_answers.clone(), self.our_answers.clone()),
            None => (
                read_record(&on_record, "kafka "),
                read_record(&on_record, "ours "),
            ),
        };
        let mut text = String::new();
        for name in &self.order {
            let is_deliberate = deliberate.iter().any(|(case, _)| case == name);
            let expected = if is_deliberate {
                &ours_on_record
            } else {
                &kafka
            };
            for (version, ours) in &self.our_answers[name] {
                match expected.get(name).and_then(|answers| answers.get(version)) {
                    Some(expected) if expected == ours => {}
                    Some(expected) => write_difference(&mut text, name, *version, expected, ours),
                    // Not on record: an answer that parses is all that can be asked for.
                    None if ours.starts_with('(') => {
                        writeln!(text, "{name} v{version}: {ours}").expect("a string");
                    }
                    None => {}
                }
            }
        }
        text
    }

    /// Writes down what was answered, if there is a peer.
    pub fn write_record(&self, record: &Path, deliberate: &[(&str, &str)]) {
        let mut text = String::from(
            "# Answers of Apache Kafka 4.3.1 to the cases of this test; `ours` where ours are others on purpose.\n\
             # Written by the test itself when MILLSTREAM_PEER and MILLSTREAM_RECORD are set.\n",
        );
        for name in &self.order {
            writeln!(text, "\n== {name}").expect("a string");
            write_rows(&mut text, "kafka", &self.peer_answers[name]);
            if let Some((_, why)) = deliberate.iter().find(|(case, _)| case == name) {
                writeln!(text, "# {why}").expect("a string");
                write_rows(&mut text, "ours", &self.our_answers[name]);
            }
        }
        std::fs::write(record, text).expect("the record can be written");
    }
}

fn write_rows(text: &mut String, who: &str, answers: &BTreeMap<i16, String>) {
    let mut rows = answers.iter().peekable();
    while let Some((first, answer)) = rows.next() {
        let mut last = *first;
        while let Some((version, _)) = rows.next_if(|(_, next)| *next == answer) {
            last = *version;
        }
        writeln!(text, "{who} {first}-{last} {answer}").expect("a string");
    }
}

fn read_record(text: &str, who: &str) -> Answers {
    let mut answers = Answers::new();
    let mut name = "";
    for line in text.lines() {
        if let Some(case) = line.strip_prefix("== ") {
            name = case;
        } else if let Some(row) = line.strip_prefix(who) {
            let (versions, answer) = row.split_once(' ').expect("versions, then the answer");
            let (first, last) = versions.split_once('-').expect("first-last");
            let number = |text: &str| text.parse::<i16>().expect("a version");
            for version in number(first)..=number(last) {
                answers
                    .entry(name.to_owned())
                    .or_default()
                    .insert(version, answer.to_owned());
            }
        }
    }
    answers
}

/// Shows where two answers part, with what stands around it.
fn write_difference(text: &mut String, name: &str, version: i16, expected: &str, ours: &str) {
    let common = |a: &mut dyn Iterator<Item = char>, b: &mut dyn Iterator<Item = char>| {
        a.zip(b).take_while(|(a, b)| a == b).count()
    };
    let start = common(&mut expected.chars(), &mut ours.chars()).saturating_sub(60);
    let end = common(&mut expected.chars().rev(), &mut ours.chars().rev());
    let part = |whole: &str| -> String {
        let len = whole.chars().count();
        let end = len.saturating_sub(end.saturating_sub(30)).max(start);
        whole
            .chars()
            .skip(start)
            .take((end - start).min(900))
            .collect()
    };
    writeln!(
        text,
        "{name} v{version}\n  kafka: …{}…\n  ours:  …{}…",
        part(expected),
        part(ours)
    )
    .expect("a string");
}
