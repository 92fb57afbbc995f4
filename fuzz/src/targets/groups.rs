//! Records of `__consumer_offsets` as a coordinator loads them, and the member metadata inside. The input is a row of
//! records: key length, key, value length (0xffff for a tombstone), value, the lengths of two bytes.

use millstream_protocol::message::Message;
use millstream_protocol::messages::consumer_offsets::{
    GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue,
};
use millstream_protocol::wire::Writer;
use millstream_state::group::{Config, Coordinator, Effects, Input, record::Record};

use super::Target;
use super::messages::support::{Fill, sample};

pub const TARGET: Target = Target {
    name: "groups",
    seeds,
    run,
};

fn put(out: &mut Vec<u8>, key: &[u8], value: Option<&[u8]>) {
    out.extend((key.len() as u16).to_be_bytes());
    out.extend(key);
    out.extend(
        value
            .map_or(0xffff, |value| value.len() as u16)
            .to_be_bytes(),
    );
    out.extend(value.unwrap_or_default());
}

/// A key begins with its record's type.
fn key<'a, M: Message<'a>>(message: &M, kind: i16) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.i16(kind);
    message.write(&mut writer, 0);
    writer.finish().expect("a small message").bytes
}

fn seeds() -> Vec<Vec<u8>> {
    let offset_key = OffsetCommitKey {
        group: "g".into(),
        topic: "t".into(),
        partition: 1,
    };
    let offset_key = key(&offset_key, 1);
    let group_key = key(&GroupMetadataKey { group: "g".into() }, 2);
    let mut seeds = Vec::new();
    for (key, definition) in [
        (&offset_key, OffsetCommitValue::DEFINITION),
        (&group_key, GroupMetadataValue::DEFINITION),
    ] {
        for version in definition.versions.min..=definition.versions.max {
            for nulls in [false, true] {
                let fill = Fill {
                    nulls,
                    ..Fill::FULL
                };
                let mut value = version.to_be_bytes().to_vec();
                value.extend(sample(&definition, version, fill));
                let mut seed = Vec::new();
                put(&mut seed, key, Some(&value));
                put(&mut seed, &offset_key, Some(&value));
                put(&mut seed, key, None);
                put(&mut seed, key, Some(&value));
                seeds.push(seed);
            }
        }
    }
    seeds
}

/// The next record of the row.
fn take<'a>(bytes: &mut &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    let mut field = || {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let length = u16::from_be_bytes(*length);
        if length == u16::MAX {
            *bytes = rest;
            return Some(None);
        }
        let (field, rest) = rest.split_at_checked(usize::from(length))?;
        *bytes = rest;
        Some(Some(field))
    };
    let key = field()??;
    Some((key, field()?))
}

fn run(mut bytes: &[u8]) {
    let mut coordinator = Coordinator::new(Config::default());
    while let Some((key, value)) = take(&mut bytes) {
        if let Ok(record) = Record::read(key, value)
            && !matches!(record, Record::Other(_))
        {
            // Times before 1970 are not kept as they are: the second writing says the same as the first.
            let again = |record: &Record| {
                let (key, value) = record.write();
                Record::read(&key, value.as_deref()).expect("it was just written")
            };
            let written = again(&record);
            assert_eq!(again(&written), written);
        }
        // A record that does not parse is passed over and changes nothing.
        let _ = coordinator.replay(key, value);
    }
    let mut effects = Effects::default();
    coordinator.loaded(0, &mut effects);
    // Every timer comes, and nothing that was loaded may trip over it.
    for _ in 0..100 {
        let Some(deadline) = coordinator.next_deadline() else {
            break;
        };
        coordinator.step(deadline, Input::Tick, &mut effects);
        for append in std::mem::take(&mut effects.appends) {
            coordinator.step(deadline, Input::Appended(append.id), &mut effects);
        }
    }
    coordinator.unload(&mut effects);
}
