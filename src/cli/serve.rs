//! `logwright serve`: a model behind HTTP.

use super::device::DeviceArgs;
use super::key_file::KeyArgs;
use super::values;
use clap::Args;
use logwright::Result;
use logwright::ingest::{InputFormat, RecordStart};
use logwright::known::{Known, KnownFile};
use logwright::model_folder::LoadedModel;
use logwright::score::{Aggregate, CALIBRATION, Calibration, Detector, ScoringMethod};
use logwright::serve::{ComputeLimits, Load, ModelParts, Settings, TlsFiles, Tokens};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Serve a model over HTTP: score records, generate records, a page to try both
///
/// POST /score takes log lines and answers as `logwright score` does, one line a record, while they come. docs/serve.md lists all
/// addresses. SIGHUP, or POST /-/reload, reads the model, its calibration and the certificate again without losing a request.
/// SIGTERM ends what is under way and then the program. Messages never hold contents of records.
#[derive(Args)]
pub struct ServeArgs {
    /// Run folder, or a Hugging Face GPT-2 folder with its tokenizer.json
    #[arg(long, value_name = "RUN")]
    model: PathBuf,
    /// Address and port to listen on; port 0 takes a free one. Addresses that other machines reach need a token and TLS
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Answer only requests with one of the bearer tokens of this file: one a line, which the name of its holder may precede
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificate for TLS, with those that lead to its root, in PEM form
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Key of the certificate, in PEM form
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// A name by which browsers reach this server, such as that of a proxy in front of it; may be repeated. Pages of other sites
    /// are refused
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Listen beyond this machine without token or TLS: where something else protects it
    #[arg(long)]
    insecure: bool,
    /// Number of records to compute at once, from however many requests
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    /// Number of records to generate at once, from however many requests; each takes memory for the model's context
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    parallel: u16,
    /// Number of requests to compute at once; a further one is refused with status 429 and may come again
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    max_requests: u16,
    /// Maximum length of the body of a request in bytes, as it is sent
    #[arg(long, default_value_t = 1 << 30, value_name = "N", value_parser = values::whole::<u64>(1..=u64::MAX))]
    max_body_bytes: u64,
    /// Maximum length of a record in bytes; a longer one is answered by an error
    #[arg(long, default_value_t = 1 << 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_record_bytes: u32,
    /// Seconds that a client may send nothing, or take nothing of its answer, in the middle of a request; and that a stop waits
    /// for requests that are under way
    #[arg(long, default_value_t = 60.0, value_name = "S", value_parser = values::positive)]
    timeout: f64,
    /// Number of named streams (POST /score?stream=NAME) to remember
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_streams: u32,
    /// Forget a named stream after S seconds without a request that continues it
    #[arg(long, default_value_t = 3600.0, value_name = "S", value_parser = values::positive)]
    stream_idle: f64,
    /// Format of all bodies [default: detected for each]
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<InputFormat>,
    /// Lines of text that fit this regular expression begin a record, others continue it; '' takes each line as a record
    /// [default: as in the logs that the model was trained on]
    #[arg(long, value_name = "REGEX")]
    record_start: Option<String>,
    #[command(flatten)]
    key: KeyArgs,
    /// With --key-file: show values as they are in the raw records, not their pseudonyms
    #[arg(long, requires = "key_file")]
    in_clear: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

pub fn run(args: ServeArgs) -> Result<()> {
    let settings = args.settings()?;
    let ServeArgs { model, key, device, in_clear, .. } = args;
    let load: Load = Box::new(move || parts(&model, &key, &device, in_clear));
    logwright::serve::run(settings, load)
}

impl ServeArgs {
    fn settings(&self) -> Result<Settings> {
        let tls = self.tls_cert.clone().zip(self.tls_key.clone());
        Ok(Settings {
            listen: self.listen,
            tokens: self.token_file.as_deref().map(Tokens::read).transpose()?,
            tls: tls.map(|(certificate, key)| TlsFiles { certificate, key }),
            hosts: self.host.iter().map(|name| name.to_ascii_lowercase()).collect(),
            insecure: self.insecure,
            model_name: name(&self.model),
            max_requests: self.max_requests.into(),
            max_body_bytes: self.max_body_bytes,
            max_record_bytes: self.max_record_bytes as usize,
            timeout: seconds(self.timeout),
            max_streams: self.max_streams as usize,
            stream_idle: seconds(self.stream_idle),
            limits: ComputeLimits { batch: self.batch.into(), parallel: self.parallel.into() },
            format: self.format,
            record_start: self.record_start.as_deref().map(RecordStart::parse).transpose()?,
            in_clear: self.in_clear,
            replaces_names: self.key.is_given(),
        })
    }
}

/// More than a century is for ever.
fn seconds(number: f64) -> Duration {
    Duration::from_secs_f64(number.min(4e9))
}

/// What clients call a model: the name of its folder.
fn name(model: &Path) -> String {
    let whole = std::path::absolute(model).unwrap_or_else(|_| model.to_path_buf());
    whole.file_name().map_or("model".into(), |name| name.to_string_lossy().into_owned())
}

/// Reads everything that serving needs of a model.
fn parts(path: &Path, key: &KeyArgs, device: &DeviceArgs, in_clear: bool) -> Result<ModelParts> {
    let model = device.load(path)?;
    let LoadedModel { folder, records, .. } = &model;
    let pseudonyms = key.open(folder, records)?;
    let file = path.join(CALIBRATION);
    let calibration = Calibration::load(&file, folder)?;
    if calibration.is_none() {
        tracing::warn!(
            "{}: there is no calibration, so no record is called an anomaly; make one, and reload: logwright score --model {} --calibrate \
             NORMAL",
            file.display(),
            path.display()
        );
    }
    let method = calibration.as_ref().map_or_else(uncalibrated, |calibration| calibration.method.clone());
    let mut detector = Detector::new(method, calibration, None)?;
    detector.in_clear = in_clear;
    Ok(ModelParts { model, detector, known: Known::new(KnownFile::read(path)?.entries), pseudonyms })
}

/// How records are scored without a calibration, as `logwright score` does.
fn uncalibrated() -> ScoringMethod {
    ScoringMethod {
        aggregate: Aggregate::Field,
        top_k: 5,
        only_field: Vec::new(),
        ignore_field: Vec::new(),
        group: None,
    }
}
