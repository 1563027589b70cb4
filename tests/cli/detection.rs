//! `evaluate` on labelled records, planted canaries and the loss by path, end to end.

use crate::common::{SMALL, run};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Normal records in `data`, with `run`, and labelled ones in `test.jsonl`: with the labels in `labels`, and with the label
/// in each record in `both.jsonl`.
fn prepared(flags: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    fs::write(home.join("normal.jsonl"), run(home, "synth -n 300 --attacks 0").out).unwrap();
    let attacked = "synth -n 120 --attacks 0.2 --start 2022-09-20";
    fs::write(home.join("test.jsonl"), run(home, &format!("{attacked} --labels labels")).out).unwrap();
    fs::write(home.join("both.jsonl"), run(home, &format!("{attacked} --label-field verdict")).out).unwrap();
    run(home, &format!("prepare normal.jsonl --out data --tokenizer bytes --val-fraction 0.3 {flags}")).has(0, &[]);
    run(home, &format!("train --data data --out run --steps 30 --learning-rate 1e-2 {SMALL}")).has(0, &[]);
    folder
}

fn evaluated(folder: &Path, flags: &str) -> Value {
    let said = run(folder, &format!("evaluate --model run --data data {flags}"));
    said.has(0, &[]);
    serde_json::from_str(&said.out).unwrap()
}

#[test]
fn labelled_records_are_judged_beside_the_baselines() {
    let home = prepared("");
    let apart = evaluated(home.path(), "--labelled test.jsonl --labels labels --fpr 0.1 --report page");
    let methods = apart["detection"]["methods"].as_array().unwrap();
    let names: Vec<_> = methods.iter().map(|row| row["method"].as_str().unwrap()).collect();
    assert_eq!(names[..3], ["model with baselines", "model alone", "unseen events"]);
    assert_eq!(names.len(), 8);
    let count = |name: &str| methods[0]["calibrated"][name].as_u64().unwrap();
    let all = ["true_positives", "false_positives", "false_negatives", "true_negatives"].map(count);
    assert_eq!(all.iter().sum::<u64>(), 120);
    assert_eq!(methods[0]["calibrated_on"], 90, "every validation record");
    let kinds = apart["detection"]["kinds"].as_array().unwrap();
    let attacks: u64 = kinds.iter().map(|kind| kind["attacks"].as_u64().unwrap()).sum();
    assert_eq!(attacks, all[0] + all[2]);
    assert!(fs::read_to_string(home.path().join("page/evaluation.html")).unwrap().contains("<h2>Detection</h2>"));
    // The label in the record is taken out before anybody looks: the same numbers.
    let inside = evaluated(home.path(), "--labelled both.jsonl --label-field verdict --fpr 0.1");
    assert_eq!(inside["detection"], apart["detection"]);
}

#[test]
fn labels_of_the_validation_split_test_on_its_later_half() {
    let home = prepared("");
    let labels: String = (0..90).map(|i| if i % 9 == 0 { "spray\n" } else { "0\n" }).collect();
    fs::write(home.path().join("own"), labels).unwrap();
    let report = evaluated(home.path(), "--labels own --fpr 0.2");
    let model = &report["detection"]["methods"][0];
    assert_eq!((&model["attacks"], &model["normals"]), (&5.into(), &40.into()));
}

#[test]
fn wrong_labels_are_explained() {
    let home = prepared("");
    let said = |flags: &str| run(home.path(), &format!("evaluate --model run --data data {flags}"));
    said("--labelled test.jsonl").has(2, &["--labels FILE", "--label-field"]);
    said("--labelled test.jsonl --label-field absent").has(1, &["record 1", "absent"]);
    said("--labelled nowhere --labels labels").has(1, &["nowhere"]);
    said("--labels labels").has(1, &["120 labels for 90 records"]);
    said("--labelled test.jsonl --labels labels --fpr 2").has(2, &["expected a fraction between 0 and 1", "2"]);
    said("--label-field attack").has(2, &["--labels"]);
    said("--fpr 0.1").has(2, &["--labelled"]);
    run(home.path(), "evaluate --model run --text test.jsonl --labels labels").has(2, &["--labels"]);
}

/// `test.jsonl` again as `unfair.jsonl`: every fourth normal record is of a user whose name the model can only find strange.
fn make_unfair(home: &Path) -> usize {
    let [test, labels] = ["test.jsonl", "labels"].map(|name| fs::read_to_string(home.join(name)).unwrap());
    let (mut planted, mut normals, mut unfair) = (0, 0, String::new());
    for (record, label) in test.lines().zip(labels.lines()) {
        let normal = label.contains("\"attack\":null");
        normals += usize::from(normal);
        if normal && normals.is_multiple_of(4) {
            planted += 1;
            let (before, behind) = record.split_once("\"identity\": \"").unwrap();
            let behind = behind.split_once('"').unwrap().1;
            unfair += &format!("{before}\"identity\": \"{STRANGER}\"{behind}\n");
        } else {
            unfair += &format!("{record}\n");
        }
    }
    fs::write(home.join("unfair.jsonl"), unfair).unwrap();
    planted
}

const STRANGER: &str = "\u{e5}~Q|\u{f8}^J<b>`\u{df}{Z}\u{e6}=X;\u{fe}W";

#[test]
fn a_group_that_is_treated_worse_is_flagged() {
    let home = prepared("");
    let planted = make_unfair(home.path());
    let flags = "--labelled unfair.jsonl --labels labels --fpr 0.05 --by identity --by location --report page";
    let report = evaluated(home.path(), flags);
    let by = report["detection"]["by"].as_array().unwrap();
    assert_eq!(
        by.iter().map(|division| division["path"].as_str().unwrap()).collect::<Vec<_>>(),
        ["identity", "location"]
    );
    let model = &report["detection"]["methods"][0];
    for division in by {
        let groups = division["groups"].as_array().unwrap();
        let sum = |name: &str| groups.iter().map(|group| group[name].as_u64().unwrap()).sum::<u64>();
        assert_eq!(
            (sum("normals"), sum("attacks")),
            (model["normals"].as_u64().unwrap(), model["attacks"].as_u64().unwrap())
        );
        let called = |rate: &str| groups.iter().map(|group| group[rate]["called"].as_u64().unwrap()).sum::<u64>();
        assert_eq!(called("false_positive_rate"), model["calibrated"]["false_positives"].as_u64().unwrap());
        assert_eq!(called("recall"), model["calibrated"]["true_positives"].as_u64().unwrap());
    }
    let groups = by[0]["groups"].as_array().unwrap();
    let (worse, fair): (Vec<_>, Vec<_>) = groups.iter().partition(|group| group["value"] == STRANGER);
    assert_eq!((worse.len(), &worse[0]["normals"]), (1, &planted.into()));
    assert_eq!(worse[0]["false_positive_rate"]["flag"], "higher", "{}", worse[0]);
    assert!(fair.len() > 5 && fair.iter().all(|group| group["false_positive_rate"]["flag"].is_null()), "{fair:?}");
    let page = fs::read_to_string(home.path().join("page/evaluation.html")).unwrap();
    assert!(page.contains("<h2>False alarms and recall by identity</h2>") && page.contains("higher than"));
    assert!(!page.contains("<b>"), "a value is no markup");
    let said = |flags: &str| run(home.path(), &format!("evaluate --model run --data data {flags}"));
    said("--labelled test.jsonl --labels labels --by user").has(1, &["--by user", "identity"]);
    said("--by identity").has(2, &["--labelled"]);
}

#[test]
fn the_loss_is_told_by_path_over_every_byte() {
    let home = prepared("");
    let report = evaluated(home.path(), "");
    let part = |name: &str| report["by_path"][name].clone();
    let bytes = part("random")["bytes"].as_u64().unwrap() + part("rest")["bytes"].as_u64().unwrap();
    let meta: Value = serde_json::from_slice(&fs::read(home.path().join("data/meta.json")).unwrap()).unwrap();
    assert_eq!(bytes, meta["val"]["bytes"].as_u64().unwrap());
    let rate = |name: &str| part(name)["nats_per_byte"].as_f64().unwrap();
    assert!(rate("random") > rate("rest"), "identifiers cost more: {report}");
}

#[test]
fn planted_canaries_get_their_exposure() {
    let home = prepared("--canaries 5");
    let flags = "--layers 1 --heads 2 --channels 32 --context 700 --batch 1 --warmup 2 --eval-every 0";
    run(home.path(), &format!("train --data data --out keen {flags} --steps 2 --learning-rate 1e-2")).has(0, &[]);
    let report = run(home.path(), "evaluate --model keen --data data");
    report.has(0, &[]);
    let report: Value = serde_json::from_str(&report.out).unwrap();
    let canaries = report["canaries"].as_array().unwrap();
    let repeats: Vec<_> = canaries.iter().map(|canary| canary["repeats"].as_u64().unwrap()).collect();
    assert_eq!(repeats, [1, 2, 4, 8, 16]);
    for canary in canaries {
        let exposure = canary["exposure"].as_f64().unwrap();
        assert!((0.0..=10.0).contains(&exposure) && canary["bits"].as_f64().unwrap() > exposure, "{canary}");
    }
}
