//! `logwright generate`: a model -> synthetic records on stdout.

use super::device::DeviceArgs;
use super::exit::Exit;
use super::grammar::{GrammarArgs, GrammarCost};
use super::interrupt::{is_stopped, save_on_interrupt};
use super::output::OutputArgs;
use super::stdout::write_failed;
use super::values;
use chrono::NaiveDate;
use clap::{Args, ValueEnum};
use logwright::model_folder::LoadedModel;
use logwright::record::Records;
use logwright::report::{Summary, Verdict, verdict};
use logwright::sample::{
    Conditions, Constraint, Control, GeneratedRecord, GenerationSettings, SamplingParams, generate,
};
use logwright::tokens::Tokenizer;
use logwright::{Error, Result};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write, stdin, stdout};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Generate synthetic records with a trained model.
///
/// A record starts where records start in training and ends where the model ends it, or after --max-tokens. A record longer
/// than the model's context continues from the last half of the context.
///
/// --json and --schema keep records within a grammar: before each token is sampled, tokens that the grammar does not allow are
/// masked. The probability mass that this removed is reported: where it is large, the grammar, not the model, is writing the
/// records. Under a grammar the logits of each token are copied to the host, on a GPU too.
#[derive(Args)]
pub struct GenerateArgs {
    /// Run folder, or a Hugging Face GPT-2 folder with its tokenizer.json
    #[arg(long, value_name = "RUN")]
    model: PathBuf,
    /// Text that each record begins with
    #[arg(long, default_value = "", value_name = "TEXT", conflicts_with = "prompts")]
    prompt: String,
    /// File with one prompt per line (- for standard input); each is used -n times
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// Number of records to generate per prompt
    #[arg(short, default_value_t = 1, value_name = "N", value_parser = values::whole::<usize>(0..=MOST_RECORDS))]
    n: usize,
    #[command(flatten)]
    conditions: ConditionArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    grammar: GrammarArgs,
    /// What to print: the records (without prefix), or JSON lines with index, text, tokens, verdict, as_asked where there are
    /// conditions, and under a grammar masked_mass (the mean probability mass that was masked per token) and stuck (why the
    /// record could not be finished)
    #[arg(long, value_enum, default_value_t = OutputFormat::Raw, value_name = "FORMAT")]
    format: OutputFormat,
    /// Do not print records that are cut off or do not parse; they are counted
    #[arg(long)]
    only_valid: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Conditions on the fields that `prepare --prefix-field` named.
#[derive(Args)]
pub struct ConditionArgs {
    /// Generate records with this value, e.g. user=jtaylor for a model trained with --prefix-field user=...; may be repeated
    #[arg(long = "where", value_name = "NAME=VALUE", value_parser = pair)]
    wanted: Vec<(String, String)>,
    /// Generate records of this day, or of the days from this one to --to: for a model trained with --prefix-field day=...,date
    #[arg(long, value_name = "DATE")]
    from: Option<NaiveDate>,
    /// The last of these days; the records are spread over the days in order [default: the day of --from]
    #[arg(long, value_name = "DATE", requires = "from")]
    to: Option<NaiveDate>,
}

impl ConditionArgs {
    fn conditions(&self, records: &Records, seed: u64) -> Result<Conditions> {
        let days = self.from.map(|first| (first, self.to.unwrap_or(first)));
        if days.is_some_and(|(first, last)| last < first) {
            return Err(Error::usage("--to is earlier than --from; expected a later day"));
        }
        Conditions::new(records, &self.wanted, days, seed)
    }
}

fn pair(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name.into(), value.into())),
        _ => Err("expected NAME=VALUE".to_string()),
    }
}

#[derive(Args)]
pub struct SamplingArgs {
    /// Randomness: 0 takes the most likely token, 1 samples from the model's own distribution
    #[arg(long, default_value_t = 0.8, value_name = "X", allow_negative_numbers = true)]
    temperature: f32,
    /// Sample from the K most likely tokens; 0: all
    #[arg(long, default_value_t = 0, value_name = "K", value_parser = values::whole::<usize>(0..=values::MOST))]
    top_k: usize,
    /// Sample from the most likely tokens that together have this probability
    #[arg(long, default_value_t = 1.0, value_name = "P", value_parser = values::number(0.0..=1.0f32))]
    top_p: f32,
    /// Truncate a record after this many tokens
    #[arg(long, default_value_t = 4096, value_name = "N", value_parser = values::whole::<usize>(1..=values::MOST))]
    max_tokens: usize,
    /// Seed; each record draws from a random stream of its own
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = values::whole::<u64>(0..=u64::MAX))]
    seed: u64,
    /// Number of records to generate in parallel
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = values::whole::<usize>(1..=MOST_PARALLEL))]
    parallel: usize,
}

/// Each record in progress has a KV cache of its own; more than these bring no speed.
const MOST_PARALLEL: u64 = 1024;

/// Most records per prompt.
const MOST_RECORDS: u64 = 1 << 40;

/// The number of records whose conditions are checked before the first one is generated.
const CHECKED: usize = 10_000;

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum OutputFormat {
    Raw,
    Jsonl,
}

impl SamplingArgs {
    fn settings(&self, samples: usize) -> Result<GenerationSettings> {
        let SamplingArgs { temperature, top_k, top_p, max_tokens, seed, parallel } = *self;
        if !(temperature >= 0.0 && temperature.is_finite()) {
            return Err(Error::usage(format!("--temperature must be 0 or more, found {temperature}")));
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(Error::usage(format!("--top-p must lie in (0, 1], found {top_p}")));
        }
        let params = SamplingParams { temperature, top_k, top_p };
        Ok(GenerationSettings { params, max_tokens, seed, parallel: parallel.min(samples).max(1) })
    }
}

pub fn run(args: GenerateArgs, output: &OutputArgs) -> Result<Exit> {
    let prompts = prompts(&args)?;
    let all = prompts.len().saturating_mul(args.n);
    let settings = args.sampling.settings(all)?;
    let mut model = args.device.load(&args.model)?;
    let constraint = args.grammar.open(&mut model)?;
    let LoadedModel { mut engine, tokenizer, records, .. } = model;
    let conditions = args.conditions.conditions(&records, args.sampling.seed)?;
    let mut prefixes = BTreeSet::new();
    // One by one: `collect` would gather them all before it drops what is equal.
    prefixes.extend((0..args.n.min(CHECKED)).map(|index| conditions.prompt(index, args.n)));
    check_prompts(&prompts, &prefixes, &tokenizer, constraint.as_ref(), args.prompts.as_deref())?;
    let stop = save_on_interrupt();
    let bar = output.progress(all as u64, "records");
    let (started, mut summary, mut cost) = (Instant::now(), Summary::default(), GrammarCost::default());
    let (of, mut asked, mut tokens, mut out) = (args.n, 0, 0, stdout().lock());
    let each = prompts.iter().flat_map(|prompt| std::iter::repeat_n(prompt, of).enumerate());
    let each = each.map(|(i, prompt)| [conditions.prompt(i, of).as_bytes(), prompt].concat());
    let control = Control { constraint: constraint.as_ref(), stop: Some(stop) };
    generate(engine.as_mut(), &tokenizer, each, &settings, control, &mut |record| {
        let verdict = verdict(&record.text, record.ended, records.form);
        let body = records.without_prefix(&record.text);
        let fits = verdict.is_valid() && conditions.is_kept(body, record.index % of, of);
        summary.add(&verdict);
        cost.add(&record);
        asked += u64::from(fits);
        tokens += record.tokens;
        bar.inc(1);
        if args.only_valid && !verdict.is_valid() {
            return Ok(());
        }
        let written = match args.format {
            OutputFormat::Raw => out.write_all(&[body, b"\n"].concat()),
            OutputFormat::Jsonl => {
                let mut line = describe(&record, body, &verdict)?;
                if !conditions.is_empty() {
                    line["as_asked"] = fits.into();
                }
                writeln!(out, "{line}")
            }
        };
        written.map_err(write_failed)
    })?;
    out.flush().map_err(write_failed)?;
    bar.finish_and_clear();
    tell(&summary, tokens, started.elapsed().as_secs_f64(), args.only_valid);
    if !conditions.is_empty() {
        let share = 100.0 * asked as f64 / summary.parsed.max(1) as f64;
        tracing::info!("{asked} of the {} valid records meet the conditions ({share:.1} %)", summary.parsed);
    }
    if constraint.is_some() {
        cost.tell();
    }
    if is_stopped() {
        tracing::warn!("interrupted; unfinished records are dropped, the finished ones are written");
        return Ok(Exit::Interrupted);
    }
    Ok(Exit::Success)
}

fn tell(summary: &Summary, tokens: usize, seconds: f64, only_valid: bool) {
    tracing::info!(
        "{} records in {seconds:.1} s ({:.0} tokens/s): {} complete, {} cut off; {} of the complete ones valid ({:.1} %)",
        summary.records,
        tokens as f64 / seconds,
        summary.complete,
        summary.records - summary.complete,
        summary.parsed,
        100.0 * summary.parsed_of_complete()
    );
    if only_valid {
        tracing::info!("{} records not printed (--only-valid)", summary.records - summary.parsed);
    }
}

fn describe(record: &GeneratedRecord, body: &[u8], verdict: &Verdict) -> Result<serde_json::Value> {
    let text = String::from_utf8_lossy(body);
    let verdict = serde_json::to_value(verdict).map_err(Error::failed)?;
    let mut line = json!({ "index": record.index, "text": text, "tokens": record.tokens, "ended": record.ended, "verdict": verdict["verdict"] });
    if let Some(constrained) = &record.constrained {
        line["masked_mass"] = json!(constrained.removed / record.tokens.max(1) as f64);
        line["stuck"] = json!(constrained.dead_end);
    }
    Ok(line)
}

/// Refuses a prompt that the tokenizer cannot encode or the grammar does not allow before the first record is generated.
fn check_prompts(
    prompts: &[Vec<u8>],
    prefixes: &BTreeSet<String>,
    tokenizer: &Tokenizer,
    constraint: Option<&Constraint>,
    file: Option<&Path>,
) -> Result<()> {
    let encode = |text: &[u8], place: &str| {
        let mut tokens = Vec::new();
        tokenizer.encode(text, &mut tokens).map_err(|e| Error::failed(format!("{place}: {e}")))?;
        Ok::<_, Error>(tokens)
    };
    prefixes.iter().try_for_each(|prefix| encode(prefix.as_bytes(), "--where or --from").map(|_| ()))?;
    let prefix = prefixes.first().map_or(&b""[..], |prefix| prefix.as_bytes());
    for (line, prompt) in prompts.iter().enumerate() {
        let place = file.map_or("--prompt".into(), |file| format!("{}:{}", file.display(), line + 1));
        if prompt.contains(&b'\n') {
            return Err(Error::usage(format!(
                "{place}: a prompt is the beginning of one record and must not contain a newline"
            )));
        }
        let whole = [prefix, prompt].concat();
        let tokens = encode(&whole, &place)?;
        let read = constraint.map_or(Ok(()), |constraint| constraint.guide().read_prompt(&tokens, tokenizer));
        read.map_err(|read| {
            Error::failed(format!(
                "{place}: the grammar allows no record that begins so: it accepts {read} of the {} bytes of prefix and prompt; \
                 use its names in their order and the separators of the training records, or omit --json or --schema",
                whole.len()
            ))
        })?;
    }
    Ok(())
}

fn prompts(args: &GenerateArgs) -> Result<Vec<Vec<u8>>> {
    let Some(path) = &args.prompts else { return Ok(vec![args.prompt.clone().into_bytes()]) };
    let reader: Box<dyn BufRead> = match path.to_str() {
        Some("-") => Box::new(BufReader::new(stdin())),
        _ => Box::new(BufReader::new(
            std::fs::File::open(path).map_err(|e| Error::io("read the prompts from", path, e))?,
        )),
    };
    let lines: std::io::Result<Vec<_>> = reader.split(b'\n').collect();
    let mut lines = lines.map_err(|e| Error::io("read the prompts from", path, e))?;
    lines.iter_mut().for_each(|line| line.truncate(line.strip_suffix(b"\r").unwrap_or(line).len()));
    match lines.is_empty() {
        true => Err(Error::failed(format!("{}: no prompts; expected one per line", path.display()))),
        false => Ok(lines),
    }
}
