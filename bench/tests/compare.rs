//! A short comparison of the real broker with another one by its address: everything but the figures.

mod harness;

use harness::{broker, broker_program, free_port, run_well};

#[test]
fn a_comparison_ends_in_a_report() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("compared");
    std::fs::create_dir(&data).unwrap();
    let peer = broker(dir.path(), free_port());
    let (report, json) = (dir.path().join("report.html"), dir.path().join("all.json"));
    let said = run_well(&format!(
        "compare --peer another --peer-address {} --peer-pid {} --millstream {} --data {} --report {} --json {} \
         --workloads W1,W3,W9,W11,W12,W13 --rounds 2 --duration 1 --warm-up 0.2 --warm-up-seconds 0.2 --load-cpus 0 \
         --broker-cpus 0 --more-broker-cpus 0-{} --restart-partitions 3 --idle-connections 20 --backlog-gib 0.01 --device-mib 64",
        peer.address(),
        peer.pid(),
        broker_program().display(),
        data.display(),
        report.display(),
        json.display(),
        std::thread::available_parallelism().unwrap().get() - 1,
    ));
    assert!(said.contains("restart with 3 partitions"), "{said}");
    let all: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let workloads = all["workloads"].as_array().unwrap();
    // Both, and beside them the device (W1, W9) or a sink (W3). In W11 two of ours.
    for (workload, rows) in workloads.iter().zip([3, 3, 3, 2]) {
        assert_eq!(workload["rows"].as_array().unwrap().len(), rows, "{said}");
        for row in workload["rows"].as_array().unwrap() {
            for round in 0..2 {
                let run = &row["runs"][round]["Done"];
                assert!(run["requests"].as_u64().unwrap() > 0, "{run}");
            }
        }
    }
    assert!(all["systems"][0]["restart_seconds"].as_f64().unwrap() > 0.0);
    let page = std::fs::read_to_string(report).unwrap();
    assert!(
        page.contains("<svg") && page.contains("99.9") && !page.contains("http://127"),
        "{page}"
    );
    // Whatever the brokers wrote is gone.
    assert_eq!(std::fs::read_dir(data).unwrap().count(), 0);
}
