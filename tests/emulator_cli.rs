//! The program from end to end on the CUDA engine, on the emulator: every command that takes `--device`.

mod common;

use common::run;
use std::fs;
use std::path::Path;

/// A few records, repeated: a tiny model learns them by heart, so that its likeliest tokens stand out.
fn corpus(home: &Path) {
    let lines = ["user=ann action=login ok", "user=bob action=logout ok", "disk sda1 is 91 percent full"];
    fs::write(home.join("log.txt"), lines.map(|line| format!("{line}\n")).concat().repeat(40)).unwrap();
    run(home, "prepare log.txt --out data --tokenizer char").has(0, &[]);
}

const SHAPE: &str = "--layers 2 --heads 2 --channels 64 --context 64 --batch 4 --warmup 5 --learning-rate 3e-3";

#[test]
fn a_trained_model_writes_the_same_records_on_both_engines() {
    let home = tempfile::tempdir().unwrap();
    corpus(home.path());
    run(home.path(), &format!("train --data data --out run --device cpu --steps 150 {SHAPE}")).has(0, &[]);
    let generate = |device: &str, prompt: &str| {
        let line = format!("generate --model run --device {device} --temperature 0 -n 2 --max-tokens 60 {prompt}");
        let said = run(home.path(), &line);
        said.has(0, &[]);
        said.out
    };
    for prompt in ["", "--prompt user=b", "--prompt disk"] {
        let cpu = generate("cpu", prompt);
        assert!(cpu.contains("ok") || cpu.contains("percent"), "the model has learnt nothing: {cpu}");
        assert_eq!(generate("emulator", prompt), cpu);
    }
}

#[test]
fn a_run_moves_between_the_engines() {
    let home = tempfile::tempdir().unwrap();
    corpus(home.path());
    let train = |out: &str, device: &str, steps: u32, how: &str| {
        let line = format!("train --data data --out {out} --device {device} --steps {steps} {how}");
        run(home.path(), &line).has(0, &[&format!("step {steps}/{steps}")]);
    };
    for (first, second) in [("emulator", "cpu"), ("cpu", "emulator")] {
        train(first, first, 30, SHAPE);
        train(first, second, 60, "--resume");
    }
    let loss = |out: &str, step: usize| {
        let lines = fs::read_to_string(home.path().join(out).join("metrics.jsonl")).unwrap();
        let line: serde_json::Value = serde_json::from_str(lines.lines().nth(step - 1).unwrap()).unwrap();
        line["loss"].as_f64().unwrap()
    };
    for out in ["emulator", "cpu"] {
        // Not a fresh start: the loss goes on falling from where the other engine left it.
        assert!(loss(out, 31) < 0.7 * loss(out, 1) && loss(out, 60) < loss(out, 31), "{out}");
    }
}

#[test]
fn the_demo_runs_on_the_emulator() {
    let home = tempfile::tempdir().unwrap();
    let line = "demo --device emulator --steps 2 --records 120 --samples 1 --vocab-size 300";
    run(home.path(), line).has(0, &["computing on emulator", "step 2/2"]);
    let report = fs::read_to_string(home.path().join("demo/report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert!(report["val_loss"].as_f64().unwrap().is_finite());
}

#[test]
fn evaluate_gives_the_loss_that_training_saw() {
    let home = tempfile::tempdir().unwrap();
    corpus(home.path());
    let line = format!("train --data data --out run --device emulator --steps 5 --eval-windows 0 {SHAPE}");
    run(home.path(), &line).has(0, &[]);
    let said = run(home.path(), "evaluate --model run --data data --device emulator");
    said.has(0, &[]);
    let facts: serde_json::Value = serde_json::from_str(said.out.trim()).unwrap();
    let lines = fs::read_to_string(home.path().join("run/metrics.jsonl")).unwrap();
    let last: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(facts["loss"], last["val_loss"]);
}

#[test]
fn bench_measures_the_roofline_of_a_device() {
    let home = tempfile::tempdir().unwrap();
    let line = "bench --roofline --gpu a100 --measure --device emulator --layers 1 --heads 1 --channels 64 --context 32 --batch 1";
    run(home.path(), line).has(0, &[]);
    let said = run(
        home.path(),
        "bench train --device emulator --layers 1 --heads 1 --channels 64 --context 32 --batch 1 --steps 1",
    );
    said.has(0, &[]);
    let facts: serde_json::Value = serde_json::from_str(said.out.trim()).unwrap();
    assert_eq!(facts["device"], "emulator");
    assert!(facts["tokens_per_second"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_head_size_without_a_kernel_is_an_error_with_advice() {
    let home = tempfile::tempdir().unwrap();
    corpus(home.path());
    let line =
        "train --data data --out run --device emulator --steps 1 --layers 1 --heads 3 --channels 48 --context 32";
    run(home.path(), line).has(1, &["head size", "16", "--device cpu"]);
}
