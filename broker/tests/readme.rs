//! The programs of README.md, as they are printed there.

mod harness;

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use harness::{Broker, runtime};
use tempfile::TempPath;

const README: &str = include_str!("../../README.md");
const HELLO: &str = "Hello Kafka!";

/// The one block of a language, with the address of this broker, as a file where kafkajs is.
fn printed(language: &str, extension: &str, broker: &Broker) -> TempPath {
    let fence = format!("```{language}\n");
    let mut blocks = README.split(&fence).skip(1);
    let (block, _) = blocks
        .next()
        .and_then(|rest| rest.split_once("```"))
        .expect("README has a block of this language");
    assert!(blocks.next().is_none(), "more than one block of {language}");
    assert!(block.contains("'localhost:9092'"), "no address: {block}");
    let mut file = tempfile::Builder::new()
        .prefix("readme-")
        .suffix(extension)
        .tempfile_in(runtime::node_home())
        .expect("target can be written");
    file.write_all(
        block
            .replace("localhost:9092", &broker.bootstrap())
            .as_bytes(),
    )
    .expect("target can be written");
    file.into_temp_path()
}

/// The first program writes a record and ends; the second writes one and reads both, and would go on for ever.
#[test]
fn its_programs_run_as_printed() {
    let broker = Broker::start();
    let program = printed("js", ".mjs", &broker);
    runtime::run(runtime::node_program(&program));

    let program = printed("python", ".py", &broker);
    let mut consumer = runtime::python_program(&program)
        .stdout(Stdio::piped())
        .spawn()
        .expect("python runs");
    let output = BufReader::new(consumer.stdout.take().expect("a pipe"));
    let read = output
        .lines()
        .map(|line| line.expect("its output can be read"))
        .take(2)
        .collect::<Vec<_>>();
    consumer.kill().expect("a child can be killed");
    consumer.wait().expect("a child ends");
    assert_eq!(read, [format!("b'{HELLO}'"), format!("b'{HELLO}'")]);
}
