//! The formats of log files.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum InputFormat {
    /// One JSON object per line
    Jsonl,
    /// An array of objects, a wrapper such as {"Records":[...]}, or pretty-printed objects
    Json,
    /// One record per line, whatever it contains
    Text,
    /// Comma- or semicolon-separated values with a header
    Csv,
    /// Tab-separated values with a header
    Tsv,
    /// Rows below a line #Fields: W3C extended logs (IIS, CloudFront), and Zeek's logs
    #[value(alias = "zeek")]
    W3c,
}

impl InputFormat {
    /// Whether records of this format are JSON objects (table rows become objects).
    pub fn gives_json(self) -> bool {
        self != InputFormat::Text
    }

    /// The name of the format in messages.
    pub fn label(self) -> &'static str {
        match self {
            InputFormat::Jsonl => "JSON lines",
            InputFormat::Json => "JSON",
            InputFormat::Text => "text lines",
            InputFormat::Csv => "CSV",
            InputFormat::Tsv => "TSV",
            InputFormat::W3c => "rows below a line #Fields (W3C, Zeek)",
        }
    }
}
