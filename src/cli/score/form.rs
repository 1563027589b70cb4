//! In what form `score` prints: the schema of its answers, and one line for each line where another program counts them.

use clap::Args;
use logwright::Result;
use logwright::output::{Schema, Writer};
use std::path::Path;

#[derive(Args)]
#[command(next_help_heading = "For other programs")]
pub struct OutputFormArgs {
    /// Schema of what is printed
    #[arg(long = "output", value_enum, value_name = "SCHEMA", default_value_t = Schema::Jsonl, conflicts_with = "explain")]
    schema: Schema,
    /// Print one line for each line of the input, whatever it holds, in order and as it comes, for programs that count answers:
    /// rsyslog's mmexternal and omprog, Fluentd's exec_filter, Redpanda Connect's subprocess. Each line is a record or an error by
    /// itself; stderr stays empty, unless the program fails (see --verbose)
    #[arg(long)]
    pub(super) passthrough: bool,
    /// With --passthrough: put each answer into an object under this name, or names joined by dots: '$!.logwright' for mmexternal
    #[arg(long, value_name = "NAME", requires = "passthrough")]
    under: Option<String>,
}

impl OutputFormArgs {
    /// Writes answers, in which `model` is named by the last part of its path.
    pub fn writer(&self, model: &Path) -> Result<Writer> {
        let whole = model.canonicalize().unwrap_or_else(|_| model.to_path_buf());
        let name = whole.file_name().unwrap_or(whole.as_os_str()).to_string_lossy().into_owned();
        let writer = Writer::new(self.schema, &name);
        match &self.under {
            Some(under) => writer.under(under),
            None => Ok(writer),
        }
    }
}
