//! Configuration as users and clients give it: the first byte chooses file, flags, environment or a topic's settings.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;

use millstream::config::{Config, Inputs, Machine};
use millstream::knobs::layers::Layers;
use millstream::knobs::{self, alter, value};

use super::Target;

pub const TARGET: Target = Target {
    name: "config",
    seeds,
    run,
};

const FILE: &[u8] = b"# a file\nprocess.roles=broker,controller\nnode.id = 1\nlisteners=PLAINTEXT://127.0.0.1:9092,B://127.0.0.1:9093\nlistener.security.protocol.map=PLAINTEXT:PLAINTEXT,B:PLAINTEXT\nadvertised.listeners=PLAINTEXT://[::1]:9092\nlog.dirs=/tmp/a,/tmp/b\\\n  ,/tmp/c\nmax.connections.per.ip.overrides=127.0.0.1:5,10.0.0.1:6\nlog.retention.ms=-1\nlog.cleanup.policy=compact,delete\nkey\\ with\\u0020escapes: value\n";

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![[&[0][..], FILE].concat()];
    for set in [
        "log.retention.hours=168",
        "listeners=PLAINTEXT://127.0.0.1:0",
        "max.connections.per.ip.overrides=127.0.0.1:3",
        "--cores",
    ] {
        seeds.push([&[1][..], set.as_bytes()].concat());
    }
    for variable in [
        "KAFKA_CFG_LOG_RETENTION_HOURS=1",
        "KAFKA_NODE_ID=2",
        "CLUSTER_ID=x",
    ] {
        seeds.push([&[2][..], variable.as_bytes()].concat());
    }
    for config in [
        "cleanup.policy=compact",
        "retention.ms=-1",
        "compression.type=zstd",
        "follower.replication.throttled.replicas=0:1,1:1",
        "message.timestamp.type=LogAppendTime",
    ] {
        seeds.push([&[3][..], config.as_bytes()].concat());
    }
    seeds
}

fn run(bytes: &[u8]) {
    let [kind, bytes @ ..] = bytes else { return };
    let text = String::from_utf8_lossy(bytes);
    let (name, rest) = text.split_once('=').unwrap_or((&text, ""));
    match kind % 4 {
        0 => file(bytes),
        1 => load(Inputs {
            sets: vec![text.to_string()],
            cores: Some(rest.to_owned()),
            ..Inputs::default()
        }),
        2 => {
            let at = bytes.iter().position(|byte| *byte == b'=');
            let (name, value) = bytes.split_at(at.unwrap_or(bytes.len()));
            load(Inputs {
                variables: vec![(
                    OsString::from_vec(name.to_vec()),
                    OsString::from_vec(value.get(1..).unwrap_or_default().to_vec()),
                )],
                ..Inputs::default()
            });
        }
        _ => {
            let layers = Layers::default();
            let _ = alter::new_topic(&layers, &[(name, Some(rest))]);
            let _ = knobs::nearest(name);
            for knob in knobs::all() {
                // What is shown of a value is a value again.
                if let Ok(parsed) = value::parse(knob, rest)
                    && !knob.is_sensitive()
                {
                    let shown = parsed.to_string();
                    assert_eq!(
                        value::parse(knob, &shown).map(|v| v.to_string()).ok(),
                        Some(shown)
                    );
                }
            }
        }
    }
}

fn file(bytes: &[u8]) {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("it can be written");
    load(Inputs {
        file: Some(file.path().to_owned()),
        ..Inputs::default()
    });
}

/// Host names are not looked up: that would be a test of the resolver.
fn load(inputs: Inputs) {
    let machine = Machine {
        ipv6: true,
        name: "localhost".to_owned(),
    };
    if let Err(error) = Config::load(&inputs, &machine) {
        assert!(!error.to_string().is_empty());
    }
}
