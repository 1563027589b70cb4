//! `prepare --pseudonymise --tokenizer-from OLD`: a further month of logs goes on from the names of the earlier ones.

use crate::common::run;
use std::fs;
use std::path::Path;

const PREPARE: &str = "prepare in.jsonl --overwrite --pseudonymise --quiet --tokenizer";

fn records(home: &Path) -> String {
    fs::read_to_string(home.join("out.jsonl")).unwrap()
}

/// A data folder of which fields name a host, a person and an allowed host; then records that have the names in text only.
fn two_months() -> (tempfile::TempDir, String) {
    let home = tempfile::tempdir().unwrap();
    let first = r#"{"host":"kestrel","user_name":"nbrandt","identity":"Nadia Brandt","server_name":"osprey"}"#;
    fs::write(home.path().join("in.jsonl"), format!("{first}\n").repeat(30)).unwrap();
    fs::write(home.path().join("keep.txt"), "osprey\n").unwrap();
    let flags = "bytes --key-file key --allow keep.txt --out first --write-records out.jsonl";
    run(home.path(), &format!("{PREPARE} {flags}")).has(0, &[]);
    let image = records(home.path()).lines().next().unwrap().to_string();
    let second = r#"{"m":"nbrandt of kestrel and osprey: Nadia Brandt"}"#;
    fs::write(home.path().join("in.jsonl"), format!("{second}\n").repeat(30)).unwrap();
    (home, image)
}

#[test]
fn names_of_the_earlier_month_keep_their_pseudonyms_in_text() {
    let (home, first) = two_months();
    let first: serde_json::Value = serde_json::from_str(&first).unwrap();
    let name = |field: &str| first[field].as_str().unwrap();
    assert_eq!(name("server_name"), "osprey", "it is allowed");
    let next = "prepare in.jsonl --overwrite --pseudonymise --quiet --write-records out.jsonl --tokenizer-from";
    run(home.path(), &format!("{next} first --key-file key --out second")).has(0, &[]);
    let expected = format!(r#"{{"m":"{} of {} and osprey: {}"}}"#, name("user_name"), name("host"), name("identity"));
    assert_eq!(records(home.path()).lines().next(), Some(expected.as_str()));
    // A third month goes on from both.
    run(home.path(), &format!("{next} second --key-file key --out third")).has(0, &[]);
    assert_eq!(records(home.path()).lines().next(), Some(expected.as_str()));
    // Rules or words that are given count instead of the earlier ones.
    fs::write(home.path().join("other.txt"), "kestrel\n").unwrap();
    run(home.path(), &format!("{next} first --key-file key --out fourth --allow other.txt")).has(0, &[]);
    let other = expected.replace(name("host"), "kestrel");
    assert_eq!(records(home.path()).lines().next(), Some(other.as_str()));
}

#[test]
fn with_another_key_nothing_is_taken_over_and_a_warning_says_so() {
    let (home, first) = two_months();
    let next =
        "prepare in.jsonl --overwrite --pseudonymise --write-records out.jsonl --out second --tokenizer-from first";
    run(home.path(), &format!("{next} --key-file key2")).has(0, &["key2", "another key", "other pseudonyms"]);
    let image = records(home.path());
    assert!(image.contains("of kestrel"), "no field of these records names it: {image}");
    assert!(first.contains("osprey"));
}
