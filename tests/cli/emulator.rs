//! The program from end to end on the CUDA engine, on the emulator: every command that takes `--device`.

use crate::common::{Said, logwright, run};
use std::fs;
use std::io::{BufRead, BufReader, Write};
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
        let line = format!(
            "generate --model run --device {device} --temperature 0 -n 2 --max-tokens 60 --format jsonl {prompt}"
        );
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
fn bench_trains_on_a_device() {
    let home = tempfile::tempdir().unwrap();
    let said = run(
        home.path(),
        "bench train --device emulator --layers 1 --heads 1 --channels 64 --context 32 --batch 1 --steps 1",
    );
    said.has(0, &[]);
    let facts: serde_json::Value = serde_json::from_str(said.out.trim()).unwrap();
    assert_eq!(facts["device"], "emulator");
    assert!(facts["tokens_per_second"].as_f64().unwrap() > 0.0);
    assert!((0.0..1.0).contains(&facts["idle_share"].as_f64().unwrap()), "{facts}");
}

/// Sizes at which the emulator measures a step in seconds.
const KERNELS: &str = "bench kernels --device emulator --layers 2 --heads 1 --channels 32 --context 16 --batch 2 \
    --rotate 0 --rounds 1 --round 0 --peak-size 16";

#[test]
fn bench_kernels_measures_every_operation_of_a_step_and_of_a_token() {
    let home = tempfile::tempdir().unwrap();
    for (more, names) in [
        ("", ["attention_backward_keys_32", "adamw_update", "gemm 32x96x32"]),
        ("--generate", ["decode_attend", "sampling_draw", "gemm 8x96x32"]),
    ] {
        let said = run(home.path(), &format!("{KERNELS} --json {more}"));
        let report: serde_json::Value = serde_json::from_str(&said.has(0, &[]).out).unwrap();
        let kernels = report["kernels"].as_array().unwrap();
        for name in names {
            let kernel = kernels.iter().find(|kernel| kernel["name"] == name).unwrap_or_else(|| panic!("{name}"));
            assert!(kernel["seconds"].as_f64().unwrap() > 0.0 && kernel["share"].as_f64().unwrap() > 0.0, "{kernel}");
        }
        assert!(kernels.iter().all(|kernel| kernel["bytes"].is_f64()), "all of them are on the roofline");
    }
}

#[test]
fn bench_kernels_takes_those_asked_for_and_prints_a_table() {
    let home = tempfile::tempdir().unwrap();
    let said = run(home.path(), &format!("{KERNELS} --only attention --only gelu"));
    let table = &said.has(0, &[]).out;
    for part in ["attention_forward_32", "gemm 32x128x32 gelu", "share %", "sum: "] {
        assert!(table.contains(part), "{part}: {table}");
    }
    assert!(!table.contains("layernorm"), "{table}");
    run(home.path(), &format!("{KERNELS} --only nonsense")).has(2, &["nonsense", "no operation"]);
    run(home.path(), "bench kernels --device cpu").has(2, &["--device cuda"]);
}

#[test]
fn a_head_size_without_a_kernel_is_an_error_with_advice() {
    let home = tempfile::tempdir().unwrap();
    corpus(home.path());
    let line =
        "train --data data --out run --device emulator --steps 1 --layers 1 --heads 3 --channels 48 --context 32";
    run(home.path(), line).has(1, &["head size", "16", "--device cpu"]);
}

/// The attention kernels that are asked for run, or it is said why not.
#[test]
fn the_attention_kernels_can_be_chosen() {
    let home = tempfile::tempdir().unwrap();
    let bench = |asked: &str| -> Said {
        let line = "bench train --device emulator --layers 1 --heads 1 --channels 64 --context 32 --batch 1 --steps 1";
        let mut command = logwright();
        command.args(line.split_whitespace()).current_dir(home.path()).env("LOGWRIGHT_ATTENTION", asked);
        command.output().unwrap().into()
    };
    bench("mma").has(0, &[]);
    bench("").has(0, &[]);
    bench("hopper").has(1, &["LOGWRIGHT_ATTENTION=hopper", "emulator has compute capability 8.0", "need 9.0", "mma"]);
    bench("wgmma").has(2, &["LOGWRIGHT_ATTENTION=wgmma: expected hopper", "or mma"]);
}

fn trained() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    corpus(home.path());
    run(home.path(), &format!("train --data data --out run --device cpu --steps 20 {SHAPE}")).has(0, &[]);
    home
}

/// Batches are packed, and read ahead of what the device computes: the answers are those of one record at a time, in their
/// order, faults among them.
#[test]
fn scoring_on_a_device_answers_alike_in_every_batch() {
    let home = trained();
    let line = |i: usize| match i % 7 {
        6 => "too long ".repeat(200),
        kind => format!("user=ann action=login ok{}", " disk sda1".repeat(kind * kind)),
    };
    fs::write(home.path().join("lines.txt"), (0..100).map(|i| line(i) + "\n").collect::<String>()).unwrap();
    let score = |batch: u32| {
        let said = run(
            home.path(),
            &format!(
                "score --model run --no-calibration --device emulator --max-record-bytes 1000 --batch {batch} lines.txt"
            ),
        );
        said.has(0, &["100 records", "14 of them could not be scored"]);
        said.out
    };
    let alone = score(1);
    let numbers = alone.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["record"].clone());
    assert!(numbers.eq((1..=100u32).map(serde_json::Value::from)), "{alone}");
    [3, 64].into_iter().for_each(|batch| assert_eq!(score(batch), alone, "batch {batch}"));
}

/// What was read is answered at once where no more lines are there.
#[test]
fn a_device_answers_a_line_before_the_next_one_comes() {
    let home = trained();
    let line = "score --model run --no-calibration --device emulator --batch 16 --format text";
    let mut scoring = crate::score::start(home.path(), line);
    let mut answers = BufReader::new(scoring.stdout.take().unwrap());
    let mut lines = scoring.stdin.take().unwrap();
    for number in 1..=3 {
        writeln!(lines, "user=ann action=login ok").unwrap();
        let mut answer = String::new();
        answers.read_line(&mut answer).unwrap();
        assert!(answer.contains(&format!("\"record\":{number},")), "{answer}");
    }
    drop(lines);
    assert!(scoring.wait().unwrap().success());
}
