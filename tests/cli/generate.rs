//! `logwright generate` and `evaluate` end to end, and the KV cache against the plain forward pass.

use crate::common::{SMALL, Said, corpus, logwright, run};
use logwright::cpu::model::Model;
use logwright::cpu::{CpuEngine, sampling};
use logwright::engine::{Engine, SampleRequest, SamplingParams};
use logwright::gpt::{Config, Layout, init};
use serde_json::Value;
use std::io::Write;
use std::process::Stdio;

/// A trained model in `run/`.
fn trained(flags: &str, steps: usize) -> tempfile::TempDir {
    let home = corpus(60, flags);
    run(home.path(), &format!("train --data data --out run {SMALL} --steps {steps} --learning-rate 1e-2")).has(0, &[]);
    home
}

#[test]
fn the_cache_gives_the_logits_of_the_plain_forward_pass() {
    for bias in [false, true] {
        let config = Config { layers: 2, heads: 3, channels: 24, context: 20, vocab: 13, bias };
        let parameters: Vec<f32> = init::parameters(&Layout::new(&config), 4).iter().map(|p| p * 5.0).collect();
        let mut exact = Model::new(config, parameters.iter().map(|&p| p as f64).collect());
        let mut engine = CpuEngine::new(config, parameters);
        let tokens: Vec<u32> = (0..20).map(|i| i * 7 % 13).collect();
        let mut plain = vec![f32::NAN; 20 * 13];
        engine.logits(&tokens, 20, &mut plain).unwrap();
        let mut truth = vec![f64::NAN; 20 * 13];
        exact.logits(&tokens, 20, &mut truth);
        // The cache may err twice as much as the plain pass does, and a rounding of the largest logit.
        let error = |ours: &[f32], truth: &[f64]| {
            ours.iter().zip(truth).map(|(a, b)| (*a as f64 - b).abs()).fold(0.0, f64::max)
        };
        let largest = truth.iter().fold(0.0f64, |top, x| top.max(x.abs()));
        let allowed = 2.0 * error(&plain, &truth) + f32::EPSILON as f64 * largest;
        engine.open_cache(3).unwrap();
        let mut logits = [f32::NAN; 2 * 13];
        // Slot 2 reads everything at once, slot 0 in pieces; slot 1 holds something else and must not matter.
        engine.extend(&[(1, &tokens[3..9])], &mut logits[..13]).unwrap();
        for (from, to) in [(0, 7), (7, 8), (8, 9), (9, 20)] {
            let mut sequences = vec![(0, &tokens[from..to])];
            sequences.extend((to == 20).then_some((2, &tokens[..])));
            let logits = &mut logits[..sequences.len() * 13];
            engine.extend(&sequences, logits).unwrap();
            for logits in logits.chunks(13) {
                let found = error(logits, &truth[(to - 1) * 13..to * 13]);
                assert!(found <= allowed, "{found:e}, allowed {allowed:e}");
            }
        }
        assert_eq!([0, 1, 2].map(|slot| engine.cached(slot)), [20, 6, 20]);
        engine.forget(1);
        assert_eq!(engine.cached(1), 0);
    }
}

#[test]
fn sampling_is_extending_and_drawing() {
    let config = Config { layers: 1, heads: 2, channels: 16, context: 9, vocab: 11, bias: false };
    let parameters = init::parameters(&Layout::new(&config), 4);
    let [mut sampled, mut measured, mut extended] = [(); 3].map(|_| CpuEngine::new(config, parameters.clone()));
    let params = SamplingParams { temperature: 1.0, top_k: 0, top_p: 1.0 };
    let draw = |uniform, allowed| SampleRequest { params, uniform, allowed };
    let draws = [draw(0.2, None), draw(0.99, Some(&[0b1010][..]))];
    let (mut tokens, mut logits) = ([0; 2], [f32::NAN; 22]);
    let (mut same_tokens, mut same_logits, mut shares) = ([0; 2], [f32::NAN; 22], [f64::NAN; 2]);
    sampled.open_cache(3).unwrap();
    measured.open_cache(3).unwrap();
    extended.open_cache(3).unwrap();
    // A prompt, then a token a slot.
    for sequences in [[(2, &[1, 2, 3][..]), (0, &[4, 5])], [(2, &[6]), (0, &[7])]] {
        sampled.sample(&sequences, &draws, &mut tokens).unwrap();
        measured.sample_measured(&sequences, &draws, &mut same_logits, &mut same_tokens, &mut shares).unwrap();
        assert_eq!(same_tokens, tokens);
        extended.extend(&sequences, &mut logits).unwrap();
        assert_eq!(same_logits, logits);
        let weights: Vec<f64> = logits[11..].iter().map(|&logit| (logit as f64).exp()).collect();
        assert_eq!(shares[0], 1.0);
        assert!((shares[1] - (weights[1] + weights[3]) / weights.iter().sum::<f64>()).abs() < 1e-6, "{shares:?}");
        for ((token, logits), draw) in tokens.iter().zip(logits.chunks(11)).zip(&draws) {
            assert_eq!(*token, sampling::draw(logits, draw));
        }
        assert_eq!(tokens[1], 3, "the last of the two that are allowed");
    }
    assert_eq!([0, 1, 2].map(|slot| sampled.cached(slot)), [3, 0, 4]);
    assert_eq!([0, 1, 2].map(|slot| measured.cached(slot)), [3, 0, 4]);
}

#[test]
fn seeds_decide_and_samples_differ() {
    let home = trained("--tokenizer bytes", 30);
    let line = "generate --model run -n 6 --max-tokens 40 --temperature 1 --format jsonl";
    let first = run(home.path(), line);
    first.has(0, &["6 records", "tokens/s", "cut off"]);
    assert_eq!(first.out, run(home.path(), line).out);
    assert_ne!(first.out, run(home.path(), &format!("{line} --seed 2")).out);
    let lines: std::collections::BTreeSet<&str> = first.out.lines().collect();
    assert!(lines.len() >= 5, "samples of one run differ: {lines:?}");
}

#[test]
fn a_model_that_knows_its_records_generates_them_whole() {
    // One short record over and over: learnt by heart, so the record start, the end and the prompt can be checked exactly.
    let home = tempfile::tempdir().unwrap();
    let records = "{\"a\": \"alpha\", \"b\": 12}\n".repeat(200);
    std::fs::write(home.path().join("corpus"), records).unwrap();
    run(home.path(), "prepare corpus --out data --tokenizer bytes").has(0, &[]);
    run(home.path(), &format!("train --data data --out run {SMALL} --steps 400 --learning-rate 1e-2")).has(0, &[]);
    let said = run(home.path(), "generate --model run -n 3 --temperature 0 --format jsonl");
    said.has(0, &["3 records", "3 complete", "100.0 %"]);
    for line in said.out.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["text"], "{\"a\": \"alpha\", \"b\": 12}");
        assert_eq!((&record["ended"], &record["verdict"]), (&true.into(), &"valid".into()));
    }
    let output = logwright()
        .args(["generate", "--model", "run", "--temperature", "0", "--prompt", "{\"a\": \"al"])
        .current_dir(home.path())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "{\"a\": \"alpha\", \"b\": 12}\n");
}

#[test]
fn prompts_from_a_file_and_from_stdin() {
    let home = trained("--tokenizer bytes", 10);
    std::fs::write(home.path().join("prompts"), "{\"time\r\n{\"x\n").unwrap();
    let file = run(home.path(), "generate --model run --prompts prompts -n 2 --max-tokens 8 --format jsonl");
    file.has(0, &["4 records"]);
    let text = |line: &str| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap()[..3].to_string();
    let starts: Vec<String> = file.out.lines().map(text).collect();
    assert_eq!(starts, ["{\"t", "{\"t", "{\"x", "{\"x"]);
    let mut child = logwright()
        .args(["generate", "--model", "run", "--prompts", "-", "--max-tokens", "8", "--format", "jsonl"])
        .current_dir(home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"{\"q").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(std::str::from_utf8(&output.stdout).unwrap()), "{\"q\"".get(..3).unwrap());
}

#[test]
fn records_longer_than_the_context_go_on() {
    let home = trained("--tokenizer bytes", 5);
    let said = run(home.path(), "generate --model run -n 3 --max-tokens 200 --top-k 5 --seed 3 --format jsonl");
    said.has(0, &["3 records"]);
    let longest =
        said.out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["tokens"].as_u64());
    assert!(longest.max().unwrap().unwrap() > 48, "beyond the context of 48");
    let prompt = "x".repeat(100);
    run(home.path(), &format!("generate --model run --prompt {prompt} --max-tokens 5")).has(0, &["1 record "]);
}

#[test]
fn what_is_cut_off_is_never_printed_as_if_it_were_whole() {
    let home = trained("--tokenizer bytes", 5);
    let said = run(home.path(), "generate --model run -n 5 --max-tokens 10 --temperature 0");
    said.has(0, &["5 records not printed: cut off", "--max-tokens", "--format jsonl"]);
    assert_eq!(said.out, "");
    let said = run(home.path(), "generate --model run -n 5 --max-tokens 10 --temperature 0 --format jsonl");
    let lines: Vec<Value> = said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 5);
    assert!(lines.iter().all(|line| line["ended"] == false && line["verdict"] == "truncated"));
    assert!(!said.err.contains("not printed"), "{}", said.err);
}

#[test]
fn only_valid_goes_on_until_all_are_there_or_too_many_were_tried() {
    let home = trained("--tokenizer bytes", 5);
    let said = run(home.path(), "generate --model run -n 2 --max-tokens 10 --temperature 0 --only-valid");
    said.has(1, &["0 of the 2 records are there after 40 tries", "--max-tokens", "40 records not printed: cut off"]);
    assert_eq!(said.out, "");
    // Names in both orders, which a small model confuses: some occur twice, and such a record is not valid.
    let home = tempfile::tempdir().unwrap();
    let names = |i: usize| format!("{{\"{}\":1,\"{}\":2}}\n", ["a", "b"][i % 2], ["b", "a"][i % 2]);
    std::fs::write(home.path().join("corpus"), (0..200).map(names).collect::<String>()).unwrap();
    run(home.path(), "prepare corpus --out data --tokenizer bytes").has(0, &[]);
    run(home.path(), &format!("train --data data --out run {SMALL} --steps 300 --learning-rate 1e-2")).has(0, &[]);
    let line = "generate --model run -n 20 --temperature 1 --max-tokens 30";
    let all = run(home.path(), &format!("{line} --format jsonl"));
    let broken = all.out.lines().filter(|line| !line.contains("\"valid\"")).count();
    assert!((1..20).contains(&broken), "some and not all: {broken}");
    let said = run(home.path(), &format!("{line} --only-valid"));
    said.has(0, &["records not printed"]);
    assert_eq!(said.out.lines().count(), 20);
    for line in said.out.lines() {
        let members: Value = serde_json::from_str(line).unwrap();
        let doubled = line.matches("\":").count() != members.as_object().unwrap().len();
        assert!(!doubled, "{line}");
    }
    assert_eq!(said.out, run(home.path(), &format!("{line} --only-valid --parallel 3")).out);
}

#[test]
fn a_prompt_may_end_inside_a_token() {
    let home = tempfile::tempdir().unwrap();
    let record = r#"{"user": "annamaria", "id": "0171151e-6e1f-4bc0-81e6-ff46c7756b00", "code": 4711}"#;
    std::fs::write(home.path().join("corpus"), format!("{record}\n").repeat(300)).unwrap();
    run(home.path(), "prepare corpus --out data --tokenizer bpe --vocab-size 300").has(0, &[]);
    run(home.path(), &format!("train --data data --out run {SMALL} --steps 300 --learning-rate 1e-2")).has(0, &[]);
    let prompts: String = (1..record.len()).map(|cut| format!("{}\n", &record[..cut])).collect();
    std::fs::write(home.path().join("prompts"), prompts).unwrap();
    for grammar in ["", "--json", "--schema learned"] {
        let line = format!("generate --model run --prompts prompts --temperature 0 --max-tokens 100 {grammar}");
        let said = run(home.path(), &line);
        said.has(0, &[]);
        let wrong: Vec<&str> = said.out.lines().filter(|line| *line != record).collect();
        assert!(wrong.is_empty() && said.out.lines().count() == record.len() - 1, "{grammar}: {wrong:?}");
    }
}

#[test]
fn mistakes_are_named() {
    let home = trained("--tokenizer char", 3);
    run(home.path(), "generate --model absent").has(1, &["absent", "does not exist"]);
    run(home.path(), "generate --model data").has(1, &["data", "contains no model"]);
    run(home.path(), "generate --model run --temperature -1").has(2, &["--temperature"]);
    run(home.path(), "generate --model run --top-p 0").has(2, &["--top-p"]);
    run(home.path(), "generate --model run --max-tokens 0").has(2, &["--max-tokens"]);
    run(home.path(), "generate --model run --prompt \u{20ac}").has(1, &["20ac"]);
    std::fs::write(home.path().join("prompts"), "{\"time\n\u{20ac}\n").unwrap();
    let said = run(home.path(), "generate --model run --prompts prompts");
    said.has(1, &["prompts:2", "20ac"]);
    assert_eq!(said.out, "", "no record is printed before a prompt is refused");
    run(home.path(), "generate --model run --prompts absent").has(1, &["absent"]);
    run(home.path(), "generate --model run --parallel 100000").has(2, &["--parallel"]);
    run(home.path(), "evaluate --model run").has(2, &["--data"]);
    std::fs::write(home.path().join("odd"), "{\"a\": 1}\n\u{20ac}\n").unwrap();
    run(home.path(), "evaluate --model run --text odd").has(1, &["odd: record 2"]);
    std::fs::write(home.path().join("empty"), "").unwrap();
    run(home.path(), "evaluate --model run --text empty").has(1, &["empty: the file is empty"]);
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let home = trained("--tokenizer bytes", 3);
    let script = format!(
        "set -o pipefail; {} generate --model run -n 200 --max-tokens 20 --format jsonl | head -n 1",
        env!("CARGO_BIN_EXE_logwright")
    );
    let output = std::process::Command::new("bash").args(["-c", &script]).current_dir(home.path()).output().unwrap();
    Said::from(output).has(0, &[]);
}

#[test]
fn both_ways_to_evaluate_agree_on_one_record() {
    let home = trained("--tokenizer bytes", 10);
    std::fs::write(home.path().join("text"), "{\"time\": \"2022\"}\n").unwrap();
    let said = run(home.path(), "evaluate --model run --text text --logits out.safetensors");
    said.has(0, &[]);
    let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(report["tokens"], 17);
    let bytes = std::fs::read(home.path().join("out.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let logits = file.tensor("logits").unwrap();
    assert_eq!(logits.shape(), [17, 256]);
    let logits: Vec<f64> =
        logits.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()).into()).collect();
    let targets = b"{\"time\": \"2022\"}\n";
    let nats = |(row, &target): (&[f64], &u8)| row.iter().map(|x| x.exp()).sum::<f64>().ln() - row[target as usize];
    let mean = logits.chunks(256).zip(targets).map(nats).sum::<f64>() / 17.0;
    assert!((mean - report["loss"].as_f64().unwrap()).abs() < 1e-5);
}
