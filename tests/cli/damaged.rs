//! Model, run and data folders with damaged numbers: an error that names the file, never garbage, a panic or all memory.

use crate::common::{SMALL, Said, corpus, logwright, names, run};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A corpus with `data/` and a trained `run/`.
fn trained() -> tempfile::TempDir {
    let home = corpus(60, "--tokenizer bytes");
    run(home.path(), &format!("train --data data --out run {SMALL} --steps 3")).has(0, &[]);
    home
}

/// Runs the program with at most 2 GiB of address space.
fn run_in_little_memory(folder: &Path, line: &str) -> Said {
    let script = format!("ulimit -v 2097152; exec {} {line}", env!("CARGO_BIN_EXE_logwright"));
    Command::new("bash").args(["-c", &script]).current_dir(folder).output().unwrap().into()
}

/// The commands that read the model `run`.
const READERS: [&str; 4] = [
    "generate --model run --max-tokens 5",
    "score --model run corpus.jsonl",
    "evaluate --model run --data data",
    "train --data data --out other --init-from run --steps 1",
];

/// Changes a file of a model folder as a whole, so that its checksum does not tell.
fn change(file: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).unwrap();
    edit(&mut bytes);
    fs::write(file, bytes).unwrap();
    fs::remove_file(file.parent().unwrap().join("checksums.json")).ok();
}

/// The place of the values of a tensor in a safetensors file.
fn values_of(bytes: &[u8], name: &str) -> usize {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    8 + length + header[name]["data_offsets"][0].as_u64().unwrap() as usize
}

/// Puts a number into the third element of a tensor.
fn put(file: &Path, tensor: &str, value: f32) {
    change(file, |bytes| {
        let at = values_of(bytes, tensor) + 8;
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    });
}

#[test]
fn a_number_that_is_not_finite_in_a_model_is_refused_by_every_reader() {
    let home = trained();
    let file = home.path().join("run/best/model.safetensors");
    let good = fs::read(&file).unwrap();
    for (tensor, value, told) in [
        ("transformer.wte.weight", f32::NAN, "NaN (element 2)"),
        ("transformer.h.0.mlp.c_fc.weight", f32::INFINITY, "inf (element 2)"),
        ("transformer.ln_f.weight", f32::NEG_INFINITY, "-inf (element 2)"),
        ("transformer.h.0.attn.c_attn.bias", f32::NAN, "NaN (element 2)"),
    ] {
        put(&file, tensor, value);
        for line in READERS {
            run(home.path(), line).has(1, &["model.safetensors", tensor, told, "use another checkpoint"]);
        }
        fs::write(&file, &good).unwrap();
    }
    assert!(!home.path().join("other").exists());
    run(home.path(), READERS[0]).has(0, &[]);
}

#[test]
fn parameters_that_overflow_generate_no_garbage() {
    let home = trained();
    let file = home.path().join("run/best/model.safetensors");
    put(&file, "transformer.ln_f.weight", f32::MAX);
    change(&file, |bytes| {
        let from = values_of(bytes, "transformer.wte.weight");
        for (i, value) in bytes[from..from + 256 * 16 * 4].chunks_exact_mut(4).enumerate() {
            value.copy_from_slice(&[1e15f32, -1e15][i % 2].to_le_bytes());
        }
    });
    for line in ["generate --model run --max-tokens 5", "generate --model run --max-tokens 5 --json"] {
        let said = run(home.path(), line);
        said.has(1, &["logits", "not finite", "use another checkpoint"]);
        assert_eq!(said.out, "");
    }
    run(home.path(), "evaluate --model run --data data").has(1, &["its loss is"]);
}

#[test]
fn a_header_that_asks_for_more_than_the_file_holds_takes_no_memory() {
    let home = trained();
    let [config, file] = ["config.json", "model.safetensors"].map(|name| home.path().join("run/best").join(name));
    let [good_config, good] = [&config, &file].map(|file| fs::read(file).unwrap());
    // 14.5 GB, asked for by 95 bytes.
    let huge = include_str!("../faults/config-huge.json");
    let layers = huge.replace("16777216", "16384");
    let large = layers.replace("\"n_layer\":16384", "\"n_layer\":1").replace("\"n_embd\":8", "\"n_embd\":16777216");
    for (text, part) in [
        (huge, "layers must be at most 16384, found 16777216"),
        (&layers, "tensors are too few for the 16384 layers"),
        (&large, "must be a multiple of 8 and at most 128"),
        (&layers.replace("16384", "1"), "transformer.wte.weight has shape [256, 16], expected [512, 8]"),
        ("{\"model_type\":\"gpt2\",\"n_layer\":18446744073709551615}", "no number under \"n_head\""),
        (&"[".repeat(100_000), "not valid JSON"),
    ] {
        fs::write(&config, text).unwrap();
        for line in READERS {
            let started = Instant::now();
            let said = run_in_little_memory(home.path(), line);
            assert!(
                said.code == 1 && said.err.contains(part) && said.err.contains("run/best/"),
                "{line}: {}",
                said.err
            );
            assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
        }
    }
    fs::write(&config, good_config).unwrap();
    for (at, length) in [(0, u64::MAX), (0, 1 << 62), (0, 99_000_000), (0, good.len() as u64), (0, 0), (0, 3)] {
        change(&file, |bytes| bytes[at..at + 8].copy_from_slice(&length.to_le_bytes()));
        run_in_little_memory(home.path(), READERS[0]).has(1, &["model.safetensors", "damaged or cut short"]);
        fs::write(&file, &good).unwrap();
    }
    for (from, to) in [("[256,16]", "[1<<60]"), ("[256,16]", "[25616]"), ("\"F32\"", "\"F64\""), ("wte", "wtf")] {
        change(&file, |bytes| {
            let header = String::from_utf8_lossy(&bytes[..3000]).into_owned();
            let at = header.find(from).unwrap();
            let to = format!("{to:width$}", width = from.len());
            bytes[at..at + from.len()].copy_from_slice(&to.as_bytes()[..from.len()]);
        });
        run_in_little_memory(home.path(), READERS[0]).has(1, &["model.safetensors"]);
        fs::write(&file, &good).unwrap();
    }
    run_in_little_memory(home.path(), READERS[0]).has(0, &[]);
}

#[test]
fn a_tokenizer_with_an_id_beyond_its_tokens_is_refused() {
    let home = trained();
    let file = home.path().join("run/best/tokenizer.json");
    let text = fs::read_to_string(&file).unwrap();
    for (from, to, part) in [
        ("\":200,", "\":16777215,", "the token id 16777215; expected ids below"),
        ("\":200,", "\":201,", "two tokens have the id 201"),
        ("\":200,", "\":-1,", "the token id -1"),
    ] {
        assert!(text.contains(from));
        fs::write(&file, text.replacen(from, to, 1)).unwrap();
        run_in_little_memory(home.path(), READERS[0]).has(1, &["tokenizer.json", part]);
    }
}

#[test]
fn a_damaged_state_does_not_resume() {
    let home = trained();
    let last = home.path().join("run/last");
    let resume = "train --data data --out run --resume --steps 5";
    let state = fs::read_to_string(last.join("train_state.json")).unwrap();
    for (from, to, part) in [
        (
            "\"updates\": 3",
            "\"updates\": 18446744073709551615",
            "after 3 steps there cannot be 18446744073709551615 updates",
        ),
        ("\"step\": 3", "\"step\": 18446744073709551615", "18446744073709551615 steps are done"),
        ("\"step\": 3", "\"step\": 6", "6 steps are done, but the run has 5; give --steps 6 or more"),
        ("\"updates\": 3", "\"updates\": 1e400", "damaged"),
        ("\"best_val_loss\": ", "\"best_val_loss\": -", "best_val_loss is Some(-"),
    ] {
        assert!(state.contains(from), "{state}");
        fs::write(last.join("train_state.json"), state.replacen(from, to, 1)).unwrap();
        run(home.path(), resume).has(1, &["train_state.json", part]);
    }
    fs::write(last.join("train_state.json"), state.replacen("\"step\": 3", "\"step\": 6", 1)).unwrap();
    run(home.path(), "train --data data --out run --resume --steps 6").has(0, &["finished at step 6"]);
    fs::write(last.join("train_state.json"), state).unwrap();
    for (name, tensor, value, told) in [
        ("optimizer.safetensors", "first.transformer.wte.weight", f32::NAN, "NaN"),
        ("optimizer.safetensors", "second.transformer.wpe.weight", f32::INFINITY, "inf"),
        (
            "optimizer.safetensors",
            "second.transformer.wpe.weight",
            -1.0,
            "-1 (element 2), expected finite numbers of at least 0",
        ),
        ("model.safetensors", "transformer.wte.weight", f32::NAN, "NaN"),
    ] {
        let good = fs::read(last.join(name)).unwrap();
        put(&last.join(name), tensor, value);
        run(home.path(), resume).has(1, &[name, tensor, told]);
        fs::write(last.join(name), good).unwrap();
    }
    run(home.path(), resume).has(0, &["finished at step 5"]);
}

#[test]
fn a_run_that_ends_without_a_finite_loss_has_failed_and_says_what_is_left() {
    let home = corpus(60, "--tokenizer bytes");
    let wild = "--learning-rate 1e38 --schedule constant --warmup 0 --save-every 1";
    let said = run(home.path(), &format!("train --data data --out new {SMALL} --steps 1 {wild}"));
    said.has(
        1,
        &[
            "step 1: the parameters give no finite loss and were not saved",
            "no checkpoint was written",
            "--learning-rate",
        ],
    );
    assert!(!said.err.contains("last/"), "{}", said.err);
    assert_eq!(names(&home.path().join("new")), [".lock", "config.toml", "loss.svg", "metrics.jsonl"]);

    run(home.path(), &format!("train --data data --out run {SMALL} --steps 2")).has(0, &[]);
    let before = fs::read(home.path().join("run/last/model.safetensors")).unwrap();
    let said = run(home.path(), &format!("train --data data --out run --resume --steps 3 {wild}"));
    said.has(1, &["step 3: the parameters give no finite loss", "the checkpoint in run/last is from before"]);
    assert!(before == fs::read(home.path().join("run/last/model.safetensors")).unwrap());
    // What the message names can be used.
    run(home.path(), "train --data data --out run --resume --learning-rate 1e-3").has(0, &["finished at step 3"]);
}

/// Starts a training that never ends, and returns what it says after `harm` was done to its folders.
fn harmed(home: &Path, harm: impl FnOnce()) -> Said {
    let line = format!("train --data data --out run {SMALL} --steps 1000000 --eval-every 0 --save-every 50");
    let mut child = logwright().args(line.split_whitespace()).current_dir(home).stderr(Stdio::piped()).spawn().unwrap();
    while fs::metadata(home.join("run/metrics.jsonl")).map_or(0, |file| file.len()) == 0 {
        std::thread::sleep(Duration::from_millis(2));
    }
    harm();
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() && started.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait_with_output().unwrap().into()
}

#[test]
fn a_run_folder_that_is_removed_ends_the_run_and_is_not_made_again() {
    let home = corpus(60, "--tokenizer bytes");
    let [run_folder, aside] = ["run", "aside"].map(|name| home.path().join(name));
    let said = harmed(home.path(), || fs::rename(&run_folder, &aside).unwrap());
    said.has(1, &["run/metrics.jsonl", "removed, moved or replaced"]);
    assert!(!run_folder.exists());
}

#[test]
fn a_shard_that_is_cut_short_ends_the_run_with_its_name() {
    let home = corpus(60, "--tokenizer bytes");
    let shard = home.path().join("data/train-00000.bin");
    let said = harmed(home.path(), || fs::File::options().write(true).open(&shard).unwrap().set_len(64).unwrap());
    said.has(1, &["data/train-00000.bin: cannot read", "prepare again"]);
}

#[test]
fn a_calibration_with_impossible_numbers_is_refused_with_a_remedy() {
    let home = trained();
    run(home.path(), "score --model run --calibrate corpus.jsonl --fpr 0.1").has(0, &[]);
    let file = home.path().join("run/calibration.json");
    let good: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    for (pointer, value, part) in [
        ("/normal/paths/identity/mean", Value::from(-1.0), "normal: paths: identity has a mean of -1"),
        ("/version", Value::from(2), "version 2, expected 4"),
        ("/fpr", Value::from(7), "fpr is 7"),
        ("/method/top_k", Value::from(0), "method.top_k is 0"),
        ("/threshold", Value::Null, "not a complete calibration"),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        fs::write(&file, bad.to_string()).unwrap();
        run(home.path(), "score --model run corpus.jsonl").has(1, &["calibration.json", part, "--no-calibration"]);
    }
    run(home.path(), "score --model run corpus.jsonl --no-calibration").has(0, &[]);
}
