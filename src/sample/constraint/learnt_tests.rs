//! The grammar of a learnt schema reads the records that it was learnt from, byte for byte.

use super::{Constraint, GrammarCompiler};
use crate::record::json_tree::Json;
use crate::record::{Form, OpenedReport, Opening, Records, RecordsBuilder};
use crate::test_data::{content, real, sampled};
use crate::tokens::Tokenizer;
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn learn<'a>(records: impl IntoIterator<Item = &'a [u8]>) -> Records {
    let mut builder = RecordsBuilder::new(Form::Json, &[]);
    records.into_iter().for_each(|record| builder.observe(record, false));
    builder.finish()
}

fn constraint(records: &Records) -> Arc<Constraint> {
    let compiler = GrammarCompiler::new(&Tokenizer::bytes(), 256, false).unwrap();
    Arc::new(compiler.learnt(records, "records.json", &[]).unwrap())
}

/// Whether the grammar reads the record to its end; else what it has read.
fn read<'a>(constraint: &Arc<Constraint>, record: &'a [u8]) -> Result<(), &'a [u8]> {
    let mut guide = constraint.guide();
    for (at, &byte) in record.iter().enumerate() {
        guide.consume(byte.into(), &[byte]).map_err(|_| &record[..at])?;
    }
    let end = guide.allowed().is_ok_and(|allowed| allowed[0] >> b'\n' & 1 == 1);
    if end && guide.confirm(record).is_ok() { Ok(()) } else { Err(record) }
}

/// Whether the promise holds for the record: JSON without a doubled name.
fn is_promised(record: &[u8]) -> bool {
    Json::of_record(record).is_some_and(|tree| tree.doubled_name(record).is_none())
}

/// The grammar reads the records, and the same with their strings opened.
#[track_caller]
fn reads_all(records: &[&[u8]]) {
    reads_each(records);
    let mut report = OpenedReport::default();
    let mut open = |record: &&[u8]| Opening::Found.open(record, &mut report).unwrap_or(record.to_vec());
    let opened: Vec<Vec<u8>> = records.iter().map(&mut open).collect();
    if !report.opened.is_empty() {
        reads_each(&opened.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }
}

#[track_caller]
fn reads_each(records: &[&[u8]]) {
    let constraint = constraint(&learn(records.iter().copied()));
    for record in records.iter().filter(|record| is_promised(record)) {
        if let Err(before) = read(&constraint, record) {
            panic!("{}\nbehind {}", String::from_utf8_lossy(record), String::from_utf8_lossy(before));
        }
    }
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).collect()
}

#[test]
fn sampled_records_are_read_by_their_own_grammar() {
    for name in ["azure_ad.jsonl.gz", "cloudtrail.jsonl.gz", "stratus.jsonl.gz", "windows.jsonl.gz"] {
        reads_all(&lines(&content(&sampled(name))));
    }
}

#[test]
fn records_of_every_spelling_are_read() {
    reads_all(&[
        br#"{"a": 0.0, "b": -0.0, "c": 1e5, "d": 1E+05, "e": 0.50, "f": 18446744073709551616, "g": 1e999}"#,
        br#"{"a":"\/","b":"\u0041\u00e9\ud83d\ude00\ud800","c\/":1,"\u0041":2,"":{"":[]}}"#,
        br#" { "c" : [ 1 ,2,{ } ],"b":null , "a":[]}	"#,
        br#"{"b":1,"a":2}"#,
        br#"{"a":2,"b":[[[{"x":[]}]]]}"#,
        b"{\"a\":\"\x7f\"}",
    ]);
    let often: Vec<String> =
        (0..60).map(|i| format!(r#"{{"u":"x\/y","v":"2022\/01\/{:02}","w":"\u003d{i}"}}"#, i % 28)).collect();
    reads_all(&often.iter().map(String::as_bytes).collect::<Vec<_>>());
}

#[test]
fn opened_strings_are_read_and_only_where_they_were() {
    let open = |record: &str| Opening::Found.open(record.as_bytes(), &mut OpenedReport::default()).unwrap();
    let inner = |i: usize| serde_json::json!({ "n": i, "deep": format!("[\n {{\"x\":\"{i}\"}}\r\n]\n") }).to_string();
    let records: Vec<Vec<u8>> = (0..40)
        .map(|i| open(&serde_json::json!({ "raw": inner(i), "plain": { "a": i }, "l": [inner(i)] }).to_string()))
        .collect();
    let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    reads_all(&records);
    let constraint = constraint(&learn(records.iter().copied()));
    let whole = String::from_utf8(records[0].to_vec()).unwrap();
    assert!(read(&constraint, whole.replace("\"raw\":{\r\r", "\"raw\":{").as_bytes()).is_err());
    assert!(read(&constraint, whole.replace("\"plain\":{", "\"plain\":{\r\r").as_bytes()).is_err());
    let rare: Vec<Vec<u8>> = (0..400)
        .map(|i| {
            if i == 7 {
                open(&serde_json::json!({ "a": i, "r": inner(i) }).to_string())
            } else {
                format!("{{\"a\":{i}}}").into_bytes()
            }
        })
        .collect();
    reads_all(&rare.iter().map(Vec::as_slice).collect::<Vec<_>>());
}

#[test]
fn records_of_any_depth_are_read() {
    let deep = |levels: usize, inner: &str| "{\"a\": ".repeat(levels) + inner + &"}".repeat(levels);
    let long = "9".repeat(300);
    let records: Vec<String> = (1..127).map(|levels| deep(levels, &long)).collect();
    reads_all(&records.iter().map(String::as_bytes).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_records_are_read_by_their_own_grammar(records in proptest::collection::vec(record(), 1..12), times in 1usize..40) {
        let repeated: Vec<&[u8]> = records.iter().cycle().take(records.len() * times).map(String::as_bytes).collect();
        let constraint = constraint(&learn(repeated));
        for record in records.iter().filter(|record| is_promised(record.as_bytes())) {
            prop_assert!(read(&constraint, record.as_bytes()).is_ok(), "{record}");
        }
    }
}

/// A record with few names, so that records share paths, and values of all kinds in many spellings.
fn record() -> impl Strategy<Value = String> {
    let number = r"-?(0|[1-9][0-9]{0,12})(\.[0-9]{1,4})?([eE][+-]?[0-9]{1,2})?";
    let text = r#""([a-c0-9 é/.:-]|\\["\\/bfnrtu]|\\u00[0-9a-fA-F]{2}|\\ud83d\\ude00|[^"\\\x00-\x1f]){0,6}""#;
    let text = text.prop_filter("whole escapes", |text| serde_json::from_str::<String>(text).is_ok());
    let scalar =
        prop_oneof![number.prop_map(|n| n), text, Just("null".into()), Just("true".into()), Just("false".into())];
    let gap = || prop_oneof![4 => Just(""), 2 => Just(" "), 1 => Just("\t ")];
    let value = scalar.prop_recursive(4, 24, 4, move |inner| {
        let name = prop_oneof![8 => "[a-d]", 1 => Just("\\u0061".to_string()), 1 => Just("é\\/".to_string())];
        let member =
            (name, gap(), gap(), inner.clone()).prop_map(|(name, a, b, value)| format!("\"{name}\"{a}:{b}{value}"));
        let list = |items: Vec<String>, a: &str, b: &str, ends: [&str; 2]| {
            format!("{}{a}{}{b}{}", ends[0], items.join(&format!("{b},{a}")), ends[1])
        };
        let members = (proptest::collection::vec(member, 0..4), gap(), gap());
        let elements = (proptest::collection::vec(inner, 0..4), gap(), gap());
        prop_oneof![
            members.prop_map(move |(items, a, b)| list(items, a, b, ["{", "}"])),
            elements.prop_map(move |(items, a, b)| list(items, a, b, ["[", "]"])),
        ]
    });
    value.prop_filter("an object", |value| value.starts_with('{'))
}

/// The real logs, and how many of their records are looked at.
const REAL: [&str; 6] = [
    "azure-ad/azure_ad.jsonl",
    "cloudtrail/cloudtrail.jsonl.gz",
    "hdfs-sessions/hdfs100k_sessions.jsonl.gz",
    "stratus/detonation_cloudtrail.jsonl.gz",
    "windows-attack/T1047_atomic_red_team.jsonl.gz",
    "windows-attack/T1053.005_atomic_red_team.jsonl.gz",
];

#[test]
#[cfg_attr(not(real_logs), ignore = "needs the real logs (CONTRIBUTING.md)")]
fn real_records_are_read_by_their_own_grammar() {
    for name in REAL {
        let text = content(&real(name));
        let records = lines(&text);
        let constraint = constraint(&learn(records.iter().copied()));
        let step = records.len().div_ceil(400);
        let looked_at = records.iter().step_by(step).filter(|record| is_promised(record));
        for record in looked_at {
            if let Err(before) = read(&constraint, record) {
                panic!("{name}: {}\nbehind {}", String::from_utf8_lossy(record), String::from_utf8_lossy(before));
            }
        }
    }
}

#[test]
#[cfg_attr(not(real_logs), ignore = "needs the real logs (CONTRIBUTING.md)")]
fn real_records_held_out_are_read() {
    for name in REAL {
        let text = content(&real(name));
        let records = lines(&text);
        // In order, and every tenth one.
        let (before, after) = records.split_at(records.len() * 9 / 10);
        let (tenth, others): (Vec<_>, Vec<_>) = (0..records.len()).partition(|i| i % 10 == 9);
        let pick = |numbers: Vec<usize>| numbers.into_iter().map(|i| records[i]).collect::<Vec<_>>();
        for (how, learnt, held_out) in
            [("the end", before.to_vec(), after.to_vec()), ("a tenth", pick(others), pick(tenth))]
        {
            let constraint = constraint(&learn(learnt));
            let step = held_out.len().div_ceil(400);
            let looked_at: Vec<&[u8]> =
                held_out.into_iter().step_by(step).filter(|record| is_promised(record)).collect();
            let failed: Vec<&[u8]> = looked_at.iter().filter_map(|record| read(&constraint, record).err()).collect();
            for before in failed.iter().take(6) {
                eprintln!("   ...{}", String::from_utf8_lossy(&before[before.len().saturating_sub(150)..]));
            }
            let share = 1.0 - failed.len() as f64 / looked_at.len() as f64;
            // In order, the last tenth of some sources is of other programs than the rest; a tenth of all is not.
            assert!(share >= 0.99 || how == "the end", "{name}: {share}");
            eprintln!("{name}, {how}: {:.2} % of {}", 100.0 * share, looked_at.len());
        }
    }
}

#[test]
#[cfg_attr(not(real_logs), ignore = "needs the logs of many sources (CONTRIBUTING.md)")]
fn records_of_many_sources_are_read_by_their_own_grammar() {
    let mut files = Vec::new();
    collect(&real("../field"), &mut files);
    let mut read = 0;
    for file in files {
        let text = std::fs::read(&file).unwrap();
        let records: Vec<&[u8]> = lines(&text).into_iter().filter(|line| Json::of_record(line).is_some()).collect();
        read += records.len();
        reads_all(&records);
    }
    assert!(read > 100, "{read}");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}
