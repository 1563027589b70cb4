//! `logwright prepare`: raw logs -> a data folder.

use super::dry_run;
use super::interrupt::end_on_interrupt;
use super::mode::ModeArgs;
use super::next;
use super::output::OutputArgs;
use super::outputs::{check_file, check_outside, lies_in};
use super::result::ResultArgs;
use super::values;
use clap::Args;
use logwright::dataset::{
    PrepareOptions, Prepared, PseudonymOptions, SplitCounts, SplitMode, count_pseudonyms, prepare, prepare_part,
};
use logwright::ingest::{BadRecords, InputFormat, ReadOptions, ReadReport, RecordStart};
use logwright::launch::Part;
use logwright::pseudonyms::{SealedPseudonyms, SecretKey};
use logwright::record::{OpenedReport, Opening, Prefix, Records};
use logwright::tokens::{MOST_VOCABULARY, Tokenizer, TokenizerKind};
use logwright::words::{counted, short};
use logwright::{Error, Result, model_folder};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tracing::{info, warn};

/// Turn raw logs into a data folder: token shards, a record index, a tokenizer.
///
/// Reads the formats that --help lists under --format, as UTF-8 or as UTF-16 with a byte order mark; gzip, zstd and, in
/// a build with the cargo feature xz, xz are decompressed. Format, character set and compression are detected for each file. Files of a folder or pattern are read in
/// the order of their names, rotated ones from the oldest (app.2.gz, app.1, app), each file once. The data folder appears
/// complete or not at all; in the meantime one decompressed copy of the logs is on the disk as well.
#[derive(Args)]
pub struct PrepareArgs {
    /// Files, folders (with everything in them), patterns such as 'logs/*.gz', or - for standard input
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// The data folder to make
    #[arg(long, value_name = "DATA", required_unless_present = "dry_run")]
    out: Option<PathBuf>,
    /// Replace DATA if it is a data folder
    #[arg(long)]
    overwrite: bool,
    /// How text becomes tokens: bpe is trained on these logs, bytes has one token per byte, char one per character (as nanoGPT)
    #[arg(long, value_enum, default_value_t = TokenizerKind::Bpe, value_name = "KIND")]
    tokenizer: TokenizerKind,
    /// Use the tokenizer of this model or data folder, its prefix fields and opened strings unless others are given, and with
    /// --pseudonymise and the same key its table of names: to fine-tune or to evaluate a model
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["tokenizer", "vocab_size"])]
    tokenizer_from: Option<PathBuf>,
    /// Substitute this character for those that a char tokenizer does not know, instead of failing there
    #[arg(long, value_name = "CHAR", requires = "tokenizer_from")]
    replace_unknown: Option<char>,
    /// Number of tokens of a bpe tokenizer [default: 2048, or fewer if the logs yield no more]
    #[arg(long, value_name = "N", value_parser = values::whole::<usize>(1..=MOST_VOCABULARY))]
    vocab_size: Option<usize>,
    /// Fraction of the records held out for validation
    #[arg(long, default_value_t = 0.1, value_name = "F", value_parser = values::number(0.0..=1.0f64))]
    val_fraction: f64,
    /// How to choose the validation records
    #[arg(long, value_enum, default_value_t = SplitMode::Chronological, value_name = "HOW")]
    split: SplitMode,
    /// Put this field's value and a space before each record, for `generate --where`: [NAME=]PATH[,STEP]... such as
    /// user=properties.userPrincipalName,before=@ or day=time,date; steps are before=TEXT, after=TEXT, lower, date; may be
    /// repeated
    #[arg(long, value_name = "FIELD")]
    prefix_field: Vec<Prefix>,
    /// Format of all inputs [default: detected for each file]
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<InputFormat>,
    /// Lines of text that fit this regular expression begin a record, others continue it; '' takes each line as a record
    /// [default: found where 95 % of the lines fit a known beginning or continuation, such as those of stack traces]
    #[arg(long, value_name = "REGEX")]
    record_start: Option<String>,
    /// Open the JSON in the string at this path as fields, such as result._raw or records.*.message; may be repeated; '' leaves
    /// all strings closed. What is generated has the strings again [default: all strings that hold a JSON object or array with a
    /// string in it]
    #[arg(long, value_name = "PATH")]
    open: Vec<String>,
    /// What to do with a record that does not have the expected format
    #[arg(long, value_enum, default_value_t = BadRecords::Fail, value_name = "WHAT")]
    bad_records: BadRecords,
    /// Maximum length of a record in bytes
    #[arg(long, default_value_t = ReadOptions::default().max_record_bytes, value_name = "N", value_parser = values::whole::<usize>(1..=u64::MAX))]
    max_record_bytes: usize,
    /// Seed of the random split and of the sample that a bpe tokenizer is trained on
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = values::whole::<u64>(0..=u64::MAX))]
    seed: u64,
    /// Replace names, addresses, identifiers and secrets with keyed pseudonyms; DATA/pseudonyms.json counts them
    #[arg(long, requires = "key_file")]
    pseudonymise: bool,
    /// The key of the pseudonyms; created if it does not exist. The same key gives the same pseudonyms, and can reverse them
    #[arg(long, value_name = "FILE", requires = "pseudonymise")]
    key_file: Option<PathBuf>,
    /// Rules for pseudonyms (TOML), applied before the built-in rules or instead of them
    #[arg(long, value_name = "FILE", requires = "pseudonymise")]
    rules: Option<PathBuf>,
    /// Words and values to keep, one per line; lines that begin with # are comments. Secrets are replaced all the same
    #[arg(long, value_name = "FILE", requires = "pseudonymise")]
    allow: Option<PathBuf>,
    /// Also write the pseudonymised records to this file, one per line; it is meant to be shared, so its permissions follow the
    /// umask
    #[arg(long, value_name = "FILE", requires = "pseudonymise")]
    write_records: Option<PathBuf>,
    /// Print what would be replaced (on a terminal a short table, else JSON), and write nothing: the numbers by class and field; the words that occur most in each
    /// class; those that are also seen where no identity stands, which --allow can keep
    #[arg(long, requires = "pseudonymise", conflicts_with_all = ["write_records", "canaries"])]
    dry_run: bool,
    /// Add N records with made-up secrets to the training split, 1, 2, 4, ... times each, to measure memorisation
    #[arg(long, default_value_t = 0, value_name = "N", hide_default_value = true, value_parser = values::whole::<usize>(0..=32))]
    canaries: usize,
    /// Read part I of N of the inputs alone, as one of several processes or machines, into the folder that --out names;
    /// `logwright merge` makes the data folder of all parts. A part holds the original records
    #[arg(long, value_name = "I/N", conflicts_with_all = ["dry_run", "write_records", "mode"])]
    part: Option<Part>,
    #[command(flatten)]
    result: ResultArgs,
    #[command(flatten)]
    mode: ModeArgs,
}

impl PrepareArgs {
    /// Whether the result goes to stdout.
    pub fn prints(&self) -> bool {
        self.dry_run
    }
}

pub fn run(args: PrepareArgs, output: &OutputArgs) -> Result<()> {
    let begin = Instant::now();
    let (is_dry, part, result) = (args.dry_run, args.part, args.result);
    args.mode.apply();
    end_on_interrupt();
    let lead = Lead::new(&args);
    let options = options(args)?;
    if let Some(how) = options.pseudonymise.as_ref().filter(|_| is_dry) {
        let replaced = count_pseudonyms(&options.inputs, &options.read, how, &output.progress(0, "bytes"))?;
        result.print_long(&replaced, || dry_run::table(&replaced))?;
        next::step("words to keep belong into a file for --allow; without --dry-run, and with --out DATA, it is done");
        return Ok(());
    }
    if let Some(part) = part {
        let report = prepare_part(&options, part, &output.progress(0, "bytes"))?;
        warn_of_reading(&report, &options);
        summarise_part(&report, part, &options, begin.elapsed().as_secs_f64());
        return Ok(());
    }
    let prepared = prepare(&options, &output.progress(0, "bytes"))?;
    warn_of_oddities(&prepared, &options);
    summarise(&prepared, &options, begin.elapsed().as_secs_f64());
    lead.on();
    Ok(())
}

/// What leads on from a data folder.
struct Lead {
    data: String,
    /// The model whose tokenizer it has.
    model: Option<String>,
    /// Records to share, and the key that reverses them.
    shared: Option<(PathBuf, String)>,
}

impl Lead {
    fn new(args: &PrepareArgs) -> Self {
        let is_model = |folder: &&PathBuf| !folder.join("meta.json").exists();
        let key = args.key_file.as_deref().map(next::typed).unwrap_or_default();
        Lead {
            data: next::typed(args.out.as_deref().unwrap_or(Path::new(""))),
            model: args.tokenizer_from.as_ref().filter(is_model).map(|folder| next::typed(folder)),
            shared: args.write_records.clone().map(|file| (file, key)),
        }
    }

    fn on(&self) {
        let Lead { data, model, shared } = self;
        if let Some((file, key)) = shared {
            let file = next::typed(file);
            next::command(
                format!("logwright pseudonyms --undo --key-file {key} --of {data} {file}"),
                "turns addresses and identifiers back; keep the key, read the records before you share them",
            );
        }
        match model {
            Some(model) => next::command(
                format!("logwright evaluate --model {model} --data {data}"),
                "or train --init-from that model on this data",
            ),
            None => next::command(
                format!("logwright train --data {data} --out {}", next::fresh("run")),
                "tokens become a model",
            ),
        }
    }
}

/// Refuses a file of records that would replace something else, or lie in the data folder, which is replaced as a whole.
fn check_written(file: &Path, out: &Path, args: &PrepareArgs) -> Result<()> {
    check_outside("--write-records", file, &[("--out", out)])?;
    // The key may not exist yet.
    if args.key_file.iter().chain(&args.rules).chain(&args.allow).any(|other| lies_in(file, other)) {
        return Err(Error::usage(format!(
            "--write-records {}: it is the file of the key, of the rules or of the allowed words; give it another name",
            file.display()
        )));
    }
    // Inputs that are folders or patterns are read without the file.
    let named: Vec<&Path> = args.inputs.iter().filter(|input| input.is_file()).map(PathBuf::as_path).collect();
    check_file("--write-records", file, &named)
}

/// Refuses a tokenizer whose tokens are parts of original names: a data folder with it could not be shared.
fn check_tokenizer(folder: &Path, tokenizer: &Tokenizer, known: Option<&Records>) -> Result<()> {
    if tokenizer.kind() != TokenizerKind::Bpe || known.is_some_and(|records| records.pseudonymised) {
        return Ok(());
    }
    Err(Error::usage(format!(
        "--tokenizer-from {}: its records.json does not say that it was made with --pseudonymise, so its tokens may contain \
         real names, and so would DATA; omit --tokenizer-from to train a tokenizer on the pseudonyms, or \
         give --tokenizer bytes",
        folder.display()
    )))
}

/// Opens or makes the key; a dry run makes no file.
fn pseudonymise(args: &PrepareArgs, out: &Path, earlier: Option<&Path>) -> Result<Option<PseudonymOptions>> {
    let Some(path) = args.key_file.as_ref().filter(|_| args.pseudonymise) else { return Ok(None) };
    if !args.dry_run && lies_in(path, out) {
        return Err(Error::usage(format!(
            "--key-file {}: it lies in the data folder, which is meant to be shared; keep the key elsewhere",
            path.display()
        )));
    }
    if let Some(file) = &args.write_records {
        check_written(file, out, args)?;
    }
    let key = if args.dry_run && !path.exists() { SecretKey::throwaway()? } else { SecretKey::open(path)? };
    let (rules, allow, write_records) = (args.rules.clone(), args.allow.clone(), args.write_records.clone());
    let continues = earlier.map(|folder| pseudonyms_of(folder, &key, path)).transpose()?.flatten().map(Arc::new);
    Ok(Some(PseudonymOptions { key, rules, allow, continues, count_words: false, write_records }))
}

/// The pseudonyms of the folder that the tokenizer is from, if they are of this key: its names keep them.
fn pseudonyms_of(folder: &Path, key: &SecretKey, file: &Path) -> Result<Option<SealedPseudonyms>> {
    let sealed = SealedPseudonyms::load(folder)?;
    if sealed.as_ref().is_some_and(|sealed| !sealed.is_of(key)) {
        warn!(
            "--key-file {}: it is another key than that of {}, so names get other pseudonyms than its model knows; give the key \
             file of its prepare to keep them",
            file.display(),
            folder.display()
        );
    }
    Ok(sealed.filter(|sealed| sealed.is_of(key)))
}

fn options(args: PrepareArgs) -> Result<PrepareOptions> {
    if args.vocab_size.is_some() && args.tokenizer != TokenizerKind::Bpe {
        return Err(Error::usage("--vocab-size is for --tokenizer bpe; the vocabulary of the others is fixed"));
    }
    let folder = args.tokenizer_from.clone().map(tokenizer_folder);
    let existing = folder.as_deref().map(Tokenizer::load).transpose()?;
    let known = folder.as_deref().map(Records::load).transpose()?.flatten();
    if let Some((folder, tokenizer)) = folder.as_deref().zip(existing.as_ref()).filter(|_| args.pseudonymise) {
        check_tokenizer(folder, tokenizer, known.as_ref())?;
    }
    let pseudonymise = pseudonymise(&args, args.out.as_deref().unwrap_or(Path::new("")), folder.as_deref())?;
    // A folder of inputs may contain the key, and records are not written over their originals.
    let leave_out =
        [&args.key_file, &args.rules, &args.allow, &args.write_records].into_iter().flatten().cloned().collect();
    let open = match &known {
        Some(known) if args.open.is_empty() => known.open.clone(),
        _ => Opening::parse(&args.open),
    };
    let prefixes = match known {
        Some(known) if args.prefix_field.is_empty() => known.prefixes,
        _ => args.prefix_field,
    };
    let out = args.out.unwrap_or_default();
    let defaults = PrepareOptions::new(args.inputs, out);
    Ok(PrepareOptions {
        overwrite: args.overwrite,
        read: ReadOptions {
            format: args.format,
            bad_records: args.bad_records,
            record_start: args.record_start.as_deref().map_or(Ok(RecordStart::Find), RecordStart::parse)?,
            max_record_bytes: args.max_record_bytes,
            open,
            prefixes,
            leave_out,
            ..ReadOptions::default()
        },
        tokenizer: existing.as_ref().map_or(args.tokenizer, Tokenizer::kind),
        existing,
        replace_unknown: args.replace_unknown,
        vocab_size: args.vocab_size,
        val_fraction: args.val_fraction,
        split: args.split,
        seed: args.seed,
        pseudonymise,
        canaries: args.canaries,
        ..defaults
    })
}

/// A data folder contains its tokenizer itself, a run folder has it in its model.
fn tokenizer_folder(folder: PathBuf) -> PathBuf {
    match folder.join("tokenizer.json").exists() {
        true => folder,
        false => model_folder::find(&folder).unwrap_or(folder),
    }
}

pub fn warn_of_oddities(prepared: &Prepared, options: &PrepareOptions) {
    let report = &prepared.report;
    warn_of_reading(report, options);
    tell_opened(&report.opened, &options.read.open);
    if prepared.doubled > 0 {
        warn!(
            "{} of the training split with the same name twice in an object kept unchanged; generated ones are not valid",
            counted(prepared.doubled, "record")
        );
    }
    for (prefix, missing) in options.read.prefixes.iter().zip(&report.missing_prefix).filter(|(_, n)| **n > 0) {
        warn!("{} without the prefix field {}: the prefix there is '-'", counted(*missing, "record"), prefix.field());
    }
    if prepared.replaced > 0 {
        let characters = counted(prepared.replaced, "character");
        warn!("{characters} unknown to the tokenizer replaced (--replace-unknown)");
    }
}

/// What was odd about the inputs.
fn warn_of_reading(report: &ReadReport, options: &PrepareOptions) {
    if report.bad_records > 0 {
        let done = if options.read.bad_records == BadRecords::Keep { "kept unchanged" } else { "left out" };
        let records = counted(report.bad_records, "bad record");
        warn!("{records} {done}; the first at {}", report.bad_places.join(", "));
    }
    if report.nul_records > 0 {
        warn!("{} with NUL bytes kept unchanged", counted(report.nul_records, "record"));
    }
    if report.invalid_utf8_records > 0 {
        warn!("{} with bytes that are not UTF-8", counted(report.invalid_utf8_records, "record"));
    }
    if report.lossy_rows > 0 {
        let rows = counted(report.lossy_rows, "row");
        warn!("{rows} of tables with bytes that are not UTF-8; U+FFFD replaces each of these bytes");
    }
    if report.empty_lines > 0 {
        info!("{} skipped", counted(report.empty_lines, "empty line"));
    }
    for ((noun, rest), count) in &report.announced {
        info!("{}{rest}", counted(*count, noun));
    }
}

fn tell_opened(report: &OpenedReport, asked: &Opening) {
    let shown = |(path, count): (&String, &u64)| format!("{path} ({count})");
    let paths: Vec<String> = report.opened.iter().map(shown).collect();
    if !paths.is_empty() {
        let how = if *asked == Opening::Found { "; --open '' leaves it closed" } else { "" };
        info!("JSON in strings opened as fields: {}{how}", paths.join(", "));
    }
    if report.left > 0 {
        info!(
            "{} with JSON left closed: their escapes are not the shortest ones, or they lie too deep, so they could not be \
             written back",
            counted(report.left, "string")
        );
    }
    if let Opening::At(paths) = asked {
        for path in paths.iter().filter(|path| !report.opened.contains_key(*path)) {
            warn!("--open {path}: no string there holds a JSON object or array with a string in it");
        }
    }
}

fn summarise_part(report: &ReadReport, part: Part, options: &PrepareOptions, seconds: f64) {
    tell_sources(report);
    let (out, records) = (options.out.display(), counted(report.records, "record"));
    let mb = report.bytes as f64 / 1e6;
    info!("{out} written: part {part}, {records}, {mb:.1} MB in {seconds:.1} s, {:.1} MB/s", mb / seconds);
    next::step(format!("when all {} are there, logwright merge PART... --out DATA", counted(part.of(), "part")));
}

fn tell_sources(report: &ReadReport) {
    for source in &report.sources {
        let (format, records) = (source.format.label(), counted(source.records, "record"));
        info!("{}: {format}, {records}, {}", source.name, counted(source.bytes, "byte"));
    }
}

pub fn summarise(prepared: &Prepared, options: &PrepareOptions, seconds: f64) {
    let (meta, report) = (&prepared.meta, &prepared.report);
    if let Some(replaced) = &prepared.pseudonyms {
        let places: u64 = replaced.by_class.values().sum();
        info!(
            "{} in {} of {} replaced with pseudonyms",
            counted(places, "value"),
            replaced.changed_records,
            counted(replaced.records, "record")
        );
    }
    tell_sources(report);
    let sum = |of: fn(&SplitCounts) -> u64| of(&meta.train) + of(&meta.val);
    let (records, bytes, tokens) = (sum(|split| split.records), sum(|split| split.bytes), sum(|split| split.tokens));
    if records > report.records {
        info!("{} with canaries added to the training split", counted(records - report.records, "record"));
    }
    info!(
        "{} ({} train, {} val), {tokens} tokens of {} ({}), {:.1} tokens/record, {:.3} bytes/token, longest {}",
        counted(records, "record"),
        meta.train.records,
        meta.val.records,
        meta.vocab_size,
        meta.tokenizer,
        tokens as f64 / records as f64,
        bytes as f64 / tokens as f64,
        meta.longest_record
    );
    // Of a few records the time is that of starting.
    let megabytes = report.bytes as f64 / 1e6;
    let speed = if megabytes < 10.0 { String::new() } else { format!(", {:.1} MB/s", megabytes / seconds) };
    info!("{} written: {}B of logs in {seconds:.1} s{speed}", options.out.display(), short(report.bytes));
}
