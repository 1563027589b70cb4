//! `prepare --pseudonymise` and `--canaries`: recall and precision on a labelled sample, and what a user meets.

mod common;

use common::{Said, real_logs, run};
use logwright::dataset::{Canaries, Dataset};
use logwright::logs::pseudonyms::{Change, Key, Pseudonyms, Rules};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Lines of invented companies and people: the kind of log, a tab, and the line with `⟦class:text⟧` round all that must go.
const LABELLED: &str = include_str!("pseudonyms/labelled.txt");

struct Line {
    kind: String,
    record: String,
    /// Class and place of what must go.
    labels: Vec<(String, Range<usize>)>,
}

fn labelled() -> Vec<Line> {
    let parse = |line: &str| {
        let (kind, mut rest) = line.split_once('\t').unwrap();
        let (mut record, mut labels) = (String::new(), Vec::new());
        while let Some((before, marked)) = rest.split_once('⟦') {
            record += before;
            let (mark, after) = marked.split_once('⟧').unwrap();
            let (class, text) = mark.split_once(':').unwrap();
            labels.push((class.to_string(), record.len()..record.len() + text.len()));
            record += text;
            rest = after;
        }
        Line { kind: kind.into(), record: record + rest, labels }
    };
    LABELLED.lines().map(parse).collect()
}

fn pseudonyms<'a>(records: impl Iterator<Item = &'a str>, key: u8) -> Pseudonyms {
    let mut pseudonyms = Pseudonyms::new(Key::new(&[key; 32]), Rules::load(None).unwrap());
    records.for_each(|record| pseudonyms.learn(record.as_bytes()));
    pseudonyms.settle().unwrap();
    pseudonyms
}

fn rewritten(pseudonyms: &mut Pseudonyms, record: &str) -> String {
    let mut out = Vec::new();
    pseudonyms.rewrite(record.as_bytes(), &mut out);
    String::from_utf8(out).unwrap()
}

/// Whether the changes replace all of the place.
fn covered(place: &Range<usize>, changes: &[Change]) -> bool {
    place.clone().all(|byte| changes.iter().any(|change| change.place.contains(&byte)))
}

#[derive(Default)]
struct Score {
    labels: usize,
    gone: usize,
    changes: usize,
    right: usize,
}

#[test]
fn recall_and_precision_on_the_labelled_sample() {
    let lines = labelled();
    assert!(lines.len() >= 200, "{}", lines.len());
    let mut pseudonyms = pseudonyms(lines.iter().map(|line| line.record.as_str()), 1);
    let mut scores: BTreeMap<(bool, String), Score> = BTreeMap::new();
    for line in &lines {
        let changes = pseudonyms.changes(line.record.as_bytes());
        for (class, place) in &line.labels {
            let gone = covered(place, &changes);
            if !gone {
                println!("left ({class}, {}): {} in {}", line.kind, &line.record[place.clone()], line.record);
            }
            for key in [(false, class.clone()), (true, line.kind.clone()), (true, "all".into())] {
                let score = scores.entry(key).or_default();
                score.labels += 1;
                score.gone += usize::from(gone);
            }
        }
        for change in &changes {
            let right = line.labels.iter().any(|(_, place)| change.place.start < place.end && place.start < change.place.end);
            if !right {
                println!("wrongly ({}, {}): {} in {}", change.class, line.kind, &line.record[change.place.clone()], line.record);
            }
            for key in [(false, change.class.to_string()), (true, line.kind.clone()), (true, "all".into())] {
                let score = scores.entry(key).or_default();
                score.changes += 1;
                score.right += usize::from(right);
            }
        }
    }
    println!("{:<12} {:>7} {:>7} {:>9} {:>9}", "class", "labels", "recall", "replaced", "precision");
    for ((_, name), score) in &scores {
        let recall = score.gone as f64 / score.labels as f64;
        let precision = score.right as f64 / score.changes as f64;
        println!("{name:<12} {:>7} {recall:>7.3} {:>9} {precision:>9.3}", score.labels, score.changes);
    }
    let all = &scores[&(true, "all".to_string())];
    assert!(all.gone as f64 >= 0.98 * all.labels as f64, "recall");
    assert!(all.right as f64 >= 0.95 * all.changes as f64, "precision");
}
