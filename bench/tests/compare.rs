//! A short comparison of the real broker with a sink: everything but the figures.

mod harness;

use harness::{broker_program, run_well, sink};

#[test]
fn a_comparison_ends_in_a_report() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let sink = sink(dir.path(), 16);
    let (report, json) = (dir.path().join("report.html"), dir.path().join("all.json"));
    let said = run_well(&format!(
        "compare --peer sink --peer-address {} --peer-pid {} --millstream {} --data {} --report {} --json {} \
         --workloads W3,W12,W13 --rounds 2 --duration 0.3 --warm-up 0.1 --warm-up-seconds 0.2 --load-cpus 0 \
         --restart-partitions 3 --idle-connections 20",
        sink.address(),
        sink.pid(),
        broker_program().display(),
        data.display(),
        report.display(),
        json.display(),
    ));
    assert!(said.contains("restart with 3 partitions"), "{said}");
    let all: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let runs = &all["workloads"][0]["runs"];
    for system in 0..2 {
        for round in 0..2 {
            let run = &runs[system][round]["Done"];
            assert!(run["requests"].as_u64().unwrap() > 0, "{run}");
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
