//! Short runs of the load commands against a real broker and a sink. Only what they say about correctness counts.

mod harness;

use harness::{broker, free_port, run_well, sink};

#[test]
fn a_sink_takes_everything_and_keeps_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let sink = sink(dir.path(), 3);
    let address = sink.address();
    for load in [
        "produce --batch-size 1024 --connections 8",
        "produce --batch-size 1048576 --acks 1",
    ] {
        let line = format!("{load} --bootstrap {address} --duration 0.5 --warm-up 0.1");
        let said = run_well(&line);
        assert!(said.contains("no errors"), "{said}");
    }
}

#[test]
fn what_is_produced_can_be_fetched() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path(), free_port());
    let address = broker.address();
    let json = dir.path().join("result.json");
    let pid = broker.pid();
    let common = format!(
        "--bootstrap {address} --topic t --partitions 4 --connections 4 --duration 0.5 --warm-up 0.1 --pid {pid} --json {}",
        json.display()
    );
    for load in ["produce --batch-size 4096 --codec lz4", "fetch"] {
        run_well(&format!("{load} {common}"));
        let result: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
        assert!(result["records"].as_u64().unwrap() > 0, "{result}");
        assert!(result["broker"]["resident_bytes"].as_u64().unwrap() > 0);
    }
}
