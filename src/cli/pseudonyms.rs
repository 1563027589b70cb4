//! `logwright pseudonyms --undo`: records with pseudonyms -> what these stand for, as far as they say it.

use super::interrupt::end_on_interrupt;
use super::key_file::check;
use super::mode::ModeArgs;
use super::next::{self, Sink};
use super::output::OutputArgs;
use super::stdout::write_failed;
use clap::Args;
use logwright::pseudonyms::{Pseudonymizer, Rules, SEALED_FILE, SealedPseudonyms, SecretKey};
use logwright::{Error, Result, files, model_folder};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Seek, Write, stdin, stdout};
use std::path::{Path, PathBuf};

/// Turn pseudonyms in records back into what they stand for, where their form says it
///
/// Addresses, UUIDs, MAC addresses, SIDs, account numbers, key ids, tokens and numbers are permuted by the key and can be undone.
/// Words (names of persons, accounts, hosts, domains and places) are drawn and not permuted, coordinates are moved, and secrets
/// are gone: they stay, and are counted on stderr by class. See docs/pseudonyms.md.
#[derive(Args)]
pub struct PseudonymsArgs {
    /// Turn pseudonyms back
    #[arg(long, required = true)]
    undo: bool,
    /// The key of prepare --pseudonymise
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// The data, run or model folder that the pseudonyms are from: to check the key, and to use the rules and words of its prepare
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["rules", "allow"])]
    of: Option<PathBuf>,
    /// The rules that prepare was given
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// The words to keep that prepare was given
    #[arg(long, value_name = "FILE")]
    allow: Option<PathBuf>,
    /// Records, one per line, as prepare --write-records and generate write them; - for standard input, the default
    #[arg(value_name = "FILE", default_value = "-")]
    input: PathBuf,
    #[command(flatten)]
    mode: ModeArgs,
}

pub fn run(args: PseudonymsArgs, output: &OutputArgs) -> Result<()> {
    args.mode.apply();
    end_on_interrupt();
    let key = SecretKey::read(&args.key_file)?;
    let rules = args.rules(&key)?;
    let mut undo = Pseudonymizer::undoing(key, rules);
    let file = args.open()?;
    // Each line is read twice.
    let progress = output.progress(2 * file.metadata().map_or(0, |about| about.len()), "bytes");
    // Account numbers in text are known by those in fields, as they were when they were replaced.
    each_line(&file, &args.input, &mut |line| {
        undo.learn(line.strip_suffix(b"\n").unwrap_or(line));
        progress.inc(line.len() as u64);
        Ok(())
    })?;
    undo.finalize();
    let (mut out, mut record) = (BufWriter::new(stdout().lock()), Vec::new());
    each_line(&file, &args.input, &mut |line| {
        let body = line.strip_suffix(b"\n").unwrap_or(line);
        undo.rewrite(body, &mut record);
        record.extend_from_slice(&line[body.len()..]);
        progress.inc(line.len() as u64);
        out.write_all(&record).map_err(write_failed)
    })?;
    out.flush().map_err(write_failed)?;
    drop(out);
    progress.finish_and_clear();
    tell(&undo, args.of.is_some());
    if let Sink::File(file) = next::sink() {
        next::step(format!("keep {} as private as the original logs: it has real names and addresses", file.display()));
    }
    Ok(())
}

impl PseudonymsArgs {
    /// The rules that the pseudonyms were made with.
    fn rules(&self, key: &SecretKey) -> Result<Rules> {
        let Some(folder) = &self.of else {
            return Rules::load_allowing(self.rules.as_deref(), self.allow.as_deref());
        };
        let is_data = folder.join("meta.json").exists();
        let folder = if is_data { folder.clone() } else { model_folder::find(folder)? };
        let sealed = SealedPseudonyms::load(&folder)?.ok_or_else(|| {
            Error::usage(format!(
                "--of {}: it has no {SEALED_FILE}, so it was prepared without --pseudonymise or by an earlier version; omit --of",
                folder.display()
            ))
        })?;
        check(&self.key_file, key, &folder, &sealed)?;
        sealed.rules(key)
    }

    /// The input as a file that can be read twice: standard input is copied into one that has no name.
    fn open(&self) -> Result<File> {
        if self.input.as_os_str() != "-" {
            return File::open(&self.input).map_err(|e| Error::io("read", &self.input, e));
        }
        let folder = std::env::temp_dir();
        let mut copy = files::temporary(&folder)?;
        std::io::copy(&mut stdin().lock(), &mut copy).map_err(|e| files::write_error(&folder, e))?;
        Ok(copy)
    }
}

/// Gives each line of the file, from its beginning, with its newline.
fn each_line(file: &File, path: &Path, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let failed = |e| Error::io("read", path, e);
    let mut reader = BufReader::with_capacity(1 << 20, file);
    reader.rewind().map_err(|e| {
        Error::usage(format!(
            "{}: it cannot be read twice ({e}); give it on standard input instead (-)",
            path.display()
        ))
    })?;
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).map_err(failed)? > 0 {
        each(&line)?;
        line.clear();
    }
    Ok(())
}

/// Reports what was undone and what stays, by class.
fn tell(undo: &Pseudonymizer, is_checked: bool) {
    let list = |counts: &BTreeMap<String, u64>| {
        let parts: Vec<String> = counts.iter().map(|(class, count)| format!("{class} {count}")).collect();
        if parts.is_empty() { "none".to_string() } else { parts.join(", ") }
    };
    let left = undo.left().iter().map(|(class, count)| (class.to_string(), *count)).collect();
    tracing::info!("values turned back, by class: {}", list(&undo.report().by_class));
    tracing::info!("values left as they are, because their form does not say what they stand for: {}", list(&left));
    if !is_checked {
        tracing::warn!(
            "whether this is the right key was not checked: another key gives other values; --of FOLDER checks it"
        );
    }
}
