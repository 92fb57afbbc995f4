//! Where the broker listens, and what it tells clients to connect to.

mod harness;

use std::net::{TcpListener, TcpStream};
use std::process::Command;

use harness::node::{Node, refused};
use harness::wire::Wire;
use harness::{Process, clean_environment, free_port};
use millstream_protocol::messages::metadata::{MetadataRequest, MetadataResponse};

/// The binary with nothing of whoever runs the tests.
fn millstream() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    clean_environment(&mut command);
    command
}

fn has_ipv6() -> bool {
    TcpListener::bind("[::1]:0").is_ok()
}

/// What the broker at `address` tells clients to connect to.
fn told(address: &str) -> (String, i32) {
    let mut wire = Wire::over(TcpStream::connect(address).expect("it listens"));
    let response: MetadataResponse = wire.ask(9, &MetadataRequest::default());
    let broker = &response.brokers[0];
    (broker.host.to_string(), broker.port)
}

#[test]
fn an_empty_host_is_every_address_of_both_kinds() {
    let mut node = Node::new(&[]);
    let port = node.port;
    node.sets = vec![format!("listeners=PLAINTEXT://:{port}")];
    node.start();
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a machine has a name");
    let expected = (name.trim().to_owned(), i32::from(port));
    assert_eq!(told(&format!("127.0.0.1:{port}")), expected);
    assert_eq!(told(&format!("127.0.0.2:{port}")), expected);
    if has_ipv6() {
        assert_eq!(told(&format!("[::1]:{port}")), expected);
    }
    // Also one of both kinds is enough to be in the way.
    let mut second = Node::new(&[]);
    second.sets = vec![format!("listeners=PLAINTEXT://:{port}")];
    refused(second.command(), &["cannot listen on", "listeners="]);
}

#[test]
fn localhost_is_both_kinds_and_nothing_else() {
    let mut node = Node::new(&[]);
    let port = node.port;
    node.sets = vec![format!("listeners=PLAINTEXT://localhost:{port}")];
    node.start();
    assert_eq!(
        told(&format!("127.0.0.1:{port}")),
        ("localhost".to_owned(), i32::from(port))
    );
    if has_ipv6() {
        assert_eq!(told(&format!("[::1]:{port}")).0, "localhost");
    }
    assert!(
        TcpStream::connect(("127.0.0.2", port)).is_err(),
        "nobody else is let in"
    );
}

#[test]
fn each_listener_advertises_its_own() {
    let (inside, outside) = (free_port(), free_port());
    let mut node = Node::new(&[]);
    node.port = inside;
    node.sets = vec![
        format!("listeners=IN://127.0.0.1:{inside},OUT://127.0.0.1:{outside}"),
        "listener.security.protocol.map=IN:PLAINTEXT,OUT:PLAINTEXT".to_owned(),
        "inter.broker.listener.name=IN".to_owned(),
        "advertised.listeners=IN://in.example:1234,OUT://out.example:4321".to_owned(),
    ];
    node.start();
    assert_eq!(
        told(&format!("127.0.0.1:{inside}")),
        ("in.example".to_owned(), 1234)
    );
    assert_eq!(
        told(&format!("127.0.0.1:{outside}")),
        ("out.example".to_owned(), 4321)
    );
}

#[test]
fn port_0_is_whatever_is_free() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut command = millstream();
    command.args([
        "--set",
        "listeners=PLAINTEXT://localhost:0",
        "--set",
        "journal.file.bytes=4194304",
    ]);
    let log = dir.path().join("log");
    let out = std::fs::File::create(&log).expect("it can be written");
    let spawned = command.current_dir(dir.path()).stdout(out).spawn();
    let mut child = spawned.expect("the binary was built by cargo");
    let mut port = None;
    while port.is_none() {
        assert!(child.try_wait().expect("ours").is_none(), "it ended");
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        port = said
            .split_once("--bootstrap-server localhost:")
            .and_then(|(_, rest)| rest.split_once(' '))
            .map(|(port, _)| port.parse::<u16>().expect("a port"));
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let port = port.expect("it was found");
    assert_ne!(port, 0);
    assert_eq!(
        told(&format!("127.0.0.1:{port}")),
        ("localhost".to_owned(), i32::from(port))
    );
    if has_ipv6() {
        assert_eq!(told(&format!("[::1]:{port}")).1, i32::from(port));
    }
    child.kill().expect("it still runs");
    child.wait().expect("a killed process ends");
}

/// The controller's listener is looked at and left closed, which is said once.
#[test]
fn the_environment_of_kafkas_container_opens_what_it_should() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (port, controller) = (free_port(), free_port());
    let mut command = millstream();
    command
        .env("KAFKA_CFG_NODE_ID", "1")
        .env("KAFKA_CFG_PROCESS_ROLES", "controller,broker")
        .env(
            "KAFKA_CFG_LISTENERS",
            format!("PLAINTEXT://:{port},CONTROLLER://:{controller}"),
        )
        .env(
            "KAFKA_CFG_ADVERTISED_LISTENERS",
            format!("PLAINTEXT://localhost:{port}"),
        )
        .env(
            "KAFKA_CFG_CONTROLLER_QUORUM_VOTERS",
            format!("1@localhost:{controller}"),
        )
        .env("KAFKA_CFG_CONTROLLER_LISTENER_NAMES", "CONTROLLER");
    let mut process = Process::start(command, dir.path(), port);
    assert_eq!(
        told(&format!("127.0.0.1:{port}")),
        ("localhost".to_owned(), i32::from(port))
    );
    assert!(
        TcpStream::connect(("127.0.0.1", controller)).is_err(),
        "it is not opened"
    );
    assert_eq!(process.stop(), Some(0), "{}", process.log());
    let said = std::fs::read_to_string(dir.path().join("log")).expect("it was written");
    assert_eq!(
        said.lines()
            .filter(|line| line.contains("CONTROLLER"))
            .count(),
        1,
        "{said}"
    );
    let mut wrong = millstream();
    wrong
        .env("KAFKA_CFG_PROCESS_ROLES", "controller,broker")
        .env("KAFKA_CFG_LISTENERS", format!("PLAINTEXT://:{port}"))
        .env("KAFKA_CFG_CONTROLLER_LISTENER_NAMES", "CONTROLLER")
        .current_dir(dir.path());
    refused(wrong, &["CONTROLLER", "is not one of listeners"]);
}
