//! `logwright score` end to end, and surprisals against the plain losses of the CPU engine.

use crate::common::{Lines, SMALL, Said, corpus, logwright, names, run};
use logwright::cpu::CpuEngine;
use logwright::engine::{Batch, Engine, IGNORE};
use logwright::gpt::{Config, Layout, init};
use logwright::score::surprisals;
use logwright::tokens::Tokenizer;
use logwright::train::evaluate::stream_loss;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

fn engine(context: usize) -> CpuEngine {
    let config = Config { layers: 2, heads: 2, channels: 16, context, vocab: 256, bias: false };
    let parameters: Vec<f32> = init::parameters(&Layout::new(&config), 3).iter().map(|p| p * 4.0).collect();
    CpuEngine::new(config, parameters)
}

#[test]
fn a_record_has_the_loss_that_evaluation_gives_it() {
    let (mut engine, tokenizer) = (engine(32), Tokenizer::bytes());
    let records: [&[u8]; 4] = [b"{\"a\": 1}", b"", b"sshd[1]: failed password", b"x"];
    let found = surprisals(&mut engine, &tokenizer, &records, 3).unwrap();
    for (record, found) in records.iter().zip(found) {
        let found = found.unwrap();
        let mut stream = vec![tokenizer.separator()];
        tokenizer.encode(record, &mut stream).unwrap();
        stream.push(tokenizer.separator());
        let expected = stream_loss(&mut engine, &stream, &indicatif::ProgressBar::hidden()).unwrap();
        assert_eq!((found.tokens.len(), &found.tokens[..]), (record.len() + 1, &stream[1..]));
        assert!((found.total() - expected.sum).abs() < 1e-4, "{} {}", found.total(), expected.sum);
    }
}

#[test]
fn a_long_record_agrees_with_windows_computed_by_hand() {
    let (mut engine, tokenizer) = (engine(8), Tokenizer::bytes());
    let found = surprisals(&mut engine, &tokenizer, &[b"abcdefghijkl"], 1).unwrap().remove(0).unwrap();
    // The first window sees up to `h`, the second begins behind `d` and counts from `i` on, the third from the end on.
    let mut losses = [0.0; 8];
    let (window, targets) = (b"defghijk".map(u32::from), [&[IGNORE; 4][..], &b"ijkl".map(u32::from)].concat());
    engine.losses(Batch { tokens: &window, targets: &targets, seq_len: 8 }, &mut losses).unwrap();
    assert_eq!(found.nats[8..12], losses[4..]);
    let (window, targets) = (b"hijkl".map(u32::from), [IGNORE, IGNORE, IGNORE, IGNORE, 10]);
    engine.losses(Batch { tokens: &window, targets: &targets, seq_len: 5 }, &mut losses[..5]).unwrap();
    assert_eq!(found.nats[12..], losses[4..5]);
}

#[test]
fn a_batch_gives_what_each_record_gives_alone() {
    let (mut engine, tokenizer) = (engine(16), Tokenizer::bytes());
    let texts: Vec<String> = (0..23).map(|i| "log line ".repeat(i % 5) + &i.to_string()).collect();
    let records: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
    let together = surprisals(&mut engine, &tokenizer, &records, 6).unwrap();
    for (record, together) in records.iter().zip(together) {
        let alone = surprisals(&mut engine, &tokenizer, &[record], 6).unwrap().remove(0).unwrap();
        let together = together.unwrap();
        assert_eq!(alone.tokens, together.tokens);
        // Other shapes, other orders of a few sums: some units in the last place.
        let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 16.0 * f32::EPSILON * a.abs().max(1.0);
        assert!(alone.nats.iter().zip(&together.nats).all(close), "{:?} {:?}", alone.nats, together.nats);
    }
}

#[test]
fn a_record_that_is_no_line_leaves_the_others_alone() {
    let tokenizer = Tokenizer::chars(&"abc".chars().collect());
    let found = surprisals(&mut engine(8), &tokenizer, &[b"ab", b"xyz", b"\xff", b"a\nb", b"c"], 2).unwrap();
    assert_eq!(found.iter().map(|one| one.is_ok()).collect::<Vec<_>>(), [true, true, true, false, true]);
    let stand_ins = |one: usize| found[one].as_ref().unwrap().stand_ins.len();
    assert_eq!([0, 1, 2].map(stand_ins), [0, 3, 1], "what the tokenizer lacks");
}

/// A small model of sign-ins in `run/`, `corpus.jsonl`, and `attacks.jsonl` with labels; shared by the tests, which only add
/// files of their own.
fn home() -> &'static Path {
    static HOME: OnceLock<tempfile::TempDir> = OnceLock::new();
    let made = HOME.get_or_init(|| {
        let home = corpus(300, "--vocab-size 400");
        let small = "--layers 1 --heads 2 --channels 32 --context 256 --batch 4 --warmup 5 --eval-windows 4";
        let line = format!("train --data data --out run {small} --steps 60 --learning-rate 1e-2");
        run(home.path(), &line).has(0, &[]);
        home
    });
    made.path()
}

/// A folder of its own with a copy of the model.
pub fn own() -> tempfile::TempDir {
    let own = tempfile::tempdir().unwrap();
    let best = home().join("run/best");
    std::fs::create_dir_all(own.path().join("run/best")).unwrap();
    for name in names(&best) {
        std::fs::copy(best.join(&name), own.path().join("run/best").join(&name)).unwrap();
    }
    std::fs::copy(home().join("corpus.jsonl"), own.path().join("corpus.jsonl")).unwrap();
    own
}

pub fn lines(said: &Said) -> Vec<Value> {
    said.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

fn head(home: &Path, name: &str, from: usize, count: usize) {
    let text = std::fs::read_to_string(home.join("corpus.jsonl")).unwrap();
    let lines: Vec<&str> = text.lines().skip(from).take(count).collect();
    std::fs::write(home.join(name), lines.join("\n") + "\n").unwrap();
}

/// Starts a scoring with pipes.
pub fn start(home: &Path, line: &str) -> Child {
    let mut command = logwright();
    command.args(line.split_whitespace()).current_dir(home);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_record_is_described_and_agrees_with_evaluate() {
    let home = own();
    let corpus = std::fs::read_to_string(home.path().join("corpus.jsonl")).unwrap();
    // One that fits the context: evaluate cuts a longer one elsewhere.
    let short = corpus.lines().min_by_key(|line| line.len()).unwrap();
    std::fs::write(home.path().join("one.jsonl"), format!("{short}\n")).unwrap();
    let said = run(home.path(), "score --model run one.jsonl --aggregate mean --top-fields 0");
    let one = &lines(said.has(0, &["1 record "]))[0];
    let evaluated = run(home.path(), "evaluate --model run --text one.jsonl");
    let loss = lines(&evaluated)[0]["loss"].as_f64().unwrap();
    assert!((one["score"].as_f64().unwrap() - loss).abs() < 1e-3, "{one} {loss}");
    assert_eq!((&one["record"], &one["anomaly"], &one["threshold"]), (&1.into(), &Value::Null, &Value::Null));
    assert!(one.get("source").is_none());
    let fields = one["fields"].as_array().unwrap();
    let total: f64 = fields.iter().map(|field| field["nats"].as_f64().unwrap()).sum();
    let text = std::fs::read_to_string(home.path().join("one.jsonl")).unwrap();
    let per_char = one["nats_per_char"].as_f64().unwrap();
    assert!((total - per_char * text.chars().count() as f64).abs() < 0.1, "{total} {per_char}");
    let id = fields.iter().find(|field| field["path"] == "properties.id").unwrap();
    assert!(text.contains(&format!("\"{}\"", id["value"].as_str().unwrap())));
    let at = one["max_token"]["at"].as_u64().unwrap() as usize;
    assert!(text[at..].starts_with(one["max_token"]["text"].as_str().unwrap()));
}

#[test]
fn a_planted_oddity_is_the_top_field_after_calibration() {
    let home = own();
    let said = run(home.path(), "score --model run --calibrate corpus.jsonl --fpr 0.2");
    let made = &lines(said.has(0, &[]))[0];
    assert_eq!((&made["scores"], &made["aggregate"]), (&300.into(), &"evidence".into()));
    head(home.path(), "one.jsonl", 100, 1);
    let text = std::fs::read_to_string(home.path().join("one.jsonl")).unwrap();
    let at = text.find("\"location\": \"").unwrap() + 13;
    std::fs::write(home.path().join("odd.jsonl"), format!("{}{}{}", &text[..at], "#!", &text[at + 2..])).unwrap();
    let said = run(home.path(), "score --model run odd.jsonl one.jsonl");
    let found = lines(said.has(0, &["anomalous record"]));
    let top = &found[0]["fields"][0];
    assert_eq!((&top["path"], &top["value"], &found[0]["anomaly"]), (&"location".into(), &"#!".into(), &true.into()));
    assert!(top["evidence"].as_f64() > Some(2.0) && top["expected"].as_f64() < top["nats"].as_f64(), "{top}");
    assert_eq!(top["reason"], "never seen here");
    assert!(found[0]["p_value"].as_f64() < Some(0.1) && found[0]["evidence"]["fields"].as_f64() > Some(0.0));
    assert_eq!((&found[0]["source"], &found[0]["threshold"]), (&"odd.jsonl".into(), &made["threshold"]));
    assert!(found[1]["score"].as_f64() < found[0]["score"].as_f64());
    let said = run(home.path(), "score --model run odd.jsonl --threshold 1e9 --aggregate max");
    assert_eq!(lines(&said)[0]["anomaly"], false);
    let said = run(
        home.path(),
        "score --model run odd.jsonl one.jsonl --only-anomalies --ignore-field location --threshold -1",
    );
    assert!(lines(&said).iter().all(|line| line["fields"][0]["path"] != "location"));
}

#[test]
fn a_calibration_is_refused_where_it_does_not_belong() {
    let home = own();
    head(home.path(), "few.jsonl", 0, 12);
    let said = run(home.path(), "score --model run --calibrate few.jsonl --fpr 0.01 --aggregate max");
    said.has(0, &["12 normal scores are too few for a false-positive rate of 0.01", "99 are needed"]);
    let said = run(home.path(), "score --model run few.jsonl --aggregate mean");
    said.has(2, &["calibration.json", "--aggregate max", "--no-calibration"]);
    assert_eq!(said.out, "");
    run(home.path(), "score --model run few.jsonl --aggregate mean --no-calibration").has(0, &[]);
    let said = run(home.path(), "score --model run few.jsonl");
    assert!(
        lines(&said).iter().all(|line| line["anomaly"] == false),
        "the threshold is the largest of these very scores"
    );
    let path = home.path().join("run/calibration.json");
    let whole = std::fs::read_to_string(&path).unwrap();
    let model = serde_json::from_str::<Value>(&whole).unwrap()["model"].as_str().unwrap().to_string();
    for (text, part) in
        [(whole.replace(&model, "00000000"), "made for the model 00000000"), ("{".into(), "not a complete")]
    {
        std::fs::write(&path, text).unwrap();
        run(home.path(), "score --model run few.jsonl").has(1, &[part, "calibrate again"]);
    }
}

#[test]
fn wrong_flags_are_named() {
    let home = own();
    for (flags, part) in [
        ("corpus.jsonl --aggregate evidence", "calibrate first"),
        ("--recalibrate corpus.jsonl", "calibration.json does not exist; use --calibrate"),
        ("corpus.jsonl --data data", "--calibrate"),
        ("corpus.jsonl --only-anomalies", "no threshold"),
        ("--calibrate corpus.jsonl --fpr 0", "expected a fraction between 0 and 1"),
        ("corpus.jsonl --fpr 0.1", "--calibrate"),
        ("--follow", "the name of one file"),
        ("corpus.jsonl --group-by a --explain", "not the sessions"),
        ("corpus.jsonl --ignore-field [", "--ignore-field ["),
        ("corpus.jsonl --threshold nan", "'nan' for '--threshold <X>': expected a number"),
        ("corpus.jsonl --group-by a --group-seconds 0 --time-field t", "above 0"),
        ("corpus.jsonl --explain-limit 3", "--explain-html"),
        ("corpus.jsonl --explain-html missing/page.html", "the folder missing does not exist"),
    ] {
        let said = run(home.path(), &format!("score --model run {flags}"));
        said.has(2, &[part]);
        assert_eq!(said.out, "", "{flags}");
    }
    run(home.path(), "score --model run missing.jsonl").has(1, &["missing.jsonl", "no such file"]);
    head(home.path(), "one.jsonl", 0, 1);
    run(home.path(), "score --model run --calibrate one.jsonl").has(1, &["at least 2 are needed"]);
    let said = run(home.path(), "score --model run --calibrate corpus.jsonl --only-field nothing.*");
    said.has(2, &["leave no field"]);
}

#[test]
fn a_broken_line_is_reported_and_the_stream_goes_on() {
    let home = own();
    let text = std::fs::read_to_string(home.path().join("corpus.jsonl")).unwrap();
    let good = text.lines().next().unwrap();
    let mut child = start(home.path(), "score --model run - --max-record-bytes 2000");
    let long = "x".repeat(5000);
    let input = [good.as_bytes(), b"\n\nnot json\n{\"a\": \"\xff\"}\n", long.as_bytes(), b"\r\n[1]\n", good.as_bytes()]
        .concat();
    child.stdin.take().unwrap().write_all(&input).unwrap();
    let said = Said::from(child.wait_with_output().unwrap());
    said.has(0, &["6 records", "4 of them could not be scored"]);
    let found = lines(&said);
    let numbers: Vec<_> = found.iter().map(|line| line["record"].as_u64().unwrap()).collect();
    let errors: Vec<_> = found.iter().map(|line| line.get("error").is_some()).collect();
    assert_eq!((numbers, errors), (vec![1, 2, 3, 4, 5, 6], vec![false, true, true, true, true, false]));
    assert_eq!(found[0]["score"], found[5]["score"]);
    assert!(!said.err.contains("not json"), "messages hold nothing of the records");
    std::fs::write(home.path().join("mixed.jsonl"), format!("{good}\nnot json\n{good}\n")).unwrap();
    assert_eq!(lines(&run(home.path(), "score --model run mixed.jsonl")).len(), 3);
    assert_eq!(run(home.path(), "score --model run").has(0, &["0 records"]).out, "", "nothing on standard input");
}

#[test]
fn a_verdict_leaves_while_the_pipe_stays_open_and_a_closed_reader_ends_it() {
    let home = own();
    let text = std::fs::read_to_string(home.path().join("corpus.jsonl")).unwrap();
    let mut child = start(home.path(), "score --model run");
    let (mut input, mut output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    for (number, record) in text.lines().take(5).enumerate() {
        writeln!(input, "{record}").unwrap();
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["record"], number + 1);
    }
    drop(output);
    let mut ended = None;
    for record in text.lines().cycle().take(2000) {
        if writeln!(input, "{record}").is_err() {
            break;
        }
        ended = child.try_wait().unwrap();
        if ended.is_some() {
            break;
        }
    }
    drop(input);
    let status = ended.unwrap_or_else(|| child.wait().unwrap());
    let mut messages = String::new();
    child.stderr.take().unwrap().read_to_string(&mut messages).unwrap();
    assert!(status.success() && !messages.contains("panicked"), "{status} {messages}");
}

/// A stream, and a file of which only the end is followed, give what the whole file gives.
#[test]
fn rows_below_a_line_of_names_are_scored_as_they_come() {
    let home = tempfile::tempdir().unwrap();
    let head = "#separator \\x09\n#path\tconn\n#fields\tts\tid.orig_h\tservice\n#types\ttime\taddr\tstring\n";
    let rows: Vec<String> =
        (0..60).map(|i| format!("17723520{i:02}.5\t10.0.0.{i}\t{}\n", ["dns", "http"][i % 2])).collect();
    let log = home.path().join("conn.log");
    std::fs::write(&log, head.to_string() + &rows.concat()).unwrap();
    run(home.path(), "prepare conn.log --out data --tokenizer bytes").has(0, &["60 records"]);
    run(home.path(), &format!("train --data data --out run --steps 2 {}", SMALL)).has(0, &[]);
    let whole = lines(run(home.path(), "score --model run conn.log").has(0, &[]));
    assert!(
        whole.len() == 60 && whole[0]["fields"].as_array().unwrap().iter().any(|field| field["path"] == "id.orig_h")
    );
    let ragged = "1\t2\n";
    let mut child = start(home.path(), "score --model run -");
    child.stdin.take().unwrap().write_all([head, &rows[0], ragged, &rows[1]].concat().as_bytes()).unwrap();
    let said = Said::from(child.wait_with_output().unwrap());
    let streamed = lines(said.has(0, &[]));
    assert_eq!((&streamed[0], &streamed[2]["score"]), (&whole[0], &whole[1]["score"]));
    assert!(streamed[1]["error"].as_str().unwrap().contains("expected 3 fields"), "{}", streamed[1]);
    let mut child = start(home.path(), "score --model run conn.log --follow --from-end");
    let followed = Lines::of(&mut child);
    // When it has found the end is not known: rows are added until one comes out.
    let mut log = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
    let verdict = (0..100).find_map(|_| {
        log.write_all(rows[0].as_bytes()).unwrap();
        followed.0.recv_timeout(Duration::from_millis(300)).ok()
    });
    assert_eq!(serde_json::from_str::<Value>(&verdict.expect("a verdict in time")).unwrap(), whole[0]);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn sessions_are_scored_by_key() {
    let home = own();
    let flags = "--group-by identity --aggregate field --no-calibration --session-score";
    let records = lines(&run(home.path(), "score --model run corpus.jsonl --aggregate field"));
    let keys: Vec<String> = std::fs::read_to_string(home.path().join("corpus.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["identity"].as_str().unwrap().to_string())
        .collect();
    for (how, join) in [("max", f64::max as fn(f64, f64) -> f64), ("mean", |a, b| a + b)] {
        let sessions = lines(run(home.path(), &format!("score --model run corpus.jsonl {flags} {how}")).has(0, &[]));
        for session in &sessions {
            let own = keys.iter().zip(&records).filter(|(key, _)| session["session"] == **key);
            let scores: Vec<f64> = own.map(|(_, record)| record["score"].as_f64().unwrap()).collect();
            assert_eq!(session["records"], scores.len());
            let joined = scores.iter().copied().reduce(join).unwrap();
            let expected = if how == "mean" { joined / scores.len() as f64 } else { joined };
            assert!((session["score"].as_f64().unwrap() - expected).abs() < 1e-3, "{how} {session}");
            let worst = session["worst"]["record"].as_u64().unwrap() as usize;
            assert_eq!(records[worst - 1]["score"], scores.iter().copied().fold(f64::MIN, f64::max));
        }
        assert_eq!(sessions.iter().map(|session| session["records"].as_u64().unwrap()).sum::<u64>(), 300);
    }
    // The mean over all tokens of the session, each record after those before it.
    head(home.path(), "one.jsonl", 0, 1);
    let one = lines(&run(home.path(), &format!("score --model run one.jsonl {flags} sequence")));
    let alone = lines(&run(home.path(), "score --model run one.jsonl --aggregate mean"));
    assert!((one[0]["score"].as_f64().unwrap() - alone[0]["score"].as_f64().unwrap()).abs() < 2e-4);
    let said =
        run(home.path(), "score --model run corpus.jsonl --calibrate corpus.jsonl --fpr 0.1 --group-by identity");
    let sessions = lines(said.has(0, &["anomalous session"]));
    let inherited = lines(&run(home.path(), "score --model run corpus.jsonl"));
    assert_eq!(sessions, inherited, "scored as calibrated");
    let means = lines(&run(home.path(), &format!("score --model run corpus.jsonl {flags} mean --threshold 0")));
    let verdict = |of: &Value| (of["threshold"].is_null(), of["anomaly"].is_null());
    assert!(
        means.iter().all(|session| verdict(session) == (false, false) && verdict(&session["worst"]) == (true, true))
    );
    // A session over two inputs: its ends are counted within each.
    let both = lines(&run(home.path(), &format!("score --model run one.jsonl one.jsonl {flags} max")));
    assert_eq!((both.len(), &both[0]["records"], &both[0]["last"]), (1, &2.into(), &1.into()));
    assert_eq!(both[0]["last_source"], "one.jsonl");
    let said = run(home.path(), "score --model run corpus.jsonl --group-by none --no-calibration");
    assert!(
        lines(said.has(0, &["300 of them could not be scored"]))[0]["error"]
            .as_str()
            .unwrap()
            .contains("no field none")
    );
}

#[test]
fn explanations_are_for_people() {
    let home = own();
    head(home.path(), "some.jsonl", 0, 4);
    let page = "--explain-html page.html --explain-limit 2";
    let said =
        run(home.path(), &format!("score --model run some.jsonl --explain --aggregate max --threshold 3 {page}"));
    said.has(0, &["page.html: the 2 records with the highest scores"]);
    assert!(said.out.contains("record 4: score") && !said.out.contains('\x1b'), "{}", said.out);
    assert!(said.out.contains("properties.id = "));
    let html = std::fs::read_to_string(home.path().join("page.html")).unwrap();
    assert_eq!(html.matches("<article").count(), 2);
    assert!(html.contains(", threshold 3.00"));
    let said = run(home.path(), "score --model run some.jsonl --explain --color always");
    assert!(said.out.contains("\x1b[48;5;"));
    let json = run(home.path(), "score --model run some.jsonl --explain-html other.html");
    assert_eq!(lines(&json).len(), 4);
    let program = env!("CARGO_BIN_EXE_logwright");
    let script = format!("{program} score --model run corpus.jsonl --explain-html early.html | head -n 1");
    let output = std::process::Command::new("bash").args(["-c", &script]).current_dir(home.path()).output().unwrap();
    Said::from(output).has(0, &[]);
    assert!(home.path().join("early.html").exists(), "the reader of stdout has left, that of the page has not");
}

#[test]
fn a_model_that_gives_no_numbers_finds_nothing_normal() {
    let home = own();
    let damaged = home.path().join("damaged");
    std::fs::create_dir(&damaged).unwrap();
    for name in ["config.json", "tokenizer.json", "records.json"] {
        std::fs::copy(home.path().join("run/best").join(name), damaged.join(name)).unwrap();
    }
    let mut weights = std::fs::read(home.path().join("run/best/model.safetensors")).unwrap();
    let middle = weights.len() / 2;
    // 8e37 each: finite, but no sum of them is.
    weights[middle..].fill(0x7e);
    std::fs::write(damaged.join("model.safetensors"), weights).unwrap();
    head(home.path(), "one.jsonl", 0, 1);
    let found = lines(&run(home.path(), "score --model damaged one.jsonl --threshold 1"));
    assert!(found[0]["error"].as_str().unwrap().contains("NaN"), "{found:?}");
    run(home.path(), "evaluate --model damaged --text one.jsonl").has(1, &["its loss is"]);
}

#[test]
fn the_same_input_gives_the_same_bytes_however_it_comes() {
    let home = own();
    head(home.path(), "some.jsonl", 0, 40);
    let bytes = std::fs::read(home.path().join("some.jsonl")).unwrap();
    let file = run(home.path(), "score --model run some.jsonl --device cpu --threads 1 --batch 1");
    assert_eq!(lines(&file).len(), 40);
    for (batch, threads) in [(1, 2), (3, 1), (16, 4), (40, 1)] {
        let line = format!("score --model run --device cpu --threads {threads} --batch {batch}");
        assert_eq!(file.out, run(home.path(), &format!("{line} some.jsonl")).out, "{line} FILE");
        let mut child = start(home.path(), &line);
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        assert_eq!(file.out, Said::from(child.wait_with_output().unwrap()).out, "{line} < FILE");
    }
    let default = run(home.path(), "score --model run some.jsonl --device cpu");
    assert_eq!(file.out, default.out);
}
