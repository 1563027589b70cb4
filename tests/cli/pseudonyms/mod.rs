//! `prepare --pseudonymise` and `--canaries`: recall and precision on labelled samples, and the behaviour of the commands.

mod judge;
mod labels;
mod months;
mod oracles;

use crate::common::{Said, names, real_logs, run, sampled_logs, text_of};
use logwright::dataset::{Canaries, Dataset};
use logwright::pseudonyms::{Pseudonymizer, Rules, SecretKey};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn pseudonyms<'a>(records: impl Iterator<Item = &'a str>, key: u8) -> Pseudonymizer {
    let mut pseudonyms = Pseudonymizer::new(SecretKey::new(&[key; 32]), Rules::load(None).unwrap());
    records.for_each(|record| pseudonyms.learn(record.as_bytes()));
    pseudonyms.finalize();
    pseudonyms
}

fn rewritten(pseudonyms: &mut Pseudonymizer, record: &str) -> String {
    let mut out = Vec::new();
    pseudonyms.rewrite(record.as_bytes(), &mut out);
    String::from_utf8(out).unwrap()
}

/// The values of a field in all records, by its path from the top.
fn values<'a>(records: &'a [Value], path: &'a [&str]) -> impl Iterator<Item = &'a str> {
    records.iter().map(move |record| path.iter().fold(record, |value, name| &value[*name]).as_str().unwrap_or(""))
}

#[test]
fn sampled_sign_ins_stay_consistent_and_hold_no_name() {
    sign_ins_stay_consistent_and_hold_no_name(&sampled_logs("azure_ad.jsonl.gz"));
}

#[test]
#[cfg_attr(not(real_logs), ignore = "needs the real logs (CONTRIBUTING.md)")]
fn real_sign_ins_stay_consistent_and_hold_no_name() {
    sign_ins_stay_consistent_and_hold_no_name(&real_logs("azure-ad/azure_ad.jsonl"));
}

fn sign_ins_stay_consistent_and_hold_no_name(logs: &Path) {
    let text = text_of(logs);
    let mut pseudonyms = pseudonyms(text.lines(), 2);
    let images: Vec<String> = text.lines().map(|line| rewritten(&mut pseudonyms, line)).collect();
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let before: Vec<Value> = text.lines().map(json).collect();
    let after: Vec<Value> = images.iter().map(|line| json(line)).collect();
    let paths: [&[&str]; 8] = [
        &["identity"],
        &["callerIpAddress"],
        &["properties", "userPrincipalName"],
        &["properties", "userId"],
        &["properties", "deviceDetail", "displayName"],
        &["properties", "deviceDetail", "deviceId"],
        &["properties", "location", "city"],
        &["properties", "id"],
    ];
    for path in paths {
        let pairs: HashSet<_> = values(&before, path).zip(values(&after, path)).collect();
        let originals: HashSet<_> = values(&before, path).collect();
        let image: HashSet<_> = values(&after, path).collect();
        assert_eq!(
            (pairs.len(), image.len()),
            (originals.len(), originals.len()),
            "{path:?}: equal stays equal, distinct distinct"
        );
        assert!(originals.intersection(&image).all(|value| value.is_empty()), "{path:?}");
    }
    let accounts = values(&before, &["properties", "userPrincipalName"]);
    let names = values(&before, &["identity"]).map(|name| name.to_lowercase().replace(' ', ""));
    let spelled_out: Vec<bool> = accounts.zip(names).map(|(account, name)| account.starts_with(&name)).collect();
    let pairs = values(&after, &["identity"]).zip(values(&after, &["properties", "userPrincipalName"]));
    for ((name, account), spelled_out) in pairs.zip(spelled_out) {
        let lower = name.to_lowercase();
        let (given, last) = lower.split_once(' ').unwrap();
        let given = if spelled_out { given } else { &given[..1] };
        assert!(account.starts_with(&format!("{given}{last}")), "{name} {account}");
    }
    let names: HashSet<_> =
        values(&before, &["identity"]).flat_map(|name| name.split(' ')).map(str::to_lowercase).collect();
    let left = images.join("\n").to_lowercase();
    for name in names.iter().filter(|name| !["attack", "target"].contains(&name.as_str())) {
        let found = left.match_indices(name.as_str()).find(|(at, _)| {
            let alone = |c: Option<char>| !c.is_some_and(char::is_alphanumeric);
            alone(left[..*at].chars().next_back()) && alone(left[at + name.len()..].chars().next())
        });
        assert_eq!(found, None);
    }
}

fn sign_ins(people: usize) -> String {
    let record = |n: usize| {
        let (given, last) =
            (["Nadia", "Tomas", "Ingrid", "Paul"][n % people % 4], ["Brandt", "Okafor", "Solheim"][n % people / 4 % 3]);
        let account = format!("{}{}", &given[..1].to_lowercase(), last.to_lowercase());
        let id = format!("{:08x}-1111-4111-8111-{:012x}", n * 7919 + 0xa1b2_c3d4, 0xa1b2_c3d4_e5f6 - n * 104_729);
        format!(
            r#"{{"identity":"{given} {last}","user_name":"{account}","id":"{id}","ip":"83.149.{}.{}"}}"#,
            n % 250,
            n % 13
        )
    };
    (0..400).map(|n| record(n) + "\n").collect()
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("in.jsonl"), sign_ins(12)).unwrap();
    folder
}

const PREPARE: &str = "prepare in.jsonl --out data --tokenizer bytes --overwrite --pseudonymise --key-file key";

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn prepare_makes_the_key_the_data_the_report_and_the_records() {
    let home = folder();
    let at = |name: &str| home.path().join(name);
    let said = run(home.path(), &format!("{PREPARE} --prefix-field user_name --write-records out.jsonl"));
    said.has(0, &["replaced with pseudonyms"]);
    let key = fs::read_to_string(at("key")).unwrap();
    assert_eq!(mode(&at("key")), 0o600);
    let records = fs::read_to_string(at("out.jsonl")).unwrap();
    assert_eq!(records.lines().count(), 400);
    for name in ["nadia", "brandt", "okafor", "83.149."] {
        assert!(!records.to_lowercase().contains(name) && !said.err.to_lowercase().contains(name), "{name}");
    }
    let data = Dataset::open(&at("data")).unwrap();
    let mut records_of_data: Vec<Vec<u8>> = Vec::new();
    let mut keep = |tokens: &[u32]| records_of_data.push(tokens.iter().map(|token| *token as u8).collect());
    data.train.each_record(&mut keep).unwrap();
    let first = String::from_utf8(records_of_data.swap_remove(0)).unwrap();
    let json: Value = serde_json::from_str(records.lines().next().unwrap()).unwrap();
    let expected = format!("{} {}\n", json["user_name"].as_str().unwrap(), records.lines().next().unwrap());
    assert_eq!(first, expected, "the prefix is a pseudonym, too");
    let report: Value = serde_json::from_str(&fs::read_to_string(at("data/pseudonyms.json")).unwrap()).unwrap();
    assert_eq!((&report["records"], &report["by_path"]["identity"]["name"]), (&Value::from(400), &Value::from(400)));
    for entry in fs::read_dir(at("data")).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(64).any(|window| window == key.trim().as_bytes()), "the key is not in the data");
    }
    assert!(!said.err.contains(key.trim()));
    // The same key gives the same bytes; another key gives others.
    run(home.path(), &format!("{PREPARE} --write-records again.jsonl")).has(0, &[]);
    assert_eq!(records, fs::read_to_string(at("again.jsonl")).unwrap());
    run(home.path(), &format!("{} --write-records other.jsonl", PREPARE.replace("key-file key", "key-file key2")))
        .has(0, &[]);
    assert_ne!(records, fs::read_to_string(at("other.jsonl")).unwrap());
}

#[test]
fn a_dry_run_counts_and_writes_nothing() {
    let home = folder();
    let said = run(home.path(), "prepare in.jsonl --pseudonymise --key-file key --dry-run");
    said.has(0, &[]);
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&report["by_class"]["name"], &report["by_class"]["uuid"]), (&Value::from(400), &Value::from(400)));
    assert_eq!(names(home.path()), ["in.jsonl"]);
    assert_eq!(report["words"]["name"].as_array().unwrap().len(), 12);
    assert_eq!(report["words"]["name"][0], serde_json::json!(["ingrid brandt", 34]));
}

#[test]
fn a_dry_run_lists_words_that_are_also_seen_elsewhere() {
    let home = folder();
    let record = |n: usize| {
        let host = ["kestrel", "fin0815"][n % 2];
        format!(
            "{{\"host\":\"{host}\",\"user_name\":\"mark\",\"password\":\"hunter2\",\"m\":\"KESTREL to fin0816: a mark\"}}\n"
        )
    };
    fs::write(home.path().join("in.jsonl"), (0..40).map(record).collect::<String>()).unwrap();
    let dry_run = "prepare in.jsonl --pseudonymise --key-file key --dry-run";
    let said = run(home.path(), dry_run);
    said.has(0, &[]);
    let report: Value = serde_json::from_str(&said.out).unwrap();
    let seen = |word: &str, class: &str, here: u64, replaced: u64, left: u64| serde_json::json!({ "word": word, "class": class, "as_identity": here, "replaced_elsewhere": replaced, "left": left });
    assert_eq!(report["also_elsewhere"][0], seen("kestrel", "host", 20, 40, 0), "{report}");
    assert_eq!(
        report["also_elsewhere"][1],
        seen("mark", "user", 40, 0, 40),
        "a common word is not searched for: {report}"
    );
    assert_eq!(report["also_elsewhere"].as_array().unwrap().len(), 2);
    assert_eq!(report["words"]["host"], serde_json::json!([["kestrel", 60], ["fin0815", 20]]));
    assert!(!said.out.contains("hunter2") && !said.err.contains("kestrel"), "no secret, and words on stdout only");
    fs::write(home.path().join("keep.txt"), "kestrel\n").unwrap();
    let said = run(home.path(), &format!("{dry_run} --allow keep.txt"));
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(report["words"]["host"], serde_json::json!([["fin0815", 20]]));
    run(home.path(), &format!("{dry_run} --allow nowhere")).has(1, &["nowhere", "allowed words"]);
    run(home.path(), "prepare in.jsonl --out data --allow keep.txt").has(2, &["--pseudonymise"]);
}

#[test]
fn wrong_use_is_refused_and_leaves_nothing() {
    let home = folder();
    let try_it =
        |flags: &str| -> Said { run(home.path(), &format!("prepare in.jsonl --out data --tokenizer bytes {flags}")) };
    try_it("--pseudonymise").has(2, &["--key-file"]);
    try_it("--key-file key").has(2, &["--pseudonymise"]);
    try_it("--dry-run").has(2, &["--pseudonymise"]);
    fs::write(home.path().join("open"), "0".repeat(64)).unwrap();
    fs::set_permissions(home.path().join("open"), fs::Permissions::from_mode(0o644)).unwrap();
    try_it("--pseudonymise --key-file open").has(2, &["chmod 600 open"]);
    fs::write(home.path().join("rules.toml"), "fieldz = []").unwrap();
    try_it("--pseudonymise --key-file key --rules rules.toml").has(2, &["rules.toml", "fieldz"]);
    try_it("--pseudonymise --key-file key --prefix-field nowhere").has(2, &["--prefix-field nowhere"]);
    try_it("--pseudonymise --key-file key --write-records no/such/out").has(2, &["no/such", "does not exist"]);
    try_it("--pseudonymise --key-file key --write-records .").has(2, &["--write-records ."]);
    let before = fs::read(home.path().join("in.jsonl")).unwrap();
    try_it("--pseudonymise --key-file key --write-records in.jsonl").has(2, &["in.jsonl"]);
    assert_eq!(fs::read(home.path().join("in.jsonl")).unwrap(), before);
    try_it("--canaries 12").has(2, &["--canaries 12"]);
    try_it("--pseudonymise --key-file key --write-records data/out").has(2, &["data/out", "--out"]);
    try_it("--pseudonymise --key-file key --write-records data").has(2, &["--write-records data", "--out"]);
    try_it("--pseudonymise --key-file key --write-records ./key").has(2, &["--write-records ./key", "file of the key"]);
    assert!(!home.path().join("data").exists());
    run(home.path(), &format!("{PREPARE} --quiet")).has(0, &[]);
    let before = names(&home.path().join("data"));
    run(home.path(), &format!("{PREPARE} --write-records ./data/../data/out")).has(2, &["data/out", "--out"]);
    assert_eq!(names(&home.path().join("data")), before);
    run(home.path(), &PREPARE.replace("key-file key", "key-file data/key")).has(2, &["data folder"]);
}

#[test]
fn a_tokenizer_of_originals_is_refused_one_of_pseudonyms_taken() {
    let home = folder();
    let prepare = "prepare in.jsonl --vocab-size 300 --quiet --out";
    let with = "prepare in.jsonl --quiet --overwrite --pseudonymise --key-file key --out";
    run(home.path(), &format!("{prepare} clear")).has(0, &[]);
    run(home.path(), &format!("{with} next --tokenizer-from clear"))
        .has(2, &["--tokenizer-from clear", "omit --tokenizer-from"]);
    assert_eq!(names(home.path()), ["clear", "in.jsonl"], "neither data nor a key");
    run(home.path(), &format!("{with} week1 --vocab-size 300")).has(0, &[]);
    run(home.path(), &format!("{with} week2 --tokenizer-from week1")).has(0, &[]);
    run(home.path(), &format!("{with} week3 --tokenizer-from week2")).has(0, &[]);
    run(home.path(), "train --data week3 --out run --preset tiny --steps 1 --quiet").has(0, &[]);
    run(home.path(), &format!("{with} week4 --tokenizer-from run")).has(0, &[]);
    // A byte tokenizer contains no originals.
    run(home.path(), "prepare in.jsonl --tokenizer bytes --quiet --out bytes").has(0, &[]);
    run(home.path(), &format!("{with} week5 --tokenizer-from bytes")).has(0, &[]);
}

#[test]
fn a_map_by_address_shows_no_address_in_any_file_of_the_data() {
    let home = folder();
    let record = |n: usize| {
        let (name, host) = (["nadia", "tomas"][n % 2], n % 7);
        format!("{{\"seen\":{{\"{name}@brandt.org\":{{\"83.149.0.{host}\":{{\"ok\":{n}}}}}}}}}\n")
    };
    fs::write(home.path().join("in.jsonl"), (0..100).map(record).collect::<String>()).unwrap();
    run(home.path(), &format!("{PREPARE} --write-records out.jsonl")).has(0, &[]);
    let data = names(&home.path().join("data")).into_iter().map(|name| format!("data/{name}"));
    for name in data.chain(["out.jsonl".to_string()]) {
        let path = home.path().join(&name);
        let bytes = fs::read(&path).unwrap_or_default();
        for original in ["nadia", "tomas", "brandt", "83.149.0"] {
            assert!(!bytes.windows(original.len()).any(|window| window == original.as_bytes()), "{name}: {original}");
        }
    }
}

#[test]
fn canaries_stand_in_the_training_split_as_often_as_said() {
    let home = folder();
    let prepare = "prepare in.jsonl --out data --tokenizer bytes --overwrite --canaries 4 --split";
    for split in ["chronological", "random"] {
        run(home.path(), &format!("{prepare} {split}")).has(0, &[]);
        let data = Dataset::open(&home.path().join("data")).unwrap();
        assert_eq!((data.meta.train.records, data.meta.val.records), (360 + 15, 40));
        assert_eq!(mode(&home.path().join("data/canaries.json")), 0o600);
        let canaries = Canaries::load(&home.path().join("data")).unwrap().unwrap();
        let mut counts: HashMap<Vec<u8>, [u64; 2]> = HashMap::new();
        for (which, part) in [&data.train, &data.val].into_iter().enumerate() {
            part.each_record(&mut |tokens| {
                let text = tokens[..tokens.len() - 1].iter().map(|token| *token as u8);
                counts.entry(text.collect()).or_default()[which] += 1;
            })
            .unwrap();
        }
        for (number, canary) in canaries.canaries.iter().enumerate() {
            assert_eq!(canary.repeats, 1 << number);
            assert_eq!(counts[canary.text().as_bytes()], [canary.repeats, 0], "{number} {split}");
            serde_json::from_str::<Value>(&canary.text()).unwrap();
        }
    }
    let once = fs::read(home.path().join("data/canaries.json")).unwrap();
    run(home.path(), &format!("{prepare} random")).has(0, &[]);
    assert_eq!(once, fs::read(home.path().join("data/canaries.json")).unwrap());
}
