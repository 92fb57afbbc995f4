//! Configuration as users have it, at the door of the real binary: environments of Kafka's images, files, flags, and what is
//! said about wrong ones.

mod harness;

use std::process::{Command, Output};

use harness::runtime;

/// The binary without any variable of Kafka's in its environment.
fn millstream() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    harness::clean_environment(&mut command);
    command
}

/// One line that says all of it, and exit code 2.
#[track_caller]
fn refused(output: &Output, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    let last = text.lines().last().unwrap_or_default();
    for word in words {
        assert!(last.contains(word), "{word:?} is not in:\n{text}");
    }
}

#[test]
fn wrong_settings_end_with_code_2_and_one_line_and_leave_nothing_behind() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let at = |sets: &[&str]| {
        let mut command = millstream();
        for set in sets {
            command.args(["--set", set]);
        }
        runtime::finish(command.current_dir(dir.path()))
    };
    refused(
        &at(&["num.partition=3"]),
        &["--set num.partition=3", "num.partitions"],
    );
    refused(
        &at(&["num.partitions=x"]),
        &["Invalid value x for configuration num.partitions"],
    );
    refused(
        &at(&["listeners=SASL_SSL://:0"]),
        &["TLS and SASL are not built yet"],
    );
    let file = dir.path().join("server.properties");
    std::fs::write(&file, "# mine\nlog.retention.our=1\n").expect("it can be written");
    let output = runtime::finish(millstream().arg(&file).current_dir(dir.path()));
    refused(&output, &["server.properties:2", "log.retention.hours"]);
    let output = runtime::finish(
        millstream()
            .env("KAFKA_CFG_NODE_ID", "one")
            .current_dir(dir.path()),
    );
    refused(&output, &["KAFKA_CFG_NODE_ID", "Not a number of type INT"]);
    std::fs::remove_file(file).expect("it is there");
    assert_eq!(
        std::fs::read_dir(dir.path()).expect("it is there").count(),
        0,
        "nothing is left in the directory"
    );
}

#[test]
fn version_and_the_reference_of_all_settings() {
    let mut command = millstream();
    command.arg("--version");
    assert_eq!(
        runtime::run(command),
        concat!("millstream ", env!("CARGO_PKG_VERSION"), "\n")
    );
    let mut command = millstream();
    command.arg("knobs");
    assert!(runtime::run(command).contains("| `log.flush.interval.messages` | long | `1` |"));
}

/// As a user has it for Kafka's container; only the ports are others, since tests run beside each other.
#[test]
fn the_environment_of_kafkas_container() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let port = harness::free_port();
    let mut command = millstream();
    command
        .env("KAFKA_CFG_NODE_ID", "1")
        .env("KAFKA_CFG_PROCESS_ROLES", "controller,broker")
        .env(
            "KAFKA_CFG_LISTENERS",
            format!("PLAINTEXT://:{port},CONTROLLER://:9093"),
        )
        .env(
            "KAFKA_CFG_ADVERTISED_LISTENERS",
            format!("PLAINTEXT://localhost:{port}"),
        )
        .env("KAFKA_CFG_CONTROLLER_QUORUM_VOTERS", "1@localhost:9093")
        .env("KAFKA_CFG_CONTROLLER_LISTENER_NAMES", "CONTROLLER")
        // What Kubernetes adds for a service called kafka.
        .env("KAFKA_PORT", "tcp://10.0.0.1:9092")
        .env("KAFKA_SERVICE_HOST", "10.0.0.1");
    let mut process = harness::Process::start(command, dir.path(), port);
    assert!(
        dir.path().join("millstream-data").is_dir(),
        "data is in the working directory"
    );
    assert_eq!(process.stop(), Some(0), "{}", process.log());
    assert!(
        process.log().contains("KAFKA_PORT, KAFKA_SERVICE_HOST"),
        "{}",
        process.log()
    );
}

/// The image's entry point as a plain process with the image's environment.
#[test]
fn the_environment_of_our_own_image() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let port = harness::free_port();
    let data = dir.path().join("data");
    let dockerfile = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/Dockerfile");
    let dockerfile = std::fs::read_to_string(dockerfile).expect("deploy/Dockerfile is there");
    let (_, variables) = dockerfile.split_once("\nENV ").expect("it sets variables");
    let (variables, _) = variables
        .split_once("\n\n")
        .expect("and then something else");
    let mut command = millstream();
    let mut count = 0;
    for variable in variables.split_whitespace().filter(|word| *word != "\\") {
        let (name, value) = variable.split_once('=').expect("NAME=value");
        let value = value.replace("9092", &port.to_string());
        command.env(
            name,
            value.replace("/var/lib/millstream", &data.display().to_string()),
        );
        count += 1;
    }
    assert_eq!(count, 3, "all of them were found:\n{variables}");
    let mut process = harness::Process::start(command, dir.path(), port);
    assert!(data.is_dir());
    assert_eq!(process.stop(), Some(0), "{}", process.log());
}
