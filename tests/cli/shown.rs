//! What `logwright score` says of a record beside its score: which it is, when it was, and the parts of it that were asked for.

use crate::common::run;
use crate::key_file::trained;
use crate::score::{lines, own};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;

fn hexadecimal(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_finding_has_an_identity_a_time_and_what_was_asked_for() {
    let home = own();
    let corpus = fs::read_to_string(home.path().join("corpus.jsonl")).unwrap();
    let records: Vec<&str> = corpus.lines().take(2).collect();
    fs::write(home.path().join("two.jsonl"), records.join("\n") + "\n").unwrap();
    let line = "score --model run --keep time --keep *.status.* --with-record --top-fields 1";
    let said = run(home.path(), &format!("{line} two.jsonl"));
    let found = lines(said.has(0, &[]));
    for (number, (found, record)) in (1..).zip(found.iter().zip(&records)) {
        let parsed: Value = serde_json::from_str(record).unwrap();
        assert_eq!((&found["time"], &found["kept"]["time"]), (&parsed["time"], &parsed["time"]));
        assert!(found["kept"]["properties.status.errorCode"].is_number(), "{found}");
        assert_eq!(found["id"], hexadecimal(&format!("\0{number}\0{record}"))[..16]);
        assert_eq!(found["digest"], hexadecimal(record)[..32]);
        assert!(said.out.contains(&format!("\"raw\":{record}")), "byte for byte");
    }
    let both =
        lines(&run(home.path(), &format!("{line} two.jsonl corpus.jsonl --time-field properties.createdDateTime")));
    assert_eq!((&both[0]["digest"], &both[0]["digest"]), (&found[0]["digest"], &both[2]["digest"]));
    assert_eq!(both[2]["id"], hexadecimal(&format!("corpus.jsonl\x001\0{}", records[0]))[..16]);
    assert_eq!(both[0]["time"], both[0]["raw"]["properties"]["createdDateTime"]);
    run(home.path(), "score --model run two.jsonl --keep [").has(2, &["--keep [", "expected a path"]);
    // A session says it of its worst record.
    let session = &lines(&run(home.path(), &format!("{line} two.jsonl --group-by location")))[0];
    assert_eq!(session["worst"]["raw"]["time"], session["worst"]["time"]);
}

#[test]
fn what_is_no_record_shows_how_it_begins() {
    let home = own();
    let long = "é".repeat(150);
    let object = r#"{"a": "#;
    let text = format!("not json\x1b[2J\n{object}{long}\n{}\n", "y".repeat(3000));
    fs::write(home.path().join("broken.jsonl"), text).unwrap();
    let said = run(home.path(), "score --model run broken.jsonl --format jsonl --max-record-bytes 2000");
    let found = lines(said.has(0, &["3 of them could not be scored"]));
    assert_eq!(found[0]["head"], "not json\u{1b}[2J");
    assert_eq!(found[1]["head"], format!("{object}{}", "é".repeat(97)), "200 bytes");
    assert_eq!(found[2]["head"], "y".repeat(200));
    assert!(!said.out.contains('\x1b') && !said.err.contains("not json"), "{}", said.err);
    fs::write(home.path().join("text.log"), "plain\n").unwrap();
    let found = &lines(&run(home.path(), "score --model run text.log"))[0];
    assert_eq!((found["error"].is_string(), &found["head"]), (true, &json!("plain")), "read, but not by this model");
}

#[test]
fn without_a_calibration_a_warning_says_what_ranks_first_and_its_remedy_works() {
    let home = own();
    let warning = "there is no calibration";
    let said = run(home.path(), "score --model run corpus.jsonl");
    assert_eq!(said.has(0, &["times, identifiers"]).err.matches(warning).count(), 1, "{}", said.err);
    let (_, remedy) = said.err.split_once("logwright score").unwrap();
    let remedy = remedy.lines().next().unwrap().replace("NORMAL", "corpus.jsonl");
    run(home.path(), &format!("score {remedy}")).has(0, &[]);
    for line in ["score --model run corpus.jsonl", "score --model run corpus.jsonl --no-calibration"] {
        assert!(!run(home.path(), line).has(0, &[]).err.contains(warning));
    }
}

#[test]
fn names_stay_pseudonyms_unless_they_are_asked_for_in_clear() {
    let home = trained(
        "prepare in.jsonl --out data --tokenizer bytes --quiet --pseudonymise --key-file key --write-records out.jsonl",
    );
    let read = |name: &str| fs::read_to_string(home.path().join(name)).unwrap();
    let (raw, replaced) = (read("in.jsonl"), read("out.jsonl"));
    let (raw, replaced) = (raw.lines().next().unwrap(), replaced.lines().next().unwrap());
    fs::write(home.path().join("one.jsonl"), format!("{raw}\nnbrandt, no record\n")).unwrap();
    let line = "score --model run --device cpu --no-calibration --key-file key --keep identity --with-record one.jsonl";
    let parsed = |record: &str| serde_json::from_str::<Value>(record).unwrap();
    let said = run(home.path(), line);
    let found = lines(said.has(0, &[]));
    assert_eq!((&found[0]["raw"], &found[0]["kept"]["identity"]), (&parsed(replaced), &parsed(replaced)["identity"]));
    assert!(!said.out.contains("Nadia") && !said.out.contains("nbrandt"), "{}", said.out);
    assert!(found[1]["error"].is_string() && found[1].get("head").is_none());
    let clear = lines(&run(home.path(), &format!("{line} --in-clear")));
    assert_eq!((&clear[0]["raw"], &clear[0]["kept"]["identity"]), (&parsed(raw), &json!("Nadia Brandt")));
    assert_eq!(clear[1]["head"], "nbrandt, no record");
    assert_eq!((&clear[0]["id"], &clear[0]["digest"]), (&found[0]["id"], &found[0]["digest"]), "one finding");
}
