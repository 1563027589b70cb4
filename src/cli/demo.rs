//! `logwright demo`: the main job from end to end, on logs of its own making.

use super::model::{self, DeviceArgs};
use super::{OutputArgs, train};
use clap::Args;
use logwright::dataset::{Dataset, PrepareOptions, prepare};
use logwright::logs::synth::{Settings as SourceSettings, SignIns};
use logwright::report::{DemoReport, Sample, Summary, page, verdict};
use logwright::sample::{Choice, Settings, generate};
use logwright::train::{Outcome, Run, Start, TrainConfig, metrics};
use logwright::{Error, Result, files};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Make logs, train a small GPT on them, generate records, report: the main job in minutes.
///
/// FOLDER gets corpus.jsonl (synthetic sign-in records), data/ (the prepared corpus), run/ (the model), samples.txt,
/// report.html and report.json.
#[derive(Args)]
pub struct DemoArgs {
    /// Folder to write; what an earlier demo left there is replaced
    #[arg(long, default_value = "demo", value_name = "FOLDER")]
    out: PathBuf,
    /// Records of the corpus
    #[arg(long, default_value_t = 20_000, value_name = "N")]
    records: usize,
    /// Tokens of the vocabulary
    #[arg(long, default_value_t = 1024, value_name = "N")]
    vocab_size: usize,
    /// Updates to train for [default: the tiny preset's]
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// Records to generate
    #[arg(long, default_value_t = 200, value_name = "N")]
    samples: usize,
    #[arg(long, default_value_t = 1, value_name = "N", help = "Seed of corpus, training and generation")]
    seed: u64,
    #[command(flatten)]
    device: DeviceArgs,
}

/// The parts of a demo folder.
const PARTS: [&str; 7] = ["corpus.jsonl", "data", "run", "samples.txt", "report.html", "report.json", "loss.svg"];

pub fn run(args: DemoArgs, output: &OutputArgs) -> Result<()> {
    let started = Instant::now();
    clear(&args.out)?;
    let corpus = args.out.join("corpus.jsonl");
    let mean_bytes = write_corpus(&args, &corpus)?;
    tracing::info!("{}: {} synthetic sign-in records, {mean_bytes:.0} bytes each", corpus.display(), args.records);
    let mut options = PrepareOptions::new(vec![corpus.display().to_string()], args.out.join("data"));
    (options.vocab_size, options.seed) = (Some(args.vocab_size), args.seed);
    prepare(&options, &output.progress(0, "bytes"))?;
    let data = Dataset::open(&options.out)?;
    let (config, outcome) = fit(&args, &data, output)?;
    let records = sample(&args)?;
    let summary: Summary = records.iter().map(|record| &record.verdict).collect();
    let facts = facts(&args, &data, &outcome, &summary, mean_bytes, started);
    write_report(&args.out, &facts, records, &config)?;
    println!("{facts}");
    Ok(())
}

/// Makes the folder and removes an earlier demo's parts from it; a folder with anything else in it is left alone.
fn clear(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
    let entries = fs::read_dir(folder).map_err(|e| Error::io("read", folder, e))?.flatten();
    for entry in entries {
        let name = entry.file_name();
        if !PARTS.iter().any(|part| *part == name) {
            let found = name.to_string_lossy();
            let message =
                format!("{} holds {found:?}, which is no part of a demo; choose another --out", folder.display());
            return Err(Error::usage(message));
        }
    }
    for part in PARTS.map(|part| folder.join(part)) {
        let removed = if part.is_dir() { fs::remove_dir_all(&part) } else { fs::remove_file(&part) };
        match removed {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("remove", &part, e)),
            _ => (),
        }
    }
    Ok(())
}

/// Writes the corpus; returns the mean record length in bytes.
fn write_corpus(args: &DemoArgs, path: &Path) -> Result<f64> {
    let failed = |e| Error::io("write", path, e);
    let mut out = BufWriter::new(File::create(path).map_err(failed)?);
    let mut bytes = 0;
    let source = SignIns::new(SourceSettings { seed: args.seed, ..SourceSettings::default() })?;
    for record in source.take(args.records) {
        bytes += record.json.len();
        writeln!(out, "{}", record.json).map_err(failed)?;
    }
    out.flush().map_err(failed)?;
    Ok(bytes as f64 / args.records as f64)
}

fn fit(args: &DemoArgs, data: &Dataset, output: &OutputArgs) -> Result<(TrainConfig, Outcome)> {
    let mut overrides = toml::Table::from_iter([("seed".to_string(), toml::Value::Integer(args.seed as i64))]);
    overrides.extend(args.steps.map(|steps| ("steps".to_string(), toml::Value::Integer(steps as i64))));
    let config = TrainConfig::resolve("tiny", None, overrides)?;
    let (model, parameters) = train::fresh(&config, data.tokenizer.vocab_size())?;
    let mut engine = args.device.engine(model, parameters)?;
    let run = Run::open(engine.as_mut(), data, config.clone(), &args.out.join("run"), Start::Fresh, None)?;
    Ok((config, train::train(run, output)?))
}

/// Generates records from nothing but the record start, at temperature 0.8, unconstrained.
fn sample(args: &DemoArgs) -> Result<Vec<Sample>> {
    let model::Model { mut engine, tokenizer, form, .. } = model::open(&args.out.join("run"), &args.device)?;
    let choice = Choice { temperature: 0.8, top_k: 0, top_p: 1.0 };
    let settings = Settings { choice, max_tokens: 2048, seed: args.seed, parallel: 32.min(args.samples).max(1) };
    let mut records = Vec::new();
    let prompts = std::iter::repeat_n(Vec::new(), args.samples);
    generate(engine.as_mut(), &tokenizer, prompts, &settings, &mut |record| {
        let verdict = verdict(&record.text, record.ended, form);
        records.push(Sample { text: record.text, verdict });
        Ok(())
    })?;
    Ok(records)
}

/// `report.json`, also printed.
fn facts(
    args: &DemoArgs,
    data: &Dataset,
    outcome: &Outcome,
    summary: &Summary,
    mean_bytes: f64,
    started: Instant,
) -> Value {
    let last = outcome.last.as_ref();
    json!({
        "parse_rate": summary.parsed as f64 / summary.complete.max(1) as f64,
        "samples": summary.records,
        "complete": summary.complete,
        "parsed": summary.parsed,
        "val_loss": outcome.best_val_loss,
        "val_bits_per_byte": last.and_then(|line| line.val_bits_per_byte),
        "seconds": started.elapsed().as_secs_f64(),
        "tokens_per_second": last.map(|line| line.tokens as f64 / line.seconds),
        "steps": outcome.step,
        "corpus_records": args.records,
        "mean_record_bytes": mean_bytes,
        "mean_record_tokens": data.train.tokens() as f64 / data.train.records() as f64,
    })
}

fn write_report(folder: &Path, facts: &Value, samples: Vec<Sample>, config: &TrainConfig) -> Result<()> {
    let mut text = Vec::new();
    samples.iter().for_each(|sample| text.extend([&sample.text[..], b"\n"].concat()));
    files::write_atomic(&folder.join("samples.txt"), &text)?;
    for sample in samples.iter().take(3) {
        println!("{}", String::from_utf8_lossy(&sample.text));
    }
    let curve = metrics::curve(&metrics::read(&folder.join("run").join("metrics.jsonl"))?);
    logwright::report::loss_curve(&curve, &folder.join("loss.svg"))?;
    let shown = |value: &Value| value.as_f64().map_or(value.to_string(), |x| format!("{x:.4}"));
    let headline =
        facts.as_object().expect("an object").iter().map(|(name, value)| (name.replace('_', " "), shown(value)));
    let report = DemoReport {
        title: "logwright demo".into(),
        facts: headline.collect(),
        curve,
        form: logwright::report::Form::Json,
        samples,
        config: config.to_toml(),
    };
    page(&report, &folder.join("report.html"))?;
    let text = serde_json::to_string_pretty(facts).map_err(Error::failed)? + "\n";
    files::write_atomic(&folder.join("report.json"), text.as_bytes())
}
