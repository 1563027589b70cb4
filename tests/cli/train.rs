//! `logwright train` end to end: what it writes, that it resumes bit for bit, what it says when it cannot go on.

use crate::common::{SMALL, Said, corpus, logwright, losses, names, real_logs, run, sampled_logs};
use logwright::gpt::{Layout, checkpoint};
use logwright::train::TrainConfig;
use logwright::words::short;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

const BYTES: &str = "--tokenizer bytes";

#[test]
fn a_run_folder_holds_what_the_help_promises() {
    let home = corpus(60, BYTES);
    let said =
        run(home.path(), &format!("train --data data --out run {SMALL} --steps 6 --eval-every 3 --peak-tflops 0.1"));
    said.has(0, &["parameters; memory", "step 6/6", "val loss", "bits/byte", "tokens/s", "MFU", "finished at step 6"]);
    let folder = home.path().join("run");
    assert_eq!(names(&folder), [".lock", "best", "config.toml", "last", "loss.svg", "metrics.jsonl"]);
    let model = [
        "README.md",
        "checksums.json",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "provenance.json",
        "records.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    assert_eq!(names(&folder.join("best")), model);
    assert!(["optimizer.safetensors", "train_state.json"].iter().all(|name| folder.join("last").join(name).exists()));
    assert!(fs::read_to_string(folder.join("loss.svg")).unwrap().starts_with("<svg"));
    let steps: Vec<u64> = losses(&folder).iter().map(|line| line.0).collect();
    assert_eq!(steps, [1, 2, 3, 4, 5, 6]);
    assert!(fs::read_to_string(folder.join("config.toml")).unwrap().contains("context = 48"));
}

#[test]
fn training_learns_and_overfitting_learns_by_heart() {
    let home = corpus(60, "--tokenizer bpe --vocab-size 300");
    run(home.path(), &format!("train --data data --out run {SMALL} --steps 150 --learning-rate 1e-2 --overfit"))
        .has(0, &[]);
    let losses = losses(&home.path().join("run"));
    let (first, last) = (losses[0].1, losses[149].1);
    assert!((first - 300f64.ln()).abs() < 0.5, "an untrained model knows nothing: {first}");
    assert!(last < 0.3, "one batch is learnt by heart: {last}");
}

#[test]
fn epochs_are_passes_over_the_data_and_many_of_them_are_warned_of() {
    let home = corpus(60, BYTES);
    let meta: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(home.path().join("data/meta.json")).unwrap()).unwrap();
    let tokens = meta["train"]["tokens"].as_f64().unwrap();
    let train = |flags: &str| run(home.path(), &format!("train --data data {SMALL} {flags}"));
    let said = train("--out run --epochs 0.5");
    // Two sequences of 48 tokens a step.
    let steps = (0.5 * tokens / 96.0).ceil();
    said.has(0, &[&format!("step {steps}/{steps}"), "0.5 passes over the training data"]);
    let saved = fs::read_to_string(home.path().join("run/config.toml")).unwrap();
    assert!(saved.contains(&format!("steps = {steps}\n")) && !saved.contains("epochs"), "{saved}");
    let more = (0.6 * tokens / 96.0).ceil();
    train("--out run --resume --epochs 0.6").has(0, &[&format!("step {more}/{more}")]);
    train("--out other --epochs 1 --steps 2").has(2, &["--epochs", "--steps"]);
}

#[test]
fn a_run_that_sees_its_records_too_often_is_told_what_to_do() {
    let home = corpus(6, BYTES);
    let train = |flags: &str| run(home.path(), &format!("train --data data {SMALL} --eval-every 0 {flags}"));
    let said = train("--out run --steps 900");
    said.has(0, &["the model sees each record about", "give --epochs 20,"]);
    // A window that is wider than the data is not full, and does not count as if it were.
    train("--out wide --context 8192 --batch 1 --steps 1").has(0, &[": 1.0 passes"]);
    let said = train("--out fewer --epochs 20");
    assert!(!said.has(0, &["20.0 passes"]).err.contains("memorises"), "{}", said.err);
}

#[test]
fn metrics_are_fields_of_json_messages() {
    let home = corpus(60, BYTES);
    let said = run(home.path(), &format!("train --data data --out run {SMALL} --steps 2 --log-format json"));
    said.has(0, &[]);
    let lines: Vec<serde_json::Value> = said.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = &lines.iter().rfind(|line| line["fields"]["message"] == "step").unwrap()["fields"];
    assert_eq!((last["step"].as_u64(), last["val_loss"].is_number()), (Some(2), true), "{last}");
    assert!(
        ["loss", "grad_norm", "learning_rate", "tokens_per_second"].iter().all(|name| last[name].is_number()),
        "{last}"
    );
    assert!(!said.err.contains(r#"{\""#), "JSON in JSON: {}", said.err);
}

#[test]
fn the_help_gives_the_sizes_of_the_presets() {
    let help = logwright().args(["train", "--help"]).env("COLUMNS", "110").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    for (preset, vocabulary) in
        [("tiny", 2048), ("small", 2048), ("cyber-foundation", 82), ("gpt2", 50257), ("gpt2-medium", 50257)]
    {
        let config = TrainConfig::resolve(Some(preset), None, toml::Table::new()).unwrap();
        let size = short(Layout::new(&config.model(vocabulary).unwrap()).len as u64);
        assert!(help.contains(&format!("{preset} ({size}")), "{preset} ({size} in {help}");
    }
}

#[test]
fn a_run_that_no_longer_improves_stops_early() {
    let home = corpus(60, BYTES);
    let flags = "--steps 50 --eval-every 2 --patience 3 --learning-rate 1e-30 --min-learning-rate 0 --weight-decay 0";
    let said = run(home.path(), &format!("train --data data --out run {SMALL} {flags}"));
    said.has(0, &["stopped early"]);
    // The first validation is the best for ever; three more without improvement end the run.
    assert_eq!(losses(&home.path().join("run")).len(), 8);
}

#[test]
fn settings_come_from_preset_then_file_then_flags() {
    let home = corpus(60, BYTES);
    fs::write(home.path().join("my.toml"), "steps = 3\nbatch = 1\nlayers = 1\n").unwrap();
    run(home.path(), &format!("train --data data --out run --config my.toml {SMALL} --batch 3"))
        .has(0, &["finished at step 3"]);
    let saved = fs::read_to_string(home.path().join("run/config.toml")).unwrap();
    assert!(["batch = 3", "steps = 3", "weight_decay = 0.1"].iter().all(|line| saved.contains(line)), "{saved}");
    fs::write(home.path().join("bad.toml"), "stepz = 3\n").unwrap();
    run(home.path(), "train --data data --out other --config bad.toml").has(2, &["bad.toml", "stepz"]);
    run(home.path(), "train --data data --out other --config absent.toml").has(1, &["absent.toml"]);
    run(home.path(), "train --data data --out other --steps 0")
        .has(2, &["'0' for '--steps <N>': expected a whole number from 1 to"]);
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let home = corpus(60, BYTES);
    // 8 x 96 rows and a vocabulary over 512: large enough to be cut into row pieces, with sums long enough to be cut, too.
    for threads in [1, 2, 3, 7] {
        let large = "--batch 8 --context 96 --channels 32";
        let line = format!("train --data data --out run{threads} {SMALL} {large} --steps 5 --threads {threads}");
        run(home.path(), &line).has(0, &[]);
        assert_eq!(losses(&home.path().join("run1")), losses(&home.path().join(format!("run{threads}"))));
    }
}

/// Whatever was in the middle of being written: what has its final name is whole.
fn assert_whole(folder: &Path) {
    for name in ["last", "best"].iter().filter(|name| folder.join(name).exists()) {
        let (config, _) = checkpoint::read_model(&folder.join(name)).unwrap();
        if *name == "last" {
            checkpoint::read_moments(&folder.join(name), &Layout::new(&config), |_, _| Ok(())).unwrap();
        }
    }
}

/// Kills the run 20 times, or as often as `LOGWRIGHT_KILLS` says.
#[test]
fn killed_again_and_again_it_resumes_bit_for_bit() {
    let wanted = std::env::var("LOGWRIGHT_KILLS").map_or(20, |kills| kills.parse().unwrap());
    let home = corpus(60, BYTES);
    let flags = format!("--data data {SMALL} --steps 400 --save-every 3 --eval-every 5 --eval-windows 1 --batch 1");
    run(home.path(), &format!("train --out whole {flags}")).has(0, &[]);
    let folder = home.path().join("killed");
    let mut kills = 0;
    let (mut delay, mut resumed) = (7u64, 0);
    while kills < wanted {
        let begun = folder.join("last").exists();
        if !begun && folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        let line = if begun {
            "train --data data --out killed --resume".into()
        } else {
            format!("train --out killed {flags}")
        };
        let mut child =
            logwright().args(line.split_whitespace()).current_dir(home.path()).stderr(Stdio::null()).spawn().unwrap();
        delay = (delay * 73 + 41) % 251;
        std::thread::sleep(Duration::from_millis(30 + delay));
        let finished = child.try_wait().unwrap().is_some();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_whole(&folder);
        if finished {
            fs::remove_dir_all(&folder).unwrap();
        }
        kills += u32::from(!finished);
        resumed += u32::from(!finished && begun);
    }
    assert!(resumed >= 5, "kills must land in resumed runs, too: {resumed}");
    if folder.join("last").exists() {
        run(home.path(), "train --data data --out killed --resume").has(0, &["finished at step 400"]);
    } else {
        fs::remove_dir_all(&folder).unwrap();
        run(home.path(), &format!("train --out killed {flags}")).has(0, &[]);
    }
    assert_eq!(losses(&home.path().join("whole")), losses(&folder));
    let vals = |run: &str| {
        let text = fs::read_to_string(home.path().join(run).join("metrics.jsonl")).unwrap();
        let value = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["val_loss"].clone();
        text.lines().map(value).collect::<Vec<_>>()
    };
    assert_eq!(vals("whole"), vals("killed"));
    let model = |run: &str| fs::read(home.path().join(run).join("last/model.safetensors")).unwrap();
    assert!(model("whole") == model("killed"), "the final models are equal to the bit");
    assert!(names(&folder).iter().all(|name| !name.contains("partial")), "{:?}", names(&folder));
}

#[test]
fn an_interrupt_saves_and_resuming_finishes() {
    let home = corpus(60, BYTES);
    let line = format!("train --data data --out run {SMALL} --steps 100000 --save-every 0 --eval-every 0");
    let child =
        logwright().args(line.split_whitespace()).current_dir(home.path()).stderr(Stdio::piped()).spawn().unwrap();
    while !home.path().join("run/metrics.jsonl").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(100));
    std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let said = Said::from(child.wait_with_output().unwrap());
    said.has(130, &["interrupted at step", "next: logwright train --data data --out run --resume  #"]);
    let done = losses(&home.path().join("run")).len();
    run(home.path(), &format!("train --data data --out run --resume --steps {}", done + 3)).has(0, &["finished"]);
    assert_eq!(losses(&home.path().join("run")).len(), done + 3);
}

#[test]
fn starting_from_a_model_starts_at_its_loss() {
    let home = corpus(60, BYTES);
    run(home.path(), &format!("train --data data --out first {SMALL} --steps 20")).has(0, &[]);
    run(home.path(), "prepare corpus.jsonl --out more --tokenizer-from first --val-fraction 0.3").has(0, &[]);
    let flags = "--steps 1 --learning-rate 1e-30 --weight-decay 0 --batch 2 --warmup 0 --eval-windows 0";
    run(home.path(), &format!("train --data more --out second --init-from first {flags}")).has(0, &[]);
    let loss = |model: &str| {
        let said = run(home.path(), &format!("evaluate --model {model} --data more"));
        said.has(0, &[]);
        serde_json::from_str::<serde_json::Value>(&said.out).unwrap()["loss"].as_f64().unwrap()
    };
    assert_eq!(loss("first"), loss("second"));
}

#[test]
fn damage_is_named_with_its_remedy() {
    let home = corpus(60, BYTES);
    let train = format!("train --data data --out run {SMALL} --steps 2");
    run(home.path(), &train).has(0, &[]);
    run(home.path(), &train).has(2, &["run already contains a run (last)", "--resume"]);
    fs::create_dir(home.path().join("mine")).unwrap();
    fs::write(home.path().join("mine/config.toml"), "mine").unwrap();
    run(home.path(), &format!("train --data data --out mine {SMALL} --steps 2"))
        .has(2, &["mine already contains a run (config.toml)"]);
    assert_eq!(fs::read_to_string(home.path().join("mine/config.toml")).unwrap(), "mine");
    for (file, parts) in [
        ("data/train-00000.bin", ["train-00000.bin", "prepare again"]),
        ("data/meta.json", ["meta.json", "prepare again"]),
        ("data/tokenizer.json", ["tokenizer.json", "prepare again"]),
        ("run/last/model.safetensors", ["model.safetensors", "use another checkpoint"]),
        ("run/last/optimizer.safetensors", ["optimizer.safetensors", "use another checkpoint"]),
        ("run/last/train_state.json", ["train_state.json", "damaged"]),
        ("run/config.toml", ["config.toml", "expected"]),
    ] {
        let path = home.path().join(file);
        let good = fs::read(&path).unwrap();
        fs::write(&path, &good[..good.len() / 2]).unwrap();
        let said = run(home.path(), "train --data data --out run --resume --steps 3");
        assert!(said.code == 1 || said.code == 2, "{file}: {}", said.code);
        said.has(said.code, &parts);
        fs::write(&path, &good).unwrap();
    }
    run(home.path(), "train --data data --out run --resume --steps 3").has(0, &["finished at step 3"]);
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let home = corpus(60, BYTES);
    run(home.path(), &format!("train --data data --out run {SMALL} --steps 2")).has(0, &[]);
    run(home.path(), "prepare corpus.jsonl --out other --tokenizer bpe --vocab-size 300").has(0, &[]);
    run(home.path(), "train --data other --out run --resume").has(1, &["another data folder", "--init-from"]);
    run(home.path(), "train --data data --out run --resume --channels 32 --steps 9")
        .has(2, &["channels cannot change"]);
    run(home.path(), "train --data data --out run --resume --seed 5 --steps 9").has(2, &["seed cannot change"]);
    run(home.path(), "train --data data --out new --init-from run --layers 3").has(2, &["--layers"]);

    run(home.path(), "train --data other --out new --init-from run").has(2, &["256 tokens", "300", "--tokenizer-from"]);
    run(home.path(), "evaluate --model run --data other").has(2, &["another tokenizer", "--text"]);
    run(home.path(), "train --data data --out new --resume").has(2, &["contains no run"]);
    run(home.path(), "train --data absent --out new").has(1, &["absent", "logwright prepare"]);
    run(home.path(), "train --data data --out new --preset huge").has(2, &["huge", "tiny, small"]);
    run(home.path(), "train --data data --out new --channels 30").has(2, &["multiple of"]);
    run(home.path(), "train --data data --out new --device tpu").has(2, &["tpu", "expected auto, cpu, cuda"]);
    assert!(!home.path().join("new/last").exists());
}

#[test]
fn a_context_longer_than_the_data_names_both() {
    let home = corpus(12, BYTES);
    let said = run(
        home.path(),
        "train --data data --out run --windows random --context 100000 --steps 1 --layers 1 --batch 1",
    );
    said.has(said.code, &["100000", "--context"]);
    assert!(said.code == 1 || said.code == 2);
}

#[test]
fn too_large_a_batch_names_the_largest_that_fits() {
    let home = corpus(60, BYTES);
    let said = run(home.path(), "train --data data --out run --steps 1 --context 1024 --batch 60000");
    said.has(1, &["training needs", "the largest micro-batch that fits is --batch"]);
    let said =
        run(home.path(), "train --data data --out run --steps 1 --layers 2000 --heads 64 --channels 8192 --context 64");
    said.has(1, &["not even --batch 1 fits"]);
}

#[test]
fn a_diverging_run_stops_and_keeps_its_checkpoint() {
    let home = corpus(60, BYTES);
    run(home.path(), &format!("train --data data --out run {SMALL} --steps 2")).has(0, &[]);
    let before = fs::read(home.path().join("run/last/model.safetensors")).unwrap();
    let said = run(
        home.path(),
        "train --data data --out run --resume --steps 50 --learning-rate 1e38 --schedule constant --save-every 1 --max-skipped 3",
    );
    said.has(1, &["update skipped", "3 times in a row", "learning-rate", "is from before"]);
    assert!(before == fs::read(home.path().join("run/last/model.safetensors")).unwrap());
}

#[test]
fn unwritable_places_and_a_full_disk() {
    let home = corpus(60, BYTES);
    fs::write(home.path().join("file"), "").unwrap();
    run(home.path(), &format!("train --data data --out file/run {SMALL} --steps 1"))
        .has(1, &["cannot create file/run"]);
    run(home.path(), &format!("train --data data --out run {SMALL} --steps 2")).has(0, &[]);
    let before = fs::read(home.path().join("run/last/model.safetensors")).unwrap();
    // Files of at most 8 KiB: the checkpoint (20 KiB) cannot be written, as on a full disk.
    let program = env!("CARGO_BIN_EXE_logwright");
    let script = format!("ulimit -f 8; exec {program} train --data data --out run --resume --steps 4");
    let output = std::process::Command::new("bash").args(["-c", &script]).current_dir(home.path()).output().unwrap();
    Said::from(output).has(1, &["cannot write", "free some space"]);
    assert!(before == fs::read(home.path().join("run/last/model.safetensors")).unwrap());
    assert!(names(&home.path().join("run")).iter().all(|name| !name.contains("partial")));
}

#[test]
fn two_trainings_do_not_share_a_folder() {
    let home = corpus(60, BYTES);
    let line = format!("train --data data --out run {SMALL} --steps 100000");
    let mut child =
        logwright().args(line.split_whitespace()).current_dir(home.path()).stderr(Stdio::null()).spawn().unwrap();
    while !home.path().join("run/metrics.jsonl").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let second = run(home.path(), &line);
    child.kill().unwrap();
    child.wait().unwrap();
    second.has(1, &["another run is writing this folder"]);
}

fn sign_in_logs_train_in_all_tokenizers(logs: &Path, records: usize) {
    let home = tempfile::tempdir().unwrap();
    for kind in ["char", "bytes", "bpe"] {
        run(home.path(), &format!("prepare {} --out {kind} --tokenizer {kind}", logs.display()))
            .has(0, &[&format!("{records} records")]);
        run(home.path(), &format!("train --data {kind} --out run-{kind} {SMALL} --steps 3")).has(0, &["finished"]);
        run(home.path(), &format!("generate --model run-{kind} --max-tokens 60 -n 2")).has(0, &["2 records"]);
    }
}

#[test]
fn sampled_sign_in_logs_train_in_all_tokenizers() {
    sign_in_logs_train_in_all_tokenizers(&sampled_logs("azure_ad.jsonl.gz"), 60);
}

#[test]
#[cfg_attr(not(real_logs), ignore = "needs the real logs (CONTRIBUTING.md)")]
fn real_sign_in_logs_train_in_all_tokenizers() {
    sign_in_logs_train_in_all_tokenizers(&real_logs("azure-ad/azure_ad.jsonl"), 250);
}
