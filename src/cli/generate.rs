//! `logwright generate`: a model -> synthetic records on stdout.

use super::device::DeviceArgs;
use super::exit::Exit;
use super::grammar::GrammarArgs;
use super::grammar_cost::GrammarCost;
use super::interrupt::{is_stopped, save_on_interrupt};
use super::key_file::KeyArgs;
use super::left_out::{LeftOut, Wishes};
use super::next::{self, Sink};
use super::output::OutputArgs;
use super::part::{PartArgs, Share};
use super::stdout::write_failed;
use super::values;
use chrono::NaiveDate;
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use logwright::engine::Engine;
use logwright::model_folder::LoadedModel;
use logwright::pseudonyms::{in_condition, in_prompt};
use logwright::record::{Form, Records};
use logwright::report::{Summary, Verdict, verdict};
use logwright::sample::{Conditions, Control, GeneratedRecord, GenerationSettings, Grammar, SamplingParams, generate};
use logwright::tokens::Tokenizer;
use logwright::words::counted;
use logwright::{Error, Result};
use serde_json::json;
use std::cell::RefCell;
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
///
/// A record that is cut off at --max-tokens is not printed as if it were whole: it is left out and counted, or marked as
/// truncated in --format jsonl. A JSON object with the same name twice is not valid.
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
    /// Print only records that are whole and valid, and go on until there are -n of them for each prompt, or 20 times as many
    /// were tried; then the exit code is 1
    #[arg(long)]
    only_valid: bool,
    /// Do not print records whose fields differ from --where and --from; they are counted. Under a grammar, which fixes the
    /// fields, this is always so
    #[arg(long)]
    only_as_asked: bool,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    part: PartArgs,
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
        let conditions = Conditions::new(records, &self.wanted, days, seed)?;
        conditions.warn_of_the_unseen();
        Ok(conditions)
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
        Ok(GenerationSettings { params, max_tokens, seed, first: 0, parallel: parallel.min(samples).max(1) })
    }
}

/// With --only-valid, as many records are tried for each that is wanted.
const MOST_TRIES: usize = 20;
/// Of so many records the prompts are checked before the first is generated.
const MOST_CHECKED: usize = 1000;

pub fn run(mut args: GenerateArgs, output: &OutputArgs) -> Result<Exit> {
    let share = args.share()?;
    args.device.spread(share.local_rank);
    let mut prompts = prompts(&args)?;
    let of_all = prompts.len().saturating_mul(args.n);
    let own = share.part.range(of_all as u64);
    let (own, wanted) = (own.start as usize..own.end as usize, (own.end - own.start) as usize);
    share.tell();
    let settings = args.sampling.settings(wanted)?;
    let mut model = args.device.load(&args.model)?;
    let mut grammar = args.grammar.open(&mut model)?;
    let LoadedModel { mut engine, tokenizer, records, folder } = model;
    args.replace_names(&mut prompts, &records, &folder)?;
    let conditions = args.conditions.conditions(&records, args.sampling.seed)?;
    if args.only_as_asked && conditions.is_empty() {
        return Err(Error::usage("--only-as-asked: nothing is asked; give --where NAME=VALUE or --from DATE"));
    }
    check_prompts(&args, &prompts, &conditions, &tokenizer, grammar.as_mut())?;
    let wishes = Wishes {
        cut_off: args.format == OutputFormat::Jsonl && !args.only_valid,
        broken: !args.only_valid,
        not_as_asked: !args.only_as_asked && grammar.is_none(),
    };
    let bar = output.progress(wanted as u64, "records");
    let mut printer =
        Printer { args: &args, records: &records, conditions: &conditions, wishes, counts: Counts::default() };
    let started = Instant::now();
    let mut missing = Vec::new();
    let all = own.map(|number| (number / args.n, number % args.n));
    let mut round = Round {
        engine: engine.as_mut(),
        tokenizer: &tokenizer,
        prompts: &prompts,
        grammar: grammar.as_mut(),
        settings,
        of_all,
        number: 0,
        tries: 0,
    };
    round.run(all, &mut printer, &bar, &mut missing)?;
    round.run_again(wanted.saturating_mul(MOST_TRIES), &mut printer, &bar, &mut missing)?;
    let tries = round.tries;
    bar.finish_and_clear();
    printer.tell(started.elapsed().as_secs_f64(), grammar.is_some());
    if is_stopped() {
        tracing::warn!("interrupted; unfinished records are dropped, the finished ones are written");
        return Ok(Exit::Interrupted);
    }
    if args.only_valid && !missing.is_empty() {
        return Err(Error::failed(format!(
            "--only-valid: {} of the {wanted} records are there after {tries} tries, {MOST_TRIES} for each; train longer, raise \
             --max-tokens, or use --json or --schema learned",
            wanted - missing.len()
        )));
    }
    args.lead_on();
    Ok(Exit::Success)
}

impl GenerateArgs {
    /// Which share of the records this process generates.
    fn share(&self) -> Result<Share> {
        let share = self.part.share()?;
        let reads_stdin = self.prompts.as_ref().is_some_and(|file| file.as_os_str() == "-");
        let why = "standard input can be read by one process only; name a file with the prompts";
        share.refuse(reads_stdin, "--prompts -", why)?;
        Ok(share)
    }

    fn lead_on(&self) {
        let model = next::typed(&self.model);
        let (file, how) = match next::sink() {
            Sink::File(file) => (next::typed(&file), "compares them with real ones, and measures what they give away"),
            Sink::Screen => {
                ("synthetic.jsonl".to_string(), "compares records that > synthetic.jsonl has kept with real ones")
            }
            Sink::Pipe => return,
        };
        next::command(
            format!("logwright evaluate --model {model} --data DATA --generated {file} --report report"),
            how,
        );
    }

    /// Replaces names in prompts and conditions, for a model that was trained on pseudonyms.
    fn replace_names(&mut self, prompts: &mut [Vec<u8>], records: &Records, folder: &Path) -> Result<()> {
        // Without names in the arguments, a key changes nothing.
        let has_names = prompts.iter().any(|prompt| !prompt.is_empty()) || !self.conditions.wanted.is_empty();
        if !has_names && !self.key.is_given() {
            return Ok(());
        }
        let Some(mut pseudonyms) = self.key.open(folder, records)? else { return Ok(()) };
        prompts.iter_mut().for_each(|prompt| *prompt = in_prompt(prompt, &mut pseudonyms));
        for condition in &mut self.conditions.wanted {
            condition.1 = in_condition(condition, records, &mut pseudonyms);
        }
        Ok(())
    }
}

/// One pass over records: for each, the number of its prompt and its number among those of the prompt.
struct Round<'a> {
    engine: &'a mut dyn Engine,
    tokenizer: &'a Tokenizer,
    prompts: &'a [Vec<u8>],
    grammar: Option<&'a mut Grammar>,
    settings: GenerationSettings,
    /// The number of records of all processes; each pass draws as many random streams anew, so a record is the same whoever makes it.
    of_all: usize,
    /// The number of this pass, from 0.
    number: usize,
    /// The number of records that were tried.
    tries: usize,
}

impl Round<'_> {
    /// Generates those that are missing again, with --only-valid, until none is or `most` were tried.
    fn run_again(
        &mut self,
        most: usize,
        printer: &mut Printer,
        bar: &ProgressBar,
        missing: &mut Vec<(usize, usize)>,
    ) -> Result<()> {
        while printer.args.only_valid && !missing.is_empty() && self.tries < most && !is_stopped() {
            let again = std::mem::take(missing);
            let (now, later) = again.split_at(again.len().min(most - self.tries));
            self.run(now.iter().copied(), printer, bar, missing)?;
            missing.extend(later);
        }
        Ok(())
    }

    /// Generates and prints the records, and adds to `missing` those that were not printed.
    fn run(
        &mut self,
        wanted: impl Iterator<Item = (usize, usize)> + Clone,
        printer: &mut Printer,
        bar: &ProgressBar,
        missing: &mut Vec<(usize, usize)>,
    ) -> Result<()> {
        let Round { engine, tokenizer, prompts, grammar, settings, of_all, number, tries } = self;
        let (of, conditions, only_valid) = (printer.args.n, printer.conditions, printer.args.only_valid);
        let each = wanted.clone().map(|(prompt, i)| [conditions.prompt(i, of).as_bytes(), &prompts[prompt]].concat());
        let mut in_progress = wanted.clone();
        let mut with_conditions = grammar.as_mut().map(|grammar| {
            move |_: usize| grammar.with(&in_progress.next().map_or(Vec::new(), |(_, i)| conditions.fixed(i, of)))
        });
        let grammars = with_conditions.as_mut().map(|with| with as &mut dyn FnMut(usize) -> Result<_>);
        let places = RefCell::new(wanted.clone());
        let mut finished = wanted;
        let mut out = stdout().lock();
        let mut tried = 0;
        let before = *number * *of_all;
        let numbers = |_: usize| {
            let (prompt, i) = places.borrow_mut().next().unwrap_or_default();
            before + prompt * of + i
        };
        let control = Control { grammars, numbers: Some(&numbers), stop: Some(save_on_interrupt()) };
        generate(*engine, tokenizer, each, settings, control, &mut |record| {
            let place = finished.next().unwrap_or_default();
            let is_printed = printer.print(&record, place.1, &mut out)?;
            tried += 1;
            bar.inc(u64::from(is_printed || !only_valid));
            if !is_printed && only_valid {
                missing.push(place);
            }
            Ok(())
        })?;
        *tries += tried;
        *number += 1;
        out.flush().map_err(write_failed)
    }
}

/// Prints records, and counts all of them.
struct Printer<'a> {
    args: &'a GenerateArgs,
    records: &'a Records,
    conditions: &'a Conditions,
    wishes: Wishes,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    summary: Summary,
    cost: GrammarCost,
    left_out: LeftOut,
    as_asked: u64,
    tokens: usize,
}

impl Printer<'_> {
    /// Prints record `number` of its prompt, if it is wished; says whether.
    fn print(&mut self, record: &GeneratedRecord, number: usize, out: &mut impl Write) -> Result<bool> {
        let Printer { args, records, conditions, wishes, counts } = self;
        let verdict = verdict(&record.text, record.ended, records.form);
        let body = records.without_prefix(&record.text);
        let logged = records.as_logged(&record.text);
        let as_asked = conditions.is_empty() || conditions.is_kept(body, number, args.n);
        counts.summary.add(&verdict);
        counts.cost.add(record, record.text.len() - body.len());
        counts.as_asked += u64::from(as_asked && verdict.is_valid());
        counts.tokens += record.tokens;
        if !counts.left_out.is_printed(&verdict, as_asked, *wishes) {
            return Ok(false);
        }
        let written = match args.format {
            OutputFormat::Raw => out.write_all(&[&logged, &b"\n"[..]].concat()),
            OutputFormat::Jsonl => {
                let mut line = describe(record, &logged, &verdict)?;
                if !conditions.is_empty() {
                    line["as_asked"] = (as_asked && verdict.is_valid()).into();
                }
                writeln!(out, "{line}")
            }
        };
        written.map(|()| true).map_err(write_failed)
    }

    fn tell(&self, seconds: f64, is_guided: bool) {
        let Counts { summary, cost, left_out, as_asked, tokens } = &self.counts;
        let speed = *tokens as f64 / seconds;
        // Any complete line is a valid one of text.
        let valid = match self.records.form {
            Form::Text => String::new(),
            _ => format!(
                "; {} of the complete ones valid ({:.1} %)",
                summary.parsed,
                100.0 * summary.parsed_of_complete()
            ),
        };
        tracing::info!(
            "{} in {seconds:.1} s ({speed:.0} tokens/s): {} complete, {} cut off{valid}",
            counted(summary.records, "record"),
            summary.complete,
            summary.records - summary.complete
        );
        left_out.tell();
        if !self.conditions.is_empty() {
            let share = 100.0 * *as_asked as f64 / summary.parsed.max(1) as f64;
            tracing::info!("{as_asked} of the {} valid records meet the conditions ({share:.1} %)", summary.parsed);
        }
        if is_guided {
            cost.tell();
        }
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
    args: &GenerateArgs,
    prompts: &[Vec<u8>],
    conditions: &Conditions,
    tokenizer: &Tokenizer,
    grammar: Option<&mut Grammar>,
) -> Result<()> {
    let encode = |text: &[u8], place: &str| {
        let mut tokens = Vec::new();
        tokenizer.encode(text, &mut tokens).map_err(|e| Error::failed(format!("{place}: {e}")))?;
        Ok::<_, Error>(tokens)
    };
    let prefixes: BTreeSet<String> =
        (0..args.n.min(MOST_CHECKED)).map(|index| conditions.prompt(index, args.n)).collect();
    prefixes.iter().try_for_each(|prefix| encode(prefix.as_bytes(), "--where or --from").map(|_| ()))?;
    let prefix = conditions.prompt(0, args.n).into_bytes();
    let constraint = grammar.map(|grammar| grammar.with(&conditions.fixed(0, args.n))).transpose()?;
    for (line, prompt) in prompts.iter().enumerate() {
        let place = args.prompts.as_ref().map_or("--prompt".into(), |file| format!("{}:{}", file.display(), line + 1));
        if prompt.contains(&b'\n') {
            return Err(Error::usage(format!(
                "{place}: a prompt is the beginning of one record and must not contain a newline"
            )));
        }
        let whole = [&prefix[..], prompt].concat();
        let tokens = encode(&whole, &place)?;
        let read =
            constraint.as_ref().map_or(Ok(()), |constraint| constraint.guide().read_prompt(&tokens, &[], tokenizer));
        read.map_err(|read| {
            Error::failed(format!(
                "{place}: the grammar allows no record that begins so: it accepts {read} of the {} bytes of prefix and prompt; \
                 use its names in their order, the separators of the training records and the values of --where, or omit --json \
                 or --schema",
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
