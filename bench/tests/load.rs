//! Short runs of the load commands against a real broker and a sink. Only what they say about correctness counts.

mod harness;

use harness::{broker, free_port, run, run_well, said, sink};

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
    for load in [
        "produce --batch-size 4096 --codec lz4",
        "fetch",
        "fetch --rate 200",
    ] {
        run_well(&format!("{load} {common}"));
        let result: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
        assert!(result["records"].as_u64().unwrap() > 0, "{result}");
        assert!(result["broker"]["resident_bytes"].as_u64().unwrap() > 0);
        // What is due in half a second, whatever the broker can do.
        let requests = result["requests"].as_u64().unwrap();
        assert!(
            !load.contains("--rate") || (95..=105).contains(&requests),
            "{result}"
        );
    }
}

#[test]
fn records_arrive_from_end_to_end_in_every_group() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path(), free_port());
    let json = dir.path().join("result.json");
    run_well(&format!(
        "end-to-end --bootstrap {} --topic e --partitions 3 --connections 2 --record-size 100 --batch-size 1000 --rate 2000 \
         --idempotence --groups 2 --readers 2 --catch-up 1 --commit-interval-ms 100 --duration 1 --warm-up 0.5 --json {}",
        broker.address(),
        json.display()
    ));
    let result: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let (read, produced) = (&result, &result["others"][0]);
    assert_eq!(
        (read["part"].as_str(), produced["part"].as_str()),
        (Some("end-to-end"), Some("produce"))
    );
    // Both count by when a record should have left, so each group has got just what was produced.
    assert_eq!(
        read["records"].as_u64(),
        produced["records"].as_u64().map(|records| 2 * records)
    );
    assert!(
        result["others"][1]["records"].as_u64().unwrap() > 0,
        "{result}"
    );
}

#[test]
fn a_swarm_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path(), free_port());
    let said = run_well(&format!(
        "swarm --bootstrap {} --connections 200 --active 50 --rate 500 --batch-size 300 --record-size 200 --partitions 5 \
         --duration 1 --warm-up 0.5 --pid {}",
        broker.address(),
        broker.pid()
    ));
    assert!(said.contains("200 connections in"), "{said}");
}

#[test]
fn a_rate_that_cannot_be_kept_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let sink = sink(dir.path(), 1);
    let address = sink.address();
    // A thousand batches of a megabyte each millisecond: no machine does that.
    let common =
        format!("produce --bootstrap {address} --batch-size 1048576 --duration 1 --warm-up 0");
    let said = said(&run(&format!("{common} --rate 1000000000")));
    assert!(said.contains("not kept up"), "{said}");
    let said = run_well(&format!("{common} --rate 1100"));
    assert!(!said.contains("not kept up"), "{said}");
}

#[test]
fn a_machine_has_a_roofline() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("roofline.json");
    let path = dir.path().display();
    let said = run_well(&format!(
        "roofline --dir {path} --file-bytes 67108864 --seconds 0.1 --json {}",
        json.display()
    ));
    assert!(said.contains("flush under 1 MiB writes"), "{said}");
    let sink = sink(dir.path(), 1);
    let said = run_well(&format!(
        "produce --bootstrap {} --duration 0.2 --warm-up 0 --roofline {}",
        sink.address(),
        json.display()
    ));
    assert!(said.contains("% of the disks' flushed writes"), "{said}");
    assert!(!dir.path().join("roofline.tmp").exists());
}

#[test]
fn a_workload_of_the_openmessaging_benchmark_runs_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path(), free_port());
    let file = dir.path().join("w.yaml");
    let text = "name: small\ntopics: 2\npartitionsPerTopic: 2\nmessageSize: 100\npayloadFile: payload/none.data\n\
        subscriptionsPerTopic: 2\nconsumerPerSubscription: 1\nproducersPerTopic: 1\nproducerRate: 1000\n\
        consumerBacklogSizeGB: 0\ntestDurationMinutes: 1\n";
    std::fs::write(&file, text).unwrap();
    let said = run_well(&format!(
        "workload {} --bootstrap {} --duration 1 --warm-up 0.3",
        file.display(),
        broker.address()
    ));
    assert!(
        said.contains("small") && said.contains("end-to-end:"),
        "{said}"
    );
}

#[test]
fn a_broker_without_transactions_is_named_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path(), free_port());
    let output = run(&format!(
        "produce --bootstrap {} --transactional-id t",
        broker.address()
    ));
    let said = said(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("has no transactions") && said.lines().count() == 1,
        "{said}"
    );
}
