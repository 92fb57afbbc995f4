//! Apache Kafka as its own start script runs it, with the settings of the OpenMessaging Benchmark's deployment.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Fault;

/// `bin/kafka-server-start.sh` and `bin/kafka-run-class.sh`: heap, collector and flags.
const JVM: [&str; 8] = [
    "-Xmx1G",
    "-Xms1G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true",
];
const LOG: &str = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error";
/// Any id of the right form.
const CLUSTER_ID: &str = "bWlsbHN0cmVhbS1iZW5jaA";

/// Where the jars are: of a distribution, a directory, or fetched by Maven into the user's cache.
pub fn jars(home: Option<&Path>, version: &str) -> Result<PathBuf, Fault> {
    if let Some(home) = home {
        let libs = home.join("libs");
        return Ok(if libs.is_dir() { libs } else { home.to_owned() });
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let dir = cache
        .ok_or("neither XDG_CACHE_HOME nor HOME is set: use --kafka-home")?
        .join("millstream-bench")
        .join(format!("kafka-{version}"));
    let complete = dir.join("complete");
    if !complete.exists() {
        fetch(&dir, version)?;
        std::fs::write(&complete, "")?;
    }
    Ok(dir.join("libs"))
}

fn fetch(dir: &Path, version: &str) -> Result<(), Fault> {
    eprintln!(
        "fetching Apache Kafka {version} from Maven Central into {}",
        dir.display()
    );
    std::fs::create_dir_all(dir)?;
    let pom = dir.join("pom.xml");
    std::fs::write(&pom, pom_of(version))?;
    let status = Command::new("mvn")
        .args(["-q", "-B", "-f"])
        .arg(&pom)
        .arg("dependency:copy-dependencies")
        .arg(format!("-DoutputDirectory={}", dir.join("libs").display()))
        .status()
        .map_err(|error| format!("mvn: {error}; install Maven, or use --kafka-home"))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("mvn ended with {status}").into()),
    }
}

fn pom_of(version: &str) -> String {
    format!(
        r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>peer</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{version}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"#
    )
}

/// One combined node. `flushed`: every batch before it is acknowledged, as Millstream does.
pub fn properties(port: u16, controller_port: u16, dir: &Path, flushed: bool) -> String {
    let mut text = format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
message.max.bytes=10485760
replica.fetch.max.bytes=10485760
num.replica.fetchers=8
num.network.threads=8
num.io.threads=8
",
        dir.join("data").display()
    );
    if flushed {
        text += "log.flush.interval.messages=1\n";
    }
    text
}

/// Formats the data directory.
pub fn format(jars: &Path, properties: &Path) -> Result<(), Fault> {
    let output = java(jars)
        .args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"])
        .arg(properties)
        .output()
        .map_err(|error| format!("java: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("formatting: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

/// The words that run the server.
pub fn command(jars: &Path, properties: &Path) -> Vec<String> {
    let mut words = vec!["java".to_owned()];
    words.extend(JVM.map(str::to_owned));
    words.extend([
        LOG.to_owned(),
        "-cp".to_owned(),
        format!("{}/*", jars.display()),
        "kafka.Kafka".to_owned(),
        properties.display().to_string(),
    ]);
    words
}

fn java(jars: &Path) -> Command {
    let mut command = Command::new("java");
    command
        .args([LOG, "-cp"])
        .arg(format!("{}/*", jars.display()));
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_differ_in_one_line() {
        let dir = Path::new("/d");
        let (fast, safe) = (properties(1, 2, dir, false), properties(1, 2, dir, true));
        assert_eq!(
            safe.strip_prefix(&fast),
            Some("log.flush.interval.messages=1\n")
        );
    }
}
