//! A man in the middle: passes everything between clients and a broker, and changes the records of fetches.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use millstream_protocol::api::ApiKey;
use millstream_protocol::batch::Batches;
use millstream_protocol::message::Records;
use millstream_protocol::messages::fetch::FetchResponse;
use millstream_protocol::{frame, header};

/// What becomes of the batch at an offset.
#[derive(Clone, Copy, Debug)]
pub enum Lie {
    /// It is left out.
    Lost,
    /// It comes twice.
    Twice,
    /// It comes behind the next one.
    Late,
    /// A bit of its last byte is another.
    Damaged,
}

/// Starts it on `port`; it ends with the test process.
pub fn start(port: u16, broker: String, lie: Lie, offset: i64) {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(&broker) else {
                continue;
            };
            // Answers come in the order of their requests.
            let asked = Arc::new(Mutex::new(VecDeque::new()));
            let (from, to) = (copy_of(&client), copy_of(&server));
            let noted = asked.clone();
            std::thread::spawn(move || {
                pass(from, to, |request| {
                    let api = (number(&request, 0), number(&request, 2));
                    noted.lock().expect("nobody panics with it").push_back(api);
                    request
                });
            });
            std::thread::spawn(move || {
                pass(server, client, |answer| {
                    let api = asked.lock().expect("nobody panics with it").pop_front();
                    match api {
                        Some((api, version)) if api == ApiKey::Fetch as i16 => {
                            changed(&answer, version, lie, offset)
                        }
                        _ => answer,
                    }
                });
            });
        }
    });
}

fn copy_of(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("a descriptor can be copied")
}

fn number(frame: &[u8], at: usize) -> i16 {
    i16::from_be_bytes([frame[at], frame[at + 1]])
}

/// Passes frames, without their lengths, through `change` until one side closes.
fn pass(mut from: TcpStream, mut to: TcpStream, mut change: impl FnMut(Vec<u8>) -> Vec<u8>) {
    let mut one = || -> std::io::Result<()> {
        let mut prefix = [0; 4];
        from.read_exact(&mut prefix)?;
        let mut frame = vec![0; i32::from_be_bytes(prefix) as usize];
        from.read_exact(&mut frame)?;
        let frame = change(frame);
        to.write_all(&(frame.len() as i32).to_be_bytes())?;
        to.write_all(&frame)
    };
    while one().is_ok() {}
    for stream in [&from, &to] {
        // The other side, too; closed already, perhaps.
        let _ = stream.shutdown(Shutdown::Both);
    }
}

fn changed(answer: &[u8], version: i16, lie: Lie, offset: i64) -> Vec<u8> {
    let row = ApiKey::Fetch.row();
    let (correlation, mut body) = header::read_response(answer, row, version).expect("a header");
    let mut response = FetchResponse::read(&mut body, version).expect("a fetch response");
    let partitions = response.responses.iter_mut();
    let Some(partition) = partitions.flat_map(|topic| &mut topic.partitions).next() else {
        return answer.to_vec();
    };
    let records = lied(partition.records.bytes(), lie, offset);
    partition.records = Records::Borrowed(&records);
    let mut writer = frame::open(records.len() + 256);
    header::write_response_header(&mut writer, row, version, correlation);
    response.write(&mut writer, version);
    let frame = frame::close(writer).expect("a legal response").bytes;
    frame[frame::PREFIX..].to_vec()
}

fn lied(records: &[u8], lie: Lie, offset: i64) -> Vec<u8> {
    let batches = Batches::new(records).map_while(Result::ok);
    let mut batches: Vec<(i64, Vec<u8>)> = batches
        .map(|(header, batch)| (header.base_offset, batch.to_vec()))
        .collect();
    let at = batches.iter().position(|(base, _)| *base == offset);
    match (lie, at) {
        (_, None) => {}
        (Lie::Lost, Some(at)) => drop(batches.remove(at)),
        (Lie::Twice, Some(at)) => batches.insert(at, batches[at].clone()),
        // Held back until there is one to come before it.
        (Lie::Late, Some(at)) if at + 1 == batches.len() => batches.truncate(at),
        (Lie::Late, Some(at)) => batches.swap(at, at + 1),
        (Lie::Damaged, Some(at)) => {
            if let Some(last) = batches[at].1.last_mut() {
                *last ^= 1;
            }
        }
    }
    batches.into_iter().flat_map(|(_, batch)| batch).collect()
}
