//! What was asked and what was answered, and the record of what Kafka answers.
//!
//! The record has a file per area; in it a case is a line `== API: case`, and under it a line for each answer with the
//! versions that gave it, `first-last answer`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::path::Path;

use millstream_protocol::api;
use millstream_protocol::message::Message;

use crate::deviations::Deviation;
use crate::peer::{Peer, row};

/// Answers by version.
type Answers = BTreeMap<i16, String>;

/// One run through the cases.
pub struct Transcript {
    pub peer: Peer,
    areas: Vec<Area>,
    /// API key and version.
    asked: BTreeSet<(i16, i16)>,
}

struct Area {
    name: &'static str,
    cases: Vec<(String, Answers)>,
}

impl Transcript {
    pub fn new(peer: Peer) -> Transcript {
        Transcript {
            peer,
            areas: Vec::new(),
            asked: BTreeSet::new(),
        }
    }

    /// The cases that follow belong to this area.
    pub fn begin(&mut self, name: &'static str) {
        self.areas.push(Area {
            name,
            cases: Vec::new(),
        });
    }

    /// Asks in each of `versions` and keeps the answers, after `settle` has taken out what may differ.
    pub fn case<Q: Message<'static>, R: Message<'static>>(
        &mut self,
        name: &str,
        versions: RangeInclusive<i16>,
        request: impl Fn(&Peer, i16) -> Q,
        settle: impl Fn(&mut R),
    ) {
        self.case_of_peer(name, versions, request, |_, response| settle(response));
    }

    /// The same where what may differ depends on what this broker calls things.
    pub fn case_of_peer<Q: Message<'static>, R: Message<'static>>(
        &mut self,
        name: &str,
        versions: RangeInclusive<i16>,
        request: impl Fn(&Peer, i16) -> Q,
        settle: impl Fn(&Peer, &mut R),
    ) {
        let row = row::<Q>();
        let name = format!("{}: {name}", row.name);
        let mut known = self.areas.iter().flat_map(|area| &area.cases);
        assert!(
            !known.any(|(other, _)| *other == name),
            "{name} is there twice"
        );
        let mut answers = Answers::new();
        for version in versions {
            self.asked.insert((row.key as i16, version));
            let request = request(&self.peer, version);
            let mut answer: Result<R, String> = self.peer.ask(version, &request);
            if let Ok(response) = &mut answer {
                settle(&self.peer, response);
            }
            answers.insert(version, self.peer.text(version, &answer));
        }
        let area = self.areas.last_mut().expect("an area has begun");
        area.cases.push((name, answers));
    }

    /// Keeps an answer that was not asked for by [`Transcript::case`].
    pub fn keep<R: Message<'static>>(
        &mut self,
        name: &str,
        version: i16,
        answer: &Result<R, String>,
    ) {
        let row = row::<R>();
        let text = self.peer.text(version, answer);
        let area = self.areas.last_mut().expect("an area has begun");
        let name = format!("{}: {name}", row.name);
        area.cases.push((name, Answers::from([(version, text)])));
    }

    /// All served versions of an API.
    pub fn versions<Q: Message<'static>>() -> RangeInclusive<i16> {
        let row = row::<Q>();
        row.first..=row.max
    }

    /// Served versions that no case asked for.
    pub fn never_asked(&self) -> Vec<String> {
        let all = api::served()
            .iter()
            .flat_map(|row| (row.first..=row.max).map(move |version| (row, version)));
        all.filter(|(row, version)| !self.asked.contains(&(row.key as i16, *version)))
            .map(|(row, version)| format!("{} v{version}", row.name))
            .collect()
    }

    /// Where the answers are not those on record with `deviations` applied, and deviations that are none.
    pub fn differences(&self, record: &Path, deviations: &[Deviation]) -> String {
        let mut text = String::new();
        let mut used = vec![false; deviations.len()];
        for area in &self.areas {
            let path = record.join(format!("{}.txt", area.name));
            let on_record = read(&std::fs::read_to_string(&path).unwrap_or_default());
            for (name, answers) in &area.cases {
                let mut said = BTreeSet::new();
                for (version, ours) in answers {
                    let kafka = on_record.get(name).and_then(|answers| answers.get(version));
                    let Some(kafka) = kafka else {
                        writeln!(text, "{name} v{version}: not on record").expect("a string");
                        continue;
                    };
                    let expected = apply(deviations, &mut used, name, *version, kafka);
                    // Mostly all versions part in the same way.
                    if expected != *ours && said.insert(parts(&expected, ours)) {
                        write_difference(&mut text, name, *version, &expected, ours);
                    }
                }
            }
        }
        for (deviation, used) in deviations.iter().zip(used) {
            if !used {
                let (case, kafka) = (deviation.case, &deviation.kafka);
                writeln!(text, "a deviation of {case} that is none: {kafka}").expect("a string");
            }
        }
        text
    }

    /// Makes these answers the record.
    pub fn write(&self, record: &Path) {
        std::fs::create_dir_all(record).expect("the record can be written");
        for area in &self.areas {
            let mut text = String::new();
            for (name, answers) in &area.cases {
                writeln!(text, "== {name}").expect("a string");
                write_answers(&mut text, answers);
            }
            std::fs::write(record.join(format!("{}.txt", area.name)), text)
                .expect("the record can be written");
        }
    }
}

fn write_answers(text: &mut String, answers: &Answers) {
    let mut rows = answers.iter().peekable();
    while let Some((first, answer)) = rows.next() {
        let mut last = *first;
        while let Some((version, _)) = rows.next_if(|(_, next)| *next == answer) {
            last = *version;
        }
        writeln!(text, "{first}-{last} {answer}").expect("a string");
    }
}

fn read(text: &str) -> BTreeMap<String, Answers> {
    let mut cases: BTreeMap<String, Answers> = BTreeMap::new();
    let mut name = "";
    for line in text.lines() {
        if let Some(case) = line.strip_prefix("== ") {
            name = case;
            continue;
        }
        let (versions, answer) = line.split_once(' ').expect("versions, then the answer");
        let (first, last) = versions.split_once('-').expect("first-last");
        let number = |text: &str| text.parse::<i16>().expect("a version");
        let answers = cases.entry(name.to_owned()).or_default();
        for version in number(first)..=number(last) {
            answers.insert(version, answer.to_owned());
        }
    }
    cases
}

/// Kafka's answer as ours is meant to be.
fn apply(
    deviations: &[Deviation],
    used: &mut [bool],
    name: &str,
    version: i16,
    kafka: &str,
) -> String {
    let mut expected = kafka.to_owned();
    for (deviation, used) in deviations.iter().zip(used) {
        let concerns = match deviation.case.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == deviation.case,
        };
        let concerns = concerns && deviation.versions.contains(&version);
        if concerns && expected.contains(&deviation.kafka) {
            expected = expected.replace(&deviation.kafka, &deviation.ours);
            *used = true;
        }
    }
    expected
}

/// The parts of two answers that are not the same, with a little of what stands around them.
fn parts(expected: &str, ours: &str) -> (String, String) {
    let common = |a: &mut dyn Iterator<Item = char>, b: &mut dyn Iterator<Item = char>| {
        a.zip(b).take_while(|(a, b)| a == b).count()
    };
    let start = common(&mut expected.chars(), &mut ours.chars()).saturating_sub(60);
    let end = common(&mut expected.chars().rev(), &mut ours.chars().rev()).saturating_sub(30);
    let part = |whole: &str| -> String {
        let end = whole.chars().count().saturating_sub(end).max(start);
        let shown = (end - start).min(900);
        whole.chars().skip(start).take(shown).collect()
    };
    (part(expected), part(ours))
}

fn write_difference(text: &mut String, name: &str, version: i16, expected: &str, ours: &str) {
    let (expected, ours) = parts(expected, ours);
    writeln!(
        text,
        "{name} v{version}\n  kafka: …{expected}…\n  ours:  …{ours}…"
    )
    .expect("a string");
}
