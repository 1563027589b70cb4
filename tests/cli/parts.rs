//! Several processes that share a piece of work give what one process gives: `prepare --part` and `merge`, and `score` and `generate`
//! as `--part` or the variables of a launcher say.

use crate::common::{SMALL, Said, corpus, logwright, names, run, sampled_logs, text_of};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Runs the program with these variables of a launcher, or others, in its environment.
fn run_with(folder: &Path, line: &str, variables: &[(&str, &str)]) -> Said {
    let mut command = logwright();
    command.args(line.split_whitespace()).current_dir(folder).envs(variables.iter().copied());
    command.output().unwrap().into()
}

/// A folder `logs` with inputs of many formats, among them one that is larger than all others.
fn logs() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let logs = home.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let sign_ins = run(home.path(), "synth -n 240").out;
    fs::write(logs.join("b.jsonl"), &sign_ins).unwrap();
    fs::copy(sampled_logs("azure_ad.jsonl.gz"), logs.join("c.jsonl.gz")).unwrap();
    let table: String = (0..20).map(|n| format!("2024-01-{:02},user{n},\"two\nlines\",10.0.0.{n}\n", n + 1)).collect();
    fs::write(logs.join("a.csv"), format!("time,user name,note,src.ip\n{table}")).unwrap();
    let document = "[{\"user\":\"acole\",\"m\":\"{\\\"a\\\":\\\"b\\\"}\"},\n{\"user\":\"Aaron Cole\"}]";
    fs::write(logs.join("d.json"), document).unwrap();
    fs::write(logs.join("z.jsonl"), sign_ins.lines().rev().take(30).collect::<Vec<_>>().join("\n")).unwrap();
    home
}

/// The files of a folder with their contents.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    names(folder).into_iter().map(|name| (name.clone(), fs::read(folder.join(&name)).unwrap())).collect()
}

/// Prepares the inputs at once and in parts, and requires equal folders. `merge` are the flags of merging.
#[track_caller]
fn check(home: &Path, of: u64, flags: &str, merge: &str) {
    run(home, &format!("prepare {flags} --out whole --overwrite --threads 1")).has(0, &[]);
    let mut parts = String::new();
    for number in 1..=of {
        run(home, &format!("prepare {flags} --part {number}/{of} --out part{number} --overwrite --threads 1"))
            .has(0, &[]);
        // In any order.
        parts = format!("part{number} {parts}");
    }
    let merged = run(home, &format!("merge {parts} --out merged --overwrite {merge} --threads 1"));
    merged.has(0, &["next: logwright train --data merged"]);
    let (whole, merged) = (contents(&home.join("whole")), contents(&home.join("merged")));
    assert_eq!(whole.keys().collect::<Vec<_>>(), merged.keys().collect::<Vec<_>>());
    whole.iter().for_each(|(name, bytes)| assert!(bytes == &merged[name], "{name} differs: {flags}"));
}

#[test]
fn parts_of_many_formats_are_merged_into_the_same_bytes() {
    let home = logs();
    let home = home.path();
    check(home, 3, "logs --vocab-size 300", "");
    check(home, 7, "logs --tokenizer char --split random --seed 5 --val-fraction 0.25", "");
    check(home, 2, "logs --tokenizer bytes --prefix-field user=identity --prefix-field day=time,date --canaries 3", "");
    check(home, 4, "logs --tokenizer-from whole --open m", "");
    check(home, 1, "logs --tokenizer bytes --open=", "");
    check(home, 40, "logs/b.jsonl --tokenizer bytes --format jsonl --bad-records skip", "");
    // Among text, and with a file that holds nothing.
    let traces = "2024-03-01T00:00:00 ERROR x\n\tat a.B(C.java:1)\n".repeat(90);
    fs::write(home.join("logs/0.log"), traces).unwrap();
    fs::write(home.join("logs/e.log"), "").unwrap();
    check(home, 5, "logs --tokenizer bytes", "");
}

#[test]
fn the_names_of_all_parts_get_the_pseudonyms_of_one_corpus() {
    let home = logs();
    let home = home.path();
    // A person's name stands in a field of one part and in the text and the accounts of others.
    let text: String = (0..60)
        .map(|n| match n {
            50 => "{\"displayName\":\"Quirin Vossberg\",\"user_name\":\"qvossberg\"}\n".to_string(),
            _ => format!("{{\"n\":{n},\"m\":\"login of qvossberg, Tamsin Oduya, vossberg-{n}.acme.local\",\"vossberg_quirin\":1}}\n"),
        })
        .collect();
    fs::write(home.join("names.jsonl"), format!("{text}{{\"user_name\":\"toduya\"}}\n")).unwrap();
    fs::write(home.join("rules.toml"), "[[field]]\npath = \"n\"\naction = \"id\"\n").unwrap();
    fs::write(home.join("allow"), "user3\n").unwrap();
    for (of, flags) in [(4, "--tokenizer char"), (3, "--prefix-field user=identity --rules rules.toml --allow allow")] {
        let flags = format!("logs names.jsonl --pseudonymise --key-file key {flags}");
        check(home, of, &flags, "--key-file key --write-records shared");
    }
    let shared = fs::read_to_string(home.join("shared")).unwrap();
    assert!(shared.contains("user3\"") && !shared.to_lowercase().contains("vossberg"), "{shared}");
    run(home, "prepare logs names.jsonl --pseudonymise --key-file key --rules rules.toml --allow allow --prefix-field user=identity --out again --write-records at-once").has(0, &[]);
    assert_eq!(shared, fs::read_to_string(home.join("at-once")).unwrap());
    // The names of an earlier corpus keep their pseudonyms.
    check(home, 3, "logs names.jsonl --tokenizer-from again --pseudonymise --key-file key", "--key-file key");
    let lost = run(home, "merge part1 part2 part3 --out lost");
    lost.has(2, &["part1: its names are to be replaced; give --key-file"]);
    run(home, "prepare logs --out other --pseudonymise --key-file other-key").has(0, &[]);
    run(home, "merge part1 part2 part3 --out lost --key-file other-key")
        .has(2, &["--key-file: part1 was prepared with another key"]);
    fs::write(home.join("allow"), "web-02\n").unwrap();
    let flags = "prepare names.jsonl --pseudonymise --key-file key --allow allow --overwrite --out";
    run(home, &format!("{flags} part1 --part 1/2")).has(0, &[]);
    fs::write(home.join("allow"), "web-03\n").unwrap();
    run(home, &format!("{flags} part2 --part 2/2")).has(0, &[]);
    run(home, "merge part1 part2 --out lost --key-file key")
        .has(2, &["part2: --rules or --allow differs from that of part1"]);
    assert!(!home.join("lost").exists());
}

#[test]
fn parts_that_do_not_belong_together_are_refused_by_name() {
    let home = logs();
    let home = home.path();
    let part = |number: u64, of: u64, flags: &str, out: &str| {
        run(home, &format!("prepare --tokenizer bytes --part {number}/{of} --out {out} {flags}")).has(0, &[]);
    };
    let refused = |parts: &str, expected: &[&str]| {
        let said = run(home, &format!("merge {parts} --out merged"));
        assert!(said.code == 1 || said.code == 2, "{}", said.err);
        said.has(said.code, expected);
        assert!(!home.join("merged").exists());
    };
    part(1, 2, "logs", "one");
    part(2, 2, "logs", "two");
    part(1, 3, "logs", "third");
    part(2, 2, "logs --split random", "random");
    part(2, 2, "logs/b.jsonl", "less");
    refused("one", &["part 2/2 is missing", "prepare --part 2/2"]);
    refused("two", &["part 1/2 is missing"]);
    refused("one two one", &["one and one: both are part 1/2"]);
    refused("one third", &["third: this is part 1/3, but one is part 1/2"]);
    refused("one random", &["random: --split differs from that of one", "with the same flags"]);
    refused("one less", &["less: it is a part of other inputs: one has read logs/a.csv"]);
    refused("one logs", &["logs/part.json", "a folder that prepare --part has written"]);
    refused("one nowhere", &["nowhere/part.json"]);
    refused("one two --key-file key", &["key: no such file"]);
    fs::write(home.join("logs/b.jsonl"), text_of(&home.join("logs/b.jsonl")) + "{\"more\":1}\n").unwrap();
    part(2, 2, "logs", "grown");
    refused("one grown", &["grown: it is a part of other inputs: logs/b.jsonl had ", " bytes there, and ", " in one"]);
    // Records of the same length, which nothing but the checksum tells.
    let spool = home.join("two/records.spool");
    let text = fs::read_to_string(&spool).unwrap();
    fs::write(&spool, text.replacen("a", "b", 1)).unwrap();
    refused("one two", &["two/records.spool: checksum mismatch", "prepare it again with --overwrite"]);
    fs::write(&spool, &text[..text.len() - 1]).unwrap();
    refused("one two", &["two/records.spool: expected ", "bytes, found"]);
    fs::write(&spool, &text).unwrap();
    let written = fs::read_to_string(home.join("two/part.json")).unwrap();
    let (before, after) = written.split_once("\"logwright\": \"").unwrap();
    fs::write(home.join("two/part.json"), format!("{before}\"logwright\": \"0.0.9 {after}")).unwrap();
    refused("one two", &["two/part.json: it was written by logwright 0.0.9", "with one program"]);
    fs::write(home.join("two/part.json"), &written[..written.len() / 2]).unwrap();
    refused("one two", &["two/part.json: expected what prepare --part writes", "prepare it again"]);
}

#[test]
fn a_part_is_a_folder_of_its_own_whole_and_private() {
    use std::os::unix::fs::PermissionsExt;
    let home = logs();
    let home = home.path();
    let line = "prepare logs --part 2/3 --out part --pseudonymise --key-file key";
    run(home, line)
        .has(0, &["part written: part 2/3", "next: when all 3 parts are there, logwright merge PART... --out DATA"]);
    assert_eq!(names(&home.join("part")), ["names.sealed", "part.json", "records.spool"]);
    for name in names(&home.join("part")) {
        assert_eq!(fs::metadata(home.join("part").join(&name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    let sealed = fs::read(home.join("part/names.sealed")).unwrap();
    assert!(!sealed.windows(5).any(|bytes| bytes.eq_ignore_ascii_case(b"acole")));
    run(home, line).has(2, &["--out part: this already exists", "--overwrite"]);
    run(home, &format!("{line} --overwrite")).has(0, &[]);
    fs::write(home.join("part/notes"), "mine").unwrap();
    run(home, &format!("{line} --overwrite")).has(2, &["part/notes is not a file of a part folder"]);
    run(home, "prepare logs --out data").has(0, &[]);
    run(home, "prepare logs --out data --part 1/2 --overwrite").has(2, &["this is not a part folder"]);
    run(home, "prepare - --out p --part 1/2").has(2, &["--part 1/2: stdin can be read by one process only"]);
    run(home, "merge data/x --out data").has(2, &["--out data: data/x lies in it"]);
    run(home, "prepare logs --out p --part 3/2").has(2, &["I/N"]);
    assert_eq!(names(home), ["data", "key", "logs", "part"]);
}

/// Files of two processes that are begun together, with the records in turn.
fn sorted(mut lines: Vec<&str>) -> Vec<&str> {
    let number = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        (value["source"].to_string(), value["record"].as_u64())
    };
    lines.sort_by_key(|line| number(line));
    lines
}

#[test]
fn processes_share_scoring_and_generating() {
    let folder = corpus(60, "--tokenizer bytes");
    let home = folder.path();
    run(home, &format!("train --data data --out run {SMALL} --steps 2 --device cpu")).has(0, &[]);
    let broken =
        text_of(&home.join("corpus.jsonl")).lines().take(7).collect::<Vec<_>>().join("\n") + "\n{\"a\n{\"b\":1}\n";
    fs::write(home.join("broken.jsonl"), broken).unwrap();
    let score = "score --model run corpus.jsonl broken.jsonl --no-calibration --device cpu --threads 1";
    let whole = run(home, score);
    let all: Vec<Said> = (1..=3).map(|number| run(home, &format!("{score} --part {number}/3"))).collect();
    all.iter().for_each(|said| assert!(said.code == 0 && (20..26).contains(&said.out.lines().count()), "{}", said.err));
    let lines = sorted(all.iter().flat_map(|said| said.out.lines()).collect());
    assert_eq!(lines, sorted(whole.out.lines().collect()));

    let generate = "generate --model run -n 7 --max-tokens 40 --format jsonl --parallel 2 --device cpu --threads 1";
    fs::write(home.join("prompts"), "{\"time\n{\n").unwrap();
    // A number of any length, of which about half fit.
    let schema = r#"{"type":"object","properties":{"a":{"type":"integer","minimum":0,"maximum":999999999999}},"required":["a"],"additionalProperties":false}"#;
    fs::write(home.join("schema.json"), schema).unwrap();
    for flags in ["", "--prompts prompts", "--only-valid --schema schema.json --max-tokens 14 --format raw"] {
        let whole = run(home, &format!("{generate} {flags}"));
        whole.has(0, &[]);
        let steps = ["0", "1", "2"].map(|rank| {
            let step = [("SLURM_STEP_ID", "0"), ("SLURM_PROCID", rank), ("SLURM_NTASKS", "3"), ("SLURM_LOCALID", rank)];
            let said = run_with(home, &format!("{generate} {flags}"), &step);
            said.has(0, &["Slurm has started process"]);
            said.out
        });
        // Records that are tried again come behind the others of their process.
        let in_order = |out: &str| {
            let mut lines: Vec<String> = out.lines().map(String::from).collect();
            if flags.contains("--only-valid") {
                lines.sort();
            }
            lines
        };
        assert_eq!(in_order(&steps.concat()), in_order(&whole.out), "{flags}");
    }
}

#[test]
fn what_one_process_must_do_is_refused_for_several() {
    let folder = corpus(40, "--tokenizer bytes");
    let home = folder.path();
    run(home, &format!("train --data data --out run {SMALL} --steps 2 --device cpu")).has(0, &[]);
    let rank = [("RANK", "1"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "1")];
    for (flags, what) in [
        ("", "standard input"),
        ("corpus.jsonl -", "standard input"),
        ("corpus.jsonl --follow", "--follow"),
        ("--calibrate corpus.jsonl", "--calibrate"),
        ("corpus.jsonl --alerts-per-day 5", "--alerts-per-day"),
        ("corpus.jsonl --group-by identity", "--group-by"),
        ("corpus.jsonl --explain-html page.html", "--explain-html"),
    ] {
        let line = format!("score --model run --no-calibration {flags}");
        let needs_one = flags.contains("--calibrate") || flags.contains("--alerts");
        let line = if needs_one { line.replace("--no-calibration ", "") } else { line };
        let said = run_with(home, &line, &rank);
        said.has(2, &[what, "--part 1/1 does everything in this process", "torchrun has started process 2 of 2"]);
    }
    run_with(home, "generate --model run --prompts -", &rank).has(2, &["--prompts -", "name a file"]);
    let train = "train --data data --out run-of-many --steps 1 --device cpu";
    run_with(home, train, &rank).has(2, &["torchrun has started process 2 of 2", "start one process"]);
    // What the message says works.
    let alone =
        run_with(home, "score --model run --no-calibration corpus.jsonl --explain-html page.html --part 1/1", &rank);
    assert_eq!((alone.code, alone.out.lines().count()), (0, 40), "{}", alone.err);
    let half = [("RANK", "1")];
    run_with(home, "score --model run corpus.jsonl", &half).has(2, &["RANK is set", "WORLD_SIZE is not", "--part I/N"]);
    // The shell of an allocation is no process of a step.
    let sbatch = [("SLURM_JOB_ID", "7"), ("SLURM_NTASKS", "8"), ("SLURM_PROCID", "0"), ("SLURM_LOCALID", "0")];
    let alone = run_with(home, "score --model run --no-calibration corpus.jsonl", &sbatch);
    assert_eq!((alone.code, alone.out.lines().count()), (0, 40), "{}", alone.err);
}
