//! Models that were trained on pseudonyms, with raw records: `--key-file` of `score`, `generate` and `evaluate`.

use crate::common::{Said, names, run};
use serde_json::Value;
use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// Sign-ins of some people; in the text of some, another one is named.
fn sign_ins() -> String {
    let people =
        [("Nadia", "Brandt"), ("Tomas", "Okafor"), ("Ingrid", "Solheim"), ("Jürgen", "Weiß"), ("Paul", "Brandt")];
    let record = |n: usize| {
        let ((given, last), (_, other)) = (people[n % 5], people[n / 5 % 5]);
        let account = format!("{}{}", given.chars().next().unwrap(), last).to_lowercase();
        let id = format!("{:08x}-1111-4111-8111-{:012x}", n * 7919, n * 104_729);
        format!(
            r#"{{"identity":"{given} {last}","user":{{"name":"{account}@corp.meridian.com"}},"id":"{id}","ip":"83.149.{}.{}","m":"ticket of {given}.{last} seen by {other}-{n}"}}"#,
            n % 250,
            n % 13
        )
    };
    (0..200).map(|n| record(n) + "\n").collect()
}

pub const PREPARE: &str = "prepare in.jsonl --out data --tokenizer bytes --quiet --pseudonymise --key-file key \
                       --prefix-field user=user.name,before=@ --prefix-field corp=user.name,after=@ --write-records out.jsonl";
const TRAIN: &str = "train --data data --out run --steps 4 --layers 1 --heads 2 --channels 16 --context 48 --batch 2 --warmup 2 \
                     --eval-windows 4 --device cpu --quiet";

/// `in.jsonl`, `out.jsonl` with its pseudonyms, the key, and a model of the latter.
pub fn trained(prepare: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("in.jsonl"), sign_ins()).unwrap();
    run(home.path(), prepare).has(0, &[]);
    run(home.path(), TRAIN).has(0, &[]);
    home
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn read(home: &Path, name: &str) -> String {
    fs::read_to_string(home.join(name)).unwrap()
}

/// Raw records with the key give what their pseudonyms give without it, and no word of a warning.
fn same(home: &Path, raw: &str, replaced: &str) -> Said {
    let raw = run(home, &format!("{raw} --key-file key"));
    raw.has(0, &[]);
    assert!(!raw.err.contains("pseudonym"), "{}", raw.err);
    let replaced = run(home, replaced);
    replaced.has(0, &["trained on pseudonyms", "--key-file"]);
    assert_eq!(replaced.err.matches("trained on pseudonyms").count(), 1, "{}", replaced.err);
    assert!(!raw.out.is_empty());
    assert_eq!(raw.out, replaced.out);
    raw
}

#[test]
fn raw_records_with_the_key_are_scored_as_their_pseudonyms() {
    let home = trained(PREPARE);
    let home = home.path();
    let score = "score --model run --device cpu --no-calibration";
    let said = same(home, &format!("{score} in.jsonl"), &format!("{score} out.jsonl"));
    assert_eq!(lines(&said.out).len(), 200);
    let explain = format!("{score} --explain --color never --top-fields 0");
    let said = same(home, &format!("{explain} in.jsonl"), &format!("{explain} out.jsonl"));
    assert!(!said.out.contains("tokafor"));
    let said = run(home, &format!("{explain} in.jsonl --key-file key --in-clear"));
    said.has(0, &[]);
    // The records stand there as they are, and so do their fields and prefixes.
    let shown = said.out.replace("[[", "").replace("]]", "");
    for record in read(home, "in.jsonl").lines() {
        assert!(shown.contains(record), "{record}");
    }
    for line in read(home, "out.jsonl").lines() {
        let image: Value = serde_json::from_str(line).unwrap();
        let name = image["identity"].as_str().unwrap();
        assert!(!shown.contains(name), "{name}");
    }
    let said = run(home, &format!("{score} in.jsonl --key-file key --in-clear --top-fields 0"));
    let original: HashSet<String> =
        lines(&read(home, "in.jsonl")).iter().map(|record| record["user"]["name"].as_str().unwrap().into()).collect();
    for finding in lines(&said.out) {
        let field = |path: &str| {
            let found = finding["fields"].as_array().unwrap().iter().find(|field| field["path"] == path);
            found.unwrap()["value"].as_str().unwrap().to_string()
        };
        assert!(original.contains(&field("user.name")), "{finding}");
        assert_eq!(field("(prefix)"), field("user.name").replace('@', " "), "{finding}");
    }
    // Sessions have raw keys, too.
    let by = "--group-by user.name --group-window 50";
    let said = run(home, &format!("{score} in.jsonl --key-file key --in-clear {by}"));
    assert!(
        lines(&said.out).iter().all(|session| original.contains(session["session"].as_str().unwrap())),
        "{}",
        said.out
    );
    let hidden = run(home, &format!("{score} in.jsonl --key-file key {by}"));
    assert_eq!(lines(&hidden.out).len(), lines(&said.out).len());
    assert!(lines(&hidden.out).iter().all(|session| !original.contains(session["session"].as_str().unwrap())));
}

#[test]
fn a_record_of_new_people_is_replaced_alike_in_every_run() {
    let home = trained(PREPARE);
    let new = r#"{"identity":"Bella Quist","user":{"name":"bquist@corp.meridian.com"},"m":"Bella Quist met NBRANDT"}"#;
    fs::write(home.path().join("new.jsonl"), format!("{new}\n")).unwrap();
    fs::write(home.path().join("both.jsonl"), format!("{}\n{new}\n", new.replace("Bella Quist", "Zoe Quist"))).unwrap();
    let score = "score --model run --device cpu --top-fields 0 --key-file key";
    let alone = lines(&run(home.path(), &format!("{score} new.jsonl")).out);
    let second = lines(&run(home.path(), &format!("{score} both.jsonl")).out);
    assert_eq!(alone[0]["fields"], second[1]["fields"]);
    let text = alone[0]["fields"].to_string();
    assert!(!text.contains("Quist") && !text.contains("Bella") && !text.contains("NBRANDT"), "{text}");
}

#[test]
fn prompts_and_conditions_are_replaced() {
    let home = trained(PREPARE);
    let home = home.path();
    let image = lines(&read(home, "out.jsonl")).swap_remove(0);
    let name = image["identity"].as_str().unwrap();
    let (account, corp) = image["user"]["name"].as_str().unwrap().split_once('@').unwrap();
    let generate = "generate --model run --device cpu --temperature 0 --max-tokens 150 --format jsonl";
    let prompts = |name: &str, to: &str| {
        let beginnings =
            [format!("{{\"identity\":\"{name}\","), format!("{{\"identity\":\"{name}"), "{\"id".to_string()];
        fs::write(home.join(to), beginnings.join("\n")).unwrap();
    };
    prompts("Nadia Brandt", "raw.txt");
    prompts(name, "replaced.txt");
    let said = same(home, &format!("{generate} --prompts raw.txt"), &format!("{generate} --prompts replaced.txt"));
    assert!(
        lines(&said.out)[1]["text"].as_str().unwrap().starts_with(&format!("{{\"identity\":\"{name}")),
        "{}",
        said.out
    );
    same(
        home,
        &format!("{generate} --where user=nbrandt --where corp=corp.meridian.com"),
        &format!("{generate} --where user={account} --where corp={corp}"),
    );
    run(home, &format!("{generate} --key-file key")).has(0, &[]);
}

#[test]
fn the_loss_on_raw_text_is_that_of_its_pseudonyms() {
    let home = trained(PREPARE);
    let evaluate = "evaluate --model run --device cpu --text";
    same(home.path(), &format!("{evaluate} in.jsonl"), &format!("{evaluate} out.jsonl"));
    run(home.path(), "evaluate --model run --device cpu --data data --key-file key").has(2, &["--key-file", "omit it"]);
    let label = |name: &str| {
        let text: String = lines(&read(home.path(), name))
            .into_iter()
            .enumerate()
            .map(|(number, mut record)| {
                record["attack"] = (number % 7 == 0).into();
                format!("{record}\n")
            })
            .collect();
        fs::write(home.path().join(format!("labelled-{name}")), text).unwrap();
    };
    label("in.jsonl");
    label("out.jsonl");
    let evaluate = "evaluate --model run --device cpu --data data --label-field attack --labelled";
    same(home.path(), &format!("{evaluate} labelled-in.jsonl"), &format!("{evaluate} labelled-out.jsonl"));
}

#[test]
fn a_wrong_key_and_a_key_for_nothing_are_refused() {
    let home = trained(&PREPARE.replace(" --prefix-field corp=user.name,after=@", ""));
    let score = "score in.jsonl --device cpu --model";
    assert!(names(&home.path().join("run/best")).contains(&"pseudonyms.sealed".to_string()));
    fs::write(home.path().join("other"), "0123456789abcdef".repeat(4)).unwrap();
    run(home.path(), "prepare in.jsonl --out clear --tokenizer bytes --quiet").has(0, &[]);
    run(home.path(), &TRAIN.replace("data --out run", "clear --out plain")).has(0, &[]);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(home.path().join("other"), mode).unwrap();
    run(home.path(), &format!("{score} run --key-file other")).has(2, &["--key-file other", "another key", "run"]);
    run(home.path(), &format!("{score} run --key-file nowhere")).has(2, &["--key-file nowhere", "no such file"]);
    assert!(!home.path().join("nowhere").exists(), "scoring makes no key");
    run(home.path(), &format!("{score} plain --key-file key"))
        .has(2, &["not trained on pseudonyms", "omit --key-file"]);
    run(home.path(), &format!("{score} plain")).has(0, &[]);
    run(home.path(), &format!("{score} run --in-clear")).has(2, &["--key-file"]);
    let sealed = home.path().join("run/best/pseudonyms.sealed");
    let bytes = fs::read(&sealed).unwrap();
    fs::write(&sealed, &bytes[..bytes.len() - 1]).unwrap();
    run(home.path(), &format!("{score} run --key-file key")).has(1, &["pseudonyms.sealed", "checksum"]);
    fs::remove_file(&sealed).unwrap();
    run(home.path(), &format!("{score} run --key-file key")).has(1, &["pseudonyms.sealed", "earlier version"]);
}

#[test]
fn a_model_remembers_the_rules_and_the_allowed_words() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let record = |n: usize| {
        format!(
            "{{\"employee\":\"kxen{}\",\"host\":\"fin{}\",\"m\":\"KXEN{} on fin{}\"}}\n",
            n % 9,
            n % 7,
            n % 9,
            n % 7
        )
    };
    fs::write(home.join("in.jsonl"), (0..200).map(record).collect::<String>()).unwrap();
    fs::write(home.join("rules.toml"), "field = [{ path = 'employee', action = 'user' }]").unwrap();
    fs::write(home.join("keep.txt"), "# of everybody\nfin3\n").unwrap();
    let prepare =
        "prepare in.jsonl --out data --tokenizer bytes --quiet --pseudonymise --key-file key --write-records out.jsonl";
    run(home, &format!("{prepare} --rules rules.toml --allow keep.txt")).has(0, &[]);
    let records = read(home, "out.jsonl");
    assert!(
        records.contains("fin3") && !records.contains("fin2") && !records.to_lowercase().contains("kxen"),
        "{records}"
    );
    run(home, TRAIN).has(0, &[]);
    fs::remove_file(home.join("rules.toml")).unwrap();
    fs::remove_file(home.join("keep.txt")).unwrap();
    for folder in ["data", "run/best"] {
        let sealed = fs::read(home.join(folder).join("pseudonyms.sealed")).unwrap();
        let text = String::from_utf8_lossy(&sealed).into_owned();
        assert!(!text.contains("employee") && !text.contains("fin3"), "the rules are sealed");
    }
    let score = "score --model run --device cpu --no-calibration";
    same(home, &format!("{score} in.jsonl"), &format!("{score} out.jsonl"));
}

#[test]
fn no_input_is_named_in_the_data() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("logs")).unwrap();
    fs::write(home.path().join("logs/nbrandt-laptop.jsonl"), sign_ins()).unwrap();
    fs::write(home.path().join("logs/okafor.jsonl"), sign_ins()).unwrap();
    let prepare = PREPARE.replace("in.jsonl", "logs");
    run(home.path(), &prepare).has(0, &[]);
    let meta: Value = serde_json::from_str(&read(home.path(), "data/meta.json")).unwrap();
    let sources: Vec<_> = meta["sources"].as_array().unwrap().iter().map(|source| source["name"].clone()).collect();
    assert_eq!(sources, ["input 1", "input 2"]);
    for name in names(&home.path().join("data")) {
        let bytes = fs::read(home.path().join("data").join(&name)).unwrap();
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        assert!(!text.contains("nbrandt") && !text.contains("okafor") && !text.contains("logs/"), "{name}");
    }
}
