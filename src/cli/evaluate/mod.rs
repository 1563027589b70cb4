//! `logwright evaluate`: a model's loss on a text or on the validation split, and generated records compared with real ones,
//! as one JSON object and a page.

mod by;
mod detection;
mod memory;
mod reader;

use super::device::DeviceArgs;
use super::interrupt::end_on_interrupt;
use super::key_file::KeyArgs;
use super::mode::ModeArgs;
use super::next;
use super::output::OutputArgs;
use super::outputs::{check_file, check_outside, check_replaced, check_writable};
use super::result::ResultArgs;
use super::values;
use clap::Args;
use detection::LabelArgs;
use indicatif::ProgressBar;
use logwright::dataset::{Canaries, Dataset, Sampler, Windows};
use logwright::engine::Engine;
use logwright::fidelity::privacy::Privacy;
use logwright::fidelity::{Reservoir, measure};
use logwright::ingest::{BadRecords, ReadOptions, read_records};
use logwright::model_folder::LoadedModel;
use logwright::pseudonyms::RecordPseudonyms;
use logwright::record::{Form, Records};
use logwright::report::evaluation::{Evaluation, GeneratedQuality, LanguageModel, REPORT_FILES, glance, write_report};
use logwright::report::generated::read_generated;
use logwright::tokens::Tokenizer;
use logwright::train::evaluate::{split_loss, stream_loss};
use logwright::{Error, Result, files};
use memory::ALTERNATIVES;
use reader::Reader;
pub use reader::each_record;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Measure a model's loss, and how generated records compare with real ones; prints a table on a terminal, else one JSON object.
///
/// With --generated, records are compared with those of the data folder: its training split is what the model learnt, its
/// validation split the baseline.
#[derive(Args)]
pub struct EvaluateArgs {
    /// Run folder, or a Hugging Face GPT-2 folder with its tokenizer.json
    #[arg(long, value_name = "RUN")]
    model: PathBuf,
    /// Data folder: compute the loss on its validation split
    #[arg(long, value_name = "DATA", required_unless_present = "text", conflicts_with = "text")]
    data: Option<PathBuf>,
    /// File in any format that prepare reads: compute the loss on its records, in consecutive windows of the model's context length
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Generated records to compare with --data: one per line, raw or as JSON lines of generate (- for standard input)
    #[arg(long, value_name = "FILE", requires = "data", conflicts_with = "text")]
    generated: Option<PathBuf>,
    #[command(flatten)]
    labels: LabelArgs,
    /// Write evaluation.json and evaluation.html into this folder
    #[arg(long, value_name = "FOLDER")]
    report: Option<PathBuf>,
    /// Maximum number of records to compare, of each side, and to compute the loss by path on; drawn at random
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    sample: u32,
    /// Seed of all samples
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = values::seed)]
    seed: u64,
    /// Write the logits and tokens of the text's first window to this safetensors file
    #[arg(long, value_name = "FILE", requires = "text", conflicts_with = "data")]
    logits: Option<PathBuf>,
    /// Where the validation sequences start
    #[arg(long, value_enum, default_value_t = Windows::Records)]
    windows: Windows,
    /// Number of sequences to compute at once
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    result: ResultArgs,
    #[command(flatten)]
    mode: ModeArgs,
}

pub fn run(args: EvaluateArgs, output: &OutputArgs) -> Result<()> {
    args.mode.apply();
    end_on_interrupt();
    args.check_outputs()?;
    if let Some(folder) = &args.report {
        files::create_folders(folder).map_err(|e| Error::failed(format!("--report: {e}")))?;
        check_writable("--report", folder)?;
    }
    let LoadedModel { mut engine, tokenizer, folder, records } = args.device.load(&args.model)?;
    let mut pseudonyms = args.pseudonyms(&folder, &records)?;
    let (engine, batch) = (engine.as_mut(), args.batch.into());
    let progress = output.progress(0, "sequences");
    let mut reader =
        Reader { engine, tokenizer: &tokenizer, records: &records, folder: &folder, batch, progress: &progress };
    let evaluation = match (&args.data, &args.text) {
        (Some(path), _) => with_data(&mut reader, path, &args, pseudonyms.as_mut())?,
        (None, Some(text)) => {
            let title = format!("Evaluation of {} on {}", args.model.display(), text.display());
            let language = on_text(&mut reader, text, args.logits.as_deref(), pseudonyms.as_mut())?;
            Evaluation { language, generated: None, privacy: None, canaries: None, detection: None, title }
        }
        (None, None) => unreachable!("the parser requires one of the two"),
    };
    progress.finish_and_clear();
    if let Some(folder) = &args.report {
        write_report(&evaluation, folder)?;
    }
    args.result.print(&evaluation, || glance(&evaluation))?;
    args.lead_on();
    Ok(())
}

impl EvaluateArgs {
    fn lead_on(&self) {
        let model = next::typed(&self.model);
        match (&self.report, &self.data) {
            (Some(folder), _) => {
                next::step(format!("open {} in a browser", folder.join("evaluation.html").display()));
            }
            (None, Some(data)) if self.generated.is_none() && self.labels.files().next().is_none() => {
                let data = next::typed(data);
                next::command(
                    format!(
                        "logwright generate --model {model} -n 1000 > synthetic.jsonl && logwright evaluate --model {model} \
                         --data {data} --generated synthetic.jsonl --report report"
                    ),
                    "compares generated records with real ones",
                );
            }
            (None, Some(_)) => {
                next::step("the same command with --report FOLDER writes a page that explains each number")
            }
            (None, None) => {
                let text = self.text.as_deref().map(next::typed).unwrap_or_default();
                next::command(
                    format!("logwright score --model {model} {text}"),
                    "the surprisal of each record and field",
                );
            }
        }
    }

    /// The pseudonyms for the raw records that the command reads.
    fn pseudonyms(&self, folder: &Path, records: &Records) -> Result<Option<RecordPseudonyms>> {
        match self.text.is_some() || self.labels.reads_logs() {
            true => self.key.open(folder, records),
            false if self.key.is_given() => Err(Error::usage(
                "--key-file: no raw records are read; --data and --generated contain pseudonyms already, so omit it",
            )),
            false => Ok(None),
        }
    }

    /// Refuses outputs that would replace what is read, or lie in a data folder.
    fn check_outputs(&self) -> Result<()> {
        let named = [Some(&self.model), self.text.as_ref(), self.generated.as_ref()].into_iter().flatten();
        let read: Vec<&Path> = named.chain(self.labels.files()).map(PathBuf::as_path).collect();
        let data: Vec<_> = self.data.as_deref().into_iter().map(|folder| ("--data", folder)).collect();
        if let Some(file) = &self.logits {
            check_file("--logits", file, &read)?;
        }
        let Some(folder) = &self.report else { return Ok(()) };
        check_outside("--report", folder, &data)?;
        REPORT_FILES.iter().try_for_each(|name| check_replaced("--report", &folder.join(name), &read))
    }
}

fn with_data(
    reader: &mut Reader,
    path: &Path,
    args: &EvaluateArgs,
    pseudonyms: Option<&mut RecordPseudonyms>,
) -> Result<Evaluation> {
    let data = open_data(reader.tokenizer, path, reader.folder)?;
    // Errors in the labels are reported before the long computation.
    let trial = args.labels.trial(&data, pseudonyms)?;
    let (sample, seed, progress) = (args.sample as usize, args.seed, reader.progress);
    let (generated, privacy) = match &args.generated {
        None => (None, None),
        Some(file) => {
            progress.set_message("comparing records");
            progress.enable_steady_tick(Duration::from_millis(200));
            compare(&data, file, args)?
        }
    };
    let planted = Canaries::load(path)?;
    let sampler = Sampler::new(args.windows, reader.engine.config().context, 0);
    let by_path = if data.records.form == Form::Text { 0 } else { data.val.records().min(sample as u64) };
    let known = planted.as_ref().map_or(0, |planted| planted.canaries.len() * (1 + ALTERNATIVES)) as u64;
    let labelled = trial.as_ref().map_or(0, |trial| trial.records(sample));
    progress.set_message("computing");
    progress.set_length(sampler.cover(&data.val)? + by_path + known + labelled);
    progress.reset();
    let mut language = on_data(reader, &data, &sampler)?;
    language.by_path = memory::loss_by_path(reader, &data, sample, seed)?;
    let canaries = planted.map(|planted| memory::canaries(reader, &planted, seed)).transpose()?;
    let detection = trial.map(|trial| args.labels.detect(trial, reader, &data, sample, seed)).transpose()?;
    let title = format!("Evaluation of {} on {}", args.model.display(), path.display());
    Ok(Evaluation { language, generated, privacy, canaries, detection, title })
}

/// The data folder, if the model can read it.
fn open_data(tokenizer: &Tokenizer, folder: &Path, model: &Path) -> Result<Dataset> {
    let data = Dataset::open(folder)?;
    if data.tokenizer.same_tokens(tokenizer) {
        return Ok(data);
    }
    Err(Error::usage(format!(
        "--data {} was prepared with another tokenizer than --model {}; evaluate on the text instead (--text), or \
         prepare the data with the model's tokenizer (prepare --tokenizer-from {})",
        folder.display(),
        model.display(),
        model.display()
    )))
}

/// Compares generated records with those of the data folder.
fn compare(data: &Dataset, file: &Path, args: &EvaluateArgs) -> Result<(Option<GeneratedQuality>, Option<Privacy>)> {
    let sample = args.sample as usize;
    let read = read_generated(file, data.records.form, sample, args.seed)?;
    let like = &data.records;
    let complete: Vec<Vec<u8>> =
        read.complete.iter().map(|record| like.as_read(like.without_prefix(record)).into_owned()).collect();
    let mut validation = Reservoir::new(sample, args.seed);
    each_record(data, &data.val, &mut |record| validation.offer(|| record.to_vec()))?;
    let validation = validation.into_sample();
    let training = |sink: &mut dyn FnMut(&[u8])| each_record(data, &data.train, sink);
    let measured = match read.complete.is_empty() {
        true => {
            tracing::warn!("{}: no record is complete, so there is nothing to compare with real ones", file.display());
            None
        }
        false => Some(measure(&training, &validation, &complete, sample, args.seed)?),
    };
    let (fidelity, privacy) = measured.unzip();
    Ok((Some(GeneratedQuality::new(&read.summary, read.tells_truncation, fidelity)), privacy))
}

/// Loss on the validation split.
fn on_data(reader: &mut Reader, data: &Dataset, sampler: &Sampler) -> Result<LanguageModel> {
    let loss = split_loss(reader.engine, &data.val, sampler, reader.batch, 0, reader.progress)?;
    finite(LanguageModel::new(loss.sum, loss.targets, data.val.tokens(), data.val.bytes()))
}

/// Loss on the records of a file, read as `prepare` reads them: the stream starts with a separator, and one follows each record.
fn on_text(
    reader: &mut Reader,
    path: &Path,
    logits: Option<&Path>,
    mut pseudonyms: Option<&mut RecordPseudonyms>,
) -> Result<LanguageModel> {
    let Reader { tokenizer, records, .. } = *reader;
    let options = ReadOptions { bad_records: BadRecords::Keep, ..ReadOptions::like(records)? };
    let (mut stream, mut number, mut bytes) = (vec![tokenizer.separator()], 0, 0);
    read_records(&[path.to_owned()], &options, &ProgressBar::hidden(), &mut |record| {
        number += 1;
        let record = match &mut pseudonyms {
            Some(pseudonyms) => pseudonyms.rewrite(records.without_prefix(record)).record.into(),
            None => Cow::Borrowed(record),
        };
        bytes += record.len() as u64 + 1;
        let encoded = tokenizer.encode(&records.with_prefix(&record), &mut stream);
        encoded.map_err(|e| Error::failed(format!("{}: record {number}: {e}", path.display())))?;
        stream.push(tokenizer.separator());
        Ok(())
    })?;
    if let Some(out) = logits {
        write_logits(reader.engine, &stream, out)?;
    }
    reader.progress.set_length((stream.len() as u64).div_ceil(reader.engine.config().context as u64));
    let loss = stream_loss(reader.engine, &stream, reader.progress)?;
    finite(LanguageModel::new(loss.sum, loss.targets, stream.len() as u64 - 1, bytes))
}

fn finite(language: LanguageModel) -> Result<LanguageModel> {
    match language.loss.is_finite() {
        true => Ok(language),
        false => Err(Error::failed(format!(
            "--model: its loss is {}, not a number; its weights are damaged or training has diverged",
            language.loss
        ))),
    }
}

/// The first window's `tokens` (n) and `logits` (n, V).
fn write_logits(engine: &mut dyn Engine, stream: &[u32], out: &Path) -> Result<()> {
    let n = (stream.len() - 1).min(engine.config().context);
    let vocab = engine.config().vocab;
    let mut logits = vec![0.0f32; n * vocab];
    engine.logits(&stream[..n], n, &mut logits)?;
    let tokens: Vec<i64> = stream[..n].iter().map(|&token| token.into()).collect();
    let view = |dtype, shape, bytes| TensorView::new(dtype, shape, bytes).expect("shapes match their buffers");
    let tensors = [
        ("tokens", view(Dtype::I64, vec![n], bytemuck::cast_slice(&tokens))),
        ("logits", view(Dtype::F32, vec![n, vocab], bytemuck::cast_slice(&logits))),
    ];
    let bytes = safetensors::serialize(tensors, None).map_err(Error::failed)?;
    files::write_atomic(out, &bytes)
}
