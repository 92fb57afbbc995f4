//! A start that cannot be: one clear line, exit code 2, and nothing changed on disk. And what a good start says.

mod harness;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use harness::clean_environment;
use harness::node::{Node, copy, listing, refused};
use harness::wire::{Wire, batch};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

const METADATA_LOG: &str = ".millstream-metadata-log";

/// A node that was run and stopped cleanly, with a few topics.
fn stopped() -> Node {
    let mut node = Node::started(&["log.dir.lock.wait.ms=50"]);
    let mut wire = node.connect();
    for topic in ["a", "b", "c"] {
        wire.create(topic, 2);
    }
    assert_eq!(wire.produce("a", 0, batch(&[b"kept"])).error_code, 0);
    assert_eq!(node.stop(), Some(0), "{}", node.said());
    node
}

/// [`refused`], and the data directory is what it was.
#[track_caller]
fn refused_unchanged(node: &Node, command: Command, words: &[&str]) {
    let before = listing(&node.data());
    refused(command, words);
    assert!(
        listing(&node.data()) == before,
        "nothing may change on disk"
    );
}

/// `command` under another program, as `prlimit --nofile=512`.
fn under(program: &[&str], command: &Command) -> Command {
    let mut whole = Command::new(program[0]);
    clean_environment(&mut whole);
    whole
        .args(&program[1..])
        .arg(command.get_program())
        .args(command.get_args());
    if let Some(dir) = command.get_current_dir() {
        whole.current_dir(dir);
    }
    whole
}

#[test]
fn a_start_says_all_that_matters() {
    let mut node = Node::started(&["log.flush.interval.messages=100"]);
    let said = node.said();
    let port = node.port;
    for line in [
        format!("millstream {} is ready", env!("CARGO_PKG_VERSION")),
        format!("  listeners   PLAINTEXT://127.0.0.1:{port} (as 127.0.0.1:{port})"),
        format!("  data        {}", node.data().display()),
        "  cores       ".to_owned(),
        "  durability  WEAKER by log.flush.interval.messages: an acknowledged record is written"
            .to_owned(),
        format!(
            "  try         kafka-topics.sh --bootstrap-server 127.0.0.1:{port} --create --topic hello"
        ),
    ] {
        assert!(said.contains(&line), "{line:?} is not in:\n{said}");
    }
    assert_eq!(node.stop(), Some(0), "{}", node.said());
}

#[test]
fn a_second_process_on_the_same_directory_is_refused() {
    // That long nobody waits for one that lives.
    let node = Node::started(&["log.dir.lock.wait.ms=3600000"]);
    let mut second = Node::new(&["log.dir.lock.wait.ms=3600000"]);
    second
        .sets
        .push(format!("log.dirs={}", node.data().display()));
    refused(
        second.command(),
        &["is in use by another process", "log.dirs"],
    );
    // The first one has not noticed.
    let mut wire = node.connect();
    wire.create("after", 1);
    assert_eq!(wire.produce("after", 0, batch(&[b"x"])).error_code, 0);
}

/// The first shares its port with whoever asks for the same, as far as the kernel is concerned.
#[test]
fn a_port_in_use_is_refused_also_by_a_broker_of_the_same_user() {
    let node = Node::started(&[]);
    let mut second = Node::new(&[]);
    second.port = node.port;
    refused(
        second.command(),
        &["cannot listen on 127.0.0.1", "listeners="],
    );
    assert!(
        !second.data().exists(),
        "its data directory was not even made"
    );
}

#[test]
fn a_directory_that_cannot_be_written_is_refused() {
    let mut node = Node::new(&[]);
    fs::write(node.data(), "a file").expect("it can be written");
    refused(node.command(), &["data directory", "log.dirs"]);
    assert_eq!(fs::read(node.data()).expect("it is still there"), b"a file");
    // Root may write everywhere: another user may not.
    node = stopped();
    if fs::metadata("/proc/self")
        .map(|own| std::os::unix::fs::MetadataExt::uid(&own))
        .ok()
        == Some(0)
    {
        let binary = node.dir.path().join("millstream");
        fs::copy(env!("CARGO_BIN_EXE_millstream"), &binary).expect("the binary can be copied");
        use std::os::unix::fs::PermissionsExt;
        let open = fs::set_permissions(node.dir.path(), fs::Permissions::from_mode(0o755));
        open.expect("the directory is ours");
        let mut command = Command::new(&binary);
        command
            .args(node.command().get_args())
            .current_dir(node.dir.path());
        let nobody = [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
        ];
        refused_unchanged(
            &node,
            under(&nobody, &command),
            &["data directory", "Permission denied"],
        );
    }
}

#[test]
fn too_few_open_files_are_refused() {
    let node = stopped();
    let command = under(&["prlimit", "--nofile=512:512"], &node.command());
    refused_unchanged(&node, command, &["only 512 open files", "ulimit -n"]);
    // The soft limit alone is raised.
    let mut node = Node::new(&[]);
    let command = under(&["prlimit", "--nofile=512:4096"], &node.command());
    let mut process = harness::Process::start(command, node.dir.path(), node.port);
    assert_eq!(process.stop(), Some(0), "{}", process.log());
    node.sets.clear();
}

#[test]
fn damaged_metadata_is_refused() {
    let node = stopped();
    let path = node.data().join(METADATA_LOG);
    let good = fs::read(&path).expect("the log is there");
    let mut bad = good.clone();
    // Inside the payload of the first entry, which later ones say was flushed.
    bad[40] ^= 1;
    fs::write(&path, &bad).expect("it can be written");
    refused_unchanged(&node, node.command(), &[METADATA_LOG, "damaged at byte 0"]);
    fs::write(&path, &good).expect("it can be written");

    let path = node.data().join("meta.properties");
    let good = fs::read_to_string(&path).expect("it is there");
    fs::write(&path, good.replace("version=1", "version=9")).expect("it can be written");
    refused_unchanged(
        &node,
        node.command(),
        &["meta.properties is corrupt", "version"],
    );
    fs::write(&path, "\u{0}\u{1}garbage").expect("it can be written");
    refused_unchanged(&node, node.command(), &["meta.properties is corrupt"]);
    fs::write(&path, &good).expect("it can be written");

    let mut other = node.command();
    other.args(["--set", "node.id=7"]);
    refused_unchanged(&node, other, &["belongs to node 1", "node.id is 7"]);
}

/// Without metadata every log would look like one that belongs to nobody.
#[test]
fn lost_metadata_is_refused_and_data_directories_may_change_places() {
    let mut node = Node::new(&[]);
    let (first, second) = (
        node.dir.path().join("first"),
        node.dir.path().join("second"),
    );
    let both = |a: &std::path::Path, b: &std::path::Path| {
        format!("log.dirs={},{}", a.display(), b.display())
    };
    node.sets = vec![both(&first, &second)];
    node.start();
    let mut wire = node.connect();
    wire.create("spread", 4);
    for partition in 0..4 {
        assert_eq!(
            wire.produce("spread", partition, batch(&[b"v"])).error_code,
            0
        );
    }
    assert_eq!(node.stop(), Some(0), "{}", node.said());
    node.sets = vec![both(&second, &first)];
    node.start();
    let mut wire = node.connect();
    for partition in 0..4 {
        assert_eq!(wire.values("spread", partition, 0), [(0, b"v".to_vec())]);
    }
    assert_eq!(node.stop(), Some(0), "{}", node.said());
    let lost = node.dir.path().join("lost");
    fs::rename(first.join(METADATA_LOG), &lost).expect("it is there");
    refused(
        node.command(),
        &["no data directory has the metadata", "log.dirs"],
    );
    fs::rename(&lost, first.join(METADATA_LOG)).expect("it is there");
    node.start();
    assert_eq!(node.connect().values("spread", 1, 0), [(0, b"v".to_vec())]);
}

/// Docker's default profile does this. The test runs itself again as the process that installs the filter and becomes
/// the broker: a filter cannot be taken off.
#[test]
fn io_uring_denied_by_seccomp_is_explained() {
    const BROKER: &str = "MILLSTREAM_TEST_FILTERED_BROKER";
    if let Ok(arguments) = std::env::var(BROKER) {
        let denied = [
            libc::SYS_io_uring_setup,
            libc::SYS_io_uring_enter,
            libc::SYS_io_uring_register,
        ];
        let rules: BTreeMap<i64, Vec<_>> =
            denied.into_iter().map(|call| (call, Vec::new())).collect();
        let arch = std::env::consts::ARCH
            .try_into()
            .expect("an architecture with seccomp");
        let refuse = SeccompAction::Errno(libc::EPERM as u32);
        let filter =
            SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).expect("a filter");
        let program: BpfProgram = filter.try_into().expect("a program");
        seccompiler::apply_filter(&program).expect("filters are allowed to anyone");
        let mut broker = Command::new(env!("CARGO_BIN_EXE_millstream"));
        panic!(
            "exec: {}",
            broker.args(arguments.split('\n')).env_remove(BROKER).exec()
        );
    }
    let node = stopped();
    let broker = node.command();
    let arguments: Vec<&str> = broker
        .get_args()
        .map(|a| a.to_str().expect("text"))
        .collect();
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    clean_environment(&mut command);
    command.args([
        "--exact",
        "io_uring_denied_by_seccomp_is_explained",
        "--nocapture",
    ]);
    command
        .env(BROKER, arguments.join("\n"))
        .current_dir(node.dir.path());
    refused_unchanged(
        &node,
        command,
        &["a seccomp filter denies io_uring_setup", "Fix:", "seccomp="],
    );
}

#[test]
fn too_little_lockable_memory_is_explained() {
    let node = stopped();
    let limited = [
        "prlimit",
        "--memlock=131072:131072",
        "setpriv",
        "--bounding-set=-ipc_lock",
        "--inh-caps=-ipc_lock",
    ];
    let command = under(&limited, &node.command());
    refused_unchanged(
        &node,
        command,
        &["RLIMIT_MEMLOCK is 131072 bytes", "ulimit -l"],
    );
    // Enough for one core, not for all of them.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if cores > 1 {
        let limited = [
            "prlimit",
            "--memlock=655360:655360",
            limited[2],
            limited[3],
            limited[4],
        ];
        let command = under(&limited, &node.command());
        let words = [
            "RLIMIT_MEMLOCK is 655360 bytes",
            &format!("for {cores} cores"),
        ];
        refused_unchanged(&node, command, &words);
    }
}

/// Whoever started the broker reads its first line and goes, as `millstream | head -1` does.
#[test]
fn closed_output_ends_nothing() {
    let node = Node::new(&[]);
    let mut command = node.command();
    let spawned = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = spawned.expect("the binary was built by cargo");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    lines.read_line(&mut line).expect("the broker writes text");
    assert!(line.contains("is ready"), "{line}");
    drop(lines);
    drop(child.stderr.take());
    // Each is worth a warning, which nobody can be told.
    for _ in 0..3 {
        let mut wire = node.connect();
        wire.raw(b"GET / HTTP/1.1\r\n\r\n");
        assert!(wire.is_closed());
    }
    let mut wire = Wire::connect(node.port);
    wire.create("still", 1);
    assert_eq!(wire.produce("still", 0, batch(&[b"here"])).error_code, 0);
    child.kill().expect("it still runs");
    child.wait().expect("a killed process ends");
}

/// What the start of a directory needs is only what is in it.
#[test]
fn a_copied_directory_starts() {
    let node = stopped();
    let mut twin = Node::new(&[]);
    copy(&node.data(), &twin.data());
    twin.start();
    assert_eq!(twin.connect().values("a", 0, 0), [(0, b"kept".to_vec())]);
    assert_eq!(twin.stop(), Some(0), "{}", twin.said());
}

/// A pipe for stdout whose reader is gone before the broker has anything to say.
#[test]
fn the_reference_may_be_cut_short() {
    let mut knobs = Command::new(env!("CARGO_BIN_EXE_millstream"));
    let spawned = knobs
        .arg("knobs")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = spawned.expect("the binary was built by cargo");
    drop(child.stdout.take());
    let mut errors = String::new();
    child
        .stderr
        .take()
        .expect("it is piped")
        .read_to_string(&mut errors)
        .expect("text");
    assert_eq!(
        (child.wait().expect("it ends").code(), errors.as_str()),
        (Some(0), "")
    );
}
