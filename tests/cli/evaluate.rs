//! `evaluate` end to end: generated records against real ones.

use crate::common::{SMALL, names, real_logs, run, sampled_logs, text_of};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Synthetic records of one small world: two thirds in `corpus.jsonl` and prepared, with a model that has hardly seen them;
/// the others in `others.jsonl`.
fn prepared() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let made = run(folder.path(), "synth -n 600");
    made.has(0, &[]);
    let part = |is_other: bool| -> String {
        let lines = made.out.lines().enumerate().filter(|(i, _)| (i % 3 == 2) == is_other);
        lines.map(|(_, line)| format!("{line}\n")).collect()
    };
    fs::write(folder.path().join("corpus.jsonl"), part(false)).unwrap();
    fs::write(folder.path().join("others.jsonl"), part(true)).unwrap();
    let prepare = "prepare corpus.jsonl --out data --tokenizer bytes --val-fraction 0.25 --split random";
    run(folder.path(), prepare).has(0, &[]);
    run(folder.path(), &format!("train --data data --out run --steps 1 {SMALL}")).has(0, &[]);
    folder
}

fn evaluated(folder: &Path, generated: &str, flags: &str) -> Value {
    fs::write(folder.join("generated.jsonl"), generated).unwrap();
    let said = run(folder, &format!("evaluate --model run --data data --generated generated.jsonl {flags}"));
    said.has(0, &[]);
    assert_eq!(said.out.lines().count(), 1, "one line");
    serde_json::from_str(&said.out).unwrap()
}

/// Records of the same world that neither split has.
fn others(folder: &Path) -> Vec<String> {
    fs::read_to_string(folder.join("others.jsonl")).unwrap().lines().map(String::from).collect()
}

fn number(report: &Value, path: &str) -> f64 {
    report.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {path} in {report}"))
}

fn share_kept(report: &Value, side: &str) -> f64 {
    let rules = report["generated"]["rules"].as_array().unwrap();
    assert!(rules.len() >= 3, "the source has rules: {rules:?}");
    let sum = |what: &str| rules.iter().map(|rule| rule[side][what].as_f64().unwrap()).sum::<f64>();
    sum("kept") / sum("records").max(1.0)
}

#[test]
fn real_records_look_real_and_spoilt_ones_do_not() {
    let folder = prepared();
    let folder = folder.path();
    let good = others(folder);
    let report = evaluated(folder, &(good.join("\n") + "\n"), "");
    for field in ["loss", "perplexity", "tokens", "nats_per_byte", "bits_per_byte", "nats", "bits"] {
        assert!(number(&report, &format!("/{field}")) > 0.0, "{field}");
    }
    assert_eq!(number(&report, "/generated/parse_rate"), 1.0);
    assert_eq!(report["generated"]["truncated"], Value::Null, "raw lines do not tell");
    assert_eq!(number(&report, "/privacy/duplicates/generated/count"), 0.0);
    assert!(share_kept(&report, "generated") > 0.9, "{}", report["generated"]["rules"]);
    assert!(share_kept(&report, "validation") > 0.97, "{}", report["generated"]["rules"]);
    // One category in capitals, which a quarter of the records have: values that nobody has.
    let loud: Vec<String> = good.iter().map(|record| record.replace("Windows", "WINDOWS")).collect();
    assert_ne!(loud, good);
    let spoilt = evaluated(folder, &loud.join("\n"), "");
    let conforming = |report: &Value| number(report, "/generated/schema/generated/conforming/share");
    assert!(conforming(&spoilt) < conforming(&report) - 0.2, "{} {}", conforming(&spoilt), conforming(&report));
}

#[test]
fn a_shuffled_field_breaks_the_rules() {
    let folder = prepared();
    let folder = folder.path();
    let good = others(folder);
    let name = |record: &str| {
        let value: Value = serde_json::from_str(record).unwrap();
        format!("\"userDisplayName\": {}", value["properties"]["userDisplayName"])
    };
    let shuffled: Vec<String> =
        (0..good.len()).map(|i| good[i].replace(&name(&good[i]), &name(&good[(i * 7 + 50) % good.len()]))).collect();
    let [before, after] = [good, shuffled].map(|records| {
        let report = evaluated(folder, &records.join("\n"), "");
        let rules = report["generated"]["rules"].as_array().unwrap().clone();
        let of_name =
            |rule: &&Value| ["from", "to"].iter().any(|end| rule[end].as_str() == Some("properties.userDisplayName"));
        let share = |rule: &Value| rule["generated"]["share"].as_f64().unwrap();
        let shares: Vec<f64> = rules.iter().filter(of_name).map(share).collect();
        assert!(!shares.is_empty(), "the name takes part in a rule: {rules:?}");
        shares.iter().sum::<f64>() / shares.len() as f64
    });
    assert!(before > 0.95 && after < 0.5, "{before} {after}");
}

#[test]
fn broken_and_truncated_records_are_told_apart() {
    let folder = prepared();
    let folder = folder.path();
    let line = |(i, text): (usize, &String)| {
        let (text, ended) = match i % 10 {
            0 => (&text[..text.len() / 2], true),
            1 => (&text[..text.len() / 2], false),
            _ => (text.as_str(), true),
        };
        let verdict = if ended { "valid" } else { "truncated" };
        serde_json::json!({ "index": i, "text": text, "tokens": 1, "ended": ended, "verdict": verdict }).to_string()
    };
    let lines: Vec<String> = others(folder).iter().enumerate().map(line).collect();
    let report = evaluated(folder, &lines.join("\n"), "");
    assert_eq!(number(&report, "/generated/truncated"), 20.0);
    assert_eq!(number(&report, "/generated/complete"), 180.0);
    assert_eq!(number(&report, "/generated/parse_rate"), 160.0 / 180.0);
    assert_eq!(number(&report, "/generated/schema/generated/faults/not_json"), 20.0);
    let none = lines.iter().map(|line| line.replace("\"ended\":true", "\"ended\":false")).collect::<Vec<_>>();
    let report = evaluated(folder, &none.join("\n"), "--report report");
    assert_eq!(number(&report, "/generated/complete"), 0.0);
    assert!(report.get("privacy").is_none() && report["generated"].get("schema").is_none());
}

#[test]
fn copies_of_training_records_are_found() {
    let folder = prepared();
    let folder = folder.path();
    let corpus = fs::read_to_string(folder.join("corpus.jsonl")).unwrap();
    let report = evaluated(folder, &corpus, "--report report");
    // Three of four records are training records.
    assert_eq!(number(&report, "/privacy/duplicates/generated/count"), 300.0);
    assert_eq!(number(&report, "/privacy/duplicates/validation/count"), 0.0);
    assert!(number(&report, "/privacy/identifiers/generated/share") > 0.7);
    assert_eq!(names(&folder.join("report")), ["evaluation.html", "evaluation.json"]);
    let written: Value = serde_json::from_slice(&fs::read(folder.join("report/evaluation.json")).unwrap()).unwrap();
    assert_eq!(written, report);
    assert_eq!(evaluated(folder, &corpus, ""), report, "the same seed gives the same numbers");
}

#[test]
fn wrong_use_and_odd_files_are_explained() {
    let folder = prepared();
    let folder = folder.path();
    fs::write(folder.join("empty"), "").unwrap();
    fs::write(folder.join("odd"), b"\xff\xfe\n\n{\"a\":\n[1]\n").unwrap();
    let evaluate = |flags: &str| run(folder, &format!("evaluate --model run {flags}"));
    evaluate("--generated odd").has(2, &["--data"]);
    evaluate("--text corpus.jsonl --generated odd").has(2, &["--generated"]);
    evaluate("--data data --generated odd --sample 0").has(2, &["--sample"]);
    evaluate("--data data --generated nowhere").has(1, &["nowhere", "generated records"]);
    evaluate("--data data --generated empty").has(1, &["empty: contains no records", "one per line"]);
    evaluate("--data data --generated odd --report corpus.jsonl/x").has(1, &["corpus.jsonl/x"]);
    let said = evaluate("--data data --generated odd");
    said.has(0, &[]);
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(number(&report, "/generated/parsed"), 0.0);
    assert_eq!(number(&report, "/generated/schema/generated/faults/not_json"), 4.0);
}

#[test]
fn logs_without_json_are_compared_as_texts() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let line = |i: usize| format!("Jun {} host sshd[{}]: session opened for user u{}", i % 28 + 1, i * 37 % 900, i % 9);
    let text = |range: std::ops::Range<usize>| range.map(line).collect::<Vec<_>>().join("\n") + "\n";
    fs::write(folder.join("corpus.log"), text(0..300)).unwrap();
    run(folder, "prepare corpus.log --out data --tokenizer bytes --val-fraction 0.2").has(0, &[]);
    run(folder, &format!("train --data data --out run --steps 1 {SMALL}")).has(0, &[]);
    let report = evaluated(folder, &text(300..400), "");
    assert!(report["generated"].get("schema").is_none() && report["generated"].get("fields").is_none());
    let nearest = |side: &str| number(&report, &format!("/generated/similarity/{side}_nearest_training/mean"));
    let (made, real) = (nearest("generated"), nearest("validation"));
    assert!(real > 0.1 && (made - real).abs() < 0.15, "{made} {real}");
}

/// Half of the real sign-ins against the other half: nothing but chance.
fn sign_ins_are_like_themselves(logs: &Path) -> Value {
    let text = text_of(logs);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let half =
        |which| text.lines().enumerate().filter(move |(i, _)| i % 2 == which).map(|(_, line)| line).collect::<Vec<_>>();
    fs::write(folder.join("corpus.jsonl"), half(0).join("\n")).unwrap();
    run(folder, "prepare corpus.jsonl --out data --tokenizer bytes --val-fraction 0.3 --split random").has(0, &[]);
    run(folder, &format!("train --data data --out run --steps 1 {SMALL}")).has(0, &[]);
    let report = evaluated(folder, &half(1).join("\n"), "");
    let fields = report["generated"]["fields"].as_array().unwrap();
    let outside: Vec<&Value> = fields.iter().filter(|field| field["outside"] == true).collect();
    // One in forty is expected; fields go together, so a few may.
    assert!(10 * outside.len() <= fields.len(), "{} of {}: {outside:?}", outside.len(), fields.len());
    assert_eq!(number(&report, "/privacy/duplicates/generated/count"), 0.0);
    report
}

#[test]
fn sampled_sign_ins_are_like_themselves() {
    sign_ins_are_like_themselves(&sampled_logs("azure_ad.jsonl.gz"));
}

#[test]
#[cfg_attr(not(real_logs), ignore = "needs the real logs (CONTRIBUTING.md)")]
fn real_sign_ins_are_like_themselves() {
    let report = sign_ins_are_like_themselves(&real_logs("azure-ad/azure_ad.jsonl"));
    assert!(share_kept(&report, "generated") > 0.97, "the sample is too small for rules");
}
