//! The formats of inputs.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum InputFormat {
    /// One JSON object a line
    Jsonl,
    /// An array of objects, {"Records":[...]} and its like, or pretty-printed objects
    Json,
    /// One record a line, whatever it holds
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
    /// Whether its records are JSON values (table rows become objects).
    pub fn gives_json(self) -> bool {
        self != InputFormat::Text
    }

    /// As a message calls it.
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
