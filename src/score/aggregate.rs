//! The surprisals of a record -> one number.

use super::fields::Parts;
use crate::{Error, Result};
use glob::Pattern;
use serde::{Deserialize, Serialize};

/// How the surprisals of a record become one score, over the selected fields (see [`Selection`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Aggregate {
    /// Mean surprisal of the tokens: the model's loss on the record
    Mean,
    /// Surprisal of the most surprising token
    Max,
    /// Mean of the K most surprising tokens
    TopK,
    /// Surprisal of the most surprising field, the sum over its tokens
    Field,
    /// How improbable the fields and their combinations are among normal records; needs a calibration
    Evidence,
}

impl Aggregate {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Aggregate::Mean => "mean",
            Aggregate::Max => "max",
            Aggregate::TopK => "top-k",
            Aggregate::Field => "field",
            Aggregate::Evidence => "evidence",
        }
    }
}

/// Which fields are scored, by patterns over their paths in which `*` stands for anything: `properties.*`, `*.id`, `$4`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    only: Vec<Pattern>,
    ignore: Vec<Pattern>,
}

impl Selection {
    /// Selects the fields that match one of `only` (all, where it is empty) and none of `ignore`.
    /// Errors: an invalid pattern.
    pub fn new(only: &[String], ignore: &[String]) -> Result<Self> {
        let compile = |flag: &str, text: &String| {
            Pattern::new(text).map_err(|e| {
                Error::usage(format!(
                    "{flag} {text}: expected a path such as properties.id or *.id, found an invalid pattern: {e}"
                ))
            })
        };
        let all = |flag, texts: &[String]| texts.iter().map(|text| compile(flag, text)).collect::<Result<Vec<_>>>();
        Ok(Selection { only: all("--only-field", only)?, ignore: all("--ignore-field", ignore)? })
    }

    /// Whether a field of this path is scored.
    pub fn counts(&self, path: &str) -> bool {
        (self.only.is_empty() || self.only.iter().any(|pattern| pattern.matches(path)))
            && !self.ignore.iter().any(|pattern| pattern.matches(path))
    }
}

/// The score of a record by its surprisals alone; 0 where none of its fields is selected. `top_k` is for [`Aggregate::TopK`].
///
/// The maximum is the score of detectors such as LogBERT (Guo et al., 2021: a session is anomalous by its worst keys, not by
/// their mean); the mean is the loss of language-model detectors such as Tuor et al., 2018, where it is taken over the line.
/// The nats of a field are the sum over its tokens, which is minus the logarithm of the probability of its whole value; a mean
/// would make a long value with one unusual character look normal. [`Aggregate::Evidence`] is that of the most surprising field
/// here: without a calibration nothing more is known.
pub fn aggregate(kind: Aggregate, parts: &Parts, selection: &Selection, top_k: usize) -> f64 {
    let counts: Vec<bool> = parts.fields.iter().map(|field| selection.counts(&field.path)).collect();
    let counted = parts.pieces.iter().filter(|piece| counts[piece.field]);
    let fields = parts.fields.iter().zip(&counts).filter(|(_, counts)| **counts).map(|(field, _)| field);
    match kind {
        Aggregate::Mean => {
            let (nats, tokens) = counted.fold((0.0, 0.0), |(nats, tokens), p| (nats + p.nats, tokens + p.share));
            if tokens > 0.0 { nats / tokens } else { 0.0 }
        }
        Aggregate::Max => largest(counted.map(|piece| piece.nats)),
        Aggregate::TopK => {
            let mut nats: Vec<f64> = counted.map(|piece| piece.nats).collect();
            nats.sort_by(|a, b| b.total_cmp(a));
            nats.truncate(top_k);
            if nats.is_empty() { 0.0 } else { nats.iter().sum::<f64>() / nats.len() as f64 }
        }
        Aggregate::Field | Aggregate::Evidence => largest(fields.map(|field| field.nats)),
    }
}

fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.reduce(f64::max).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::fields::{FieldSurprisal, Piece};

    /// Fields a (tokens of 1 and 5 nats, and half of one of 4), b (the other half, 3), id (9, 9).
    fn record() -> Parts {
        let field = |path: &str, nats, max| FieldSurprisal { path: path.into(), span: 0..0, value: 0..0, nats, max };
        let piece = |token, field, share, nats| Piece { token, field, share, nats };
        Parts {
            fields: vec![field("a", 8.0, 5.0), field("b", 5.0, 3.0), field("x.id", 18.0, 9.0)],
            pieces: vec![
                piece(0, 0, 1.0, 1.0),
                piece(1, 0, 1.0, 5.0),
                piece(2, 0, 0.5, 2.0),
                piece(2, 1, 0.5, 2.0),
                piece(3, 1, 1.0, 3.0),
                piece(4, 2, 1.0, 9.0),
                piece(5, 2, 1.0, 9.0),
            ],
        }
    }

    fn score(kind: Aggregate, only: &[&str], ignore: &[&str]) -> f64 {
        let own = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect::<Vec<_>>();
        aggregate(kind, &record(), &Selection::new(&own(only), &own(ignore)).unwrap(), 2)
    }

    #[test]
    fn scores_are_those_computed_by_hand() {
        let all = |kind| score(kind, &[], &[]);
        assert_eq!(all(Aggregate::Mean), 31.0 / 6.0);
        assert_eq!(all(Aggregate::Max), 9.0);
        assert_eq!(all(Aggregate::TopK), 9.0);
        assert_eq!(all(Aggregate::Field), 18.0);
    }

    #[test]
    fn fields_that_do_not_count_are_left_out() {
        let known = |kind| score(kind, &[], &["*.id"]);
        assert_eq!(known(Aggregate::Mean), 13.0 / 4.0);
        assert_eq!(known(Aggregate::Max), 5.0);
        assert_eq!(known(Aggregate::TopK), 4.0);
        assert_eq!(known(Aggregate::Field), 8.0);
        assert_eq!(score(Aggregate::Field, &["b"], &[]), 5.0);
        assert_eq!(score(Aggregate::Mean, &["b"], &["b"]), 0.0);
        assert!(Selection::new(&["[".into()], &[]).unwrap_err().to_string().contains("--only-field ["));
    }
}
