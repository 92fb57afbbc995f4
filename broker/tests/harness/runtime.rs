//! The clients' runtimes. Each installs what it needs through its own package manager into `target/tmp/clients`,
//! once, and fails with one line when the runtime is missing.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Versions are fixed: a new client release must not turn a build red by itself.
const KAFKAJS: &[&str] = &["kafkajs@2.2.4", "kafkajs-snappy@1.1.0"];
const PYTHON: &[&str] = &[
    "kafka-python[lz4,snappy,zstd]==2.2.15",
    "confluent-kafka==2.11.1",
];

/// A Java class path.
pub struct Java {
    class_path: PathBuf,
}

impl Java {
    /// Kafka's clients and tools 4.3.1.
    pub fn current() -> Java {
        Java::with("java-4.3.1", "pom-current.xml")
    }

    /// Kafka's client 2.1.1, the oldest that Kafka 4 still serves (KIP-896).
    pub fn old() -> Java {
        Java::with("java-2.1.1", "pom-old.xml")
    }

    fn with(name: &str, pom: &str) -> Java {
        need("java", "a JDK 17 or newer (Debian: default-jdk-headless)");
        let class_path = install(name, |dir| {
            need("mvn", "Maven (Debian: maven)");
            let mut maven = Command::new("mvn");
            maven
                .args(["-q", "-B", "-f"])
                .arg(sources().join("java").join(pom));
            maven
                .arg("dependency:copy-dependencies")
                .arg(format!("-DoutputDirectory={}", dir.display()));
            // Maven writes below the pom otherwise.
            maven.arg(format!("-DbuildDirectory={}", dir.display()));
            run(maven);
        });
        Java { class_path }
    }

    /// A class of the class path, with a small heap and quick to start.
    pub fn class(&self, class: &str) -> Command {
        let mut java = self.java();
        java.arg(class);
        java
    }

    /// One of our programs, compiled by the launcher.
    pub fn program(&self, file: &str) -> Command {
        let mut java = self.java();
        java.arg(sources().join("java").join(file));
        java
    }

    fn java(&self) -> Command {
        let mut java = Command::new("java");
        java.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        java.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=error");
        java.arg("-cp").arg(self.class_path.join("*"));
        java
    }
}

/// One of our Node programs, with kafkajs.
pub fn node(file: &str) -> Command {
    node_program(&sources().join("node").join(file))
}

/// The same for a program anywhere; one that uses `import` has to lie in [`node_home`].
pub fn node_program(path: &Path) -> Command {
    let mut node = Command::new("node");
    node.env("NODE_PATH", node_home().join("node_modules"))
        .env("KAFKAJS_NO_PARTITIONER_WARNING", "1");
    node.arg(path);
    node
}

/// The directory that kafkajs is installed into: `import` looks nowhere else.
pub fn node_home() -> PathBuf {
    need("node", "Node.js 18 or newer (Debian: nodejs)");
    install("node", |dir| {
        need("npm", "npm (Debian: npm)");
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
            .arg(dir)
            .args(KAFKAJS);
        run(npm);
    })
}

/// One of our Python programs, with kafka-python and confluent-kafka (librdkafka).
pub fn python(file: &str) -> Command {
    python_program(&sources().join("python").join(file))
}

/// The same for a program anywhere.
pub fn python_program(path: &Path) -> Command {
    need("python3", "Python 3.9 or newer (Debian: python3)");
    let dir = install("python", |dir| {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv"]).arg(dir);
        run(venv);
        let mut pip = Command::new(dir.join("bin/pip"));
        pip.args(["install", "-q", "--disable-pip-version-check"])
            .args(PYTHON);
        run(pip);
    });
    let mut python = Command::new(dir.join("bin/python"));
    python.arg("-u").arg(path);
    python
}

/// Runs to the end and fails the test with everything that was written.
pub fn run(mut command: Command) -> String {
    let output = finish(&mut command);
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n{out}{err}",
        output.status
    );
    out.into_owned()
}

/// Runs to the end whatever the outcome: exit status and both streams.
pub fn finish(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"))
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

fn need(program: &str, what: &str) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    assert!(
        found,
        "the tests with real clients need {program}: install {what}"
    );
}

/// Fills a directory once; test binaries and threads beside this one wait for it.
fn install(name: &str, fill: impl FnOnce(&Path)) -> PathBuf {
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients");
    std::fs::create_dir_all(&all).expect("target can be written");
    let lock = File::create(all.join(format!("{name}.lock"))).expect("target can be written");
    lock.lock().expect("a file can be locked");
    let dir = all.join(name);
    let complete = all.join(format!("{name}.complete"));
    if !complete.exists() {
        // Left by an installation that was interrupted.
        if dir.exists() {
            std::fs::remove_dir_all(&dir).expect("target can be written");
        }
        std::fs::create_dir(&dir).expect("target can be written");
        fill(&dir);
        File::create(complete).expect("target can be written");
    }
    dir
}
