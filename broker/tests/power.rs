//! Real file systems that are shut down, and a disk that loses what was not flushed: a few rounds of the scripts in
//! `power/`, whose README says what they do. Where the machine cannot (no root, no loop devices, no FUSE, programs that are not
//! installed) the test says so and passes: it needs more of a machine than a build may ask for.

mod harness;

use std::path::Path;

use harness::runtime;

/// What the scripts end with where they cannot run.
const SKIPPED: i32 = 77;

fn script(file: &str, arguments: &[&str]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/power")
        .join(file);
    let mut python = runtime::python_program(&path);
    python.args(["--broker", env!("CARGO_BIN_EXE_millstream")]);
    python.args(arguments);
    let output = runtime::finish(&mut python);
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{file}: {said}");
    if output.status.code() != Some(SKIPPED) {
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{file}:\n{said}{errors}");
    }
}

#[test]
fn a_file_system_that_is_shut_down_has_all_that_was_acknowledged() {
    script("shutdown.py", &["--rounds", "3"]);
}

#[test]
fn a_disk_without_what_was_not_flushed_has_all_that_was_acknowledged() {
    script("power_loss.py", &["--seconds", "4", "--cuts", "4"]);
}
