//! The broker that is asked: a connection to it, and what it calls things.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use millstream_protocol::api::{self, ApiRow};
use millstream_protocol::frame;
use millstream_protocol::header::{self, RequestHeader};
use millstream_protocol::message::Message;
use millstream_protocol::message::definition::Kind;
use millstream_protocol::uuid::Uuid;

use crate::normalize::normalized;

/// As good as a topic id that no broker gives.
pub const NO_SUCH_ID: Uuid = Uuid([0x5a; 16]);

/// A broker under test.
pub struct Peer {
    address: String,
    patience: Duration,
    stream: Option<TcpStream>,
    correlation_id: i32,
    /// What this broker calls something, and the name it has in the record.
    names: Vec<(String, String)>,
    ids: BTreeMap<&'static str, Uuid>,
}

impl Peer {
    /// Connects when something is sent. An answer that takes longer than `patience` is none.
    pub fn new(address: &str, patience: Duration) -> Peer {
        let port = address.rsplit(':').next().expect("host:port");
        Peer {
            address: address.to_owned(),
            patience,
            stream: None,
            correlation_id: 0,
            names: vec![(format!("port: {port}"), "port: PORT".to_owned())],
            ids: BTreeMap::new(),
        }
    }

    /// A further connection, with the same names.
    pub fn another(&self) -> Peer {
        Peer {
            address: self.address.clone(),
            patience: self.patience,
            stream: None,
            correlation_id: 0,
            names: self.names.clone(),
            ids: self.ids.clone(),
        }
    }

    /// The id this broker gave a topic.
    pub fn id(&self, topic: &'static str) -> Uuid {
        *self.ids.get(topic).unwrap_or(&NO_SUCH_ID)
    }

    pub fn learn_id(&mut self, topic: &'static str, id: Uuid) {
        self.learn(&id.to_string(), &format!("id-of-{topic}"));
        self.ids.insert(topic, id);
    }

    /// Has `value` shown as `name` from now on.
    pub fn learn(&mut self, value: &str, name: &str) {
        if !value.is_empty() && !self.names.iter().any(|(known, _)| known == value) {
            self.names.push((value.to_owned(), name.to_owned()));
        }
    }

    /// What the record calls an id: rows are sorted by it, since ids are not the same in any two brokers.
    pub fn name_of(&self, id: &Uuid) -> String {
        let id = id.to_string();
        let known = self.names.iter().find(|(value, _)| *value == id);
        known.map_or(id.clone(), |(_, name)| name.clone())
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
        self.raw(&bytes);
    }

    /// Sends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        let stream = self.stream.get_or_insert_with(|| {
            let stream = TcpStream::connect(&self.address).expect("the broker listens");
            stream
                .set_read_timeout(Some(self.patience))
                .expect("a timeout can be set");
            stream.set_nodelay(true).expect("it is a TCP connection");
            stream
        });
        // A broken connection shows itself when the answer is read.
        let _ = stream.write_all(bytes);
    }

    /// Reads one answer; an error says what came instead.
    pub fn receive<R: Message<'static>>(&mut self, version: i16) -> Result<R, String> {
        let bytes = match self.frame() {
            Ok(bytes) => bytes,
            Err(error) => {
                self.stream = None;
                return Err(match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => "(no answer)".to_owned(),
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

    /// The answer as a line of the record: what differs between any two brokers has a name instead.
    pub fn text(&self, version: i16, answer: &Result<impl Debug, String>) -> String {
        let mut text = match answer {
            Ok(response) => normalized(&format!("{response:?}")),
            Err(instead) => instead.clone(),
        };
        for (value, name) in &self.names {
            text = text.replace(value, name);
        }
        mask_version(&mask_uuids(&text), version)
    }
}

/// The row of the API a message belongs to.
pub fn row<'m, M: Message<'m>>() -> &'static ApiRow {
    match M::DEFINITION.kind {
        Kind::Request(key) | Kind::Response(key) => api::row(key).expect("it is served"),
        _ => unreachable!("requests and responses only"),
    }
}

/// Names that a case makes for each version differ in nothing else.
fn mask_version(text: &str, version: i16) -> String {
    let name = format!("-v{version}");
    let mut parts = text.split(name.as_str());
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let goes_on = part.starts_with(|next: char| next.is_ascii_digit());
        masked.push_str(if goes_on { &name } else { "-vN" });
        masked.push_str(part);
    }
    masked
}

/// Member ids end in a UUID that the broker makes up.
fn mask_uuids(text: &str) -> String {
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
