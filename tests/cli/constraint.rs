//! `logwright generate --json` and `--schema`, end to end; what is finished is checked by an independent validator.

use crate::common::{SMALL, Said, corpus, logwright, real_logs, run, sampled_logs};
use crate::json_schema;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

/// A model of a few steps: it knows next to nothing, so its grammar has all the work.
fn trained(flags: &str) -> tempfile::TempDir {
    let home = corpus(60, flags);
    run(home.path(), &format!("train --data data --out run {} --steps 3", SMALL)).has(0, &[]);
    home
}

fn lines(said: &Said) -> Vec<Value> {
    said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The finished records of `generate --format jsonl`; all of them must fit the schema.
fn finished(said: &Said, schema: &Value) -> Vec<String> {
    let ended = lines(said).into_iter().filter(|line| line["ended"] == true);
    let texts: Vec<String> = ended.map(|line| line["text"].as_str().unwrap().to_string()).collect();
    for text in &texts {
        let record: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
        assert!(record.is_object() && json_schema::is_valid(schema, &record), "{text}");
    }
    texts
}

fn schemas() -> Vec<Value> {
    let word = json!({ "type": "string", "maxLength": 3 });
    vec![
        json!({
            "type": "object",
            "properties": {
                "kind": { "enum": ["say \"hi\"", "a\\b", "x", 7, null, [1, "two"], { "k": true }] },
                "port": { "type": "integer", "minimum": -3, "maximum": 1024 },
                "share": { "type": "number", "minimum": 0, "exclusiveMaximum": 1, "multipleOf": 0.25 },
                "id": { "type": "string", "pattern": "^[0-9a-f]{4}-[0-9]{2}$" },
                "at": { "type": "string", "pattern": "^20[0-9]{2}-0[1-9]$" },
            },
            "required": ["kind", "port", "id"],
            "additionalProperties": false,
        }),
        json!({
            "properties": { "list": { "type": "array", "items": { "$ref": "#/$defs/pair" }, "minItems": 2, "maxItems": 3 } },
            "required": ["list"],
            "additionalProperties": false,
            "$defs": { "pair": { "type": "object", "properties": { "k": word, "v": { "type": ["boolean", "null"] } },
                "required": ["v", "k"], "additionalProperties": false } },
        }),
        json!({
            "properties": { "a": { "const": 1 } },
            "patternProperties": { "^x[0-9]$": word },
            "additionalProperties": { "enum": [true, false] },
            "required": ["a"], "minProperties": 2, "maxProperties": 3,
        }),
        json!({ "anyOf": [
            { "properties": { "event": { "const": "login" }, "user": word }, "required": ["event"], "additionalProperties": false },
            { "properties": { "event": { "const": "logout" } }, "required": ["event"], "additionalProperties": false },
        ] }),
    ]
}

#[test]
fn with_a_schema_every_finished_record_fits_it() {
    for tokenizer in ["bytes", "char", "bpe --vocab-size 400"] {
        let home = trained(&format!("--tokenizer {tokenizer}"));
        for (i, schema) in schemas().iter().enumerate() {
            fs::write(home.path().join("schema"), schema.to_string()).unwrap();
            let line = "generate --model run -n 24 --schema schema --temperature 1 --max-tokens 300 --format jsonl";
            let said = run(home.path(), line);
            said.has(0, &["24 records", "grammar masking cost", "us per token", "of the probability mass"]);
            let finished = finished(&said, schema);
            // The characters of the corpus hold no bracket, and schema 1 cannot do without.
            if tokenizer == "char" && i == 1 {
                said.has(0, &["24 records could not be finished: no token of the model continues"]);
                assert!(finished.is_empty() && lines(&said).iter().all(|line| line["stuck"] == "no_token"));
                continue;
            }
            assert!(finished.len() >= 6, "{tokenizer}, schema {i}: {} finished: {}", finished.len(), said.err);
            let texts: std::collections::BTreeSet<_> = finished.iter().collect();
            assert!(texts.len() > 1, "records differ");
            for line in lines(&said) {
                let mass = line["masked_mass"].as_f64().unwrap();
                assert!((0.0..=1.0).contains(&mass), "{mass}");
                // What did not end was cut off at the limit, or says why it stuck.
                let is_explained = line["tokens"] == 300 || line["stuck"] != Value::Null;
                assert!(line["ended"] == true || is_explained, "{line}");
            }
        }
    }
}

#[test]
fn the_same_settings_give_the_same_records() {
    let home = trained("--tokenizer bytes");
    fs::write(home.path().join("schema"), schemas()[0].to_string()).unwrap();
    let line = "generate --model run -n 12 --schema schema --temperature 1 --max-tokens 80 --format jsonl";
    let first = run(home.path(), line);
    first.has(0, &["12 records"]);
    assert_eq!(first.out, run(home.path(), line).out);
    assert_eq!(first.out, run(home.path(), &format!("{line} --threads 1")).out);
    assert_ne!(first.out, run(home.path(), &format!("{line} --seed 2")).out);
}

/// A model of one record, by heart.
fn of_one_record(record: &str, flags: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("corpus"), format!("{record}\n").repeat(200)).unwrap();
    run(home.path(), &format!("prepare corpus --out data {flags}")).has(0, &[]);
    let train = format!("train --data data --out run {} --steps 400 --learning-rate 1e-2", SMALL);
    run(home.path(), &train).has(0, &[]);
    home
}

#[test]
fn a_model_that_keeps_to_the_grammar_loses_nothing_and_one_that_does_not_is_seen() {
    let record = r#"{"a": "alpha", "b": 12}"#;
    let home = of_one_record(record, "--tokenizer bytes");
    let said = run(home.path(), "generate --model run -n 3 --temperature 0 --json --format jsonl");
    said.has(0, &["3 complete", "100.0 %"]);
    for line in lines(&said) {
        assert_eq!((&line["text"], &line["masked_mass"], &line["stuck"]), (&record.into(), &0.0.into(), &Value::Null));
    }
    // At temperature 0 all of the probability lies on one token, and the schema takes exactly three away: `l`, `p` and `h`.
    let forced = json!({ "properties": { "a": { "const": "axxxa" }, "b": { "const": 12 } }, "required": ["a", "b"] });
    fs::write(home.path().join("schema"), forced.to_string()).unwrap();
    let said = run(home.path(), "generate --model run --temperature 0 --schema schema --format jsonl");
    let line = &lines(&said)[0];
    assert_eq!(line["text"], r#"{"a": "axxxa", "b": 12}"#);
    let turned = line["masked_mass"].as_f64().unwrap() * line["tokens"].as_f64().unwrap();
    assert!(turned >= 3.0 && (turned - turned.round()).abs() < 1e-9, "{turned}");
    // Prompts are part of the record: read by the grammar, healed, and refused where it does not allow them.
    let prompt = |text: &str, flag: &str| {
        let args = ["generate", "--model", "run", "--temperature", "0", "--prompt", text];
        Said::from(logwright().args(args).args(flag.split(' ')).current_dir(home.path()).output().unwrap())
    };
    assert_eq!(prompt(r#"{"a": "al"#, "--json").out, format!("{record}\n"));
    assert_eq!(prompt(r#"{"a": "ax"#, "--schema schema").out, "{\"a\": \"axxxa\", \"b\": 12}\n");
    assert_eq!(prompt(record, "--json").out, format!("{record}\n"), "a whole record ends");
    prompt(r#"{"a": "al"#, "--schema schema").has(1, &["--prompt", "accepts 8 of the 9 bytes"]);
    fs::write(home.path().join("prompts"), "{\"a\": \"\nnone\n").unwrap();
    let said = run(home.path(), "generate --model run --prompts prompts --json");
    said.has(1, &["prompts:2", "accepts 0 of"]);
    assert_eq!(said.out, "", "no record is printed before a prompt is refused");
}

#[test]
fn a_learned_schema_is_in_the_model_folder() {
    let home = of_one_record(r#"{"a":"alpha","b":12}"#, "--tokenizer bytes");
    let line = "generate --model run --schema learned --temperature 1 -n 8 --max-tokens 100 --format jsonl";
    let records = home.path().join("run/best/records.json");
    let learnt: Value = serde_json::from_slice(&fs::read(&records).unwrap()).unwrap();
    let with = |changes: Value| {
        let mut facts = learnt.clone();
        facts.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        fs::write(&records, facts.to_string()).unwrap();
    };
    let _ = fs::remove_file(&records);
    run(home.path(), line).has(1, &["records.json", "contains no schema", "prepare"]);
    let schema = json!({
        "type": "object",
        "properties": { "a": { "type": "string", "maxLength": 5 }, "b": { "type": "integer" } },
        "required": ["a", "b"], "additionalProperties": false,
    });
    with(json!({ "schema": schema, "separators": [",", ":"] }));
    let said = run(home.path(), line);
    said.has(0, &["8 complete"]);
    let finished = finished(&said, &schema);
    assert!(finished.iter().all(|text| !text.contains(' ') || text.contains("\\u")), "{finished:?}");
    for (changes, parts) in [
        (json!({ "separators": [";", ":"], "schema": {} }), "separators"),
        (json!({ "schema": { "properties": { "x": { "not": {} } } } }), "/properties/x/not"),
        (json!({ "schema": null }), "contains no schema"),
    ] {
        with(changes);
        run(home.path(), line).has(1, &["records.json", parts]);
    }
    fs::write(&records, "{").unwrap();
    run(home.path(), line).has(1, &["records.json", "prepare"]);
    // What prepare learnt, unchanged: of one record over and over, little else is possible.
    with(json!({}));
    let said = run(home.path(), line);
    self::finished(&said, &learnt["schema"]);
    said.has(0, &["8 complete"]);
    assert!(!said.err.contains("earlier version"), "{}", said.err);
    // A file of before has no version, and its schema does not say how values are written.
    let mut old = learnt.as_object().unwrap().clone();
    old.remove("version").unwrap();
    old.remove("gaps").unwrap();
    old["schema"] = schema.clone();
    fs::write(&records, Value::from(old).to_string()).unwrap();
    let said = run(home.path(), line);
    said.has(0, &["learnt by an earlier version", "8 complete"]);
    self::finished(&said, &schema);
    with(json!({ "version": 77 }));
    run(home.path(), line).has(1, &["records.json", "version 77", "use a later version"]);
}

#[test]
fn records_of_any_depth_make_folders_that_open() {
    let home = tempfile::tempdir().unwrap();
    let deep = |levels: usize| "{\"a\":".repeat(levels) + "1" + &"}".repeat(levels) + "\n";
    let records: String = (1..127).map(deep).collect();
    fs::write(home.path().join("corpus"), records).unwrap();
    run(home.path(), "prepare corpus --out data --tokenizer bytes").has(0, &["126 records"]);
    run(home.path(), &format!("train --data data --out run {SMALL} --steps 3")).has(0, &[]);
    run(home.path(), "generate --model run --schema learned --max-tokens 20 -n 2").has(0, &["2 records"]);
    fs::write(home.path().join("generated"), deep(100) + &deep(3)).unwrap();
    let said = run(home.path(), "evaluate --model run --data data --generated generated");
    said.has(0, &[]);
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(report.pointer("/generated/parsed").unwrap(), 2);
}

#[test]
fn numbers_of_a_learnt_schema_are_written_as_they_were() {
    let home = tempfile::tempdir().unwrap();
    let record =
        |i: u32| format!("{{\"a\":{}.{:02},\"n\":{},\"x\":{}e-0{}}}\n", i % 7, i % 50, 1000 + i, i % 9 + 1, i % 5);
    fs::write(home.path().join("corpus"), (0..400).map(record).collect::<String>()).unwrap();
    run(home.path(), "prepare corpus --out data --tokenizer bytes").has(0, &[]);
    run(home.path(), &format!("train --data data --out run {SMALL} --steps 3")).has(0, &[]);
    let said = run(home.path(), "generate --model run --schema learned --temperature 1 -n 40 --max-tokens 60");
    said.has(0, &["40 complete", "the grammar took", "of the probability", "most of it at "]);
    let form =
        regex::Regex::new(r#"^\{"a":[0-9]{1,2}\.[0-9]{2},"n":[0-9]{1,6},"x":[1-9][0-9]{0,2}e-0[0-9]\}$"#).unwrap();
    assert!(said.out.lines().all(|line| form.is_match(line)), "{}", said.out);
}

#[test]
fn conditions_hold_under_a_grammar_and_can_be_asked_for_without_one() {
    let home = tempfile::tempdir().unwrap();
    let user = |i: usize| ["ann", "bob", "cyd"][i % 3];
    let record = |i: usize| {
        format!(
            "{{\"t\":\"2022-01-{:02}T00:00:00Z\",\"who\":{{\"user\":\"{}\"}},\"code\":{}}}\n",
            i / 20 + 1,
            user(i),
            i % 4
        )
    };
    fs::write(home.path().join("corpus"), (0..400).map(record).collect::<String>()).unwrap();
    let prefixes = "--prefix-field day=t,date --prefix-field user=who.user --prefix-field code";
    run(home.path(), &format!("prepare corpus --out data --tokenizer bytes {prefixes}")).has(0, &[]);
    run(home.path(), &format!("train --data data --out run {SMALL} --steps 3")).has(0, &[]);
    let own = json!({ "properties": { "t": { "type": "string", "maxLength": 24 },
        "who": { "type": "object", "properties": { "user": { "type": "string" } }, "required": ["user"] },
        "code": { "type": "integer" } }, "required": ["t", "who", "code"], "additionalProperties": false });
    fs::write(home.path().join("schema"), own.to_string()).unwrap();
    let asked = "--where user=bob --where code=3 --from 2022-01-04 --to 2022-01-07";
    for grammar in ["--schema learned", "--json", "--schema schema"] {
        let line = format!("generate --model run -n 8 {grammar} {asked} --temperature 1 --max-tokens 400");
        let said = run(home.path(), &format!("{line} --format jsonl"));
        said.has(0, &["8 records"]);
        let whole = said.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let whole: Vec<Value> = whole.filter(|line| line["ended"] == true).collect();
        // Any JSON runs on without end in the hands of a model that has learnt nothing.
        assert!(whole.len() >= if grammar == "--json" { 0 } else { 4 }, "{grammar}: {}", said.err);
        for line in whole {
            let record: Value = serde_json::from_str(line["text"].as_str().unwrap()).unwrap();
            assert_eq!((&record["who"]["user"], &record["code"]), (&"bob".into(), &3.into()), "{grammar}");
            let day = format!("2022-01-{:02}", 4 + line["index"].as_u64().unwrap() / 2);
            assert!(record["t"].as_str().unwrap().starts_with(&day), "{grammar}: {record}");
            assert_eq!(line["as_asked"], true);
        }
    }
    let absent =
        run(home.path(), "generate --model run --schema schema --where user=bob --prompt {\"who\":{\"user\":\"ann");
    absent.has(1, &["--prompt", "the values of --where"]);
    // Without a grammar a model that has learnt nothing writes what it likes.
    let line = "generate --model run -n 6 --where user=bob --max-tokens 300 --format jsonl";
    assert_eq!(run(home.path(), line).has(0, &[]).out.lines().count(), 6);
    run(home.path(), "generate --model run --only-as-asked").has(2, &["--only-as-asked", "--where"]);
}

#[test]
fn records_that_differ_from_what_was_asked_are_left_out() {
    let home = tempfile::tempdir().unwrap();
    let record = |i: usize| format!("{{\"k\":\"{}\"}}\n", ["a", "b"][(i * 7 / 3) % 2]);
    fs::write(home.path().join("corpus"), (0..300).map(record).collect::<String>()).unwrap();
    run(home.path(), "prepare corpus --out data --tokenizer bytes --prefix-field k").has(0, &[]);
    run(home.path(), &format!("train --data data --out run {SMALL} --steps 200 --learning-rate 1e-2")).has(0, &[]);
    let line =
        |value: &str, flags: &str| format!("generate --model run -n 9 --where k={value} --temperature 0 {flags}");
    // At temperature 0 so small a model writes one value, whatever is asked.
    let all = run(home.path(), &line("c", "--format jsonl"));
    assert_eq!(all.out.matches("\"as_asked\":false").count(), 9, "{}", all.out);
    let value = if all.out.contains(r#"\"a\"}"#) { "a" } else { "b" };
    let said = run(home.path(), &line("c", "--only-as-asked"));
    said.has(0, &["9 records not printed: fields not as asked"]);
    assert_eq!(said.out, "");
    run(home.path(), &line("c", "--only-as-asked --only-valid"))
        .has(1, &["0 of the 9 records are there after 180 tries"]);
    let said = run(home.path(), &line(value, "--only-as-asked --only-valid"));
    assert_eq!(said.out, format!("{{\"k\":\"{value}\"}}\n").repeat(9), "{}", said.err);
    // A grammar writes it all the same.
    for grammar in ["--schema learned", "--json"] {
        let said = run(home.path(), &line("c", grammar));
        assert_eq!(said.out, "{\"k\":\"c\"}\n".repeat(9), "{grammar}: {}", said.err);
    }
}

#[test]
fn text_before_the_object_is_free() {
    let home = trained("--tokenizer bpe --vocab-size 400 --prefix-field identity");
    let schema = &schemas()[1];
    fs::write(home.path().join("schema"), schema.to_string()).unwrap();
    let line = "generate --model run -n 8 --schema schema --temperature 1 --max-tokens 300 --format jsonl";
    let said = run(home.path(), &format!("{line} --prompt Al"));
    said.has(0, &["8 records"]);
    let texts = finished(&said, schema);
    assert!(texts.len() >= 4, "{}", said.err);
    run(home.path(), &format!("{line} --prompt Al{{\"x")).has(1, &["--prompt", "allows no record"]);
}

#[test]
fn records_longer_than_the_context_keep_their_grammar() {
    let home = trained("--tokenizer bytes");
    let number = json!({ "type": "integer", "minimum": 1000, "maximum": 9999 });
    let schema = json!({ "properties": { "n": { "type": "array", "items": number, "minItems": 40, "maxItems": 40 } },
        "required": ["n"], "additionalProperties": false });
    fs::write(home.path().join("schema"), schema.to_string()).unwrap();
    let said = run(home.path(), "generate --model run -n 4 --schema schema --temperature 1 --format jsonl");
    said.has(0, &["4 complete"]);
    let texts = finished(&said, &schema);
    assert!(texts.len() == 4 && texts.iter().all(|text| text.len() > 200), "four times the context of 48");
}

#[test]
fn mistakes_are_named() {
    let home = trained("--tokenizer char");
    let with = |content: &[u8]| {
        fs::write(home.path().join("schema"), content).unwrap();
        run(home.path(), "generate --model run --schema schema --max-tokens 5")
    };
    run(home.path(), "generate --model run --json --schema schema").has(2, &["--json", "--schema"]);
    run(home.path(), "generate --model run --schema absent").has(1, &["absent", "read the schema"]);
    run(home.path(), "generate --model run --schema .").has(1, &["read the schema"]);
    with(b"").has(1, &["schema: ", "no valid JSON"]);
    with(b"{\"type\": \xff}").has(1, &["schema: ", "no valid JSON"]);
    with("[".repeat(100_000).as_bytes()).has(1, &["schema: ", "no valid JSON"]);
    with(b"[]").has(1, &["expected a JSON Schema"]);
    with(br#"{"type": "array"}"#).has(1, &["schema: ", "a record is a JSON object"]);
    with(br#"{"properties": {"a": {"if": {}}}}"#).has(1, &["schema: /properties/a/if"]);
    with(br#"{"required": ["a"], "properties": {"a": false}}"#).has(1, &["schema: ", "no record fits"]);
    with(b"{}").has(0, &["1 record "]);
    with(b"true").has(0, &["1 record "]);
}

#[test]
fn an_interrupt_keeps_what_is_finished() {
    let home = trained("--tokenizer bytes");
    fs::write(home.path().join("schema"), schemas()[3].to_string()).unwrap();
    for grammar in ["", "--schema schema"] {
        let line = format!("generate --model run -n 1000000 --temperature 1 --max-tokens 60 --format jsonl {grammar}");
        let mut child = logwright()
            .args(line.split_whitespace())
            .current_dir(home.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut first = Vec::new();
        out.read_until(b'\n', &mut first).unwrap();
        assert!(first.ends_with(b"\n"));
        std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        let mut rest = Vec::new();
        std::io::Read::read_to_end(&mut out, &mut rest).unwrap();
        assert!(rest.is_empty() || rest.ends_with(b"\n"), "no half record");
        Said::from(child.wait_with_output().unwrap()).has(130, &["interrupted"]);
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let home = trained("--tokenizer bytes");
    fs::write(home.path().join("schema"), schemas()[3].to_string()).unwrap();
    let script = format!(
        "set -o pipefail; {} generate --model run -n 300 --schema schema --max-tokens 20 --format jsonl | head -n 1",
        env!("CARGO_BIN_EXE_logwright")
    );
    let output = std::process::Command::new("bash").args(["-c", &script]).current_dir(home.path()).output().unwrap();
    Said::from(output).has(0, &[]);
}

/// Real CloudTrail events, with a schema of their common members; most are optional.
fn events_fit_the_grammar_of_their_schema(logs: &Path) {
    let home = tempfile::tempdir().unwrap();
    let prepare = format!("prepare {} --out data --tokenizer bpe --vocab-size 512", logs.display());
    run(home.path(), &prepare).has(0, &[]);
    run(home.path(), &format!("train --data data --out run {} --steps 3", SMALL)).has(0, &[]);
    let schema = json!({
        "type": "object",
        "properties": {
            "eventVersion": { "enum": ["1.08", "1.09"] },
            "userIdentity": { "type": "object", "properties": {
                "type": { "enum": ["IAMUser", "AssumedRole", "AWSService"] },
                "accountId": { "type": "string", "pattern": "^[0-9]{12}$" } }, "required": ["type"], "additionalProperties": false },
            "eventTime": { "type": "string", "format": "date-time", "maxLength": 20 },
            "eventSource": { "type": "string", "pattern": "^[a-z]{2,6}\\.amazonaws\\.com$" },
            "sourceIPAddress": { "anyOf": [{ "type": "string", "format": "ipv4" }, { "const": "AWS Internal" }] },
            "requestParameters": { "type": ["object", "null"], "maxProperties": 0 },
            "readOnly": { "type": "boolean" },
        },
        "required": ["eventVersion", "userIdentity", "eventTime", "eventSource", "readOnly"],
        "additionalProperties": false,
    });
    fs::write(home.path().join("schema"), schema.to_string()).unwrap();
    let said = run(home.path(), "generate --model run -n 16 --schema schema --temperature 1 --format jsonl");
    said.has(0, &["16 records"]);
    assert!(finished(&said, &schema).len() >= 12, "{}", said.err);
}

#[test]
fn sampled_events_fit_the_grammar_of_their_schema() {
    events_fit_the_grammar_of_their_schema(&sampled_logs("cloudtrail.jsonl.gz"));
}

#[test]
#[cfg_attr(not(real_logs), ignore = "needs the real logs (CONTRIBUTING.md)")]
fn real_events_fit_the_grammar_of_their_schema() {
    events_fit_the_grammar_of_their_schema(&real_logs("cloudtrail/cloudtrail.jsonl.gz"));
}
