//! `logwright demo` at a small size: every part is there, a second demo replaces the first, and nothing else.

use crate::common::{names, run};
use std::fs;

const LINE: &str = "demo --steps 5 --records 300 --samples 3 --vocab-size 400";

#[test]
fn a_demo_leaves_its_parts_and_may_be_repeated() {
    let home = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let said = run(home.path(), LINE);
        said.has(0, &["300 synthetic sign-in records", "step 5/5"]);
        let facts: serde_json::Value = serde_json::from_str(said.out.lines().last().unwrap()).unwrap();
        let saved: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(home.path().join("demo/report.json")).unwrap()).unwrap();
        assert_eq!(facts, saved);
        assert_eq!((&facts["steps"], &facts["samples"]), (&5.into(), &3.into()));
        assert!(facts["mean_record_bytes"].as_f64().unwrap() >= 500.0);
        assert!(["parse_rate", "val_loss", "seconds", "tokens_per_second"].iter().all(|key| facts[key].is_number()));
        assert_eq!(
            names(&home.path().join("demo")),
            [
                ".logwright-demo",
                "corpus.jsonl",
                "data",
                "heldout.jsonl",
                "labels.jsonl",
                "loss.svg",
                "normal.jsonl",
                "report.html",
                "report.json",
                "run",
                "samples.txt"
            ]
        );
        said.has(0, &["The most unusual record:", "later records", "report.html", "What to do next:"]);
    }
    fs::write(home.path().join("demo/notes"), "mine").unwrap();
    run(home.path(), LINE).has(0, &[]);
    assert!(home.path().join("demo/notes").exists(), "what a person put beside the parts stays");
}

#[test]
fn what_no_demo_made_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join("demo/data")).unwrap();
    fs::write(home.path().join("demo/data/mine"), "mine").unwrap();
    run(home.path(), LINE).has(2, &["demo contains files that no demo made", "--out"]);
    assert_eq!(fs::read_to_string(home.path().join("demo/data/mine")).unwrap(), "mine");
}

#[test]
fn what_the_demo_proposes_runs() {
    let home = tempfile::tempdir().unwrap();
    let said = run(home.path(), LINE);
    let next: Vec<&str> = said.err.lines().filter_map(|line| line.strip_prefix("  logwright ")).collect();
    assert_eq!(next.len(), 3, "{}", said.err);
    let scored = run(home.path(), next[0].split(" | ").next().unwrap());
    scored.has(0, &["anomal"]);
    assert!(scored.out.contains("threshold"), "{}", scored.out);
    // A model of five steps does not end its records.
    run(home.path(), &format!("{} --max-tokens 5", next[1])).has(0, &[]);
    // The labels are those of the held-out records.
    let labelled =
        "evaluate --model demo/run --data demo/data --labelled demo/heldout.jsonl --labels demo/labels.jsonl";
    run(home.path(), labelled).has(0, &[]);
}
