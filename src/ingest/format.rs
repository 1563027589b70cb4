//! The names of the formats of log files; `formats.rs` says what each of them is.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputFormat {
    Jsonl,
    Json,
    Text,
    Csv,
    Tsv,
    W3c,
    Spaced,
    Syslog,
    Cri,
    Cef,
    Evtx,
    Parquet,
}
