//! What `evaluate` measures, as plain data; as JSON it is `evaluation.json`.

use crate::detect::Detection;
use crate::detect::groups::Division;
use crate::fidelity::Fidelity;
use crate::fidelity::language::ByPath;
use crate::fidelity::privacy::Privacy;
use crate::finding::Drift;
use crate::report::parse::Summary;
use serde::Serialize;

/// Everything that was measured; in the JSON the language model's numbers come first.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    #[serde(flatten)]
    pub language: LanguageModel,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generated: Option<GeneratedQuality>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privacy: Option<Privacy>,
    /// One entry for each planted canary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canaries: Option<Vec<Exposed>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detection: Option<Detected>,
    /// Heading of the page.
    #[serde(skip)]
    pub title: String,
}

/// How well the model knows a secret that was planted in its training data.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Exposed {
    /// How often it was planted.
    pub repeats: u64,
    /// Entropy of the secret: what it would take to guess it.
    pub bits: f64,
    /// Bits of the secret that the model reveals ([`crate::fidelity::privacy::exposure`]).
    pub exposure: f64,
}

/// Detectors on labelled records.
#[derive(Clone, Debug, Serialize)]
pub struct Detected {
    /// The model with the baselines, the model alone, then the baselines.
    pub methods: Vec<Detection>,
    /// The model on each kind of attack alone.
    pub kinds: Vec<Detection>,
    /// The first method on the groups of each path that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<Division>,
    /// How the normal ones of the labelled records differ from those that calibrated, if they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// (methods, records)
    #[serde(skip)]
    pub scores: Vec<Vec<f64>>,
    /// (records)
    #[serde(skip)]
    pub attacks: Vec<bool>,
}

/// How well the model predicts real text.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LanguageModel {
    /// Mean of -ln p over the tokens, in nats.
    pub loss: f64,
    /// exp(loss).
    pub perplexity: f64,
    /// Number of tokens predicted.
    pub tokens: u64,
    /// The loss per byte of text instead of per token, comparable across tokenizers.
    pub nats_per_byte: f64,
    pub bits_per_byte: f64,
    /// loss / ln 2.
    pub bits_per_token: f64,
    /// Sum over the tokens, in nats and in bits.
    pub nats: f64,
    pub bits: f64,
    /// The loss on random values and on everything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_path: Option<ByPath>,
}

impl LanguageModel {
    /// From `nats` over `targets` predicted tokens of a text that has `bytes` bytes for `tokens` tokens.
    pub fn new(nats: f64, targets: u64, tokens: u64, bytes: u64) -> Self {
        let bits = std::f64::consts::LN_2.recip();
        let loss = nats / targets as f64;
        let nats_per_byte = loss * tokens as f64 / bytes as f64;
        Self {
            loss,
            perplexity: loss.exp(),
            tokens: targets,
            nats_per_byte,
            bits_per_byte: nats_per_byte * bits,
            bits_per_token: loss * bits,
            nats,
            bits: nats * bits,
            by_path: None,
        }
    }
}

/// How many generated records are complete and valid, and how they compare with real ones.
#[derive(Clone, Debug, Serialize)]
pub struct GeneratedQuality {
    pub records: u64,
    /// Records that the model ended itself.
    pub complete: u64,
    /// Records truncated at the token limit; None where the file does not say.
    pub truncated: Option<u64>,
    pub parsed: u64,
    /// Fraction of the complete records that are valid.
    pub parse_rate: f64,
    /// Complete records compared with real ones; None where no record was complete.
    #[serde(flatten)]
    pub fidelity: Option<Fidelity>,
}

impl GeneratedQuality {
    pub fn new(summary: &Summary, tells_truncation: bool, fidelity: Option<Fidelity>) -> Self {
        let Summary { records, complete, parsed } = *summary;
        let truncated = tells_truncation.then_some(records - complete);
        Self { records, complete, truncated, parsed, parse_rate: summary.parsed_of_complete(), fidelity }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_by_hand() {
        // 8 ln 2 nats over 4 tokens: 2 bits each; 5 tokens stand for 20 bytes.
        let found = LanguageModel::new(8.0 * std::f64::consts::LN_2, 4, 5, 20);
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        near(found.bits_per_token, 2.0);
        near(found.perplexity, 4.0);
        near(found.bits_per_byte, 0.5);
        near(found.nats_per_byte, 0.5 * std::f64::consts::LN_2);
        near(found.bits, 8.0);
    }
}
