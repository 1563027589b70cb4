//! logwright: trains a GPT from scratch on raw machine logs, generates synthetic logs and reports on both.
//!
//! Data flows one way: `logs -> tokens -> dataset -> engine -> checkpoint -> sample -> report`.

pub mod alerts;
pub mod backend;
pub mod cpu;
pub mod cuda;
pub mod dataset;
pub mod detect;
pub mod engine;
pub mod error;
pub mod fidelity;
pub mod files;
pub mod finding;
pub mod gpt;
pub mod ingest;
pub mod known;
pub mod launch;
pub mod model_folder;
pub mod output;
pub mod pseudonyms;
pub mod record;
pub mod report;
pub mod sample;
pub mod score;
#[cfg(feature = "serve")]
pub mod serve;
pub mod stream;
pub mod synth;
#[cfg(test)]
mod test_data;
pub mod tokens;
pub mod train;
pub mod version;
pub mod words;

pub use error::{Error, Result};
