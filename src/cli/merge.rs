//! `logwright merge`: the parts of a corpus -> a data folder.

use super::interrupt::end_on_interrupt;
use super::mode::ModeArgs;
use super::next;
use super::output::OutputArgs;
use super::outputs::{check_file, check_outside, lies_in};
use super::prepare::{summarise, warn_of_oddities};
use clap::Args;
use logwright::dataset::{MergeOptions, merge};
use logwright::pseudonyms::SecretKey;
use logwright::{Error, Result};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Make a data folder of the parts that `prepare --part` has read, as preparing all of it at once does, byte for byte.
///
/// All parts of one corpus are named, in any order. How they were prepared stands in them: the flags of that prepare count. Names are
/// replaced here, because their pseudonyms depend on all parts; the tokenizer is trained, and the records become tokens, on all cores.
/// The parts stay as they are, and can be removed afterwards: they hold the original records.
#[derive(Args)]
pub struct MergeArgs {
    /// The folders that prepare --part I/N has written, of every I
    #[arg(required = true, value_name = "PART")]
    parts: Vec<PathBuf>,
    /// The data folder to make
    #[arg(long, value_name = "DATA")]
    out: PathBuf,
    /// Replace DATA if it is a data folder
    #[arg(long)]
    overwrite: bool,
    /// The key of the pseudonyms, where the parts were prepared with --pseudonymise
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Also write the pseudonymised records to this file, one per line; it is meant to be shared, so its permissions follow the
    /// umask
    #[arg(long, value_name = "FILE", requires = "key_file")]
    write_records: Option<PathBuf>,
    #[command(flatten)]
    mode: ModeArgs,
}

pub fn run(args: MergeArgs, output: &OutputArgs) -> Result<()> {
    let begin = Instant::now();
    args.mode.apply();
    end_on_interrupt();
    args.check()?;
    let MergeArgs { parts, out, overwrite, key_file, write_records, .. } = args;
    let data = next::typed(&out);
    let key = key_file.as_deref().map(SecretKey::read).transpose()?;
    let (prepared, options) =
        merge(&parts, MergeOptions { out, overwrite, key, write_records }, &output.progress(0, "bytes"))?;
    warn_of_oddities(&prepared, &options);
    summarise(&prepared, &options, begin.elapsed().as_secs_f64());
    next::command(format!("logwright train --data {data} --out run"), "tokens become a model");
    Ok(())
}

impl MergeArgs {
    fn check(&self) -> Result<()> {
        let out = self.out.as_path();
        if let Some(part) = self.parts.iter().find(|part| lies_in(part, out) || lies_in(out, part)) {
            return Err(Error::usage(format!(
                "--out {}: {} lies in it, or it in that, but the parts are read and the folder is replaced as a whole; choose another \
                 place",
                out.display(),
                part.display()
            )));
        }
        if let Some(key) = self.key_file.as_deref().filter(|key| lies_in(key, out)) {
            return Err(Error::usage(format!(
                "--key-file {}: it lies in the data folder, which is meant to be shared; keep the key elsewhere",
                key.display()
            )));
        }
        let Some(file) = &self.write_records else { return Ok(()) };
        let parts = self.parts.iter().map(|part| ("PART", part.as_path()));
        check_outside("--write-records", file, &[("--out", out)].into_iter().chain(parts).collect::<Vec<_>>())?;
        check_file("--write-records", file, &self.key_file.iter().map(PathBuf::as_path).collect::<Vec<&Path>>())
    }
}
