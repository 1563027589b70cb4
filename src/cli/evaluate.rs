//! `logwright evaluate`: a model's loss on a text or on the validation split, as one JSON object.

use super::OutputArgs;
use super::device::DeviceArgs;
use super::model;
use clap::Args;
use logwright::dataset::{Dataset, Sampler, Windows};
use logwright::engine::Engine;
use logwright::tokens::Tokenizer;
use logwright::train::evaluate::{Loss, split_loss, stream_loss};
use logwright::{Error, Result};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Measure a model's loss; prints one JSON object.
#[derive(Args)]
pub struct EvaluateArgs {
    /// Run folder, or a Hugging Face GPT-2 folder with its tokenizer.json
    #[arg(long, value_name = "RUN")]
    model: PathBuf,
    /// Data folder: the loss on its validation split
    #[arg(long, value_name = "DATA", required_unless_present = "text", conflicts_with = "text")]
    data: Option<PathBuf>,
    /// Text file: the loss on its lines, each a record, in windows of the model's context one after the other
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Write the logits and tokens of the text's first window to this safetensors file
    #[arg(long, value_name = "FILE", requires = "text", conflicts_with = "data")]
    logits: Option<PathBuf>,
    /// Windows of the validation split
    #[arg(long, value_enum, default_value_t = Windows::Records)]
    windows: Windows,
    /// Windows to compute at once
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    #[command(flatten)]
    device: DeviceArgs,
}

pub fn run(args: EvaluateArgs, _output: &OutputArgs) -> Result<()> {
    let model::Model { mut engine, tokenizer, folder, .. } = model::open(&args.model, &args.device)?;
    let engine = engine.as_mut();
    let (loss, tokens, bytes) = match (&args.data, &args.text) {
        (Some(data), _) => on_data(engine, &tokenizer, data, &folder, &args)?,
        (None, Some(text)) => on_text(engine, &tokenizer, text, args.logits.as_deref())?,
        (None, None) => unreachable!("the parser requires one of the two"),
    };
    let nats_per_byte = loss.mean() * tokens as f64 / bytes as f64;
    let report = json!({
        "loss": loss.mean(), "perplexity": loss.mean().exp(), "tokens": loss.targets,
        "nats_per_byte": nats_per_byte, "bits_per_byte": loss.bits_per_byte(tokens, bytes),
    });
    super::print_line(&report)
}

/// Loss on the validation split, with the split's tokens and bytes.
fn on_data(
    engine: &mut dyn Engine,
    tokenizer: &Tokenizer,
    folder: &Path,
    model: &Path,
    args: &EvaluateArgs,
) -> Result<(Loss, u64, u64)> {
    let data = Dataset::open(folder)?;
    if !data.tokenizer.same_tokens(tokenizer) {
        return Err(Error::usage(format!(
            "--data {} was prepared with another tokenizer than that of --model {}; evaluate on the text instead (--text), or \
             prepare the data with the model's tokenizer (prepare --tokenizer-from {})",
            folder.display(),
            model.display(),
            model.display()
        )));
    }
    let context = engine.config().context;
    let loss = split_loss(engine, &data.val, &Sampler::new(args.windows, context, 0), args.batch.into(), 0)?;
    Ok((loss, data.val.tokens(), data.val.bytes()))
}

/// Loss on a text: the stream starts with a separator, and one follows each line.
fn on_text(
    engine: &mut dyn Engine,
    tokenizer: &Tokenizer,
    path: &Path,
    logits: Option<&Path>,
) -> Result<(Loss, u64, u64)> {
    let text = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    let lines = text.strip_suffix(b"\n").unwrap_or(&text).split(|&byte| byte == b'\n');
    if text.is_empty() {
        return Err(Error::failed(format!("{}: holds no text to evaluate on", path.display())));
    }
    let mut stream = vec![tokenizer.separator()];
    for (number, line) in lines.enumerate() {
        let encoded = tokenizer.encode(line, &mut stream);
        encoded.map_err(|e| Error::failed(format!("{}:{}: {e}", path.display(), number + 1)))?;
        stream.push(tokenizer.separator());
    }
    if let Some(out) = logits {
        write_logits(engine, &stream, out)?;
    }
    Ok((stream_loss(engine, &stream)?, stream.len() as u64 - 1, text.len() as u64))
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
    safetensors::serialize_to_file(tensors, None, out)
        .map_err(|e| Error::failed(format!("cannot write {}: {e}", out.display())))
}
