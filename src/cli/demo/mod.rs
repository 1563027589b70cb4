//! `logwright demo`: prepare, train, find attacks and generate on built-in synthetic logs.

mod corpus;
mod detect;
mod tell;

use super::device::DeviceArgs;
use super::exit::Exit;
use super::interrupt::{end_on_interrupt, is_stopped, save_on_interrupt};
use super::mode::ModeArgs;
use super::output::OutputArgs;
use super::result::ResultArgs;
use super::training::train;
use super::values;
use clap::Args;
use corpus::{CORPUS, HELD_OUT, LABELS, Logs, NORMAL};
use logwright::dataset::{Dataset, PrepareOptions, prepare};
use logwright::files::Lock;
use logwright::model_folder::LoadedModel;
use logwright::report::{DemoReport, Detected, JudgedRecord, Summary, page, verdict};
use logwright::sample::{Control, GenerationSettings, SamplingParams, generate};
use logwright::tokens::MOST_VOCABULARY;
use logwright::train::config::MOST_STEPS;
use logwright::train::metrics::{self, StepMetrics};
use logwright::train::{Run, RunPlan, TrainConfig};
use logwright::{Error, Result, files};
use serde_json::{Value, json};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Prepare, train, find attacks and generate on built-in synthetic logs, and write a report: the main workflow in minutes.
///
/// FOLDER gets corpus.jsonl (synthetic sign-in records), data/ (the prepared corpus), run/ (the model and its calibration),
/// normal.jsonl (what it was calibrated on), heldout.jsonl and labels.jsonl (later records, and which belong to attacks),
/// samples.txt, loss.svg, report.html and report.json, which is also printed where standard output is no terminal.
#[derive(Args)]
pub struct DemoArgs {
    /// Folder to write; the output of an earlier demo is replaced
    #[arg(long, default_value = "demo", value_name = "FOLDER")]
    out: PathBuf,
    /// Number of records in the corpus
    #[arg(long, default_value_t = 20_000, value_name = "N", value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    records: u32,
    /// Number of tokens in the vocabulary
    #[arg(long, default_value_t = 1024, value_name = "N", value_parser = values::whole::<usize>(1..=MOST_VOCABULARY))]
    vocab_size: usize,
    /// Optimiser steps to train for [default: those of the tiny preset]
    #[arg(long, value_name = "N", value_parser = values::whole::<u64>(1..=MOST_STEPS))]
    steps: Option<u64>,
    /// Number of records to generate
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = values::whole::<usize>(0..=1_000_000))]
    samples: usize,
    /// Seed of corpus, training and generation
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = values::seed)]
    seed: u64,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    result: ResultArgs,
    #[command(flatten)]
    mode: ModeArgs,
}

/// Marks a folder that a demo made, so that a later demo may replace what is in it. It is locked while a demo runs.
const MARKER: &str = ".logwright-demo";

pub fn run(args: DemoArgs, output: &OutputArgs) -> Result<Exit> {
    let started = Instant::now();
    args.mode.apply();
    end_on_interrupt();
    let _lock = clear(&args.out)?;
    let corpus = args.out.join(CORPUS);
    let logs = corpus::write(&args.out, args.records as usize, args.seed)?;
    let mean_bytes = logs.mean_bytes;
    tracing::info!("{}: {} synthetic sign-in records, {mean_bytes:.0} bytes each", corpus.display(), args.records);
    let mut options = PrepareOptions::new(vec![corpus.display().to_string()], args.out.join("data"));
    (options.vocab_size, options.seed) = (Some(args.vocab_size), args.seed);
    prepare(&options, &output.progress(0, "bytes"))?;
    let data = Dataset::open(&options.out)?;
    let config = fit(&args, &data, output)?;
    if is_stopped() {
        return Ok(Exit::Interrupted);
    }
    tracing::info!("calibrating on {} normal records, and scoring as many later ones", logs.normal.len());
    let Some(detected) = detect::detect(&args.device, &args.out.join("run"), &logs, output)? else {
        return Ok(Exit::Interrupted);
    };
    let records = sample(&args, output)?;
    if is_stopped() {
        return Ok(Exit::Interrupted);
    }
    let summary: Summary = records.iter().map(|record| &record.verdict).collect();
    let lines = metrics::read(&args.out.join("run/metrics.jsonl"))?;
    let mut facts = facts(&args, &data, &lines, &summary, mean_bytes, started);
    add_detection(&mut facts, &detected);
    let quality = logwright::report::quality(&records);
    let told = tell::Told { folder: &args.out, detected: &detected, quality };
    write_report(&args.out, &facts, (records, &detected, &logs), &lines, &config)?;
    told.tell(&facts, output, args.result)?;
    Ok(Exit::Success)
}

/// Adds what was found of the attacks to `report.json`.
fn add_detection(facts: &mut Value, detected: &Detected) {
    let found = detected.counts();
    for (name, value) in [
        ("attacks", found.attacks),
        ("attacks_found", found.attacks_found),
        ("attack_records", found.attack_records),
        ("attack_records_found", found.attack_records_found),
        ("normal_records", found.normal_records),
        ("false_alarms", found.false_alarms),
    ] {
        facts[name] = value.into();
    }
}

/// What a demo writes besides its marker.
const PARTS: [&str; 10] =
    [CORPUS, NORMAL, HELD_OUT, LABELS, "data", "run", "samples.txt", "report.html", "report.json", "loss.svg"];

/// Makes the folder, or removes the output of an earlier demo from it; any other folder is left alone. No other demo may write
/// it while the lock lives.
fn clear(folder: &Path) -> Result<Lock> {
    let marker = folder.join(MARKER);
    let empty = fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none());
    if !empty && !marker.exists() {
        let message = format!("{} contains files that no demo made; choose another --out", folder.display());
        return Err(Error::usage(message));
    }
    files::create_folders(folder)?;
    let lock = Lock::take(&marker)?.ok_or_else(|| {
        Error::failed(format!("{}: another demo is writing this folder; choose another --out", folder.display()))
    })?;
    for part in PARTS.map(|part| folder.join(part)) {
        let removed = if part.is_dir() { fs::remove_dir_all(&part) } else { fs::remove_file(&part) };
        if let Err(e) = removed.or_else(|e| if e.kind() == ErrorKind::NotFound { Ok(()) } else { Err(e) }) {
            return Err(Error::io("remove", &part, e));
        }
    }
    Ok(lock)
}

fn fit(args: &DemoArgs, data: &Dataset, output: &OutputArgs) -> Result<TrainConfig> {
    let mut overrides = toml::Table::from_iter([("seed".to_string(), toml::Value::Integer(args.seed as i64))]);
    overrides.extend(args.steps.map(|steps| ("steps".to_string(), toml::Value::Integer(steps as i64))));
    let config = TrainConfig::resolve(Some("tiny"), None, overrides)?;
    let device = args.device.open()?;
    let RunPlan { model, parameters, start, .. } = RunPlan::random(config.clone(), data, &device)?;
    let mut engine = device.engine(model, parameters)?;
    let run = Run::open(engine.as_mut(), data, config.clone(), &args.out.join("run"), start, device.peak())?;
    train(run, output)?;
    Ok(config)
}

/// Generates records from nothing but the record start, without a grammar, until Ctrl-C. Of each token's distribution the last
/// hundredth is cut off: it holds nearly all tokens that break a record, and hardly any that a record needs (LOG.md).
fn sample(args: &DemoArgs, output: &OutputArgs) -> Result<Vec<JudgedRecord>> {
    let LoadedModel { mut engine, tokenizer, records: facts, .. } = args.device.load(&args.out.join("run"))?;
    let params = SamplingParams { temperature: 0.8, top_k: 0, top_p: 0.99 };
    let settings = GenerationSettings {
        params,
        max_tokens: 2048,
        seed: args.seed,
        first: 0,
        parallel: 32.min(args.samples).max(1),
    };
    let mut records = Vec::new();
    let prompts = std::iter::repeat_n(Vec::new(), args.samples);
    let control = Control { stop: Some(save_on_interrupt()), ..Control::default() };
    let bar = output.progress(args.samples as u64, "records");
    generate(engine.as_mut(), &tokenizer, prompts, &settings, control, &mut |record| {
        let verdict = verdict(&record.text, record.ended, facts.form);
        records.push(JudgedRecord { text: record.text, verdict });
        bar.inc(1);
        Ok(())
    })?;
    bar.finish_and_clear();
    Ok(records)
}

/// `report.json`, which is also printed.
fn facts(
    args: &DemoArgs,
    data: &Dataset,
    lines: &[StepMetrics],
    summary: &Summary,
    mean_bytes: f64,
    started: Instant,
) -> Value {
    let last = lines.last();
    let best = lines
        .iter()
        .filter(|line| line.val_loss.is_some())
        .min_by(|a, b| a.val_loss.partial_cmp(&b.val_loss).expect("finite"));
    json!({
        "parse_rate": summary.parsed_of_complete(),
        "samples": summary.records,
        "complete": summary.complete,
        "parsed": summary.parsed,
        "val_loss": best.and_then(|line| line.val_loss),
        "val_bits_per_byte": best.and_then(|line| line.val_bits_per_byte),
        "seconds": started.elapsed().as_secs_f64(),
        "tokens_per_second": last.map(|line| line.tokens as f64 / line.seconds),
        "steps": last.map(|line| line.step),
        "corpus_records": args.records,
        "mean_record_bytes": mean_bytes,
        "mean_record_tokens": data.train.tokens() as f64 / data.train.records() as f64,
    })
}

fn write_report(
    folder: &Path,
    facts: &Value,
    (samples, detected, logs): (Vec<JudgedRecord>, &Detected, &Logs),
    lines: &[StepMetrics],
    config: &TrainConfig,
) -> Result<()> {
    let mut text = Vec::new();
    samples.iter().for_each(|sample| text.extend([&sample.text[..], b"\n"].concat()));
    files::write_atomic(&folder.join("samples.txt"), &text)?;
    let curve = metrics::curve(lines);
    logwright::report::loss_curve(&curve, &folder.join("loss.svg"))?;
    let shown = |value: &Value| match value.as_f64() {
        Some(x) if value.is_f64() => format!("{x:.3}"),
        _ => value.to_string(),
    };
    let headline =
        facts.as_object().expect("an object").iter().map(|(name, value)| (name.replace('_', " "), shown(value)));
    let report = DemoReport {
        title: "logwright demo".into(),
        facts: headline.collect(),
        curve,
        detected: detected.clone(),
        real: logs.normal.clone(),
        samples,
        config: config.to_toml(),
    };
    page(&report, &folder.join("report.html"))?;
    let text = serde_json::to_string_pretty(facts).map_err(Error::failed)? + "\n";
    files::write_atomic(&folder.join("report.json"), text.as_bytes())
}
