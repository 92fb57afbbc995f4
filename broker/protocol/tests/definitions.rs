//! Our declarations against Kafka's own: `common/message/*.json` in the jars of Kafka 4.3.1, which the test fetches from
//! the Maven registry into the target directory. Needs `mvn` and `unzip`. All differences are named at once.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use millstream_protocol::api;
use millstream_protocol::message::definition::{
    FieldDefinition, Kind, Preset, StructDefinition, Type, Versions,
};
use serde_json::Value;
use support::{AnyMessage, all};

const KAFKA: &str = "4.3.1";
const ARTIFACTS: [&str; 2] = ["kafka-clients", "kafka-group-coordinator"];

#[test]
fn declarations_are_kafkas() {
    let theirs = kafkas_definitions();
    let mut differences = Vec::new();
    for message in all() {
        match theirs.get(message.name()) {
            None => differences.push(format!("{}: Kafka has no such message", message.name())),
            Some(json) => Comparison {
                json,
                theirs: &theirs,
                differences: &mut differences,
            }
            .message(&message),
        }
    }
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

#[test]
fn rows_are_the_messages_there_are() {
    let messages = all();
    let mut seen = BTreeSet::new();
    for message in &messages {
        let (key, suffix) = match message.definition.kind {
            Kind::Request(key) => (key, "Request"),
            Kind::Response(key) => (key, "Response"),
            Kind::Key(_) | Kind::Value(_) => continue,
        };
        let row =
            api::row(key).unwrap_or_else(|| panic!("{} has no row in api.rs", message.name()));
        assert_eq!(message.name(), format!("{}{suffix}", row.name));
        assert_eq!(
            message.definition.versions,
            Versions {
                min: row.first,
                max: row.max
            },
            "{}",
            message.name()
        );
        for version in message.versions() {
            assert_eq!(
                message.flexible(version),
                row.is_flexible(version),
                "{} v{version}",
                message.name()
            );
        }
        assert!(
            seen.insert((key, suffix)),
            "{} is declared twice",
            message.name()
        );
    }
    for row in api::served() {
        for suffix in ["Request", "Response"] {
            assert!(
                seen.contains(&(row.key as i16, suffix)),
                "{}{suffix} is not declared",
                row.name
            );
        }
    }
}

/// Kafka's definitions by message name.
fn kafkas_definitions() -> BTreeMap<String, Value> {
    let mut definitions = BTreeMap::new();
    for artifact in ARTIFACTS {
        let folder = unpacked(artifact);
        for file in
            fs::read_dir(folder.join("common/message")).expect("the jar holds common/message")
        {
            let path = file.expect("a readable folder").path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let text = fs::read_to_string(&path).expect("a readable file");
            let json: Value = serde_json::from_str(&without_comments(&text))
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let name = json["name"]
                .as_str()
                .expect("a definition has a name")
                .to_owned();
            definitions.insert(name, json);
        }
    }
    definitions
}

/// The folder with the definitions of one jar, fetched and unpacked if it is not there yet.
fn unpacked(artifact: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("definitions-{KAFKA}"));
    let done = target.join(artifact);
    if done.exists() {
        return done;
    }
    // Everything happens in a folder of this process, which is renamed at the end: tests may run at the same time.
    let work = target.join(format!("{artifact}.{}", std::process::id()));
    fs::create_dir_all(&work).expect("the target directory is writable");
    run(Command::new("mvn")
        .args(["-q", "-B", "dependency:copy"])
        .arg(format!("-Dartifact=org.apache.kafka:{artifact}:{KAFKA}"))
        .arg(format!("-DoutputDirectory={}", work.display()))
        .current_dir(&work));
    run(Command::new("unzip")
        .args(["-q", &format!("{artifact}-{KAFKA}.jar"), "common/message/*"])
        .current_dir(&work));
    if fs::rename(&work, &done).is_err() {
        assert!(
            done.exists(),
            "cannot rename {} to {}",
            work.display(),
            done.display()
        );
        fs::remove_dir_all(&work).expect("our own folder can be removed");
    }
    done
}

fn run(command: &mut Command) {
    let program = command.get_program().to_string_lossy().into_owned();
    match command.stdin(Stdio::null()).output() {
        Err(error) => panic!("this test needs `{program}` to get Kafka's definitions: {error}"),
        Ok(output) if !output.status.success() => {
            let text = [output.stdout, output.stderr].concat();
            panic!(
                "`{program}` failed ({}): {}",
                output.status,
                String::from_utf8_lossy(&text)
            );
        }
        Ok(_) => {}
    }
}

/// Kafka's JSON has comments to the end of the line.
fn without_comments(text: &str) -> String {
    let uncommented = |line: &str| {
        let mut in_string = false;
        let mut before = '\0';
        for (at, character) in line.char_indices() {
            match character {
                '"' if before != '\\' => in_string = !in_string,
                '/' if before == '/' && !in_string => return line[..at - 1].to_owned(),
                _ => {}
            }
            before = character;
        }
        line.to_owned()
    };
    text.lines().map(uncommented).collect::<Vec<_>>().join("\n")
}

struct Comparison<'t> {
    json: &'t Value,
    theirs: &'t BTreeMap<String, Value>,
    differences: &'t mut Vec<String>,
}

impl Comparison<'_> {
    fn message(&mut self, ours: &AnyMessage) {
        let name = ours.name();
        let (kind, key) = match ours.definition.kind {
            Kind::Request(key) => ("request", key),
            Kind::Response(key) => ("response", key),
            Kind::Key(key) => ("coordinator-key", key),
            Kind::Value(key) => ("coordinator-value", key),
        };
        self.same(
            name,
            "kind",
            kind,
            self.json["type"].as_str().unwrap_or_default(),
        );
        self.same(
            name,
            "key",
            i64::from(key),
            self.json["apiKey"].as_i64().unwrap_or(-1),
        );
        self.same(
            name,
            "versions",
            ours.definition.versions,
            self.stable_versions(),
        );
        self.same(
            name,
            "flexible versions",
            ours.definition.flexible,
            versions(self.json, "flexibleVersions"),
        );
        let fields = self.json["fields"]
            .as_array()
            .expect("a message has fields");
        self.body(name, ours.definition.body, fields, ours.definition.versions);
    }

    /// The valid versions without one that is unstable in this release; only requests say so.
    fn stable_versions(&self) -> Versions {
        let mut valid = versions(self.json, "validVersions");
        let name = self.json["name"].as_str().unwrap_or_default();
        let request = self
            .theirs
            .get(&name.replace("Response", "Request"))
            .unwrap_or(self.json);
        valid.max -= i16::from(request["latestVersionUnstable"] == true);
        valid
    }

    fn body(&mut self, path: &str, ours: &StructDefinition, theirs: &[Value], served: Versions) {
        let exists = |field: &&Value| {
            let field = versions(field, "versions");
            field.min.max(served.min) <= field.max.min(served.max)
        };
        let theirs: Vec<_> = theirs.iter().filter(exists).collect();
        let names = |names: Vec<String>| names.join(" ");
        self.same(
            path,
            "fields",
            names(
                ours.fields
                    .iter()
                    .map(|field| comparable(field.name))
                    .collect(),
            ),
            names(
                theirs
                    .iter()
                    .map(|field| comparable(text(field, "name")))
                    .collect(),
            ),
        );
        for (ours, theirs) in ours.fields.iter().zip(theirs) {
            self.field(&format!("{path}.{}", ours.name), ours, theirs, served);
        }
        let tags: Vec<_> = ours
            .fields
            .iter()
            .filter_map(|field| field.spec.tag)
            .collect();
        if !tags.is_sorted_by(|a, b| a < b) {
            self.differences.push(format!(
                "{path}: tags are not in rising order, so they would not be written so"
            ));
        }
    }

    fn field(&mut self, path: &str, ours: &FieldDefinition, theirs: &Value, served: Versions) {
        let spec = &ours.spec;
        self.same(
            path,
            "type",
            type_name(&ours.ty),
            text(theirs, "type").to_owned(),
        );
        self.same(
            path,
            "versions",
            spec.versions,
            versions(theirs, "versions"),
        );
        self.same(
            path,
            "nullable versions",
            spec.nullable,
            versions(theirs, "nullableVersions"),
        );
        self.same(
            path,
            "tagged versions",
            spec.tagged,
            versions(theirs, "taggedVersions"),
        );
        self.same(path, "tag", spec.tag.map(u64::from), theirs["tag"].as_u64());
        self.same(
            path,
            "ignorable",
            spec.ignorable,
            theirs["ignorable"] == true,
        );
        self.same(path, "default", normal(spec.preset), default(theirs));
        if !theirs["flexibleVersions"].is_null() {
            self.differences.push(format!(
                "{path}: has flexible versions of its own, which `message!` cannot say"
            ));
        }
        if let Type::Struct(body) | Type::Array(&Type::Struct(body)) = ours.ty {
            let name = text(theirs, "type").trim_start_matches("[]");
            let shared = self.json["commonStructs"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|s| s["name"] == name);
            let fields = shared.unwrap_or(theirs)["fields"].as_array();
            self.body(path, body, fields.map_or(&[][..], Vec::as_slice), served);
        }
    }

    fn same<T: PartialEq + std::fmt::Debug>(&mut self, path: &str, what: &str, ours: T, theirs: T) {
        if ours != theirs {
            self.differences
                .push(format!("{path}: {what} {ours:?}, Kafka's {theirs:?}"));
        }
    }
}

fn text<'v>(json: &'v Value, key: &str) -> &'v str {
    json[key].as_str().unwrap_or_default()
}

fn versions(json: &Value, key: &str) -> Versions {
    json[key].as_str().map_or(Versions::NONE, Versions::parse)
}

/// `ISR`, `LeaderId` and `r#match` as `isr`, `leaderid` and `match`.
fn comparable(name: &str) -> String {
    name.trim_start_matches("r#")
        .replace('_', "")
        .to_lowercase()
}

fn type_name(ty: &Type) -> String {
    match ty {
        Type::Array(element) => format!("[]{}", type_name(element)),
        // A struct of the response whose name the request has, too.
        Type::Struct(body) => match body.name {
            "ResponseTopicData" | "ResponsePartitionData" | "ResponseCursor" => {
                body.name.replace("Response", "")
            }
            name => name.to_owned(),
        },
        primitive => format!("{primitive:?}").to_lowercase(),
    }
}

/// A default of zero is no default.
fn normal(preset: Preset) -> Preset {
    if preset == Preset::Number(0) {
        Preset::Empty
    } else {
        preset
    }
}

fn default(field: &Value) -> Preset {
    let written = match &field["default"] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    normal(match written.as_str() {
        "" | "false" => Preset::Empty,
        "true" => Preset::Number(1),
        "null" => Preset::Null,
        number => Preset::Number(
            match number.strip_prefix("0x") {
                Some(digits) => i64::from_str_radix(digits, 16),
                None => number.parse(),
            }
            .unwrap_or_else(|error| panic!("default {number}: {error}")),
        ),
    })
}
