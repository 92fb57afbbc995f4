//! Blocking questions to a broker, outside the load.

use std::io::{Read, Write};
use std::net::TcpStream;

use millstream_protocol::api::ApiKey;
use millstream_protocol::frame;
use millstream_protocol::header::{self, RequestHeader};
use millstream_protocol::message::Message;
use millstream_protocol::wire::Writer;

use super::PATIENCE;
use crate::Fault;

/// The name every request carries.
pub const CLIENT_ID: &str = "millstream-bench";
/// Larger than the metadata of any topics a run creates.
const RESPONSE_MAX: usize = 64 << 20;

/// A blocking connection for questions outside the load.
pub fn connect(bootstrap: &str) -> Result<TcpStream, Fault> {
    let broker = TcpStream::connect(bootstrap).map_err(|error| format!("{bootstrap}: {error}"))?;
    broker.set_nodelay(true)?;
    broker.set_read_timeout(Some(PATIENCE))?;
    Ok(broker)
}

/// A request frame; what [`millstream_protocol::wire::Encoded`] leaves out stays out.
pub fn request<'a, M: Message<'a>>(
    api: ApiKey,
    version: i16,
    body: &M,
) -> Result<millstream_protocol::wire::Encoded, Fault> {
    let mut writer: Writer = frame::open(256);
    let header = RequestHeader {
        api_key: api as i16,
        api_version: version,
        correlation_id: 0,
        client_id: Some(CLIENT_ID.into()),
    };
    header::write(&mut writer, &header, api.row());
    body.write(&mut writer, version);
    Ok(frame::close(writer)?)
}

/// One question and its answer's frame, without the length.
pub fn call<'a, M: Message<'a>>(
    broker: &mut TcpStream,
    api: ApiKey,
    version: i16,
    body: &M,
) -> Result<Vec<u8>, Fault> {
    send(broker, api, version, body)?;
    receive(broker, api)
}

/// Sends a request; its answer is the next that [`receive`] returns after those to earlier ones.
pub fn send<'a, M: Message<'a>>(
    broker: &mut TcpStream,
    api: ApiKey,
    version: i16,
    body: &M,
) -> Result<(), Fault> {
    Ok(broker.write_all(&request(api, version, body)?.bytes)?)
}

/// The next answer's frame, without the length.
pub fn receive(broker: &mut TcpStream, api: ApiKey) -> Result<Vec<u8>, Fault> {
    let mut prefix = [0; frame::PREFIX];
    broker
        .read_exact(&mut prefix)
        .map_err(|error| format!("{api:?} was not answered: {error}"))?;
    let length = frame::length(prefix, RESPONSE_MAX)?;
    let mut response = Vec::new();
    broker.take(length as u64).read_to_end(&mut response)?;
    if response.len() < length {
        return Err(format!("{api:?}: the connection was closed").into());
    }
    Ok(response)
}
